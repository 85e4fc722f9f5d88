"""What must be true of every state, recounted from the page tables and the pins, never from the counters.

*Always*: after each single step. *At rest*: when no routine is in progress; then the equalities of docs/KERNEL.md hold.
*Between*: of one step and the state before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import (
    COLUMNS,
    PG_anon,
    PG_anon_exclusive,
    PG_double_map,
    PG_head,
    PG_hwpoison,
    PG_ksm,
    PG_lost,
    PG_maybe_shared,
    PG_mlocked,
    PG_reserved,
    PG_swapcache,
    PG_table,
    PG_used,
)
from thplab.hardware.swap_device import NO_PAGE
from thplab.kernel.schemes.base import Expected
from thplab.kernel.schemes.folio import MM_SLOTS, Folio
from thplab.machine.state import Array, State
from thplab.machine.trace import Frame

ALWAYS, AT_REST, BETWEEN = "always", "at rest", "between"


class Invariant(NamedTuple):
    """A named predicate: `find` yields one sentence for each violation. `about` says in words what must hold."""

    name: str
    when: str
    about: str
    find: Callable[..., Iterator[str]]


class Violation(NamedTuple):
    """An invariant that does not hold, and the first thing that shows it."""

    invariant: str
    problem: str


INVARIANTS: list[Invariant] = []


Find = TypeVar("Find", bound=Callable[..., Iterator[str]])


def _invariant(when: str) -> Callable[[Find], Find]:
    """Register a predicate under its own name, with its docstring as what it says."""

    def register(find: Find) -> Find:
        INVARIANTS.append(Invariant(find.__name__, when, (find.__doc__ or "").strip(), find))
        return find

    return register


def check_state(state: State) -> list[Violation]:
    """The invariants that `state` breaks: those for always, and those for rest if no routine is in progress."""
    due = (i for i in INVARIANTS if i.when == ALWAYS or (i.when == AT_REST and not state.in_progress))
    return [Violation(i.name, problem) for i in due for problem in _first(i.find(state))]


def check_frame(frame: Frame, previous: Frame | None = None) -> list[Violation]:
    """The invariants that a frame breaks; with the frame before it also those of the step between the two."""
    found = check_state(frame.state)
    if previous is not None:
        between = (i for i in INVARIANTS if i.when == BETWEEN)
        found += [Violation(i.name, problem) for i in between for problem in _first(i.find(previous, frame))]
    return found


def _first(problems: Iterator[str]) -> list[str]:
    return [p for p in (next(problems, None),) if p is not None]


def _columns(state: State, number: int) -> dict[str, Array]:
    return dict(zip(COLUMNS, state.blocks[number], strict=True))


# --- always -----------------------------------------------------------------------------------------------------------


@_invariant(ALWAYS)
def no_counter_is_negative(state: State) -> Iterator[str]:
    """No reference count falls below 0 and no raw _mapcount below -1, also not on a free frame."""
    for number, block in state.blocks.items():
        refcount, mapcount = block[COLUMNS.index("refcount")], block[COLUMNS.index("mapcount")]
        if refcount.min() >= 0 and mapcount.min() >= -1:
            continue
        used = (block[COLUMNS.index("flags")] & PG_used) != 0
        for i in np.flatnonzero((refcount < 0) | (used & (mapcount < -1))):
            pfn = number * state.geometry.nr + int(i)
            yield f"pfn {pfn:#x}: reference count {refcount[i]}, raw _mapcount {mapcount[i]}"


@_invariant(ALWAYS)
def nothing_in_use_is_free(state: State) -> Iterator[str]:
    """Whatever a page table maps, a TLB leads to, a driver pins or a process deposits is allocated, and every page table is one.

    A hwpoison entry only says what was there.
    """
    for m in state.mapped:
        for pfn in state.free_among(m.pages) if m.kind != "hwpoison" else ():
            yield f"pfn {pfn:#x} is free, but {m.process} maps it at {m.address + (pfn - m.pfn) * state.geometry.page_size:#x}"
    for pin in state.pins.values():
        for pfn in pin.pages:
            if state.is_free(pfn):
                yield f"pfn {pfn:#x} is free, but the driver holds it as {pin.name!r}"
    for cpu, access in state.tlb.items():
        if state.is_free(access.pfn):
            yield f"pfn {access.pfn:#x} is free, but CPU {cpu} is in the middle of an access to it: {access.process} at {access.start:#x}"
    for process in state.processes:
        for table in (process.pgd, *(t for _, waiting in process.deposited for t in waiting)):
            if table not in state.tables or not state.field("flags", table) & PG_table:
                yield f"pfn {table:#x} serves {process.name} as a page table, but is none"


@_invariant(ALWAYS)
def a_huge_pmd_maps_a_compound_page(state: State) -> Iterator[str]:
    """The page under a huge PMD is the head of a compound page, unless somebody who keeps the reverse map locked is splitting it."""
    for m in state.mapped:
        if m.level == 1 and not state.field("flags", m.pfn) & PG_head and not _being_split(state, m.pfn):
            yield f"{m.process} has a huge PMD over pfn {m.pfn:#x}, which is no head of a compound page"


def _being_split(state: State, head: int) -> bool:
    """Is a page split under way that first makes pages of the tails and then tables of the PMDs? It holds the anon_vma lock."""
    anon_vma = state.anon_vmas.get(state.field("mapping", head))
    return anon_vma is not None and not state.kernel.scheme.pmd_split_is_local and f"anon_vma_lock {anon_vma.root}" in state.held


@_invariant(ALWAYS)
def ptes_map_parts_of_huge_pages_only_where_they_may(state: State) -> Iterator[str]:
    """Where a PMD cannot be split without its page, no PTE maps a part of a compound page."""
    if state.kernel.scheme.pmd_split_is_local:
        return
    for head in state.compound_pages():
        if state.pte_maps[state.compound(head)].any():
            yield f"PTEs map parts of the compound page at pfn {head:#x}"


@_invariant(ALWAYS)
def a_compound_page_is_whole(state: State) -> Iterator[str]:
    """As long as a head is a head, all pages after it are allocated."""
    for head in state.compound_pages():
        pages = state.compound(head)
        free = np.flatnonzero(state.column("flags", head, pages.stop - head) & PG_used == 0)
        if len(free):
            yield f"subpage {free[0]} of the compound page at pfn {head:#x} is free"


@_invariant(ALWAYS)
def pinned_memory_is_exclusive(state: State) -> Iterator[str]:
    """Anonymous memory under a FOLL_PIN pin is one process's own (PG_anon_exclusive, since v6.1), or a write would go to a copy."""
    pins = (pin for pin in state.pins.values() if pin.foll_pin and state.kernel.cow.anon_exclusive)
    for pin in pins:
        for pfn in pin.pages:
            head = state.head(pfn)
            own = (state.field("flags", pfn) | state.field("flags", head)) & PG_anon_exclusive
            if state.field("flags", head) & PG_anon and not own:
                yield f"the driver holds pfn {pfn:#x} as {pin.name!r}, but the page is not exclusive"


