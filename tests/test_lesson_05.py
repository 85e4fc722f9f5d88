"""Lesson 5, when the split fails: its answers, its tasks, and the numbers in its text."""

from __future__ import annotations

import pytest
from lesson_checks import answers, check_tasks, prose

from thplab.errors import BadInput
from thplab.learn.lessons.places import op_end, op_start
from thplab.learn.lessons.refused import lesson, mappings
from thplab.machine.trace import record
from thplab.study.explore import PAIRS, explore, replay
from thplab.study.explore.race import MOVES, Race

LATE = "late, and yet nothing lost"
LOSING = "0x10 1x6 0x11 1x6"
SOLUTIONS = {
    "two, one, none": "mmap A; write A 0; pin A 1 1 dma; pin A 2 1 gpu; split A 0; unpin dma; split A 0; unpin gpu; split A 0",
    "nothing left to split": "mmap A; write A 0; fork A B; mprotect B 1 1 r; mprotect A 1 1 r; split A 0",
    LATE: "0x7 1x6 0x4 1x8",
}
NEARLY = {
    "two, one, none": [
        "mmap A; write A 0; pin A 1 1 dma; split A 0; split A 0; unpin dma; split A 0",
        "mmap A; write A 0; pin A 1 2 dma; split A 0; unpin dma; split A 0",
    ],
    "nothing left to split": [
        "mmap A; write A 0; fork A B; mprotect B 1 1 r; split A 0",
        "mmap A; write A 0; fork A B; mprotect B 1 1 r; mprotect A 1 1 r; exit B; split A 0",
    ],
    LATE: [LOSING, "naive-split-and-pin: 1x6 0x13 1x3", "0x27 1x10", "0x7 1x6", "0x99", "one after the other"],
}


def test_tasks() -> None:
    check_tasks(lesson, SOLUTIONS, NEARLY)
    assert lesson.attempt(LATE, f"naive-split-and-pin: {SOLUTIONS[LATE]}").solved
    with pytest.raises(BadInput, match="geometry"):
        lesson.attempt(LATE, LOSING, "X86_64")


def test_the_answers_are_what_the_kernel_does() -> None:
    assert answers(lesson, "three attempts") == ["1", "-EBUSY", "1", "1", "1"]
    assert answers(lesson, "three attempts at full size") == ["1", "-EBUSY", "1", "1", "1"]
    assert answers(lesson, "a pin between the two looks") == ["-EBUSY", "0"]
    assert answers(lesson, "frozen") == ["1"]
    assert answers(lesson, "frozen and pinned") == ["2", "17"]


def test_the_table_of_the_prediction() -> None:
    """Its lines, each from the picture: sum of the mapcounts and references of the page that is asked for its split, and the result."""
    start = "mmap A; write A 0; fork A B; mprotect B 4 1 r; "
    lines = (("", 9, 9, 0), ("pin A 4 1 dma; ", 9, 10, -16), ("munmap B 4 1; ", 8, 8, 0), ("exit B; ", 1, 1, 0))
    for op, counted, references, result in lines:
        trace = record(start + op + "split A 0")
        end = trace[-1]
        before = trace[op_start(trace, end.op_index) - 1].state
        (head,) = before.compound_pages()
        assert (mappings(before, head), before.field("refcount", head), end.result) == (counted, references, result)
    assert "There are 9 references, and the one who splits takes the tenth: 10 - 1 = 9" in prose(lesson)


def test_what_the_two_refusals_leave_behind() -> None:
    early = lesson.shows["three attempts"].trace()
    before, after = early[op_start(early, 5) - 1].state, early[op_end(early, 5)].state
    assert (after.pmd_maps, after.field("refcount", 8)) == (before.pmd_maps, before.field("refcount", 8))
    assert {e for e, n in after.vmstat.items() if n != before.vmstat[e]} == {"thp_split_page_failed"}
    late = lesson.shows["a pin between the two looks"].trace()
    end = late[-1].state
    assert end.vmstat["thp_split_pmd"] == 2 and end.vmstat["thp_split_page_failed"] == 1
    assert end.field("refcount", 8) == 2 + 7 * 2 + 1
    assert "| head's `_count` | as before | + 7 for each PMD that was split |" in prose(lesson)


def test_the_numbers_of_the_races() -> None:
    for name in ("naive-split-and-pin", "rfc-split-and-zap"):
        found = explore(PAIRS[name])
        assert f"{found.schedules:,}" in prose(lesson) and f"{found.failing_schedules:,}" in prose(lesson)
    naive = explore(PAIRS["naive-split-and-pin"])
    assert f"through {naive.states} states" in prose(lesson) and 2 * (naive.failing_schedules or 0) > (naive.schedules or 0)
    texts = [frame.step.text for frame in replay(PAIRS["naive-split-and-pin"], LOSING) if frame.step]
    assert [i for i, text in enumerate(texts, 1) if text.startswith("so far mappings")] == [4, 5, 6, 7]
    assert texts[7].startswith("references but our own: 5 - 1 = 4, equal")


def test_how_late_the_driver_may_come() -> None:
    lost = []
    for steps in range(5, 14):
        race = Race(PAIRS["naive-split-and-pin"])
        race.load(f"0x{steps} 1x6")
        for cpu in (0, 1):
            while race.ahead(race.schedule, cpu).state == MOVES:
                race.move(cpu)
        if any(race.broken(frame.number, race.trace) for frame in race.trace):
            lost.append(steps)
    assert lost == [8, 9, 10] and "So only 8, 9 and 10 lose a page." in prose(lesson)
