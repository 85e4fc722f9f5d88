"""The named kernels: a scheme, and the few policies in which kernels differ. Data with sources, no logic."""

from __future__ import annotations

from dataclasses import dataclass, replace

from thplab.errors import EAGAIN, EBUSY, BadInput
from thplab.kernel import caller_policies
from thplab.kernel.caller_policies import Callers
from thplab.kernel.schemes import DoubleMap, Folio, HeadCounter, Rfc, Scheme, TailPinning

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


@dataclass(frozen=True)
class Reclaim:
    """How a kernel takes memory back, by swapping or on advice: the policies of this one corner. tests/test_swap.py flips each."""

    out_whole: bool
    """A huge page goes out in one piece if the device takes it so; else it is always split first."""
    splits_pte_mapped: bool
    """Even then it is split first if no PMD maps it; else only if a part of it is mapped no more."""
    in_skips_cache: bool
    """What one entry alone names on a device that needs no waiting comes back without passing through the swap cache."""
    in_whole: bool
    """All of a huge page that is still in the swap cache is mapped by one fault; else its head alone, and its tails are copied."""
    in_writable: bool
    """A page that is the process's own comes back writable also when it is only read."""
    splits_lazyfree: bool
    """A huge page whose contents MADV_FREE has given up is split before it is thrown away."""
    discards_at_once: bool
    """All PTEs of a huge page that is thrown away are cleared at once; else one by one, so that it is partially mapped in passing."""
    pageout_clears_young: bool
    """MADV_PAGEOUT takes the accessed bit away before reclaim tries the page."""
    free_stops_at_split: bool
    """MADV_FREE of a part of a huge page only splits it; else the part is freed, too."""
    advises_large_folios: bool
    """Advice for the pages under PTEs takes a large folio that is meant whole as one; else every huge page is split."""


_SPLITS_FIRST = Reclaim(
    out_whole=False,
    splits_pte_mapped=True,
    in_skips_cache=False,
    in_whole=False,
    in_writable=False,
    splits_lazyfree=True,
    discards_at_once=False,
    pageout_clears_young=False,
    free_stops_at_split=True,  # linux-4.5.jsonl, x_swapfree_part_pinned
    advises_large_folios=False,
)
"""docs/KERNEL.md 1.5 and 3.6, add_to_swap. Up to 4.12."""


