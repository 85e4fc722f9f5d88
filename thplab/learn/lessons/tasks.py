"""Tasks that a learner solves by writing a scenario, or the schedule of a race.
The simulator carries it out and tells what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from thplab.errors import BadInput
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Scenario
from thplab.study.explore.pairs import pair_named
from thplab.study.explore.race import Race
from thplab.study.explore.replay import RaceTrace


@dataclass(frozen=True)
class Task:
    """What is to be reached, how to see what is missing, three hints (the rule, where to look, a way to begin),
    and on what machine.
    """

    question: str
    missing: Callable[[Trace], Iterator[str]]
    hints: tuple[str, str, str]
    setup: Setup = Setup()

    def attempt(self, name: str, scenario: str, geometry: str = "") -> Verdict:
        """What Lesson.attempt() says of it."""
        setup = replace(self.setup, geometry=geometry) if geometry else self.setup
        try:
            written = Scenario.parse(scenario)
        except BadInput as error:
            return Verdict(name, record(Scenario(), setup), (f"the scenario cannot be read: {error}",))
        trace = record(written, setup)
        if trace.problem:
            return Verdict(name, trace, (f"the scenario stops {trace.problem}",))
        return Verdict(name, trace, tuple(self.missing(trace)))


@dataclass(frozen=True)
class RaceTask:
    """A task that a schedule of the race `pair` solves; otherwise as Task."""

    question: str
    missing: Callable[[Race], Iterator[str]]
    hints: tuple[str, str, str]
    pair: str

    def attempt(self, name: str, scenario: str, geometry: str = "") -> Verdict:
        """What Lesson.attempt() says of it. `scenario` is a schedule;
        the race has a geometry of its own, and takes no other.

        A schedule may be copied from the race stepper, with the race's name before it.
        """
        if geometry:
            raise BadInput("geometry", f"is {geometry!r} for a race", "none: a race has its own")
        race = Race(pair_named(self.pair))
        try:
            race.load(scenario.removeprefix(f"{self.pair}:"))
        except BadInput as error:
            return Verdict(name, race.trace, (f"the schedule cannot be carried out: {error}",))
        return Verdict(name, race.trace, tuple(self.missing(race)))


@dataclass(frozen=True)
class Verdict:
    """The outcome of an attempt. Its text says what is still missing, with the numbers that were found."""

    task: str
    trace: Trace
    missing: tuple[str, ...]

    @property
    def solved(self) -> bool:
        """Nothing is missing."""
        return not self.missing

    def __repr__(self) -> str:
        steps = len(self.trace) - 1
        if self.solved and isinstance(self.trace, RaceTrace):
            switches = len(self.trace.written.split()) - 1
            times = "1 switch" if switches == 1 else f"{switches} switches"
            return f"{self.task}: solved. Your schedule took {steps} steps and {times} between the CPUs."
        if self.solved:
            return (
                f"{self.task}: solved. Your scenario took {len(self.trace.scenario.ops)} operations and {steps} "
                "steps of the kernel."
            )
        return f"{self.task}: not yet.\n" + "\n".join(f"  - {line}" for line in self.missing)
