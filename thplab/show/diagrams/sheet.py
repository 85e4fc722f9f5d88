"""A series of pictures that Graphviz has laid out once: each as values, as SVG and as DOT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thplab.machine.state import State
from thplab.show.diagrams.engine import lay_out
from thplab.show.diagrams.fill import CellValue, Fill, Filler, ShapeValue, written
from thplab.show.diagrams.page_table import paint
from thplab.show.diagrams.picture import Picture
from thplab.show.diagrams.plan import Plan
from thplab.show.diagrams.view import SIMPLE


class Sheet:
    """Pictures under one plan, in their order; nothing moves between them."""

    def __init__(self, pictures: Sequence[Picture], plan: Plan | None = None) -> None:
        """At least one picture. A plan has places for more than these; it gets one for each of them.
        Raises NoEngine if nothing can lay them out.
        """
        self.pictures = list(pictures)
        self.plan = plan or Plan()
        self.plan.make_room(pictures)
        self.drawn = lay_out(self.plan.dot().source)
        self._filler = Filler(self.plan)

    @classmethod
    def of(cls, states: Sequence[State], detail: str = SIMPLE) -> Sheet:
        """The pictures of the states of a trace, each marked with what its step changed.
        Raises BadInput as Cut.of() does, NoEngine.
        """
        return cls(paint(states, detail))

    def fill(self, number: int) -> Fill:
        """What fills the places for one picture."""
        return self._filler.fill(self.pictures[number])

    def svg(self, number: int = -1) -> str:
        """One picture as SVG that stands alone."""
        return written(self.plan, self.drawn, self.fill(number))

    def dot(self, number: int = -1) -> str:
        """One picture as DOT, which Graphviz lays out as it has the plan."""
        source: str = self.plan.dot(self.pictures[number]).source
        return source

    def page(self) -> dict[str, Any]:
        """All pictures as a page takes them (SheetData in payload.d.ts): the first as SVG, with everything that ever
        has a place, and of each further one what changes.
        """
        places: dict[str, int] = {}
        numbers: dict[CellValue | ShapeValue | None, int] = {}
        changes: list[list[int]] = []
        before: dict[str, CellValue | ShapeValue | None] = {}
        for number in range(len(self.pictures)):
            filled, found = self.fill(number), []
            now = {**filled.cells, **filled.shapes}
            for id, value in now.items():
                if id not in before or (before[id] is not value and before[id] != value):
                    found += [places.setdefault(id, len(places)), numbers.setdefault(value, len(numbers))]
            changes.append(found)
            before = now
        first = written(self.plan, self.drawn, self.fill(0), hidden=True)
        return {"svg": first, "places": list(places), "values": list(numbers), "changes": changes}
