"""What a race consists of: a machine brought to where it gets interesting,
and what then happens on each CPU at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from thplab.errors import BadInput, KernelBug
from thplab.hardware.geometry import MINI, TINY, Geometry
from thplab.hardware.steps import Routine
from thplab.kernel import kernels
from thplab.kernel.policies import Kernel
from thplab.machine.machine import Machine
from thplab.machine.state import State
from thplab.machine.trace import Setup, record
from thplab.scenario import VOCABULARY, Operation, Scenario

Cpu = str | Callable[[Machine], Routine[int]]
"""What one CPU does: operations as a scenario writes them ("pin A 1 1 dma;
unpin dma"), or a routine that is not one of them.
"""

Program = tuple[Operation | Callable[[Machine], Routine[int]], ...]
"""The same, operation by operation."""


@dataclass(frozen=True)
class Pair:
    """Two or three CPUs that meet. `prepare` is a scenario; `variants` replaces routines by name.

    `loses` says whether a schedule that breaks an invariant is known to exist (None: nobody has said); `sees` are the
    texts of steps in that schedule, in order, by which it is told; each with its CPU. `memory` is in page frames,
    `swap` a kind of swap device, empty for none but what `prepare` names as its env.
    `keeps` says what must not get lost: (process, page, byte that it must read there in the end).
    """

    name: str
    about: str
    source: str
    prepare: str
    cpus: tuple[Cpu, ...]
    loses: bool | None
    variants: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    kernel: str | Kernel = kernels.DEFAULT
    geometry: Geometry = MINI
    memory: int = 16
    sees: tuple[tuple[int, str], ...] = ()
    keeps: tuple[tuple[str, int, int], ...] = ()
    swap: str = ""

    def __repr__(self) -> str:
        return f"<Pair {self.name}: {' | '.join(map(self.does, range(len(self.cpus))))}>"

    @cached_property
    def programs(self) -> tuple[Program, ...]:
        """What each CPU does, operation by operation. Raises BadInput for a text that does not parse."""
        return tuple(Scenario.parse(cpu).ops if isinstance(cpu, str) else (cpu,) for cpu in self.cpus)

    @property
    def setup(self) -> Setup:
        """What the machine is made of."""
        return Setup(self.kernel, self.geometry.name, self.memory, swap=self.swap)

    @cached_property
    def users(self) -> tuple[tuple[str, ...], ...]:
        """The process whose memory each operation of each CPU uses, empty if none."""
        return tuple(tuple(map(_user, program)) for program in self.programs)

    @cached_property
    def start(self) -> State:
        """The state in which the routines start. KernelBug if `prepare` cannot be carried out."""
        trace = record(self.prepare, self.setup)
        if trace.problem:
            raise KernelBug(f"the pair {self.name!r} cannot be prepared: {trace.problem}")
        return trace[-1].state

    def does(self, cpu: int) -> str:
        """What a CPU does, in words: "pin(A, page 1, dma); unpin(dma)"."""
        nr = self.geometry.nr
        return "; ".join(op.label(nr) if isinstance(op, Operation) else op.__name__ for op in self.programs[cpu])


def _user(op: Operation | Callable[[Machine], Routine[int]]) -> str:
    """Who splits or reclaims a page gets at its mappings by the reverse map, not as its process."""
    if not isinstance(op, Operation) or not VOCABULARY[op.op].of_process:
        return ""
    return "" if op.op == "swap_out" or op.fields.get("how") == "direct" else str(op.fields["proc"])


def own_pair(
    prepare: str, cpus: Sequence[str], kernel: str = kernels.DEFAULT, geometry: Geometry = TINY, swap: str = ""
) -> Pair:
    """A pair of a reader's own: what a scenario prepares, and what then happens on two or three CPUs.

    Raises BadInput if a text does not parse, the scenario cannot be carried out,
    or a CPU cannot begin what it is to do first.
    """
    if not 2 <= len(cpus) <= 3:
        raise BadInput("cpu", f"is given {len(cpus)} times", "what two or three CPUs do")
    name = "; ".join([prepare, *(f"CPU {cpu}: {does}" for cpu, does in enumerate(cpus))])
    pair = Pair(
        "your own pair",
        name,
        "",
        prepare,
        tuple(cpus),
        None,
        kernel=kernel,
        geometry=geometry,
        memory=8 * geometry.nr + 32,
        swap=swap,
    )
    trace = record(prepare, pair.setup)
    if trace.problem:
        raise BadInput(
            "scenario", f"cannot be carried out: {trace.problem}", "operations that make sense one after the other"
        )
    for cpu, program in enumerate(pair.programs):
        if not program:
            raise BadInput("cpu", f"{cpu} does nothing", "at least one operation")
        first = program[0]
        assert isinstance(first, Operation), "it was written as text"
        Machine.restored(pair.start).begin(first)
    return pair
