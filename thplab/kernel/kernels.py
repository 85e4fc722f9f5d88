"""The named kernels: a scheme, and the policies. Data with sources, no logic. A record says what has changed since the one before it."""

from __future__ import annotations

from thplab.errors import EAGAIN, EBUSY, EIO, BadInput
from thplab.kernel.policies import Kernel
from thplab.kernel.schemes import DoubleMap, Folio, Rfc, TailPinning

_EVENTS = (
    "thp_fault_alloc",
    "thp_fault_fallback",
    "thp_collapse_alloc",
    "thp_collapse_alloc_failed",
    "thp_split_page",
    "thp_split_page_failed",
    "thp_split_pmd",
    "thp_zero_page_alloc",
)
_ADVICES = frozenset({"dontneed", "hugepage", "nohugepage", "mergeable", "unmergeable", "dontfork", "soft_offline", "hwpoison"})

V3_16 = Kernel.of(
    {
        "split.refused": 1,  # docs/KERNEL.md 1.6, number 3: no errno, and only for a page that nobody maps
        "split.pmd_keeps_dirty": None,
        "split.marks_dirty": None,
        "split.freezes_refcount": None,
        "split.frees_zero_pages": None,
        "split.drops_pmd_whole": None,
        "split.debugfs": "",  # linux-3.16.jsonl, x_split_debugfs_unpinned
        "migration.keeps_young": None,
        "migration.whole": False,  # docs/KERNEL.md 1.5
        "gup.foll_pin": False,  # linux-3.16.jsonl, x_uring_1_munmap
        "gup.coalesces": None,
        "cow.zero_splits_pmd": False,
        "cow.zero_ignores_advice": None,  # no recording asks
        "cow.mm_ids": None,
        "cow.splits_pmd": False,  # linux-3.16.jsonl, l_cow_pin_parent_writes; docs/KERNEL.md 1.2
        "cow.huge_asks_mapcount": True,  # linux-3.16.jsonl, l_reuse_ignores_pins
        "cow.pte_asks_mapcount": True,  # tests/truth/README.md part C, "COW after the split"
        "cow.anon_exclusive": False,
        "mm.mprotect_makes_writable": None,
        "mm.fork_keeps_zero_young": True,
        "mm.merges_into_unfaulted": None,  # no recording asks
        "mm.mprotect_uncharges": None,  # no recording asks
        "mm.mremap_moves_vmas": None,  # no recording asks
        "queue.drop_caches_rounds": None,
        "queue.takes_new": None,
        "queue.takes_unmapped": None,
        "reclaim.out_whole": False,
        "reclaim.splits_pte_mapped": True,
        "reclaim.in_skips_cache": False,
        "reclaim.in_whole": False,
        "reclaim.in_writable": False,
        "reclaim.splits_lazyfree": True,
        "reclaim.discards_at_once": False,
        "advice.known": _ADVICES,  # tests/truth/README.md part C, limits
        "advice.free_needs_swap": None,
        "advice.pageout_clears_young": False,
        "advice.free_stops_at_split": True,  # linux-4.5.jsonl, x_swapfree_part_pinned
        "advice.takes_large_folios": False,
        "advice.dontneed_frees_tables": None,  # no recording asks
        "proc.events": (  # docs/KERNEL.md 1.1
            "thp_fault_alloc",
            "thp_fault_fallback",
            "thp_collapse_alloc",
            "thp_collapse_alloc_failed",
            "thp_split",
            "thp_zero_page_alloc",
        ),
        "proc.clear_refs_splits": True,  # linux-3.16.jsonl, l_clear_refs
        "proc.huge_zero_in_rss": True,  # docs/KERNEL.md 1.6, number 13
        "proc.protnone_in_rss": True,
        "proc.hwpoison_in_rss": False,  # linux-3.16.jsonl, x_hwpoison_shared
        "khugepaged.preallocates": True,  # linux-3.16.jsonl, l_khp_after_mprotect; docs/KERNEL.md 1.6, number 6
        "khugepaged.asks_writable": "all",  # linux-3.16.jsonl, l_khp_write_protected
        "khugepaged.takes_shared": False,  # linux-3.16.jsonl, x_khp_shared
        "khugepaged.batches": False,  # linux-6.12.jsonl, x_khp_pte_mapped_pinned
        "ksm.splits_after": False,  # docs/KERNEL.md 1.5
        "ksm.max_sharing": 0,
        "ksm.unshares": False,  # linux-3.16.jsonl, l_ksm_pin_same: the copy is writable
        "hwpoison.size_first": False,
        "hwpoison.answer": "ignored",  # tests/truth/README.md part C, "hwpoison page 5"
        "hwpoison.unsplit": "held",  # docs/KERNEL.md 1.5; a split of a mapped page never fails in v3.16, but does in the RFC
        "hwpoison.counts_users": False,
        "hwpoison.soft_offline_keeps": False,  # linux-3.16.jsonl, l_soft_offline_pinned_other
        "hwpoison.soft_offline_failed": EIO,  # linux-3.16.jsonl, l_soft_offline_pinned_same
    },
    name="v3.16",
    scheme=TailPinning(),
    refcount_name="_count",
    source="docs/KERNEL.md section 1, of which 1.6 wins; tests/truth/linux-3.16.jsonl",
)

