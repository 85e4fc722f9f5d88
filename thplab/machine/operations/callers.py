"""What asks for a split from outside of a process: the direct request, reclaim, and the files of /proc and /sys."""

from __future__ import annotations

from collections.abc import Callable

from thplab.errors import EINVAL, ENOENT, ENXIO, BadInput
from thplab.hardware.steps import Routine, change
from thplab.kernel.address_space import Vma
from thplab.kernel.routines import khugepaged, ksm, vmscan
from thplab.kernel.routines.clear_refs import clear_refs_write
from thplab.kernel.routines.migrate import compact_memory, do_pages_move
from thplab.kernel.routines.split_huge_pages import split_huge_pages_pid, split_huge_pages_set
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.kernel.routines.walk import mapped_page
from thplab.kernel.system import DEFRAG_MODES, THP_MODES, System
from thplab.machine.operations.checks import (
    check_huge_page,
    check_page,
    check_pinned_page,
    check_process,
    check_range,
    refuse,
)


def split(
    system: System, proc: str, start: int | None, npages: int, how: str, order: int | None, pin: str | None, region: str
) -> Routine[int]:
    """A direct split needs a part of a huge page, mapped at `start` or held by `pin`;
    debugfs takes any page of the region.

    The caller's own reference is on the head, or, where tails know theirs, on the page that is named.
    """
    order = (order or 0) if system.scheme.splits_to_order else 0
    if how == "direct" and pin is not None:
        return vmscan.split_page_direct(system, check_pinned_page(system, pin), order)
    if how == "direct":
        assert start is not None, "one of the two is given"
        if _was_split_with_its_pmd(system, proc, start, region):
            return refuse(ENXIO, "the page is no huge page any more")
        page = check_huge_page(system, proc, start, region)
        return vmscan.split_page_direct(
            system, page if system.scheme.tail_mapcount == "pins" else system.frames.compound_head(page), order
        )
    mm, low, high = check_range(system, proc, start or 0, npages, region)
    match system.kernel.split.debugfs:
        case "all":
            return split_huge_pages_set(system)
        case "range":
            return split_huge_pages_pid(system, mm, low, high, order)
    return refuse(ENOENT, "debugfs has no file split_huge_pages")


def _was_split_with_its_pmd(system: System, proc: str, start: int, region: str) -> bool:
    """Is a small page mapped where other schemes may still have a huge one? What splits a PMD there splits the page
    here.
    """
    mm, low, _ = check_range(system, proc, start, 1, region)
    page = mapped_page(system, mm, low)
    return not system.scheme.pmd_split_is_local and page is not None and not system.frames.is_compound(page)


def split_pmd(system: System, proc: str, start: int, region: str) -> Routine[int]:
    """The page must lie in a VMA."""
    mm, low, _ = check_range(system, proc, start, 1, region)
    vma = mm.find_vma(low)
    if vma is None:
        raise BadInput("start", f"page {start} of region {region} is in no VMA of {proc}", "a page that is in a VMA")
    return _do_split_pmd(system, vma, low)


def _do_split_pmd(system: System, vma: Vma, address: int) -> Routine[int]:
    yield from system.cpus.lock(vma.mm.mmap_sem, "shared")
    yield from split_huge_pmd(system, vma, address)
    yield from system.cpus.unlock(vma.mm.mmap_sem)
    return 0


def swap_out(system: System, proc: str, start: int, region: str) -> Routine[int]:
    """Any page that is mapped can go; without a swap device there is only the split of a huge page to see."""
    if system.swap is None and _was_split_with_its_pmd(system, proc, start, region):
        return refuse(0, "small pages: they can be swapped out one by one")
    if system.swap is None:
        check_huge_page(system, proc, start, region)
    return vmscan.swap_out(system, check_page(system, proc, start, region))


def ksm_scan(system: System, scans: int) -> Routine[int]:
    """Possible at any time."""
    return ksm.ksm_scan(system, scans)


def khugepaged_scan(system: System, scans: int) -> Routine[int]:
    """Possible at any time."""
    return khugepaged.khugepaged(system, scans)


def migrate(system: System, proc: str, start: int, region: str) -> Routine[int]:
    """-EFAULT for a page in no VMA."""
    mm, low, _ = check_range(system, proc, start, 1, region)
    return do_pages_move(system, mm, low)


