"""Lesson 0, the whole story: its answers are what the kernel does, its tasks can be solved."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lesson_checks import check_tasks

from thplab.learn.lessons.story import lesson, questions

SOLUTIONS = {
    "two tables, one page": "mmap A; write A 0; fork A B; mprotect A 1 1 r; mprotect B 1 1 r",
    "refused, then split": "mmap A; write A 0; fork A B; fork A C; pin A 1 1 dma; split A 0; unpin dma; split A 0",
    "held by nobody": "mmap A; write A 0; pin A 3 1 dma; munmap A 0 1thp",
}
NEARLY = {
    "two tables, one page": ["mmap A; write A 0; fork A B; mprotect B 1 1 r", "mmap A; write A 0; mprotect A 1 1 r; pin A 0 1thp dma"],
    "refused, then split": [
        "mmap A; write A 0; fork A B; fork A C; split A 0",
        "mmap A; write A 0; fork A B; fork A C; pin A 1 1 d; split A 0; unpin d; split A 0; exit C",
    ],
    "held by nobody": ["mmap A; write A 0", "mmap A; write A 0; exit A", "mmap A; write A 0; pin A 3 2 dma; munmap A 0 1thp"],
}


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY, ("TOY", "X86_64"))


@pytest.mark.parametrize("geometry", ["TOY", "X86_64"])
def test_the_answers_to_the_questions_are_what_the_kernel_does(geometry: str) -> None:
    show = lesson.shows["mapped and shared"]
    trace = replace(show, setup=replace(show.setup, geometry=geometry)).trace()
    nr = trace[0].state.geometry.nr
    answers = [str(p.on(trace)["actual"]) for p in questions(trace)]
    assert answers == ["2", str(nr + 1), "2", "the head's", "-EBUSY", "2", "0"]
    phases = [trace[int(p.on(trace)["at"])].phase + 1 for p in questions(trace)]
    assert phases == [2, 3, 3, 5, 5, 6, 7]
