"""Splitting the compound page itself into ordinary pages, as the RFC does it (patch 06; docs/KERNEL.md 2.2).

It may fail: references that no mapping explains are pins, and a pinned page must stay what it is.
"""

from __future__ import annotations

from thplab.errors import EBUSY
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_OF_HEAD, PG_has_hwpoisoned, PG_head, PG_lru, PG_tail, single
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import AnonVma
from thplab.kernel.routines.lru import PageList
from thplab.kernel.routines.mm import put_page
from thplab.kernel.routines.rmap import anon_vma_lock, page_get_anon_vma, rmap_walk
from thplab.kernel.routines.split_huge_page_freeze import (
    other_subpages,
    split_huge_page_freeze,
)
from thplab.kernel.routines.split_huge_page_tails import split_huge_page_tails
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.kernel.routines.walk import pmd_at
from thplab.kernel.system import System


@routine
def split_huge_page(
    system: System, page: int, to_list: PageList | None = None, kept: int | None = None
) -> Routine[int]:
    """Split the compound page with head `page` the way the kernel's scheme needs it (split_huge_page_to_list).

    The caller holds the page lock and one reference, which ends on the subpage `kept` (None: on the head). With
    `to_list` the tails go onto its list, with a reference each. Returns 0, or what the kernel's split returns when it
    refuses, a negative errno, or 1 from the one that knows only an unmapped page to refuse; then the reference stays on
    the head. So does the lock: see `lock_of_kept`.
    """
    return (yield from PAGE_SPLITS[system.scheme.page_split](system, page, to_list, page if kept is None else kept))


def lock_of_kept(system: System, lock: str, kept: int) -> str:
    """The page lock that the caller of split_huge_page holds now:
    `lock`, or that of `kept`, where the split has handed it over.
    """
    own = system.page_lock(kept)
    return own if system.cpus.holds(own) else lock


@routine
def split_huge_page_compound_lock(
    system: System, page: int, to_list: PageList | None = None, kept: int | None = None
) -> Routine[int]:
    """The RFC's split: check, split every PMD, check again under compound_lock, hand the references out.

    Called with a reference on the head `page`, which the caller keeps, on `kept` if that is given. Returns 0, or
    -EBUSY: refused at the first check nothing has changed but the event thp_split_page_failed; refused at the second,
    PMDs stay split.
    """
    anon_vma = yield from page_get_anon_vma(system, page)
    if anon_vma is None:
        system.count_vm_event("thp_split_page_failed")
        yield change("thp_split_page_failed: the page is not mapped")
        return -EBUSY
    lock = anon_vma_lock(anon_vma)
    yield from system.cpus.lock(
        lock, why="No fork, no other split: the list of those who map the page must not change."
    )
    pages = system.frames.compound(page)
    error = yield from check_pins(system, page)
    if error:
        return (yield from split_refused_at_once(system, lock, error))
    yield from split_all_pmds(system, anon_vma, page)
    compound_lock = system.compound_lock(page)
    yield from system.cpus.lock("lru_lock", why="The pages that come out go onto the lists of reclaim.")
    yield from system.cpus.bit_lock_irqsave(
        compound_lock, why="Nobody can take or drop a reference through a tail now."
    )
    error = yield from check_pins(system, page)
    if not error:
        yield from split_refcount(system, page, to_list)
    yield from system.cpus.bit_unlock_irqrestore(compound_lock)
    yield from system.cpus.unlock("lru_lock")
    if error:
        return (yield from split_refused(system, lock, error))
    others = other_subpages(pages, page if kept is None else kept)
    for part in others:
        yield from put_page(system, part)
    system.count_vm_event("thp_split_page")
    yield from system.cpus.unlock(lock, "The compound page is gone.", event="thp_split_page")
    return 0


@phrase("do the mappings explain all references?")
def check_pins(system: System, page: int) -> Routine[int]:
    """Do the mappings explain all references but the caller's? Returns 0, or the errno of a refused split."""
    mapcount = 0
    parts = system.each(system.frames.compound(page))
    for part in parts:
        mapcount += system.scheme.page_mapcounts(system.frames, part)
        yield read(
            f"{'all' if system.whole else 'so far'} mappings of the page: {mapcount}",
            "The sum of page_mapcount over all subpages.",
        )
    count = system.frames.page_count(page)
    pinned = mapcount != count - 1
    yield read(
        f"references but our own: {count} - 1 = {count - 1}, " + ("not equal: pinned" if pinned else "equal"),
        "Every mapping holds one reference. One too many belongs to somebody who still uses the page."
        if pinned
        else "Every reference is explained by a mapping, so nobody has pinned the page.",
    )
    return system.kernel.split.refused if pinned else 0


