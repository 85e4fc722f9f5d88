"""fork: the child gets the parent's page tables with everything write-protected (kernel/fork.c, copy_* in mm/)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from thplab.errors import EAGAIN, ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_anon_exclusive, single, width
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import VM_DONTCOPY, VM_LOCKED, VM_WIPEONFORK, AddressSpace, Vma
from thplab.kernel.routines.deposit import pgtable_trans_huge_deposit
from thplab.kernel.routines.fault import __pte_alloc, pmd_alloc
from thplab.kernel.routines.huge_pmd import wait_split_huge_page
from thplab.kernel.routines.ksm import __ksm_enter
from thplab.kernel.routines.mm import folio_put_refs, folio_ref_add, get_page, put_page
from thplab.kernel.routines.pins import share_files
from thplab.kernel.routines.protect import of_one_folio
from thplab.kernel.routines.rmap import (
    anon_vma_alloc,
    anon_vma_lock,
    folio_try_dup_anon_rmap_pmd,
    folio_try_dup_anon_rmap_ptes,
)
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.kernel.routines.swap import swap_duplicate
from thplab.kernel.routines.unmap import exit_mmap
from thplab.kernel.routines.vm_fault import alloc_small_pages, map_small_copies
from thplab.kernel.routines.walk import entry_range, pmd_at, pmd_ranges
from thplab.kernel.system import System


def mm_alloc(system: System, name: str, pgd: int) -> AddressSpace:
    """A fresh address space with the lowest free mm id, which is one of the machine's from now on."""
    taken = {mm.mm_id for mm in system.mms.values()}
    free = next(number for number in range(1, len(taken) + 2) if number not in taken)
    system.mms[name] = AddressSpace(name, system.geometry, pgd, free, system.mmap_sem(name))
    return system.mms[name]


@routine
def dup_mmap(system: System, parent: AddressSpace, name: str) -> Routine[int]:
    """Make the address space `name` as a copy of `parent`. Returns 0, or -ENOMEM with the child taken down again;
    -EAGAIN if another fork has taken the name meanwhile.

    After a failure the parent keeps entries that became read-only: its next write finds them to be its own again.
    """
    yield from system.cpus.lock(parent.mmap_sem)
    pgd = None if name in system.mms else system.tables.alloc(system.geometry.levels - 1)
    if pgd is None:
        yield from system.cpus.unlock(parent.mmap_sem)
        return -EAGAIN if name in system.mms else -ENOMEM
    child = mm_alloc(system, name, pgd)
    child.alive = False
    child.regions.update(parent.regions)
    yield change(f"a new process {name} with an empty page table")
    if parent.name in system.ksm.mms:
        yield from __ksm_enter(system, child)
    error = 0
    vmas = tuple(vma for vma in parent.vmas if VM_DONTCOPY not in vma.flags)
    for source in vmas:
        vma = yield from dup_vma(system, source, child)
        if VM_WIPEONFORK not in source.flags:
            error = yield from copy_page_range(system, vma, source)
        if error:
            break
    share_files(system, parent.name, name)
    yield from system.cpus.flush_tlb(f"all of {parent.name}", f"{parent.name}'s entries have become read-only.")
    child.alive = not error
    yield from system.cpus.unlock(parent.mmap_sem)
    if error:
        yield from exit_mmap(system, child)
    return error


@phrase("copy the VMA")
def dup_vma(system: System, source: Vma, child: AddressSpace) -> Routine[Vma]:
    """Copy a VMA into the child and put the copy into every anon_vma of the parent's, behind it (anon_vma_fork).

    Memory that is locked in the parent is not in the child. A VMA that is wiped there shares no page with the parent's.
    """
    vma = Vma(child, source.start, source.end, source.prot, source.flags - {VM_LOCKED}, source.pgoff)
    if not source.chain or VM_WIPEONFORK in source.flags:
        child.insert(vma)
        yield change("copy the VMA")
        return vma
    lock = anon_vma_lock(source.chain[0])
    yield from system.cpus.lock(lock)
    vma.chain = [anon_vma_alloc(system, source.chain[0].root), *source.chain]
    child.insert(vma)
    yield change(
        "copy the VMA and link it into the reverse map",
        "From the pages of the parent the kernel must find the child, too.",
    )
    yield from system.cpus.unlock(lock)
    return vma


