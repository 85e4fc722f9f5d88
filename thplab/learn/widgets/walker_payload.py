"""A state as the data that the address walker needs:
every table as runs of entries, with their words, and where to look first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_head, PG_tail
from thplab.hardware.geometry import LEVEL_NAMES
from thplab.machine.state import Mapped, ProcessState, State
from thplab.show.describe.walk_text import (
    HOLE_IN_VMA,
    HOLE_OUTSIDE,
    HUGE_ZERO,
    BitField,
    ending,
    entry_fields,
    entry_kind,
    meaning,
    refused,
)

EntryRun = tuple[int, int, str, int, str, int, int]
"""Entries [start, stop) of a table: the first entry in hexadecimal, what each next one adds to the pfn, the kind, the
number of the text in "words" (meaning, ending, and names of the fields), and the head of the compound page (0: none).
"""

KINDS = {
    (0, "page"): "small page",
    (0, "part"): "4 KiB of a compound page",
    (0, "zero"): "zero page",
    (0, "migration"): "migration entry",
    (0, "swap"): "swap entry",
    (0, "hwpoison"): "poison entry",
    (0, "guard"): "guard marker",
    (1, "page"): "huge page",
    (1, "zero"): "huge zero page",
}
"""What a process can have behind its addresses, by level and kind; "part" is a page in a compound one."""


def payload(state: State) -> dict[str, Any]:
    """All that the walker shows of a state, as JSON can hold it. Addresses and entries are texts:
    they have more bits than its numbers.
    """
    packed = _Words(state)
    geometry = state.geometry
    return {
        "levels": [
            [LEVEL_NAMES[level], geometry.shift(level), geometry.order] for level in reversed(range(geometry.levels))
        ],
        "pageShift": geometry.shift(0),
        "sizes": [
            geometry.size_text(1 << (geometry.shift(level) - geometry.shift(0)))
            for level in reversed(range(geometry.levels))
        ],
        "refused": [[hex(r.first), None if r.last is None else hex(r.last), r.why] for r in refused(geometry)],
        "holes": [HOLE_IN_VMA, HOLE_OUTSIDE],
        "processes": [_process(state, process) for process in state.processes],
        "tables": {str(pfn): [state.levels[pfn], list(packed.runs(pfn))] for pfn in sorted(state.tables)},
        "empty": [packed.put(0, level) for level in range(geometry.levels)],
        "words": packed.words,
        "fields": packed.fields,
    }


def _process(state: State, process: ProcessState) -> dict[str, Any]:
    return {
        "name": process.name,
        "pgd": process.pgd,
        "vmas": [[hex(vma.start), hex(vma.end), _prot(vma.prot)] for vma in process.vmas],
        "places": [[label, hex(address)] for label, address in places(state, process)],
    }


def _prot(prot: int) -> str:
    return next(name for name, bits in pt.PROTECTIONS.items() if bits == prot)


def places(state: State, process: ProcessState) -> tuple[tuple[str, int], ...]:
    """Addresses that are worth a look:
    the first page of each kind of mapping, the first hole, both ends of each VMA.
    """
    mine = [m for m in state.mapped if m.process == process.name]
    found: dict[str, int] = {}
    for m in mine:
        found.setdefault(f"first {_what(state, m)}", m.address)
    shown = list(found.items())
    hole = next(_holes(state, process, mine), None)
    if hole is not None:
        shown.append(("first hole in a VMA", hole))
    for number, vma in enumerate(process.vmas, start=1):
        name = f"VMA {number} ({_prot(vma.prot)})"
        shown += [(f"{name}: first byte", vma.start), (f"{name}: last byte", vma.end - 1)]
    return tuple(shown)


def _what(state: State, m: Mapped) -> str:
    part = m.level == 0 and m.kind == "page" and state.field("flags", m.pfn) & (PG_head | PG_tail)
    return KINDS[m.level, "part" if part else m.kind]


def _holes(state: State, process: ProcessState, mapped: list[Mapped]) -> Iterator[int]:
    """Where VMAs have nothing mapped."""
    size = state.geometry.page_size
    spans = [(m.address, m.address + (state.geometry.huge_size if m.level else m.count * size)) for m in mapped]
    for vma in process.vmas:
        at = vma.start
        for start, end in spans:
            if start <= at < end:
                at = end
        if at < vma.end:
            yield at


class _Words:
    """The tables of a state as runs, and the texts of the entries, each stored once."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.words: list[tuple[str, str, int]] = []
        self.fields: list[list[BitField]] = []

    def put(self, entry: int, level: int) -> int:
        """The number of the words of an entry:
        what it says, where a walk ends that ends here, and the number of its list of fields.
        """
        fields = list(entry_fields(entry, level))
        if fields not in self.fields:
            self.fields.append(fields)
        words = meaning(self.state, entry, level), ending(self.state, entry, level), self.fields.index(fields)
        if words not in self.words:
            self.words.append(words)
        return self.words.index(words)

    def runs(self, pfn: int) -> Iterator[EntryRun]:
        """The entries of a table that are not empty, as runs that share their words."""
        row, level = self.state.tables[pfn], self.state.levels[pfn]
        used = [(index, int(row[index])) for index in np.flatnonzero(row).tolist()]
        if not used:
            return
        borders = [0, *(n for n in range(1, len(used)) if not self._goes_on(used[n - 1], used[n], level)), len(used)]
        for low, high in itertools.pairwise(borders):
            (start, entry), kind = used[low], entry_kind(self.state, used[low][1], level)
            yield (
                start,
                start + high - low,
                hex(entry),
                _step(kind),
                kind,
                self.put(entry, level),
                self._head(entry, kind),
            )

    def _goes_on(self, one: tuple[int, int], other: tuple[int, int], level: int) -> bool:
        """Does a run go on from one (index, entry) to the other:
        next to each other, alike, and the next pfn of the same page?
        """
        (index, entry), kind = one, entry_kind(self.state, one[1], level)
        if other != (index + 1, entry + (_step(kind) << 12)):
            return False
        return entry_kind(self.state, other[1], level) == kind and self._head(entry, kind) == self._head(other[1], kind)

    def _head(self, entry: int, kind: str) -> int:
        """The head of the compound page that a PTE maps a part of; 0 for other entries."""
        pfn = pt.pte_pfn(entry)
        in_compound = kind == "page" and self.state.field("flags", pfn) & (PG_head | PG_tail)
        return self.state.head(pfn) if in_compound else 0


def _step(kind: str) -> int:
    """What the next entry of a run adds to the pfn: all of them name the same zero page."""
    return 0 if kind in ("zero", HUGE_ZERO) else 1
