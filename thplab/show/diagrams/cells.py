"""Cells, rows and tables as Graphviz's HTML-like labels. All text of a picture stands in cells of fixed size.

Fixed sizes keep a picture still when a text changes, and make it the same size in every engine and with every font.
Each cell carries an id, which engine.py turns into `<g id=...>` in the SVG, and how its text is aligned.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from thplab.show.diagrams.roles import light

FONT = "Helvetica"
SIZE, SMALL = 11.0, 9.5
HEIGHT = 20
PAD = 6
"""Points between the edge of a cell and its text."""
STRIP_WIDTH, THICK = 60, 4


class Span(NamedTuple):
    """A piece of text in one style. `ink` is a colour role, `size` in points."""

    text: str
    ink: str = "ink"
    bold: bool = False
    size: float = SIZE


class Cell(NamedTuple):
    """One line of text in a box. `align` is "start", "middle" or "end"; `width` and `height` are in points."""

    id: str
    spans: Sequence[Span]
    width: int
    ground: str = "paper"
    align: str = "start"
    height: int = HEIGHT

    def html(self, line: bool) -> str:
        """The <TD>, with a thin line below it if `line`.
        A text that is too long for the cell is set in smaller letters.
        """
        scale = min(1.0, (self.width - 2 * PAD) / (text_width(self.spans) or 1.0))
        strong = self.ground in ("changed", "pointed")  # only these inks are legible there
        inks = [span.ink if not strong or span.ink == "muted" else "ink" for span in self.spans]
        spans = [span._replace(size=span.size * scale, ink=ink) for span, ink in zip(self.spans, inks, strict=True)]
        border = f'BORDER="1" SIDES="B" COLOR="{light("line")}"' if line else 'BORDER="0"'
        return (
            f'<TD ID="{self.id}" HREF="#{self.id}" TITLE="{self.align}" {border} BGCOLOR="{light(self.ground)}" '
            'CELLPADDING="0" '
            f'FIXEDSIZE="TRUE" WIDTH="{self.width}" HEIGHT="{self.height}">{"".join(map(_font, spans))}</TD>'
        )


def _font(span: Span) -> str:
    if not span.text:
        return ""
    text = escape(span.text)
    return (
        f'<FONT COLOR="{light(span.ink)}" POINT-SIZE="{span.size:.3g}">{f"<B>{text}</B>" if span.bold else text}</FONT>'
    )


class CellRow(NamedTuple):
    """Cells side by side. `id` names the row as a whole and is its port; "" for a row that nothing points to."""

    id: str
    cells: Sequence[Cell]
    line: bool = True

    def html(self) -> str:
        cells = list(self.cells)
        first = next((i for i, cell in enumerate(cells) if cell.ground == "pointed"), None)
        if first is not None:  # never by colour alone
            cells[first] = cells[first]._replace(spans=[Span("▸ ", bold=True), *cells[first].spans])
        inner = "".join(cell.html(self.line) for cell in cells)
        nested = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{inner}</TR></TABLE>'
        name = f'PORT="{self.id}" ID="{self.id}" HREF="#{self.id}" TITLE="row" ' if self.id else ""
        return f'<TR><TD {name}BORDER="0" CELLPADDING="0">{nested}</TD></TR>'


class Strip(NamedTuple):
    """A thick line across, with a text in its middle; nothing but paper if `text` is empty. `id` is its port."""

    id: str
    text: str
    ink: str
    width: int

    def html(self) -> str:
        side = (self.width + 2 - STRIP_WIDTH) // 2  # as wide as a table with its frame
        ground = light(self.ink if self.text else "paper")
        line = "".join(
            f'<TR><TD BORDER="0" CELLPADDING="0" FIXEDSIZE="TRUE" WIDTH="{side}" HEIGHT="{height}" '
            f'BGCOLOR="{colour}"></TD></TR>'
            for height, colour in ((8, light("paper")), (THICK, ground), (8, light("paper")))
        )
        part = (
            '<TD BORDER="0" CELLPADDING="0"><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" '
            f'CELLPADDING="0">{line}</TABLE></TD>'
        )
        text = Cell(f"{self.id}-text", [Span(self.text, self.ink, bold=True)], STRIP_WIDTH, align="middle").html(
            line=False
        )
        inner = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{part}{text}{part}</TR></TABLE>'
        return (
            f'<TR><TD PORT="{self.id}" ID="{self.id}" HREF="#{self.id}" TITLE="row" BORDER="0" '
            f'CELLPADDING="0">{inner}</TD></TR>'
        )


def table(rows: Sequence[CellRow | Strip], frame: str = "", dashed: bool = False) -> str:
    """A label of rows below each other; `frame` is the role of a line around it, "" for none that shows."""
    return f"<{_table(rows, frame, dashed)}>"


def table_below(strip: Strip, id: str, rows: Sequence[CellRow], frame: str, dashed: bool) -> str:
    """As table(), with a strip above the frame. `id` names what is in the frame."""
    inner = _table(rows, frame, dashed).replace("<TABLE ", f'<TABLE ID="{id}" HREF="#{id}" TITLE="row" ', 1)
    return (
        '<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" '
        f'CELLPADDING="0">{strip.html()}<TR><TD>{inner}</TD></TR></TABLE>>'
    )


def _table(rows: Sequence[CellRow | Strip], frame: str, dashed: bool) -> str:
    style = ' STYLE="dashed"' if dashed else ""
    inner = "".join(row.html() for row in rows)
    return (
        f'<TABLE BORDER="1" COLOR="{light(frame or "paper")}"{style} CELLBORDER="0" CELLSPACING="0" '
        f'CELLPADDING="0">{inner}</TABLE>'
    )


def more(id: str, count: int, what: str, width: int) -> str:
    """The label of a note that says what there was no room for: "… 3 more blocks"."""
    text = f"… {count} more {what}" + "s" * (count != 1)
    return table([CellRow(id, [Cell(f"{id}-text", [Span(text, "muted")], width)], line=False)], "line", dashed=True)


def old_new(old: str | None, new: str, ink: str = "ink") -> list[Span]:
    """`new`, or `old → new` in bold if there was an `old` that differs."""
    if old is None or old == new:
        return [Span(new, ink)]
    return [Span(f"{old} → {new}" if old else new, bold=True)]


_NARROW = {**dict.fromkeys("ijl|.,:;'!·", 0.34), **dict.fromkeys(" ft()[]r-", 0.42), **dict.fromkeys("mwMW…→", 1.0)}


def text_width(spans: Sequence[Span]) -> float:
    """The width in points that the text may take in a wide sans-serif font (DejaVu Sans)."""
    return sum(span.size * (1.1 if span.bold else 1.0) * sum(map(_em, span.text)) for span in spans)


def _em(letter: str) -> float:
    return _NARROW.get(letter, 0.69 if letter.isupper() else 0.63)
