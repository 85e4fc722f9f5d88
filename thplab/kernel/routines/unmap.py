"""Taking mappings away: munmap, exit (mm/mmap.c, zap_* in mm/memory.c, zap_huge_pmd in mm/huge_memory.c).

A mapping goes in this order: the entry is cleared, the map count drops, the TLB is flushed, and only then is the
reference dropped. In between the page still has a reference without a mapping.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from thplab.errors import EINVAL
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_tail, single
from thplab.hardware.geometry import LEVEL_NAMES
from thplab.hardware.steps import Routine, change, read, routine
from thplab.kernel.address_space import AddressSpace, Vma
from thplab.kernel.routines.deposit import pgtable_trans_huge_withdraw
from thplab.kernel.routines.huge_pmd import pmd_trans_huge_lock
from thplab.kernel.routines.munlock import munlock_vma_pages_all
from thplab.kernel.routines.protect import of_one_folio, split_vma
from thplab.kernel.routines.rmap import anon_vma_lock, folio_remove_rmap_pmd, folio_remove_rmap_ptes
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.kernel.routines.swap import free_pages_and_swap_cache, free_swap_and_cache
from thplab.kernel.routines.walk import entry_range, pmd_at, pmd_ranges
from thplab.kernel.system import System


@dataclass(eq=False)
class MmuGather:
    """What an unmap has to give back once no CPU can reach it any more (struct mmu_gather):
    pages to put, tables to free.
    """

    mm: AddressSpace
    drops_markers: bool = False
    """Guards go, too (ZAP_FLAG_DROP_MARKER): nothing is left that they could guard."""
    need_flush: bool = False
    pages: list[slice] = field(default_factory=list)
    tables: list[int] = field(default_factory=list)

    @property
    def key(self) -> str:
        pages = [(part.start, part.stop) for part in self.pages]
        return f"mmu_gather {self.drops_markers} {self.need_flush} {pages} {self.tables}"


@routine
def vm_munmap(system: System, mm: AddressSpace, start: int, end: int) -> Routine[int]:
    """Unmap [start, end). Returns 0, also if nothing is mapped there; -EINVAL if that is no range of addresses."""
    if end > system.geometry.address_limit:
        yield read("the range ends beyond all addresses")
        return -EINVAL
    yield from system.cpus.lock(mm.mmap_sem)
    yield from do_munmap(system, mm, start, end)
    yield from system.cpus.unlock(mm.mmap_sem)
    return 0


@routine
def do_munmap(system: System, mm: AddressSpace, start: int, end: int) -> Routine[None]:
    """Cut the VMAs at the borders of [start, end) and take down what lies between.
    Called under mmap_sem (exclusive).
    """
    borders = (start, end)
    for border in borders:
        yield from split_vma(system, mm, border)
    gone = mm.overlapping(start, end)
    yield from munlock_vma_pages_all(system, gone)
    if gone:
        mm.vmas = [vma for vma in mm.vmas if vma not in gone]
        yield change(
            "remove the VMA" if len(gone) == 1 else f"remove {len(gone)} VMAs",
            "Nothing can be faulted in there any more.",
        )
        yield from unmap_region(system, mm, gone, start, end)


@routine
def exit_mmap(system: System, mm: AddressSpace) -> Routine[None]:
    """Take a process's whole memory down. Called when nobody else uses it: mmap_sem is not needed."""
    gone = tuple(mm.vmas)
    yield from munlock_vma_pages_all(system, gone)
    mm.vmas = []
    yield from _unmap(system, mm, gone, 0, system.geometry.address_limit)
    system.tables.free(mm.pgd)
    del system.mms[mm.name]
    system.ksm.forget(mm.name)
    yield change(f"free the top page table: {mm.name} is gone")


@routine
def unmap_region(system: System, mm: AddressSpace, gone: tuple[Vma, ...], start: int, end: int) -> Routine[None]:
    """Zap the entries of the VMAs `gone`, which are off the list already, and free the tables in [start,
    end) without a VMA.
    """
    yield from _unmap(system, mm, gone, start, end)


def _unmap(system: System, mm: AddressSpace, gone: tuple[Vma, ...], start: int, end: int) -> Routine[None]:
    """What unmap_region and exit_mmap have in common.

    Pages and tables are given back only after the TLB flush, which waits for every CPU that still walks the tables.
    """
    tlb = MmuGather(mm, drops_markers=True)
    for vma in gone:
        ranges = pmd_ranges(system.geometry, vma.start, vma.end)
        for address, stop in ranges:
            yield from zap_pmd_range(system, tlb, vma, address, stop)
    for vma in gone:
        yield from unlink_anon_vmas(system, vma)
    yield from free_pgtables(system, tlb, start, end)
    yield from tlb_finish_mmu(system, tlb)


