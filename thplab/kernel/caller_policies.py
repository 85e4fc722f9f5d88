"""How kernels differ in those who call split_huge_page: KSM, khugepaged, memory failure, migration. Data with sources, no logic."""

from __future__ import annotations

from dataclasses import dataclass, replace

from thplab.errors import EBUSY, EIO


@dataclass(frozen=True)
class Callers:
    """What a kernel's callers of split_huge_page do. Routines ask these fields and never the kernel's name."""

    preallocates: bool
    """khugepaged keeps a free huge page ready, counts it in thp_collapse_alloc when it gets it, and gives it back unused."""
    collapse_writable: str
    """How many PTEs of a range must be writable before it is collapsed: "all", "one" or "none"."""
    collapses_shared: bool
    """A collapse takes parts of compound pages, and pages that others map as well (khugepaged: up to half of the range)."""
    collapse_batches: bool
    """A collapse takes the mappings of a compound page away together; else it is partially mapped for a moment."""
    ksm_splits_after: bool
    """KSM splits a huge page that holds both of two equal pages after its merge has failed, so that the next one succeeds."""
    ksm_max_sharing: int
    """How many addresses share one page of KSM's before it makes another; 0: any number."""
    ksm_unshares: bool
    """Breaking a KSM page up gives the process a read-only copy; else it is done by a write fault."""
    hwpoison_size_first: bool
    """madvise goes on behind the page as it was before it was split, so behind the huge page; else behind the one page."""
    hwpoison_answer: str
    """What MADV_HWPOISON answers: "ignored" (always 0), "errno", or "kills" (the caller gets SIGBUS at once)."""
    hwpoison_unsplit: str
    """What stays where the huge page cannot be split: "nothing", "held" (PG_hwpoison, and the caller's reference), "page" (PG_hwpoison),
    or "both" (that, and its head's PG_has_hwpoisoned)."""
    hwpoison_users: bool
    """Whoever else refers to a poisoned page makes memory failure report that it failed."""
    hwpoison_in_rss: bool
    """smaps counts a hwpoison entry as resident memory."""
    soft_offline_keeps: bool
    """The page that was soft offlined is kept with one reference; else it is freed, never to be used again."""
    soft_offline_failed: int
    """The errno (positive) of a soft offline whose migration fails."""
    thp_migration: bool
    """A huge page migrates as one; else it must be split first."""

    @property
    def key(self) -> str:
        """A kernel has one record of these."""
        return "callers"


V3_16 = Callers(
    preallocates=True,  # linux-3.16.jsonl, l_khp_after_mprotect; docs/KERNEL.md 1.6, number 6
    collapse_writable="all",  # linux-3.16.jsonl, l_khp_write_protected
    collapses_shared=False,  # linux-3.16.jsonl, x_khp_shared
    collapse_batches=False,  # linux-6.12.jsonl, x_khp_pte_mapped_pinned
    ksm_splits_after=False,  # docs/KERNEL.md 1.5
    ksm_max_sharing=0,
    ksm_unshares=False,  # linux-3.16.jsonl, l_ksm_pin_same: the copy is writable
    hwpoison_size_first=False,
    hwpoison_answer="ignored",  # tests/truth/README.md part C, "hwpoison page 5"
    hwpoison_unsplit="held",  # docs/KERNEL.md 1.5; a split of a mapped page never fails in v3.16, but does in the RFC
    hwpoison_users=False,
    hwpoison_in_rss=False,  # linux-3.16.jsonl, x_hwpoison_shared
    soft_offline_keeps=False,  # linux-3.16.jsonl, l_soft_offline_pinned_other
    soft_offline_failed=EIO,  # linux-3.16.jsonl, l_soft_offline_pinned_same
    thp_migration=False,  # docs/KERNEL.md 1.5
)

RFC_2014 = V3_16
"""The RFC leaves its base's callers as they are: they cope with a split that fails (docs/KERNEL.md 2.4)."""

V4_5 = replace(
    V3_16,
    collapse_writable="one",  # docs/KERNEL.md 1.6, number 6: so since 4.4
    hwpoison_unsplit="nothing",  # docs/KERNEL.md 3.6
)

V5_10 = replace(
    V4_5,
    preallocates=False,  # linux-5.10.jsonl, x_khp_after_split
    collapses_shared=True,  # linux-5.10.jsonl, x_khp_pte_mapped_pinned
    ksm_splits_after=True,  # tests/truth/README.md part A, surprise 13
    ksm_max_sharing=256,
    hwpoison_size_first=True,
    hwpoison_answer="errno",  # tests/truth/README.md part A, "MADV_HWPOISON page 5"
    hwpoison_unsplit="page",
    hwpoison_users=True,
    soft_offline_keeps=True,  # linux-5.10.jsonl, x_soft_offline_pinned
    thp_migration=True,  # since 4.14: docs/KERNEL.md 3.6
)

V6_1 = replace(
    V5_10,
    hwpoison_unsplit="both",  # tests/truth/README.md part A, "MADV_HWPOISON page 5"
    hwpoison_users=False,
    hwpoison_in_rss=True,  # linux-6.1.jsonl, x_hwpoison_shared
    soft_offline_failed=EBUSY,  # since 5.11
)

V6_12 = replace(
    V6_1,
    ksm_unshares=True,  # since 6.2
    hwpoison_answer="kills",  # linux-6.12.jsonl, x_hwpoison_shared
)

V6_18 = replace(
    V6_12,
    collapse_batches=True,  # linux-6.18.jsonl, collapse_pte_mapped_pinned
    collapse_writable="none",  # since 6.18; tests/truth/README.md part B, "MADV_COLLAPSE": shared pages, which are all read-only
)
