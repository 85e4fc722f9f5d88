"""madvise: advice that takes pages away, and advice that a VMA remembers (mm/madvise.c)."""

from __future__ import annotations

from thplab.address_space import VM_DONTCOPY, VM_HUGEPAGE, VM_NOHUGEPAGE, AddressSpace
from thplab.routines.protect import merge_vmas, split_vma
from thplab.routines.unmap import MmuGather, tlb_finish_mmu, zap_pmd
from thplab.routines.walk import pmd_ranges
from thplab.steps import Routine, change
from thplab.system import System, routine

MADVISE_FLAGS = {
    "hugepage": (VM_HUGEPAGE, VM_NOHUGEPAGE),
    "nohugepage": (VM_NOHUGEPAGE, VM_HUGEPAGE),
    "dontfork": (VM_DONTCOPY, ""),
}
"""Advice -> the flag that it sets and the one that it clears."""


@routine
def madvise_dontneed(system: System, mm: AddressSpace, start: int, end: int) -> Routine[int]:
    """Take the pages of [start, end), which is mapped, away; the VMAs stay, so the next touch finds zeroes. Returns 0."""
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    tlb = MmuGather(mm)
    vmas = mm.overlapping(start, end)
    for vma in vmas:
        ranges = pmd_ranges(system.geometry, max(start, vma.start), min(end, vma.end))
        for address, stop in ranges:
            yield from zap_pmd(system, tlb, vma, address, stop)
    yield from tlb_finish_mmu(system, tlb)
    yield from system.cpus.unlock(mm.mmap_sem)
    return 0


@routine
def madvise_behavior(system: System, mm: AddressSpace, start: int, end: int, sets: str, clears: str) -> Routine[int]:
    """Let the VMAs of [start, end), which is mapped, remember a flag. They are cut at its borders. Returns 0."""
    yield from system.cpus.lock(mm.mmap_sem)
    old = mm.overlapping(start, end)
    for vma in old:
        flags = (vma.flags | {sets}) - {clears}
        low, high = max(start, vma.start), min(end, vma.end)
        if flags != vma.flags:
            yield from split_vma(system, mm, low)
            yield from split_vma(system, mm, high)
            target = mm.find_vma(low)
            assert target is not None, "it was just cut there"
            target.flags = flags
            yield change(f"the VMA remembers: {sets}")
    yield from merge_vmas(system, mm, start, end)
    yield from system.cpus.unlock(mm.mmap_sem)
    return 0
