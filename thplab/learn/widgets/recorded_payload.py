"""What a real kernel stored in the operations of a trace, beside the trace's steps, as data for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from thplab.errors import errname
from thplab.machine.trace import Frame, Trace
from thplab.study.explore import RaceTrace
from thplab.study.verify.fold import Folded
from thplab.study.verify.recorded import Recording, Row, followed, places, recording_of, rows

Line = tuple[str, str]
"""A line: what is stored, and the function that does it."""


def recorded_payload(trace: Trace) -> list[dict[str, Any]]:
    """The recorded operations among those of a trace, in their order. None where no recording speaks of its machine.

    A recording is of a kernel as it is, with all memory that it wants, and of one CPU.
    """
    setup, ops, found = trace.setup, trace.scenario.ops, []
    for index, frames, recording in _recorded(trace):
        shown = rows(followed(setup.kernel_name, recording.name))
        spots = places(shown, ops[: index + 1], setup)
        found.append(_operation(recording, shown, [spot and (frames[spot[0]], frames[spot[1]]) for spot in spots]))
    return found


def is_recorded(trace: Trace) -> bool:
    """Was any operation of the trace recorded?"""
    return next(_recorded(trace), None) is not None


def _recorded(trace: Trace) -> Iterator[tuple[int, list[int], Recording]]:
    """The operations that were recorded: the number of each, of its frames, and the recording."""
    setup, ops = trace.setup, trace.scenario.ops
    other = setup.mutant or setup.swap or trace.inserts or isinstance(trace, RaceTrace)
    if other or not isinstance(setup.kernel, str):
        return
    for index in range(len(ops)):
        frames = [frame.number for frame in trace.frames[1:] if frame.op_index == index]
        recording = recording_of(ops[: index + 1], trace[0].state.geometry.nr, setup.kernel)
        if recording is not None and frames and _returns(trace[frames[-1]], recording):
            yield index, frames, recording


def _returns(frame: Frame, recording: Recording) -> bool:
    """Has the operation ended, and as the recorded one did?"""
    recorded = recording.rets[-1]
    return frame.result is not None and (isinstance(recorded, dict) or str(recorded) == errname(frame.result))


def _operation(recording: Recording, shown: Sequence[Row], frames: Sequence[tuple[int, int] | None]) -> dict[str, Any]:
    numbers = [number for spot in frames if spot for number in spot]
    lines = [{"recorded": _lines(row.recorded), "here": _lines(row.here), "agrees": row.agrees} for row in shown]
    return {
        "name": recording.name,
        "label": recording.label,
        "kernel": recording.release,
        "first": min(numbers, default=0),
        "rows": [row | {"frames": list(spot) if spot else None} for row, spot in zip(lines, frames, strict=True)],
    }


def _lines(folded: Sequence[Folded]) -> list[Line]:
    """A loop is a line that says how often, and a line for each step of its body."""
    found: list[Line] = []
    for line in folded:
        loop, times = len(line.body) > 1, f" (×{line.times})" if line.times > 1 else ""
        found += [(f"{line.times} times:", "")] if loop else []
        found += [(text if loop else text + times, by) for text, by in zip(line.body, line.by, strict=True)]
    return found
