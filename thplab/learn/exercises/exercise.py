"""Exercises: families of tasks, of which each learner gets a variant of her own."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ipywidgets import VBox

from thplab.errors import BadInput
from thplab.learn import progress
from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.key import answer_of
from thplab.learn.exercises.laws import Law
from thplab.learn.exercises.learner import learner
from thplab.learn.lessons.tasks import RaceTask, Task, Verdict
from thplab.learn.widgets import Ledger, Quiz, RaceStepper, Sandbox, Stepper
from thplab.machine.trace import Trace, record
from thplab.study.explore import RaceTrace

LEVELS = ("recall", "apply", "analyse", "create")
BETWEEN = "---"
_WIDTH = 100


@dataclass(frozen=True)
class TwoScenarios(Task):
    """A task that two scenarios solve, with a line --- between them. `missing` looks at each of them alone, `both` at
    the two.
    """

    both: Callable[[Trace, Trace], Iterator[str]] = lambda first, second: iter(())

    def attempt(self, name: str, scenario: str, geometry: str = "") -> Verdict:
        """What Lesson.attempt() says of it."""
        parts = scenario.split(BETWEEN)
        if len(parts) != 2:
            alone = super().attempt(name, parts[0], geometry)
            found = "this is one" if len(parts) == 1 else f"there are {len(parts)}"
            wrong = f"two scenarios are asked for, with a line {BETWEEN} between them; {found}"
            return Verdict(name, alone.trace, (wrong, *(f"the first scenario: {line}" for line in alone.missing)))
        verdicts = [super(TwoScenarios, self).attempt(name, part, geometry) for part in parts]
        missing = [
            f"the {which} scenario: {line}"
            for which, verdict in zip(("first", "second"), verdicts, strict=True)
            for line in verdict.missing
        ]
        first, second = (verdict.trace for verdict in verdicts)
        return Verdict(name, second, tuple(missing or self.both(first, second)), "Both scenarios do what is asked.")


Work = Task | RaceTask | Answers | Law
Widget = Sandbox | RaceStepper | Quiz | Ledger | Stepper


@dataclass(frozen=True)
class Variant:
    """What one learner gets: what was drawn, and the task that follows from it."""

    values: Mapping[str, Any]
    work: Work


@dataclass(frozen=True)
class Exercise:
    """A family of variants. `level` is one of LEVELS, `kind` what the learner does; `objective` is what is learned, and
    `myth` the wrong idea that it meets, which is for teachers. `make` draws a variant; equal seeds give equal ones.

    Where a seed is left out, it is the learner's.
    """

    id: str
    title: str
    level: str
    kind: str
    minutes: int
    objective: str
    myth: str
    make: Callable[[Draw], Work]
    notebook: str = ""
    """Where it stands, below the folder of notebooks, without the ending; its set says so."""

    def __repr__(self) -> str:
        return f"<Exercise {self.id}: {self.title}>"

    @property
    def name(self) -> str:
        """What verdicts call it."""
        return f"{self.id} {self.title}"

    def variant(self, seed: str = "") -> Variant:
        """The variant of a seed."""
        return _variant(self, seed or learner())

    def ask(self, seed: str = "") -> None:
        """Print what is asked for."""
        print(_wrapped(f"{self.name}: {self.variant(seed).work.question}"))

    def hint(self, level: int = 1, seed: str = "") -> None:
        """Print a hint: level 1 names the rule, 2 says where to look, 3 how to begin.
        Raises BadInput for another level.
        """
        hints = self.variant(seed).work.hints
        if not 1 <= level <= len(hints):
            raise BadInput("level", f"is {level}", f"1 to {len(hints)}")
        print(_wrapped(hints[level - 1]))
        if not seed:
            progress.record_hint(progress.EXERCISE, self.notebook, self.id, level, learner())

    def show(self, seed: str = "") -> Widget:
        """What the exercise is done with: a sandbox, which has the question above it, a race stepper, a quiz, a
        ledger or a stepper, with the question printed before it. Raises NoEngine if no pictures can be drawn.
        """
        work = self.variant(seed).work
        with progress.about(self.notebook, self.id):
            if isinstance(work, Task) and not isinstance(work, TwoScenarios):
                return Sandbox(work.start, task=work)
            self.ask(seed)
            if isinstance(work, Task):
                return Sandbox(work.start, task=work)
            return RaceStepper(work.raced, finds=False) if isinstance(work, RaceTask) else work.widget()

    def attempt(self, answer: str, seed: str = "") -> Verdict:
        """The verdict on an answer, from its text alone: a scenario, two of them, a schedule, a value for each cell,
        or a law. An answer that makes no sense is not a solution: the verdict says why. In a learner's folder it is
        kept how her own variant went.
        """
        verdict = self.variant(seed).work.attempt(self.name, answer)
        if not seed:
            progress.record_attempt(
                progress.EXERCISE, self.notebook, self.id, verdict.solved, answer.strip(), learner()
            )
        return verdict

    def solution(self, seed: str = "") -> Widget | VBox:
        """The model solution, from a key in the working directory or above it, played: a scenario in a stepper (two of
        them in two), a schedule in the race stepper, values in what they are asked with, filled in.

        Raises BadInput if no key has it, and says how to get one; and for a key of another version of thplab, whose
        answer does not solve the variant.
        """
        work = self.variant(seed).work
        text = answer_of(self.id, seed or learner(), Path.cwd())
        verdict = work.attempt(self.name, text)
        if not verdict.solved:
            wrong = f"has an answer to {self.id} that does not solve it"
            raise BadInput("the key", wrong, "a key that was made with this version of thplab")
        with progress.about(self.notebook, f"{self.id} solution"):
            told = work.named(text) if isinstance(work, Answers) else text
            print(f"{self.name}, a model solution:\n{told}")
            if isinstance(work, TwoScenarios):
                return VBox([Stepper(record(part, work.setup)) for part in text.split(BETWEEN)])
            if isinstance(work, Answers):
                return work.told()
            return RaceStepper(verdict.trace) if isinstance(verdict.trace, RaceTrace) else Stepper(verdict.trace)


def _wrapped(text: str) -> str:
    """A text in lines that a cell has room for: JupyterLab cuts longer ones in the middle of a word."""
    return "\n".join(textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False))


@lru_cache(256)
def _variant(exercise: Exercise, seed: str) -> Variant:
    draw = Draw(exercise.id, seed)
    work = exercise.make(draw)
    return Variant(draw.values, work)


def exercise(
    id: str, title: str, level: str, kind: str, minutes: int, *, objective: str, myth: str
) -> Callable[[Callable[[Draw], Work]], Exercise]:
    """Make an exercise of a function that draws a variant."""
    return lambda make: Exercise(id, title, level, kind, minutes, objective, myth, make)


@dataclass(frozen=True)
class ExerciseSet:
    """The exercises of one notebook. `lesson` is the notebook that they belong to, "" if they go across."""

    notebook: str
    title: str
    lesson: str
    about: str
    exercises: tuple[Exercise, ...]

    def __post_init__(self) -> None:
        placed = tuple(replace(each, notebook=f"exercises/{self.notebook}") for each in self.exercises)
        object.__setattr__(self, "exercises", placed)

    def __repr__(self) -> str:
        return f"<ExerciseSet {self.notebook}: {', '.join(each.id for each in self.exercises)}>"
