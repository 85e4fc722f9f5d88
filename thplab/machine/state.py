"""A state: everything about a machine between two steps, as read-only data, and a machine rebuilt from it.

Views, invariants and tests work on states only. What did not change since the state before is shared with it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from thplab.errors import BadInput
from thplab.hardware import page_tables as pt
from thplab.hardware.buddy import Buddy
from thplab.hardware.frames import COLUMNS, GUP_PIN_COUNTING_BIAS, JUNK, PG_head, PG_reserved, PG_tail, PG_used
from thplab.hardware.geometry import Geometry
from thplab.hardware.steps import Costs
from thplab.hardware.swap_device import NO_PAGE, SwapDevice
from thplab.kernel.address_space import AddressSpace, AnonVma, Region, Vma
from thplab.kernel.policies import Kernel
from thplab.kernel.rmap_items import KsmState
from thplab.kernel.system import Pin
from thplab.machine.machine import Machine

Array = npt.NDArray[np.int64]


class VmaState(NamedTuple):
    """A VMA: bytes [start, end), protection bits, flags (VM_*), reverse-map index of its first page, numbers of its anon_vmas."""

    start: int
    end: int
    prot: int
    flags: frozenset[str]
    pgoff: int
    chain: tuple[int, ...]


class ProcessState(NamedTuple):
    """A process: its top page table, its mm id, whether it ever took FOLL_PIN pins, its VMAs in address order, the tables that
    it has deposited, its named regions."""

    name: str
    pgd: int
    mm_id: int
    has_pinned: bool
    vmas: tuple[VmaState, ...]
    deposited: tuple[tuple[int, tuple[int, ...]], ...]
    regions: tuple[tuple[str, Region], ...]


class AnonVmaState(NamedTuple):
    """An anon_vma: its family's root, and its VMAs in order as (process, start)."""

    root: int
    vmas: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Mapped:
    """Entries [index, index + count) of one page table that map `count` pages from `pfn` on, all with the same bits.

    A huge PMD is one entry (`level` 1) that maps a whole compound page. `kind` is one of page_tables.PTE_KINDS.
    """

    process: str
    address: int
    level: int
    table: int
    index: int
    count: int
    pfn: int
    kind: str
    entry: int
    pages: range
    """The pfns that are named: one after the other; just one for a run of entries over the small zero page, none for swap slots."""


