"""Mutants: routines and schemes that are wrong in one named way, for tests and for find-the-bug exercises.

The wrong code stands beside the right one; this table says what each replaces and which invariant finds it out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from thplab.errors import BadInput
from thplab.routines import cow, split_huge_page, split_huge_pmd, unmap


@dataclass(frozen=True)
class Mutant:
    """One way to be wrong: what it gets wrong, the routines it replaces, the invariant it breaks, a scenario that shows it."""

    about: str
    variants: dict[str, Callable[..., Any]]
    killed_by: str
    scenario: str = "story"


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
    "skips_the_check": Mutant(
        "split_huge_page does not look whether somebody has pinned the page",
        {"check_pins": split_huge_page.skips_the_check},
        "references_are_mappings_and_pins",
    ),
    "frees_the_subpage_at_once": Mutant(
        "munmap of one page gives it back at once although it is part of a compound page",
        {"zap_pte_range": unmap.frees_the_subpage_at_once},
        "a_compound_page_is_whole",
        scenario="partial_munmap",
    ),
    "posted_early_return": Mutant(
        "as the RFC was posted: a split that is refused at its first check keeps the anon_vma lock and counts no event",
        {"split_refused_at_once": split_huge_page.returns_with_the_lock},
        "no_lock_is_held",
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
}


def variants(name: str) -> dict[str, Callable[..., Any]]:
    """What the mutant of that name replaces; nothing for the empty name. Raises BadInput for an unknown one."""
    if not name:
        return {}
    if name not in MUTANTS:
        raise BadInput("mutant", f"{name!r} is unknown", "one of " + ", ".join(MUTANTS))
    return MUTANTS[name].variants
