"""What a process maps, read from its page tables, in the form of tests/truth/README.md, part A."""

from __future__ import annotations

from typing import Any, NamedTuple

from truth.recorder.memory import HUGE, PFN_MASK, PRESENT, PSE, Level
from truth.recorder.text import PROT_NONE, SAVED_DIRTY, swap
from truth.recorder.view import View

_WRITE, _YOUNG, _DIRTY = 1 << 1, 1 << 5, 1 << 6
_SWAP_EXCLUSIVE = 1 << 3


class Mapped(NamedTuple):
    """An entry of a page table: none, present, zero, swap, hwpoison, migration, other, or, of PMDs, huge, hugezero and
    table."""

    kind: str
    pfn: int = 0
    flags: str = ""


def of_pte(view: View, entry: int) -> Mapped:
    """What an entry for a page of 4 KiB says."""
    if entry == 0:
        return Mapped("none")
    if entry & (PRESENT | PROT_NONE):
        pfn = _pfn(entry)
        return Mapped("zero" if pfn == view.zero else "present", pfn, _flags(view, entry))
    kind, offset = swap(entry)
    hwpoison, *migration = view.kernel.swap_types
    if kind in migration:
        return Mapped("migration", offset)
    if kind == hwpoison:
        return Mapped("hwpoison")
    return Mapped("swap", 0, "x" if entry & _SWAP_EXCLUSIVE else "") if kind < hwpoison else Mapped("other")


def of_pmd(view: View, way: list[Level]) -> Mapped:
    """What the entry for a huge page says, at the end of the way to it."""
    if len(way) <= 2 or way[2].entry == 0:
        return Mapped("none")
    entry = way[2].entry
    if entry & PSE:
        pfn = _pfn(entry) & -HUGE
        return Mapped("hugezero" if pfn == view.huge_zero else "huge", pfn, _flags(view, entry))
    if entry & (PRESENT | PROT_NONE):
        return Mapped("table", _pfn(entry))
    return Mapped("migration" if swap(entry)[0] in view.kernel.swap_types[1:] else "swapped?")


def ptes(view: View, table: Mapped) -> list[Mapped]:
    """The 512 entries of a page table."""
    return [of_pte(view, int(entry)) for entry in view.memory.table(table.pfn << 12)]


class Runs:
    """Runs of [page, n, state, frame, frame_index, pmd or pte, flags]: pages that go on where the last run ends are one
    with it."""

    def __init__(self) -> None:
        self.runs: list[list[Any]] = []

    def add(
        self, page: int, count: int, state: str, frame: str | None, index: int | None, how: str, flags: str
    ) -> None:
        """`count` pages from `page` on; `index` counts in the frame, and moves on with the pages if there is one."""
        last = self.runs[-1] if self.runs else None
        same = last is not None and last[0] + last[1] == page and [*last[2:4], *last[5:]] == [state, frame, how, flags]
        if last is not None and same and (index is None if last[4] is None else last[4] + last[1] == index):
            last[1] += count
        else:
            self.runs.append([page, count, state, frame, index, how, flags])


def _pfn(entry: int) -> int:
    """The page frame in an entry; in one that is not present it is inverted, for the sake of CPUs that look all the
    same."""
    return ((entry if entry & PRESENT else ~entry) & PFN_MASK) >> 12


def _flags(view: View, entry: int) -> str:
    dirty = _DIRTY | (SAVED_DIRTY if view.kernel.saved_dirty else 0)
    letters = (
        ("n", entry & (PRESENT | PROT_NONE) == PROT_NONE),
        ("w", entry & _WRITE),
        ("d", entry & dirty),
        ("y", entry & _YOUNG),
    )
    return "".join(letter for letter, is_set in letters if is_set)
