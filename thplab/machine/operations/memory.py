"""What a process does with its own memory: mmap, touch, fork, exit, protect, unmap, lock, move."""

from __future__ import annotations

from thplab.errors import ENOMEM, BadInput
from thplab.hardware import page_tables as pt
from thplab.hardware.steps import Routine, change
from thplab.hardware.steps import read as step_read
from thplab.kernel.address_space import VM_HUGEPAGE, VM_UNCHARGED, Region, Vma
from thplab.kernel.routines.exit import do_exit
from thplab.kernel.routines.fork import dup_mmap, mm_alloc
from thplab.kernel.routines.mem import mem_write
from thplab.kernel.routines.mlock import do_mlock, sys_munlock
from thplab.kernel.routines.mremap import mremap_at, mremap_to
from thplab.kernel.routines.protect import sys_mprotect
from thplab.kernel.routines.unmap import vm_munmap
from thplab.kernel.routines.user import access
from thplab.kernel.system import System
from thplab.machine.operations.checks import check_new_process, check_process, check_range
from thplab.scenario.vocabulary import NAME

ADVICE: dict[str, frozenset[str]] = {"hugepage": frozenset({VM_HUGEPAGE}), "none": frozenset()}
"""mmap's advise -> what the VMA remembers. Without MADV_HUGEPAGE there are no huge pages (THP mode `madvise`)."""

PATTERNS = {"zero": 0, "same": 0x7777777777777777, "unique": None}
"""fill's pattern -> what the first 8 bytes of each page are, as one number; None: a number of the page's own."""


def spawn(system: System, proc: str) -> Routine[int]:
    """Not in the vocabulary, where the first mmap makes a process. The name must be new."""
    if NAME.accept(proc) is None:
        raise BadInput("proc", f"is {proc!r}", NAME.right())
    check_new_process(system, proc, "proc")
    return _new_process(system, proc, None)


def _new_process(system: System, proc: str, then: Routine[int] | None) -> Routine[int]:
    pgd = system.tables.alloc(system.geometry.levels - 1)
    if pgd is None:
        return -ENOMEM
    mm_alloc(system, proc, pgd)
    yield change(f"process {proc} starts, with an empty page table")
    return 0 if then is None else (yield from then)


def mmap(system: System, proc: str, thps: int, advise: str, prot: str, region: str) -> Routine[int]:
    """A process that does not exist yet starts here: the first mmap of a scenario makes it.
    The region's name must be new in it.
    """
    geometry, pages = system.geometry, thps * system.geometry.nr
    regions = check_process(system, proc).regions if proc in system.mms else {}
    if region in regions:
        raise BadInput("region", f"{region!r} exists already in {proc}", "a new name")
    if _free_address(system, proc) + pages * geometry.page_size > geometry.address_limit:
        raise BadInput(
            "thps", f"is {thps}: the address space of {geometry.name} is too small", "fewer huge pages or regions"
        )
    mapping = _do_mmap(system, proc, region, pages, pt.PROTECTIONS[prot], ADVICE[advise])
    return mapping if proc in system.mms else _new_process(system, proc, mapping)


def _free_address(system: System, proc: str) -> int:
    """Where the next region goes: aligned to a huge page, with one huge page of nothing after the last region,
    and the last VMA.
    """
    geometry = system.geometry
    if proc not in system.mms or not system.mms[proc].regions:
        return geometry.mmap_base
    mm = system.mms[proc]
    ends = [start + pages * geometry.page_size for start, pages in mm.regions.values()] + [vma.end for vma in mm.vmas]
    return (max(ends) + 2 * geometry.huge_size - 1) & -geometry.huge_size


def _do_mmap(system: System, proc: str, name: str, pages: int, prot: int, advice: frozenset[str]) -> Routine[int]:
    mm, size = system.mms[proc], system.geometry.page_size
    flags = advice if prot & pt.PROT_WRITE else advice | {VM_UNCHARGED}
    yield from system.cpus.lock(mm.mmap_sem)
    start = _free_address(system, proc)
    end, error = start + pages * size, 0
    if name in mm.regions or end > system.geometry.address_limit:
        yield step_read("another thread was quicker: the name is taken, or the room")
        error = -ENOMEM
    else:
        mm.regions[name] = Region(start, pages)
        mm.insert(Vma(mm, start, end, prot, flags, start // size))
        yield change(
            f"{proc} gets a VMA of {system.geometry.size_text(pages)}",
            "Only a promise so far: no page is mapped before it is touched.",
        )
    yield from system.cpus.unlock(mm.mmap_sem)
    return error


def write(system: System, proc: str, start: int, npages: int, value: int, force: bool, region: str) -> Routine[int]:
    """The region must exist, as for all that names pages; -EFAULT at the first that may not be written, by force -EIO.
    """
    by = mem_write if force else access
    return by(system, *check_range(system, proc, start, npages, region), value)


def read(system: System, proc: str, start: int, npages: int, region: str) -> Routine[int]:
    """As write."""
    return access(system, *check_range(system, proc, start, npages, region), None)


def fill(system: System, proc: str, start: int, npages: int, pattern: str, region: str) -> Routine[int]:
    """As write. `unique`: every page of a process's region gets a content of its own."""
    value = PATTERNS[pattern]
    mm, low, high = check_range(system, proc, start, npages, region)
    if value is None:
        return access(system, mm, low, high, (mm.mm_id << 32) + start + 1, whole=True, step=1)
    return access(system, mm, low, high, value, whole=True)


def fork(system: System, proc: str, child: str) -> Routine[int]:
    """The child's name must be new."""
    mm = check_process(system, proc)
    check_new_process(system, child, "child")
    return dup_mmap(system, mm, child)


def exit(system: System, proc: str) -> Routine[int]:
    """The process must live."""
    return do_exit(system, check_process(system, proc))


def mprotect(system: System, proc: str, start: int, npages: int, prot: str, region: str) -> Routine[int]:
    """-ENOMEM at the first page in no VMA."""
    return sys_mprotect(system, *check_range(system, proc, start, npages, region), pt.PROTECTIONS[prot])


def munmap(system: System, proc: str, start: int, npages: int, region: str) -> Routine[int]:
    """Some or all of the pages may be unmapped already."""
    return vm_munmap(system, *check_range(system, proc, start, npages, region))


def mlock(system: System, proc: str, start: int, npages: int, region: str) -> Routine[int]:
    """-ENOMEM at the first page in no VMA."""
    return do_mlock(system, *check_range(system, proc, start, npages, region))


def munlock(system: System, proc: str, start: int, npages: int, region: str) -> Routine[int]:
    """-ENOMEM at the first page in no VMA."""
    return sys_munlock(system, *check_range(system, proc, start, npages, region))


def mremap(
    system: System,
    proc: str,
    start: int,
    npages: int,
    to: str | None,
    at: int,
    size: int | None,
    dontunmap: bool,
    region: str,
) -> Routine[int]:
    """With MREMAP_MAYMOVE and MREMAP_FIXED, or, without `to`, with neither. Both regions must exist."""
    mm, low, high = check_range(system, proc, start, npages, region)
    length = (size or npages) * system.geometry.page_size
    if to is None:
        if dontunmap:
            raise BadInput("dontunmap", "is yes, but the pages stay where they are", "a region `to` as well")
        return mremap_at(system, mm, low, high - low, length)
    _, target, _ = check_range(system, proc, at, npages, to, "to")
    return mremap_to(system, mm, low, target, high - low, length, dontunmap)