@dataclass(frozen=True)
class Kernel:
    """One kernel. Routines ask these fields and never the name."""

    name: str
    scheme: Scheme
    refcount_name: str
    """What struct page calls the reference count: `_count` until 4.6, `_refcount` since 4.7."""
    split_refused: int
    """What a page split returns when it refuses a pinned page, or, where it takes pins along, a page that nobody maps."""
    source: str
    """Where the record was read."""
    advices: frozenset[str]
    """What madvise knows; anything else is -EINVAL. Not all of it is built."""
    foll_pin: bool
    """io_uring exists and takes FOLL_PIN references."""
    coalesces_pins: bool | None
    """io_uring keeps one pin for each large folio of a buffer, instead of one for each page. None: there is no io_uring."""
    free_needs_swap: bool | None
    """MADV_FREE is MADV_DONTNEED while there is no swap. None: there is no MADV_FREE."""
    events: tuple[str, ...]
    """The THP events of its /proc/vmstat."""
    pmd_split_keeps_dirty: bool | None
    """The PTEs that a PMD split makes are dirty if the PMD was; else the page is marked dirty instead. None: no PMD is split alone."""
    unfreeze_marks_dirty: bool | None
    """PTEs that come back after a page was frozen for a split are dirty. None, here and below: no page is frozen, so it does not matter."""
    freezes_refcount: bool | None
    """A split sets the frozen page's reference count from 1 to 0 by compare-and-swap; else it reads it and relies on the freeze."""
    split_frees_zero_pages: bool | None
    """A split maps zero-filled subpages to the shared zero page, which frees them. None: no page is frozen."""
    drop_caches_rounds: int | None
    """How often drop_caches runs the shrinkers: again while they freed much, of which the rest of the kernel always has some.
    None: there is no queue."""
    queues_new_thps: bool | None
    """A new huge page goes on the deferred split queue at once: it may turn out to be hardly used. None: there is no queue."""
    mprotect_makes_writable: bool | None
    """mprotect makes the entry of an exclusive page writable at once; else the next write fault does. None: no page is exclusive."""
    freeze_drops_pmd_whole: bool | None
    """Freezing a PMD mapping takes away one mapping and one reference; else first 512 small ones are made of them."""
    migration_keeps_young: bool | None
    """A migration entry remembers the accessed and the dirty bit of the PTE that it stands for. None: no page is frozen."""
    queues_unmapped: bool | None
    """A huge page that lost its last mapping but is pinned goes on the deferred split queue. None: there is no queue."""
    clear_refs_splits: bool | None
    """Writing to /proc/PID/clear_refs splits every huge PMD of the process, and flushes the TLB; else neither. None: not on record."""
    huge_zero_in_rss: bool
    """smaps counts a PMD over the huge zero page as resident memory."""
    protnone_pmd_in_rss: bool
    """smaps counts a huge page that a PMD maps without any right as resident memory."""
    fork_keeps_zero_young: bool
    """The child's PMD over the huge zero page starts out accessed."""
    reclaim: Reclaim
    """How it swaps, and follows MADV_COLD, MADV_PAGEOUT and MADV_FREE."""
    cow_splits_pmd: bool
    """A write fault on a shared huge page splits the writer's PMD and copies 4 KiB; else it copies the huge page."""
    zero_cow_splits_pmd: bool
    """A write fault on the huge zero page splits the PMD and gives the writer 4 KiB; else it gets a huge page."""
    zero_cow_ignores_advice: bool | None
    """A write fault on the huge zero page gives a huge page even where the VMA has lost its advice since. None: not on record."""
    huge_reuse_asks_mapcount: bool
    """A write fault reuses a huge page in place if it is mapped once; else only if its reference count is 1."""
    pte_reuse_asks_mapcount: bool
    """A write fault reuses a small page that is mapped once, a part of a compound page never; else both if the reference count is 1."""
    mm_ids: bool | None
    """A large folio remembers which two mms map it: it knows whether it may be shared, and is written in place by its only mapper.
    None: no PTE maps a part of one."""
    anon_exclusive: bool
    """PG_anon_exclusive marks what one process has for itself: such a page is written in place, whoever else holds it."""
    merges_into_unfaulted: bool | None
    """A VMA with pages of its own and a neighbour without any become one VMA; else only the other way round, as the change comes."""
    mprotect_uncharges: bool | None
    """mprotect stops accounting for a VMA without pages that it makes unwritable, which differs from one with pages from then on."""
    dontneed_frees_tables: bool | None
    """MADV_DONTNEED of all that a PTE table maps frees the table: the next fault may bring a huge page."""
    mremap_moves_vmas: bool | None
    """mremap to a fixed place moves all VMAs in a range; else the range must lie in one."""
    debugfs_split: str
    """What the file split_huge_pages of debugfs splits: "all" huge pages of the machine, a "range"; empty: there is no such file."""
    callers: Callers
    """What the callers of split_huge_page do: KSM, khugepaged, memory failure, migration."""

    @property
    def head_counters(self) -> tuple[HeadCounter, ...]:
        """The counters that a compound page has once: the scheme's, and the count of FOLL_PIN pins where there are any."""
        return (*self.scheme.head_counters, *((HeadCounter("pincount", "pincount", 0),) if self.foll_pin else ()))


V3_16 = Kernel(
    name="v3.16",
    scheme=TailPinning(),
    refcount_name="_count",
    split_refused=1,  # docs/KERNEL.md 1.6, number 3: no errno, and only for a page that nobody maps
    advices=_ADVICES,  # tests/truth/README.md part C, limits
    foll_pin=False,  # linux-3.16.jsonl, x_uring_1_munmap
    coalesces_pins=None,
    free_needs_swap=None,
    source="docs/KERNEL.md section 1, of which 1.6 wins; tests/truth/linux-3.16.jsonl",
    events=(  # docs/KERNEL.md 1.1
        "thp_fault_alloc",
        "thp_fault_fallback",
        "thp_collapse_alloc",
        "thp_collapse_alloc_failed",
        "thp_split",
        "thp_zero_page_alloc",
    ),
    pmd_split_keeps_dirty=None,
    unfreeze_marks_dirty=None,
    freezes_refcount=None,
    split_frees_zero_pages=None,
    drop_caches_rounds=None,
    queues_new_thps=None,
    mprotect_makes_writable=None,
    freeze_drops_pmd_whole=None,
    migration_keeps_young=None,
    queues_unmapped=None,
    clear_refs_splits=True,  # linux-3.16.jsonl, l_clear_refs
    huge_zero_in_rss=True,  # docs/KERNEL.md 1.6, number 13
    protnone_pmd_in_rss=True,
    fork_keeps_zero_young=True,
    reclaim=_SPLITS_FIRST,
    zero_cow_splits_pmd=False,
    zero_cow_ignores_advice=None,  # no recording asks
    mm_ids=None,
    cow_splits_pmd=False,  # linux-3.16.jsonl, l_cow_pin_parent_writes; docs/KERNEL.md 1.2
    huge_reuse_asks_mapcount=True,  # linux-3.16.jsonl, l_reuse_ignores_pins
    pte_reuse_asks_mapcount=True,  # tests/truth/README.md part C, "COW after the split"
    anon_exclusive=False,
    callers=caller_policies.V3_16,
    merges_into_unfaulted=None,  # no recording asks
    mprotect_uncharges=None,  # no recording asks
    dontneed_frees_tables=None,  # no recording asks
    mremap_moves_vmas=None,  # no recording asks
    debugfs_split="",  # linux-3.16.jsonl, x_split_debugfs_unpinned
)

