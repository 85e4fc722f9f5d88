"""check(): a scheme that a learner wrote, held against its contract,
in all states and in all interleavings that matter.
"""

from __future__ import annotations

import ctypes
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby

from thplab.hardware.steps import WAIT
from thplab.kernel import kernels
from thplab.kernel.early_kernels import RFC_2014
from thplab.kernel.policies import Kernel
from thplab.kernel.routines.split_huge_page import PAGE_SPLITS
from thplab.kernel.schemes import Scheme
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Phase, Scenario
from thplab.study.explore.interleavings import explore
from thplab.study.explore.pair import Pair
from thplab.study.explore.pairs import PAIRS
from thplab.study.explore.position import ProtocolError, position
from thplab.study.explore.reachable import reachable
from thplab.study.explore.replay import RaceTrace, replay
from thplab.study.invariants import INVARIANTS, check_state

RACES = (
    "pmd-split-and-pin",
    "pmd-split-and-zap",
    "pmd-split-and-fault",
    "frozen-split-and-zap",
    "frozen-split-and-pin",
    "frozen-split-and-fork",
    "frozen-split-pin-and-munmap",
)
"""The pairs that matter for a scheme. Their names tell the page split that is known to hold;
the scheme brings its own.
"""

SCENARIOS = (
    "mmap A; write A 0",
    "mmap A; write A 0; fork A B; write B 1; exit A; exit B",
    "mmap A; write A 0; split_pmd A 0; munmap A 1 1; exit A",
    "mmap A; write A 0; fork A B; split_pmd B 0; exit A; munmap B 0 1thp",
    "mmap A; write A 0; pin A 1 2 dma; unpin dma; split_pmd A 0; pin A 1 2 dma; munmap A 0 1thp; unpin dma",
    "mmap A; write A 0; split A 0; exit A",
    "mmap A; write A 0; fork A B; split_pmd A 0; pin A 1 1 dma; split A 0; unpin dma; split A 0; write A 0; exit "
    "A; exit B",
)
"""What calls every method of a scheme, the simplest first."""

MOST_STEPS = 1000
"""Steps of one operation, on a machine of MINI geometry. No right one makes a fifth of them."""

_DATA = {"name": str, "page_split": str, "head_counters": tuple, "pmd_split_is_local": bool, "split_counts_ptes": str}


@dataclass
class Report:
    """What check() found: `ok`, what was looked at, and on failure the shortest counterexample.

    `problem` says what is wrong; `trace`, where there is one, is the counterexample at its last frame, to be opened in
    a stepper: Stepper(report.trace). str(report) tells all of it.
    """

    scheme: str
    looked_at: list[str] = field(default_factory=list)
    problem: str = ""
    trace: Trace | None = None

    @property
    def ok(self) -> bool:
        """Nothing wrong was found."""
        return not self.problem

    def __repr__(self) -> str:
        return f"<Report on {self.scheme}: {self.problem or 'nothing wrong was found'}>"

    def __str__(self) -> str:
        lines = [
            f"scheme {self.scheme}: {'nothing wrong was found' if self.ok else 'wrong'}",
            *(f"  {line}" for line in self.looked_at),
        ]
        return "\n".join([*lines, *self._words()])

    def _words(self) -> Iterator[str]:
        if self.ok:
            return
        yield f"  WRONG: {self.problem}"
        if self.trace is None:
            return
        yield from (
            f"    it must hold: {invariant.about}" for invariant in INVARIANTS if invariant.name in self.problem
        )
        yield f"    the shortest way to it: {self.trace.scenario.line()}"
        if isinstance(self.trace, RaceTrace):
            yield f"    and then, CPU by CPU: {self.trace.written}"
            for cpu, run in groupby(self.trace.frames[1:], key=lambda frame: frame.cpu):
                steps = [frame.step.text for frame in run if frame.step]
                shown = steps if len(steps) < 4 else [steps[0], "...", *steps[-2:]]
                yield f"      CPU {cpu}: {'; '.join(shown)}"
        elif self.trace.frame.step:
            yield f"    which ends in: {self.trace.frame.step.text}"


class TooLong(BaseException):
    """The time of a check is up. No Exception: a scheme's own code must not take it for one of its mistakes."""


def check(scheme: Scheme, kernel: str = "", limit: int = 20_000, seconds: float = 600.0) -> Report:
    """Hold a scheme against its contract (thplab.kernel.schemes.base), in every state that a set of operations reaches,
    and in every interleaving of the pairs that matter. Ends at the first thing that is wrong, with the shortest
    counterexample.

    The policies in which kernels differ are those of `kernel`; left out, of a kernel with the same page split. `limit`
    bounds the states of each search; a bound that is hit is reported, and `ok` then means only that nothing was found.
    A method that never ends is wrong: one that makes more than MOST_STEPS steps, waits for somebody although it is
    alone, or is still at work when `seconds` are over. Raises BadInput for a kernel that does not exist.
    """
    if kernel:
        kernels.kernel(kernel)
    report = Report(str(getattr(scheme, "name", type(scheme).__name__)))
    try:
        with _time_limit(seconds):
            for look in (_shape, _contract, _states, _races):
                _look(report, look, scheme, kernel, limit)
                if report.problem:
                    break
    except TooLong:
        where = inspect.trace()[-1]
        at = f"{where.function}(), line {where.lineno}"
        report.problem = report.problem or f"it was stopped after {seconds:g} s in {at}: does a loop never end there?"
    return report


