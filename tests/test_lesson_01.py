"""Lesson 1, page tables and the fault: its answers, its tasks, and the numbers in its text."""

from __future__ import annotations

import pytest
from lesson_checks import answers, check_tasks, prose

from thplab.hardware.geometry import X86_64
from thplab.kernel.kernels import KERNELS
from thplab.learn.lessons.page_tables import lesson, tables
from thplab.learn.lessons.places import frames_in_use
from thplab.machine.trace import Setup, Trace, record

SOLUTIONS = {
    "one of each": "mmap A; write A 0; mmap A advise=none region=S; write A 0 region=S",
    "zeros for two": "mmap A; read A 0; fork A B",
    "too small for a favour": "mmap A; munmap A 4 4; write A 0",
}
NEARLY = {
    "one of each": [
        "mmap A; write A 0; mmap A region=S; write A 0 region=S",
        "mmap A; write A 0; mprotect A 1 1 r",
        "mmap A; write A 0; mmap B advise=none; write B 0",
    ],
    "zeros for two": ["mmap A; read A 0", "mmap A; read A 0; fork A B; write B 0", "mmap A advise=none; read A 0; fork A B"],
    "too small for a favour": [
        "mmap A advise=none; write A 0",
        "mmap A; write A 0; munmap A 4 4",
        "mmap A; munmap A 4 4",
        "mmap A; madvise A 0 4 nohugepage; write A 0",
        "mmap A; mmap A advise=none region=S; write A 0 region=S",
    ],
}


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY)
    assert lesson.attempt("too small for a favour", "mmap A advise=none; madvise A 0 4 hugepage; write A 0").solved


def test_the_answers_are_what_the_kernel_does() -> None:
    assert answers(lesson, "a small page") == ["4"]
    assert answers(lesson, "a huge page") == ["4", "0"]
    assert answers(lesson, "no block") == ["a small page"]
    assert answers(lesson, "the zero page") == ["no", "yes"]


def test_the_address_of_the_lesson() -> None:
    address = 0x7F400004D123
    state = record("mmap A advise=none; write A 0 128", Setup(geometry="X86_64"))[-1].state
    assert state.vmas("A")[0].start == 0x7F4000000000
    indexes = [address >> shift & 511 for shift in (39, 30, 21, 12)]
    assert indexes == [254, 256, 0, 77] and address & 4095 == 291
    assert "PGD 254, PUD 256, PMD 0, PTE 77, and byte 291 of the page" in prose(lesson)
    (run,) = (m for m in state.mapped if not m.level and address in range(m.address, m.address + m.count * X86_64.page_size))
    assert run.index <= 77 < run.index + run.count


def _faults(trace: Trace) -> int:
    return sum(frame.step.text.endswith("page fault") for frame in trace.frames[1:] if frame.step)


def test_what_is_saved() -> None:
    small, huge = (record(f"mmap A {advise}; write A 0 1thp", Setup(geometry="X86_64")) for advise in ("advise=none", "advise=hugepage"))
    row = "| {} | {} | {} |"
    text = prose(lesson)
    assert row.format("faults", _faults(small), _faults(huge)) in text
    assert row.format("page tables, the PGD included", tables(small[-1].state), tables(huge[-1].state)) in text
    memory = [frames_in_use(trace[-1]) - frames_in_use(trace[0]) for trace in (small, huge)]
    assert row.format("page frames of memory", *memory) in text
    entries = [sum(m.count for m in trace[-1].state.mapped) for trace in (small, huge)]
    assert f"must hold for all of it | {entries[0]} | {entries[1]} |" in text


def test_the_fallback_counts_and_a_small_vma_does_not() -> None:
    assert lesson.shows["no block"].trace()[-1].state.vmstat["thp_fault_fallback"] == 1
    assert not record("mmap A; munmap A 4 4; write A 0")[-1].state.vmstat["thp_fault_fallback"]
    assert "Only the first is a fallback and counts `thp_fault_fallback`" in prose(lesson)
    assert f"Here memory has {lesson.shows['no block'].setup.memory} page frames" in prose(lesson)


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_the_text_says_of_all_kernels(kernel: str) -> None:
    huge = record("mmap A; write A 0", Setup(kernel))[-1].state
    (head,) = huge.compound_pages()
    own_counter = huge.field("mapcount", head) == -1
    assert own_counter == (kernel not in ("v3.16", "rfc-2014")), "from Linux 4.5 on a PMD is not counted in the head's _mapcount"
    assert (tables(huge), huge.field("refcount", head)) == (4, 1)
    written = record("mmap A; read A 0; write A 0", Setup(kernel))[-1].state
    entries = [(m.level, m.kind, m.count) for m in written.mapped]
    small = [(0, "page", 1), (0, "zero", 7)]
    assert entries == (small if kernel in ("v5.10", "v6.1", "v6.12") else [(1, "page", 1)])
    assert "In Linux 5.10, 6.1 and 6.12 the first write splits the PMD of zeros." in prose(lesson)
