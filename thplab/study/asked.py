"""Which policies of its kernel record each step of a trace has asked for."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from thplab.kernel import kernels
from thplab.kernel.policies import GROUPS, Kernel
from thplab.machine.trace import Trace
from thplab.study.explore.replay import RaceTrace


def asked_policies(trace: Trace) -> list[tuple[str, ...]]:
    """For each frame the policies that were asked on the way to it, such as "cow.splits_pmd",
    in the order in which they were.

    Its operations are carried out once more, on a record that notes what it is asked.
    Empty for a trace in which another CPU moves.
    """
    if trace.inserts or isinstance(trace, RaceTrace):
        return []
    noted: dict[str, None] = {}
    kernel = trace.setup.kernel
    right = kernels.kernel(kernel) if isinstance(kernel, str) else kernel
    machine = replace(trace.setup, kernel=_noting(right, noted)).machine()
    found: list[tuple[str, ...]] = [()] * len(trace)
    for index, op in enumerate(trace.scenario.ops[: trace.reached]):
        noted.clear()
        routine = machine.begin(op)
        numbers = [frame.number for frame in trace if frame.op_index == index]
        for number in numbers:
            next(routine, None)
            found[number] = tuple(noted)
            noted.clear()
        if trace[numbers[-1]].result is not None:
            next(routine, None)
            found[numbers[-1]] = tuple(dict.fromkeys((*found[numbers[-1]], *noted)))
    return found


def _noting(kernel: Kernel, noted: dict[str, None]) -> Kernel:
    """The same record, but each policy that is asked for is noted."""
    return replace(kernel, **{group: _noting_group(group, getattr(kernel, group), noted) for group in GROUPS})


def _noting_group(group: str, right: Any, noted: dict[str, None]) -> Any:
    names = {field.name for field in fields(right)}

    class Noting(type(right)):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            if name in names:
                noted[f"{group}.{name}"] = None
            return super().__getattribute__(name)

    return Noting(**{name: getattr(right, name) for name in names})
