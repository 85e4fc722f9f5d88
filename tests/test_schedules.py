"""What happens when one routine is interrupted once, anywhere, by another: every place, both orders, from several states.

Complete exploration of these pairs is too large; one interruption already meets every missing re-check under a lock.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from thplab.kernel.routines.split_huge_page_freeze import split_huge_page_freeze
from thplab.study.explore import Pair, RaceRun
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
}
SPLITS = ("split", "swap_out")


def pairs() -> Iterator[tuple[str, str, str]]:
    for state in PREPARED:
        huge = state not in ("zero page", "small pages")
        for one, other in itertools.combinations(ROUTINES, 2):
            if ("B" in one + other and "B" not in PREPARED[state]) or (one in SPLITS and not huge) or other in SPLITS:
                continue
            if one in SPLITS or "pin" in one + other:
                yield state, one, other


def finish(run: RaceRun, cpu: int) -> str:
    """Let `cpu` go on, and the other where it must wait, until both are done. Returns "" or why they are not."""
    for _ in range(2000):
        if run.done or run.bug:
            return run.bug
        if not run.move(cpu):
            if run.routines[1 - cpu] is None or not run.move(1 - cpu):
                return "both wait"
            if run.routines[1 - cpu] is not None:
                continue
        if run.routines[cpu] is None:
            cpu = 1 - cpu
    return "endless"


def interrupt_everywhere(pair: Pair) -> None:
    """Each of the two routines, stopped after each of its steps for the other one to run, ends with nothing broken."""
    places = 0
    for first in (0, 1):
        for length in range(1, 400):
            run = RaceRun(pair)
            if not all(run.move(first) and run.routines[first] is not None for _ in range(length)):
                break
            places += 1
            why = finish(run, 1 - first)
            found = why or run.problem(run.state())
            assert not found, f"after {length} steps of CPU {first}: {found}"
    assert places > 4


@pytest.mark.parametrize(("state", "one", "other"), list(pairs()), ids=lambda v: v)
def test_one_interruption_anywhere_breaks_nothing(state: str, one: str, other: str) -> None:
    # The frozen split: the RFC's own has a window against whoever maps or unmaps (docs/KERNEL.md 6.5).
    frozen = {"split_huge_page": split_huge_page_freeze}
    prepare = PREPARED[state] + ("; mmap A region=D" if "mremap" in one + other and "region=D" not in PREPARED[state] else "")
    pair = Pair(f"{state}: {one}, {other}", "", "", prepare, (ROUTINES[one], ROUTINES[other]), False, frozen)
    interrupt_everywhere(pair)
