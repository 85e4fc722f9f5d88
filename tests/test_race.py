"""A race that is played: who may move, going back, finding what breaks it; and what the race stepper shows and answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from asking import ask, unpacked

from thplab.errors import BadInput
from thplab.hardware.geometry import TINY
from thplab.hardware.steps import Routine
from thplab.learn.widgets import RaceStepper, Stepper
from thplab.learn.widgets.payload import code
from thplab.machine.machine import Machine
from thplab.show.describe import columns, describe, narrate
from thplab.study.explore import PAIRS, Pair, format_schedule, replay
from thplab.study.explore.race import ENDED, MOVES, STOPPED, WAITS, Race
from thplab.study.invariants import check_state

BLIND = "blind-pmd-split-and-zap"  # small, and it loses
SEEING = "pmd-split-and-zap"  # small, and it holds


def race(name: str = BLIND) -> Race:
    return Race(PAIRS[name])


# --- playing --------------------------------------------------------------------------------------------------------------


def test_whoever_is_chosen_moves_and_a_step_back_gives_up_what_came_after() -> None:
    played = race()
    for cpu in (0, 1, 1):
        played.move(cpu)
    assert played.schedule == (0, 1, 1) and played.line == f"{BLIND}: 0x1 1x2"
    assert [f.cpu for f in played.trace.frames[1:]] == [0, 1, 1]
    played.move(0, at=1)
    assert list(played.schedule) == [0, 0]


def test_a_blocked_cpu_does_not_move_and_says_what_it_waits_for() -> None:
    played = race(SEEING)
    for cpu in (1, 1, 1, 0):
        played.move(cpu)
    ahead = played.ahead(played.schedule, 0)
    assert ahead.state == WAITS and ahead.step is not None
    with pytest.raises(BadInput, match="cpu 0 waits for ptl 0x1, held by CPU 1"):
        played.move(0)
    assert played.schedule == (1, 1, 1, 0)
    while played.ahead(played.schedule, 0).state == WAITS:
        played.move(1)
    played.move(0)
    assert played.schedule[-1] == 0


def test_a_cpu_returns_by_itself_and_then_has_nothing_left_to_do() -> None:
    played = race(SEEING)
    while played.ahead(played.schedule, 1).state == MOVES:
        played.move(1)
    assert played.ahead(played.schedule, 1).state == ENDED
    assert played.trace[-1].step is not None and played.trace[-1].step.text == "returns 0"
    with pytest.raises(BadInput, match="cpu 1 has nothing left to do"):
        played.move(1)
    with pytest.raises(BadInput, match="cpu is 7"):
        played.move(7)


def test_nobody_moves_after_a_bug_of_the_kernel() -> None:
    played = race()
    assert played.find(0) == 0
    last = len(played.schedule)
    assert [v.invariant for v in played.broken(last, played.trace)] == ["no_kernel_bug"]
    assert {played.ahead(played.schedule, cpu).state for cpu in (0, 1)} == {STOPPED}
    with pytest.raises(BadInput, match="the kernel has met a bug"):
        played.move(1)


def test_a_deadlock_is_one_of_the_things_that_must_not_be() -> None:
    def crossed(first: str, second: str) -> Any:
        def routine(machine: Machine) -> Routine[int]:
            yield from machine.system.cpus.lock(first)
            yield from machine.system.cpus.lock(second)
            return 0

        return routine

    pair = Pair("crossed", "", "", "mmap A", (crossed("lock 1", "lock 2"), crossed("lock 2", "lock 1")), loses=True, geometry=TINY)
    played = Race(pair)
    played.move(0)
    played.move(1)
    problem = played.broken(2, played.trace)[0]
    assert problem.invariant == "no_deadlock" and "CPU 0 waits for lock 2, held by CPU 1" in problem.problem


def test_the_simplest_failure_goes_on_from_where_the_learner_is() -> None:
    played = race()
    played.move(1)
    assert played.find(1) == 1 and played.schedule[0] == 1
    assert played.broken(len(played.schedule), played.trace)
    played.load("1x4")  # the PMD is gone before CPU 0 has looked: all that is left holds
    assert played.find(4) == 0 and played.schedule[0] == 0
    assert race(SEEING).find(0) is None


def test_the_ways_that_are_left() -> None:
    played, found = race(), race().found
    assert played.ways(0) == (found.schedules, found.failing_schedules)
    played.find(0)
    assert played.ways(len(played.schedule)) == (1, 1)
    assert race(SEEING).ways(0) == (race(SEEING).found.schedules, 0)


@pytest.mark.parametrize("line", ["0x3 1x99", "5x1", "x"])
def test_a_schedule_that_cannot_be_is_not_loaded(line: str) -> None:
    played = race()
    played.move(0)
    with pytest.raises(BadInput):
        played.load(line)
    assert played.schedule == (0,)


# --- the race stepper -------------------------------------------------------------------------------------------------------


@pytest.fixture
def widget() -> RaceStepper:
    return RaceStepper(BLIND)


def test_a_move_is_made_in_python_and_shown(widget: RaceStepper) -> None:
    assert ask(widget, "move", at=0, cpu=1) == "" and widget.step == 1
    data = unpacked(widget)
    trace = replay(PAIRS[BLIND], "1x1")
    assert [f["text"] for f in data["frames"][1:]] == [f.step.text for f in trace.frames[1:] if f.step]
    assert data["line"] == f"{BLIND}: 1x1"
    for number, frame in enumerate(data["frames"]):
        before = trace[number - 1].state if number else None
        assert frame["words"] == describe(trace[number].state, before)
        assert frame["broken"] == {v.invariant: v.problem for v in check_state(trace[number].state)}
        assert frame["line"] == format_schedule(trace.schedule[:number])
    (sheet,) = data["pictures"]["simple"]
    assert sheet["svg"].startswith("<svg") and len(sheet["changes"]) == len(data["frames"])


def test_what_is_asked_is_answered_with_counts(widget: RaceStepper) -> None:
    assert ask(widget, "any", at=0) == "374 states and 3,832 schedules were looked at. 280 break something."
    ask(widget, "move", at=0, cpu=0)
    assert "From here on " in ask(widget, "any", at=1)
    assert ask(widget, "find", at=0).startswith("Found, from here on: 11 steps, 2 switches between CPUs, the fewest there are.")
    assert widget.step == 0 and unpacked(widget)["line"] == f"{BLIND}: 0x2 1x7 0x2"
    assert list(unpacked(widget)["frames"][-1]["broken"]) == ["no_kernel_bug"]
    holds = RaceStepper(SEEING)
    assert ask(holds, "find", at=0) == "361 states and 5,389 schedules were looked at. None breaks anything."


def test_a_race_is_shared_as_a_line(widget: RaceStepper) -> None:
    assert ask(widget, "load", line=f"{BLIND}: 0x2 1x3") == "Loaded: 5 steps." and widget.step == 5
    assert unpacked(RaceStepper(unpacked(widget)["line"]))["frames"] == unpacked(widget)["frames"]
    assert unpacked(RaceStepper(replay(PAIRS[BLIND], "0x2 1x3")))["frames"] == unpacked(widget)["frames"]
    assert "is of the race 'naive-split-and-pin'" in ask(widget, "load", line="naive-split-and-pin: 0x2")
    assert "which has ended" in ask(widget, "load", line="1x99") and widget.step == 5
    assert "has to wait" in ask(widget, "load", line="1x3 0x3")
    with pytest.raises(BadInput, match="pair 'nobody' is unknown"):
        RaceStepper("nobody")


def test_the_pictures_stay_where_they_are(widget: RaceStepper) -> None:
    sizes = set()
    for what, more in (("move", {"cpu": 0, "at": 0}), ("move", {"cpu": 1, "at": 0}), ("find", {"at": 0}), ("load", {"line": "1x9"})):
        ask(widget, what, **more)
        (sheet,) = unpacked(widget)["pictures"]["simple"]
        sizes.add(sheet["svg"].split("viewBox=")[1].split('"')[1])
    assert len(sizes) == 1


def test_without_a_kernel_there_is_a_picture_and_what_has_happened(widget: RaceStepper) -> None:
    ask(widget, "load", line="0x2 1x3")
    html = widget.html()
    assert html == RaceStepper(f"{BLIND}: 0x2 1x3").html().replace('"says": ""', '"says": "Loaded: 5 steps."')
    assert '<figure class="thp-still">' in html and "blind-pmd-split-and-zap, step 5: " in html


# --- the same schedule elsewhere ----------------------------------------------------------------------------------------------


def test_a_schedule_opens_in_the_stepper_and_as_text() -> None:
    trace = replay(PAIRS[BLIND], "0x2 1x7 0x2")
    data = unpacked(Stepper(trace))
    assert [op["label"] for op in data["operations"]] == [
        "split_pmd(A, page 0)",
        "CPU 1: madvise(A, pages 0…1, dontneed)",
        "split_pmd(A, page 0), continued",
    ]
    assert "CPU 1: madvise(A, pages 0…1, dontneed)" in narrate(trace)
    lines = list(columns(trace))
    assert lines[0].split() == ["CPU", "0", "CPU", "1"] and len([line for line in lines if line[:3].strip()]) == 11


def test_the_code_of_a_schedule_makes_the_same_state() -> None:
    trace = replay(PAIRS[BLIND], "0x2 1x3")
    before, after = code(trace)
    names: dict[str, Any] = {}
    exec(f"{before}4{after}", names)
    assert names["state"].exact == trace[4].state.exact
    own = replay(replace(PAIRS[BLIND], name="mine"), "0x2")
    assert "replay(pair, '0x2')" in code(own)[0]