RFC_2014 = V3_16.but(
    {
        "split.refused": -EBUSY,  # docs/KERNEL.md 2.2, "split_huge_page, pinned"
        "split.pmd_keeps_dirty": True,  # docs/KERNEL.md 2.6, step 4
        "split.marks_dirty": False,  # the RFC does not freeze; its v2 patch 18 is not on record in detail
        "split.freezes_refcount": False,  # docs/KERNEL.md 2.5
        "split.frees_zero_pages": False,
        "split.drops_pmd_whole": False,
        "split.debugfs": "",  # as its base: linux-3.16.jsonl, x_split_debugfs_unpinned
        "migration.keeps_young": False,
        "gup.coalesces": False,
        "cow.splits_pmd": False,  # docs/KERNEL.md 2.2
        "cow.huge_asks_mapcount": False,  # docs/KERNEL.md 2.5 (b)
        "cow.pte_asks_mapcount": True,  # docs/KERNEL.md 2.5 (c)
        "cow.mm_ids": False,
        "mm.mprotect_makes_writable": False,
        "queue.drop_caches_rounds": 1,
        "queue.takes_new": False,
        "queue.takes_unmapped": False,  # there is no queue
        "advice.known": _ADVICES,  # as 3.16: tests/truth/README.md part C, limits
        "advice.free_stops_at_split": True,  # linux-4.5.jsonl, x_swapfree_part_pinned
        "proc.events": _EVENTS,  # patch 05 splits thp_split into three
        "proc.clear_refs_splits": True,  # as its base, which calls what patch 04 makes split_huge_pmd
        "proc.huge_zero_in_rss": True,  # as its base: docs/KERNEL.md 1.6, number 13
    },
    name="rfc-2014",
    scheme=Rfc(),
    refcount_name="_count",
    source="docs/KERNEL.md section 2; mails 1402329861-7037-N-git-send-email-kirill.shutemov of 9 June 2014",
)

V4_5 = V3_16.but(
    {
        "split.refused": -EBUSY,  # tests/truth/README.md part A, "split, 1 extra ref"
        "split.pmd_keeps_dirty": False,  # linux-4.5.jsonl, mprotect_1_r
        "split.marks_dirty": True,  # linux-4.5.jsonl, x_split_unpinned
        "split.freezes_refcount": False,  # docs/KERNEL.md, corrections 1
        "split.frees_zero_pages": False,  # tests/truth/README.md part A, "split ok, sole"
        "split.drops_pmd_whole": False,  # docs/KERNEL.md 3.3, step 2
        "split.debugfs": "all",  # linux-4.5.jsonl, x_split_debugfs_unpinned
        "migration.keeps_young": False,  # linux-4.5.jsonl, x_split_unpinned
        "gup.foll_pin": False,  # linux-4.5.jsonl, x_uring_1_munmap
        "cow.splits_pmd": False,  # tests/truth/README.md part A, surprise 3
        "cow.zero_splits_pmd": False,  # tests/truth/README.md part A, "huge zero page, then write 1"
        "cow.huge_asks_mapcount": False,  # tests/truth/README.md part A, surprise 11
        "cow.pte_asks_mapcount": True,  # docs/KERNEL.md 3.2, "write fault on a PTE of a THP"
        "mm.fork_keeps_zero_young": True,  # linux-4.5.jsonl, fault_read_hugezero_fork_write
        "queue.drop_caches_rounds": 1,  # linux-4.5.jsonl, drop_caches_deferred_pinned
        "queue.takes_new": False,  # tests/truth/README.md part A, "THP fault"
        "queue.takes_unmapped": True,  # linux-4.5.jsonl, pin_munmap_whole_unpin; part A, surprise 5
        "advice.known": _ADVICES | {"free"},  # MADV_FREE came with 4.5; the rest of tests/truth/README.md part A, limits
        "advice.free_needs_swap": True,  # linux-4.5.jsonl, free_part_shared
        "advice.free_stops_at_split": True,  # linux-4.5.jsonl, x_swapfree_part_pinned
        "proc.events": _EVENTS,  # thp_deferred_split_page came with 4.6
        "proc.clear_refs_splits": None,
        "proc.huge_zero_in_rss": False,  # docs/KERNEL.md 1.6, number 13
        "proc.protnone_in_rss": True,  # linux-4.5.jsonl, mprotect_whole
        "khugepaged.asks_writable": "one",  # docs/KERNEL.md 1.6, number 6: so since 4.4
        "hwpoison.unsplit": "nothing",  # docs/KERNEL.md 3.6
    },
    name="v4.5",
    scheme=DoubleMap(),
    refcount_name="_count",  # renamed in 4.6
    source="docs/KERNEL.md section 3; tests/truth/linux-4.5.jsonl",
)