RFC_2014 = Kernel(
    name="rfc-2014",
    scheme=Rfc(),
    refcount_name="_count",
    split_refused=-EBUSY,  # docs/KERNEL.md 2.2, "split_huge_page, pinned"
    advices=_ADVICES,  # as 3.16: tests/truth/README.md part C, limits
    foll_pin=False,
    coalesces_pins=False,
    free_needs_swap=None,
    source="docs/KERNEL.md section 2; mails 1402329861-7037-N-git-send-email-kirill.shutemov of 9 June 2014",
    events=_EVENTS,  # patch 05 splits thp_split into three
    pmd_split_keeps_dirty=True,  # docs/KERNEL.md 2.6, step 4
    unfreeze_marks_dirty=False,  # the RFC does not freeze; its v2 patch 18 is not on record in detail
    freezes_refcount=False,  # docs/KERNEL.md 2.5
    split_frees_zero_pages=False,
    drop_caches_rounds=1,
    queues_new_thps=False,
    mprotect_makes_writable=False,
    freeze_drops_pmd_whole=False,
    migration_keeps_young=False,
    queues_unmapped=False,  # there is no queue
    clear_refs_splits=True,  # as its base, which calls what patch 04 makes split_huge_pmd
    huge_zero_in_rss=True,  # as its base: docs/KERNEL.md 1.6, number 13
    protnone_pmd_in_rss=True,
    fork_keeps_zero_young=True,  # as 3.16
    reclaim=_SPLITS_FIRST,
    cow_splits_pmd=False,  # docs/KERNEL.md 2.2
    zero_cow_splits_pmd=False,  # as 3.16
    zero_cow_ignores_advice=None,  # no recording asks
    huge_reuse_asks_mapcount=False,  # docs/KERNEL.md 2.5 (b)
    pte_reuse_asks_mapcount=True,  # docs/KERNEL.md 2.5 (c)
    mm_ids=False,
    anon_exclusive=False,
    merges_into_unfaulted=None,  # no recording asks
    mprotect_uncharges=None,  # no recording asks
    dontneed_frees_tables=None,  # no recording asks
    mremap_moves_vmas=None,  # no recording asks
    debugfs_split="",  # as its base: linux-3.16.jsonl, x_split_debugfs_unpinned
    callers=caller_policies.RFC_2014,
)

