"""Advice about how soon pages may go: MADV_COLD, MADV_PAGEOUT, MADV_FREE (mm/madvise.c).

All three leave pages alone that others share, and split a huge page of which only a part is meant;
if that is refused they go on and still return 0.
"""

from __future__ import annotations

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_dirty, PG_lazyfree_batch, PG_mlocked, PG_swapcache, single, width
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import Vma
from thplab.kernel.routines.huge_pmd import pmdp_invalidate
from thplab.kernel.routines.lru import batch_is_full, isolate_lru_page, lru_add_drain, lru_lazyfree
from thplab.kernel.routines.mm import get_page, put_page
from thplab.kernel.routines.swap import free_swap_and_cache, try_to_free_swap
from thplab.kernel.routines.vmscan import shrink_page_list, split_locked
from thplab.kernel.routines.walk import entry_range, pmd_at, pmd_ranges
from thplab.kernel.system import System

COLD, PAGEOUT, FREE = "cold", "pageout", "free"


def madvise_lru(system: System, vma: Vma, start: int, end: int, advice: str) -> Routine[None]:
    """Follow COLD, PAGEOUT or FREE for [start, end), which lies inside `vma`. Called under mmap_sem."""
    yield from lru_add_drain(system)
    ranges = pmd_ranges(system.geometry, start, end)
    changed = False
    for address, stop in ranges:
        if advice == FREE:
            some = yield from madvise_free_pte_range(system, vma, address, stop)
        else:
            some = yield from madvise_cold_or_pageout_pte_range(system, vma, address, stop, advice)
        changed = changed or some
    if changed and system.kernel.advice.flushes:
        why = "No CPU may go on using what it knows of changed entries."
        yield from system.cpus.flush_tlb(f"the advised range of {vma.mm.name}", why, vma.mm.name, start, end)


@routine
def madvise_cold_or_pageout_pte_range(system: System, vma: Vma, address: int, stop: int, advice: str) -> Routine[bool]:
    """Follow COLD or PAGEOUT for [address, stop), which lies under one PMD:
    the PMD itself if it is huge and meant whole, else its PTEs.

    Returns whether an entry has changed.
    """
    return (yield from _advise_range(system, vma, address, stop, advice))


@routine
def madvise_free_pte_range(system: System, vma: Vma, address: int, stop: int) -> Routine[bool]:
    """The same for FREE."""
    return (yield from _advise_range(system, vma, address, stop, FREE))


def _advise_range(system: System, vma: Vma, address: int, stop: int, advice: str) -> Routine[bool]:
    found = pmd_at(system, vma.mm, address)
    if found is None:
        return False
    pmd_table, index, pmd = found
    yield read(f"read the PMD: {pt.entry_text(pmd)}")
    if pt.pmd_trans_huge(pmd):
        done, changed = yield from advise_huge_pmd(
            system, vma, pmd_table, index, stop - address == system.geometry.huge_size, advice
        )
        if done:
            return changed
        pmd = system.tables.get(pmd_table, index)
        yield read(f"read the PMD again: {pt.entry_text(pmd)}")
    if pt.pte_none(pmd) or pt.pmd_trans_huge(pmd):
        return False
    low, high = entry_range(system.geometry, address, stop)
    isolated, changed = yield from advise_ptes(system, pt.pte_pfn(pmd), low, high, advice)
    yield from shrink_page_list(system, isolated, advised=True)
    return changed


@phrase("a huge PMD")
def advise_huge_pmd(
    system: System, vma: Vma, pmd_table: int, index: int, whole: bool, advice: str
) -> Routine[tuple[bool, bool]]:
    """Follow the advice for the huge page under a PMD, or split the page if only a part of it is meant.

    Returns whether that was all (if not, the PTEs of the part are to be looked at now),
    and whether the PMD has changed.
    """
    tables, frames = system.tables, system.frames
    lock = system.ptl(pmd_table)
    yield from system.cpus.lock(lock)
    pmd = tables.get(pmd_table, index)
    page = pt.pte_pfn(pmd)
    if not pt.pmd_trans_huge(pmd):
        yield read("the PMD is not huge any more")
        yield from system.cpus.unlock(lock)
        return False, False
    shared = page == system.huge_zero_page or system.scheme.maybe_mapped_shared(frames, page)
    yield read("may others map the page? " + ("yes: leave it alone" if shared else "no"))
    if shared:
        yield from system.cpus.unlock(lock)
        return True, False
    policy = system.kernel.advice
    if not whole:
        split = yield from split_for_part(
            system, page, lock, policy.free_locks if advice == FREE else policy.cold_trylocks
        )
        return not split or (advice == FREE and policy.free_stops_at_split), False
    isolated: tuple[int, ...] = ()
    if advice == FREE:
        cleaned = not policy.free_locks or (yield from clean_for_free(system, page, by_pmd=True))
        new, invalidates = pmd & ~(pt._PAGE_ACCESSED | pt._PAGE_DIRTY), policy.free_locks
    else:
        cleaned, invalidates = True, policy.cold_invalidates
        new = pt.mkold(pmd) if advice == COLD or policy.pageout_clears_young else pmd
    if cleaned and new != pmd:
        if advice == FREE and policy.free_empties_pmd:
            tables.set(pmd_table, index, 0)
            yield change("PMD cleared", "It is changed by way of an empty one.")
        elif invalidates:
            yield from pmdp_invalidate(system, vma.mm, pmd_table, index)
        tables.set(pmd_table, index, new)
        yield change("PMD clean and old: if nobody writes to it, its contents may go" if advice == FREE else "PMD old")
    if advice == FREE and cleaned:
        yield from mark_page_lazyfree(system, page)
    if advice == PAGEOUT:
        isolated = yield from isolate_lru_page(system, single(page))
    yield from system.cpus.unlock(lock)
    yield from shrink_page_list(system, isolated, advised=True)
    return True, cleaned and new != pmd