@routine
def copy_page_range(system: System, vma: Vma, source: Vma) -> Routine[int]:
    """Copy the page-table entries under `source` to the child's `vma`. Called under the parent's mmap_sem (exclusive).

    Returns 0 or -ENOMEM. A VMA without an anon_vma has no pages of its own and is left to be faulted in.
    """
    if not source.chain:
        return 0
    tells, mm = system.kernel.gup.foll_pin and not system.kernel.gup.pins_slowly, source.mm
    if tells:
        mm.write_protect_seq += 1
        yield change(
            "write_protect_seq is odd", "A GUP-fast that pins a page for DMA while it becomes shared will let go again."
        )
    error = yield from copy_pmd_range(system, vma, source)
    if tells:
        mm.write_protect_seq += 1
        yield change("write_protect_seq is even again")
    return error


@routine
def copy_pmd_range(system: System, vma: Vma, source: Vma) -> Routine[int]:
    """copy_page_range, PMD by PMD. Returns 0 or -ENOMEM."""
    ranges = pmd_ranges(system.geometry, source.start, source.end)
    for address, stop in ranges:
        found = pmd_at(system, source.mm, address)
        if found is None or pt.pte_none(found.entry):
            continue
        yield read(f"read the parent's PMD: {pt.entry_text(found.entry)}")
        pmd_table = yield from pmd_alloc(system, vma.mm, address)
        if pmd_table is None:
            return -ENOMEM
        if pt.pmd_trans_huge(found.entry):
            error = yield from copy_huge_pmd(system, vma, pmd_table, source, address)
            if error != -EAGAIN:
                if error:
                    return error
                continue
            found = pmd_at(system, source.mm, address)
            assert found is not None
            yield read(f"read the parent's PMD again: {pt.entry_text(found.entry)}")
        pte_table = yield from __pte_alloc(system, vma.mm, pmd_table, found.at)
        if not pte_table:
            return -ENOMEM
        low, high = entry_range(system.geometry, address, stop)
        error = yield from copy_pte_range(system, vma, source, pte_table, pt.pte_pfn(found.entry), address, low, high)
        if error:
            return error
    return 0


def needs_copy_for_dma(system: System, source: Vma, pages: slice) -> npt.NDArray[np.bool_]:
    """Which of these pages a fork must copy at once: the parent's own ones that a driver may have pinned with FOLL_PIN.

    If the child shared them, the parent's next write would go to a copy, and the driver would hold the wrong page.
    """
    frames = system.frames
    needs = np.zeros(pages.stop - pages.start, np.bool_)
    if source.mm.has_pinned:
        own = (frames.flags[pages] & PG_anon_exclusive) != 0 if system.kernel.cow.anon_exclusive else ~needs
        needs[own] = [frames.maybe_dma_pinned(pfn) for pfn in (np.flatnonzero(own) + pages.start).tolist()]
    return needs


@routine
def copy_huge_pmd(system: System, vma: Vma, pmd_table: int, source: Vma, address: int) -> Routine[int]:
    """Let the child map the parent's huge page with a PMD of its own; both PMDs become read-only.

    Called under the parent's mmap_sem (exclusive). Returns 0; -ENOMEM (no table to deposit), with nothing changed; or
    -EAGAIN: the parent's PMD is not huge any more. Either a page split was quicker, and is over; or a driver has pinned
    the page for DMA, and the child needs copies of its own: then the parent's PMD was split here.
    """
    tables, index = system.tables, system.geometry.index(address, 1)
    pgtable = tables.alloc(0)
    if pgtable is None:
        return -ENOMEM
    yield change("allocate a PTE table to deposit for the child", "Each huge PMD has its own spare table.")
    source_table = tables.walk(source.mm.pgd, address, 1)
    assert source_table is not None
    child_lock, parent_lock = system.ptl(pmd_table), system.ptl(source_table)
    yield from system.cpus.lock(child_lock)
    yield from system.cpus.lock(parent_lock)
    pmd = tables.get(source_table, index)
    page = pt.pte_pfn(pmd)
    yield read(f"read the parent's PMD: {pt.entry_text(pmd)}")
    splitting = pt.pmd_trans_splitting(pmd)
    huge = pt.pmd_trans_huge(pmd) and not splitting
    counted = huge and page != system.huge_zero_page
    held = counted and system.kernel.mm.fork_holds_first
    if held:
        yield from get_page(system, single(page))
    pinned = counted and bool(needs_copy_for_dma(system, source, single(page))[0])
    if held and pinned:
        yield from put_page(system, single(page))
    if not huge or pinned:
        yield from system.cpus.unlock(parent_lock)
        yield from system.cpus.unlock(child_lock)
        tables.free(pgtable)
        yield change("free the PTE table again")
        if pinned:
            yield from split_huge_pmd(system, source, address)
        if splitting:
            yield from wait_split_huge_page(system, source)
        return -EAGAIN
    if counted and not held:
        yield from get_page(system, single(page))
    if counted:
        yield from folio_try_dup_anon_rmap_pmd(system, vma, page)
    protects_last = system.kernel.mm.fork_protects_last
    if protects_last:
        yield from pgtable_trans_huge_deposit(system, vma.mm, pmd_table, pgtable)
    if counted:
        yield from pmdp_set_wrprotect(system, source_table, index, pmd)
    if not protects_last:
        yield from pgtable_trans_huge_deposit(system, vma.mm, pmd_table, pgtable)
    keeps_young = page == system.huge_zero_page and system.kernel.mm.fork_keeps_zero_young
    tables.set(pmd_table, index, pmd if keeps_young else pt.mkold(pt.wrprotect(pmd)))
    yield change("the child's PMD = the same huge page, read-only")
    yield from system.cpus.unlock(parent_lock)
    yield from system.cpus.unlock(child_lock)
    return 0


