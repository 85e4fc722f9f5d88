"""A trace: what happened, step by step, to be walked forwards and backwards, branched, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from thplab.errors import BadInput, Deadlock, ThplabError
from thplab.foreign import NULL, AnyShape, EitherShape, ExactShape, IntShape, ListShape, ObjectShape, TextShape, parse
from thplab.hardware.steps import WAIT, Routine, Step, read
from thplab.hardware.swap_device import DEVICES
from thplab.kernel import kernels
from thplab.kernel.mutants import mutant
from thplab.kernel.policies import Kernel
from thplab.kernel.system import System
from thplab.machine.machine import Machine
from thplab.machine.snapshot import capture
from thplab.machine.state import State
from thplab.scenario import Operation, Scenario


@dataclass(frozen=True)
class Setup:
    """The machine that a trace begins with. `kernel` is a name, or a record of the caller's own, which cannot be saved.

    `memory` is in page frames, None for the default; `mutant` and `swap` may be empty.
    """

    kernel: str | Kernel = kernels.DEFAULT
    geometry: str = "TOY"
    memory: int | None = None
    mutant: str = ""
    swap: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.kernel_name, self.geometry, self.swap, self.mutant)))

    @property
    def kernel_name(self) -> str:
        """What the kernel is called."""
        return self.kernel if isinstance(self.kernel, str) else self.kernel.name

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this setup from others, as JSON can hold it; a record of the caller's own goes by its name."""
        return self.__dict__ | {"kernel": self.kernel_name}

    def machine(self) -> Machine:
        """A fresh machine of this kind. Raises BadInput for names that do not exist."""
        right = kernels.kernel(self.kernel) if isinstance(self.kernel, str) else self.kernel
        wrong = mutant(self.mutant)
        return Machine(wrong.of(right), self.geometry, self.memory, wrong.variants, self.swap)


@dataclass(frozen=True)
class Insert:
    """Operations that another CPU carries out right after frame number `frame` ("what if I pin it here?")."""

    frame: int
    ops: tuple[Operation, ...]


@dataclass(frozen=True)
class Frame:
    """One step of a trace and the state after it. Frame 0 has no step: it is how the machine began.

    `op` is the operation under way (None on frame 0) and `op_index` its number in the scenario (-1 for an inserted
    one). `stack` names the routines in progress, outermost first (see stack_of). `result` is what the operation
    returned, on its last frame.
    """

    number: int
    step: Step | None
    state: State
    op: Operation | None = None
    op_index: int = -1
    phase: int = 0
    stack: tuple[str, ...] = ()
    cpu: int = 0
    result: int | None = None

    def __repr__(self) -> str:
        return f"<Frame {self.number}: {self.step.text if self.step else 'how the machine began'}>"

    @property
    def at_rest(self) -> bool:
        """No routine is in progress."""
        return not self.state.in_progress


def stack_of(routine: Routine[Any], system: System) -> tuple[str, ...]:
    """What the kernel of `system` calls the functions nested in `routine`, outermost first,
    and phrases for parts of them.

    Left out is what says nothing that the step does not say itself: locks, flushes, helpers;
    and what calls itself or its like.
    """
    names: list[str] = []
    at: Any = routine
    while at is not None and hasattr(at, "gi_code"):
        name = system.shown.get(at.gi_code)
        if name and names[-1:] != [name]:
            names.append(name)
        at = at.gi_yieldfrom
    return tuple(names)


def call_text(name: str) -> str:
    """A name of a stack as texts show it: a function with its parentheses, a phrase as it is."""
    return f"{name}()" if name.isidentifier() else name