V4_5 = Kernel(
    name="v4.5",
    scheme=DoubleMap(),
    refcount_name="_count",  # renamed in 4.6
    split_refused=-EBUSY,  # tests/truth/README.md part A, "split, 1 extra ref"
    advices=_ADVICES | {"free"},  # MADV_FREE came with 4.5; the rest of tests/truth/README.md part A, limits
    foll_pin=False,  # linux-4.5.jsonl, x_uring_1_munmap
    coalesces_pins=None,
    free_needs_swap=True,  # linux-4.5.jsonl, free_part_shared
    source="docs/KERNEL.md section 3; tests/truth/linux-4.5.jsonl",
    events=_EVENTS,  # thp_deferred_split_page came with 4.6
    pmd_split_keeps_dirty=False,  # linux-4.5.jsonl, mprotect_1_r
    unfreeze_marks_dirty=True,  # linux-4.5.jsonl, x_split_unpinned
    freezes_refcount=False,  # docs/KERNEL.md, corrections 1
    split_frees_zero_pages=False,  # tests/truth/README.md part A, "split ok, sole"
    drop_caches_rounds=1,  # linux-4.5.jsonl, drop_caches_deferred_pinned
    queues_new_thps=False,  # tests/truth/README.md part A, "THP fault"
    mprotect_makes_writable=None,
    freeze_drops_pmd_whole=False,  # docs/KERNEL.md 3.3, step 2
    migration_keeps_young=False,  # linux-4.5.jsonl, x_split_unpinned
    clear_refs_splits=None,
    queues_unmapped=True,  # linux-4.5.jsonl, pin_munmap_whole_unpin; part A, surprise 5
    huge_zero_in_rss=False,  # docs/KERNEL.md 1.6, number 13
    protnone_pmd_in_rss=True,  # linux-4.5.jsonl, mprotect_whole
    fork_keeps_zero_young=True,  # linux-4.5.jsonl, fault_read_hugezero_fork_write
    reclaim=_SPLITS_FIRST,
    cow_splits_pmd=False,  # tests/truth/README.md part A, surprise 3
    zero_cow_splits_pmd=False,  # tests/truth/README.md part A, "huge zero page, then write 1"
    zero_cow_ignores_advice=None,  # no recording asks
    huge_reuse_asks_mapcount=False,  # tests/truth/README.md part A, surprise 11
    pte_reuse_asks_mapcount=True,  # docs/KERNEL.md 3.2, "write fault on a PTE of a THP"
    mm_ids=None,
    anon_exclusive=False,
    merges_into_unfaulted=None,  # no recording asks
    mprotect_uncharges=None,  # no recording asks
    dontneed_frees_tables=None,  # no recording asks
    mremap_moves_vmas=None,  # no recording asks
    debugfs_split="all",  # linux-4.5.jsonl, x_split_debugfs_unpinned
    callers=caller_policies.V4_5,
)

V5_10 = replace(
    V4_5,
    name="v5.10",
    callers=caller_policies.V5_10,
    refcount_name="_refcount",
    source="tests/truth/linux-5.10.jsonl",
    advices=V4_5.advices | {"cold", "pageout", "wipeonfork"},  # 5.4, 5.4, 4.14
    foll_pin=True,  # linux-5.10.jsonl, pin_dma_whole
    coalesces_pins=False,  # linux-5.10.jsonl, pin_dma_whole
    free_needs_swap=False,  # since 4.12
    events=(*_EVENTS, "thp_deferred_split_page", "thp_swpout", "thp_swpout_fallback", "pglazyfree", "pglazyfreed"),
    freezes_refcount=True,  # since 4.8: docs/KERNEL.md, corrections 1
    unfreeze_marks_dirty=False,  # linux-5.10.jsonl, x_split_unpinned
    reclaim=Reclaim(
        out_whole=True,  # linux-5.10.jsonl, swap_pageout_whole
        splits_pte_mapped=True,  # linux-5.10.jsonl, zram_pte_mapped_pageout
        in_skips_cache=True,  # linux-5.10.jsonl, zram_zerofilled_pageout
        in_whole=False,  # linux-5.10.jsonl, swap_pageout_whole
        in_writable=False,  # linux-5.10.jsonl, swap_pageout_part
        splits_lazyfree=True,  # linux-5.10.jsonl, free_whole_reclaim
        discards_at_once=False,
        pageout_clears_young=True,  # linux-6.1.jsonl, pageout_whole
        free_stops_at_split=False,  # linux-5.10.jsonl, x_swapfree_part_pinned
        advises_large_folios=False,  # linux-5.10.jsonl, zram_pte_mapped_pageout
    ),
    queues_unmapped=False,  # tests/truth/README.md part A, surprise 5
    fork_keeps_zero_young=False,  # linux-5.10.jsonl, fault_read_hugezero_fork_write
    cow_splits_pmd=True,  # tests/truth/README.md part A, surprise 3
    zero_cow_splits_pmd=True,  # tests/truth/README.md part A, "huge zero page, then write 1"
    huge_reuse_asks_mapcount=True,  # tests/truth/README.md part A, surprise 11
    mm_ids=False,
    pte_reuse_asks_mapcount=False,  # tests/truth/README.md part A, "write after others gone, PTE map"
)

