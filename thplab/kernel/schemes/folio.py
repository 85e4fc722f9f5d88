"""Scheme `folio`: what runs today (docs/KERNEL.md, section 4).

PageDoubleMap is gone: a subpage's `_mapcount` counts its PTEs and nothing else. `_large_mapcount` counts all mappings
of the folio, a PMD as one, so the split compares two words. `_nr_pages_mapped` counts the subpages that PTEs map, with
a high bit while a PMD maps all of them: that tells when a subpage has lost its last mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thplab.hardware.frames import PageFrames, PG_maybe_shared, PG_partially_mapped, width
from thplab.hardware.steps import Routine, change
from thplab.kernel.address_space import Vma
from thplab.kernel.memory import Memory
from thplab.kernel.pages import deferred_split_huge_page
from thplab.kernel.schemes.base import Expected, HeadCounter
from thplab.kernel.schemes.head_references import HeadReferences, clear_exclusive

ENTIRELY_MAPPED = 0x800000
"""In `_nr_pages_mapped`: a PMD maps the whole folio."""

MM_SLOTS = (("mm_id_0", "mm_id_mapcount_0"), ("mm_id_1", "mm_id_mapcount_1"))
"""The two places in which a folio remembers an mm and how many of the mappings are its (`_mm_id`,
`_mm_id_mapcount`).
"""


@dataclass(frozen=True)
class Folio(HeadReferences):
    """E = M, L = M + S, N = subpages with m_i > 0 (+ ENTIRELY_MAPPED), page i:
    m_i, C = M + S + pins (docs/KERNEL.md 4.1).

    `mm_ids`: the folio remembers two of the mms that map it (CONFIG_MM_ID), so it knows whether it may be shared;
    else it guesses.
    """

    mm_ids: bool

    name = "folio"
    page_split = "freeze"
    head_counters = (
        HeadCounter("_entire_mapcount", "compound_mapcount", -1),
        HeadCounter("_large_mapcount", "large_mapcount", -1),
        HeadCounter("_nr_pages_mapped", "nr_pages_mapped", 0),
    )
    splits_to_order = True
    pmd_split_is_local = True
    batches = True
    split_counts_ptes = "before"

    # --- mappings ---------------------------------------------------------------------------------------------------

    def new_rmap(self, system: Memory, vma: Vma, page: int) -> Routine[None]:
        frames = system.frames
        if not frames.is_compound(page):
            frames.mapcount[page] = 0
            yield change(f"{system.page_name(page)} _mapcount = 0 (one mapping)")
            return
        frames.compound_mapcount[page] = 0
        yield change("_entire_mapcount = 0 (one PMD)", "Nobody else sees the page: plain stores, and no lock.")
        if self.mm_ids:
            frames.mm_id_mapcount_0[page] = 1
            yield change("_mm_id_mapcount[0] = 0 (one mapping)")
        frames.large_mapcount[page] = 0
        yield change("_large_mapcount = 0 (one mapping)", "A PMD mapping counts here, too. Map counts start at -1.")
        frames.nr_pages_mapped[page] = ENTIRELY_MAPPED
        yield change("_nr_pages_mapped: a PMD maps all of it")
        if self.mm_ids:
            frames.mm_id_0[page] = vma.mm.mm_id
            yield change(f"_mm_id[0] = {vma.mm.mm_id}, {vma.mm.name}")

    def dup_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        system.frames.compound_map_add(head, 1)
        yield change("_entire_mapcount += 1", "One more PMD maps the folio; no subpage is touched.")
        yield from self._add_large_mapcount(system, vma, head, 1)

    def remove_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        frames = system.frames
        yield from self._add_large_mapcount(system, vma, head, -1)
        frames.compound_map_add(head, -1)
        last = bool(frames.compound_mapcount[head] == -1)
        yield change("_entire_mapcount -= 1")
        if not last:
            return
        frames.nr_pages_mapped_add(head, -ENTIRELY_MAPPED)
        size = width(frames.compound(head))
        unmapped = size - int(frames.nr_pages_mapped[head])
        yield change(
            "_nr_pages_mapped: no PMD maps all of it any more", "What is left is the number of subpages that PTEs map."
        )
        if 0 < unmapped < size:
            yield from self._partially_mapped(system, head)

    def add_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        frames = system.frames
        large = frames.is_compound(pages.stop - 1)
        head = frames.compound_head(pages.stop - 1)
        newly = 0
        parts = system.each(pages)
        for part in parts:
            frames.map_add(part, 1)
            newly += int(np.count_nonzero(frames.mapcount[part] == 0)) if large else 0
            yield change(
                f"{system.pages_text(part)} _mapcount += 1", "Each PTE is counted on the very page that it maps."
            )
        if newly:
            frames.nr_pages_mapped_add(head, newly)
            yield change(f"_nr_pages_mapped += {newly}", "So many subpages had no PTE before.")
        if large:
            yield from self._add_large_mapcount(system, vma, head, width(pages))

    def dup_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        parts = system.each(pages)
        for part in parts:
            yield from clear_exclusive(system, part)
            system.frames.map_add(part, 1)
            yield change(
                f"{system.pages_text(part)} _mapcount += 1",
                "It has been mapped before: no other count of subpages changes.",
            )
        if system.frames.is_compound(pages.stop - 1):
            yield from self._add_large_mapcount(system, vma, system.frames.compound_head(pages.stop - 1), width(pages))

    def remove_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        frames = system.frames
        large = frames.is_compound(pages.stop - 1)
        head = frames.compound_head(pages.stop - 1)
        if large:
            yield from self._add_large_mapcount(system, vma, head, -width(pages))
        last = 0
        parts = system.each(pages)
        for part in parts:
            frames.map_add(part, -1)
            last += int(np.count_nonzero(frames.mapcount[part] == -1)) if large else 0
            yield change(
                f"{system.pages_text(part)} _mapcount -= 1", "The mapping is gone; its reference follows later."
            )
        if last:
            frames.nr_pages_mapped_add(head, -last)
            left = int(frames.nr_pages_mapped[head])
            yield change(f"_nr_pages_mapped -= {last}", "So many subpages have no PTE any more.")
            if 0 < left < ENTIRELY_MAPPED:
                yield from self._partially_mapped(system, head)

    def split_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        yield from self.remove_pmd_rmap(system, vma, head)

    def _partially_mapped(self, system: Memory, head: int) -> Routine[None]:
        if not system.frames.flags[head] & PG_partially_mapped:
            yield from deferred_split_huge_page(system, head)

    def _add_large_mapcount(self, system: Memory, vma: Vma, head: int, n: int) -> Routine[None]:
        """_large_mapcount += n, and the mm's slot with it,
        under the bit lock in `_mm_ids` (folio_add_large_mapcount).
        """
        frames = system.frames
        lock = f"mm_ids_lock {head:#x}"
        if self.mm_ids:
            yield from system.cpus.lock(lock)
            frames.costs.bit_rmw += 1  # it is released with a plain store
        else:
            frames.costs.rmw += 1
        frames.large_mapcount[head] += n
        yield change(
            f"_large_mapcount {'+' if n > 0 else '-'}= {abs(n)}", "All mappings of the folio in one word, a PMD as one."
        )
        if self.mm_ids:
            yield from self._count_mm(system, vma, head, n)
            yield from system.cpus.unlock(lock)

    def _count_mm(self, system: Memory, vma: Vma, head: int, n: int) -> Routine[None]:
        """The mm-slot algorithm of docs/KERNEL.md 4.1, under its lock. Both slots taken: a third mm is not tracked."""
        frames, mm_id = system.frames, vma.mm.mm_id
        total = int(frames.large_mapcount[head]) + 1
        wanted = (mm_id, 0) if n > 0 else (mm_id,)
        slot = next((i for who in wanted for i in (0, 1) if getattr(frames, MM_SLOTS[i][0])[head] == who), None)
        shared = False
        if slot is not None:
            owner, count = MM_SLOTS[slot]
            before = int(getattr(frames, owner)[head])
            shared = n > 0 and not before and total > n
            left = max(
                0, int(getattr(frames, count)[head]) + n
            )  # mappings from the time before the mm had a slot go, too
            getattr(frames, count)[head] = left
            after = mm_id if left else 0
            yield change(f"_mm_id_mapcount[{slot}]: {vma.mm.name} has {left} of the mappings")
            if before != after:
                getattr(frames, owner)[head] = after
                yield change(
                    f"_mm_id[{slot}] = {after}", "" if left else f"{vma.mm.name} has no mapping left: the slot is free."
                )
        if shared and not frames.flags[head] & PG_maybe_shared:
            frames.flags[head] |= PG_maybe_shared
            yield change("the folio may be shared", "There were mappings before this mm had any.")
        if (
            n < 0
            and frames.flags[head] & PG_maybe_shared
            and any(getattr(frames, count)[head] == total for _, count in MM_SLOTS)
        ):
            frames.flags[head] &= ~PG_maybe_shared
            yield change("the folio is not shared any more", "One mm has all mappings that are left.")

    # --- questions --------------------------------------------------------------------------------------------------

    def page_mapcount(self, frames: PageFrames, page: int) -> int:
        return self.page_mapcounts(frames, slice(page, page + 1))

    def page_mapcounts(self, frames: PageFrames, pages: slice) -> int:
        head = frames.compound_head(pages.stop - 1)
        by_pmd = int(frames.compound_mapcount[head]) + 1 if frames.is_compound(head) else 0
        return int(frames.mapcount[pages].sum()) + (1 + by_pmd) * width(pages)

    def total_mapcount(self, frames: PageFrames, head: int) -> int:
        return int(frames.large_mapcount[head] if frames.is_compound(head) else frames.mapcount[head]) + 1

    def maybe_mapped_shared(self, frames: PageFrames, page: int) -> bool:
        head = frames.compound_head(page)
        mapcount = self.total_mapcount(frames, head)
        if mapcount <= 1 or not frames.is_compound(head):
            return mapcount > 1
        if self.mm_ids:
            return bool(frames.flags[head] & PG_maybe_shared)
        if frames.compound_mapcount[head] >= 0 or mapcount > width(frames.compound(head)):
            return True
        return bool(frames.mapcount[head] > 0)  # a guess by the first subpage

    def pmd_mapped(self, frames: PageFrames, head: int) -> bool | None:
        return bool(frames.compound_mapcount[head] >= 0)

    def expected(self, pmds: int, ptes: npt.NDArray[np.int64], pins: npt.NDArray[np.int64], flags: int = 0) -> Expected:
        refcount = np.zeros(len(ptes), np.int64)
        refcount[0] = pmds + ptes.sum() + pins.sum()
        mapped = int(np.count_nonzero(ptes)) + (ENTIRELY_MAPPED if pmds else 0)
        head = {"compound_mapcount": pmds - 1, "large_mapcount": pmds + int(ptes.sum()) - 1, "nr_pages_mapped": mapped}
        return Expected(refcount, ptes - 1, head)

    def raw_fields(self, head: Mapping[str, int], queued: bool) -> dict[str, int]:
        return {
            "entire_mapcount_raw": head["compound_mapcount"],
            "large_mapcount_raw": head["large_mapcount"],
            "nr_pages_mapped_raw": head["nr_pages_mapped"],
            "partially_mapped": int(bool(head["flags"] & PG_partially_mapped)),
            "deferred": int(queued),
        }


# --- mutants ----------------------------------------------------------------------------------------------------------


class CountsEveryPte(Folio):
    """Counts PTEs in `_nr_pages_mapped` instead of subpages that have any."""

    def add_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        frames, head = system.frames, system.frames.compound_head(pages.stop - 1)
        again = int(np.count_nonzero(frames.mapcount[pages] >= 0)) if frames.is_compound(head) else 0
        yield from super().add_pte_rmap(system, vma, pages)
        if again:
            frames.nr_pages_mapped_add(head, again)
            yield change(f"_nr_pages_mapped += {again}")

    def dup_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        yield from super().dup_pte_rmap(system, vma, pages)
        if system.frames.is_compound(pages.stop - 1):
            system.frames.nr_pages_mapped_add(system.frames.compound_head(pages.stop - 1), width(pages))
            yield change(f"_nr_pages_mapped += {width(pages)}")


class FreesTheSlotEarly(Folio):
    """Forgets an mm as soon as one of its mappings goes."""

    def _count_mm(self, system: Memory, vma: Vma, head: int, n: int) -> Routine[None]:
        yield from super()._count_mm(system, vma, head, n)
        frames = system.frames
        for who, count in MM_SLOTS:
            if n < 0 and getattr(frames, who)[head] == vma.mm.mm_id:
                getattr(frames, who)[head] = getattr(frames, count)[head] = 0
                yield change(f"{vma.mm.name} is forgotten")
