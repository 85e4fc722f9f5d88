"""All states that a machine can get into by a stated set of operations, and the shortest scenario to each of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thplab.errors import BadInput, Deadlock, KernelBug
from thplab.hardware.geometry import MINI, Geometry
from thplab.hardware.steps import Routine, drain
from thplab.kernel import kernels
from thplab.kernel.policies import Kernel
from thplab.machine.machine import Machine
from thplab.machine.snapshot import capture
from thplab.machine.state import State
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Operation, Phase, Scenario
from thplab.study.explore.canonical import canonical
from thplab.study.invariants import Violation, check_state

OPERATIONS = (
    "write A 0",
    "fork A B",
    "write B 1",
    "split_pmd A 0",
    "munmap A 1 1",
    "pin A 2 1 dma",
    "unpin dma",
    "split A 0",
    "exit B",
)
"""A set that meets every counter: two processes, both kinds of mapping, a hole, a pin, and both splits."""

LIMIT = 20_000


@dataclass
class Reached:
    """What was reached from the state after `start`, in the order of the shortest scenarios to it.

    `complete` is False if the bound on states was hit: then what was not found may still exist.
    """

    operations: tuple[str, ...]
    start: Scenario
    setup: Setup
    states: list[State] = field(default_factory=list)
    complete: bool = True
    violation: Violation | None = None
    """What is wrong with the state reached last; it is not followed further, and nothing after it was looked at."""
    _from: list[tuple[int, Operation] | None] = field(default_factory=list)

    def scenario(self, number: int) -> Scenario:
        """The shortest scenario to state `number`: the start, then the fewest operations of the set."""
        steps: list[Operation] = []
        at = self._from[number]
        while at is not None:
            number, op = at
            steps.append(op)
            at = self._from[number]
        return Scenario(phases=(Phase(ops=(*self.start.ops, *reversed(steps))),))

    def trace(self, number: int) -> Trace:
        """The shortest scenario to state `number`, recorded step by step, at its last frame."""
        trace = record(self.scenario(number), self.setup)
        trace.seek(len(trace) - 1)
        return trace

    def find(self, predicate: Callable[[State], bool]) -> int | None:
        """The number of the state with the shortest scenario that `predicate` holds for;
        None if it holds for none that was reached.
        """
        return next((number for number, state in enumerate(self.states) if predicate(state)), None)

    def __repr__(self) -> str:
        return f"<Reached {self}>"

    def __str__(self) -> str:
        bound = "" if self.complete else " (stopped at the bound: not everything was reached)"
        wrong = f"; {self.violation.problem}: {self.scenario(len(self.states) - 1).line()}" if self.violation else ""
        return f"{len(self.states)} states{bound} by {', '.join(self.operations)}{wrong}"


def reachable(
    operations: Sequence[str] = OPERATIONS,
    start: str = "mmap A",
    kernel: str | Kernel = kernels.DEFAULT,
    geometry: Geometry = MINI,
    memory: int = 32,
    limit: int = LIMIT,
    variants: Mapping[str, Callable[..., Any]] | None = None,
    until: Callable[[State], bool] | None = None,
) -> Reached:
    """Every state at rest that the operations lead to, each begun wherever it makes sense.
    Checks the invariants in each.

    Ends at the first state that breaks one, or for which `until` holds: no shorter scenario leads to such a state.
    `limit` bounds the states. Raises BadInput for operations that do not parse or exist.
    """
    setup = Setup(kernel, geometry.name, memory)
    ops = tuple(_one(text) for text in operations)
    trace = record(start, setup)
    if trace.problem:
        raise BadInput(
            "start", f"{start!r} cannot be carried out ({trace.problem})", "operations that this kernel builds"
        )
    found = Reached(tuple(operations), trace.scenario, setup)
    search = _Search(found, ops, dict(variants or {}), limit, until)
    search.run(trace[-1].state)
    return found


def _one(text: str) -> Operation:
    ops = Scenario.parse(text).ops
    if len(ops) != 1:
        raise BadInput("operations", f"{text!r} is {len(ops)} operations", "one operation each")
    return ops[0]


@dataclass
class _Search:
    found: Reached
    ops: tuple[Operation, ...]
    variants: dict[str, Callable[..., Any]]
    limit: int
    until: Callable[[State], bool] | None
    known: dict[Hashable, int] = field(default_factory=dict)

    def run(self, first: State) -> None:
        """Breadth first, so that the first scenario to a state is a shortest one."""
        if self._add(first, None):
            return
        number = 0
        while number < len(self.found.states):
            machine = None
            for op in self.ops:
                if len(self.found.states) >= self.limit:
                    self.found.complete = False
                    return
                machine = machine or Machine.restored(self.found.states[number], self.variants)
                try:
                    routine = machine.begin(op)
                except BadInput:
                    continue  # it makes no sense here, and nothing has changed
                if self._carry_out(machine, routine, (number, op)):
                    return
                machine = None
            number += 1

    def _carry_out(self, machine: Machine, routine: Routine[int], came_from: tuple[int, Operation]) -> bool:
        """Carry out an operation that was begun. True if that ends the search."""
        try:
            drain(routine)
        except (KernelBug, Deadlock) as error:
            self.found.states.append(capture(machine.system))
            self.found._from.append(came_from)
            self.found.violation = Violation(
                "no_kernel_bug" if isinstance(error, KernelBug) else "no_deadlock", str(error)
            )
            return True
        return self._add(capture(machine.system), came_from)

    def _add(self, state: State, came_from: tuple[int, Operation] | None) -> bool:
        name = canonical(state)
        if name in self.known:
            return False
        self.known[name] = len(self.found.states)
        self.found.states.append(state)
        self.found._from.append(came_from)
        self.found.violation = next(iter(check_state(state)), None)
        return self.found.violation is not None or (self.until is not None and self.until(state))
