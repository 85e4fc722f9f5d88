"""A trace as the data that a page needs to show it: plain lists and texts, everything computed beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile
from typing import Any

from thplab.errors import errname
from thplab.hardware.geometry import Geometry
from thplab.hardware.steps import LOCK, READ, UNLOCK
from thplab.kernel.schemes import count_text
from thplab.learn.widgets.prediction import Prediction
from thplab.learn.widgets.recorded_payload import is_recorded
from thplab.machine.trace import Frame, Setup, Trace, call_text
from thplab.scenario import Operation
from thplab.scenario.text import write_line
from thplab.show.describe import describe, policy_row
from thplab.show.ledger import Account, counters, ledger, small_pages
from thplab.show.strip import followed, strip
from thplab.study.asked import asked_policies
from thplab.study.contents import seen
from thplab.study.explore import PAIRS, RaceTrace
from thplab.study.invariants import ALWAYS, INVARIANTS

Row = tuple[int, str, int | None]
"""A line of the call tree: depth, text, and the frame that it stands for; None for the name of a routine."""

Line = tuple[str, int | str | None, int | str, list[str]]
"""A line of the ledger: counter, before (None: there was none), now, and who holds it.
A text where a flag is among a counter's bits.
"""


def payload(trace: Trace, predictions: Sequence[Prediction] = (), stops: Sequence[int] = ()) -> dict[str, Any]:
    """All that a stepper shows of a trace but its pictures and words, as JSON can hold it.
    Raises BadInput as Prediction.on does.

    `stops` are frames at which a lecture comes to rest. Ledgers that several frames share are stored once; a frame has
    their indexes.
    """
    ledgers, known = _Shelf(), dict[object, int]()
    operations = _operations(trace)
    places = {frame: number for number, op in enumerate(operations) for frame in range(op["first"], op["last"] + 1)}
    questions = sorted((prediction.on(trace) for prediction in predictions), key=lambda question: int(question["at"]))
    asked = {question[key] for question in questions for key in ("at", "of")} | set(stops)
    head = followed(trace)
    policies = asked_policies(trace) or [()] * len(trace)
    names = sorted({name for each in policies for name in each})
    kernel = trace.setup.machine().system.kernel
    frames = []
    for frame in trace:
        before = trace[frame.number - 1] if frame.number else None
        key = _of_ledger(frame, before)
        number = known[key] if key in known else known.setdefault(key, ledgers.put(ledger_groups(frame, before)))
        frames.append(
            {
                "ledger": number,
                "op": places.get(frame.number),
                "phase": frame.phase,
                "routine": call_text(next(reversed(frame.stack), "")),
                "text": frame.step.text if frame.step else "the machine before the first step",
                "why": frame.step.why if frame.step else "",
                "plain": before is not None and is_plain(frame, before) and frame.number not in asked,
                "asks": [names.index(name) for name in policies[frame.number]],
                "strip": "" if head is None else strip(frame.state, head).text,
            }
        )
    geometry = trace[0].state.geometry
    return {
        "name": trace.scenario.name,
        "about": trace.scenario.about,
        "kernel": kernel_text(trace.setup),
        "geometry": geometry_text(geometry),
        "scenario": trace.scenario.line(),
        "problem": trace.problem,
        "unit": "operation" if _has_no_phases(trace) else "phase",
        "phases": _phases(trace, operations),
        "operations": operations,
        "frames": frames,
        "ledgers": ledgers.items,
        "questions": questions,
        "stops": list(stops),
        "policies": [policy_row(kernel, name)._asdict() for name in names],
        "recorded": None if is_recorded(trace) else [],
        "code": code(trace),
    }


def words(trace: Trace) -> list[str]:
    """The state at each frame in words; what its step has changed is told."""
    states = [frame.state for frame in trace]
    return [describe(now, before) for before, now in zip([None, *states], states, strict=False)]


def _of_ledger(frame: Frame, before: Frame | None) -> object:
    """What the ledger of a frame depends on: arrays that states share, by identity, and the rest by value."""
    return (*_counted(frame), *(_counted(before) if before else ()), frame.cpu, next(iter(frame.stack), ""))


def _counted(frame: Frame) -> tuple[object, ...]:
    state = frame.state
    arrays = *map(id, state.blocks.values()), 0, *map(id, state.tables.values())
    pins = tuple((name, pin.pages, pin.foll_pin) for name, pin in state.pins.items())
    return (
        arrays,
        pins,
        state.poisoned,
        id(state.swap),
        tuple(state.vmstat.values()),
        state.in_progress,
        state.processes,
    )


class _Shelf:
    """Things that are stored once each, in the order in which they came."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._places: dict[str, int] = {}

    def put(self, item: Any) -> int:
        """The place of the item, which is added if it is new."""
        place = self._places.setdefault(repr(item), len(self.items))
        if place == len(self.items):
            self.items.append(item)
        return place


