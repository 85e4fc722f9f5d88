"""What the kernel's routines act on: page frames and page tables, address spaces, pins, swap. Data;
the routines hold the algorithms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import CodeType
from typing import Any

from thplab.hardware.geometry import Geometry
from thplab.hardware.page_tables import PageTables
from thplab.hardware.steps import ROUTINES
from thplab.hardware.swap_device import SwapDevice
from thplab.kernel.address_space import VM_HUGEPAGE, VM_NOHUGEPAGE, AddressSpace, AnonVma
from thplab.kernel.memory import Memory
from thplab.kernel.policies import Kernel
from thplab.kernel.rmap_items import Ksm

_SWAP_THPS = 32
"""Room on the swap device, in huge pages: 64 MiB on x86-64, as in the recordings."""


THP_MODES = ("never", "madvise", "always")
"""What /sys/kernel/mm/transparent_hugepage/enabled may say: who gets huge pages."""
DEFRAG_MODES = ("defer+madvise", "defer", "always", "madvise", "never")
"""What its file defrag may say: who waits for compaction and reclaim to make room for one."""


@dataclass(frozen=True)
class Pin:
    """References that a driver took with get_user_pages: the pages on which it holds one, in order (may repeat)."""

    name: str
    proc: str
    pages: tuple[int, ...]
    buffer: tuple[int, ...] = ()
    """The pages that it was given to work on, in order.
    A driver that needs one reference for each folio holds fewer.
    """
    foll_pin: bool = False
    """They are FOLL_PIN pins, which say that the driver reads or writes the contents; else FOLL_GET references."""
    files: frozenset[str] = frozenset()
    """The processes that have the driver's file open: the last one that exits ends the pin. Empty:
    it outlives them all.
    """

    @property
    def key(self) -> str:
        return f"pin {self.name} {self.proc} {self.pages} {self.buffer} {self.foll_pin} {sorted(self.files)}"


class System(Memory):
    """The whole machine as the kernel sees it. `swap` names the kind of the swap device; empty for none."""

    def __init__(
        self,
        kernel: Kernel,
        geometry: Geometry,
        nframes: int,
        variants: Mapping[str, Callable[..., Any]],
        swap: str = "",
    ) -> None:
        queue = kernel.queue
        super().__init__(
            geometry,
            nframes,
            variants,
            kernel.refcount_name,
            kernel.proc.events,
            queues_new=bool(queue.takes_new),
            queues_unmapped=bool(queue.takes_unmapped),
        )
        self.kernel = kernel
        self.scheme = kernel.scheme
        self.frames.checks_new = bool(kernel.hwpoison.checks_new)
        self.tables = PageTables(geometry, self.frames)
        self.mms: dict[str, AddressSpace] = {}
        self.anon_vmas: dict[int, AnonVma] = {}
        self.pins: dict[str, Pin] = {}
        self.huge_zero_page = 0
        """pfn of the huge zero page; 0 before its first use."""
        self.settings = {
            "enabled": THP_MODES.index("madvise"),
            "defrag": DEFRAG_MODES.index("madvise" if kernel.proc.defrag_defers else "always"),
            "use_zero_page": 1,
            "shrink_underused": 1,
            "max_ptes_none": geometry.nr - 1,
            "max_ptes_swap": geometry.nr // 8,
            "max_ptes_shared": geometry.nr // 2,
            "ksm_use_zero_pages": 0,
        }
        """What files of /sys hold. max_ptes_none, _swap, _shared: for khugepaged, so many pages of a huge page may be
        missing or hold nothing but zeroes, be swapped out, or be shared. shrink_underused: new huge pages are queued.
        """
        self.swap = SwapDevice(swap, _SWAP_THPS * geometry.nr) if swap else None
        self.poisoned: list[int] = []
        """Pages on which memory failure keeps a reference for ever, one entry for each,
        in the order in which they came.
        """
        self.ksm = Ksm()

    def __repr__(self) -> str:
        return f"<System {self}>"

    def __str__(self) -> str:
        living = ", ".join(self.mms) or "no process"
        return f"{self.kernel.name}, {self.geometry.name}, {len(self.frames.refcount)} frames: {living}"

    @property
    def queues_new_now(self) -> bool:
        """Does a new huge page go on the deferred split queue, as the kernel and its setting have it?"""
        return bool(self.kernel.queue.takes_new and self.settings["shrink_underused"])

    def wants_huge(self, flags: frozenset[str]) -> bool:
        """May a VMA with these flags have huge pages, as the setting `enabled` has it?"""
        mode = THP_MODES[self.settings["enabled"]]
        return VM_NOHUGEPAGE not in flags and (mode == "always" or (mode == "madvise" and VM_HUGEPAGE in flags))

    def ptl(self, table: int) -> str:
        """Name of the page table lock of a PMD or PTE table."""
        return f"ptl {table:#x}"

    def mmap_sem(self, process: str) -> str:
        """Name of the lock over the VMAs of a process."""
        return f"{self.kernel.names.of('mmap_sem')} of {process}"

    @cached_property
    def shown(self) -> dict[CodeType, str]:
        """The code of each routine, and of what runs in its place -> what the call tree shows for it."""
        names = self.kernel.names
        right = {each.right.__code__: names.shown(each) for each in ROUTINES.values()}
        return right | {wrong.__code__: names.shown(ROUTINES[name]) for name, wrong in self.variants.items()}
