"""The arrows of a picture: from entries of page tables to what they point to, and from pins to pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.machine.state import State
from thplab.show.diagrams.layout import HUGE_ZERO_PAGE, ZERO_PAGE, Layout, Table
from thplab.show.diagrams.places import IN_HAND, LINKED, Place, Stood
from thplab.show.diagrams.rows import images

MORE_PAGES, MORE_PINS = "more-pages", "more-pins"
HUGE, TABLE, SPARE, PTE, MIGRATION, PIN = "huge", "table", "spare", "pte", "migration", "pin"


class Ends(NamedTuple):
    """From where to where: a node and the row in it (its port), twice.
    The row is the node itself where it has no rows.
    """

    tail: str
    tail_row: str
    head: str
    head_row: str

    @property
    def id(self) -> str:
        return f"{self.tail_row}--{self.head_row}"


class Arrow(NamedTuple):
    """What an arrow stands for: its kind, how many pages, and whose it is (a process; "" for a pin)."""

    kind: str
    pages: int
    process: str


Found = tuple[tuple[Ends, Arrow], ...]


def arrows(
    state: State, layout: Layout, tables: Mapping[Place, Stood] | None = None, keep: dict[object, Found] | None = None
) -> dict[Ends, Arrow]:
    """The arrows of one state, between the rows of a picture.
    What shares both ends is one arrow with the sum of the pages. `tables` are those of the state that have a place, if
    they are known; `keep` holds what was found before in this layout.
    """
    there = layout.find(state) if tables is None else tables
    found: dict[Ends, Arrow] = {}
    for ends, arrow in _all(state, layout, there, {} if keep is None else keep):
        pages = arrow.pages + (found[ends].pages if ends in found else 0)
        found[ends] = arrow._replace(pages=pages)
    return found


def _all(
    state: State, layout: Layout, tables: Mapping[Place, Stood], keep: dict[object, Found]
) -> Iterator[tuple[Ends, Arrow]]:
    """An entry leads where it leads whatever else happens, so the arrows of a table are found once for each content."""
    for place, stood in tables.items():
        table, row = layout.tables[place], state.tables[stood.pfn]
        if stood.status != LINKED:
            continue
        below = {p: s.status for p, s in tables.items() if p.level == 0 and p.upper(state.geometry) == place}
        key = (place, id(row), state.huge_zero_page, tuple(below.items()) if place.level else ())
        if key not in keep:
            if place.level:
                keep[key] = tuple(_from_pmds(state, layout, place, table, row, below))
            else:
                keep[key] = tuple(_from_ptes(state, layout, place, table, row))
        yield from keep[key]
    for name in layout.pins:
        for pfn in sorted(set(state.pins[name].pages)) if name in state.pins else ():
            node = pin_id(name)
            for target, row_id, count in _frames(state, layout, pfn, 1):
                yield Ends(node, node, target, row_id), Arrow(PIN, count, "")


def _from_pmds(
    state: State, layout: Layout, place: Place, table: Table, row: pt.Entries, status: Mapping[Place, str]
) -> Iterator[tuple[Ends, Arrow]]:
    """`status` is that of the tables below."""
    geometry = state.geometry
    below = {geometry.index(p.base, 1): p for p in status}
    for index in sorted({*np.flatnonzero(row).tolist(), *below}):
        entry = int(row[index])
        start = (table.id, next(table.row_id(rows) for rows in table.rows if rows.start <= index < rows.stop))
        if pt.pmd_trans_huge(entry):
            yield Ends(*start, *_compound(state, layout, pt.pte_pfn(entry))), Arrow(HUGE, geometry.nr, place.process)
        if index not in below:
            if entry and not pt.pmd_trans_huge(entry):
                node = more_tables_id(place.process)
                yield Ends(*start, node, node), Arrow(TABLE, 1, place.process)
        elif status[below[index]] != IN_HAND:
            node = layout.tables[below[index]].id
            kind = TABLE if status[below[index]] == LINKED else SPARE
            yield Ends(*start, node, f"{node}-head"), Arrow(kind, 1, place.process)


def _from_ptes(
    state: State, layout: Layout, place: Place, table: Table, row: pt.Entries
) -> Iterator[tuple[Ends, Arrow]]:
    for image in images(row, state.geometry.nr):
        kind = MIGRATION if image.kind == "migration" else PTE
        for rows in table.rows:
            low, high = max(rows.start, image.start), min(rows.stop, image.stop)
            if low >= high:
                continue
            start = (table.id, table.row_id(rows))
            if image.kind == "zero":
                yield Ends(*start, ZERO_PAGE, ZERO_PAGE), Arrow(PTE, high - low, place.process)
                continue
            for node, row_id, count in _frames(state, layout, image.pfn + low - image.start, high - low):
                yield Ends(*start, node, row_id), Arrow(kind, count, place.process)


def _compound(state: State, layout: Layout, pfn: int) -> tuple[str, str]:
    if pfn == state.huge_zero_page:
        return HUGE_ZERO_PAGE, HUGE_ZERO_PAGE
    block = layout.block_at(pfn)
    return (block.id, f"{block.id}-head") if block else (MORE_PAGES, MORE_PAGES)


def _frames(state: State, layout: Layout, pfn: int, count: int) -> Iterator[tuple[str, str, int]]:
    """The rows that show `count` frames of one block from `pfn` on: node, row, and how many of the frames are in it."""
    if pfn == state.zero_page:
        yield ZERO_PAGE, ZERO_PAGE, count
        return
    if state.huge_zero_page and pfn - pfn % state.geometry.nr == state.huge_zero_page:
        yield HUGE_ZERO_PAGE, HUGE_ZERO_PAGE, count
        return
    block = layout.block_at(pfn)
    if block is None:
        yield MORE_PAGES, MORE_PAGES, count
        return
    first = pfn % state.geometry.nr
    for rows in block.rows:
        low, high = max(rows.start, first), min(rows.stop, first + count)
        if low < high:
            yield block.id, block.row_id(rows), high - low


def pin_id(name: str) -> str:
    """The id of a pin's note."""
    return f"pin-{name}"


def more_tables_id(process: str) -> str:
    """The id of the note that counts the PTE tables of a process that are not drawn."""
    return f"{process}-more"
