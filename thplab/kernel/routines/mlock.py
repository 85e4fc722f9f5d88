"""mlock and munlock (mm/mlock.c): VMAs whose pages are kept in memory, and how the pages come to know of it."""

from __future__ import annotations

from thplab.errors import EAGAIN, EFAULT, EHWPOISON, ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import single, width
from thplab.hardware.steps import Routine, read, routine
from thplab.kernel.address_space import VM_LOCKED, AddressSpace
from thplab.kernel.routines.mlocked import mlock_folio, munlock_folio
from thplab.kernel.routines.munlock import mapped_parts, munlock_vma_pages_range
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
        changes, locks = (VM_LOCKED in found.vma.flags) != (VM_LOCKED in flags), VM_LOCKED in flags
        yield from vma_modify_flags(system, found.vma, found.start, found.end, (found.vma.flags - {VM_LOCKED}) | flags)
        if changes and system.kernel.mm.mlocks == "walked":
            yield from mlock_vma_pages_range(system, mm, found.start, found.end, locks)
        elif changes and not locks:
            yield from munlock_vma_pages_range(system, mm, found.start, found.end)
        address = found.end
    yield from system.cpus.unlock(mm.mmap_sem)
    return error


@routine
def mlock_vma_pages_range(system: System, mm: AddressSpace, start: int, end: int, locks: bool) -> Routine[None]:
    """Tell the pages that are mapped in [start, end) that they are locked in memory now, or not any more.

    Under the lock of each PMD that maps a huge page, and of each table: a batch takes the pages to their list. A huge
    page under PTEs is left out, or, where they count as well, one that is to be locked and not mapped as a whole.
    """
    frames, change_one = system.frames, mlock_folio if locks else munlock_folio
    ranges = pmd_ranges(system.geometry, start, end)
    for address, stop in ranges:
        found = pmd_at(system, mm, address)
        if found is None or pt.pte_none(found.entry):
            continue
        lock = system.ptl(found.table if pt.pmd_trans_huge(found.entry) else pt.pte_pfn(found.entry))
        yield from system.cpus.lock(lock)
        mapped = mapped_parts(system, mm, address, stop)
        yield read("what is mapped here is told")
        for pages, by_pmd in mapped:
            head = frames.compound_head(pages.start)
            whole = width(pages) == width(frames.compound(head)) or not locks
            if not frames.is_compound(head):
                yield from change_one(system, pages)
            elif by_pmd or (system.kernel.mm.mlocks_large != "PMD" and whole):
                yield from change_one(system, single(head))
        yield from system.cpus.unlock(lock)
