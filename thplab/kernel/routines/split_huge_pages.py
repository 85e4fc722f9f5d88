"""The file split_huge_pages of debugfs (mm/huge_memory.c):
splits on request, of all huge pages or of a range of a process.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_anon, PG_head, PG_lru, single, width
from thplab.hardware.steps import Routine, change, read, routine
from thplab.kernel.address_space import AddressSpace, Vma
from thplab.kernel.pages import get_page_unless_zero
from thplab.kernel.routines.follow_page import follow_page
from thplab.kernel.routines.mm import get_page, put_page
from thplab.kernel.routines.vmscan import split_locked
from thplab.kernel.routines.walk import pmd_at
from thplab.kernel.system import System


@routine
def split_huge_pages_set(system: System) -> Routine[int]:
    """Try to split every huge page of the machine, in the order of their addresses. Returns 0, whatever came out.

    It walks over all page frames, and holds each that is in use for a moment.
    """
    frames, page = system.frames, system.frames.zero_page + 1  # what comes before belongs to nobody
    while page < frames.end:
        page += _leading(frames.refcount[page : frames.end] <= 0)
        if page == frames.end:
            break
        flags = PG_head | PG_anon | PG_lru
        if frames.flags[page] & PG_head:
            held = yield from get_page_unless_zero(system, page)
            if held and frames.flags[page] & flags == flags:
                yield from split_held(system, page)
            if held:
                yield from put_page(system, single(page))
            page += 1
            continue
        small = _leading((frames.refcount[page : frames.end] > 0) & (frames.flags[page : frames.end] & PG_head == 0))
        parts = system.each(slice(page, page + small))
        for part in parts:
            if width(part) == 1:
                held = yield from get_page_unless_zero(system, part.start)
                if held:
                    yield from put_page(system, part)
            else:
                frames.ref_add(part, 1)
                yield change(f"{system.pages_text(part)} {system.refcount_name} += 1: is it a huge page?")
                frames.ref_add(part, -1)
                yield change(f"{system.pages_text(part)} {system.refcount_name} -= 1: no")
        page = parts[-1].stop
    return 0


def _leading(which: npt.NDArray[np.bool_]) -> int:
    """How many at the front."""
    return len(which) if which.all() else int(which.argmin())


def split_held(system: System, head: int) -> Routine[None]:
    """Split a huge page under its lock. Called with a reference."""
    lock = system.page_lock(head)
    yield from system.cpus.lock(lock)
    yield from split_locked(system, head)
    yield from system.cpus.unlock(lock)


@routine
def split_huge_pages_pid(system: System, mm: AddressSpace, start: int, end: int, order: int = 0) -> Routine[int]:
    """Try to split the huge pages that a process maps in [start, end), up to the first address without a VMA.
    Returns 0.

    A page that is pinned, or no larger than `order`, is not tried: that counts no failure.
    """
    frames, size = system.frames, system.geometry.page_size
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    address = start
    while address < end and (vma := mm.find_vma(address)) is not None:
        if system.kernel.split.debugfs_holds_all:
            page = yield from follow_page(system, vma, address)
            if page is not None:
                head = frames.compound_head(page)
                locked = (yield from may_be_split(system, head, 1, order)) and (
                    yield from system.cpus.trylock(system.page_lock(head))
                )
                yield from split_and_put(system, head, bool(locked), order)
        else:
            head = yield from folio_walk(system, vma, address, order)
            if head:
                yield from split_and_put(system, head, True, order)
        address += size
    yield from system.cpus.unlock(mm.mmap_sem)
    return 0


def split_and_put(system: System, head: int, locked: bool, order: int) -> Routine[None]:
    """Split a page whose lock the caller has taken, unlock it, and drop the caller's reference."""
    if locked:
        lock = system.page_lock(head)
        yield from split_locked(system, head, order=order)
        yield from system.cpus.unlock(lock)
    yield from put_page(system, single(head))


def may_be_split(system: System, head: int, ours: int, order: int = 0) -> Routine[bool]:
    """Is it a compound page larger than `order`, and do its mappings explain every reference but `ours`?"""
    frames = system.frames
    if frames.order(head) <= order or not frames.flags[head] & PG_anon:
        return False
    explained = system.scheme.total_mapcount(frames, head) == frames.page_count(head) - ours
    yield read("does every reference but our own belong to a mapping? " + ("yes" if explained else "no"))
    return explained


@routine
def folio_walk(system: System, vma: Vma, address: int, order: int) -> Routine[int]:
    """Look at the page that is mapped at `address` under the page table lock. One that may be split is locked and held.

    Returns its head, or 0 for any other (folio_walk_start to folio_walk_end).
    """
    found = pmd_at(system, vma.mm, address)
    pmd = found.entry if found else 0
    yield read(f"read the PMD: {pt.entry_text(pmd)}")
    if found is None or pt.pte_none(pmd):
        return 0
    huge = pt.pmd_trans_huge(pmd)
    table, index = (found.table, found.at) if huge else (pt.pte_pfn(pmd), system.geometry.index(address, 0))
    lock = system.ptl(table)
    yield from system.cpus.lock(lock)
    entry = system.tables.get(table, index)
    yield read(f"read the entry: {pt.entry_text(entry)}")
    head = 0
    if pt.pte_present(entry) and not pt.pte_special(entry) and pt.pmd_trans_huge(entry) == huge:
        head = system.frames.compound_head(pt.pte_pfn(entry))
        locked = (yield from may_be_split(system, head, 0, order)) and (
            yield from system.cpus.trylock(system.page_lock(head))
        )
        if locked:
            yield from get_page(system, single(head))
        else:
            head = 0
    yield from system.cpus.unlock(lock)
    return head
