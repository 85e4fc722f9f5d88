"""Page faults of private anonymous memory (mm/memory.c, do_huge_pmd_anonymous_page in mm/huge_memory.c)."""

from __future__ import annotations

from thplab.errors import EFAULT, ENOMEM, KILLED_BY_SIGBUS
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_reserved
from thplab.hardware.steps import Routine, change, read, routine, wait
from thplab.kernel.address_space import AddressSpace, Vma
from thplab.kernel.pages import deferred_split_huge_page
from thplab.kernel.routines.cow import do_huge_pmd_wp_page, do_wp_page
from thplab.kernel.routines.deposit import pgtable_trans_huge_deposit
from thplab.kernel.routines.migration import migration_entry_wait
from thplab.kernel.routines.mm import put_page
from thplab.kernel.routines.rmap import anon_vma_prepare, folio_add_new_anon_rmap
from thplab.kernel.routines.swap_fault import do_swap_page
from thplab.kernel.routines.vm_fault import (
    VM_FAULT_FALLBACK,
    VM_FAULT_HWPOISON,
    VM_FAULT_OOM,
    VM_FAULT_SIGSEGV,
    maybe_mkwrite,
    set_new_pte,
    transparent_hugepage_enabled,
)
from thplab.kernel.system import System


@routine
def do_page_fault(system: System, mm: AddressSpace, address: int, write: bool) -> Routine[int]:
    """Handle a fault of `mm` at `address`. Returns 0 (try again), -EFAULT (SIGSEGV), KILLED_BY_SIGBUS or -ENOMEM."""
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    vma = mm.find_vma(address)
    allowed = vma is not None and bool(vma.prot & (pt.PROT_WRITE if write else pt.PROT_READ))
    yield read(f"find the VMA: {'found' if vma else 'none'}{'' if allowed else ', access not allowed'}")
    fault = VM_FAULT_OOM
    if vma is not None and allowed:
        fault = yield from handle_mm_fault(system, vma, address, write)
    yield from system.cpus.unlock(mm.mmap_sem)
    if not allowed or fault & VM_FAULT_SIGSEGV:
        return -EFAULT
    if fault & VM_FAULT_HWPOISON:
        return KILLED_BY_SIGBUS
    return -ENOMEM if fault & VM_FAULT_OOM else 0


@routine
def handle_mm_fault(system: System, vma: Vma, address: int, write: bool, unshare: bool = False) -> Routine[int]:
    """Make the access at `address` possible, which `vma` allows, or which is forced; or, with `unshare`, let it map a
    page that is its process's own, without a right to write more. Called under mmap_sem (shared).

    Returns 0 or VM_FAULT_WRITE (done, or somebody else was quicker: the access is tried again), VM_FAULT_HWPOISON,
    VM_FAULT_SIGSEGV or VM_FAULT_OOM.
    """
    geometry, tables = system.geometry, system.tables
    pmd_table = yield from pmd_alloc(system, vma.mm, address)
    if pmd_table is None:
        return VM_FAULT_OOM
    index = geometry.index(address, 1)
    pmd = tables.get(pmd_table, index)
    yield read(f"read the PMD: {pt.entry_text(pmd)}")
    if pt.pte_none(pmd) and transparent_hugepage_enabled(system, vma, address):
        fault = yield from do_huge_pmd_anonymous_page(system, vma, address, pmd_table, write)
        if not fault & VM_FAULT_FALLBACK:
            return fault
    elif pt.pmd_trans_splitting(pmd):
        while pt.pmd_trans_splitting(tables.get(pmd_table, index)):
            yield wait("the PMD is marked: the fault is tried again until the page is split")
        return 0
    elif pt.pmd_trans_huge(pmd):
        if (write or unshare) and not pt.pte_write(pmd):
            fault = yield from do_huge_pmd_wp_page(system, vma, address, pmd_table, pmd, unshare)
            if not fault & VM_FAULT_FALLBACK:
                return fault
        else:
            yield from huge_pmd_set_accessed(system, pmd_table, index, pmd, write)
            return 0
    pte_table = yield from __pte_alloc(system, vma.mm, pmd_table, index)
    if pte_table is None:
        return VM_FAULT_OOM
    if pte_table == 0:
        return 0  # a huge page has appeared meanwhile
    return (yield from handle_pte_fault(system, vma, address, pte_table, write, unshare))


@routine
def huge_pmd_set_accessed(system: System, pmd_table: int, index: int, pmd: int, write: bool) -> Routine[None]:
    """A fault met a huge PMD that allows the access: mark it accessed, and by a write dirty, unless it has changed.

    Whoever splits it is waited for.
    """
    lock = system.ptl(pmd_table)
    yield from system.cpus.lock(lock)
    if system.tables.get(pmd_table, index) == pmd:
        system.tables.set(pmd_table, index, pt.mkyoung(pmd) | (pt._PAGE_DIRTY if write else 0))
        yield change("PMD marked accessed" + (" and dirty" if write else ""))
    yield from system.cpus.unlock(lock)