@phrase("refuse the split")
def split_refused(system: System, lock: str, error: int) -> Routine[int]:
    """End of a split that is refused: count it, let the reverse map go. Returns `error`."""
    system.count_vm_event("thp_split_page_failed")
    yield from system.cpus.unlock(
        lock, "Refused. The caller must cope: it tries again later.", event="thp_split_page_failed"
    )
    return error


@phrase("refuse the split at once")
def split_refused_at_once(system: System, lock: str, error: int) -> Routine[int]:
    """The same after the first check, when nothing has been touched yet (docs/KERNEL.md 2.5 (a), as intended)."""
    return (yield from split_refused(system, lock, error))


@phrase("split every PMD")
def split_all_pmds(system: System, anon_vma: AnonVma, page: int) -> Routine[None]:
    """Split every PMD that maps the huge page. Called under the anon_vma lock."""
    places = rmap_walk(system, anon_vma, page)
    yield read(f"the reverse map names {len(places)} {'VMAs' if len(places) != 1 else 'VMA'}")
    for vma, address in places:
        found = pmd_at(system, vma.mm, max(address, vma.start))
        if found is not None and pt.pmd_trans_huge(found.entry) and pt.pte_pfn(found.entry) == page:
            yield from split_huge_pmd(system, vma, max(address, vma.start), page=page)


@routine
def split_refcount(system: System, page: int, to_list: PageList | None) -> Routine[None]:
    """Hand the references out and make every tail a page of its own (__split_huge_page_refcount).

    Called under lru_lock and compound_lock. Each tail gets one reference for each of its mappings and one more, which
    the caller drops when the locks are released; so a tail that nobody maps is freed then, and not before. With
    `to_list` it gets one more, for the list that it goes onto.
    """
    frames = system.frames
    moved, more = 0, 1 if to_list is None else 2
    lru = PG_lru if to_list is None else 0
    parts = system.each(frames.tails(page))
    for part in parts:
        mappings = tuple((frames.mapcount[part] + 1).tolist())
        yield read(f"{system.pages_text(part)}: how many map it?")
        frames.ref_add(part, more)
        frames.refcount[part] += mappings
        yield change(
            f"{system.pages_text(part)} _count = its mappings + {more}",
            "The references move from the head to the pages that they are about. No pins: so the mappings tell it all.",
        )
        frames.flags[part] = (frames.flags[part] & ~PG_tail) | (frames.flags[page] & ~PG_OF_HEAD) | lru
        if to_list is not None:
            to_list.pages += range(part.start, part.stop)
        yield change(
            f"{len(mappings)} {'tails become pages' if len(mappings) > 1 else 'tail becomes a page'} of their own"
        )
        moved += sum(mappings)
    frames.ref_add(single(page), -moved)
    yield change(
        f"head {system.refcount_name} -= {moved}",
        "What went to the tails leaves the head. Its own mappings and the caller's reference stay.",
    )
    frames.flags[page] &= ~(PG_head | PG_has_hwpoisoned)
    yield change("the compound page is no more", f"{system.geometry.nr} ordinary pages remain, mapped where they were.")


PAGE_SPLITS = {
    "compound_lock": split_huge_page_compound_lock,
    "freeze": split_huge_page_freeze,
    "tails": split_huge_page_tails,
}
"""Scheme.page_split -> the routine."""


# --- mutants and wrong variants ---------------------------------------------------------------------------------------


def skips_the_check(system: System, page: int) -> Routine[int]:
    """check_pins that believes that nobody has pinned the page."""
    yield read("no check")
    return 0


def returns_with_the_lock(system: System, lock: str, error: int) -> Routine[int]:
    """split_refused_at_once that just returns: no unlock, no event (docs/KERNEL.md 2.5 (a), as posted)."""
    yield read("return at once")
    return error


def splits_the_first_pmd_only(system: System, anon_vma: AnonVma, page: int) -> Routine[None]:
    """split_all_pmds that stops at the first process that maps the page."""
    vma, address = rmap_walk(system, anon_vma, page)[0]
    yield read("the reverse map names a VMA")
    yield from split_huge_pmd(system, vma, max(address, vma.start), page=page)


def split_huge_page_naive(
    system: System, page: int, to_list: PageList | None = None, kept: int | None = None
) -> Routine[int]:
    """The split that checks and then trusts the answer: nothing keeps the references from changing in between.

    docs/KERNEL.md 6.4 tells how it loses a page. For a page that is mapped by PTEs only.
    """
    pages = system.frames.compound(page)
    error = yield from check_pins(system, page)
    if error:
        return error
    yield from split_refcount(system, page, to_list)
    others = other_subpages(pages, page if kept is None else kept)
    for part in others:
        yield from put_page(system, part)
    return 0
