"""Virtual memory areas, their reverse map (anon_vma), and the address space that holds them (mm).

VMAs split and merge, and may begin or end inside a compound page.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from thplab.errors import KernelBug
from thplab.hardware.geometry import Geometry

VM_HUGEPAGE, VM_NOHUGEPAGE, VM_DONTCOPY = "hugepage", "nohugepage", "dontcopy"
VM_WIPEONFORK, VM_MERGEABLE, VM_LOCKED = "wipeonfork", "mergeable", "locked"
"""Flags that madvise and mlock set on a VMA (VM_*)."""
VM_UNCHARGED = "uncharged"
"""The kernel's VM_ACCOUNT is off: nothing is set aside for pages that cannot come to be while nobody may write."""


class Region(NamedTuple):
    """A named range of a process's addresses: first byte and number of pages.
    A name of the user's, not of the kernel's.
    """

    start: int
    pages: int


@dataclass(eq=False)
class AnonVma:
    """The reverse map of anonymous pages: all VMAs in which a page with this `mapping` may be mapped.

    `vmas` is in the order of the kernel's interval tree: by the index at which they begin, then as they came or last
    changed their borders. So a child that a fork makes comes behind its parent, which fork relies on. `root` is the
    number of the anon_vma of the first ancestor: one lock serves the whole family.
    """

    number: int
    root: int
    vmas: list[Vma] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"anon_vma {self.number}"

    def link(self, vma: Vma) -> None:
        """Put a VMA in its place; one that is there already goes behind those that begin where it does."""
        others = [v for v in self.vmas if v is not vma]
        at = bisect_right(others, vma.pgoff, key=lambda v: v.pgoff)
        self.vmas[:] = [*others[:at], vma, *others[at:]]


