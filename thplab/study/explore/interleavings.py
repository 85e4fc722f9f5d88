"""All interleavings of the routines of a pair: the graph of what can happen.

The routines are the ones that everything else runs. Generators cannot be copied, so a state is reached by carrying out
its schedule again from the start. Two runs are the same state of the race, and explored once, if their machines have
the same digest and their CPUs the same position (thplab.study.explore.position).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import NamedTuple

from thplab.machine.state import State
from thplab.study.explore.graph import Graph, Node
from thplab.study.explore.moves import UNKNOWN, Key, Move, Moves
from thplab.study.explore.pair import Pair
from thplab.study.explore.run import RaceRun, Schedule, deadlock, format_schedule
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
        """Complete interleavings, counted over the graph;
        None if a routine can go round in circles, or not everything was seen.
        """
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


class _Place(NamedTuple):
    """What a node stands for: a state of the race and, if turns are counted,
    whose turn it is and how often it may still be taken.
    """

    key: Key
    turn: int = -1
    left: int = -1


def explore(pair: Pair, prune: bool = True, limit: int = LIMIT, max_switches: int | None = None) -> Exploration:
    """Visit every interleaving of the pair. Without `prune` each schedule is walked on its own, for checking.

    A state that breaks an invariant is not followed any further. `limit` bounds the states visited.

    With `max_switches` only those interleavings are visited in which a CPU that could go on is interrupted at most so
    often. A CPU that has to wait is not interrupted: the others move until it can go on, which it then does. After the
    last interruption there is one way on, of which the end alone is looked at.
    """
    return _Explorer(pair, prune, limit, max_switches).explore()


class _Explorer:
    def __init__(self, pair: Pair, prune: bool, limit: int, max_switches: int | None) -> None:
        self.pair = pair
        self.prune = prune
        self.limit = limit
        self.max_switches = -1 if max_switches is None else max_switches
        self.graph = Graph()
        self.result = Exploration(pair, self.graph)
        self.places: dict[int, _Place] = {}
        """What the nodes stand for; those after the last interruption are not told apart."""
        self.number: dict[_Place, int] = {}
        self.moves = Moves(pair)
        self.pending: list[tuple[int, RaceRun | None, Schedule]] = []

    def explore(self) -> Exploration:
        """Visit everything within the bounds."""
        run = RaceRun(self.pair)
        state = run.state()
        start = self.moves.start(run, state)
        if self.prune and self.max_switches < 0:
            self.moves.find_out(start, self.limit)
        self._visit(_Place(start, left=self.max_switches), (), run, state)
        while self.pending:
            if len(self.graph.nodes) >= self.limit:
                self.graph.complete = False
                break
            self._follow(*self.pending.pop())
        self.result.states = len({self.places[node].key for node in self.graph.reached() & self.places.keys()})
        found = self.graph.simplest_failure() if self.result.failing else None
        if found is not None:
            self.result.failure = Failure(found[0].problem, found[0].invariant, found[1])
        return self.result

    def _visit(self, place: _Place, schedule: Schedule, run: RaceRun | None, state: State | None) -> int:
        """The node of a place that `schedule` leads to. A new one that is not an end is to be followed.

        `run` and the `state` of its machine stand there; None if nothing had to be carried out to get there.
        """
        key, nodes, node = place.key, self.graph.nodes, len(self.graph.nodes)
        known = self.number.setdefault(place, node)
        if self.prune and known < node:
            return known
        nodes.append(Node())
        self.places[node] = place
        if self._fails(node, self.moves.problem(key, run, state, schedule)):
            return node
        if not key.under_way:
            self.result.ends.add(key.machine)
        elif place.left == 0 and place.turn >= 0:
            self._run_out(node, run or RaceRun(self.pair, schedule), place.turn, schedule)
        else:
            self.pending.append((node, run, schedule))
        return node

    def _fails(self, node: int, problem: Violation | None) -> bool:
        """Note what is wrong at a node."""
        self.graph.nodes[node].problem = problem
        self.result.failing |= {problem.invariant} if problem else set()
        return problem is not None

    def _run_out(self, here: int, run: RaceRun, turn: int, schedule: Schedule) -> None:
        """Let `turn` go on, and where it has to wait the first other that can, until all is done."""
        nodes, order = self.graph.nodes, (turn, *(cpu for cpu in range(len(self.pair.cpus)) if cpu != turn))
        while not run.done:
            moved = next(filter(run.move, order), None)
            if moved is None:
                self._fails(here, deadlock(self.pair, schedule))
                return
            if len(nodes) >= self.limit:
                self.graph.complete = False
                return
            schedule += (moved,)
            nodes[here].edges[moved] = len(nodes)
            here = len(nodes)
            nodes.append(Node())
        state = run.state()
        if not self._fails(here, self.moves.problem(Key(state.exact, (), run.bug), run, state, schedule)):
            self.result.ends.add(state.exact)

    def _follow(self, here: int, live: RaceRun | None, schedule: Schedule) -> None:
        """Find where each CPU's next step leads."""
        place, edges = self.places[here], self.graph.nodes[here].edges
        key = place.key
        for cpu in sorted(self.moves.movers(key), key=lambda cpu: cpu != place.turn):
            interrupts = place.turn in edges
            if interrupts and not place.left:
                break
            run, state, move = None, None, self.moves.known(key, cpu) if self.prune else UNKNOWN
            if move is UNKNOWN:
                run, live = live or RaceRun(self.pair, schedule), None
                move, state = self.moves.carry_out(run, key, cpu)
            if not isinstance(move, Move):
                continue
            after = self._turn(place, self.moves.after(key, cpu, move), cpu, interrupts, move.ended)
            edges[cpu] = self._visit(after, (*schedule, cpu), run, state)
            if move.ended:
                for other in edges.keys() - {cpu}:
                    del edges[other]
                break
        if not edges:
            self._fails(here, deadlock(self.pair, schedule))

    def _turn(self, before: _Place, after: Key, cpu: int, interrupts: bool, ended: bool) -> _Place:
        """Where a step of `cpu` leads."""
        if self.max_switches < 0:
            return _Place(after)
        if interrupts and not ended:
            return _Place(after, cpu, before.left - 1)
        has_turn = before.turn >= 0 and after.cpus[before.turn] is not None
        return _Place(after, before.turn if has_turn else cpu if not ended else -1, before.left)
