"""The operations of the scenario vocabulary on a machine: each checks its arguments, then names the routine to run.

A check raises BadInput before anything has changed. The names and fields are those of tests/truth/README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from thplab import page_tables as pt
from thplab.address_space import VM_HUGEPAGE, AddressSpace, Region, Vma
from thplab.errors import EINVAL, ENOMEM, ENOSYS, BadInput
from thplab.routines.fault import access
from thplab.routines.fork import dup_mmap
from thplab.routines.gup import pin_user_pages, unpin_user_pages
from thplab.routines.madvise import MADVISE_FLAGS, madvise_behavior, madvise_dontneed
from thplab.routines.protect import do_mprotect
from thplab.routines.split_huge_pmd import split_huge_pmd
from thplab.routines.unmap import do_munmap, exit_mmap
from thplab.routines.vmscan import deferred_split_scan, split_page_direct, swap_out
from thplab.routines.walk import pmd_at
from thplab.steps import Routine, change, read

if TYPE_CHECKING:
    from thplab.machine import Machine

ADVICE: dict[str | None, frozenset[str]] = {"hugepage": frozenset({VM_HUGEPAGE}), "none": frozenset(), None: frozenset()}
"""mmap's advise -> what the VMA remembers. Without MADV_HUGEPAGE there are no huge pages (THP mode `madvise`)."""

PIN_WRITES = {"vmsplice": False, "raw": False, "gup": False, "gupw": True}
"""How a pin is taken -> whether the driver wants to write. All of these take plain references (FOLL_GET)."""

PATTERNS = {"zero": (0, False), "same": (0x77, False), "unique": (0x10000, True)}
"""fill's pattern -> content of the first page, and whether the following pages count up from it."""


def check_range(machine: Machine, proc: str, start: int, npages: int, region: str) -> tuple[AddressSpace, int, int]:
    """The address space and the addresses [low, high) of pages of a region. BadInput if they are not in it."""
    mm = machine.mm(proc)
    regions = mm.regions
    if region not in regions:
        raise BadInput("region", f"{region!r} does not exist in {proc}", f"one of: {', '.join(regions) or 'none yet, mmap first'}")
    base, pages = regions[region]
    if not isinstance(npages, int) or npages < 1:
        raise BadInput("npages", f"is {npages}", "a count of at least 1 page")
    if not isinstance(start, int) or start < 0 or start + npages > pages:
        raise BadInput("start", f"is page {start} with npages {npages}", f"pages 0 to {pages - 1} of region {region}")
    size = machine.system.geometry.page_size
    return mm, base + start * size, base + (start + npages) * size


def check_mapped(machine: Machine, proc: str, start: int, npages: int, region: str) -> tuple[AddressSpace, int, int]:
    """As check_range; BadInput also if a page lies in no VMA."""
    mm, low, high = check_range(machine, proc, start, npages, region)
    size = machine.system.geometry.page_size
    for page in range(npages):
        if mm.find_vma(low + page * size) is None:
            raise BadInput("start", f"page {start + page} of region {region} is in no VMA of {proc}", "a page that is mapped")
    return mm, low, high


def check_new_process(machine: Machine, name: str, argument: str) -> None:
    """BadInput if a process of that name lives already or the name is empty."""
    if not name or not name.isidentifier():
        raise BadInput(argument, f"is {name!r}", "a name of letters, digits and underscores, such as B")
    if name in machine.system.mms:
        raise BadInput(argument, f"{name!r} lives already", "a new name")


def check_choice(argument: str, value: Any, choices: dict[Any, Any]) -> Any:
    """What `choices` has for `value`; BadInput if it has nothing."""
    if value not in choices:
        raise BadInput(argument, f"{value!r} does not exist", "one of " + ", ".join(str(c) for c in choices if c is not None))
    return choices[value]


def check_huge_page(machine: Machine, proc: str, start: int, region: str) -> int:
    """The head of the compound page mapped at a page; BadInput if none is."""
    mm, low, _ = check_mapped(machine, proc, start, 1, region)
    page = mapped_page(machine, mm, low)
    if page is None or not machine.system.frames.is_compound(page):
        what = "is not mapped yet" if page is None else "is not part of a huge page"
        raise BadInput("start", f"page {start} of region {region} in {proc} {what}", "a page of a huge page")
    if page == machine.system.huge_zero_page:
        raise BadInput("start", f"page {start} of region {region} in {proc} is the huge zero page", "a page that was written to")
    return machine.system.frames.compound_head(page)


