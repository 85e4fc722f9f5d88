"""A whole trace as a text that tells its story:
phases, operations, the kernel's routines step by step, and what came of it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from thplab.errors import errname
from thplab.hardware.steps import LOCK, READ, UNLOCK
from thplab.machine.state import State
from thplab.machine.trace import Frame, Trace, call_text
from thplab.scenario import Operation
from thplab.scenario.text import write_operation
from thplab.show.ledger import Account, Counter, counters, ledger, small_pages
from thplab.study.contents import contents_text, seen
from thplab.study.invariants import INVARIANTS, check_frame
from thplab.study.observe import smaps

WIDTH = 100

_SELDOM = ("Locked", "KSM")
"""Figures of smaps that are told only if there is anything to tell."""

_GAP = "\N{NO-BREAK SPACE}"
"""Keeps "2 → 9" and the like on one line while a text is wrapped."""


def narrate(trace: Trace, every_step: bool = False) -> str:
    """The trace in words, at most WIDTH columns wide.
    What came of it is told at the end of each phase, or of each operation that is in no titled phase.

    A step is shown with the counters that it moved, `old → new`, and with its reason where that is first given. Unless
    `every_step`, what moves no counter is left out if it is a read, lock or unlock without a reason or was explained
    before, and a routine whose steps need no explaining any more is told in one line.
    """
    return "\n".join(_Narrator(trace, every_step).lines()) + "\n"


class _Told(NamedTuple):
    """A step in words, and whether they give a reason."""

    text: str
    has_reason: bool


@dataclass
class _Call:
    """A routine and what it did, in order: steps, and routines that it called."""

    name: str
    parts: list[_Told | _Call] = field(default_factory=list)

    def steps(self) -> Iterator[_Told]:
        """All steps, those of called routines too."""
        for part in self.parts:
            yield from (part,) if isinstance(part, _Told) else part.steps()


class _Narrator:
    def __init__(self, trace: Trace, every_step: bool) -> None:
        self.trace = trace
        self.every_step = every_step
        self.told: set[str] = set()

    def lines(self) -> Iterator[str]:
        yield from self._heading()
        scenario, stopped = self.trace.scenario, self._stopped()
        last = len(scenario.phases) - 1 if stopped is None else scenario.phase_of(stopped)
        before = self.trace[0]
        for number in range(last + 1):
            yield from self._phase_heading(number)
            frames = [frame for frame in self.trace.frames[1:] if frame.phase == number]
            operations = [list(group) for _, group in groupby(frames, key=_operation_of)]
            # What came of it is told once a phase; where nobody has made phases, each operation is one.
            told_together = [operations] if scenario.phases[number].title else [[operation] for operation in operations]
            for together in filter(None, told_together):
                for operation in together:
                    yield from self._operation(operation)
                yield from self._outcome(before, [frame for operation in together for frame in operation])
                before = together[-1][-1]
        if self.trace.problem:
            where = "" if stopped is None else f"at '{write_operation(scenario.ops[stopped])}', "
            yield from ("", *_wrap(f"STOPPED {where}{self.trace.problem}"))

    def _stopped(self) -> int | None:
        """Which operation of the scenario could not be carried out to its end;
        None if all were, or if an inserted one may be it.
        """
        done = [frame.op_index for frame in self.trace if frame.result is not None]
        return max(done, default=-1) + 1 if self.trace.problem and not self.trace.inserts else None

    # --- headings -----------------------------------------------------------------------------------------------------

    def _heading(self) -> Iterator[str]:
        scenario, setup, geometry = self.trace.scenario, self.trace.setup, self.trace[0].state.geometry
        title = ": ".join(filter(None, (scenario.name, scenario.about)))
        mutant = f" with the mutant {setup.mutant}" if setup.mutant else ""
        yield from _wrap(title)
        pins = (
            " Before the RFC the field of a tail counts its pins."
            if self.trace[0].state.kernel.scheme.tail_mapcount == "pins"
            else ""
        )
        yield from _wrap(
            f"Kernel {setup.kernel_name}{mutant}, geometry {geometry.name}: a huge page is {geometry.nr} small pages, "
            f"{geometry.size_text(geometry.nr)}. A mapcount says how often a page is mapped; its field _mapcount "
            f"holds one less.{pins}"
        )

    def _phase_heading(self, number: int) -> Iterator[str]:
        phases = self.trace.scenario.phases
        if phases[number].title:
            yield from ("", *_wrap(f"== {number + 1} of {len(phases)}: {phases[number].title} =="))
            yield from _wrap(phases[number].why)
        yield ""

    # --- operations ---------------------------------------------------------------------------------------------------

    def _operation(self, frames: Sequence[Frame]) -> Iterator[str]:
        first, last = frames[0], frames[-1]
        assert first.op is not None, "only frame 0 has none"
        later = any(_operation_of(frame) == _operation_of(last) for frame in self.trace.frames[last.number + 1 :])
        outcome = errname(last.result) if last.result is not None else "goes on below" if later else "not finished"
        if last.result == 0 and (read := seen(last.state, first.op)):
            outcome += f", {read}"
        cpu = f"CPU {first.cpu}: " if first.cpu else ""
        yield from _wrap(f"{cpu}{first.op.label(first.state.geometry.nr)} -> {outcome}")
        yield from self._parts(self._tree(frames), "  ")

    def _tree(self, frames: Sequence[Frame]) -> list[_Told | _Call]:
        root = _Call("")
        for frame in frames:
            told = self._step(frame)
            if told is None:
                continue
            at = root
            for name in frame.stack:
                last = at.parts[-1] if at.parts else None
                if not isinstance(last, _Call) or last.name != name:
                    last = _Call(name)
                    at.parts.append(last)
                at = last
            at.parts.append(told)
        return root.parts

    def _step(self, frame: Frame) -> _Told | None:
        """The step in words; None if it is folded away."""
        step = frame.step
        assert step is not None, "only frame 0 has none"
        moved = [
            c
            for c in counters(frame.state, self.trace[frame.number - 1].state)
            if c.changed and None not in (c.old, c.new)
        ]
        why = step.why if self.every_step or step.why not in self.told else ""
        self.told.add(step.why)
        told_already = step.why and not why and step.kind != READ
        plain = not step.why and step.kind in (READ, LOCK, UNLOCK)
        if (plain or told_already) and not moved and not self.every_step:
            return None
        short = sum(c.where != "vmstat" for c in moved) == 1  # then the step's own text names the page
        marks = ", ".join(_moved(c, short) for c in moved)
        return _Told(step.text + (f" [{marks}]" if moved else "") + (f" — {why}" if why else ""), bool(why))

    def _parts(self, parts: Sequence[_Told | _Call], indent: str) -> Iterator[str]:
        for part in parts:
            if isinstance(part, _Told):
                yield from _wrap(part.text, indent)
                continue
            names = [part.name]
            while len(part.parts) == 1 and isinstance(part.parts[0], _Call):
                part = part.parts[0]
                names.append(part.name)
            call = " > ".join([*names[:-1], call_text(names[-1])])
            steps = list(part.steps())
            if len(steps) == 1 or not (self.every_step or any(step.has_reason for step in steps)):
                yield from _wrap(f"{call}: " + "; ".join(step.text for step in steps), indent)
            else:
                yield from _wrap(call, indent)
                yield from self._parts(part.parts, indent + "  ")

    # --- what came of it ----------------------------------------------------------------------------------------------

    def _outcome(self, before: Frame, frames: Sequence[Frame]) -> Iterator[str]:
        for text in self._facts(before, frames):
            yield from _wrap(text, "| ", "|   ")

    def _facts(self, before: Frame, frames: Sequence[Frame]) -> Iterator[str]:
        state = frames[-1].state
        routine = next(iter(frames[-1].stack), "")
        for head in state.compound_pages():
            yield f"compound page {head:#x}: " + _accounts(ledger(state, head, routine=routine))
        small = small_pages(state, routine=routine)
        if small:
            yield "small pages: " + _accounts(small)
        for process in state.processes:
            figures = {
                name: value for name, value in smaps(state, process.name).items() if value or name not in _SELDOM
            }
            yield f"smaps of {process.name}: " + ", ".join(f"{name} {value} kB" for name, value in figures.items())
        for name in state.pins:
            yield f"pin {name} reads " + contents_text(state.pin_contents(name))
        events = [_moved(c) for c in counters(state, before.state) if c.where == "vmstat"]
        if events:
            yield "vmstat: " + ", ".join(events)
        broken: dict[str, str] = {}
        for frame in frames:
            for violation in check_frame(frame, self.trace[frame.number - 1]):
                broken.setdefault(violation.invariant, f"after step {frame.number}: {violation.problem}")
        verdict = (
            f"{len(broken)} of {len(INVARIANTS)} invariants do not hold"
            if broken
            else f"all {len(INVARIANTS)} invariants hold"
        )
        yield f"cost: {_costs(state, before.state)}; {verdict}"
        yield from (f"BROKEN {name}, {problem}" for name, problem in broken.items())


def _operation_of(frame: Frame) -> tuple[int, Operation | None]:
    return frame.op_index, frame.op


def _moved(counter: Counter, short: bool = False) -> str:
    name = (
        counter.name
        if counter.where == "vmstat"
        else counter.name.split()[-1]
        if short
        else f"{counter.where} {counter.name}"
    )
    return f"{name}{_GAP}{counter.old}{_GAP}→{_GAP}{counter.new}"


def _accounts(accounts: Iterable[Account]) -> str:
    """The accounts in words, to be wrapped only between two of them or after a "+"."""
    return "; ".join(account.text.replace(" ", _GAP).replace(f"+{_GAP}", "+ ") for account in accounts)


def _costs(state: State, previous: State) -> str:
    spent = {name: count - previous.costs.get(name, 0) for name, count in state.costs.items()}
    locks = sum(count for name, count in spent.items() if name.startswith("lock:"))
    figures = {
        "atomic changes": spent["rmw"],
        "of lock bits": spent["bit_rmw"],
        "locks": locks,
        "TLB flushes": spent["flushes"],
        "interrupts off": spent["irqs_off"],
    }
    return ", ".join(f"{name} {count}" for name, count in figures.items() if count) or "nothing"


def _wrap(text: str, indent: str = "", hanging: str = "") -> Iterator[str]:
    """`text` in lines of at most WIDTH columns; those below an indented line hang by two more, or as `hanging` says."""
    further = hanging or (indent and indent + "  ")
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )
    yield from (line.replace(_GAP, " ") for line in lines)
