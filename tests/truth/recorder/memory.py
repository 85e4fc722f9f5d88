"""The guest's RAM, seen from outside: words, page tables, and where the kernel's own addresses lie. x86-64, 4 levels,
nokaslr."""

from __future__ import annotations

import mmap
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PAGE = 4096
HUGE = 512
"""Pages of a huge page, entries of a page table."""
STRUCT_PAGE = 64
DIRECT, VMEMMAP, KERNEL_TEXT = 0xFFFF888000000000, 0xFFFFEA0000000000, 0xFFFFFFFF80000000
"""Where the kernel maps all RAM, all struct pages, and itself."""
PFN_MASK = 0x000FFFFFFFFFF000
PRESENT, PSE = 1 << 0, 1 << 7

_LEVELS = (("pgd", 39), ("pud", 30), ("pmd", 21), ("pte", 12))

Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]


class Level(NamedTuple):
    """One step of a walk: which table, the physical address of the entry, and the entry."""

    name: str
    at: int
    entry: int


class Memory:
    """RAM. Addresses are physical where nothing else is said. Raises LookupError for what lies outside."""

    def __init__(self, ram: bytes | bytearray | mmap.mmap) -> None:
        self.bytes: Bytes = np.frombuffer(ram, np.uint8)
        self.words: Words = np.frombuffer(ram, np.uint64)
        self.size = len(self.bytes)
        self.kernel_top = 0
        """The kernel's own top table; 0 until somebody has found it."""

    def u64(self, at: int) -> int:
        self._check(at, 8)
        return int.from_bytes(self.bytes[at : at + 8].tobytes(), "little")

    def u32(self, at: int) -> int:
        self._check(at, 4)
        return int.from_bytes(self.bytes[at : at + 4].tobytes(), "little")

    def read(self, at: int, size: int) -> bytes:
        self._check(at, size)
        return self.bytes[at : at + size].tobytes()

    def table(self, at: int) -> Words:
        """A copy of the 512 entries of a page table."""
        self._check(at, PAGE)
        return self.words[at // 8 : at // 8 + HUGE].copy()

    def struct_pages(self, first: int, count: int) -> Bytes:
        """A copy of the struct pages of `count` page frames, one a row. They must not cross 2 MiB of struct pages."""
        at = self.physical(VMEMMAP + first * STRUCT_PAGE)
        self._check(at, count * STRUCT_PAGE)
        return self.bytes[at : at + count * STRUCT_PAGE].reshape(count, STRUCT_PAGE).copy()

    def walk(self, top: int, address: int) -> list[Level]:
        """The entries on the way to a virtual address, down to a page or to what is not there."""
        way: list[Level] = []
        table = top
        for name, shift in _LEVELS:
            at = table + (address >> shift & HUGE - 1) * 8
            entry = self.u64(at)
            way.append(Level(name, at, entry))
            if not entry & PRESENT or entry & PSE:
                break
            table = entry & PFN_MASK
        return way

    def physical(self, address: int) -> int:
        """Where an address of the kernel lies."""
        if DIRECT <= address < DIRECT + self.size:
            return address - DIRECT
        if address >= KERNEL_TEXT:
            return address - KERNEL_TEXT
        name, _, entry = self.walk(self.kernel_top, address)[-1]
        if not entry & PRESENT or name not in ("pmd", "pte"):
            raise LookupError(f"nothing is mapped at {address:#x}")
        span = PAGE * HUGE if name == "pmd" else PAGE
        return (entry & PFN_MASK & -span) + address % span

    def _check(self, at: int, size: int) -> None:
        if not 0 <= at <= self.size - size:
            raise LookupError(f"{at:#x} lies outside of the RAM")
