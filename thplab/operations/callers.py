"""What asks for a split from outside of a process: the direct request, reclaim, and the files of /proc and /sys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thplab.address_space import Vma
from thplab.errors import BadInput
from thplab.operations.checks import check_huge_page, check_mapped, refuse
from thplab.routines import vmscan
from thplab.routines.split_huge_pmd import split_huge_pmd
from thplab.steps import Routine

if TYPE_CHECKING:
    from thplab.machine import Machine


def split(machine: Machine, proc: str, start: int, npages: int = 1, how: str = "direct", region: str = "R") -> Routine[int]:
    if how != "direct":
        raise BadInput("how", f"{how!r} is not built", "direct")
    return vmscan.split_page_direct(machine.system, check_huge_page(machine, proc, start, region))


def split_pmd(machine: Machine, proc: str, start: int, region: str = "R") -> Routine[int]:
    mm, low, _ = check_mapped(machine, proc, start, 1, region)
    vma = mm.find_vma(low)
    assert vma is not None, "check_mapped has found it"
    return _do_split_pmd(machine, vma, low)


def _do_split_pmd(machine: Machine, vma: Vma, address: int) -> Routine[int]:
    yield from machine.system.cpus.lock(vma.mm.mmap_sem, "shared")
    yield from split_huge_pmd(machine.system, vma, address)
    yield from machine.system.cpus.unlock(vma.mm.mmap_sem)
    return 0


def swap_out(machine: Machine, proc: str, start: int, region: str = "R") -> Routine[int]:
    return vmscan.swap_out(machine.system, check_huge_page(machine, proc, start, region))


def sys(machine: Machine, path: str, value: str, restore: bool = True) -> Routine[int]:
    """`restore` is for the recorder, who puts settings back; drop_caches is none."""
    if path != "/proc/sys/vm/drop_caches":
        raise BadInput("path", f"{path!r} is not built", "/proc/sys/vm/drop_caches")
    if not value.isdecimal():
        raise BadInput("value", f"is {value!r}", "1, 2 or 3")
    # 1 drops clean file pages, of which there are none here; 2 runs the shrinkers, the deferred split queue among them.
    return vmscan.drop_slab(machine.system) if int(value) & 2 else refuse(0, "no page cache here")
