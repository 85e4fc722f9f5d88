"""What the pages of a scenario are called in a recording: F0 for a huge page, `PTE A#0` for a page table, `n1` for a
small page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from truth.recorder.memory import HUGE, PFN_MASK, PRESENT, PSE, Level
from truth.recorder.view import View, plain_regions


class Names:
    """Page frames and their names. Whatever is seen first gets the first name and keeps it."""

    def __init__(self, zero: int) -> None:
        self.zero = zero
        self.huge_zero: int | None = None
        self.frames: dict[int, str] = {}
        """First page frame of a huge page -> F0, F1 ..."""
        self.tables: dict[int, str] = {}
        """Page table -> `PMD A`, `PTE A#0` ..."""
        self.small: dict[int, str] = {}
        """Small page -> o0, o1 ... if it was there before the operation, n0, n1 ... if it was not."""

    def place(self, pfn: int) -> tuple[str, int] | None:
        """The huge page that a page frame lies in, and its number there; None if it lies in none that has a name."""
        frame = self.frames.get(pfn & -HUGE)
        return (frame, pfn & HUGE - 1) if frame is not None else None

    def page(self, pfn: int) -> str:
        """The name of a page frame."""
        place = self.place(pfn)
        if place:
            return f"{place[0]}[{place[1]}]"
        if pfn == self.zero:
            return "zero"
        if self.huge_zero is not None and self.huge_zero <= pfn < self.huge_zero + HUGE:
            return "hugezero"
        if pfn in self.small:
            return self.small[pfn]
        return f"table({self.tables[pfn]})" if pfn in self.tables else f"pfn{pfn:x}"

    def see(self, view: View, answer: dict[str, Any], before: bool) -> None:
        """Name what the processes map. `answer` is the guest's; `before`: the operation has not been carried out
        yet."""
        self.huge_zero = view.huge_zero or self.huge_zero
        for (process, _), ways in view.walks(answer["pids"], plain_regions(answer)).items():
            for way in ways:
                if way[-1].name in ("pmd", "pte"):
                    self._see_pmd(view, process, way[2], before)
        if before:
            self._gather()

    def add_table(self, pfn: int, of_huge_pages: bool) -> None:
        """Name a page table that is in nobody's hands any more."""
        self.tables.setdefault(pfn, f"{'PMD' if of_huge_pages else 'PTE'} new#{len(self.tables)}")

    def _see_pmd(self, view: View, process: str, pmd: Level, before: bool) -> None:
        self.tables.setdefault(pmd.at >> 12, f"PMD {process}")
        for table in view.deposited(pmd.at >> 12):
            self._see_table(process, table)
        pfn = (pmd.entry & PFN_MASK) >> 12
        if pmd.entry & PRESENT and pmd.entry & PSE:
            if pfn != self.huge_zero:
                self._see_frame(pfn & -HUGE)
        elif pmd.entry & PRESENT:
            self._see_table(process, pfn)
            for entry in view.memory.table(pfn << 12):
                if int(entry) & PRESENT:
                    self._see_page(view, (int(entry) & PFN_MASK) >> 12, before)

    def _see_table(self, process: str, pfn: int) -> None:
        kind = f"PTE {process}#"
        self.tables.setdefault(pfn, f"{kind}{sum(name.startswith(kind) for name in self.tables.values())}")

    def _see_frame(self, pfn: int) -> None:
        self.frames.setdefault(pfn, f"F{len(self.frames)}")

    def _see_page(self, view: View, pfn: int, before: bool) -> None:
        if pfn == self.zero or self.place(pfn):
            return
        block = view.huge_page_of(pfn) if before else None
        if block is not None:
            self._see_frame(block)
        else:
            self.small.setdefault(pfn, f"{'o' if before else 'n'}{len(self.small)}")

    def _gather(self) -> None:
        """Small pages that fill most of a block are named together, so that what happens to one after the other
        folds."""
        for block in sorted({pfn & -HUGE for pfn in self.small}):
            inside = [pfn for pfn in self.small if pfn & -HUGE == block]
            if len(inside) > HUGE // 2:
                self._see_frame(block)
                for pfn in inside:
                    del self.small[pfn]

    def ours(self) -> Iterable[int]:
        """The page frames of all pages, tables apart."""
        yield from (pfn for first in self.frames for pfn in range(first, first + HUGE))
        yield from self.small
