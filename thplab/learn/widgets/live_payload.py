"""A run on a real kernel beside the simulator, as the data that a page needs to show it: plain lists and texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from thplab.hardware.geometry import X86_64
from thplab.machine.state import State
from thplab.scenario import Scenario
from thplab.show.describe import describe
from thplab.show.diagrams import DETAILS, Sheet
from thplab.study.live import nearest
from thplab.study.live.recording import Record
from thplab.study.live.text import ShownField, observed, rows
from thplab.study.verify import Outcome
from thplab.study.verify.shown import SMAPS

LIVE, RECORDED = "live", "recorded"

_OTHERS = {
    "vmas": "VMAs",
    "runs": "pages present, and how they are mapped",
    "mapcount": "kpagecount",
    "kind": "kpageflags",
    "excl": "exclusive to the process",
}
_SYSTEM = {"ev": "events in /proc/vmstat", "sz": "statistics of huge pages of 2 MiB (sysfs)"}


def live_payload(
    record: Record, outcomes: Sequence[Outcome], kind: str, simulator: str, unseen: Mapping[str, str], pictures: bool
) -> dict[str, Any]:
    """All that is shown of a run: `record` and what comparing it with the kernel `simulator` gave.

    `kind` is LIVE or RECORDED; `unseen` is what was not seen -> why.
    Raises NoEngine if there are to be pictures and none can be drawn.
    """
    states = [outcome.state for outcome in outcomes if outcome.state is not None] if pictures else []
    operations = [_operation(outcome, outcome.number in record["noisy_ops"]) for outcome in outcomes]
    for number, (operation, state) in enumerate(zip(operations, states, strict=False)):
        operation |= {"picture": number, "words": describe(state, states[number - 1] if number else None)}
    return {
        "name": record["name"],
        "about": record["about"],
        "scenario": Scenario.from_record(record).line(),
        "kind": kind,
        "kernel": record["kernel"],
        "simulator": simulator,
        "nearest": "" if nearest(record["kernel"]) == (simulator, True) else _nearest(record["kernel"], simulator),
        "runs": _runs(record, kind),
        "seen": observed(unseen),
        "operations": operations,
        "agree": sum(outcome.agrees for outcome in outcomes),
        "pictures": _pictures(states),
    }


def _nearest(release: str, simulator: str) -> str:
    return (
        f"Linux {release} has no simulated kernel of its own. {simulator} is the nearest: a difference is a "
        "finding about two kernels."
    )


def _runs(record: Record, kind: str) -> str:
    """How often it was performed, and why more than once."""
    runs, agree = record["reps"], record["agree"]
    if kind == RECORDED or runs == 1:
        return f"{runs} run{'s' if runs > 1 else ''}" + (f", {agree} of them the same" if runs > 1 else "")
    why = "other programs show in the system's counters, so what disagrees is repeated"
    return f"{runs} runs: {why}; {agree} of {runs} say the same"


def _operation(outcome: Outcome, noisy: bool) -> dict[str, Any]:
    groups: dict[str, list[tuple[str, str, str, bool]]] = {}
    for row in rows(outcome):
        title, name = _place(row.field)
        groups.setdefault(title, []).append((name, in_words(row, row.kernel), in_words(row, row.simulator), row.agrees))
    return {
        "label": outcome.op.label(X86_64.nr),
        "verdict": "not modelled" if outcome.not_modelled else "differs" if outcome.differences else "agrees",
        "why": outcome.not_modelled,
        "noisy": noisy,
        "groups": [{"title": title, "rows": found} for title, found in groups.items()],
    }


def _place(field: str) -> tuple[str, str]:
    """Where a field was read, and what it is called there."""
    where, _, name = field.rpartition(".")
    if where in _SYSTEM:
        return _SYSTEM[where], name
    if field == "ret":
        return "the system call", "return code"
    if re.fullmatch(r"F\d+", where or field):
        return f"page frames of the huge page {where or field} (root)", _OTHERS.get(
            name, name
        ) if where else "all of them"
    process, _, region = (where or field).partition(".")
    of = f"region {region} of process {process}"
    if name in SMAPS or name == "vmas":
        return f"smaps: {of}", SMAPS.get(name, _OTHERS.get(name, name))
    return f"pagemap and page flags: {of}", _OTHERS.get(name, name)


def in_words(row: ShownField, text: str) -> str:
    """What one side says of a field, for a reader: runs of pages as `0…255: 2`, sizes with their unit.
    What is no run stays as it is.
    """
    name = row.field.rpartition(".")[2]
    if name in SMAPS and text.isdigit():
        return f"{text} kB"
    runs = re.findall(r"\[(\d+), (\d+), ([^\]]*)\]", text)
    return "\n".join(_run(int(first), int(count), values.split(", ")) for first, count, values in runs) or text


def _run(first: int, count: int, values: Sequence[str]) -> str:
    pages = f"{first}" if count == 1 else f"{first}…{first + count - 1}"
    if len(values) != 4:
        return f"{pages}: {', '.join(values)}"
    state, frame, page, how = values
    block = (
        ""
        if not frame.startswith("F")
        else f" in {frame}" + ("" if page in ("-", str(first)) else f" from its page {page} on")
    )
    small = " in a small page" if frame == "s" else ""
    return f"{pages}: {state}{block}{small}" + (f", by {how.upper()}" if how in ("pmd", "pte") else "")


def _pictures(states: Sequence[State]) -> dict[str, list[dict[str, Any]]]:
    """The simulated machine after each operation, in both details: a run is shown in many pages at once."""
    return {detail: [Sheet.of(states, detail).page()] for detail in DETAILS} if states else {}
