"""Where page tables stand in a picture: by the addresses that they translate, not by the frames that they live in.

A table keeps its place from the moment it is set aside (deposited) until it is freed, so that it is the same node.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.geometry import LEVEL_NAMES, Geometry
from thplab.machine.state import ProcessState, State

LINKED, DEPOSITED, IN_HAND = "linked", "deposited", "in hand"


class Place(NamedTuple):
    """The place of a page table: its process, level (0 = PTE table), and the first address that it translates."""

    process: str
    level: int
    base: int

    def via(self, geometry: Geometry) -> str:
        """The way to the table from the top: "via PGD 254 → PUD 256"; "" for the top table itself."""
        levels = range(geometry.levels - 1, self.level, -1)
        steps = " → ".join(f"{LEVEL_NAMES[level]} {geometry.index(self.base, level)}" for level in levels)
        return f"via {steps}" if steps else ""

    def upper(self, geometry: Geometry) -> Place:
        """The place of the table that points to this one."""
        span = 1 << geometry.shift(self.level + 2)
        return Place(self.process, self.level + 1, self.base & -span)


class Stood(NamedTuple):
    """A table seen in a state: the frame that holds it, and whether it is linked, deposited or in a routine's hand."""

    pfn: int
    status: str


Homes = Mapping[int, Sequence[Place]]


def linked_tables(state: State) -> dict[Place, int]:
    """The frames of all PMD and PTE tables that the page tables of living processes lead to."""
    return {
        place: pfn
        for process in state.processes
        for place, pfn in _below(state, process, process.pgd, state.geometry.levels - 1, 0)
    }


def _below(state: State, process: ProcessState, pfn: int, level: int, base: int) -> Iterator[tuple[Place, int]]:
    row = state.tables.get(pfn)
    if row is None:
        return  # freed under its user
    if level <= 1:
        yield Place(process.name, level, base), pfn
    if level == 0:
        return
    for index in np.flatnonzero(row):
        entry = int(row[index])
        if not pt.pmd_trans_huge(entry):
            yield from _below(
                state, process, pt.pte_pfn(entry), level - 1, base + (int(index) << state.geometry.shift(level))
            )


def huge_places(state: State) -> list[Place]:
    """The places of the PTE tables that would stand where PMDs are huge, in the order of processes and addresses."""
    return [Place(m.process, 0, m.address) for m in state.mapped if m.level == 1]


def find_tables(state: State, homes: Homes, known: Collection[Place]) -> dict[Place, Stood]:
    """Every PMD and PTE table of the state that has a place.

    `homes` says where the frame of a table is linked in some state of the trace; `known` lists all places of PTE
    tables. Deposited tables wait in a line per PMD table, for no PMD in particular: they are shown with the huge PMDs
    in order. A table in a routine's hand whose place cannot be told is left out.
    """
    linked = linked_tables(state)
    found = {place: Stood(pfn, LINKED) for place, pfn in linked.items()}
    lines = {(p.name, table): waiting for p in state.processes for table, waiting in p.deposited}
    taken = {stood.pfn for stood in found.values()}.union(*lines.values())
    alive = {p.name for p in state.processes}
    in_hand = [(pfn, level) for pfn, level in sorted(state.levels.items()) if level <= 1 and pfn not in taken]
    lost = [
        pfn
        for pfn, level in in_hand
        if not _stand(found, pfn, IN_HAND, _living(homes.get(pfn, ()), level, alive)) and level == 0
    ]
    huge = huge_places(state)
    for place, pfn in linked.items():
        mine = [h for h in huge if h.upper(state.geometry) == place]
        spare = [k for k in known if k.upper(state.geometry) == place]
        for waiting in lines.get((place.process, pfn), ()):
            _stand(found, waiting, DEPOSITED, mine) or _stand(found, waiting, DEPOSITED, spare)
    for pfn in lost:
        free = [place for place in known if place not in found and place.process in alive]
        if len(free) == 1:
            _stand(found, pfn, IN_HAND, free)
    return found


def _living(homes: Sequence[Place], level: int, alive: Collection[str]) -> list[Place]:
    return [place for place in homes if place.level == level and place.process in alive]


def _stand(found: dict[Place, Stood], pfn: int, status: str, places: Collection[Place]) -> bool:
    """Put the table at the first of `places` that is not taken; False if there is none."""
    free = next((place for place in places if place not in found), None)
    if free is not None:
        found[free] = Stood(pfn, status)
    return free is not None
