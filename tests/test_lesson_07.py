"""Lesson 7, four callers: its answers, its tasks, and what its text says."""

from __future__ import annotations

from lesson_checks import answers, check_tasks, prose

from thplab.lessons.callers import lesson
from thplab.lessons.places import op_start
from thplab.trace import Setup, record

SOLUTIONS = {
    "twice refused": "mmap A; fill A 0 1thp; pin A 1 1 dma; swap_out A 0; migrate A 0; unpin dma",
    "one page lost": "mmap A; fill A 0 1thp; fork A B; madvise A 4 1 hwpoison",
}
NEARLY = {
    "twice refused": [
        "mmap A; fill A 0 1thp; pin A 1 1 dma; swap_out A 0; migrate A 0",
        "mmap A; fill A 0 1thp; pin A 1 1 dma; swap_out A 0; swap_out A 0; unpin dma",
        "mmap A; fill A 0 1thp; pin A 1 1 dma; swap_out A 0; unpin dma; migrate A 0",
    ],
    "one page lost": [
        "mmap A; fill A 0 1thp; fork A B; pin A 4 1 dma; madvise A 4 1 hwpoison",
        "mmap A; fill A 0 1thp; fork A B; munmap A 4 1; munmap B 4 1",
        "mmap A; fill A 0 1thp; madvise A 4 1 hwpoison",
    ],
}


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY)


def test_the_answers_are_what_the_kernel_does() -> None:
    assert answers(lesson, "swap-out") == ["-EBUSY", "0", "1"]
    assert answers(lesson, "a bad page") == ["yes", "7"]
    assert answers(lesson, "migration") == ["-EBUSY", "1"]
    assert answers(lesson, "KSM") == ["0", "1"]
    assert answers(lesson, "two alike") == ["yes"]
    assert answers(lesson, "three VMAs") == ["3"]


def test_ksm_refuses_itself_until_today() -> None:
    scan = "mmap A; fill A 0 1thp; fill A 2 2 same; madvise A 2 2 mergeable; ksm_scan 3"
    huge = {kernel: bool(record(scan, Setup(kernel))[-1].state.compound_pages()) for kernel in ("v3.16", "rfc-2014", "v4.5", "v6.18")}
    assert huge == {"v3.16": False, "rfc-2014": True, "v4.5": True, "v6.18": False}
    assert "Linux 4.5 does the same. Linux 6.18 recognizes the case and splits the page at the second attempt." in prose(lesson)
    events = record(scan, Setup("v6.18"))[-1].state.vmstat
    assert (events["thp_split_page_failed"], events["thp_split_page"]) == (1, 1)


def test_a_bad_page_that_is_pinned_in_the_old_world() -> None:
    state = record("mmap A; fill A 0 1thp; pin A 4 1 dma; madvise A 4 1 hwpoison", Setup("v3.16"))[-1].state
    first = min(m.pages[0] for m in state.mapped)
    assert state.pins and [m.pages for m in state.mapped if m.kind == "hwpoison"] == [range(first + 4, first + 5)]
    assert "so the page was taken from A at once; the driver kept its reference to a broken page" in prose(lesson)


def test_a_page_in_three_vmas_moves_as_a_whole() -> None:
    trace = lesson.shows["three VMAs"].trace()
    before, after = trace[op_start(trace, 3) - 1].state, trace[-1].state
    assert before.compound_pages() != after.compound_pages() and len(after.compound_pages()) == 1
    (head,) = after.compound_pages()
    assert int(after.pte_maps[head : head + 8].sum()) == 8 and "gets all eight PTEs back" in prose(lesson)
