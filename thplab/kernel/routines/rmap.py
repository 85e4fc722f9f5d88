"""The reverse map: from a page to the page-table entries that may map it (mm/rmap.c)."""

from __future__ import annotations

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import (
    PG_anon,
    PG_anon_exclusive,
    PG_double_map,
    PG_ksm,
    PG_lru,
    PG_swapbacked,
    single,
    width,
)
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import AnonVma, Vma
from thplab.kernel.routines.mlocked import mlock_new_folio, mlock_vma_folio, munlock_vma_folio
from thplab.kernel.routines.walk import Pmd, pmd_at
from thplab.kernel.system import System


def set_anon_rmap(system: System, pages: slice, anon_vma: AnonVma, index: int) -> None:
    """Register fresh anonymous pages in the reverse map and on the LRU; nobody else sees them yet (plain stores)."""
    frames = system.frames
    frames.mapping[pages] = anon_vma.number
    frames.index[pages] = np.arange(index, index + width(pages))
    frames.flags.set(pages, PG_anon)
    first = pages.start if frames.is_compound(pages.start) else pages
    frames.flags[first] |= PG_lru | PG_swapbacked


@routine
def folio_add_new_anon_rmap(system: System, vma: Vma, address: int, page: int) -> Routine[None]:
    """Register a fresh page, huge or small, that nobody else sees yet, and count its first mapping, at `address`."""
    assert vma.anon_vma is not None, "anon_vma_prepare came first"
    set_anon_rmap(system, system.frames.compound(page), vma.anon_vma, vma.index(address))
    yield from system.scheme.new_rmap(system, vma, page)
    if system.kernel.cow.anon_exclusive:
        system.frames.flags[page] |= PG_anon_exclusive
        yield change("PG_anon_exclusive: the page is this process's own")
    yield from mlock_new_folio(system, vma, single(page))


@routine
def folio_add_anon_rmap_pmd(system: System, vma: Vma, page: int) -> Routine[None]:
    """Count one PMD more, or the first mapping of all, of a huge page that is registered already."""
    first = not system.scheme.total_mapcount(system.frames, page)
    yield from (system.scheme.new_rmap if first else system.scheme.dup_pmd_rmap)(system, vma, page)
    yield from mlock_vma_folio(system, vma, single(page), by_pmd=True)


def clear_anon_exclusive(system: System, pages: slice) -> Routine[None]:
    """Take PG_anon_exclusive away from what one process had for itself until now."""
    frames = system.frames
    if (frames.flags[pages] & PG_anon_exclusive).any():
        frames.flags.clear(pages, PG_anon_exclusive)
        yield change(
            f"{system.pages_text(pages)} is shared from now on", "The parent may not write it in place any more."
        )


@routine
def folio_try_dup_anon_rmap_pmd(system: System, vma: Vma, page: int) -> Routine[None]:
    """Count one more PMD that maps a huge page, in the child of a fork. It is not the parent's own any more."""
    yield from clear_anon_exclusive(system, single(page))
    yield from system.scheme.dup_pmd_rmap(system, vma, page)


@routine
def folio_try_dup_anon_rmap_ptes(system: System, vma: Vma, pages: slice) -> Routine[None]:
    """Count one more PTE for each of `pages`, in the child of a fork. None of them is one process's own any more."""
    yield from system.scheme.dup_pte_rmap(system, vma, pages)


@routine
def folio_add_anon_rmap_ptes(system: System, vma: Vma, pages: slice, at_once: bool = True) -> Routine[None]:
    """Count one more PTE for each of `pages`, of one compound page, or small ones that lie together. Not `at_once`:
    the step stands for as many calls."""
    yield from system.scheme.add_pte_rmap(system, vma, pages)
    yield from mlock_vma_folio(system, vma, pages, at_once=at_once)


@routine
def folio_remove_rmap_pmd(system: System, vma: Vma, page: int) -> Routine[None]:
    """Count one PMD less that maps a huge page."""
    yield from system.scheme.remove_pmd_rmap(system, vma, page)
    yield from munlock_vma_folio(system, vma, single(page), by_pmd=True)


@routine
def folio_remove_rmap_ptes(system: System, vma: Vma, pages: slice) -> Routine[None]:
    """Count one PTE less for each of `pages`."""
    yield from system.scheme.remove_pte_rmap(system, vma, pages)
    yield from munlock_vma_folio(system, vma, pages)


