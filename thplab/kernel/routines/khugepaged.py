"""Collapsing small pages, and parts of huge ones, into a new huge page:
khugepaged, and MADV_COLLAPSE (mm/khugepaged.c).
"""

from __future__ import annotations

from thplab.errors import EAGAIN, EINVAL, ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_lru, PG_referenced, PG_swapcache, single, width
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import VM_NOHUGEPAGE, AddressSpace, Vma
from thplab.kernel.pages import deferred_split_huge_page
from thplab.kernel.routines.deposit import pgtable_trans_huge_deposit
from thplab.kernel.routines.fault import handle_mm_fault
from thplab.kernel.routines.lru import isolate_lru_page, putback_lru_page
from thplab.kernel.routines.mm import put_page
from thplab.kernel.routines.protect import of_one_folio
from thplab.kernel.routines.rmap import anon_vma_lock, folio_add_new_anon_rmap, folio_remove_rmap_ptes
from thplab.kernel.routines.swap import free_pages_and_swap_cache
from thplab.kernel.routines.walk import pmd_at
from thplab.kernel.system import System

SUCCEED, PMD_MAPPED, ALLOC_FAILED = "succeed", "PMD mapped", "no huge page is free"
PMD_NULL, VMA_CHECK, PMD_CHANGED = "no table", "the VMA does not allow it", "the PMD has changed"
EXCEED_NONE, EXCEED_SWAP, EXCEED_SHARED = "too many empty PTEs", "too many PTEs without a page", "too many shared pages"
COUNT, LOCKED, NOT_ON_LRU = "a page is pinned", "a page is locked", "a page is not on the LRU"
COMPOUND, SHARED, READ_ONLY, OLD, NOT_PRESENT = (
    "compound page",
    "shared page",
    "read-only",
    "not referenced",
    "a PTE without a page",
)
"""What a scan of a range finds (the kernel's SCAN_*): nothing in the way, or what is."""

_TRY_AGAIN = (COUNT, LOCKED, NOT_ON_LRU)
_GO_ON = (*_TRY_AGAIN, PMD_NULL, NOT_PRESENT, READ_ONLY, OLD, COMPOUND)
"""Results that may be others next time; and those after which MADV_COLLAPSE goes on to the next range."""

_EVENTS = {
    EXCEED_NONE: "thp_scan_exceed_none_pte",
    EXCEED_SWAP: "thp_scan_exceed_swap_pte",
    EXCEED_SHARED: "thp_scan_exceed_share_pte",
}


@routine
def khugepaged(system: System, scans: int) -> Routine[int]:
    """Let khugepaged look at all memory that asks for huge pages, `scans` times. Returns 0.

    Whoever waits for full scans sees one more: the one under way when it begins to look.
    A kernel that preallocates wakes up once more after that.
    """
    for _ in range(scans + 1):
        yield from khugepaged_do_scan(system)
    if system.kernel.khugepaged.preallocates:
        page = yield from khugepaged_alloc_hugepage(system)
        yield from give_back(system, page)
    return 0


@routine
def khugepaged_do_scan(system: System) -> Routine[None]:
    """One full scan: every range of every VMA with VM_HUGEPAGE that could be one huge page."""
    preallocates = system.kernel.khugepaged.preallocates
    page = (yield from khugepaged_alloc_hugepage(system)) if preallocates else None
    names = tuple(system.mms)
    for name in names:
        addresses = _candidates(system, name)
        for address in addresses:
            mm = system.mms.get(name)
            if mm is None or (preallocates and page is None):
                break
            yield from system.cpus.lock(mm.mmap_sem, "shared")
            vma = hugepage_vma(system, mm, address, True)
            result = (yield from khugepaged_scan_pmd(system, vma, address, True)) if vma else VMA_CHECK
            yield from system.cpus.unlock(mm.mmap_sem)
            if result == SUCCEED:
                result = yield from collapse_huge_page(system, mm, address, True, page)
                if preallocates and result == SUCCEED:
                    page = yield from khugepaged_alloc_hugepage(system)
    yield from give_back(system, page)