@routine
def pmdp_set_wrprotect(system: System, pmd_table: int, index: int, pmd: int) -> Routine[None]:
    """Make the parent's huge PMD read-only. Called under the lock of the table."""
    system.tables.set(pmd_table, index, pt.wrprotect(pmd))
    yield change("the parent's PMD becomes read-only", "The memory is shared now: whoever writes first must copy.")


def ptep_set_wrprotect(system: System, pte_table: int, parts: tuple[slice, ...]) -> Routine[None]:
    """Make PTEs of the parent read-only. Called under the lock of the table."""
    for part in parts:
        system.tables.change(pte_table, part, clear=pt._PAGE_RW)
        yield change("the parent's PTEs become read-only")


@routine
def copy_pte_range(
    system: System, vma: Vma, source: Vma, pte_table: int, source_table: int, address: int, low: int, high: int
) -> Routine[int]:
    """Copy the PTEs [low, high) from `address` on:
    each page gets one more reference and mapping, both PTEs become read-only.

    Of a page that is pinned for DMA the child gets a copy. Memory for one is found without the locks; then the parent's
    PTEs are read again from there on. Returns 0, or -ENOMEM if there is no memory for a copy.
    """
    child_lock, parent_lock = system.ptl(pte_table), system.ptl(source_table)
    at, wanted = low, 0
    new: tuple[int, ...] = ()
    while True:
        yield from system.cpus.lock(child_lock)
        yield from system.cpus.lock(parent_lock)
        runs = system.tables.runs(source_table, at, high)
        yield read("read the parent's PTEs")
        wanted = 0
        for run in runs:
            batches = batches_of(system, source, run)
            for batch, copies in batches:
                if not copies:
                    yield from copy_present_ptes(system, vma, pte_table, source_table, run, batch)
                elif len(new) == width(batch):
                    place = address + (batch.start - low) * system.geometry.page_size
                    yield from copy_present_page(
                        system, vma, place, pte_table, run.cut(batch.start, batch.stop).pages, new
                    )
                    new = ()
                else:
                    rest = batch.stop if not (system.scheme.batches and of_one_folio(system, run)) else run.stop
                    yield from refuse_to_share(system, run.cut(batch.start, rest).pages)
                    at, wanted = batch.start, width(batch)
                    break
            if wanted:
                break
        yield from system.cpus.unlock(parent_lock)
        yield from system.cpus.unlock(child_lock)
        for page in new:
            yield from put_page(system, single(page))
        if not wanted:
            return 0
        new = alloc_small_pages(system, wanted)
        if not new:
            return -ENOMEM
        yield change(f"allocate {wanted} small pages")


def batches_of(system: System, source: Vma, run: pt.PteRun) -> tuple[tuple[slice, bool], ...]:
    """The entries of a run in the parts in which a fork deals with them,
    each with whether the child must get copies of its pages.
    """
    copied = copied_parts(system, source, run)
    left = between(run.entries, copied)
    if not (system.scheme.batches and of_one_folio(system, run)):
        left = tuple(part for rest in left for part in system.each(rest))
    return tuple(
        sorted([(part, True) for part in copied] + [(part, False) for part in left], key=lambda found: found[0].start)
    )


