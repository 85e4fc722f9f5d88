"""Reclaim's side of a page split (mm/vmscan.c), and the direct request to split a page."""

from __future__ import annotations

import numpy as np

from thplab.errors import EBUSY, ENOSPC
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import (
    PG_dirty,
    PG_lru,
    PG_mlocked,
    PG_partially_mapped,
    PG_swapbacked,
    PG_swapcache,
    single,
    width,
)
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.pages import free_page, get_page_unless_zero
from thplab.kernel.routines.lru import PageList, lru_add_drain, putback_lru_page
from thplab.kernel.routines.mm import put_page
from thplab.kernel.routines.rmap import rmap_walk_page
from thplab.kernel.routines.split_huge_page import split_huge_page
from thplab.kernel.routines.split_huge_page_freeze import split_huge_page_to_order
from thplab.kernel.routines.swap import add_to_swap, slots_text, try_to_free_swap
from thplab.kernel.routines.try_to_unmap import try_to_unmap
from thplab.kernel.routines.walk import pmd_at
from thplab.kernel.system import System


@phrase("reclaim of one page")
def swap_out(system: System, page: int) -> Routine[int]:
    """Reclaim picks the page `page`, small or the head of a huge one, and tries to write it to the swap device.

    Returns 0: it is out, in one piece or after a split, or, without a swap device, it is ordinary pages, back on the
    LRU. Otherwise an errno, the page back on the LRU as an active one: that of a refused split, -ENOSPC without room on
    the device, -EBUSY if the page is gone or somebody else has locked it.
    """
    frames = system.frames
    yield from lru_add_drain(system)
    if not frames.ref_inc_not_zero(page):
        yield read("get_page_unless_zero: no, the page is being freed")
        return -EBUSY
    frames.flags[page] &= ~PG_lru
    yield change(
        f"reclaim takes the page off the LRU: head {system.refcount_name} += 1",
        "Reclaim's own reference keeps the page while it works.",
    )
    error = yield from shrink_page_list(system, (page,))
    return 0 if error == -ENOSPC and system.swap is None else error


@routine
def shrink_page_list(system: System, pages: tuple[int, ...], advised: bool = False) -> Routine[int]:
    """Write out the pages on reclaim's list:
    small pages and heads, off the LRU, each with a reference that is given up here.

    `advised`: MADV_PAGEOUT asks for it. Returns 0, or the errno of the last page that had to stay where it was.
    """
    frames, error = system.frames, 0
    page_list = PageList(list(pages))
    left: tuple[tuple[int, bool], ...] = ()
    while page_list.pages:
        page = page_list.pages.pop(0)
        lock = system.page_lock(page)
        locked = yield from system.cpus.trylock(lock)
        kept, freed = -EBUSY, False
        if locked:
            if advised and system.kernel.advice.pageout_clears_young:
                yield from page_referenced(system, page)
            kept = yield from unmap_for_swap(system, page, page_list)
            written = not kept and (not frames.flags[page] & PG_swapbacked or (yield from pageout(system, page)))
            freed = written and (yield from __remove_mapping(system, page))
            yield from system.cpus.unlock(lock)
        error = kept or error
        if freed:
            yield from free_page(system, page)
        elif system.kernel.reclaim.puts_back_last:
            left += ((page, bool(kept)),)
        else:
            yield from putback_lru_page(system, page, bool(kept))
    for page, active in left:
        yield from putback_lru_page(system, page, active)
    return error


@routine
def page_referenced(system: System, page: int) -> Routine[None]:
    """Has anybody used the page, small or a head, lately? Looks at every entry that maps it, under its lock;
    it is old by now.
    """
    places = rmap_walk_page(system, page)
    for vma, address in places:
        found = pmd_at(system, vma.mm, address)
        if found is not None and not pt.pte_none(found.entry):
            lock = system.ptl(found.table if pt.pmd_trans_huge(found.entry) else pt.pte_pfn(found.entry))
            yield from system.cpus.lock(lock)
            yield read(f"{vma.mm.name} has not touched it lately")
            yield from system.cpus.unlock(lock)


