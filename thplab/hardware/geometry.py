"""How an address is cut into page-table indexes: entries per table, levels, page size.

Everything in thplab takes its sizes from a `Geometry`. 512 is written here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from thplab.errors import BadInput

LEVEL_NAMES = ("PTE", "PMD", "PUD", "PGD")
"""Names of the table levels, lowest first: level 0 is the PTE table, level 1 the PMD table."""


@dataclass(frozen=True)
class Geometry:
    """The shape of the page tables and of a huge page.

    `order` is the log2 of the entries in a table, which is also the order of a huge page: one PMD maps what one table
    of PTEs maps. `levels` counts the tables that a walk passes, from 2 (PMD, PTE) to 4 (x86-64). Raises BadInput for a
    shape that cannot hold a huge page.
    """

    name: str
    order: int
    levels: int = 4
    page_size: ClassVar[int] = 4096
    """Bytes of a page, the same on every machine: that of x86-64."""

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 9:
            raise BadInput("order", f"is {self.order}", "1 to 9 (2 to 512 entries in a table)")
        if not 2 <= self.levels <= len(LEVEL_NAMES):
            raise BadInput("levels", f"is {self.levels}", f"2 to {len(LEVEL_NAMES)}")

    @cached_property
    def nr(self) -> int:
        """Entries in a table, and subpages in a huge page: the kernel's PTRS_PER_PTE and HPAGE_PMD_NR."""
        return 1 << self.order

    @cached_property
    def huge_size(self) -> int:
        """Bytes that one PMD maps (HPAGE_PMD_SIZE): 2 MiB on x86-64."""
        return self.page_size << self.order

    @cached_property
    def _shifts(self) -> tuple[int, ...]:
        return tuple(self.page_size.bit_length() - 1 + level * self.order for level in range(self.levels + 1))

    def shift(self, level: int) -> int:
        """Bits below the index of `level` in an address: 12 for the PTE level, 21 for the PMD level of x86-64."""
        return self._shifts[level]

    def index(self, address: int, level: int) -> int:
        """The index of `address` in its table of `level` (0 = PTE table)."""
        return (address >> self._shifts[level]) & (self.nr - 1)

    @cached_property
    def address_limit(self) -> int:
        """First address above the address space."""
        return 1 << self.shift(self.levels)

    @cached_property
    def mmap_base(self) -> int:
        """Where the first region goes: PGD 254, PUD 256 on x86-64 (0x7f4000000000), the like of it elsewhere."""
        if self.levels < 4:
            return 0
        return ((self.nr // 2 - 2) << self.shift(3)) | ((self.nr // 2) << self.shift(2))

    def size_text(self, pages: int) -> str:
        """`pages` as a size in words: "4 KiB", "2 MiB", "1 GiB"."""
        kib = pages * self.page_size // 1024
        for unit, name in ((1 << 20, "GiB"), (1 << 10, "MiB")):
            if kib and kib % unit == 0:
                return f"{kib // unit} {name}"
        return f"{kib} KiB"


X86_64 = Geometry("X86_64", order=9)
"""x86-64: 512 entries, four levels, huge pages of 2 MiB."""

TOY = Geometry("TOY", order=3)
"""8 entries, four levels: a huge page of 8 subpages, and a whole table fits on a slide."""

MINI = Geometry("MINI", order=2, levels=2)
"""4 entries, two levels: small enough to visit every state."""

TINY = Geometry("TINY", order=1, levels=2)
"""2 entries, two levels: a huge page is a head and one tail, which is all that a race needs."""

GEOMETRIES = {g.name: g for g in (X86_64, TOY, MINI, TINY)}


def geometry(name: str) -> Geometry:
    """The geometry of that name, in any case. Raises BadInput for an unknown one."""
    try:
        return GEOMETRIES[name.upper()]
    except KeyError:
        raise BadInput("geometry", f"{name!r} is unknown", "one of " + ", ".join(GEOMETRIES)) from None
