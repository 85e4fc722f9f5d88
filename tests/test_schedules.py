"""What happens when one routine is interrupted once, anywhere, by another: every place, both orders, from several states.

Complete exploration of these pairs is too large; one interruption already meets every missing re-check under a lock.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from thplab.kernel.routines.split_huge_page_freeze import split_huge_page_freeze
from thplab.study.explore import Pair, explore
from thplab.study.explore.pairs import MAPPED_BY_PTES

PREPARED = {
    "A's PMD": "mmap A; write A 0",
    "A's PTEs": MAPPED_BY_PTES,
    "shared PMDs": "mmap A; write A 0; fork A B",
    "A's PTEs, B's PMD": "mmap A; write A 0; fork A B; split_pmd A 0",
    "shared PTEs": "mmap A; write A 0; split_pmd A 0; fork A B",
    "zero page": "mmap A; read A 0",
    "small pages": "mmap A advise=none; write A 0 2; read A 2 2",
    "moved PTEs": "mmap A; mmap A region=D; write A 0 region=D; mremap A 0 3 R 0 region=D",
    "a pinned tail": "mmap A; write A 0; pin A 1 1 dma",
}

ROUTINES = {
    "split": "split A 0",
    "swap_out": "swap_out A 0",
    "split_pmd": "split_pmd A 0",
    "munmap all": "munmap A 0 4",
    "munmap 1": "munmap A 1 1",
    "mprotect all": "mprotect A 0 4 r",
    "mprotect 1": "mprotect A 3 1 none",
    "fork": "fork A C",
    "mlock 1": "mlock A 1 1",
    "mlock all": "mlock A 0 4",
    "mremap all": "mremap A 0 4 D 0",
    "mremap 2": "mremap A 1 2 D 2",
    "migrate": "migrate A 1",
    "khugepaged": "khugepaged_scan 0",
    "soft offline 1": "madvise A 1 1 soft_offline",
    "compaction": "sys /proc/sys/vm/compact_memory 1",
    "write": "write A 1 value=9",
    "read": "read A 2",
    "pin": "pin A 1 2 dma",
    "pin to write": "pin A 1 1 dma2 how=gupw",
    "B exits": "exit B",
    "B writes": "write B 1 value=7",
    "unpin": "unpin dma",
    "clear_refs": "clear_refs A 1",
    "split by the tail": "split A 1",
}
SPLITS = ("split", "swap_out")
OLD = ("unpin", "clear_refs", "split by the tail", "a pinned tail")
"""What is raced on v3.16 alone."""


def everywhere() -> Iterator[tuple[str, str, str]]:
    """What is raced on every kernel: a state and two routines."""
    states, routines = [state for state in PREPARED if state not in OLD], [name for name in ROUTINES if name not in OLD]
    for state in states:
        huge = state not in ("zero page", "small pages")
        for one, other in itertools.combinations(routines, 2):
            if ("B" in one + other and "B" not in PREPARED[state]) or (one in SPLITS and not huge) or other in SPLITS:
                continue
            if one in SPLITS or "pin" in one + other:
                yield state, one, other


def old() -> Iterator[tuple[str, str, str]]:
    """What is raced on v3.16."""
    yield from (race for race in everywhere() if race[0] in ("A's PMD", "shared PMDs", "zero page"))
    for one in ("split", "munmap 1", "fork", "split by the tail"):
        yield from (("a pinned tail", one, other) for other in ("unpin", "clear_refs"))
    # Not "munmap all": whoever holds only a tail must see to it that the page stays mapped, or nobody holds the head in the end.
    yield from (("A's PMD", "split by the tail", other) for other in ("munmap 1", "write", "fork", "pin"))


def hold(state: str, one: str, other: str, **machine: Any) -> None:
    """Each of the two routines, interrupted after each of its steps for the other one to run, ends with nothing broken."""
    prepare = PREPARED[state] + ("; mmap A region=D" if "mremap" in one + other and "region=D" not in PREPARED[state] else "")
    pair = Pair(f"{state}: {one}, {other}", "", "", prepare, (ROUTINES[one], ROUTINES[other]), False, **machine)
    found = explore(pair, max_switches=1)
    assert found.complete and found.failure is None, found
    assert found.states > 1


@pytest.mark.sweep(5)
@pytest.mark.parametrize(("state", "one", "other"), list(everywhere()), ids=lambda v: v)
def test_one_interruption_anywhere_breaks_nothing(state: str, one: str, other: str) -> None:
    # The frozen split: the RFC's own has a window against whoever maps or unmaps (docs/KERNEL.md 6.5).
    hold(state, one, other, variants={"split_huge_page": split_huge_page_freeze})


@pytest.mark.sweep(5)
@pytest.mark.parametrize(("state", "one", "other"), list(old()), ids=lambda v: v)
def test_one_interruption_anywhere_breaks_nothing_in_the_old_world(state: str, one: str, other: str) -> None:
    hold(state, one, other, kernel="v3.16")
