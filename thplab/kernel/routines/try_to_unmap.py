"""Taking a page out of every page table that maps it, on its way to the swap device (try_to_unmap in mm/rmap.c)."""

from __future__ import annotations

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_anon_exclusive, PG_dirty, PG_swapbacked, single, width
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import VM_LOCKED, Vma
from thplab.kernel.routines.mlocked import mlock_vma_folio, mlock_vma_page
from thplab.kernel.routines.mm import put_page
from thplab.kernel.routines.rmap import (
    anon_vma_lock,
    folio_remove_rmap_ptes,
    page_get_anon_vma,
    page_vma_mapped_walk,
    rmap_walk,
)
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.kernel.routines.swap import slots_text, swap_duplicate
from thplab.kernel.routines.walk import entry_range, mapped_page, pmd_at, pmd_ranges
from thplab.kernel.system import System


@routine
def try_to_unmap(system: System, page: int) -> Routine[bool]:
    """Put a swap entry in the place of every mapping of `page`, a small page or a head, which is in the swap cache.

    Called under its page lock and with a reference. PMDs are split first, so a huge page leaves one swap entry for each
    of its small pages. Returns whether nobody maps the page any more.
    """
    anon_vma = yield from page_get_anon_vma(system, page)
    if anon_vma is None:
        return True
    lock = anon_vma_lock(anon_vma)
    yield from system.cpus.lock(lock, "shared")
    places = rmap_walk(system, anon_vma, page)
    yield read("who maps the page? The reverse map tells")
    for vma, address in places:
        yield from try_to_unmap_one(system, vma, address, page)
    yield from system.cpus.unlock(lock)
    left = system.scheme.total_mapcount(system.frames, page)
    yield read(f"mappings left: {left}")
    return left == 0


@routine
def try_to_unmap_one(system: System, vma: Vma, address: int, page: int) -> Routine[None]:
    """Unmap `page`, whose first small page would be at `address`, from one VMA, unless that is locked in memory: then
    a small page whose mark was missed gets it."""
    geometry, frames = system.geometry, system.frames
    if VM_LOCKED in vma.flags:
        maps = not frames.is_compound(page) and mapped_page(system, vma.mm, address) == page
        yield read("the VMA is locked in memory: it keeps its pages")
        if maps and system.kernel.mm.mlocks == "found":
            yield from mlock_vma_page(system, page)
        elif maps:
            yield from mlock_vma_folio(system, vma, single(page))
        return
    low = max(address, vma.start)
    high = min(address + width(frames.compound(page)) * geometry.page_size, vma.end)
    found = pmd_at(system, vma.mm, low)
    if found is not None and pt.pmd_trans_huge(found.entry) and pt.pte_pfn(found.entry) == page:
        yield from split_huge_pmd(system, vma, low, page=page)
    ranges = pmd_ranges(geometry, low, high)
    for start, stop in ranges:
        pte_table = system.tables.walk(vma.mm.pgd, start, 0)
        if pte_table is not None:
            first, last = entry_range(geometry, start, stop)
            if frames.flags[page] & PG_swapbacked:
                yield from unmap_ptes(system, vma, pte_table, first, last, page)
            else:
                yield from discard_ptes(system, vma, pte_table, first, last, page)


@phrase("put swap entries in the place of the PTEs")
def unmap_ptes(system: System, vma: Vma, pte_table: int, low: int, high: int, page: int) -> Routine[None]:
    """Turn the PTEs of [low, high) that map `page` into swap entries; their references and map counts go."""
    tables, frames, device = system.tables, system.frames, system.swap
    assert device is not None, "the page is in its cache"
    runs = yield from page_vma_mapped_walk(system, pte_table, low, high, frames.compound(page))
    for run in runs:
        parts = system.each(run.entries)
        for part in parts:
            pages = run.cut(part.start, part.stop).pages
            slots = device.slots(pages)
            if tables.marked(pte_table, part, pt._PAGE_DIRTY).any():
                frames.flags[page] |= PG_dirty
            tables.store(pte_table, part, 0)
            yield change("PTE cleared" if width(part) == 1 else f"{width(part)} PTEs cleared")
            why = "A GUP-fast that has read the old entry finishes first: its pin will be seen."
            yield from system.cpus.flush_tlb(f"the page of {vma.mm.name}", why, vma.mm.name, vma.start, vma.end)
            yield from swap_duplicate(system, slots)
            tables.fill(pte_table, part, slots.start, pt._SWP_DEVICE)
            tables.store(
                pte_table,
                part,
                tables.table[pte_table][part]
                | (frames.flags[pages] & PG_anon_exclusive != 0) * np.uint64(pt._SWP_EXCLUSIVE),
            )
            frames.flags.clear(pages, PG_anon_exclusive)
            yield change(
                f"PTE = swap entry, {slots_text(slots)}"
                if width(part) == 1
                else f"{width(part)} PTEs = swap entries, {slots_text(slots)}",
                "Whoever touches the page now faults, and the entry says where the page is.",
            )
            yield from folio_remove_rmap_ptes(system, vma, pages)
            yield from put_page(system, pages)
    yield from system.cpus.unlock(system.ptl(pte_table))


@phrase("clear the PTEs")
def discard_ptes(system: System, vma: Vma, pte_table: int, low: int, high: int, page: int) -> Routine[None]:
    """Clear the PTEs of [low, high) that map `page`, whose contents MADV_FREE has given up;
    nothing stands in their place.

    A page that was written to since, or that somebody else holds, is kept: it is PG_swapbacked again. Since 6.15 it is
    only if it was written to.
    """
    tables, frames = system.tables, system.frames
    runs = yield from page_vma_mapped_walk(system, pte_table, low, high, frames.compound(page))
    every = tuple(run.cut(i, i + 1) for run in runs for i in range(run.start, run.stop))
    parts = runs if system.kernel.reclaim.discards_at_once else every
    for part in parts:
        dirty = bool(frames.flags[page] & PG_dirty) or bool(
            tables.marked(pte_table, part.entries, pt._PAGE_DIRTY).any()
        )
        held = frames.page_count(page) != 1 + system.scheme.total_mapcount(frames, page)
        if dirty or held:
            if not dirty and system.kernel.reclaim.keeps_lazyfree:
                yield read("somebody holds it: it stays, and may go later")
                break
            frames.flags[page] |= PG_swapbacked
            yield change("PG_swapbacked again: " + ("it was written to" if dirty else "somebody holds it"))
            break
        tables.store(pte_table, part.entries, 0)
        yield change("PTE cleared", "The contents go with the page: MADV_FREE has given them up.")
        yield from system.cpus.flush_tlb(f"the page of {vma.mm.name}")
        yield from folio_remove_rmap_ptes(system, vma, part.pages)
        yield from put_page(system, part.pages)
    yield from system.cpus.unlock(system.ptl(pte_table))