@phrase("clean what may be freed")
def clean_for_free(system: System, page: int, by_pmd: bool = False) -> Routine[bool]:
    """Mark a page, small or a head that nobody else maps, as clean, under its lock, and, if PTEs map it,
    take it out of the swap cache.

    Returns False if somebody else has the lock, or maps a small one, or names its slot: then it is left alone.
    """
    frames = system.frames
    lock = system.page_lock(page)
    locked = yield from system.cpus.trylock(lock)
    if not locked:
        return False
    alone = frames.is_compound(page) or system.scheme.page_mapcount(frames, page) == 1
    yield read("do others map it? " + ("no" if alone else "yes: leave it alone"))
    if alone and frames.flags[page] & PG_swapcache and not by_pmd:
        alone = yield from try_to_free_swap(system, page)
    if alone and frames.flags[page] & PG_dirty:
        frames.flags[page] &= ~PG_dirty
        yield change(f"{system.page_name(page)} is clean: its contents need not be kept")
    yield from system.cpus.unlock(lock)
    return alone


@phrase("split the page of which only a part is meant")
def split_for_part(system: System, page: int, ptl: str, trylock: bool = False) -> Routine[bool]:
    """Split the huge page that `page` is part of, of which not all is meant. Returns whether it is split now.

    Called under `ptl`, which is released.
    With `trylock` the page is locked under it, and left alone if somebody else has the lock.
    """
    head = system.frames.compound_head(page)
    lock = system.page_lock(head)
    locked = trylock and (yield from system.cpus.trylock(lock))
    if trylock and not locked:
        yield from system.cpus.unlock(ptl)
        return False
    yield from get_page(system, single(head))
    yield from system.cpus.unlock(ptl, "A split takes locks that come before this one.")
    if not locked:
        yield from system.cpus.lock(lock)
    error = yield from split_locked(system, head)
    yield from system.cpus.unlock(lock)
    yield from put_page(system, single(head))
    return not error


@phrase("the PTEs, one after the other")
def advise_ptes(
    system: System, pte_table: int, low: int, high: int, advice: str
) -> Routine[tuple[tuple[int, ...], bool]]:
    """Follow the advice for the PTEs [low, high); huge pages among them are split where they must.

    Returns the pages that PAGEOUT has isolated, and whether a PTE has changed.
    """
    isolated: tuple[int, ...] = ()
    changed = False
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    while low < high:
        runs = system.tables.runs(pte_table, low, high)
        yield read("read the PTEs")
        if not runs:
            break
        run = runs[0]
        low = run.stop
        if run.kind == "swap" and advice == FREE:
            system.tables.store(pte_table, run.entries, 0)
            yield change(f"{width(run.entries)} swap entries cleared")
            yield from free_swap_and_cache(system, run.pages)
        if run.kind != "page":
            continue
        head = system.frames.compound_head(run.pfn)
        if system.frames.is_compound(head):
            shared = _maybe_shared(system, run.pfn, advice)
            yield read("may others map the page? " + ("yes: leave it alone" if shared else "no"))
            whole = system.kernel.advice.takes_large_folios and width(run.entries) == width(
                system.frames.compound(head)
            )
            if not whole and not shared:
                split = yield from split_for_part(system, run.pfn, lock)
                yield from system.cpus.lock(lock)
                if split:
                    low = run.start
                    continue
            if not whole or shared or system.scheme.total_mapcount(system.frames, head) != width(run.entries):
                if system.kernel.advice.takes_large_folios:
                    continue
                break
        found, some = yield from advise_run(system, pte_table, run, advice)
        isolated, changed = isolated + found, changed or some
    yield from system.cpus.unlock(lock)
    return isolated, changed


