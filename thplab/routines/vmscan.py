"""Reclaim's side of a page split (mm/vmscan.c, mm/swap_state.c), and the direct request to split a page."""

from __future__ import annotations

import numpy as np

from thplab.errors import EBUSY
from thplab.frames import PG_lru, PG_partially_mapped, single
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
def drop_slab(system: System) -> Routine[int]:
    """drop_caches = 2: run the shrinkers, of which the deferred split queue's is the one here, as often as the kernel does. Returns 0."""
    rounds = range(system.kernel.drop_caches_rounds)
    for _ in rounds:
        yield from deferred_split_scan(system)
    return 0


@routine
def deferred_split_scan(system: System) -> Routine[None]:
    """The shrinker of the deferred split queue: try to split the pages on it, which frees what nobody maps.

    A page that is not partially mapped is split only if it is hardly used; after this one look it is not queued any more. A
    partially mapped one that cannot be locked or is pinned stays on the queue.
    """
    frames = system.frames
    queued = tuple(system.deferred)
    yield read(f"{len(queued)} pages wait for a deferred split")
    for page in queued:
        if not frames.ref_inc_not_zero(page):
            yield read("get_page_unless_zero: no, the page is being freed")
            continue
        yield change(f"head {system.count} += 1")
        new = system.kernel.queues_new_thps and not frames.flags[page] & PG_partially_mapped
        underused = new and thp_underused(system, page)
        if new:
            yield read(f"fully mapped: is it hardly used? {'yes' if underused else 'no'}")
        error = -EBUSY
        lock = system.page_lock(page)
        locked = (underused or not new) and (yield from system.cpus.trylock(lock))
        if locked:
            error = yield from split_locked(system, page)
            yield from system.cpus.unlock(lock)
        if error and new:
            yield from system.cpus.lock("split_queue_lock")
            system.deferred.pop(page, None)
            yield change("off the deferred split queue: it counts as used from now on")
            yield from system.cpus.unlock("split_queue_lock")
        elif underused:
            system.count_vm_event("thp_underused_split_page")
            yield change("thp_underused_split_page += 1")
        yield from system.scheme.put_pages(system, single(page))


def thp_underused(system: System, page: int) -> bool:
    """Are more subpages zero-filled than khugepaged would add for the sake of a huge page (max_ptes_none)? Its default says no."""
    limit, nr = system.settings["max_ptes_none"], system.geometry.nr
    return limit != nr - 1 and int(np.count_nonzero(system.frames.content[system.frames.compound(page)] == 0)) > limit
