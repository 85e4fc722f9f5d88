"""A race that is played: somebody chooses who moves next, goes back, and asks what may still happen."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from thplab.errors import BadInput
from thplab.hardware.steps import WAIT, Step
from thplab.study.explore.graph import Ways
from thplab.study.explore.interleavings import Exploration, explore
from thplab.study.explore.pair import Pair
from thplab.study.explore.replay import RaceTrace, replay
from thplab.study.explore.run import RaceRun, Schedule, deadlock, forgotten, format_schedule, parse_schedule
from thplab.study.invariants import Violation, check_state

MOVES, WAITS, RETURNS, ENDED, STOPPED = "moves", "waits", "returns", "ended", "stopped"


class Ahead(NamedTuple):
    """What a CPU would do next: MOVES (its next step), WAITS (and for what), RETURNS, ENDED,
    or STOPPED by a bug of the kernel.
    """

    state: str
    step: Step | None


@dataclass
class Race:
    """A pair and the schedule so far, which is settled: a CPU that has nothing left to do but return has returned."""

    pair: Pair
    schedule: Schedule = ()
    _ahead: dict[tuple[Schedule, int], Ahead] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Race {self.line}>"

    @cached_property
    def found(self) -> Exploration:
        """Every interleaving of the pair; explored when it is first asked for."""
        return explore(self.pair)

    @property
    def trace(self) -> RaceTrace:
        """The frames of the schedule."""
        return replay(self.pair, self.schedule)

    def ahead(self, schedule: Schedule, cpu: int) -> Ahead:
        """What `cpu` would do next after `schedule`. Nothing is moved."""
        key = (schedule, cpu)
        if key not in self._ahead:
            self._ahead[key] = self._look(schedule, cpu)
        return self._ahead[key]

    def _look(self, schedule: Schedule, cpu: int) -> Ahead:
        run = RaceRun(self.pair, schedule)
        if run.bug:
            return Ahead(STOPPED, None)
        if run.over(cpu):
            return Ahead(ENDED, None)
        run.move(cpu)
        assert run.step is not None, "a CPU that has not ended makes a step or waits"
        return Ahead(RETURNS if run.ended else WAITS if run.step.kind == WAIT else MOVES, run.step)

    def move(self, cpu: int, at: int | None = None) -> None:
        """Let `cpu` make the next step after the first `at` steps (all of them, if left out);
        what came after them is given up.

        Raises BadInput with the reason if it cannot: it waits, has ended, or the kernel has stopped.
        """
        before = self.schedule if at is None else self.schedule[:at]
        if not 0 <= cpu < len(self.pair.cpus):
            raise BadInput("cpu", f"is {cpu}", "one of " + ", ".join(map(str, range(len(self.pair.cpus)))))
        ahead = self.ahead(before, cpu)
        if ahead.state not in (MOVES, RETURNS):
            why = {ENDED: "has nothing left to do", STOPPED: "stands still: the kernel has met a bug"}
            raise BadInput("cpu", f"{cpu} {ahead.step.text if ahead.step else why[ahead.state]}", "a CPU that can move")
        self.schedule = self._settled((*before, cpu))

    def load(self, text: str) -> None:
        """Take a schedule from a line, such as "0x5 1x12".
        Raises BadInput, with nothing changed, for one that cannot be.
        """
        schedule = parse_schedule(text)
        replay(self.pair, schedule)
        self.schedule = self._settled(schedule)

    def _settled(self, schedule: Schedule) -> Schedule:
        returning = [0]
        while returning:
            returning = [cpu for cpu in range(len(self.pair.cpus)) if self.ahead(schedule, cpu).state == RETURNS]
            schedule += tuple(returning[:1])
        return schedule

    def broken(self, number: int, trace: RaceTrace) -> list[Violation]:
        """What must not be and is, after `number` steps of `trace`: invariants, a bug of the kernel, a deadlock."""
        schedule = trace.schedule[:number]
        step = trace[number].step
        if step is not None and step.text.startswith("BUG: "):
            return [Violation("no_kernel_bug", step.text.removeprefix("BUG: "))]
        found = check_state(trace[number].state)
        ahead = {self.ahead(schedule, cpu).state for cpu in range(len(self.pair.cpus))}
        if ahead == {ENDED}:
            found += forgotten(self.pair, trace[number].state)
        elif ahead <= {WAITS, ENDED}:
            stuck = deadlock(self.pair, schedule)
            found += [stuck] if stuck else []
        return found

    def ways(self, at: int) -> Ways | None:
        """The schedules that are still possible after the first `at` steps, and how many of them fail.

        None if they cannot be counted, or if the schedule has gone on behind a failure, where the explorer stops.
        """
        node = self.found.graph.follow(self.schedule[:at])
        return None if node is None or self.found.graph.ways is None else self.found.graph.ways[node]

    def find(self, at: int) -> int | None:
        """Load the simplest failing schedule that goes on from the first `at` steps, else the simplest of all.

        Returns how many of the steps so far are kept, None if there is none: then nothing changes.
        """
        graph, before = self.found.graph, self.schedule[:at]
        node = graph.follow(before)
        last = before[-1] if before else -1
        path = graph.simplest_failure(node, last) if node is not None else None
        if path is None or not path[1]:
            at, before, path = 0, (), graph.simplest_failure()
        if path is None:
            return None
        self.schedule = (*before, *path[1])
        return at

    @property
    def line(self) -> str:
        """The race so far as a line that the race stepper takes: "naive-split-and-pin: 0x10 1x6"."""
        return f"{self.pair.name}: {format_schedule(self.schedule)}".strip()
