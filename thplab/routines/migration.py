"""Migration entries: non-present entries that stand in for a mapping while its page is frozen (mm/migrate.c)."""

from __future__ import annotations

from thplab import page_tables as pt
from thplab.steps import Routine, change, read, wait
from thplab.system import System, routine


@routine
def migration_entry_wait(system: System, pte_table: int, index: int, pte: int) -> Routine[None]:
    """Wait until the page behind a migration entry is unlocked. Called without the page table lock.

    Takes a reference if it can: on a tail it cannot, its count is 0; then it looks again until the entry has changed.
    """
    page = pt.pte_pfn(pte)
    if not system.frames.ref_inc_not_zero(page):
        yield read("get_page_unless_zero: no, the count is 0")
        while system.tables.get(pte_table, index) == pte:
            yield wait("waits until the migration entry is gone")
        return
    yield change(f"{system.page_name(page)} _count += 1", "The reference keeps the page while this CPU waits for its lock.")
    while system.page_lock(page) in system.cpus.held:
        yield wait(f"waits for {system.page_lock(page)}")
    yield from system.scheme.put_pages(system, slice(page, page + 1))
