"""What each of the simulated kernels calls its functions, locks and fields, where that has changed over the years.

A routine is called as one of the kernels calls the function. This table says which name holds since which kernel, and
where a function of one kernel is only a part of another function in an older or newer one: then it is a phrase. The
names were read in the sources (docs/KERNEL.md, section 0); those of v5.10 to v6.18 also stand in recordings of these
kernels at work (tests/truth/steps).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from thplab.hardware.steps import routine

ORDER = ("v3.16", "rfc-2014", "v4.5", "v5.10", "v6.1", "v6.12", "v6.18")
"""The simulated kernels, oldest first. The RFC changes v3.16."""

SINCE: Mapping[str, Mapping[str, str]] = {
    # a field and a lock
    "_count": {"v5.10": "_refcount"},
    "mmap_sem": {"v5.10": "mmap_lock"},
    # include/linux/mm.h, mm/swap.c: references, lists
    "get_page": {"v6.12": "folio_get"},
    "put_page": {"v6.12": "folio_put"},
    "folio_ref_add": {"v3.16": "get_page", "v6.12": "folio_ref_add"},
    "folio_put_refs": {"v3.16": "put_page", "v6.12": "folio_put_refs"},
    "get_page_unless_zero": {"v6.12": "folio_try_get"},
    "free_page": {"v4.5": "__put_page", "v6.1": "__folio_put"},
    "get_tails": {"v3.16": "__get_page_tail"},
    "put_tails": {"v3.16": "put_compound_page"},
    "lru_lazyfree": {"v4.5": "lru_deactivate_fn", "v5.10": "lru_lazyfree_fn", "v6.12": "lru_lazyfree"},
    "mark_page_lazyfree": {"v4.5": "deactivate_page", "v5.10": "mark_page_lazyfree", "v6.12": "folio_mark_lazyfree"},
    "isolate_lru_page": {"v6.1": "folio_isolate_lru"},
    "putback_lru_page": {"v6.1": "folio_putback_lru"},
    # mm/rmap.c
    "folio_add_new_anon_rmap": {"v3.16": "page_add_new_anon_rmap", "v6.12": "folio_add_new_anon_rmap"},
    "folio_add_anon_rmap_pmd": {"v3.16": "page_add_anon_rmap", "v6.12": "folio_add_anon_rmap_pmd"},
    "folio_add_anon_rmap_ptes": {"v3.16": "page_add_anon_rmap", "v6.12": "folio_add_anon_rmap_ptes"},
    "folio_remove_rmap_pmd": {"v3.16": "page_remove_rmap", "v6.12": "folio_remove_rmap_pmd"},
    "folio_remove_rmap_ptes": {"v3.16": "page_remove_rmap", "v6.12": "folio_remove_rmap_ptes"},
    "folio_try_dup_anon_rmap_pmd": {
        "v3.16": "page_dup_rmap",
        "v6.1": "page_try_dup_anon_rmap",
        "v6.12": "folio_try_dup_anon_rmap_pmd",
    },
    "folio_try_dup_anon_rmap_ptes": {
        "v3.16": "page_dup_rmap",
        "v6.1": "page_try_dup_anon_rmap",
        "v6.12": "folio_try_dup_anon_rmap_ptes",
    },
    "__folio_try_share_anon_rmap": {"v6.1": "page_try_share_anon_rmap", "v6.12": "__folio_try_share_anon_rmap"},
    "page_get_anon_vma": {"v6.1": "folio_get_anon_vma"},
    "page_vma_mapped_walk": {"v3.16": "page_check_address", "v5.10": "page_vma_mapped_walk"},
    "pte_offset_map_lock": {"v5.10": "page_vma_mapped_walk"},
    "try_to_migrate_one": {"v3.16": "try_to_unmap_one", "v6.1": "try_to_migrate_one"},
    "try_to_unmap_poisoned": {"v3.16": "try_to_unmap_one"},
    # mm/memory.c, arch/x86/mm/fault.c
    "do_page_fault": {"v5.10": "do_user_addr_fault"},
    "wp_page_copy": {"v3.16": "copy the page", "v4.5": "wp_page_copy"},
    "wp_can_reuse_anon_folio": {"v5.10": "may the page be written in place?", "v6.12": "wp_can_reuse_anon_folio"},
    # mm/huge_memory.c
    "set_huge_zero_page": {"v6.12": "set_huge_zero_folio"},
    "do_huge_pmd_wp_page_fallback": {"v5.10": "fall back to small pages"},
    "split_huge_pmd": {"v3.16": "split_huge_page_pmd", "rfc-2014": "split_huge_pmd"},
    "__split_huge_pmd_locked": {
        "v3.16": "__split_huge_zero_page_pmd",
        "rfc-2014": "put the table in the place of the PMD",
        "v4.5": "__split_huge_pmd_locked",
    },
    "split_huge_page_tails": {"v3.16": "split_huge_page_to_list"},
    "split_huge_page_compound_lock": {"rfc-2014": "split_huge_page_to_list"},
    "split_huge_page_freeze": {
        "v4.5": "split_huge_page_to_list",
        "v6.12": "split_huge_page_to_list_to_order",
        "v6.18": "__folio_split",
    },
    "split_huge_page_to_order": {"v6.12": "split_huge_page_to_list_to_order", "v6.18": "__folio_split"},
    "split_refcount": {"rfc-2014": "__split_huge_page_refcount"},
    "can_split_huge_page": {
        "v4.5": "could the page be split?",
        "v5.10": "can_split_huge_page",
        "v6.1": "can_split_folio",
    },
    "page_ref_freeze": {
        "v4.5": "is our reference the only one?",
        "v5.10": "page_ref_freeze",
        "v6.1": "folio_ref_freeze",
    },
    "freeze_page": {"v5.10": "unmap_page", "v6.1": "unmap_folio"},
    "freeze_page_vma": {"v5.10": "try_to_unmap_one", "v6.1": "try_to_migrate_one"},
    "unfreeze_page": {"v5.10": "remap_page"},
    "unfreeze_page_vma": {"v5.10": "remove_migration_pte"},
    "__split_huge_page": {"v6.18": "__split_unmapped_folio"},
    "__split_huge_page_tail": {"v6.18": "__split_folio_to_order"},
    "deferred_split_huge_page": {"v6.12": "deferred_split_folio"},
    # mm/gup.c, arch/x86/mm/gup.c
    "get_user_pages_fast": {"v5.10": "internal_get_user_pages_fast", "v6.12": "gup_fast"},
    "try_grab_compound_head": {"v6.1": "try_grab_folio", "v6.12": "try_grab_folio_fast"},
    "try_grab_page": {
        "v3.16": "get_page_foll",
        "rfc-2014": "get_page",
        "v5.10": "try_grab_page",
        "v6.12": "try_grab_folio",
    },
    "follow_page": {"v6.12": "folio_walk_start"},
    "follow_trans_huge_pmd": {"v6.12": "follow_huge_pmd"},
    # mm/khugepaged.c
    "khugepaged_alloc_hugepage": {
        "v5.10": "khugepaged_alloc_page",
        "v6.1": "alloc_charge_hpage",
        "v6.12": "alloc_charge_folio",
    },
    "khugepaged_scan_pmd": {"v6.1": "hpage_collapse_scan_pmd"},
    "__collapse_huge_page_swapin": {"v3.16": "see whether all pages are there", "v5.10": "__collapse_huge_page_swapin"},
    # mm/madvise.c, mm/mlock.c, mm/mprotect.c
    "do_madvise": {"v3.16": "sys_madvise", "v5.10": "do_madvise"},
    "madvise_dontneed": {"v5.10": "madvise_dontneed_free"},
    "madvise_behavior": {"v6.1": "madvise_vma_behavior"},
    "madvise_hwpoison": {"v5.10": "madvise_inject_error"},
    "do_mlock": {"v3.16": "sys_mlock", "v4.5": "do_mlock"},
    "apply_vma_lock_flags": {"v3.16": "do_mlock", "v4.5": "apply_vma_lock_flags"},
    "sys_munlock": {"v5.10": "__do_sys_munlock"},
    "sys_mprotect": {"v5.10": "do_mprotect_pkey"},
    "populate_vma_page_range": {"v3.16": "__mlock_vma_pages_range", "v4.5": "populate_vma_page_range"},
    # mm/mmap.c, mm/vma.c
    "vma_merge": {"v6.12": "vma_merge_existing_range"},
    "vma_modify_flags": {"v3.16": "change the flags of the VMA", "v6.12": "vma_modify_flags"},
    "vm_munmap": {"v5.10": "__vm_munmap"},
    "do_munmap": {"v5.10": "__do_munmap", "v6.1": "do_mas_munmap", "v6.12": "do_vmi_munmap"},
    "unmap_region": {"v6.12": "vms_clear_ptes"},
    # mm/memory-failure.c, mm/migrate.c
    "try_to_split_thp_page": {"v3.16": "split the huge page first", "v5.10": "try_to_split_thp_page"},
    "unmap_and_move": {"v6.12": "migrate_pages_batch"},
    "__unmap_and_move": {"v6.12": "unmap the page and move it"},
    "unmap_and_move_huge": {"v5.10": "__unmap_and_move", "v6.12": "unmap the page and move it"},
    "move_to_new_page": {"v6.1": "move_to_new_folio"},
    # mm/vmscan.c, mm/swap_state.c, mm/swapfile.c
    "shrink_page_list": {"v6.1": "shrink_folio_list"},
    "page_referenced": {"v6.1": "folio_referenced"},
    "add_to_swap": {"v6.18": "folio_alloc_swap"},
    "delete_from_swap_cache": {"v6.18": "swap_cache_del_folio"},
    "lookup_swap_cache": {"v6.1": "swap_cache_get_folio"},
    "try_to_free_swap": {"v6.1": "folio_free_swap"},
    "swap_free": {"v6.12": "swap_free_nr"},
    "free_swap_and_cache": {"v6.12": "free_swap_and_cache_nr"},
}
"""Name -> the kernel since which it is called something else -> what.
Before the first of them it has the name itself.
"""


@dataclass(frozen=True)
class Names:
    """What things are called in one of the kernels of ORDER."""

    kernel: str

    @cached_property
    def _now(self) -> dict[str, str]:
        until = ORDER[: ORDER.index(self.kernel) + 1]
        return {name: found[-1] for name, since in SINCE.items() if (found := [since[k] for k in until if k in since])}

    def of(self, name: str) -> str:
        """The name of a field or a lock, by one of its names."""
        return self._now.get(name, name)

    def first(self, name: str) -> str:
        """The name that SINCE has for a field or a lock of this kernel's: by it kernels are compared."""
        return next((first for first, now in self._now.items() if now == name), name)

    def shown(self, each: routine[Any, ..., Any]) -> str:
        """What a routine is called: as the kernel calls the function; with a phrase if it is only a part of one."""
        return self._now.get(each.key, each.phrase or each.key)