@routine
def unlink_anon_vmas(system: System, vma: Vma) -> Routine[None]:
    """Take a VMA out of the reverse map, under the lock that keeps a page split from walking it."""
    if not vma.chain:
        return
    lock = anon_vma_lock(vma.chain[0])
    yield from system.cpus.lock(lock)
    vma.mm.unlink_anon_vmas(vma)
    system.anon_vmas = {number: anon_vma for number, anon_vma in system.anon_vmas.items() if anon_vma.vmas}
    yield change("take the VMA out of the reverse map")
    yield from system.cpus.unlock(lock)


@routine
def zap_pmd_range(system: System, tlb: MmuGather, vma: Vma, address: int, stop: int) -> Routine[None]:
    """Zap [address, stop), which lies under one PMD: the PMD itself if it is huge and goes whole, else its PTEs."""
    found = pmd_at(system, vma.mm, address)
    if found is None:
        return
    pmd_table, index, pmd = found
    yield read(f"read the PMD: {pt.entry_text(pmd)}")
    if pt.pmd_trans_huge(pmd):
        if stop - address < system.geometry.huge_size:
            yield from split_huge_pmd(system, vma, address)
        elif (yield from zap_huge_pmd(system, tlb, vma, pmd_table, index)):
            return
        pmd = system.tables.get(pmd_table, index)
        yield read(f"read the PMD again: {pt.entry_text(pmd)}")
    if not pt.pte_none(pmd):
        low, high = entry_range(system.geometry, address, stop)
        yield from zap_pte_range(system, tlb, vma, pt.pte_pfn(pmd), low, high)


@routine
def zap_huge_pmd(system: System, tlb: MmuGather, vma: Vma, pmd_table: int, index: int) -> Routine[bool]:
    """Clear a huge PMD and count the mapping away; the table deposited for it goes as well.

    Returns False, with nothing changed, if the PMD is not huge any more: a page split was quicker.
    """
    if not (yield from pmd_trans_huge_lock(system, vma, pmd_table, index)):
        return False
    page = pt.pte_pfn(system.tables.get(pmd_table, index))
    system.tables.set(pmd_table, index, 0)
    tlb.need_flush = True
    yield change("PMD cleared")
    counts_first = system.kernel.mm.zap_counts_first
    pgtable = 0 if counts_first else (yield from pgtable_trans_huge_withdraw(system, vma.mm, pmd_table))
    if page != system.huge_zero_page:
        yield from folio_remove_rmap_pmd(system, vma, page)
        tlb.pages.append(single(page))
    if counts_first:
        pgtable = yield from pgtable_trans_huge_withdraw(system, vma.mm, pmd_table)
    yield from system.cpus.unlock(system.ptl(pmd_table))
    system.tables.free(pgtable)
    yield change("free the table that was deposited for it")
    return True


@routine
def zap_pte_range(system: System, tlb: MmuGather, vma: Vma, pte_table: int, low: int, high: int) -> Routine[None]:
    """Clear the entries [low, high) of a PTE table and count their mappings away; their pages are put later."""
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    runs = tuple(r for r in system.tables.runs(pte_table, low, high) if r.kind != "guard" or tlb.drops_markers)
    yield read(f"read the PTEs {low} to {high - 1}" if high - low > 1 else f"read PTE {low}")
    for run in runs:
        batches = (run.entries,) if system.scheme.batches and of_one_folio(system, run) else system.each(run.entries)
        for batch in batches:
            parts = system.each(batch)
            for part in parts:
                system.tables.store(pte_table, part, 0)
                tlb.need_flush = True
                yield change("PTE cleared" if part.stop - part.start == 1 else f"{part.stop - part.start} PTEs cleared")
            if run.kind == "page":
                pages = run.cut(batch.start, batch.stop).pages
                yield from folio_remove_rmap_ptes(system, vma, pages)
                tlb.pages.append(pages)
            if run.kind == "swap":
                yield from free_swap_and_cache(system, run.cut(batch.start, batch.stop).pages)
    yield from system.cpus.unlock(lock)


