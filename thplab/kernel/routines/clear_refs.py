"""/proc/PID/clear_refs: forget which pages a process has touched, or written (fs/proc/task_mmu.c).

The soft-dirty bits themselves, which /proc/PID/pagemap shows, are not modelled: what happens to mappings is.
"""

from __future__ import annotations

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_referenced, single
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import AddressSpace, Vma
from thplab.kernel.routines.huge_pmd import pmd_trans_huge_lock
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.kernel.routines.walk import entry_range, pmd_at, pmd_ranges
from thplab.kernel.system import System


@routine
def clear_refs_write(system: System, mm: AddressSpace, soft_dirty: bool) -> Routine[int]:
    """Mark every entry of a process that maps a page, and the page, as not accessed; or, for `soft_dirty`, make it
    read-only: the next write faults, and is known by that. Returns 0.
    """
    yield from system.cpus.lock(mm.mmap_sem, "exclusive" if soft_dirty else "shared")
    vmas = tuple(mm.vmas)
    for vma in vmas:
        ranges = pmd_ranges(system.geometry, vma.start, vma.end)
        for address, stop in ranges:
            yield from clear_refs_pte_range(system, vma, address, stop, soft_dirty)
    if soft_dirty or system.kernel.proc.clear_refs_flushes:
        why = "A CPU faults, or sets the bit again, only if it has forgotten the entry."
        yield from system.cpus.flush_tlb(f"all of {mm.name}", why)
    yield from system.cpus.unlock(mm.mmap_sem)
    return 0


@routine
def clear_refs_pte_range(system: System, vma: Vma, address: int, stop: int, soft_dirty: bool) -> Routine[None]:
    """Clear the accessed bits of [address, stop), which lies under one PMD, or the right to write.
    The kernel may have to split a huge PMD for it.
    """
    found = pmd_at(system, vma.mm, address)
    if found is None:
        return
    pmd_table, index, pmd = found
    yield read(f"read the PMD: {pt.entry_text(pmd)}")
    if pt.pmd_trans_huge(pmd):
        if system.kernel.proc.clear_refs_splits:
            yield from split_huge_pmd(system, vma, address)
        elif (yield from pmd_trans_huge_lock(system, vma, pmd_table, index)):
            pmd = system.tables.get(pmd_table, index)
            if soft_dirty:
                system.tables.set(pmd_table, index, pt.wrprotect(pmd))
                yield change("PMD read-only", "Pins are not asked for: the next write finds out whose the page is.")
            else:
                system.tables.set(pmd_table, index, pt.mkold(pmd))
                yield change("PMD marked not accessed")
                yield from clear_page_referenced(system, single(pt.pte_pfn(pmd)))
            yield from system.cpus.unlock(system.ptl(pmd_table))
            return
        pmd = system.tables.get(pmd_table, index)
        yield read(f"read the PMD again: {pt.entry_text(pmd)}")
    if not pt.pte_none(pmd):
        low, high = entry_range(system.geometry, address, stop)
        if soft_dirty:
            yield from clear_soft_dirty(system, vma, pt.pte_pfn(pmd), low, high)
        else:
            yield from clear_refs_ptes(system, pt.pte_pfn(pmd), low, high)


@routine
def clear_soft_dirty(system: System, vma: Vma, pte_table: int, low: int, high: int) -> Routine[None]:
    """Make the PTEs [low, high) read-only, but, where the kernel asks, those over what a driver may have pinned."""
    spares = system.kernel.proc.soft_dirty_spares_pins and vma.mm.has_pinned
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    runs = tuple(run for run in system.tables.runs(pte_table, low, high) if run.kind == "page")
    yield read("read the PTEs")
    for run in runs:
        parts = tuple(map(single, range(run.start, run.stop))) if spares else system.each(run.entries)
        for part in parts:
            if spares and system.frames.maybe_dma_pinned(run.cut(part.start, part.stop).pfn):
                yield read("a driver may have pinned the page: its PTE stays writable")
                continue
            system.tables.change(pte_table, part, clear=pt._PAGE_RW)
            yield change(f"{part.stop - part.start} PTEs read-only", "The next write faults, and so is seen.")
    yield from system.cpus.unlock(lock)


@phrase("clear the accessed bits of the PTEs")
def clear_refs_ptes(system: System, pte_table: int, low: int, high: int) -> Routine[None]:
    """Clear the accessed bits of the PTEs [low, high) that map pages; the zero page is nobody's."""
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    runs = tuple(run for run in system.tables.runs(pte_table, low, high) if run.kind == "page")
    yield read("read the PTEs")
    for run in runs:
        parts = system.each(run.entries)
        for part in parts:
            system.tables.change(pte_table, part, clear=pt._PAGE_ACCESSED)
            yield change(f"{part.stop - part.start} PTEs marked not accessed")
            yield from clear_page_referenced(system, run.cut(part.start, part.stop).pages)
    yield from system.cpus.unlock(lock)


@phrase("the pages count as used no more")
def clear_page_referenced(system: System, pages: slice) -> Routine[None]:
    """Clear PG_referenced of small pages, or of the head of the compound page that `pages` are a part of,
    where it is set.
    """
    frames = system.frames
    head = frames.compound_head(pages.start)
    marked = single(head) if frames.is_compound(head) else pages
    if (frames.flags[marked] & PG_referenced).any():
        frames.flags.clear(marked, PG_referenced)
        yield change(f"{system.pages_text(marked)}: PG_referenced cleared")
