"""Faulting memory in ahead of its use (populate in mm/gup.c): what mlock does, and madvise on request."""

from __future__ import annotations

import numpy as np

from thplab.errors import EFAULT, EHWPOISON, ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_dirty
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import VM_LOCKED, AddressSpace, Vma
from thplab.kernel.routines.fault import handle_mm_fault
from thplab.kernel.routines.mlocked import mlock_vma_page
from thplab.kernel.routines.vm_fault import VM_FAULT_HWPOISON, VM_FAULT_OOM, VM_FAULT_SIGSEGV
from thplab.kernel.routines.walk import accessible, entry_range, next_vma, pmd_at
from thplab.kernel.system import System


@routine
def mm_populate(system: System, mm: AddressSpace, start: int, end: int) -> Routine[int]:
    """Fault in what lies in [start, end), as a write where writes are allowed: so nothing is left to be copied later.

    Takes mmap_sem. Returns 0, -EFAULT at a VMA that allows nothing or a guard, -EHWPOISON at poisoned memory, or
    -ENOMEM; what was faulted in before that stays.
    """
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    address, error = start, 0
    while not error and (found := next_vma(mm, address, end)):
        error = yield from populate_vma_page_range(
            system, found.vma, found.start, found.end, bool(found.vma.prot & pt.PROT_WRITE)
        )
        address = found.end
    yield from system.cpus.unlock(mm.mmap_sem)
    return error


@routine
def populate_vma_page_range(system: System, vma: Vma, start: int, end: int, write: bool) -> Routine[int]:
    """Fault in every page of [start, end), which lies inside `vma`. Called under mmap_sem.

    Returns 0, -EFAULT if the VMA allows nothing, or at a guard, -EHWPOISON at poisoned memory, or -ENOMEM.
    No reference is taken, and no content changes.
    """
    if not vma.prot:
        yield read("the VMA allows nothing")
        return -EFAULT
    address = start
    while address < end:
        count = accessible(system, vma.mm, address, end, write)
        yield read(f"{f'{count} pages are' if count > 1 else 'the page is'} {'there' if count else 'not there'}")
        if not count:
            fault = yield from handle_mm_fault(system, vma, address, write)
            if fault & VM_FAULT_OOM:
                return -ENOMEM
            if fault & VM_FAULT_HWPOISON:
                return -EHWPOISON
            if fault & VM_FAULT_SIGSEGV:
                return -EFAULT
            continue
        found = pmd_at(system, vma.mm, address)
        stop = address + count * system.geometry.page_size
        if found is not None and pt.pmd_trans_huge(found.entry):
            stop = (
                address // system.geometry.huge_size + 1
            ) * system.geometry.huge_size  # one look tells of all pages under it
            yield from follow_trans_huge_pmd(system, vma, *found, write)
        elif found is not None:
            low, high = entry_range(system.geometry, address, stop)
            yield from touch_ptes(system, vma, pt.pte_pfn(found.entry), low, high, write)
        address = stop
    return 0


def mlocks_found(system: System, vma: Vma) -> bool:
    """Does populating tell the pages of this VMA that they are locked in memory (FOLL_MLOCK)?"""
    return system.kernel.mm.mlocks == "found" and VM_LOCKED in vma.flags


@routine
def follow_trans_huge_pmd(system: System, vma: Vma, pmd_table: int, index: int, pmd: int, write: bool) -> Routine[None]:
    """Mark a huge PMD as used (FOLL_TOUCH), unless it has changed, and lock its page in memory if need be."""
    lock = system.ptl(pmd_table)
    yield from system.cpus.lock(lock)
    if system.tables.get(pmd_table, index) == pmd:
        if write or system.kernel.gup.touch_dirties:  # x86 stores nothing where only the accessed bit would change
            system.tables.set(pmd_table, index, pt.mkyoung(pmd) | pt._PAGE_DIRTY)
            yield change("PMD marked accessed and dirty")
        page = pt.pte_pfn(pmd)
        if (
            mlocks_found(system, vma)
            and page != system.huge_zero_page
            and (not system.scheme.pmd_split_is_local or system.scheme.page_mapcount(system.frames, page) == 1)
        ):
            yield from mlock_found(system, page)
    yield from system.cpus.unlock(lock)


@phrase("lock what was found in memory")
def mlock_found(system: System, page: int) -> Routine[None]:
    """Mark a page, small or a head, as locked in memory. Called under the page table lock.

    A page that somebody else has locked is left out: reclaim finds out by itself.
    """
    lock = system.page_lock(page)
    locked = yield from system.cpus.trylock(lock)
    if locked:
        yield from mlock_vma_page(system, page)
        yield from system.cpus.unlock(lock)


@phrase("the pages count as written to")
def touch_ptes(system: System, vma: Vma, pte_table: int, low: int, high: int, write: bool) -> Routine[None]:
    """Mark the pages under the PTEs [low, high) dirty where the PTEs are not (FOLL_TOUCH), if `write`: their contents
    are wanted from now on. Small ones are locked in memory if need be."""
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    runs = tuple(run for run in system.tables.runs(pte_table, low, high) if run.kind == "page")
    for run in runs:
        heads = _clean_heads(system, pte_table, run) if write else ()
        if heads:
            system.frames.flags[list(heads)] |= PG_dirty
            yield change("PG_dirty set", "Somebody wants these contents: reclaim must keep them.")
        small = (
            ()
            if not mlocks_found(system, vma) or system.frames.is_compound(run.pfn)
            else tuple(range(run.pages.start, run.pages.stop))
        )
        for page in small:
            yield from mlock_found(system, page)
    yield from system.cpus.unlock(lock)


def _clean_heads(system: System, pte_table: int, run: pt.PteRun) -> tuple[int, ...]:
    """The small pages, and the heads of others, under those PTEs of a run that are not dirty."""
    clean = np.flatnonzero(system.tables.table[pte_table][run.entries] & np.uint64(pt._PAGE_DIRTY) == 0)
    return tuple(sorted({system.frames.compound_head(run.pfn + int(i)) for i in clean}))
