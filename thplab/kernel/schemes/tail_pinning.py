"""Scheme `tail_pinning`: how THP counted from 2.6.38 to 4.4, the world that the RFC starts from (docs/KERNEL.md,
section 1).

A huge page is mapped by PMDs only, so its tails' `_mapcount` fields are free for another use: each counts the pins
taken through that tail. A page split reads them and gives every page exactly the pins that are its own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from thplab.errors import KernelBug
from thplab.hardware.frames import PageFrames, single, width
from thplab.hardware.steps import Routine, change, read, routine
from thplab.kernel.address_space import Vma
from thplab.kernel.memory import Memory
from thplab.kernel.pages import free_page, get_page_unless_zero, put_small_pages
from thplab.kernel.schemes.base import Expected
from thplab.kernel.schemes.head_mapcount import HeadMapcount


class TailPinning(HeadMapcount):
    """H = M, t_i = P_i, C = M + all pins, c_i = 0; never mapped by PTEs (docs/KERNEL.md 1.1)."""

    name = "tail_pinning"
    page_split = "tails"
    tail_mapcount = "pins"
    pmd_split_is_local = False

    # --- mappings ---------------------------------------------------------------------------------------------------

    def split_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        raise KernelBug(f"a PMD over {system.page_name(head)} is split, but not the page")

    # --- references -------------------------------------------------------------------------------------------------

    def get_pages(self, system: Memory, pages: slice) -> Routine[None]:
        parts = system.each(pages)
        for part in parts:
            small = not system.frames.is_tail(part.stop - 1)
            if small or part.start == system.frames.compound_head(part.stop - 1):
                first = part if small else single(part.start)
                system.frames.ref_add(first, 1)
                yield change(f"{system.pages_text(first)} {system.refcount_name} += 1")
                part = slice(first.stop, part.stop)
            got = not width(part) or (yield from get_tails(system, part))
            if not got:
                system.frames.ref_add(part, 1)
                yield change(
                    f"{system.pages_text(part)} {system.refcount_name} += 1",
                    "The split won: the page is an ordinary one by now.",
                )

    def try_get_page(self, system: Memory, page: int) -> Routine[bool]:
        if system.frames.is_tail(page):
            return (yield from get_tails(system, single(page)))
        return (yield from get_page_unless_zero(system, page))

    def get_pages_foll(self, system: Memory, pages: slice) -> Routine[None]:
        frames = system.frames
        parts = system.each(pages)
        for part in parts:
            if not frames.is_tail(part.stop - 1):
                frames.ref_add(part, 1)
                yield change(f"{system.pages_text(part)} {system.refcount_name} += 1")
                continue
            head = frames.compound_head(part.stop - 1)
            frames.ref_one_by_one(head, width(part))
            yield change(f"head {system.refcount_name} += {width(part)}", "The page table lock keeps the split out.")
            yield from self.get_tail_pins(system, head, part)

    def get_tail_pins(self, system: Memory, head: int, pages: slice) -> Routine[None]:
        parts = system.each(slice(max(pages.start, head + 1), pages.stop))
        for part in parts:
            system.frames.map_add(part, 1)
            yield change(
                f"{system.pages_text(part)} _mapcount += 1: a pin",
                "The tail itself remembers that the reference is for it.",
            )

    def put_pages(self, system: Memory, pages: slice) -> Routine[None]:
        frames = system.frames
        if not frames.is_compound(pages.stop - 1):
            yield read("not compound: its own count is the one")
            yield from put_small_pages(system, pages)
            return
        parts = system.each(pages)
        for part in parts:
            head = frames.compound_head(part.stop - 1)
            tails = slice(max(part.start, head + 1), part.stop)
            if width(tails) > 0:
                yield from put_tails(system, tails, head)
            if part.start == head:
                yield from _put_head(system, head, 1)

    # --- questions --------------------------------------------------------------------------------------------------

    def total_mapcount(self, frames: PageFrames, head: int) -> int:
        return self.page_mapcount(frames, head)

    def pmd_mapped(self, frames: PageFrames, head: int) -> bool | None:
        return bool(frames.mapcount[head] >= 0)

    def expected(self, pmds: int, ptes: npt.NDArray[np.int64], pins: npt.NDArray[np.int64], flags: int = 0) -> Expected:
        refcount = np.zeros(len(pins), np.int64)
        refcount[0] = pmds + pins.sum()
        mapcount = pins - 1
        mapcount[0] = pmds - 1
        return Expected(refcount, mapcount, {})


@routine
def get_tails(system: Memory, part: slice) -> Routine[bool]:
    """Take a reference through each of these tails;
    returns False, with nothing taken, if they are tails no more (__get_page_tail).
    """
    frames, count = system.frames, width(part)
    head = frames.compound_head(part.start)
    yield read(f"a tail: its head is {system.page_name(head)}", "A tail's own count is always 0.")
    if not _guard(system, head, count):
        yield read("get_page_unless_zero: no, the head is free", "So the page was split, or freed.")
        return False
    yield change(
        f"head {system.refcount_name} += {count}",
        "The head is held first: it may be freed at any time once the page is split.",
    )
    lock = system.compound_lock(head)
    yield from system.cpus.bit_lock_irqsave(lock, count, "The page must not be split while the tail is counted.")
    still_tail = frames.is_tail(part.start)
    yield read("is it still a tail? " + ("yes" if still_tail else "no"))
    if still_tail:
        frames.map_add(part, 1)
        yield change(
            f"{system.pages_text(part)} _mapcount += 1: a pin",
            "The tail itself remembers that the reference is for it.",
        )
    yield from system.cpus.bit_unlock_irqrestore(lock, count)
    if not still_tail:
        yield from _put_head(system, head, count)
    return still_tail


@routine
def put_tails(system: Memory, part: slice, head: int) -> Routine[None]:
    """put_page of tails of the compound page that had this `head` when the caller looked (put_compound_page).

    The head is held first: the page may be split at any time, and the old head freed. Then compound_lock keeps the
    split out, and only if the pages still are tails are both counters lowered.
    """
    yield read(
        f"a tail: its head is {system.page_name(head)}", "From here on this may be out of date: the page may be split."
    )
    if not _guard(system, head, width(part)):
        yield read("get_page_unless_zero: no, the head is free", "So the page was split: it has a count of its own.")
        yield from put_small_pages(system, part)
        return
    yield change(
        f"head {system.refcount_name} += {width(part)}: a guard",
        "Nobody can free the head now, whatever becomes of the page.",
    )
    lock = system.compound_lock(head)
    yield from system.cpus.bit_lock_irqsave(
        lock, width(part), "The page must not be split while both counters are lowered."
    )
    still_tail = system.frames.is_tail(part.start)
    yield read("is it still a tail? " + ("yes" if still_tail else "no"))
    if still_tail:
        yield from _unpin_tails(system, part, head)
    yield from system.cpus.bit_unlock_irqrestore(lock, width(part))
    yield from _put_head(system, head, width(part))
    if not still_tail:
        yield from put_small_pages(system, part)


def _guard(system: Memory, head: int, count: int) -> bool:
    """Hold `head` `count` times, unless it has no reference (get_page_unless_zero)."""
    held = system.frames.ref_inc_not_zero(head)
    if held:
        system.frames.ref_one_by_one(head, count - 1)
    return held


def _unpin_tails(system: Memory, part: slice, head: int) -> Routine[None]:
    """Lower both counters of tails by one, under a guard reference for each and, if all is right, compound_lock."""
    system.frames.ref_one_by_one(head, -width(part))
    yield change(
        f"head {system.refcount_name} -= {width(part)}: the guard goes",
        "The lock keeps the page as it is from here on.",
    )
    system.frames.map_add(part, -1)
    yield change(f"{system.pages_text(part)} _mapcount -= 1: a pin less")


def _put_head(system: Memory, head: int, count: int) -> Routine[None]:
    """Drop references of a head, or of the small page that it was; whoever drops the last one frees the page."""
    system.frames.ref_one_by_one(head, -count)
    last = bool(system.frames.refcount[head] == 0)
    yield change(f"{system.pages_text(single(head))} {system.refcount_name} -= {count}")
    if last:
        yield from free_page(system, head)


# --- mutants ----------------------------------------------------------------------------------------------------------


def puts_a_tail_without_the_lock(system: Memory, part: slice, head: int) -> Routine[None]:
    """put_tails that looks whether the pages are tails without keeping the split out (docs/KERNEL.md 6.3)."""
    yield read(f"a tail: its head is {system.page_name(head)}")
    held = _guard(system, head, width(part))
    yield (
        change(f"head {system.refcount_name} += {width(part)}: a guard")
        if held
        else read("get_page_unless_zero: no, the head is free")
    )
    still_tail = held and system.frames.is_tail(part.start)
    yield read("is it still a tail? " + ("yes" if still_tail else "no"))
    if still_tail:
        yield from _unpin_tails(system, part, head)
    if held:
        yield from _put_head(system, head, width(part))
    if not still_tail:
        yield from put_small_pages(system, part)
