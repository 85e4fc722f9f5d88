"""The spare PTE table that lies under every huge PMD, so that splitting the PMD never has to allocate."""

from __future__ import annotations

from thplab.hardware.steps import Routine, change, routine
from thplab.kernel.address_space import AddressSpace
from thplab.kernel.system import System


@routine
def pgtable_trans_huge_deposit(system: System, mm: AddressSpace, pmd_table: int, pgtable: int) -> Routine[None]:
    """Put a PTE table aside under `pmd_table`. Called under the lock of that table."""
    mm.deposit(pmd_table, pgtable)
    yield change("deposit the PTE table", "Splitting this PMD will find its table here.")


@routine
def pgtable_trans_huge_withdraw(system: System, mm: AddressSpace, pmd_table: int) -> Routine[int]:
    """Take back the PTE table that was deposited first; returns its pfn. Called under the lock of that table."""
    pgtable = mm.withdraw(pmd_table)
    yield change(
        "withdraw the deposited PTE table", "It was put aside when the huge page was mapped, so nothing can fail here."
    )
    return pgtable


# --- mutants ----------------------------------------------------------------------------------------------------------


def deposits_nothing(system: System, mm: AddressSpace, pmd_table: int, pgtable: int) -> Routine[None]:
    """pgtable_trans_huge_deposit that frees the table: one can be allocated when it is needed."""
    system.tables.free(pgtable)
    yield change("free the PTE table: nothing to deposit")


def allocates_a_table(system: System, mm: AddressSpace, pmd_table: int) -> Routine[int]:
    """pgtable_trans_huge_withdraw that takes a new table and leaves the deposited one where it is."""
    pgtable = system.tables.alloc(0)
    assert pgtable is not None, "that memory may run out is what the deposit is for"
    yield change("allocate a PTE table")
    return pgtable
