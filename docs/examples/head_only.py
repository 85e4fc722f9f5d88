"""A fifth scheme, deliberately simple: two words on the head count everything, and no tail counts anything.

docs/your-own-scheme.md explains it line by line.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thplab.hardware.frames import PageFrames, width
from thplab.hardware.steps import Routine, change
from thplab.kernel.address_space import Vma
from thplab.kernel.memory import Memory
from thplab.kernel.schemes import Expected, HeadCounter
from thplab.kernel.schemes.head_references import HeadReferences


class HeadOnly(HeadReferences):
    """L = M + S and C = M + S + pins, both on the head.
    A subpage's own `_mapcount` is used once it is a page of its own.
    """

    name = "head_only"
    page_split = "freeze"
    head_counters = (HeadCounter("_large_mapcount", "large_mapcount", -1),)
    splits_to_order = False
    pmd_split_is_local = True

    # --- mappings: the head's counter goes up and down --------------------------------------------------------------

    def new_rmap(self, system: Memory, vma: Vma, page: int) -> Routine[None]:
        frames = system.frames
        if frames.is_compound(page):
            frames.large_mapcount[page] = (
                0  # raw counters start at -1; a plain store, as nobody else can see the page yet
            )
        else:
            frames.mapcount[page] = 0
        yield change("one mapping")

    def dup_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        yield from self._count(system, head, 1)

    def remove_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        yield from self._count(system, head, -1)

    def add_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        yield from self._count_ptes(system, pages, 1)

    def remove_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        yield from self._count_ptes(system, pages, -1)

    def split_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        yield from self._count(system, head, system.geometry.nr - 1)

    def _count(self, system: Memory, head: int, mappings: int) -> Routine[None]:
        frames = system.frames
        frames.large_mapcount[head] += mappings
        frames.costs.rmw += 1
        yield change(f"_large_mapcount += {mappings}", "One word for all mappings of the page.")

    def _count_ptes(self, system: Memory, pages: slice, one: int) -> Routine[None]:
        frames = system.frames
        parts = system.each(pages)
        for part in parts:
            if frames.is_compound(part.start):
                yield from self._count(system, frames.compound_head(part.start), one * width(part))
            else:
                frames.map_add(part, one)
                yield change(f"{system.pages_text(part)} _mapcount += {one}")

    # --- questions --------------------------------------------------------------------------------------------------

    def page_mapcount(self, frames: PageFrames, page: int) -> int:
        return self.total_mapcount(frames, frames.compound_head(page))  # of a subpage: at most that

    def page_mapcounts(self, frames: PageFrames, pages: slice) -> int:
        if frames.is_compound(pages.start):
            return self.total_mapcount(frames, frames.compound_head(pages.start))
        return int(frames.mapcount[pages].sum()) + width(pages)

    def total_mapcount(self, frames: PageFrames, head: int) -> int:
        return int((frames.large_mapcount if frames.is_compound(head) else frames.mapcount)[head]) + 1

    def maybe_mapped_shared(self, frames: PageFrames, page: int) -> bool:
        return self.page_mapcount(frames, page) > 1

    def pmd_mapped(self, frames: PageFrames, head: int) -> bool | None:
        return None  # as in the RFC, the counters cannot tell

    # --- what must be true ------------------------------------------------------------------------------------------

    def expected(self, pmds: int, ptes: npt.NDArray[np.int64], pins: npt.NDArray[np.int64], flags: int = 0) -> Expected:
        mappings = pmds + int(ptes.sum())
        refcount = np.zeros(len(ptes), np.int64)
        refcount[0] = mappings + pins.sum()
        return Expected(refcount, np.full(len(ptes), -1), {"large_mapcount": mappings - 1})

    def raw_fields(self, head: Mapping[str, int], queued: bool) -> dict[str, int]:
        return {"large_mapcount_raw": head["large_mapcount"]}