@routine
def anon_vma_prepare(system: System, vma: Vma) -> Routine[None]:
    """Give `vma` an anon_vma for its new pages if it has none: a neighbour's if they could merge, else a new one.

    Called under mmap_sem (shared).
    """
    if vma.chain:
        return
    anon_vma = find_mergeable_anon_vma(vma) or anon_vma_alloc(system)
    vma.chain.append(anon_vma)
    anon_vma.link(vma)
    yield change(
        f"{anon_vma.key} for the VMA", "Through it the kernel finds every process that may map a page of this VMA."
    )


def anon_vma_alloc(system: System, root: int = 0) -> AnonVma:
    """A fresh, empty anon_vma with the lowest free number, in the family of `root` (0: its own)."""
    taken = system.anon_vmas.keys() | {a.root for a in system.anon_vmas.values()}
    number = next(n for n in range(1, len(taken) + 2) if n not in taken)
    system.anon_vmas[number] = AnonVma(number, root or number)
    return system.anon_vmas[number]


def find_mergeable_anon_vma(vma: Vma) -> AnonVma | None:
    """The anon_vma of a neighbour, the next one first, that differs from `vma` in its protection at most."""
    after = [v for v in vma.mm.vmas if v.start == vma.end and v.pgoff == vma.index(vma.end)]
    before = [v for v in vma.mm.vmas if v.end == vma.start and vma.pgoff == v.index(v.end)]
    return next((v.chain[0] for v in after + before if len(v.chain) == 1 and v.flags == vma.flags), None)


@routine
def page_vma_mapped_walk(
    system: System, pte_table: int, low: int, high: int, pages: slice, kind: str = "page"
) -> Routine[tuple[pt.PteRun, ...]]:
    """The PTEs in [low, high) of a table that map one of `pages`, or are of another `kind` and name one.

    Takes the lock of the table, which it leaves held.
    """
    return (yield from _mapped(system, pte_table, low, high, pages, kind))


@routine
def pte_offset_map_lock(
    system: System, pte_table: int, low: int, high: int, pages: slice, kind: str = "page"
) -> Routine[tuple[pt.PteRun, ...]]:
    """The same, by one who looks at every PTE himself."""
    return (yield from _mapped(system, pte_table, low, high, pages, kind))


def _mapped(
    system: System, pte_table: int, low: int, high: int, pages: slice, kind: str
) -> Routine[tuple[pt.PteRun, ...]]:
    yield from system.cpus.lock(system.ptl(pte_table))
    runs = system.tables.runs(pte_table, low, high)
    runs = tuple(run for run in runs if run.kind == kind and pages.start <= run.pfn < pages.stop)
    yield read("read the migration entries" if kind == "migration" else "read the PTEs")
    return runs


@routine
def page_check_address_pmd(system: System, vma: Vma, address: int, page: int, splitting: bool) -> Routine[Pmd | None]:
    """The huge PMD at `address` if it maps `page`, with its page table lock, which is left held;
    else None, without the lock.

    Unless `splitting`, one that is marked does not count.
    """
    found = pmd_at(system, vma.mm, address)
    if found is None:
        return None
    yield from system.cpus.lock(system.ptl(found.table))
    entry = system.tables.get(found.table, found.at)
    if pt.pmd_trans_huge(entry) and pt.pte_pfn(entry) == page and (splitting or not pt.pmd_trans_splitting(entry)):
        return found._replace(entry=entry)
    yield from system.cpus.unlock(system.ptl(found.table))
    return None


@routine
def page_get_anon_vma(system: System, page: int) -> Routine[AnonVma | None]:
    """The anon_vma of an anonymous page that is mapped; None if nobody maps it any more. Takes no lock."""
    frames = system.frames
    mapped = system.scheme.total_mapcount(frames, page) > 0
    anon_vma = system.anon_vmas.get(int(frames.mapping[page])) if mapped else None
    yield read(f"the page's reverse map: {anon_vma.key if anon_vma else 'none, the page is not mapped'}")
    return anon_vma


@phrase("does a PMD map the page?")
def page_mapped_by_pmd(system: System, page: int) -> Routine[bool]:
    """Does any PMD map the compound page with head `page`?

    Most schemes read it off a counter. Under the RFC the head's count serves PMDs and the PTEs of page 0 alike, as its
    cover letter admits: there the reverse map must be walked, under its lock, and each PMD be read that may map the
    page. Changes nothing.
    """
    answer = system.scheme.pmd_mapped(system.frames, page)
    yield read(
        "is it mapped by a PMD? The counters "
        + ("do not tell" if answer is None else f"say {'yes' if answer else 'no'}")
    )
    if answer is not None:
        return answer
    anon_vma = yield from page_get_anon_vma(system, page)
    if anon_vma is None:
        return False
    yield from system.cpus.lock(anon_vma_lock(anon_vma), "shared")
    places = rmap_walk(system, anon_vma, page)
    found = False
    for vma, address in places:
        pmd = pmd_at(system, vma.mm, max(address, vma.start))
        found = pmd is not None and pt.pmd_trans_huge(pmd.entry) and pt.pte_pfn(pmd.entry) == page
        yield read(f"{vma.mm.name}: {'a huge PMD maps it' if found else 'no huge PMD over it'}")
        if found:
            break
    yield from system.cpus.unlock(anon_vma_lock(anon_vma))
    return found


