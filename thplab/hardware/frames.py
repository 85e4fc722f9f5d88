"""Physical memory: the struct pages of all page frames (the kernel's memmap), compound pages, allocation.

A *part* is a slice of pfns that lie next to each other: the unit in which routines change counters.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from thplab.errors import BadInput, KernelBug
from thplab.hardware.blocks import Array, Blocks, BlockState, FrameColumn, Held
from thplab.hardware.buddy import Buddy
from thplab.hardware.geometry import Geometry
from thplab.hardware.shared import Shared
from thplab.hardware.steps import Costs

PG_reserved = 1 << 0  # never given back: the zero page
PG_head = 1 << 1  # first page of a compound page
PG_tail = 1 << 2  # any other page of a compound page; first_page names its head
PG_table = 1 << 3  # a page table
PG_anon = 1 << 4  # anonymous memory: mapping and index are set
PG_lru = 1 << 5  # on a list of the page reclaim
PG_used = 1 << 6  # allocated; a frame without it is free
PG_locked = 1 << 7  # its page lock is held; that of first_page by what was a tail of it, until the split is over
PG_double_map = 1 << 8  # on a head: every subpage's _mapcount is one higher than its PTE mappings (v4.5 to v6.1)
PG_anon_exclusive = (
    1 << 9
)  # one process has it for itself: on the head for a PMD mapping, on a subpage for a PTE (v6.1 on)
PG_partially_mapped = 1 << 10  # on a head: a subpage has lost its last mapping while others have one (v6.12 on)
PG_dirty = 1 << 11  # written to since it was last clean, as far as the page itself knows
PG_swapbacked = 1 << 12  # reclaim has to keep the contents; MADV_FREE takes the flag away
PG_maybe_shared = 1 << 13  # on a head: more than one mm may map it (v6.18, in _mm_ids)
PG_swapcache = 1 << 14  # on a small page or a head: in the swap cache, which holds a reference for each of its pages
PG_lazyfree_batch = 1 << 15  # waits in a CPU's batch to lose PG_swapbacked
PG_mlocked = 1 << 16  # on a small page or a head: locked in memory, reclaim leaves it alone
PG_hwpoison = 1 << 20  # the memory behind it is bad: nobody gets it any more
PG_has_hwpoisoned = 1 << 21  # on a head: a subpage has PG_hwpoison (v6.1 on)
PG_ksm = 1 << 22  # one page of KSM's for all who had the same contents; nobody writes to it
PG_lost = 1 << 24  # of a block in which the allocator found a bad frame: nobody gets it (v5.10, v6.1)
PG_ORDER_SHIFT = 32
PG_order = 0xFF << PG_ORDER_SHIFT  # on a head: its order (_flags_1 of a folio), 0 for that of a huge page
PG_referenced = 1 << 23  # a driver was given the page: khugepaged takes it for one that is in use

PG_OF_HEAD = (
    PG_head
    | PG_locked
    | PG_double_map
    | PG_anon_exclusive
    | PG_partially_mapped
    | PG_maybe_shared
    | PG_hwpoison
    | PG_has_hwpoisoned
    | PG_order
)
"""Flags of a head that say something of it alone, or of the compound page:
a page split does not hand them to the tails.
"""

FLAG_NAMES = {
    PG_reserved: "reserved",
    PG_head: "head",
    PG_tail: "tail",
    PG_table: "table",
    PG_double_map: "double_map",
    PG_anon_exclusive: "anon_exclusive",
    PG_partially_mapped: "partially_mapped",
    PG_maybe_shared: "maybe_shared",
    PG_swapcache: "swapcache",
    PG_hwpoison: "hwpoison",
    PG_has_hwpoisoned: "has_hwpoisoned",
    PG_ksm: "ksm",
    PG_anon: "anon",
    PG_mlocked: "mlocked",
    PG_lru: "lru",
    PG_locked: "locked",
}
"""The flags that pictures name, the most telling ones first: what does not fit is left out from the end."""

MOST_FRAMES = 1 << 28
"""1 TiB."""

JUNK = -0x5A5A
"""Content of a free frame, and links of a freed one: a stale user of it shows."""

COLUMNS = (
    "refcount", "mapcount", "flags", "first_page", "mapping", "index", "content", "mlock_count",
    "compound_mapcount", "large_mapcount", "nr_pages_mapped", "pincount",
    "mm_id_0", "mm_id_mapcount_0", "mm_id_1", "mm_id_mapcount_1",
)  # fmt: skip
TYPES = tuple(np.dtype(np.int64 if name in ("flags", "index", "content") else np.int32) for name in COLUMNS)
"""Of the fields, where each frame has its own value. A pfn fits into 32 bits."""
_REFCOUNT, _FLAGS, _FIRST_PAGE = (COLUMNS.index(name) for name in ("refcount", "flags", "first_page"))
_FRESH = {
    COLUMNS.index(name): value
    for name, value in dict(
        refcount=0, mapcount=-1, compound_mapcount=-1, large_mapcount=-1, mapping=0, index=0, nr_pages_mapped=0,
        pincount=0, mm_id_0=0, mm_id_mapcount_0=0, mm_id_1=0, mm_id_mapcount_1=0, mlock_count=0,
    ).items()
}  # fmt: skip
"""What each frame of an allocation has in the fields in which all have the same; not the content."""
_LAST = (_REFCOUNT, _FLAGS)
"""What a free frame may still have: a count that a stale user changes, and PG_hwpoison."""
_FREED = {COLUMNS.index(name): value for name, value in dict(flags=0, mapping=JUNK, content=JUNK).items()}


GUP_PIN_COUNTING_BIAS = 1024
"""What one FOLL_PIN pin adds to the reference count of a small page, which has no count of its own for pins."""


def single(pfn: int) -> slice:
    """The part that is one page."""
    return slice(pfn, pfn + 1)


def _which(held: Held, flag: int, nr: int) -> Iterable[int]:
    """The frames of a block whose flags, as they are held, have `flag`."""
    if type(held) is tuple:
        return range(not held[0] & flag, nr if held[1] & flag else 1)
    found: list[int] = (np.asarray(held[:]) & flag).nonzero()[0].tolist()
    return found


def width(part: slice) -> int:
    """Number of pages in a part."""
    length: int = part.stop - part.start
    return length


class PageFrames:
    """All page frames of the machine, one column per field of struct page (index: pfn).

    refcount    `_count` / `_refcount`; 0 = nobody. Only the head's of a compound page is used. mapcount    the raw
    field `_mapcount`: -1 = no mapping. What it counts is the scheme's business. flags       PG_* bits first_page  pfn
    of the head, on tails mapping     number of the anon_vma, 0 = none index       page offset at which the VMAs of that
    anon_vma map the page content     the first 8 bytes as a number (little-endian), which stand for all: pages with
    equal ones are equal; 0 = zero-filled mlock_count how many mappings have locked it in memory, since 5.18 and
    while it is on the LRU

    On a head only (the kernel keeps these in the struct pages of the first tails): compound_mapcount  from v4.5 on: the
    raw count of PMD mappings, -1 = none; `_entire_mapcount` of a folio large_mapcount     of a folio: the raw count of
    all mappings, -1 = none nr_pages_mapped    of a folio: how many subpages PTEs map, and a high bit while a PMD maps
    it pincount           from v5.10 on: how many of the references are FOLL_PIN pins mm_id_0, mm_id_mapcount_0,
    mm_id_1, mm_id_mapcount_1  of a folio, v6.18: two mms (0 = none) and how many mappings are theirs
    """

    refcount: FrameColumn
    mapcount: FrameColumn
    flags: FrameColumn
    first_page: FrameColumn
    mapping: FrameColumn
    index: FrameColumn
    content: FrameColumn
    mlock_count: FrameColumn
    compound_mapcount: FrameColumn
    large_mapcount: FrameColumn
    nr_pages_mapped: FrameColumn
    pincount: FrameColumn
    mm_id_0: FrameColumn
    mm_id_mapcount_0: FrameColumn
    mm_id_1: FrameColumn
    mm_id_mapcount_1: FrameColumn

    def __init__(self, geometry: Geometry, nframes: int, costs: Costs) -> None:
        if not 2 * geometry.nr <= nframes <= MOST_FRAMES or nframes % geometry.nr:
            right = f"a multiple of {geometry.nr} frames, at least {2 * geometry.nr} and at most {MOST_FRAMES:,}"
            raise BadInput("memory", f"is {nframes} frames", right)
        self.geometry = geometry
        self.costs = costs
        self.blocks = Blocks(geometry.order, TYPES, [JUNK if name == "content" else 0 for name in COLUMNS], _LAST)
        for row, name in enumerate(COLUMNS):
            setattr(self, name, FrameColumn(self.blocks, row, nframes))
        self.buddy = Buddy(nframes, geometry.order)
        self.bad: set[int] = set()
        """The blocks in which a free frame is bad."""
        self.checks_new = False
        """The allocator looks for bad frames in a block before it hands it out."""
        self.zero_page = self._reserve()

    def _reserve(self) -> int:
        pfn = self.alloc_pages(0)
        assert pfn is not None, "memory of at least two blocks always has a first frame"
        self.flags[pfn] |= PG_reserved
        self.content[pfn] = 0
        return pfn

    # --- allocation -------------------------------------------------------------------------------------------------

    def alloc_pages(self, order: int) -> int | None:
        """`1 << order` frames with a refcount of 1 on the first; a compound page if order > 0. None when out of memory.

        Contents are what was there before: whoever maps the page clears or copies it first. A block with a bad frame is
        handed out as it is, or, where new pages are checked, is lost.
        """
        pfn = self._alloc_checked(order)
        if pfn is None:
            return None
        number, low = pfn >> self.geometry.order, pfn & (self.geometry.nr - 1)
        high = low + (1 << order)
        blocks, flags = self.blocks, PG_used | PG_tail if order else PG_used
        blocks.fill(number, low, high, _FRESH)
        blocks.store(number, _FIRST_PAGE, low, high, pfn)
        if number in self.bad:
            self.flags[pfn : pfn + (1 << order)] = self.flags[pfn : pfn + (1 << order)] & PG_hwpoison | flags
        else:
            blocks.store(number, _FLAGS, low, high, flags)
        blocks.store(number, _REFCOUNT, low, low + 1, 1)
        if order:
            self.flags[pfn] = self.flags[pfn] ^ (PG_tail | PG_head) | self.order_flag(order)
        blocks.block[number].in_use += 1 << order
        return pfn

    def _alloc_checked(self, order: int) -> int | None:
        while (pfn := self.buddy.alloc(order)) is not None:
            part = slice(pfn, pfn + (1 << order))
            number = pfn >> self.geometry.order
            if not self.checks_new or number not in self.bad or not self.flags[part].any():
                return pfn
            self.flags[part] |= PG_used | PG_lost
            self.mapcount[part] = -1
            self.blocks.block[number].in_use += 1 << order
        return None

    def free_pages(self, pfn: int, order: int) -> None:
        """Give back what alloc_pages returned, or one page of a compound page that was split. Fills it with junk.

        A bad page stays out for ever; bad frames of a larger block come back with it, and stay marked. KernelBug if
        somebody still has a reference ("bad page").
        """
        part = slice(pfn, pfn + (1 << order))
        if self.refcount.any(part):
            raise KernelBug(f"pfn {pfn:#x} is freed with reference count {self.refcount[pfn]}")
        if not order and self.flags[pfn] & PG_hwpoison:
            self.flags[pfn] = PG_used | PG_hwpoison
            return
        self._freed(pfn, 1 << order)
        self.buddy.free(pfn, order)

    def _freed(self, first: int, count: int) -> None:
        number, low = first >> self.geometry.order, first & (self.geometry.nr - 1)
        part = slice(first, first + count)
        bad = self.flags[part] & PG_hwpoison if self.flags.any(part, PG_hwpoison) else None
        self.blocks.fill(number, low, low + count, _FREED)
        if bad is not None:
            self.bad.add(number)
            self.flags[part] = bad
        block = self.blocks.block[number]
        block.in_use -= count
        if not block.in_use and not self.blocks.lasts(block):
            self.blocks.drop(number)

    @property
    def end(self) -> int:
        """No frame from here on was ever allocated: the lowest free ones are taken first."""
        return self.buddy.fresh

    def marked(self, flag: int) -> tuple[int, ...]:
        """The frames that have a flag, in address order. No free frame may have it."""
        return tuple(
            (number << self.geometry.order) + inside
            for number, block in sorted(self.blocks.block.items())
            for inside in _which(block.columns[_FLAGS], flag, self.geometry.nr)
        )

    def restore(self, kept: Shared[BlockState], zero_page: int) -> None:
        """Be as these blocks are."""
        self.blocks.restore(kept)
        self.zero_page = zero_page
        used = {}
        for number, block in self.blocks.block.items():
            flags = self.blocks.spread(block.columns[_FLAGS])
            used[number] = flags & PG_used != 0
            block.in_use = int(np.count_nonzero(used[number]))
            if (flags & (PG_used | PG_hwpoison) == PG_hwpoison).any():
                self.bad.add(number)
        self.buddy = Buddy.with_used(len(self.refcount), used, self.geometry.order)

    def runs_in_blocks(self, pages: Array) -> tuple[tuple[int, int], ...]:
        """Ascending pfns as (first, count) of those that lie one behind the other in the same block."""
        if not len(pages):
            return ()
        cut = ((pages[1:] - pages[:-1] != 1) | (pages[1:] % self.geometry.nr == 0)).nonzero()[0] + 1
        return tuple((int(pages[low]), high - low) for low, high in itertools.pairwise((0, *cut.tolist(), len(pages))))

    def free_small_pages(self, first: int, count: int) -> None:
        """The same for `count` single pages that lie one behind the other in one block."""
        part = slice(first, first + count)
        if self.refcount.any(part) or not (self.flags[part] & PG_used).all():
            raise KernelBug(f"a page from pfn {first:#x} on is freed with a reference, or twice")
        if np.count_nonzero(self.flags[part] & PG_hwpoison):
            for pfn in range(first, first + count):
                self.free_pages(pfn, 0)
            return
        self._freed(first, count)
        self.buddy.free_run(first, count)

    # --- compound pages ---------------------------------------------------------------------------------------------

    def is_compound(self, page: int) -> bool:
        """PageCompound: head or tail."""
        return bool(self.flags[page] & (PG_head | PG_tail))

    def is_tail(self, page: int) -> bool:
        """PageTail."""
        return bool(self.flags[page] & PG_tail)

    def compound_head(self, page: int) -> int:
        """The head of the compound page that `page` is part of; `page` itself if it is not a tail."""
        return self.first_page[page] if self.flags[page] & PG_tail else page

    def compound(self, head: int) -> slice:
        """All pages of the compound page with this head; one page if it is not compound."""
        return slice(head, head + (1 << self.order(head)))

    def order(self, head: int) -> int:
        """compound_order: how large a page is, named by its head; 0 for a small page."""
        flags = int(self.flags[head])
        return (flags & PG_order) >> PG_ORDER_SHIFT or self.geometry.order if flags & PG_head else 0

    def order_flag(self, order: int) -> int:
        """The bits of PG_order on the head of a compound page of that order."""
        return order << PG_ORDER_SHIFT if order != self.geometry.order else 0

    def is_huge(self, head: int) -> bool:
        """Is it a compound page that a PMD can map (folio_test_pmd_mappable)?"""
        return bool(self.flags[head] & (PG_head | PG_order) == PG_head)

    def tails(self, head: int) -> slice:
        """The tail pages of the compound page with this head."""
        return slice(head + 1, self.compound(head).stop)

    def page_count(self, page: int) -> int:
        """The reference count that counts for `page`: its head's."""
        return self.refcount[self.compound_head(page)]

    # --- atomic operations: each counts its read-modify-writes --------------------------------------------------------

    def ref_add(self, part: slice, n: int | Array) -> None:
        """refcount += n on each page of `part`: one read-modify-write each."""
        self.refcount.add(part, n)
        self.costs.rmw += width(part)

    def ref_one_by_one(self, page: int, n: int) -> None:
        """n references of one page taken (or, negative, dropped) one at a time: as many read-modify-writes."""
        self.refcount[page] += n
        self.costs.rmw += abs(n)

    def ref_inc_not_zero(self, page: int, n: int = 1) -> bool:
        """get_page_unless_zero: take n references at once unless there is none; False for a tail or a free page."""
        self.costs.rmw += 1
        if self.refcount[page] == 0:
            return False
        self.refcount[page] += n
        return True

    def ref_freeze(self, page: int, count: int) -> bool:
        """page_ref_freeze: if the reference count is `count`, set it to 0 in the same step,
        so that nobody can take one; else False.
        """
        self.costs.rmw += 1
        if self.refcount[page] != count:
            return False
        self.refcount[page] = 0
        return True

    def compound_map_add(self, head: int, n: int) -> None:
        """compound_mapcount += n: one read-modify-write."""
        self.compound_mapcount[head] += n
        self.costs.rmw += 1

    def nr_pages_mapped_add(self, head: int, n: int) -> None:
        """_nr_pages_mapped += n: one read-modify-write."""
        self.nr_pages_mapped[head] += n
        self.costs.rmw += 1

    def pincount_add(self, head: int, n: int) -> None:
        """_pincount += n: one read-modify-write."""
        self.pincount[head] += n
        self.costs.rmw += 1

    def maybe_dma_pinned(self, page: int) -> bool:
        """page_maybe_dma_pinned: may somebody hold a FOLL_PIN pin on the page,
        or on the compound page that it is part of?
        """
        head = self.compound_head(page)
        return bool(self.pincount[head] > 0 if self.is_compound(page) else self.refcount[page] >= GUP_PIN_COUNTING_BIAS)

    def map_add(self, part: slice, n: int) -> None:
        """_mapcount += n on each page of `part`: one read-modify-write each."""
        self.mapcount.add(part, n)
        self.costs.rmw += width(part)