# --- at rest ------------------------------------------------------------------------------------------------------------


@_invariant(AT_REST)
def references_are_mappings_and_pins(state: State) -> Iterator[str]:
    """Every reference is explained: a mapping, a pin or the swap cache holds it. On a compound page they are all on the head."""
    for number in state.blocks:
        column, first = _columns(state, number), number * state.geometry.nr
        expected = _expected_refcount(state, number, column)
        wrong = np.flatnonzero((column["refcount"] != expected) & ((column["flags"] & (PG_table | PG_reserved)) == 0))
        for i in wrong:
            yield f"pfn {first + int(i):#x}: reference count {column['refcount'][i]}, but mappings, pins, swap cache are {expected[i]}"


def _expected_refcount(state: State, number: int, column: dict[str, Array]) -> Array:
    block = slice(number * state.geometry.nr, (number + 1) * state.geometry.nr)
    refcount = state.pte_maps[block] + state.pinned[block] + state.cached[block]
    for part in _compounds(state, number, column):
        expected = _meant(state, part).refcount
        expected[0] += state.cached[part].sum()
        refcount[part.start - block.start : part.stop - block.start] = expected
    return refcount


def _compounds(state: State, number: int, column: dict[str, Array]) -> list[slice]:
    """The compound pages of a block."""
    heads = np.flatnonzero(column["flags"] & PG_head) + number * state.geometry.nr
    return [state.compound(head) for head in heads.tolist()]


def _meant(state: State, part: slice) -> Expected:
    """What the counters of a compound page are to be."""
    pmds, flags = len(state.pmd_maps.get(part.start, ())), state.field("flags", part.start)
    return state.kernel.scheme.expected(pmds, state.pte_maps[part], state.pinned[part], flags)