@phrase("share the pages")
def copy_present_ptes(
    system: System, vma: Vma, pte_table: int, source_table: int, run: pt.PteRun, batch: slice
) -> Routine[None]:
    """Let the child have the entries `batch` of a run, too. Called under the locks of both tables."""
    tables = system.tables
    parts, pages = system.each(batch), run.cut(batch.start, batch.stop).pages
    if run.kind == "migration":
        tables.change(source_table, batch, clear=pt._SWP_TYPE | pt._SWP_EXCLUSIVE, set_=pt._SWP_MIGRATION_READ)
        yield change("the parent's migration entry becomes read-only")
    if run.kind == "swap":
        yield from swap_duplicate(system, pages)
        tables.change(source_table, batch, clear=pt._SWP_EXCLUSIVE)
        yield change("the parent's swap entry is shared")
    if run.kind == "page":
        if not system.kernel.mm.fork_protects_last:
            yield from ptep_set_wrprotect(system, source_table, parts)
        yield from folio_ref_add(system, pages)
        yield from folio_try_dup_anon_rmap_ptes(system, vma, pages)
        if system.kernel.mm.fork_protects_last:
            yield from ptep_set_wrprotect(system, source_table, parts)
    for part in parts:
        tables.store(pte_table, part, tables.table[source_table][part])
        if run.kind in ("page", "zero"):
            tables.change(pte_table, part, clear=pt._PAGE_ACCESSED)
        yield change("the child's PTEs = the same entries, not yet accessed")


@phrase("the pages cannot be shared")
def refuse_to_share(system: System, pages: slice) -> Routine[None]:
    """References that the child's mappings would have had are dropped again: a driver may have pinned `pages`."""
    if system.kernel.mm.fork_holds_first:
        yield from folio_ref_add(system, pages)
        yield from folio_put_refs(system, pages)


def copied_parts(system: System, source: Vma, run: pt.PteRun) -> tuple[slice, ...]:
    """The entries of a run whose pages a fork must copy at once, at the machine's grain."""
    if run.kind != "page":
        return ()
    needs = np.concatenate(([False], needs_copy_for_dma(system, source, run.pages), [False]))
    borders = (np.flatnonzero(needs[1:] != needs[:-1]) + run.start).tolist()
    return tuple(
        part for low, high in zip(borders[::2], borders[1::2], strict=True) for part in system.each(slice(low, high))
    )


def between(whole: slice, parts: tuple[slice, ...]) -> tuple[slice, ...]:
    """What `parts`, in order, leave of `whole`."""
    borders = [whole.start, *(border for part in parts for border in (part.start, part.stop)), whole.stop]
    return tuple(slice(low, high) for low, high in zip(borders[::2], borders[1::2], strict=True) if low < high)


@routine
def copy_present_page(
    system: System, vma: Vma, address: int, pte_table: int, pages: slice, new: tuple[int, ...]
) -> Routine[None]:
    """Give the child copies of pages that are pinned in the parent, from `address` on, in the pages `new`.
    Called under both locks.
    """
    if system.kernel.mm.fork_holds_first:
        yield from get_page(system, pages)
        yield from put_page(system, pages)
    system.frames.content[np.array(new)] = system.frames.content[pages]
    yield change(
        f"copy {system.geometry.size_text(len(new))}",
        "A driver works on the parent's pages: the child must not share them.",
    )
    bits = pt.mkdirty(pt.mkwrite(pt.pgprot(vma.prot)) if vma.prot & pt.PROT_WRITE else pt.pgprot(vma.prot))
    yield from map_small_copies(system, vma, address, pte_table, new, pt.mkyoung(bits))


# --- mutants ----------------------------------------------------------------------------------------------------------


def forgets_write_protection(system: System, pmd_table: int, index: int, pmd: int) -> Routine[None]:
    """pmdp_set_wrprotect that leaves the parent's PMD as it is."""
    yield read("the parent's PMD stays as it is")


def keeps_the_exclusive_flag(system: System, vma: Vma, page: int) -> Routine[None]:
    """folio_try_dup_anon_rmap_pmd that counts the child's PMD,
    but lets the page go on saying that it is one process's own.
    """
    yield from system.scheme.dup_pmd_rmap(system, vma, page)


def leaves_the_child_out(system: System, source: Vma, child: AddressSpace) -> Routine[Vma]:
    """dup_vma that does not put the child's VMA into the anon_vmas of the parent's."""
    vma = Vma(child, source.start, source.end, source.prot, source.flags - {VM_LOCKED}, source.pgoff)
    vma.chain = [anon_vma_alloc(system, source.chain[0].root)] if source.chain else []
    child.insert(vma)
    yield change("copy the VMA")
    return vma
