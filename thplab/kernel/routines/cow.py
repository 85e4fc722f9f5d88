"""Write faults on memory that is mapped read-only: copy-on-write (do_wp_page, do_huge_pmd_wp_page)."""

from __future__ import annotations

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_anon_exclusive, PG_ksm, PG_swapcache, single
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import VM_LOCKED, Vma
from thplab.kernel.pages import deferred_split_huge_page
from thplab.kernel.routines.deposit import pgtable_trans_huge_withdraw
from thplab.kernel.routines.mm import get_page, put_page
from thplab.kernel.routines.munlock import munlock_vma_page
from thplab.kernel.routines.rmap import (
    anon_vma_prepare,
    folio_add_new_anon_rmap,
    folio_remove_rmap_pmd,
    folio_remove_rmap_ptes,
    page_trans_huge_mapcount,
)
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.kernel.routines.swap import reuse_swap_page, try_to_free_swap
from thplab.kernel.routines.vm_fault import (
    VM_FAULT_FALLBACK,
    VM_FAULT_OOM,
    VM_FAULT_WRITE,
    alloc_small_pages,
    map_small_copies,
    maybe_mkwrite,
    set_new_pte,
    transparent_hugepage_enabled,
)
from thplab.kernel.system import System


@routine
def do_wp_page(system: System, vma: Vma, address: int, pte_table: int, pte: int, unshare: bool = False) -> Routine[int]:
    """A write to a page that a read-only PTE maps:
    make the PTE writable if the page is this process's alone, else copy.

    With `unshare` nobody writes: the PTE stays read-only, and the zero page stays as it is, unless KSM has put
    it there. Called under mmap_sem (shared). Returns VM_FAULT_WRITE, 0 (try again), or VM_FAULT_OOM; on failure
    nothing has changed.
    """
    tables = system.tables
    index = system.geometry.index(address, 0)
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    if tables.get(pte_table, index) != pte:
        yield read("the PTE has changed meanwhile: try again")
        yield from system.cpus.unlock(lock)
        return 0
    old = pt.pte_pfn(pte)
    if pt.pte_special(pte):
        yield from system.cpus.unlock(lock)
        if unshare and not pt.is_ksm_zero_pte(pte):
            return 0
    else:
        if system.kernel.cow.pte_asks_mapcount:
            page_lock = "" if system.frames.is_compound(old) else (yield from lock_for_reuse(system, old, lock))
            if tables.get(pte_table, index) != pte:
                yield read("the PTE has changed while waiting for the page lock: try again")
                yield from unlock_after_reuse(system, page_lock, lock)
                return 0
            reuse = yield from may_reuse_page(system, old)
            if page_lock:
                yield from system.cpus.unlock(page_lock)
        else:
            reuse = yield from wp_can_reuse_anon_folio(system, vma, old)
        if reuse:
            if not unshare:
                tables.set(pte_table, index, maybe_mkwrite(pt.mkdirty(pt.mkyoung(pte)), vma))
                yield change("PTE made writable in place")
            yield from system.cpus.unlock(lock)
            return VM_FAULT_WRITE
        yield from get_page(system, single(old))
        yield from system.cpus.unlock(lock, "The copy is made without the lock; the reference keeps the page.")
    return (yield from wp_page_copy(system, vma, address, pte_table, pte, unshare))