@phrase("find a place for the page and unmap it")
def unmap_for_swap(system: System, page: int, page_list: PageList) -> Routine[int]:
    """Find the page a place on the device and take it out of the page tables. Called under its page lock.

    Where a huge page is split for it, its tails go onto `page_list`, reclaim's. Returns 0 or an error: what a refused
    split returns, -ENOSPC without room, -EBUSY if somebody still maps the page.
    """
    frames = system.frames
    if frames.flags[page] & PG_mlocked:
        yield read("it is locked in memory: leave it alone")
        return -EBUSY
    if frames.flags[page] & PG_swapbacked and frames.maybe_dma_pinned(page):
        yield read("a device may be writing to it (FOLL_PIN): leave it alone")
        return -EBUSY
    if not frames.flags[page] & PG_swapbacked and frames.is_compound(page) and system.kernel.reclaim.splits_lazyfree:
        error = yield from split_locked(system, page, page_list)
        if error:
            return error
    if not frames.flags[page] & PG_swapcache and frames.flags[page] & PG_swapbacked:
        prepare = prepare_huge_page if system.kernel.reclaim.out_whole and frames.is_compound(page) else split_locked
        error = yield from prepare(system, page, page_list)
        if error:
            return error
        added, huge = (yield from add_to_swap(system, page)), frames.is_huge(page)
        if not added and frames.is_compound(page):
            error = yield from split_locked(system, page, page_list)
            if error:
                return error
            if huge:
                system.count_vm_event("thp_swpout_fallback")
            added = yield from add_to_swap(system, page)
        if not added:
            return -ENOSPC
    gone = yield from try_to_unmap(system, page)
    if not gone and frames.flags[page] & PG_mlocked and frames.flags[page] & PG_swapcache:
        yield from try_to_free_swap(system, page)
    return 0 if gone else -EBUSY


@phrase("can it go out in one piece?")
def prepare_huge_page(system: System, page: int, page_list: PageList) -> Routine[int]:
    """Look whether a huge page can go out in one piece; one of which parts are no use is split first.
    Called under its page lock.

    Returns 0, or the errno of a refused split; a page that is pinned is not even tried, and no event tells of it.
    """
    frames = system.frames
    pinned = system.scheme.total_mapcount(frames, page) != frames.page_count(page) - 1
    yield read(
        "could the page be split? " + ("no: pinned" if pinned else "yes"),
        "A page that somebody holds would not go away." if pinned else "",
    )
    if pinned:
        return system.kernel.split.refused
    if system.kernel.reclaim.splits_pte_mapped:
        first = not system.scheme.pmd_mapped(frames, page)
        yield read("does a PMD map it? " + ("no: split it first" if first else "yes"))
    else:
        first = bool(frames.flags[page] & PG_partially_mapped)
        yield read("is a part of it mapped no more? " + ("yes: split it first" if first else "no"))
    return (yield from split_locked(system, page, page_list)) if first else 0


@routine
def pageout(system: System, page: int) -> Routine[bool]:
    """Write a page in the swap cache, which nobody maps any more, to its slots, unless they hold it already.

    Called under its page lock. Returns whether the page itself may go now: not while somebody else holds a reference,
    nor while the device is still at it. Then it stays in the swap cache.
    """
    frames, device = system.frames, system.swap
    assert device is not None, "the page is in its cache"
    pages = frames.compound(page)
    users = frames.page_count(page) - width(pages) - 1
    yield read(
        f"references besides the swap cache's and our own: {users}",
        "Whoever holds one may still write to the page." if users else "",
    )
    if users:
        return False
    if not frames.flags[page] & PG_dirty:
        return True
    slots = device.slots(pages)
    frames.flags[page] &= ~PG_dirty
    device.write(slots, frames.content[pages])
    if system.kernel.reclaim.out_notes_zeroes and not frames.content[pages].any():
        yield change(
            f"{slots_text(slots)}: all zeroes, says the zeromap", "There is nothing to write, nor to wait for."
        )
        return True
    if frames.is_huge(page):
        system.count_vm_event("thp_swpout")
    yield change(
        f"write {system.geometry.size_text(width(pages))} to {slots_text(slots)}",
        ""
        if device.kind.synchronous
        else "The disk takes its time: until a later round of reclaim the page stays in the swap cache.",
    )
    return device.kind.synchronous


