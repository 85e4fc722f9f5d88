"""What a kernel stores inside one operation: set up, record, decode, fold."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from thplab.errors import BadInput
from thplab.scenario import Scenario
from truth.recorder.decode import Decoder, Event
from truth.recorder.fold import steps
from truth.recorder.memory import PFN_MASK, PRESENT, PSE
from truth.recorder.names import Names
from truth.recorder.performed import plain
from truth.recorder.prepare import Guest
from truth.recorder.trace import CALL, Log
from truth.recorder.view import View

_FLUSH = ("flush_tlb_mm_range", "arch_tlbbatch_flush")
_NEAR = 5
"""So many events after the last store, what leads to a flush is shown, too; a fork flushes after it has gone through
all other VMAs."""

Record = dict[str, Any]


def record(guest: Guest, scenario: Scenario) -> Record:
    """Carry out a scenario and record the inside of its last operation: a line of tests/truth/steps.

    Raises BadInput for a scenario without operations, RecorderError if the guest fails.
    """
    if not scenario.ops:
        raise BadInput("scenario", "has no operations", "what sets things up, and last the operation that is recorded")
    trace, view = guest.trace, guest.view
    assert trace is not None
    *setup, op = scenario.ops
    names = Names(view.zero)
    begun = guest.vm.ask("begin", env=scenario.env, ops=[plain(each) for each in setup])
    names.see(view, begun, before=True)
    huge_zero = [names.huge_zero] if names.huge_zero else []
    with trace.recording(names.tables, [*names.frames, *huge_zero]):
        done = guest.vm.ask("do", op=plain(op))
    log = trace.log()
    names.see(view, done, before=False)
    _add_tables(names, log, trace.tables(), view)
    found = steps(chosen(Decoder(view, names).events(log)))
    guest.vm.ask("end")
    return {
        "kernel": guest.vm.hello["release"],
        "name": scenario.name,
        "setup": [each.to_json() for each in setup],
        "op": op.to_json(),
        "rets": [*begun["rets"], done["ret"]],
        "frames": list(names.frames.values()),
        "steps": found,
    }


def chosen(events: Sequence[Event]) -> list[Event]:
    """What belongs to the operation: from the function in which its first store lies to the last store, and the TLB
    flush behind it.

    A function is kept only where something of ours happens before the next one begins; what other tasks call is left
    out.
    """
    tasks = {event.task for event in events if event.is_store}
    ours = [event for event in events if event.is_store or event.task in tasks]
    pairs = itertools.zip_longest(ours, ours[1:])
    kept = [
        event
        for event, after in pairs
        if event.kind != "CALL" or (after is not None and after.kind not in ("CALL", "ENTER"))
    ]
    stores = [i for i, event in enumerate(kept) if event.is_store]
    if not stores:
        return []
    before, inside, after = kept[: stores[0]][-1:], kept[stores[0] : stores[-1] + 1], kept[stores[-1] + 1 :]
    return [event for event in (*before, *inside, *_tail(after)) if event.kind != "ENTER"]


def _tail(after: Sequence[Event]) -> list[Event]:
    """Of what comes after the last store: up to a flush of the TLB, before the kernel is entered again; nothing if
    there is none."""
    end = next((i for i, event in enumerate(after) if event.kind == "ENTER"), len(after))
    flush = next((i for i, event in enumerate(after[:end]) if event.function in _FLUSH), None)
    if flush is None:
        return []
    return list(after[: flush + 1]) if flush < _NEAR else [after[flush]]


def _add_tables(names: Names, log: Log, tables: set[int], view: View) -> None:
    """Name the page tables that nobody has any more: made and freed by the operation, or of a process that is gone."""
    ours = set(names.ours())
    for _, address, before, after, _, kind, _ in log.tolist():
        pfn = None if kind == CALL else view.direct(address)
        if pfn is None or pfn in names.tables or pfn not in tables:
            continue
        pages = {(entry & PFN_MASK) >> 12 for entry in (before, after) if entry & PRESENT}
        if pages & ours:
            names.add_table(pfn, of_huge_pages=bool(after & PSE))


def show(found: Sequence[Any], indent: str = "  ") -> list[str]:
    """Steps as lines for a reader."""
    lines: list[str] = []
    for step in found:
        if step[0] == "loop":
            lines += [f"{indent}loop x{step[1]} {{", *show(step[2], indent + "    "), f"{indent}}}"]
            continue
        function, where, field, old, new, repeat = step
        times = f"  x{repeat}" if repeat > 1 else ""
        if where in ("CALL", "FLUSH"):
            lines.append(f"{indent}{'--' if where == 'CALL' else '## FLUSH'} {function}{times}")
        else:
            change = f"flags {old}" if field == "flags" else f"{field}: {old} -> {new}"
            lines.append(f"{indent}{function:34} {where:16} {change}{times}")
    return lines
