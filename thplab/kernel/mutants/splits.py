"""Mutants of the two splits: of a PMD, and of the page."""

from __future__ import annotations

from thplab.kernel.mutants.mutant import Mutant, TruthRow
from thplab.kernel.routines import deposit, split_huge_page, split_huge_page_freeze, split_huge_pmd
from thplab.kernel.schemes.double_map import ClearsDoubleMapEarly

MUTANTS = {
    "forgets_the_tails": Mutant(
        "split_huge_pmd does not count the tails' new PTE mappings",
        {"split_pmd_mapcounts": split_huge_pmd.forgets_the_tails},
        "mapcounts_count_mappings",
    ),
    "moves_the_head": Mutant(
        "split_huge_pmd counts the head once more, as if its PMD mapping were still there",
        {"split_pmd_mapcounts": split_huge_pmd.moves_the_head},
        "mapcounts_count_mappings",
    ),
    "splits_every_pmd": Mutant(
        "split_huge_pmd splits the PMD of every process that maps the page, as before the RFC",
        {"split_huge_pmd": split_huge_pmd.splits_every_pmd},
        "a_system_call_changes_its_own_tables",
    ),
    "forgets_the_references": Mutant(
        "split_huge_pmd takes no references for the PTEs that it makes",
        {"split_pmd_refs": split_huge_pmd.forgets_the_references},
        "references_are_mappings_and_pins",
    ),
    "fills_writable_ptes": Mutant(
        "split_huge_pmd makes writable PTEs of a PMD that was read-only, so copy-on-write is forgotten",
        {"fill_ptes": split_huge_pmd.fills_writable_ptes},
        "writable_memory_is_private",
        scenario="mmap A; write A 0; fork A B; split_pmd B 0",
    ),
    "pmd_invalid_last": Mutant(
        "split_huge_pmd hides the PMD from the hardware only when the new table is ready, as kernels did up to 4.15",
        killed_by=TruthRow("steps/steps-5.10.jsonl", "split_pmd_sole", "PMD A"),
        kernel="v5.10",
        scenario="mmap A; write A 0; split_pmd A 0",
        policies={"split.invalidates_first": False},
    ),
    "counts_a_page_split": Mutant(
        "a split of one PMD is counted as if the page itself had been split",
        {"split_huge_pmd": split_huge_pmd.counts_a_page_split},
        TruthRow("linux-4.5.jsonl", "mprotect_1_r", "ev.thp_split_page"),
        kernel="v4.5",
        scenario="mmap A; write A 0; mprotect A 1 1 r",
    ),
    "deposits_nothing": Mutant(
        "a huge page is mapped without putting a PTE table aside: there will be memory for one when the PMD is split",
        {"pgtable_trans_huge_deposit": deposit.deposits_nothing},
        "a_table_is_deposited_for_each_huge_pmd",
    ),
    "allocates_a_table": Mutant(
        "split_huge_pmd takes a new PTE table and leaves the one that was put aside where it is",
        {"pgtable_trans_huge_withdraw": deposit.allocates_a_table},
        "a_table_is_deposited_for_each_huge_pmd",
    ),
    "clears_double_map_early": Mutant(
        "PageDoubleMap goes with every PMD that is split, although other PMDs still map the page",
        killed_by="double_map_means_both_kinds",
        kernel="v4.5",
        scheme=ClearsDoubleMapEarly,
    ),
    "skips_the_check": Mutant(
        "split_huge_page does not look whether somebody has pinned the page",
        {"check_pins": split_huge_page.skips_the_check},
        "references_are_mappings_and_pins",
    ),
    "splits_the_first_pmd_only": Mutant(
        "split_huge_page splits the PMD of the first process that maps the page, and forgets the others",
        {"split_all_pmds": split_huge_page.splits_the_first_pmd_only},
        "a_huge_pmd_maps_a_compound_page",
        scenario="mmap A; write A 0; fork A B; split A 0",
    ),
    "freezes_at_once": Mutant(
        "split_huge_page freezes the page before it has looked for pins: a refused split leaves the PMD split",
        {"can_split_huge_page": split_huge_page_freeze.freezes_at_once},
        TruthRow("linux-4.5.jsonl", "x_split_pinned_tail", "A.R.pmd"),
        kernel="v4.5",
        scenario="mmap A; write A 0; pin A 1 1 dma; split A 0",
    ),
    "thaws_the_first_vma_only": Mutant(
        "after a page split the parent's migration entries become PTEs again, and the child's are forgotten",
        {"unfreeze_page_vma": split_huge_page_freeze.thaws_the_first_vma_only},
        "nothing_is_frozen",
        kernel="v4.5",
        scenario="mmap A; write A 0; fork A B; split A 0",
    ),
    "posted_early_return": Mutant(
        "as the RFC was posted: a split that is refused at its first check keeps the anon_vma lock and counts no event",
        {"split_refused_at_once": split_huge_page.returns_with_the_lock},
        "no_lock_is_held",
    ),
}
