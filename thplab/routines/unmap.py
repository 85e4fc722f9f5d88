"""Taking mappings away: munmap, exit (mm/mmap.c, zap_* in mm/memory.c, zap_huge_pmd in mm/huge_memory.c).

A mapping goes in this order: the entry is cleared, the map count drops, the TLB is flushed, and only then is the
reference dropped. In between the page still has a reference without a mapping.
"""

from __future__ import annotations

from thplab import page_tables as pt
from thplab.address_space import AddressSpace, Vma
from thplab.frames import PG_tail, single
from thplab.geometry import LEVEL_NAMES
from thplab.routines.deposit import pgtable_trans_huge_withdraw
from thplab.routines.protect import split_vma
from thplab.routines.split_huge_pmd import split_huge_pmd
from thplab.routines.walk import entry_range, pmd_at, pmd_ranges
from thplab.steps import Routine, change, read
from thplab.system import System, routine


@routine
def do_munmap(system: System, mm: AddressSpace, start: int, end: int) -> Routine[int]:
    """Unmap [start, end): cut the VMAs at its borders, zap the entries, free the tables that nobody needs. Returns 0."""
    yield from system.cpus.lock(mm.mmap_sem)
    borders = (start, end)
    for border in borders:
        yield from split_vma(system, mm, border)
    gone = mm.overlapping(start, end)
    pages = yield from unmap_vmas(system, gone)
    for vma in gone:
        mm.remove(vma)
    system.drop_empty_anon_vmas()
    yield change("remove the VMA", "Nothing is mapped there any more, so nothing can be faulted in.")
    yield from free_pgtables(system, mm, start, end)
    yield from system.cpus.unlock(mm.mmap_sem)
    yield from tlb_finish(system, mm, pages)
    return 0


@routine
def exit_mmap(system: System, mm: AddressSpace) -> Routine[None]:
    """Take a process's whole memory down. Called when nobody else uses it: mmap_sem is not needed."""
    gone = tuple(mm.vmas)
    pages = yield from unmap_vmas(system, gone)
    yield from tlb_finish(system, mm, pages)
    for vma in gone:
        mm.remove(vma)
    system.drop_empty_anon_vmas()
    yield change("remove all VMAs")
    yield from free_pgtables(system, mm, 0, system.geometry.address_limit)
    system.tables.free(mm.pgd)
    del system.mms[mm.name]
    yield change(f"free the top page table: {mm.name} is gone")


@routine
def unmap_vmas(system: System, vmas: tuple[Vma, ...]) -> Routine[tuple[slice, ...]]:
    """Zap every entry of `vmas`; returns the pages whose references are still to be dropped, after the TLB flush."""
    batch: tuple[slice, ...] = ()
    for vma in vmas:
        ranges = pmd_ranges(system.geometry, vma.start, vma.end)
        for address, stop in ranges:
            batch += yield from zap_pmd(system, vma, address, stop)
    return batch


@routine
def zap_pmd(system: System, vma: Vma, address: int, stop: int) -> Routine[tuple[slice, ...]]:
    """Zap [address, stop), which lies under one PMD: the PMD itself if it is huge and goes whole, else its PTEs."""
    found = pmd_at(system, vma.mm, address)
    if found is None:
        return ()
    pmd_table, index, pmd = found
    yield read(f"read the PMD: {pt.entry_text(pmd)}")
    if pt.pmd_trans_huge(pmd):
        if stop - address == system.geometry.huge_size:
            return (yield from zap_huge_pmd(system, vma, pmd_table, index))
        yield from split_huge_pmd(system, vma, address)
        pmd = system.tables.get(pmd_table, index)
    if pt.pte_none(pmd):
        return ()
    low, high = entry_range(system.geometry, address, stop)
    return (yield from zap_pte_range(system, vma, pt.pte_pfn(pmd), low, high))


