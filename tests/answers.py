"""What a user of a machine sees, asked by name: how the tables of reports and of selftests write what a real kernel answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from thplab import Machine
from thplab.hardware.frames import COLUMNS, PG_hwpoison, PG_mlocked
from thplab.hardware.geometry import X86_64
from thplab.kernel.policies import Kernel
from thplab.machine.state import State
from thplab.scenario import Scenario
from thplab.study.invariants import check_state
from thplab.study.observe import smaps

SMAPS = {"rss": "Rss", "pss": "Pss", "huge": "AnonHugePages", "lazyfree": "LazyFree", "ksm": "KSM", "swap": "Swap", "referenced": "Referenced"}
"""Names in answers -> those of smaps, in kB."""


@dataclass
class Answers:
    """A scenario carried out, and what can be asked afterwards."""

    machine: Machine
    results: list[int] = field(default_factory=list)

    def __getitem__(self, name: str) -> object:
        """"ret": what the last operation returned. Anything else: see asked()."""
        return self.results[-1] if name == "ret" else asked(self.machine.state, name)


def asked(state: State, name: str) -> object:
    """"pin p": the byte that all pages of a pin hold, or a tuple of them.
    "A.0" or "A.0 T": the byte in a page of region R or T, None where nothing is mapped. "A.rss" and its like (SMAPS): kB.
    "compound": the number of huge pages that exist, and of smaller compound pages. "bad": of bad frames, freed or not.
    "mlocked": of pages, small and huge ones, that know that they are locked in memory.
    Anything else is an event of /proc/vmstat.
    """
    if name == "compound":
        return len(state.compound_pages())
    if name == "bad":
        return sum(int(np.count_nonzero(block[COLUMNS.index("flags")] & PG_hwpoison)) for block in state.blocks.values())
    if name == "mlocked":
        return sum(int(np.count_nonzero(block[COLUMNS.index("flags")] & PG_mlocked)) for block in state.blocks.values())
    if name.startswith("pin "):
        held = tuple(tag & 0xFF for tag in state.pin_contents(name.removeprefix("pin ")))
        return held[0] if len(set(held)) == 1 else held
    process, dot, what = name.partition(".")
    if not dot:
        return state.vmstat[name]
    if what in SMAPS:
        return smaps(state, process)[SMAPS[what]]
    page, _, region = what.partition(" ")
    tag = state.contents(process, region or "R")[int(page)]
    return None if tag is None else tag & 0xFF


def carried_out(kernel: str | Kernel, line: str, swap: str = "", geometry: str = X86_64.name) -> Answers:
    """The operations of `line` on a machine, which keeps all invariants after each of them."""
    done = Answers(Machine(kernel, geometry, swap=swap))
    for op in Scenario.parse(line).ops:
        done.results.append(done.machine.call(op))
        assert check_state(done.machine.state) == [], op
    return done


def check(done: Answers, expected: Mapping[str, object]) -> None:
    """All that is expected is what is there."""
    assert {name: done[name] for name in expected} == expected
