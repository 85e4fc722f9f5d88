"""Exercises whose answer is no scenario: numbers and choices, cell by cell."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle

from thplab.errors import BadInput
from thplab.learn.lessons.tasks import Verdict
from thplab.learn.widgets import Ledger, Quiz, Stepper
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Setup

QUIZ, LEDGER, STEPPER = "quiz", "ledger", "stepper"
_SHOWN = 60


@dataclass(frozen=True)
class Answers:
    """Cells to be filled, each a question under a name, which are computed when they are first asked for.

    An answer is a line for each cell, `name: value` or the value alone, in the order of the cells; ";" may stand for
    the end of a line. `shown` says with what they are asked: a quiz; the ledger of the state that the scenario of the
    first question ends in; or a stepper on that scenario, with all its steps.
    """

    question: str
    make: Callable[[], Mapping[str, Question]]
    hints: tuple[str, str, str]
    shown: str = QUIZ

    @cached_property
    def cells(self) -> Mapping[str, Question]:
        """The questions by name, in their order."""
        return self.make()

    def attempt(self, name: str, answer: str, geometry: str = "") -> Verdict:
        """What is wrong with an answer, cell by cell. The right value is not told.
        Raises BadInput if a geometry is named.
        """
        if geometry:
            raise BadInput("geometry", f"is {geometry!r} for numbers", "none: they are about one machine")
        given, missing = self._read(answer)
        rule = ""
        for cell, question in self.cells.items():
            if cell in given and not _same(given[cell], question.actual):
                slip = _slip(question, given[cell])
                rule = rule or ("" if slip else f"the rule: {self.hints[0]}")
                missing.append(f"{cell}: {_cut(given[cell])} is {slip or 'not it.'}")
        blank = [cell for cell in self.cells if cell not in given]
        if given and blank:
            missing.append(f"no answer for: {', '.join(blank)}")
        elif blank:
            missing += [f"nothing is answered yet; {self._wanted()}"]
        trace = next(iter(self.cells.values())).trace()
        missing += [rule] if rule else []
        return Verdict(name, trace, tuple(missing), f"All {len(self.cells)} answers are right.")

    def _wanted(self) -> str:
        """What an answer is, to somebody who gave something else."""
        return f"what is asked for is a value for each of: {', '.join(self.cells)}; one to a line, in this order"

    def _read(self, answer: str) -> tuple[dict[str, str], list[str]]:
        """The values by cell, and what makes no sense."""
        given: dict[str, str] = {}
        wrong = []
        lines = [line.strip() for line in re.split(r"[\n;]", answer) if line.strip()]
        for number, line in enumerate(lines):
            cell, colon, value = (part.strip() for part in line.rpartition(":"))
            if not colon and number < len(self.cells):
                cell = list(self.cells)[number]
            if not colon and number >= len(self.cells):
                wrong.append(f"{len(lines)} answers are too many for {len(self.cells)} cells")
                break
            if cell not in self.cells:
                wrong.append(f"there is no cell {_cut(cell)!r}; the cells are: {', '.join(self.cells)}")
            elif cell in given:
                wrong.append(f"{cell} has two answers, {_cut(given[cell])} and {_cut(value)}; one is asked for")
            else:
                given[cell] = value
        return given, wrong

    def widget(self) -> Quiz | Ledger | Stepper:
        """What they are asked with. A ledger has all its cells blank."""
        first = next(iter(self.cells.values()))
        if self.shown == LEDGER:
            return _ledger(first, "all")
        if self.shown == STEPPER:
            return Stepper(first.trace(), all_steps=True)
        return self._quiz()

    def named(self, answer: str) -> str:
        """An answer with the names of its cells."""
        return "\n".join(f"{cell}: {value}" for cell, value in self._read(answer)[0].items())

    def told(self) -> Quiz | Ledger | Stepper:
        """The same with the answers: a quiz that tells them, the ledger filled in, the stepper at the first one."""
        first = next(iter(self.cells.values()))
        if self.shown == LEDGER:
            return _ledger(first, "none")
        if self.shown == STEPPER:
            return Stepper(first.trace(), all_steps=True, step=first.actual)
        return self._quiz(told=True)

    def _quiz(self, told: bool = False) -> Quiz:
        """All questions, in the order of the cells."""
        turns = cycle(self.cells.values())

        def in_turn(rng: random.Random, setup: Setup) -> Question:
            return next(turns)

        return Quiz([in_turn], count=len(self.cells), more=False, told=told)

    def right(self, answer: str) -> int:
        """How many cells an answer has right."""
        given, _ = self._read(answer)
        return sum(cell in given and _same(given[cell], question.actual) for cell, question in self.cells.items())


def _ledger(question: Question, gaps: str) -> Ledger:
    trace = question.trace()
    return Ledger(trace, step=len(trace) - 1, gaps=gaps)


def _slip(question: Question, given: str) -> str:
    """What is wrong with a wrong value, if that can be said of it alone."""
    told = next((why for slip, why in question.slips.items() if _same(given, slip)), "")
    if told:
        return f"not it. {told}"
    if question.answers and not any(_same(given, choice) for choice in question.answers):
        return f"no answer here. One of these is wanted: {', '.join(map(str, question.answers))}."
    if not question.answers and not _is_number(given):
        return f"no whole number. {question.question}"
    return ""


def _cut(text: str) -> str:
    """What was given, as a verdict shows it."""
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return short if short.isprintable() else repr(short)


def _is_number(given: str) -> bool:
    try:
        int(given, 0)
    except ValueError:
        return False
    return True


def _same(given: str, actual: int | str) -> bool:
    try:
        return int(given, 0) == (actual if isinstance(actual, int) else int(actual, 0))
    except ValueError:
        return given.casefold() == str(actual).casefold()