V5_10 = V4_5.but(
    {
        "split.freezes_refcount": True,  # since 4.8: docs/KERNEL.md, corrections 1
        "split.marks_dirty": False,  # linux-5.10.jsonl, x_split_unpinned
        "migration.whole": True,  # since 4.14: docs/KERNEL.md 3.6
        "gup.foll_pin": True,  # linux-5.10.jsonl, pin_dma_whole
        "gup.coalesces": False,  # linux-5.10.jsonl, pin_dma_whole
        "cow.splits_pmd": True,  # tests/truth/README.md part A, surprise 3
        "cow.zero_splits_pmd": True,  # tests/truth/README.md part A, "huge zero page, then write 1"
        "cow.huge_asks_mapcount": True,  # tests/truth/README.md part A, surprise 11
        "cow.mm_ids": False,
        "cow.pte_asks_mapcount": False,  # tests/truth/README.md part A, "write after others gone, PTE map"
        "mm.fork_keeps_zero_young": False,  # linux-5.10.jsonl, fault_read_hugezero_fork_write
        "queue.takes_unmapped": False,  # tests/truth/README.md part A, surprise 5
        "reclaim.out_whole": True,  # linux-5.10.jsonl, swap_pageout_whole
        "reclaim.splits_pte_mapped": True,  # linux-5.10.jsonl, zram_pte_mapped_pageout
        "reclaim.in_skips_cache": True,  # linux-5.10.jsonl, zram_zerofilled_pageout
        "reclaim.in_whole": False,  # linux-5.10.jsonl, swap_pageout_whole
        "reclaim.in_writable": False,  # linux-5.10.jsonl, swap_pageout_part
        "reclaim.splits_lazyfree": True,  # linux-5.10.jsonl, free_whole_reclaim
        "reclaim.discards_at_once": False,
        "advice.known": V4_5.advice.known | {"cold", "pageout", "wipeonfork"},  # 5.4, 5.4, 4.14
        "advice.free_needs_swap": False,  # since 4.12
        "advice.pageout_clears_young": True,  # linux-6.1.jsonl, pageout_whole
        "advice.free_stops_at_split": False,  # linux-5.10.jsonl, x_swapfree_part_pinned
        "advice.takes_large_folios": False,  # linux-5.10.jsonl, zram_pte_mapped_pageout
        "proc.events": (*_EVENTS, "thp_deferred_split_page", "thp_swpout", "thp_swpout_fallback", "pglazyfree", "pglazyfreed"),
        "khugepaged.preallocates": False,  # linux-5.10.jsonl, x_khp_after_split
        "khugepaged.takes_shared": True,  # linux-5.10.jsonl, x_khp_pte_mapped_pinned
        "ksm.splits_after": True,  # tests/truth/README.md part A, surprise 13
        "ksm.max_sharing": 256,
        "hwpoison.size_first": True,
        "hwpoison.answer": "errno",  # tests/truth/README.md part A, "MADV_HWPOISON page 5"
        "hwpoison.unsplit": "page",
        "hwpoison.counts_users": True,
        "hwpoison.soft_offline_keeps": True,  # linux-5.10.jsonl, x_soft_offline_pinned
    },
    name="v5.10",
    refcount_name="_refcount",
    source="tests/truth/linux-5.10.jsonl",
)

V6_1 = V5_10.but(
    {
        "split.refused": -EAGAIN,  # tests/truth/README.md part A, "split, 1 extra ref"
        "split.debugfs": "range",  # tests/truth/README.md part A, "debugfs, pinned"; the file takes a range since 5.13
        "migration.keeps_young": True,  # linux-6.1.jsonl, x_split_unpinned
        "cow.huge_asks_mapcount": False,  # tests/truth/README.md part A, surprise 11
        "cow.anon_exclusive": True,  # tests/truth/README.md part A, surprise 14
        "mm.mprotect_makes_writable": False,  # linux-6.1.jsonl, mprotect_whole
        "reclaim.splits_lazyfree": False,  # linux-6.1.jsonl, free_whole_reclaim
        "advice.known": V5_10.advice.known | {"populate_write", "collapse"},  # 5.14, 6.1
        "proc.hwpoison_in_rss": True,  # linux-6.1.jsonl, x_hwpoison_shared
        "proc.events": (
            *V5_10.proc.events,
            "thp_scan_exceed_none_pte",
            "thp_scan_exceed_swap_pte",
            "thp_scan_exceed_share_pte",
            "ksm_swpin_copy",
        ),
        "proc.protnone_in_rss": False,  # linux-6.1.jsonl, mprotect_whole
        "hwpoison.unsplit": "both",  # tests/truth/README.md part A, "MADV_HWPOISON page 5"
        "hwpoison.counts_users": False,
        "hwpoison.soft_offline_failed": EBUSY,  # since 5.11
    },
    name="v6.1",
    source="tests/truth/linux-6.1.jsonl",
)