@routine
def try_to_free_pte(system: System, tlb: MmuGather, vma: Vma, address: int) -> Routine[None]:
    """Unlink the PTE table for `address` if all its entries are empty; it is freed after the flush.
    Called under mmap_sem (shared).

    The kernel has everybody who was on the way to the table read the PMD again under the table's lock. Here the table
    stays while another CPU holds a lock under which it may be on that way.
    """
    found = pmd_at(system, vma.mm, address)
    if found is None or pt.pte_none(found.entry) or pt.pmd_trans_huge(found.entry):
        return
    pmd_table, index, _ = found
    lock = system.ptl(pmd_table)
    yield from system.cpus.lock(lock)
    pmd = system.tables.get(pmd_table, index)
    table = 0 if pt.pte_none(pmd) or pt.pmd_trans_huge(pmd) else pt.pte_pfn(pmd)
    ways = (vma.mm.mmap_sem, system.ptl(table), *(anon_vma_lock(anon_vma) for anon_vma in vma.chain))
    if table and not system.tables.table[table].any() and not any(map(system.cpus.others_hold, ways)):
        system.tables.set(pmd_table, index, 0)
        tlb.tables.append(table)
        yield change("unlink the PTE table", "It is empty, so the next touch may find room for a huge page.")
    else:
        yield read("is there an empty PTE table that nobody uses? no")
    yield from system.cpus.unlock(lock)


@routine
def tlb_finish_mmu(system: System, tlb: MmuGather) -> Routine[None]:
    """End of an unmap: flush the TLB, then free the tables and drop the references that the cleared entries held."""
    if tlb.need_flush or tlb.tables:
        yield from system.cpus.flush_tlb(
            f"what {tlb.mm.name} has unmapped",
            "Pages and tables may be reused only when no CPU can reach them any more.",
            tlb.mm.name,
        )
    if tlb.tables:
        for table in tlb.tables:
            system.tables.free(table)
        count = len(tlb.tables)
        yield change(f"free {count} page {'tables' if count > 1 else 'table'}")
    pages = tuple(tlb.pages)
    for part in pages:
        yield from free_pages_and_swap_cache(system, part)


@routine
def free_pgtables(system: System, tlb: MmuGather, start: int, end: int) -> Routine[None]:
    """Unlink the page tables in [start, end) that no VMA needs any more, lowest level first. The top table stays."""
    levels = range(0, system.geometry.levels - 1)
    for level in levels:
        unlinked = tuple(_unlink_empty_tables(system, tlb.mm, level, start, end))
        tlb.tables += unlinked
        if unlinked:
            yield change(
                f"unlink the {LEVEL_NAMES[level]} {'tables' if len(unlinked) > 1 else 'table'}",
                "No VMA needs it any more.",
            )


def _unlink_empty_tables(system: System, mm: AddressSpace, level: int, start: int, end: int) -> list[int]:
    """Clear the entries that lead to tables of `level` that serve addresses of [start, end), where no VMA is, and those
    of no VMA around it; returns the tables.
    """
    geometry = system.geometry
    span = 1 << geometry.shift(level + 1)
    floor = max((vma.end for vma in mm.vmas if vma.end <= start), default=0)
    ceiling = min((vma.start for vma in mm.vmas if vma.start >= end), default=geometry.address_limit)
    low, high = start & -span, -(-end & -span)
    low, high = low if low >= floor else low + span, high if high <= ceiling else high - span
    if low >= high:
        return []
    tables = [(mm.pgd, 0)]
    for at in range(geometry.levels - 1, level + 1, -1):
        linked = [(base, _linked(system, table, base, at, low, high)) for table, base in tables]
        tables = [
            (pt.pte_pfn(entry), base + (i << geometry.shift(at))) for base, entries in linked for i, entry in entries
        ]
    unlinked = []
    for table, base in tables:
        for i, entry in _linked(system, table, base, level + 1, low, high):
            system.tables.set(table, i, 0)
            unlinked.append(pt.pte_pfn(entry))
    return unlinked


def _linked(system: System, table: int, base: int, level: int, start: int, end: int) -> list[tuple[int, int]]:
    """(index, entry) of the tables that a table of `level`, which begins at address `base`,
    links to and that overlap [start, end).
    """
    span = 1 << system.geometry.shift(level)
    low, high = max(0, (start - base) // span), min(system.geometry.nr, -(-(end - base) // span))
    entries = system.tables.table[table][low : max(low, high)]
    return [(low + i, entries.item(i)) for i in entries.nonzero()[0].tolist() if not entries.item(i) & pt._PAGE_PSE]


# --- mutants ----------------------------------------------------------------------------------------------------------


def frees_the_subpage_at_once(
    system: System, tlb: MmuGather, vma: Vma, pte_table: int, low: int, high: int
) -> Routine[None]:
    """zap_pte_range that gives an unmapped tail back at once, as if it were a page of its own."""
    yield from zap_pte_range.right(system, tlb, vma, pte_table, low, high)
    frames = system.frames
    for part in tuple(tlb.pages):
        for page in range(part.start, part.stop):
            if frames.flags[page] & PG_tail and frames.mapcount[page] == -1:
                frames.free_pages(page, 0)
                yield change(f"free {system.page_name(page)}")
