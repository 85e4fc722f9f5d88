"""Tasks that a learner solves by writing a scenario. The simulator carries it out and tells what is still missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from thplab.errors import BadInput
from thplab.scenario import Scenario
from thplab.trace import Setup, Trace, record


@dataclass(frozen=True)
class Task:
    """What is to be reached, how to see what is missing, three hints (the rule, where to look, a way to begin), and on what machine."""

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
        if self.solved:
            steps = len(self.trace) - 1
            return f"{self.task}: solved. Your scenario took {len(self.trace.scenario.ops)} operations and {steps} steps of the kernel."
        return f"{self.task}: not yet.\n" + "\n".join(f"  - {line}" for line in self.missing)
