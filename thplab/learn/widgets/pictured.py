"""What the widgets with pictures have in common: pictures in one detail are in the page from the start,
those in the other once they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thplab.errors import BadInput
from thplab.learn.widgets.conversation import asked
from thplab.learn.widgets.page import pack
from thplab.learn.widgets.widget import Widget
from thplab.show.diagrams import DETAILS, SIMPLE, Sheet


class Pictured(Widget):
    """A widget with pictures beside what else is packed.

    A widget says what it shows besides in data(), and has its pictures laid out in sheets(). It calls packed_now()
    before its traits are set, and repack() when what it shows has changed.
    """

    _details: tuple[str, ...] = (SIMPLE,)

    def data(self) -> dict[str, Any]:
        """All that the page shows but the pictures, as JSON can hold it."""
        raise NotImplementedError

    def sheets(self, detail: str) -> list[Sheet]:
        """The pictures in one detail. Raises NoEngine if nothing can lay them out."""
        raise NotImplementedError

    def packed_now(self, details: Sequence[str] = ()) -> str:
        """`packed` as it should be, with the pictures in the details that were asked for, or in those named."""
        shown = details or self._details
        pictures = {detail: [sheet.page() for sheet in self.sheets(detail)] for detail in shown}
        return pack(self.data() | {"pictures": pictures})

    def packed_for_html(self) -> str:
        """Both details, for nobody can be asked there."""
        return self.packed_now(DETAILS)

    @asked("detail")
    def _give(self, detail: str) -> None:
        """Bring the pictures in another detail into the page, too."""
        if detail not in DETAILS:
            raise BadInput("detail", f"is {detail!r}", " or ".join(DETAILS))
        details = tuple(name for name in DETAILS if name in (*self._details, detail))
        packed = self.packed_now(details)
        self._details = details
        self.packed = packed
