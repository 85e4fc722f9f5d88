"""Lesson 7, four callers: its answers, its tasks, and what its text says."""

from __future__ import annotations

from lesson_checks import answers, check_tasks, prose

from thplab.learn.lessons.callers import lesson
from thplab.learn.lessons.places import op_start
from thplab.machine.trace import Setup, record

SOLUTIONS = {
    "twice refused": "mmap A; fill A 0 1thp; pin A 1 1 dma; swap_out A 0; migrate A 0; unpin dma",
    "one page lost": "mmap A; fill A 0 1thp; fork A B; madvise A 4 1 hwpoison",
}
NEARLY = {
    "twice refused": [
        "mmap A; fill A 0 1thp; pin A 1 1 dma; swap_out A 0; migrate A 0",
        "mmap A; fill A 0 1thp; pin A 1 1 dma; swap_out A 0; swap_out A 0; unpin dma",
        "mmap A; fill A 0 1thp; pin A 1 1 dma; swap_out A 0; unpin dma; migrate A 0",
        "mmap A; fill A 0 1thp; mmap B; fill B 0 1thp; pin A 1 1 a; pin B 1 1 b; swap_out A 0; migrate B 0; unpin a; unpin b",
    ],
    "one page lost": [
        "mmap A; fill A 0 1thp; fork A B; pin A 4 1 dma; madvise A 4 1 hwpoison",
        "mmap A; fill A 0 1thp; fork A B; munmap A 4 1; munmap B 4 1",
        "mmap A; fill A 0 1thp; madvise A 4 1 hwpoison",
        "mmap A; fill A 0 1thp; mmap B; fill B 0 1thp; munmap B 4 1; madvise A 4 1 hwpoison",
        "mmap A; fill A 0 1thp; munmap A 4 1; fork A B; mmap C; fill C 0 1thp; madvise C 1 1 hwpoison",
    ],
}


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY)
    thrice = "mmap A; fill A 0 1thp; pin A 1 1 dma; swap_out A 0; swap_out A 0; migrate A 0; unpin dma"
    assert lesson.attempt("twice refused", thrice).solved


def test_what_soft_offline_says_of_a_pinned_page() -> None:
    worn = "mmap A; fill A 0 1thp; pin A 1/2thp 1 dma; madvise A 1/2thp 1 soft_offline"
    ends = [record(worn, Setup(kernel))[-1] for kernel in ("v3.16", "rfc-2014", "v4.5")]
    assert [(end.result, bool(end.state.compound_pages())) for end in ends] == [(-5, False), (-16, True), (-16, True)]
    assert "`-EIO`, an input/output error. The other two refuse at once, with `-EBUSY`" in prose(lesson)


def test_what_the_rfc_keeps_of_a_bad_page() -> None:
    bad = "mmap A; fill A 0 1thp; pin A 4 1 dma; madvise A 4 1 hwpoison; unpin dma; madvise A 4 1 hwpoison"
    ends = {kernel: record(bad, Setup(kernel))[-1].state for kernel in ("rfc-2014", "v4.5")}
    assert {kernel: len(state.compound_pages()) for kernel, state in ends.items()} == {"rfc-2014": 1, "v4.5": 0}
    head = ends["rfc-2014"].compound_pages()[0]
    assert ends["rfc-2014"].poisoned == (head + 4,) and ends["rfc-2014"].field("refcount", head) == 2
    assert "it keeps the mark *and* its own reference" in prose(lesson)


def test_an_exit_closes_the_pipe_that_holds_a_pin() -> None:
    held = "mmap A; fill A 0 1thp; fork A B; pin B 1 1 dma; exit B; migrate A 4"
    assert record(held)[-1].result == 0 and "Such a pin hangs on a pipe that B has open." in prose(lesson)


def test_the_answers_are_what_the_kernel_does() -> None:
    assert answers(lesson, "swap-out") == ["-EBUSY", "0", "1"]
    assert answers(lesson, "a bad page") == ["yes", "7"]
    assert answers(lesson, "migration") == ["-EBUSY", "1"]
    assert answers(lesson, "KSM") == ["0", "1"]
    assert answers(lesson, "two alike") == ["yes"]
    assert answers(lesson, "cut by mprotect") == ["3"]


def test_ksm_refuses_itself_until_today() -> None:
    scan = "mmap A; fill A 0 1thp; fill A 2 2 same; madvise A 2 2 mergeable; ksm_scan 3"
    kernels = ("v3.16", "rfc-2014", "v4.5", "v5.10", "v6.18")
    huge = {kernel: bool(record(scan, Setup(kernel))[-1].state.compound_pages()) for kernel in kernels}
    assert huge == {"v3.16": False, "rfc-2014": True, "v4.5": True, "v5.10": False, "v6.18": False}
    assert "Linux 4.5 does the same: recorded over four scans, it never merges them. Linux 5.10 and later split" in prose(lesson)
    events = record(scan, Setup("v6.18"))[-1].state.vmstat
    assert (events["thp_split_page_failed"], events["thp_split_page"]) == (1, 1)


def test_a_bad_page_that_is_pinned_in_the_old_world() -> None:
    state = record("mmap A; fill A 0 1thp; pin A 4 1 dma; madvise A 4 1 hwpoison", Setup("v3.16"))[-1].state
    first = min(m.pages[0] for m in state.mapped)
    assert state.pins and [m.pages for m in state.mapped if m.kind == "hwpoison"] == [range(first + 4, first + 5)]
    assert "so the page was taken from A at once; the driver kept its reference to a broken page" in prose(lesson)


def test_a_page_in_three_vmas_moves_as_a_whole() -> None:
    trace = lesson.shows["cut by mprotect"].trace()
    before, after = trace[op_start(trace, 3) - 1].state, trace[-1].state
    assert before.compound_pages() != after.compound_pages() and len(after.compound_pages()) == 1
    (head,) = after.compound_pages()
    assert int(after.pte_maps[head : head + 8].sum()) == 8 and "gets all eight PTEs back" in prose(lesson)