@routine
def pmd_alloc(system: System, mm: AddressSpace, address: int) -> Routine[int | None]:
    """pfn of the PMD table for `address`, made together with the tables above it if missing; None when out of memory.

    Called under mmap_sem (shared). Tables made before memory ran out stay: they are empty and freed with their VMA.
    """
    geometry, tables = system.geometry, system.tables
    levels = range(geometry.levels - 1, 1, -1)
    for level in levels:
        upper = tables.walk(mm.pgd, address, level)
        assert upper is not None, "made by the turn before"
        if pt.pte_none(tables.get(upper, geometry.index(address, level))):
            table = tables.alloc(level - 1)
            if table is None:
                return None
            tables.link(upper, geometry.index(address, level), table)
            yield change(f"allocate a {tables.name(table)}", "The way down to this address does not exist yet.")
    return tables.walk(mm.pgd, address, 1)


@routine
def __pte_alloc(system: System, mm: AddressSpace, pmd_table: int, index: int) -> Routine[int | None]:
    """pfn of the PTE table under a PMD, made if there is none (__pte_alloc). 0 if the PMD is huge;
    None without memory.
    """
    tables = system.tables
    pmd = tables.get(pmd_table, index)
    yield read(f"read the PMD: {pt.entry_text(pmd)}")
    if pt.pte_none(pmd):
        table = tables.alloc(0)
        if table is None:
            return None
        yield change("allocate a PTE table")
        yield from system.cpus.lock(system.ptl(pmd_table))
        pmd = tables.get(pmd_table, index)
        if pt.pte_none(pmd):
            tables.link(pmd_table, index, table)
            pmd = tables.get(pmd_table, index)
            yield change("PMD = the PTE table")
        else:
            tables.free(table)
            yield change("free the PTE table again", "Somebody else has filled the PMD meanwhile.")
        yield from system.cpus.unlock(system.ptl(pmd_table))
    return 0 if pt.pmd_trans_huge(pmd) else pt.pte_pfn(pmd)


@routine
def do_huge_pmd_anonymous_page(system: System, vma: Vma, address: int, pmd_table: int, write: bool) -> Routine[int]:
    """Map a huge page at an empty PMD: a new one for a write, the huge zero page, if it is to be used, for a read.

    Called under mmap_sem (shared). Returns 0, VM_FAULT_FALLBACK (no huge page is free: use small ones) or VM_FAULT_OOM.
    On failure nothing stays but the event.
    """
    frames, tables, geometry = system.frames, system.tables, system.geometry
    yield from anon_vma_prepare(system, vma)
    if not write and system.settings["use_zero_page"]:
        return (yield from set_huge_zero_page(system, vma, address, pmd_table))
    page = frames.alloc_pages(geometry.order)
    if page is None:
        system.count_vm_event("thp_fault_fallback")
        yield change("no huge page is free", "The fault falls back to small pages and counts thp_fault_fallback.")
        return VM_FAULT_FALLBACK
    yield change(
        f"allocate a compound page of order {geometry.order}: {system.refcount_name} = 1",
        "One reference from the start: this fault's, soon the mapping's.",
    )
    pgtable = tables.alloc(0)
    if pgtable is None:
        system.count_vm_event("thp_fault_fallback")
        yield change(
            "no memory for a PTE table to deposit", "The fault falls back to small pages and counts thp_fault_fallback."
        )
        yield from put_page(system, slice(page, page + 1))
        return VM_FAULT_FALLBACK
    yield change(
        "allocate a PTE table to deposit", "It will be there when the PMD is split, so the split never has to allocate."
    )
    frames.content[frames.compound(page)] = 0
    yield change(f"clear the {geometry.size_text(geometry.nr)}")
    lock = system.ptl(pmd_table)
    yield from system.cpus.lock(lock)
    index = geometry.index(address, 1)
    if not pt.pte_none(tables.get(pmd_table, index)):
        yield read("the PMD is taken: somebody else was quicker")
        yield from system.cpus.unlock(lock)
        tables.free(pgtable)
        yield change("free the PTE table")
        yield from put_page(system, slice(page, page + 1))
        return 0
    if system.kernel.mm.fault_deposits_first:
        yield from pgtable_trans_huge_deposit(system, vma.mm, pmd_table, pgtable)
    yield from folio_add_new_anon_rmap(system, vma, address & -geometry.huge_size, page)
    if not system.kernel.mm.fault_deposits_first:
        yield from pgtable_trans_huge_deposit(system, vma.mm, pmd_table, pgtable)
    pmd = pt.mkyoung(pt.mk_huge_pmd(page, pt.pgprot(vma.prot)))
    tables.set(pmd_table, index, maybe_mkwrite(pt.mkdirty(pmd), vma))
    yield change("PMD = the huge page, writable", "One entry of the page table now maps all of it.")
    if system.queues_new_now:
        yield from deferred_split_huge_page(system, page, partially_mapped=False)
    system.count_vm_event("thp_fault_alloc")
    yield from system.cpus.unlock(lock, event="thp_fault_alloc")
    return 0


