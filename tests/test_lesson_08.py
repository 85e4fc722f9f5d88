"""Lesson 8, what was merged and what runs today: its answers, its tasks, and the numbers in its text."""

from __future__ import annotations

import pytest
from lesson_checks import answers, check_tasks, cost, prose

from thplab.learn.lessons.merged import STORY, lesson
from thplab.learn.lessons.places import frames_in_use
from thplab.machine.trace import Setup, record

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
    "nobody can tell": [
        "mmap A; fill A 0 1thp; fork A B; exit B; munmap A 4 1",
        "mmap A; fill A 0 1thp; fork A B; munmap B 0 1thp",
        "mmap A; munmap A 4 1; mmap A region=S; fill A 0 1thp region=S; fork A B",
        "mmap A; mmap A advise=none region=S; fill A 0 1thp; fill A 0 1thp region=S; fork A B; munmap A 4 1 region=S",
    ],
}
KERNELS = ("v3.16", "rfc-2014", "v4.5", "v6.18")


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY)
    assert lesson.attempt("nobody can tell", "mmap A 2thp; fill A 0 2thp; fork A B; munmap A 4 8").solved


def test_where_another_kernel_stops_is_said() -> None:
    line = "mmap A; clear_refs A 1; fill A 0 1thp; fork A B; munmap B 4 1"
    assert any("on v4.5 the scenario stops" in text for text in lesson.attempt("nobody can tell", line).missing)


def test_what_is_said_of_a_change_of_a_part_and_of_a_fork() -> None:
    alone = [cost("mmap A; fill A 0 1thp; mprotect A 256 1 r", kernel) for kernel in KERNELS]
    assert alone[0] == 1028 and (min(alone[1:]), max(alone[1:])) == (512, 518)
    assert "1028 operations in 3.16 and from 512 to 518 since" in prose(lesson)
    assert {cost("mmap A; fill A 0 1thp; fork A B", kernel) for kernel in KERNELS} == {2, 3}


def test_a_line_that_tells_the_two_youngest_apart() -> None:
    line = "mmap A; fill A 0 1thp; fork A B; mprotect A 4 1 r; exit B; write A 0"
    copied = [frames_in_use(record(line, Setup(kernel))[-1]) for kernel in ("v6.12", "v6.18")]
    assert copied[0] == copied[1] + 1


def test_the_answers_are_what_the_kernel_does() -> None:
    assert answers(lesson, "one PMD in 4.5") == ["2", "1"]
    assert answers(lesson, "one PMD in 6.18") == ["1", "9"]
    assert answers(lesson, "a write in 4.5") == ["8"]
    assert answers(lesson, "a write in 6.18") == ["1"]


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
    numbers = " | ".join(str(cost(scenario, kernel)) for kernel in KERNELS)
    assert f"| {row} | {numbers} |" in prose(lesson)


def test_what_the_story_shows_on_every_kernel() -> None:
    traces = {kernel: record(STORY, Setup(kernel)) for kernel in KERNELS}
    results = {k: [f.result for f in trace if f.op and f.op.op == "split" and f.result is not None] for k, trace in traces.items()}
    assert results["rfc-2014"] == results["v4.5"] == [-16, 0] and results["v6.18"] == [-11, 0]
    pinned = "mmap A; write A 0; pin A 1 1 d; split A 0"
    errors = {kernel: record(pinned, Setup(kernel))[-1].result for kernel in ("v5.10", "v6.1", "v6.12")}
    assert errors == {"v5.10": -16, "v6.1": -11, "v6.12": -11}
    assert "the error is `-EBUSY` until 5.10 and `-EAGAIN` in 6.1 and later" in prose(lesson)
