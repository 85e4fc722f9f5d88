"""madvise: advice that takes pages away, brings them in, or that a VMA remembers (mm/madvise.c)."""

from __future__ import annotations

from thplab.errors import EINVAL
from thplab.hardware import page_tables as pt
from thplab.hardware.steps import Routine, read, routine
from thplab.kernel.address_space import VM_DONTCOPY, VM_HUGEPAGE, VM_LOCKED, VM_MERGEABLE, VM_NOHUGEPAGE, VM_WIPEONFORK, AddressSpace
from thplab.kernel.routines.ksm import __ksm_enter, unmerge_ksm_pages
from thplab.kernel.routines.populate import populate_vma_page_range
from thplab.kernel.routines.protect import vma_modify_flags
from thplab.kernel.routines.unmap import MmuGather, tlb_finish_mmu, try_to_free_pte, zap_pmd_range
from thplab.kernel.routines.walk import pmd_ranges
from thplab.kernel.system import System

MADVISE_FLAGS = {
    "hugepage": (VM_HUGEPAGE, VM_NOHUGEPAGE),
    "nohugepage": (VM_NOHUGEPAGE, VM_HUGEPAGE),
    "dontfork": (VM_DONTCOPY, ""),
    "wipeonfork": (VM_WIPEONFORK, ""),
    "mergeable": (VM_MERGEABLE, ""),
    "unmergeable": ("", VM_MERGEABLE),
}
"""Advice -> the flag that it sets and the one that it clears."""


@routine
def madvise_dontneed(system: System, mm: AddressSpace, start: int, end: int) -> Routine[int]:
    """Take the pages of [start, end), which is mapped, away; the VMAs stay, so the next touch finds zeroes.

    Returns 0, or -EINVAL at a VMA that is locked in memory; what lies before it is gone.
    """
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    tlb = MmuGather(mm)
    error = 0
    vmas = mm.overlapping(start, end)
    for vma in vmas:
        if VM_LOCKED in vma.flags:
            yield read("the VMA is locked in memory: no")
            error = -EINVAL
            break
        ranges = pmd_ranges(system.geometry, max(start, vma.start), min(end, vma.end))
        for address, stop in ranges:
            yield from zap_pmd_range(system, tlb, vma, address, stop)
            if system.kernel.advice.dontneed_frees_tables and stop - address == system.geometry.huge_size:
                yield from try_to_free_pte(system, tlb, vma, address)
    yield from tlb_finish_mmu(system, tlb)
    yield from system.cpus.unlock(mm.mmap_sem)
    return error


@routine
def madvise_populate(system: System, mm: AddressSpace, start: int, end: int) -> Routine[int]:
    """Fault [start, end), which is mapped, in as writes would. Returns 0, -EINVAL at a VMA that is not writable, or -ENOMEM."""
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    error = 0
    vmas = mm.overlapping(start, end)
    for vma in vmas:
        if vma.prot & pt.PROT_WRITE:
            error = yield from populate_vma_page_range(system, vma, max(start, vma.start), min(end, vma.end), True)
        else:
            yield read("the VMA does not allow writes")
            error = -EINVAL
        if error:
            break
    yield from system.cpus.unlock(mm.mmap_sem)
    return error


@routine
def madvise_behavior(system: System, mm: AddressSpace, start: int, end: int, sets: str, clears: str) -> Routine[int]:
    """Let the VMAs of [start, end), which is mapped, remember a flag, or forget one. Returns 0."""
    yield from system.cpus.lock(mm.mmap_sem)
    old = mm.overlapping(start, end)
    for vma in old:
        if sets == VM_MERGEABLE:
            yield from __ksm_enter(system, mm)
        if clears == VM_MERGEABLE and VM_MERGEABLE in vma.flags and vma.anon_vma is not None:
            yield from unmerge_ksm_pages(system, vma, max(start, vma.start), min(end, vma.end))
        yield from vma_modify_flags(system, vma, start, end, (vma.flags | {sets}) - {clears, ""})
    yield from system.cpus.unlock(mm.mmap_sem)
    return 0
