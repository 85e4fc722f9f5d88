"""Lesson 2, the old bargain: its answers, its tasks, and the numbers in its text."""

from __future__ import annotations

import pytest
from lesson_checks import ATOMIC, answers, check_tasks, cost, prose

from thplab.hardware.geometry import X86_64
from thplab.hardware.steps import drain
from thplab.learn.lessons.old_bargain import lesson
from thplab.machine.machine import Machine
from thplab.machine.trace import Setup, record
from thplab.study.explore import PAIRS, explore

SOLUTIONS = {
    "remembered": "mmap A; write A 0; pin A 4 1 dma; pin A 4 1 gpu; pin A 5 1 net",
    "who pays": "mmap A; write A 0; fork A B; fork A C; mprotect C 4 1 r",
}
NEARLY = {
    "remembered": [
        "mmap A; write A 0; pin A 4 1 dma; pin A 5 1 gpu",
        "mmap A; write A 0; pin A 4 1 dma; pin A 5 1 gpu; pin A 6 1 net",
        "mmap A; write A 0; fork A B; pin A 4 1 dma; pin A 4 1 gpu; pin A 5 1 net",
    ],
    "who pays": [
        "mmap A; write A 0; fork A B; fork A C; munmap C 4 1",
        "mmap A; write A 0; fork A B; fork A C; mprotect C 0 1thp r",
        "mmap A; write A 0; fork A B; mprotect B 4 1 r",
        "mmap A; write A 0; fork A B; fork A C; split C 0",
        "mmap A; write A 0; mprotect A 4 1 r; fork A B; fork A C",
        "mmap A; write A 0; fork A B; fork A C; mlock A 0 1; munlock A 0 1",
        "mmap A; write A 0; fork A B; fork A C; mprotect B 4 1 r; mprotect C 4 1 r",
    ],
}


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY)


def test_any_border_inside_the_huge_page_will_do() -> None:
    for operation in ("mlock B 4 1", "madvise A 4 1 nohugepage", "mprotect A 0 1/2thp r"):
        assert lesson.attempt("who pays", f"mmap A; write A 0; fork A B; fork A C; {operation}").solved


def test_the_answers_are_what_the_kernel_does() -> None:
    assert answers(lesson, "a pin of a tail") == ["2", "6"]
    assert answers(lesson, "a split for all") == ["2", "3", "0"]


@pytest.mark.parametrize(
    ("row", "scenario", "names"),
    [
        ("letting go of a pinned tail", "mmap A; fill A 0 1thp; pin A 256 1 dma; unpin dma", ATOMIC),
        ("B's mprotect of one page, shared with A", "mmap A; fill A 0 1thp; fork A B; mprotect B 2 1 r", ATOMIC),
        ("flushes of the TLB in it", "mmap A; fill A 0 1thp; fork A B; mprotect B 2 1 r", ("flushes",)),
    ],
)
def test_the_table_of_costs(row: str, scenario: str, names: tuple[str, ...]) -> None:
    numbers = " | ".join(str(cost(scenario, kernel, names)) for kernel in ("v3.16", "rfc-2014"))
    assert f"| {row} | {numbers} |" in prose(lesson)


def test_a_reference_of_a_small_page_is_one_operation() -> None:
    assert cost("mmap A advise=none; write A 0; pin A 0 1 dma; unpin dma", "v3.16") == 1
    assert "6 atomic operations to drop it, where a small page needs 1" in prose(lesson)


@pytest.mark.parametrize(
    ("row", "at"), [("GUP takes a reference", 0), ("takes another: `get_page()`", 1), ("a reference is dropped: `put_page()`", 2)]
)
def test_the_table_of_references(row: str, at: int) -> None:
    machine = Machine("v3.16", X86_64)
    a = machine.spawn("A")
    a.mmap()
    a.write(0)
    head = machine.state.compound_pages()[0]

    def spent(page: int) -> int:
        before = dict(machine.costs)
        pages = slice(head + page, head + page + 1)
        if at == 0:
            a.pin(page, 1, f"dma{page}")
        else:
            drain((machine.system.scheme.get_pages if at == 1 else machine.system.scheme.put_pages)(machine.system, pages))
        return sum(machine.costs[name] - before.get(name, 0) for name in ATOMIC)

    if at == 2:
        a.pin(0, 6, "dma")
    assert f"{row} | {spent(0)} | {spent(5)} |" in prose(lesson)


def test_a_pin_is_no_obstacle() -> None:
    end = record("mmap A; write A 0; pin A 4 1 dma; split A 0", Setup("v3.16"))[-1]
    assert end.result == 0 and end.state.vmstat["thp_split"] == 1
    assert "As long as anybody mapped the page, the call succeeded, pinned or not" in prose(lesson)


def test_what_is_said_of_the_mark() -> None:
    right, wrong = explore(PAIRS["marked-split-and-fork"]), explore(PAIRS["unmarked-split-and-fork"])
    assert right.failure is None and right.complete
    told = "1 PMDs map the huge page"
    assert wrong.failure is not None and told in wrong.failure.problem and "but its head counts 2" in wrong.failure.problem
    assert f"{told}, but its head counts 2" in prose(lesson)
