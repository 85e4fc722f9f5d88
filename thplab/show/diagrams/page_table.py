"""The page-table picture: processes and their tables on the left, the pages they map on the right, pins beyond."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from thplab.errors import BadInput
from thplab.machine.state import State
from thplab.show.diagrams.arrows import HUGE, SPARE, Arrow, Ends, Found, arrows
from thplab.show.diagrams.cells import Cell, CellRow, Span, spans
from thplab.show.diagrams.cut import Cut
from thplab.show.diagrams.memory import memory_of
from thplab.show.diagrams.picture import Look, Picture, PictureNode
from thplab.show.diagrams.places import Place, Stood
from thplab.show.diagrams.process import box_of
from thplab.show.diagrams.roles import process_role
from thplab.show.diagrams.view import DETAILS, FULL, SIMPLE, View


class Painter:
    """Makes the pictures of states that are all under one cut and in one detail. What did not change is made once."""

    def __init__(self, cut: Cut, detail: str = SIMPLE, mark: Collection[str] = ()) -> None:
        """`mark` holds ids of rows, cells and nodes to point to. Raises BadInput for a detail that does not exist."""
        if detail not in DETAILS:
            raise BadInput("detail", f"is {detail!r}", " or ".join(DETAILS))
        self.cut, self.full, self.mark = cut, detail == FULL, frozenset(mark)
        self._states: list[State] = []  # so that their arrays, which the nodes are kept by, live as long
        self._nodes: dict[object, PictureNode] = {}
        self._found: dict[object, Found] = {}
        self._tables: dict[object, dict[Place, Stood]] = {}
        self._arrows: dict[int, dict[Ends, Arrow]] = {}

    def paint(self, state: State, previous: State | None = None) -> Picture:
        """The picture of `state`; what differs from `previous` is marked. The cut must have a place for both.
        Raises BadInput if the cut is of another geometry, or for a mark that is not in the picture.
        """
        if self.cut.geometry != state.geometry:
            raise BadInput("cut", f"is for geometry {self.cut.geometry.name}", f"one for {state.geometry.name}")
        tables, before = self._find(state), self._find(previous) if previous else {}
        view = View(state, previous, self.cut, self.mark, self.full, tables, before)
        boxes = tuple(box_of(view, name, self._nodes) for name in self.cut.processes)
        nodes = memory_of(view, self._nodes)
        if not self.cut.processes and not self.cut.blocks:
            cell = Cell("nothing-text", spans(Span("no process yet", "muted")))
            nodes = (PictureNode("nothing", (CellRow("nothing", (cell,), "note"),)),)
        now = self._arrows_of(state)
        then = self._arrows_of(previous) if previous else now
        looks = {ends: self._look(arrow, then.get(ends)) for ends, arrow in now.items()}
        picture = Picture(boxes, nodes, looks)
        if self.mark:
            self._refuse_lost_marks(picture)
        return picture

    def _refuse_lost_marks(self, picture: Picture) -> None:
        shown = {node.id for node in picture.all_nodes() if node.shown} | picture.cells.keys()
        shown |= {row.id for _, row in picture.all_rows()} | {box.id for box in picture.boxes if box.shown}
        for id in sorted(self.mark - shown):
            known = "ids of rows and nodes, such as A-pmd0-r0 or page0"
            raise BadInput("mark", f"{id!r} is not in this picture", known)

    def _find(self, state: State) -> dict[Place, Stood]:
        """The tables of a state, looked for once for each set of tables."""
        key = tuple(state.levels.items()), tuple(map(id, state.tables.values())), state.processes
        if key not in self._tables:
            self._states.append(state)
            self._tables[key] = self.cut.find(state)
        return self._tables[key]

    def _arrows_of(self, state: State) -> dict[Ends, Arrow]:
        """In the simple picture tables that wait are a number, so nothing leads to them."""
        if id(state) not in self._arrows:
            self._states.append(state)
            found = arrows(state, self.cut, self._find(state), self._found)
            self._arrows[id(state)] = {e: a for e, a in found.items() if self.full or a.kind != SPARE}
        return self._arrows[id(state)]

    def _look(self, arrow: Arrow, before: Arrow | None) -> Look:
        role = process_role(self.cut.processes.index(arrow.process)) if arrow.process else "pin"
        changed = before is None or before.kind != arrow.kind
        label = f"all {arrow.pages}" if arrow.kind == HUGE else ""
        return Look(arrow.kind, "muted" if arrow.kind == SPARE else role, changed, label)


def paint(states: Sequence[State], detail: str = SIMPLE) -> list[Picture]:
    """The pictures of the states of a trace, each marked with what its step changed; the first marks nothing.
    Raises BadInput as Cut.of() does.
    """
    painter = Painter(Cut.of(states), detail)
    return [painter.paint(now, before) for before, now in zip([None, *states], states, strict=False)]
