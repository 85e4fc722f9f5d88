"""Moving pages to other frames (mm/migrate.c), and memory compaction, which does that to many (mm/compaction.c).

Every mapping becomes a migration entry, the contents go over, and the entries come back as PTEs of the new page. A page
to which anybody else refers stays where it is.
"""

from __future__ import annotations

import numpy as np

from thplab.errors import EAGAIN, EFAULT, ENOENT, ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import (
    PG_anon,
    PG_anon_exclusive,
    PG_dirty,
    PG_double_map,
    PG_hwpoison,
    PG_ksm,
    PG_lru,
    PG_partially_mapped,
    PG_referenced,
    PG_reserved,
    PG_swapbacked,
    PG_swapcache,
    PG_table,
    PG_used,
    single,
    width,
)
from thplab.hardware.steps import Routine, change, read, routine
from thplab.kernel.address_space import AddressSpace, Vma
from thplab.kernel.routines.follow_page import follow_page
from thplab.kernel.routines.migration import freeze_ptes
from thplab.kernel.routines.mlocked import mlock_migrated
from thplab.kernel.routines.mm import get_page, put_page
from thplab.kernel.routines.rmap import (
    folio_add_anon_rmap_pmd,
    folio_add_anon_rmap_ptes,
    folio_remove_rmap_pmd,
    lock_rmap,
    page_vma_mapped_walk,
    rmap_walk_page,
)
from thplab.kernel.routines.split_huge_page import lock_of_kept, split_huge_page
from thplab.kernel.routines.walk import entry_range, pmd_at, pmd_ranges
from thplab.kernel.system import System

_MOVES = PG_anon | PG_lru | PG_dirty | PG_referenced | PG_swapbacked | PG_ksm
"""Flags that go over to the new page."""


@routine
def do_pages_move(system: System, mm: AddressSpace, address: int) -> Routine[int]:
    """Move the page under `address`, or the huge page that it is part of,
    to another frame (the system call move_pages).

    Returns 0, -EFAULT in no VMA, -ENOENT if no page is there (the zero page is none), or what migrate_pages returns.
    """
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    vma = mm.find_vma(address)
    page = (yield from follow_page(system, vma, address)) if vma is not None else None
    yield from system.cpus.unlock(mm.mmap_sem)
    if page is None:
        return -EFAULT if vma is None else -ENOENT
    if system.frames.flags[page] & PG_reserved:
        yield from put_page(system, single(page))
        return -ENOENT
    return (yield from migrate_pages(system, page))


@routine
def migrate_pages(system: System, page: int) -> Routine[int]:
    """Move the page `page`, or the compound page that it is part of. Takes over the caller's reference on it.

    A huge page goes as one where the kernel can do that and finds another one free; else it is split, and only `page`
    moves. Returns 0; the errno of a refused split; -EAGAIN if the page is pinned or locked; -ENOMEM. On failure every
    mapping is as before, but PTEs may have lost what a migration entry does not remember.
    """
    frames = system.frames
    head = frames.compound_head(page)
    if frames.is_compound(page):
        new = frames.alloc_pages(frames.order(head)) if whole(system, head) else None
        if new is not None:
            yield change("allocate another compound page")
            error = yield from unmap_and_move_huge(system, head, new)
            if frames.is_huge(new):
                system.count_vm_event("thp_migration_fail" if error else "thp_migration_success")
            yield from put_page(system, single(new))
            yield from put_page(system, single(page))
            return error
    huge = frames.is_huge(head)
    error = yield from split_for(system, page)
    if huge and not error:
        system.count_vm_event("thp_migration_split")
    if huge and (error or system.kernel.migration.split_fails):
        system.count_vm_event("thp_migration_fail")
    if not error:
        error = yield from unmap_and_move(system, page)
    yield from put_page(system, single(page))
    return error


def whole(system: System, head: int) -> bool:
    """May this compound page move as one?

    Not if part of it is unmapped and it waits to be split anyway;
    and not under DoubleMap, of which no recording tells how it moves.
    """
    return system.kernel.migration.whole and not system.frames.flags[head] & (PG_partially_mapped | PG_double_map)


