"""Guard regions: markers in page tables that end every touch with SIGSEGV,
without a VMA of their own (mm/madvise.c).
"""

from __future__ import annotations

from thplab.errors import ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import Vma
from thplab.kernel.routines.fault import __pte_alloc, pmd_alloc
from thplab.kernel.routines.rmap import anon_vma_prepare
from thplab.kernel.routines.unmap import MmuGather, tlb_finish_mmu, zap_pmd_range
from thplab.kernel.routines.walk import entry_range, pmd_at, pmd_ranges
from thplab.kernel.system import System


@routine
def madvise_guard_install(system: System, vma: Vma, start: int, end: int) -> Routine[int]:
    """Let a marker stand at each page of [start, end), which lies inside a VMA that is not locked in memory; what is
    mapped there goes. Called under mmap_sem (shared).

    It begins with the hope that nothing is mapped. If something is, all of the range is zapped, and it begins anew.
    Returns 0, or -ENOMEM, with markers in a part of the range.
    """
    yield from anon_vma_prepare(system, vma)
    while True:
        found = yield from install_markers(system, vma, start, end)
        if found != "page":
            return -ENOMEM if found else 0
        tlb = MmuGather(vma.mm)
        ranges = pmd_ranges(system.geometry, start, end)
        for address, stop in ranges:
            yield from zap_pmd_range(system, tlb, vma, address, stop)
        yield from tlb_finish_mmu(system, tlb)


@phrase("put the markers up")
def install_markers(system: System, vma: Vma, start: int, end: int) -> Routine[str]:
    """Markers from `start` on, as far as nothing is mapped. Returns what it was that stopped it: "page", "memory", or
    "" if nothing did."""
    geometry, tables = system.geometry, system.tables
    ranges = pmd_ranges(geometry, start, end)
    for address, stop in ranges:
        pmd_table = yield from pmd_alloc(system, vma.mm, address)
        pte_table = None
        if pmd_table is not None:
            pte_table = yield from __pte_alloc(system, vma.mm, pmd_table, geometry.index(address, 1))
        if not pte_table:
            return "memory" if pte_table is None else "page"
        low, high = entry_range(geometry, address, stop)
        lock = system.ptl(pte_table)
        yield from system.cpus.lock(lock)
        runs = tables.runs(pte_table, low, high)
        occupied = next((run.start for run in runs if run.kind != "guard"), high)
        yield read("read the PTEs: " + ("nothing is mapped" if occupied == high else f"PTE {occupied} is in use"))
        parts = system.each(slice(low, occupied))
        for part in parts:
            tables.store(pte_table, part, pt._SWP_GUARD)
            yield change(
                "PTE = a guard marker" if part.stop - part.start == 1 else f"{part.stop - part.start} guard markers",
                "A fault that finds it sends SIGSEGV. No VMA is split for that.",
            )
        yield from system.cpus.unlock(lock)
        if occupied < high:
            return "page"
    return ""


@routine
def madvise_guard_remove(system: System, vma: Vma, start: int, end: int) -> Routine[None]:
    """Take the markers of [start, end) inside a VMA away: the next touch faults a page in. Called under mmap_sem
    (shared)."""
    ranges = pmd_ranges(system.geometry, start, end)
    for address, stop in ranges:
        found = pmd_at(system, vma.mm, address)
        yield read(f"read the PMD: {pt.entry_text(found.entry if found else 0)}")
        if found is None or pt.pte_none(found.entry) or pt.pmd_trans_huge(found.entry):
            continue
        table = pt.pte_pfn(found.entry)
        lock = system.ptl(table)
        yield from system.cpus.lock(lock)
        low, high = entry_range(system.geometry, address, stop)
        runs = tuple(run for run in system.tables.runs(table, low, high) if run.kind == "guard")
        for run in runs:
            parts = system.each(run.entries)
            for part in parts:
                system.tables.store(table, part, 0)
                count = part.stop - part.start
                yield change("marker cleared" if count == 1 else f"{count} markers cleared")
        yield from system.cpus.unlock(lock)
