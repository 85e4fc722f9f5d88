"""What a slide can show as text: rows that are read from comparisons, ledgers and races when they are shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from thplab.errors import BadInput
from thplab.learn.lectures.walks import (
    NOTHING,
    PLACE,
    Exhibit,
    StopPlace,
    TableTexts,
    Tabular,
    Walk,
    place,
    reading_of,
)
from thplab.learn.lessons.places import trace_of_story
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import load
from thplab.show.ledger import ledger
from thplab.show.strip import followed
from thplab.study.compare import Comparison, Fact, compare
from thplab.study.explore import Exploration, Pair, RaceTrace, explore, replay
from thplab.study.explore.pairs import pair_named
from thplab.study.explore.race import Race
from thplab.study.explore.run import parse_schedule
from thplab.study.live.request import refuse_unless_portable


@dataclass(frozen=True)
class FactRow:
    """One fact of a comparison.

    `what` is the label of a row of thplab.study.compare, or several, joined by " + ", whose numbers are added. `at` is
    the operation after which, "o3", or "all". `scenario` and `kernel` are given where a table does not give them.
    `values` is what the lecture says of it, one for each kernel.
    """

    label: str
    what: str
    at: str
    scenario: str = ""
    kernel: str = ""
    geometry: str = "TOY"
    swap: str = ""
    values: tuple[str, ...] = ()

    def read(self, kernels: Sequence[str]) -> tuple[str, ...]:
        """The fact on each kernel, as texts. Raises BadInput if there is none of that name."""
        compared = _compared(self.scenario, tuple(kernels), self.geometry, self.swap)
        facts = [self._fact(compared, label) for label in self.what.split(" + ")]
        if len(facts) == 1:
            return tuple(NOTHING if value is None else str(value) for value in facts[0].values)
        return tuple(str(sum(int(fact.values[i] or 0) for fact in facts)) for i in range(len(kernels)))

    def _fact(self, compared: Comparison, label: str) -> Fact:
        if self.at != "all":
            match = re.fullmatch(PLACE, self.at)
            if match is None or match[2] or int(match[1]) > len(compared.operations):
                raise BadInput("at", f"is {self.at!r}", f"all, or o1 to o{len(compared.operations)}")
            return compared.operations[int(match[1]) - 1].row(label)
        for fact in compared.totals:
            if fact.label == label:
                return fact
        raise BadInput("what", f"is {label!r}", "one of " + ", ".join(fact.label for fact in compared.totals))

    def check(self, kernels: Sequence[str] = ()) -> list[str]:
        """What is not as `values` say."""
        asked = kernels or (self.kernel, _OTHER[self.kernel == _OTHER[0]])
        try:
            read = self.read(asked)[: len(kernels) or 1]
        except BadInput as wrong:
            return [f"{self.what} at {self.at}: {wrong}"]
        where = f"{self.scenario}, {self.what} at {self.at}"
        return [f"{where}: {', '.join(read)}, not {', '.join(self.values)}"] if self.values not in ((), read) else []


_OTHER = ("v6.18", "v6.12")
"""A comparison needs a second kernel: the first of these, or the other one."""


@lru_cache(16)
def _compared(scenario: str, kernels: tuple[str, ...], geometry: str, swap: str) -> Comparison:
    return compare(load(scenario), kernels, geometry, swap=swap)


@dataclass(frozen=True)
class SideBySide(Tabular):
    """Rows of a scenario's comparison on several kernels; a row may have a scenario of its own."""

    scenario: str
    kernels: tuple[str, ...]
    rows: tuple[FactRow, ...]
    geometry: str = "TOY"
    below: str = ""

    def _own(self) -> list[FactRow]:
        return [replace(row, scenario=row.scenario or self.scenario, geometry=self.geometry) for row in self.rows]

    def table(self) -> TableTexts:
        rows = [[row.label, *row.read(self.kernels)] for row in self._own()]
        return {"columns": ["", *self.kernels], "rows": rows, "below": self.below}

    def check(self) -> list[str]:
        return [problem for row in self._own() for problem in row.check(self.kernels)]


@dataclass(frozen=True)
class Live(Tabular):
    """The live lab with a scenario, which may be empty. `rows` are what the simulator says of it, at full size: what
    stands there where no kernel can be asked.
    """

    scenario: str
    rows: tuple[FactRow, ...] = ()
    below: str = ""

    def table(self) -> TableTexts:
        own = [replace(row, scenario=self.scenario, geometry="X86_64") for row in self.rows]
        rows = [[row.label, *row.read(_OTHER)] for row in own]
        return {"columns": ["the simulator says", *_OTHER] if rows else [], "rows": rows, "below": self.below}

    def check(self) -> list[str]:
        if not self.scenario:
            return []
        try:
            refuse_unless_portable(load(self.scenario))
        except BadInput as wrong:
            return [str(wrong)]
        own = (replace(row, scenario=self.scenario, geometry="X86_64") for row in self.rows)
        return [problem for row in own for problem in row.check(_OTHER)]


@dataclass(frozen=True)
class Attempt:
    """What comes of one attempt: who makes it, in which scenario it is operation `at`, and in words what follows.
    `answer` and `failed` are what the lecture says of it: what it returns, and by how much thp_split_page_failed rises.
    """

    who: str
    scenario: str
    at: str
    follows: str
    swap: str = ""
    answer: str = ""
    failed: str = ""


