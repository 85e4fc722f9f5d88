"""Where struct pages are kept: in blocks of a huge page's size, which are made when something is first stored there.

A block holds a field as a pair, what its first frame has and what all others have, or as a range of numbers that go
up by one, for as long as that says all: so the struct pages of a huge page take no more room than a few numbers. Else
the field is an array; one that was filled to its end is packed until the next store. What a state was taken of is never
stored to again: a store makes an array of its own first, and notes the block, so that the next state looks at nothing
else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from thplab.hardware.shared import Shared

Array: TypeAlias = npt.NDArray[np.int64]
_WORTH = 64
"""An array of a block is looked at again, whether it can do with less, in blocks of so many frames or more."""


def pieces(order: int, low: int, high: int) -> Iterator[tuple[int, int, int]]:
    """The frames [low, high) as (block, low, high) inside it, of blocks of `1 << order` frames."""
    while low < high:
        base = low >> order << order
        stop = min(high, base + (1 << order))
        yield low >> order, low - base, stop - base
        low = stop


class Packed:
    """An array in less room. Of two values, `codes` has a bit for each frame: which one it has. Else they are 16 bits:
    how much more than `least`; there 0 is 0, which frames have that are of another kind.
    """

    __slots__ = ("codes", "least", "most")

    def __init__(self, codes: npt.NDArray[Any], least: int, most: int | None = None) -> None:
        self.codes = codes
        self.least = least
        self.most = most
        """The other one of two values."""

    def __getitem__(self, inside: int | slice | Array) -> Any:
        """A number, or an array."""
        if self.most is not None:
            found = np.where(np.unpackbits(self.codes)[inside], self.most, self.least)
        else:
            codes = self.codes[inside]
            found = np.where(codes > 0, codes.astype(np.int64) + self.least, 0)
        return found if found.ndim else int(found)


Held: TypeAlias = "tuple[int, int] | range | Packed | npt.NDArray[Any]"
"""A field of a block: (of the first frame, of each other), or one for each."""


class BlockState:
    """The fields of a block at one time. They do not change any more, and neighbours in time share them."""

    __slots__ = ("_shown", "columns", "nr")

    def __init__(self, columns: tuple[Held, ...], nr: int) -> None:
        self.columns = columns
        self.nr = nr
        self._shown: Array | None = None

    @classmethod
    def of(cls, fields: Array, types: Sequence[np.dtype[Any]]) -> BlockState:
        """The block with these fields, one row for each."""
        return cls(tuple(map(_held, fields, types)), fields.shape[1])

    def shown(self, flags: int, used: int, lasts: int) -> Array:
        """[fields, nr], read-only. Frames without the flag `used` show the first field only, and the flag `lasts`."""
        if self._shown is None:
            rows = np.empty((len(self.columns), self.nr), np.int64)
            for row, held in zip(rows, self.columns, strict=True):
                _spread(held, row)
            hidden = (rows[flags] & used) == 0
            if hidden.any():
                lasting = rows[flags] & lasts
                rows[1:, hidden] = 0
                rows[flags, hidden] = lasting[hidden]
            rows.flags.writeable = False
            self._shown = rows
        return self._shown


class FrameBlock:
    """The fields of a block that is in use."""

    __slots__ = ("columns", "dirty", "in_use")

    def __init__(self, columns: Sequence[Held]) -> None:
        self.columns: list[Held] = list(columns)
        self.in_use = 0
        """How many of its frames are allocated."""
        self.dirty = 0
        """Bit n: field n was stored to since the last state, so its array, if it has one, is the block's own."""