@dataclass(eq=False)
class Trace:
    """The frames of a scenario on a machine, and a position among them.

    `problem` says why the scenario could not be carried out to its end, if so; `error` is what stopped it.
    Two traces are equal if their frames are.
    """

    setup: Setup
    scenario: Scenario
    inserts: tuple[Insert, ...] = ()
    frames: list[Frame] = field(default_factory=list)
    problem: str = ""
    position: int = 0
    error: ThplabError | None = None

    def __repr__(self) -> str:
        stopped = ", stopped" if self.problem else ""
        return (
            f"<{type(self).__name__} on {self.setup}: frame {self.position} of 0 to {len(self) - 1}{stopped}; "
            f"{self.scenario}>"
        )

    # --- walking ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def __getitem__(self, number: int) -> Frame:
        return self.frames[number]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        same_spec = (self.setup, self.scenario, self.inserts, self.position) == (
            other.setup,
            other.scenario,
            other.inserts,
            other.position,
        )
        return same_spec and [_identity(f) for f in self.frames] == [_identity(f) for f in other.frames]

    @property
    def frame(self) -> Frame:
        """The frame at the position."""
        return self.frames[self.position]

    def seek(self, number: int) -> Frame:
        """Move to a frame. Raises BadInput if there is no such frame."""
        if not 0 <= number < len(self.frames):
            raise BadInput("frame", f"is {number}", f"0 to {len(self.frames) - 1}")
        self.position = number
        return self.frame

    def forward(self, count: int = 1) -> Frame:
        """Move `count` steps on, at most to the last frame. Raises BadInput for a negative count."""
        _check_count(count)
        return self.seek(min(self.position + count, len(self.frames) - 1))

    def back(self, count: int = 1) -> Frame:
        """Move `count` steps back, at most to the first frame. Raises BadInput for a negative count."""
        _check_count(count)
        return self.seek(max(self.position - count, 0))

    def results(self) -> tuple[int, ...]:
        """What each completed operation returned, in the order in which they ended."""
        return tuple(f.result for f in self.frames if f.result is not None)

    @property
    def reached(self) -> int:
        """How many operations of the scenario were begun, the one that stopped it among them."""
        return 1 + max(frame.op_index for frame in self.frames)

    def end_of(self, count: int) -> Frame:
        """The last frame of the first `count` operations. Raises BadInput if not so many were begun."""
        if not 0 <= count <= self.reached:
            raise BadInput("count", f"is {count}", f"a number of operations, 0 to {self.reached}")
        return next(frame for frame in reversed(self.frames) if frame.op_index < count)

    # --- branching ----------------------------------------------------------------------------------------------------

    def machine(self) -> tuple[Machine, Routine[int] | None]:
        """A machine in the state of the position, with the routine that is in progress there, None between operations.

        The machine is rebuilt from the last state at rest and replays the operation to the same step.
        """
        rest = next(f for f in reversed(self.frames[: self.position + 1]) if f.at_rest)
        machine = Machine.restored(rest.state, mutant(self.setup.mutant).variants)
        if rest.number == self.position:
            return machine, None
        if any(f.cpu for f in self.frames[rest.number : self.position + 1]):
            raise BadInput(
                "position", "lies behind an inserted operation that is still under way", "a step before or after it"
            )
        op = self.frames[self.position].op
        assert op is not None
        routine = machine.begin(op)
        for _ in range(self.position - rest.number):
            next(routine)
        return machine, routine

    def fork(self, ops: str) -> Trace:
        """What if these operations came here, on another CPU? A new trace that is the same up to the position.

        The operation under way goes on afterwards, and the scenario after it. Raises BadInput if `ops` does not parse.
        """
        insert = Insert(self.position, Scenario.parse(ops).ops)
        earlier = tuple(i for i in self.inserts if i.frame < self.position)
        branch = record(self.scenario, self.setup, (*earlier, insert))
        branch.position = self.position
        return branch

    def first(self, count: int) -> Trace:
        """The trace of the first `count` operations alone; the frames are shared.

        Raises BadInput if not so many were begun, and for a trace in which anything was inserted.
        """
        if self.inserts:
            raise BadInput("trace", "has operations of another CPU", "one without")
        end = self.end_of(count)
        frames, scenario = self.frames[: end.number + 1], self.scenario.first(count)
        if end.at_rest:
            return Trace(self.setup, scenario, (), frames, position=end.number)
        return Trace(self.setup, scenario, (), frames, self.problem, end.number, self.error)

    def then(self, op: Operation) -> Trace:
        """A new trace, in which `op` comes after the last operation:
        as if the longer scenario were recorded, but quicker.

        Raises BadInput, as Machine.begin does, if the operation makes no sense there,
        and if this trace has stopped at a problem.
        """
        if self.problem:
            raise BadInput("scenario", f"has stopped {self.problem}", "one that can go on: undo its last operation")
        machine = Machine.restored(self.frames[-1].state, mutant(self.setup.mutant).variants)
        machine.begin(op)
        return _Recorder(replace(self, scenario=self.scenario.then(op), frames=list(self.frames)), machine).run(
            len(self.scenario.ops)
        )

    # --- saving -------------------------------------------------------------------------------------------------------

    def save(self) -> str:
        """The trace as JSON text: the machine, the scenario, what was inserted, and the position.
        load() is the inverse.

        Raises BadInput if the kernel is a record of the caller's own.
        """
        if not isinstance(self.setup.kernel, str):
            raise BadInput(
                "kernel", f"is a record of its own, {self.setup.kernel_name!r}", "one of " + ", ".join(kernels.KERNELS)
            )
        inserts = [{"frame": i.frame, "ops": [op.to_json() for op in i.ops]} for i in self.inserts]
        return json.dumps(
            {
                "thplab": 1,
                "setup": self.setup.__dict__,
                "scenario": self.scenario.to_json(),
                "inserts": inserts,
                "position": self.position,
            }
        )

    @staticmethod
    def load(text: str) -> Trace:
        """The trace that save() wrote, recorded again. Raises BadInput for anything else."""
        data = parse(text, _SAVED, "text")
        inserts = tuple(Insert(i["frame"], tuple(map(Operation.from_json, i["ops"]))) for i in data["inserts"])
        trace = record(Scenario.from_json(data["scenario"]), Setup(**data["setup"]), inserts)
        trace.seek(data["position"])
        return trace


