"""Locking a huge PMD that somebody may be splitting (include/linux/huge_mm.h);
taking one from the hardware (mm/pgtable-generic.c).
"""

from __future__ import annotations

from thplab.hardware import page_tables as pt
from thplab.hardware.steps import Routine, change, read, routine
from thplab.kernel.address_space import AddressSpace, Vma
from thplab.kernel.routines.rmap import anon_vma_lock
from thplab.kernel.system import System


@routine
def pmd_trans_huge_lock(system: System, vma: Vma, pmd_table: int, index: int) -> Routine[bool]:
    """Take the page table lock over a PMD and look whether it is huge. Returns True with the lock held if it is.

    Otherwise the lock is released again; where the PMD is marked splitting, the split is over when this returns.
    """
    lock = system.ptl(pmd_table)
    yield from system.cpus.lock(lock)
    pmd = system.tables.get(pmd_table, index)
    splitting = pt.pmd_trans_splitting(pmd)
    if pt.pmd_trans_huge(pmd) and not splitting:
        return True
    yield read("the PMD is marked: its page is being split" if splitting else "the PMD is not huge any more")
    yield from system.cpus.unlock(lock)
    if splitting:
        yield from wait_split_huge_page(system, vma)
    return False


@routine
def wait_split_huge_page(system: System, vma: Vma) -> Routine[None]:
    """Wait until the split is over that has marked a PMD of `vma`: whoever splits a page holds this lock all the while.

    Called without the page table lock. Afterwards the PMD is a table.
    """
    lock = anon_vma_lock(vma.chain[0])
    yield from system.cpus.lock(
        lock, why="Whoever splits the page holds this lock from before the marks to the last table."
    )
    yield from system.cpus.unlock(lock)


@routine
def pmdp_invalidate(system: System, mm: AddressSpace, pmd_table: int, index: int) -> Routine[int]:
    """Hide a huge PMD from the hardware, and flush. Called under its lock.
    Returns what it was, with all that CPUs have noted in it.
    """
    pmd = system.tables.get(pmd_table, index)
    system.tables.set(pmd_table, index, pt.mknotpresent(pmd))
    yield change(
        "PMD marked not present",
        "The hardware must never see a huge entry and small ones for the same address at once.",
    )
    yield from _flush_huge(system, mm)
    return pmd


@routine
def pmdp_huge_clear_flush(system: System, mm: AddressSpace, pmd_table: int, index: int) -> Routine[int]:
    """Clear a huge PMD, and flush. Called under its lock. Returns what it was."""
    pmd = system.tables.get(pmd_table, index)
    system.tables.set(pmd_table, index, 0)
    yield change("PMD cleared", "Whoever touches the memory now waits for the lock.")
    yield from _flush_huge(system, mm)
    return pmd


def _flush_huge(system: System, mm: AddressSpace) -> Routine[None]:
    size = system.geometry.size_text(system.geometry.nr)
    yield from system.cpus.flush_tlb(f"{size} of {mm.name}", "No CPU may keep using the old huge entry.")