def sys(system: System, path: str, value: str) -> Routine[int]:
    """Write to a file of /proc or /sys; SYS_FILES are built."""
    if path not in SYS_FILES:
        raise BadInput("path", f"{path!r} is not built", "one of " + ", ".join(SYS_FILES))
    return SYS_FILES[path](system, value)


def _drop_caches(system: System, value: str) -> Routine[int]:
    if not value.isdecimal():
        raise BadInput("value", f"is {value!r}", "1, 2 or 3")
    # 1 drops clean file pages, of which there are none here; 2 runs the shrinkers, the deferred split queue among them.
    return vmscan.drop_slab(system) if int(value) & 2 else refuse(0, "no page cache here")


def _compact_memory(system: System, value: str) -> Routine[int]:
    return compact_memory(system)  # whatever is written


SysFile = Callable[[System, str], Routine[int]]
"""What a write of a text to a file starts."""


def _enabled(system: System, value: str) -> Routine[int]:
    if value not in THP_MODES:
        return refuse(EINVAL, f"not one of {', '.join(THP_MODES)}")
    return _store(system, "enabled", value, THP_MODES.index(value))


def _defrag(system: System, value: str) -> Routine[int]:
    """How hard a fault looks for a huge page: nothing comes of it here, where no allocation compacts or reclaims."""
    known = DEFRAG_MODES if system.kernel.proc.defrag_defers else DEFRAG_MODES[-3:]
    if value not in known:
        return refuse(EINVAL, f"not one of {', '.join(known)}")
    return _store(system, "defrag", value, DEFRAG_MODES.index(value))


def _number(setting: str, most: Callable[[System], int], there: Callable[[System], object] = lambda _: True) -> SysFile:
    """A file with a number from 0 to `most` in it, which kernels have for which `there` is something."""

    def write(system: System, value: str) -> Routine[int]:
        if not there(system):
            return refuse(ENOENT, "this kernel has no such file")
        if not value.isdecimal() or int(value) > most(system):
            return refuse(EINVAL, f"not a number from 0 to {most(system)}")
        return _store(system, setting, value, int(value))

    return write


def _store(system: System, setting: str, value: str, number: int) -> Routine[int]:
    system.settings[setting] = number
    yield change(f"{setting} = {value}")
    return 0


def _one(system: System) -> int:
    return 1


def _others(system: System) -> int:
    return system.geometry.nr - 1  # a huge page has so many pages besides one


def _scans_shared(system: System) -> bool:
    return system.kernel.khugepaged.takes_shared


_THP = "/sys/kernel/mm/transparent_hugepage"
SYS_FILES: dict[str, SysFile] = {
    "/proc/sys/vm/drop_caches": _drop_caches,
    "/proc/sys/vm/compact_memory": _compact_memory,
    f"{_THP}/enabled": _enabled,
    f"{_THP}/defrag": _defrag,
    f"{_THP}/use_zero_page": _number("use_zero_page", _one),
    f"{_THP}/shrink_underused": _number("shrink_underused", _one, lambda system: system.kernel.queue.takes_new),
    f"{_THP}/khugepaged/max_ptes_none": _number("max_ptes_none", _others),
    f"{_THP}/khugepaged/max_ptes_swap": _number("max_ptes_swap", _others, _scans_shared),
    f"{_THP}/khugepaged/max_ptes_shared": _number("max_ptes_shared", _others, _scans_shared),
    "/sys/kernel/mm/ksm/use_zero_pages": _number(
        "ksm_use_zero_pages", _one, lambda system: system.kernel.ksm.uses_zero_pages
    ),
}
"""File -> what a write to it starts."""


def clear_refs(system: System, proc: str, value: int) -> Routine[int]:
    """1: all pages; 2: anonymous ones, which is the same here; 3: those of files; 4: soft-dirty bits."""
    mm = check_process(system, proc)
    if not 1 <= value <= 4:
        return refuse(EINVAL, "clear_refs: not one of 1 to 4")
    if value == 3:
        return refuse(0, "clear_refs: no memory of a file here")
    return clear_refs_write(system, mm, soft_dirty=value == 4)
