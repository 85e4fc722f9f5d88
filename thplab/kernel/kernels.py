"""The named kernels: each a scheme, and what its record says in the policies, with the evidence for it. Data, no logic.

A record says what has changed since the kernel before it, and what its own recording shows as well. tests/test_truth.py replays each
recording that is cited here with the policy turned over: it must disagree.
"""

from __future__ import annotations

from thplab.errors import EAGAIN, EBUSY, EIO, BadInput
from thplab.kernel.evidence import Derived, Documented, Moot, Recalled, Recorded, Unrecorded
from thplab.kernel.names import Names
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
_ADVICES = frozenset(
    {"dontneed", "hugepage", "nohugepage", "mergeable", "unmergeable", "dontfork", "soft_offline", "hwpoison"}
)

V3_16 = Kernel.of(
    {
        "split.refused": (
            1,
            Recorded("linux-3.16.jsonl", "l_split_unmapped"),
            Documented("docs/KERNEL.md 1.6, number 3: no errno, and only for a page that nobody maps"),
        ),
        "split.freezes_refcount": (None, Moot("no page is frozen")),
        "split.drops_pmd_whole": (None, Moot("no page is frozen")),
        "split.marks_dirty": (None, Moot("no page is frozen")),
        "split.frees_zero_pages": (None, Moot("no page is frozen")),
        "split.invalidates_first": (None, Moot("no PMD is split alone")),
        "split.locks_page": (None, Moot("no PMD is split alone")),
        "split.pmd_keeps_dirty": (None, Moot("no PMD is split alone")),
        "split.debugfs": ("", Recorded("linux-3.16.jsonl", "x_split_debugfs_unpinned")),
        "migration.whole": (False, Documented("docs/KERNEL.md 1.5")),
        "migration.keeps_young": (None, Moot("no page is frozen")),
        "gup.foll_pin": (False, Recorded("linux-3.16.jsonl", "x_uring_1_munmap")),
        "gup.coalesces": (None, Moot("there is no io_uring")),
        "cow.splits_pmd": (
            False,
            Recorded("linux-3.16.jsonl", "l_cow_pin_parent_writes"),
            Documented("docs/KERNEL.md 1.2"),
        ),
        "cow.zero_splits_pmd": (False, Recorded("linux-3.16.jsonl", "fault_read_hugezero")),
        "cow.zero_ignores_advice": (None, Unrecorded("no recording asks")),
        "cow.huge_asks_mapcount": (True, Recorded("linux-3.16.jsonl", "l_reuse_ignores_pins")),
        "cow.pte_asks_mapcount": (True, Recorded("linux-3.16.jsonl", "l_split_cow_pinned")),
        "cow.mm_ids": (None, Moot("a part of a compound page is never written in place")),
        "cow.huge_page_lock": ("", Documented('docs/KERNEL.md 1.2, "write fault, H==1 (do_huge_pmd_wp_page)"')),
        "cow.puts_inside_ptl": (None, Unrecorded("no recording of steps")),
        "cow.anon_exclusive": (False, Recorded("linux-3.16.jsonl", "fault_write_mid")),
        "mm.fault_deposits_first": (None, Unrecorded("no recording of steps")),
        "mm.fork_keeps_zero_young": (True, Recorded("linux-3.16.jsonl", "fault_read_hugezero_fork_write")),
        "mm.mprotect_makes_writable": (None, Moot("no page is marked as exclusive")),
        "mm.mprotect_uncharges": (None, Unrecorded("no recording asks")),
        "mm.merges_into_unfaulted": (None, Unrecorded("no recording asks")),
        "mm.mremap_moves_vmas": (None, Unrecorded("no recording asks")),
        "queue.takes_new": (None, Moot("there is no deferred split queue")),
        "queue.takes_unmapped": (None, Moot("there is no deferred split queue")),
        "queue.drop_caches_rounds": (None, Moot("there is no deferred split queue")),
        "reclaim.out_whole": (False, Documented('docs/KERNEL.md 1.5, "swap-out add_to_swap"')),
        "reclaim.splits_pte_mapped": (True, Derived("every huge page is split before it goes out")),
        "reclaim.in_skips_cache": (False, Recalled("so up to 4.12")),
        "reclaim.in_whole": (False, Derived("no huge page is in the swap cache")),
        "reclaim.in_writable": (False, Recalled("so up to 4.12")),
        "reclaim.splits_lazyfree": (True, Moot("there is no MADV_FREE")),
        "reclaim.discards_at_once": (False, Moot("there is no MADV_FREE")),
        "advice.known": (
            _ADVICES,
            Recorded("linux-3.16.jsonl", "free_part_shared"),
            Documented("tests/truth/README.md part C, limits"),
        ),
        "advice.free_needs_swap": (None, Moot("there is no MADV_FREE")),
        "advice.free_stops_at_split": (True, Moot("there is no MADV_FREE")),
        "advice.takes_large_folios": (False, Moot("there is no MADV_FREE, MADV_COLD or MADV_PAGEOUT")),
        "advice.pageout_clears_young": (False, Moot("there is no MADV_PAGEOUT")),
        "advice.dontneed_frees_tables": (None, Unrecorded("no recording asks")),
        "proc.events": (
            (
                "thp_fault_alloc",
                "thp_fault_fallback",
                "thp_collapse_alloc",
                "thp_collapse_alloc_failed",
                "thp_split",
                "thp_zero_page_alloc",
            ),
            Recorded("linux-3.16.jsonl", "mprotect_1_r"),
            Documented("docs/KERNEL.md 1.1"),
        ),
        "proc.huge_zero_in_rss": (
            True,
            Recorded("linux-3.16.jsonl", "fault_read_hugezero"),
            Documented("docs/KERNEL.md 1.6, number 13"),
        ),
        "proc.protnone_in_rss": (True, Recorded("linux-3.16.jsonl", "mprotect_whole")),
        "proc.hwpoison_in_rss": (False, Recorded("linux-3.16.jsonl", "x_hwpoison_shared")),
        "proc.clear_refs_splits": (True, Recorded("linux-3.16.jsonl", "l_clear_refs")),
        "khugepaged.preallocates": (
            True,
            Recorded("linux-3.16.jsonl", "l_khp_after_mprotect"),
            Documented("docs/KERNEL.md 1.6, number 6"),
        ),
        "khugepaged.asks_writable": ("all", Recorded("linux-3.16.jsonl", "l_khp_after_mprotect")),
        "khugepaged.takes_shared": (False, Documented('tests/truth/README.md part C, "khugepaged"')),
        "khugepaged.batches": (False, Derived("it does not collapse compound pages")),
        "ksm.splits_after": (False, Documented('docs/KERNEL.md 1.5, "KSM page_trans_compound_anon_split"')),
        "ksm.max_sharing": (0, Recalled("there is no max_page_sharing yet")),
        "ksm.unshares": (False, Recorded("linux-3.16.jsonl", "l_ksm_pin_same")),
        "hwpoison.size_first": (False, Recalled("the loop of madvise over pages; no source was noted")),
        "hwpoison.answer": ("ignored", Documented('tests/truth/README.md part C, "hwpoison page 5"')),
        "hwpoison.unsplit": (
            "held",
            Documented("docs/KERNEL.md 1.5; a split of a mapped page never fails here, but does in the RFC"),
        ),
        "hwpoison.counts_users": (False, Recalled("no source was noted")),
        "hwpoison.soft_offline_keeps": (False, Recorded("linux-3.16.jsonl", "l_soft_offline_pinned_other")),
        "hwpoison.soft_offline_failed": (-EIO, Recorded("linux-3.16.jsonl", "l_soft_offline_pinned_same")),
    },
    name="v3.16",
    names=Names("v3.16"),
    scheme=TailPinning(),
    source="docs/KERNEL.md section 1, of which 1.6 wins; tests/truth/linux-3.16.jsonl",
)

