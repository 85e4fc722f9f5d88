"""A state with its frames and anon_vmas named in the order in which they come into sight:
where pages lie in memory is noise.
"""

from __future__ import annotations

from collections.abc import Hashable

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import COLUMNS, PG_head
from thplab.machine.state import ProcessState, State

_MAPPING, _FLAGS, _REFCOUNT, _FIRST_PAGE = (
    COLUMNS.index(name) for name in ("mapping", "flags", "refcount", "first_page")
)


def canonical(state: State) -> Hashable:
    """What two states at rest have in common that differ in nothing but the places of their pages, events and costs.

    How many blocks of a huge page's size are free is part of it; which small frames are free is not.
    """
    return _Namer(state).name()


class _Namer:
    def __init__(self, state: State) -> None:
        self.state = state
        self.pages: dict[int, int] = {}  # head or small page -> its number
        self.anon: dict[int, int] = {}  # anon_vma -> its number

    def name(self) -> Hashable:
        state, nr = self.state, self.state.geometry.nr
        processes = tuple(map(self._process, state.processes))
        pins = tuple((name, pin.proc, tuple(map(self._page, pin.pages))) for name, pin in sorted(state.pins.items()))
        queue = tuple(map(self._page, state.deferred))
        zero = self._page(state.huge_zero_page) if state.huge_zero_page else None
        frames = tuple(self._frames(head) for head in list(self.pages))
        anon = tuple((self._anon(number), self._anon(a.root), a.vmas) for number, a in state.anon_vmas.items())
        free = state.nframes // nr - len(state.blocks)
        return processes, pins, queue, zero, frames, tuple(sorted(anon)), free, tuple(sorted(state.held)), self._stale()

    def _process(self, process: ProcessState) -> Hashable:
        tables = self._table(process.pgd, self.state.geometry.levels - 1)
        vmas = tuple((*vma[:-1], tuple(map(self._anon, vma.chain))) for vma in process.vmas)
        deposited = tuple((self._page(table), tuple(map(self._page, waiting))) for table, waiting in process.deposited)
        return process.name, tables, vmas, process.regions, deposited

    def _page(self, pfn: int) -> tuple[int, int]:
        head = self.state.head(pfn)
        return self.pages.setdefault(head, len(self.pages)), pfn - head

    def _anon(self, number: int) -> int:
        return self.anon.setdefault(number, len(self.anon)) if number > 0 else number

    def _table(self, table: int, level: int) -> Hashable:
        row = self.state.tables.get(table)
        if row is None:
            return None
        entries: list[Hashable] = [self._page(table)]
        for index in row.nonzero()[0].tolist():
            entry = int(row[index])
            below = level > 0 and not pt.pmd_trans_huge(entry)
            where = self._table(pt.pte_pfn(entry), level - 1) if below else self._target(entry)
            entries.append((index, entry & ~pt.PTE_PFN_MASK, where))
        return tuple(entries)

    def _target(self, entry: int) -> Hashable:
        swapped = not pt.pte_special(entry) and pt.pte_kind(entry) == "swap"
        return pt.pte_pfn(entry) if swapped else self._page(pt.pte_pfn(entry))

    def _frames(self, head: int) -> Hashable:
        nr = self.state.geometry.nr
        block = self.state.blocks.get(head // nr)
        if block is None:
            return None
        first = head % nr
        count = self.state.compound(head).stop - head if block[_FLAGS, first] & PG_head else 1
        columns = block[:, first : first + count].tolist()
        columns[_MAPPING] = list(map(self._anon, columns[_MAPPING]))
        columns[_FIRST_PAGE] = []  # a tail's is its head, which `_page` knows; others' is what was there before
        return tuple(map(tuple, columns))

    def _stale(self) -> Hashable:
        """Counts of free frames that somebody has dropped below 0."""
        return tuple(sorted(n for block in self.state.blocks.values() for n in block[_REFCOUNT].tolist() if n < 0))
