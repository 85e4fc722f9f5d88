"""Migration entries: non-present entries that stand in for a mapping while its page is frozen (mm/migrate.c)."""

from __future__ import annotations

from thplab.hardware import page_tables as pt
from thplab.hardware.steps import Routine, change, read, routine, wait
from thplab.kernel.routines.mm import put_page
from thplab.kernel.system import System


@routine
def migration_entry_wait(system: System, pte_table: int, index: int, pte: int) -> Routine[None]:
    """Wait until a migration entry is gone. Called without the page table lock.

    Takes a reference on the page if it can: on a tail it cannot, its count is 0. The kernel then sleeps on the page
    lock, which whoever froze the page holds until all entries are back; here the entry itself is what is waited for.
    """
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    if system.tables.get(pte_table, index) != pte:
        yield read("the entry has changed meanwhile: try again")
        yield from system.cpus.unlock(lock)
        return
    page = pt.pte_pfn(pte)
    held = system.frames.ref_inc_not_zero(page)
    if held:
        yield change(f"{system.page_name(page)} {system.refcount_name} += 1", "The reference keeps the page while this CPU waits.")
    else:
        yield read("get_page_unless_zero: no, the count is 0")
    yield from system.cpus.unlock(lock)
    while system.tables.get(pte_table, index) == pte:
        yield wait("waits until the migration entry is gone")
    if held:
        yield from put_page(system, slice(page, page + 1))