V6_12 = V6_1.but(
    {
        "split.frees_zero_pages": True,  # tests/truth/README.md part A, surprise 8
        "split.pmd_keeps_dirty": True,  # linux-6.12.jsonl, mprotect_1_r
        "split.drops_pmd_whole": True,  # docs/KERNEL.md 4.3, step 4
        "gup.coalesces": True,  # linux-6.12.jsonl, pin_dma_whole
        "mm.mprotect_makes_writable": True,  # linux-6.12.jsonl, mprotect_whole
        "queue.takes_new": True,  # tests/truth/README.md part A, surprise 7
        "queue.drop_caches_rounds": 2,  # linux-6.12.jsonl, drop_caches_deferred_pinned
        "reclaim.splits_pte_mapped": False,  # linux-6.12.jsonl, zram_pte_mapped_pageout
        "reclaim.in_whole": True,  # linux-6.12.jsonl, swap_pageout_whole
        "reclaim.in_writable": True,  # linux-6.12.jsonl, swap_pageout_part
        "advice.pageout_clears_young": False,  # linux-6.12.jsonl, pageout_whole
        "advice.takes_large_folios": True,  # linux-6.12.jsonl, zram_pte_mapped_pageout
        "proc.events": (*V6_1.proc.events, "thp_underused_split_page"),
        "proc.protnone_in_rss": True,  # linux-6.12.jsonl, mprotect_whole
        "ksm.unshares": True,  # since 6.2
        "hwpoison.answer": "kills",  # linux-6.12.jsonl, x_hwpoison_shared
    },
    name="v6.12",
    scheme=Folio(mm_ids=False),
    source="docs/KERNEL.md section 4; tests/truth/linux-6.12.jsonl",
)

V6_18 = V6_12.but(
    {
        "cow.zero_splits_pmd": False,  # linux-6.18.jsonl, fault_read_hugezero
        "cow.zero_ignores_advice": True,  # thplab/study/live/recorded/linux-6.18.jsonl, zero_page_nohugepage
        "cow.mm_ids": True,  # docs/KERNEL.md 4.2, "write fault PTE of large folio"
        "mm.merges_into_unfaulted": True,  # thplab/study/live/recorded/linux-6.18.jsonl, merge_into_unfaulted
        "mm.mprotect_uncharges": True,  # thplab/study/live/recorded/linux-6.18.jsonl, mprotect_unfaulted
        "mm.mremap_moves_vmas": True,  # thplab/study/live/recorded/linux-6.18.jsonl, mremap_vmas
        "queue.drop_caches_rounds": 3,  # linux-6.18.jsonl, drop_caches_deferred_pinned
        "reclaim.discards_at_once": True,  # linux-6.18.jsonl, free_whole_reclaim
        "advice.known": V6_12.advice.known - {"soft_offline", "hwpoison"},  # linux-6.18.jsonl: built without CONFIG_MEMORY_FAILURE
        "advice.dontneed_frees_tables": True,  # thplab/study/live/recorded/linux-6.18.jsonl, dontneed_table
        "proc.events": (*V6_12.proc.events, "cow_ksm"),  # 5.18; tests/truth/README.md part B records it, part A does not
        "proc.clear_refs_splits": False,  # thplab/study/live/recorded/linux-6.18.jsonl, clear_refs
        "khugepaged.batches": True,  # linux-6.18.jsonl, collapse_pte_mapped_pinned
        "khugepaged.asks_writable": "none",  # since 6.18; tests/truth/README.md part B, "MADV_COLLAPSE": shared, so all read-only
    },
    name="v6.18",
    scheme=Folio(mm_ids=True),
    source="docs/KERNEL.md section 4; tests/truth/linux-6.18.jsonl",
)

KERNELS = {k.name: k for k in (RFC_2014, V3_16, V4_5, V5_10, V6_1, V6_12, V6_18)}
DEFAULT = RFC_2014.name


def kernel(name: str) -> Kernel:
    """The kernel record of that name. Raises BadInput for an unknown one."""
    try:
        return KERNELS[name]
    except KeyError:
        raise BadInput("kernel", f"{name!r} is unknown", "one of " + ", ".join(KERNELS)) from None
