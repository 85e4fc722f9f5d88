"""What the files of /proc say of a state, as the kernel writes them and the usual tools show them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from thplab.errors import BadInput
from thplab.machine.state import State, VmaState
from thplab.scenario.vocabulary import near
from thplab.study.observe import pagemap, smaps_entries

SMAPS = ("Size", "Rss", "Pss", "Referenced", "KSM", "LazyFree", "AnonHugePages", "Swap", "Locked")
"""The lines of an entry of smaps that a state has an answer to, in the kernel's order."""


def smaps_text(state: State, process: str, fields: Sequence[str] = ("Rss", "AnonHugePages")) -> str:
    """/proc/PID/smaps of a process: for each VMA its first line and, of the others, those that `fields` names.

    Raises BadInput if the process does not live in this state, and for a field that smaps or this kernel does not have.
    """
    vmas = state.vmas(process)
    lines = []
    for vma, figures in zip(vmas, smaps_entries(state, process), strict=True):
        known = figures | {"Size": (vma.end - vma.start) >> 10}
        for name in fields:
            if name not in known:
                raise BadInput("fields", f"hold {name!r}", f"some of {', '.join(n for n in SMAPS if n in known)}")
        lines.append(_first_line(vma))
        lines += [f"{name + ':':16}{known[name]:8} kB" for name in SMAPS if name in fields]
    return "\n".join(lines) + "\n"


def vmstat_text(state: State, events: Sequence[str]) -> str:
    """The lines of /proc/vmstat that `events` names, counted from the start of the simulated machine.

    Raises BadInput for an event that this kernel does not count.
    """
    for name in events:
        if name not in state.vmstat:
            raise BadInput("events", f"hold {name!r}", near(name, state.vmstat))
    return "".join(f"{name} {state.vmstat[name]}\n" for name in events)


def pagemap_text(state: State, process: str, region: str = "R") -> str:
    """/proc/PID/pagemap of a region as `od -A d -t x8 -w8` shows it, which writes equal lines once and then *.

    Raises BadInput if there is no such process or region.
    """
    entries = pagemap(state, process, region)
    lines, at = [], 0
    for entry, run in itertools.groupby(entries):
        count = len(list(run))
        lines += [f"{at:07} {entry:016x}", *(["*"] if count > 1 else [])]
        at += 8 * count
    return "\n".join([*lines, f"{at:07}"]) + "\n"


def _first_line(vma: VmaState) -> str:
    rights = "".join(letter if vma.prot & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))
    return f"{vma.start:08x}-{vma.end:08x} {rights}p 00000000 00:00 0"
