"""Splitting one PMD into a table of PTEs: the routine that the RFC introduces (patch 04; docs/KERNEL.md 2.6)."""

from __future__ import annotations

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_anon_exclusive, PG_dirty, PG_mlocked, single, width
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import Vma
from thplab.kernel.routines.deposit import pgtable_trans_huge_withdraw
from thplab.kernel.routines.huge_pmd import pmdp_huge_clear_flush, pmdp_invalidate
from thplab.kernel.routines.migration import __folio_try_share_anon_rmap
from thplab.kernel.routines.mlocked import clear_page_mlock, munlock_vma_folio
from thplab.kernel.routines.mm import get_page, put_page
from thplab.kernel.routines.rmap import folio_add_anon_rmap_ptes, folio_remove_rmap_pmd, folio_remove_rmap_ptes
from thplab.kernel.routines.split_huge_page_tails import split_huge_page_tails
from thplab.kernel.routines.walk import pmd_at
from thplab.kernel.system import System


@routine
def split_huge_pmd(
    system: System, vma: Vma, address: int, freeze: bool = False, page: int | None = None
) -> Routine[bool]:
    """Replace the huge PMD at `address` by a table of PTEs that map the same memory with the same rights.

    Touches this one PMD: neither the PMDs of other processes nor the compound page, which stays whole. Never fails: the
    table it needs was deposited when the huge page was mapped. Does nothing if the PMD is not huge (any more), or,
    where a `page` is given, maps another one by now. Returns whether it was this call that split it. With `freeze` the
    entries are migration entries, which hold neither a reference nor a mapping (docs/KERNEL.md 3.3, step 2). Where a
    scheme cannot map a huge page by PTEs, the whole page is split instead, for every process; the huge zero page
    excepted. Called under mmap_sem, or, for a split of this PMD alone, under the anon_vma lock of the page; with
    `freeze` also under the page lock.
    """
    found = pmd_at(system, vma.mm, address)
    if found is None:
        return False
    pmd_table, index, _ = found
    lock = system.ptl(pmd_table)
    yield from system.cpus.lock(lock, why="Whoever else reads or changes this PMD takes the same lock and looks again.")
    pmd = system.tables.get(pmd_table, index)
    yield read(
        f"is the PMD still huge? {'yes' if pt.pmd_trans_huge(pmd) else 'no'}",
        "Somebody else may have split it already.",
    )
    if not pt.pmd_trans_huge(pmd) or page not in (None, pt.pte_pfn(pmd)):
        yield from system.cpus.unlock(lock)
        return False
    if pt.pte_pfn(pmd) != system.huge_zero_page and not system.scheme.pmd_split_is_local:
        yield from __split_huge_page_pmd(system, vma, address, pmd_table, index)
        return True
    page_lock = ""
    if system.kernel.split.locks_page and page is None and not freeze and pt.pte_pfn(pmd) != system.huge_zero_page:
        page_lock = system.page_lock(pt.pte_pfn(pmd))
        taken = yield from system.cpus.trylock(
            page_lock, "Nobody may ask meanwhile how often the page is mapped, to write to it in place."
        )
        if not taken:
            yield from system.cpus.unlock(lock)
            yield from system.cpus.lock(page_lock)
            yield from system.cpus.lock(lock)
            again = system.tables.get(pmd_table, index)
            yield read(f"is it still the same PMD? {'yes' if again == pmd else 'no'}")
            if again != pmd:
                yield from system.cpus.unlock(lock)
                yield from system.cpus.unlock(page_lock)
                return (yield from split_huge_pmd(system, vma, address))
    if system.kernel.split.clears_mlocked and system.frames.flags[pt.pte_pfn(pmd)] & PG_mlocked:
        yield from clear_page_mlock(system, pt.pte_pfn(pmd))
    yield from __split_huge_pmd_locked(system, vma, pmd_table, index, pmd, freeze)
    if page_lock:
        yield from system.cpus.unlock(page_lock)
    return True


