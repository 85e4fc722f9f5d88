"""What a region of a simulated machine holds, counted: what a dump or smaps can be held against."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from thplab.hardware.frames import PG_head, PG_tail
from thplab.hardware.geometry import X86_64
from thplab.machine.state import State
from thplab.study.observe import map_counts

NR = X86_64.nr


class Contents(NamedTuple):
    """Pages of a region by what maps them; those that nothing maps are in none of these."""

    pmd: int = 0
    """Mapped by a huge PMD."""
    parts: int = 0
    """Parts of a huge page, each mapped by a PTE."""
    small: int = 0
    """Small pages, each mapped by a PTE."""
    zero: int = 0
    """PTEs of the small zero page, which no Rss counts."""
    hugezero: int = 0
    """By a PMD of the huge zero page."""
    swap: int = 0
    guard: int = 0
    poison: int = 0

    @property
    def by_pte(self) -> int:
        """Pages of memory that PTEs map: smaps does not tell parts and small ones apart."""
        return self.parts + self.small


class Around(NamedTuple):
    """What else is known of a state, and no page table of the region says."""

    kept: int = 0
    """Pages of huge pages that nobody maps, but that are held."""
    shared: int = 0
    """Pages of the region that are mapped more than once."""
    pinned: bool = False


_KINDS = {"swap": "swap", "guard": "guard", "hwpoison": "poison"}


def contents(state: State, process: str, region: str = "R") -> Contents:
    """What a region holds. Migration entries are in no count."""
    counts = Counter[str]()
    for m, _, count in state.mapped_in(process, *state.region(process, region)):
        if m.kind == "page":
            whole = state.field("flags", m.pfn) & (PG_head | PG_tail)
            counts["pmd" if m.level else "parts" if whole else "small"] += count
        elif m.kind == "zero":
            counts["hugezero" if m.level else "zero"] += count
        elif m.kind in _KINDS:
            counts[_KINDS[m.kind]] += count
    return Contents(**counts)


def around(state: State, process: str, region: str = "R") -> Around:
    """What else is known of a state, of which a region is looked at."""
    users = map_counts(state)
    kept = sum(int(np.count_nonzero(users[head : head + state.geometry.nr] == 0)) for head in state.huge_pages())
    shared = sum(
        int(np.count_nonzero(users[m.pfn : m.pfn + count] > 1))
        for m, _, count in state.mapped_in(process, *state.region(process, region))
        if m.kind == "page"
    )
    return Around(kept, shared, bool(state.pins))