class Blocks:
    """All blocks of a machine, of `1 << order` frames each. `types` are the types of the fields as arrays.

    `unused` is what each field of a frame holds before the first store. A block in which nothing is allocated is in no
    state, unless one of the fields `last` has something.
    """

    def __init__(
        self, order: int, types: Sequence[npt.DTypeLike], unused: Sequence[int], last: tuple[int, ...]
    ) -> None:
        self.order = order
        self.nr = 1 << order
        self.types = tuple(np.dtype(t) for t in types)
        self.last = last
        self.unused = tuple((value, value) for value in unused)
        self.block: dict[int, FrameBlock] = {}
        self.touched: set[int] = set()
        """The blocks that were stored to since the last state."""
        self.kept: Shared[BlockState] = Shared()
        """What the last state has."""

    def writable(self, number: int, row: int) -> FrameBlock:
        """The block, noted as one whose field `row` is stored to."""
        block = self.block.get(number)
        if block is None:
            block = self.block[number] = FrameBlock(self.unused)
        bit = 1 << row
        if not block.dirty & bit:
            if not block.dirty:
                self.touched.add(number)
            block.dirty |= bit
            held = block.columns[row]
            if isinstance(held, np.ndarray):
                block.columns[row] = held.copy()
        return block

    def store(self, number: int, row: int, low: int, high: int, value: Any) -> None:
        """Let the frames [low, high) of a block have `value`, one number or one for each, in field `row`."""
        if type(value) is not int:
            value = _plain(value, low, high == self.nr)
        block = self.block.get(number)
        held = self.unused[row] if block is None else block.columns[row]
        if type(value) is int and isinstance(held, tuple) and value == held[1] and (low or value == held[0]):
            return
        block = self.writable(number, row)
        held = block.columns[row]
        if isinstance(value, (tuple, range)):
            block.columns[row] = value
            return
        if type(value) is int:
            if high == self.nr and low <= 1:
                block.columns[row] = (int(held[0]) if low else value, value)
                return
            if low == 0 and high == 1 and isinstance(held, tuple):
                block.columns[row] = (value, held[1])
                return
        if not isinstance(held, np.ndarray):
            spread = np.empty(self.nr, self.types[row])
            _spread(held, spread)
            held = block.columns[row] = spread
        held[low:high] = value
        if high == self.nr >= _WORTH:  # what is filled from its start on is full now
            block.columns[row] = _packed(held)

    def fill(self, number: int, low: int, high: int, values: Mapping[int, int]) -> None:
        """Let the frames [low, high) of a block have one value in each of some fields."""
        block = self.block.get(number)
        for row, value in values.items():
            held = self.unused[row] if block is None else block.columns[row]
            if not (isinstance(held, tuple) and value == held[1] and (low or value == held[0])):
                self.store(number, row, low, high, value)

    def spread(self, held: Held) -> Array:
        """A field of a block as one number for each frame, in an array of the caller's own."""
        found = np.empty(self.nr, np.int64)
        _spread(held, found)
        return found

    def lasts(self, block: FrameBlock) -> bool:
        """Is there something to be seen in a block in which nothing is allocated?"""
        fields = (block.columns[row] for row in self.last)
        return any(any(held) if isinstance(held, (tuple, range)) else held[:].any() for held in fields)

    def drop(self, number: int) -> None:
        """Nothing of the block is in use, and nothing is worth keeping."""
        del self.block[number]
        self.touched.add(number)

    def keep(self) -> Shared[BlockState]:
        """The blocks as they are now. Only those that were touched are looked at; equal ones are the same objects."""
        if self.touched:
            news = {number: self._kept(number) for number in sorted(self.touched)}
            self.touched.clear()
            news = {number: new for number, new in news.items() if new is not self.kept.get(number)}
            if news:
                self.kept = self.kept.changed(news)
        return self.kept

    def _kept(self, number: int) -> BlockState | None:
        block, before = self.block.get(number), self.kept.get(number)
        if block is None:
            return None
        dirty, block.dirty = block.dirty, 0
        if not block.in_use and not self.lasts(block):
            return None
        if before is not None:
            same = True
            for row, old in enumerate(before.columns):
                if dirty >> row & 1 and block.columns[row] is not old:
                    if _equal(block.columns[row], old, self.nr):
                        block.columns[row] = old
                    else:
                        same = False
            if same:
                return before
        return BlockState(tuple(block.columns), self.nr)

    def restore(self, kept: Shared[BlockState]) -> None:
        """Hold what these blocks hold. How much of each is in use its caller knows."""
        self.kept = kept
        self.touched.clear()
        self.block.clear()
        self.block.update((number, FrameBlock(state.columns)) for number, state in kept.items())