@_invariant(AT_REST)
def mapcounts_count_mappings(state: State) -> Iterator[str]:
    """Every _mapcount says what the scheme means it to say about the mappings that the page tables show."""
    for number in state.blocks:
        column, first = _columns(state, number), number * state.geometry.nr
        part = slice(first, first + state.geometry.nr)
        expected = state.pte_maps[part] - 1
        for pages in _compounds(state, number, column):
            meant, head = _meant(state, pages), pages.start
            expected[head - first : pages.stop - first] = meant.mapcount
            for name, value in meant.head.items():
                if column[name][head - first] != value:
                    yield f"pfn {head:#x}: raw {name} {column[name][head - first]}, but its mappings make it {value}"
        counted = (column["flags"] & PG_used != 0) & ((column["flags"] & (PG_table | PG_reserved)) == 0)
        for i in np.flatnonzero((column["mapcount"] != expected) & counted):
            yield f"pfn {first + int(i):#x}: raw _mapcount {column['mapcount'][i]}, but its mappings make it {expected[i]}"


@_invariant(AT_REST)
def what_is_locked_in_memory_is_mapped(state: State) -> Iterator[str]:
    """PG_mlocked is on small pages and heads that somebody maps: the last mapping that goes takes it along."""
    for number in state.blocks:
        flags, first = _columns(state, number)["flags"], number * state.geometry.nr
        for pfn in (np.flatnonzero(flags & PG_mlocked) + first).tolist():
            end = state.compound(pfn).stop if flags[pfn - first] & PG_head else pfn + 1
            if pfn not in state.pmd_maps and not state.pte_maps[pfn:end].any():
                yield f"pfn {pfn:#x} has PG_mlocked, but nobody maps it"


@_invariant(AT_REST)
def pincounts_count_pins(state: State) -> Iterator[str]:
    """A head's _pincount is the number of FOLL_PIN pins of the compound page (where the kernel has them)."""
    pins = np.zeros(state.nframes, np.int64)
    for pin in (pin for pin in state.pins.values() if pin.foll_pin):
        np.add.at(pins, np.array([state.head(pfn) for pfn in pin.pages], np.int64), 1)
    for head in state.compound_pages():
        if state.field("pincount", head) != pins[head]:
            yield f"pfn {head:#x}: _pincount {state.field('pincount', head)}, but drivers hold {pins[head]} pins"


@_invariant(AT_REST)
def mm_slots_count_mappings(state: State) -> Iterator[str]:
    """A slot of a folio never counts more mappings than its mm has, and the folio is maybe shared if no mm has them all (v6.18)."""
    scheme = state.kernel.scheme
    if not isinstance(scheme, Folio) or not scheme.mm_ids:
        return
    names = {process.mm_id: process.name for process in state.processes}
    for head in state.compound_pages():
        theirs = Counter(state.pmd_maps.get(head, ()))
        for m in state.mapped:
            if m.level == 0 and m.kind == "page" and state.head(m.pfn) == head:
                theirs[m.process] += m.count
        slots = [(state.field(who, head), state.field(count, head)) for who, count in MM_SLOTS]
        for mm_id, count in slots:
            holder = names.get(mm_id, "nobody")
            if count > theirs[holder] or bool(mm_id) != bool(count):  # what was mapped while no slot was free is not counted
                yield f"pfn {head:#x}: the slot of {holder} says {count} mappings, but it has {theirs[holder]}"
        if theirs and max(theirs.values()) < theirs.total() and not state.field("flags", head) & PG_maybe_shared:
            yield f"pfn {head:#x} is mapped by {', '.join(sorted(theirs))}, but not marked as maybe shared"


