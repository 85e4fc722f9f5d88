"""The slow way to a page of a process: fault it in, find it under the page table lock, take a reference (mm/gup.c)."""

from __future__ import annotations

from thplab.errors import EFAULT, EMLINK, ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import GUP_PIN_COUNTING_BIAS, PG_anon, PG_anon_exclusive, PG_dirty, single
from thplab.hardware.steps import Routine, change, read, routine
from thplab.kernel.address_space import AddressSpace, Vma
from thplab.kernel.routines.fault import handle_mm_fault
from thplab.kernel.routines.huge_pmd import wait_split_huge_page
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.kernel.routines.vm_fault import VM_FAULT_HWPOISON, VM_FAULT_OOM, VM_FAULT_SIGSEGV, VM_FAULT_WRITE
from thplab.kernel.routines.walk import pmd_at
from thplab.kernel.system import System

FOLL_WRITE, FOLL_FORCE, FOLL_PIN, FOLL_SPLIT, FOLL_TOUCH, FOLL_COW = (1 << bit for bit in range(6))
"""What a page is wanted for: to be written, in spite of a read-only VMA, by a driver that uses its contents, as a small
page, to count as used; and: a write fault has found or made a page that nobody else has."""


def usable(entry: int, write: bool) -> bool:
    """Does the entry let a user read (or write) through it."""
    need = pt._PAGE_PRESENT | pt._PAGE_USER | (pt._PAGE_RW if write else 0)
    return entry & need == need


def gup_must_unshare(system: System, entry: int, page: int, pins_to_read: bool) -> bool:
    """Must the page that `entry` maps become this process's own before a driver pins it to read it (FOLL_PIN)?"""
    frames = system.frames
    anon = bool(frames.flags[frames.compound_head(page)] & PG_anon)
    tells = bool(system.kernel.gup.unshares) and system.kernel.cow.anon_exclusive
    asked = pins_to_read and not pt.pte_write(entry) and tells
    named = frames.compound_head(page) if pt.pmd_trans_huge(entry) else page  # of what a PMD maps the head tells
    return asked and anon and not frames.flags[named] & PG_anon_exclusive


@routine
def __get_user_pages(
    system: System,
    mm: AddressSpace,
    address: int,
    write: bool,
    foll_pin: bool = False,
    split: bool = False,
    touch: bool = True,
    force: bool = False,
) -> Routine[int]:
    """The slow way for one page: fault it in, then take the reference under the page table lock.

    Holds mmap_sem (shared) all the while. With `split` it faults nothing in, with `touch` the page counts as used, with
    `force` it may be written where its VMA forbids it: the process gets a page of its own for that, which stays
    read-only for it. Returns the pfn, or -EFAULT / -ENOMEM.
    """
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    vma = mm.find_vma(address)
    need = pt.PROT_WRITE if write else pt.PROT_READ
    allowed = vma is not None and (force or bool(vma.prot & need))
    yield read("find the VMA: " + ("it allows the access" if allowed else "none that allows the access"))
    flags = sum(
        flag
        for flag, asked in (
            (FOLL_WRITE, write), (FOLL_FORCE, force), (FOLL_PIN, foll_pin), (FOLL_SPLIT, split), (FOLL_TOUCH, touch)
        )
        if asked
    )  # fmt: skip
    result: int | None = None if allowed else -EFAULT
    while result is None and vma is not None:
        result = yield from follow_page_mask(system, vma, address, flags)
        unshare = result == -EMLINK
        if result is None and split:
            result = -EFAULT
        elif result is None or unshare:
            fault = yield from handle_mm_fault(system, vma, address, bool(flags & FOLL_WRITE), unshare)
            bad = fault & (VM_FAULT_HWPOISON | VM_FAULT_SIGSEGV)
            result = -ENOMEM if fault & VM_FAULT_OOM else -EFAULT if bad else None
            if fault & VM_FAULT_WRITE and not vma.prot & pt.PROT_WRITE:
                flags = flags & ~FOLL_WRITE if system.kernel.gup.force == "drops FOLL_WRITE" else flags | FOLL_COW
    yield from system.cpus.unlock(mm.mmap_sem)
    assert result is not None
    return result


@routine
def follow_page(system: System, vma: Vma, address: int, protnone: bool = False) -> Routine[int | None]:
    """Take a reference on the page that is mapped at `address`, whatever for;
    returns its pfn, or None if none is mapped.

    What is mapped without any right is found if the kernel does so, or with `protnone`.
    A huge page that somebody else is splitting is waited for.
    """
    return (yield from _follow(system, vma, address, 0, protnone or system.kernel.gup.follows_protnone))


