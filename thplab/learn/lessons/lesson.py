"""A lesson: what a notebook shows, asks and checks, under the names that its cells use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from thplab.errors import BadInput
from thplab.learn import progress
from thplab.learn.lessons.figure import Figure
from thplab.learn.lessons.places import trace_of_story
from thplab.learn.lessons.tasks import RaceTask, Task, Verdict
from thplab.learn.widgets import Prediction, Quiz, Stepper
from thplab.learn.widgets.question import Family
from thplab.machine.trace import Setup, Trace
from thplab.show.diagrams import SIMPLE

Thing = TypeVar("Thing")


def _no_questions(trace: Trace) -> Sequence[Prediction]:
    return ()


@dataclass(frozen=True)
class Show:
    """A scenario that a lesson steps through:
    what is carried out, on what machine, what is asked on the way, where it begins.

    `scenario` is what thplab.scenario.load takes; `step` is where it begins: a phase's title, a step's text or a
    frame's number. `questions` computes the questions from the trace, so that they hold in any geometry. `meanwhile` is
    what another CPU does in between: (a routine or operation, the beginning of a step's text, operations); they come
    right after that step. `detail` is how much the pictures say at first.
    """

    scenario: str
    setup: Setup = Setup()
    questions: Callable[[Trace], Sequence[Prediction]] = _no_questions
    step: int | str | None = None
    meanwhile: tuple[str, str, str] | None = None
    detail: str = SIMPLE

    def trace(self) -> Trace:
        """The scenario, carried out. Raises BadInput if the step of `meanwhile` does not occur."""
        return trace_of_story(self.scenario, self.setup, self.meanwhile)


@dataclass(frozen=True)
class Lesson:
    """What belongs to the notebook NOTEBOOK.ipynb.
    `figures` are drawn as assets/NN_NAME.svg, NN being the notebook's number.
    """

    notebook: str
    shows: Mapping[str, Show] = field(default_factory=dict)
    tasks: Mapping[str, Task | RaceTask] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    families: Sequence[Family] = ()
    """The kinds of questions in "check yourself", and the machine that they are about."""
    quiz_setup: Setup = Setup()

    def __repr__(self) -> str:
        return f"<Lesson {self.notebook}: {', '.join(self.shows)}>"

    @property
    def number(self) -> int:
        """The notebook's place in the series."""
        return int(self.notebook[:2])

    def stepper(self, name: str, lecture: bool = False) -> Stepper:
        """A scenario of the lesson in a stepper, with its questions; in a lecture large, in the simple view,
        and without questions.
        Raises BadInput for another name.
        """
        show = _named("name", name, self.shows)
        trace = show.trace()
        questions, detail = show.questions(trace), SIMPLE if lecture else show.detail
        with progress.about(self.notebook, name):
            return Stepper(trace, predictions=questions, step=show.step, lecture=lecture, detail=detail)

    def ask(self, task: str) -> None:
        """Print what a task asks for. Raises BadInput for a task that does not exist."""
        print(f"{task}: {_named('task', task, self.tasks).question}")

    def attempt(self, task: str, scenario: str, geometry: str = "") -> Verdict:
        """Carry out a scenario as an answer to a task, in the task's geometry unless another is named.

        Raises BadInput for a task or geometry that does not exist. A scenario that cannot be read, or not be carried
        out to its end, is not a solution: the verdict says where and why.
        """
        verdict = _named("task", task, self.tasks).attempt(task, scenario, geometry)
        progress.record_attempt(progress.TASK, self.notebook, task, verdict.solved, scenario)
        return verdict

    def hint(self, task: str, level: int = 1) -> None:
        """Print a hint: level 1 names the rule, 2 says where to look, 3 how to begin.
        Raises BadInput for another task or level.
        """
        hints = _named("task", task, self.tasks).hints
        if not 1 <= level <= len(hints):
            raise BadInput("level", f"is {level}", f"1 to {len(hints)}")
        print(hints[level - 1])
        progress.record_hint(progress.TASK, self.notebook, task, level)

    def quiz(self, count: int = 5, seed: int = 1) -> Quiz:
        """Questions to check oneself, made from states; other ones for another seed.
        Raises BadInput for a count that cannot be.
        """
        setup = self.quiz_setup
        with progress.about(self.notebook, "quiz"):
            return Quiz(self.families, kernel=setup.kernel, geometry=setup.geometry, count=count, seed=seed)


def _named(argument: str, name: str, things: Mapping[str, Thing]) -> Thing:
    if name not in things:
        raise BadInput(argument, f"{name!r} does not exist", "one of " + ", ".join(map(repr, things)))
    return things[name]
