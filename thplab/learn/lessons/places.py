"""Where in a trace a question is asked: the helpers of all lessons."""

from __future__ import annotations

from thplab.errors import BadInput
from thplab.machine.state import State
from thplab.machine.trace import Frame, Setup, Trace, record
from thplab.scenario import load
from thplab.study.observe import smaps


def first_step(trace: Trace, where: str, text: str, after: int = 0) -> int:
    """The first frame behind `after` whose step begins with `text`, in an operation or routine called `where`.

    Raises BadInput if there is none.
    """
    for frame in trace.frames[after + 1 :]:
        assert frame.step is not None and frame.op is not None, "only frame 0 has no step"
        if frame.step.text.startswith(text) and (where == frame.op.op or where in frame.stack):
            return frame.number
    raise BadInput("text", f"{text!r} is no step of {where}", "the beginning of a step's text")


def trace_of_story(scenario: str, setup: Setup, meanwhile: tuple[str, str, str] | None = None) -> Trace:
    """The trace, at its start, of what thplab.scenario.load takes; and of what another CPU does in between: `meanwhile`
    is (a routine or operation, the beginning of a step's text, operations), which come right after that step.

    Raises BadInput if that step does not occur.
    """
    trace = record(load(scenario), setup)
    if meanwhile is None:
        return trace
    where, text, ops = meanwhile
    trace.seek(first_step(trace, where, text))
    branch = trace.fork(ops)
    branch.seek(0)
    return branch


def first_head(trace: Trace) -> int:
    """The head of the compound page that the trace has first."""
    return next(f.state.compound_pages()[0] for f in trace if f.state.compound_pages())


def phase_start(trace: Trace, phase: int) -> int:
    """The first frame of a phase, counted from 1."""
    return next(f.number for f in trace.frames[1:] if f.phase == phase - 1)


def op_start(trace: Trace, index: int) -> int:
    """The first frame of an operation of the scenario, counted from 0."""
    return next(f.number for f in trace.frames[1:] if f.op_index == index)


def op_end(trace: Trace, index: int) -> int:
    """The last frame of an operation of the scenario, counted from 0: the one that has its result."""
    return next(f.number for f in trace.frames[1:] if f.op_index == index and f.result is not None)


def risen(trace: Trace, index: int, event: str) -> int:
    """By how much an operation of the scenario, counted from 0, has raised an event of vmstat."""
    return trace[op_end(trace, index)].state.vmstat[event] - trace[op_start(trace, index) - 1].state.vmstat[event]


def in_smaps(state: State, process: str, field: str) -> int:
    """What smaps says of a process, in kB; 0 if it does not live."""
    return smaps(state, process)[field] if any(p.name == process for p in state.processes) else 0


def frames_in_use(frame: Frame) -> int:
    """Allocated page frames, page tables not counted."""
    state = frame.state
    nr = state.geometry.nr
    return sum(
        not state.is_free(pfn) and pfn not in state.tables
        for block in state.blocks
        for pfn in range(block * nr, (block + 1) * nr)
    )
