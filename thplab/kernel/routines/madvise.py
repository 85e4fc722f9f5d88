"""madvise: the walk over a range, and advice that takes pages away, brings them in,
or that a VMA remembers (mm/madvise.c).
"""

from __future__ import annotations

from thplab.errors import EINVAL, ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.steps import Routine, read, routine
from thplab.kernel.address_space import (
    VM_DONTCOPY,
    VM_HUGEPAGE,
    VM_LOCKED,
    VM_MERGEABLE,
    VM_NOHUGEPAGE,
    VM_WIPEONFORK,
    AddressSpace,
    Vma,
)
from thplab.kernel.routines.guard import madvise_guard_install, madvise_guard_remove
from thplab.kernel.routines.khugepaged import madvise_collapse
from thplab.kernel.routines.ksm import __ksm_enter, unmerge_ksm_pages
from thplab.kernel.routines.madvise_lru import COLD, FREE, PAGEOUT, madvise_lru
from thplab.kernel.routines.populate import populate_vma_page_range
from thplab.kernel.routines.protect import vma_modify_flags
from thplab.kernel.routines.unmap import MmuGather, tlb_finish_mmu, try_to_free_pte, zap_pmd_range
from thplab.kernel.routines.walk import next_vma, pmd_ranges
from thplab.kernel.system import System

DONTNEED, COLLAPSE, POPULATE = "dontneed", "collapse", "populate_write"
GUARD_INSTALL, GUARD_REMOVE = "guard_install", "guard_remove"

MADVISE_FLAGS = {
    "hugepage": (VM_HUGEPAGE, VM_NOHUGEPAGE),
    "nohugepage": (VM_NOHUGEPAGE, VM_HUGEPAGE),
    "dontfork": (VM_DONTCOPY, ""),
    "dofork": ("", VM_DONTCOPY),
    "wipeonfork": (VM_WIPEONFORK, ""),
    "mergeable": (VM_MERGEABLE, ""),
    "unmergeable": ("", VM_MERGEABLE),
}
"""Advice -> the flag that it sets and the one that it clears."""


@routine
def do_madvise(system: System, mm: AddressSpace, start: int, end: int, advice: str) -> Routine[int]:
    """Follow an advice for [start, end), VMA by VMA. Takes mmap_sem as the advice wants it.

    Returns 0; -ENOMEM if a part is in no VMA, when all others have been dealt with;
    or the error of the VMA at which it stopped. What lies before that is done.
    """
    locks = advice != COLLAPSE  # which takes the lock itself, again and again
    if locks:
        yield from system.cpus.lock(mm.mmap_sem, "exclusive" if advice in MADVISE_FLAGS else "shared")
    tlb = MmuGather(mm)
    address, error, unmapped = start, 0, 0
    while address < end and not error:
        found = next_vma(mm, address, end)
        if found is None or found.start > address:
            yield read("the range has a hole", "What is mapped is dealt with all the same.")
            unmapped = -ENOMEM
        if found is None or (unmapped and advice == POPULATE and system.kernel.advice.populate_stops):
            break
        error = yield from _advise_vma(system, tlb, found.vma, found.start, found.end, advice)
        address = found.end
    yield from tlb_finish_mmu(system, tlb)
    if locks:
        yield from system.cpus.unlock(mm.mmap_sem)
    return error or unmapped


def _advise_vma(system: System, tlb: MmuGather, vma: Vma, start: int, end: int, advice: str) -> Routine[int]:
    """Follow an advice for [start, end), which lies inside `vma`. Returns 0 or an errno (madvise_vma_behavior)."""
    if advice in (DONTNEED, COLD, PAGEOUT, FREE, GUARD_INSTALL) and VM_LOCKED in vma.flags:
        yield read("the VMA is locked in memory: no")
        return -EINVAL
    if advice == DONTNEED:
        yield from madvise_dontneed(system, tlb, vma, start, end)
    elif advice in (COLD, PAGEOUT, FREE):
        yield from madvise_lru(system, vma, start, end, advice)
    elif advice == COLLAPSE:
        return (yield from madvise_collapse(system, vma, start, end))
    elif advice == POPULATE:
        return (yield from madvise_populate(system, vma, start, end))
    elif advice == GUARD_INSTALL:
        return (yield from madvise_guard_install(system, vma, start, end))
    elif advice == GUARD_REMOVE:
        yield from madvise_guard_remove(system, vma, start, end)
    else:
        yield from madvise_behavior(system, vma, start, end, *MADVISE_FLAGS[advice])
    return 0


@routine
def madvise_dontneed(system: System, tlb: MmuGather, vma: Vma, start: int, end: int) -> Routine[None]:
    """Take the pages of [start, end) inside a VMA away; the VMA stays, so the next touch finds zeroes.
    They go when `tlb` is finished.
    """
    ranges = pmd_ranges(system.geometry, start, end)
    for address, stop in ranges:
        yield from zap_pmd_range(system, tlb, vma, address, stop)
        if system.kernel.advice.dontneed_frees_tables and stop - address == system.geometry.huge_size:
            yield from try_to_free_pte(system, tlb, vma, address)


@routine
def madvise_populate(system: System, vma: Vma, start: int, end: int) -> Routine[int]:
    """Fault [start, end) inside a VMA in as writes would. Returns 0, -EINVAL if the VMA is not writable, or -ENOMEM."""
    if vma.prot & pt.PROT_WRITE:
        return (yield from populate_vma_page_range(system, vma, start, end, True))
    yield read("the VMA does not allow writes")
    return -EINVAL


@routine
def madvise_behavior(system: System, vma: Vma, start: int, end: int, sets: str, clears: str) -> Routine[None]:
    """Let [start, end) inside a VMA remember a flag, or forget one."""
    if sets == VM_MERGEABLE:
        yield from __ksm_enter(system, vma.mm)
    if clears == VM_MERGEABLE and VM_MERGEABLE in vma.flags and vma.anon_vma is not None:
        yield from unmerge_ksm_pages(system, vma, start, end)
    yield from vma_modify_flags(system, vma, start, end, (vma.flags | {sets}) - {clears, ""})