_NAME, _NUMBER = TextShape(100), IntShape(0, 1 << 31)
_SETUP = {"kernel": _NAME, "geometry": _NAME, "memory": EitherShape((_NUMBER, NULL)), "mutant": _NAME, "swap": _NAME}
_SAVED = ObjectShape(
    {
        "thplab": ExactShape((1,)),
        "setup": ObjectShape(_SETUP),
        "scenario": AnyShape(),
        "inserts": ListShape(ObjectShape({"frame": _NUMBER, "ops": ListShape(AnyShape())})),
        "position": _NUMBER,
    }
)
"""What save() writes; Scenario and Operation look at what is theirs."""


def _check_count(count: int) -> None:
    if count < 0:
        raise BadInput("count", f"is {count}", "a number of steps, 0 or more")


def _identity(frame: Frame) -> tuple[object, ...]:
    return (
        frame.step,
        frame.op,
        frame.stack,
        frame.cpu,
        frame.result,
        frame.state.exact,
        frame.state.vmstat,
        frame.state.costs,
    )


def record(scenario: Scenario | str, setup: Setup | None = None, inserts: tuple[Insert, ...] = ()) -> Trace:
    """Carry out a scenario step by step and keep every state.

    Where the scenario's env names a kind of swap device, the machine has one, unless the setup names another.
    An operation that is not built, or makes no sense where it comes, ends the trace there: its `problem` names it.
    Raises BadInput for a scenario that does not parse and a setup that does not exist.
    """
    scenario = Scenario.parse(scenario) if isinstance(scenario, str) else scenario
    setup = setup or Setup()
    if scenario.env in DEVICES and not setup.swap:
        setup = replace(setup, swap=scenario.env)
    machine = setup.machine()
    return _Recorder(Trace(setup, scenario, inserts, [Frame(0, None, machine.state)]), machine).run()


