"""Looking into a page split while it runs, at the places where the recorder of 3.16 did (tests/truth/README.md,
part C).

The routine knows nothing of it:
the operation is advanced step by step, and what the step was, and of which routine, tells that a place is reached.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from thplab.errors import Deadlock
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_head, PG_tail
from thplab.hardware.steps import CHANGE, LOCK, UNLOCK, WAIT, Routine, Step
from thplab.kernel.routines.split_huge_page_tails import rmap_walk_head
from thplab.kernel.routines.walk import pmd_at
from thplab.kernel.system import System
from thplab.machine.machine import Machine
from thplab.study.verify.columns import Column, Columns
from thplab.study.verify.records import RegionView, pmd_kinds

SPLIT = "split_huge_page_tails"

_PLACES = (
    (SPLIT, LOCK, "lock anon_vma_lock"),
    ("__split_huge_page_refcount", LOCK, "lock lru_lock"),
    ("__split_huge_page_refcount", CHANGE, "head "),
    ("__split_huge_page_map", LOCK, "lock ptl"),
    (SPLIT, UNLOCK, "unlock anon_vma_lock"),
)
"""`at` -> the routine, the kind of its step and how the text begins: before the split; all PMDs marked; all references
handed out; the extra ones dropped; all PMDs replaced."""

_BITS = (
    (pt._PAGE_PRESENT, "p"),
    (pt._PAGE_RW, "w"),
    (pt._PAGE_DIRTY, "d"),
    (pt._PAGE_ACCESSED, "y"),
    (pt._PAGE_USER, "u"),
    (pt._PAGE_SPLITTING, "S"),
)


def shows_inside(machine: Machine) -> bool:
    """Does this machine split pages by the routine that was looked into?"""
    return machine.system.scheme.page_split == "tails"


def drive(machine: Machine, routine: Routine[int]) -> tuple[int, dict[str, RegionView]]:
    """Exhaust `routine` as `drain` does.
    Returns what it returns, and what was seen inside each split, by `splitN.at`.
    """
    seen: dict[str, RegionView] = {}
    splits, due = 0, 0
    while True:
        try:
            step = next(routine)
        except StopIteration as end:
            return end.value, seen
        if step.kind == WAIT:
            raise Deadlock(f"{step.text}: nobody else is running, so this never ends")
        chain = tuple(_chain(routine))
        if _is_at(due, chain, step):
            frame = next(generator for generator in chain if generator.gi_code.co_name == SPLIT).gi_frame
            seen[f"split{splits}.{due}"] = _look(machine.system, int(frame.f_locals["page"]), due)
            splits, due = (splits + 1, 0) if due == len(_PLACES) - 1 else (splits, due + 1)


def _chain(routine: Any) -> Iterator[Any]:
    """The generators nested in `routine`, outermost first."""
    while routine is not None and hasattr(routine, "gi_code"):
        yield routine
        routine = routine.gi_yieldfrom


def _is_at(due: int, chain: tuple[Any, ...], step: Step) -> bool:
    name, kind, text = _PLACES[due]
    return step.kind == kind and step.text.startswith(text) and any(at.gi_code.co_name == name for at in chain)


def _look(system: System, page: int, at: int) -> RegionView:
    frames = system.frames
    columns: Columns = defaultdict(Column)
    for tail in range(1, system.geometry.nr):
        columns["tails"].add(tail, 1, _kind(int(frames.flags[page + tail])))
        columns["_refcount"].add(tail, 1, int(frames.refcount[page + tail]))
        columns["_mapcount"].add(tail, 1, int(frames.mapcount[page + tail]))
    fields: dict[str, object] = {
        "head": (_kind(int(frames.flags[page])), int(frames.refcount[page]), int(frames.mapcount[page]))
    }
    if at != 2:
        fields["pmd"] = pmd_kinds(_mapping_pmds(system, page))
    return RegionView(fields, dict(columns))


def _kind(flags: int) -> str:
    return "head" if flags & PG_head else "tail" if flags & PG_tail else "small"


def _mapping_pmds(system: System, page: int) -> Iterator[tuple[str, str]]:
    """Every PMD at an address at which the reverse map knows the page, whatever it is by now."""
    for vma, address in rmap_walk_head(system, system.anon_vmas[int(system.frames.mapping[page])], page):
        found = pmd_at(system, vma.mm, address)
        pmd = found.entry if found else 0
        kind = "none" if pt.pte_none(pmd) else "huge" if pt.pmd_trans_huge(pmd) else "table"
        yield kind, "".join(letter for bit, letter in _BITS if pmd & bit)