def mapped_page(machine: Machine, mm: AddressSpace, address: int) -> int | None:
    """pfn of the page that is mapped at `address`, None if none is."""
    found = pmd_at(machine.system, mm, address)
    if found is None or pt.pte_none(found[2]):
        return None
    geometry = machine.system.geometry
    if pt.pmd_trans_huge(found[2]):
        return pt.pte_pfn(found[2]) + geometry.index(address, 0)
    pte = machine.system.tables.get(pt.pte_pfn(found[2]), geometry.index(address, 0))
    return pt.pte_pfn(pte) if pt.pte_present(pte) else None


def _spawn(machine: Machine, proc: str) -> Routine[int]:
    check_new_process(machine, proc, "proc")
    return _new_process(machine, proc, None)


def _new_process(machine: Machine, proc: str, then: Routine[int] | None) -> Routine[int]:
    system = machine.system
    pgd = system.tables.alloc(system.geometry.levels - 1)
    if pgd is None:
        return -ENOMEM
    system.mms[proc] = AddressSpace(proc, system.geometry, pgd)
    yield change(f"process {proc} starts, with an empty page table")
    return 0 if then is None else (yield from then)


def _mmap(machine: Machine, proc: str, pages: int = 0, thps: int = 0, advise: str | None = VM_HUGEPAGE, region: str = "R") -> Routine[int]:
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
    ends = [r.start + r.pages * geometry.page_size for r in regions.values()]
    if not ends:
        return geometry.mmap_base
    return (max(ends) + 2 * geometry.huge_size - 1) & -geometry.huge_size


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


def _write(machine: Machine, proc: str, start: int, npages: int = 1, value: int = 0x55, region: str = "R") -> Routine[int]:
    if not isinstance(value, int) or not 0 <= value < 1 << 16:
        raise BadInput("value", f"is {value}", "a content tag from 0 to 65535")
    return access(machine.system, *check_mapped(machine, proc, start, npages, region), value)


def _read(machine: Machine, proc: str, start: int, npages: int = 1, region: str = "R") -> Routine[int]:
    return access(machine.system, *check_mapped(machine, proc, start, npages, region), None)


def _fill(machine: Machine, proc: str, start: int, npages: int = 1, pattern: str = "unique", region: str = "R") -> Routine[int]:
    value, counts_up = check_choice("pattern", pattern, PATTERNS)
    mm, low, high = check_mapped(machine, proc, start, npages, region)
    if counts_up:
        value += start  # every page of a region has a content of its own
    return access(machine.system, mm, low, high, value, counts_up)


def _fork(machine: Machine, proc: str, child: str) -> Routine[int]:
    mm = machine.mm(proc)
    check_new_process(machine, child, "child")
    return dup_mmap(machine.system, mm, child)


def _exit(machine: Machine, proc: str) -> Routine[int]:
    mm = machine.mm(proc)
    return _do_exit(machine, mm)


def _do_exit(machine: Machine, mm: AddressSpace) -> Routine[int]:
    yield from exit_mmap(machine.system, mm)
    return 0


def _mprotect(machine: Machine, proc: str, start: int, npages: int = 1, prot: str = "r", region: str = "R") -> Routine[int]:
    bits = check_choice("prot", prot, pt.PROTECTIONS)
    return do_mprotect(machine.system, *check_mapped(machine, proc, start, npages, region), bits)


def _munmap(machine: Machine, proc: str, start: int, npages: int = 1, region: str = "R") -> Routine[int]:
    return do_munmap(machine.system, *check_range(machine, proc, start, npages, region))


def _pin(machine: Machine, proc: str, start: int, npages: int = 1, pin: str = "", how: str = "vmsplice", region: str = "R") -> Routine[int]:
    if how == "io_uring" and not machine.system.kernel.foll_pin:
        return _refuse(ENOSYS, "io_uring does not exist in this kernel")
    if how == "io_uring":
        raise BadInput("how", "'io_uring' is not built: it takes FOLL_PIN references", "one of " + ", ".join(PIN_WRITES))
    write = check_choice("how", how, PIN_WRITES)
    mm, low, high = check_mapped(machine, proc, start, npages, region)
    if not pin:
        raise BadInput("pin", "has no name", "a name by which it is let go later")
    if pin in machine.system.pins:
        raise BadInput("pin", f"{pin!r} is held already", "a new name")
    return pin_user_pages(machine.system, mm, pin, low, high, write)


