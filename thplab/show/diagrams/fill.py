"""A laid-out plan filled in with a picture: texts, colours, which arrows show.

The values are the one source of both: what pictures.js does to an SVG in a page, written() writes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import NamedTuple

from thplab.show.diagrams.arrows import MIGRATION, PIN, SPARE
from thplab.show.diagrams.cells import PAD, SIZE, CellRow, Span, as_drawn, text_width
from thplab.show.diagrams.drawn import Course, Drawn, Rect
from thplab.show.diagrams.picture import Look, Picture, PictureNode
from thplab.show.diagrams.plan import PLAIN, STYLES, Plan
from thplab.show.diagrams.roles import ROLES, light, stylesheet

Text = tuple[str, str, int, float]
"""A piece of text: what it says, its ink, bold or not, its size."""


class CellValue(NamedTuple):
    """What fills a cell."""

    ground: str
    texts: tuple[Text, ...]


class ShapeValue(NamedTuple):
    """How the frame of a node or a box looks, or an arrow."""

    classes: str
    line: str
    dashes: str
    width: str


class Fill(NamedTuple):
    """What fills each place, by its id; None: it does not show."""

    cells: Mapping[str, CellValue | None]
    shapes: Mapping[str, ShapeValue | None]


_DASHES = {SPARE: "5,2", PIN: "5,2", MIGRATION: "1,3"}


class Filler:
    """Makes the values of pictures that fit one plan; those of nodes that come again are made once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._of_nodes: dict[int, tuple[PictureNode, Mapping[str, CellValue | None]]] = {}

    def fill(self, picture: Picture) -> Fill:
        """The value of every place."""
        cells: dict[str, CellValue | None] = {}
        shapes: dict[str, ShapeValue | None] = {}
        for box in (box for box in picture.boxes if box.id in self.plan.boxes):
            shapes[box.id] = ShapeValue(f"process {box.role}", light(box.role), "", "1.6") if box.shown else None
            cells |= _cells(self.plan.rows(box.id, self.plan.boxes[box.id].title), box.title)
        for node in picture.all_nodes():
            if node.id in self.plan.nodes:
                look = ShapeValue(node.kind, light(node.frame or "paper"), "4,3" if node.dashed else "", "1")
                shapes[node.id] = look if node.shown else None
                cells |= self._cells_of(node)
        for ends in self.plan.arrows:
            shapes[ends.id] = _arrow(picture.arrows.get(ends))
        return Fill(cells, shapes)

    def _cells_of(self, node: PictureNode) -> Mapping[str, CellValue | None]:
        if id(node) not in self._of_nodes:
            ever = self.plan.rows(node.id, self.plan.nodes[node.id].rows)
            self._of_nodes[id(node)] = node, _cells(ever, node.rows if node.shown else ())
        return self._of_nodes[id(node)][1]


def _cells(ever: Iterable[CellRow], now: Iterable[CellRow]) -> dict[str, CellValue | None]:
    values: dict[str, CellValue | None] = {cell.id: None for row in ever for cell in row.cells}
    for row in now:
        for cell in as_drawn(row):
            if cell.id in values:
                texts = tuple((s.text, light(s.ink), int(s.bold), s.size) for s in cell.spans)
                values[cell.id] = CellValue(light(cell.ground), texts)
    return values


def _arrow(look: Look | None) -> ShapeValue | None:
    if look is None:
        return None
    width = STYLES.get(look.kind, PLAIN)["penwidth"]
    changed = " changed" if look.changed else ""
    return ShapeValue(f"edge {look.kind} {look.role}{changed}", light(look.role), _DASHES.get(look.kind, ""), width)


# --- as SVG -----------------------------------------------------------------------------------------------------------


def written(plan: Plan, drawn: Drawn, values: Fill, hidden: bool = False) -> str:
    """The SVG of a filled plan, without a prolog. With `hidden` what does not show is there, too, for a page."""
    body = "\n".join(_Writer(plan, drawn, values, hidden).parts())
    used = frozenset(name for name, role in ROLES.items() if f'"{role.light}"' in body)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="thp" viewBox="0 0 {drawn.width:g} {drawn.height:g}" '
        f'width="{drawn.width:g}" height="{drawn.height:g}">'
    )
    if hidden:  # the page has the styles, and only once
        return f"{head}\n{body}\n</svg>"
    fonts = ".thp{max-width:100%;height:auto;font-family:Helvetica,Arial,'Liberation Sans','DejaVu Sans',sans-serif}"
    return f"{head}\n<style>\n{fonts}\n{stylesheet(used)}\n</style>\n{body}\n</svg>"


