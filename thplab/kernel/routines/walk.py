"""How routines go over a range of addresses:
one VMA after the other, one PMD after the other (the kernel's pmd_addr_end loops).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.geometry import Geometry
from thplab.kernel.address_space import AddressSpace, Vma
from thplab.kernel.system import System


class VmaRange(NamedTuple):
    """The part [start, end) of a range of addresses that lies in one VMA."""

    vma: Vma
    start: int
    end: int


def next_vma(mm: AddressSpace, start: int, end: int) -> VmaRange | None:
    """The first VMA in [start, end), which need not be mapped, and what it holds of the range; None if there is none.

    Whoever changes VMAs on the way asks again from the end of the part that is done. If the part does not begin at
    `start`, a hole comes first: what that is worth differs between system calls.
    """
    vma = next(iter(mm.overlapping(start, end)), None) if start < end else None
    return None if vma is None else VmaRange(vma, max(start, vma.start), min(end, vma.end))


def pmd_ranges(geometry: Geometry, start: int, end: int) -> tuple[tuple[int, int], ...]:
    """[start, end) cut at the borders between PMDs."""
    size = geometry.huge_size
    borders = [start, *range((start // size + 1) * size, end, size), end]
    return tuple(itertools.pairwise(borders)) if start < end else ()


def entry_range(geometry: Geometry, start: int, end: int) -> tuple[int, int]:
    """The indexes in a PTE table of [start, end), which lies under one PMD."""
    low = geometry.index(start, 0)
    return low, low + (end - start) // geometry.page_size


class Pmd(NamedTuple):
    """A PMD: its table, the index `at` which it lies there, and what it held when it was looked up. A plain value."""

    table: int
    at: int
    entry: int


def pmd_at(system: System, mm: AddressSpace, address: int) -> Pmd | None:
    """The PMD for `address`; None if there is no PMD table. The upper tables of a live VMA never change."""
    table = system.tables.walk(mm.pgd, address, 1)
    if table is None:
        return None
    index = system.geometry.index(address, 1)
    return Pmd(table, index, system.tables.get(table, index))


def mapped_page(system: System, mm: AddressSpace, address: int) -> int | None:
    """pfn of the page that is mapped at `address`, None if none is."""
    found = pmd_at(system, mm, address)
    if found is None or pt.pte_none(found.entry):
        return None
    if pt.pmd_trans_huge(found.entry):
        return pt.pte_pfn(found.entry) + system.geometry.index(address, 0)
    pte = system.tables.get(pt.pte_pfn(found.entry), system.geometry.index(address, 0))
    return pt.pte_pfn(pte) if pt.pte_present(pte) else None


def accessible(system: System, mm: AddressSpace, address: int, end: int, write: bool) -> int:
    """How many pages from `address` on, below `end`, the page tables let the process touch now, through one table.

    At the grain of a race the answer is at most 1.
    """
    geometry, tables = system.geometry, system.tables
    need = pt._PAGE_PRESENT | (pt._PAGE_RW if write else 0)
    limit = (end - address) // geometry.page_size if system.whole else 1
    pmd_table = tables.walk(mm.pgd, address, 1)
    if pmd_table is None:
        return 0
    index = geometry.index(address, 0)
    pmd = tables.get(pmd_table, geometry.index(address, 1))
    if pt.pmd_trans_huge(pmd):
        return min(limit, geometry.nr - index) if pmd & need == need else 0
    if pt.pte_none(pmd):
        return 0
    row = tables.table[pt.pte_pfn(pmd)][index : index + limit]
    refused = np.flatnonzero(row & np.uint64(need) != np.uint64(need))
    return int(refused[0]) if len(refused) else len(row)