def kernel_text(setup: Setup) -> str:
    """The kernel of a machine as a page shows it."""
    return setup.kernel_name + (f" with the mutant {setup.mutant}" if setup.mutant else "")


def geometry_text(geometry: Geometry) -> str:
    """The geometry of a machine: its name, a colon, and what it means."""
    return f"{geometry.name}: {geometry.nr} pages in a huge page of {geometry.size_text(geometry.nr)}"


def is_plain(frame: Frame, before: Frame) -> bool:
    """Is the frame folded into the next one unless all steps are shown? A read or a lock that says no reason and moves
    no counter.
    """
    step = frame.step
    if step is None or step.kind not in (READ, LOCK, UNLOCK) or step.why or frame.result:
        return False
    now, then = frame.state, before.state
    same = len(now.blocks) == len(then.blocks) and now.vmstat == then.vmstat
    if same and all(block is then.blocks.get(number) for number, block in now.blocks.items()):
        return True
    return not any(counter.changed for counter in counters(frame.state, before.state))


_OF_A_RUN = (
    ("no_kernel_bug", ALWAYS, "No routine meets a state of the machine that must not occur (BUG_ON)."),
    ("no_deadlock", ALWAYS, "Some CPU can go on, unless all have ended."),
)
"""What must hold beside the invariants of states."""


def must_hold(*when: str) -> list[list[str]]:
    """What must hold at these times, as drawChecklist() in base.js takes it: name, when it is asked, in words."""
    return [*([i.name, i.when, i.about] for i in INVARIANTS if i.when in when), *map(list, _OF_A_RUN)]


def code(trace: Trace) -> tuple[str, str]:
    """Python that makes the state of a frame again: what stands before the frame's number, and what after it.

    A pair or a kernel record of the reader's own is called `pair` or `kernel` there.
    """
    if isinstance(trace, RaceTrace):
        assert trace.pair is not None, "replay() always names it"
        known = PAIRS.get(trace.pair.name) == trace.pair
        pair, names = (f"PAIRS[{trace.pair.name!r}]", "PAIRS, replay") if known else ("pair", "replay")
        return f"from thplab.study.explore import {names}\nstate = replay({pair}, {trace.written!r}).seek(", ").state"
    setup, names = trace.setup, "Setup, record"
    extra = [f"memory={setup.memory}"] * (setup.memory is not None) + [f"mutant={setup.mutant!r}"] * bool(setup.mutant)
    extra += [f"swap={setup.swap!r}"] * bool(setup.swap)
    kernel = repr(setup.kernel) if isinstance(setup.kernel, str) else "kernel"
    made = ", ".join([f"Setup({kernel}, {setup.geometry!r}", *extra]) + ")"
    arguments = [repr(trace.scenario.line()), made]
    first = ""
    if trace.inserts:
        first, names = "from thplab.scenario import Scenario; ", "Insert, Setup, record"
        inserts = [f"Insert({insert.frame}, {_parsed(insert.ops)})" for insert in trace.inserts]
        arguments.append(f"({', '.join(inserts)},)")
    return f"{first}from thplab.machine.trace import {names}\nstate = record({', '.join(arguments)}).seek(", ").state"


