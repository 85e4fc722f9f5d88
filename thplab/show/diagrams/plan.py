"""The plan of a series of pictures: what has a place in them, and how wide it is, from all of them together.

Graphviz lays a plan out once. A picture can still be had as DOT of its own, which Graphviz lays out alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise

import graphviz

from thplab.show.diagrams.arrows import HUGE, MIGRATION, PIN, SPARE, TABLE, Ends
from thplab.show.diagrams.cells import FONT, PAD, Cell, CellRow, as_drawn, text_width
from thplab.show.diagrams.picture import Look, Picture, PictureNode, ProcessBox
from thplab.show.diagrams.roles import CLEAR, light

STYLES = {
    HUGE: {"penwidth": "4", "arrowsize": "1.5"},
    TABLE: {"penwidth": "1.4"},
    SPARE: {"penwidth": "1.2", "style": "dashed", "arrowhead": "none"},
    MIGRATION: {"penwidth": "1.4", "style": "dotted"},
    PIN: {"penwidth": "1.6", "style": "dashed"},
}
PLAIN = {"penwidth": "1.5"}
LEAST = 24
"""No column is narrower than this."""


class Plan:
    """What has a place in all pictures of a series: nodes, rows and columns that say something in any of them."""

    def __init__(self) -> None:
        self.boxes: dict[str, ProcessBox] = {}
        self.nodes: dict[str, PictureNode] = {}
        self.arrows: dict[Ends, Look] = {}
        self._columns: dict[str, dict[str, list[float]]] = {}  # what is equally wide -> grid -> widths
        self._rows: dict[tuple[str, str], bool] = {}  # node, first cell -> does the row say anything

    def make_room(self, pictures: Sequence[Picture]) -> None:
        """Give a place to everything in `pictures`, which are under the cut and in the detail of those before."""
        seen: set[int] = set()
        arrows = dict(self.arrows)
        for picture in pictures:
            for box in picture.boxes:
                if box.shown:
                    self.boxes[box.id] = box
                    self._see(box.id, box.id, box.title)
            for node in picture.all_nodes():
                if node.shown and id(node) not in seen:
                    seen.add(id(node))
                    self.nodes[node.id] = node
                    self._see(node.id, _alike(node), node.rows)
            arrows |= {ends: look for ends, look in picture.arrows.items() if ends not in arrows}
        boxes = [box.id for picture in pictures[:1] for box in picture.boxes]
        self.boxes = {id: self.boxes[id] for id in boxes if id in self.boxes}
        order = [node.id for picture in pictures[:1] for node in picture.all_nodes()]
        self.nodes = {id: self.nodes[id] for id in order if id in self.nodes}
        self.arrows = {e: arrows[e] for e in sorted(arrows) if e.tail in self.nodes and e.head in self.nodes}

    def _see(self, id: str, alike: str, rows: Iterable[CellRow]) -> None:
        columns = self._columns.setdefault(alike, {})
        for row in rows:
            key = (id, row.cells[0].id)
            self._rows[key] = self._rows.get(key, False) or not (row.idle or all(not cell.spans for cell in row.cells))
            wide = columns.setdefault(row.grid, [0.0] * len(row.cells))
            for i, cell in enumerate(as_drawn(row)):
                if cell.spans:
                    wide[i] = max(wide[i], LEAST, text_width(cell.spans) + 2 * PAD)

    # --- what has a place ---------------------------------------------------------------------------------------------

    def rows(self, id: str, rows: Iterable[CellRow]) -> list[CellRow]:
        """Those of the rows of a node or box that have a place."""
        return [row for row in rows if self._rows.get((id, row.cells[0].id), False)]

    def widths(self, alike: str, row: CellRow) -> list[int]:
        """The width of each cell of a row; 0: it has no place."""
        columns = {grid: [round(width) for width in widths] for grid, widths in self._columns[alike].items()}
        own = columns[row.grid]
        wide = row.wide if own[row.wide] else next(i for i, width in enumerate(own) if width)
        own[wide] += max(map(sum, columns.values())) - sum(own)
        return own

    # --- DOT ----------------------------------------------------------------------------------------------------------

    def dot(self, picture: Picture | None = None) -> graphviz.Digraph:
        """One picture as DOT; without one, everything that has a place, empty: what is laid out."""
        graph = graphviz.Digraph("thplab")
        graph.attr(rankdir="LR", bgcolor=light("paper"), nodesep="0.1", ranksep="0.39", pad="0.06")
        graph.attr(newrank="true", mclimit="0.01")  # processes stay in their order, below each other
        graph.attr("node", shape="plain", fontname=FONT, fontcolor=light("ink"))
        graph.attr("edge", fontname=FONT, arrowsize="0.7")
        shown = {node.id: node for node in picture.all_nodes()} if picture else self.nodes
        boxes = {box.id: box for box in picture.boxes} if picture else self.boxes
        for id, box in self.boxes.items():
            self._add_box(graph, box, boxes[id], shown)
        inside = {node.id for box in self.boxes.values() for node in box.nodes}
        for id, node in self.nodes.items():
            if id not in inside:
                self._add_node(graph, node, shown.get(id, node))
        self._keep_order(graph)
        for ends, ever in self.arrows.items():
            self._add_arrow(graph, ends, ever, picture.arrows.get(ends) if picture else ever)
        return graph

    def _add_box(
        self, graph: graphviz.Digraph, ever: ProcessBox, now: ProcessBox, shown: dict[str, PictureNode]
    ) -> None:
        with graph.subgraph(name=f"cluster_{ever.id}") as box:
            look = "rounded" if now.shown else "invis"
            box.attr(id=ever.id, style=look, color=light(ever.role), penwidth="1.6", margin="5", labeljust="l")
            title = self._label(ever.id, ever.id, ever.title, now.title, "", False)
            box.attr(label=title, **{"class": f"process {ever.role}"})
            for node in ever.nodes:
                if node.id in self.nodes:
                    self._add_node(box, self.nodes[node.id], shown.get(node.id, node))
            if not any(node.id in self.nodes for node in ever.nodes):  # Graphviz draws no box without a node
                box.node(f"{ever.id}-nothing", "", style="invis", shape="point")

    def _add_node(self, graph: graphviz.Digraph, ever: PictureNode, now: PictureNode) -> None:
        style = "" if now.shown else "invis"
        label = self._label(ever.id, _alike(ever), ever.rows, now.rows, now.frame if now.shown else "", now.dashed)
        graph.node(ever.id, label, id=ever.id, style=style, **{"class": now.kind})

    def _label(
        self, id: str, alike: str, ever: Sequence[CellRow], now: Sequence[CellRow], frame: str, dashed: bool
    ) -> str:
        said = {row.cells[0].id: row for row in now}
        rows = (said.get(row.cells[0].id, _emptied(row)) for row in self.rows(id, ever))
        inner = "".join(_row_html(row, self.widths(alike, row)) for row in rows)
        style = ' STYLE="dashed"' if dashed else ""
        border = f'BORDER="1" COLOR="{light(frame or "paper")}"{style}'
        return f'<<TABLE {border} CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{inner}</TABLE>>'

    def _keep_order(self, graph: graphviz.Digraph) -> None:
        """Processes stand below each other, and so does memory, in a fixed order, right of all tables."""
        memory = [id for id, node in self.nodes.items() if node.rank == "memory"]
        pins = [id for id, node in self.nodes.items() if node.rank == "pin"]
        tables = [id for id, node in self.nodes.items() if node.rank in ("pmd", "pte")]
        pmds, ptes = ([id for id in tables if self.nodes[id].rank == rank] for rank in ("pmd", "pte"))
        for column in (pmds, ptes, memory, pins):
            if column:
                with graph.subgraph() as same:
                    same.attr(rank="same")
                    for above, below in pairwise(column):
                        same.edge(above, below, style="invis")
                    same.node(column[0])
        for id in tables if memory else ():
            graph.edge(id, memory[0], style="invis", weight="1", minlen="2")
        for id in pins if memory else ():
            graph.edge(memory[0], id, style="invis", weight="0")

    def _add_arrow(self, graph: graphviz.Digraph, ends: Ends, ever: Look, now: Look | None) -> None:
        tail, head = f"{ends.tail}:{ends.tail_row}:e", f"{ends.head}:{ends.head_row}:w"
        style: dict[str, str] = {"style": "invis"}
        if now:
            changed = " changed" if now.changed else ""
            style = {"color": light(now.role), "class": f"{now.kind} {now.role}{changed}"} | STYLES.get(now.kind, PLAIN)
        if ever.kind == PIN:  # drawn backwards, so that the notes stand on the far side of the pages
            tail, head = f"{ends.head}:{ends.head_row}:e", f"{ends.tail}:{ends.tail_row}:w"
            style["dir"] = "back"
        length = "1" if ever.kind in (TABLE, SPARE, PIN) else "2"
        graph.edge(tail, head, id=ends.id, minlen=length, **style)


def _alike(node: PictureNode) -> str:
    """What has the same widths as the node: tables that stand below each other, else nothing."""
    return node.rank if node.kind.startswith("table") else node.id


def _emptied(row: CellRow) -> CellRow:
    return row._replace(cells=tuple(Cell(cell.id, ()) for cell in row.cells), line=False)


def _row_html(row: CellRow, widths: Sequence[int]) -> str:
    inner = "".join(
        _cell_html(cell, width, row.height, row.line)
        for cell, width in zip(as_drawn(row), widths, strict=True)
        if width
    )
    nested = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{inner}</TR></TABLE>'
    name = f'PORT="{row.id}" ID="{row.id}" HREF="#{row.id}" TITLE="row" ' if row.id else ""
    return f'<TR><TD {name}BORDER="0" CELLPADDING="0">{nested}</TD></TR>'


def _cell_html(cell: Cell, width: int, height: int, line: bool) -> str:
    border = f'BORDER="1" SIDES="B" COLOR="{light("line")}"' if line else 'BORDER="0"'
    ground = light("paper" if cell.ground == CLEAR else cell.ground)  # Graphviz tells where a cell is only of a ground
    text = "".join(
        f'<FONT COLOR="{light(span.ink)}" POINT-SIZE="{span.size:.3g}">'
        + (f"<B>{escape(span.text)}</B>" if span.bold else escape(span.text))
        + "</FONT>"
        for span in cell.spans
    )
    return (
        f'<TD ID="{cell.id}" HREF="#{cell.id}" TITLE="{cell.align}" {border} BGCOLOR="{ground}" '
        f'CELLPADDING="0" FIXEDSIZE="TRUE" WIDTH="{width}" HEIGHT="{height}">{text}</TD>'
    )
