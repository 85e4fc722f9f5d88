"""The named kernels: each a scheme, and what its record says in the policies, with the evidence for it. Data, no logic.

A record says what has changed since the kernel before it, and what its own recording shows as well. tests/test_truth.py
replays each recording that is cited here with the policy turned over: it must disagree. The first three records are in
early_kernels.py.
"""

from __future__ import annotations

from thplab.errors import EAGAIN, EBUSY, BadInput
from thplab.kernel.early_kernels import EVENTS, RFC_2014, V3_16, V4_5
from thplab.kernel.evidence import Derived, Documented, Moot, Recalled, Recorded
from thplab.kernel.names import Names
from thplab.kernel.orders import ORDERS
from thplab.kernel.policies import Kernel
from thplab.kernel.schemes import Folio

V5_10 = V4_5.later(
    {
        **ORDERS["v5.10"],
        "split.freezes_refcount": (
            True,
            Recorded("steps/steps-5.10.jsonl", "split_page_ptes"),
            Documented("docs/KERNEL.md corrections to common belief, 1"),
        ),
        "split.drops_pmd_whole": (False, Recorded("linux-5.10.jsonl", "x_split_unpinned")),
        "split.clears_mlocked": (True, Recorded("fresh/linux-5.10.jsonl", "mlk_shared_pmd")),
        "migration.mlocks": (True, Recorded("fresh/linux-5.10.jsonl", "mlk_soft")),
        "split.marks_dirty": (False, Recorded("linux-5.10.jsonl", "x_split_unpinned")),
        "migration.whole": (True, Documented("docs/KERNEL.md 3.6: since 4.14")),
        "migration.split_fails": (False, Documented("docs/KERNEL.md 4.6: migrate_pages of 5.10")),
        "gup.foll_pin": (True, Recorded("linux-5.10.jsonl", "pin_dma_whole")),
        "gup.coalesces": (False, Recorded("linux-5.10.jsonl", "pin_dma_whole")),
        "gup.follows_protnone": (True, Recorded("fresh/linux-5.10.jsonl", "g_ksm_none_all")),
        "gup.touch_dirties": (False, Recorded("fresh/linux-5.10.jsonl", "d_ro_pin_zero")),
        "cow.splits_pmd": (True, Recorded("linux-5.10.jsonl", "cow_parent_write")),
        "cow.zero_splits_pmd": (True, Recorded("linux-5.10.jsonl", "fault_read_hugezero")),
        "cow.huge_asks_mapcount": (True, Recorded("linux-5.10.jsonl", "pin_blocks_pmd_reuse")),
        "cow.pte_asks_mapcount": (False, Recorded("linux-5.10.jsonl", "swap_pageout_part")),
        "cow.reuses_large": (False, Recorded("linux-5.10.jsonl", "cow_parent_write")),
        "cow.anon_exclusive": (False, Recorded("linux-5.10.jsonl", "fault_write_mid")),
        "mm.fork_keeps_zero_young": (False, Recorded("linux-5.10.jsonl", "fault_read_hugezero_fork_write")),
        "gup.unshares": (False, Recalled("it needs PG_anon_exclusive, so 5.19")),
        "gup.force": ("FOLL_COW", Recalled("19be0eaffa3a, in 4.9; from what it replaced only a race tells it")),
        "mm.mremap_growth_merges": (False, Recorded("fresh/linux-5.10.jsonl", "m_grow_to_next")),
        "mm.dontunmap": ("keeps", Recorded("fresh/linux-5.10.jsonl", "m_dontunmap_whole")),
        "mm.mremap_looks_first": (
            False,
            Recorded("fresh/linux-5.10.jsonl", "d_mremap_self_hole"),
            Recorded("fresh/linux-5.10.jsonl", "e_mremap_hole_dest"),
        ),
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
        "advice.free_asks_head": (False, Recorded("fresh/linux-5.10.jsonl", "d_free_head0_page1")),
        "advice.free_stops_at_split": (False, Recorded("linux-5.10.jsonl", "x_swapfree_part_pinned")),
        "advice.pageout_clears_young": (True, Recorded("linux-5.10.jsonl", "pageout_whole_pinned")),
        "proc.events": (
            (
                *EVENTS,
                *("thp_deferred_split_page", "thp_swpout", "thp_swpout_fallback", "pglazyfree", "pglazyfreed"),
                *("thp_migration_success", "thp_migration_fail", "thp_migration_split"),
            ),
            Recorded("linux-5.10.jsonl", "mprotect_1_r"),
            Recorded("linux-5.10.jsonl", "pageout_whole"),
            Recorded("linux-5.10.jsonl", "swap_pageout_whole"),
            Recorded("linux-5.10.jsonl", "free_whole_reclaim"),
            Documented("docs/KERNEL.md 4.6: thp_migration_*, since 5.9"),
        ),
        "proc.soft_dirty_spares_pins": (False, Recalled("pte_is_pinned came with 5.11")),
        "proc.hwpoison_in_rss": (False, Recorded("linux-5.10.jsonl", "x_hwpoison_shared")),
        "khugepaged.preallocates": (False, Recorded("linux-5.10.jsonl", "x_khp_after_split")),
        "khugepaged.takes_shared": (True, Recorded("linux-5.10.jsonl", "x_khp_pte_mapped_pinned")),
        "khugepaged.batches": (False, Derived("v6.12 still does it")),
        "ksm.splits_after": (True, Documented("tests/truth/README.md part A, surprise 13")),
        "ksm.uses_zero_pages": (True, Recalled("since 4.12")),
        "proc.defrag_defers": (True, Recalled("defer since 4.6, defer+madvise since 4.11")),
        "ksm.max_sharing": (256, Recalled("the default of max_page_sharing")),
        "hwpoison.size_first": (True, Recalled("the loop of madvise over pages; no source was noted")),
        "hwpoison.answer": ("errno", Documented('tests/truth/README.md part A, "MADV_HWPOISON page 5"')),
        "hwpoison.unsplit": ("page", Documented('tests/truth/README.md part A, "MADV_HWPOISON page 5"')),
        "hwpoison.frozen_by": ("head", Recorded("fresh/linux-5.10.jsonl", "p_hp_head_pte")),
        "hwpoison.unmaps_ksm": (False, Recorded("fresh/linux-5.10.jsonl", "hp_ksm")),
        "hwpoison.keeps_known": (True, Recorded("fresh/linux-5.10.jsonl", "p_hp_pinned_twice")),
        "hwpoison.shakes_slab": (True, Recorded("fresh/linux-5.10.jsonl", "h_so_shake_small")),
        "hwpoison.counts_users": (True, Recalled("no source was noted")),
        "hwpoison.checks_new": (True, Documented("docs/KERNEL.md 3.6: check_new_pages of mm/page_alloc.c, 5.19")),
        "hwpoison.soft_offline_keeps": (True, Recorded("linux-5.10.jsonl", "x_soft_offline_pinned")),
    },
    name="v5.10",
    names=Names("v5.10"),
    source="tests/truth/linux-5.10.jsonl",
)

