"""One run of a race: a machine and the routine in progress on each of its CPUs, moved step by step."""

from __future__ import annotations

import itertools
from collections.abc import Hashable

from thplab.errors import EINVAL, BadInput, KernelBug, errname
from thplab.hardware.steps import WAIT, Routine, Step, read
from thplab.kernel.routines.exit import in_process
from thplab.machine.machine import Machine
from thplab.machine.operations.checks import refuse
from thplab.machine.snapshot import capture
from thplab.machine.state import State
from thplab.machine.trace import stack_of
from thplab.scenario import Operation
from thplab.study.explore.pair import Pair
from thplab.study.explore.position import position
from thplab.study.invariants import Violation, check_state

Schedule = tuple[int, ...]
"""The CPU that moves, step by step."""


def format_schedule(schedule: Schedule) -> str:
    """A schedule as a line: "0x5 1x12 0x3" is five steps of CPU 0, twelve of CPU 1, three of CPU 0."""
    return " ".join(f"{cpu}x{len(list(run))}" for cpu, run in itertools.groupby(schedule))


_LONGEST = 100_000
"""Steps of a schedule that is read. No race needs so many."""


def parse_schedule(text: str) -> Schedule:
    """The inverse of format_schedule. Raises BadInput for anything else."""
    schedule: list[int] = []
    for part in text.split():
        cpu, cross, count = part.partition("x")
        if not (cross and cpu.isdecimal() and count.isdecimal()):
            raise BadInput("schedule", f"{part!r} is no part of one", "parts such as 0x5: CPU 0 makes five steps")
        if len(cpu) > 1 or len(count) > len(str(_LONGEST)) or len(schedule) + int(count) > _LONGEST:
            raise BadInput("schedule", f"{part[:40]!r} is too much", f"CPUs 0 to 9, and {_LONGEST:,} steps in all")
        schedule += [int(cpu)] * int(count)
    return tuple(schedule)


