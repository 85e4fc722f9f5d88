"""Splitting a compound page by freezing it first: every mapping becomes a migration entry (docs/KERNEL.md 3.3, 6.6).

It came five months after the RFC, as patch 18 of its second version, and closes the window that the RFC leaves open.
"""

from __future__ import annotations

import numpy as np

from thplab.errors import EBUSY, EINVAL
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import (
    PG_OF_HEAD,
    PG_anon_exclusive,
    PG_has_hwpoisoned,
    PG_head,
    PG_hwpoison,
    PG_locked,
    PG_lru,
    PG_swapcache,
    PG_tail,
    width,
)
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import VM_LOCKED, AnonVma, Vma
from thplab.kernel.pages import clear_partially_mapped
from thplab.kernel.routines.folios import let_go_of_folios, make_folios
from thplab.kernel.routines.lru import PageList
from thplab.kernel.routines.migration import freeze_ptes
from thplab.kernel.routines.mlocked import mlock_migrated
from thplab.kernel.routines.mm import get_page
from thplab.kernel.routines.rmap import (
    anon_vma_lock,
    folio_add_anon_rmap_ptes,
    page_get_anon_vma,
    pte_offset_map_lock,
    rmap_walk,
)
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.kernel.routines.swap import free_pages_and_swap_cache
from thplab.kernel.routines.walk import entry_range, pmd_at, pmd_ranges
from thplab.kernel.system import System


@routine
def split_huge_page_freeze(
    system: System, page: int, to_list: PageList | None = None, kept: int | None = None
) -> Routine[int]:
    """Check, freeze every mapping, check again, hand the references out, map again.

    Called with the page lock and one reference on the head `page`, which ends on `kept` if that is given. With
    `to_list` the tails go onto the caller's list instead of the LRU, each with a reference of its own. Returns 0 or the
    errno of a refused split: refused at the first check nothing has changed but the event; refused after the freeze,
    PMDs stay split.
    """
    return (yield from _split(system, page, 0, to_list, page if kept is None else kept))


@routine
def split_huge_page_to_order(system: System, page: int, order: int) -> Routine[int]:
    """The same into compound pages of `order`. Lock and reference stay on the head.

    -EINVAL, with nothing changed, if the page is no larger than that, if the order is 1, which anonymous memory has
    not, or for a page in the swap cache.
    """
    frames = system.frames
    fits = 1 < order < frames.order(page) and not frames.flags[page] & PG_swapcache
    yield read(f"can it be split to order {order}? " + ("yes" if fits else "no"))
    return (yield from _split(system, page, order, None, page)) if fits else -EINVAL


def _split(system: System, page: int, order: int, to_list: PageList | None, kept: int) -> Routine[int]:
    frames = system.frames
    huge, pages = frames.is_huge(page), frames.compound(page)
    anon_vma = yield from page_get_anon_vma(system, page)
    if anon_vma is None:
        event = _count(system, huge, "thp_split_page_failed")
        yield change(f"{event or 'refused'}: the page is not mapped")
        return -EBUSY
    lock = anon_vma_lock(anon_vma)
    yield from system.cpus.lock(lock)
    cache = width(pages) if frames.flags[page] & PG_swapcache else 0
    pinned = not (yield from can_split_huge_page(system, page, cache))
    if not pinned:
        yield from freeze_page(system, anon_vma, page)
        yield from system.cpus.lock("lru_lock")
        pinned = not (yield from page_ref_freeze(system, page, 1 + cache))
        if not pinned:
            yield from __split_huge_page(system, page, order, to_list)
        yield from system.cpus.unlock("lru_lock")
        map_unused = not pinned and not order and bool(system.kernel.split.frees_zero_pages)
        yield from unfreeze_page(system, anon_vma, pages, map_unused=map_unused)
    if pinned:
        event = _count(system, huge, "thp_split_page_failed")
        yield from system.cpus.unlock(lock, event=event)
        return system.kernel.split.refused
    if order:
        yield from let_go_of_folios(system, pages, order)
    else:
        yield from let_go_of_subpages(system, pages, kept)
    event = _count(system, huge, "thp_split_page")
    yield from system.cpus.unlock(lock, event=event)
    return 0


