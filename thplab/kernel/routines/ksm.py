"""Kernel samepage merging: pages with equal contents become one that is write-protected (mm/ksm.c).

Only memory that was advised MADV_MERGEABLE is looked at, one small page at a time. A page that is part of a huge page
is split off when its contents were found elsewhere, not before.
"""

from __future__ import annotations

from thplab.errors import EFAULT
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_anon, PG_anon_exclusive, PG_dirty, PG_ksm, PG_mlocked, single
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import VM_LOCKED, VM_MERGEABLE, AddressSpace, Vma
from thplab.kernel.pages import get_page_unless_zero
from thplab.kernel.rmap_items import Place, RmapItem
from thplab.kernel.routines.fault import handle_mm_fault
from thplab.kernel.routines.follow_page import follow_page
from thplab.kernel.routines.mlocked import mlock_vma_page
from thplab.kernel.routines.mm import get_page, put_page
from thplab.kernel.routines.munlock import munlock_vma_page
from thplab.kernel.routines.rmap import folio_add_anon_rmap_ptes, folio_remove_rmap_ptes
from thplab.kernel.routines.split_huge_page import lock_of_kept, split_huge_page
from thplab.kernel.routines.vm_fault import VM_FAULT_OOM
from thplab.kernel.system import System


@routine
def ksm_scan(system: System, scans: int) -> Routine[int]:
    """Let ksmd look at all mergeable memory `scans` times. Returns 0.

    Whoever waits for full scans sees one more: the one under way when it begins to look.
    """
    for _ in range(scans + 1):
        yield from ksm_do_scan(system)
    return 0


@routine
def ksm_do_scan(system: System) -> Routine[None]:
    """One full scan: every anonymous page of every mergeable VMA, process by process."""
    ksm = system.ksm
    ksm.unstable = {}
    ksm.items = {place: item for place, item in ksm.items.items() if _mergeable(system, place)}
    ksm.stable = {page: None for page in ksm.stable if system.frames.flags[page] & PG_ksm}
    yield change("a full scan begins with an empty unstable tree")
    names = tuple(ksm.mms)
    for name in names:
        address: int | None = 0
        while address is not None:
            address = _next_address(system, name, address)
            if address is None:
                break
            page = yield from get_mergeable_page(system, (name, address), bool(system.kernel.ksm.scan_walks))
            if page >= 0:
                yield from cmp_and_merge_page(system, (name, address), page)
                yield from put_page(system, single(page))
            address += system.geometry.page_size
    ksm.unstable = {}
    yield change("the scan is full")


def _mergeable(system: System, place: Place) -> bool:
    return find_mergeable_vma(system, place) is not None


def find_mergeable_vma(system: System, place: Place) -> Vma | None:
    """The VMA of a place if it has pages of its own and may be merged."""
    mm = system.mms.get(place[0])
    vma = mm.find_vma(place[1]) if mm else None
    return vma if vma is not None and VM_MERGEABLE in vma.flags and vma.anon_vma is not None else None


def _next_address(system: System, name: str, address: int) -> int | None:
    """The first address from `address` on in a mergeable VMA of a process; None behind the last one."""
    mm = system.mms.get(name)
    vmas = (
        [vma for vma in mm.vmas if VM_MERGEABLE in vma.flags and vma.anon_vma is not None and vma.end > address]
        if mm
        else []
    )
    return max(address, vmas[0].start) if vmas else None


@routine
def get_mergeable_page(system: System, place: Place, protnone: bool = False) -> Routine[int]:
    """The anonymous page at a place, with a reference on it; -EFAULT if there is none (the zero page is none).

    With `protnone` also one that is mapped without any right, in every kernel.
    """
    mm = system.mms.get(place[0])
    if mm is None:
        return -EFAULT
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    vma = find_mergeable_vma(system, place)
    page = (yield from follow_page(system, vma, place[1], protnone)) if vma is not None else None
    yield from system.cpus.unlock(mm.mmap_sem)
    if page is None:
        return -EFAULT
    if not system.frames.flags[system.frames.compound_head(page)] & PG_anon:
        yield from put_page(system, single(page))
        return -EFAULT
    return page


