"""The named kernels: a scheme, and the few policies in which kernels differ. Data with sources, no logic."""

from __future__ import annotations

from dataclasses import dataclass

from thplab.errors import EBUSY, BadInput
from thplab.schemes import DoubleMap, Rfc, Scheme

_EVENTS = (
    "thp_fault_alloc",
    "thp_fault_fallback",
    "thp_split_page",
    "thp_split_page_failed",
    "thp_split_pmd",
    "thp_zero_page_alloc",
)


_ADVICES = frozenset({"dontneed", "hugepage", "nohugepage", "mergeable", "unmergeable", "dontfork", "soft_offline", "hwpoison"})


@dataclass(frozen=True)
class Kernel:
    """One kernel. Routines ask these fields and never the name."""

    name: str
    scheme: Scheme
    refcount_name: str
    """What struct page calls the reference count: `_count` until 4.5, `_refcount` since."""
    split_refused: int
    """The errno (positive) that a page split returns when the page is pinned."""
    source: str
    """Where the record was read."""
    advices: frozenset[str]
    """What madvise knows; anything else is -EINVAL. Not all of it is built."""
    foll_pin: bool
    """io_uring exists and takes FOLL_PIN references."""
    free_needs_swap: bool
    """MADV_FREE is MADV_DONTNEED while there is no swap."""
    events: tuple[str, ...]
    """The THP events of its /proc/vmstat."""
    pmd_split_keeps_dirty: bool
    """The PTEs that a PMD split makes are dirty if the PMD was; else the page is marked dirty instead."""
    unfreeze_marks_dirty: bool
    """PTEs that come back after a page was frozen for a split are dirty."""
    queues_unmapped: bool
    """A huge page that lost its last mapping but is pinned goes on the deferred split queue."""
    huge_zero_in_rss: bool
    """smaps counts a PMD over the huge zero page as resident memory."""


RFC_2014 = Kernel(
    name="rfc-2014",
    scheme=Rfc(),
    refcount_name="_count",
    split_refused=EBUSY,  # docs/KERNEL.md 2.2, "split_huge_page, pinned"
    advices=_ADVICES,  # as 3.16: tests/truth/README.md part C, limits
    foll_pin=False,
    free_needs_swap=False,  # there is no MADV_FREE
    source="docs/KERNEL.md section 2; mails 1402329861-7037-N-git-send-email-kirill.shutemov of 9 June 2014",
    events=_EVENTS,  # patch 05 splits thp_split into three
    pmd_split_keeps_dirty=True,  # docs/KERNEL.md 2.6, step 4
    unfreeze_marks_dirty=False,  # the RFC does not freeze; its v2 patch 18 is not on record in detail
    queues_unmapped=False,  # there is no queue
    huge_zero_in_rss=True,  # as its base: docs/KERNEL.md 1.6, number 13
)

V4_5 = Kernel(
    name="v4.5",
    scheme=DoubleMap(),
    refcount_name="_count",  # renamed in 4.6
    split_refused=EBUSY,  # tests/truth/README.md part A, "split, 1 extra ref"
    advices=_ADVICES | {"free"},  # MADV_FREE came with 4.5; the rest of tests/truth/README.md part A, limits
    foll_pin=False,  # linux-4.5.jsonl, x_uring_1_munmap
    free_needs_swap=True,  # linux-4.5.jsonl, free_part_shared
    source="docs/KERNEL.md section 3; tests/truth/linux-4.5.jsonl",
    events=_EVENTS,  # thp_deferred_split_page came with 4.6
    pmd_split_keeps_dirty=False,  # linux-4.5.jsonl, mprotect_1_r
    unfreeze_marks_dirty=True,  # linux-4.5.jsonl, x_split_unpinned
    queues_unmapped=True,  # linux-4.5.jsonl, pin_munmap_whole_unpin; part A, surprise 5
    huge_zero_in_rss=False,  # docs/KERNEL.md 1.6, number 13
)

KERNELS = {k.name: k for k in (RFC_2014, V4_5)}
DEFAULT = RFC_2014.name


def kernel(name: str) -> Kernel:
    """The kernel record of that name. Raises BadInput for an unknown one."""
    try:
        return KERNELS[name]
    except KeyError:
        raise BadInput("kernel", f"{name!r} is unknown", "one of " + ", ".join(KERNELS)) from None