@routine
def follow_page_mask(system: System, vma: Vma, address: int, flags: int) -> Routine[int | None]:
    """follow_page for get_user_pages, which says what the page is to be used for (FOLL_*); None if it must be faulted
    in, -EMLINK if it must be unshared.

    With FOLL_SPLIT a huge page is split first, with FOLL_TOUCH a huge PMD counts as used from then on, and a page that
    is to be written as dirty.
    """
    return (yield from _follow(system, vma, address, flags, bool(flags & FOLL_FORCE)))


def _follow(system: System, vma: Vma, address: int, flags: int, protnone: bool) -> Routine[int | None]:
    geometry = system.geometry
    found = pmd_at(system, vma.mm, address)
    pmd = found.entry if found else 0
    yield read(f"read the PMD: {pt.entry_text(pmd)}")
    if found is None or pt.pte_none(pmd):
        return None
    huge = pt.pmd_trans_huge(pmd)
    if huge and flags & FOLL_SPLIT:
        yield from split_huge_pmd(system, vma, address)
        return (yield from _follow(system, vma, address, flags & ~FOLL_SPLIT, protnone))
    table = found.table if huge else pt.pte_pfn(pmd)
    index = found.at if huge else geometry.index(address, 0)
    lock = system.ptl(table)
    yield from system.cpus.lock(lock)
    entry = system.tables.get(table, index)
    yield read(f"read the entry: {pt.entry_text(entry)}")
    result: int | None = None
    splitting = huge and pt.pmd_trans_splitting(entry)
    if not splitting and pt.pmd_trans_huge(entry) == huge and _may_follow(system, vma, entry, flags, protnone):
        page = pt.pte_pfn(entry) + (geometry.index(address, 0) if huge else 0)
        reads_by_pin = flags & (FOLL_PIN | FOLL_WRITE) == FOLL_PIN
        if gup_must_unshare(system, entry, page, reads_by_pin):
            result = -EMLINK
            yield read("the page may be shared", "The next write would leave a driver that reads on the wrong page.")
        else:
            result = page
            yield from try_grab_page(system, page, bool(flags & FOLL_PIN))
            yield from _touch(system, table, index, entry, page, flags)
    yield from system.cpus.unlock(lock)
    if splitting:
        yield from wait_split_huge_page(system, vma)
        return (yield from _follow(system, vma, address, flags, protnone))
    return result


def _may_follow(system: System, vma: Vma, entry: int, flags: int, protnone: bool) -> bool:
    """Is there a page that may be used as `flags` say (can_follow_write_pte)?"""
    there = usable(entry, False) or (protnone and pt.pte_present(entry))
    if not flags & FOLL_WRITE or pt.pte_write(entry) or not there:
        return there
    if not flags & FOLL_FORCE:
        return False
    if system.kernel.gup.force == "FOLL_COW":
        return bool(flags & FOLL_COW and entry & pt._PAGE_DIRTY)
    own = bool(system.frames.flags[pt.pte_pfn(entry)] & PG_anon_exclusive)
    return system.kernel.gup.force == "exclusive" and own and not vma.prot & pt.PROT_WRITE


def _touch(system: System, table: int, index: int, entry: int, page: int, flags: int) -> Routine[None]:
    """FOLL_TOUCH: the page at an entry counts as used, and, if it is to be written, as dirty."""
    write = bool(flags & FOLL_WRITE)
    if pt.pmd_trans_huge(entry) and flags & FOLL_TOUCH:
        dirty = pt._PAGE_DIRTY if write or system.kernel.gup.touch_dirties else 0
        system.tables.set(table, index, pt.mkyoung(entry) | dirty)
        marked = " and dirty" if dirty else ""
        yield change(f"PMD marked accessed{marked}", "The driver may use the page at any time.")
    elif flags & FOLL_TOUCH and write and not entry & pt._PAGE_DIRTY:
        system.frames.flags[system.frames.compound_head(page)] |= PG_dirty
        yield change("PG_dirty set", "The driver may write at any time: reclaim must keep the contents.")


@routine
def try_grab_page(system: System, page: int, foll_pin: bool) -> Routine[None]:
    """Take a reference on a page that stays mapped meanwhile ;
    a FOLL_PIN one can be told from the others afterwards.
    """
    frames = system.frames
    if not foll_pin:
        yield from system.scheme.get_pages_foll(system, single(page))
    elif frames.is_compound(page):
        head, pin_first = frames.compound_head(page), bool(system.kernel.gup.counts_pin_first)
        for pin in (pin_first, not pin_first):
            if pin:
                frames.pincount_add(head, 1)
                yield change(
                    "head _pincount += 1", "One of the references is a pin of a driver that uses the contents."
                )
            else:
                frames.ref_one_by_one(head, 1)
                yield change(f"head {system.refcount_name} += 1")
    else:
        frames.ref_add(single(page), GUP_PIN_COUNTING_BIAS)
        yield change(
            f"{system.page_name(page)} {system.refcount_name} += {GUP_PIN_COUNTING_BIAS}",
            "A small page has no count for pins.",
        )
