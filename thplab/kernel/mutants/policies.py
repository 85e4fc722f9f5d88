"""Mutants that have nothing wrong but one field of the kernel record: what another kernel does, or none."""

from __future__ import annotations

from thplab.kernel.mutants.mutant import Mutant, TruthRow

MUTANTS = {
    "counts_the_huge_zero_page": Mutant(
        "a PMD over the huge zero page counts as resident memory, although no memory was spent on it",
        killed_by=TruthRow("linux-4.5.jsonl", "fault_read_hugezero", "A.R.rss"),
        kernel="v4.5",
        scenario="zero_page",
        policies={"proc.huge_zero_in_rss": True},
    ),
    "copies_a_small_page": Mutant(
        "a write to a shared huge page splits the writer's PMD and copies 4 KiB, as kernels do since 5.8",
        killed_by=TruthRow("linux-4.5.jsonl", "cow_parent_write", "A.R.pmd"),
        kernel="v4.5",
        scenario="cow",
        policies={"cow.splits_pmd": True},
    ),
    "overlooks_the_pin": Mutant(
        "a write to a huge page goes in place if it is mapped once, whoever else has pinned it",
        killed_by=TruthRow("linux-4.5.jsonl", "pin_then_fork", "B.R.runs"),
        kernel="v4.5",
        scenario="mmap A; write A 0; pin A 1 1 dma; fork A B; write A 1; write B 1",
        policies={"cow.huge_asks_mapcount": True},
    ),
    "forgets_what_is_only_pinned": Mutant(
        "a pinned huge page that lost its last mapping does not wait for its deferred split",
        killed_by=TruthRow("linux-4.5.jsonl", "pin_munmap_whole_unpin", "F0.deferred"),
        kernel="v4.5",
        scenario="pinned_munmap",
        policies={"queue.takes_unmapped": False},
    ),
    "keeps_zero_filled_pages": Mutant(
        "a page split keeps small pages that hold nothing but zeroes, instead of mapping the zero page",
        killed_by=TruthRow("linux-6.12.jsonl", "x_split_unpinned", "A.R.rss"),
        kernel="v6.12",
        scenario="mmap A; write A 0; split A 0",
        policies={"split.frees_zero_pages": False},
    ),
    "never_sure_of_a_folio": Mutant(
        "a folio's only mapper is not recognised: it copies what it could write in place",
        killed_by=TruthRow("linux-6.18.jsonl", "mmid_second_write_pte", "B.R.runs"),
        kernel="v6.18",
        scenario="mmap A; write A 0; fork A B; split_pmd B 0; exit A; write B 1",
        policies={"cow.reuses_large": False},
    ),
}
