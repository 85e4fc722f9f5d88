"""What holds for every widget: what it takes, and that it answers whatever it is asked."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import pytest
from asking import ask, unpacked

from thplab.errors import BadInput
from thplab.learn import widgets
from thplab.learn.lessons.questions import mapped_by_pmd
from thplab.learn.widgets import AddressWalker, Compare, FootprintLab, Ledger, LiveLab, Quiz, RaceStepper, Sandbox, Stepper
from thplab.learn.widgets.conversation import fits
from thplab.learn.widgets.pictured import Pictured
from thplab.learn.widgets.widget import Widget
from thplab.machine.trace import record
from thplab.scenario import load

KINDS: list[type[Widget]] = [kind for name in widgets.__all__ if issubclass(kind := getattr(widgets, name), Widget)]

# One name for one idea: what is shown comes first, and all the rest by name.
SHOWN = {"scenario", "race", "families"}
BY_NAME = {
    "kernel", "kernels", "geometry", "mutant", "swap",  # the machine
    "step", "process", "address",  # where it begins
    "predictions", "task", "count", "seed", "more", "told", "finds", "gaps",  # what is asked
    "all_steps", "lecture", "stops", "detail", "recorded",  # how it is shown
    "thps", "unmapped", "pattern", "pressure", "sharing", "unmapping", "pinned", "zero_filled",  # a population of huge pages
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shown_comes_first_and_the_rest_has_the_names_that_all_use(kind: type[Widget]) -> None:
    taken = list(signature(kind).parameters.values())
    assert {each.name for each in taken if each.kind is not Parameter.KEYWORD_ONLY} <= SHOWN
    assert {each.name for each in taken if each.kind is Parameter.KEYWORD_ONLY} <= BY_NAME


@pytest.mark.parametrize("kind", [Stepper, Ledger, AddressWalker])
def test_a_trace_brings_its_own_machine_and_a_scenario_is_recorded_on_the_one_named(kind: Callable[..., Widget]) -> None:
    trace = record(load("cow"))
    for machine in ({"kernel": "v4.5"}, {"geometry": "MINI"}):
        with pytest.raises(BadInput, match="scenario is a trace, which brings a machine of its own; expected no kernel or geometry"):
            kind(trace, **machine)
    named = kind(load("mmap A; write A 0"), kernel="v4.5", geometry="MINI")
    assert named.packed == kind("mmap A; write A 0", kernel="v4.5", geometry="MINI").packed != kind("mmap A; write A 0").packed


def test_how_much_a_stepper_s_pictures_say_at_first() -> None:
    for detail, other in (("simple", "full"), ("full", "simple")):
        stepper = Stepper("mmap A; write A 0", geometry="MINI", step=5, detail=detail)
        assert (stepper.detail, list(unpacked(stepper)["pictures"])) == (detail, [detail])
        assert stepper.still()[0] == stepper.sheets(detail)[0].svg(5) != stepper.sheets(other)[0].svg(5)
        assert f'"detail": "{detail}"' in stepper.html()
        ask(stepper, "detail", detail=other)
        assert list(unpacked(stepper)["pictures"]) == ["simple", "full"]
    with pytest.raises(BadInput, match="detail is 'some'; expected simple or full"):
        Stepper("mmap A; write A 0", geometry="MINI", detail="some")


# --- the conversation -------------------------------------------------------------------------------------------------------


def compare() -> Compare:
    return Compare("mmap A; write A 0", kernels=("v4.5", "v6.18"))


SLIDERS = {
    "thps": 10, "unmapped": 1, "pattern": "front", "pressure": 0.5, "sharing": 1, "unmapping": 1, "pinned": 0, "zero_filled": 0,
}  # fmt: skip
ASKED: dict[str, tuple[Callable[[], Widget], str, dict[str, Any]]] = {
    "compare": (compare, "compare", {"scenario": "mmap A", "kernels": ["v4.5", "v6.1"], "geometry": "MINI"}),
    "footprint": (lambda: FootprintLab(thps=20), "move", SLIDERS),
    "live": (lambda: LiveLab(recorded=True), "choose", {"source": "zero_page"}),
    "quiz": (lambda: Quiz([mapped_by_pmd], count=1), "another", {"seed": 2}),
    "race": (lambda: RaceStepper("naive-split-and-pin"), "move", {"cpu": 1, "at": 0}),
    "race that is loaded": (lambda: RaceStepper("naive-split-and-pin: 0x3"), "load", {"line": "0x10 1x6"}),
    "sandbox": (lambda: Sandbox("mmap A"), "op", {"op": "write", "fields": {"proc": "A", "start": "0"}}),
    "sandbox on another machine": (lambda: Sandbox("mmap A; write A 0"), "machine", {"kernel": "v4.5", "geometry": "MINI"}),
    "sandbox that is loaded": (lambda: Sandbox("mmap A"), "load", {"line": "v6.1 TOY: mmap A; write A 0"}),
}
"""A widget, and a question that it can answer."""


def shown(widget: Widget) -> dict[str, Any]:
    """All that the page has of a widget, but for the answer."""
    state: dict[str, Any] = widget.get_state()
    return {name: value for name, value in state.items() if name not in ("answer", "layout")}


@pytest.mark.parametrize("name", ASKED)
def test_what_fails_inside_is_one_clear_line_and_everything_goes_on(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make, what, fields = ASKED[name]
    widget, other = make(), make()
    before = shown(widget)

    def broken(_data: object) -> str:
        raise RuntimeError("the pack is torn\nin two")

    packs = Pictured if isinstance(widget, Pictured) else type(widget)
    with monkeypatch.context() as patch:
        patch.setattr(f"{packs.__module__}.pack", broken)
        for _ in range(2):
            says = ask(widget, what, **fields)
            assert says == "Something failed inside (RuntimeError: the pack is torn). Nothing has changed; the log has the traceback."
            assert widget.answer["error"] and not widget.running and shown(widget) == before
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert ask(widget, what, **fields) == ask(other, what, **fields)
    assert not widget.answer["error"] and shown(widget) == shown(other) != before


@pytest.mark.parametrize("name", ASKED)
def test_a_question_that_is_none_is_answered_with_what_is_wrong(name: str, caplog: pytest.LogCaptureFixture) -> None:
    make, what, fields = ASKED[name]
    widget = make()
    before = shown(widget)
    for wrong, expected in (
        ("nonsense", "do is 'nonsense'; expected " + " or ".join(widget.asks)),
        (what, f"extra is unknown; expected {what} with {', '.join(fields) or 'no field'}"),
    ):
        assert ask(widget, wrong, **fields, extra=1) == expected
    for field, value in fields.items():
        assert ask(widget, what, **{each: fields[each] for each in fields if each != field}).startswith(
            f"{field} is missing; expected {what} with"
        )
        kind = {int: "int", float: "float", str: "str", list: "list[str]", dict: "dict[str, str]"}
        for odd in (None, True, [value], {"a": [1]}):
            told = ask(widget, what, **fields | {field: odd})
            assert told.startswith(f"{field} is {odd!r}; expected ") and told.split()[-1] in (*kind.values(), "str]"), told
    questions: list[Any] = [None, "load", [], {}, {"number": 3, "do": what}, {"number": 4, "do": [what], "with": fields}]
    for question in questions:
        widget._asked(widget, question, [])
        assert widget.says == f"question is {question!r}; expected " + '{"number": ..., "do": name, "with": {field: value}}'
        assert widget.answer["to"] == (question.get("number", 0) if isinstance(question, dict) else 0)
    assert shown(widget) == before and caplog.records == []


def test_a_widget_that_nobody_asks_answers_too() -> None:
    assert ask(AddressWalker(), "anything") == "do is 'anything'; expected no question at all"


PICTURED = [kind for kind in KINDS if issubclass(kind, Pictured)]


@pytest.mark.parametrize("kind", PICTURED)
def test_the_full_pictures_come_when_they_are_asked_for(kind: type[Pictured]) -> None:
    widget = kind(
        *([mapped_by_pmd],) if kind is Quiz else ("naive-split-and-pin",) if kind is RaceStepper else ("mmap A",)
    )
    before = unpacked(widget)
    assert list(before["pictures"]) == ["simple"]
    assert ask(widget, "detail", detail="long") == "detail is 'long'; expected simple or full"
    assert unpacked(widget) == before
    assert ask(widget, "detail", detail="full") == ""
    after = unpacked(widget)
    assert list(after["pictures"]) == ["simple", "full"]
    assert after["pictures"]["simple"] == before["pictures"]["simple"] != after["pictures"]["full"]
    assert len(after["pictures"]["full"]) == len(before["pictures"]["simple"])
    assert unpacked(widget.packed_for_html())["pictures"].keys() == after["pictures"].keys()


def test_an_interrupt_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    race = RaceStepper("naive-split-and-pin")
    monkeypatch.setattr(type(race.race), "find", interrupted)
    assert ask(race, "find", at=0) == "It was interrupted. Nothing has changed."


@pytest.mark.parametrize(
    ("value", "kind", "right"),
    [
        (1, int, True), (1.0, int, False), (True, int, False), ("1", int, False),
        (1, float, True), (0.5, float, True), (True, float, False),
        (["a"], list[str], True), (["a", 1], list[str], False), ("a", list[str], False), ({"a": "b"}, dict[str, str], True),
        ({"a": 1}, dict[str, str], False), ({"a": 1, "b": "c"}, dict[str, int | str], True), (None, int | str, False),
    ],
)  # fmt: skip
def test_values_fit_their_types(value: object, kind: Any, right: bool) -> None:
    assert fits(value, kind) == right