# Its base's callers of split_huge_page stay as they are: they cope with a split that fails (docs/KERNEL.md 2.4).
RFC_2014 = V3_16.later(
    {
        "split.refused": (-EBUSY, Documented('docs/KERNEL.md 2.2, "split_huge_page, pinned"')),
        "split.invalidates_first": (False, Documented("docs/KERNEL.md 2.6, step 6")),
        "split.locks_page": (False, Documented("docs/KERNEL.md 2.6, step 1")),
        "split.pmd_keeps_dirty": (True, Documented("docs/KERNEL.md 2.6, step 4")),
        "cow.huge_asks_mapcount": (False, Documented("docs/KERNEL.md 2.5 (b)")),
        "cow.pte_asks_mapcount": (True, Documented("docs/KERNEL.md 2.5 (c)")),
        "cow.splits_pmd": (False, Documented("docs/KERNEL.md 2.2")),
        "queue.drop_caches_rounds": (1, Moot("there is no deferred split queue, so that the shrinker finds nothing")),
        "proc.events": (_EVENTS, Derived("patch 05 splits thp_split into three")),
        "proc.clear_refs_splits": (True, Derived("as its base, which calls what patch 04 makes split_huge_pmd")),
    },
    name="rfc-2014",
    names=Names("rfc-2014"),
    scheme=Rfc(),
    source="docs/KERNEL.md section 2; mails 1402329861-7037-N-git-send-email-kirill.shutemov of 9 June 2014",
)