def split_for(system: System, page: int) -> Routine[int]:
    """Split the compound page that `page` is part of, on which the caller has a reference, which ends on `page`.

    Returns 0, also for a page that is small already, or the errno of a refused split.
    """
    head = system.frames.compound_head(page)
    lock = system.page_lock(page)
    yield from system.cpus.lock(lock)
    compound = system.frames.is_compound(page)
    yield read("is it still a compound page? " + ("yes" if compound else "no"))
    error = (yield from split_huge_page(system, head, kept=page)) if compound else 0
    yield from system.cpus.unlock(lock_of_kept(system, lock, page))
    return error


@routine
def unmap_and_move(system: System, page: int) -> Routine[int]:
    """Move a small page, on which the caller has a reference and keeps it. Returns 0, -EAGAIN or -ENOMEM."""
    new = system.frames.alloc_pages(0)
    if new is None:
        yield read("no page is free")
        return -ENOMEM
    yield change(f"allocate {system.page_name(new)}")
    error = yield from __unmap_and_move(system, page, new)
    yield from put_page(system, single(new))
    return error


@routine
def __unmap_and_move(system: System, page: int, new: int) -> Routine[int]:
    """Let the fresh page `new` take the place of the small page `page`.
    The caller has a reference on each and keeps both.

    Returns 0, or -EAGAIN if the page is locked or if anybody else refers to it.
    """
    frames = system.frames
    lock = system.page_lock(page)
    locked = yield from system.cpus.trylock(lock)
    if not locked:
        return -EAGAIN
    new_lock = system.page_lock(new)
    yield from system.cpus.lock(new_lock, why="A write in place must wait until all mappings are there.")
    locks = yield from lock_rmap(system, page)
    places = rmap_walk_page(system, page)
    yield read("who maps the page? The reverse map tells")
    for vma, address in places:
        pte_table = system.tables.walk(vma.mm.pgd, address, 0)
        if pte_table is not None:
            low = system.geometry.index(address, 0)
            yield from try_to_migrate_one(system, vma, pte_table, low, low + 1, page)
    pinned = frames.page_count(page) != 1 + bool(frames.flags[page] & PG_swapcache)
    yield read(f"is our reference the only one? {'no: pinned' if pinned else 'yes'}")
    target = page
    if not pinned:
        yield from move_to_new_page(system, page, new)
        target = new
    for vma, address in places:
        pte_table = system.tables.walk(vma.mm.pgd, address, 0)
        if pte_table is not None:
            low = system.geometry.index(address, 0)
            yield from remove_migration_pte(system, vma, pte_table, low, low + 1, page, target)
    held = (*locks, new_lock, lock)
    for name in held:
        yield from system.cpus.unlock(name)
    return -EAGAIN if pinned else 0


@routine
def try_to_migrate_one(system: System, vma: Vma, pte_table: int, low: int, high: int, page: int) -> Routine[None]:
    """Freeze the PTEs of [low, high) that map the page, small or compound; their references and map counts go."""
    runs = yield from page_vma_mapped_walk(system, pte_table, low, high, system.frames.compound(page))
    yield from freeze_ptes(system, vma, pte_table, runs)
    yield from system.cpus.unlock(system.ptl(pte_table))


@routine
def move_to_new_page(system: System, page: int, new: int) -> Routine[None]:
    """Copy a page that is frozen, small or compound, and what the kernel knows of it, to the page `new`."""
    frames = system.frames
    old, fresh = frames.compound(page), frames.compound(new)
    frames.content[fresh] = frames.content[old]
    yield change(f"copy {system.geometry.size_text(old.stop - old.start)}")
    frames.mapping[fresh] = frames.mapping[old]
    frames.index[fresh] = frames.index[old]
    frames.flags[fresh] |= frames.flags[old] & _MOVES
    if frames.flags[page] & PG_ksm:
        system.ksm.moved(page, new)
    if system.swap is not None and frames.flags[page] & PG_swapcache:
        system.swap.move(old, new)
        frames.flags[page] &= ~PG_swapcache
        frames.flags[new] |= PG_swapcache
        frames.ref_add(single(new), width(old))
        frames.ref_add(single(page), -width(old))
    yield change(f"{system.page_name(new)} takes the place of {system.page_name(page)}")


