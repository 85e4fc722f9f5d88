"""A small buddy allocator: blocks of 1, 2, 4 ... frames, naturally aligned, lowest address first."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from thplab.errors import KernelBug


class Buddy:
    """Free blocks of `nframes` frames, up to blocks of `1 << max_order`.

    The choice among equal blocks is by lowest address and freed blocks always coalesce, so what is free determines
    what comes next: a machine rebuilt from a state allocates as the original would.
    """

    def __init__(self, nframes: int, max_order: int) -> None:
        self.max_order = max_order
        self.nr_free = self._end = nframes
        self.fresh = 0
        """From here on nothing was ever given out: free blocks of the highest order, which are on no list."""
        self._free: list[set[int]] = [set() for _ in range(max_order + 1)]
        self._heaps: list[list[int]] = [[] for _ in range(max_order + 1)]

    @classmethod
    def with_used(cls, nframes: int, used: Mapping[int, npt.NDArray[np.bool_]], max_order: int) -> Buddy:
        """The allocator in which exactly the frames marked in `used` are taken: by number of the block, all in it.

        A block that is left out is free.
        """
        buddy, nr = cls(nframes, max_order), 1 << max_order
        taken = {number: frames for number, frames in used.items() if frames.any()}
        last = max(taken, default=-1)
        buddy.fresh = (last + 1) << max_order
        buddy.nr_free -= buddy.fresh
        for number in range(last + 1):
            frames = taken.get(number)
            if frames is None:
                buddy.nr_free += nr
                buddy._push(number << max_order, max_order)
            elif not frames.all():
                borders = [0, *(np.flatnonzero(frames[1:] != frames[:-1]) + 1).tolist(), nr]
                for low, high in itertools.pairwise(borders):
                    if not frames[low]:
                        buddy.free_run((number << max_order) + low, high - low)
        return buddy

    def alloc(self, order: int) -> int | None:
        """First pfn of a free block of `1 << order` frames, now taken; None when there is none."""
        for have in range(order, self.max_order + 1):
            if self._free[have]:
                pfn = self._pop(have)
                break
        else:
            if self.fresh == self._end:
                return None
            pfn, have = self.fresh, self.max_order
            self.fresh += 1 << have
        while have > order:
            have -= 1
            self._push(pfn + (1 << have), have)
        self.nr_free -= 1 << order
        return pfn

    def free(self, pfn: int, order: int) -> None:
        """Give back a block that alloc returned, or a whole aligned part of one. KernelBug on a double free."""
        if pfn >= self.fresh:
            raise KernelBug(f"frame {pfn:#x} is freed twice")
        for larger in range(order, self.max_order + 1):
            if pfn >> larger << larger in self._free[larger]:
                raise KernelBug(f"frame {pfn:#x} is freed twice")
        self.nr_free += 1 << order
        while order < self.max_order and pfn ^ (1 << order) in self._free[order]:
            self._free[order].remove(pfn ^ (1 << order))
            pfn &= ~(1 << order)
            order += 1
        self._push(pfn, order)

    def free_run(self, pfn: int, count: int) -> None:
        """Give back `count` frames from `pfn` on, of which the caller knows that none is free,
        in blocks as large as they can be.
        """
        end = pfn + count
        while pfn < end:
            order = min(
                self.max_order, (pfn & -pfn).bit_length() - 1 if pfn else self.max_order, (end - pfn).bit_length() - 1
            )
            self.free(pfn, order)
            pfn += 1 << order

    def _push(self, pfn: int, order: int) -> None:
        self._free[order].add(pfn)
        heapq.heappush(self._heaps[order], pfn)

    def _pop(self, order: int) -> int:
        # Entries of the heap whose block was merged away or taken are stale and skipped.
        while True:
            pfn = heapq.heappop(self._heaps[order])
            if pfn in self._free[order]:
                self._free[order].remove(pfn)
                return pfn