V4_5 = V3_16.later(
    {
        "split.refused": (-EBUSY, Recorded("linux-4.5.jsonl", "x_split_pinned_head")),
        "split.freezes_refcount": (False, Documented("docs/KERNEL.md corrections to common belief, 1")),
        "split.drops_pmd_whole": (False, Documented("docs/KERNEL.md 3.3, step 2")),
        "split.marks_dirty": (True, Recorded("linux-4.5.jsonl", "x_split_unpinned")),
        "split.frees_zero_pages": (False, Recorded("linux-4.5.jsonl", "x_split_unpinned")),
        "split.invalidates_first": (False, Recalled("so up to 4.15")),
        "split.locks_page": (False, Recalled("no lock of the page so early")),
        "split.pmd_keeps_dirty": (False, Recorded("linux-4.5.jsonl", "mprotect_1_r")),
        "split.debugfs": ("all", Recorded("linux-4.5.jsonl", "x_split_debugfs_unpinned")),
        "migration.whole": (False, Documented("docs/KERNEL.md 3.6")),
        "migration.keeps_young": (False, Recorded("linux-4.5.jsonl", "x_split_unpinned")),
        "gup.foll_pin": (False, Recorded("linux-4.5.jsonl", "x_uring_1_munmap")),
        "cow.splits_pmd": (False, Recorded("linux-4.5.jsonl", "cow_parent_write")),
        "cow.zero_splits_pmd": (False, Recorded("linux-4.5.jsonl", "fault_read_hugezero")),
        "cow.huge_asks_mapcount": (False, Recorded("linux-4.5.jsonl", "pin_then_fork")),
        "cow.pte_asks_mapcount": (True, Documented('docs/KERNEL.md 3.2, "write fault on a PTE of a THP"')),
        "mm.fork_keeps_zero_young": (True, Recorded("linux-4.5.jsonl", "fault_read_hugezero_fork_write")),
        "queue.takes_new": (False, Recorded("linux-4.5.jsonl", "fault_write_mid")),
        "queue.takes_unmapped": (True, Recorded("linux-4.5.jsonl", "pin_munmap_whole_unpin")),
        "queue.drop_caches_rounds": (1, Recorded("linux-4.5.jsonl", "drop_caches_deferred_pinned")),
        "reclaim.out_whole": (False, Documented('docs/KERNEL.md 3.6, "add_to_swap"')),
        "reclaim.splits_lazyfree": (True, Recalled("so up to 4.12")),
        "reclaim.discards_at_once": (False, Derived("it is split first")),
        "advice.known": (
            _ADVICES | {"free"},
            Recorded("linux-4.5.jsonl", "free_part_shared"),
            Documented("tests/truth/README.md part A, limits"),
        ),
        "advice.free_needs_swap": (True, Recorded("linux-4.5.jsonl", "free_part_shared")),
        "advice.free_stops_at_split": (True, Recorded("linux-4.5.jsonl", "x_swapfree_part_pinned")),
        "advice.takes_large_folios": (False, Recalled("no source was noted")),
        "proc.events": (
            _EVENTS,
            Recorded("linux-4.5.jsonl", "x_split_unpinned"),
            Recorded("linux-4.5.jsonl", "mprotect_1_r"),
        ),
        "proc.huge_zero_in_rss": (False, Recorded("linux-4.5.jsonl", "fault_read_hugezero")),
        "proc.protnone_in_rss": (True, Recorded("linux-4.5.jsonl", "mprotect_whole")),
        "proc.hwpoison_in_rss": (False, Recorded("linux-4.5.jsonl", "x_hwpoison_shared")),
        "proc.clear_refs_splits": (None, Unrecorded("no recording asks")),
        "khugepaged.preallocates": (True, Recorded("linux-4.5.jsonl", "x_khp_after_split")),
        "khugepaged.asks_writable": ("one", Documented("docs/KERNEL.md 1.6, number 6: so since 4.4")),
        "ksm.splits_after": (False, Documented("tests/truth/README.md part A, surprise 13")),
        "hwpoison.answer": ("ignored", Documented('tests/truth/README.md part A, "MADV_HWPOISON page 5"')),
        "hwpoison.unsplit": ("nothing", Documented("docs/KERNEL.md 3.6")),
        "hwpoison.soft_offline_keeps": (False, Recorded("linux-4.5.jsonl", "x_soft_offline_pinned")),
    },
    name="v4.5",
    names=Names("v4.5"),
    scheme=DoubleMap(),
    source="docs/KERNEL.md section 3; tests/truth/linux-4.5.jsonl",
)