@routine
def remove_migration_pte(
    system: System, vma: Vma, pte_table: int, low: int, high: int, page: int, target: int
) -> Routine[None]:
    """Turn the migration entries of `page` in [low, high) into PTEs of `target`, which may be the same."""
    tables, frames = system.tables, system.frames
    runs = yield from page_vma_mapped_walk(system, pte_table, low, high, frames.compound(page), "migration")
    for run in runs:
        parts = system.each(run.entries)
        for part in parts:
            first = target + run.cut(part.start, part.stop).pfn - page
            now = slice(first, first + part.stop - part.start)
            yield from get_page(system, now)
            tables.retarget(pte_table, part, first)
            frames.flags[now] |= np.where(tables.marked(pte_table, part, pt._SWP_EXCLUSIVE), PG_anon_exclusive, 0)
            tables.unfreeze(pte_table, part, pt.pgprot(vma.prot))
            yield change("PTE = " + ("the page again" if target == page else "the new page"))
            yield from folio_add_anon_rmap_ptes(system, vma, now, at_once=False)
            yield from mlock_migrated(system, vma, now)
    yield from system.cpus.unlock(system.ptl(pte_table))


# --- a huge page as one -----------------------------------------------------------------------------------------------


@routine
def unmap_and_move_huge(system: System, page: int, new: int) -> Routine[int]:
    """Let the fresh compound page `new` take the place of the one with head `page`.
    The caller has a reference on each and keeps both.

    Returns 0, or -EAGAIN if it is locked or pinned. PTEs become migration entries. The kernel has such entries for
    PMDs, too; here the locks of all PMDs that map the page are held instead, a child's before its parent's, as fork
    takes them.
    """
    frames, tables = system.frames, system.tables
    lock = system.page_lock(page)
    locked = yield from system.cpus.trylock(lock)
    if not locked:
        return -EAGAIN
    new_lock = system.page_lock(new)
    yield from system.cpus.lock(new_lock, why="A write in place must wait until all mappings are there.")
    locks = yield from lock_rmap(system, page)
    places = rmap_walk_page(system, page)
    yield read("who maps the page? The reverse map tells")
    ranges = _pte_ranges(system, places)
    for vma, pte_table, low, high in ranges:
        yield from try_to_migrate_one(system, vma, pte_table, low, high, page)
    pmds = _pmds(system, places, page)
    ptls = tuple(dict.fromkeys(system.ptl(table) for _, table, _ in pmds))
    for ptl in ptls:
        yield from system.cpus.lock(ptl)
    pmds = _pmds(system, places, page)
    for vma, table, index in pmds:
        tables.set(table, index, pt.mknotpresent(tables.get(table, index)))
        yield change("PMD marked not present")
        yield from system.cpus.flush_tlb(f"{system.geometry.size_text(system.geometry.nr)} of {vma.mm.name}")
    pinned = frames.page_count(page) != len(pmds) + 1
    yield read(f"does anybody else refer to the page? {'yes: pinned' if pinned else 'no'}")
    if not pinned:
        yield from move_to_new_page(system, page, new)
    target = page if pinned else new
    for vma, table, index in pmds:
        yield from remove_migration_pmd(system, vma, table, index, page, target)
    for vma, pte_table, low, high in ranges:
        yield from remove_migration_pte(system, vma, pte_table, low, high, page, target)
    held = (*ptls, *locks, new_lock, lock)
    for name in held:
        yield from system.cpus.unlock(name)
    return -EAGAIN if pinned else 0


def _pte_ranges(system: System, places: tuple[tuple[Vma, int], ...]) -> tuple[tuple[Vma, int, int, int], ...]:
    """(VMA, PTE table, low, high) for all PTEs under which a part of a huge page may be mapped;
    `places` as rmap_walk gives them.
    """
    found = []
    for vma, address in places:
        start, end = max(address, vma.start), min(address + system.geometry.huge_size, vma.end)
        for low, high in pmd_ranges(system.geometry, start, end):
            table = system.tables.walk(vma.mm.pgd, low, 0)
            if table is not None:
                found.append((vma, table, *entry_range(system.geometry, low, high)))
    return tuple(found)


