"""All interleavings of the routines of a pair: the graph of what can happen, and the simplest way to what must not.

The routines are the ones that everything else runs. Generators cannot be copied, so a state is reached by carrying out
its schedule again from the start. Two runs are the same state of the race, and explored once, if their machines have
the same digest and their CPUs the same position (thplab.explore.position).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from dataclasses import dataclass, field

from thplab.errors import KernelBug, errname
from thplab.explore.pairs import Pair
from thplab.explore.position import position
from thplab.invariants import check_state
from thplab.state import State, capture, restore
from thplab.steps import WAIT, Routine, Step, read
from thplab.trace import Frame, Setup, record, stack_of

Schedule = tuple[int, ...]
"""The CPU that moves, step by step."""


@dataclass(frozen=True)
class Failure:
    """A state that must not be: what is wrong, and the schedule with the fewest CPU switches, then steps, to it."""

    problem: str
    invariant: str
    schedule: Schedule

    @property
    def switches(self) -> int:
        """How often another CPU goes on."""
        return sum(a != b for a, b in itertools.pairwise(self.schedule))

    def text(self) -> str:
        """The schedule as a line: "0x5 1x12 0x3" is five steps of CPU 0, twelve of CPU 1, three of CPU 0."""
        return " ".join(f"{cpu}x{len(list(run))}" for cpu, run in itertools.groupby(self.schedule))


def parse_schedule(text: str) -> Schedule:
    """The inverse of Failure.text."""
    runs = (part.split("x") for part in text.split())
    return tuple(cpu for c, n in runs for cpu in [int(c)] * int(n))


@dataclass
class Exploration:
    """What was found. `complete` is False if the bound on states was hit: then absence of a failure proves nothing.

    `states`: distinct states of the race. `schedules`: complete interleavings, counted over the graph; None if a
    routine can go round in circles. `ends`: digests of the machine after complete interleavings. `failure`: the
    simplest one, None if there is none.
    """

    pair: Pair
    states: int = 0
    schedules: int | None = 0
    complete: bool = True
    ends: set[bytes] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    failure: Failure | None = None

    def __str__(self) -> str:
        seen = f"{self.states} states, {self.schedules if self.schedules is not None else 'endlessly many'} schedules"
        bound = "" if self.complete else " (stopped at the bound: not everything was seen)"
        found = f"fails: {self.failure.problem} [{self.failure.text()}]" if self.failure else "no failure"
        return f"{self.pair.name}: {seen}{bound}; {found}"


class _Run:
    """The pair's machine and routines after a schedule."""

    def __init__(self, pair: Pair, start: State, schedule: Schedule = ()) -> None:
        self.machine = restore(start, dict(pair.variants))
        self.machine.system.whole = False
        self.routines: list[Routine[int] | None] = [begin(self.machine) for begin in pair.cpus]
        self.bug = ""
        self.step: Step | None = None
        self.ended = False
        """The last move was the return of a routine."""
        for cpu in schedule:
            self.move(cpu)

    def move(self, cpu: int) -> bool:
        """Let a CPU do one step; False if it has to wait (then nothing has changed) or has ended already."""
        routine = self.routines[cpu]
        if routine is None:
            return False
        self.machine.system.cpus.cpu = cpu
        self.ended = False
        try:
            self.step = next(routine)
        except StopIteration as end:
            self.routines[cpu] = None
            self.ended = True
            self.step = read(f"returns {errname(end.value)}")
        except KernelBug as bug:
            self.routines[cpu] = None
            self.bug = str(bug)
            self.step = read(f"BUG: {bug}")
        return self.step.kind != WAIT

    @property
    def done(self) -> bool:
        return not any(self.routines)

    def state(self, previous: State | None = None) -> State:
        return capture(self.machine, previous, in_progress=not self.done)

    def key(self, state: State) -> Hashable:
        return (state.exact, tuple(position(r) if r is not None else None for r in self.routines), self.bug)

    def problem(self, state: State) -> tuple[str, str] | None:
        """(invariant, problem) if the state must not be."""
        if self.bug:
            return ("no_kernel_bug", self.bug)
        found = check_state(state)
        return (found[0].invariant, found[0].problem) if found else None


@dataclass
class _Node:
    """One state of the race: where each CPU's next step leads, and what is wrong with it."""

    edges: dict[int, int] = field(default_factory=dict)
    problem: tuple[str, str] | None = None