class SwapState(NamedTuple):
    """A swap device: its kind, and for each slot the swap entries that name it, its page in the swap cache (NO_PAGE: none), its content."""

    kind: str
    swap_map: npt.NDArray[np.int32]
    cache: npt.NDArray[np.int32]
    content: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class State:
    """One state of a machine. All arrays are read-only; frames are grouped in blocks of a huge page's size.

    `blocks` holds the blocks in which any frame is allocated: block number -> array [8, nr] (int64, rows as COLUMNS).
    Of a free frame only the reference count is kept.
    `in_progress` is False when no routine is under way.
    """

    kernel: Kernel
    geometry: Geometry
    nframes: int
    blocks: Mapping[int, Array]
    tables: Mapping[int, pt.Entries]
    levels: Mapping[int, int]
    processes: tuple[ProcessState, ...]
    anon_vmas: Mapping[int, AnonVmaState]
    pins: Mapping[str, Pin]
    held: Mapping[str, tuple[str, tuple[int, ...]]]
    irqs_off: frozenset[int]
    vmstat: Mapping[str, int]
    costs: Mapping[str, int]
    deferred: tuple[int, ...]
    """Heads on the deferred split queue, in order."""
    settings: Mapping[str, int]
    swap: SwapState | None
    poisoned: tuple[int, ...]
    """Pages on which memory failure keeps a reference for ever."""
    ksm: KsmState
    huge_zero_page: int
    zero_page: int
    in_progress: bool

    # --- single frames --------------------------------------------------------------------------------------------------

    def column(self, name: str, pfn: int, count: int = 1) -> Array:
        """One field of struct page for `count` frames from `pfn` on, all in one block. Free blocks read as free frames."""
        block = self.blocks.get(pfn >> self.geometry.order)
        if block is None:
            return np.zeros(count, np.int64)
        first = pfn & (self.geometry.nr - 1)
        return block[COLUMNS.index(name), first : first + count]

    def field(self, name: str, pfn: int) -> int:
        """One field of one struct page."""
        return int(self.column(name, pfn)[0])

    def is_free(self, pfn: int) -> bool:
        """No allocation covers the frame."""
        return not self.field("flags", pfn) & PG_used

    def head(self, pfn: int) -> int:
        """The head of the compound page that `pfn` is part of; `pfn` itself if it is in none."""
        return self.field("first_page", pfn) if self.field("flags", pfn) & PG_tail else pfn

    def compound_pages(self) -> tuple[int, ...]:
        """The heads of all compound pages, in address order, without the huge zero page."""
        nr = self.geometry.nr
        flags = {block * nr: self.field("flags", block * nr) for block in self.blocks}
        return tuple(pfn for pfn, f in sorted(flags.items()) if f & PG_head and not f & PG_reserved)

    def process(self, name: str) -> ProcessState:
        """The process of that name. Raises BadInput if it does not live in this state."""
        for process in self.processes:
            if process.name == name:
                return process
        raise BadInput("process", f"{name!r} does not live in this state", "one of: " + ", ".join(p.name for p in self.processes))

    def vmas(self, process: str, region: str = "") -> tuple[VmaState, ...]:
        """The VMAs of a process, or those in one of its regions. Raises BadInput if there is no such process or region."""
        found = self.process(process)
        if not region:
            return found.vmas
        regions = dict(found.regions)
        if region not in regions:
            raise BadInput("region", f"{region!r} does not exist in {process}", "one of: " + ", ".join(regions))
        base, pages = regions[region]
        return tuple(v for v in found.vmas if base <= v.start < base + pages * self.geometry.page_size)

    # --- recounted from the page tables -----------------------------------------------------------------------------------

    @cached_property
    def mapped(self) -> tuple[Mapped, ...]:
        """Every mapping, read from the page tables of all processes in the order of names and addresses."""
        return tuple(m for process in self.processes for m in self._walk(process.name, process.pgd, self.geometry.levels - 1, 0))

    def _walk(self, process: str, table: int, level: int, base: int) -> Iterator[Mapped]:
        row = self.tables.get(table)
        if row is None:
            return  # a table that was freed under its user: an invariant says so
        span = 1 << self.geometry.shift(level)
        if level == 0:
            yield from self._walk_ptes(process, table, row, base)
            return
        for index in np.flatnonzero(row):
            entry, address = int(row[index]), base + int(index) * span
            if level == 1 and pt.pmd_trans_huge(entry):
                kind = "zero" if pt.pte_pfn(entry) == self.huge_zero_page else "page"
                pfn = pt.pte_pfn(entry)
                yield Mapped(process, address, 1, table, int(index), 1, pfn, kind, entry, range(pfn, pfn + self.geometry.nr))
            else:
                yield from self._walk(process, pt.pte_pfn(entry), level - 1, address)

    def _walk_ptes(self, process: str, table: int, row: pt.Entries, base: int) -> Iterator[Mapped]:
        size = self.geometry.page_size
        bits = row & np.uint64(~pt.PTE_PFN_MASK & (1 << 64) - 1)
        pfns = (row & np.uint64(pt.PTE_PFN_MASK)).astype(np.int64) >> 12
        heads = np.where(pt.pte_kinds(row) == pt.PTE_KINDS.index("swap"), pfns, self._heads(pfns))  # a slot is no page
        special = (row & np.uint64(pt._PAGE_SPECIAL)) != 0
        together = (bits[1:] == bits[:-1]) & ((row[1:] == 0) == (row[:-1] == 0))
        neighbours = (pfns[1:] == pfns[:-1] + 1) & ((heads[1:] == heads[:-1]) | ((heads[1:] == pfns[1:]) & (heads[:-1] == pfns[:-1])))
        together &= (row[1:] == 0) | special[1:] | neighbours
        borders = [0, *(np.flatnonzero(~together) + 1).tolist(), len(row)]
        for low, high in itertools.pairwise(borders):
            entry = int(row[low])
            if entry:
                kind = pt.pte_kind(entry)
                pfn, count = int(pfns[low]), high - low
                pages = range(pfn, pfn + {"zero": 1, "swap": 0}.get(kind, count))
                yield Mapped(process, base + low * size, 0, table, low, count, pfn, kind, entry, pages)

    def _heads(self, pfns: Array) -> Array:
        heads = pfns.copy()
        order = self.geometry.order
        for number in np.unique(pfns >> order):
            block = self.blocks.get(int(number))
            if block is not None:
                inside = np.flatnonzero(pfns >> order == number)
                rows = pfns[inside] & (self.geometry.nr - 1)
                tail = (block[COLUMNS.index("flags"), rows] & PG_tail) != 0
                heads[inside] = np.where(tail, block[COLUMNS.index("first_page"), rows], pfns[inside])
        return heads

    @cached_property
    def pmd_maps(self) -> Mapping[int, tuple[str, ...]]:
        """Head -> the processes that map it by a PMD, one name for each PMD."""
        found: dict[int, list[str]] = {}
        for m in self.mapped:
            if m.level == 1 and m.kind == "page":
                found.setdefault(m.pfn, []).append(m.process)
        return {pfn: tuple(names) for pfn, names in found.items()}

    @cached_property
    def pte_maps(self) -> Array:
        """Number of PTEs that map each frame; shape [frames]."""
        maps = np.zeros(self.nframes, np.int64)
        for m in self.mapped:
            if m.level == 0 and m.kind == "page":
                maps[m.pfn : m.pfn + m.count] += 1
        return maps

    @cached_property
    def pinned(self) -> Array:
        """Number of references that drivers hold through each frame, and memory failure on bad ones; shape [frames]."""
        pins = np.zeros(self.nframes, np.int64)
        for pin in self.pins.values():
            for pfn in pin.pages:
                small = not self.field("flags", pfn) & (PG_head | PG_tail)
                pins[pfn] += GUP_PIN_COUNTING_BIAS if pin.foll_pin and small else 1
        np.add.at(pins, np.array(self.poisoned, np.int64), 1)
        return pins

    @cached_property
    def cached(self) -> Array:
        """Number of references that the swap cache holds through each frame, 1 or 0; shape [frames]."""
        cached = np.zeros(self.nframes, np.int64)
        if self.swap is not None:
            cached[self.swap.cache[self.swap.cache != NO_PAGE]] = 1
        return cached

    def contents(self, process: str, region: str = "R") -> tuple[int | None, ...]:
        """What the process would read from each page of a region: content tags; None where nothing is mapped yet."""
        base, pages = dict(self.process(process).regions)[region]
        size = self.geometry.page_size
        seen: list[int | None] = [None] * pages
        for m in self.mapped:
            if m.process != process or m.kind not in ("page", "zero", "swap"):
                continue
            count = self.geometry.nr if m.level else m.count
            for i in range(count):
                page, pfn = (m.address - base) // size + i, m.pfn + i
                if 0 <= page < pages:
                    seen[page] = 0 if m.kind == "zero" else self._swapped(pfn) if m.kind == "swap" else self.field("content", pfn)
        return tuple(seen)

    def _swapped(self, slot: int) -> int:
        """What is behind a swap entry: the page in the swap cache, or else what was written to the device."""
        assert self.swap is not None, "an entry names the slot"
        page = int(self.swap.cache[slot])
        return int(self.swap.content[slot]) if page == NO_PAGE else self.field("content", page)

    # --- identity -----------------------------------------------------------------------------------------------------------

    @cached_property
    def exact(self) -> bytes:
        """A digest of everything but events and costs, real pfns included."""
        digest = hashlib.blake2b(digest_size=16)
        for number in sorted(self.blocks):
            digest.update(number.to_bytes(4, "little") + self.blocks[number].tobytes())
        for pfn in sorted(self.tables):
            digest.update(pfn.to_bytes(4, "little") + self.tables[pfn].tobytes())
        rest = (self.processes, sorted(self.anon_vmas.items()), sorted(self.pins.items()), sorted(self.held.items()), sorted(self.irqs_off))
        digest.update(repr((rest, self.deferred, self.settings, self.poisoned, self.ksm, self.huge_zero_page)).encode())
        if self.swap is not None:
            digest.update(self.swap.swap_map.tobytes() + self.swap.cache.tobytes() + self.swap.content.tobytes())
        return digest.digest()