def _parsed(ops: Sequence[Operation]) -> str:
    return f"Scenario.parse({write_line(ops)!r}).ops"


# --- phases and the call tree -----------------------------------------------------------------------------------------


def _phases(trace: Trace, operations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The phases that the trace has reached, each with its first frame.
    Where the scenario names none, its operations stand in.
    """
    phases = trace.scenario.phases
    if _has_no_phases(trace):
        return [{"title": op["label"], "why": "", "first": op["first"]} for op in operations]
    first: dict[int, int] = {}
    for frame in trace.frames[1:]:
        first.setdefault(frame.phase, frame.number)
    return [
        {"title": phases[number].title, "why": phases[number].why, "first": at} for number, at in sorted(first.items())
    ]


def _has_no_phases(trace: Trace) -> bool:
    return not any(phase.title for phase in trace.scenario.phases)


def _operations(trace: Trace) -> list[dict[str, Any]]:
    """The operations in the order in which they ran: label, frames, result, and the call tree.
    One that was interrupted comes in parts.
    """
    found: list[dict[str, Any]] = []
    begun: set[tuple[int, int, str]] = set()
    for (cpu, index, op), group in groupby(trace.frames[1:], key=lambda frame: (frame.cpu, frame.op_index, frame.op)):
        frames = list(group)
        assert op is not None, "only frame 0 has none"
        label = op.label(frames[0].state.geometry.nr)
        again = (cpu, index, label) in begun
        begun.add((cpu, index, label))
        found.append(operation((f"CPU {cpu}: " if cpu else "") + label + (", continued" if again else ""), frames))
    return found


def operation(label: str, frames: Sequence[Frame]) -> dict[str, Any]:
    """What callTree() in base.js shows of an operation that these frames are of.
    Frames are numbered as in their trace.
    """
    result = frames[-1].result
    read = seen(frames[-1].state, frames[-1].op) if result is not None and result >= 0 and frames[-1].op else ""
    return {
        "label": label,
        "phase": frames[0].phase,
        "first": frames[0].number,
        "last": frames[-1].number,
        "result": "" if result is None else errname(result) + (f", {read}" if read else ""),
        "failed": result is not None and result < 0,
        "rows": list(_rows(frames)),
    }


def _rows(frames: Sequence[Frame]) -> Iterator[Row]:
    """The routines that the frames are in, as headers, and the steps below them."""
    open_now: tuple[str, ...] = ()
    for frame in frames:
        stack = frame.stack
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(open_now, stack, strict=False)))
        for depth in range(same, len(stack)):
            yield depth, call_text(stack[depth]), None
        assert frame.step is not None, "only frame 0 has none"
        yield len(stack), frame.step.text, frame.number
        open_now = stack


# --- the ledger -------------------------------------------------------------------------------------------------------


def ledger_groups(frame: Frame, before: Frame | None) -> list[dict[str, Any]]:
    """Every counter of every page, before and now, with who holds it, and the events counted so far;
    in groups with a title.
    """
    state, previous = frame.state, before.state if before else None
    # While an inserted operation runs, what the one that it interrupts has in hand counts, too.
    routine = "the routines in progress" if frame.cpu else next(iter(frame.stack), "")
    groups = [(f"compound page {head:#x}", ledger(state, head, previous, routine)) for head in state.compound_pages()]
    groups += [("small pages", small_pages(state, previous, routine))]
    shown = [
        {"title": title, "rows": [_account(account) for account in accounts]} for title, accounts in groups if accounts
    ]
    then = previous.vmstat if previous else {}
    events: list[Line] = [(name, then.get(name, 0), value, []) for name, value in state.vmstat.items() if value]
    return shown + ([{"title": "events in vmstat", "rows": events}] if events else [])


def _account(account: Account) -> Line:
    old = None if account.old is None else _number(account.old)
    return account.name, old, _number(account.value), [row.text for row in account.rows]


def _number(count: int) -> int | str:
    text = count_text(count)
    return count if text == str(count) else text
