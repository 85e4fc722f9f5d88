"""Cells, rows and tables as Graphviz's HTML-like labels. All text of a picture stands in cells of fixed size.

Fixed sizes keep a picture still when a text changes, and make it the same size in every engine and with every font.
Each cell carries an id, which engine.py turns into `<g id=...>` in the SVG, and how its text is aligned.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from thplab.diagrams.roles import light

FONT = "Helvetica"
SIZE, SMALL = 11.0, 9.5
HEIGHT = 20
PAD = 6
"""Points between the edge of a cell and its text."""


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
        """The <TD>, with a thin line below it if `line`. A text that is too long for the cell is set in smaller letters."""
        scale = min(1.0, (self.width - 2 * PAD) / (text_width(self.spans) or 1.0))
        spans = [span._replace(size=span.size * scale) for span in self.spans]
        border = f'BORDER="1" SIDES="B" COLOR="{light("line")}"' if line else 'BORDER="0"'
        return (
            f'<TD ID="{self.id}" HREF="#{self.id}" TITLE="{self.align}" {border} BGCOLOR="{light(self.ground)}" CELLPADDING="0" '
            f'FIXEDSIZE="TRUE" WIDTH="{self.width}" HEIGHT="{self.height}">{"".join(map(_font, spans)) or " "}</TD>'
        )


def _font(span: Span) -> str:
    if not span.text:
        return ""
    text = escape(span.text)
    return f'<FONT COLOR="{light(span.ink)}" POINT-SIZE="{span.size:.3g}">{f"<B>{text}</B>" if span.bold else text}</FONT>'


class Row(NamedTuple):
    """Cells side by side. `id` names the row as a whole and is its port; "" for a row that nothing points to."""

    id: str
    cells: Sequence[Cell]
    line: bool = True

    def html(self) -> str:
        inner = "".join(cell.html(self.line) for cell in self.cells)
        nested = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{inner}</TR></TABLE>'
        name = f'PORT="{self.id}" ID="{self.id}" HREF="#{self.id}" TITLE="row" ' if self.id else ""
        return f'<TR><TD {name}BORDER="0" CELLPADDING="0">{nested}</TD></TR>'


def table(rows: Sequence[Row], frame: str = "", dashed: bool = False) -> str:
    """A label of rows below each other; `frame` is the role of a line around it, "" for none that shows."""
    style = ' STYLE="dashed"' if dashed else ""
    inner = "".join(row.html() for row in rows)
    return f'<<TABLE BORDER="1" COLOR="{light(frame or "paper")}"{style} CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{inner}</TABLE>>'


def label(id: str, spans: Sequence[Span], width: int, height: int = HEIGHT) -> str:
    """A label of one cell, without a frame: titles and the texts of arrows."""
    cell = Cell(id, spans, width, align="middle", height=height)
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{cell.html(line=False)}</TR></TABLE>>'


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