@routine
def zap_huge_pmd(system: System, vma: Vma, pmd_table: int, index: int) -> Routine[tuple[slice, ...]]:
    """Clear a huge PMD and count the mapping away; free the table deposited for it. Returns the page still to be put."""
    lock = system.ptl(pmd_table)
    yield from system.cpus.lock(lock)
    page = pt.pte_pfn(system.tables.get(pmd_table, index))
    system.tables.set(pmd_table, index, 0)
    yield change("PMD cleared")
    pgtable = yield from pgtable_trans_huge_withdraw(system, vma.mm, pmd_table)
    zero = page == system.huge_zero_page
    if not zero:
        yield from system.scheme.remove_pmd_rmap(system, page)
    yield from system.cpus.unlock(lock)
    system.tables.free(pgtable)
    yield change("free the table that was deposited for it")
    return () if zero else (single(page),)


@routine
def zap_pte_range(system: System, vma: Vma, pte_table: int, low: int, high: int) -> Routine[tuple[slice, ...]]:
    """Clear the entries [low, high) of a PTE table and count their mappings away. Returns the pages still to be put."""
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    runs = system.tables.runs(pte_table, low, high)
    yield read(f"read the PTEs {low} to {high - 1}" if high - low > 1 else f"read PTE {low}")
    batch: tuple[slice, ...] = ()
    for run in runs:
        parts = system.each(run.entries)
        for part in parts:
            system.tables.table[pte_table][part] = 0
            yield change("PTE cleared" if part.stop - part.start == 1 else f"{part.stop - part.start} PTEs cleared")
            if run.kind == "page":
                pages = run.cut(part.start, part.stop).pages
                yield from system.scheme.remove_pte_rmap(system, pages)
                batch += (pages,)
    yield from system.cpus.unlock(lock)
    return batch


@routine
def tlb_finish(system: System, mm: AddressSpace, pages: tuple[slice, ...]) -> Routine[None]:
    """End of an unmap: flush the TLB, then drop the references that the cleared entries held (tlb_finish_mmu)."""
    if not pages:
        return
    yield from system.cpus.flush_tlb(f"what {mm.name} has unmapped", "A page may be reused only when no CPU can reach it any more.")
    for part in pages:
        yield from system.scheme.put_pages(system, part)


@routine
def free_pgtables(system: System, mm: AddressSpace, start: int, end: int) -> Routine[None]:
    """Free the page tables in [start, end) that no VMA needs any more, lowest level first. The top table stays."""
    levels = range(0, system.geometry.levels - 1)
    for level in levels:
        freed = _free_empty_tables(system, mm, level, start, end)
        if freed:
            yield change(f"free {freed} {LEVEL_NAMES[level]} {'tables' if freed > 1 else 'table'}", "No VMA needs them any more.")


def _free_empty_tables(system: System, mm: AddressSpace, level: int, start: int, end: int) -> int:
    """Unlink and free the tables of `level` whose whole span overlaps [start, end) and no VMA; returns how many."""
    geometry, tables = system.geometry, system.tables
    span = 1 << geometry.shift(level + 1)
    parents = [(mm.pgd, 0)]
    for at in range(geometry.levels - 1, level + 1, -1):
        size = 1 << geometry.shift(at)
        parents = [
            (pt.pte_pfn(entry), base + i * size)
            for table, base in parents
            for i, entry in enumerate(map(int, tables.table[table]))
            if entry and not entry & pt._PAGE_PSE
        ]
    freed = 0
    for table, base in parents:
        for i in range(geometry.nr):
            entry, low = tables.get(table, i), base + i * span
            if not entry or entry & pt._PAGE_PSE or low >= end or low + span <= start or mm.overlapping(low, low + span):
                continue
            tables.set(table, i, 0)
            tables.free(pt.pte_pfn(entry))
            freed += 1
    return freed


# --- mutants ----------------------------------------------------------------------------------------------------------


def frees_the_subpage_at_once(system: System, vma: Vma, pte_table: int, low: int, high: int) -> Routine[tuple[slice, ...]]:
    """zap_pte_range that gives an unmapped tail back at once, as if it were a page of its own."""
    right = zap_pte_range.__wrapped__  # type: ignore[attr-defined]
    batch = yield from right(system, vma, pte_table, low, high)
    frames = system.frames
    for part in batch:
        for page in range(part.start, part.stop):
            if frames.flags[page] & PG_tail and frames.mapcount[page] == -1:
                frames.free_pages(page, 0)
                yield change(f"free {system.page_name(page)}")
    result: tuple[slice, ...] = batch
    return result