@routine
def wp_page_copy(system: System, vma: Vma, address: int, pte_table: int, pte: int, unshare: bool) -> Routine[int]:
    """Let `address`, where `pte` is, map a copy. Called with a reference on its page, unless that is the zero page;
    drops it. With `unshare` the copy is mapped read-only.

    Returns VM_FAULT_WRITE, 0 if the PTE has changed meanwhile, or VM_FAULT_OOM.
    """
    frames, tables = system.frames, system.tables
    index, lock, old = system.geometry.index(address, 0), system.ptl(pte_table), pt.pte_pfn(pte)
    yield from anon_vma_prepare(system, vma)
    new = frames.alloc_pages(0)
    if new is None:
        if not pt.pte_special(pte):
            yield from put_page(system, single(old))
        return VM_FAULT_OOM
    yield change(f"allocate a small page, {system.page_name(new)}: {system.refcount_name} = 1")
    frames.content[new] = frames.content[old]
    if frames.flags[old] & PG_ksm:
        system.count_vm_event("cow_ksm")
    yield change(f"copy {system.geometry.size_text(1)}")
    yield from system.cpus.lock(lock)
    same = tables.get(pte_table, index) == pte
    yield read("is the PTE still the same? " + ("yes" if same else "no: the copy is thrown away"))
    if same:
        tables.set(pte_table, index, 0)
        yield change("PTE cleared")
        yield from system.cpus.flush_tlb(f"one page of {vma.mm.name}")
        yield from set_new_pte(system, vma, address, pte_table, new, dirty=True, readonly=unshare)
        if not pt.pte_special(pte):
            yield from drop_copied_mapping(system, vma, old)
    unused = () if same and pt.pte_special(pte) else (single(old if same else new),)
    inside, outside = (unused, ()) if system.kernel.cow.puts_inside_ptl else ((), unused)
    for page in inside:
        yield from put_page(system, page)
    yield from system.cpus.unlock(lock)
    for page in outside:
        yield from put_page(system, page)
    if not pt.pte_special(pte):
        if same and VM_LOCKED in vma.flags and system.kernel.mm.mlocks == "found":
            yield from munlock_copied(system, old)
        yield from put_page(system, single(old))
    return VM_FAULT_WRITE if same else 0


@phrase("the page that was copied is not locked in memory any more")
def munlock_copied(system: System, old: int) -> Routine[None]:
    """A VMA that is locked in memory maps a copy of `old` now: whoever else maps that may not have locked it."""
    lock = system.page_lock(system.frames.compound_head(old))
    yield from system.cpus.lock(lock)
    yield from munlock_vma_page(system, old)
    yield from system.cpus.unlock(lock)


@phrase("drop the copied mapping")
def drop_copied_mapping(system: System, vma: Vma, old: int) -> Routine[None]:
    """The entry maps the copy now: count the mapping of the page that was copied away.
    Called under the page table lock.
    """
    yield from folio_remove_rmap_ptes(system, vma, single(old))


@phrase("lock the page for a look at it")
def lock_for_reuse(system: System, page: int, ptl: str) -> Routine[str]:
    """Lock a page, small or a head, before it is looked at for reuse, so that nobody is freezing it.
    Called and left under `ptl`.

    Returns the lock. Where the page is locked, `ptl` is released while waiting for it:
    the entry may have changed afterwards.
    """
    page_lock = system.page_lock(page)
    locked = yield from system.cpus.trylock(page_lock)
    if not locked:
        yield from get_page(system, single(page))
        yield from system.cpus.unlock(ptl)
        yield from system.cpus.lock(page_lock)
        yield from system.cpus.lock(ptl)
        yield from put_page(system, single(page))
    return page_lock


@phrase("give the locks up again")
def unlock_after_reuse(system: System, page_lock: str, ptl: str) -> Routine[None]:
    """Give up what lock_for_reuse left locked."""
    yield from system.cpus.unlock(ptl)
    if page_lock:
        yield from system.cpus.unlock(page_lock)


@phrase("may the page be written in place?")
def may_reuse_page(system: System, page: int) -> Routine[bool]:
    """May a write go to `page` in place? A small page that is mapped once; a part of a compound page never.

    docs/KERNEL.md 2.5 (c), as intended. A page of KSM's never: any other process may come to share it.
    """
    compound = system.frames.is_compound(page) or bool(system.frames.flags[page] & PG_ksm)
    reuse = not compound and system.scheme.page_mapcount(system.frames, page) == 1
    if reuse and system.frames.flags[page] & PG_swapcache:
        reuse = yield from reuse_swap_page(system, page)
    yield read(
        f"may {system.page_name(page)} be written in place? {'yes: mapped once' if reuse else 'no'}",
        "A part of a compound page is always copied: its map count does not tell about PMDs." if compound else "",
    )
    return reuse


