"""Exercises whose answer is no scenario: numbers and choices, cell by cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from thplab.errors import BadInput
from thplab.learn.lessons.tasks import Verdict
from thplab.learn.widgets import Ledger, Quiz, Stepper
from thplab.learn.widgets.question import Question, always

QUIZ, LEDGER, STEPPER = "quiz", "ledger", "stepper"


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
        for cell, question in self.cells.items():
            if cell not in given:
                missing.append(f"{cell}: no answer")
            elif not _same(given[cell], question.actual):
                missing.append(f"{cell}: {given[cell]} is not it. {self._slip(question, given[cell])}")
        trace = next(iter(self.cells.values())).trace()
        return Verdict(name, trace, tuple(missing), f"All {len(self.cells)} answers are right.")

    def _read(self, answer: str) -> tuple[dict[str, str], list[str]]:
        """The values by cell, and what makes no sense."""
        given: dict[str, str] = {}
        wrong = []
        lines = [line.strip() for line in re.split(r"[\n;]", answer) if line.strip()]
        for number, line in enumerate(lines):
            cell, colon, value = (part.strip() for part in line.rpartition(":"))
            if colon and cell not in self.cells:
                wrong.append(f"there is no cell {cell!r}; the cells are: {', '.join(self.cells)}")
            elif not colon and number >= len(self.cells):
                wrong.append(f"{len(lines)} answers are too many for {len(self.cells)} cells")
                break
            else:
                given[cell if colon else list(self.cells)[number]] = value
        return given, wrong

    def _slip(self, question: Question, given: str) -> str:
        told = next((why for slip, why in question.slips.items() if _same(given, slip)), "")
        if not told and question.answers and not any(_same(given, choice) for choice in question.answers):
            told = "One of these is wanted: " + ", ".join(map(str, question.answers)) + "."
        return told or f"The rule: {self.hints[0]}"

    def widget(self) -> Quiz | Ledger | Stepper:
        """What they are asked with. A ledger has all its cells blank."""
        first = next(iter(self.cells.values()))
        if self.shown == LEDGER:
            return Ledger(first.trace(), gaps="all")
        if self.shown == STEPPER:
            return Stepper(first.trace(), all_steps=True)
        return Quiz([always(question) for question in self.cells.values()], count=len(self.cells), more=False)


def _same(given: str, actual: int | str) -> bool:
    try:
        return int(given, 0) == (actual if isinstance(actual, int) else int(actual, 0))
    except ValueError:
        return given.casefold() == str(actual).casefold()
