"""Cells and rows: all text of a picture stands in cells. What they say belongs to a picture;
how wide they are, to the plan of a series.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

FONT = "Helvetica"
SMALL, SIZE, LARGE = 12.0, 13.0, 17.0
"""Sizes of letters, in the picture's own units. A picture is never shown smaller than its own size."""
HEIGHT, TALL = 19, 22
PAD = 6
"""Units between the edge of a cell and its text."""


class Span(NamedTuple):
    """A piece of text in one style. `ink` is a colour role."""

    text: str
    ink: str = "ink"
    bold: bool = False
    size: float = SIZE


class Cell(NamedTuple):
    """One line of text in a box. `align` is "start", "middle" or "end"."""

    id: str
    spans: tuple[Span, ...]
    ground: str = "paper"
    align: str = "start"


class CellRow(NamedTuple):
    """Cells side by side. `id` names the row as a whole and is what arrows lead to; "" if nothing points to it.

    Rows of one node with the same `grid` have columns of the same widths; what is left over goes to the cell `wide`.
    One that is `idle` in every picture of a series is in none.
    """

    id: str
    cells: tuple[Cell, ...]
    grid: str
    wide: int = 0
    line: bool = False
    height: int = HEIGHT
    idle: bool = False


def spans(*pieces: Span | str) -> tuple[Span, ...]:
    """Pieces of text; what is empty is left out."""
    made = (Span(piece) if isinstance(piece, str) else piece for piece in pieces)
    return tuple(span for span in made if span.text)


def old_new(old: str | None, new: str, ink: str = "ink", size: float = SIZE, bold: bool = False) -> tuple[Span, ...]:
    """`new`, or `old → new` in bold if there was an `old` that differs."""
    if old is None or old == new:
        return spans(Span(new, ink, bold, size))
    return spans(Span(f"{old} → {new}" if old else new, bold=True, size=size))


def as_drawn(row: CellRow) -> tuple[Cell, ...]:
    """The cells as they are drawn: on a strong ground only two inks are legible,
    and what is pointed to is so not by colour alone: the first such cell of the row has a sign.
    """
    cells = list(row.cells)
    for i, cell in enumerate(cells):
        if cell.ground in ("changed", "pointed"):
            pieces = (span if span.ink == "muted" else span._replace(ink="ink") for span in cell.spans)
            cells[i] = cell._replace(spans=tuple(pieces))
    first = next((i for i, cell in enumerate(cells) if cell.ground == "pointed"), None)
    if first is not None:
        cells[first] = cells[first]._replace(spans=(Span("▸ ", bold=True), *cells[first].spans))
    return tuple(cells)


_NARROW = {**dict.fromkeys("ijl|.,:;'!·", 0.34), **dict.fromkeys(" ft()[]r-", 0.42), **dict.fromkeys("mwMW…→", 1.0)}


def text_width(pieces: Sequence[Span]) -> float:
    """The width that the text may take in a wide sans-serif font (DejaVu Sans)."""
    return sum(span.size * (1.1 if span.bold else 1.0) * _ems(span.text) for span in pieces)


@lru_cache(maxsize=4096)
def _ems(text: str) -> float:
    return 0.94 * sum(_NARROW.get(letter, 0.69 if letter.isupper() else 0.63) for letter in text)
