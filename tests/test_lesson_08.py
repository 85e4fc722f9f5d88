"""Lesson 8, what was merged and what runs today: its answers, its tasks, and the numbers in its text."""

from __future__ import annotations

import pytest
from lesson_checks import answers, check_tasks, prose

from thplab.lessons.merged import STORY, lesson
from thplab.lessons.places import op_end, op_start
from thplab.trace import Setup, record

SOLUTIONS = {
    "two worlds": "mmap A; write A 0; fork A B; mprotect B 1 1 r",
    "it costs less today": "mmap A; fill A 0 1thp; fork A B; write B 4",
    "nobody can tell": "mmap A; fill A 0 1thp; fork A B; munmap B 4 1",
}
NEARLY = {
    "two worlds": [
        "mmap A; write A 0; mprotect A 1 1 r",
        "mmap A; write A 0; fork A B",
        "mmap A; write A 0; fork A B; fork A C; mprotect B 1 1 r",
    ],
    "it costs less today": ["mmap A; fill A 0 1thp; fork A B; write B 4; split B 4", "mmap A; fill A 0 1thp; fork A B; read B 4"],
    "nobody can tell": ["mmap A; fill A 0 1thp; fork A B; exit B; munmap A 4 1", "mmap A; fill A 0 1thp; fork A B; munmap B 0 1thp"],
}
KERNELS = ("v3.16", "rfc-2014", "v4.5", "v6.18")


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY)


def test_the_answers_are_what_the_kernel_does() -> None:
    assert answers(lesson, "one PMD in 4.5") == ["2", "1"]
    assert answers(lesson, "one PMD in 6.18") == ["1", "9"]
    assert answers(lesson, "a write in 4.5") == ["8"]
    assert answers(lesson, "a write in 6.18") == ["1"]


def atomic(scenario: str, kernel: str) -> int:
    """What the last operation costs, at full size."""
    trace = record(scenario, Setup(kernel, "X86_64"))
    last = len(trace.scenario.ops) - 1
    before, after = trace[op_start(trace, last) - 1].state.costs, trace[op_end(trace, last)].state.costs
    return sum(after[name] - before.get(name, 0) for name in ("rmw", "bit_rmw") if name in after)


@pytest.mark.parametrize(
    ("row", "scenario"),
    [
        ("a driver lets go of a pinned tail", "mmap A; fill A 0 1thp; pin A 256 1 dma; unpin dma"),
        ("B splits its PMD while A keeps one", "mmap A; fill A 0 1thp; fork A B; mprotect B 256 1 r"),
        ("... and later A, the last PMD, exits", "mmap A; fill A 0 1thp; fork A B; mprotect B 256 1 r; exit B; exit A"),
        ("the page is split, one process maps it", "mmap A; fill A 0 1thp; split A 0"),
    ],
)
def test_the_table_of_costs(row: str, scenario: str) -> None:
    numbers = " | ".join(str(atomic(scenario, kernel)) for kernel in KERNELS)
    assert f"| {row} | {numbers} |" in prose(lesson)


def test_what_the_story_shows_on_every_kernel() -> None:
    traces = {kernel: record(STORY, Setup(kernel)) for kernel in KERNELS}
    results = {k: [f.result for f in trace if f.op and f.op.op == "split" and f.result is not None] for k, trace in traces.items()}
    assert results["rfc-2014"] == results["v4.5"] == [-16, 0] and results["v6.18"] == [-11, 0]
    pinned = "mmap A; write A 0; pin A 1 1 d; split A 0"
    errors = {kernel: record(pinned, Setup(kernel))[-1].result for kernel in ("v5.10", "v6.1", "v6.12")}
    assert errors == {"v5.10": -16, "v6.1": -11, "v6.12": -11}
    assert "the error is `-EBUSY` until 5.10 and `-EAGAIN` in 6.1 and later" in prose(lesson)