def _pmds(system: System, places: tuple[tuple[Vma, int], ...], page: int) -> tuple[tuple[Vma, int, int], ...]:
    """(VMA, PMD table, index) of the PMDs that map the huge page, children before their parents."""
    found = []
    for vma, address in reversed(places):
        pmd = pmd_at(system, vma.mm, max(address, vma.start))
        if pmd is not None and pt.pmd_trans_huge(pmd.entry) and pt.pte_pfn(pmd.entry) == page:
            found.append((vma, pmd.table, pmd.at))
    return tuple(found)


@routine
def remove_migration_pmd(system: System, vma: Vma, table: int, index: int, page: int, target: int) -> Routine[None]:
    """Let a PMD that was hidden map `target`, with the rights that it had. Called under its lock."""
    entry = system.tables.get(table, index)
    present = 0 if entry & pt._PAGE_PROTNONE else pt._PAGE_PRESENT
    moved = (entry & ~pt.PTE_PFN_MASK) | pt.mk_pte(target, present)
    if target != page:
        exclusive = int(system.frames.flags[page] & PG_anon_exclusive)
        yield from get_page(system, single(target))
        yield from folio_add_anon_rmap_pmd(system, vma, target)
        yield from mlock_migrated(system, vma, single(target), by_pmd=True)
        yield from folio_remove_rmap_pmd(system, vma, page)
        yield from put_page(system, single(page))
        system.frames.flags[target] |= exclusive
    system.tables.set(table, index, moved)
    yield change("PMD = " + ("the huge page again" if target == page else "the new huge page"))


# --- compaction -------------------------------------------------------------------------------------------------------


@routine
def compact_memory(system: System) -> Routine[int]:
    """Move small pages together so that larger blocks come free (mm/compaction.c). Huge pages stay:
    they are large already. Returns 0.

    A page to which anything but its mappings refers is not even tried.
    Free frames are taken first, so that no page moves to where another one was.
    """
    movable = _movable(system)
    yield read(f"{len(movable)} small pages could move")
    free = tuple(_isolate_freepages(system, len(movable)))
    yield change(f"take {len(free)} free pages")
    pairs = tuple(zip(movable, free, strict=False))
    for page, new in pairs:
        if system.frames.ref_inc_not_zero(page):
            yield change(f"{system.page_name(page)} {system.refcount_name} += 1")
            if _is_small_anon(system, page):
                yield from __unmap_and_move(system, page, new)
            yield from put_page(system, single(page))
        else:
            yield read("get_page_unless_zero: no, the page is being freed")
        yield from put_page(system, single(new))
    return 0


def _movable(system: System) -> tuple[int, ...]:
    """The small anonymous pages on the LRU to which nothing but their mappings refers, in the order of pfns."""
    frames = system.frames
    unmovable = PG_table | PG_reserved | PG_hwpoison
    flags, refcount, mapcount = (field[: frames.end] for field in (frames.flags, frames.refcount, frames.mapcount))
    wanted = (flags & (PG_used | PG_anon | PG_lru | unmovable)) == PG_used | PG_anon | PG_lru
    pages = np.flatnonzero(wanted & (refcount > 0) & (refcount == mapcount + 1)).tolist()
    return tuple(page for page in pages if not frames.is_compound(page))


def _is_small_anon(system: System, page: int) -> bool:
    """It may have been freed and become something else meanwhile."""
    wanted, flags = PG_anon | PG_lru, int(system.frames.flags[page])
    return flags & (wanted | PG_table | PG_reserved) == wanted and not system.frames.is_compound(page)


def _isolate_freepages(system: System, wanted: int) -> list[int]:
    """Up to `wanted` free pages, taken from the allocator."""
    found: list[int] = []
    while len(found) < wanted:
        page = system.frames.alloc_pages(0)
        if page is None:
            break
        found.append(page)
    return found
