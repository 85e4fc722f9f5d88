"""Who holds what: every reference and every mapping that a counter counts, and how the counters moved.

Ledgers are recounted from the page tables, the pins and the swap cache;
the kernel's scheme says which counter each of them belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thplab.errors import BadInput
from thplab.hardware.frames import (
    GUP_PIN_COUNTING_BIAS,
    PG_double_map,
    PG_head,
    PG_reserved,
    PG_table,
    PG_tail,
    PG_used,
)
from thplab.kernel.schemes import HeadCounter, count_text
from thplab.kernel.schemes.folio import ENTIRELY_MAPPED
from thplab.kernel.system import Pin
from thplab.machine.state import Array, State

NOBODY = "nobody"
"""The holder of what no mapping and no pin explains although no routine is in progress: an error of the kernel."""

SWAP_CACHE = "swap cache"
"""The holder of one reference for each page that is in the swap cache."""


@dataclass(frozen=True)
class Share:
    """One holder's share of a counter. `holder` is a process, a pin, the swap cache, or who has the rest in hand;
    `what` says how.

    `kind` is that without numbers:
    "PMD", "PTE", "pin", "cache", "offset", "subpages", "flag", "rest", or what else it is.
    """

    holder: str
    what: str
    count: int
    kind: str

    @property
    def text(self) -> str:
        """The row in words: "B: 8 PTEs"."""
        return f"{self.holder}: {self.what}"


@dataclass(frozen=True)
class Account:
    """One counter of a page, or of pages next to each other that agree, and who holds it:
    `value` is the sum of the rows.

    `name` says which: "head _count", "tails 1–7 mapcount", "page 0xc _count". `first` and `last` are pfns. `old` is the
    value in the state before, None if there is none or the page was not in use. A mapcount is the logical count: the
    raw field `_mapcount` plus 1. Before the RFC that of a tail is no map count, and called "tail 3 pins". `column` is
    where it is stored: one of thplab.hardware.frames.COLUMNS.
    """

    name: str
    first: int
    last: int
    old: int | None
    value: int
    rows: tuple[Share, ...]
    column: str

    @property
    def text(self) -> str:
        """The account in words: "head _count 2 → 9 = A: 1 PMD + B: 8 PTEs"."""
        value = count_text(self.value)
        if self.old is not None and self.old != self.value:
            value = f"{count_text(self.old)} → {value}"
        return f"{self.name} {value}" + (" = " + " + ".join(row.text for row in self.rows) if self.rows else "")


@dataclass(frozen=True)
class Counter:
    """A counter before and after: `name` as in an Account or an event, `where` the page or "vmstat". None:
    no such page then.
    """

    name: str
    where: str
    old: int | None
    new: int | None

    @property
    def changed(self) -> bool:
        return self.old != self.new


def ledger(state: State, page: int, previous: State | None = None, routine: str = "") -> tuple[Account, ...]:
    """The accounts of a compound page, named by its head, or of a small page: reference counts, then map counts.

    What a routine in progress has in hand is one row of an account; `routine` names it. At rest such a rest is
    NOBODY's. A tail's reference count is left out while it is 0 and nobody holds it. Raises BadInput for a tail, a page
    table or a free frame.
    """
    flags = state.field("flags", page)
    if not flags & PG_used or flags & (PG_tail | PG_table):
        raise BadInput(
            "page", f"is {page:#x}, a tail, a page table or free", "the head of a compound page or a small page"
        )
    compound = bool(flags & PG_head)
    count = state.compound(page).stop - page if compound else 1
    return tuple(_PageRange(state, previous, page, count, compound, routine).accounts())


def small_pages(state: State, previous: State | None = None, routine: str = "") -> tuple[Account, ...]:
    """The accounts of all small pages that are in use and no page tables; neighbours that agree are one account.

    Reference counts first, then map counts, each in the order of pfns.
    """
    runs = (run for block in sorted(state.blocks) for run in _small_runs(state, block))
    accounts = (
        account
        for low, high in runs
        for account in _PageRange(state, previous, low, high - low, False, routine).accounts()
    )
    return tuple(sorted(accounts, key=lambda account: (account.name.endswith("mapcount"), account.first)))


def counters(state: State, previous: State | None = None) -> tuple[Counter, ...]:
    """All reference and map counts of pages in use, and the THP events, with what they were in `previous`.

    Neighbours with the same old and new value are one row. A tail's reference count is left out where it was and is 0;
    so is an event that has not moved (from 0, if there is no `previous`).
    """
    blocks = sorted(state.blocks.keys() | (previous.blocks.keys() if previous else set()))
    pages = [row for block in blocks for row in _block_counters(state, previous, block)]
    before = previous.vmstat if previous else dict.fromkeys(state.vmstat, 0)
    events = [
        Counter(name, "vmstat", before[name], value) for name, value in state.vmstat.items() if value != before[name]
    ]
    return (*pages, *events)


# --- ledgers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """A holder of one kind, and where: `ptes` and `pins` (plain references) have one entry for each page."""

    holder: str
    kind: str  # "PMD", "PTE", "pin", "cache", or what else the reference is
    pmds: int
    ptes: Array
    pins: Array


@dataclass(frozen=True)
class _PageRange:
    """The pages [first, first + count): a compound page, or small pages next to each other."""

    state: State
    previous: State | None
    first: int
    count: int
    compound: bool
    routine: str

    def accounts(self) -> Iterator[Account]:
        sources = tuple(self._sources())
        nothing = np.zeros(self.count, np.int64)
        base = self._counted(0, nothing, nothing)
        shares = [self._counted(s.pmds, s.ptes, s.pins) - base for s in sources]
        # In the middle of a page split tails become pages of their own while the head is still a head.
        flags = self.state.column("flags", self.first, self.count)
        left = np.where(self.compound, flags & (PG_head | PG_tail) == 0, False)
        for number, column in enumerate(("refcount", "mapcount")):
            known, old = _values(self.previous, column, self.first, self.count)
            _, new = _values(self.state, column, self.first, self.count)
            table = np.stack([left, known, old, new, *(share[number] for share in shares)])
            for low, high in _runs(table, self.compound):
                gone, there, before, value, *parts = table[:, low].tolist()
                unused_tail = self.compound and low > 0 and column == "refcount" and not any((value, *parts))
                if gone or unused_tail:
                    continue
                held = [(source, part) for source, part in zip(sources, parts, strict=True) if part]
                rows = [Share(s.holder, self._what(s, part, column, low), part, s.kind) for s, part in held]
                if column == "mapcount" and self.compound and flags[0] & PG_double_map:
                    rows.append(Share("PageDoubleMap", "offset", 1, "offset"))
                rest = value - sum(row.count for row in rows)
                if rest:
                    rows.append(self._rest(rest))
                head = self.first if self.compound else None
                tails = self.compound and low > 0
                name = (
                    f"{_pages_name(self.first + low, self.first + high, head)} "
                    f"{_counter_name(self.state, column, tails)}"
                )
                pages = self.first + low, self.first + high - 1
                yield Account(name, *pages, before if there else None, value, tuple(rows), column)
            if column == "refcount":
                yield from self._of_the_head(sources)

    def _of_the_head(self, sources: tuple[_Source, ...]) -> Iterator[Account]:
        """The accounts of the counters that a compound page has once."""
        if not self.compound:
            return
        there = self.previous is not None and bool(self.previous.field("flags", self.first) & PG_head)
        for counter in self.state.kernel.head_counters:
            value = counter.logical(self.state.field(counter.column, self.first))
            before = (
                counter.logical(self.previous.field(counter.column, self.first))
                if self.previous is not None and there
                else None
            )
            rows = list(self._shares(counter, sources))
            rest = value - sum(row.count for row in rows)
            if rest and counter.column != "nr_pages_mapped":
                rows.append(self._rest(rest))
            if value or before or counter.column == "compound_mapcount":
                yield Account(
                    f"head {counter.name}", self.first, self.first, before, value, tuple(rows), counter.column
                )

    def _shares(self, counter: HeadCounter, sources: tuple[_Source, ...]) -> Iterator[Share]:
        """Who has a part in a counter of the head. `_nr_pages_mapped` counts subpages, whoever maps them:
        it has no shares.
        """
        if counter.column == "pincount":
            yield from (
                Share(p.name, _many(len(self._inside(p)), "pin"), len(self._inside(p)), "pin")
                for p in self._foll_pins()
            )
        elif counter.column == "nr_pages_mapped":
            value = self.state.field(counter.column, self.first)
            subpages = value & (ENTIRELY_MAPPED - 1)
            if subpages:
                yield Share("PTEs", f"of {_many(subpages, 'subpage')}", subpages, "subpages")
            if value & ENTIRELY_MAPPED:
                yield Share("a PMD", "ENTIRELY_MAPPED", ENTIRELY_MAPPED, "flag")
        else:
            for source in sources:
                count = source.pmds + (0 if counter.column == "compound_mapcount" else int(source.ptes.sum()))
                if count:
                    yield Share(source.holder, _many(count, source.kind), count, source.kind)

    def _foll_pins(self) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.state.pins.values() if pin.foll_pin and self._inside(pin))

    def _inside(self, pin: Pin) -> list[int]:
        return [page - self.first for page in pin.pages if self.first <= page < self.first + self.count]

    def _counted(self, pmds: int, ptes: Array, pins: Array) -> Array:
        """What the counters say of such mappings and pins: shape [2, pages], references and raw map counts."""
        if self.compound:
            expected = self.state.kernel.scheme.expected(pmds, ptes, pins)
            return np.stack([expected.refcount, expected.mapcount])
        return np.stack([ptes + pins, ptes - 1])

    def _sources(self) -> Iterator[_Source]:
        first, count = self.first, self.count
        nothing = np.zeros(count, np.int64)
        for process in self.state.processes:
            ptes = nothing.copy()
            for m in self.state.mapped:
                if m.process == process.name and m.level == 0 and m.kind == "page":
                    ptes[max(0, m.pfn - first) : max(0, m.pfn + m.count - first)] += 1
            pmds = self.state.pmd_maps.get(first, ()).count(process.name) if self.compound else 0
            if pmds:
                yield _Source(process.name, "PMD", pmds, nothing, nothing)
            if ptes.any():
                yield _Source(process.name, "PTE", 0, ptes, nothing)
        cached = self.state.cached[first : first + count]
        if cached.any():
            yield _Source(SWAP_CACHE, "cache", 0, nothing, cached)
        for pin in self.state.pins.values():
            inside = self._inside(pin)
            if inside:
                weight = GUP_PIN_COUNTING_BIAS if pin.foll_pin and not self.compound else 1
                yield _Source(pin.name, "pin", 0, nothing, weight * np.bincount(inside, minlength=count))
        bad = [page - first for page in self.state.poisoned if first <= page < first + count]
        if bad:
            yield _Source("memory failure", "reference for ever", 0, nothing, np.bincount(bad, minlength=count))

    def _what(self, source: _Source, count: int, column: str, page: int) -> str:
        if source.kind == "cache":
            return _many(count, "page") if self.compound else "the page"
        if self.compound and column == "refcount":
            return _pin_text(source.pins) if source.kind == "pin" else _many(count, source.kind)
        if source.kind == "pin" and count >= GUP_PIN_COUNTING_BIAS:
            return f"{_many(count // GUP_PIN_COUNTING_BIAS, 'pin')} of {GUP_PIN_COUNTING_BIAS} each"
        several = _many(count, source.kind) if count > 1 else source.kind
        return f"{several} of page 0" if self.compound and page == 0 and source.kind == "PTE" else several

    def _rest(self, count: int) -> Share:
        if self.state.in_progress:
            return Share("in the hands of " + (self.routine or "a routine"), f"{count:+d}", count, "rest")
        return Share(NOBODY, f"{count:+d}, which nothing explains", count, "rest")


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' if count > 1 else ''}"


def _pin_text(pins: Array) -> str:
    held = np.minimum(pins, 1)
    runs = ", ".join(_range(low, high) for low, high in _runs(held[np.newaxis], False) if held[low])
    pages, total = int(held.sum()), int(pins.sum())
    return f"{_many(total, 'pin') if total > pages else 'pin'} of subpage{'s' if pages > 1 else ''} {runs}"


# --- before and after -------------------------------------------------------------------------------------------------


def _block_counters(state: State, previous: State | None, block: int) -> Iterator[Counter]:
    for number in _heads(state, block) | _heads(previous, block):
        yield from _head_counters(state, previous, number)
    first, nr = block * state.geometry.nr, state.geometry.nr
    now, then = _kinds(state, first, nr), _kinds(previous, first, nr)
    kinds = np.where(now == _NONE, then, now)
    for column in ("refcount", "mapcount"):
        known, old = _values(previous, column, first, nr)
        here, new = _values(state, column, first, nr)
        table = np.stack([kinds, known, old, here, new])
        for low, high in _runs(table, False):
            kind, there, before, still, after = table[:, low].tolist()
            if kind == _NONE or (kind == _TAIL and column == "refcount" and not before and not after):
                continue
            known_in = state if now[low] != _NONE or previous is None else previous
            head = None if kind == _SMALL else known_in.head(first + low)
            pages, counter = _pages_name(first + low, first + high, head), _counter_name(state, column, kind == _TAIL)
            name, where = (counter, pages) if head is None else (f"{pages} {counter}", f"compound page {head:#x}")
            yield Counter(name, where, before if there else None, after if still else None)


def _heads(state: State | None, block: int) -> dict[int, None]:
    """The heads of the compound pages in a block, in order; none where there is no state."""
    if state is None:
        return {}
    first, nr = block * state.geometry.nr, state.geometry.nr
    heads = np.flatnonzero(state.column("flags", first, nr) & PG_head) + first
    return dict.fromkeys(heads.tolist())


def _head_counters(state: State, previous: State | None, head: int) -> Iterator[Counter]:
    """The counters that a compound page has once."""
    was = previous is not None and bool(previous.field("flags", head) & PG_head)
    now = bool(state.field("flags", head) & PG_head)
    for counter in state.kernel.head_counters if was or now else ():
        old = counter.logical(previous.field(counter.column, head)) if previous is not None and was else None
        new = counter.logical(state.field(counter.column, head)) if now else None
        yield Counter(f"head {counter.name}", f"compound page {head:#x}", old, new)


# --- runs of pages ----------------------------------------------------------------------------------------------------

_NONE, _SMALL, _HEAD, _TAIL = range(4)


def _kinds(state: State | None, first: int, count: int) -> Array:
    """What frames of one block are. _NONE: free, or nothing that is counted here;
    so is everything where there is no state.
    """
    if state is None:
        return np.zeros(count, np.int64)
    flags = state.column("flags", first, count)
    kinds = np.where(flags & PG_head, _HEAD, np.where(flags & PG_tail, _TAIL, _SMALL))
    return np.where((flags & PG_used != 0) & (flags & (PG_table | PG_reserved) == 0), kinds, _NONE)


def _values(state: State | None, column: str, first: int, count: int) -> tuple[Array, Array]:
    """Whether there is such a counter, and its value, the logical one of a map count; 0 where there is none."""
    there = _kinds(state, first, count) != _NONE
    if state is None:
        return there.astype(np.int64), np.zeros(count, np.int64)
    return there.astype(np.int64), np.where(there, state.column(column, first, count) + (column == "mapcount"), 0)


def _runs(table: Array, head_apart: bool) -> Iterator[tuple[int, int]]:
    """[low, high) of columns that agree; the first column stands alone if `head_apart`."""
    differs = (table[:, 1:] != table[:, :-1]).any(axis=0)
    if head_apart and len(differs):
        differs[0] = True
    borders = [0, *(np.flatnonzero(differs) + 1).tolist(), table.shape[1]]
    yield from pairwise(borders)


def _small_runs(state: State, block: int) -> Iterator[tuple[int, int]]:
    """[low, high) of pfns of a block that are small pages."""
    first = block * state.geometry.nr
    kinds = _kinds(state, first, state.geometry.nr)
    for low, high in _runs(kinds[np.newaxis], False):
        if kinds[low] == _SMALL:
            yield first + low, first + high


def _range(low: int, high: int, form: str = "d", first: int = 0) -> str:
    return f"{low - first:{form}}" if high - low == 1 else f"{low - first:{form}}–{high - 1 - first:{form}}"


def _pages_name(low: int, high: int, head: int | None) -> str:
    """The pages [low, high) of the compound page with that head, or small pages, in words."""
    plural = "s" if high - low > 1 else ""
    if head is None:
        return f"page{plural} {_range(low, high, '#x')}"
    return "head" if low == head else f"tail{plural} {_range(low, high, 'd', head)}"


def _counter_name(state: State, column: str, tails: bool) -> str:
    """The name of a counter. Before the RFC the field in which other pages count mappings counts the pins of a tail."""
    if column == "refcount":
        return state.kernel.refcount_name
    return "pins" if tails and state.kernel.scheme.tail_mapcount == "pins" else "mapcount"
