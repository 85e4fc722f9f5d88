"""Splitting a huge page as it was until the RFC:
it never fails, and every page takes its pins along (docs/KERNEL.md 1.3).

The tails know their pins. So the references can be handed out exactly, if only nobody maps, unmaps or pins the page
meanwhile: a mark in every PMD keeps the mappings as they are, a TLB flush waits for GUP-fast, and compound_lock keeps
get_page and put_page of a tail out.
"""

from __future__ import annotations

from thplab.errors import KernelBug
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_OF_HEAD, PG_dirty, PG_head, PG_lru, PG_tail, single
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import AnonVma, Vma
from thplab.kernel.routines.deposit import pgtable_trans_huge_withdraw
from thplab.kernel.routines.lru import PageList
from thplab.kernel.routines.mm import put_page
from thplab.kernel.routines.rmap import anon_vma_lock, page_check_address_pmd, page_get_anon_vma, rmap_walk
from thplab.kernel.system import System


@routine
def split_huge_page_tails(
    system: System, page: int, to_list: PageList | None = None, kept: int | None = None
) -> Routine[int]:
    """Split the compound page with head `page`, on which the caller holds a reference, for every process that maps it.

    Returns 0, also if somebody else has split it; 1, with nothing changed, if nobody maps it. The caller's reference
    stays on the page through which it was taken, so on `kept`: one who holds only a tail must keep the page mapped, or
    nobody holds the head. With `to_list` the tails go onto the caller's list instead of the LRU, each with a reference
    of its own (docs/KERNEL.md 1.6, number 2).
    """
    anon_vma = yield from page_get_anon_vma(system, page)
    if anon_vma is None:
        return system.kernel.split.refused
    lock = anon_vma_lock(anon_vma)
    yield from system.cpus.lock(
        lock, why="No fork, no other split: the list of those who map the page must not change."
    )
    if not system.frames.is_compound(page):
        yield read("it is split already")
        yield from system.cpus.unlock(lock)
        return 0
    tails = system.frames.tails(page)
    marked = yield from __split_huge_page_splitting(system, anon_vma, page)
    yield from __split_huge_page_refcount(system, page, to_list)
    yield from put_page(system, tails)
    mapped = yield from __split_huge_page_map(system, anon_vma, page)
    if mapped != marked:
        raise KernelBug(f"{marked} PMDs were marked, but {mapped} became tables")
    system.count_vm_event("thp_split")
    yield from system.cpus.unlock(lock, "The compound page is gone, in every process.", event="thp_split")
    return 0


@routine
def __split_huge_page_splitting(system: System, anon_vma: AnonVma, page: int) -> Routine[int]:
    """Mark every PMD that maps the page; returns how many. Called under the anon_vma lock."""
    places = rmap_walk_head(system, anon_vma, page)
    marked = 0
    for vma, address in places:
        found = yield from page_check_address_pmd(system, vma, address, page, splitting=False)
        if found is not None:
            yield from pmdp_splitting_flush(system, vma, found.table, found.at)
            marked += 1
            yield from system.cpus.unlock(system.ptl(found.table))
    mappings = system.scheme.total_mapcount(system.frames, page)
    yield read(f"{marked} PMDs are marked, the head counts {mappings}")
    if marked != mappings:
        raise KernelBug(f"{marked} PMDs map the huge page at {system.page_name(page)}, but its head counts {mappings}")
    return marked


def rmap_walk_head(system: System, anon_vma: AnonVma, page: int) -> tuple[tuple[Vma, int], ...]:
    """The places of rmap_walk whose VMA holds the first page of the huge page: only there may a huge PMD be."""
    return tuple((vma, address) for vma, address in rmap_walk(system, anon_vma, page) if vma.start <= address < vma.end)


@routine
def pmdp_splitting_flush(system: System, vma: Vma, pmd_table: int, index: int) -> Routine[None]:
    """Mark a huge PMD. Called under its page table lock, by one who holds the anon_vma lock."""
    system.tables.set(pmd_table, index, pt.mksplitting(system.tables.get(pmd_table, index)))
    system.costs.rmw += 1
    yield change(
        "PMD marked splitting",
        "It stays present: the process goes on using the memory. Fork, unmap and faults see the mark and wait.",
    )
    yield from system.cpus.flush_tlb(
        f"{system.geometry.size_text(system.geometry.nr)} of {vma.mm.name}",
        "No entry has to go: the IPI waits for a GUP-fast that read the PMD before the mark, so that its pin is seen.",
    )


