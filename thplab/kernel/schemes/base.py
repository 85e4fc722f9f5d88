"""What a refcounting scheme has to say.

A scheme is a class with the methods below; a kernel record names one. The routines call these methods and never look
at the meaning of a counter themselves. Methods that change counters are routines: they yield a step for each word, or
for each part of a compound page (see docs/architecture.md), and the caller holds the locks that the kernel holds there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from thplab.hardware.frames import PageFrames
from thplab.hardware.steps import Routine
from thplab.kernel.address_space import Vma
from thplab.kernel.memory import Memory


def count_text(count: int) -> str:
    """A count as a text: in hexadecimal where a flag is among its bits."""
    return f"{count:#x}" if count >= 1 << 20 else str(count)


class HeadCounter(NamedTuple):
    """A counter that a compound page has once, beside those of its struct pages."""

    name: str
    """As the kernel spells it."""
    column: str
    """Where it is kept: one of thplab.hardware.frames.COLUMNS, on the head."""
    none: int
    """What is stored for a count of nothing: -1 for a map count."""

    def logical(self, raw: int) -> int:
        """The count that a stored value stands for."""
        return raw - self.none

    def text(self, raw: int) -> str:
        """The count of a stored value as a text."""
        return count_text(self.logical(raw))


class Expected(NamedTuple):
    """What the fields of a huge page must be, given who really maps and pins it. Arrays have one entry per subpage."""

    refcount: npt.NDArray[np.int64]
    mapcount: npt.NDArray[np.int64]  # raw, as stored: -1 = none
    head: Mapping[str, int]
    """The counters that only the head has, by their names in thplab.hardware.frames.COLUMNS, as stored."""


class Scheme(Protocol):
    """The meaning of the head's and the tails' counters.

    The methods that count a mapping get the VMA in which it is made or taken away, as the kernel's do.
    """

    name: str
    page_split: str
    """Which of the page splits in thplab/kernel/routines this scheme needs."""
    splits_to_order: bool
    """A page split may leave folios of a lower order instead of single pages."""
    tail_mapcount: str
    """What a tail's `_mapcount` counts while the page is compound: "mappings" or "pins"."""
    pmd_split_is_local: bool
    """True if splitting one process's PMD leaves every other process's page tables alone, and the page whole.

    Where it is False a PMD is split by splitting the page, so a PTE never maps a part of a huge page."""
    batches: bool
    """What is done with PTEs of one compound page is done in a batch:
    all entries, then all counters, one for all where that is possible. Else page by page."""
    split_counts_ptes: str
    """When a PMD split counts the PTEs that it makes, by `add_pte_rmap`:
    "before" it fills the table, or each "beside" its PTE.

    "after": `split_pmd_rmap` does it itself."""

    @property
    def head_counters(self) -> tuple[HeadCounter, ...]:
        """The counters that a compound page has once."""
        ...

    def new_rmap(self, system: Memory, vma: Vma, page: int) -> Routine[None]:
        """Count the first mapping of a fresh page, huge or small,
        that nobody else can see yet (page_add_new_anon_rmap).
        """
        ...

    def dup_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        """Count one more PMD mapping (page_dup_rmap at fork)."""
        ...

    def remove_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        """Count one PMD mapping less (page_remove_rmap)."""
        ...

    def add_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        """Count one more PTE mapping of each page of one compound page, or of small pages that lie together."""
        ...

    def dup_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        """add_pte_rmap at fork, of pages that the parent maps, too: what was its own is so no more (page_dup_rmap)."""
        ...

    def remove_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        """Count one PTE mapping less of each of `pages`."""
        ...

    def split_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        """One PMD mapping of the huge page becomes one PTE mapping of each subpage; see `split_counts_ptes`."""
        ...

    def get_pages(self, system: Memory, pages: slice) -> Routine[None]:
        """Take one reference through each of `pages`, which the caller knows to be in use (get_page)."""
        ...

    def get_pages_foll(self, system: Memory, pages: slice) -> Routine[None]:
        """get_pages by somebody who holds the page table lock under which `pages` are mapped (get_page_foll)."""
        ...

    def try_get_page(self, system: Memory, page: int) -> Routine[bool]:
        """Take a reference through `page`, which may be split or freed at any time;
        returns False if it has none (any more).
        """
        ...

    def get_tail_pins(self, system: Memory, head: int, pages: slice) -> Routine[None]:
        """Note on the tails among `pages`, parts of the huge page at `head`,
        that a reference of it is theirs (get_huge_page_tail).

        The caller has interrupts off or the page table lock, and takes the references of the head itself.
        """
        ...

    def put_pages(self, system: Memory, pages: slice) -> Routine[None]:
        """Drop one reference through each of `pages`; whoever drops the last one frees the page (put_page)."""
        ...

    def page_mapcount(self, frames: PageFrames, page: int) -> int:
        """The logical map count of one page, as the scheme knows it (page_mapcount)."""
        ...

    def page_mapcounts(self, frames: PageFrames, pages: slice) -> int:
        """The sum of page_mapcount over `pages`."""
        ...

    def total_mapcount(self, frames: PageFrames, head: int) -> int:
        """All mappings of a compound page (or of a small one), as the page split compares them with the references."""
        ...

    def maybe_mapped_shared(self, frames: PageFrames, page: int) -> bool:
        """May more than one process map the page, or the compound page that it is part of,
        as far as the counters tell?
        """
        ...

    def pmd_mapped(self, frames: PageFrames, head: int) -> bool | None:
        """Is the page mapped by a PMD at all? None where the counters cannot tell."""
        ...

    def expected(self, pmds: int, ptes: npt.NDArray[np.int64], pins: npt.NDArray[np.int64], flags: int = 0) -> Expected:
        """The fields that a huge page at rest must show, from ground truth.

        `pmds`: PMDs that map it. `ptes`, `pins`: per subpage (shape [nr]), PTEs that map it and pins taken through it.
        `flags`: those of its head, in so far as they tell of its past.
        """
        ...

    def raw_fields(self, head: Mapping[str, int], queued: bool) -> dict[str, int]:
        """The fields of a compound page that only this scheme has, as stored, by their names in tests/truth/README.md.

        `head`: the fields of its head by the names in thplab.hardware.frames.COLUMNS; `queued`:
        it is on the deferred split queue.
        """
        ...
