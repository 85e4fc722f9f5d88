"""mlock and munlock (mm/mlock.c): VMAs whose pages are kept in memory. No counter of a page knows of it."""

from __future__ import annotations

from thplab.errors import EAGAIN, EFAULT, EHWPOISON, ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.steps import Routine, read, routine
from thplab.kernel.address_space import VM_LOCKED, AddressSpace
from thplab.kernel.routines.populate import mm_populate
from thplab.kernel.routines.protect import vma_modify_flags
from thplab.kernel.routines.walk import next_vma, pmd_at, pmd_ranges
from thplab.kernel.system import System

_POSIX_ERRORS = {-EFAULT: -ENOMEM, -EHWPOISON: -ENOMEM, -ENOMEM: -EAGAIN}
"""What mlock says for the errors of its populating (__mlock_posix_error_return)."""


@routine
def do_mlock(system: System, mm: AddressSpace, start: int, end: int) -> Routine[int]:
    """Lock [start, end) in memory and fault it in.

    A huge page that is locked as a whole stays mapped by its PMD; a border inside one splits the PMD. Returns 0,
    -ENOMEM where nothing is mapped or nothing may be accessed, -EAGAIN without memory; what was locked before that
    stays locked.
    """
    error = yield from apply_vma_lock_flags(system, mm, start, end, frozenset({VM_LOCKED}))
    if error:
        return error
    error = yield from mm_populate(system, mm, start, end)
    return _POSIX_ERRORS.get(error, error)


@routine
def sys_munlock(system: System, mm: AddressSpace, start: int, end: int) -> Routine[int]:
    """Undo mlock on [start, end); pages stay where they are. Returns 0, or -ENOMEM where nothing is mapped."""
    return (yield from apply_vma_lock_flags(system, mm, start, end, frozenset()))


@routine
def apply_vma_lock_flags(system: System, mm: AddressSpace, start: int, end: int, flags: frozenset[str]) -> Routine[int]:
    """Let the VMAs of [start, end) remember that they are locked, or not. Returns 0, or -ENOMEM at the first gap."""
    yield from system.cpus.lock(mm.mmap_sem)
    error = 0
    address = start
    while address < end and not error:
        found = next_vma(mm, address, end)
        if found is None or found.start > address:
            yield read("no VMA is there")
            error = -ENOMEM
            break
        changes = (VM_LOCKED in found.vma.flags) != (VM_LOCKED in flags)
        yield from vma_modify_flags(system, found.vma, found.start, found.end, (found.vma.flags - {VM_LOCKED}) | flags)
        if changes and system.kernel.mm.mlocks == "walked":
            yield from mlock_vma_pages_range(system, mm, found.start, found.end)
        address = found.end
    yield from system.cpus.unlock(mm.mmap_sem)
    return error


@routine
def mlock_vma_pages_range(system: System, mm: AddressSpace, start: int, end: int) -> Routine[None]:
    """Tell reclaim of the pages in [start, end) that they are locked in memory now, or not any more.

    Under the lock of each PMD that maps a huge page, and of each table: a batch takes the pages to their list.
    """
    ranges = pmd_ranges(system.geometry, start, end)
    for address, _ in ranges:
        found = pmd_at(system, mm, address)
        if found is None or pt.pte_none(found.entry):
            continue
        lock = system.ptl(found.table if pt.pmd_trans_huge(found.entry) else pt.pte_pfn(found.entry))
        yield from system.cpus.lock(lock)
        yield read("what is mapped goes to the list of locked pages, or back")
        yield from system.cpus.unlock(lock)