@_invariant(AT_REST)
def nothing_is_lost(state: State) -> Iterator[str]:
    """Every allocated frame is a page table in use, or bad, or lost for a bad one, or it or a part of its compound page is
    mapped, pinned or in the swap cache."""
    reachable = {t for p in state.processes for t in (p.pgd, *(t for _, waiting in p.deposited for t in waiting))}
    for process in state.processes:
        reachable |= set(_tables_of(state, process.pgd, state.geometry.levels - 1))
    for pfn in state.tables:
        if pfn not in reachable:
            yield f"the page table in pfn {pfn:#x} is not reachable from any process"
    nr = state.geometry.nr
    for number in state.blocks:
        column, first = _columns(state, number), number * nr
        users = state.pte_maps[first : first + nr] + state.pinned[first : first + nr] + state.cached[first : first + nr]
        users[0] += len(state.pmd_maps.get(first, ()))
        for pages in _compounds(state, number, column):
            inside = slice(pages.start - first, pages.stop - first)
            users[inside] = users[inside].sum()
        ours = (column["flags"] & (PG_used | PG_table | PG_reserved | PG_hwpoison | PG_lost)) == PG_used
        lost = ours & (users == 0)
        for i in np.flatnonzero(lost):
            yield f"pfn {first + int(i):#x} is allocated, but nobody maps or pins it"


def _tables_of(state: State, table: int, level: int) -> Iterator[int]:
    yield table
    row = state.tables.get(table)
    if row is None or level == 0:
        return
    for entry in map(int, row[np.flatnonzero(row)]):
        if not pt.pmd_trans_huge(entry):
            yield from _tables_of(state, pt.pte_pfn(entry), level - 1)


@_invariant(AT_REST)
def a_table_is_deposited_for_each_huge_pmd(state: State) -> Iterator[str]:
    """Under each PMD table lie as many spare PTE tables as it has huge PMDs, so splitting them cannot fail."""
    for process in state.processes:
        huge: dict[int, int] = {}
        for m in state.mapped:
            if m.process == process.name and m.level == 1:
                huge[m.table] = huge.get(m.table, 0) + 1
        deposited = {table: len(waiting) for table, waiting in process.deposited}
        if huge != deposited:
            yield f"{process.name} has huge PMDs {huge} and deposited tables {deposited} (by PMD table)"


@_invariant(AT_REST)
def writable_memory_is_private(state: State) -> Iterator[str]:
    """A page that one process can write is mapped by no other, nor named by a swap entry: that is what copy-on-write is for."""
    named = np.zeros(state.nframes, np.int64)
    if state.swap is not None:
        named[state.swap.cache] = state.swap.swap_map
        named[NO_PAGE] = 0
    for m in state.mapped:
        if not pt.pte_write(m.entry) or m.kind == "migration":
            continue
        for pfn in m.pages:
            block = pfn & -state.geometry.nr
            others = [name for name in state.pmd_maps.get(block, ()) if name != m.process]
            mine = 0 if m.level else 1
            if others or state.pte_maps[pfn] > mine or named[pfn]:
                yield f"{m.process} can write pfn {pfn:#x}, which somebody else maps as well"


@_invariant(AT_REST)
def mappings_lie_in_vmas(state: State) -> Iterator[str]:
    """Every mapping lies in a VMA, and no entry allows a read or write that its VMA forbids."""
    size = state.geometry.page_size
    for process in state.processes:
        for m in (m for m in state.mapped if m.process == process.name):
            length = (state.geometry.nr if m.level else m.count) * size
            inside = [v for v in process.vmas if v.start <= m.address and m.address + length <= v.end]
            together = [v for v in process.vmas if v.start < m.address + length and m.address < v.end]
            covered = sum(min(v.end, m.address + length) - max(v.start, m.address) for v in together)
            if covered != length or (m.level == 1 and not inside):
                yield f"{process.name} maps {length} bytes at {m.address:#x} outside of its VMAs"
            elif m.kind in ("swap", "guard"):
                continue
            elif pt.pte_write(m.entry) and not all(v.prot & pt.PROT_WRITE for v in together):
                yield f"{process.name} can write at {m.address:#x}, which its VMA forbids"
            elif m.entry & pt._PAGE_PRESENT and not all(v.prot for v in together):
                yield f"{process.name} can read at {m.address:#x}, which its VMA forbids"


@_invariant(AT_REST)
def the_reverse_map_finds_every_mapping(state: State) -> Iterator[str]:
    """From each mapped page its anon_vma leads to the VMA that maps it, at the right address. (A page of KSM's is in none.)"""
    size = state.geometry.page_size
    where = {(p.name, v.start): v for p in state.processes for v in p.vmas}
    for m in state.mapped:
        if m.kind != "page" or state.field("flags", m.pfn) & PG_ksm:
            continue
        anon_vma = state.anon_vmas.get(state.field("mapping", m.pfn))
        index = state.field("index", m.pfn)
        vmas = [where[key] for key in anon_vma.vmas if key[0] == m.process and key in where] if anon_vma else []
        if not any(v.start + (index - v.pgoff) * size == m.address and v.start <= m.address < v.end for v in vmas):
            yield f"the reverse map of pfn {m.pfn:#x} does not lead to {m.process} at {m.address:#x}"