@routine
def wp_can_reuse_anon_folio(system: System, vma: Vma, page: int) -> Routine[bool]:
    """May a write go to `page`, small, or part of a large one, in place? Iff this process has it for itself.

    Called under the page table lock. PG_anon_exclusive says so at once; else nobody but this mapping may hold a
    reference. A page that somebody else has locked is copied, rather than waited for. Leaves PG_anon_exclusive set
    where it returns True.
    """
    frames = system.frames
    if frames.flags[page] & PG_ksm:
        yield read(f"{system.page_name(page)} is a page of KSM's: copy it", "Any other process may come to share it.")
        return False
    if frames.flags[page] & PG_anon_exclusive:
        yield read(f"{system.page_name(page)} is PG_anon_exclusive: write it in place")
        return True
    if system.kernel.cow.reuses_large and frames.is_compound(page):
        return (yield from __wp_can_reuse_large_anon_folio(system, vma, page))
    swap_cache = bool(system.kernel.cow.anon_exclusive and frames.flags[page] & PG_swapcache)
    alone = frames.page_count(page) == 1 + swap_cache
    yield read(
        f"is the reference count {1 + swap_cache}? {'yes' if alone else 'no'}",
        "" if alone else "Somebody else holds the page: copy it.",
    )
    locked = alone and (yield from system.cpus.trylock(system.page_lock(page)))
    if not locked:
        return False
    if swap_cache:
        yield from try_to_free_swap(system, page)
    alone = frames.page_count(page) == 1
    if system.kernel.cow.reuse_unlocks_first:
        yield from system.cpus.unlock(system.page_lock(page))
    if alone and system.kernel.cow.anon_exclusive:
        frames.flags[page] |= PG_anon_exclusive
    yield (
        change("PG_anon_exclusive: the page is this process's own")
        if alone
        else read("somebody has taken a reference: copy it")
    )
    if not system.kernel.cow.reuse_unlocks_first:
        yield from system.cpus.unlock(system.page_lock(page))
    return alone


@routine
def __wp_can_reuse_large_anon_folio(system: System, vma: Vma, page: int) -> Routine[bool]:
    """May a write go to this part of a large folio in place? Iff one mm has all mappings, more than one,
    and nobody has a reference beside.

    Called under the page table lock. Leaves PG_anon_exclusive set where it returns True. (A single mapping that is left
    is not worth the folio: the copy lets go of it.)
    """
    frames, head = system.frames, system.frames.compound_head(page)
    mapcount = system.scheme.total_mapcount(frames, head)
    alone = mapcount > 1 and not system.scheme.maybe_mapped_shared(frames, head) and mapcount == frames.page_count(head)
    if alone:
        frames.flags[page] |= PG_anon_exclusive
        frames.costs.bit_rmw += 1
        yield change(
            "all mappings and references are this process's: PG_anon_exclusive",
            "Seen under the bit lock of _large_mapcount.",
        )
    else:
        yield read("somebody else may map the folio or holds a reference: copy it")
    return alone