Look = Callable[[Report, Scheme, str, int], None]


def _look(report: Report, look: Look, scheme: Scheme, kernel: str, limit: int) -> None:
    try:
        look(report, scheme, kernel, limit)
    except Exception as error:  # what a learner's code may raise is not ours to know
        where = inspect.trace()[-1]
        report.problem = f"{type(error).__name__} in {where.function}(), line {where.lineno}: {error}"


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raises TooLong within, wherever Python code is at work then, once the time is up."""
    thread, lock, over = threading.get_ident(), threading.Lock(), False

    def stop() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TooLong))

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        timer.cancel()


def _record(scheme: Scheme, name: str) -> Kernel:
    same = (k for k in kernels.KERNELS.values() if k.scheme.page_split == scheme.page_split)
    base = kernels.kernel(name) if name else next(same, RFC_2014)
    return replace(base, name=f"a kernel with {scheme.name}", scheme=scheme, source="thplab.check")


def _shape(report: Report, scheme: Scheme, kernel: str, limit: int) -> None:
    """It has all that a scheme has."""
    lacking = [name for name, kind in _DATA.items() if not isinstance(getattr(scheme, name, None), kind)]
    methods = [name for name, value in vars(Scheme).items() if inspect.isfunction(value) and not name.startswith("_")]
    lacking += [f"{name}()" for name in methods if not callable(getattr(scheme, name, None))]
    if lacking:
        report.problem = f"the scheme lacks {', '.join(lacking)}"
    elif scheme.page_split not in PAGE_SPLITS:
        report.problem = f"page_split is {scheme.page_split!r}, not one of {', '.join(PAGE_SPLITS)}"
    else:
        report.looked_at.append(f"shape: {len(_DATA)} attributes and {len(methods)} methods")


def _contract(report: Report, scheme: Scheme, kernel: str, limit: int) -> None:
    """Each method leaves the counters as expected() says, and keeps the step protocol at the grain of a race."""
    record_ = _record(scheme, kernel)
    for line in SCENARIOS:
        setup = Setup(record_, "MINI", 32)
        try:
            report.problem = _protocol(report, setup, line)
            if report.problem:
                return
            trace = record(line, setup)
        except Exception as error:
            error.add_note(line)
            raise
        for frame in trace:
            found = check_state(frame.state)
            if found or (trace.problem and frame is trace[-1]):
                report.problem = f"{found[0].invariant}, {found[0].problem}" if found else trace.problem
                report.trace = record(Scenario(phases=(Phase(ops=trace.scenario.ops[: frame.op_index + 1]),)), setup)
                report.trace.seek(frame.number)
                return
    report.looked_at.append(f"contract: {len(SCENARIOS)} scenarios, every step of them")


def _protocol(report: Report, setup: Setup, line: str) -> str:
    machine = setup.machine()
    machine.system.whole = False
    ops = Scenario.parse(line).ops
    for number, op in enumerate(ops, 1):
        routine = machine.begin(op)
        try:
            for steps, step in enumerate(routine, 1):
                position(routine)
                if step.kind == WAIT:
                    report.trace = record(Scenario(phases=(Phase(ops=ops[:number]),)), setup)
                    report.trace.seek(len(report.trace) - 1)
                    return f"deadlock: {op.op} {step.text}: nobody else is running, so this never ends"
                if steps > MOST_STEPS:
                    return f"{op.label(machine.system.geometry.nr)} makes more than {MOST_STEPS:,} steps: {step.text}"
        except ProtocolError as error:
            return f"the step protocol is broken: {error}"
    return ""


def _states(report: Report, scheme: Scheme, kernel: str, limit: int) -> None:
    """The invariants hold in every state."""
    found = reachable(kernel=_record(scheme, kernel), limit=limit)
    if found.violation is not None:
        report.problem = f"{found.violation.invariant}, {found.violation.problem}"
        report.trace = found.trace(len(found.states) - 1)
    else:
        report.looked_at.append("states: " + str(found))


def _races(report: Report, scheme: Scheme, kernel: str, limit: int) -> None:
    """Nothing is lost in any interleaving."""
    for name in RACES:
        pair: Pair = replace(PAIRS[name], kernel=_record(scheme, kernel), name=name.removeprefix("frozen-"))
        found = explore(pair, limit=limit)
        if found.failure is not None:
            report.problem = f"{found.failure.invariant}, {found.failure.problem}"
            report.trace = replay(pair, found.failure.schedule)
            report.trace.seek(len(report.trace) - 1)
            return
        report.looked_at.append("race: " + str(found))