def capture(machine: Machine, previous: State | None = None, in_progress: bool = False) -> State:
    """The state of `machine` now. Arrays that are equal to those of `previous` are shared with it."""
    system = machine.system
    nr = system.geometry.nr
    # A free frame shows nothing but its count, which a stale user may still drop below 0.
    shown = np.flatnonzero((system.frames.in_use > 0) | system.frames.refcount.reshape(-1, nr).any(axis=1)).tolist()
    now = system.frames.fields.reshape(len(COLUMNS), -1, nr)[:, shown].swapaxes(0, 1)
    now[:, 1:] *= (now[:, COLUMNS.index("flags"), np.newaxis] & PG_used) != 0
    old_blocks, old_tables = (previous.blocks, previous.tables) if previous else ({}, {})
    blocks = {number: _share(block, old_blocks.get(number)) for number, block in zip(shown, now, strict=True)}
    tables = {pfn: _share(row, old_tables.get(pfn)) for pfn, row in system.tables.table.items()}
    return State(
        kernel=system.kernel,
        geometry=system.geometry,
        nframes=len(system.frames.refcount),
        blocks=blocks,
        tables=tables,
        levels=dict(system.tables.level),
        processes=tuple(_process(mm) for _, mm in sorted(system.mms.items())),
        anon_vmas={n: AnonVmaState(a.root, tuple((v.mm.name, v.start) for v in a.vmas)) for n, a in system.anon_vmas.items()},
        pins=dict(system.pins),
        held=dict(system.cpus.held),
        irqs_off=frozenset(system.cpus.irqs_off),
        vmstat=dict(system.vmstat),
        costs=system.costs.as_dict(),
        deferred=tuple(system.deferred),
        settings=dict(system.settings),
        swap=_swap(system.swap, previous.swap if previous else None),
        poisoned=tuple(system.poisoned),
        ksm=system.ksm.frozen(),
        huge_zero_page=system.huge_zero_page,
        zero_page=system.frames.zero_page,
        in_progress=in_progress,
    )


