"""The entries of all page tables, shared with the states that were taken of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from thplab.errors import KernelBug
from thplab.hardware.shared import Shared

Entries = npt.NDArray[np.uint64]


class _ByPfn(dict[int, Entries]):
    """The tables by pfn. Whoever looks into one that was freed has found a bug of the kernel, not of Python."""

    def __missing__(self, pfn: int) -> Entries:
        raise KernelBug(f"pfn {pfn:#x} is used as a page table, but is none")


class KeptTables:
    """The tables by pfn, and their levels. What a state was taken of never changes: a store makes a copy first."""

    def __init__(self, nr: int) -> None:
        self.table: dict[int, Entries] = _ByPfn()
        """Read-only for all but `store` and its like: what a state was taken of never changes again."""
        self.level: dict[int, int] = {}
        self.empty: Entries = np.zeros(nr, np.uint64)
        """What all tables share into which nothing was stored yet."""
        self.empty.flags.writeable = False
        self.own: set[int] = set()
        """The tables that were stored to since the last state: their arrays are in no state."""
        self.touched: set[int] = set()
        """These, and those that were made or freed since."""
        self.kept: Shared[Entries] = Shared()
        self.kept_levels: Shared[int] = Shared()
        """What the last state has."""

    def _row(self, pfn: int) -> Entries:
        """The table, to be stored to."""
        if pfn in self.own:
            return self.table[pfn]
        self.table[pfn] = row = self.table[pfn].copy()
        self.own.add(pfn)
        self.touched.add(pfn)
        return row

    def keep(self) -> tuple[Shared[Entries], Shared[int]]:
        """The tables as they are now, and their levels. Only what was touched is looked at; equal ones are the same."""
        if self.touched:
            news = {pfn: self._kept(pfn) for pfn in self.touched}
            levels = {pfn: self.level.get(pfn) for pfn in self.touched}
            self.touched.clear()
            self.own.clear()
            news = {pfn: new for pfn, new in news.items() if new is not self.kept.get(pfn)}
            levels = {pfn: new for pfn, new in levels.items() if new != self.kept_levels.get(pfn)}
            self.kept = self.kept.changed(news) if news else self.kept
            self.kept_levels = self.kept_levels.changed(levels) if levels else self.kept_levels
        return self.kept, self.kept_levels

    def _kept(self, pfn: int) -> Entries | None:
        row, before = self.table.get(pfn), self.kept.get(pfn)
        if row is None:
            return None
        if before is not None and row.tobytes() == before.tobytes():
            self.table[pfn] = before
            return before
        row.flags.writeable = False
        return row

    def restore(self, tables: Shared[Entries], levels: Shared[int]) -> None:
        """Be as these tables are."""
        self.kept, self.kept_levels = tables, levels
        self.table.clear()
        self.table.update(tables)
        self.level = dict(levels)
        self.own.clear()
        self.touched.clear()
