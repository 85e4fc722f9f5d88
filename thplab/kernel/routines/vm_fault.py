"""What fault handlers, and others that map fresh pages, have in common:
their results, and mapping small pages of anonymous memory.
"""

from __future__ import annotations

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_anon_exclusive, single
from thplab.hardware.steps import Routine, change, phrase
from thplab.kernel.address_space import VM_LOCKED, Vma
from thplab.kernel.routines.mlocked import mlock_new_folio
from thplab.kernel.routines.rmap import folio_add_new_anon_rmap, set_anon_rmap
from thplab.kernel.system import System

VM_FAULT_OOM = 0x0001
VM_FAULT_WRITE = 0x0008
"""A write fault found or made a page that nobody else has."""
VM_FAULT_HWPOISON = 0x0010
VM_FAULT_SIGSEGV = 0x0040
VM_FAULT_FALLBACK = 0x0800


def transparent_hugepage_enabled(system: System, vma: Vma, address: int) -> bool:
    """May a huge page be mapped at `address`: the VMA may have some, and the whole huge page fits into it."""
    haddr = address & -system.geometry.huge_size
    fits = vma.start <= haddr and haddr + system.geometry.huge_size <= vma.end
    return fits and system.wants_huge(vma.flags)


def maybe_mkwrite(entry: int, vma: Vma) -> int:
    """The entry, writable if its VMA is:
    a forced write fault makes a page fit for a write that the process may not do.
    """
    return pt.mkwrite(entry) if vma.prot & pt.PROT_WRITE else entry


@phrase("map the fresh page")
def set_new_pte(
    system: System, vma: Vma, address: int, pte_table: int, page: int, dirty: bool = False, readonly: bool = False
) -> Routine[None]:
    """Map a fresh small page at `address`, writable and dirty if the VMA is writable; with `dirty` that in any case,
    with `readonly` neither.

    Called under the lock of `pte_table`.
    """
    yield from folio_add_new_anon_rmap(system, vma, address, page)
    entry = pt.mkyoung(pt.mk_pte(page, pt.pgprot(vma.prot)))
    if not readonly:
        entry = pt.mkdirty(entry) if dirty or vma.prot & pt.PROT_WRITE else entry
        entry = maybe_mkwrite(entry, vma)
    system.tables.set(pte_table, system.geometry.index(address, 0), entry)
    yield change(f"PTE = {system.page_name(page)}: {pt.entry_text(entry)}")


@phrase("map the small copies")
def map_small_copies(
    system: System, vma: Vma, address: int, pte_table: int, pages: tuple[int, ...], bits: int
) -> Routine[None]:
    """Map fresh small pages, which need not lie together, one after the other from `address` on,
    all with the same bits.

    Called under the lock of the table, or before anybody else sees it. The map counts and entries are plain stores.
    """
    frames = system.frames
    assert vma.anon_vma is not None
    for offset, new in enumerate(pages):
        set_anon_rmap(system, single(new), vma.anon_vma, vma.index(address) + offset)
    frames.mapcount[np.array(pages)] = 0
    yield change(f"{len(pages)} small pages: _mapcount = 0 each")
    if system.kernel.cow.anon_exclusive:
        frames.flags[np.array(pages)] |= PG_anon_exclusive
        yield change("PG_anon_exclusive: they are this process's own")
    for new in pages if VM_LOCKED in vma.flags else ():
        yield from mlock_new_folio(system, vma, single(new))
    first = system.geometry.index(address, 0)
    entries = slice(first, first + len(pages))
    system.tables.store(pte_table, entries, (np.array(pages, np.uint64) << np.uint64(12)) | np.uint64(bits))
    yield change(f"fill {len(pages)} PTEs with small pages")


def alloc_small_pages(system: System, count: int) -> tuple[int, ...]:
    """pfns of `count` small pages, or none at all when memory does not suffice."""
    pages: list[int] = []
    for _ in range(count):
        page = system.frames.alloc_pages(0)
        if page is None:
            for pfn in pages:
                system.frames.refcount[pfn] = 0
                system.frames.free_pages(pfn, 0)
            return ()
        pages.append(page)
    return tuple(pages)
