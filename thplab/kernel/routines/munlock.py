"""Taking PG_mlocked back up to 5.17 (mm/mlock.c): what a VMA that is locked in memory maps is gone over when it is
unlocked, and before it is unmapped."""

from __future__ import annotations

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_mlocked, single
from thplab.hardware.steps import Routine, change, read, routine
from thplab.kernel.address_space import VM_LOCKED, AddressSpace, Vma
from thplab.kernel.routines.lru import isolate_lru_page, putback_lru_page
from thplab.kernel.routines.mlocked import mlock_vma_page
from thplab.kernel.routines.mm import get_page, put_page
from thplab.kernel.routines.rmap import lock_rmap, rmap_walk_page
from thplab.kernel.routines.walk import entry_range, mapped_page, pmd_at, pmd_ranges
from thplab.kernel.system import System


@routine
def munlock_vma_page(system: System, page: int) -> Routine[None]:
    """Take the mark off a page, small or a head, if it has it, for one VMA. Called under its page lock.

    A small page that others map is marked again if one of them has locked it.
    """
    frames = system.frames
    if not frames.flags[page] & PG_mlocked:
        return
    frames.flags[page] &= ~PG_mlocked
    yield change(f"{system.page_name(page)}: PG_mlocked cleared", "Reclaim may have it again.")
    isolated = yield from isolate_lru_page(system, single(page))
    if isolated:
        if system.scheme.page_mapcount(frames, page) > 1:
            yield from try_to_munlock(system, page)
        yield from putback_lru_page(system, page, False)


@routine
def try_to_munlock(system: System, page: int) -> Routine[None]:
    """Does a VMA that is locked in memory still map the page? Then a small one is marked again, and no huge one."""
    locks = yield from lock_rmap(system, page)
    places = rmap_walk_page(system, page)
    locked = any(
        VM_LOCKED in vma.flags and mapped_page(system, vma.mm, address) == page
        for vma, address in (() if system.frames.is_compound(page) else places)
    )
    yield read(f"has anybody else locked it? {'yes' if locked else 'no'}")
    if locked:
        yield from mlock_vma_page(system, page)
    for lock in locks:
        yield from system.cpus.unlock(lock)


def mapped_parts(system: System, mm: AddressSpace, start: int, end: int) -> tuple[tuple[slice, bool], ...]:
    """The pages that are mapped in [start, end), which lies under one PMD, each run with whether a PMD maps it."""
    found = pmd_at(system, mm, start)
    if found is None or pt.pte_none(found.entry):
        return ()
    if pt.pmd_trans_huge(found.entry):
        page = pt.pte_pfn(found.entry)
        return () if page == system.huge_zero_page else ((single(page), True),)
    runs = system.tables.runs(pt.pte_pfn(found.entry), *entry_range(system.geometry, start, end))
    return tuple((run.pages, False) for run in runs if run.kind == "page")


@routine
def munlock_vma_pages_range(system: System, mm: AddressSpace, start: int, end: int) -> Routine[None]:
    """Take the mark from the pages that are mapped in [start, end), where no VMA is locked in memory any more.

    Each is held by a reference, and locked, meanwhile. A huge page under PTEs has no mark. A small page that is locked
    elsewhere, too, is marked again.
    """
    ranges = pmd_ranges(system.geometry, start, end)
    for address, stop in ranges:
        found = pmd_at(system, mm, address)
        if found is None or pt.pte_none(found.entry):
            continue
        lock = system.ptl(found.table if pt.pmd_trans_huge(found.entry) else pt.pte_pfn(found.entry))
        yield from system.cpus.lock(lock)
        mapped = mapped_parts(system, mm, address, stop)
        pages = tuple(
            page
            for part, by_pmd in mapped
            for page in range(part.start, part.stop)
            if by_pmd or not system.frames.is_compound(page)
        )
        yield read("what is mapped here?")
        for page in pages:
            yield from get_page(system, single(page))
        yield from system.cpus.unlock(lock)
        for page in pages:
            page_lock = system.page_lock(page)
            yield from system.cpus.lock(page_lock)
            yield from munlock_vma_page(system, page)
            yield from system.cpus.unlock(page_lock)
            yield from put_page(system, single(page))


def munlock_vma_pages_all(system: System, vmas: tuple[Vma, ...]) -> Routine[None]:
    """What `vmas` map, which are about to go, is not locked in memory any more. Since 5.18 their mappings tell it as
    they go."""
    for vma in vmas:
        if VM_LOCKED in vma.flags and system.kernel.mm.mlocks == "found":
            vma.flags -= {VM_LOCKED}
            yield change("the VMA is not locked in memory any more")
            yield from munlock_vma_pages_range(system, vma.mm, vma.start, vma.end)