@routine
def cmp_and_merge_page(system: System, place: Place, page: int) -> Routine[None]:
    """Merge the page at `place` if its contents are known:
    with a page of KSM's, or with one that was seen in this scan.

    Called with a reference on `page`. What has changed since the last scan is left alone: it may change again.
    """
    ksm, frames = system.ksm, system.frames
    item = ksm.items.get(place, RmapItem())
    if frames.flags[page] & PG_ksm and item.page == page:
        yield read(f"{system.page_name(page)} is merged already")
        return
    kpage = stable_tree_search(system, page)
    yield read("is there a page of KSM's with these contents? " + ("yes" if kpage else "no"))
    if item.page:
        item = item._replace(page=0, anon_vma=0)
        ksm.items[place] = item
        yield change("the address is not merged any more: it was written to")
    if kpage:
        held = system.frames.ref_inc_not_zero(kpage)
        yield change(f"{system.page_name(kpage)} {system.refcount_name} += 1")
        if held:
            yield from try_to_merge_with_ksm_page(system, place, page, kpage)
            yield from put_page(system, single(kpage))
        return
    content = int(frames.content[page])
    if item.checksum != content:
        ksm.items[place] = RmapItem(content)
        yield change("remember the checksum", "A page that changes all the time is not worth merging.")
        return
    if not content and system.settings["ksm_use_zero_pages"]:
        error = yield from try_to_merge_with_zero_page(system, place, page)
        if not error:
            return
    other = ksm.unstable.get(content)
    tree_page = (yield from get_mergeable_page(system, other)) if other is not None else -EFAULT
    if tree_page >= 0 and frames.content[tree_page] != content:
        yield from put_page(system, single(tree_page))
        other = None
    if other is None:
        ksm.unstable[content] = place
        yield change("into the unstable tree", "Whoever comes later with the same contents finds it here.")
        return
    if tree_page < 0:
        return
    if tree_page != page:
        yield from try_to_merge_two_pages(system, place, page, other, tree_page)
        return
    yield from put_page(system, single(tree_page))


def stable_tree_search(system: System, page: int) -> int:
    """The page of KSM's with the contents of `page` that takes one more; the fullest of several. 0 if there is none."""
    frames, limit = system.frames, system.kernel.ksm.max_sharing
    if frames.flags[page] & PG_ksm:
        return page  # a fork has it already
    found = [p for p in system.ksm.stable if frames.flags[p] & PG_ksm and frames.content[p] == frames.content[page]]
    sizes = {p: len(system.ksm.sharing(p)) for p in found}
    free = [p for p in found if not limit or sizes[p] < limit]
    return max(free, key=lambda p: sizes[p], default=0)


@routine
def try_to_merge_two_pages(system: System, place: Place, page: int, other: Place, tree_page: int) -> Routine[None]:
    """Make one page of KSM's of `page` and `tree_page`, which is equal and mapped at `other` (try_to_merge_two_pages).

    Called with a reference on both; that of `tree_page` is dropped.
    If only one of them could be made ready nothing is merged.
    """
    ksm, frames = system.ksm, system.frames
    error = yield from try_to_merge_with_ksm_page(system, place, page, 0)
    if not error:
        error = yield from try_to_merge_with_ksm_page(system, other, tree_page, page)
        if error:
            yield from break_cow(system, place)
    both = frames.is_compound(page) and frames.compound_head(page) == frames.compound_head(tree_page)
    yield from put_page(system, single(tree_page))
    if not error:
        ksm.stable[page] = None
        ksm.unstable.pop(int(frames.content[page]), None)
        yield change(f"{system.page_name(page)} into the stable tree", "Its contents cannot change any more.")
    elif both and system.kernel.ksm.splits_after:
        # Two references of its own had stood in the way of the split; one of them is gone now.
        lock = system.page_lock(page)
        locked = yield from system.cpus.trylock(lock)
        if locked:
            yield from split_huge_page(system, frames.compound_head(page), kept=page)
            yield from system.cpus.unlock(lock_of_kept(system, lock, page))


@phrase("map the zero page instead")
def try_to_merge_with_zero_page(system: System, place: Place, page: int) -> Routine[int]:
    """Let `place`, which maps the zero-filled `page`, map the shared zero page (use_zero_pages).

    Called with a reference on `page`. Returns 0, also where nothing can be merged any more, or -EFAULT.
    """
    mm = system.mms.get(place[0])
    if mm is None:
        return 0
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    vma, error = find_mergeable_vma(system, place), 0
    if vma is not None and vma.anon_vma is not None:
        error = yield from try_to_merge_one_page(system, vma, place[1], page, system.frames.zero_page)
    yield from system.cpus.unlock(mm.mmap_sem)
    return error


