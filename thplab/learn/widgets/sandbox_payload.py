"""What a learner tries out as the data that a page needs to show it:
plain lists and texts, everything computed beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thplab.errors import Deadlock, KernelBug
from thplab.hardware.geometry import GEOMETRIES
from thplab.kernel.kernels import KERNELS
from thplab.kernel.mutants import mutant
from thplab.learn.widgets.payload import (
    code,
    geometry_text,
    is_plain,
    ledger_groups,
    must_hold,
    operation,
)
from thplab.learn.widgets.sandbox_form import Spot, clickable, forms, lines, names, offered
from thplab.machine.branches import Branches, write_share
from thplab.machine.machine import Machine
from thplab.machine.state import State
from thplab.machine.trace import Frame, Trace
from thplab.scenario.text import write_operation
from thplab.show.describe import describe
from thplab.show.diagrams import Cut, Painter, Plan, Sheet
from thplab.study.invariants import ALWAYS, AT_REST, BETWEEN, check_frame, check_state


class SandboxPayload:
    """Makes the data of one sandbox again and again as it goes on; pictures that were drawn are kept.
    `called` is what new processes are called first.
    """

    def __init__(self, branches: Branches, called: Sequence[str] = ()) -> None:
        self.branches = branches
        self._called = tuple(called)
        self._cut: Cut | None = None
        self._plans: dict[str, tuple[Painter, Plan]] = {}
        self._broken: dict[tuple[State, State], dict[str, str]] = {}

    def data(self, spot: Spot, step: int | None = None, all_moves: bool = False) -> dict[str, Any]:
        """All that the widget shows but the pictures, as JSON can hold it:
        the operations of the branch, and what was done so far in detail.

        `step` chooses a step of the last operation instead of its end. With `all_moves` the page gets every operation
        in detail, and can show them without a kernel.
        """
        branches, whole = self.branches, self.branches.whole
        setup, geometry = branches.setup, whole[0].state.geometry
        counts = range(whole.reached + 1) if all_moves else [branches.done]
        cut = Cut.of(self._states(step))
        frames = {count: self._frame(count, step, cut) | {"picture": at} for at, count in enumerate(counts)}
        return {
            "kernel": setup.kernel_name,
            "geometry": setup.geometry,
            "kernels": list(dict.fromkeys((setup.kernel_name, *KERNELS))),
            "geometries": list(GEOMETRIES),
            "mutant": f"{setup.mutant}: {mutant(setup.mutant).about}" if setup.mutant else "",
            "size": geometry_text(geometry),
            "forms": forms(),
            "invariants": must_hold(ALWAYS, AT_REST, BETWEEN),
            "branches": [trace.scenario.line() for trace in branches.all],
            "branch": branches.at,
            "ops": [self._op(index) for index in range(len(whole.scenario.ops))],
            "done": branches.done,
            "reached": whole.reached,
            "stopped": branches.stopped,
            "frames": frames,
            "spot": spot._asdict(),
            **self._next(spot),
        }

    def _next(self, spot: Spot) -> dict[str, Any]:
        """What can be done next. Where the kernel has stopped, nothing can."""
        state = self.branches.whole.end_of(self.branches.done).state
        if state.in_progress:
            return {"offers": {}, "names": names(state, spot, self._called), "menu": []}
        offers = offered(Machine.restored(state), state, spot, self._called)
        return {"offers": offers, "names": names(state, spot, self._called), "menu": lines(offers, spot)}

    def _breaks(self, count: int) -> dict[str, str]:
        """As _violations() of the current branch, found once."""
        whole = self.branches.whole
        key = (whole.end_of(count).state, whole.end_of(max(count - 1, 0)).state)
        if key not in self._broken:
            self._broken[key] = _violations(whole, count)
        return self._broken[key]

    # --- operations ---------------------------------------------------------------------------------------------------

    def _op(self, index: int) -> dict[str, Any]:
        """An operation of the branch: its line, and what it returned if it came so far."""
        whole = self.branches.whole
        line = write_operation(whole.scenario.ops[index])
        if index >= whole.reached:
            return {"line": line, "result": "", "failed": False, "broken": False}
        made = operation(line, _frames_of(whole, index))
        return {
            "line": line,
            "result": made["result"],
            "failed": made["failed"],
            "broken": bool(self._breaks(index + 1)),
        }

    def _frame(self, count: int, step: int | None, cut: Cut) -> dict[str, Any]:
        whole = self.branches.whole
        steps = _frames_of(whole, count - 1) if count else []
        now, before, at = self._shown(count, step)
        then = before.state if count else None
        done = whole.first(count)
        head, tail = code(done)
        return {
            "places": {row: [pages._asdict() for pages in where] for row, where in clickable(now.state, cut).items()},
            "words": describe(now.state, then),
            "ledger": ledger_groups(now, before if count else None),
            "broken": self._breaks(count) if at is None else {v.invariant: v.problem for v in check_frame(now, before)},
            "rest": now.at_rest,
            "share": write_share(self.branches.setup, done.scenario),
            "code": f"{head}{now.number}{tail}",
            "step": at,
            "steps": _steps(whole, count - 1, steps) if count else None,
        }

    def _states(self, step: int | None) -> list[State]:
        """The states that the pictures have a place for:
        those between the operations of the branch, and those of the steps looked at.
        """
        whole, done = self.branches.whole, self.branches.done
        within = _frames_of(whole, done - 1) if step is not None else []
        return [whole.end_of(count).state for count in range(whole.reached + 1)] + [frame.state for frame in within]

    def _shown(self, count: int, step: int | None) -> tuple[Frame, Frame, int | None]:
        """The frame that is shown after `count` operations, the one that it is compared with, and the step if it is
        not the end.
        """
        whole = self.branches.whole
        steps = _frames_of(whole, count - 1) if count else []
        if step is not None and 0 <= step < len(steps) - 1:
            return steps[step], whole[steps[step].number - 1], step
        return whole.end_of(count), whole.end_of(max(count - 1, 0)), None

    def sheet(self, detail: str, step: int | None = None, all_moves: bool = False) -> Sheet:
        """The pictures of what data() shows. What was laid out serves as long as it has a place for everything.
        Raises NoEngine if nothing can lay it out.
        """
        cut = Cut.of(self._states(step))
        if cut != self._cut:
            self._cut, self._plans = cut, {}
        painter, plan = self._plans.setdefault(detail, (Painter(cut, detail), Plan()))
        counts = range(self.branches.whole.reached + 1) if all_moves else [self.branches.done]
        shown = [self._shown(count, step) for count in counts]
        return Sheet([painter.paint(now.state, before.state) for now, before, _ in shown], plan)


def _frames_of(trace: Trace, index: int) -> list[Frame]:
    return [frame for frame in trace if frame.op_index == index]


def _steps(trace: Trace, index: int, frames: list[Frame]) -> dict[str, Any]:
    """The steps of an operation as callTree() in base.js takes them: numbered from 0, each with its reason."""
    first = frames[0].number
    made = operation(write_operation(trace.scenario.ops[index]), frames)
    rows = [(depth, text, None if number is None else number - first) for depth, text, number in made["rows"]]
    return {
        "operation": made | {"phase": 0, "first": 0, "last": len(frames) - 1, "rows": rows},
        "frames": [{"plain": is_plain(f, trace[f.number - 1]), "why": f.step.why if f.step else ""} for f in frames],
    }


def _violations(trace: Trace, count: int) -> dict[str, str]:
    """What must hold and does not after the first `count` operations, or did not in a step of the last one;
    by name, the problem.
    """
    end, before = trace.end_of(count), trace.end_of(max(count - 1, 0))
    found: dict[str, str] = {}
    if not end.at_rest:
        told = ((Deadlock, "no_deadlock"), (KernelBug, "no_kernel_bug"))
        found |= {name: str(trace.error) for kind, name in told if isinstance(trace.error, kind)}
    found |= {violation.invariant: violation.problem for violation in check_frame(end, before)}
    for frame in trace.frames[before.number + 1 : end.number]:
        for violation in check_state(frame.state):
            found.setdefault(
                violation.invariant, f"{violation.problem} (after its step {frame.number - before.number})"
            )
    return found
