"""A figure of a notebook: the picture of one step, drawn ahead so that the notebook can be read without a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thplab.machine.trace import Frame, Setup, record
from thplab.scenario import load
from thplab.show.diagrams import SIMPLE, Cut, Painter, Sheet


@dataclass(frozen=True)
class Figure:
    """A step of a scenario: the last frame at which `shows` holds. What its whole operation has changed is marked.
    `detail` is how much it says: in full where the lesson is about bits, flags or deposited tables.
    """

    scenario: str
    shows: Callable[[Frame], bool]
    setup: Setup = Setup()
    detail: str = SIMPLE

    def sheet(self) -> Sheet:
        """The picture, laid out."""
        trace = record(load(self.scenario), self.setup)
        frame = next(f for f in reversed(trace.frames) if self.shows(f))
        before = trace[next(f.number for f in trace if f.op is frame.op) - 1].state
        return Sheet([Painter(Cut.of([before, frame.state]), self.detail).paint(frame.state, before)])


def after(op: str, index: int | None = None) -> Callable[[Frame], bool]:
    """The end of an operation: the last one of that name, or the one with that index in the scenario,
    counted from 0.
    """
    return lambda frame: (
        frame.op is not None and frame.op.op == op and frame.result is not None and index in (None, frame.op_index)
    )
