"""What a slide can show step by step: a walk through a scenario, and places in its trace. Tables: tables.py."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from thplab.errors import BadInput, ThplabError, errname
from thplab.learn.lessons.places import trace_of_story
from thplab.machine.state import State
from thplab.machine.trace import Frame, Setup, Trace
from thplab.show.strip import followed, strip

if TYPE_CHECKING:
    from thplab.learn.lessons.lesson import Lesson, Show
    from thplab.learn.widgets.question import Question

PLACE = r"o([1-9]\d{0,3})(?:: (.+))?"
"""How a stop is written: "o3" is the end of operation 3 (1 is the first), "o4: TEXT" the first step in operation 4 that
begins with TEXT.
"""

NOTHING = "–"
"""Stands in a table where a kernel has nothing of that name."""

READINGS = ("references", "mappings", "pins", "mapcounts", "returns")
"""What can be read at a place: numbers of the strip, the sum of the map counts, an operation's answer; also the name of
an event, by how much the operation has raised it.
"""


class TableTexts(TypedDict):
    """Texts in rows, and a sentence below them; either may be missing."""

    columns: list[str]
    rows: list[list[str]]
    below: str


class Exhibit(ABC):
    """One screenful of a slide."""

    @abstractmethod
    def check(self) -> list[str]:
        """What is not as the lecture says, when it is carried out: a sentence each."""


class Tabular(Exhibit):
    """An exhibit that is text."""

    @abstractmethod
    def table(self) -> TableTexts:
        """What it says."""


# --- places in a trace ------------------------------------------------------------------------------------------------


def place(trace: Trace, at: str) -> int:
    """The number of the frame that `at` names (see PLACE). Raises BadInput if there is none."""
    match = re.fullmatch(PLACE, at)
    if match is None:
        raise BadInput("at", f"is {at!r}", 'the end of an operation ("o3") or a step in one ("o4: head _count")')
    index, text = int(match[1]) - 1, match[2]
    found = (f for f in trace.frames[1:] if f.op_index == index)
    for frame in found:
        assert frame.step is not None, "only frame 0 has none"
        if frame.step.text.startswith(text) if text else frame.result is not None:
            return frame.number
    stopped = f"; the scenario stops {trace.problem}" if trace.problem else ""
    raise BadInput("at", f"is {at!r}, which does not occur", f"one of {len(trace.scenario.ops)} operations{stopped}")


def reading_of(trace: Trace, what: str, at: str) -> str:
    """What can be read at a place, as a text: see READINGS. Raises BadInput if there is no such thing."""
    frame, head = trace[place(trace, at)], _followed(trace)
    if what == "returns":
        return _answer(frame)
    if what == "mapcounts":
        return str(sum(frame.state.field("mapcount", head + i) + 1 for i in range(frame.state.geometry.nr)))
    if what in READINGS:
        return str(getattr(strip(frame.state, head), what))
    if what not in frame.state.vmstat:
        raise BadInput("what", f"is {what!r}", f"{', '.join(READINGS)} or an event of vmstat")
    return str(_events(_before(trace, frame), frame.state).get(what, 0))


def _followed(trace: Trace) -> int:
    head = followed(trace)
    if head is None:
        raise BadInput("scenario", "has no huge page", "one that has")
    return head


def _before(trace: Trace, frame: Frame) -> State:
    """The state before the operation of a frame."""
    first = next(f.number for f in trace.frames[1:] if f.op_index == frame.op_index)
    return trace[first - 1].state


def _answer(frame: Frame) -> str:
    return NOTHING if frame.result is None else errname(frame.result)


def _events(before: State, after: State) -> dict[str, int]:
    return {name: value - before.vmstat[name] for name, value in after.vmstat.items() if value != before.vmstat[name]}


# --- what is carried out step by step ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class StopPlace:
    """Where a walk comes to rest: see PLACE. What is said of it: its strip, the events since the stop before (at the
    first one those of its operation) as "thp_split_pmd +1", and what its operation returns; an empty text says nothing.
    Where the strip is told, all events of a split must be.
    """

    at: str
    strip: str = ""
    events: tuple[str, ...] = ()
    result: str = ""


@dataclass(frozen=True)
class Walk(Exhibit):
    """A scenario in a stepper, which begins at the first stop; with one stop a still picture.

    `scenario` is what thplab.scenario.load takes; or `lesson` ("05") and `show` name a stepper of a lesson. Without
    stops a lesson's stepper stops where it begins and, as any other, at the end of each operation. `meanwhile` is what
    another CPU does in between, as in thplab.learn.lessons.lesson.Show. `routines`: the names of the kernel's routines
    are to be seen, too.
    """

    scenario: str
    setup: Setup
    stops: tuple[StopPlace, ...] = ()
    meanwhile: tuple[str, str, str] | None = None
    lesson: str = ""
    show: str = ""
    routines: bool = False

    def trace(self) -> Trace:
        """The scenario, carried out. Raises BadInput if something that it names does not exist."""
        if self.lesson:
            return show_named(lesson_named(self.lesson), self.show).trace()
        return trace_of_story(self.scenario, self.setup, self.meanwhile)

    def frames(self, trace: Trace) -> tuple[int, ...]:
        """The frames of the stops in its trace, in order. Raises BadInput for one that does not occur there."""
        if self.stops:
            return tuple(place(trace, stop.at) for stop in self.stops)
        from thplab.learn.widgets.prediction import find_frame

        begins = show_named(lesson_named(self.lesson), self.show).step if self.lesson else None
        first = [find_frame(trace, begins, "step")] if begins is not None else []
        ends = (f.number for f in trace.frames[1:] if f.op_index >= 0 and f.result is not None)
        return (*first, *(number for number in ends if not first or number > first[0]))

    def check(self) -> list[str]:
        try:
            trace = self.trace()
            numbers = self.frames(trace)
        except ThplabError as wrong:
            return [str(wrong)]
        if trace.problem:
            return [f"{trace.scenario.line()} stops {trace.problem}"]
        found = [] if list(numbers) == sorted(set(numbers)) else [f"its stops are frames {numbers}: not in order"]
        before = None
        for stop, number in zip(self.stops, numbers, strict=False):
            found += [f"{trace.scenario.line()}, {stop.at}: {p}" for p in self._differs(trace, stop, number, before)]
            before = trace[number].state
        return found

    def _differs(self, trace: Trace, stop: StopPlace, number: int, before: State | None) -> Iterable[str]:
        frame, head = trace[number], followed(trace)
        text = "" if head is None else strip(frame.state, head).text
        if stop.strip and stop.strip != text:
            yield f"the strip is {text!r}, not {stop.strip!r}"
        if stop.result and stop.result != _answer(frame):
            yield f"the answer is {_answer(frame)}, not {stop.result}"
        risen = _events(before or _before(trace, frame), frame.state)
        for event in stop.events:
            name, _, count = event.partition(" +")
            if str(risen.get(name)) != count:
                yield f"{name} has risen by {risen.get(name, 0)}, not as in {event!r}"
        untold = {name for name in risen if "split" in name} - {event.partition(" ")[0] for event in stop.events}
        if before is not None and stop.strip and untold:
            yield f"{', '.join(sorted(untold))} rises, and the slide does not say so"


def lesson_named(number: str) -> Lesson:
    """The lesson of that number, "05". Raises BadInput if there is none."""
    from thplab.learn.lessons.series import LESSONS

    for lesson in LESSONS:
        if lesson.notebook[:2] == number:
            return lesson
    raise BadInput("lesson", f"is {number!r}", f"a number from 00 to {len(LESSONS) - 1:02}")


def show_named(lesson: Lesson, show: str) -> Show:
    """A scenario that a lesson steps through. Raises BadInput if it has none of that name."""
    shows = lesson.shows
    if show not in shows:
        raise BadInput("show", f"is {show!r}", "one of " + ", ".join(map(repr, shows)))
    return shows[show]


@dataclass(frozen=True)
class AskClass(Exhibit):
    """A sandbox that begins at the end of a scenario: the class says what is done next."""

    scenario: str
    setup: Setup

    def check(self) -> list[str]:
        problem = trace_of_story(self.scenario, self.setup).problem
        return [f"{self.scenario} stops {problem}"] if problem else []


@dataclass(frozen=True)
class Questions(Exhibit):
    """Questions of a lesson's "check yourself", others for another seed."""

    lesson: str
    count: int = 3
    seed: int = 1

    def questions(self) -> tuple[Question, ...]:
        """The questions. Raises BadInput if there is no such lesson, or not so many questions."""
        from thplab.learn.widgets.question import make

        lesson = lesson_named(self.lesson)
        return make(lesson.families, lesson.quiz_setup, self.count, self.seed)

    def check(self) -> list[str]:
        try:
            self.questions()
        except BadInput as wrong:
            return [str(wrong)]
        return []


@dataclass(frozen=True)
class Sentence(Tabular):
    """One sentence, alone on the screen."""

    text: str

    def table(self) -> TableTexts:
        return {"columns": [], "rows": [], "below": self.text}

    def check(self) -> list[str]:
        return []