@dataclass(frozen=True)
class Outcomes(Tabular):
    """Attempts that are refused, or not, on one kernel."""

    kernel: str
    rows: tuple[Attempt, ...]
    below: str = ""

    def _read(self, row: Attempt) -> tuple[str, str]:
        trace = record(load(row.scenario), Setup(self.kernel, swap=row.swap))
        return reading_of(trace, "returns", row.at), reading_of(trace, "thp_split_page_failed", row.at)

    def table(self) -> TableTexts:
        rows = [[row.who, *self._read(row), row.follows] for row in self.rows]
        return {"columns": ["who asks", "answer", "failed splits", "what follows"], "rows": rows, "below": self.below}

    def check(self) -> list[str]:
        found = []
        for row in self.rows:
            read = self._read(row)
            if (row.answer or read[0], row.failed or read[1]) != read:
                found.append(f"{row.scenario}, {row.at}: {read}, not {(row.answer, row.failed)}")
        return found


@dataclass(frozen=True)
class Counted(Tabular):
    """The ledger at a place of a scenario, all filled in: each counter, and who holds it."""

    scenario: str
    setup: Setup
    at: str
    strip: str = ""

    def trace(self) -> Trace:
        """The scenario, carried out."""
        return trace_of_story(self.scenario, self.setup)

    def table(self) -> TableTexts:
        trace = self.trace()
        head = followed(trace)
        if head is None:
            raise BadInput("counted", f"is {self.scenario!r}", "a scenario with a huge page")
        accounts = ledger(trace[place(trace, self.at)].state, head)
        rows = [[a.name, str(a.value), " + ".join(share.text for share in a.rows)] for a in accounts]
        return {"columns": ["counter", "value", "who holds it"], "rows": rows, "below": ""}

    def check(self) -> list[str]:
        return Walk(self.scenario, self.setup, (StopPlace(self.at, self.strip),)).check()


# --- races ------------------------------------------------------------------------------------------------------------


@lru_cache(16)
def _explored(pair: str) -> Exploration:
    return explore(pair_named(pair))


@dataclass(frozen=True)
class Schedule(Tabular):
    """Steps of a race that loses, one column for each CPU. `steps` are the numbers of those that are shown.

    `schedules` and `failing` are how many there are and how many of them lose; `holds` is a pair that differs in the
    repair only, and loses in none.
    """

    pair: str
    schedule: str
    steps: tuple[int, ...]
    below: str = ""
    schedules: int = 0
    failing: int = 0
    holds: str = ""

    def _race(self) -> tuple[Pair, RaceTrace]:
        pair = pair_named(self.pair)
        return pair, replay(pair, parse_schedule(self.schedule))

    def table(self) -> TableTexts:
        pair, trace = self._race()
        rows = []
        for number in self.steps:
            frame = trace[number]
            assert frame.step is not None, "only frame 0 has none"
            texts = ["" if cpu != frame.cpu else frame.step.text for cpu in range(len(pair.cpus))]
            rows.append([str(number), *texts])
        heads = [f"CPU {cpu}: {pair.does(cpu)}" for cpu in range(len(pair.cpus))]
        return {"columns": ["", *heads], "rows": rows, "below": self.below}

    def check(self) -> list[str]:
        pair, trace = self._race()
        if not all(0 < number < len(trace) for number in self.steps):
            return [f"{self.pair}: steps {self.steps} of {len(trace) - 1}"]
        race = Race(pair)
        race.load(self.schedule)
        found = [] if race.broken(len(trace) - 1, trace) else [f"{self.pair}: {self.schedule} does not lose"]
        return found + _counts(self.pair, self.schedules, self.failing, self.holds)


def _counts(pair: str, schedules: int, failing: int, holds: str) -> list[str]:
    """What exploration does not find as it is said; 0 says nothing."""
    explored = _explored(pair)
    found = []
    if schedules and (explored.schedules, explored.failing_schedules) != (schedules, failing):
        found.append(f"{pair}: {explored.failing_schedules} of {explored.schedules} schedules fail")
    if holds and (_explored(holds).failure or not _explored(holds).complete):
        found.append(f"{holds} does not hold")
    return found


@dataclass(frozen=True)
class Holds(Tabular):
    """A race that nobody loses: how many schedules there are, and a sentence."""

    pair: str
    schedules: int
    below: str

    def table(self) -> TableTexts:
        pair = pair_named(self.pair)
        rows = [[f"CPU {cpu}", pair.does(cpu)] for cpu in range(len(pair.cpus))]
        rows += [["schedules", f"{self.schedules:,}"], ["that fail", "0"]]
        return {"columns": ["", self.pair], "rows": rows, "below": self.below}

    def check(self) -> list[str]:
        return _counts(self.pair, self.schedules, 0, self.pair)


@dataclass(frozen=True)
class RacePlay(Exhibit):
    """A race to be played, at the end of a schedule."""

    pair: str
    schedule: str = ""

    def check(self) -> list[str]:
        try:
            Race(pair_named(self.pair)).load(self.schedule)
        except BadInput as wrong:
            return [str(wrong)]
        return []