def _count(system: System, huge: bool, event: str) -> str:
    """Count an event, which is about pages that a PMD can map; returns it, or nothing."""
    return system.count_vm_event(event) if huge else ""


@routine
def can_split_huge_page(system: System, page: int, cache: int) -> Routine[bool]:
    """Do mappings, the swap cache's references, `cache` of them, and the caller's own explain all references of `page`?

    A first look, before anything is changed. Called under the anon_vma lock.
    """
    mapcount = system.scheme.total_mapcount(system.frames, page)
    yield read(f"all mappings of the page: {mapcount}")
    pinned = mapcount != system.frames.page_count(page) - cache - 1
    besides = ", besides the swap cache's" if cache else ""
    yield read(f"does every reference but our own{besides} belong to a mapping? " + ("no" if pinned else "yes"))
    return not pinned


@routine
def page_ref_freeze(system: System, page: int, ours: int) -> Routine[bool]:
    """Are the caller's reference on a page that nobody maps and the swap cache's, `ours` together, the only ones?

    Where the kernel freezes the count, it is 0 afterwards.

    Called under the locks of the split. The 0 keeps out whoever might still come by: get_page_unless_zero fails.
    """
    frames = system.frames
    if system.kernel.split.freezes_refcount:
        only = frames.ref_freeze(page, ours)
        yield change(
            f"head {system.refcount_name}: compare-and-swap {ours} → 0, {'done' if only else 'refused: pinned'}",
            "If it succeeds, nobody can take a reference any more until the new pages are there.",
        )
        return only
    only = frames.page_count(page) == ours
    yield read(
        f"frozen: is our reference the only one? {'yes' if only else 'no: pinned'}",
        "No mapping is left and none can come. Only a waiter may still take a reference, on the head, where it "
        "belongs.",
    )
    return only


@routine
def freeze_page(system: System, anon_vma: AnonVma, page: int) -> Routine[None]:
    """Replace every mapping of the compound page by a migration entry. Called under the anon_vma and the page lock.

    Ends early at a page that a driver has pinned since the caller looked: then the references tell that it was not all.
    """
    places = rmap_walk(system, anon_vma, page)
    yield read("who maps the page? The reverse map tells")
    for vma, address in places:
        low = max(address, vma.start)
        size = width(system.frames.compound(page)) * system.geometry.page_size
        ranges = pmd_ranges(system.geometry, low, min(address + size, vma.end))
        found = pmd_at(system, vma.mm, low)
        looks = system.kernel.split.looks_at_both
        if looks or (found is not None and pt.pmd_trans_huge(found.entry) and pt.pte_pfn(found.entry) == page):
            frozen = yield from split_huge_pmd(system, vma, low, freeze=True, page=page)
            if frozen and not looks:
                continue
        for start, stop in ranges:
            pte_table = system.tables.walk(vma.mm.pgd, start, 0)
            if pte_table is not None:
                first, last = entry_range(system.geometry, start, stop)
                if not (yield from freeze_page_vma(system, vma, pte_table, first, last, page)):
                    return


@routine
def freeze_page_vma(system: System, vma: Vma, pte_table: int, low: int, high: int, page: int) -> Routine[bool]:
    """Freeze the PTEs of [low, high) that map the compound page; their references and map counts go.
    False if one may be pinned.
    """
    runs = yield from pte_offset_map_lock(system, pte_table, low, high, system.frames.compound(page))
    frozen = yield from freeze_ptes(system, vma, pte_table, runs)
    yield from system.cpus.unlock(system.ptl(pte_table))
    return frozen