def anon_vma_lock(anon_vma: AnonVma) -> str:
    """Name of the lock over the VMAs of an anon_vma and of its family. Whoever splits a page takes it exclusively."""
    return f"anon_vma_lock {anon_vma.root}"


def vmas_lock(*vmas: Vma) -> str:
    """The anon_vma lock that neighbours which merge have in common; empty if none of them has pages yet."""
    return next((anon_vma_lock(vma.chain[0]) for vma in vmas if vma.chain), "")


def rmap_walk(system: System, anon_vma: AnonVma, page: int) -> tuple[tuple[Vma, int], ...]:
    """Every (VMA, address) at which `page`, a small page or a head, may be mapped, in the order of the reverse map.

    For a head the address is that of its first page, even if only a later page of it lies inside the VMA.
    Called under the anon_vma lock.
    """
    page_size = system.geometry.page_size
    pages = system.frames.compound(page)
    first = int(system.frames.index[page])
    last = first + pages.stop - pages.start - 1
    found = []
    for vma in anon_vma.vmas:
        low, high = vma.pgoff, vma.pgoff + (vma.end - vma.start) // page_size - 1
        if low <= last and first <= high:
            found.append((vma, vma.start + (first - vma.pgoff) * page_size))
    return tuple(found)


def _rmap_locks(system: System, page: int) -> tuple[str, ...]:
    numbers = [int(system.frames.mapping[page])]
    if system.frames.flags[page] & PG_ksm:
        numbers = [system.ksm.items[place].anon_vma for place in system.ksm.sharing(page)]
    return tuple(sorted({anon_vma_lock(system.anon_vmas[n]) for n in numbers if n in system.anon_vmas}))


@phrase("lock the reverse map")
def lock_rmap(system: System, page: int) -> Routine[tuple[str, ...]]:
    """Lock the reverse map of a small page or of a head, so that nobody comes to map it unseen.
    Returns the locks, none if it has none.
    """
    locks = _rmap_locks(system, page)
    for lock in locks:
        yield from system.cpus.lock(lock)
    return locks


def rmap_walk_page(system: System, page: int) -> tuple[tuple[Vma, int], ...]:
    """Every (VMA, address) at which a small page or a head may be mapped. Called under the locks of its reverse map.

    A page of KSM's is in no anon_vma:
    it is found at the addresses that were merged to it, and in forks of their processes.
    """
    if not system.frames.flags[page] & PG_ksm:
        anon_vma = system.anon_vmas.get(int(system.frames.mapping[page]))
        return rmap_walk(system, anon_vma, page) if anon_vma else ()
    found: dict[tuple[str, int], tuple[Vma, int]] = {}
    for name, address in system.ksm.sharing(page):
        family = system.anon_vmas.get(system.ksm.items[name, address].anon_vma)
        for vma in family.vmas if family else ():
            if vma.start <= address < vma.end:
                found[vma.mm.name, address] = (vma, address)
    return tuple(found.values())


@routine
def page_trans_huge_mapcount(system: System, page: int) -> Routine[int]:
    """How often that part of a huge page is mapped that is mapped most. It is read word by word: a PMD split on another
    CPU, which moves a mapping from the head to all parts, may pass by in between.
    """
    frames = system.frames
    if system.scheme.tail_mapcount == "pins":
        return system.scheme.page_mapcount(frames, page)
    most = 0
    parts = system.each(frames.compound(page))
    for part in parts:
        most = max(most, int(frames.mapcount[part].max()) + 1)
        yield read(f"{system.pages_text(part)} _mapcount: at most {most} mappings")
    most -= bool(frames.flags[page] & PG_double_map)
    yield read(f"PageDoubleMap: {'set' if frames.flags[page] & PG_double_map else 'not set'}")
    pmds = int(frames.compound_mapcount[page]) + 1
    yield read(f"compound_mapcount: {pmds} PMDs")
    return most + pmds
