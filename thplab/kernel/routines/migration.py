"""Migration entries: non-present entries that stand in for a mapping while its page is frozen (mm/migrate.c)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_anon_exclusive, PG_dirty, PG_hwpoison, single, width
from thplab.hardware.steps import Routine, change, phrase, read, routine, wait
from thplab.kernel.address_space import Vma
from thplab.kernel.routines.mm import put_page
from thplab.kernel.routines.rmap import folio_remove_rmap_ptes
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
        yield change(
            f"{system.page_name(page)} {system.refcount_name} += 1",
            "The reference keeps the page while this CPU waits.",
        )
    else:
        yield read("get_page_unless_zero: no, the count is 0")
    yield from system.cpus.unlock(lock)
    while system.tables.get(pte_table, index) == pte:
        yield wait("waits until the migration entry is gone")
    if held:
        yield from put_page(system, slice(page, page + 1))


def freeze_ptes(system: System, vma: Vma, pte_table: int, runs: tuple[pt.PteRun, ...]) -> Routine[bool]:
    """Make migration entries of PTEs that map pages, under the lock of their table; their references and map counts go.

    Returns False at a page of one process's own that a driver has pinned: it and what comes after it stay mapped.
    """
    tables, frames = system.tables, system.frames
    keep = pt._PAGE_ACCESSED | pt._PAGE_DIRTY if system.kernel.migration.keeps_young else 0
    for run in runs:
        parts = _parts_to_freeze(system, run)
        for part, bad in parts:
            pages = run.cut(part.start, part.stop).pages
            entries = tuple(tables.table[pte_table][part].tolist())
            tables.store(pte_table, part, 0)
            yield change("PTE cleared" if width(part) == 1 else f"{width(part)} PTEs cleared")
            yield from flush_frozen(system, vma)
            head = frames.compound_head(pages.start)
            if not frames.flags[head] & PG_dirty and any(entry & pt._PAGE_DIRTY for entry in entries):
                frames.flags[head] |= PG_dirty
                yield change("PG_dirty set", "The entry that knew it is gone.")
            exclusive = tuple((frames.flags[pages] & PG_anon_exclusive != 0).tolist())
            if bad:
                tables.store(pte_table, part, [pt.mk_hwpoison(pfn) for pfn in range(pages.start, pages.stop)])
                yield change("PTE = hwpoison entry", "The page is known to be bad: nobody is to wait for it.")
            else:
                if any(exclusive) and not (yield from __folio_try_share_anon_rmap(system, pages)):
                    tables.store(pte_table, part, entries)
                    yield change("the PTE as it was")
                    return False
                tables.store(pte_table, part, entries)
                tables.freeze(pte_table, part, keep, np.array(exclusive))
                yield change("PTE = migration entry", "Whoever touches the page now has to wait.")
            yield from folio_remove_rmap_ptes(system, vma, pages)
            yield from put_page(system, pages)
    return True


@routine
def __folio_try_share_anon_rmap(system: System, pages: slice) -> Routine[bool]:
    """Say that `pages` are not one process's own any more, before others may share them.
    False if a driver may have pinned them.

    Called when no entry leads to them any more and the flush is over:
    a GUP-fast either has counted its pin, or finds no entry.
    """
    if system.frames.maybe_dma_pinned(pages.start):
        yield read(
            "may a driver have pinned it? yes", "Then it must stay this process's own, or a write would go to a copy."
        )
        return False
    system.frames.flags.clear(pages, PG_anon_exclusive)
    yield change(f"{system.pages_text(pages)} not exclusive any more", "The migration entry remembers it.")
    return True


def _parts_to_freeze(system: System, run: pt.PteRun) -> tuple[tuple[slice, bool], ...]:
    """The PTEs of a run at the machine's grain, each part with whether its pages are taken for bad."""
    flags, by = system.frames.flags, system.kernel.hwpoison.frozen_by
    whole = by == "head" and bool(flags[system.frames.compound_head(run.pfn)] & PG_hwpoison)
    bad = (flags[run.pages] & PG_hwpoison) != 0 if by == "page" else np.full(run.stop - run.start, whole)
    if not bad.any():
        compound = system.frames.compound(system.frames.compound_head(run.pfn))
        if system.whole and run.stop - run.start == width(compound) > 1:
            # One by one in the kernel: between the first and the last the page is partially mapped, and an event may
            # tell of it.
            return (single(run.start), False), (slice(run.start + 1, run.stop), False)
        return tuple((part, False) for part in system.each(run.entries))
    borders = (run.start, *(np.flatnonzero(bad[1:] != bad[:-1]) + run.start + 1).tolist(), run.stop)
    pieces = [slice(low, high) for low, high in pairwise(borders)]
    return tuple((part, bool(bad[piece.start - run.start])) for piece in pieces for part in system.each(piece))


@phrase("flush what was frozen")
def flush_frozen(system: System, vma: Vma) -> Routine[None]:
    """No CPU may go on using the entries of `vma` that were frozen just now."""
    why = "A GUP-fast that has read the old entry finishes first: its pin will be seen."
    yield from system.cpus.flush_tlb(f"the frozen pages of {vma.mm.name}", why, vma.mm.name, vma.start, vma.end)