@routine
def __split_huge_pmd_locked(
    system: System, vma: Vma, pmd_table: int, index: int, pmd: int, freeze: bool
) -> Routine[None]:
    """The split of a PMD whose lock is held, and the unlock."""
    split, mm = system.kernel.split, vma.mm
    lock, page, pgtable = system.ptl(pmd_table), pt.pte_pfn(pmd), 0
    if split.invalidates_first:
        invalidate = pmdp_huge_clear_flush if page == system.huge_zero_page else pmdp_invalidate
        pmd = yield from invalidate(system, mm, pmd_table, index)
    else:
        pgtable = yield from pgtable_trans_huge_withdraw(system, mm, pmd_table)
    if page == system.huge_zero_page:
        pgtable = pgtable or (yield from pgtable_trans_huge_withdraw(system, mm, pmd_table))
        yield from __split_huge_zero_page_pmd(system, vma, pgtable)
    else:
        pgtable, freeze = yield from _fill_table(system, vma, pmd_table, pgtable, pmd, freeze)
    if not split.invalidates_first:
        yield from pmdp_invalidate(system, mm, pmd_table, index)
    system.tables.link(pmd_table, index, pgtable)
    yield change("PMD = the PTE table", "The same memory, now mapped in pieces. The page is still one compound page.")
    if freeze and page != system.huge_zero_page and not split.drops_pmd_whole:
        yield from drop_frozen_mappings(system, vma, page)
    event = system.count_vm_event("thp_split_pmd")
    yield from system.cpus.unlock(
        lock, "One mapping was split. thp_split_page is another event." if event else "", event=event
    )


def _fill_table(
    system: System, vma: Vma, pmd_table: int, pgtable: int, pmd: int, freeze: bool
) -> Routine[tuple[int, bool]]:
    """Fill the table that was put aside for the huge page under `pmd`, and count what it maps.

    `pgtable` is the table if it was withdrawn already, else 0. Called under the PMD's lock. Returns the table's pfn,
    and whether it was frozen: a page that a driver has pinned is not, although `freeze` asks for it.
    """
    frames, split, counted = system.frames, system.kernel.split, system.scheme.split_counts_ptes
    page = pt.pte_pfn(pmd)
    pages = frames.compound(page)
    exclusive = bool(frames.flags[page] & PG_anon_exclusive)
    if pmd & pt._PAGE_DIRTY:
        frames.flags[page] |= PG_dirty  # whatever becomes of the PTEs
        if split.invalidates_first:
            yield change("the page is dirty", "SetPageDirty: what the PMD knows the page knows from now on.")
    if not split.drops_pmd_whole:
        yield from split_pmd_refs(system, page)
    if freeze and exclusive:
        freeze = yield from __folio_try_share_anon_rmap(system, single(page))
    whole = freeze and split.drops_pmd_whole
    if split.drops_pmd_whole and not freeze:
        yield from split_pmd_refs(system, page)
    if not freeze and counted == "before":
        yield from folio_add_anon_rmap_ptes(system, vma, pages)
        parts = system.each(frames.tails(page)) if exclusive else ()
        for part in parts:
            yield from _spread_anon_exclusive(system, part)
    pgtable = pgtable or (yield from pgtable_trans_huge_withdraw(system, vma.mm, pmd_table))
    if freeze:
        yield from fill_migration_entries(system, vma, pgtable, pmd, exclusive)
    else:
        yield from fill_ptes(system, vma, pgtable, pmd)
    if whole:
        yield from folio_remove_rmap_pmd(system, vma, page)
        yield from put_page(system, single(page))
    else:
        yield from split_pmd_mapcounts(system, vma, page)
    return pgtable, freeze