@routine
def try_to_merge_with_ksm_page(system: System, place: Place, page: int, kpage: int) -> Routine[int]:
    """Let `place`, which maps `page`, map `kpage` instead; with `kpage` 0, make `page` itself a page of KSM's.

    Called with a reference on both. Returns 0, or -EFAULT: `place` maps what it did, but a huge page may have been
    split, and the PTE may have become read-only.
    """
    mm = system.mms.get(place[0])
    if mm is None:
        return -EFAULT
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    vma = find_mergeable_vma(system, place)
    error = -EFAULT
    if vma is not None and vma.anon_vma is not None:
        error = yield from try_to_merge_one_page(system, vma, place[1], page, kpage or None)
        if not error:
            item = system.ksm.items.get(place, RmapItem())
            system.ksm.items[place] = item._replace(page=kpage or page, anon_vma=vma.anon_vma.number)
            yield change(f"KSM finds {system.page_name(kpage or page)} at this address from now on")
    yield from system.cpus.unlock(mm.mmap_sem)
    return error


@routine
def try_to_merge_one_page(system: System, vma: Vma, address: int, page: int, kpage: int | None) -> Routine[int]:
    """The part of try_to_merge_with_ksm_page under mmap_sem: split, write-protect, compare, replace.
    Returns 0 or -EFAULT.
    """
    frames = system.frames
    if page == kpage:
        return 0
    if system.scheme.tail_mapcount == "pins" and frames.is_compound(page):
        yield from page_trans_compound_anon_split(system, page)
    lock = system.page_lock(page)
    locked = yield from system.cpus.trylock(lock)
    if not locked:
        return -EFAULT
    error = 0
    if frames.is_compound(page):
        yield read("it is part of a huge page", "Only small pages are merged.")
        error = yield from split_huge_page(system, frames.compound_head(page), kept=page)
    if not error:
        error = yield from write_protect_page(system, vma, address, page)
    if not error and kpage is None:
        frames.flags[page] |= PG_ksm | PG_dirty
        frames.mapping[page] = 0
        why = "It belongs to no anon_vma any more: whoever has these contents may map it."
        yield change(f"{system.page_name(page)} is a page of KSM's", why)
    elif not error and kpage is not None:
        same = bool(frames.content[page] == frames.content[kpage])
        yield read("are they still equal? " + ("yes" if same else "no"))
        error = (yield from replace_page(system, vma, address, page, kpage)) if same else -EFAULT
        if not error and VM_LOCKED in vma.flags and system.kernel.mm.mlocks == "found":
            yield from munlock_vma_page(system, page)
            if kpage != frames.zero_page and not frames.flags[kpage] & PG_mlocked:
                yield from system.cpus.unlock(lock_of_kept(system, lock, page))
                page, lock = kpage, system.page_lock(kpage)
                yield from system.cpus.lock(lock)
                yield from mlock_vma_page(system, kpage)
    yield from system.cpus.unlock(lock_of_kept(system, lock, page))
    return -EFAULT if error else 0


@routine
def page_trans_compound_anon_split(system: System, page: int) -> Routine[None]:
    """Split the compound page that `page` is part of where references stay on their tails
    (page_trans_compound_anon_split).

    Called with a reference on `page`.
    Such a split does not need the page lock, but somebody must hold the head meanwhile.
    """
    head = system.frames.compound_head(page)
    held = yield from get_page_unless_zero(system, head)
    if held:
        yield from split_huge_page(system, head)
        yield from put_page(system, single(head))


@routine
def write_protect_page(system: System, vma: Vma, address: int, page: int) -> Routine[int]:
    """Make the PTE at `address` read-only, if it maps the small page `page` and nobody may be writing to that in
    another way.

    Called under the page lock, with one reference. Returns 0 or -EFAULT, with the PTE as it was.
    """
    tables, frames = system.tables, system.frames
    pte_table = tables.walk(vma.mm.pgd, address, 0)
    if pte_table is None:
        return -EFAULT
    index, lock = system.geometry.index(address, 0), system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    pte = tables.get(pte_table, index)
    yield read(f"read the PTE: {pt.entry_text(pte)}")
    error = 0 if _maps(pte, page) else -EFAULT
    if not error and (pte & (pt._PAGE_RW | pt._PAGE_DIRTY) or frames.flags[page] & PG_anon_exclusive):
        tables.set(pte_table, index, 0)
        yield change("PTE cleared")
        yield from system.cpus.flush_tlb(
            f"one page of {vma.mm.name}", "A GUP-fast that is under way finishes first: its pin will be seen."
        )
        pinned = system.scheme.page_mapcount(frames, page) + 1 != frames.page_count(page)
        yield read(f"does anybody else refer to the page? {'yes: pinned' if pinned else 'no'}")
        error = -EFAULT if pinned else 0
        if not error and pte & pt._PAGE_DIRTY:
            frames.flags[page] |= PG_dirty
        tables.set(pte_table, index, pte if error else pte & ~(pt._PAGE_RW | pt._PAGE_DIRTY))
        yield change("PTE as before" if error else "PTE write-protected and clean")
    if not error and frames.flags[page] & PG_anon_exclusive:
        frames.flags[page] &= ~PG_anon_exclusive
        yield change(f"{system.page_name(page)} is not PG_anon_exclusive any more")
    yield from system.cpus.unlock(lock)
    return error