@routine
def __split_huge_page(system: System, page: int, order: int, to_list: PageList | None) -> Routine[None]:
    """Make every tail a page of its own, with one reference to begin with, or, with an `order`, every so manyth one the
    head of a compound page. Nobody maps or holds any of them.

    The list that it goes onto and the swap cache that it stays in have one more each.
    """
    frames = system.frames
    cached = bool(frames.flags[page] & PG_swapcache)
    first = 1 + cached + (to_list is not None)
    if page in system.deferred:
        yield from system.cpus.lock("split_queue_lock")
        yield from clear_partially_mapped(system, page)
        system.deferred.pop(page, None)
        yield change("off the deferred split queue")
        yield from system.cpus.unlock("split_queue_lock")
    if frames.flags[page] & PG_has_hwpoisoned:
        frames.flags[page] &= ~PG_has_hwpoisoned
        yield change("none of its parts is bad any more", "The bad one will say so itself.")
    given = system.kernel.split.tail_reference
    parts = () if order else system.each(frames.tails(page))
    for part in parts if given == "last" else parts[::-1]:
        yield from __split_huge_page_tail(system, page, part, first, to_list)
    if order:
        yield from make_folios(system, page, order)
        return
    frames.flags[page] &= ~PG_head
    if not system.kernel.split.freezes_refcount:
        frames.costs.rmw += 1  # ClearPageCompound
    yield change("the compound page is no more")
    if given == "last":
        for part in parts:
            yield from _give_references(system, part, first)
    if system.kernel.split.freezes_refcount:
        frames.refcount[page] = 1 + cached
        yield change(
            f"{system.page_name(page)} {system.refcount_name} = {1 + cached}",
            "The head's count comes last: from now on anybody may take a reference again.",
        )


def _give_references(system: System, part: slice, count: int) -> Routine[None]:
    """Each page that was a tail, or is about to be none, gets its first `count` references."""
    if system.kernel.split.freezes_refcount:
        system.frames.refcount[part] = (
            count  # plain stores: nobody can take a reference as long as the head's count is 0
        )
    else:
        system.frames.ref_add(part, count)
    yield change(f"{system.pages_text(part)} {system.refcount_name} = {count}")


@routine
def __split_huge_page_tail(
    system: System, page: int, part: slice, first: int, to_list: PageList | None
) -> Routine[None]:
    """Make the tails `part` of a compound page pages of their own, locked like the head, with `first` references each.

    Where a kernel gives those last, the caller does.
    """
    frames, given = system.frames, system.kernel.split.tail_reference
    if given == "first":
        yield from _give_references(system, part, first)
    if (frames.flags[part] & PG_anon_exclusive).any():
        frames.flags.clear(part, PG_anon_exclusive)
        yield change(f"{system.pages_text(part)} not exclusive any more", "Nothing maps it: it was left over.")
    frames.flags.set(part, (frames.flags[page] & ~PG_OF_HEAD) | PG_locked | (PG_lru if to_list is None else 0))
    yield change(
        f"{system.pages_text(part)}: the head's flags, and locked",
        "What was known of the huge page is known of each part.",
    )
    frames.flags.clear(part, PG_tail)
    if to_list is not None:
        to_list.pages += range(part.start, part.stop)
    yield change(f"{part.stop - part.start} of the tails are pages of their own")
    if given == "next":
        yield from _give_references(system, part, first)


@phrase("unlock the new pages and let go of them")
def let_go_of_subpages(system: System, pages: slice, kept: int) -> Routine[None]:
    """Unlock the small pages that `pages` are now and drop the split's references,
    but for the one that the caller keeps locked.

    The head's lock, which the caller holds, is unlocked with the head, and that of `kept` is held in its place.
    """
    frames, page = system.frames, pages.start
    others = other_subpages(pages, kept)
    for other in others:
        parts = system.each(other)
        for part in parts:
            if part.start == page:
                frames.first_page[page + 1 : pages.stop] = kept  # whoever waits for one of them, waits for that lock
                frames.first_page[kept] = page
                yield from system.cpus.hand_over(f"page_lock {page:#x}", f"page_lock {kept:#x}")
            if (frames.flags[part] & PG_locked).any():
                frames.flags.clear(part, PG_locked)
                frames.first_page[part] = page
                yield change(
                    f"{system.pages_text(part)} unlocked",
                    "All their mappings are back: they may be written to in place again.",
                )
            yield from free_pages_and_swap_cache(system, part)