@routine
def set_huge_zero_page(system: System, vma: Vma, address: int, pmd_table: int) -> Routine[int]:
    """Map the huge zero page read-only for a read fault. Returns as do_huge_pmd_anonymous_page."""
    frames, tables, geometry = system.frames, system.tables, system.geometry
    if not system.huge_zero_page:
        page = frames.alloc_pages(geometry.order)
        if page is None:
            system.count_vm_event("thp_fault_fallback")
            yield change("no huge page is free for the huge zero page")
            return VM_FAULT_FALLBACK
        frames.content[frames.compound(page)] = 0
        frames.flags[frames.compound(page)] |= PG_reserved
        system.huge_zero_page = page
        system.count_vm_event("thp_zero_page_alloc")
        yield change("allocate the huge zero page", "One zero-filled huge page serves all readers of untouched memory.")
    pgtable = tables.alloc(0)
    if pgtable is None:
        return VM_FAULT_OOM
    yield change("allocate a PTE table to deposit")
    lock = system.ptl(pmd_table)
    yield from system.cpus.lock(lock)
    index = geometry.index(address, 1)
    if pt.pte_none(tables.get(pmd_table, index)):
        yield from pgtable_trans_huge_deposit(system, vma.mm, pmd_table, pgtable)
        tables.set(pmd_table, index, pt.mkyoung(pt.mk_huge_pmd(system.huge_zero_page, pt.pgprot(vma.prot))))
        yield change("PMD = the huge zero page, read-only", "It is nobody's memory: no mapping is counted.")
    else:
        tables.free(pgtable)
        yield change("free the PTE table: somebody else was quicker")
    yield from system.cpus.unlock(lock)
    return 0


@routine
def handle_pte_fault(
    system: System, vma: Vma, address: int, pte_table: int, write: bool, unshare: bool
) -> Routine[int]:
    """A fault below a table of PTEs: map a page, copy one, bring one back, or wait for a migration.

    Returns 0, VM_FAULT_WRITE, VM_FAULT_HWPOISON, VM_FAULT_SIGSEGV or VM_FAULT_OOM.
    """
    index = system.geometry.index(address, 0)
    pte = system.tables.get(pte_table, index)
    yield read(f"read the PTE: {pt.entry_text(pte)}")
    if pt.pte_none(pte):
        return (yield from do_anonymous_page(system, vma, address, pte_table, write))
    if pt.is_migration_entry(pte):
        yield from migration_entry_wait(system, pte_table, index, pte)
        return 0
    if pt.is_swap_entry(pte):
        return (yield from do_swap_page(system, vma, address, pte_table, pte, write))
    if pt.is_hwpoison_entry(pte):
        return VM_FAULT_HWPOISON
    if pt.is_guard_entry(pte):
        return VM_FAULT_SIGSEGV
    if (write or unshare) and not pt.pte_write(pte):
        return (yield from do_wp_page(system, vma, address, pte_table, pte, unshare))
    return 0


@routine
def do_anonymous_page(system: System, vma: Vma, address: int, pte_table: int, write: bool) -> Routine[int]:
    """Map a small page at an empty PTE: a new zero-filled one for a write, the shared zero page for a read.

    Returns 0 or VM_FAULT_OOM; on failure nothing has changed.
    """
    frames, tables = system.frames, system.tables
    index = system.geometry.index(address, 0)
    lock = system.ptl(pte_table)
    if not write:
        yield from system.cpus.lock(lock)
        if pt.pte_none(tables.get(pte_table, index)):
            tables.set(pte_table, index, pt.mkspecial(pt.mkyoung(pt.mk_pte(frames.zero_page, pt.pgprot(vma.prot)))))
            yield change("PTE = the zero page, read-only", "It is nobody's memory: no mapping is counted.")
        yield from system.cpus.unlock(lock)
        return 0
    yield from anon_vma_prepare(system, vma)
    page = frames.alloc_pages(0)
    if page is None:
        return VM_FAULT_OOM
    frames.content[page] = 0
    yield change(f"allocate and clear a small page, {system.page_name(page)}: {system.refcount_name} = 1")
    yield from system.cpus.lock(lock)
    if not pt.pte_none(tables.get(pte_table, index)):
        yield from system.cpus.unlock(lock)
        yield from put_page(system, slice(page, page + 1))
        return 0
    yield from set_new_pte(system, vma, address, pte_table, page)
    yield from system.cpus.unlock(lock)
    return 0
