"""What a process does by itself, in user mode: it reads and writes memory, takes page faults, and may die of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from thplab.errors import KILLED_BY_SIGBUS
from thplab.hardware import page_tables as pt
from thplab.hardware.steps import Routine, Translation, change, phrase, read
from thplab.kernel.address_space import AddressSpace
from thplab.kernel.routines.exit import do_exit
from thplab.kernel.routines.fault import do_page_fault
from thplab.kernel.routines.walk import accessible
from thplab.kernel.system import System


@phrase("the process itself")
def access(
    system: System, mm: AddressSpace, start: int, end: int, value: int | None, whole: bool = False, step: int = 0
) -> Routine[int]:
    """Touch every page of [start, end) as the process would: read it (`value` None) or store the byte `value` in it.

    With `whole` it is all of the page that is stored, `value` + i * `step` at offset i. Runs in user mode, without
    locks; what the page tables do not allow is a page fault. Returns 0, -EFAULT where no VMA allows the access (the
    process would get SIGSEGV), -ENOMEM when a fault finds no memory, or KILLED_BY_SIGBUS when it has died of poisoned
    memory. Pages before that one have been touched.
    """
    page_size = system.geometry.page_size
    write = value is not None
    address = start
    while address < end:
        count = accessible(system, mm, address, end, write)
        if count:
            if system.whole:
                _store(system, _translate(system, mm, address, count, write), value, whole, step)
            else:
                page = int(_translate(system, mm, address, count, write)[0])
                system.cpus.tlb[system.cpus.cpu] = Translation(mm.name, address, address + page_size, page)
                where = system.page_name(page)
                yield change(
                    f"the CPU looks the address up: {where}",
                    "It marks the entry and will not look again: the TLB has it.",
                )
                system.cpus.tlb.pop(system.cpus.cpu)
                _store(system, np.array([page]), value, whole, step)
            what = "the page" if count == 1 else f"{count} pages"
            yield change(
                f"{mm.name} {'writes' if write else 'reads'} {what}",
                "The hardware finds a valid entry and marks it accessed.",
            )
            address += count * page_size
            if value is not None:
                value += count * step
            continue
        yield read(f"{mm.name} {'writes' if write else 'reads'}: page fault", "No entry of the page table allows it.")
        error = yield from do_page_fault(system, mm, address, write)
        if error == KILLED_BY_SIGBUS:
            yield from sigbus(system, mm, "The memory behind this page is bad: its contents are lost.")
        if error:
            return error
    return 0


def _translate(system: System, mm: AddressSpace, address: int, count: int, write: bool) -> npt.NDArray[np.int64]:
    """What the hardware does first on an access that is allowed: accessed and dirty bits.
    Returns the pfns of the pages.
    """
    geometry, tables = system.geometry, system.tables
    bits = pt._PAGE_ACCESSED | (pt._PAGE_DIRTY if write else 0)
    pmd_table = tables.walk(mm.pgd, address, 1)
    assert pmd_table is not None
    index = geometry.index(address, 0)
    pmd = tables.get(pmd_table, geometry.index(address, 1))
    if pt.pmd_trans_huge(pmd):
        tables.set(pmd_table, geometry.index(address, 1), pmd | bits)
        return np.arange(count) + pt.pte_pfn(pmd) + index
    entries = slice(index, index + count)
    tables.change(pt.pte_pfn(pmd), entries, set_=bits)
    return (tables.table[pt.pte_pfn(pmd)][entries] & np.uint64(pt.PTE_PFN_MASK)).astype(np.int64) >> 12


def _store(system: System, pfns: npt.NDArray[np.int64], value: int | None, whole: bool, step: int) -> None:
    """The access itself; nothing happens to the memory if it is a read (`value` None)."""
    if value is not None:
        kept = 0 if whole else system.frames.content[pfns] & ~0xFF
        system.frames.content[pfns] = kept + value + step * np.arange(len(pfns))


@phrase("the process dies of SIGBUS")
def sigbus(system: System, mm: AddressSpace, why: str) -> Routine[None]:
    """Kill a process with SIGBUS."""
    yield change(f"SIGBUS to {mm.name}", why)
    yield from do_exit(system, mm)