@routine
def __split_huge_page_pmd(system: System, vma: Vma, address: int, pmd_table: int, index: int) -> Routine[None]:
    """Split the page that a huge PMD maps, which makes a table of the PMD, too.
    Called under its page table lock, which it releases.
    """
    page = pt.pte_pfn(system.tables.get(pmd_table, index))
    yield from get_page(system, single(page))
    yield from system.cpus.unlock(system.ptl(pmd_table))
    yield from split_huge_page_tails(system, page)
    yield from put_page(system, single(page))
    huge = pt.pmd_trans_huge(system.tables.get(pmd_table, index))
    yield read(
        f"is the PMD still huge? {'yes' if huge else 'no'}",
        "A write fault may have put another huge page there before the split.",
    )
    if huge:
        yield from split_huge_pmd(system, vma, address)


@phrase("take the references of the PTEs")
def split_pmd_refs(system: System, page: int) -> Routine[None]:
    """Take the references of the PTEs to come: one for each subpage, of which the PMD's own is already there."""
    more = system.geometry.nr - 1
    system.frames.ref_add(single(page), more)
    yield change(
        f"head {system.refcount_name} += {more}",
        "Each PTE holds a reference. The one that the PMD held serves the first of them.",
    )


@phrase("count the mappings anew")
def split_pmd_mapcounts(system: System, vma: Vma, page: int) -> Routine[None]:
    """Count the new PTE mappings and the PMD mapping that goes, in the scheme's own way."""
    yield from system.scheme.split_pmd_rmap(system, vma, page)
    yield from munlock_vma_folio(system, vma, single(page), by_pmd=True)


@phrase("fill the PTEs")
def fill_ptes(system: System, vma: Vma, pgtable: int, pmd: int) -> Routine[None]:
    """Fill the withdrawn table, which nobody else sees yet, with PTEs for all subpages under the PMD's own bits."""
    page, bits = pt.pte_pfn(pmd), pmd & ~pt.PTE_PFN_MASK & ~pt._PAGE_PSE
    if not system.kernel.split.pmd_keeps_dirty:
        bits &= ~pt._PAGE_DIRTY
    beside = system.scheme.split_counts_ptes == "beside"
    exclusive = beside and bool(system.frames.flags[page] & PG_anon_exclusive)
    parts = system.each(system.frames.compound(page))
    for part in parts:
        if exclusive and part.stop - 1 > page:
            yield from _spread_anon_exclusive(system, slice(max(part.start, page + 1), part.stop))
        system.tables.fill(pgtable, slice(part.start - page, part.stop - page), part.start, bits)
        yield change(
            f"fill {_ptes(part)}: {pt.entry_text(bits)}",
            "The rights of the PMD."
            if pmd & pt._PAGE_DIRTY and not bits & pt._PAGE_DIRTY
            else "Same protection, same dirty and young bits as the PMD had.",
        )
        if beside:
            yield from system.scheme.add_pte_rmap(system, vma, part)


def _ptes(part: slice) -> str:
    return f"{width(part)} PTEs" if width(part) > 1 else "a PTE"


def _spread_anon_exclusive(system: System, tails: slice) -> Routine[None]:
    """Tails of a huge page that one process has for itself are marked as its head is."""
    system.frames.flags.set(tails, PG_anon_exclusive)
    yield change(f"{system.pages_text(tails)} exclusive, too")


@phrase("fill in migration entries")
def fill_migration_entries(system: System, vma: Vma, pgtable: int, pmd: int, exclusive: bool) -> Routine[None]:
    """Fill the withdrawn table with migration entries for all subpages,
    which remember what the PMD allowed and whose page it was.
    """
    page, bits = pt.pte_pfn(pmd), pmd & ~pt.PTE_PFN_MASK & ~pt._PAGE_PSE
    keep = pt._PAGE_ACCESSED | pt._PAGE_DIRTY if system.kernel.migration.keeps_young else 0
    beside = not system.kernel.split.drops_pmd_whole and system.scheme.split_counts_ptes == "beside"
    parts = system.each(system.frames.compound(page))
    for part in parts:
        entries = slice(part.start - page, part.stop - page)
        system.tables.fill(pgtable, entries, part.start, bits)
        system.tables.freeze(pgtable, entries, keep, np.full(width(part), exclusive))
        entries_text = f"{width(part)} migration entries" if width(part) > 1 else "a migration entry"
        yield change(f"fill {entries_text}", "Whoever touches the page from now on has to wait.")
        if beside:
            yield from system.scheme.add_pte_rmap(system, vma, part)


