"""Recorded operations: which of them a scenario does, where its steps do the same, and the stepper that shows both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from asking import unpacked

from thplab.hardware.geometry import X86_64
from thplab.learn.widgets import Prediction, Stepper
from thplab.learn.widgets.recorded_payload import recorded_payload
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Operation, Scenario
from thplab.scenario.pages import Pages
from thplab.scenario.text import write_line
from thplab.study.explore import PAIRS, replay
from thplab.study.verify.recorded import Recording, Row, places, recorded_kernels, recording_of, recordings

SPLIT = "mmap A; fill A 0 1thp; mprotect A 4 1 r"
FOLLOWED = ("fault_write", "fork_pmd", "split_pmd_sole", "cow_ptes", "munmap_all_pmd", "split_page_sole")


def small(op: Operation) -> Operation:
    """The same about a huge page of 8 pages."""
    given = {name: value.resolve(X86_64.nr) for name, value in op.fields.items() if isinstance(value, Pages)}
    fields = {"npages": {512: 8, 1: 1}.get(given.get("npages", 0), 2), "start": 4 if given.get("start") else 0}
    return Operation(op.op, {**op.fields, **{name: fields[name] for name in given if name in fields}})


def ops_of(recording: Recording) -> tuple[Operation, ...]:
    return tuple(map(small, (*recording.setup, recording.op)))


@pytest.mark.parametrize("kernel", recorded_kernels())
def test_each_recording_is_found_in_both_geometries(kernel: str) -> None:
    for recording in recordings(kernel).values():
        for ops, nr in (((*recording.setup, recording.op), X86_64.nr), (ops_of(recording), 8)):
            found = recording_of(ops, nr, kernel)
            assert found is not None and found.name == recording.name


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (SPLIT, "split_pmd_sole"),
        ("mmap A; fill A 0 1thp; mprotect A 0 1thp r", "mprotect_all"),
        ("mmap A; fill A 0 1thp; mprotect A 4 2 r", None),  # two pages: not recorded
        ("mmap A; write A 0; mprotect A 4 1 r", None),
        ("mmap A; fill A 0 1thp; fork A B; mprotect B 4 1 r", None),  # A's was
        ("mmap A; fill A 0 1thp; pin A 3 1 anything", "pin_pmd"),
        ("mmap A; fill A 0 1thp; pin A 3 1 anything io_uring", "pin_foll_pmd"),
    ],
)
def test_what_came_before_and_how_much_of_the_page_must_be_the_same(line: str, name: str | None) -> None:
    found = recording_of(Scenario.parse(line).ops, 8, "v6.12")
    assert (found and found.name) == name


def test_nothing_is_found_on_a_kernel_that_was_not_recorded() -> None:
    assert recorded_kernels() == ["v5.10", "v6.1", "v6.12", "v6.18"]
    assert recording_of(Scenario.parse(SPLIT).ops, 8, "v4.5") is None


# --- where a trace does it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["v5.10", "v6.18"])
@pytest.mark.parametrize("name", FOLLOWED)
def test_every_row_that_agrees_is_a_step_of_the_trace_and_they_follow_each_other(kernel: str, name: str) -> None:
    trace = record(write_line(ops_of(recordings(kernel)[name])), Setup(kernel))
    *_, shown = recorded_payload(trace)
    assert shown["name"] == name and all(row["agrees"] for row in shown["rows"])
    spots = [row["frames"] for row in shown["rows"]]
    assert all(before[0] <= after[1] for before, after in pairwise(spots)) and shown["first"] == spots[0][0]
    last = trace.scenario.ops[-1]
    assert all(trace[number].op == last for row in shown["rows"] for number in row["frames"])


def test_the_rows_of_a_pmd_split_are_at_the_steps_that_say_so() -> None:
    trace = record(SPLIT, Setup("v6.12"))
    (shown,) = recorded_payload(trace)
    steps = {row["recorded"][0][0]: trace[row["frames"][0]].step for row in shown["rows"]}
    for stored, text in (
        ("PMD A[0] huge F0[0] WAD → INVALID huge F0[0] WAD", "PMD marked not present"),
        ("F0[0] _refcount 1 → 512", "head _refcount += 7"),
        ("F0[0..511] _mapcount -1 → 0 (×512)", "each subpage _mapcount += 1"),
        ("page of PMD A pmd_huge_pte table → none", "withdraw the deposited PTE table"),
        ("PTE A#0[0..511] none → F0[0] WAD (×512)", "fill 8 PTEs"),
        ("PTE A#0[8] none → F0[8] AD", "PTE 4 with the new protection"),
    ):
        step = steps[stored]
        assert step is not None and step.text.startswith(text), stored


def test_a_row_without_stores_here_has_no_place() -> None:
    ops = Scenario.parse(SPLIT).ops
    assert places([Row((), (), False)], ops, Setup("v6.12")) == [None]


# --- in the stepper -------------------------------------------------------------------------------------------------


def test_the_stepper_has_the_recording_of_each_operation_that_was_recorded() -> None:
    stepper = Stepper("mmap A; fill A 0 1thp; fork A B; write A 4", kernel="v6.18")
    assert unpacked(stepper)["recorded"] is None, "there is something, which is read when it is asked for"
    stepper.asks["recorded"](stepper)
    data = unpacked(stepper)
    assert [each["name"] for each in data["recorded"]] == ["fork_pmd", "cow_pmd_shared"]
    fork = data["recorded"][0]
    assert fork["kernel"].startswith("6.18.")
    assert fork["label"] == "fork(A, B), after mmap(A, 1 THP), fill(A, pages 0…511)"
    row = next(row for row in fork["rows"] if row["recorded"][0][0] == "PMD B[0] none → huge F0[0] D")
    assert row["here"] == [["PMD B[0] none → huge F0[0] D", "copy_huge_pmd"]]
    assert row["recorded"][0][1] == "native_set_pmd"
    assert data["frames"][row["frames"][0]]["text"].startswith("the child's PMD")


def test_a_loop_has_a_line_for_each_of_its_steps() -> None:
    (shown,) = recorded_payload(record(SPLIT, Setup("v5.10")))
    (loop,) = (row for row in shown["rows"] if row["here"][0][1] == "")
    assert [text for text, _ in loop["recorded"]] == [
        "512 times:", "PTE A#0[0..511] none → F0[0] WA", "F0[0..511] _mapcount -1 → 0",
    ]  # fmt: skip
    assert loop["frames"][1] == loop["frames"][0] + 1  # two steps there


TRACES: dict[str, Callable[[], Trace]] = {
    "no recording": lambda: record(SPLIT, Setup("v4.5")),
    "a mutant": lambda: record(SPLIT, Setup("v6.12", mutant="deposits_nothing")),
    "a swap device": lambda: record(SPLIT, Setup("v6.12", swap="swap")),
    "another CPU": lambda: record(SPLIT, Setup("v6.12")).fork("read A 0"),
    "a race": lambda: replay(next(pair for pair in PAIRS.values() if pair.kernel == "v6.18"), ""),
    "it stops before": lambda: record("mmap A; mmap A; write A 0", Setup("v6.12")),
}


@pytest.mark.parametrize("why", TRACES)
def test_nothing_is_shown_of_another_machine(why: str) -> None:
    assert recorded_payload(TRACES[why]()) == []


def test_an_operation_that_returns_something_else_is_another_one() -> None:
    trace = record(SPLIT, Setup("v6.12"))
    assert len(recorded_payload(trace)) == 1
    trace.frames[-1] = replace(trace.frames[-1], result=-12)
    assert recorded_payload(trace) == []


def test_a_question_stays_open() -> None:
    """The page hides the rows from the frame on that the question is about: they have its number."""
    trace = record(SPLIT, Setup("v6.12"))
    (shown,) = recorded_payload(trace)
    at = shown["rows"][5]["frames"][0]
    asked = Prediction(at, "What comes now?", lambda _: "A", ["A", "B"])
    stepper = Stepper(trace, predictions=[asked])
    stepper.asks["recorded"](stepper)
    data = unpacked(stepper)
    assert data["questions"][0]["at"] == at == data["recorded"][0]["rows"][5]["frames"][0]