@dataclass(frozen=True)
class _Current:
    """The operation under way and where it stands in the scenario."""

    op: Operation
    index: int
    phase: int
    routine: Routine[int]
    cpu: int = 0


MOST_SEEN = 150_000_000
"""Page frames that a trace may keep in all: of the blocks that a step stores to, and some for the step itself."""
_FOR_A_STEP = 2000


class _Recorder:
    """Adds to the frames of `trace` what `machine`, which stands where they end, does next.

    It stops with a BadInput where the trace gets longer than can be kept and shown.
    """

    def __init__(self, trace: Trace, machine: Machine) -> None:
        self.trace = trace
        self.machine = machine
        self.inserts = {i.frame: i.ops for i in trace.inserts}
        self.seen = 0

    def run(self, first: int = 0) -> Trace:
        """Record everything from operation number `first` on; returns the trace, whose position stays."""
        scenario = self.trace.scenario
        try:
            if first == 0:
                self._inserted(0, None)
            for index, op in enumerate(scenario.ops[first:], first):
                self._operation(_Current(op, index, scenario.phase_of(index), self.machine.begin(op)))
        except ThplabError as error:
            frame = self.trace.frames[-1]
            where = f"after step {frame.number}" if frame.number else "at the start"
            self.trace.problem, self.trace.error = f"{where}: {error}", error
        return self.trace

    def _operation(self, current: _Current) -> None:
        while self._advance(current, current):
            if self._waits():
                raise Deadlock(f"{current.op.op} {self._last_step().text}: nobody else is running, so this never ends")
            self._inserted(len(self.trace.frames) - 1, current)
        self._inserted(len(self.trace.frames) - 1, None)

    def _inserted(self, number: int, under_way: _Current | None) -> None:
        """Carry out what is inserted after frame `number`. Where it must wait, the operation under way goes on."""
        for op in self.inserts.pop(number, ()):
            phase = self.trace.frames[-1].phase
            inserted = _Current(op, -1, phase, self.machine.begin(op), cpu=1)
            while self._advance(inserted, under_way):
                if self._waits() and (under_way is None or not self._advance(under_way, under_way) or self._waits()):
                    raise Deadlock(f"{op.op} waits for ever: {self._last_step().text}")

    def _waits(self) -> bool:
        return self._last_step().kind == WAIT

    def _last_step(self) -> Step:
        step = self.trace.frames[-1].step
        assert step is not None, "only frame 0 has none, and it comes before any operation"
        return step

    def _advance(self, current: _Current, under_way: _Current | None) -> bool:
        """One step of an operation, as a new frame. At its end the last frame gets the result; returns False then."""
        frames = self.trace.frames
        self.machine.system.cpus.cpu = current.cpu
        try:
            step = next(current.routine)
        except StopIteration as end:
            resting = under_way is None or under_way is current
            if frames[-1].op is not current.op:  # it had nothing to do; its result needs a frame of its own
                idle = read("nothing to do")
                frames.append(
                    Frame(
                        len(frames), idle, frames[-1].state, current.op, current.index, current.phase, (), current.cpu
                    )
                )
            state = capture(self.machine.system, in_progress=not resting)
            frames[-1] = replace(frames[-1], state=state, result=end.value)
            return False
        system = self.machine.system
        self.seen += _FOR_A_STEP + len(system.frames.blocks.touched) * system.geometry.nr
        state = capture(system, in_progress=True)
        if self.seen > MOST_SEEN:
            raise BadInput("scenario", f"takes more than {len(frames) - 1:,} steps", "less work, or a smaller machine")
        stack = stack_of(current.routine, system)
        frames.append(Frame(len(frames), step, state, current.op, current.index, current.phase, stack, current.cpu))
        return True
