"""A case: a public report about a real kernel, as what the machine shows, a question, and the steps that lead there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from thplab.errors import BadInput
from thplab.learn import progress
from thplab.learn.cases.glance import Glance
from thplab.learn.lessons.figure import Figure
from thplab.learn.lessons.lesson import Show
from thplab.learn.widgets import Quiz, RaceStepper, Stepper
from thplab.learn.widgets.question import Question, always
from thplab.machine.trace import Trace
from thplab.show.diagrams import Cut, Painter, Sheet
from thplab.study.explore import Pair, replay


@dataclass(frozen=True)
class Raced:
    """A race between two CPUs: one schedule, and the number of steps after which it is shown first."""

    pair: Pair
    schedule: str
    step: int

    def trace(self) -> Trace:
        """The schedule, carried out."""
        return replay(self.pair, self.schedule)


@dataclass(frozen=True)
class RacedFigure:
    """The picture of how a race ends; what the prepared machine had otherwise is marked."""

    raced: Raced

    def sheet(self) -> Sheet:
        """The picture, laid out."""
        trace = self.raced.trace()
        before, now = trace[0].state, trace[-1].state
        return Sheet([Painter(Cut.of([before, now])).paint(now, before)])


@dataclass(frozen=True)
class Ask:
    """What is asked before anything is stepped, and not told by what the reporter sees. `actual` computes the answer
    from the trace of a show: the first one, or that of the kernel `of`.
    """

    question: str
    actual: Callable[[Trace], int | str]
    answers: tuple[int | str, ...]
    why: str
    slips: Mapping[int | str, str] = field(default_factory=dict)
    of: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """A report, with the names that the cells of its notebook use.

    `shows` are what is stepped through, by kernel: first the one of the report, last the one without it. `looks` are
    what the reporter sees on the first. `live` is what the reader gives to `thplab live`.
    """

    notebook: str
    title: str
    shows: Mapping[str, Show | Raced]
    looks: Sequence[Glance]
    ask: Ask
    cause: Figure | RacedFigure
    live: str

    def __repr__(self) -> str:
        return f"<Case {self.notebook}: {', '.join(self.shows)}>"

    @property
    def number(self) -> int:
        """The notebook's place among the cases, from 1."""
        return int(self.notebook[:2])

    def _show(self, kernel: str) -> Show | Raced:
        if kernel not in self.shows:
            raise BadInput("kernel", f"{kernel!r} is not shown in this case", f"one of {', '.join(self.shows)}")
        return self.shows[kernel]

    def look(self) -> None:
        """Print what the reporter's tools print."""
        trace = self._show(next(iter(self.shows))).trace()
        print("\n".join(glance.text(trace) for glance in self.looks))

    def predict(self) -> Quiz:
        """The question, with its choices."""
        ask = self.ask
        show = self._show(ask.of or next(iter(self.shows)))
        scenario, setup = (
            (show.scenario, show.setup) if isinstance(show, Show) else (show.pair.prepare, show.pair.setup)
        )
        actual = ask.actual(show.trace())
        question = Question(scenario, setup, ask.question, actual, ask.answers, ask.why, ask.slips)
        with progress.about(f"cases/{self.notebook}", "predict"):
            return Quiz([always(question)], count=1, more=False)

    def stepper(self, kernel: str) -> Stepper | RaceStepper:
        """What happens on a kernel, step by step; a race can be played on. Raises BadInput for another kernel."""
        show = self._show(kernel)
        with progress.about(f"cases/{self.notebook}", kernel):
            if isinstance(show, Raced):
                race = RaceStepper(replay(show.pair, show.schedule))
                race.step = show.step
                return race
            return Stepper(show.trace(), step=show.step, detail=show.detail)


