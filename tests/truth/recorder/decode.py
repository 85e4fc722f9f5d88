"""From the emulator's log to events: which function stored what, by the names of a recording."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from truth.recorder import text
from truth.recorder.layout import PAGE_TYPE_OFFSET
from truth.recorder.memory import HUGE
from truth.recorder.names import Names
from truth.recorder.trace import CALL, STORE_TO_NEW_TABLE, Log
from truth.recorder.view import View

_SECOND_TAIL = 2
_LINK = 8
"""Where lru, and compound_head of a tail, lies in a struct page."""
_PMD_HUGE_PTE = 16
_MM_IDS = range(40, 48)


class Event(NamedTuple):
    """A store to one of our objects, or the beginning of a function.

    `kind` is flags, field or entry, or FLUSH, CALL or ENTER; `at` is the number of the page in its huge page, or of the
    entry in its table.
    """

    kind: str
    function: str
    object: str
    at: int | None
    field: str
    old: int | str
    new: int | str
    task: int

    @property
    def is_store(self) -> bool:
        return self.kind not in ("FLUSH", "CALL", "ENTER")


class Decoder:
    """Reads one log. `names` knows what was there before and after the operation."""

    def __init__(self, view: View, names: Names) -> None:
        self.view = view
        self.names = names
        self.layout = view.layout
        self._small: set[int] = set()
        """Tails that have become pages of their own."""
        self._live: set[int] = set()
        """Page tables that are one at this moment."""

    def events(self, log: Log) -> list[Event]:
        """All that happened, in order; what changes nothing of ours is left out."""
        self._small = set()
        self._live = set(self.names.tables) - self._made_later(log)
        found: list[Event] = []
        for pc, address, before, after, task, kind, size in log.tolist():
            if kind == CALL:
                what, name = self.view.symbols.reported[pc]
                found.append(Event(what, name, "", None, "", "", "", task))
            else:
                function = self.view.symbols.function(pc)
                place = self.view.struct_page(address)
                if place:
                    found += self._page_events(function, *place, before, after, size, task)
                else:
                    found += self._entry_events(
                        function, address, 0 if kind == STORE_TO_NEW_TABLE else before, after, task
                    )
        return found

    def _made_later(self, log: Log) -> set[int]:
        """The page tables that were none when the operation began: the first thing that is seen of them is that they
        become one."""
        first: dict[int, bool] = {}
        for _, address, _, after, _, kind, _ in log.tolist():
            place = None if kind == CALL else self.view.struct_page(address)
            if place and place[1] == PAGE_TYPE_OFFSET and place[0] in self.names.tables:
                first.setdefault(place[0], self.view.is_table(after & 0xFFFFFFFF))
        unseen = {pfn for pfn, name in self.names.tables.items() if " new#" in name and pfn not in first}
        return unseen | {pfn for pfn, made in first.items() if made}

    def _entry_events(self, function: str, address: int, before: int, after: int, task: int) -> Iterator[Event]:
        pfn = self.view.direct(address)
        if pfn in self._live and before != after:
            old, new = (text.entry(value, self.names, self.view.kernel) for value in (before, after))
            yield Event("entry", function, self.names.tables[pfn], address >> 3 & HUGE - 1, "entry", old, new, task)

    def _page_events(
        self, function: str, pfn: int, offset: int, before: int, after: int, size: int, task: int
    ) -> Iterator[Event]:
        place = self.names.place(pfn)
        if place:
            name, index = place
            if self._is_mm_ids(pfn, index, offset, size):
                if said := text.mm_ids(before, after):
                    yield Event("flags", function, name, index, "flags", said, "", task)
                return
            role = self._role(pfn, index, offset, after, size)
            if offset == _LINK and not self._links(pfn, before, after):
                return
            yield from self._fields(function, name, index, role, offset & ~7, before, after, task)
        elif pfn in self.names.tables:
            name = self.names.tables[pfn]
            if self._lives(pfn, offset, before, after) and self._is_of_table(name, offset, function):
                yield from self._fields(function, f"page of {name}", None, "table", offset & ~7, before, after, task)
        elif pfn in self.names.small:
            yield from self._fields(function, self.names.small[pfn], None, "head", offset & ~7, before, after, task)
        elif pfn == self.names.huge_zero:
            yield from self._fields(function, "hugezero", 0, "head", offset & ~7, before, after, task)

    def _role(self, pfn: int, index: int, offset: int, after: int, size: int) -> str:
        """The role that a page of a huge page plays in a store: what is written tells where counters share their
        place."""
        if index == 0:
            return "head"
        if index > _SECOND_TAIL or pfn in self._small:
            return "tail"
        whole_word = size == 8 and offset >= _PMD_HUGE_PTE
        if whole_word and (index == 1 or after & 3 == 1):  # mapping, index, private; in page 2 a list lies there, too
            return "tail"
        return "first tail" if index == 1 else "second tail"

    def _is_mm_ids(self, pfn: int, index: int, offset: int, size: int) -> bool:
        """Is it an operation on the bits of folio->_mm_ids?"""
        has = self.layout.field("first tail", "_mm_id[0]") is not None
        return has and index == 1 and pfn not in self._small and offset in _MM_IDS and size == 8

    def _links(self, pfn: int, before: int, after: int) -> bool:
        """Does a store to this word set or clear compound_head? (Otherwise it is page->lru.)"""
        if before & 1 and not after & 1:
            self._small.add(pfn)
        elif after & 1:
            self._small.discard(pfn)
        return bool((before | after) & 1)

    def _lives(self, pfn: int, offset: int, before: int, after: int) -> bool:
        """Is it a page table now, or does this store make it one, or end that?"""
        if offset != PAGE_TYPE_OFFSET:
            return pfn in self._live
        if self.view.is_table(after & 0xFFFFFFFF):
            self._live.add(pfn)
        elif self.view.is_table(before & 0xFFFFFFFF):
            self._live.discard(pfn)
        return True

    def _is_of_table(self, name: str, offset: int, function: str) -> bool:
        """pmd_huge_pte is meant only where tables are deposited; elsewhere the word belongs to a list."""
        return offset != _PMD_HUGE_PTE or (name.startswith("PMD") and "pgtable_trans_huge" in function)

    def _fields(
        self, function: str, name: str, index: int | None, role: str, word: int, before: int, after: int, task: int
    ) -> Iterator[Event]:
        """The fields in a word of 8 bytes that changed."""
        for field in self.layout.roles[role]:
            shift, mask = (field.offset - word) * 8, (1 << field.size * 8) - 1
            if not 0 <= shift < 64:
                continue
            old, new = before >> shift & mask, after >> shift & mask
            if old == new:
                continue
            if field.name == "flags":
                if changes := self.layout.flags.changes(old, new, role == "first tail"):
                    yield Event("flags", function, name, index, "flags", changes, "", task)
            else:
                was, now = (text.field(field.name, value, self.names) for value in (old, new))
                yield Event("field", function, name, index, field.name, was, now, task)