@routine
def __split_huge_page_refcount(system: System, page: int, to_list: PageList | None) -> Routine[None]:
    """Hand the references out and make every tail a page of its own (__split_huge_page_refcount),
    from the last tail to the first.

    Each tail gets a reference for each PMD, its own pins, and one more, which the caller drops; its `_mapcount`, a
    count of pins so far, becomes a count of mappings. Called under the anon_vma lock, with all PMDs marked.
    """
    frames = system.frames
    lock = system.compound_lock(page)
    yield from system.cpus.lock("lru_lock", why="The pages that come out go onto the lists of reclaim.")
    yield from system.cpus.bit_lock_irqsave(lock, why="Nobody can take or drop a reference through a tail now.")
    moved, lru = 0, PG_lru if to_list is None else 0
    parts = tuple(reversed(system.each(frames.tails(page))))
    for part in parts:
        name = system.pages_text(part)
        pins = tuple((frames.mapcount[part] + 1).tolist())
        yield read(f"{name}: pins {sum(pins)}", "So far a tail's _mapcount counts the pins taken through it.")
        mappings = int(frames.mapcount[page]) + 1
        frames.ref_add(part, mappings + 1)
        frames.refcount[part] += pins
        yield change(
            f"{name} {system.refcount_name} = {mappings} + its pins + 1", "Every pin moves to the page that it is for."
        )
        frames.flags[part] = (frames.flags[part] & ~PG_tail) | (frames.flags[page] & ~PG_OF_HEAD) | PG_dirty | lru
        yield change(f"{len(pins)} {'tails become pages' if len(pins) > 1 else 'tail becomes a page'} of their own")
        frames.mapcount[part] = frames.mapcount[page]
        yield change(
            f"{name} _mapcount = that of the head", "From now on the field counts mappings, as on any other page."
        )
        if to_list is not None:
            frames.ref_add(part, 1)
            to_list.pages += reversed(range(part.start, part.stop))
            yield change(
                f"{system.pages_text(part)} {system.refcount_name} += 1",
                "They go onto the list of the one who splits, who has to give them back.",
            )
        moved += sum(pins)
    frames.ref_add(single(page), -moved)
    yield change(
        f"head {system.refcount_name} -= {moved}",
        "The pins of the tails leave the head. Its own and those of the mappings stay.",
    )
    frames.flags[page] &= ~PG_head
    yield change(
        "the compound page is no more", f"{system.geometry.nr} ordinary pages remain, still mapped by marked PMDs."
    )
    yield from system.cpus.bit_unlock_irqrestore(lock)
    yield from system.cpus.unlock("lru_lock")


@routine
def __split_huge_page_map(system: System, anon_vma: AnonVma, page: int) -> Routine[int]:
    """Replace every huge PMD over the pages from `page` on by its deposited table; returns how many.
    Under the anon_vma lock.
    """
    places = rmap_walk_head(system, anon_vma, page)
    mapped = 0
    for vma, address in places:
        found = yield from page_check_address_pmd(system, vma, address, page, splitting=True)
        if found is not None:
            yield from split_huge_pmd_map(system, vma, found.table, found.at)
            mapped += 1
            yield from system.cpus.unlock(system.ptl(found.table))
    return mapped


@phrase("put the table in the place of the PMD")
def split_huge_pmd_map(system: System, vma: Vma, pmd_table: int, index: int) -> Routine[None]:
    """Put a table of PTEs in the place of a huge PMD; writable and young as the PMD is, always dirty.
    Under its page table lock.
    """
    tables, nr = system.tables, system.geometry.nr
    pmd = tables.get(pmd_table, index)
    pgtable = yield from pgtable_trans_huge_withdraw(system, vma.mm, pmd_table)
    bits = pt.mkdirty(pt.pgprot(vma.prot)) | (pmd & pt._PAGE_ACCESSED)
    if vma.prot & pt.PROT_WRITE:
        bits |= pmd & pt._PAGE_RW
    tables.fill(pgtable, slice(0, nr), pt.pte_pfn(pmd), bits)
    yield change(
        f"fill {nr} PTEs: {pt.entry_text(bits)}",
        "Writable and young as the PMD is; dirty in any case, so that nothing is lost.",
    )
    tables.set(pmd_table, index, pt.mknotpresent(pmd))
    yield change(
        "PMD marked not present",
        "The hardware must never see a huge entry and small ones for the same address at once.",
    )
    yield from system.cpus.flush_tlb(
        f"{system.geometry.size_text(nr)} of {vma.mm.name}", "No CPU may keep using the old huge entry."
    )
    tables.link(pmd_table, index, pgtable)
    yield change("PMD = the PTE table", "The mark is gone with the huge entry.")


# --- mutants ----------------------------------------------------------------------------------------------------------


def counts_without_a_mark(system: System, vma: Vma, pmd_table: int, index: int) -> Routine[None]:
    """pmdp_splitting_flush that leaves the PMD as it is (docs/KERNEL.md 6.1)."""
    yield read("the PMD maps the page: it is only counted")


def marks_without_a_flush(system: System, vma: Vma, pmd_table: int, index: int) -> Routine[None]:
    """pmdp_splitting_flush that does not wait for a GUP-fast under way (docs/KERNEL.md 6.2)."""
    system.tables.set(pmd_table, index, pt.mksplitting(system.tables.get(pmd_table, index)))
    system.costs.rmw += 1
    yield change("PMD marked splitting")
