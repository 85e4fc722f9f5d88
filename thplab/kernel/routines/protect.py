"""mprotect, and the cutting of VMAs that it shares with munmap (mm/mprotect.c, mm/mmap.c)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from thplab.errors import ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_anon_exclusive, single
from thplab.hardware.steps import Routine, change, read, routine
from thplab.kernel.address_space import VM_LOCKED, VM_UNCHARGED, AddressSpace, Vma
from thplab.kernel.routines.huge_pmd import pmd_trans_huge_lock
from thplab.kernel.routines.populate import populate_vma_page_range
from thplab.kernel.routines.rmap import anon_vma_lock, vmas_lock
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.kernel.routines.walk import entry_range, next_vma, pmd_at, pmd_ranges
from thplab.kernel.system import System


@routine
def split_vma(system: System, mm: AddressSpace, address: int) -> Routine[None]:
    """Make `address` a border between VMAs if it lies inside one. Called under mmap_sem (exclusive).

    A huge PMD across the new border is split first: one PMD maps memory of one VMA only. There can be none where the
    VMA does not hold all that it would map (vma_adjust_trans_huge), so behind a border that was made just now nobody
    looks.
    """
    vma = mm.find_vma(address)
    if vma is None or vma.start == address:
        return
    huge = system.geometry.huge_size
    first = address - address % huge
    if first < address and vma.start <= first and first + huge <= vma.end:
        yield from split_huge_pmd(system, vma, address)
    lock = anon_vma_lock(vma.chain[0]) if vma.chain else ""
    if lock:
        yield from system.cpus.lock(lock)
    mm.split(vma, address)
    yield change("split the VMA in two", "Both parts are about the same memory; they may differ in rights from now on.")
    if lock:
        yield from system.cpus.unlock(lock)


@routine
def vma_merge(system: System, vma: Vma) -> Routine[None]:
    """Join a VMA that was just changed with the neighbours that it no longer differs from.
    Called under mmap_sem (exclusive).
    """
    others = vma.mm.mergeable(vma, bool(system.kernel.mm.merges_into_unfaulted))
    if not others:
        return
    lock = vmas_lock(vma, *others)
    if lock:
        yield from system.cpus.lock(lock)
    vma.mm.merge(vma, others)
    yield change("merge VMAs that no longer differ")
    if lock:
        yield from system.cpus.unlock(lock)


@routine
def vma_modify_flags(system: System, vma: Vma, start: int, end: int, flags: frozenset[str]) -> Routine[None]:
    """Give the part of `vma` in [start, end) other flags:
    it is cut at the borders, and merged with what no longer differs.

    Called under mmap_sem (exclusive). Does nothing if the flags are the same.
    """
    if flags == vma.flags:
        return
    mm, low, high = vma.mm, max(start, vma.start), min(end, vma.end)
    more, less = flags - vma.flags, vma.flags - flags
    yield from split_vma(system, mm, low)
    yield from split_vma(system, mm, high)
    target = mm.find_vma(low)
    assert target is not None, "it was just cut there"
    target.flags = flags
    yield change(
        f"the VMA {'remembers: ' + ', '.join(sorted(more)) if more else 'forgets: ' + ', '.join(sorted(less))}"
    )
    yield from vma_merge(system, target)


@routine
def sys_mprotect(system: System, mm: AddressSpace, start: int, end: int, prot: int) -> Routine[int]:
    """Give [start, end) the protection `prot`. Returns 0, or -ENOMEM at the first address without a VMA;
    what lies before it is done.
    """
    yield from system.cpus.lock(mm.mmap_sem)
    address, error = start, 0
    while address < end and not error:
        found = next_vma(mm, address, end)
        if found is None or found.start > address:
            yield read("no VMA is there")
            error = -ENOMEM
            break
        if found.vma.prot != prot:
            yield from mprotect_fixup(system, found.vma, found.start, found.end, prot)
        address = found.end
    yield from system.cpus.unlock(mm.mmap_sem)
    return error


@routine
def mprotect_fixup(system: System, vma: Vma, start: int, end: int, prot: int) -> Routine[None]:
    """Change the protection of [start, end), which lies inside `vma`:
    cut the VMA, change the entries, merge what no longer differs.
    """
    mm = vma.mm
    borders = (start, end)
    for border in borders:
        yield from split_vma(system, mm, border)
    target = mm.find_vma(start)
    assert target is not None
    opens = VM_LOCKED in vma.flags and bool(prot & ~vma.prot & pt.PROT_WRITE)
    if prot & pt.PROT_WRITE:
        target.flags -= {VM_UNCHARGED}
    elif not vma.chain and system.kernel.mm.mprotect_uncharges:
        target.flags |= {VM_UNCHARGED}
    target.prot = prot
    yield change(
        f"the VMA of {system.geometry.size_text((end - start) // system.geometry.page_size)} gets its new protection"
    )
    ranges = pmd_ranges(system.geometry, start, end)
    flush = system.kernel.mm.mprotect_flushes == "always"
    for address, stop in ranges:
        needed = yield from change_pmd_range(system, target, address, stop)
        flush = flush or needed
    if flush:
        yield from system.cpus.flush_tlb(f"the changed range of {mm.name}", "Old rights must not survive in any CPU.")
    if opens:  # as kernels do since v4.2
        yield read("locked memory becomes writable", "A later write must not have to copy: it is faulted in now.")
        yield from populate_vma_page_range(system, target, start, end, True)
    yield from vma_merge(system, target)


@routine
def change_pmd_range(system: System, vma: Vma, address: int, stop: int) -> Routine[bool]:
    """Give the entries of [address, stop), which lies under one PMD, the protection of `vma`.
    Returns whether the TLB must be flushed.
    """
    found = pmd_at(system, vma.mm, address)
    if found is None:
        return False
    pmd_table, index, pmd = found
    yield read(f"read the PMD: {pt.entry_text(pmd)}")
    if pt.pmd_trans_huge(pmd):
        if stop - address < system.geometry.huge_size:
            yield from split_huge_pmd(system, vma, address)
        else:
            flush = yield from change_huge_pmd(system, vma, pmd_table, index)
            if flush is not None:
                return flush
        pmd = system.tables.get(pmd_table, index)
        yield read(f"read the PMD again: {pt.entry_text(pmd)}")
    if pt.pte_none(pmd):
        return False
    low, high = entry_range(system.geometry, address, stop)
    return (yield from change_pte_range(system, vma, pt.pte_pfn(pmd), low, high))


def must_flush(system: System, old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    """Must the TLB be flushed for entries that change from `old` to `new`? (pte_needs_flush)"""
    if system.kernel.mm.mprotect_flushes != "changed":
        return True
    return any(was & pt._PAGE_PRESENT and (was ^ now) & ~pt._PAGE_ACCESSED for was, now in zip(old, new, strict=True))


def can_change_writable(
    system: System, vma: Vma, pages: slice, dirty: npt.NDArray[np.bool_] | bool = False
) -> npt.NDArray[np.bool_]:
    """Which of these pages, mapped anew with the rights of `vma`,
    may be written without a fault that looks at them first.

    `dirty` tells which of them PTEs map that are dirty.
    """
    which = system.kernel.mm.mprotect_makes_writable if vma.prot & pt.PROT_WRITE else ""
    exclusive: npt.NDArray[np.bool_] = (system.frames.flags[pages] & PG_anon_exclusive) != 0
    return exclusive & (which == "all" or (dirty if which else False))


@routine
def change_huge_pmd(system: System, vma: Vma, pmd_table: int, index: int) -> Routine[bool | None]:
    """Give a huge PMD the protection of `vma`; it becomes writable again only by a write fault.
    Returns whether the TLB must be flushed.

    Returns None, with nothing changed, if the PMD is not huge any more: a page split was quicker.
    """
    if not (yield from pmd_trans_huge_lock(system, vma, pmd_table, index)):
        return None
    policies = system.kernel.mm
    pmd = system.tables.get(pmd_table, index)
    if policies.mprotect_clears:
        system.tables.set(pmd_table, index, pt.mknotpresent(pmd))
        yield change(
            f"PMD: {pt.entry_text(pt.mknotpresent(pmd))}",
            "No CPU can set its dirty bit between the look at it and the store.",
        )
        if policies.mprotect_flushes == "touched":
            yield from system.cpus.flush_tlb(f"the huge page of {vma.mm.name}")
    new = pt.pte_modify(pmd, pt.pgprot(vma.prot))
    if policies.mprotect_pmd_forgets_dirty:
        new = pt.mkclean(new)
    if can_change_writable(system, vma, single(pt.pte_pfn(pmd)))[0]:
        new = pt.mkwrite(new)
    system.tables.set(pmd_table, index, new)
    yield change(f"PMD: {pt.entry_text(new)}", "The whole huge page changes: no split is needed.")
    yield from system.cpus.unlock(system.ptl(pmd_table))
    return must_flush(system, (pmd,), (new,))


@routine
def change_pte_range(system: System, vma: Vma, pte_table: int, low: int, high: int) -> Routine[bool]:
    """Give the PTEs [low, high) the protection of `vma`; they become writable again only by write faults.

    Returns whether the TLB must be flushed. No CPU can set the dirty bit of an entry between the look at it and the
    store where it is cleared for that while: one by one, or all those of one compound page together.
    """
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    runs = tuple(r for r in system.tables.runs(pte_table, low, high) if r.kind not in ("swap", "hwpoison", "guard"))
    yield read("read the PTEs")
    tables, clears, flush = system.tables, system.kernel.mm.mprotect_clears, False
    for run in runs:
        present = run.kind in ("page", "zero")
        batches = (run.entries,) if clears == "batch" and of_one_folio(system, run) else system.each(run.entries)
        for batch in batches:
            parts = system.each(batch)
            old: tuple[int, ...] = ()
            for part in parts:
                old += tuple(map(int, tables.table[pte_table][part]))
                if present and clears:
                    tables.store(pte_table, part, 0)
                    yield change(f"{ptes_text(part)} cleared")
            new = modified(system, vma, run.cut(batch.start, batch.stop), old)
            for part in parts:
                tables.store(pte_table, part, new[part.start - batch.start : part.stop - batch.start])
                yield change(f"{ptes_text(part)} with the new protection")
            flush = flush or (
                must_flush(system, old, new) if present else system.kernel.mm.mprotect_flushes == "touched"
            )
    yield from system.cpus.unlock(lock)
    return flush


def of_one_folio(system: System, run: pt.PteRun) -> bool:
    """Does a run map parts of one large folio? What is done with such PTEs is done in a batch where a kernel knows
    batches.
    """
    return run.kind == "page" and system.frames.is_compound(run.pages.start)


def ptes_text(part: slice) -> str:
    """The PTEs of one step as a text."""
    return f"PTE {part.start}" if part.stop - part.start == 1 else f"{part.stop - part.start} PTEs"


def modified(system: System, vma: Vma, run: pt.PteRun, old: tuple[int, ...]) -> tuple[int, ...]:
    """The entries of a run, which were `old`, with the protection of `vma`."""
    if run.kind == "migration":
        return tuple(entry & ~pt._SWP_TYPE | pt._SWP_MIGRATION_READ for entry in old)
    new = tuple(pt.pte_modify(entry, pt.pgprot(vma.prot)) for entry in old)
    if run.kind == "page":
        dirty = np.array([entry & pt._PAGE_DIRTY != 0 for entry in old])
        writable = can_change_writable(system, vma, run.pages, dirty).tolist()
        new = tuple(pt.mkwrite(entry) if may else entry for entry, may in zip(new, writable, strict=True))
    return new


# --- mutants ----------------------------------------------------------------------------------------------------------


def grants_what_the_vma_grants(system: System, vma: Vma, pmd_table: int, index: int) -> Routine[bool | None]:
    """change_huge_pmd that makes the PMD writable as soon as the VMA is, whoever else maps the page."""
    flush = yield from change_huge_pmd.right(system, vma, pmd_table, index)
    if flush is not None and vma.prot & pt.PROT_WRITE:
        system.tables.set(pmd_table, index, pt.mkwrite(system.tables.get(pmd_table, index)))
        yield change("PMD: writable, as the VMA is")
    return flush
