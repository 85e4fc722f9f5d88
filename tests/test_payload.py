"""What Python and page tell each other is what the typedefs say (thplab/learn/widgets/*.d.ts), and what docs/payload.md shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from asking import ask, unpacked
from typedefs import FOLDER, Fields, fields_of, typedefs, wrong

from thplab.kernel.mutants import MUTANTS
from thplab.learn import widgets
from thplab.learn.lectures import lecture
from thplab.learn.lessons.questions import head_refcount, split_result
from thplab.learn.lessons.series import LESSONS
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets import (
    AddressWalker,
    Compare,
    FootprintLab,
    Ledger,
    LiveLab,
    Prediction,
    Quiz,
    RaceStepper,
    Sandbox,
    Stepper,
)
from thplab.learn.widgets.widget import Widget

DOCUMENT = Path(__file__).parent.parent / "docs" / "payload.md"
KNOWN = typedefs()
FORK = "mmap A; fill A 0 1thp; fork A B; mprotect B 4 1 r; pin B 5 1 dma; munmap A 1 1"


TASK = next(task for lesson in LESSONS for task in lesson.tasks.values() if isinstance(task, Task))


def sandbox(*lines: str, **more: Any) -> Sandbox:
    widget = Sandbox(**more)
    for line in lines:
        ask(widget, "load", line=line)
    return widget


PAYLOADS: dict[str, tuple[str, Callable[[], list[str]]]] = {
    "a story": ("StepperData", lambda: [Stepper("story").packed, Stepper("cow").packed_for_html()]),
    "questions": (
        "StepperData",
        lambda: [Stepper("cow", predictions=[Prediction(9, "Who?", lambda _: "A", ["A", "B"])]).packed],
    ),
    "recorded steps": (
        "StepperData",
        lambda: [Stepper("mmap A; fill A 0 1thp; mprotect A 4 1 r", kernel="v6.12").packed],
    ),
    "a scenario that stops": ("StepperData", lambda: [Stepper("mmap A; mmap A").packed]),
    "slides": (
        "SlideData",
        lambda: [lecture("two_splits").slide("1.5").packed_for_html(), lecture("two_splits").slide("1.8").packed],
    ),
    "a race": (
        "RaceData",
        lambda: [RaceStepper(f"blind-pmd-split-and-zap{how}").packed for how in ("", ": 0x2 1x7 0x2")],
    ),
    "a sandbox": ("SandboxData", lambda: [Sandbox(how).packed_for_html() for how in ("", FORK)]),
    "a sandbox that stops": (
        "SandboxData",
        lambda: [sandbox(MUTANTS["deposits_nothing"].scenario, mutant="deposits_nothing").packed],
    ),
    "a sandbox with a task": ("SandboxData", lambda: [Sandbox(task=TASK).packed]),
    "a comparison": ("CompareData", lambda: [Compare(f"{FORK}; madvise A 0 1 cold", kernels=("v4.5", "v6.18")).packed]),
    "the footprint lab": (
        "FootprintData",
        lambda: [FootprintLab(thps=10).packed, FootprintLab(thps=10).packed_for_html()],
    ),
    "ledgers": ("LedgerData", lambda: [Ledger(FORK, gaps=gaps).packed for gaps in ("none", "all")]),
    "the live lab": ("LiveData", lambda: [LiveLab().packed]),
    "a recorded run": ("Compared", lambda: [LiveLab("cow", recorded=True).compared]),
    "a quiz": ("QuizData", lambda: [Quiz([head_refcount, split_result], count=2).packed]),
    "page tables": ("WalkerData", lambda: [AddressWalker(how).packed for how in (FORK, "mmap A; read A 0")]),
}


@cache
def shown(name: str) -> list[dict[str, Any]]:
    """What is packed for a page, as JSON has it."""
    return [unpacked(text) for text in PAYLOADS[name][1]()]


@pytest.mark.parametrize("name", PAYLOADS)
def test_what_is_packed_is_what_the_typedef_says(name: str) -> None:
    for data in shown(name):
        assert wrong(data, PAYLOADS[name][0], KNOWN) == []


def test_what_may_be_left_out_is_there_in_some_payload() -> None:
    for kind, typedef in KNOWN.items():
        for optional in typedef.optional if isinstance(typedef, Fields) else ():
            if (kind, optional) not in {
                ("Asked", "at"),
                ("LedgerResult", "actual"),
            }:  # a stepper's always, and the learner's
                there = any(f'"{optional}"' in json.dumps(data) for name in PAYLOADS for data in shown(name))
                assert there, (kind, optional)


def test_a_payload_that_is_not_so_is_found() -> None:
    (data,) = json.loads(json.dumps(shown("a quiz")))
    question = data["questions"][0]
    del question["why"]
    question |= {"extra": 1, "words": 1, "slips": {"8": 3}}
    question["operations"][0].append("more")
    told = [line.removeprefix("data.questions[0].") for line in wrong(data, "QuizData", KNOWN)]
    assert sorted(line.split(" is ")[0] for line in told) == [
        "extra has no typedef",
        "operations[0]",
        "slips['8']",
        "why",
        "words",
    ]


# --- questions and answers ----------------------------------------------------------------------------------------------------

ASKS: dict[str, type[Widget]] = {
    "CompareAsks": Compare, "FootprintAsks": FootprintLab, "LiveAsks": LiveLab, "QuizAsks": Quiz, "RaceAsks": RaceStepper,
    "SandboxAsks": Sandbox, "StepperAsks": Stepper, "PictureAsks": Ledger,
}  # fmt: skip
IN_PYTHON: dict[Any, Any] = {
    int: "number", float: "number", str: "string", list[str]: ("list", "string"), dict[str, str]: ("record", "string"),
}  # fmt: skip


def fields_in_python(method: Callable[..., Any]) -> dict[str, Any]:
    """What a question has to bring: field -> type."""
    return {name: IN_PYTHON[hint] for name, hint in get_type_hints(method).items() if name != "return"}


@pytest.mark.parametrize("name", ASKS)
def test_the_questions_of_a_page_are_those_that_python_answers(name: str) -> None:
    asks = ASKS[name].asks
    types = fields_of(name, KNOWN).types
    assert types.keys() == asks.keys()
    for what, method in asks.items():
        kind = types[what]
        assert fields_in_python(method) == (fields_of(kind, KNOWN) if isinstance(kind, str) else kind).types


def test_an_answer_is_what_the_typedef_says() -> None:
    widget = Ledger("mmap A")
    ask(widget, "anything")
    assert wrong(dict(widget.answer), "Answer", KNOWN) == [] and widget.answer["error"]


# --- the document ---------------------------------------------------------------------------------------------------------------


def test_the_examples_of_the_document_are_what_the_typedefs_say() -> None:
    examples = re.findall(r"`(\w+)`[^`]*:\n\n```json\n(.*?)```", DOCUMENT.read_text(), re.S)
    assert len(examples) == DOCUMENT.read_text().count("```json") >= 3
    for name, text in examples:
        assert wrong(json.loads(text), name, KNOWN) == [], name


def test_the_document_shows_what_the_stepper_of_its_example_has() -> None:
    (text,) = re.findall(r"`StepperData`[^`]*:\n\n```json\n(.*?)```", DOCUMENT.read_text(), re.S)
    written, data = json.loads(text), unpacked(Stepper("mmap A; write A 0", geometry="MINI"))
    assert is_part(written, data), "write what is shown now"


def is_part(written: Any, real: Any) -> bool:
    """Whether something written down is the real thing, but for texts that are cut at "…" and lists that end early."""
    if isinstance(written, dict):
        return written.keys() == real.keys() and all(is_part(written[key], real[key]) for key in written)
    if isinstance(written, list):
        return len(written) <= len(real) and all(map(is_part, written, real))
    if isinstance(written, str) and written.endswith("…"):
        return str(real).startswith(written.removesuffix("…"))
    return bool(written == real)


def test_the_document_names_every_question() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*?)\|", DOCUMENT.read_text(), re.M)
    told = {(widget, what): set(re.findall(r"`(\w+)`", fields)) for widget, what, fields in rows}
    assert told == {
        (kind.__name__, what): set(fields_in_python(method))
        for kind in ASKS.values()
        for what, method in kind.asks.items()
    }


def test_the_document_names_every_widget_and_its_payload() -> None:
    rows = re.findall(r"^\| ([\w, ]+) \| `(\w+)` \| (\w+)\.py \|", DOCUMENT.read_text(), re.M)
    kinds = {name for name in widgets.__all__ if issubclass(getattr(widgets, name), Widget)}
    kinds.add("LectureSlide")  # which a lecture makes, and nobody else
    assert {name for names, _, _ in rows for name in names.split(", ")} == kinds
    assert {payload for _, payload, _ in rows} == {payload for payload, _ in PAYLOADS.values()}
    assert all((FOLDER / f"{module}.py").is_file() for _, _, module in rows)
