"""/proc/PID/clear_refs: forget which pages a process has touched (fs/proc/task_mmu.c)."""

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
def clear_refs_write(system: System, mm: AddressSpace) -> Routine[int]:
    """Mark every entry of a process that maps a page, and the page, as not accessed. Returns 0."""
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    vmas = tuple(mm.vmas)
    for vma in vmas:
        ranges = pmd_ranges(system.geometry, vma.start, vma.end)
        for address, stop in ranges:
            yield from clear_refs_pte_range(system, vma, address, stop)
    if system.kernel.proc.clear_refs_splits:
        yield from system.cpus.flush_tlb(
            f"all of {mm.name}", "A CPU sets the bit again only if it has forgotten the entry."
        )
    yield from system.cpus.unlock(mm.mmap_sem)
    return 0


@routine
def clear_refs_pte_range(system: System, vma: Vma, address: int, stop: int) -> Routine[None]:
    """Clear the accessed bits of [address, stop), which lies under one PMD.
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
            system.tables.set(pmd_table, index, pt.mkold(pmd))
            yield change("PMD marked not accessed")
            yield from clear_page_referenced(system, single(pt.pte_pfn(pmd)))
            yield from system.cpus.unlock(system.ptl(pmd_table))
            return
        pmd = system.tables.get(pmd_table, index)
        yield read(f"read the PMD again: {pt.entry_text(pmd)}")
    if not pt.pte_none(pmd):
        low, high = entry_range(system.geometry, address, stop)
        yield from clear_refs_ptes(system, pt.pte_pfn(pmd), low, high)


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
        frames.flags[marked] &= ~PG_referenced
        yield change(f"{system.pages_text(marked)}: PG_referenced cleared")