V5_10 = V4_5.later(
    {
        "split.freezes_refcount": (
            True,
            Recorded("steps/steps-5.10.jsonl", "split_page_ptes"),
            Documented("docs/KERNEL.md corrections to common belief, 1"),
        ),
        "split.drops_pmd_whole": (False, Recorded("linux-5.10.jsonl", "x_split_unpinned")),
        "split.invalidates_first": (True, Recorded("steps/steps-5.10.jsonl", "split_pmd_sole")),
        "split.locks_page": (True, Recorded("steps/steps-5.10.jsonl", "split_pmd_sole")),
        "split.marks_dirty": (False, Recorded("linux-5.10.jsonl", "x_split_unpinned")),
        "migration.whole": (True, Documented("docs/KERNEL.md 3.6: since 4.14")),
        "gup.foll_pin": (True, Recorded("linux-5.10.jsonl", "pin_dma_whole")),
        "gup.coalesces": (False, Recorded("linux-5.10.jsonl", "pin_dma_whole")),
        "cow.splits_pmd": (True, Recorded("linux-5.10.jsonl", "cow_parent_write")),
        "cow.zero_splits_pmd": (True, Recorded("linux-5.10.jsonl", "fault_read_hugezero")),
        "cow.huge_asks_mapcount": (True, Recorded("linux-5.10.jsonl", "pin_blocks_pmd_reuse")),
        "cow.pte_asks_mapcount": (False, Recorded("linux-5.10.jsonl", "swap_pageout_part")),
        "cow.mm_ids": (False, Recorded("linux-5.10.jsonl", "cow_parent_write")),
        "cow.huge_page_lock": ("reuse", Recorded("steps/steps-5.10.jsonl", "reuse_pmd")),
        "cow.puts_inside_ptl": (True, Recorded("steps/steps-5.10.jsonl", "cow_ptes")),
        "cow.anon_exclusive": (False, Recorded("linux-5.10.jsonl", "fault_write_mid")),
        "mm.fault_deposits_first": (False, Recorded("steps/steps-5.10.jsonl", "fault_write")),
        "mm.fork_keeps_zero_young": (False, Recorded("linux-5.10.jsonl", "fault_read_hugezero_fork_write")),
        "queue.takes_unmapped": (False, Recorded("linux-5.10.jsonl", "pin_munmap_whole_unpin")),
        "reclaim.out_whole": (True, Recorded("linux-5.10.jsonl", "swap_pageout_whole")),
        "reclaim.splits_pte_mapped": (True, Recalled("no source was noted")),
        "reclaim.in_skips_cache": (True, Recorded("linux-5.10.jsonl", "zram_zerofilled_pageout")),
        "reclaim.in_whole": (False, Recorded("linux-5.10.jsonl", "swap_pageout_whole")),
        "reclaim.in_writable": (False, Derived("v6.1 still does it")),
        "reclaim.splits_lazyfree": (True, Recorded("linux-5.10.jsonl", "free_whole_reclaim")),
        "advice.known": (
            V4_5.advice.known | {"cold", "pageout", "wipeonfork"},
            Recorded("linux-5.10.jsonl", "cold_whole"),
            Recorded("linux-5.10.jsonl", "pageout_whole"),
            Recorded("linux-5.10.jsonl", "wipeonfork"),
        ),
        "advice.free_needs_swap": (False, Recorded("linux-5.10.jsonl", "free_part_shared")),
        "advice.free_stops_at_split": (False, Recorded("linux-5.10.jsonl", "x_swapfree_part_pinned")),
        "advice.pageout_clears_young": (True, Recorded("linux-5.10.jsonl", "pageout_whole_pinned")),
        "proc.events": (
            (*_EVENTS, "thp_deferred_split_page", "thp_swpout", "thp_swpout_fallback", "pglazyfree", "pglazyfreed"),
            Recorded("linux-5.10.jsonl", "mprotect_1_r"),
            Recorded("linux-5.10.jsonl", "pageout_whole"),
            Recorded("linux-5.10.jsonl", "swap_pageout_whole"),
            Recorded("linux-5.10.jsonl", "free_whole_reclaim"),
        ),
        "proc.hwpoison_in_rss": (False, Recorded("linux-5.10.jsonl", "x_hwpoison_shared")),
        "khugepaged.preallocates": (False, Recorded("linux-5.10.jsonl", "x_khp_after_split")),
        "khugepaged.takes_shared": (True, Recorded("linux-5.10.jsonl", "x_khp_pte_mapped_pinned")),
        "khugepaged.batches": (False, Derived("v6.12 still does it")),
        "ksm.splits_after": (True, Documented("tests/truth/README.md part A, surprise 13")),
        "ksm.max_sharing": (256, Recalled("the default of max_page_sharing")),
        "hwpoison.size_first": (True, Recalled("the loop of madvise over pages; no source was noted")),
        "hwpoison.answer": ("errno", Documented('tests/truth/README.md part A, "MADV_HWPOISON page 5"')),
        "hwpoison.unsplit": ("page", Documented('tests/truth/README.md part A, "MADV_HWPOISON page 5"')),
        "hwpoison.counts_users": (True, Recalled("no source was noted")),
        "hwpoison.soft_offline_keeps": (True, Recorded("linux-5.10.jsonl", "x_soft_offline_pinned")),
    },
    name="v5.10",
    names=Names("v5.10"),
    source="tests/truth/linux-5.10.jsonl",
)