class FrameColumn:
    """One field of all struct pages: read and stored to by pfn, by slice, or by many pfns, as an array is.

    What is read is a number, or an array of the reader's own.
    """

    __slots__ = ("block", "blocks", "end", "mask", "order", "row", "unused")

    def __init__(self, blocks: Blocks, row: int, frames: int) -> None:
        self.blocks = blocks
        self.row = row
        self.end = frames
        self.order, self.mask = blocks.order, blocks.nr - 1
        self.block, self.unused = blocks.block, blocks.unused[row]

    def __len__(self) -> int:
        return self.end

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice | Array | Sequence[int]) -> Array: ...
    def __getitem__(self, at: Any) -> Any:
        if type(at) is int:
            block = self.block.get(at >> self.order)
            held = self.unused if block is None else block.columns[self.row]
            if type(held) is tuple:
                return held[1 if at & self.mask else 0]
            return held.item(at & self.mask) if isinstance(held, np.ndarray) else int(held[at & self.mask])
        if type(at) is slice:
            low, high = at.start or 0, self.end if at.stop is None else at.stop
            number = low >> self.order
            if low < high <= (number + 1) << self.order:
                return self._of_block(number, low & self.mask, high - (number << self.order))
            return self._part(low, high)
        if isinstance(at, np.integer):
            return self[int(at)]
        pages = np.asarray(at, np.int64)
        return self._part(*_ends(pages)) if _together(pages) else self._many(pages)

    def _part(self, low: int, high: int) -> Array:
        parts = [self._of_block(*piece) for piece in pieces(self.order, low, high)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _of_block(self, number: int, low: int, high: int) -> Array:
        block = self.block.get(number)
        held = self.unused if block is None else block.columns[self.row]
        if isinstance(held, np.ndarray):
            return held[low:high].astype(np.int64)
        if isinstance(held, range):
            return np.arange(held[low], held[low] + high - low)
        if isinstance(held, Packed):
            return np.asarray(held[low:high], np.int64)
        found = np.empty(high - low, np.int64)
        found.fill(held[1])
        if low == 0 and high:
            found[0] = held[0]
        return found

    def _many(self, pages: Array) -> Array:
        order, inside = self.blocks.order, pages & (self.blocks.nr - 1)
        numbers = pages >> order
        found = np.empty(len(pages), np.int64)
        for number in np.unique(numbers).tolist() if len(pages) else ():
            block = self.blocks.block.get(number)
            held = self.blocks.unused[self.row] if block is None else block.columns[self.row]
            here = numbers == number
            if isinstance(held, tuple):
                found[here] = np.where(inside[here] > 0, held[1], held[0])
            else:
                found[here] = inside[here] + held[0] if isinstance(held, range) else held[inside[here]]
        return found

    def __setitem__(self, at: int | slice | Array | Sequence[int], value: Any) -> None:
        blocks = self.blocks
        if type(at) is int:
            inside = at & self.mask
            blocks.store(at >> self.order, self.row, inside, inside + 1, int(value))
        elif isinstance(at, slice):
            number = at.start >> self.order
            if at.start < at.stop <= (number + 1) << self.order:
                blocks.store(number, self.row, at.start & self.mask, at.stop - (number << self.order), value)
                return
            one = type(value) is int or np.ndim(value) == 0
            done = 0
            for number, low, high in pieces(self.order, at.start, at.stop):
                blocks.store(number, self.row, low, high, value if one else value[done : done + high - low])
                done += high - low
        elif isinstance(at, (int, np.integer)):
            self[int(at)] = value
        elif _together(pages := np.asarray(at, np.int64)):
            self[slice(*_ends(pages))] = value
        else:
            for page, each in np.broadcast(pages, np.asarray(value, np.int64)):
                self[int(page)] = int(each)

    def any(self, part: slice, bits: int = -1) -> bool:
        """Does any frame of `part` have any of these bits?"""
        number = part.start >> self.order
        low, high = part.start & self.mask, part.stop - (number << self.order)
        if high <= self.mask + 1:
            block = self.block.get(number)
            held = self.unused if block is None else block.columns[self.row]
            if isinstance(held, tuple):
                return bool((high > 1 and held[1] & bits) or (not low and held[0] & bits))
        return bool((self[part] & bits).any())

    def set(self, part: slice, bits: int) -> None:
        """Set bits of each frame of `part`."""
        self.change(part, 0, bits)

    def clear(self, part: slice, bits: int) -> None:
        """Clear bits of each frame of `part`."""
        self.change(part, bits, 0)

    def change(self, part: slice, clear: int, set_: int) -> None:
        """Clear bits of each frame of `part`, and set others."""
        blocks, row = self.blocks, self.row
        number = part.start >> self.order
        low, high = part.start & self.mask, part.stop - (number << self.order)
        if high <= blocks.nr:
            block = blocks.writable(number, row)
            held = block.columns[row]
            if isinstance(held, np.ndarray):
                held[low:high] = held[low:high] & ~clear | set_
                return
            if isinstance(held, tuple) and high == blocks.nr and low <= 1:
                rest = held[1] & ~clear | set_
                block.columns[row] = (held[0] if low else held[0] & ~clear | set_, rest)
                return
        self[part] = self[part] & ~clear | set_

    def add(self, part: slice, n: int | Sequence[int] | Array) -> None:
        """`n`, one number or one for each, more for each frame of `part`."""
        blocks, row = self.blocks, self.row
        number = part.start >> blocks.order
        low, high = part.start & (blocks.nr - 1), part.stop - (number << blocks.order)
        if type(n) is int and high <= blocks.nr:
            block = blocks.writable(number, row)
            held = block.columns[row]
            if isinstance(held, np.ndarray):
                held[low:high] += n
                return
            if isinstance(held, tuple) and high == blocks.nr and low <= 1:
                block.columns[row] = (held[0] if low else held[0] + n, held[1] + n)
                return
        self[part] = self[part] + np.asarray(n)


def _together(pages: Array) -> bool:
    """Do these pages lie one behind the other, in this order?"""
    count = len(pages)
    return count > 0 and int(pages[-1]) - int(pages[0]) == count - 1 and bool((pages[1:] - pages[:-1] == 1).all())


def _ends(pages: Array) -> tuple[int, int]:
    return int(pages[0]), int(pages[-1]) + 1


def _plain(value: Any, low: int, to_the_end: bool) -> Any:
    """What is to be stored as one number, or as a pair or range if it is for all frames of a block; else an array."""
    values: npt.NDArray[Any] = np.asarray(value)
    if values.ndim == 0 or len(values) == 1:
        return int(values.reshape(-1)[0])
    if to_the_end and low == 0:
        return _told(values)
    if to_the_end and low == 1 and (values == values[0]).all():
        return int(values[0])
    return values


def _told(values: npt.NDArray[Any]) -> Held:
    """The field of a block as a pair or range, if one says it; else as it is."""
    first, second, last = values.item(0), values.item(1), values.item(-1)
    if second == last and (values[1:] == second).all():
        return first, second
    if len(values) >= _WORTH and last - first == len(values) - 1 and (values[1:] - values[:-1] == 1).all():
        return range(first, last + 1)
    return values


def _packed(array: npt.NDArray[Any]) -> Held:
    """A field of a block in little room."""
    held = _told(array)
    if not isinstance(held, np.ndarray):
        return held
    values = sorted(set(array.tolist()))
    if len(values) == 2:
        return Packed(np.packbits(array == values[1]), *values)
    least = values[values[0] == 0] - 1
    if values[0] < 0 or values[-1] - least >= 1 << 16:
        return array
    return Packed(np.where(array != 0, array - least, 0).astype(np.uint16), least)


def _held(row: npt.NDArray[Any], kind: np.dtype[Any]) -> Held:
    found = _told(row)
    return found.astype(kind) if isinstance(found, np.ndarray) else found


def _spread(held: Held, into: npt.NDArray[Any]) -> None:
    if isinstance(held, tuple):
        into.fill(held[1])
        into[0] = held[0]
    else:
        into[:] = held if isinstance(held, (range, np.ndarray)) else held[:]


def _equal(one: Held, other: Held, nr: int) -> bool:
    if isinstance(one, (tuple, range)) and type(one) is type(other):
        return one == other
    both = np.empty((2, nr), np.int64)
    _spread(one, both[0])
    _spread(other, both[1])
    return bool((both[0] == both[1]).all())
