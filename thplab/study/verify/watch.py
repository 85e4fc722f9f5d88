"""What a machine stores in each step:
the difference of its words before and after, with the names that a recording would give them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from thplab.hardware import frames as fr
from thplab.hardware import page_tables as pt
from thplab.hardware.blocks import BlockState
from thplab.hardware.steps import FLUSH as FLUSH_STEP
from thplab.hardware.steps import Step
from thplab.kernel.routines.user import access
from thplab.machine.machine import Machine
from thplab.machine.trace import stack_of
from thplab.study.verify.stores import FLUSH, Event, Store, Value

_FLAGS = fr.COLUMNS.index("flags")
_COMPARED = (*range(_FLAGS + 1), *range(fr.COLUMNS.index("compound_mapcount"), len(fr.COLUMNS)))
"""The fields of struct pages in which stores are looked for: between them lies what is not compared, contents among it.
"""

_OF_THE_PAGE = {
    fr.PG_head: "head",
    fr.PG_anon_exclusive: "anon_exclusive",
    fr.PG_dirty: "dirty",
    fr.PG_locked: "locked",
    fr.PG_swapbacked: "swapbacked",
    fr.PG_swapcache: "swapcache",
    fr.PG_hwpoison: "hwpoison",
    fr.PG_referenced: "referenced",
    fr.PG_mlocked: "mlocked",
}
_OF_THE_FIRST_TAIL = {
    fr.PG_double_map: "double_map",
    fr.PG_partially_mapped: "partially_mapped",
    fr.PG_has_hwpoisoned: "has_hwpoisoned",
}
"""Flags -> what the kernel calls them. The second kind it keeps in the flags of the first tail."""

_PINCOUNT = {"v5.10": (2, "hpage_pinned_refcount"), "v6.1": (1, "compound_pincount")}
"""Kernel -> the tail that counts FOLL_PIN pins, and how; everywhere else (1, "_pincount")."""

_LOCKS = {"ptl": ("table", 0, "ptl"), "mm_ids_lock": ("page", 1, "mm_ids")}
"""Class of a lock that lies in a struct page -> where:
of a table or of a page, which struct page behind it, the field.
"""


class _Change(NamedTuple):
    """A word that changed in a step: what it is (by its kind and number), the field, and its values."""

    kind: str  # page, entry, table, flush
    number: int
    at: int
    """Which entry of a table; how many struct pages behind that of the page."""
    field: str
    old: Value
    new: Value


class Watch:
    """Advances an operation step by step and keeps what each step stored."""

    def __init__(self, machine: Machine, hides_dirty: bool) -> None:
        system = machine.system
        self.system = system
        self.hides_dirty = hides_dirty
        self.kept = system.frames.blocks.keep()
        """The struct pages before the step."""
        self.unused = BlockState(system.frames.blocks.unused, system.geometry.nr)
        """What a block holds that was never stored to."""
        self.tables, levels = system.tables.keep()
        """The page tables before the step."""
        self.levels = dict(levels)
        self.held = dict(system.cpus.held)
        """The pages that were locked as parts of a huge page before the step, and are locked by themselves after it."""
        self.deposited = self._deposited()
        self.deferred = dict(system.deferred)
        self.huge = set(self._huge_blocks())
        self.labels: dict[int, str] = {}
        self._survey()
        self.changes: list[tuple[list[_Change], str, str]] = []
        """For each step what it changed, the routine, and the text of the step."""

    # --- while it runs ------------------------------------------------------------------------------------------------

    def step(self, step: Step, routine: Any) -> None:
        """Note what the step, which `routine` has just done, has changed."""
        found = [*self._entries(), *self._deposits(), *self._pages(), *self._queue(), *self._locks()]
        if step.kind == FLUSH_STEP:
            found.append(_Change("flush", 0, 0, "", "", ""))
        if found:
            by = next(reversed(stack_of(routine, self.system)), "")
            if by == access.phrase:
                found = [c for c in found if c.kind != "entry"]  # the hardware's accessed and dirty bits
            self.changes.append((found, by, step.text))

    def _entries(self) -> Iterator[_Change]:
        tables = self.system.tables
        before, (self.tables, _) = self.tables, tables.keep()
        for pfn in self.tables.unlike(before):
            row, old = self.tables.get(pfn), before.get(pfn, tables.empty)
            if row is None or old is None:
                continue  # it was given back
            self.levels[pfn] = tables.level[pfn]
            if tables.level[pfn] < 2:
                for index in np.flatnonzero(row != old).tolist():
                    yield _Change("entry", pfn, index, "entry", int(old[index]), int(row[index]))

    def _deposited(self) -> dict[int, int]:
        return {table: len(waiting) for mm in self.system.mms.values() for table, waiting in mm.deposited.items()}

    def _deposits(self) -> Iterator[_Change]:
        now = self._deposited()
        if now != self.deposited:
            for table in sorted(now.keys() | self.deposited.keys()):
                gain = now.get(table, 0) - self.deposited.get(table, 0)
                for _ in range(abs(gain)):
                    yield _Change(
                        "table", table, 0, "pmd_huge_pte", *(("none", "table") if gain > 0 else ("table", "none"))
                    )
            self.deposited = now

    def _pages(self) -> Iterator[_Change]:
        frames = self.system.frames
        before, self.kept = self.kept, frames.blocks.keep()
        changed = [
            (number, before.get(number) or self.unused, self.kept.get(number) or self.unused)
            for number in self.kept.unlike(before)
        ]
        made = {page for block in changed for page in self._made(*block)}
        for row in _COMPARED:
            for number, old, new in changed:
                if old.columns[row] is new.columns[row]:
                    continue
                then, now = frames.blocks.spread(old.columns[row]), frames.blocks.spread(new.columns[row])
                for inside in np.flatnonzero(then != now).tolist():
                    page = number << frames.blocks.order | inside
                    if page not in made and not frames.flags[page] & fr.PG_table:
                        yield from self._stored(fr.COLUMNS[row], page, int(then[inside]), int(now[inside]))

    def _made(self, number: int, old: BlockState, new: BlockState) -> list[int]:
        """The pages of a block that are made or given back in the step: one step here, many stores of the
        allocator's.
        """
        if old.columns[_FLAGS] is new.columns[_FLAGS]:
            return []
        blocks = self.system.frames.blocks
        now = blocks.spread(new.columns[_FLAGS])
        made = (blocks.spread(old.columns[_FLAGS]) ^ now) & fr.PG_used != 0
        if (made & (now & fr.PG_head != 0)).any():
            self.huge.add(number)
        return (np.flatnonzero(made) + (number << blocks.order)).tolist()

    def _stored(self, column: str, page: int, old: int, new: int) -> Iterator[_Change]:
        if column == "flags":
            yield from self._flags(page, old, new)
        elif column in ("refcount", "mapcount"):
            yield _Change("page", page, 0, f"_{column}", old, new)
        else:
            yield self._of_head(column, page, old, new)

    def _flags(self, page: int, old: int, new: int) -> Iterator[_Change]:
        for names, tail in ((_OF_THE_PAGE, 0), (_OF_THE_FIRST_TAIL, 1)):
            words = [("+" if new & bit else "-") + name for bit, name in names.items() if (old ^ new) & bit]
            if new & ~old & fr.PG_anon:  # a new page: part of its making
                words = [word for word in words if word != "+swapbacked"]
            if words:
                yield _Change("page", page, tail, "flags", "", " ".join(sorted(words)))
        if (old ^ new) & fr.PG_tail:
            yield _Change(
                "page", page, 0, "compound_head", *(("none", "tail") if new & fr.PG_tail else ("tail", "none"))
            )
        if (old ^ new) & fr.PG_maybe_shared:
            yield _Change(
                "page", page, 1, "flags", "", "+maybe_shared" if new & fr.PG_maybe_shared else "-maybe_shared"
            )

    def _of_head(self, column: str, page: int, old: int, new: int) -> _Change:
        """A counter that a compound page has once, in the tail in which the kernel keeps it."""
        if column == "pincount":
            tail, name = _PINCOUNT.get(self.system.kernel.name, (1, "_pincount"))
            return _Change("page", page, tail, name, old, new)
        if column.startswith("mm_id"):
            kind, slot = column[:-2], column[-1]
            less = kind == "mm_id_mapcount"  # the kernel counts from -1
            return _Change("page", page, 1, f"_{kind}[{slot}]", old - less, new - less)
        names = {counter.column: counter.name for counter in self.system.kernel.head_counters}
        return _Change("page", page, 1, names.get(column, column), old, new)

    def _queue(self) -> Iterator[_Change]:
        now = self.system.deferred
        if now.keys() != self.deferred.keys():
            for page in sorted(now.keys() ^ self.deferred.keys()):
                yield _Change("page", page, 2, "_deferred_list", *(("off", "on") if page in now else ("on", "off")))
            self.deferred = dict(now)

    def _locks(self) -> Iterator[_Change]:
        now = self.system.cpus.held
        if now != self.held:
            for lock in [*(self.held.keys() - now.keys()), *(now.keys() - self.held.keys())]:
                kind, _, number = lock.partition(" ")
                if kind not in _LOCKS:
                    continue
                what, at, field = _LOCKS[kind]
                taken = lock in now
                yield _Change(what, int(number, 16), at, field, int(not taken), int(taken))
            self.held = dict(now)

    # --- names --------------------------------------------------------------------------------------------------------

    def _huge_blocks(self) -> Iterator[int]:
        """The blocks that a recording calls frames: huge pages, and what was one and is mapped piece by piece."""
        frames, nr = self.system.frames, self.system.geometry.nr
        yield from (np.array(frames.marked(fr.PG_head), np.int64) // nr).tolist()
        mapped: dict[int, set[int]] = {}
        for table, level in self.system.tables.level.items():
            for run in self.system.tables.runs(table, 0, nr) if level == 0 else ():
                for page in range(run.pages.start, run.pages.stop) if run.kind == "page" else ():
                    mapped.setdefault(page // nr, set()).add(page)
        yield from (block for block, pages in mapped.items() if len(pages) > nr // 2)

    def _survey(self) -> None:
        """Label the tables below the regions as the recorder does:
        in the order of processes and regions, deposited ones first.
        """
        geometry, tables = self.system.geometry, self.system.tables
        for who, mm in sorted(self.system.mms.items()):
            for _, region in sorted(mm.regions.items()):
                for address in range(
                    region.start, region.start + region.pages * geometry.page_size, geometry.huge_size
                ):
                    pmd_table = tables.walk(mm.pgd, address, 1)
                    if pmd_table is None:
                        continue
                    self.labels.setdefault(pmd_table, f"PMD {who}")
                    below = [*mm.deposited.get(pmd_table, ())]
                    pte_table = tables.walk(mm.pgd, address, 0)
                    for table in [*below, *([] if pte_table is None else [pte_table])]:
                        known = sum(label.startswith(f"PTE {who}#") for label in self.labels.values())
                        self.labels.setdefault(table, f"PTE {who}#{known}")

    def events(self) -> list[Event]:
        """All that was stored, frames by the numbers of their blocks (`B3[8]`), small pages by their pfns.
        A step number is an index into `changes`.
        """
        self._survey()
        return [
            Event(self._store(c), by, number)
            for number, (found, by, _) in enumerate(self.changes)
            for c in found
            if self._named(c)
        ]

    def _named(self, change: _Change) -> bool:
        """Is it of something that the recorder sees? Upper tables and those of nobody's regions it does not."""
        return (
            change.kind not in ("entry", "table")
            or change.number in self.labels
            or self.levels.get(change.number, 2) < 2
        )

    def _store(self, change: _Change) -> Store:
        if change.kind == "flush":
            return FLUSH
        if change.kind == "page":
            place = self._page(
                change.number + change.at if change.number >> self.system.geometry.order in self.huge else change.number
            )
            return Store(place, *change[3:])
        label = self._table(change.number)
        if change.kind == "table":
            return Store(f"page of {label}", *change[3:])
        assert isinstance(change.old, int) and isinstance(change.new, int)
        return Store(f"{label}[{change.at}]", "entry", self._entry(change.old, label), self._entry(change.new, label))

    def _table(self, pfn: int) -> str:
        return self.labels.get(pfn, f"{'PMD' if self.levels.get(pfn) else 'PTE'} new#{pfn}")

    def _page(self, pfn: int) -> str:
        block, index = divmod(pfn, self.system.geometry.nr)
        if pfn == self.system.frames.zero_page:
            return "zero"
        return f"B{block}[{index}]" if block in self.huge else f"pfn{pfn:x}"

    def _entry(self, entry: int, label: str) -> str:
        """An entry in the words of a recording."""
        kind = pt.pte_kind(entry) if not pt.pmd_trans_huge(entry) or label.startswith("PTE") else "page"
        page = self._page(pt.pte_pfn(entry))
        exclusive = bool(entry & pt._SWP_EXCLUSIVE)
        if not kind:
            return "none"
        if kind == "migration":
            rights = "write" if pt.migration_write(entry) else "read-exclusive" if exclusive else "read"
            return f"migration {rights} {page}"
        if kind == "swap":
            return "swap excl" if exclusive else "swap"
        if kind == "hwpoison":
            return f"hwpoison {page}"
        if kind == "guard":
            return "guard"
        huge = label.startswith("PMD") and pt.pmd_trans_huge(entry)
        if label.startswith("PMD") and not huge:
            return f"table({self._table(pt.pte_pfn(entry))})"
        bits = [
            (pt._PAGE_RW, "W"),
            (pt._PAGE_ACCESSED, "A"),
            (pt._PAGE_DIRTY, "D"),
            (0 if huge else pt._PAGE_SPECIAL, "s"),
        ]
        letters = "".join(letter for bit, letter in bits if entry & bit)
        state = "protnone" if entry & pt._PAGE_PROTNONE else "huge" if huge else ""
        if huge and not pt.pte_present(entry):
            state = "INVALID huge"
        if state in ("INVALID huge", "protnone") and "W" not in letters and self.hides_dirty:
            letters = letters.replace("D", "")
        return " ".join(word for word in (state, page, letters) if word)