V6_1 = V5_10.later(
    {
        "split.refused": (-EAGAIN, Recorded("linux-6.1.jsonl", "x_split_pinned_head")),
        "split.locks_page": (False, Recorded("steps/steps-6.1.jsonl", "split_pmd_sole")),
        "split.debugfs": (
            "range",
            Documented('tests/truth/README.md part A, "debugfs, pinned"; the file takes a range since 5.13'),
        ),
        "migration.keeps_young": (True, Recorded("linux-6.1.jsonl", "x_split_unpinned")),
        "cow.huge_asks_mapcount": (False, Recorded("linux-6.1.jsonl", "pin_blocks_pmd_reuse")),
        "cow.huge_page_lock": ("question", Recorded("steps/steps-6.1.jsonl", "reuse_pmd")),
        "cow.puts_inside_ptl": (True, Recorded("steps/steps-6.1.jsonl", "cow_ptes")),
        "cow.anon_exclusive": (True, Recorded("linux-6.1.jsonl", "swap_pageout_part")),
        "mm.mprotect_makes_writable": (False, Recorded("linux-6.1.jsonl", "mprotect_whole")),
        "reclaim.in_writable": (False, Recorded("linux-6.1.jsonl", "swap_pageout_part")),
        "reclaim.splits_lazyfree": (False, Recorded("linux-6.1.jsonl", "free_whole_reclaim")),
        "reclaim.discards_at_once": (False, Derived("v6.12 still does it")),
        "advice.known": (
            V5_10.advice.known | {"populate_write", "collapse"},
            Recorded("linux-6.1.jsonl", "collapse_small_pages"),
            Recalled("MADV_POPULATE_WRITE since 5.14"),
        ),
        "advice.pageout_clears_young": (True, Recorded("linux-6.1.jsonl", "pageout_whole")),
        "proc.events": (
            (
                *V5_10.proc.events,
                "thp_scan_exceed_none_pte",
                "thp_scan_exceed_swap_pte",
                "thp_scan_exceed_share_pte",
                "ksm_swpin_copy",
            ),
            Recorded("linux-6.1.jsonl", "x_khp_shared"),
            Recorded("linux-6.1.jsonl", "swap_pageout_whole"),
        ),
        "proc.protnone_in_rss": (False, Recorded("linux-6.1.jsonl", "mprotect_whole")),
        "proc.hwpoison_in_rss": (True, Recorded("linux-6.1.jsonl", "x_hwpoison_shared")),
        "khugepaged.asks_writable": ("one", Recorded("linux-6.1.jsonl", "x_khp_pte_mapped_pinned")),
        "khugepaged.takes_shared": (True, Recorded("linux-6.1.jsonl", "x_khp_shared")),
        "hwpoison.unsplit": ("both", Documented('tests/truth/README.md part A, "MADV_HWPOISON page 5"')),
        "hwpoison.counts_users": (False, Recalled("no source was noted")),
        "hwpoison.soft_offline_keeps": (True, Recorded("linux-6.1.jsonl", "x_soft_offline_pinned")),
        "hwpoison.soft_offline_failed": (-EBUSY, Recalled("since 5.11")),
    },
    name="v6.1",
    names=Names("v6.1"),
    source="tests/truth/linux-6.1.jsonl",
)

