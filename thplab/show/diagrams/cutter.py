"""What the pictures of several states need: their nodes and rows, collected from all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import COLUMNS, PG_anon, PG_head, PG_reserved, PG_used
from thplab.machine.state import Array, State
from thplab.show.diagrams.layout import HUGE_ZERO_PAGE, ZERO_PAGE, Block, Layout, Table
from thplab.show.diagrams.places import Place, find_tables, huge_places, linked_tables
from thplab.show.diagrams.rows import Image, Rows, cut_at, entry_borders, frame_borders, images, limited

MAX_BLOCKS = 4
"""Blocks of frames. What is beyond is a note that counts them; so are tables and pins."""
MAX_TABLES = 4
"""PTE tables of one process."""
MAX_PINS = 4


class Cutter:
    """Collects what all states need. States share the arrays that did not change, so each array is looked at once."""

    def __init__(self, states: Sequence[State]) -> None:
        self.states = states
        self.geometry = states[0].geometry
        self.nr = self.geometry.nr
        self.processes = tuple(dict.fromkeys(p.name for s in states for p in s.processes))
        self.borders: dict[Place, set[int]] = {}
        self.images: dict[tuple[Place, Image], None] = {}
        self.frames: dict[int, set[int]] = {}  # block -> borders of its rows
        self.whole: set[int] = set()
        self.small: dict[int, set[int]] = {}  # block -> small pages in it
        self.owner: dict[int, int] = {}  # block -> number of the process that mapped it first
        self.homes: dict[int, list[Place]] = {}
        self.zeroes: set[str] = set()
        self.seen: set[tuple[object, int]] = set()

    def nodes(self) -> Layout:
        """The nodes that fit all states. Call it once."""
        known = self._find_homes()
        for state in self.states:
            for place, stood in find_tables(state, self.homes, known).items():
                self._see_table(place, state.tables[stood.pfn], state.huge_zero_page)
            for number, block in state.blocks.items():
                self._see_block(number, block)
            for pin in state.pins.values():
                self._see_pin(state, sorted(set(pin.pages)))
        self._match()
        pins = tuple(dict.fromkeys(name for s in self.states for name in s.pins))
        tables, more_tables = self._tables()
        return Layout(
            geometry=self.geometry,
            processes=self.processes,
            tables=tables,
            blocks=self._blocks(),
            pins=pins[:MAX_PINS],
            zero_pages=tuple(name for name in (ZERO_PAGE, HUGE_ZERO_PAGE) if name in self.zeroes),
            homes=self.homes,
            known=known,
            more_tables=more_tables,
            more_blocks=max(0, len(self._block_numbers()) - MAX_BLOCKS),
            more_pins=max(0, len(pins) - MAX_PINS),
        )

    # --- looking at states --------------------------------------------------------------------------------------------

    def _is_new(self, owner: object, data: npt.NDArray[np.generic]) -> bool:
        key = (owner, id(data))
        new = key not in self.seen
        self.seen.add(key)
        return new

    def _find_homes(self) -> tuple[Place, ...]:
        """Note where each frame is linked as a table. Returns all places where a PTE table is or could be put aside."""
        known: set[Place] = set()
        for state in self.states:
            if any(process.deposited for process in state.processes):
                known.update(huge_places(state))
            for place, pfn in linked_tables(state).items():
                known.update([place] if place.level == 0 else [])
                homes = self.homes.setdefault(pfn, [])
                homes += [place] if place not in homes else []
        return tuple(sorted(known))

    def _see_table(self, place: Place, row: pt.Entries, huge_zero_page: int) -> None:
        if not self._is_new(place, row):
            return
        borders = self.borders.setdefault(place, {0, self.nr})
        process = self.processes.index(place.process)
        if place.level == 1:
            for index in np.flatnonzero(row).tolist():
                borders.update((index, index + 1))  # each PMD that is ever used has its own row
                if pt.pmd_trans_huge(int(row[index])) and pt.pte_pfn(int(row[index])) == huge_zero_page:
                    self.zeroes.add(HUGE_ZERO_PAGE)
                elif pt.pmd_trans_huge(int(row[index])):
                    self.owner.setdefault(pt.pte_pfn(int(row[index])) // self.nr, process)
            return
        borders.update(entry_borders(row))
        for image in images(row, self.nr):
            self.images[place, image] = None
            if image.kind == "zero":
                self.zeroes.add(ZERO_PAGE)
            else:
                self.owner.setdefault(image.pfn // self.nr, process)
                self._see_pages(image.pfn, image.stop - image.start)

    def _see_pin(self, state: State, pinned: list[int]) -> None:
        pages = [pfn for pfn in pinned if not state.field("flags", state.head(pfn)) & PG_reserved]
        for pfn in set(pinned).difference(pages):
            self.zeroes.add(ZERO_PAGE if pfn == state.zero_page else HUGE_ZERO_PAGE)
        first = 0
        for i in range(1, len(pages) + 1):
            if i == len(pages) or pages[i] != pages[i - 1] + 1 or pages[i] % self.nr == 0:
                self._see_pages(pages[first], i - first)
                first = i

    def _see_pages(self, pfn: int, count: int) -> None:
        number, first = divmod(pfn, self.nr)
        self.frames.setdefault(number, set()).update((first, first + count))
        self.small.setdefault(number, set()).update(range(first, first + count))

    def _see_block(self, number: int, block: Array) -> None:
        if not self._is_new(number, block):
            return
        flags = block[COLUMNS.index("flags")]
        if flags[0] & PG_head and flags[0] & PG_reserved:
            return  # the huge zero page has a node of its own
        self.frames.setdefault(number, set()).update(frame_borders(block))
        if flags[0] & PG_head:
            self.whole.add(number)
        for pfn in np.flatnonzero(flags & (PG_used | PG_anon) == PG_used | PG_anon).tolist():
            self.small.setdefault(number, set()).add(pfn)

    def _match(self) -> None:
        """Cut tables at the borders of blocks as well, so that every row of a table names frames of one row of a
        block.
        """
        for place, image in self.images:
            if image.kind != "zero":
                number, first = divmod(image.pfn, self.nr)
                count = image.stop - image.start
                self.borders[place].update(
                    image.start + b - first for b in self.frames[number] if first <= b <= first + count
                )

    # --- the result ---------------------------------------------------------------------------------------------------

    def _tables(self) -> tuple[dict[Place, Table], dict[str, int]]:
        kept: dict[Place, Table] = {}
        more: dict[str, int] = {}
        for process in self.processes:
            mine = [place for place in sorted(self.borders) if place.process == process]
            pmds = [place for place in mine if place.level == 1]
            ptes = [place for place in mine if place.level == 0]
            for place in pmds + ptes[:MAX_TABLES]:
                name = f"{process}-pmd{pmds.index(place)}" if place.level else self._pte_id(process, pmds, place)
                kept[place] = Table(name, limited(cut_at(self.borders[place])))
            if len(ptes) > MAX_TABLES:
                more[process] = len(ptes) - MAX_TABLES
        return kept, more

    def _pte_id(self, process: str, pmds: list[Place], place: Place) -> str:
        return f"{process}-pte{pmds.index(place.upper(self.geometry))}-{self.geometry.index(place.base, 1)}"

    def _block_numbers(self) -> list[int]:
        return [n for n in self.frames if n in self.whole or self.small.get(n)]

    def _blocks(self) -> tuple[Block, ...]:
        """What was seen first comes first, but blocks stand beside the processes that mapped them first:
        fewer arrows cross.
        """
        shown = sorted(self._block_numbers()[:MAX_BLOCKS], key=lambda n: self.owner.get(n, len(self.processes)))
        whole = [n for n in shown if n in self.whole]
        small = [n for n in shown if n not in self.whole]
        return tuple(
            Block(f"page{whole.index(n)}", n, True, limited(cut_at(self.frames[n])))
            if n in self.whole
            else Block(f"small{small.index(n)}", n, False, limited(self._small_rows(n)))
            for n in shown
        )

    def _small_rows(self, number: int) -> list[Rows]:
        pages = self.small[number]
        apart = {i for i in range(self.nr + 1) if (i in pages) != (i - 1 in pages)}
        return [rows for rows in cut_at(self.frames[number] | apart) if rows.start in pages]
