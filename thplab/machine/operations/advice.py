"""madvise: which advice a kernel knows, and what it takes it for."""

from __future__ import annotations

from thplab.errors import EINVAL
from thplab.hardware.steps import Routine
from thplab.kernel.routines.madvise import DONTNEED, do_madvise
from thplab.kernel.routines.madvise_lru import FREE
from thplab.kernel.routines.memory_failure import madvise_hwpoison
from thplab.kernel.system import System
from thplab.machine.operations.checks import check_range, refuse


def madvise(system: System, proc: str, start: int, npages: int, advice: str, region: str) -> Routine[int]:
    """Advice that the kernel does not know is -EINVAL. MADV_FREE is MADV_DONTNEED for old kernels that have no swap."""
    mm, low, high = check_range(system, proc, start, npages, region)
    if advice not in system.kernel.advice.known:
        return refuse(EINVAL, f"madvise: this kernel does not know the advice {advice!r}")
    if advice in ("soft_offline", "hwpoison"):
        return madvise_hwpoison(system, mm, low, high, advice == "soft_offline")
    gone = advice == FREE and system.kernel.advice.free_needs_swap and system.swap is None
    return do_madvise(system, mm, low, high, DONTNEED if gone else advice)