def _unpin(machine: Machine, pin: str, proc: str = "") -> Routine[int]:
    """`proc`, which recordings name, is who set the driver to work: the driver needs it no more."""
    if pin not in machine.system.pins:
        raise BadInput("pin", f"{pin!r} is not held", "one of: " + (", ".join(machine.system.pins) or "none is held"))
    return unpin_user_pages(machine.system, pin)


def _split(machine: Machine, proc: str, start: int, npages: int = 1, how: str = "direct", region: str = "R") -> Routine[int]:
    if how != "direct":
        raise BadInput("how", f"{how!r} is not built", "direct")
    return split_page_direct(machine.system, check_huge_page(machine, proc, start, region))


def _split_pmd(machine: Machine, proc: str, start: int, region: str = "R") -> Routine[int]:
    mm, low, _ = check_mapped(machine, proc, start, 1, region)
    vma = mm.find_vma(low)
    assert vma is not None, "check_mapped has found it"
    return _do_split_pmd(machine, vma, low)


def _do_split_pmd(machine: Machine, vma: Vma, address: int) -> Routine[int]:
    yield from machine.system.cpus.lock(vma.mm.mmap_sem, "shared")
    yield from split_huge_pmd(machine.system, vma, address)
    yield from machine.system.cpus.unlock(vma.mm.mmap_sem)
    return 0


def _swap_out(machine: Machine, proc: str, start: int, region: str = "R") -> Routine[int]:
    return swap_out(machine.system, check_huge_page(machine, proc, start, region))


def _refuse(error: int, text: str) -> Routine[int]:
    """What the system call interface answers by itself."""
    yield read(text)
    return -error


def _madvise(machine: Machine, proc: str, start: int, npages: int = 1, advice: str = "", region: str = "R") -> Routine[int]:
    system = machine.system
    mm, low, high = check_mapped(machine, proc, start, npages, region)
    if advice not in system.kernel.advices:
        return _refuse(EINVAL, f"madvise: this kernel does not know the advice {advice!r}")
    if advice == "dontneed" or (advice == "free" and system.kernel.free_needs_swap):
        return madvise_dontneed(system, mm, low, high)
    if advice in MADVISE_FLAGS:
        return madvise_behavior(system, mm, low, high, *MADVISE_FLAGS[advice])
    raise BadInput("advice", f"{advice!r} is not built", "one of dontneed, " + ", ".join(MADVISE_FLAGS))


def _sys(machine: Machine, path: str, value: str, restore: bool = True) -> Routine[int]:
    """`restore` is for the recorder, who puts settings back; drop_caches is none."""
    if path != "/proc/sys/vm/drop_caches":
        raise BadInput("path", f"{path!r} is not built", "/proc/sys/vm/drop_caches")
    if not value.isdecimal():
        raise BadInput("value", f"is {value!r}", "1, 2 or 3")
    # 1 drops clean file pages, of which there are none here; 2 runs the shrinkers, the deferred split queue among them.
    return deferred_split_scan(machine.system) if int(value) & 2 else _refuse(0, "no page cache here")


OPERATIONS: dict[str, Callable[..., Routine[int]]] = {
    "spawn": _spawn,
    "mmap": _mmap,
    "write": _write,
    "read": _read,
    "fill": _fill,
    "fork": _fork,
    "exit": _exit,
    "mprotect": _mprotect,
    "munmap": _munmap,
    "pin": _pin,
    "unpin": _unpin,
    "split": _split,
    "split_pmd": _split_pmd,
    "swap_out": _swap_out,
    "madvise": _madvise,
    "sys": _sys,
}
"""Operation -> how it is begun. Each takes the machine and the operation's fields, checks them, returns the routine."""

FIELDS = {op: dict(list(signature(start).parameters.items())[1:]) for op, start in OPERATIONS.items()}
"""Operation -> the fields that it takes, as parameters with their defaults."""

def check_types(op: str, fields: dict[str, Any]) -> None:
    """BadInput if a field is missing, or is not a whole number or a text as it should be."""
    for name, parameter in FIELDS[op].items():
        if name not in fields:
            if parameter.default is Parameter.empty:
                raise BadInput(name, f"is missing for {op}", "a value")
            continue
        value = fields[name]
        number = parameter.annotation.startswith("int")
        if number and (not isinstance(value, int) or isinstance(value, bool)):
            raise BadInput(name, f"is {value!r}", "a whole number")
        flag = parameter.annotation == "bool"
        if flag and not isinstance(value, bool):
            raise BadInput(name, f"is {value!r}", "True or False")
        if not number and not flag and not isinstance(value, str) and not (name == "advise" and value is None):
            raise BadInput(name, f"is {value!r}", "a text")
