"""Runs: entries and frames next to each other that a picture shows as one row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import COLUMNS, PG_head, PG_table, PG_tail, PG_used
from thplab.machine.state import Array

MAX_ROWS = 12
"""Rows of one table or block. What is beyond is one last row, which says how many runs it stands for."""


class Rows(NamedTuple):
    """Entries or frames [start, stop) that have one row. `runs` > 1:
    so many different runs, for which there was no room.
    """

    start: int
    stop: int
    runs: int = 1

    @property
    def part(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def span(self) -> str:
        """ "4" or "2…511"."""
        return str(self.start) if self.stop - self.start == 1 else f"{self.start}…{self.stop - 1}"

    @property
    def more(self) -> str:
        """What a row for many runs says of itself: "… 37 more runs"."""
        return f"… {self.runs} more runs"


def cut_at(borders: Iterable[int]) -> list[Rows]:
    """Rows between neighbouring borders."""
    return [Rows(low, high) for low, high in pairwise(sorted(borders))]


def limited(rows: list[Rows]) -> tuple[Rows, ...]:
    """At most MAX_ROWS rows: the last one stands for all that are too many."""
    if len(rows) <= MAX_ROWS:
        return tuple(rows)
    kept, rest = rows[: MAX_ROWS - 1], rows[MAX_ROWS - 1 :]
    return (*kept, Rows(rest[0].start, rest[-1].stop, len(rest)))


class Image(NamedTuple):
    """Entries [start, stop) of a PTE table and the frames from `pfn` on that they name.
    "zero" entries all name the same one.
    """

    start: int
    stop: int
    pfn: int
    kind: str  # as in thplab.machine.state.Mapped


def images(row: pt.Entries, nr: int) -> Iterator[Image]:
    """What the entries of a PTE table name, as runs that stay within one block of `nr` frames.
    Empty entries are left out.
    """
    for run in cut_at(entry_borders(row)):
        entry = int(row[run.start])
        kind = pt.pte_kind(entry)
        if kind in ("", "swap", "guard"):  # a slot of the swap device is no frame
            continue
        low, pfn = run.start, pt.pte_pfn(entry)
        while low < run.stop:
            stop = run.stop if kind == "zero" else min(run.stop, low + nr - pfn % nr)
            yield Image(low, stop, pfn, kind)
            low, pfn = stop, pfn + stop - low


def entry_borders(row: pt.Entries) -> list[int]:
    """Where runs of alike entries of a PTE table begin, and the end. Alike:
    empty, or the same bits and frames next to each other.
    """
    frames = (row & np.uint64(pt.PTE_PFN_MASK)).astype(np.int64) >> 12
    bits = row & np.uint64(~pt.PTE_PFN_MASK & (1 << 64) - 1)
    step = np.where(pt.nameless(row[1:]), 0, 1)
    together = (bits[1:] == bits[:-1]) & (np.diff(frames) == step)
    return [0, *(np.flatnonzero(~together) + 1).tolist(), len(row)]


def frame_borders(block: Array) -> list[int]:
    """Where a picture must tell frames of a block from their neighbours: by use, references or mappings.
    Free frames are alike.
    """
    flags = block[COLUMNS.index("flags")]
    used = (flags & PG_used) != 0
    seen = (
        block[COLUMNS.index("refcount")],
        block[COLUMNS.index("mapcount")],
        flags & (PG_head | PG_tail | PG_table | PG_used),
    )
    key = np.stack([np.where(used, column, 0) for column in seen])
    different = (key[:, 1:] != key[:, :-1]).any(axis=0)
    return [0, *(np.flatnonzero(different) + 1).tolist(), block.shape[1]]