@dataclass(eq=False)
class Vma:
    """A virtual memory area [start, end) in bytes: private anonymous memory with one protection.

    `pgoff` is the index that the page at `start` has in the reverse map; `chain` are all the anon_vmas that the VMA is
    in, its own (for new pages) first, or empty before the first fault.
    """

    mm: AddressSpace
    start: int
    end: int
    prot: int
    flags: frozenset[str]
    pgoff: int
    chain: list[AnonVma] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<VMA of {self.mm.name}: {self.start:#x} to {self.end:#x}>"

    @property
    def anon_vma(self) -> AnonVma | None:
        """Where pages that are faulted in here are registered; None before the first fault."""
        return self.chain[0] if self.chain else None

    @property
    def key(self) -> str:
        return f"vma {self.mm.name} {self.start:#x}-{self.end:#x} {self.prot} {self in self.mm.vmas}"

    def index(self, address: int) -> int:
        """The reverse-map index of the page at `address` (linear_page_index)."""
        return self.pgoff + (address - self.start) // self.mm.geometry.page_size


@dataclass(eq=False)
class AddressSpace:
    """A process's memory (mm_struct): its VMAs in address order, its top page table, the tables it has deposited.

    `mm_id` is a small number of its own, by which a folio remembers it; `mmap_sem` names the lock over the list of
    VMAs. `has_pinned`: it has taken FOLL_PIN pins at some time. `write_protect_seq` is odd while a fork makes its
    entries read-only. `mm_users`: system calls under way in it, which are counted where there may be several, in a
    race. `alive`: its process has come to be, and has not ended; the last user takes down what is left. `deposited`
    maps a PMD table to the spare PTE tables that lie under it, oldest first. `regions` are names for ranges.
    """

    name: str
    geometry: Geometry
    pgd: int
    mm_id: int
    mmap_sem: str
    has_pinned: bool = False
    write_protect_seq: int = 0
    mm_users: int = 0
    alive: bool = True
    vmas: list[Vma] = field(default_factory=list)
    deposited: dict[int, deque[int]] = field(default_factory=dict)
    regions: dict[str, Region] = field(default_factory=dict)
    deposits_touched: set[int] = field(default_factory=set)
    """The PMD tables under which something was put or taken since the last state."""
    deposits_kept: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """What the last state has: (PMD table, tables under it), in order."""

    @property
    def key(self) -> str:
        return f"mm {self.name}"

    def __repr__(self) -> str:
        return f"<{self.key}, VMAs: {len(self.vmas)}>"

    def deposit(self, pmd_table: int, pgtable: int) -> None:
        """Put a spare PTE table aside under a PMD table."""
        self.deposited.setdefault(pmd_table, deque()).append(pgtable)
        self.deposits_touched.add(pmd_table)

    def withdraw(self, pmd_table: int) -> int:
        """Take back the PTE table that was put aside first under a PMD table. KernelBug if there is none."""
        waiting = self.deposited.get(pmd_table)
        if not waiting:
            raise KernelBug(f"no PTE table was deposited under PMD table {pmd_table:#x} of {self.name}")
        pgtable = waiting.popleft()
        self.deposits_touched.add(pmd_table)
        if not waiting:
            del self.deposited[pmd_table]
        return pgtable

    def keep_deposits(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """What is put aside now: (PMD table, tables under it), in order. Only what was touched is looked at."""
        if self.deposits_touched:
            news = {table: tuple(self.deposited.get(table, ())) for table in self.deposits_touched}
            self.deposits_touched.clear()
            after = dict(self.deposits_kept) | news
            self.deposits_kept = tuple(sorted((table, waiting) for table, waiting in after.items() if waiting))
        return self.deposits_kept

    def find_vma(self, address: int) -> Vma | None:
        """The VMA that contains `address`, or None."""
        return next((v for v in self.vmas if v.start <= address < v.end), None)

    def overlapping(self, start: int, end: int) -> tuple[Vma, ...]:
        """The VMAs that share a byte with [start, end), in address order."""
        return tuple(v for v in self.vmas if v.start < end and start < v.end)

    def insert(self, vma: Vma) -> None:
        """Link a VMA into the list and into its anon_vmas. KernelBug if it overlaps another."""
        if self.overlapping(vma.start, vma.end):
            raise KernelBug(f"VMAs of {self.name} overlap at {vma.start:#x}")
        self.vmas.append(vma)
        self.vmas.sort(key=lambda v: v.start)
        for anon_vma in vma.chain:
            anon_vma.link(vma)

    def unlink_anon_vmas(self, vma: Vma) -> None:
        """Take a VMA out of its anon_vmas: the reverse map does not find it any more."""
        for anon_vma in vma.chain:
            anon_vma.vmas.remove(vma)
        vma.chain = []

    def split(self, vma: Vma, address: int) -> Vma:
        """Cut `vma` at `address`, which lies inside it; returns the new upper part. Page tables are not looked at."""
        upper = Vma(self, address, vma.end, vma.prot, vma.flags, vma.index(address), list(vma.chain))
        vma.end = address
        for anon_vma in vma.chain:
            anon_vma.link(vma)
        self.insert(upper)
        return upper

    def grow(self, vma: Vma, end: int) -> None:
        """Let `vma` go on to `end`, where no other is. Page tables are not looked at."""
        vma.end = end
        for anon_vma in vma.chain:
            anon_vma.link(vma)

    def mergeable(self, vma: Vma, into_unfaulted: bool) -> tuple[Vma, ...]:
        """The neighbours before and after `vma`, which may be off the list yet,
        that it could be one VMA with (vma_merge).

        `into_unfaulted`: also a neighbour without pages takes in a VMA with pages, unless these came by a fork.
        """
        own = (
            len(vma.chain) == 1 or vma not in self.vmas
        )  # the VMA that a copy is made of goes away, and its chain with it

        def may_share(neighbour: Vma) -> bool:
            """May the two have one reverse map (is_mergeable_anon_vma)? Also if only one has pages,
            and they are its process's own.
            """
            unfaulted = not neighbour.chain and own and into_unfaulted
            return vma.chain == neighbour.chain or (not vma.chain and len(neighbour.chain) == 1) or unfaulted

        before = next((v for v in self.vmas if v.end == vma.start and self._same(v, vma) and may_share(v)), None)
        after = next((v for v in self.vmas if v.start == vma.end and self._same(vma, v) and may_share(v)), None)
        if before and after and before.chain and after.chain and before.chain != after.chain:
            after = None  # `vma` has no pages yet and fits to both, but they do not fit to each other
        return tuple(v for v in (before, after) if v is not None)

    def merge(self, vma: Vma, others: tuple[Vma, ...]) -> Vma:
        """Join `vma` with neighbours that `mergeable` has named; returns the one that is left."""
        left, *rest = sorted((vma, *others), key=lambda v: v.start)
        for right in rest:
            self.vmas.remove(right)
            if left.chain:
                self.unlink_anon_vmas(right)
            else:
                left.chain = right.chain
                for anon_vma in left.chain:
                    anon_vma.vmas.remove(right)
            left.end = right.end
        for anon_vma in left.chain:
            anon_vma.link(left)
        return left

    def _same(self, left: Vma, right: Vma) -> bool:
        """Two neighbours that differ in nothing that a VMA says, and whose pages have indexes in one row."""
        there = left.index(right.start)
        return (left.prot, left.flags, there) == (right.prot, right.flags, right.pgoff)
