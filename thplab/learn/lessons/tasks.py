"""Tasks that a learner solves by writing a scenario, or the schedule of a race.
The simulator carries it out and tells what is missing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from thplab.errors import BadInput
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Scenario
from thplab.scenario.text import write_operation
from thplab.study.explore.pair import Pair
from thplab.study.explore.pairs import pair_named
from thplab.study.explore.race import Race
from thplab.study.explore.replay import RaceTrace

A_SCHEDULE = "a schedule, such as 0x10 1x6: CPU 0 makes ten steps, and then CPU 1 six"
_STEPS_OF_A_CPU = re.compile(r"(\d+x\d+\s*)+")
_SHOWN = 80


def _no_rules(trace: Trace) -> Iterator[str]:
    return iter(())


def _stops(trace: Trace) -> Iterator[str]:
    """Where a scenario that cannot be carried out to its end stops."""
    if trace.problem:
        number = sum(frame.result is not None for frame in trace)
        yield f"the scenario stops at operation {number + 1}, {write_operation(trace.scenario.ops[number])}, {trace.problem}"


@dataclass(frozen=True)
class Task:
    """What is to be reached, how to see what is missing, three hints (the rule, where to look, a way to begin),
    and on what machine.

    `start` is what every answer must begin with, `budget` how many operations it may have in all, `processes` what its
    processes are called, if that matters. `rules` yields, for an attempt in which something is missing, the rules that
    it breaks, in sentences.
    """

    question: str
    missing: Callable[[Trace], Iterator[str]]
    hints: tuple[str, str, str]
    setup: Setup = Setup()
    start: str = ""
    budget: int | None = None
    processes: tuple[str, ...] = ()
    rules: Callable[[Trace], Iterator[str]] = _no_rules

    def attempt(self, name: str, scenario: str, geometry: str = "") -> Verdict:
        """What Lesson.attempt() says of it."""
        setup = replace(self.setup, geometry=geometry) if geometry else self.setup
        try:
            written = Scenario.parse(scenario)
        except BadInput as error:
            return Verdict(name, record(Scenario(), setup), (self._unread(scenario, error),))
        trace = record(written, setup)
        empty = () if written.ops else (f"nothing is written yet; what is asked for is {self._a_scenario()}",)
        missing = tuple(self._bounds(written))
        if trace.problem or missing:
            return Verdict(name, trace, (*empty, *missing, *_stops(trace)))
        missing = tuple(self.missing(trace))
        return Verdict(name, trace, (*empty, *missing, *self.rules(trace)) if missing else ())

    def _a_scenario(self) -> str:
        """What an answer is, to somebody who gave something else."""
        begun = [str(op.fields["proc"]) for op in Scenario.parse(self.start).ops]
        a = (*self.processes, *begun, "A")[0]
        return f"a scenario: operations, one to a line or with ; between them, such as mmap {a}; write {a} 0"

    def _unread(self, given: str, error: BadInput) -> str:
        """What is wrong with an answer that is no scenario."""
        if _STEPS_OF_A_CPU.fullmatch(given.strip()):
            return f"the scenario cannot be read: this is a schedule, and what is asked for is {self._a_scenario()}"
        line = error.argument.removesuffix(": operation")
        if line == error.argument or not error.right.startswith("one of"):
            return f"the scenario cannot be read: {error}"
        told = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}...'"
        return f"the scenario cannot be read: {told} is no operation; what is asked for is {self._a_scenario()}"

    def _bounds(self, written: Scenario) -> Iterator[str]:
        """What can be told of an answer before it is carried out."""
        begun = Scenario.parse(self.start).ops
        if written.ops[: len(begun)] != begun:
            yield f"the scenario must begin with: {self.start}"
        if self.budget is not None and len(written.ops) > self.budget:
            all_of_them = ", the start included" if begun else ""
            yield f"{len(written.ops)} operations are too many: {self.budget} are enough{all_of_them}"
        if self.processes:
            named = (str(op.fields[name]) for op in written.ops for name in ("proc", "child") if op.fields.get(name))
            others = sorted(set(named) - set(self.processes))
            if others:
                called = "processes are" if len(self.processes) > 1 else "process is"
                yield f"the {called} called {_listed(self.processes)} here; yours has {_listed(others)}, too"


@dataclass(frozen=True)
class RaceTask:
    """A task that a schedule of the race `pair` solves; otherwise as Task."""

    question: str
    missing: Callable[[Race], Iterator[str]]
    hints: tuple[str, str, str]
    pair: str | Pair

    @property
    def raced(self) -> Pair:
        """The pair itself."""
        return pair_named(self.pair) if isinstance(self.pair, str) else self.pair

    def attempt(self, name: str, scenario: str, geometry: str = "") -> Verdict:
        """What Lesson.attempt() says of it. `scenario` is a schedule;
        the race has a geometry of its own, and takes no other.

        A schedule may be copied from the race stepper, with the race's name before it.
        """
        if geometry:
            raise BadInput("geometry", f"is {geometry!r} for a race", "none: a race has its own")
        race = Race(self.raced)
        try:
            race.load(scenario.strip().removeprefix(f"{race.pair.name}:"))
        except BadInput as error:
            return Verdict(name, race.trace, (f"the schedule cannot be carried out: {error}",))
        nothing = () if race.schedule else (f"nothing is written yet; what is asked for is {A_SCHEDULE}",)
        return Verdict(name, race.trace, (*nothing, *self.missing(race)))


@dataclass(frozen=True)
class Verdict:
    """The outcome of an attempt. Its text says what is still missing, with the numbers that were found; of a solution
    `praise`, or how long it was.
    """

    task: str
    trace: Trace
    missing: tuple[str, ...]
    praise: str = ""

    @property
    def solved(self) -> bool:
        """Nothing is missing."""
        return not self.missing

    def __repr__(self) -> str:
        steps = len(self.trace) - 1
        if self.solved and self.praise:
            return f"{self.task}: solved. {self.praise}"
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

    def _repr_html_(self) -> str:
        """What a notebook shows: the same. Plain text it cuts in the middle of a word."""
        head, *lines = repr(self).split("\n")
        told = "".join(f"<li>{html.escape(line.removeprefix('  - '))}</li>" for line in lines)
        return f"<p>{html.escape(head)}</p>" + (f"<ul>{told}</ul>" if told else "")


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
