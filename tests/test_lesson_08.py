"""Lesson 8, what was merged and what runs today: its answers, its tasks, and the numbers in its text."""

from __future__ import annotations

import re

import pytest
from lesson_checks import answers, check_tasks, cost, prose

from thplab.learn.lessons.merged import STORY, lesson
from thplab.learn.lessons.places import frames_in_use
from thplab.learn.widgets.recorded_payload import recorded_payload
from thplab.machine.trace import Setup, record
from thplab.scenario.text import read_operation

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
    # A pin keeps the huge page whole on the RFC's kernel, so memory failure kills nobody there; on v3.16 it kills A.
    line = "mmap A; fill A 0 1thp; fork A B; munmap B 4 1; pin A 1 1 p; madvise A 1 1 hwpoison; write A 1; read A 0"
    assert any("on v3.16 the scenario stops" in text for text in lesson.attempt("nobody can tell", line).missing)


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
    assert answers(lesson, "the split in 4.5") == ["1"]
    assert answers(lesson, "the split in 5.10") == ["0"]
    assert answers(lesson, "the split in 6.1") == ["8"]
    assert answers(lesson, "the split in 6.12") == ["1"]
    assert answers(lesson, "the split in 6.18") == ["2"]


_COUNTED = r"^(?!_).* _mapcount \+="
SPLITS = ("4.5", "5.10", "6.1", "6.12", "6.18")


def split_steps(kernel: str) -> list[str]:
    """The steps of the split of the PMD, PTE by PTE, from its first lock on, until the PMD is a table."""
    machine = Setup(f"v{kernel}").machine()
    for line in ("mmap A", "fill A 0 1thp"):
        machine.call(read_operation(line))
    machine.system.whole = False
    texts = [step.text for step in machine.begin(read_operation("mprotect A 1/2thp 1 r"))]
    end = texts.index("PMD = the PTE table")
    return texts[max(i for i in range(end) if texts[i].startswith("lock ptl")) : end + 1]


def where(steps: list[str], text: str, last: bool = False) -> int:
    """The number of the first or the last step that has the text, which may be a pattern."""
    found = [number for number, step in enumerate(steps) if re.search(text, step)]
    return found[-1 if last else 0] if found else -1


def test_the_table_of_the_five_splits() -> None:
    hidden, withdrawn, counted, exclusive, locks = [], [], [], [], []
    for kernel in SPLITS:
        steps = split_steps(kernel)
        hide, withdraw, pte, count = (where(steps, text) for text in ("not present", "withdraw", "^fill", _COUNTED))
        last_pte, last_count, gone = (where(steps, text, last=True) for text in ("^fill", _COUNTED, "_mapcount -="))
        mark, ids = where(steps, "exclusive, too", last=True), sum(step.startswith("lock mm_ids") for step in steps)
        hidden.append("first" if hide < min(withdraw, pte, count) else "last" if hide > max(last_pte, gone) else "")
        withdrawn.append("before that" if withdraw < hide else "after that" if withdraw < count else "after the counts")
        counted.append("before all PTEs" if last_count < pte else "after its PTE" if count == pte + 1 else "")
        before = "before all PTEs" if mark < pte else "before the PTE" if mark == last_pte - 1 else ""
        exclusive.append(before if mark >= 0 else "no such flag")
        locks.append("page lock" if where(steps, "page_lock") >= 0 else {0: "none", 2: "mm ids, twice"}[ids])
        assert gone > last_count, "the PMD's own mapping is taken off after the PTEs are counted"
    for row, values in (
        ("the PMD is hidden from the processors", hidden),
        ("the table is withdrawn", withdrawn),
        ("a mapping is counted", counted),
        ("PG_anon_exclusive is handed on", exclusive),
        ("locks beside the page table lock", locks),
    ):
        assert f"| {row} | {' | '.join(values)} |" in prose(lesson), (row, values)


def test_as_recorded_is_offered_in_the_four_younger_splits() -> None:
    offered = {kernel: recorded_payload(lesson.shows[f"the split in {kernel}"].trace()) for kernel in SPLITS}
    assert not offered.pop("4.5")
    for found in offered.values():
        assert [each["name"] for each in found] == ["split_pmd_sole"] and all(row["agrees"] for row in found[0]["rows"])


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
