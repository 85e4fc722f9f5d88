"""Scheme `double_map`: what v4.5 merged, used up to v6.1 (docs/KERNEL.md, section 3).

PMD mappings have a counter of their own, `compound_mapcount`, so "is it mapped by a PMD?" has an answer. A subpage's
`_mapcount` counts its PTEs. While PageDoubleMap is set it is one higher on every subpage: then a single atomic
operation tells that a subpage has lost its last mapping of either kind (3.4).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thplab.hardware.frames import PageFrames, PG_double_map, single, width
from thplab.hardware.steps import Routine, change, read
from thplab.kernel.address_space import Vma
from thplab.kernel.memory import Memory
from thplab.kernel.pages import deferred_split_huge_page
from thplab.kernel.schemes.base import Expected, HeadCounter
from thplab.kernel.schemes.head_references import HeadReferences


class DoubleMap(HeadReferences):
    """E = M, sub_i = m_i - 1 (+ 1 under DoubleMap), C = M + S + pins, c_i = 0 (docs/KERNEL.md 3.1)."""

    name = "double_map"
    page_split = "freeze"
    head_counters = (HeadCounter("compound_mapcount", "compound_mapcount", -1),)
    splits_to_order = False
    pmd_split_is_local = True
    split_counts_ptes = "beside"

    # --- mappings ---------------------------------------------------------------------------------------------------

    def new_rmap(self, system: Memory, vma: Vma, page: int) -> Routine[None]:
        frames = system.frames
        if frames.is_compound(page):
            frames.compound_mapcount[page] = 0
            yield change(
                "compound_mapcount = 0 (one mapping)", "PMD mappings have a counter of their own, which starts at -1."
            )
        else:
            frames.mapcount[page] = 0
            yield change(f"{system.page_name(page)} _mapcount = 0 (one mapping)")

    def dup_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        system.frames.compound_map_add(head, 1)
        yield change("compound_mapcount += 1", "One more PMD maps the huge page; no subpage is touched.")

    def remove_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        frames = system.frames
        frames.compound_map_add(head, -1)
        last = bool(frames.compound_mapcount[head] == -1)
        yield change("compound_mapcount -= 1")
        if not last:
            return
        unmapped = system.geometry.nr
        double_map = bool(frames.flags[head] & PG_double_map)
        frames.flags[head] &= ~PG_double_map
        frames.costs.rmw += double_map
        yield change("test and clear PageDoubleMap", "No PMD is left: the offset has done its duty.")
        if double_map:
            unmapped = 0
            parts = system.each(frames.compound(head))
            for part in parts:
                frames.map_add(part, -1)
                unmapped += int(np.count_nonzero(frames.mapcount[part] == -1))
                yield change(f"{system.pages_text(part)} _mapcount -= 1: the offset of DoubleMap goes")
        yield from self._last_pmd_gone(system, head, unmapped)

    def _last_pmd_gone(self, system: Memory, head: int, unmapped: int) -> Routine[None]:
        """Nothing but PTEs can map the page now, and none maps `unmapped` of its subpages."""
        if unmapped and (system.queues_unmapped or unmapped < system.geometry.nr):
            yield from deferred_split_huge_page(system, head)

    def add_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        parts = system.each(pages)
        for part in parts:
            system.frames.map_add(part, 1)
            yield change(
                f"{system.pages_text(part)} _mapcount += 1", "Each PTE is counted on the very page that it maps."
            )

    def remove_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        frames = system.frames
        parts = system.each(pages)
        for part in parts:
            frames.map_add(part, -1)
            unmapped = int(np.count_nonzero(frames.mapcount[part] == -1)) if frames.is_compound(part.stop - 1) else 0
            yield change(
                f"{system.pages_text(part)} _mapcount -= 1", "The mapping is gone; its reference follows later."
            )
            if unmapped:
                yield from deferred_split_huge_page(system, frames.compound_head(part.stop - 1), times=unmapped)

    def split_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        frames = system.frames
        parts = system.each(frames.compound(head))
        shared = bool(frames.compound_mapcount[head] > 0)
        yield read(f"do other PMDs map it? {'yes' if shared else 'no'}")
        if shared and not frames.flags[head] & PG_double_map:
            frames.flags[head] |= PG_double_map
            frames.costs.rmw += 1
            yield change("set PageDoubleMap", "From now on PMDs and PTEs map the page at the same time.")
            for part in parts:
                frames.map_add(part, 1)
                yield change(f"{system.pages_text(part)} _mapcount += 1: the offset of DoubleMap")
        frames.compound_map_add(head, -1)
        last = bool(frames.compound_mapcount[head] == -1)
        yield change("compound_mapcount -= 1", "One PMD mapping less.")
        if last and frames.flags[head] & PG_double_map:
            frames.flags[head] &= ~PG_double_map
            frames.costs.rmw += 1
            yield change("clear PageDoubleMap", "It was the last PMD.")
            for part in parts:
                frames.map_add(part, -1)
                yield change(f"{system.pages_text(part)} _mapcount -= 1: the offset of DoubleMap goes")

    # --- questions --------------------------------------------------------------------------------------------------

    def page_mapcount(self, frames: PageFrames, page: int) -> int:
        return self.page_mapcounts(frames, single(page))

    def page_mapcounts(self, frames: PageFrames, pages: slice) -> int:
        head = frames.compound_head(pages.stop - 1)
        by_pmd = int(frames.compound_mapcount[head]) + 1 if frames.is_compound(head) else 0
        offset = 1 if frames.flags[head] & PG_double_map else 0
        return int(frames.mapcount[pages].sum()) + (1 + by_pmd - offset) * width(pages)

    def total_mapcount(self, frames: PageFrames, head: int) -> int:
        pages = frames.compound(head)
        by_pmd = int(frames.compound_mapcount[head]) + 1 if frames.is_compound(head) else 0
        offset = 1 if frames.flags[head] & PG_double_map else 0
        return by_pmd + int(frames.mapcount[pages].sum()) + (1 - offset) * width(pages)

    def maybe_mapped_shared(self, frames: PageFrames, page: int) -> bool:
        return self.page_mapcount(frames, page) != 1

    def pmd_mapped(self, frames: PageFrames, head: int) -> bool | None:
        return bool(frames.compound_mapcount[head] >= 0)

    def expected(self, pmds: int, ptes: npt.NDArray[np.int64], pins: npt.NDArray[np.int64], flags: int = 0) -> Expected:
        refcount = np.zeros(len(ptes), np.int64)
        refcount[0] = pmds + ptes.sum() + pins.sum()
        return Expected(refcount, ptes - 1 + bool(flags & PG_double_map), {"compound_mapcount": pmds - 1})

    def raw_fields(self, head: Mapping[str, int], queued: bool) -> dict[str, int]:
        return {
            "compound_mapcount_raw": head["compound_mapcount"],
            "double_map": int(bool(head["flags"] & PG_double_map)),
            "deferred": int(queued),
        }


# --- mutants ----------------------------------------------------------------------------------------------------------


class ForgetsTheQueue(DoubleMap):
    """Does not see that subpages which PTEs have let go of are of no use to anybody once the last PMD is gone."""

    def _last_pmd_gone(self, system: Memory, head: int, unmapped: int) -> Routine[None]:
        yield read(f"the last PMD is gone; subpages without a PTE: {unmapped}")


class ClearsDoubleMapEarly(DoubleMap):
    """Clears PageDoubleMap with every PMD that is split, also while others still map the page."""

    def split_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        yield from super().split_pmd_rmap(system, vma, head)
        if system.frames.flags[head] & PG_double_map:
            system.frames.flags[head] &= ~PG_double_map
            yield change("clear PageDoubleMap")