class RaceRun:
    """A pair's machine and routines after a schedule. The machine's grain is that of a race: one subpage a step.

    An operation is begun with its first step; one that is impossible by then is refused, which ends its CPU's work.
    A process that ends while a CPU is in a system call of it leaves its memory to that CPU.
    """

    def __init__(self, pair: Pair, schedule: Schedule = ()) -> None:
        self.pair = pair
        self.machine = Machine.restored(pair.start, dict(pair.variants))
        self.machine.system.whole = False
        self.at = [0] * len(pair.cpus)
        """The number of the operation that each CPU is at."""
        self.results: list[list[int]] = [[] for _ in pair.cpus]
        self.routines: list[Routine[int] | None] = [None] * len(pair.cpus)
        self.fresh = set(range(len(pair.cpus)))
        """The CPUs whose operation has not made a step yet."""
        self.bug = ""
        self.step: Step | None = None
        """The step that was made last."""
        self.ended = False
        """The last move was the return of a CPU's last operation."""
        for cpu in schedule:
            self.move(cpu)

    def _begun(self, cpu: int) -> Routine[int]:
        op = self.pair.programs[cpu][self.at[cpu]]
        try:
            routine = self.machine.begin(op) if isinstance(op, Operation) else op(self.machine)
        except BadInput as error:
            self.at[cpu] = len(self.pair.programs[cpu]) - 1
            return refuse(EINVAL, f"not possible any more: {error}")
        process = self.pair.users[cpu][self.at[cpu]]
        return in_process(self.machine.system, process, routine) if process else routine

    def _count_users(self) -> None:
        """mm_users: the CPUs that are in a system call of the process."""
        users = [
            self.pair.users[cpu][self.at[cpu]]
            for cpu, routine in enumerate(self.routines)
            if routine is not None and cpu not in self.fresh
        ]
        for mm in self.machine.system.mms.values():
            mm.mm_users = users.count(mm.name)

    def op(self, cpu: int) -> Operation | None:
        """The operation that a CPU is at; None if it runs a routine that is none."""
        op = self.pair.programs[cpu][self.at[cpu]]
        return op if isinstance(op, Operation) else None

    def move(self, cpu: int) -> bool:
        """Let a CPU do one step; False if it has to wait (then nothing has changed) or has ended already."""
        if self.bug or self.over(cpu):
            return False
        begins = cpu in self.fresh
        if begins:
            self.routines[cpu] = self._begun(cpu)
            self.fresh.remove(cpu)
            self._count_users()
        routine = self.routines[cpu]
        assert routine is not None, "it is not over"
        self.machine.system.cpus.cpu = cpu
        self.ended = False
        try:
            self.step = next(routine)
        except StopIteration as end:
            self.results[cpu].append(end.value)
            if self.at[cpu] + 1 < len(self.pair.programs[cpu]):
                self.at[cpu] += 1
                self.fresh.add(cpu)
                return self.move(cpu)
            self.routines[cpu] = None
            self.ended = True
            self.step = read(f"returns {errname(end.value)}")
        except KernelBug as bug:
            self.bug = str(bug)
            self.step = read(f"BUG: {bug}")
        if begins and self.step.kind == WAIT:
            self.fresh.add(cpu)
        self._count_users()
        return self.step.kind != WAIT

    def over(self, cpu: int) -> bool:
        """A CPU has done all that it had to do."""
        return self.routines[cpu] is None and cpu not in self.fresh

    @property
    def _all_over(self) -> bool:
        return all(map(self.over, range(len(self.routines))))

    @property
    def done(self) -> bool:
        """Every CPU has ended, or the kernel has stopped at a bug."""
        return bool(self.bug) or self._all_over

    def stack(self, cpu: int) -> tuple[str, ...]:
        """The routines that a CPU is in, outermost first."""
        routine = self.routines[cpu]
        return stack_of(routine, self.machine.system) if routine is not None else ()

    def state(self) -> State:
        """The state of the machine now."""
        return capture(self.machine.system, in_progress=not self._all_over)

    def stands(self, cpu: int) -> Hashable:
        """Where a CPU stands; None if it has ended."""
        if self.over(cpu):
            return None
        return self.at[cpu], "" if cpu in self.fresh else position(self.routines[cpu])

    def problem(self, state: State) -> Violation | None:
        """What must not be in this state of the race, None if all is well; `state` is the machine's."""
        if self.bug:
            return Violation("no_kernel_bug", self.bug)
        found = check_state(state)
        found = found or (forgotten(self.pair, state) if self.done else [])
        return found[0] if found else None


def forgotten(pair: Pair, state: State) -> list[Violation]:
    """What a process has written and does not read at the end of a race: `state` is the last one."""
    lost = []
    for process, page, value in pair.keeps:
        now = (state.contents(process)[page] or 0) & 0xFF
        if now != value:
            lost.append(
                Violation(
                    "what_was_asked_for_stays", f"{process} must read {value:#x} in page {page}, but reads {now:#x}"
                )
            )
    return lost


def next_step(pair: Pair, schedule: Schedule, cpu: int) -> Step | None:
    """The step that `cpu` would make after `schedule`: a wait says why it cannot. None if it has ended."""
    run = RaceRun(pair, schedule)
    run.step = None
    run.move(cpu)
    return run.step


def deadlock(pair: Pair, schedule: Schedule) -> Violation | None:
    """The deadlock that `schedule` ends in, with what each CPU waits for; None if a CPU can go on or all have ended."""
    run = RaceRun(pair, schedule)
    waits = {cpu: step for cpu in range(len(pair.cpus)) if (step := next_step(pair, schedule, cpu)) is not None}
    if run.done or any(step.kind != WAIT for step in waits.values()):
        return None
    return Violation(
        "no_deadlock", "no CPU can go on: " + "; ".join(f"CPU {cpu} {step.text}" for cpu, step in waits.items())
    )