def _maps(pte: int, page: int) -> bool:
    return pt.pte_present(pte) and not pt.pte_special(pte) and pt.pte_pfn(pte) == page


@routine
def replace_page(system: System, vma: Vma, address: int, page: int, kpage: int) -> Routine[int]:
    """Let the PTE at `address`, which maps `page`, map `kpage`. Called with a reference on both.
    Returns 0 or -EFAULT.
    """
    tables = system.tables
    pte_table = tables.walk(vma.mm.pgd, address, 0)
    if pte_table is None:
        return -EFAULT
    index, lock = system.geometry.index(address, 0), system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    pte = tables.get(pte_table, index)
    same = _maps(pte, page) and not pt.pte_write(pte)
    yield read("is the PTE still the same? " + ("yes" if same else "no"))
    if same:
        entry = pt.mkyoung(pt.mk_pte(kpage, pt.pgprot(vma.prot)))
        if kpage == system.frames.zero_page:
            entry = pt.mkspecial(pt.mkdirty(entry) if system.kernel.ksm.marks_zero else entry)
        else:
            yield from get_page(system, single(kpage))
            yield from folio_add_anon_rmap_ptes(system, vma, single(kpage))
        tables.set(pte_table, index, entry)
        yield change(
            f"PTE = {system.page_name(kpage)}, read-only",
            "One page serves both from now on; whoever writes gets a copy.",
        )
        yield from system.cpus.flush_tlb(f"one page of {vma.mm.name}")
        yield from folio_remove_rmap_ptes(system, vma, single(page))
        yield from put_page(system, single(page))
    yield from system.cpus.unlock(lock)
    return 0 if same else -EFAULT


@routine
def break_cow(system: System, place: Place) -> Routine[None]:
    """Undo what try_to_merge_with_ksm_page did for `place`: it gets a page of its own again."""
    item = system.ksm.items.get(place, RmapItem())
    system.ksm.items[place] = item._replace(page=0, anon_vma=0)
    yield change("the address is not merged")
    mm = system.mms.get(place[0])
    if mm is None:
        return
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    vma = find_mergeable_vma(system, place)
    if vma is not None:
        yield from break_ksm(system, vma, place[1])
    yield from system.cpus.unlock(mm.mmap_sem)


def _is_ksm_zero_pte(system: System, vma: Vma, address: int) -> bool:
    """Is the zero page mapped there because KSM did so?"""
    pte_table = system.tables.walk(vma.mm.pgd, address, 0)
    return pte_table is not None and pt.is_ksm_zero_pte(system.tables.get(pte_table, system.geometry.index(address, 0)))


@routine
def break_ksm(system: System, vma: Vma, address: int) -> Routine[None]:
    """If a page of KSM's, or the zero page by its doing, is mapped at `address`, let a fault replace it by a copy,
    writable or not. Called under mmap_sem.
    """
    while True:
        page = yield from follow_page(system, vma, address)
        if page is None:
            return
        ksm = bool(system.frames.flags[page] & PG_ksm) or _is_ksm_zero_pte(system, vma, address)
        yield from put_page(system, single(page))
        if not ksm:
            return
        unshare = system.kernel.ksm.unshares
        fault = yield from handle_mm_fault(system, vma, address, not unshare, unshare)
        if fault & VM_FAULT_OOM:
            return


@routine
def unmerge_ksm_pages(system: System, vma: Vma, start: int, end: int) -> Routine[None]:
    """Give [start, end) of a VMA pages of its own where it maps pages of KSM's. Called under mmap_sem (exclusive)."""
    addresses = range(start, end, system.geometry.page_size)
    for address in addresses:
        yield from break_ksm(system, vma, address)


@routine
def __ksm_enter(system: System, mm: AddressSpace) -> Routine[None]:
    """Let ksmd scan a process from now on."""
    if mm.name not in system.ksm.mms:
        system.ksm.mms[mm.name] = None
        yield change(f"ksmd scans {mm.name} from now on")