V6_1 = V5_10.later(
    {
        **ORDERS["v6.1"],
        "split.refused": (-EAGAIN, Recorded("linux-6.1.jsonl", "x_split_pinned_head")),
        "split.debugfs": (
            "range",
            Documented('tests/truth/README.md part A, "debugfs, pinned"; the file takes a range since 5.13'),
        ),
        "migration.keeps_young": (True, Recorded("linux-6.1.jsonl", "x_split_unpinned")),
        "migration.split_fails": (True, Documented("docs/KERNEL.md 4.6: migrate_pages of 6.2")),
        "gup.follows_protnone": (
            False,
            Recorded("linux-6.1.jsonl", "mprotect_whole"),
            Recorded("fresh/linux-6.1.jsonl", "g_ksm_none_all"),
        ),
        "cow.huge_asks_mapcount": (False, Recorded("linux-6.1.jsonl", "pin_blocks_pmd_reuse")),
        "cow.anon_exclusive": (True, Recorded("linux-6.1.jsonl", "swap_pageout_part")),
        "gup.unshares": (True, Recorded("fresh/linux-6.1.jsonl", "pup_shared")),
        "gup.force": ("exclusive", Recorded("fresh/linux-6.1.jsonl", "force_clean")),
        "mm.dontunmap": ("unlinks", Recorded("fresh/linux-6.1.jsonl", "m_dontunmap_whole")),
        "mm.mremap_growth_merges": (True, Recorded("fresh/linux-6.1.jsonl", "m_grow_to_next")),
        "mm.mprotect_makes_writable": (
            "dirty PTEs",
            Recorded("linux-6.1.jsonl", "mprotect_whole"),
            Recorded("fresh/linux-6.1.jsonl", "p_rw_thp_dirty"),
        ),
        "advice.free_asks_head": (
            True,
            Recorded("fresh/linux-6.1.jsonl", "d_free_head0_page1"),
            Recorded("fresh/linux-6.1.jsonl", "d_free_head1_page2"),
        ),
        "mm.mremap_looks_first": (
            True,
            Recorded("fresh/linux-6.1.jsonl", "d_mremap_self_hole"),
            Recorded("fresh/linux-6.1.jsonl", "e_mremap_hole_dest"),
        ),
        "reclaim.in_forgets_mlock": (False, Recorded("fresh/linux-6.1.jsonl", "mlk_swapped_zram")),
        "reclaim.in_writable": (False, Recorded("linux-6.1.jsonl", "swap_pageout_part")),
        "reclaim.splits_lazyfree": (False, Recorded("linux-6.1.jsonl", "free_whole_reclaim")),
        "reclaim.discards_at_once": (False, Derived("v6.12 still does it")),
        "advice.known": (
            V5_10.advice.known | {"populate_write", "collapse"},
            Recorded("linux-6.1.jsonl", "collapse_small_pages"),
            Recalled("MADV_POPULATE_WRITE since 5.14"),
        ),
        "advice.populate_stops": (False, Recorded("fresh/linux-6.1.jsonl", "w_wholehole_populate")),
        "advice.pageout_clears_young": (True, Recorded("linux-6.1.jsonl", "pageout_whole")),
        "proc.events": (
            (
                *V5_10.proc.events,
                "thp_scan_exceed_none_pte",
                "thp_scan_exceed_swap_pte",
                "thp_scan_exceed_share_pte",
                "ksm_swpin_copy",
                "cow_ksm",
            ),
            Recorded("fresh/linux-6.1.jsonl", "d_ksm_cow"),
            Recorded("linux-6.1.jsonl", "x_khp_shared"),
            Recorded("linux-6.1.jsonl", "swap_pageout_whole"),
        ),
        "proc.soft_dirty_spares_pins": (True, Recalled("pte_is_pinned in clear_soft_dirty, since 5.11")),
        "proc.hwpoison_in_rss": (True, Recorded("linux-6.1.jsonl", "x_hwpoison_shared")),
        "khugepaged.asks_writable": ("one", Recorded("linux-6.1.jsonl", "x_khp_pte_mapped_pinned")),
        "khugepaged.takes_shared": (True, Recorded("linux-6.1.jsonl", "x_khp_shared")),
        "ksm.scan_walks": (
            True,
            Recorded("fresh/linux-6.1.jsonl", "g_ksm_none_small"),
            Recalled("a fix of 2025 that stable kernels have: a walk that jumps over holes"),
        ),
        "hwpoison.unsplit": ("both", Documented('tests/truth/README.md part A, "MADV_HWPOISON page 5"')),
        "hwpoison.frozen_by": ("page", Recorded("fresh/linux-6.1.jsonl", "e_hwpoison_excl_pte")),
        "hwpoison.keeps_known": (False, Recorded("fresh/linux-6.1.jsonl", "p_hp_pinned_twice")),
        "hwpoison.shakes_slab": (False, Recorded("fresh/linux-6.1.jsonl", "d_so_hugezero")),
        "hwpoison.counts_users": (False, Recalled("no source was noted")),
        "hwpoison.soft_offline_keeps": (True, Recorded("linux-6.1.jsonl", "x_soft_offline_pinned")),
        "hwpoison.soft_offline_failed": (-EBUSY, Recalled("since 5.11")),
        "split.clears_mlocked": (None, Moot("the mapping of the PMD that goes takes its own part of it along")),
        "migration.mlocks": (None, Moot("each mapping of a VMA that is locked does")),
        "mm.mlocks_large": ("PMD", Recorded("fresh/linux-6.1.jsonl", "mlk_ptes")),
    },
    name="v6.1",
    names=Names("v6.1"),
    source="tests/truth/linux-6.1.jsonl",
)