def prepared(pair: Pair) -> State:
    """The state in which the pair's routines start."""
    trace = record(pair.prepare, Setup(geometry=pair.geometry.name, memory=4 * pair.geometry.nr))
    if trace.problem:
        raise KernelBug(f"the pair {pair.name!r} cannot be prepared: {trace.problem}")
    return trace[-1].state


def explore(pair: Pair, prune: bool = True, limit: int = 200_000) -> Exploration:
    """Visit every interleaving of the pair. Without `prune` each schedule is walked on its own, for checking.

    A state that breaks an invariant is not followed any further. `limit` bounds the states visited.
    """
    start = prepared(pair)
    result = Exploration(pair)
    nodes: list[_Node] = []
    number: dict[Hashable, int] = {}

    def visit(run: _Run) -> tuple[int, bool]:
        """The node of the state that `run` is in, and whether it has to be followed from here."""
        state = run.state(start)
        key = run.key(state)
        known = number.setdefault(key, len(nodes))
        if prune and known < len(nodes):
            return known, False
        node = _Node(problem=run.problem(state))
        nodes.append(node)
        if node.problem is not None:
            result.failing.add(node.problem[0])
        elif run.done:
            result.ends.add(state.exact)
        return len(nodes) - 1, node.problem is None and not run.done

    first = _Run(pair, start)
    pending: list[tuple[int, _Run, Schedule]] = [(visit(first)[0], first, ())]
    while pending:
        if len(nodes) >= limit:
            result.complete = False
            break
        here, live, schedule = pending.pop()
        edges = nodes[here].edges
        last = len(pair.cpus) - 1
        for cpu in range(len(pair.cpus)):
            run = live if cpu == last else _Run(pair, start, schedule)  # the last try may use up the live machine
            if not run.move(cpu):
                continue
            if run.ended:
                edges.clear()  # that a routine returns touches nothing: no need to try it in every order
            edges[cpu], follow = visit(run)
            if follow:
                pending.append((edges[cpu], run, (*schedule, cpu)))
            if run.ended:
                break
        if not edges:
            nodes[here].problem = ("no_deadlock", "no CPU can go on: each waits for another")
            result.failing.add("no_deadlock")
    result.states = len(number)
    result.schedules = _count_schedules(nodes) if result.complete else None
    result.failure = _simplest_failure(nodes)
    return result


def _count_schedules(nodes: list[_Node]) -> int | None:
    """Complete paths from the first node; None if the graph has a circle."""
    count: dict[int, int] = {}
    open_: set[int] = set()
    stack = [(0, False)]
    while stack:
        at, closing = stack.pop()
        edges = nodes[at].edges.values()
        if closing:
            open_.discard(at)
            count[at] = sum(count[e] for e in edges) if edges else 1
        elif at not in count:
            if at in open_:
                return None
            open_.add(at)
            stack.append((at, True))
            if any(e in open_ for e in edges):
                return None
            stack += [(e, False) for e in edges if e not in count]
    return count[0]


def _simplest_failure(nodes: list[_Node]) -> Failure | None:
    """The failure that needs the fewest switches between CPUs, then the fewest steps (Dijkstra over node and CPU)."""
    heap: list[tuple[int, int, Schedule, int]] = [(0, 0, (), 0)]
    seen: set[tuple[int, int]] = set()
    while heap:
        switches, steps, schedule, at = heapq.heappop(heap)
        last = schedule[-1] if schedule else -1
        if (at, last) in seen:
            continue
        seen.add((at, last))
        problem = nodes[at].problem
        if problem is not None:
            return Failure(problem[1], problem[0], schedule)
        for cpu, to in nodes[at].edges.items():
            switched = switches + (last not in (-1, cpu))
            heapq.heappush(heap, (switched, steps + 1, (*schedule, cpu), to))
    return None


def play(pair: Pair, schedule: Schedule) -> tuple[Frame, ...]:
    """The frames of one schedule, from the prepared machine on: what a stepper shows."""
    start = prepared(pair)
    run = _Run(pair, start)
    frames = [Frame(0, None, start)]
    for cpu in schedule:
        run.move(cpu)
        routine = run.routines[cpu]
        stack = stack_of(routine) if routine is not None else ()
        frames.append(Frame(len(frames), run.step, run.state(frames[-1].state), stack=stack, cpu=cpu))
    return tuple(frames)
