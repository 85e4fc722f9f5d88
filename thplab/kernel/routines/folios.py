"""Compound pages of an order between that of a huge page and 0, as a split leaves them (since 6.9)."""

from __future__ import annotations

from thplab.hardware.frames import PG_OF_HEAD, PG_anon_exclusive, PG_head, PG_locked, PG_lru, PG_order, PG_tail, single
from thplab.hardware.steps import Routine, change, phrase
from thplab.kernel.routines.mm import put_page
from thplab.kernel.system import System


def make_folios(system: System, page: int, order: int) -> Routine[None]:
    """Make compound pages of `order` of a larger one that nobody maps or holds, each locked and with one reference."""
    frames = system.frames
    others = folios(frames.compound(page), order)[1:]
    for part in others if system.kernel.split.tail_reference == "last" else others[::-1]:
        head = part.start
        frames.flags[head] |= (frames.flags[page] & ~PG_OF_HEAD) | PG_locked | PG_lru | PG_head
        frames.flags[head] = (frames.flags[head] & ~PG_tail) | frames.order_flag(order)
        frames.flags.clear(part, PG_anon_exclusive)
        frames.first_page[part] = head
        frames.compound_mapcount[head] = frames.large_mapcount[head] = -1
        for column in ("nr_pages_mapped", "pincount", "mm_id_0", "mm_id_mapcount_0", "mm_id_1", "mm_id_mapcount_1"):
            getattr(frames, column)[head] = 0
        frames.refcount[head] = 1
        yield change(
            f"{system.page_name(head)} is the head of a compound page of order {order}, locked: "
            f"{system.refcount_name} = 1",
            "What was known of the huge page is known of each part.",
        )
    frames.flags[page] = (frames.flags[page] & ~PG_order) | frames.order_flag(order)
    frames.refcount[page] = 1
    yield change(f"the head's own compound page is of order {order} now: {system.refcount_name} = 1")


def folios(pages: slice, order: int) -> tuple[slice, ...]:
    """The compound pages of `order` that `pages` consist of."""
    return tuple(slice(first, first + (1 << order)) for first in range(pages.start, pages.stop, 1 << order))


@phrase("unlock the new compound pages and let go of them")
def let_go_of_folios(system: System, pages: slice, order: int) -> Routine[None]:
    """Unlock the compound pages that `pages` were split into and drop the split's references, but for the first one.
    One that nobody maps is freed.
    """
    others = folios(pages, order)[1:]
    for part in others:
        system.frames.flags[part.start] &= ~PG_locked
        yield change(f"{system.page_name(part.start)} unlocked")
        yield from put_page(system, single(part.start))
