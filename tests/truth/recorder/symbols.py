"""The kernel's symbols: which function an address lies in, which functions the emulator reports, where variables
are."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable

VARIABLES = (
    "huge_zero_pfn", "empty_zero_page", "init_task", "init_top_pgt", "linux_banner", "node_data",
    "__per_cpu_offset", "current_task", "pcpu_hot", "const_current_task",
)  # fmt: skip
"""The variables that are needed; a kernel has some of the last three."""

FLUSH = frozenset((
    "flush_tlb_mm_range", "arch_tlbbatch_flush", "pmdp_invalidate", "pmdp_invalidate_ad", "pmdp_huge_clear_flush",
    "ptep_clear_flush", "pmdp_collapse_flush", "tlb_remove_table_sync_one",
))  # fmt: skip
"""Functions that are a TLB flush, or end in one."""

CALL = frozenset((
    "do_huge_pmd_anonymous_page", "do_huge_pmd_wp_page", "do_huge_zero_wp_pmd", "do_swap_page", "wp_page_copy",
    "__wp_page_copy_user", "reuse_swap_page", "copy_huge_pmd", "copy_page_range", "copy_pte_range",
    "copy_user_highpage", "copy_page", "copy_mc_to_kernel", "clear_huge_page", "folio_zero_user", "__split_huge_pmd",
    "__split_huge_pmd_locked", "split_huge_pmd_locked", "zap_huge_pmd", "zap_pte_range", "unmap_vmas", "exit_mmap",
    "tlb_finish_mmu", "tlb_flush_mmu", "change_huge_pmd", "change_pte_range", "change_protection",
    "change_protection_range", "move_huge_pmd", "move_page_tables", "move_ptes", "split_huge_page_to_list",
    "split_huge_page_to_list_to_order", "__folio_split", "__split_unmapped_folio", "__split_folio_to_order",
    "__split_huge_page", "__split_huge_page_tail", "lru_add_page_tail", "lru_add_split_folio", "split_page_memcg",
    "split_page_owner", "unmap_page", "unmap_folio", "remap_page", "try_to_migrate", "try_to_migrate_one",
    "try_to_unmap", "try_to_unmap_one", "remove_migration_ptes", "remove_migration_pte", "deferred_split_huge_page",
    "deferred_split_folio", "__folio_unqueue_deferred_split", "free_transhuge_page", "folio_undo_large_rmappable",
    "page_remove_rmap", "folio_remove_rmap_pmd", "folio_remove_rmap_ptes", "folio_remove_rmap_pte",
    "__folio_remove_rmap", "page_add_anon_rmap", "do_page_add_anon_rmap", "folio_add_anon_rmap_pmd",
    "folio_add_anon_rmap_ptes", "__folio_add_anon_rmap", "page_add_new_anon_rmap", "folio_add_new_anon_rmap",
    "mem_cgroup_charge", "__mem_cgroup_charge", "free_unref_page", "free_compound_page", "destroy_compound_page",
    "__free_pages_ok", "free_unref_folios", "free_unref_page_list", "free_frozen_pages", "__put_page",
    "free_pages_and_swap_cache", "free_page_and_swap_cache", "madvise_cold_or_pageout_pte_range",
    "collapse_huge_page", "__collapse_huge_page_isolate", "__collapse_huge_page_copy", "pagevec_lru_move_fn",
    "pgtable_trans_huge_deposit", "pgtable_trans_huge_withdraw", "pte_alloc_one", "__pte_alloc",
    "ptep_set_access_flags", "pmdp_set_access_flags", "lru_cache_add", "folio_add_lru",
    "lru_cache_add_inactive_or_unevictable", "folio_add_lru_vma", "get_user_pages_fast", "get_user_pages_fast_only",
    "internal_get_user_pages_fast", "gup_fast_fallback", "gup_huge_pmd", "try_grab_compound_head", "try_grab_folio",
    "try_grab_folio_fast", "__get_user_pages", "follow_trans_huge_pmd", "follow_page_pte",
))  # fmt: skip
"""Functions whose beginning is a step of a recording, so that a reader sees where he is. To see more, add to this
list."""

ENTER = frozenset(("do_syscall_64", "exc_page_fault"))
"""Functions with which a task enters the kernel: what comes before belongs to something else."""

_CLONE = re.compile(r"\.(isra|part|constprop|cold)(\.\d+)?")
_NOT_CODE = ("__pfx_", "__SCT__", "__SCK__")


class Symbols:
    """What /proc/kallsyms says, in lines of `address type name`."""

    def __init__(self, lines: Iterable[str]) -> None:
        rows = [
            (int(address, 16), kind, name)
            for address, kind, name in (line.split()[:3] for line in lines if line.strip())
        ]
        self.variables = {name: address for address, _, name in rows if name in VARIABLES}
        code = sorted(
            (address, name) for address, kind, name in rows if kind in "tT" and not name.startswith(_NOT_CODE)
        )
        self._addresses = [address for address, _ in code]
        self._names = [_CLONE.sub("", name) for _, name in code]
        self.reported: dict[int, tuple[str, str]] = {}
        """Address of a function in one of the sets above -> the set's name, and the function's."""
        kinds = {name: kind for kind, names in (("CALL", CALL), ("FLUSH", FLUSH), ("ENTER", ENTER)) for name in names}
        for (address, name), plain in zip(code, self._names, strict=True):
            if ".cold" not in name and plain in kinds:
                self.reported[address] = kinds[plain], plain

    def function(self, address: int) -> str:
        """The function that an address lies in, without what the compiler adds to a name. The address is the
        kernel's."""
        return self._names[bisect.bisect_right(self._addresses, address) - 1]