def _maybe_shared(system: System, page: int, advice: str) -> bool:
    """May others map the part `page` of a compound page, too, as far as this advice looks?"""
    if advice == FREE and system.kernel.advice.free_asks_head:
        return system.scheme.page_mapcount(system.frames, system.frames.compound_head(page)) != 1
    return system.scheme.maybe_mapped_shared(system.frames, page)


@phrase("PTEs over pages that lie together")
def advise_run(system: System, pte_table: int, run: pt.PteRun, advice: str) -> Routine[tuple[tuple[int, ...], bool]]:
    """Follow the advice for a run of PTEs over small pages, or over all of a large folio.

    Returns the pages isolated for PAGEOUT, and whether a PTE has changed.
    """
    frames, policy = system.frames, system.kernel.advice
    isolated: tuple[int, ...] = ()
    changed = False
    large = frames.is_compound(run.pfn)
    alike = advice != FREE and system.scheme.page_mapcounts(frames, run.pages) == width(
        run.entries
    )  # each is mapped here at least
    parts = (
        (run.entries,)
        if large
        else tuple(system.each(run.entries))
        if alike
        else tuple(map(single, range(run.start, run.stop)))
    )
    for part in parts:
        pages = run.cut(part.start, part.stop).pages
        page = pages.start
        # MADV_FREE looks for others only where something besides the PTE says that the contents matter.
        asks = advice != FREE or bool(frames.flags[page] & (PG_swapcache | PG_dirty))
        if advice == FREE and asks and policy.free_locks:
            cleaned = yield from clean_for_free(system, page)
            if not cleaned:
                continue
        elif not large and asks and system.scheme.page_mapcounts(frames, pages) != width(pages):
            yield read(f"{system.page_name(page)} is shared: leave it alone")
            continue
        if advice == FREE:
            if frames.flags[page] & PG_swapcache:
                page_lock = system.page_lock(page)
                locked = yield from system.cpus.trylock(page_lock)
                freed = locked and (yield from try_to_free_swap(system, page))
                if locked:
                    yield from system.cpus.unlock(page_lock)
                if not freed:
                    continue
            some = yield from clear_ptes(system, pte_table, part, pt._PAGE_ACCESSED | pt._PAGE_DIRTY, policy.free_locks)
            yield from mark_page_lazyfree(system, page)
            changed = changed or some
            continue
        if advice == COLD or policy.pageout_clears_young:
            some = yield from clear_ptes(system, pte_table, part, pt._PAGE_ACCESSED, policy.clears_to_age)
            changed = changed or some
        if advice == PAGEOUT:
            isolated += yield from isolate_lru_page(system, single(page) if large else pages)
    return isolated, changed


def clear_ptes(system: System, pte_table: int, part: slice, bits: int, by_none: bool) -> Routine[bool]:
    """Clear `bits` of PTEs under the lock of their table, if need be by way of empty ones.
    Returns whether any of them had one.
    """
    tables = system.tables
    old = tuple(tables.table[pte_table][part].tolist())
    new = tuple(entry & ~bits for entry in old)
    if new == old:
        return False
    count = "PTE" if width(part) == 1 else f"{width(part)} PTEs"
    if by_none:
        tables.store(pte_table, part, tuple(was if now == was else 0 for was, now in zip(old, new, strict=True)))
        yield change(f"{count} cleared", "No CPU notes anything in it now.")
    tables.store(pte_table, part, new)
    clean = "clean and old: if nobody writes to it, its contents may go" if bits & pt._PAGE_DIRTY else "old"
    yield change(f"{count} {clean}")
    return True


@routine
def mark_page_lazyfree(system: System, page: int) -> Routine[None]:
    """Reclaim need not keep the contents of `page`, small or a head, unless it is written to again. A small one waits
    in a batch, but one that somebody else has locked in memory stays as it is."""
    frames = system.frames
    if not system.kernel.advice.free_locks:
        frames.flags[page] &= ~PG_dirty
    if frames.is_compound(page):
        yield from lru_lazyfree(system, page)
    elif frames.flags[page] & PG_mlocked:
        yield read(f"{system.page_name(page)} is locked in memory for another process: its contents are kept")
    else:
        frames.flags[page] |= PG_lazyfree_batch
        yield change(
            f"{system.page_name(page)} goes into this CPU's batch", "Small pages change their list in batches."
        )
        if batch_is_full(frames):
            yield from lru_add_drain(system)