class _Writer:
    def __init__(self, plan: Plan, drawn: Drawn, values: Fill, hidden: bool) -> None:
        self.plan, self.drawn, self.values, self.hidden = plan, drawn, values, hidden

    def parts(self) -> Iterator[str]:
        """Frames at the bottom, arrows over them; what is to be read over those."""
        yield f'<rect width="{self.drawn.width:g}" height="{self.drawn.height:g}" fill="{light("paper")}"/>'
        for id in self.plan.boxes:
            if self._has(id):
                yield self._group(id, self._frame(self.drawn.boxes[id], id, ' rx="10"'))
        for ends, look in self.plan.arrows.items():
            if self._has(ends.id):
                yield self._group(ends.id, self._arrow(ends.id, self.drawn.arrows[ends.id], look.label))
        for id, box in self.plan.boxes.items():
            if self._has(id):
                yield self._rows(id, self.plan.rows(id, box.title))
        for id, node in self.plan.nodes.items():
            if self._has(id):
                rows = self.plan.rows(id, node.rows)
                cells = (cell.id for row in rows for cell in row.cells)
                around = Rect.around(self.drawn.cells[cell] for cell in cells if cell in self.drawn.cells)
                yield self._group(id, self._rows(id, rows) + self._frame(around, id))

    def _has(self, id: str) -> bool:
        return self.hidden or self.values.shapes[id] is not None

    def _group(self, id: str, inner: str) -> str:
        value = self.values.shapes[id]
        look = f'class="{value.classes}"' if value else 'display="none"'
        return f'<g id="{id}" {look}>{inner}</g>'

    def _line(self, id: str) -> str:
        value = self.values.shapes[id]
        if value is None:
            return ""
        dashes = f' stroke-dasharray="{value.dashes}"' if value.dashes else ""
        return f' stroke="{value.line}" stroke-width="{value.width}"{dashes}'

    def _frame(self, box: Rect, id: str, more: str = "") -> str:
        return f'<rect class="frame" {_at(box)} fill="none"{more}{self._line(id)}/>'

    def _rows(self, id: str, rows: Iterable[CellRow]) -> str:
        out = []
        for row in rows:
            known = [cell for cell in row.cells if cell.id in self.drawn.cells]
            cells = [cell for cell in known if self.hidden or self.values.cells[cell.id] is not None]
            inner = " ".join(
                self._cell(cell.id, cell.align) for cell in cells
            )  # read aloud, cells are words of their own
            if row.line and cells:
                around = Rect.around(self.drawn.cells[cell.id] for cell in cells)
                inner += f'<path d="M{around.left:g} {around.bottom:g}H{around.right:g}" stroke="{light("line")}"/>'
            out.append(f'<g id="{row.id}" class="row">{inner}</g>' if row.id not in ("", id) else inner)
        return "".join(out)

    def _cell(self, id: str, align: str) -> str:
        box, value = self.drawn.cells[id], self.values.cells[id]
        x = {"start": box.left + PAD, "middle": (box.left + box.right) / 2, "end": box.right - PAD}[align]
        y = (box.top + box.bottom) / 2 + 0.35 * SIZE
        ground = f' fill="{value.ground}"' if value else ""
        pieces = "".join(map(_tspan, value.texts)) if value else ""
        text = f'<text x="{x:g}" y="{y:.1f}" text-anchor="{align}">{pieces}</text>' if pieces or self.hidden else ""
        look = "" if value else ' display="none"'
        return f'<g id="{id}" class="cell"{look}><rect {_at(box)}{ground} shape-rendering="crispEdges"/>{text}</g>'

    def _arrow(self, id: str, course: Course, label: str) -> str:
        value = self.values.shapes[id]
        ground = f' fill="{value.line}"' if value else ""
        out = f'<path class="frame" d="{course.curve}" fill="none"{self._line(id)}/>'
        if course.head:
            out += f'<polygon points="{course.head}"{ground}/>'
        if label:
            x, y = course.label
            half = text_width([Span(label, bold=True)]) / 2 + 3
            under = _at(Rect(x - half, y - 9, x + half, y + 9))
            font = f'text-anchor="middle" font-weight="bold" font-size="{SIZE:g}"'
            out += f'<rect {under} fill="{light("paper")}"/>'
            out += f'<text x="{x:.1f}" y="{y + 0.35 * SIZE:.1f}" {font}{ground}>{escape(label)}</text>'
        return out


def _at(box: Rect) -> str:
    width, height = box.right - box.left, box.bottom - box.top
    return f'x="{box.left:.4g}" y="{box.top:.4g}" width="{width:.4g}" height="{height:.4g}"'


def _tspan(piece: Text) -> str:
    text, ink, bold, size = piece
    weight = ' font-weight="bold"' if bold else ""
    return f'<tspan fill="{ink}"{weight} font-size="{size:g}">{escape(text)}</tspan>'
