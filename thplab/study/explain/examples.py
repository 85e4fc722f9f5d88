"""Examples: what the short scenarios leave behind on a kernel, carried out one after the other on the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from thplab.errors import BadInput, Deadlock, KernelBug
from thplab.hardware.geometry import X86_64
from thplab.hardware.steps import drain
from thplab.kernel.kernels import kernel
from thplab.kernel.routines.lru import lru_add_drain
from thplab.machine.machine import Machine
from thplab.machine.snapshot import capture
from thplab.machine.state import State
from thplab.machine.trace import call_text, stack_of
from thplab.scenario import Operation, Scenario
from thplab.study.explain.contents import Around, Contents, around, contents
from thplab.study.explain.scenarios import lines
from thplab.study.observe import smaps

REGION = "R"


@dataclass(frozen=True)
class Sight:
    """A region of a process at the end of a scenario, as its users see it."""

    process: str
    figures: Mapping[str, int]
    """smaps, in kB."""
    contents: Contents
    around: Around


@dataclass(frozen=True, eq=False)
class Example:
    """One short scenario on a kernel: where its last operation began, and what it left."""

    before: str
    op: str
    swap: str
    ret: int
    was: State
    state: State
    raised: Mapping[str, str] = field(default_factory=dict)
    """Events of the last operation -> the routine that raised them first."""

    @property
    def line(self) -> str:
        """The scenario, as `thplab run` takes it."""
        return f"{self.before}; {self.op}"

    @property
    def length(self) -> int:
        """Operations."""
        return self.line.count(";") + 1

    @cached_property
    def events(self) -> dict[str, int]:
        """What the last operation raised in /proc/vmstat."""
        return _risen(self.was.vmstat, self.state.vmstat)

    @cached_property
    def total(self) -> dict[str, int]:
        """What the whole scenario raised."""
        return {name: count for name, count in self.state.vmstat.items() if count}

    @cached_property
    def after(self) -> tuple[Sight, ...]:
        """Each process that is left, with its region."""
        return _views(self.state)

    @cached_property
    def earlier(self) -> dict[str, Sight]:
        """The same before the last operation, by process."""
        return {view.process: view for view in _views(self.was)}


def _risen(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in after.items() if count != before[name]}


@lru_cache(1 << 10)
def _views(state: State) -> tuple[Sight, ...]:
    found = []
    for process in state.processes:
        if REGION in dict(process.regions):
            name = process.name
            found.append(
                Sight(name, smaps(state, name, REGION), contents(state, name, REGION), around(state, name, REGION))
            )
    return tuple(found)


def examples(kernel_name: str, numbers: tuple[int, ...]) -> list[Example]:
    """All short scenarios on a kernel, with these values of {k}. What the kernel cannot do is left out.

    Raises BadInput for an unknown kernel.
    """
    kernel(kernel_name)
    made = (_carried_out(kernel_name, *line) for line in lines(numbers))
    return [example for example in made if example is not None]


@lru_cache(1 << 11)
def _carried_out(kernel_name: str, before: str, op: str, swap: str) -> Example | None:
    was = _prepared(kernel_name, before, swap)
    if was is None:
        return None
    machine = Machine.restored(was)
    try:
        result, raised = _watched(machine, operation(op))
    except (BadInput, KernelBug, Deadlock):
        return None  # the kernel does not have it, or it makes no sense there
    drain(lru_add_drain(machine.system))
    return Example(before, op, swap, result, was, capture(machine.system), raised)


def operation(text: str) -> Operation:
    """The only operation of a text."""
    (only,) = Scenario.parse(text).ops
    return only


@lru_cache(1 << 9)
def _prepared(kernel_name: str, before: str, swap: str) -> State | None:
    """The machine at rest after some operations; None if one of them cannot be done there."""
    earlier, _, op = before.rpartition("; ")
    if earlier:
        start = _prepared(kernel_name, earlier, swap)
        if start is None:
            return None
        machine = Machine.restored(start)
    else:
        machine = Machine(kernel_name, X86_64, swap=swap)
    try:
        result = drain(machine.begin(operation(op)))
    except (BadInput, KernelBug, Deadlock):
        return None
    drain(lru_add_drain(machine.system))
    return None if result else capture(machine.system)


def _watched(machine: Machine, op: Operation) -> tuple[int, dict[str, str]]:
    """Carry out an operation; what it returns, and which routine raised which event."""
    routine, system = machine.begin(op), machine.system
    raised: dict[str, str] = {}
    seen = dict(system.vmstat)
    while True:
        try:
            next(routine)
        except StopIteration as end:
            return int(end.value), raised
        if system.vmstat != seen:
            stack = stack_of(routine, system)
            name = next((each for each in reversed(stack) if each.isidentifier()), "")
            for event, count in system.vmstat.items():
                if count != seen[event] and name:
                    raised.setdefault(event, call_text(name))
            seen = dict(system.vmstat)
