"""The swap device: its slots, how often each is used, what was written to them, and the swap cache over them.

A slot is the place of one page on the device. `swap_map` counts the swap entries that name it; while a page is in the
swap cache, its slot is in use as well (the kernel's SWAP_HAS_CACHE).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from thplab.errors import BadInput, KernelBug
from thplab.hardware.frames import width


class DeviceKind(NamedTuple):
    """What kind of thing is swapped to."""

    takes_thp: bool
    """Slots can be given out a huge page at a time: a block device, not a file."""
    synchronous: bool
    """A write is over when it returns, so the page can go at once;
    elsewhere it ends later, and the page stays in the swap cache.
    """


DEVICES = {"swap": DeviceKind(True, False), "swapfile": DeviceKind(False, False), "zram": DeviceKind(True, True)}
"""Kind of a swap device by name. tests/truth/README.md: env `swap` (a disk; a file in linux-6.18.jsonl) and `zram`."""

NO_PAGE = 0
"""In the swap cache: no page. Page 0 is the zero page, which is never swapped out."""


class SwapDevice:
    """A swap area of `slots` slots. Slots are given out from the lowest on; those of a huge page lie together, aligned.

    swap_map  swap entries that name the slot
    cache     pfn of the slot's page in the swap cache, NO_PAGE if it has none
    content   what was written to the slot last
    """

    def __init__(self, name: str, slots: int) -> None:
        if name not in DEVICES:
            raise BadInput("swap", f"{name!r} does not exist", "empty for none, or one of " + ", ".join(DEVICES))
        self.name = name
        self.kind = DEVICES[name]
        self.swap_map: npt.NDArray[np.int32] = np.zeros(slots, np.int32)
        self.cache: npt.NDArray[np.int32] = np.full(slots, NO_PAGE, np.int32)
        self.content: npt.NDArray[np.int64] = np.zeros(slots, np.int64)
        self.slot_of: dict[int, int] = {}
        """Page -> its slot, for every page in the swap cache (page_private); the tails of a huge page as well."""
        self.touched = True
        """Slots were stored to since the last state, whose arrays are `kept`."""
        self.kept: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int64]] | None = None

    @property
    def key(self) -> str:
        return "swap device"

    def find_slots(self, count: int) -> int | None:
        """The first of `count` free slots that lie together, aligned to `count`; None if there are none."""
        free = (self.swap_map == 0) & (self.cache == NO_PAGE)
        found = np.flatnonzero(free.reshape(-1, count).all(axis=1))
        return int(found[0]) * count if len(found) else None

    def add(self, pages: slice, slot: int) -> None:
        """Put pages that lie together into the swap cache, at free slots that lie together."""
        slots = slice(slot, slot + width(pages))
        if self.cache[slots].any():
            raise KernelBug(f"slot {slot} has a page in the swap cache already")
        self.touched = True
        self.cache[slots] = np.arange(pages.start, pages.stop)
        self.slot_of.update(zip(range(pages.start, pages.stop), range(slots.start, slots.stop), strict=True))

    def remove(self, pages: slice) -> None:
        """Take pages out of the swap cache. Their slots are free if no swap entry names them."""
        self.touched = True
        for page in range(pages.start, pages.stop):
            self.cache[self.slot_of.pop(page)] = NO_PAGE

    def move(self, pages: slice, new: int) -> None:
        """Pages from `new` on take the place in the swap cache of `pages`, which lie together."""
        slot = self.slots(pages).start
        self.remove(pages)
        self.add(slice(new, new + width(pages)), slot)

    def slots(self, pages: slice) -> slice:
        """The slots of pages that are in the swap cache together."""
        slot = self.slot_of[pages.start]
        return slice(slot, slot + width(pages))

    def swap_count(self, pages: slice) -> int:
        """How many swap entries name these pages, which are in the swap cache (page_swapcount)."""
        return int(self.swap_map[self.slots(pages)].sum())

    def page(self, slot: int) -> int:
        """The page of a slot in the swap cache, NO_PAGE if it has none."""
        return int(self.cache[slot])

    def duplicate(self, slots: slice) -> None:
        """One more swap entry for each of these slots (swap_duplicate)."""
        self.touched = True
        self.swap_map[slots] += 1

    def free(self, slots: slice) -> None:
        """One swap entry less for each of these slots (swap_free)."""
        self.touched = True
        self.swap_map[slots] -= 1
        if (self.swap_map[slots] < 0).any():
            raise KernelBug(f"slot {slots.start} is freed more often than it was used")

    def write(self, slots: slice, contents: npt.NDArray[np.int64]) -> None:
        """Put something on the device."""
        self.touched = True
        self.content[slots] = contents

    def read(self, slot: int) -> int:
        """What is on the device."""
        return int(self.content[slot])