def _candidates(system: System, name: str) -> tuple[int, ...]:
    """The addresses at which khugepaged looks in a process: all ranges of a huge page's size where one may be."""
    mm = system.mms.get(name)
    size = system.geometry.huge_size
    vmas = [vma for vma in mm.vmas if system.wants_huge(vma.flags)] if mm else []
    return tuple(address for vma in vmas for address in range(-(-vma.start // size) * size, vma.end - size + 1, size))


@phrase("give the unused huge page back")
def give_back(system: System, page: int | None) -> Routine[None]:
    """Free a huge page that was not needed."""
    if page is not None:
        yield from put_page(system, single(page))


@routine
def khugepaged_alloc_hugepage(system: System) -> Routine[int | None]:
    """A new huge page for a collapse, counted in thp_collapse_alloc; None, counted as well, if none is free."""
    page = system.frames.alloc_pages(system.geometry.order)
    event = "thp_collapse_alloc" if page is not None else "thp_collapse_alloc_failed"
    system.count_vm_event(event)
    yield change(f"{'allocate a compound page' if page is not None else 'no huge page is free'}: {event} += 1")
    return page


@routine
def madvise_collapse(system: System, asked: Vma, low: int, high: int) -> Routine[int]:
    """Collapse now what lies in [low, high) inside a VMA: all ranges of a huge page's size in it.

    Whether the VMA asks for huge pages and whether anybody touched the pages does not matter. Returns 0 if all of them
    are huge pages now, -EAGAIN if it may help to try again (pinned, locked), -ENOMEM, or -EINVAL.
    """
    size, mm = system.geometry.huge_size, asked.mm
    fits = -(-asked.start // size) * size + size <= asked.end
    possible = fits and VM_NOHUGEPAGE not in asked.flags and asked.anon_vma is not None
    yield read("can a huge page be in this VMA? " + ("yes" if possible else "no"))
    hstart, hend = -(-low // size) * size, high // size * size
    if not possible or hstart > hend:
        return -EINVAL
    failed = ""
    for address in range(hstart, hend, size):
        yield from system.cpus.lock(mm.mmap_sem, "shared")
        vma = hugepage_vma(system, mm, address, False)
        result = (yield from khugepaged_scan_pmd(system, vma, address, False)) if vma else VMA_CHECK
        yield from system.cpus.unlock(mm.mmap_sem)
        if result == SUCCEED:
            result = yield from collapse_huge_page(system, mm, address, False, None)
        if result not in (SUCCEED, PMD_MAPPED):
            failed = result
            if result not in _GO_ON:
                break
    if not failed:
        return 0
    return -EAGAIN if failed in _TRY_AGAIN else -ENOMEM if failed == ALLOC_FAILED else -EINVAL


def hugepage_vma(system: System, mm: AddressSpace, address: int, asked: bool) -> Vma | None:
    """The VMA that may have a huge page at `address` (hugepage_vma_revalidate);
    with `asked` only one for which the settings allow it.
    """
    vma = mm.find_vma(address)
    if vma is None or vma.end < address + system.geometry.huge_size or vma.anon_vma is None:
        return None
    return vma if (system.wants_huge(vma.flags) if asked else VM_NOHUGEPAGE not in vma.flags) else None


@routine
def khugepaged_scan_pmd(system: System, vma: Vma, address: int, by_khugepaged: bool) -> Routine[str]:
    """Is [address, address + huge page), which lies in `vma`, worth a collapse? Called under mmap_sem (shared)."""
    found = pmd_at(system, vma.mm, address)
    yield read(f"read the PMD: {pt.entry_text(found.entry) if found else 'none'}")
    if found is None or pt.pte_none(found.entry):
        return PMD_NULL
    if pt.pmd_trans_huge(found.entry):
        return PMD_MAPPED
    pte_table = pt.pte_pfn(found.entry)
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    result = _judge(system, pte_table, by_khugepaged)
    if by_khugepaged and result in _EVENTS:
        system.count_vm_event(_EVENTS[result])
    yield read(f"look at the {system.geometry.nr} PTEs: {result}")
    yield from system.cpus.unlock(lock)
    return result


def _judge(system: System, pte_table: int, by_khugepaged: bool) -> str:
    """What stands in the way of collapsing what a PTE table maps, entry after entry; SUCCEED if nothing does."""
    frames, scheme, nr = system.frames, system.scheme, system.geometry.nr
    policy = system.kernel.khugepaged
    empty = away = shared = young = writable = present = 0
    for entry in map(int, system.tables.table[pte_table]):
        if pt.pte_none(entry) or (pt.pte_present(entry) and pt.pte_special(entry)):
            empty += 1
            if by_khugepaged and empty > system.settings["max_ptes_none"]:
                return EXCEED_NONE
            continue
        if not pt.pte_present(entry):
            away += 1
            if not policy.takes_shared:
                return NOT_PRESENT
            if by_khugepaged and away > system.settings["max_ptes_swap"]:
                return EXCEED_SWAP
            continue
        page = pt.pte_pfn(entry)
        present += 1
        writable += pt.pte_write(entry)
        head = frames.compound_head(page)
        young += bool(entry & pt._PAGE_ACCESSED or frames.flags[head] & PG_referenced)
        mapped = scheme.total_mapcount(frames, head)
        if policy.takes_shared:
            shared += scheme.maybe_mapped_shared(frames, page)
            if by_khugepaged and shared > system.settings["max_ptes_shared"]:
                return EXCEED_SHARED
        elif frames.is_compound(page):
            return COMPOUND
        elif mapped > 1:
            return SHARED
        if not frames.flags[head] & PG_lru:
            return NOT_ON_LRU
        if system.page_lock(head) in system.cpus.held:
            return LOCKED
        if not _explained(system, head):
            return COUNT
    if policy.asks_writable != "none" and writable < (present if policy.asks_writable == "all" else 1):
        return READ_ONLY
    return OLD if by_khugepaged and (not young or (away and young < nr // 2)) else SUCCEED


def _explained(system: System, head: int) -> bool:
    """Do its mappings and the swap cache explain all references of a small page or a head (is_refcount_suitable)?"""
    frames = system.frames
    cached = width(frames.compound(head)) if frames.flags[head] & PG_swapcache else 0
    return frames.page_count(head) == system.scheme.total_mapcount(frames, head) + cached


@routine
def collapse_huge_page(
    system: System, mm: AddressSpace, address: int, by_khugepaged: bool, page: int | None
) -> Routine[str]:
    """Copy what [address, address + huge page) maps into a new huge page and map that by a PMD.

    `page` is a huge page that the caller has ready, None if one is to be allocated. It is mapped, and so the caller's
    no more, only if the result is SUCCEED. On failure all mappings are as before.
    """
    new = page
    if new is None:
        new = yield from khugepaged_alloc_hugepage(system)
    if new is None:
        return ALLOC_FAILED
    result = yield from __collapse_huge_page_swapin(system, mm, address, by_khugepaged)
    yield from system.cpus.lock(mm.mmap_sem, why="Nobody may fault anything in while the range changes.")
    vma = hugepage_vma(system, mm, address, by_khugepaged)
    found = pmd_at(system, mm, address) if vma is not None else None
    yield read("look at the VMA and the PMD again")
    if vma is None or found is None:
        result = VMA_CHECK
    elif pt.pte_none(found.entry) or pt.pmd_trans_huge(found.entry):
        result = PMD_CHANGED
    elif result == SUCCEED:
        result = yield from collapse_range(system, vma, address, new, by_khugepaged)
    yield from system.cpus.unlock(mm.mmap_sem)
    if page is None and result != SUCCEED:
        yield from give_back(system, new)
    return result


@routine
def __collapse_huge_page_swapin(system: System, mm: AddressSpace, address: int, by_khugepaged: bool) -> Routine[str]:
    """Bring back what is on the swap device of a range that is to be collapsed. Takes mmap_sem (shared).
    Returns a result.
    """
    geometry = system.geometry
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    vma = hugepage_vma(system, mm, address, by_khugepaged)
    result = SUCCEED if vma else VMA_CHECK
    offsets = range(0, geometry.huge_size, geometry.page_size)
    for offset in offsets:
        pte_table = system.tables.walk(mm.pgd, address, 0)
        pte = system.tables.get(pte_table, geometry.index(address + offset, 0)) if pte_table is not None else 0
        if vma is None or pt.pte_none(pte) or pt.pte_present(pte):
            continue
        yield read(f"no page is there: {pt.entry_text(pte)}")
        fault = yield from handle_mm_fault(system, vma, address + offset, False)
        if fault:
            result = NOT_PRESENT
            break
    yield from system.cpus.unlock(mm.mmap_sem)
    return result


@phrase("replace the table by a huge page")
def collapse_range(system: System, vma: Vma, address: int, new: int, by_khugepaged: bool) -> Routine[str]:
    """The part of a collapse under mmap_sem (exclusive): take the PMD away, look once more, copy, map `new`.
    Returns a result.
    """
    geometry, tables, mm = system.geometry, system.tables, vma.mm
    found, anon_vma = pmd_at(system, mm, address), vma.anon_vma
    assert found is not None and anon_vma is not None, "the caller has looked"
    pmd_table, index, pmd = found
    pte_table = pt.pte_pfn(pmd)
    rmap, pmd_lock, pte_lock = anon_vma_lock(anon_vma), system.ptl(pmd_table), system.ptl(pte_table)
    yield from system.cpus.lock(rmap, why="No page of the range may be split or moved meanwhile.")
    yield from system.cpus.lock(pmd_lock)
    tables.set(pmd_table, index, 0)
    yield change("PMD cleared", "Not even GUP-fast finds a way to the pages now.")
    yield from system.cpus.flush_tlb(f"{geometry.size_text(geometry.nr)} of {mm.name}")
    yield from system.cpus.unlock(pmd_lock)
    if system.kernel.khugepaged.flushes_twice:
        yield from system.cpus.flush_tlb(
            "all CPUs answer", "Whoever still walks the table with interrupts off has left it now."
        )
    yield from system.cpus.lock(pte_lock)
    result = _judge(system, pte_table, by_khugepaged)
    if result == SUCCEED and any(not pt.pte_present(e) for e in map(int, tables.table[pte_table]) if e):
        result = NOT_PRESENT
    yield read(
        f"look at the {geometry.nr} PTEs again: {result}",
        "A reference that no mapping explains shows here; none can be added now.",
    )
    taken: tuple[int, ...] = ()
    isolates = system.kernel.khugepaged.isolates
    if result == SUCCEED and isolates:
        result, taken = yield from __collapse_huge_page_isolate(system, pte_table)
    if isolates:
        yield from system.cpus.unlock(pte_lock)
    if result == SUCCEED:
        yield from __collapse_huge_page_copy(system, vma, pte_table, new, taken)
    if not isolates:
        yield from system.cpus.unlock(pte_lock)
    yield from system.cpus.lock(pmd_lock)
    if result == SUCCEED:
        yield from folio_add_new_anon_rmap(system, vma, address, new)
        yield from pgtable_trans_huge_deposit(system, mm, pmd_table, pte_table)
        entry = pt.mkdirty(pt.mkyoung(pt.mk_huge_pmd(new, pt.pgprot(vma.prot))))
        tables.set(pmd_table, index, pt.mkwrite(entry) if vma.prot & pt.PROT_WRITE else entry)
        yield change("PMD = the new huge page", "The table that mapped the small pages lies deposited under it.")
        if system.queues_new_now:
            yield from deferred_split_huge_page(system, new, partially_mapped=False)
    else:
        tables.set(pmd_table, index, pmd)
        yield change("PMD = the PTE table again")
    yield from system.cpus.unlock(pmd_lock)
    yield from system.cpus.unlock(rmap)
    return result


@routine
def __collapse_huge_page_isolate(system: System, pte_table: int) -> Routine[tuple[str, tuple[int, ...]]]:
    """Lock what the PTEs map, small pages and heads, and take it off the LRU with a reference.
    Called under the lock of the table.

    Returns SUCCEED and the pages, or what stands in the way and none.
    """
    present = [
        pt.pte_pfn(pte)
        for pte in map(int, system.tables.table[pte_table])
        if pt.pte_present(pte) and not pt.pte_special(pte)
    ]
    heads = tuple(dict.fromkeys(map(system.frames.compound_head, present)))
    del present
    result = SUCCEED
    taken: tuple[int, ...] = ()
    for head in heads:
        lock = system.page_lock(head)
        locked = yield from system.cpus.trylock(lock)
        if not locked:
            result = LOCKED
            break
        explained = _explained(system, head)
        yield read("does every reference belong to a mapping? " + ("yes" if explained else "no"))
        isolated = (yield from isolate_lru_page(system, single(head))) if explained else ()
        if not isolated:
            yield from system.cpus.unlock(lock)
            result = NOT_ON_LRU if explained else COUNT
            break
        taken += isolated
    if result == SUCCEED:
        return SUCCEED, taken
    yield from release_pte_pages(system, taken)
    return result, ()


@routine
def release_pte_pages(system: System, pages: tuple[int, ...]) -> Routine[None]:
    """Unlock pages that a collapse has isolated, and put them back on the LRU;
    whoever drops the last reference frees them.
    """
    for page in pages:
        yield from system.cpus.unlock(system.page_lock(page))
        yield from putback_lru_page(system, page, False)


@routine
def __collapse_huge_page_copy(
    system: System, vma: Vma, pte_table: int, new: int, taken: tuple[int, ...]
) -> Routine[None]:
    """Copy what the PTEs map into `new`, then clear them and let the old pages go.

    `taken` are those that are isolated: they are released here.
    Where none is, this is called under the lock of the table.
    """
    frames, tables, nr = system.frames, system.tables, system.geometry.nr
    runs = tables.runs(pte_table, 0, nr)
    frames.content[frames.compound(new)] = 0
    for run in runs:
        if run.kind == "page":
            frames.content[new + run.start : new + run.stop] = frames.content[run.pages]
    yield change(f"copy {system.geometry.size_text(nr)}", "What was empty is zero.")
    batches = system.kernel.khugepaged.batches
    for run in runs:
        parts = (run.entries,) if batches and of_one_folio(system, run) else system.each(run.entries)
        for part in parts:
            pages = run.cut(part.start, part.stop).pages
            if run.kind == "page" and not of_one_folio(system, run):
                small = tuple(page for page in taken if pages.start <= page < pages.stop)
                yield from release_pte_pages(system, small)
            lock = system.ptl(pte_table) if system.kernel.khugepaged.isolates else ""
            if lock:
                yield from system.cpus.lock(lock)
            entries = system.each(part)
            for each in entries:
                tables.store(pte_table, each, 0)
                yield change("PTE cleared" if width(each) == 1 else f"{width(each)} PTEs cleared")
            if run.kind == "page":
                yield from count_away(system, vma, pages)
            if lock:
                yield from system.cpus.unlock(lock)
            if run.kind == "page":
                yield from free_pages_and_swap_cache(system, pages)
    yield from release_pte_pages(system, tuple(page for page in taken if frames.is_compound(page)))


@phrase("count the old mappings away")
def count_away(system: System, vma: Vma, pages: slice) -> Routine[None]:
    """Count the mappings of pages away that were copied. Called under the lock of their table.

    Where the kernel goes PTE by PTE, a compound page is partially mapped from the first one to the last one.
    """
    first = pages
    if system.frames.is_compound(pages.stop - 1) and not system.kernel.khugepaged.batches:
        first = single(pages.start)
    rest = slice(first.stop, pages.stop)
    yield from folio_remove_rmap_ptes(system, vma, first)
    if rest.start < rest.stop:
        yield from folio_remove_rmap_ptes(system, vma, rest)
