"""The old world's routines interrupted once, anywhere, by another: as tests/test_schedules.py, with the page split of v3.16."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from test_schedules import PREPARED, ROUTINES, interrupt_everywhere, pairs

from thplab.study.explore import Pair

STATES = {name: PREPARED[name] for name in ("A's PMD", "shared PMDs", "zero page")}
MORE = {
    "unpin": "unpin dma",
    "clear_refs": "clear_refs A 1",
    "split by the tail": "split A 1",
}


def races() -> Iterator[tuple[str, str, str]]:
    yield from (race for race in pairs() if race[0] in STATES)
    yield from (
        ("a pinned tail", one, other) for one in ("split", "munmap 1", "fork", "split by the tail") for other in ("unpin", "clear_refs")
    )
    # Not "munmap all": whoever holds only a tail must see to it that the page stays mapped, or nobody holds the head in the end.
    yield from (("A's PMD", "split by the tail", other) for other in ("munmap 1", "write", "fork", "pin"))


@pytest.mark.parametrize(("state", "one", "other"), list(races()), ids=lambda v: v)
def test_one_interruption_anywhere_breaks_nothing_in_the_old_world(state: str, one: str, other: str) -> None:
    routines = ROUTINES | MORE
    prepare = STATES.get(state, "mmap A; write A 0; pin A 1 1 dma") + ("; mmap A region=D" if "mremap" in one + other else "")
    pair = Pair(f"{state}: {one}, {other}", "", "", prepare, (routines[one], routines[other]), False, kernel="v3.16")
    interrupt_everywhere(pair)
