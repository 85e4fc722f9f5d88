"""Reading /proc/vmstat as text: once, or before and after."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from thplab.errors import BadInput, shown
from thplab.kernel.kernels import KERNELS
from thplab.kernel.policies import Kernel
from thplab.scenario.vocabulary import near

_LINE = re.compile(r"([a-z][a-z0-9_]{1,60})[ \t]+(-?\d{1,20})")
_MOST_LINES = 10_000
_RIGHT = "/proc/vmstat: a name and a number on each line, such as thp_fault_alloc 12"
GAUGES = ("nr_",)
"""Beginnings of names that may fall: they say how much there is, not how often something happened."""


class Differences(NamedTuple):
    """What happened between two readings."""

    known: Mapping[str, int]
    """Events that the kernel's record has -> how often. All of them, also what did not happen."""
    foreign: Mapping[str, int]
    """Other counters of huge pages and swap that rose: nothing here raises them."""


def looks_like_vmstat(line: str) -> bool:
    """Does a text that begins with this line look like /proc/vmstat?"""
    return _LINE.fullmatch(line) is not None


def read_vmstat(text: str, where: str) -> dict[str, int]:
    """The counters of a text. Raises BadInput that names the line if one is no counter, or comes twice."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line:
            continue
        pair = _LINE.fullmatch(line)
        if pair is None or pair[1] in found or len(found) == _MOST_LINES:
            wrong = (
                f"is {shown(line)}"
                if pair is None
                else f"has {pair[1]} for the second time"
                if pair[1] in found
                else "is one too many"
            )
            raise BadInput(f"{where}, line {number}", wrong, _RIGHT)
        found[pair[1]] = int(pair[2])
    if not found:
        raise BadInput(where, "holds no counter", _RIGHT)
    return found


def differences(before: Mapping[str, int], after: Mapping[str, int], kernel: Kernel) -> Differences:
    """What happened between two readings; a counter that one of them lacks did not change, as far as is known."""
    moved = {name: after[name] - before[name] for name in after if name in before}
    events = kernel.proc.events
    foreign = {
        name: n
        for name, n in moved.items()
        if n and name not in events and name.startswith(("thp_", "pswp", "compact_", "ksm_", "cow_"))
    }
    return Differences({name: moved.get(name, 0) for name in events}, foreign)


def unknown_counters(names: Mapping[str, int], kernel: Kernel) -> Iterator[str]:
    """Counters of huge pages that this kernel does not have, though another one does, in words."""
    everywhere = {event: record.name for record in KERNELS.values() for event in record.proc.events}
    for name in names:
        if name in everywhere and name not in kernel.proc.events:
            having = ", ".join(record.name for record in KERNELS.values() if name in record.proc.events)
            instead = near(name, kernel.proc.events)
            yield f"{name} is no counter of {kernel.name} ({having} have it); there it is {instead}"


def fallen(before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[str]:
    """Counters that are smaller in the second reading though they only ever grow, in words."""
    for name, value in after.items():
        if value < before.get(name, value) and not name.startswith(GAUGES):
            why = "it only ever grows, so the readings are the wrong way round, or there was a reboot between"
            yield f"{name} falls from {before[name]} to {value}: {why}"
