"""A state: everything about a machine between two steps, as read-only data.
Views, invariants and tests work on states only.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from thplab.errors import BadInput
from thplab.hardware import page_tables as pt
from thplab.hardware.blocks import Array as Array
from thplab.hardware.blocks import BlockState, pieces
from thplab.hardware.frames import (
    COLUMNS,
    GUP_PIN_COUNTING_BIAS,
    PG_ORDER_SHIFT,
    TYPES,
    PG_head,
    PG_hwpoison,
    PG_order,
    PG_reserved,
    PG_tail,
    PG_used,
)
from thplab.hardware.geometry import Geometry
from thplab.hardware.shared import Shared
from thplab.hardware.steps import Translation
from thplab.hardware.swap_device import NO_PAGE
from thplab.kernel.address_space import Region
from thplab.kernel.policies import Kernel
from thplab.kernel.rmap_items import KsmState
from thplab.kernel.system import Pin
from thplab.machine.counts import FrameCounts

_FLAGS = COLUMNS.index("flags")


class VmaState(NamedTuple):
    """A VMA: bytes [start, end), protection bits, flags (VM_*), reverse-map index of its first page,
    numbers of its anon_vmas.
    """

    start: int
    end: int
    prot: int
    flags: frozenset[str]
    pgoff: int
    chain: tuple[int, ...]


class ProcessState(NamedTuple):
    """A process: its top page table, its mm id, whether it ever took FOLL_PIN pins, the system calls under way in a
    race, whether it lives, its VMAs in address order, the tables that it has deposited, its named regions."""

    name: str
    pgd: int
    mm_id: int
    has_pinned: bool
    write_protect_seq: int
    mm_users: int
    alive: bool
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
    """The pfns that are named: one after the other;
    just one for a run of entries over the small zero page, none for swap slots and guards.
    """


class SwapState(NamedTuple):
    """A swap device: its kind, and for each slot the swap entries that name it, its page in the swap cache (NO_PAGE:
    none), its content.
    """

    kind: str
    swap_map: npt.NDArray[np.int32]
    cache: npt.NDArray[np.int32]
    content: npt.NDArray[np.int64]


class BlockArrays(Mapping[int, Array]):
    """Blocks as arrays, which are made when somebody looks at them: a block keeps its own."""

    __slots__ = ("kept",)

    def __init__(self, kept: Shared[BlockState]) -> None:
        self.kept = kept

    @classmethod
    def of(cls, blocks: Mapping[int, Array]) -> BlockArrays:
        """Blocks that somebody has put together by hand, or those of a state as they are."""
        if isinstance(blocks, BlockArrays):
            return blocks
        return cls(Shared.of({number: BlockState.of(block, TYPES) for number, block in blocks.items()}))

    def __getitem__(self, number: int) -> Array:
        return self.kept[number].shown(_FLAGS, PG_used, PG_hwpoison)

    def __contains__(self, number: object) -> bool:
        return number in self.kept

    def __iter__(self) -> Iterator[int]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)


@dataclass(frozen=True, eq=False)
class State:
    """One state of a machine. All arrays are read-only; frames are grouped in blocks of a huge page's size.

    `blocks` holds the blocks in which any frame is allocated: block number -> array [len(COLUMNS), nr] (int64).
    Of a free frame only the reference count is shown, and that it is bad. Blocks and tables that did not change are the
    same objects in the next state.
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
    tlb: Mapping[int, Translation]
    """What a CPU in the middle of an access has looked up already."""
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

    def __repr__(self) -> str:
        living = ", ".join(p.name for p in self.processes) or "no process"
        under_way = ", in the middle of a routine" if self.in_progress else ""
        return (
            f"<State of {self.kernel.name}, {self.geometry.name}: {living}; huge pages: "
            f"{len(self.compound_pages())}{under_way}>"
        )

    # --- single frames ------------------------------------------------------------------------------------------------

    def column(self, name: str, pfn: int, count: int = 1) -> Array:
        """One field of struct page for `count` frames from `pfn` on, all in one block.
        Free blocks read as free frames.
        """
        block = self.blocks.get(pfn >> self.geometry.order)
        if block is None:
            return np.zeros(count, np.int64)
        first = pfn & (self.geometry.nr - 1)
        return block[COLUMNS.index(name), first : first + count]

    def field(self, name: str, pfn: int) -> int:
        """One field of one struct page."""
        block = self.blocks.get(pfn >> self.geometry.order)
        return 0 if block is None else block.item(COLUMNS.index(name), pfn & (self.geometry.nr - 1))

    def is_free(self, pfn: int) -> bool:
        """No allocation covers the frame."""
        return not self.field("flags", pfn) & PG_used

    def free_among(self, pages: range) -> list[int]:
        """Those of these frames, which lie one behind the other, that no allocation covers."""
        found: list[int] = []
        for number, low, high in pieces(self.geometry.order, pages.start, pages.stop):
            first = (number << self.geometry.order) + low
            used = self.column("flags", first, high - low) & PG_used
            if not used.all():
                found += (np.flatnonzero(used == 0) + first).tolist()
        return found

    def head(self, pfn: int) -> int:
        """The head of the compound page that `pfn` is part of; `pfn` itself if it is in none."""
        return self.field("first_page", pfn) if self.field("flags", pfn) & PG_tail else pfn

    def compound(self, head: int) -> slice:
        """All pages of the compound page with this head."""
        order = (self.field("flags", head) & PG_order) >> PG_ORDER_SHIFT or self.geometry.order
        return slice(head, head + (1 << order))

    def compound_pages(self) -> tuple[int, ...]:
        """The heads of all compound pages, in address order, without the huge zero page."""
        return self._compound_pages

    @cached_property
    def _compound_pages(self) -> tuple[int, ...]:
        found: list[int] = []
        for number in sorted(self.blocks):
            flags = self.blocks[number][COLUMNS.index("flags")]
            heads = np.flatnonzero(flags & (PG_head | PG_reserved) == PG_head) + number * self.geometry.nr
            found += heads.tolist()
        return tuple(found)

    def huge_pages(self) -> tuple[int, ...]:
        """Those among them that a PMD can map."""
        return tuple(head for head in self.compound_pages() if not self.field("flags", head) & PG_order)

    def process(self, name: str) -> ProcessState:
        """The process of that name. Raises BadInput if it does not live in this state."""
        for process in self.processes:
            if process.name == name:
                return process
        raise BadInput(
            "process", f"{name!r} does not live in this state", "one of: " + ", ".join(p.name for p in self.processes)
        )

    def vmas(self, process: str, region: str = "") -> tuple[VmaState, ...]:
        """The VMAs of a process, or those that lie in one of its regions, if only in part.
        Raises BadInput if there is none such.
        """
        vmas = self.process(process).vmas
        if not region:
            return vmas
        base, pages = self.region(process, region)
        return tuple(v for v in vmas if v.start < base + pages * self.geometry.page_size and base < v.end)

    def region(self, process: str, name: str) -> Region:
        """A region of a process. Raises BadInput if there is no such process or region."""
        regions = dict(self.process(process).regions)
        if name not in regions:
            raise BadInput(
                "region",
                f"{name!r} does not exist in {process}",
                f"one of: {', '.join(regions) or 'none yet, mmap first'}",
            )
        return regions[name]

    # --- recounted from the page tables -------------------------------------------------------------------------------

    @cached_property
    def mapped(self) -> tuple[Mapped, ...]:
        """Every mapping, read from the page tables of all processes in the order of names and addresses."""
        return tuple(
            m for process in self.processes for m in self._walk(process.name, process.pgd, self.geometry.levels - 1, 0)
        )

    def _walk(self, process: str, table: int, level: int, base: int) -> Iterator[Mapped]:
        row = self.tables.get(table)
        if row is None:
            return  # a table that was freed under its user: an invariant says so
        span = 1 << self.geometry.shift(level)
        if level == 0:
            yield from self._walk_ptes(process, table, row, base)
            return
        for index in row.nonzero()[0].tolist():
            entry, address = int(row[index]), base + index * span
            if level == 1 and pt.pmd_trans_huge(entry):
                kind = "zero" if pt.pte_pfn(entry) == self.huge_zero_page else "page"
                pfn = pt.pte_pfn(entry)
                yield Mapped(process, address, 1, table, index, 1, pfn, kind, entry, range(pfn, pfn + self.geometry.nr))
            else:
                yield from self._walk(process, pt.pte_pfn(entry), level - 1, address)

    def _walk_ptes(self, process: str, table: int, row: pt.Entries, base: int) -> Iterator[Mapped]:
        size = self.geometry.page_size
        bits = row & np.uint64(~pt.PTE_PFN_MASK & (1 << 64) - 1)
        pfns = (row & np.uint64(pt.PTE_PFN_MASK)).astype(np.int64) >> 12
        heads = np.where(pt.pte_kinds(row) == pt.PTE_KINDS.index("swap"), pfns, self._heads(pfns))  # a slot is no page
        own, used = heads == pfns, row != 0
        together = (bits[1:] == bits[:-1]) & (used[1:] == used[:-1])
        neighbours = (pfns[1:] == pfns[:-1] + 1) & ((heads[1:] == heads[:-1]) | (own[1:] & own[:-1]))
        together &= pt.nameless(row[1:]) | neighbours
        borders = [0, *((~together).nonzero()[0] + 1).tolist(), len(row)]
        for low, high in itertools.pairwise(borders):
            entry = int(row[low])
            if entry:
                kind = pt.pte_kind(entry)
                pfn, count = int(pfns[low]), high - low
                pages = range(pfn, pfn + {"zero": 1, "swap": 0, "guard": 0}.get(kind, count))
                yield Mapped(process, base + low * size, 0, table, low, count, pfn, kind, entry, pages)

    def _heads(self, pfns: Array) -> Array:
        """For a part of a compound page its head, below 0; for another page itself."""
        heads = pfns.copy()
        numbers = pfns >> self.geometry.order
        for number in set(numbers.tolist()):
            block = self.blocks.get(number)
            if block is not None:
                inside = (numbers == number).nonzero()[0]
                rows = pfns[inside] & (self.geometry.nr - 1)
                flags = block[COLUMNS.index("flags"), rows]
                tails = np.where(flags & PG_tail, -block[COLUMNS.index("first_page"), rows], pfns[inside])
                heads[inside] = np.where(flags & PG_head, -pfns[inside], tails)
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
    def pte_maps(self) -> FrameCounts:
        """Number of PTEs that map each frame."""
        ptes = (m for m in self.mapped if m.level == 0 and m.kind == "page")
        return FrameCounts(self.geometry.order, ((m.pfn, m.count, 1) for m in ptes))

    @cached_property
    def pinned(self) -> FrameCounts:
        """Number of references that drivers hold through each frame, and memory failure on bad ones."""
        pins = [(pfn, 1, self._weight(pin, pfn)) for pin in self.pins.values() for pfn in pin.pages]
        return FrameCounts(self.geometry.order, [*pins, *((pfn, 1, 1) for pfn in self.poisoned)])

    def _weight(self, pin: Pin, pfn: int) -> int:
        small = not self.field("flags", pfn) & (PG_head | PG_tail)
        return GUP_PIN_COUNTING_BIAS if pin.foll_pin and small else 1

    @cached_property
    def cached(self) -> FrameCounts:
        """Number of references that the swap cache holds through each frame, 1 or 0."""
        pages = set() if self.swap is None else {*self.swap.cache.tolist()} - {NO_PAGE}
        return FrameCounts(self.geometry.order, ((pfn, 1, 1) for pfn in pages))

    def contents(self, process: str, region: str = "R") -> tuple[int | None, ...]:
        """What the process would read from each page of a region, its first 8 bytes as a number;
        None where nothing is mapped yet.

        Raises BadInput if there is no such process or region.
        """
        base, pages = self.region(process, region)
        seen: list[int | None] = [None] * pages
        for m, page, count in self.mapped_in(process, base, pages):
            for i in range(count if m.kind in ("page", "zero", "swap") else 0):
                pfn = m.pfn + i
                seen[page + i] = (
                    0 if m.kind == "zero" else self._swapped(pfn) if m.kind == "swap" else self.field("content", pfn)
                )
        return tuple(seen)

    def pin_contents(self, name: str) -> tuple[int, ...]:
        """What the driver that holds a pin would read from each page of its buffer, its first 8 bytes as a number.

        Raises BadInput if no pin is held by that name.
        """
        if name not in self.pins:
            raise BadInput("pin", f"{name!r} is not held", "one of: " + (", ".join(self.pins) or "none is held"))
        return tuple(self.field("content", pfn) for pfn in self.pins[name].buffer)

    def mapped_in(self, process: str, start: int, pages: int) -> Iterator[tuple[Mapped, int, int]]:
        """What a process maps in `pages` pages from address `start` on, cut to what lies there:
        each with its first page and its count.
        """
        size, nr = self.geometry.page_size, self.geometry.nr
        for m in self.mapped:
            page = (m.address - start) // size
            before, stop = max(0, -page), min(page + (nr if m.level else m.count), pages)
            if m.process == process and page + before < stop:
                part = replace(m, address=m.address + before * size, pfn=m.pfn + before) if before else m
                yield part, page + before, stop - page - before

    def _swapped(self, slot: int) -> int:
        """What is behind a swap entry: the page in the swap cache, or else what was written to the device."""
        assert self.swap is not None, "an entry names the slot"
        page = int(self.swap.cache[slot])
        return int(self.swap.content[slot]) if page == NO_PAGE else self.field("content", page)

    # --- identity -----------------------------------------------------------------------------------------------------

    @cached_property
    def exact(self) -> bytes:
        """A digest of everything but events and costs, real pfns included."""
        blocks, tables = sorted(self.blocks.items()), sorted(self.tables.items())
        numbers = [number for number, _ in blocks], [pfn for pfn, _ in tables]
        digest = hashlib.blake2b(repr(numbers).encode(), digest_size=16)
        for _, rows in (*blocks, *tables):
            digest.update(rows.data)
        digest.update(_written(self.processes, tuple(sorted(self.anon_vmas.items())), tuple(sorted(self.pins.items()))))
        cpus = (sorted(self.held.items()), sorted(self.irqs_off), sorted(self.tlb.items()))
        digest.update(
            repr((cpus, self.deferred, self.settings, self.poisoned, self.ksm, self.huge_zero_page)).encode()
        )
        if self.swap is not None:
            digest.update(self.swap.swap_map.tobytes() + self.swap.cache.tobytes() + self.swap.content.tobytes())
        return digest.digest()


@lru_cache(1 << 12)
def _written(*values: Hashable) -> bytes:
    """Plain values that many states have in common, as bytes: the same for equal ones."""
    return repr(values).encode()
