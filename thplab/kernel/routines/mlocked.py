"""PG_mlocked: what a page itself knows of being locked in memory (mm/mlock.c, mm/internal.h). Reclaim leaves it alone.

There are two ways (docs/KERNEL.md 4.9). Up to 5.17 mlock marks what it finds while it populates, and the last mapping
of a page that goes takes the mark along. Since 5.18 each mapping in a VMA that is locked marks its page as it comes,
and unmarks it as it goes, and the page counts them: `mlock_count`, in the place of its links, while it is on the LRU.
"""

from __future__ import annotations

import numpy as np

from thplab.hardware.frames import PageFrames, PG_lru, PG_mlocked, single, width
from thplab.hardware.steps import Routine, change, read, routine
from thplab.kernel.address_space import VM_LOCKED, Vma
from thplab.kernel.routines.lru import isolate_lru_page, putback_lru_page
from thplab.kernel.system import System

# --- a mark on what is found (up to 5.17) -----------------------------------------------------------------------------


@routine
def mlock_vma_page(system: System, page: int) -> Routine[None]:
    """Mark a page, small or a head, as locked in memory, and move it to the list of those, unless it is marked.
    Called under its page lock or a page table lock."""
    if system.frames.flags[page] & PG_mlocked:
        return
    system.frames.flags[page] |= PG_mlocked
    yield change(f"{system.page_name(page)}: PG_mlocked", "Reclaim need not look at it: it stays in memory.")
    yield from _move(system, page)


@routine
def clear_page_mlock(system: System, page: int) -> Routine[None]:
    """Take the mark off a page, small or a head, that has it, and move it to another list."""
    system.frames.flags[page] &= ~PG_mlocked
    yield change(f"{system.page_name(page)}: PG_mlocked cleared", "Reclaim may have it again.")
    yield from _move(system, page)


def _move(system: System, page: int) -> Routine[None]:
    isolated = yield from isolate_lru_page(system, single(page))
    if isolated:
        yield from putback_lru_page(system, page, False)


# --- a mark that counts (since 5.18) ----------------------------------------------------------------------------------


@routine
def mlock_folio(system: System, pages: slice) -> Routine[None]:
    """Mark small pages, or one head, as locked in memory once more. Called under the page table lock, or when nobody
    else sees them yet.

    The move between lists is made by batches, whose references are not shown.
    """
    frames = system.frames
    frames.mlock_count.add(pages, (frames.flags[pages] & PG_lru) != 0)
    frames.flags.set(pages, PG_mlocked)
    yield change(f"{system.pages_text(pages)}: PG_mlocked", "Reclaim need not look at it: it stays in memory.")


@routine
def munlock_folio(system: System, pages: slice) -> Routine[None]:
    """Take back what mlock_folio did once: the mark goes with the last count. Called under the page table lock.

    Off the LRU nothing is counted, and the mark goes at once: if that is too early, reclaim puts it right.
    """
    counted, cleared = _count_down(system.frames, pages)
    if cleared:
        yield change(f"{system.pages_text(pages)}: PG_mlocked cleared", "Reclaim may have it again.")
    elif counted:
        yield change(f"{system.pages_text(pages)}: locked in memory once less", "Somebody else has locked it, too.")
    else:
        yield read(f"{system.pages_text(pages)}: not locked in memory")


def _count_down(frames: PageFrames, pages: slice) -> tuple[bool, bool]:
    """Take one off the count of each page that has one, and the mark of each that has none left. Whether a count went
    down, and whether a mark went.
    """
    counted = ((frames.flags[pages] & PG_lru) != 0) & (frames.mlock_count[pages] > 0)
    frames.mlock_count.add(pages, -1 * counted)
    cleared = ~counted | (frames.mlock_count[pages] == 0)
    marked = bool((frames.flags[pages][cleared] & PG_mlocked).any())
    if marked:
        frames.flags[pages] &= np.where(cleared, ~PG_mlocked, -1)
    return bool(counted.any()), marked


# --- what mappings do with it -----------------------------------------------------------------------------------------


def mlock_new_folio(system: System, vma: Vma, pages: slice) -> Routine[None]:
    """Fresh small pages, or a head, that `vma` is about to map are locked in memory with it."""
    if VM_LOCKED in vma.flags:
        frames = system.frames
        frames.flags.set(pages, PG_mlocked)
        frames.mlock_count[pages] = 1 if system.kernel.mm.mlocks == "walked" else 0
        yield change(f"{system.pages_text(pages)}: PG_mlocked", "The VMA is locked in memory, and so is what it maps.")


def mlock_vma_folio(
    system: System, vma: Vma, pages: slice, by_pmd: bool = False, at_once: bool = True
) -> Routine[None]:
    """`vma` maps `pages` from now on, which others may have mapped before."""
    if VM_LOCKED not in vma.flags or system.kernel.mm.mlocks != "walked":
        return
    frames, by = system.frames, system.kernel.mm.mlocks_large
    head = frames.compound_head(pages.stop - 1)
    if not frames.is_compound(head):
        yield from mlock_folio(system, pages)
    elif (by_pmd and by != "walked") or (by == "whole" and at_once and width(pages) == width(frames.compound(head))):
        yield from mlock_folio(system, single(head))


def munlock_vma_folio(system: System, vma: Vma, pages: slice, by_pmd: bool = False) -> Routine[None]:
    """`vma` maps `pages` no more: their map counts say so already."""
    frames = system.frames
    head = frames.compound_head(pages.stop - 1)
    if system.kernel.mm.mlocks == "walked":
        small = not frames.is_compound(head)
        if VM_LOCKED in vma.flags and (small or by_pmd or system.kernel.mm.mlocks_large != "PMD"):
            yield from munlock_folio(system, pages if small else single(head))
        return
    heads = range(pages.start, pages.stop) if width(pages) > 1 and not frames.is_compound(head) else (head,)
    marked = tuple(page for page in heads if frames.flags[page] & PG_mlocked)
    for page in marked:
        if not system.scheme.page_mapcount(frames, page):
            yield from clear_page_mlock(system, page)


def mlock_migrated(system: System, vma: Vma, pages: slice, by_pmd: bool = False) -> Routine[None]:
    """Migration entries in `vma` have become mappings of `pages`, which lost the mark when they were frozen.
    Since 5.18 it comes with each mapping by itself; PTEs never lock a part of a huge page."""
    wanted = VM_LOCKED in vma.flags and system.kernel.migration.mlocks
    marked = range(pages.start, pages.stop) if wanted and (by_pmd or not system.frames.is_compound(pages.start)) else ()
    for page in marked:
        yield from mlock_vma_page(system, page)
