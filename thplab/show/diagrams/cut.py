"""Which rows a picture has, and what has a place in it.
All frames of a trace are cut alike, so that nothing moves between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thplab.errors import BadInput
from thplab.machine.state import State
from thplab.show.diagrams.arrows import HUGE_ZERO_PAGE, ZERO_PAGE, Arrow, Ends, arrows
from thplab.show.diagrams.cutter import Cutter
from thplab.show.diagrams.layout import Layout


@dataclass(frozen=True)
class Cut(Layout):
    """The nodes, rows and arrows of all pictures that belong together.

    `arrows` has each arrow of any state, with the most pages that it stands for in any.
    """

    arrows: Mapping[Ends, Arrow]

    def __repr__(self) -> str:
        return f"<Cut: {len(self.tables)} tables, {len(self.blocks)} blocks, {len(self.arrows)} arrows>"

    @classmethod
    def of(cls, states: Sequence[State]) -> Cut:
        """The cut that fits all `states`, which are of one machine.
        Raises BadInput if there are none or their geometries differ.
        """
        if not states:
            raise BadInput("states", "is empty", "at least one state")
        if len({s.geometry for s in states}) > 1:
            raise BadInput("states", "have different geometries", "states of one machine")
        nodes = Cutter(states).nodes()
        every: dict[Ends, Arrow] = {}
        for state in states:
            for ends, arrow in arrows(state, nodes).items():
                every[ends] = max(arrow, every.get(ends, arrow), key=lambda a: a.pages)
        return cls(**vars(nodes), arrows=dict(sorted(every.items())))

    @property
    def zero_pages(self) -> tuple[str, ...]:
        """The ids of the zero pages that anything points to."""
        heads = {ends.head for ends in self.arrows}
        return tuple(name for name in (ZERO_PAGE, HUGE_ZERO_PAGE) if name in heads)
