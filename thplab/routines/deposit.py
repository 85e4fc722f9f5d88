"""The spare PTE table that lies under every huge PMD, so that splitting the PMD never has to allocate."""

from __future__ import annotations

from collections import deque

from thplab.address_space import AddressSpace
from thplab.errors import KernelBug
from thplab.steps import Routine, change
from thplab.system import System, routine


@routine
def pgtable_trans_huge_deposit(system: System, mm: AddressSpace, pmd_table: int, pgtable: int) -> Routine[None]:
    """Put a PTE table aside under `pmd_table`. Called under the lock of that table."""
    mm.deposited.setdefault(pmd_table, deque()).append(pgtable)
    yield change("deposit the PTE table", "Splitting this PMD will find its table here.")


@routine
def pgtable_trans_huge_withdraw(system: System, mm: AddressSpace, pmd_table: int) -> Routine[int]:
    """Take back the PTE table that was deposited first; returns its pfn. Called under the lock of that table."""
    waiting = mm.deposited.get(pmd_table)
    if not waiting:
        raise KernelBug(f"no PTE table was deposited under PMD table {pmd_table:#x} of {mm.name}")
    pgtable = waiting.popleft()
    if not waiting:
        del mm.deposited[pmd_table]
    yield change("withdraw the deposited PTE table", "It was put aside when the huge page was mapped, so nothing can fail here.")
    return pgtable