@routine
def do_huge_pmd_wp_page(
    system: System, vma: Vma, address: int, pmd_table: int, pmd: int, unshare: bool
) -> Routine[int]:
    """A write to a huge page that a read-only PMD maps: reuse it if nobody else refers to it, else copy all of it.

    With `unshare` nobody writes, and a PMD that may stay is left as it is. Called under mmap_sem (shared). Returns
    VM_FAULT_WRITE, 0 (try again), VM_FAULT_FALLBACK (the PMD was split: go on with the PTE) or VM_FAULT_OOM.
    """
    frames, tables, geometry = system.frames, system.tables, system.geometry
    index = geometry.index(address, 1)
    lock = system.ptl(pmd_table)
    zero = pt.pte_pfn(pmd) == system.huge_zero_page
    page = pt.pte_pfn(pmd)
    if not zero:
        yield from system.cpus.lock(lock)
        done = yield from reuse_huge_page(system, vma, pmd_table, index, pmd, unshare)
        if done is None and not system.kernel.cow.splits_pmd:
            yield from get_page(system, single(page))
        yield from system.cpus.unlock(lock)
        if done is not None:
            return done
    if system.kernel.cow.zero_splits_pmd if zero else system.kernel.cow.splits_pmd:
        yield from split_huge_pmd(system, vma, address)
        return VM_FAULT_FALLBACK
    allowed = transparent_hugepage_enabled(system, vma, address) or (
        zero and bool(system.kernel.cow.zero_ignores_advice)
    )
    new = frames.alloc_pages(geometry.order) if allowed else None
    if new is None:
        system.count_vm_event("thp_fault_fallback")
        yield change(f"no huge page is {'free' if allowed else 'wanted here'}: thp_fault_fallback")
        return (yield from do_huge_pmd_wp_page_fallback(system, vma, address, pmd_table, pmd))
    yield change(f"allocate a compound page, {system.page_name(new)}: {system.refcount_name} = 1")
    system.count_vm_event("thp_fault_alloc")
    frames.content[frames.compound(new)] = 0 if zero else frames.content[frames.compound(page)]
    yield change(
        f"{'clear' if zero else 'copy'} {geometry.size_text(geometry.nr)}", "The writer gets its own huge page."
    )
    yield from system.cpus.lock(lock)
    if not zero:
        yield from put_page(system, single(page))
    same = tables.get(pmd_table, index) == pmd
    yield read("is the PMD still the same? " + ("yes" if same else "no: the copy is thrown away"))
    if same:
        tables.set(pmd_table, index, 0)
        yield change("PMD cleared")
        yield from system.cpus.flush_tlb(f"{geometry.size_text(geometry.nr)} of {vma.mm.name}")
        yield from folio_add_new_anon_rmap(system, vma, address & -geometry.huge_size, new)
        entry = pt.mkdirty(pt.mkyoung(pt.mk_huge_pmd(new, pt.pgprot(vma.prot))))
        tables.set(pmd_table, index, maybe_mkwrite(entry, vma))
        yield change("PMD = the new huge page, writable")
        if system.queues_new_now:
            yield from deferred_split_huge_page(system, new, partially_mapped=False)
        if not zero:
            yield from folio_remove_rmap_pmd(system, vma, page)
            yield from put_page(system, single(page))
    yield from system.cpus.unlock(lock)
    if not same:
        yield from put_page(system, single(new))
    return VM_FAULT_WRITE if same else 0


@phrase("write the huge page in place, if that may be")
def reuse_huge_page(
    system: System, vma: Vma, pmd_table: int, index: int, pmd: int, unshare: bool
) -> Routine[int | None]:
    """Make a read-only PMD writable if the page is this process's alone; with `unshare` only see to that it is.
    Called and left under the page table lock.

    Returns VM_FAULT_WRITE; 0 if the PMD has changed meanwhile, so that the fault is tried again; or None: copy.
    """
    frames, tables, page = system.frames, system.tables, pt.pte_pfn(pmd)
    held, page_lock = system.kernel.cow.huge_page_lock, ""
    same = tables.get(pmd_table, index) == pmd
    if same and held and not frames.flags[page] & PG_anon_exclusive:
        page_lock = yield from lock_for_reuse(system, page, system.ptl(pmd_table))
        same = tables.get(pmd_table, index) == pmd
    reuse = False
    if same:
        reuse = yield from may_reuse_huge_page(system, page)
    else:
        yield read("the PMD has changed meanwhile: try again")
    if page_lock and held == "question":
        yield from system.cpus.unlock(page_lock)
    if reuse and not unshare:
        tables.set(pmd_table, index, maybe_mkwrite(pt.mkdirty(pt.mkyoung(pmd)), vma))
        yield change("PMD made writable in place")
    if page_lock and held == "reuse":
        yield from system.cpus.unlock(page_lock)
    return VM_FAULT_WRITE if reuse else None if same else 0


@phrase("may the huge page be written in place?")
def may_reuse_huge_page(system: System, page: int) -> Routine[bool]:
    """May a write go to the huge page in place? Iff its reference count is 1; so a pin makes the write copy.

    docs/KERNEL.md 2.5 (b), as intended.
    By the kernel's policies it is enough that the page is PG_anon_exclusive, or mapped once.
    """
    frames = system.frames
    if frames.flags[page] & PG_anon_exclusive:
        yield read(
            "PG_anon_exclusive: write it in place", "This process has the page for itself, whoever else may hold it."
        )
        return True
    if system.kernel.cow.huge_asks_mapcount:
        most = yield from page_trans_huge_mapcount(system, page)
        yield read(f"is it mapped once? {'yes' if most == 1 else 'no'}", "Pins are not looked at.")
        return most == 1
    reuse = frames.page_count(page) == 1
    yield read(
        f"is the reference count 1? {'yes' if reuse else 'no'}",
        "Every mapping and every pin holds a reference, so 1 means that this PMD is the only user.",
    )
    if reuse and system.kernel.cow.anon_exclusive:
        frames.flags[page] |= PG_anon_exclusive
        yield change("PG_anon_exclusive: the page is this process's own")
    return reuse