V6_1 = replace(
    V5_10,
    name="v6.1",
    callers=caller_policies.V6_1,
    events=(*V5_10.events, "thp_scan_exceed_none_pte", "thp_scan_exceed_swap_pte", "thp_scan_exceed_share_pte", "ksm_swpin_copy"),
    source="tests/truth/linux-6.1.jsonl",
    split_refused=-EAGAIN,  # tests/truth/README.md part A, "split, 1 extra ref"
    advices=V5_10.advices | {"populate_write", "collapse"},  # 5.14, 6.1
    protnone_pmd_in_rss=False,  # linux-6.1.jsonl, mprotect_whole
    migration_keeps_young=True,  # linux-6.1.jsonl, x_split_unpinned
    huge_reuse_asks_mapcount=False,  # tests/truth/README.md part A, surprise 11
    mprotect_makes_writable=False,  # linux-6.1.jsonl, mprotect_whole
    anon_exclusive=True,  # tests/truth/README.md part A, surprise 14
    debugfs_split="range",  # tests/truth/README.md part A, "debugfs, pinned"; the file takes a range since 5.13
    reclaim=replace(V5_10.reclaim, splits_lazyfree=False),  # linux-6.1.jsonl, free_whole_reclaim
)

V6_12 = replace(
    V6_1,
    name="v6.12",
    callers=caller_policies.V6_12,
    scheme=Folio(mm_ids=False),
    source="docs/KERNEL.md section 4; tests/truth/linux-6.12.jsonl",
    events=(*V6_1.events, "thp_underused_split_page"),
    coalesces_pins=True,  # linux-6.12.jsonl, pin_dma_whole
    reclaim=replace(
        V6_1.reclaim,
        splits_pte_mapped=False,  # linux-6.12.jsonl, zram_pte_mapped_pageout
        in_whole=True,  # linux-6.12.jsonl, swap_pageout_whole
        in_writable=True,  # linux-6.12.jsonl, swap_pageout_part
        pageout_clears_young=False,  # linux-6.12.jsonl, pageout_whole
        advises_large_folios=True,  # linux-6.12.jsonl, zram_pte_mapped_pageout
    ),
    split_frees_zero_pages=True,  # tests/truth/README.md part A, surprise 8
    queues_new_thps=True,  # tests/truth/README.md part A, surprise 7
    mprotect_makes_writable=True,  # linux-6.12.jsonl, mprotect_whole
    pmd_split_keeps_dirty=True,  # linux-6.12.jsonl, mprotect_1_r
    drop_caches_rounds=2,  # linux-6.12.jsonl, drop_caches_deferred_pinned
    freeze_drops_pmd_whole=True,  # docs/KERNEL.md 4.3, step 4
    protnone_pmd_in_rss=True,  # linux-6.12.jsonl, mprotect_whole
)

V6_18 = replace(
    V6_12,
    name="v6.18",
    callers=caller_policies.V6_18,
    advices=V6_12.advices - {"soft_offline", "hwpoison"},  # linux-6.18.jsonl: built without CONFIG_MEMORY_FAILURE
    events=(*V6_12.events, "cow_ksm"),  # 5.18; tests/truth/README.md part B records it, part A does not
    scheme=Folio(mm_ids=True),
    source="docs/KERNEL.md section 4; tests/truth/linux-6.18.jsonl",
    reclaim=replace(V6_12.reclaim, discards_at_once=True),  # linux-6.18.jsonl, free_whole_reclaim
    zero_cow_splits_pmd=False,  # linux-6.18.jsonl, fault_read_hugezero
    clear_refs_splits=False,  # thplab/study/live/recorded/linux-6.18.jsonl, clear_refs
    zero_cow_ignores_advice=True,  # thplab/study/live/recorded/linux-6.18.jsonl, zero_page_nohugepage
    drop_caches_rounds=3,  # linux-6.18.jsonl, drop_caches_deferred_pinned
    mm_ids=True,  # docs/KERNEL.md 4.2, "write fault PTE of large folio"
    merges_into_unfaulted=True,  # thplab/study/live/recorded/linux-6.18.jsonl, merge_into_unfaulted
    mprotect_uncharges=True,  # thplab/study/live/recorded/linux-6.18.jsonl, mprotect_unfaulted
    dontneed_frees_tables=True,  # thplab/study/live/recorded/linux-6.18.jsonl, dontneed_table
    mremap_moves_vmas=True,  # thplab/study/live/recorded/linux-6.18.jsonl, mremap_vmas
)

KERNELS = {k.name: k for k in (RFC_2014, V3_16, V4_5, V5_10, V6_1, V6_12, V6_18)}
DEFAULT = RFC_2014.name


def kernel(name: str) -> Kernel:
    """The kernel record of that name. Raises BadInput for an unknown one."""
    try:
        return KERNELS[name]
    except KeyError:
        raise BadInput("kernel", f"{name!r} is unknown", "one of " + ", ".join(KERNELS)) from None
