"""Mutants of those who map, unmap, copy and protect."""

from __future__ import annotations

from thplab.kernel.mutants.mutant import Mutant, TruthRow
from thplab.kernel.routines import cow, fork, mremap, protect, unmap
from thplab.kernel.schemes.double_map import ForgetsTheQueue
from thplab.kernel.schemes.folio import CountsEveryPte, FreesTheSlotEarly

MUTANTS = {
    "forgets_write_protection": Mutant(
        "fork leaves the parent's PMD writable: the child sees what the parent writes afterwards",
        {"pmdp_set_wrprotect": fork.forgets_write_protection},
        "writable_memory_is_private",
    ),
    "keeps_the_exclusive_flag": Mutant(
        "fork leaves PG_anon_exclusive on the page that it shares, so the parent's next write goes in place",
        {"folio_try_dup_anon_rmap_pmd": fork.keeps_the_exclusive_flag},
        "writable_memory_is_private",
        kernel="v6.1",
        scenario="mmap A; write A 0; fork A B; write A 1",
    ),
    "leaves_the_child_out": Mutant(
        "fork does not link the child into the reverse map of the pages that it shares",
        {"dup_vma": fork.leaves_the_child_out},
        "the_reverse_map_finds_every_mapping",
    ),
    "keeps_the_copied_mapping": Mutant(
        "copy-on-write maps the copy, but the page that was copied still counts the mapping that is gone",
        {"drop_copied_mapping": cow.keeps_the_copied_mapping},
        "mapcounts_count_mappings",
        scenario="mmap A; write A 0; fork A B; split_pmd B 0; write B 1",
    ),
    "posted_pmd_reuse": Mutant(
        "as the RFC was posted: a write to a huge page goes in place if the head's map count is 1",
        {"may_reuse_huge_page": cow.reuses_a_mapped_once_head},
        "writable_memory_is_private",
        scenario="mmap A; write A 0; fork A B; munmap B 0 1; write A 1; exit B; exit A",
    ),
    "posted_pte_reuse": Mutant(
        "as the RFC was posted: a write to a PTE of a huge page goes in place if that page's map count is 1",
        {"may_reuse_page": cow.reuses_a_mapped_once_page},
        "writable_memory_is_private",
        scenario="mmap A; write A 0; fork A B; split_pmd B 0; write B 1; exit B; exit A",
    ),
    "grants_what_the_vma_grants": Mutant(
        "mprotect makes the PMD writable together with its VMA, although another process still maps the page",
        {"change_huge_pmd": protect.grants_what_the_vma_grants},
        "writable_memory_is_private",
        scenario="mmap A; write A 0; fork A B; mprotect B 0 1thp r; mprotect B 0 1thp rw",
    ),
    "counts_the_moved_mapping": Mutant(
        "mremap counts a mapping that only moves to another address as one more",
        {"move_ptes": mremap.counts_the_moved_mapping},
        "mapcounts_count_mappings",
        scenario="mmap A 2thp; write A 0; mremap A 1 1 R 1thp",
    ),
    "frees_the_subpage_at_once": Mutant(
        "munmap of one page gives it back at once although it is part of a compound page",
        {"zap_pte_range": unmap.frees_the_subpage_at_once},
        "a_compound_page_is_whole",
        scenario="partial_munmap",
    ),
    "forgets_the_queue": Mutant(
        "when the last PMD goes, nobody notices that some subpages have no PTE either: the page never waits for its "
        "deferred split",
        killed_by=TruthRow("linux-4.5.jsonl", "munmap_other_still_pmd", "F0.deferred"),
        kernel="v4.5",
        scenario="mmap A; write A 0; fork A B; munmap B 1 1; exit A",
        scheme=ForgetsTheQueue,
    ),
    "counts_every_pte": Mutant(
        "_nr_pages_mapped counts PTEs, not the subpages that have any: a second process makes it too high",
        killed_by="mapcounts_count_mappings",
        kernel="v6.12",
        scheme=CountsEveryPte,
        scenario="mmap A; write A 0; split_pmd A 0; fork A B",
    ),
    "frees_the_slot_early": Mutant(
        "a folio forgets an mm as soon as one of its mappings goes, and cannot tell later that the mm has it alone",
        killed_by=TruthRow("linux-6.18.jsonl", "cow_pte_reuse_after_exit", "A.R.runs"),
        kernel="v6.18",
        scenario="mmap A; write A 0; fork A B; mprotect A 1 1 r; write A 2; exit B; write A 3",
        scheme=FreesTheSlotEarly,
    ),
}
