"""Lesson 6, partial unmap and memory footprint: its answers, its tasks, and the numbers in its text."""

from __future__ import annotations

import pytest
from lesson_checks import answers, check_tasks, prose

from thplab.learn.lessons.footprint import PRESSURE, lesson
from thplab.learn.lessons.places import frames_in_use, op_end
from thplab.machine.trace import Setup, record
from thplab.study.footprint import population, project

SOLUTIONS = {
    "give it back": f"mmap A; fill A 0 1thp; munmap A 1 7; {PRESSURE}",
    "it will not go": f"mmap A; fill A 0 1thp; munmap A 4 1; pin A 1 1 dma; {PRESSURE}",
    "from one byte": "mmap A; write A 0; madvise A 4 2 cold",
}
NEARLY = {
    "give it back": [
        "mmap A; fill A 0 1thp; munmap A 1 7",
        f"mmap A; fill A 0 1thp; munmap A 1 6; {PRESSURE}",
        "mmap A; fill A 0 1thp; exit A",
    ],
    "it will not go": [
        f"mmap A; fill A 0 1thp; munmap A 4 1; {PRESSURE}",
        "mmap A; fill A 0 1thp; munmap A 4 1; pin A 1 1 dma",
        f"mmap A; fill A 0 1thp; pin A 1 1 dma; {PRESSURE}",
        f"mmap A; fill A 0 1thp; {PRESSURE}; munmap A 4 1; pin A 1 1 dma; split A 0",
        f"mmap A; fill A 0 1thp; pin A 1 1 dma how=raw; munmap A 0 8; {PRESSURE}",
    ],
    "from one byte": [
        "mmap A; write A 0",
        "mmap A; fill A 0 1thp; madvise A 4 2 cold",
        f"mmap A; write A 0; munmap A 4 1; {PRESSURE}",
        "mmap A advise=none; write A 0",
        "mmap A; write A 0; exit A; mmap A advise=none; write A 0",
        "mmap B; write B 0",
        "",
    ],
}


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY)


def test_the_answers_are_what_the_kernel_does() -> None:
    assert answers(lesson, "a hole in the RFC") == ["0", "0"]
    assert answers(lesson, "a hole in 3.16") == ["1", "0"]
    assert answers(lesson, "a hole in 4.5") == ["0", "1"]
    assert answers(lesson, "one byte in 6.18") == ["0", "7"]
    assert answers(lesson, "a shared hole") == ["0", "yes", "1"]


@pytest.mark.parametrize(
    ("kernel", "fill", "at_once", "later", "row"),
    [
        ("v3.16", "fill A 0 1thp", 1, 0, "| Linux 3.16 | 1 | 0, nothing is left to do |"),
        ("rfc-2014", "fill A 0 1thp", 0, 0, "| the RFC | 0 | 0 |"),
        ("v4.5", "fill A 0 1thp", 0, 1, "| Linux 4.5 | 0 | 1 |"),
        ("v6.18", "fill A 0 1thp", 0, 1, "| Linux 6.18 | 0 | 1; with one byte written, 7 |"),
        ("v6.18", "write A 0", 0, 7, "| Linux 6.18 | 0 | 1; with one byte written, 7 |"),
    ],
)
def test_the_table_of_the_lesson(kernel: str, fill: str, at_once: int, later: int, row: str) -> None:
    trace = record(f"mmap A; {fill}; munmap A 4 1; {PRESSURE}", Setup(kernel))
    full, hole = trace[op_end(trace, 1)], trace[op_end(trace, 2)]
    assert (frames_in_use(full) - frames_in_use(hole), frames_in_use(hole) - frames_in_use(trace[-1])) == (at_once, later)
    assert row in prose(lesson)


def test_what_is_said_of_a_thousand_huge_pages() -> None:
    question, kernels = population(1000, 0.5), ("v3.16", "rfc-2014", "v4.5")
    half = {kernel: [project(kernel, question, pressure) for pressure in (0.0, 1.0)] for kernel in kernels}
    assert [answer.held / answer.mapped for answer in half["rfc-2014"]] == [2, 2]
    assert [answer.held / answer.mapped for answer in half["v4.5"]] == [2, 1]
    assert [answer.held / answer.mapped for answer in half["v3.16"]] == [1, 1]
    front = project("rfc-2014", population(1000, 0.5, "front"), 0.0)
    assert front.held == front.mapped
    nearly_all = project("rfc-2014", population(1000, 0.98), 1.0)
    assert nearly_all.held > 0.9 * 1000 * 512 * 4096
