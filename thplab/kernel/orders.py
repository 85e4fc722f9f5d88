"""What recorded steps tell of the kernels: in which order things happen inside an operation, where kernels differ.
Data, no logic.

Part of their records, which are in kernels.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from thplab.kernel.evidence import Derived, Recalled, Recorded
from thplab.kernel.policies import Told


def _steps(version: str, scenario: str) -> Recorded:
    return Recorded(f"steps/steps-{version}.jsonl", scenario)


ORDERS: Mapping[str, Told] = {
    "v5.10": {
        "split.invalidates_first": (True, _steps("5.10", "split_pmd_sole")),
        "split.locks_page": (True, _steps("5.10", "split_pmd_sole")),
        "split.looks_at_both": (True, _steps("5.10", "split_page_sole")),
        "split.tail_reference": ("next", _steps("5.10", "split_page_sole")),
        "split.remaps_by_page": (True, _steps("5.10", "split_page_shared")),
        "migration.counts_before_entry": (False, _steps("5.10", "split_page_sole")),
        "gup.pins_slowly": (True, _steps("5.10", "pin_foll_pmd")),
        "gup.counts_pin_first": (True, _steps("5.10", "pin_foll_pmd")),
        "cow.huge_page_lock": ("reuse", _steps("5.10", "reuse_pmd")),
        "cow.puts_inside_ptl": (True, _steps("5.10", "cow_ptes")),
        "mm.fault_deposits_first": (False, _steps("5.10", "fault_write")),
        "mm.mprotect_clears": ("each", _steps("5.10", "mprotect_all")),
        "mm.mprotect_flushes": ("touched", _steps("5.10", "mprotect_all")),
        "mm.mremap_flushes_locked": (True, _steps("5.10", "mremap_all")),
        "mm.zap_counts_first": (True, _steps("5.10", "munmap_all_pmd")),
        "mm.fork_protects_last": (True, _steps("5.10", "fork_pmd")),
        "queue.shrinker_keeps_tail": (True, _steps("5.10", "drop_caches_partial")),
        "khugepaged.isolates": (True, Derived("v6.1 still does it")),
        "khugepaged.flushes_twice": (True, Recalled("a fix that went into all stable kernels in 2022")),
        "hwpoison.filters_first": (False, _steps("5.10", "hwpoison_5")),
        "mm.mlocks": ("found", _steps("5.10", "x_mlock_all"), Recorded("fresh/linux-5.10.jsonl", "mlk_two_thp")),
        "reclaim.puts_back_last": (True, _steps("5.10", "x_pageout_part")),
        "advice.free_locks": (True, _steps("5.10", "x_free_part"), _steps("5.10", "x_free_all")),
        "advice.free_empties_pmd": (False, _steps("5.10", "x_free_all")),
        "advice.cold_invalidates": (True, _steps("5.10", "x_cold_all")),
        "advice.clears_to_age": (True, Derived("v6.1 still does it")),
        "advice.flushes": (True, _steps("5.10", "x_cold_all")),
        "proc.clear_refs_splits": (False, _steps("5.10", "x_clear_refs")),
        "proc.clear_refs_flushes": (False, _steps("5.10", "x_clear_refs")),
    },
    "v6.1": {
        "split.locks_page": (False, _steps("6.1", "split_pmd_sole")),
        "migration.counts_before_entry": (True, _steps("6.1", "split_page_sole")),
        "split.debugfs_holds_all": (True, _steps("6.1", "split_page_pinned")),
        "gup.pins_slowly": (True, _steps("6.1", "pin_foll_pmd")),
        "gup.counts_pin_first": (False, _steps("6.1", "pin_foll_pmd")),
        "cow.huge_page_lock": ("question", _steps("6.1", "reuse_pmd")),
        "cow.puts_inside_ptl": (True, _steps("6.1", "cow_ptes")),
        "mm.mprotect_flushes": ("changed", _steps("6.1", "mprotect_all")),
        "mm.mprotect_clears": ("each", _steps("6.1", "mprotect_all")),
        "mm.mremap_flushes_locked": (True, _steps("6.1", "mremap_all")),
        "mm.zap_counts_first": (True, _steps("6.1", "munmap_all_pmd")),
        "mm.fork_protects_last": (True, _steps("6.1", "fork_ptes")),
        "queue.shrinker_keeps_tail": (True, _steps("6.1", "drop_caches_partial")),
        "khugepaged.isolates": (True, _steps("6.1", "collapse")),
        "khugepaged.flushes_twice": (True, _steps("6.1", "collapse")),
        "hwpoison.filters_first": (False, _steps("6.1", "hwpoison_5")),
        "mm.mlocks": (
            "walked",
            _steps("6.1", "x_mlock_part"),
            _steps("6.1", "x_mlock_all"),
            Recorded("fresh/linux-6.1.jsonl", "mlk_two_thp"),
        ),
        "mm.fork_holds_first": (True, _steps("6.1", "x_fork_foll_pinned")),
        "reclaim.puts_back_last": (True, _steps("6.1", "x_pageout_part")),
        "advice.free_locks": (True, _steps("6.1", "x_free_part"), _steps("6.1", "x_free_all")),
        "advice.cold_invalidates": (True, _steps("6.1", "x_cold_all")),
        "proc.clear_refs_splits": (False, _steps("6.1", "x_clear_refs")),
        "advice.clears_to_age": (True, _steps("6.1", "cold_part")),
        "advice.flushes": (True, _steps("6.1", "cold_part")),
    },
    "v6.12": {
        "split.debugfs_holds_all": (False, _steps("6.12", "split_page_pinned")),
        "gup.pins_slowly": (False, _steps("6.12", "pin_foll_pmd")),
        "cow.puts_inside_ptl": (False, _steps("6.12", "cow_ptes")),
        "mm.mremap_flushes_locked": (True, _steps("6.12", "mremap_all")),
        "mm.zap_counts_first": (True, _steps("6.12", "munmap_all_pmd")),
        "mm.fork_protects_last": (True, _steps("6.12", "fork_ptes")),
        "mm.mprotect_flushes": ("changed", _steps("6.12", "split_pmd_shared")),
        "queue.shrinker_keeps_tail": (False, _steps("6.12", "drop_caches_partial")),
        "khugepaged.isolates": (True, _steps("6.12", "collapse")),
        "khugepaged.flushes_twice": (True, _steps("6.12", "collapse")),
        "hwpoison.filters_first": (True, _steps("6.12", "hwpoison_5")),
        "cow.reuse_unlocks_first": (True, _steps("6.12", "x_reuse_small")),
        "mm.mlocks": (
            "walked",
            _steps("6.12", "x_mlock_part"),
            _steps("6.12", "x_mlock_all"),
            Recorded("fresh/linux-6.12.jsonl", "mlk_two_thp"),
        ),
        "mm.fork_holds_first": (True, _steps("6.12", "x_fork_foll_pinned")),
        "reclaim.puts_back_last": (True, _steps("6.12", "x_pageout_part")),
        "advice.free_locks": (True, _steps("6.12", "x_free_part"), _steps("6.12", "x_free_all")),
        "advice.cold_invalidates": (False, _steps("6.12", "x_cold_all")),
        "proc.clear_refs_splits": (False, _steps("6.12", "x_clear_refs")),
        "advice.cold_trylocks": (True, _steps("6.12", "cold_part")),
        "advice.clears_to_age": (False, _steps("6.12", "cold_part")),
        "advice.flushes": (True, _steps("6.12", "cold_part")),
    },
    "v6.18": {
        "split.looks_at_both": (False, _steps("6.18", "split_page_sole")),
        "split.tail_reference": ("last", _steps("6.18", "split_page_sole")),
        "mm.fault_deposits_first": (True, _steps("6.18", "fault_write")),
        "mm.mprotect_pmd_forgets_dirty": (True, _steps("6.18", "mprotect_all")),
        "mm.mremap_flushes_locked": (True, _steps("6.18", "mremap_all")),
        "mm.zap_counts_first": (True, _steps("6.18", "munmap_all_pmd")),
        "mm.fork_protects_last": (True, _steps("6.18", "fork_ptes")),
        "mm.mprotect_flushes": ("changed", _steps("6.18", "split_pmd_shared")),
        "queue.shrinker_keeps_tail": (False, _steps("6.18", "drop_caches_partial")),
        "khugepaged.isolates": (True, _steps("6.18", "collapse")),
        "khugepaged.flushes_twice": (True, _steps("6.18", "collapse")),
        "hwpoison.filters_first": (True, _steps("6.18", "hwpoison_5")),
        "cow.reuse_unlocks_first": (True, _steps("6.18", "x_reuse_small")),
        "mm.mlocks": ("walked", _steps("6.18", "x_mlock_part"), _steps("6.18", "x_mlock_all")),
        "mm.fork_holds_first": (True, _steps("6.18", "x_fork_foll_pinned")),
        "reclaim.puts_back_last": (True, _steps("6.18", "x_pageout_part")),
        "advice.free_locks": (True, _steps("6.18", "x_free_part"), _steps("6.18", "x_free_all")),
        "advice.cold_invalidates": (True, _steps("6.18", "x_cold_all")),
        "advice.cold_trylocks": (False, _steps("6.18", "cold_part")),
        "advice.clears_to_age": (False, _steps("6.18", "cold_part")),
        "advice.flushes": (True, _steps("6.18", "cold_part")),
    },
}
