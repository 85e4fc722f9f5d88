"""madvise: each advice and the routine that follows it."""

from __future__ import annotations

from thplab.errors import EINVAL
from thplab.hardware.steps import Routine
from thplab.kernel.routines.khugepaged import madvise_walk_vmas
from thplab.kernel.routines.madvise import MADVISE_FLAGS, madvise_behavior, madvise_dontneed, madvise_populate
from thplab.kernel.routines.madvise_lru import COLD, FREE, PAGEOUT, madvise_lru
from thplab.kernel.routines.memory_failure import madvise_hwpoison
from thplab.kernel.system import System
from thplab.machine.operations.checks import check_mapped, refuse


def madvise(system: System, proc: str, start: int, npages: int, advice: str, region: str) -> Routine[int]:
    """Advice that the kernel does not know is -EINVAL. MADV_FREE is MADV_DONTNEED for old kernels that have no swap."""
    mm, low, high = check_mapped(system, proc, start, npages, region)
    if advice not in system.kernel.advice.known:
        return refuse(EINVAL, f"madvise: this kernel does not know the advice {advice!r}")
    if advice == "dontneed" or (advice == "free" and system.kernel.advice.free_needs_swap and system.swap is None):
        return madvise_dontneed(system, mm, low, high)
    if advice in ("soft_offline", "hwpoison"):
        return madvise_hwpoison(system, mm, low, high, advice == "soft_offline")
    if advice == "collapse":
        return madvise_walk_vmas(system, mm, low, high)
    if advice == "populate_write":
        return madvise_populate(system, mm, low, high)
    if advice in (COLD, PAGEOUT, FREE):
        return madvise_lru(system, mm, low, high, advice)
    return madvise_behavior(system, mm, low, high, *MADVISE_FLAGS[advice])
