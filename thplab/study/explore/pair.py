"""What a race consists of: a machine brought to where it gets interesting, and what then happens on each CPU at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from thplab.errors import KernelBug
from thplab.hardware.geometry import MINI, Geometry
from thplab.hardware.steps import Routine
from thplab.kernel import kernels
from thplab.kernel.policies import Kernel
from thplab.machine.machine import Machine
from thplab.machine.state import State
from thplab.machine.trace import Setup, record
from thplab.scenario import Operation, Scenario

Cpu = str | Callable[[Machine], Routine[int]]
"""What one CPU does: operations as a scenario writes them ("pin A 1 1 dma; unpin dma"), or a routine that is not one of them."""

Program = tuple[Operation | Callable[[Machine], Routine[int]], ...]
"""The same, operation by operation."""


@dataclass(frozen=True)
class Pair:
    """Two or three CPUs that meet. `prepare` is a scenario; `variants` replaces routines by name.

    `loses` says whether a schedule that breaks an invariant is known to exist; `sees` are the texts of steps in that
    schedule, in order, by which it is told; each with its CPU. `memory` is in page frames. `keeps` says what must not get lost:
    (process, page, byte that it must read there in the end).
    """

    name: str
    about: str
    source: str
    prepare: str
    cpus: tuple[Cpu, ...]
    loses: bool
    variants: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    kernel: str | Kernel = kernels.DEFAULT
    geometry: Geometry = MINI
    memory: int = 16
    sees: tuple[tuple[int, str], ...] = ()
    keeps: tuple[tuple[str, int, int], ...] = ()

    def __repr__(self) -> str:
        return f"<Pair {self.name}: {' | '.join(map(self.does, range(len(self.cpus))))}>"

    @cached_property
    def programs(self) -> tuple[Program, ...]:
        """What each CPU does, operation by operation. Raises BadInput for a text that does not parse."""
        return tuple(Scenario.parse(cpu).ops if isinstance(cpu, str) else (cpu,) for cpu in self.cpus)

    @cached_property
    def start(self) -> State:
        """The state in which the routines start. KernelBug if `prepare` cannot be carried out."""
        trace = record(self.prepare, Setup(self.kernel, self.geometry.name, self.memory))
        if trace.problem:
            raise KernelBug(f"the pair {self.name!r} cannot be prepared: {trace.problem}")
        return trace[-1].state

    def does(self, cpu: int) -> str:
        """What a CPU does, in words: "pin(A, page 1, dma); unpin(dma)"."""
        nr = self.geometry.nr
        return "; ".join(op.label(nr) if isinstance(op, Operation) else op.__name__ for op in self.programs[cpu])