def other_subpages(pages: slice, kept: int) -> tuple[slice, ...]:
    """The pages that come out of the split of `pages`, but `kept`, which the caller keeps."""
    around = (slice(pages.start, kept), slice(kept + 1, pages.stop))
    return tuple(part for part in around if part.start < part.stop)


@routine
def unfreeze_page(system: System, anon_vma: AnonVma, pages: slice, map_unused: bool) -> Routine[None]:
    """Turn the migration entries of these pages back into PTEs, split or not. Called under the anon_vma lock.

    With `map_unused`, entries of zero-filled pages become PTEs of the shared zero page.
    """
    places = rmap_walk_pages(system, anon_vma, pages)
    yield read("who mapped the page? The reverse map tells")
    parts = system.each(pages) if system.kernel.split.remaps_by_page else (pages,)
    for part in parts:
        for vma, start, stop in places:
            first = vma.start + (int(system.frames.index[part.start]) - vma.pgoff) * system.geometry.page_size
            low, high = max(start, first), min(stop, first + width(part) * system.geometry.page_size)
            # Looked up only now: a fork may have made the child's table meanwhile, with migration entries copied from
            # its parent.
            pte_table = system.tables.walk(vma.mm.pgd, start, 0) if low < high else None
            if pte_table is not None:
                yield from unfreeze_page_vma(
                    system, vma, pte_table, *entry_range(system.geometry, low, high), pages, map_unused
                )


def rmap_walk_pages(system: System, anon_vma: AnonVma, pages: slice) -> tuple[tuple[Vma, int, int], ...]:
    """Every (VMA, start, end of the addresses) under which one of `pages` may be mapped, parents before children."""
    geometry = system.geometry
    first = int(system.frames.index[pages.start])
    found = []
    for vma in anon_vma.vmas:
        address = vma.start + (first - vma.pgoff) * geometry.page_size
        end = address + width(pages) * geometry.page_size
        ranges = pmd_ranges(geometry, max(address, vma.start), min(end, vma.end))
        found += [(vma, start, stop) for start, stop in ranges]
    return tuple(found)


@routine
def unfreeze_page_vma(
    system: System, vma: Vma, pte_table: int, low: int, high: int, pages: slice, map_unused: bool
) -> Routine[None]:
    """Map again what was frozen in [low, high) of this table: a reference, the PTE, the map count."""
    tables = system.tables
    if system.kernel.split.remaps_by_page:
        found = len(_frozen(system, pte_table, low, high, pages))
        yield read("is there a migration entry? " + ("yes" if found else "no"))
        if not found:
            return
    runs = yield from pte_offset_map_lock(system, pte_table, low, high, pages, "migration")
    if map_unused and VM_LOCKED not in vma.flags:
        yield from try_to_map_unused_to_zeropage(system, vma, pte_table, runs)
        runs = _frozen(system, pte_table, low, high, pages)
    counts_first = system.kernel.migration.counts_before_entry
    for run in runs:
        parts = system.each(run.entries)
        for part in parts:
            mapped = run.cut(part.start, part.stop).pages
            yield from get_page(system, mapped)
            exclusive = tuple((tables.marked(pte_table, part, pt._SWP_EXCLUSIVE) != 0).tolist())
            if not counts_first:
                yield from _set_pte_again(system, vma, pte_table, part)
            yield from folio_add_anon_rmap_ptes(system, vma, mapped, at_once=False)
            if system.kernel.split.remaps_by_page:
                yield from mlock_migrated(system, vma, mapped)
            if any(exclusive):
                system.frames.flags[mapped] |= np.array(exclusive) * PG_anon_exclusive
                yield change(f"{system.pages_text(mapped)} exclusive again")
            if counts_first:
                yield from _set_pte_again(system, vma, pte_table, part)
    yield from system.cpus.unlock(system.ptl(pte_table))


