"""What a process does with its own memory: mmap, touch, fork, exit, protect, unmap, lock, move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thplab.errors import ENOMEM, BadInput
from thplab.hardware import page_tables as pt
from thplab.hardware.steps import Routine, change
from thplab.kernel.address_space import VM_HUGEPAGE, Region, Vma
from thplab.kernel.routines.exit import do_exit
from thplab.kernel.routines.fork import dup_mmap
from thplab.kernel.routines.memory_failure import touch
from thplab.kernel.routines.mlock import do_mlock, do_munlock
from thplab.kernel.routines.mremap import mremap_to
from thplab.kernel.routines.protect import do_mprotect
from thplab.kernel.routines.unmap import vm_munmap
from thplab.machine.operations.checks import check_choice, check_mapped, check_new_process, check_range

if TYPE_CHECKING:
    from thplab.machine.machine import Machine

ADVICE: dict[str | None, frozenset[str]] = {"hugepage": frozenset({VM_HUGEPAGE}), "none": frozenset(), None: frozenset()}
"""mmap's advise -> what the VMA remembers. Without MADV_HUGEPAGE there are no huge pages (THP mode `madvise`)."""

PATTERNS = {"zero": (0, False), "same": (0x77, False), "unique": (0x10000, True)}
"""fill's pattern -> content of the first page, and whether the following pages count up from it."""


def spawn(machine: Machine, proc: str) -> Routine[int]:
    check_new_process(machine, proc, "proc")
    return _new_process(machine, proc, None)


def _new_process(machine: Machine, proc: str, then: Routine[int] | None) -> Routine[int]:
    system = machine.system
    pgd = system.tables.alloc(system.geometry.levels - 1)
    if pgd is None:
        return -ENOMEM
    system.new_mm(proc, pgd)
    yield change(f"process {proc} starts, with an empty page table")
    return 0 if then is None else (yield from then)


def mmap(machine: Machine, proc: str, pages: int = 0, thps: int = 0, advise: str | None = VM_HUGEPAGE, region: str = "R") -> Routine[int]:
    """A process that does not exist yet starts here: the first mmap of a scenario makes it."""
    system = machine.system
    pages = pages or thps * system.geometry.nr
    if not isinstance(pages, int) or pages < 1:
        raise BadInput("pages", f"is {pages}", "a count of at least 1 page")
    advice = check_choice("advise", advise, ADVICE)
    regions = system.mms[proc].regions if proc in system.mms else {}
    if region in regions:
        raise BadInput("region", f"{region!r} exists already in {proc}", "a new name")
    start = _free_address(machine, regions)
    if start + pages * system.geometry.page_size > system.geometry.address_limit:
        raise BadInput("pages", f"is {pages}: the address space of {system.geometry.name} is too small", "fewer pages or regions")
    if proc not in system.mms:
        check_new_process(machine, proc, "proc")
        return _new_process(machine, proc, _do_mmap(machine, proc, region, Region(start, pages), advice))
    return _do_mmap(machine, proc, region, Region(start, pages), advice)


def _free_address(machine: Machine, regions: dict[str, Region]) -> int:
    """Where the next region goes: aligned to a huge page, with one huge page of nothing after the last region."""
    geometry = machine.system.geometry
    last = next(reversed(regions.values()), None)  # they were named in address order
    if last is None:
        return geometry.mmap_base
    return (last.start + last.pages * geometry.page_size + 2 * geometry.huge_size - 1) & -geometry.huge_size


def _do_mmap(machine: Machine, proc: str, name: str, region: Region, flags: frozenset[str]) -> Routine[int]:
    mm, size = machine.system.mms[proc], machine.system.geometry.page_size
    yield from machine.system.cpus.lock(mm.mmap_sem)
    mm.regions[name] = region
    end = region.start + region.pages * size
    mm.insert(Vma(mm, region.start, end, pt.PROTECTIONS["rw"], flags, region.start // size))
    yield change(
        f"{proc} gets a VMA of {machine.system.geometry.size_text(region.pages)}",
        "Only a promise so far: no page is mapped before it is touched.",
    )
    yield from machine.system.cpus.unlock(mm.mmap_sem)
    return 0


def write(machine: Machine, proc: str, start: int, npages: int = 1, value: int = 0x55, region: str = "R") -> Routine[int]:
    if not isinstance(value, int) or not 0 <= value < 1 << 16:
        raise BadInput("value", f"is {value}", "a content tag from 0 to 65535")
    return touch(machine.system, *check_mapped(machine, proc, start, npages, region), value)


def read(machine: Machine, proc: str, start: int, npages: int = 1, region: str = "R") -> Routine[int]:
    return touch(machine.system, *check_mapped(machine, proc, start, npages, region), None)


def fill(machine: Machine, proc: str, start: int, npages: int = 1, pattern: str = "unique", region: str = "R") -> Routine[int]:
    value, counts_up = check_choice("pattern", pattern, PATTERNS)
    mm, low, high = check_mapped(machine, proc, start, npages, region)
    if counts_up:
        value = value * mm.mm_id + start  # every page of a process's region has a content of its own
    return touch(machine.system, mm, low, high, value, counts_up)


def fork(machine: Machine, proc: str, child: str) -> Routine[int]:
    mm = machine.mm(proc)
    check_new_process(machine, child, "child")
    return dup_mmap(machine.system, mm, child)


def exit(machine: Machine, proc: str) -> Routine[int]:
    mm = machine.mm(proc)
    return do_exit(machine.system, mm)


def mprotect(machine: Machine, proc: str, start: int, npages: int = 1, prot: str = "r", region: str = "R") -> Routine[int]:
    bits = check_choice("prot", prot, pt.PROTECTIONS)
    return do_mprotect(machine.system, *check_mapped(machine, proc, start, npages, region), bits)


def munmap(machine: Machine, proc: str, start: int, npages: int = 1, region: str = "R") -> Routine[int]:
    return vm_munmap(machine.system, *check_range(machine, proc, start, npages, region))


def mlock(machine: Machine, proc: str, start: int, npages: int = 1, region: str = "R") -> Routine[int]:
    return do_mlock(machine.system, *check_range(machine, proc, start, npages, region))


def munlock(machine: Machine, proc: str, start: int, npages: int = 1, region: str = "R") -> Routine[int]:
    return do_munlock(machine.system, *check_range(machine, proc, start, npages, region))


def mremap(machine: Machine, proc: str, start: int, npages: int = 1, to: str = "", at: int = 0, region: str = "R") -> Routine[int]:
    """With MREMAP_MAYMOVE and MREMAP_FIXED."""
    mm, low, high = check_range(machine, proc, start, npages, region)
    _, target, _ = check_range(machine, proc, at, npages, to, "at", "to")
    return mremap_to(machine.system, mm, low, target, high - low)
