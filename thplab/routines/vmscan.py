"""Reclaim's side of a page split (mm/vmscan.c, mm/swap_state.c), and the direct request to split a page."""

from __future__ import annotations

from thplab.errors import EBUSY
from thplab.frames import PG_lru, single
from thplab.routines.split_huge_page import split_huge_page
from thplab.steps import Routine, change, read
from thplab.system import System, routine


@routine
def swap_out(system: System, page: int) -> Routine[int]:
    """Reclaim picks the huge page with head `page` and tries to make it swappable: it takes it off the LRU and splits it.

    Returns 0: ordinary pages remain, back on the LRU, which the next round may write out one by one; or the errno of a
    refused split: the page goes back to the LRU as an active one; -EBUSY also if the page is gone or somebody else has
    locked it. Writing to a swap device is not part of it.
    """
    frames = system.frames
    if not frames.ref_inc_not_zero(page):
        yield read("get_page_unless_zero: no, the page is being freed")
        return -EBUSY
    frames.flags[page] &= ~PG_lru
    yield change(f"reclaim takes the page off the LRU: head {system.count} += 1", "Reclaim's own reference keeps the page while it works.")
    lock = system.page_lock(page)
    locked = yield from system.cpus.trylock(lock)
    error = -EBUSY
    if locked:
        error = yield from split_locked(system, page)
        yield from system.cpus.unlock(lock)
    frames.flags[page] |= PG_lru
    yield change(
        "the page goes back to the LRU" + (", as active" if error else ""),
        "Swap-out copes with a refusal: it will come back." if error else "",
    )
    yield from system.scheme.put_pages(system, single(page))
    return error


@routine
def split_page_direct(system: System, page: int) -> Routine[int]:
    """Take a reference on the head `page`, lock it, split it, let go. Returns what split_huge_page returns, -EBUSY if it is gone."""
    if not system.frames.ref_inc_not_zero(page):
        yield read("get_page_unless_zero: no, the page is being freed")
        return -EBUSY
    yield change(f"head {system.count} += 1", "Whoever splits a page holds a reference of its own.")
    lock = system.page_lock(page)
    yield from system.cpus.lock(lock)
    error = yield from split_locked(system, page)
    yield from system.cpus.unlock(lock)
    yield from system.scheme.put_pages(system, single(page))
    return error


@routine
def split_locked(system: System, page: int) -> Routine[int]:
    """Split the compound page with head `page`. Called under its page lock and with a reference. Returns 0 if it is split already."""
    compound = system.frames.is_compound(page)
    yield read("is it still a compound page? " + ("yes" if compound else "no"))
    return (yield from split_huge_page(system, page)) if compound else 0


@routine
def deferred_split_scan(system: System) -> Routine[int]:
    """The shrinker of the deferred split queue: try to split every page on it, which frees what nobody maps. Returns 0.

    A page that cannot be locked or is pinned stays on the queue.
    """
    queued = tuple(system.deferred)
    yield read(f"{len(queued)} pages wait for a deferred split")
    for page in queued:
        if not system.frames.ref_inc_not_zero(page):
            yield read("get_page_unless_zero: no, the page is being freed")
            continue
        yield change(f"head {system.count} += 1")
        lock = system.page_lock(page)
        locked = yield from system.cpus.trylock(lock)
        if locked:
            yield from split_locked(system, page)
            yield from system.cpus.unlock(lock)
        yield from system.scheme.put_pages(system, single(page))
    return 0