@routine
def __remove_mapping(system: System, page: int) -> Routine[bool]:
    """Freeze the count of a page that only the caller and maybe the swap cache hold, and take it out of the cache.

    Called under its page lock. Returns whether the page is the caller's to free; if not, nothing has changed.
    """
    frames, device = system.frames, system.swap
    pages = frames.compound(page)
    cached = bool(frames.flags[page] & PG_swapcache)
    ours = 1 + (width(pages) if cached else 0)
    only = frames.ref_freeze(page, ours)
    if only and cached and device is not None:
        frames.flags[page] &= ~PG_swapcache
        device.remove(pages)
    elif only:
        system.count_vm_event("pglazyfreed", width(pages))
    yield change(
        f"{system.refcount_name}: compare-and-swap {ours} → 0, "
        + ("done" if only else "refused: somebody has taken a reference"),
        "Nobody can take a reference now." if only else "",
    )
    return only


@phrase("a direct request for a split")
def split_page_direct(system: System, page: int, order: int = 0) -> Routine[int]:
    """Take a reference through `page`, lock it, split its compound page, to pages of `order`, let go.

    Returns what split_huge_page returns, -EBUSY if the page is gone.
    """
    head = system.frames.compound_head(page)
    held = yield from system.scheme.try_get_page(system, page)
    if not held:
        return -EBUSY
    lock = system.page_lock(page)
    yield from system.cpus.lock(lock)
    error = yield from split_locked(system, head, order=order)
    yield from system.cpus.unlock(lock)
    yield from put_page(system, single(page))
    return error


def split_locked(
    system: System, page: int, to_list: PageList | None = None, kept: int | None = None, order: int = 0
) -> Routine[int]:
    """Split the compound page with head `page`. Called under its page lock and with a reference.
    Returns 0 if it is split already.

    With `to_list` the tails go onto the caller's list;
    lock and reference end on `kept`, if that is given, else on the head. With an `order` above 0 it becomes compound
    pages of that order, the first of which keeps both.
    """
    compound = system.frames.is_compound(page)
    yield read("is it still a compound page? " + ("yes" if compound else "no"))
    if compound and order:
        return (yield from split_huge_page_to_order(system, page, order))
    return (yield from split_huge_page(system, page, to_list, kept)) if compound else 0


@routine
def drop_slab(system: System) -> Routine[int]:
    """drop_caches = 2: run the shrinkers, of which the deferred split queue's is the one here,
    as often as the kernel does. Returns 0.
    """
    rounds = range(system.kernel.queue.drop_caches_rounds or 0)
    for _ in rounds:
        yield from deferred_split_scan(system)
    return 0


@routine
def deferred_split_scan(system: System, nr_to_scan: int | None = None) -> Routine[None]:
    """The shrinker of the deferred split queue: try to split the pages on it, which frees what nobody maps.

    A page that is not partially mapped is split only if it is hardly used; after this one look it is not queued any
    more. A partially mapped one that cannot be locked or is pinned stays on the queue. With `nr_to_scan` the shrinker
    gets only to so many, from the front.
    """
    frames = system.frames
    queued = tuple(system.deferred)[:nr_to_scan]
    yield read(f"{len(system.deferred)} pages wait for a deferred split")
    for page in queued:
        held = yield from get_page_unless_zero(system, page)
        if not held:
            continue
        new = system.kernel.queue.takes_new and not frames.flags[page] & PG_partially_mapped
        underused = new and thp_underused(system, page)
        if new:
            yield read(f"fully mapped: is it hardly used? {'yes' if underused else 'no'}")
        error = -EBUSY
        lock = system.page_lock(page)
        locked = (underused or not new) and (yield from system.cpus.trylock(lock))
        ours = page
        if locked:
            compound = frames.is_compound(page)
            link = page + min(2, width(frames.compound(page)) - 1)  # in this tail is that by which the queue holds it
            kept = link if compound and system.kernel.queue.shrinker_keeps_tail else page
            error = yield from split_locked(system, page, kept=kept)
            ours = page if error else kept
            yield from system.cpus.unlock(system.page_lock(ours))
        if error and new:
            yield from system.cpus.lock("split_queue_lock")
            system.deferred.pop(page, None)
            yield change("off the deferred split queue: it counts as used from now on")
            yield from system.cpus.unlock("split_queue_lock")
        elif underused:
            system.count_vm_event("thp_underused_split_page")
            yield change("thp_underused_split_page += 1")
        yield from put_page(system, single(ours))


def thp_underused(system: System, page: int) -> bool:
    """Are more subpages zero-filled than khugepaged would add for the sake of a huge page (max_ptes_none)? Its default
    says no.
    """
    limit, nr = system.settings["max_ptes_none"], system.geometry.nr
    return limit != nr - 1 and int(np.count_nonzero(system.frames.content[system.frames.compound(page)] == 0)) > limit