V6_12 = V6_1.later(
    {
        **ORDERS["v6.12"],
        "split.drops_pmd_whole": (True, Documented("docs/KERNEL.md 4.3, step 4")),
        "split.frees_zero_pages": (True, Recorded("linux-6.12.jsonl", "x_split_unpinned")),
        "split.pmd_keeps_dirty": (True, Recorded("linux-6.12.jsonl", "mprotect_1_r")),
        "gup.coalesces": (True, Recorded("linux-6.12.jsonl", "pin_dma_whole")),
        "gup.follows_protnone": (
            True,
            Recorded("linux-6.12.jsonl", "mprotect_whole"),
            Recorded("fresh/linux-6.12.jsonl", "g_ksm_none_all"),
        ),
        "mm.mprotect_makes_writable": ("all", Recorded("linux-6.12.jsonl", "mprotect_whole")),
        "mm.mlocks_large": ("walked", Recorded("fresh/linux-6.12.jsonl", "mlk_ptes"), Recalled("since 6.7")),
        "queue.takes_new": (True, Recorded("linux-6.12.jsonl", "fault_write_mid")),
        "queue.drop_caches_rounds": (2, Recorded("linux-6.12.jsonl", "drop_caches_deferred_pinned")),
        "reclaim.splits_pte_mapped": (False, Recorded("linux-6.12.jsonl", "zram_pte_mapped_pageout")),
        "reclaim.out_notes_zeroes": (True, Recorded("fresh/linux-6.12.jsonl", "f_zero_pageout")),
        "reclaim.in_whole": (True, Recorded("linux-6.12.jsonl", "swap_pageout_whole")),
        "reclaim.in_forgets_mlock": (True, Recorded("fresh/linux-6.12.jsonl", "mlk_swapped_zram")),
        "reclaim.in_writable": (True, Recorded("linux-6.12.jsonl", "swap_pageout_part")),
        "reclaim.discards_at_once": (False, Recorded("linux-6.12.jsonl", "free_whole_reclaim")),
        "advice.free_asks_head": (False, Recorded("fresh/linux-6.12.jsonl", "d_free_head0_page1")),
        "advice.takes_large_folios": (True, Recorded("linux-6.12.jsonl", "zram_pte_mapped_pageout")),
        "advice.populate_stops": (True, Recorded("fresh/linux-6.12.jsonl", "w_wholehole_populate")),
        "advice.pageout_clears_young": (False, Recorded("linux-6.12.jsonl", "pageout_whole")),
        "proc.events": ((*V6_1.proc.events, "thp_underused_split_page"), Recorded("linux-6.12.jsonl", "underused_on")),
        "khugepaged.takes_shared": (True, Recorded("linux-6.12.jsonl", "x_khp_pte_mapped_pinned")),
        "khugepaged.batches": (False, Recorded("linux-6.12.jsonl", "x_khp_pte_mapped_pinned")),
        "ksm.scan_walks": (None, Moot("its trees find the same pages as the scan")),
        "ksm.unshares": (True, Recalled("since 6.2")),
        "ksm.marks_zero": (True, Recalled("since 6.6")),
        "hwpoison.unmaps_ksm": (True, Recorded("fresh/linux-6.12.jsonl", "hp_ksm_fork")),
        "hwpoison.checks_new": (False, Documented("docs/KERNEL.md 4.6: check_pages_enabled, since 6.3")),
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
        **ORDERS["v6.18"],
        "cow.zero_splits_pmd": (False, Recorded("linux-6.18.jsonl", "fault_read_hugezero")),
        "cow.zero_ignores_advice": (True, Recorded("live/linux-6.18.jsonl", "zero_page_nohugepage")),
        "cow.reuses_large": (
            True,
            Recorded("linux-6.18.jsonl", "mmid_second_write_pte"),
            Documented('docs/KERNEL.md 4.2, "write fault PTE of large folio"'),
        ),
        "mm.mlocks_large": ("whole", Recorded("fresh/linux-6.18.jsonl", "mlk_pmd"), Recalled("since 6.18")),
        "mm.mprotect_clears": ("batch", Documented('docs/KERNEL.md 4.2, "mprotect of PTEs"')),
        "mm.mprotect_uncharges": (True, Recorded("live/linux-6.18.jsonl", "mprotect_unfaulted")),
        "mm.merges_into_unfaulted": (True, Recorded("live/linux-6.18.jsonl", "merge_into_unfaulted")),
        "mm.mremap_looks_first": (False, Recalled("since 6.17 whether the ranges overlap comes first")),
        "mm.mremap_moves_vmas": (True, Recorded("live/linux-6.18.jsonl", "mremap_vmas")),
        "queue.drop_caches_rounds": (3, Recorded("linux-6.18.jsonl", "drop_caches_deferred_pinned")),
        "reclaim.discards_at_once": (True, Recorded("linux-6.18.jsonl", "free_whole_reclaim")),
        "reclaim.keeps_lazyfree": (True, Recorded("live/linux-6.18.jsonl", "pinned_lazyfree")),
        "advice.known": (
            V6_12.advice.known | {"guard_install", "guard_remove"},
            Recorded("live/linux-6.18.jsonl", "guard"),
        ),
        "advice.dontneed_frees_tables": (True, Recorded("live/linux-6.18.jsonl", "dontneed_table")),
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
