"""A number for each frame of a machine that is 0 for most: how often it is mapped, pinned or cached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import overload

import numpy as np

from thplab.hardware.blocks import Array, pieces


class FrameCounts:
    """Numbers by pfn or by slice of pfns, as an array over all frames has them. They do not change.

    Every state of a trace has some of these, so only blocks of a huge page's size are kept in which something is not 0.
    """

    __slots__ = ("_blocks", "_order")

    def __init__(self, order: int, added: Iterable[tuple[int, int, int]], before: FrameCounts | None = None) -> None:
        """What stood there `before`, nothing at first, and for each (pfn, count, n) `n` more for `count` frames from
        `pfn` on. Blocks have `1 << order` frames.
        """
        self._order = order
        self._blocks: dict[int, Array] = {}
        if before is not None:
            self._blocks |= {number: block.copy() for number, block in before._blocks.items()}
        for first, count, n in added:
            for number, low, high in pieces(self._order, first, first + count):
                if number not in self._blocks:
                    self._blocks[number] = np.zeros(1 << order, np.int64)
                self._blocks[number][low:high] += n
        for block in self._blocks.values():
            block.flags.writeable = False

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> Array: ...
    def __getitem__(self, at: int | slice) -> int | Array:
        if not isinstance(at, slice):
            block = self._blocks.get(at >> self._order)
            return 0 if block is None else int(block[at & (1 << self._order) - 1])
        parts = [self._part(*piece) for piece in pieces(self._order, at.start, at.stop)]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int64), *parts])

    def _part(self, number: int, low: int, high: int) -> Array:
        block = self._blocks.get(number)
        return np.zeros(high - low, np.int64) if block is None else block[low:high]

    def any(self) -> bool:
        """Is any of them not 0?"""
        return any(block.any() for block in self._blocks.values())

    def sum(self) -> int:
        """All of them together."""
        return sum(int(block.sum()) for block in self._blocks.values())
