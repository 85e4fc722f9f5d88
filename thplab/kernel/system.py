"""What the kernel's routines act on: frames, page tables, address spaces, CPUs, counters of events.

`System` holds data and the few operations that every room above needs; the routines hold the algorithms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from thplab.errors import KernelBug
from thplab.hardware.frames import (
    PageFrames,
    PG_anon,
    PG_anon_exclusive,
    PG_head,
    PG_locked,
    PG_lru,
    PG_partially_mapped,
    PG_swapbacked,
    PG_swapcache,
    PG_tail,
    single,
    width,
)
from thplab.hardware.geometry import Geometry
from thplab.hardware.page_tables import PageTables
from thplab.hardware.steps import Costs, Cpus, Routine, change, read
from thplab.hardware.steps import routine as routine
from thplab.hardware.swap_device import SwapDevice
from thplab.kernel.address_space import AddressSpace, AnonVma
from thplab.kernel.policies import Kernel
from thplab.kernel.rmap_items import Ksm

_SWAP_THPS = 32
"""Room on the swap device, in huge pages: 64 MiB on x86-64, as in the recordings."""


@dataclass(frozen=True)
class Pin:
    """References that a driver took with get_user_pages: the pages it was given, in order (may repeat)."""

    name: str
    proc: str
    pages: tuple[int, ...]
    foll_pin: bool = False
    """They are FOLL_PIN pins, which say that the driver reads or writes the contents; else FOLL_GET references."""
    files: frozenset[str] = frozenset()
    """The processes that have the driver's file open: the last one that exits ends the pin. Empty: it outlives them all."""

    @property
    def key(self) -> str:
        return f"pin {self.name} {self.proc} {self.pages} {self.foll_pin} {sorted(self.files)}"


