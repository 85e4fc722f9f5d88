"""Lesson 3, splitting one PMD: its answers, its tasks, and the numbers in its text."""

from __future__ import annotations

import re

import pytest
from lesson_checks import answers, check_tasks, cost, prose

from thplab.learn.lessons.places import op_end, op_start
from thplab.learn.lessons.split_pmd import FULL, THREE, lesson
from thplab.machine.trace import Frame, Setup, record

SOLUTIONS = {
    "one call, two splits": "mmap A 2thp; write A 0; write A 1thp; munmap A 1/2thp 1thp",
    "not where it was": "mmap A; mmap A region=T; write A 0; mremap A 1/2thp 1/2thp T 0",
    "all or nothing": "mmap A 2thp; mmap A region=T; write A 0; write A 1thp; mprotect A 0 1thp r; mremap A 0 1thp T 0; munmap A 1thp 1thp",
}
NEARLY = {
    "one call, two splits": [
        "mmap A 2thp; write A 0; write A 1thp; munmap A 0 1thp",
        "mmap A 2thp; write A 0; write A 1thp; munmap A 1 1; munmap A 1thp 1",
        "mmap A; write A 0; fork A B; split A 0",
    ],
    "not where it was": [
        "mmap A; mmap A region=T; write A 0; mremap A 0 1/2thp T 1/2thp",
        "mmap A; mmap A region=T; write A 0; mremap A 1/2thp 1/2thp T 0; split A 0",
    ],
    "all or nothing": [
        "mmap A 2thp; mmap A region=T; write A 0; write A 1thp; mprotect A 0 1thp r; mremap A 0 1thp T 0",
        "mmap A 2thp; mmap A region=T; write A 0; write A 1thp; mremap A 0 1thp T 0; munmap A 1thp 1thp",
        "mmap A 2thp; mmap A region=T; write A 0; write A 1thp; mprotect A 0 1thp none; mremap A 0 1thp T 0; munmap A 1thp 1thp",
        "mmap A 2thp; mmap A region=T; write A 0; write A 1thp; mprotect A 0 1thp r; munmap A 1thp 1thp",
        "mmap A 2thp; mmap A region=T; write A 0; write A 1thp; fork A B; mremap A 0 1thp T 0; munmap A 1thp 1thp",
    ],
}


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY, ("TOY", "X86_64"))


def test_the_answers_are_what_the_kernel_does() -> None:
    assert answers(lesson, "three processes") == ["2", "10", "3", "13", "2", "0"]
    assert answers(lesson, "full size") == ["2", "514", "3", "769", "2", "0"]
    assert answers(lesson, "no memory") == ["0", "9", "-ENOMEM"]
    assert answers(lesson, "half moves") == ["8", "4"]
    assert answers(lesson, "in 3.16") == ["0", "7"]
    assert "3 + 511 = 514, and 514 + 511 - 256 = 769" in prose(lesson)


def test_the_table_that_the_learner_fills_in() -> None:
    trace = record(THREE)
    head = trace[-1].state.compound_pages()[0]

    def row(frame: Frame) -> tuple[int, ...]:
        state = frame.state
        deposited = sum(len(tables) for process in state.processes for _, tables in process.deposited)
        counts = (state.field("mapcount", head + page) + 1 for page in (0, 1, 5))
        return (len(state.pmd_maps[head]), deposited, state.field("refcount", head), *counts)

    columns = [row(trace[op_end(trace, index)]) for index in (3, 4, 5)]
    assert columns == [(3, 3, 3, 3, 0, 0), (2, 2, 10, 3, 1, 1), (1, 1, 13, 2, 1, 2)]
    assert "The rows are 3, 2, 1 for the PMDs and the same for the deposited tables; 3, 10, 13 for the head's `_count`" in prose(lesson)
    assert "3, 3, 2 for its mapcount; 0, 1, 1 for tail 1; and 0, 1, 2 for tail 5" in prose(lesson)


def test_the_machine_without_memory_has_none() -> None:
    trace = record(FULL, Setup(memory=16))
    before = trace[op_start(trace, 5) - 1].state
    assert before.nframes == 16 and not any(before.is_free(pfn) for pfn in range(16))
    assert "It has 16 page frames, all in use" in prose(lesson)


def test_the_table_of_borders() -> None:
    rows = re.findall(r"\| `([a-z]+ A [^`]*)` \| [^|]+ \| (\d) \|", prose(lesson))
    assert len(rows) == 10
    for operation, splits in rows:
        end = record(f"mmap A 2thp; mmap A 2thp region=T; fill A 0 2thp; {operation}")[-1]
        assert end.result == 0 and end.state.vmstat["thp_split_pmd"] == int(splits), operation


@pytest.mark.parametrize(("sharers", "forks"), [("one process", ""), ("three processes", "fork A B; fork A C; ")])
def test_the_table_of_costs(sharers: str, forks: str) -> None:
    scenario = f"mmap A; fill A 0 1thp; {forks}mprotect {'B' if forks else 'A'} 256 1 r"
    kernels = ("v3.16", "rfc-2014", "v4.5", "v6.18")
    atomic = " | ".join(str(cost(scenario, kernel)) for kernel in kernels)
    flushes = " | ".join(str(cost(scenario, kernel, ["flushes"])) for kernel in kernels)
    of = " maps the page" if not forks else ""
    assert f"| atomic operations, {sharers}{of} | {atomic} |" in prose(lesson)
    assert f"| TLB flushes, {sharers} | {flushes} |" in prose(lesson)
