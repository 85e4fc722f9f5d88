"""All interleavings of the routines of a pair: the graph of what can happen.

The routines are the ones that everything else runs. Generators cannot be copied, so a state is reached by carrying out
its schedule again from the start. Two runs are the same state of the race, and explored once, if their machines have
the same digest and their CPUs the same position (thplab.study.explore.position).
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from thplab.study.explore.graph import Graph, Node
from thplab.study.explore.pair import Pair
from thplab.study.explore.run import Key, RaceRun, Schedule, deadlock, format_schedule
from thplab.study.invariants import Violation

LIMIT = 100_000
"""How many states are visited unless another bound is given."""


@dataclass(frozen=True)
class Failure:
    """A state that must not be: what is wrong, and the schedule with the fewest CPU switches, then steps, to it."""

    problem: str
    invariant: str
    schedule: Schedule

    def __repr__(self) -> str:
        return f"<Failure {self.invariant}: {self.problem} [{self.text()}]>"

    @property
    def switches(self) -> int:
        """How often another CPU goes on."""
        return sum(a != b for a, b in itertools.pairwise(self.schedule))

    def text(self) -> str:
        """The schedule as a line: "0x5 1x12 0x3" is five steps of CPU 0, twelve of CPU 1, three of CPU 0."""
        return format_schedule(self.schedule)


@dataclass
class Exploration:
    """What was found. `complete` is False if the bound on states was hit: then absence of a failure proves nothing.

    `ends`: digests of the machine after complete interleavings. `failing`: the invariants that some state breaks.
    `failure`: the simplest one, None if there is none.
    """

    pair: Pair
    graph: Graph
    ends: set[bytes] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    failure: Failure | None = None
    states: int = 0
    """Distinct states of the race."""

    @property
    def complete(self) -> bool:
        """Everything was seen."""
        return self.graph.complete

    @property
    def schedules(self) -> int | None:
        """Complete interleavings, counted over the graph; None if a routine can go round in circles, or not everything was seen."""
        return self.graph.ways[0].schedules if self.graph.ways else None

    @property
    def failing_schedules(self) -> int | None:
        """How many of them fail."""
        return self.graph.ways[0].failing if self.graph.ways else None

    @property
    def as_expected(self) -> bool:
        """A pair that loses was seen to; one that holds was seen to in every interleaving."""
        return self.failure is not None if self.pair.loses else self.complete and self.failure is None

    def __repr__(self) -> str:
        return f"<Exploration {self}>"

    def __str__(self) -> str:
        ways = "endlessly many" if self.complete else "uncounted"
        seen = f"{self.states} states, {ways if self.schedules is None else self.schedules} schedules"
        bound = "" if self.complete else " (stopped at the bound: not everything was seen)"
        found = f"fails: {self.failure.problem} [{self.failure.text()}]" if self.failure else "no failure"
        return f"{self.pair.name}: {seen}{bound}; {found}"


class _Move(NamedTuple):
    """What a CPU's step makes of the machine and of its own position; None for a step that has to wait."""

    machine: bytes
    position: Hashable
    bug: str
    ended: bool


def explore(pair: Pair, prune: bool = True, limit: int = LIMIT) -> Exploration:
    """Visit every interleaving of the pair. Without `prune` each schedule is walked on its own, for checking.

    A state that breaks an invariant is not followed any further. `limit` bounds the states visited.
    """
    return _Explorer(pair, prune, limit).explore()


class _Explorer:
    def __init__(self, pair: Pair, prune: bool, limit: int) -> None:
        self.pair = pair
        self.prune = prune
        self.limit = limit
        self.graph = Graph()
        self.result = Exploration(pair, self.graph)
        self.keys: list[Key] = []
        self.number: dict[Key, int] = {}
        self.moves: dict[tuple[bytes, int, Hashable], _Move | None] = {}
        """A step depends on the machine and on its own CPU's position only, so its outcome is known when it comes again."""
        self.problems: dict[tuple[bytes, bool, str], Violation | None] = {}
        """What is wrong with a state of the machine, which many states of the race share."""
        self.pending: list[tuple[int, RaceRun, Schedule]] = []

    def explore(self) -> Exploration:
        """Visit everything within the bound."""
        self._visit(RaceRun(self.pair), ())
        while self.pending:
            if len(self.graph.nodes) >= self.limit:
                self.graph.complete = False
                break
            self._follow(*self.pending.pop())
        self.result.states = len({self.keys[node] for node in self.graph.reached()})
        found = self.graph.simplest_failure()
        if found is not None:
            self.result.failure = Failure(found[0].problem, found[0].invariant, found[1])
        return self.result

    def _visit(self, run: RaceRun, schedule: Schedule) -> int:
        """The node of the state that `run` is in after `schedule`. A new one that is not an end is to be followed."""
        state = run.state(self.pair.start)
        key = run.key(state)
        nodes = self.graph.nodes
        known = self.number.setdefault(key, len(nodes))
        if self.prune and known < len(nodes):
            return known
        machine = (state.exact, state.in_progress, run.bug)
        if machine not in self.problems:
            self.problems[machine] = run.problem(state)
        node = Node(problem=self.problems[machine])
        nodes.append(node)
        self.keys.append(key)
        if node.problem is not None:
            self.result.failing.add(node.problem.invariant)
        elif run.done:
            self.result.ends.add(state.exact)
        else:
            self.pending.append((len(nodes) - 1, run, schedule))
        return len(nodes) - 1

    def _follow(self, here: int, live: RaceRun, schedule: Schedule) -> None:
        """Find where each CPU's next step leads. That a routine returns touches nothing: that need not be tried in every order."""
        key, edges = self.keys[here], self.graph.nodes[here].edges
        unknown = []
        for cpu, position in enumerate(key.cpus):
            if position is None:
                continue
            known = self._known(key, cpu)
            if known is None:
                unknown.append(cpu)
            elif known[1] is not None:
                edges[cpu] = known[1]
            if known is not None and known[0]:
                unknown = []
                self._only(edges, cpu)
                break
        for cpu in unknown:
            run = live if cpu == unknown[-1] else RaceRun(self.pair, schedule)  # the last try may use up the live machine
            if not run.move(cpu):
                self.moves[key.machine, cpu, key.cpus[cpu]] = None
                continue
            edges[cpu] = self._visit(run, (*schedule, cpu))
            after = self.keys[edges[cpu]]
            self.moves[key.machine, cpu, key.cpus[cpu]] = _Move(after.machine, after.cpus[cpu], after.bug, run.ended)
            if run.ended:
                self._only(edges, cpu)
                break
        if not edges:
            self.graph.nodes[here].problem = deadlock(self.pair, schedule)
            self.result.failing.add("no_deadlock")

    def _known(self, key: Key, cpu: int) -> tuple[bool, int | None] | None:
        """(whether it ends the CPU's work, the node that it leads to or None if it must wait) of a step, None if that has to be tried."""
        at = (key.machine, cpu, key.cpus[cpu])
        if not self.prune or at not in self.moves:
            return None
        move = self.moves[at]
        if move is None:
            return False, None
        cpus = (*key.cpus[:cpu], move.position, *key.cpus[cpu + 1 :])
        node = self.number.get(Key(move.machine, cpus, move.bug))
        return None if node is None else (move.ended, node)

    @staticmethod
    def _only(edges: dict[int, int], cpu: int) -> None:
        for other in edges.keys() - {cpu}:
            del edges[other]
