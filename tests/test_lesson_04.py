"""Lesson 4, counting maps: its answers, its tasks, and the numbers in its text."""

from __future__ import annotations

import re

import pytest
from lesson_checks import NOTEBOOKS, answers, check_tasks, cost, prose

from thplab.learn.lessons.counting import LAST, THREE_KINDS, lesson
from thplab.learn.lessons.places import op_end
from thplab.machine.state import State
from thplab.machine.trace import Setup, record
from thplab.study.observe import kpagecount

KERNELS = ("v3.16", "rfc-2014", "v4.5", "v6.18")
SOLUTIONS = {
    "read backwards": "mmap A; write A 0; fork A B; fork A C; munmap B 0 1; munmap C 0 1; munmap C 4 4; pin A 5 1 dma",
    "twins": "mmap A; write A 0; fork A B; mprotect A 4 1 r; munmap B 1 7",
    "counted but not mapped": "mmap A; write A 0; fork A B; mprotect B 4 1 r; munmap B 0 1thp",
}
NEARLY = {
    "read backwards": [
        "mmap A; write A 0; fork A B; fork A C; munmap B 0 1; munmap C 0 1; munmap C 4 4",
        "mmap A; write A 0; fork A B; fork A C; mprotect A 4 1 r; munmap B 0 1; munmap C 0 1; munmap C 4 4; pin A 5 1 dma",
        "mmap A; write A 0; split A 0",
    ],
    "twins": [
        "mmap A; write A 0; fork A B; mprotect B 4 1 r",
        "mmap A; write A 0; fork A B; mprotect A 4 1 r; munmap B 1 7; pin A 0 1 dma",
        "mmap A; write A 0; mprotect A 4 1 r; pin A 0 1 dma",
    ],
    "counted but not mapped": [
        "mmap A; write A 0; fork A B; mprotect B 4 1 r; exit B",
        "mmap A; write A 0; fork A B; munmap B 0 1thp",
        "mmap A; write A 0; fork A B; mprotect B 4 1 r",
    ],
}


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY)


def test_the_answers_are_what_the_kernel_does() -> None:
    assert answers(lesson, "last PMD") == ["2", "0", "-1", "no"]
    assert answers(lesson, "as posted") == ["no", "yes"]
    assert answers(lesson, "last PMD in 4.5") == ["1", "1", "11"]
    assert answers(lesson, "last PMD in 6.18") == ["9", "0"]
    assert answers(lesson, "full size") == ["1", "1", "515"]


def counters(state: State) -> tuple[int, list[int]]:
    """The head's reference count, and the mapcounts of all subpages of the one compound page."""
    (head,) = state.compound_pages()
    return state.field("refcount", head), (state.column("mapcount", head, state.geometry.nr) + 1).tolist()


def test_forwards_and_backwards() -> None:
    count, mapcounts = counters(record(THREE_KINDS)[-1].state)
    assert (count, mapcounts) == (14, [2, 1, 1, 1, 2, 2, 2, 2]) and sum(mapcounts) == 13
    assert "the head has 2 (A's PMD and B's PTE of page 0), tails 1 to 3 have 1, tails 4 to 7 have 2. The sum is 13" in prose(lesson)
    last = record(LAST)
    assert counters(last[op_end(last, 3)].state) == (9, [2] + [1] * 7)
    twin = record(SOLUTIONS["twins"])[-1].state
    assert counters(twin) == (9, [2] + [1] * 7) and not twin.pmd_maps


def test_two_states_that_the_counters_cannot_tell_apart() -> None:
    one, other = (record(f"mmap A; write A 0{more}")[-1].state for more in ("", "; munmap A 1 7"))
    assert counters(one) == counters(other) and one.pmd_maps and not other.pmd_maps


def test_each_ledger_is_of_one_compound_page_with_a_pin() -> None:
    text = (NOTEBOOKS / f"{lesson.notebook}.ipynb").read_text()
    scenarios = re.findall(r'(?:page = |Ledger\()\\"(mmap[^\\]*)\\"', text)
    assert len(scenarios) == 3
    for scenario in scenarios:
        state = record(scenario)[-1].state
        assert len(state.compound_pages()) == 1 and state.pins, scenario


def test_the_four_numbers_of_a_tail_in_45() -> None:
    trace = record(LAST, Setup("v4.5"))
    state = trace[op_end(trace, 4)].state
    tail = state.compound_pages()[0] + 3
    field = state.field("mapcount", tail)
    assert (field, field + 1, int(state.pte_maps[tail]), kpagecount(state, tail)) == (0, 1, 0, 1)
    text = prose(lesson)
    assert "| the field `_mapcount` | 0 |" in text and "| the mapcount | 1 |" in text
    assert "| PTEs that map it | 0 |" in text and "| entries that map it, of both kinds | 1 |" in text


def test_the_high_bit_of_nr_pages_mapped() -> None:
    trace = record(LAST, Setup("v6.18"))
    state = trace[op_end(trace, 3)].state
    assert state.field("nr_pages_mapped", state.compound_pages()[0]) == 0x800000 + 8
    assert "After B's `mprotect` it is 0x800008: the bit, and 8 subpages." in prose(lesson)


def test_what_a_user_sees_of_a_pinned_tail() -> None:
    states = {kernel: record("mmap A; fill A 0 1thp; fork A B; pin A 3 1 dma", Setup(kernel))[-1].state for kernel in KERNELS}
    seen = [kpagecount(state, state.compound_pages()[0] + 3) for state in states.values()]
    assert seen == [1, 0, 2, 2]
    assert "On Linux 3.16 it shows 1, on the RFC 0, on 4.5 and on 6.18 it shows 2." in prose(lesson)


@pytest.mark.parametrize(("index", "row"), [(3, "B splits, A keeps its PMD"), (4, "B exits, with 512 PTEs"), (5, "A exits")])
def test_the_table_of_costs(index: int, row: str) -> None:
    numbers = [cost(LAST, kernel, operation=index) for kernel in KERNELS]
    assert f"| {row} | {' | '.join(map(str, numbers))} |" in prose(lesson)
    if index == 5:
        rfc, v45 = numbers[1], numbers[2]
        assert (v45, rfc) == (515, 2) and "pays 1027 and 515 where the RFC pays 512 and 2" in prose(lesson)
        assert cost(LAST, "v4.5", operation=3) - cost(LAST, "rfc-2014", operation=3) + v45 - rfc == 1028
        assert "1028 operations: 515 when the first PMD is split and 513 when the last one goes" in prose(lesson)
