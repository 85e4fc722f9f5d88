"""Page frames and what goes with them: CPUs with their locks, counters of events, the deferred split queue.

This is as much of a machine as a refcounting scheme sees:
no page tables, no address spaces, and not the kernel's record, which names a scheme itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from thplab.hardware.frames import PageFrames, PG_locked, PG_order, PG_tail, single, width
from thplab.hardware.geometry import Geometry
from thplab.hardware.steps import Costs, Cpus


class DeferredQueue(dict[int, None]):
    """The deferred split queue: heads of huge pages of which a part is unmapped, in the order in which they came."""

    _kept: tuple[int, ...] | None = None

    def __setitem__(self, head: int, nothing: None) -> None:
        self._kept = None
        super().__setitem__(head, nothing)

    def pop(self, head: int, default: None = None) -> None:  # type: ignore[override]
        self._kept = None
        super().pop(head, default)

    def keep(self) -> tuple[int, ...]:
        """The heads as they are now; the same object until something changes."""
        if self._kept is None:
            self._kept = tuple(self)
        return self._kept


class Memory:
    """The page frames of a machine.

    `variants` replaces routines by name (mutants). `whole` is the grain: True changes all subpages in one step.
    `refcount_name` is what texts call the reference count, `events` are those of /proc/vmstat.
    """

    def __init__(
        self,
        geometry: Geometry,
        nframes: int,
        variants: Mapping[str, Callable[..., Any]],
        refcount_name: str,
        events: tuple[str, ...],
        queues_new: bool,
        queues_unmapped: bool,
    ) -> None:
        self.geometry = geometry
        self.variants = variants
        self.refcount_name = refcount_name
        self.costs = Costs()
        self.cpus = Cpus(self.costs, self._mark)
        self.frames = PageFrames(geometry, nframes, self.costs)
        self.vmstat: dict[str, int] = dict.fromkeys(events, 0)
        self.deferred = DeferredQueue()
        self.queues_new = queues_new
        """A new huge page goes on the queue at once; a mark says then of which ones a part is unmapped."""
        self.queues_unmapped = queues_unmapped
        """A huge page that lost its last mapping but is pinned goes on the queue, too."""
        self.whole = True

    def each(self, pages: slice) -> tuple[slice, ...]:
        """`pages` at the machine's grain: one part when stepped or drained, page by page when raced."""
        if self.whole:
            return (pages,)
        return tuple(single(i) for i in range(pages.start, pages.stop))

    def count_vm_event(self, event: str, times: int = 1) -> str:
        """`times` more in /proc/vmstat; returns the event, or nothing if this kernel does not have it.

        Per-CPU, and nobody's decision depends on it: part of the step beside it.
        """
        if event not in self.vmstat:
            return ""
        self.vmstat[event] += times
        return event

    # --- names --------------------------------------------------------------------------------------------------------

    def compound_lock(self, head: int) -> str:
        return f"compound_lock {head:#x}"

    def page_lock(self, page: int) -> str:
        """The page lock of a page: that of its head, which a tail keeps until the split that made it a page is over."""
        own, flags = f"page_lock {page:#x}", int(self.frames.flags[page])
        shared = flags & PG_tail or (flags & PG_locked and own not in self.cpus.held)
        return f"page_lock {int(self.frames.first_page[page]):#x}" if shared else own

    def _mark(self, lock: str, locked: bool) -> None:
        """The page lock is a bit of the page."""
        kind, _, number = lock.partition(" ")
        if kind == "page_lock":
            page = int(number, 16)
            flags = int(self.frames.flags[page])
            self.frames.flags[page] = flags | PG_locked if locked else flags & ~PG_locked

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
        if frames.flags[head] & PG_order:
            return f"pfn {part.start:#x}" + (f"-{part.stop - 1:#x}:" if low != high else "")
        if low == high:
            return f"tail {low}" if low else "head"
        if high == self.geometry.nr - 1 and low <= 1:
            return "each tail" if low else "each subpage"
        return f"subpages {low}-{high}"
