"""Lesson 9, your own kernel: its answers, its tasks, and that what it shows can be replayed where nothing can be run."""

from __future__ import annotations

from lesson_checks import NOTEBOOKS, answers, check_tasks, prose

from thplab.learn.lessons.own_kernel import lesson
from thplab.machine.trace import Setup, record
from thplab.scenario import load
from thplab.study.live import portable_part, shipped

SOLUTIONS = {
    "split without root": "mmap A; fill A 0 1thp; madvise A 1/2thp 2 cold",
    "a hole that is none": "mmap A; fill A 0 1thp; fork A B; munmap A 1/2thp 1",
}
NEARLY = {
    "split without root": [
        "mmap A; fill A 0 1thp; split A 0",
        "mmap A; write A 0; madvise A 1/2thp 2 cold",
        "mmap A; fill A 0 1thp; pin A 1 1 dma; madvise A 1/2thp 2 cold",
        "mmap A; fill A 0 1thp; madvise A 1/2thp 2 dontneed; madvise A 0 1 cold; fill A 1/2thp 2",
        "mmap A; write A 0; madvise A 1/2thp 2 cold; fill A 0 1thp",
    ],
    "a hole that is none": [
        "mmap A; fill A 0 1thp; fork A B; munmap A 1/2thp 1; exit B",
        "mmap A; fill A 0 1thp; fork A B; munmap A 0 1thp",
        "mmap A; fill A 0 1thp; fork A B; munmap A 1/2thp 1; munmap B 1/2thp 2; exit A",
    ],
}


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY, ("", "TOY"))


def test_the_answers_are_what_the_kernel_does() -> None:
    assert answers(lesson, "a hole") == ["0", "0"]
    assert answers(lesson, "a refusal") == ["thp_split_page_failed", "thp_split_page"]


def test_what_the_lesson_runs_is_portable_and_recorded() -> None:
    for name in ("partial_munmap", "pinned_split", "small_pages"):
        assert f'LiveLab("{name}")' in _code()
        scenario = load(name)
        assert portable_part(scenario)[1] is None and shipped(scenario) is not None


def _code() -> str:
    return (NOTEBOOKS / f"{lesson.notebook}.ipynb").read_text().replace('\\"', '"')


def test_what_is_said_of_the_refusal() -> None:
    trace = record(load("pinned_split"), Setup("v6.18", "X86_64"))
    results = [frame.result for frame in trace if frame.op is not None and frame.op.op == "madvise" and frame.result is not None]
    assert results == [0, 0] and "Look at the first `madvise`: it returns 0." in prose(lesson)