@routine
def do_huge_pmd_wp_page_fallback(system: System, vma: Vma, address: int, pmd_table: int, pmd: int) -> Routine[int]:
    """No huge page for a copy (do_huge_pmd_wp_page_fallback): copy into small pages, or split the PMD and copy one.

    Called with a reference on the old page (not on the huge zero page), which it drops. The old page is not split.
    """
    frames, tables, geometry = system.frames, system.tables, system.geometry
    page = pt.pte_pfn(pmd)
    if page == system.huge_zero_page:
        yield from split_huge_pmd(system, vma, address)
        return VM_FAULT_FALLBACK
    pages = alloc_small_pages(system, geometry.nr)
    if not pages:
        yield change(f"no memory for {geometry.nr} small pages either", "Those that were found are given back.")
        yield from split_huge_pmd(system, vma, address)
        yield from put_page(system, single(page))
        return VM_FAULT_FALLBACK
    yield change(f"allocate {geometry.nr} small pages")
    frames.content[np.array(pages)] = frames.content[frames.compound(page)]
    yield change(f"copy {geometry.size_text(geometry.nr)} into them")
    lock, index, haddr = system.ptl(pmd_table), geometry.index(address, 1), address & -geometry.huge_size
    yield from system.cpus.lock(lock)
    same = tables.get(pmd_table, index) == pmd
    yield read("is the PMD still the same? " + ("yes" if same else "no: the copies are thrown away"))
    if same:
        tables.set(pmd_table, index, pt.mknotpresent(pmd))
        yield change("PMD marked not present")
        yield from system.cpus.flush_tlb(f"{geometry.size_text(geometry.nr)} of {vma.mm.name}")
        pgtable = yield from pgtable_trans_huge_withdraw(system, vma.mm, pmd_table)
        yield from map_small_copies(
            system, vma, haddr, pgtable, pages, maybe_mkwrite(pt.mkdirty(pt.mkyoung(pt.pgprot(vma.prot))), vma)
        )
        tables.link(pmd_table, index, pgtable)
        yield change("PMD = the PTE table")
        yield from folio_remove_rmap_pmd(system, vma, page)
    yield from system.cpus.unlock(lock)
    if same:
        yield from put_page(system, single(page))
    else:
        for new in pages:
            yield from put_page(system, single(new))
    yield from put_page(system, single(page))
    return VM_FAULT_WRITE if same else 0


# --- mutants: the RFC as it was posted --------------------------------------------------------------------------------


def reuses_a_mapped_once_page(system: System, page: int) -> Routine[bool]:
    """may_reuse_page with the ordinary test, also for a part of a compound page (docs/KERNEL.md 2.5 (c), as posted)."""
    reuse = system.scheme.page_mapcount(system.frames, page) == 1
    yield read(f"is {system.page_name(page)} mapped once? {'yes' if reuse else 'no'}")
    return reuse


def reuses_a_mapped_once_head(system: System, page: int) -> Routine[bool]:
    """may_reuse_huge_page that asks the head's map count, which in the RFC does not know of the tails' PTEs (2.5 (b),
    as posted).

    Before the RFC it is the right question: there only PMDs map a huge page.
    """
    reuse = system.scheme.page_mapcount(system.frames, page) == 1
    yield read(f"is the head mapped once? {'yes' if reuse else 'no'}")
    return reuse


# --- a mutant: copy-on-write that does not let go ---------------------------------------------------------------------


def keeps_the_copied_mapping(system: System, vma: Vma, old: int) -> Routine[None]:
    """drop_copied_mapping that lets the old page go on counting a mapping that is gone."""
    yield read(f"{system.page_name(old)} _mapcount stays")