@phrase("drop the mappings that never were usable")
def drop_frozen_mappings(system: System, vma: Vma, page: int) -> Routine[None]:
    """The mappings and the references of the migration entries of a page that is frozen go again: they need neither."""
    parts = system.each(system.frames.compound(page))
    for part in parts:
        yield from folio_remove_rmap_ptes(system, vma, part)
        yield from put_page(system, part)


@routine
def __split_huge_zero_page_pmd(system: System, vma: Vma, pgtable: int) -> Routine[None]:
    """Fill the withdrawn table for a split of the huge zero page: every PTE maps the shared small zero page."""
    nr = system.geometry.nr
    entry = pt.mkspecial(pt.mkyoung(pt.mk_pte(system.frames.zero_page, pt.pgprot(vma.prot))))
    parts = system.each(slice(0, nr))
    for part in parts:
        system.tables.change(pgtable, part, set_=entry)
        yield change(f"fill {_ptes(part)} with the zero page")


# --- mutants: the same routines, each wrong in one way ----------------------------------------------------------------


def trusts_the_first_look(
    system: System, vma: Vma, address: int, freeze: bool = False, page: int | None = None
) -> Routine[bool]:
    """split_huge_pmd that looks before it takes the lock, and not again (docs/KERNEL.md 6.8)."""
    found = pmd_at(system, vma.mm, address)
    if found is None or not pt.pmd_trans_huge(found.entry):
        return False
    yield read("the PMD is huge: it looks before it takes the lock")
    yield from system.cpus.lock(system.ptl(found.table))
    yield from __split_huge_pmd_locked(system, vma, *found, freeze)
    return True


def forgets_the_references(system: System, page: int) -> Routine[None]:
    """split_pmd_refs that takes no reference for the new PTEs."""
    yield read(f"head {system.refcount_name} stays")


def forgets_the_tails(system: System, vma: Vma, page: int) -> Routine[None]:
    """split_pmd_mapcounts that leaves the tails as they are."""
    yield read("the tails' _mapcount stays")


def moves_the_head(system: System, vma: Vma, page: int) -> Routine[None]:
    """split_pmd_mapcounts that counts all subpages, the head with them."""
    pages = system.frames.compound(page)
    system.frames.map_add(pages, 1)
    yield change("each subpage _mapcount += 1")


def splits_every_pmd(
    system: System, vma: Vma, address: int, freeze: bool = False, page: int | None = None
) -> Routine[bool]:
    """split_huge_pmd that behaves as before the RFC: it splits the PMD of every process that maps the page."""
    found = pmd_at(system, vma.mm, address)
    head = pt.pte_pfn(found.entry) if found and pt.pmd_trans_huge(found.entry) else 0
    others = (
        system.anon_vmas[int(system.frames.mapping[head])].vmas if head and head != system.huge_zero_page else [vma]
    )
    every = tuple(others)
    for other in every:
        yield from split_huge_pmd.right(system, other, address, freeze, page)
    return True


def fills_writable_ptes(system: System, vma: Vma, pgtable: int, pmd: int) -> Routine[None]:
    """fill_ptes that gives the PTEs the right to write, which the PMD may not have had."""
    yield from fill_ptes.right(system, vma, pgtable, pt.mkwrite(pmd))


def counts_a_page_split(
    system: System, vma: Vma, address: int, freeze: bool = False, page: int | None = None
) -> Routine[bool]:
    """split_huge_pmd that counts as if the page itself had been split."""
    system.count_vm_event("thp_split_page")
    split = yield from split_huge_pmd.right(system, vma, address, freeze, page)
    return split
