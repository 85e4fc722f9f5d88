"""Faulting memory in ahead of its use (populate in mm/gup.c): what mlock does, and madvise on request."""

from __future__ import annotations

import numpy as np

from thplab.errors import EFAULT, EHWPOISON, ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_dirty
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import AddressSpace, Vma
from thplab.kernel.routines.fault import accessible, handle_mm_fault, huge_pmd_set_accessed
from thplab.kernel.routines.vm_fault import VM_FAULT_HWPOISON, VM_FAULT_OOM
from thplab.kernel.routines.walk import entry_range, pmd_at
from thplab.kernel.system import System


@routine
def mm_populate(system: System, mm: AddressSpace, start: int, end: int) -> Routine[int]:
    """Fault in what lies in [start, end), as a write where writes are allowed: so nothing is left to be copied later.

    Takes mmap_sem. Returns 0, -EFAULT at a VMA that allows nothing, -EHWPOISON at poisoned memory, or -ENOMEM; what was
    faulted in before that stays.
    """
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    error = 0
    vmas = mm.overlapping(start, end)
    for vma in vmas:
        write = bool(vma.prot & pt.PROT_WRITE)
        error = yield from populate_vma_page_range(system, vma, max(start, vma.start), min(end, vma.end), write)
        if error:
            break
    yield from system.cpus.unlock(mm.mmap_sem)
    return error


@routine
def populate_vma_page_range(system: System, vma: Vma, start: int, end: int, write: bool) -> Routine[int]:
    """Fault in every page of [start, end), which lies inside `vma`. Called under mmap_sem.

    Returns 0, -EFAULT if the VMA allows nothing, -EHWPOISON at poisoned memory, or -ENOMEM. No reference is taken, and no content changes.
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
            continue
        found = pmd_at(system, vma.mm, address)
        if found is not None and pt.pmd_trans_huge(found.entry):
            yield from huge_pmd_set_accessed(system, *found, write)
        elif found is not None and write:
            low, high = entry_range(system.geometry, address, address + count * system.geometry.page_size)
            yield from touch_ptes(system, pt.pte_pfn(found.entry), low, high)
        address += count * system.geometry.page_size
    return 0


@phrase("the pages count as written to")
def touch_ptes(system: System, pte_table: int, low: int, high: int) -> Routine[None]:
    """Mark the pages under the PTEs [low, high) dirty where the PTEs are not (FOLL_TOUCH): their contents are wanted from now on."""
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    runs = tuple(run for run in system.tables.runs(pte_table, low, high) if run.kind == "page")
    for run in runs:
        heads = _clean_heads(system, pte_table, run)
        if heads:
            system.frames.flags[list(heads)] |= PG_dirty
            yield change("PG_dirty set", "Somebody wants these contents: reclaim must keep them.")
    yield from system.cpus.unlock(lock)


def _clean_heads(system: System, pte_table: int, run: pt.PteRun) -> tuple[int, ...]:
    """The small pages, and the heads of others, under those PTEs of a run that are not dirty."""
    clean = np.flatnonzero(system.tables.table[pte_table][run.entries] & np.uint64(pt._PAGE_DIRTY) == 0)
    return tuple(sorted({system.frames.compound_head(run.pfn + int(i)) for i in clean}))
