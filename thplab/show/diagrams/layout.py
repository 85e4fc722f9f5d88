"""The nodes and rows of a picture: what has a place in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from thplab.hardware.geometry import Geometry
from thplab.machine.state import State
from thplab.show.diagrams.places import Homes, Place, Stood, find_tables
from thplab.show.diagrams.rows import Rows

ZERO_PAGE, HUGE_ZERO_PAGE = "zero-page", "huge-zero-page"


class Table(NamedTuple):
    """The node of a page table: its id, such as "A-pmd0" or "A-pte0-5" (PMD index 5 of A's first PMD table),
    and its rows.
    """

    id: str
    rows: tuple[Rows, ...]

    def row_id(self, rows: Rows) -> str:
        return f"{self.id}-r{rows.start}"


class Block(NamedTuple):
    """The node of a block of frames of a huge page's size, number `number` in memory.

    `whole`: it was a compound page in some state, all its frames have rows. Else only the small pages in it have.
    """

    id: str
    number: int
    whole: bool
    rows: tuple[Rows, ...]

    def row_id(self, rows: Rows) -> str:
        return f"{self.id}-r{rows.start}"


@dataclass(frozen=True)
class Layout:
    """The nodes and rows of all pictures that belong together.

    `zero_pages` has the ids of those that anything points to. `homes` and `known` serve to find the place of a table.
    `more_tables` (process -> count), `more_blocks`, `more_pins`: what there was no room for.
    """

    geometry: Geometry
    processes: tuple[str, ...]
    tables: Mapping[Place, Table]
    blocks: tuple[Block, ...]
    pins: tuple[str, ...]
    zero_pages: tuple[str, ...]
    homes: Homes
    known: tuple[Place, ...]
    more_tables: Mapping[str, int]
    more_blocks: int
    more_pins: int

    def find(self, state: State) -> dict[Place, Stood]:
        """The tables of `state` that have a place here."""
        return {
            place: stood for place, stood in find_tables(state, self.homes, self.known).items() if place in self.tables
        }

    def block_at(self, pfn: int) -> Block | None:
        """The block that shows a frame; None if there was no room for it."""
        return next((b for b in self.blocks if b.number == pfn // self.geometry.nr), None)