class System:
    """The whole machine as the kernel sees it.

    `variants` replaces routines by name (mutants). `whole` is the grain: True changes all subpages in one step. `swap` names
    the kind of the swap device; empty for none.
    """

    def __init__(
        self, kernel: Kernel, geometry: Geometry, nframes: int, variants: Mapping[str, Callable[..., Any]], swap: str = ""
    ) -> None:
        self.kernel = kernel
        self.scheme = kernel.scheme
        self.refcount_name = kernel.refcount_name
        """What texts call the reference count."""
        self.variants = variants
        self.geometry = geometry
        self.costs = Costs()
        self.cpus = Cpus(self.costs)
        self.frames = PageFrames(geometry, nframes, self.costs)
        self.tables = PageTables(geometry, self.frames)
        self.mms: dict[str, AddressSpace] = {}
        self.anon_vmas: dict[int, AnonVma] = {}
        self.pins: dict[str, Pin] = {}
        self.vmstat: dict[str, int] = dict.fromkeys(kernel.proc.events, 0)
        self.deferred: dict[int, None] = {}
        """The deferred split queue: heads of huge pages of which a part is unmapped, in the order in which they came."""
        self.huge_zero_page = 0
        """pfn of the huge zero page; 0 before its first use."""
        self.settings = {"max_ptes_none": geometry.nr - 1}
        """What files of /sys hold. max_ptes_none: so many pages of a huge page may be missing or hold nothing but zeroes."""
        self.swap = SwapDevice(swap, _SWAP_THPS * geometry.nr) if swap else None
        self.poisoned: dict[int, None] = {}
        """Pages on which memory failure keeps a reference for ever, in the order in which they went bad."""
        self.ksm = Ksm()
        self.whole = True

    def __repr__(self) -> str:
        return f"<System {self}>"

    def __str__(self) -> str:
        living = ", ".join(self.mms) or "no process"
        return f"{self.kernel.name}, {self.geometry.name}, {len(self.frames.refcount)} frames: {living}"

    # --- grain --------------------------------------------------------------------------------------------------------

    def each(self, pages: slice) -> tuple[slice, ...]:
        """`pages` at the machine's grain: one part when stepped or drained, page by page when raced."""
        if self.whole:
            return (pages,)
        return tuple(single(i) for i in range(pages.start, pages.stop))

    # --- names --------------------------------------------------------------------------------------------------------

    def ptl(self, table: int) -> str:
        """Name of the page table lock of a PMD or PTE table."""
        return f"ptl {table:#x}"

    def compound_lock(self, head: int) -> str:
        return f"compound_lock {head:#x}"

    def page_lock(self, page: int) -> str:
        """The page lock of a page: that of its head, which a tail keeps until the split that made it a page is over."""
        shared = bool(self.frames.flags[page] & (PG_tail | PG_locked))
        return f"page_lock {int(self.frames.first_page[page]) if shared else page:#x}"

    def page_name(self, page: int) -> str:
        """How texts name a page: by its pfn."""
        return f"pfn {page:#x}"

    def pages_text(self, part: slice) -> str:
        """How texts name pages that change together: "head", "each tail", "tail 3", "pages 2-4", "pfn 0x9"."""
        frames = self.frames
        if not frames.is_compound(part.stop - 1):
            return f"pfn {part.start:#x}" if width(part) == 1 else f"{width(part)} small pages:"
        head = frames.compound_head(part.stop - 1)
        low, high = part.start - head, part.stop - 1 - head
        if low == high:
            return f"tail {low}" if low else "head"
        if high == self.geometry.nr - 1 and low <= 1:
            return "each tail" if low else "each subpage"
        return f"subpages {low}-{high}"

    # --- events -------------------------------------------------------------------------------------------------------

    def count_vm_event(self, event: str, times: int = 1) -> str:
        """`times` more in /proc/vmstat; returns the event, or nothing if this kernel does not have it.

        Per-CPU, and nobody's decision depends on it: part of the step beside it.
        """
        if event not in self.vmstat:
            return ""
        self.vmstat[event] += times
        return event

    # --- pages --------------------------------------------------------------------------------------------------------

    def page_add_new(self, pages: slice, anon_vma: AnonVma, index: int) -> None:
        """Register fresh anonymous pages in the reverse map and on the LRU; nobody else sees them yet (plain stores)."""
        frames = self.frames
        frames.mapping[pages] = anon_vma.number
        frames.index[pages] = np.arange(index, index + width(pages))
        frames.flags[pages] |= PG_anon
        exclusive = PG_anon_exclusive if self.kernel.cow.anon_exclusive else 0
        first = pages.start if frames.is_compound(pages.start) else pages
        frames.flags[first] |= PG_lru | PG_swapbacked | exclusive

    def get_page_unless_zero(self, head: int) -> Routine[bool]:
        """Take a reference on a head or a small page that may be freed at any time; returns False if it has none any more."""
        if not self.frames.ref_inc_not_zero(head):
            yield read("get_page_unless_zero: no, the page is being freed")
            return False
        yield change(f"head {self.refcount_name} += 1", "Whoever works on a page holds a reference of its own.")
        return True

    def put_small_pages(self, pages: slice) -> Routine[None]:
        """Drop one reference of each of these pages that are not compound; free those that had no other."""
        parts = self.each(pages)
        frames = self.frames
        for part in parts:
            frames.ref_add(part, -1)
            freed = frames.runs_in_blocks((frames.refcount[part] == 0).nonzero()[0] + part.start)
            yield change(f"{self.pages_text(part)} {self.refcount_name} -= 1")
            if freed:
                for first, count in freed:
                    frames.free_small_pages(first, count)
                total = sum(count for _, count in freed)
                yield change("free " + (f"{total} pages" if total > 1 else self.page_name(freed[0][0])))

    def free_page(self, page: int) -> Routine[None]:
        """Give back a page, or a whole compound page by its head, whose last reference was just dropped."""
        frames = self.frames
        if frames.flags[page] & PG_tail:
            raise KernelBug(f"free of a tail, {self.page_name(page)}")
        huge = bool(frames.flags[page] & PG_head)
        if page in self.deferred:
            yield from self.cpus.lock("split_queue_lock")
            self.deferred.pop(page, None)
            yield change("off the deferred split queue")
            yield from self.cpus.unlock("split_queue_lock")
        frames.free_pages(page, self.geometry.order if huge else 0)
        yield change(
            f"free the compound page, {self.geometry.nr} frames" if huge else f"free {self.page_name(page)}",
            "The last reference is gone." if not huge else "A compound page is freed as one: only when nobody holds any part of it.",
        )

    def deferred_split_huge_page(self, head: int, partially_mapped: bool = True, times: int = 1) -> Routine[None]:
        """Queue a huge page for memory pressure to split (mm/huge_memory.c): some part of it is mapped no more, or, if not
        `partially_mapped`, it is new and might turn out to be hardly used.

        Does nothing for a page in the swap cache: reclaim is at it already. `times` counts the calls that a vectorised step stands
        for: each takes the lock, the first one queues the page.
        """
        if self.frames.flags[head] & PG_swapcache:
            yield read("the page is in the swap cache: reclaim is at it already")
            return
        yield from self.cpus.lock("split_queue_lock")
        self.costs.locks["split_queue_lock"] += times - 1
        marks = self.kernel.queue.takes_new  # else being on the queue says it
        if marks and partially_mapped and not self.frames.flags[head] & PG_partially_mapped:
            self.frames.flags[head] |= PG_partially_mapped
            self.count_vm_event("thp_deferred_split_page")
            yield change("mark the page partially mapped", "A part of it is of no use to anybody: reclaim may split it.")
        if head not in self.deferred:
            self.deferred[head] = None
            if not marks:
                self.count_vm_event("thp_deferred_split_page")
            yield change("queue the page for a deferred split", "A part of it is of no use to anybody." if partially_mapped else "")
        yield from self.cpus.unlock("split_queue_lock")

    # --- address spaces -----------------------------------------------------------------------------------------------

    def new_mm(self, name: str, pgd: int) -> AddressSpace:
        """A fresh address space with the lowest free mm id, which is one of the machine's from now on."""
        taken = {mm.mm_id for mm in self.mms.values()}
        mm = AddressSpace(name, self.geometry, pgd, next(n for n in range(1, len(taken) + 2) if n not in taken))
        self.mms[name] = mm
        return mm

    def share_files(self, parent: str, child: str) -> None:
        """A fork gives the child all open files of the parent, so those that pins hang on, too."""
        for name, pin in self.pins.items():
            if parent in pin.files:
                self.pins[name] = replace(pin, files=pin.files | {child})

    # --- anon_vma -----------------------------------------------------------------------------------------------------

    def new_anon_vma(self, root: int = 0) -> AnonVma:
        """A fresh, empty anon_vma with the lowest free number, in the family of `root` (0: its own)."""
        taken = self.anon_vmas.keys() | {a.root for a in self.anon_vmas.values()}
        number = next(n for n in range(1, len(taken) + 2) if n not in taken)
        self.anon_vmas[number] = AnonVma(number, root or number)
        return self.anon_vmas[number]

    def drop_empty_anon_vmas(self) -> None:
        """Forget the anon_vmas that no VMA is in any more."""
        self.anon_vmas = {n: a for n, a in self.anon_vmas.items() if a.vmas}