@_invariant(AT_REST)
def slots_count_swap_entries(state: State) -> Iterator[str]:
    """The swap_map of each slot is the number of swap entries that name it, and PG_swapcache marks the pages in the swap cache."""
    named = np.zeros(0 if state.swap is None else len(state.swap.swap_map), np.int64)
    for m in state.mapped:
        if m.kind == "swap":
            named[m.pfn : m.pfn + m.count] += 1
    if state.swap is not None:
        for slot in np.flatnonzero(state.swap.swap_map != named):
            yield f"slot {slot}: swap_map {state.swap.swap_map[slot]}, but {named[slot]} swap entries name it"
    for number in state.blocks:
        column, first = _columns(state, number), number * state.geometry.nr
        cached = state.cached[first : first + state.geometry.nr]
        marked = (column["flags"] & PG_swapcache != 0).astype(np.int64)
        for pages in _compounds(state, number, column):
            marked[pages.start - first : pages.stop - first] = marked[pages.start - first]
        for i in np.flatnonzero(marked != cached):
            yield f"pfn {first + int(i):#x}: {'in' if cached[i] else 'not in'} the swap cache, but PG_swapcache says otherwise"


@_invariant(AT_REST)
def double_map_means_both_kinds(state: State) -> Iterator[str]:
    """PageDoubleMap is set only while a PMD maps the page, and always while PMDs and PTEs map it (where the scheme has it)."""
    scheme = state.kernel.scheme
    for head in state.compound_pages():
        if "double_map" not in scheme.raw_fields({name: state.field(name, head) for name in COLUMNS}, head in state.deferred):
            return
        flag = bool(state.field("flags", head) & PG_double_map)
        by_pmd, by_pte = bool(state.pmd_maps.get(head)), bool(state.pte_maps[state.compound(head)].any())
        if (flag and not by_pmd) or (by_pmd and by_pte and not flag):
            yield f"pfn {head:#x}: PageDoubleMap is {flag}, mapped by PMD: {by_pmd}, by PTE: {by_pte}"


@_invariant(AT_REST)
def zero_pages_hold_zeroes(state: State) -> Iterator[str]:
    """The zero pages, which every process reads where it has not written yet, hold nothing but zeroes."""
    nr = state.geometry.nr if state.huge_zero_page else 0
    for pfn in (state.zero_page, *range(state.huge_zero_page, state.huge_zero_page + nr)):
        if state.field("content", pfn):
            yield f"pfn {pfn:#x} of {'the huge zero page' if pfn != state.zero_page else 'the zero page'} holds {state.field('content', pfn):#x}"


@_invariant(AT_REST)
def nothing_is_frozen(state: State) -> Iterator[str]:
    """No migration entry is left: whoever froze a page has mapped it again."""
    yield from (f"{m.process} has a migration entry at {m.address:#x}" for m in state.mapped if m.kind == "migration")


@_invariant(AT_REST)
def no_lock_is_held(state: State) -> Iterator[str]:
    """Nothing is locked and no CPU has interrupts off."""
    for lock, (_, holders) in state.held.items():
        yield f"{lock} is held by CPU {holders[0]}"
    for cpu in state.irqs_off:
        yield f"CPU {cpu} has interrupts off"


# --- between two states ---------------------------------------------------------------------------------------------------

_OWN_TABLES = ("mmap", "write", "read", "fill", "mprotect", "munmap", "mlock", "munlock", "mremap", "exit", "pin", "split_pmd")


@_invariant(BETWEEN)
def a_system_call_changes_its_own_tables(before: Frame, after: Frame) -> Iterator[str]:
    """What one process does to its memory leaves every other process's page tables alone."""
    if after.op is None or after.op.op not in _OWN_TABLES or not after.state.kernel.scheme.pmd_split_is_local:
        return
    caller = after.op.fields["proc"]
    for process in before.state.processes:
        if process.name != caller and any(p.name == process.name for p in after.state.processes):
            old, new = ([m for m in each.state.mapped if m.process == process.name] for each in (before, after))
            if old != new:
                yield f"{after.op.op} by {caller} has changed the page tables of {process.name}"
