"""Scheme `rfc`: the THP refcounting redesign as posted in June 2014 (docs/KERNEL.md, section 2).

One field counts two things on the head: `_mapcount` of the head is the number of PMDs that map the huge page plus the
number of PTEs that map its first 4 KiB. A tail's `_mapcount` is the number of PTEs that map that tail. All references
are on the head, so nobody knows which tail a pin belongs to.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from thplab.hardware.frames import PageFrames
from thplab.hardware.steps import Routine, change, read
from thplab.kernel.address_space import Vma
from thplab.kernel.memory import Memory
from thplab.kernel.pages import free_page, put_small_pages
from thplab.kernel.schemes.base import Expected
from thplab.kernel.schemes.head_mapcount import HeadMapcount


class Rfc(HeadMapcount):
    """H = M + m_0, t_i = m_i, C = M + S + pins, c_i = 0 (docs/KERNEL.md 2.1)."""

    name = "rfc"
    page_split = "compound_lock"
    tail_mapcount = "mappings"
    pmd_split_is_local = True

    # --- mappings ---------------------------------------------------------------------------------------------------

    def split_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        # The head's count stays: its PMD mapping turns into a PTE mapping of its own first 4 KiB.
        parts = system.each(system.frames.tails(head))
        for part in parts:
            system.frames.map_add(part, 1)
            yield change(
                f"{system.pages_text(part)} _mapcount += 1",
                "Each tail is now mapped by a PTE. The head's count stays: its PMD mapping becomes the PTE mapping "
                "of page 0.",
            )

    # --- references -------------------------------------------------------------------------------------------------

    def get_pages(self, system: Memory, pages: slice) -> Routine[None]:
        frames = system.frames
        if not frames.is_tail(pages.stop - 1):
            yield read("not a tail: its own count is the one")
            parts = system.each(pages)
            for part in parts:
                frames.ref_add(part, 1)
                yield change(f"{system.pages_text(part)} _count += 1")
            return
        head = frames.compound_head(pages.stop - 1)
        yield read(f"a tail: its head is {system.page_name(head)}", "A tail's own count is always 0.")
        parts = system.each(pages)
        for part in parts:
            yield from self._get_tails(system, part, head)

    def _get_tails(self, system: Memory, part: slice, head: int) -> Routine[None]:
        frames = system.frames
        count = part.stop - part.start
        if count == 1 and part.start == head:
            frames.ref_add(part, 1)
            yield change("head _count += 1")
            return
        tails = count - (part.start == head)
        lock = system.compound_lock(head)
        yield from system.cpus.bit_lock_irqsave(lock, tails, "The page must not be split while the reference is taken.")
        if frames.is_tail(part.stop - 1):
            frames.ref_one_by_one(head, count)
            yield change(
                f"head _count += {count}", "The reference goes to the head. Nobody notes which tail it was for."
            )
        else:
            frames.ref_add(part, 1)
            yield change(f"{system.pages_text(part)} _count += 1", "The split won: the page is an ordinary one by now.")
        yield from system.cpus.bit_unlock_irqrestore(lock, tails)

    def get_pages_foll(self, system: Memory, pages: slice) -> Routine[None]:
        yield from self.get_pages(system, pages)

    def get_tail_pins(self, system: Memory, head: int, pages: slice) -> Routine[None]:
        yield from ()  # nobody notes which tail a reference is for

    def put_pages(self, system: Memory, pages: slice) -> Routine[None]:
        frames = system.frames
        if not frames.is_compound(pages.stop - 1):
            yield read("not compound: its own count is the one")
            yield from put_small_pages(system, pages)
            return
        head = frames.compound_head(pages.stop - 1)
        yield read(f"part of a compound page: its head is {system.page_name(head)}")
        parts = system.each(pages)
        for part in parts:
            yield from self._put_compound(system, part, head)

    def _put_compound(self, system: Memory, part: slice, head: int) -> Routine[None]:
        frames = system.frames
        count = part.stop - part.start
        tails = count - (part.start == head)
        if not tails:
            frames.ref_one_by_one(head, -1)
            last = bool(frames.refcount[head] == 0)
            yield change("head _count -= 1")
            if last:
                yield from free_page(system, head)
            return
        lock = system.compound_lock(head)
        yield from system.cpus.bit_lock_irqsave(
            lock, tails, "The page must not be split while the reference is dropped."
        )
        still_tail = frames.is_tail(part.stop - 1)
        if still_tail:
            frames.ref_one_by_one(head, -count)
            last = bool(frames.refcount[head] == 0)
            yield change(f"head _count -= {count}", "The references of the tails are all on the head.")
        yield from system.cpus.bit_unlock_irqrestore(lock, tails)
        if not still_tail:
            yield from put_small_pages(system, part)
        elif last:
            yield from free_page(system, head)

    # --- questions --------------------------------------------------------------------------------------------------

    def total_mapcount(self, frames: PageFrames, head: int) -> int:
        return self.page_mapcounts(frames, frames.compound(head))

    def pmd_mapped(self, frames: PageFrames, head: int) -> bool | None:
        return None  # the cover letter says so: there is no cheap way to tell

    def expected(self, pmds: int, ptes: npt.NDArray[np.int64], pins: npt.NDArray[np.int64], flags: int = 0) -> Expected:
        refcount = np.zeros(len(ptes), np.int64)
        refcount[0] = pmds + ptes.sum() + pins.sum()
        mapcount = ptes - 1
        mapcount[0] += pmds
        return Expected(refcount, mapcount, {})