V6_12 = V6_1.later(
    {
        "split.drops_pmd_whole": (True, Documented("docs/KERNEL.md 4.3, step 4")),
        "split.frees_zero_pages": (True, Recorded("linux-6.12.jsonl", "x_split_unpinned")),
        "split.pmd_keeps_dirty": (True, Recorded("linux-6.12.jsonl", "mprotect_1_r")),
        "gup.coalesces": (True, Recorded("linux-6.12.jsonl", "pin_dma_whole")),
        "cow.puts_inside_ptl": (False, Recorded("steps/steps-6.12.jsonl", "cow_ptes")),
        "mm.mprotect_makes_writable": (True, Recorded("linux-6.12.jsonl", "mprotect_whole")),
        "queue.takes_new": (True, Recorded("linux-6.12.jsonl", "fault_write_mid")),
        "queue.drop_caches_rounds": (2, Recorded("linux-6.12.jsonl", "drop_caches_deferred_pinned")),
        "reclaim.splits_pte_mapped": (False, Recorded("linux-6.12.jsonl", "zram_pte_mapped_pageout")),
        "reclaim.in_whole": (True, Recorded("linux-6.12.jsonl", "swap_pageout_whole")),
        "reclaim.in_writable": (True, Recorded("linux-6.12.jsonl", "swap_pageout_part")),
        "reclaim.discards_at_once": (False, Recorded("linux-6.12.jsonl", "free_whole_reclaim")),
        "advice.takes_large_folios": (True, Recorded("linux-6.12.jsonl", "zram_pte_mapped_pageout")),
        "advice.pageout_clears_young": (False, Recorded("linux-6.12.jsonl", "pageout_whole")),
        "proc.events": ((*V6_1.proc.events, "thp_underused_split_page"), Recorded("linux-6.12.jsonl", "underused_on")),
        "proc.protnone_in_rss": (True, Recorded("linux-6.12.jsonl", "mprotect_whole")),
        "khugepaged.takes_shared": (True, Recorded("linux-6.12.jsonl", "x_khp_pte_mapped_pinned")),
        "khugepaged.batches": (False, Recorded("linux-6.12.jsonl", "x_khp_pte_mapped_pinned")),
        "ksm.unshares": (True, Recalled("since 6.2")),
        "hwpoison.answer": ("kills", Recorded("linux-6.12.jsonl", "x_hwpoison_shared")),
        "hwpoison.soft_offline_keeps": (True, Recorded("linux-6.12.jsonl", "x_soft_offline_pinned")),
    },
    name="v6.12",
    names=Names("v6.12"),
    scheme=Folio(mm_ids=False),
    source="docs/KERNEL.md section 4; tests/truth/linux-6.12.jsonl",
)

