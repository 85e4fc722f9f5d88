"""What the stepper puts into a page: every frame of the trace, folded, in phases, with the right answers computed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import ask, unpacked

from thplab.errors import BadInput
from thplab.kernel.kernels import KERNELS
from thplab.learn.widgets import Compare, Prediction, RaceStepper, Stepper
from thplab.learn.widgets.page import script, style
from thplab.learn.widgets.payload import code, payload
from thplab.machine.trace import Frame, Setup, Trace, call_text, record
from thplab.scenario import builtin, load
from thplab.show.describe import describe
from thplab.show.ledger import counters, ledger
from thplab.study.explore import PAIRS, replay

WIDGETS = Path(__file__).parent.parent / "thplab" / "learn" / "widgets"
SPLIT = load("story").phases[2].title


def head_count(frame: Frame) -> int:
    return frame.state.field("refcount", frame.state.compound_pages()[0])


@pytest.fixture(scope="module")
def story() -> Trace:
    return record(load("story"))


@pytest.fixture(scope="module")
def data(story: Trace) -> dict[str, Any]:
    """The story as it goes into a page, drawn."""
    return unpacked(Stepper(story))


# --- frames ---------------------------------------------------------------------------------------------------------------


def test_every_frame_is_in_the_page_and_has_a_picture(story: Trace, data: dict[str, Any]) -> None:
    (sheet,) = data["pictures"]["simple"]
    assert len(data["frames"]) == len(story) == len(sheet["changes"])
    assert sheet["svg"].startswith("<svg") and "<style" not in sheet["svg"], "the page has the styles"


def test_a_frame_says_what_its_step_did_and_why(story: Trace, data: dict[str, Any]) -> None:
    widget = Stepper(story)
    assert "words" not in unpacked(widget)
    assert ask(widget, "words") == ""
    words = unpacked(widget)["words"]
    assert len(words) == len(story)
    for frame, shown in zip(story, data["frames"], strict=True):
        assert frame.step is None or (shown["text"], shown["why"]) == (frame.step.text, frame.step.why)
        before = story[frame.number - 1].state if frame.number else None
        assert words[frame.number] == describe(frame.state, before)


def test_the_ledger_of_a_frame_is_that_of_its_state(story: Trace, data: dict[str, Any]) -> None:
    for frame, shown in zip(story, data["frames"], strict=True):
        before = story[frame.number - 1].state if frame.number else None
        groups = {group["title"]: group["rows"] for group in data["ledgers"][shown["ledger"]]}
        for head in frame.state.compound_pages():
            accounts = ledger(frame.state, head, before, next(iter(frame.stack), ""))
            assert groups[f"compound page {head:#x}"] == [
                [a.name, a.old, a.value, [row.text for row in a.rows]] for a in accounts
            ]
        moved = {c.name: c.new for c in counters(frame.state, before) if c.where == "vmstat"}
        events = {name: now for name, then, now, _ in groups.get("events in vmstat", []) if then != now}
        assert events == moved


@pytest.mark.parametrize("name", builtin())
def test_folding_hides_only_what_moves_no_counter_and_gives_no_reason(name: str) -> None:
    trace = record(load(name))
    for frame, shown in zip(trace.frames[1:], payload(trace)["frames"][1:], strict=True):
        assert frame.step is not None
        moves = any(counter.changed for counter in counters(frame.state, trace[frame.number - 1].state))
        matters = frame.step.kind in ("change", "flush", "wait") or frame.step.why or frame.result or moves
        assert shown["plain"] == (not matters)


def test_the_story_is_folded_to_fewer_steps_that_begin_with_the_machine(data: dict[str, Any]) -> None:
    plain = [frame["plain"] for frame in data["frames"]]
    assert not plain[0] and 20 < sum(plain) < len(plain) - 20


def test_an_error_is_shown(story: Trace, data: dict[str, Any]) -> None:
    failed = [op for op in data["operations"] if op["failed"]]
    assert [(op["label"], op["result"]) for op in failed] == [("swap_out(A, page 0)", "-EBUSY")]
    assert not data["frames"][failed[0]["last"]]["plain"]
    assert story[failed[0]["last"]].result == -16


# --- phases and the call tree ---------------------------------------------------------------------------------------------


def test_the_phases_begin_where_their_operations_do(story: Trace, data: dict[str, Any]) -> None:
    assert [phase["title"] for phase in data["phases"]] == [phase.title for phase in story.scenario.phases]
    for number, phase in enumerate(data["phases"]):
        assert phase["why"]
        assert data["frames"][phase["first"]]["phase"] == number
        assert phase["first"] == 1 or data["frames"][phase["first"] - 1]["phase"] == number - 1


def test_operations_stand_in_for_phases_where_there_are_none() -> None:
    short = payload(record("mmap A; write A 0"))
    assert (short["unit"], [phase["title"] for phase in short["phases"]]) == (
        "operation",
        ["mmap(A, 1 THP)", "write(A, page 0)"],
    )
    assert [phase["first"] for phase in short["phases"]] == [op["first"] for op in short["operations"]]


def test_the_call_tree_has_a_line_for_each_step_below_the_routines_it_is_in(story: Trace, data: dict[str, Any]) -> None:
    lines = [row for op in data["operations"] for row in op["rows"]]
    assert [row[2] for row in lines if row[2] is not None] == list(range(1, len(story)))
    for op in data["operations"]:
        above: list[str] = []
        for depth, text, frame in op["rows"]:
            assert depth <= len(above)
            if frame is None:
                above = [*above[:depth], text]
            else:
                assert above[:depth] == list(map(call_text, story[frame].stack))


def test_an_operation_that_is_interrupted_goes_on() -> None:
    trace = record("mmap A; write A 0; fork A B; mprotect B 1/2thp 1 r")
    trace.seek(next(f.number for f in trace if f.step and f.step.text == "fill 8 PTEs: P·R·U·D"))
    data = payload(trace.fork("pin A 0 1 dma"))
    labels = [op["label"] for op in data["operations"]]
    inserted = next(op["first"] for op in data["operations"] if op["label"].startswith("CPU 1"))
    assert "in the hands of the routines in progress" in str(data["ledgers"][data["frames"][inserted]["ledger"]])
    assert labels[-3:] == ["mprotect(B, page 4, r)", "CPU 1: pin(A, page 0, dma)", "mprotect(B, page 4, r), continued"]


def test_a_scenario_that_stops_early_says_so() -> None:
    trace = record("mmap A; write A 0; exit A; write A 0")
    assert trace.problem and payload(trace)["problem"] == trace.problem


# --- the snippet ----------------------------------------------------------------------------------------------------------


def run(trace: Trace, number: int) -> bytes:
    before, after = code(trace)
    text = f"{before}{number}{after}"
    assert len(text.splitlines()) == 2
    names: dict[str, Any] = {}
    exec(text, names)
    digest: bytes = names["state"].exact
    return digest


def test_the_copied_code_makes_the_state_again(story: Trace) -> None:
    assert all(run(story, number) == story[number].state.exact for number in (0, 1, 50, len(story) - 1))


@pytest.mark.parametrize("setup", [Setup(geometry="X86_64"), Setup(memory=256), Setup(mutant="forgets_the_tails")])
def test_the_copied_code_names_the_machine(setup: Setup) -> None:
    trace = record("mmap A; write A 0; split_pmd A 0", setup)
    assert run(trace, len(trace) - 1) == trace.frames[-1].state.exact


def test_the_copied_code_knows_what_was_inserted(story: Trace) -> None:
    story.seek(30)
    branch = story.fork("pin A 0 1 other")
    assert run(branch, 40) == branch[40].state.exact != story[40].state.exact
    story.seek(0)


# --- predictions ----------------------------------------------------------------------------------------------------------


def test_the_actual_answer_is_computed_from_the_trace(story: Trace) -> None:
    asked = Prediction(SPLIT, "How many?", head_count, why="one each", of="PMD = the PTE table")
    (question,) = unpacked(Stepper(story, predictions=[asked]))["questions"]
    at = next(f.number for f in story if f.phase == 2)
    of = next(f.number for f in story if f.step and f.step.text == "PMD = the PTE table")
    assert (question["at"], question["of"], question["actual"]) == (at, of, str(head_count(story[of])))
    (large,) = payload(record(load("story"), Setup(geometry="X86_64")), [asked])["questions"]
    assert (question["actual"], large["actual"]) == ("9", "513")
    assert question["id"] != large["id"]


def test_a_step_with_a_question_is_not_folded(story: Trace) -> None:
    plain = next(frame["plain"] and number for number, frame in enumerate(payload(story)["frames"]) if frame["plain"])
    asked = Prediction(int(plain), "What now?", lambda frame: "a", answers=["a", "b"])
    assert not payload(story, [asked])["frames"][plain]["plain"]


def test_questions_have_the_same_id_whenever_they_are_asked_again(story: Trace) -> None:
    ids = [
        payload(record(load("story")), [Prediction(SPLIT, text, head_count)])["questions"][0]["id"]
        for text in ("x?", "x?", "y?")
    ]
    assert ids[0] == ids[1] != ids[2]


def test_questions_of_two_schedules_of_a_race_are_two() -> None:
    asked = Prediction(3, "How many?", lambda frame: 1)
    races = [replay(PAIRS["naive-split-and-pin"], schedule) for schedule in ("0x3", "1x3", "0x3")]
    ids = [str(asked.on(race)["id"]) for race in races]
    assert ids[0] == ids[2] != ids[1]


def test_a_question_on_a_kernel_of_the_readers_own() -> None:
    own = replace(KERNELS["v6.1"], name="mine")
    trace = record("mmap A; write A 0", Setup(own))
    assert (
        unpacked(Stepper(trace, predictions=[Prediction(3, "How many?", lambda frame: 1)]))["questions"][0]["actual"]
        == "1"
    )


def test_a_lecture_asks_nothing(story: Trace) -> None:
    assert (
        unpacked(Stepper(story, lecture=True, predictions=[Prediction(SPLIT, "How many?", head_count)]))["questions"]
        == []
    )


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (Prediction("no such phase", "?", head_count), "at is 'no such phase'"),
        (Prediction(10_000, "?", head_count), "at is 10000"),
        (Prediction(0, "?", head_count), "at is frame 0"),
        (Prediction(60, "?", head_count, of=50), "of is frame 50, before the question"),
        (Prediction(60, "?", head_count, answers=[1, 2]), r"answers are \[1, 2\]; expected the actual answer 9"),
        (Prediction(60, "?", head_count, answers=[9, 9, 1]), r"answers are \[9, 9, 1\]; .* no two that are equal"),
        (Prediction(60, "?", lambda frame: "many"), "answers are missing"),
    ],
)
def test_a_prediction_that_makes_no_sense_is_refused(story: Trace, prediction: Prediction, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Stepper(story, predictions=[prediction])


# --- the widget -----------------------------------------------------------------------------------------------------------


def test_where_it_starts(story: Trace) -> None:
    assert Stepper(story).step == 0
    assert Stepper(story, step=50).step == 50
    assert Stepper(story, step=SPLIT).step == next(f.number for f in story if f.phase == 2)
    story.seek(7)
    assert Stepper(story).step == 7
    story.seek(0)
    with pytest.raises(BadInput, match="step is -1"):
        Stepper(story, step=-1)


MADE: dict[str, Callable[[], Stepper | RaceStepper | Compare]] = {
    "stepper": lambda: Stepper("cow"),
    "race": lambda: RaceStepper("naive-split-and-pin: 0x3"),
    "compare": lambda: Compare("cow", kernels=("v4.5", "v6.1")),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("step", [-1, 9999])
def test_a_step_that_is_not_there_is_refused(name: str, step: int) -> None:
    widget = MADE[name]()
    widget.step = 2
    with pytest.raises(BadInput, match=f"step is {step}; expected 0 to"):
        widget.step = step
    assert widget.step == 2 and widget.html()


def test_a_scenario_by_name_or_as_text() -> None:
    assert unpacked(Stepper("cow"))["name"] == "cow"
    assert unpacked(Stepper("mmap A; write A 0"))["scenario"] == "mmap A; write A 0"


def test_the_page_is_the_same_each_time() -> None:
    one, other = Stepper("cow"), Stepper("cow")
    assert one.packed == other.packed and one.html() == other.html()
    assert one.html() != Stepper("cow", step=3).html()


def test_the_page_shows_the_frame_without_script(story: Trace) -> None:
    stepper = Stepper(story, step=50)
    page = stepper.html()
    still = re.search(r"<figure.*?</figure>", page, re.DOTALL)
    data = unpacked(stepper)
    assert still is not None and stepper.sheets("simple")[0].svg(50) in still.group()
    assert data["frames"][50]["text"] in still.group()
    assert page.count("<script") == 2 and "export default" not in page and "https:" not in page
    started = re.search(r'>thplab\["comparison-recorded-course-stepper"\]\("(thp-[0-9a-f]{12})", ', page)
    assert started is not None and f'id="{started[1]}"' in page


def test_texts_of_a_scenario_cannot_become_markup() -> None:
    evil = "<img src=x onerror=alert(1)></script><b>&amp;<!--<script>"
    trace = record(f"scenario x: {evil}\nphase {evil.replace(';', '')}\nwhy {evil}\nmmap A\nwrite A 0")
    asked = Prediction(5, evil, lambda frame: evil, answers=[evil, "no"], why=evil)
    stepper = Stepper(trace, predictions=[asked], step=3)
    assert unpacked(stepper)["phases"][0]["why"] == evil
    assert evil not in stepper.html() and "<img" not in stepper.html()
    for name in ("base.js", "view.js", "parts.js", "stepper.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", (WIDGETS / name).read_text())


def test_the_files_of_the_widget_are_short_and_call_nobody() -> None:
    for path in (*WIDGETS.glob("*.js"), *WIDGETS.glob("*.css")):
        text = path.read_text()
        assert len(text.splitlines()) < 450, path
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\bimport\b|fetch\(|XMLHttpRequest", text), path
    assert script("stepper").startswith((WIDGETS / "base.js").read_text()) and "--thp-changed:" in style("stepper")