def _set_pte_again(system: System, vma: Vma, pte_table: int, part: slice) -> Routine[None]:
    dirty = pt._PAGE_DIRTY if system.kernel.split.marks_dirty else 0
    system.tables.unfreeze(pte_table, part, pt.pgprot(vma.prot) | dirty)
    yield change("PTE = the page again")


def _frozen(system: System, pte_table: int, low: int, high: int, pages: slice) -> tuple[pt.PteRun, ...]:
    """The migration entries of [low, high) that stand for some of `pages`."""
    runs = system.tables.runs(pte_table, low, high)
    return tuple(run for run in runs if run.kind == "migration" and pages.start <= run.pfn < pages.stop)


@routine
def try_to_map_unused_to_zeropage(
    system: System, vma: Vma, pte_table: int, runs: tuple[pt.PteRun, ...]
) -> Routine[None]:
    """Where a frozen small page is zero-filled, map the shared zero page instead:
    the page itself is of no use any more.

    Called under the lock of the table.
    """
    zero = pt.mkspecial(pt.mkyoung(pt.mk_pte(system.frames.zero_page, pt.pgprot(vma.prot))))
    for run in runs:
        count = _map_unused(system, pte_table, run, zero)
        if count:
            yield change(
                f"{count} PTEs = the zero page",
                "Their pages hold nothing but zeroes and are freed when the split lets go.",
            )


def _map_unused(system: System, pte_table: int, run: pt.PteRun, zero: int) -> int:
    """Store `zero` in the PTEs of zero-filled pages; returns how many. A bad page is not looked at:
    it stays what it is.
    """
    frames = system.frames
    unused = (frames.content[run.pages] == 0) & ((frames.flags[run.pages] & PG_hwpoison) == 0)
    system.tables.store(pte_table, np.flatnonzero(unused) + run.start, zero)
    return int(np.count_nonzero(unused))


# --- wrong variants ---------------------------------------------------------------------------------------------------


def freezes_without_a_flush(system: System, vma: Vma) -> Routine[None]:
    """flush_frozen that leaves a GUP-fast on its way with the old entry (docs/KERNEL.md 6.6, step 2)."""
    yield read("no flush")


def checks_without_freezing(system: System, page: int, ours: int) -> Routine[bool]:
    """page_ref_freeze that reads the count and trusts it,
    where nothing else keeps a GUP-fast out (docs/KERNEL.md 6.7).
    """
    only = system.frames.page_count(page) == ours
    yield read(
        f"head {system.refcount_name}: {ours if only else f'more than {ours}'}, "
        f"{'nobody else' if only else 'pinned'}, read only"
    )
    return only


def freezes_at_once(system: System, page: int, cache: int) -> Routine[bool]:
    """can_split_huge_page that leaves it all to the check after the freeze: a refused split has split PMDs by then."""
    yield read("no first look")
    return True


def thaws_the_first_vma_only(
    system: System, vma: Vma, pte_table: int, low: int, high: int, pages: slice, map_unused: bool
) -> Routine[None]:
    """unfreeze_page_vma that brings the entries back in the first VMA of the reverse map, and in no other."""
    if vma is not system.anon_vmas[int(system.frames.mapping[pages.start])].vmas[0]:
        yield read(f"the migration entries of {vma.mm.name} stay")
        return
    yield from unfreeze_page_vma.right(system, vma, pte_table, low, high, pages, map_unused)