A = TypeVar("A", bound=npt.NDArray[np.generic])


def _share(now: A, before: A | None) -> A:
    """`before` if it is equal, else a read-only copy of what is there now."""
    if before is not None and now.tobytes() == before.tobytes():
        return before
    copy = now.copy()
    copy.setflags(write=False)
    return copy


def _swap(device: SwapDevice | None, previous: SwapState | None) -> SwapState | None:
    if device is None:
        return None
    return SwapState(
        device.name,
        _share(device.swap_map.copy(), previous.swap_map if previous else None),
        _share(device.cache.copy(), previous.cache if previous else None),
        _share(device.content.copy(), previous.content if previous else None),
    )


def _process(mm: AddressSpace) -> ProcessState:
    vmas = tuple(VmaState(v.start, v.end, v.prot, v.flags, v.pgoff, tuple(a.number for a in v.chain)) for v in mm.vmas)
    deposited = tuple((table, tuple(waiting)) for table, waiting in sorted(mm.deposited.items()))
    return ProcessState(mm.name, mm.pgd, mm.mm_id, mm.has_pinned, vmas, deposited, tuple(mm.regions.items()))


def restore(state: State, variants: Mapping[str, Callable[..., Any]] | None = None) -> Machine:
    """A machine in `state`, which must be at rest: it goes on exactly as the one that the state was taken from.

    Raises BadInput for a state in the middle of a routine, whose position a state does not hold.
    """
    if state.in_progress:
        raise BadInput("state", "is in the middle of a routine", "a state between two operations")
    machine = Machine(state.kernel, state.geometry, state.nframes, variants, state.swap.kind if state.swap else "")
    system = machine.system
    frames, nr = system.frames, state.geometry.nr
    frames.flags[:] = 0
    frames.in_use[:] = 0
    for number, block in state.blocks.items():
        frames.fields[:, number * nr : (number + 1) * nr] = block
        frames.in_use[number] = np.count_nonzero(block[COLUMNS.index("flags")] & PG_used)
    frames.content[(frames.flags & PG_used) == 0] = JUNK
    frames.buddy = Buddy.with_used((frames.flags & PG_used) != 0, state.geometry.order)
    frames.zero_page = state.zero_page
    system.deferred = dict.fromkeys(state.deferred)
    system.settings = dict(state.settings)
    system.poisoned = dict.fromkeys(state.poisoned)
    system.ksm = state.ksm.thawed()
    system.huge_zero_page = state.huge_zero_page
    if system.swap is not None and state.swap is not None:
        system.swap.swap_map[:] = state.swap.swap_map
        system.swap.cache[:] = state.swap.cache
        system.swap.content[:] = state.swap.content
        system.swap.slot_of = {int(state.swap.cache[slot]): int(slot) for slot in np.flatnonzero(state.swap.cache != NO_PAGE)}
    system.tables.table.update((pfn, row.copy()) for pfn, row in state.tables.items())
    system.tables.level = dict(state.levels)
    system.anon_vmas = {n: AnonVma(n, a.root) for n, a in state.anon_vmas.items()}
    for process in state.processes:
        mm = AddressSpace(process.name, state.geometry, process.pgd, process.mm_id, process.has_pinned)
        mm.vmas = [Vma(mm, *v[:5], [system.anon_vmas[n] for n in v.chain]) for v in process.vmas]
        mm.deposited = {table: deque(waiting) for table, waiting in process.deposited}
        system.mms[process.name] = mm
        mm.regions = dict(process.regions)
    for number, anon_vma in state.anon_vmas.items():
        found = (system.mms[name].find_vma(start) for name, start in anon_vma.vmas)
        system.anon_vmas[number].vmas = [vma for vma in found if vma is not None]
    system.cpus.held.update(state.held)  # what a wrong routine has left locked stays so
    system.cpus.irqs_off.update(dict.fromkeys(state.irqs_off, 1))
    system.pins.update(state.pins)
    system.vmstat.update(state.vmstat)
    costs = Costs.from_dict(dict(state.costs))
    system.costs.__dict__.update(costs.__dict__)
    return machine