V6_18 = V6_12.later(
    {
        "cow.zero_splits_pmd": (False, Recorded("linux-6.18.jsonl", "fault_read_hugezero")),
        "cow.zero_ignores_advice": (True, Recorded("live/linux-6.18.jsonl", "zero_page_nohugepage")),
        "cow.mm_ids": (
            True,
            Recorded("linux-6.18.jsonl", "mmid_second_write_pte"),
            Documented('docs/KERNEL.md 4.2, "write fault PTE of large folio"'),
        ),
        "mm.fault_deposits_first": (True, Recorded("steps/steps-6.18.jsonl", "fault_write")),
        "mm.mprotect_uncharges": (True, Recorded("live/linux-6.18.jsonl", "mprotect_unfaulted")),
        "mm.merges_into_unfaulted": (True, Recorded("live/linux-6.18.jsonl", "merge_into_unfaulted")),
        "mm.mremap_moves_vmas": (True, Recorded("live/linux-6.18.jsonl", "mremap_vmas")),
        "queue.drop_caches_rounds": (3, Recorded("linux-6.18.jsonl", "drop_caches_deferred_pinned")),
        "reclaim.discards_at_once": (True, Recorded("linux-6.18.jsonl", "free_whole_reclaim")),
        "advice.known": (
            V6_12.advice.known - {"soft_offline", "hwpoison"},
            Documented('tests/truth/README.md part B, "soft_offline, hwpoison": built without CONFIG_MEMORY_FAILURE'),
        ),
        "advice.dontneed_frees_tables": (True, Recorded("live/linux-6.18.jsonl", "dontneed_table")),
        "proc.events": (
            (*V6_12.proc.events, "cow_ksm"),
            Documented("tests/truth/README.md part B: its record format has cow_ksm"),
            Recalled("since 5.18"),
        ),
        "proc.clear_refs_splits": (False, Recorded("live/linux-6.18.jsonl", "clear_refs")),
        "khugepaged.asks_writable": (
            "none",
            Documented('tests/truth/README.md part B, "MADV_COLLAPSE": shared pages, which are all read-only'),
        ),
        "khugepaged.takes_shared": (True, Recorded("linux-6.18.jsonl", "collapse_pte_mapped_pinned")),
        "khugepaged.batches": (True, Recorded("linux-6.18.jsonl", "collapse_pte_mapped_pinned")),
    },
    name="v6.18",
    names=Names("v6.18"),
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
