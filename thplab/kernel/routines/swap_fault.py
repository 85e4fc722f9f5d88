"""Bringing a page back that a swap entry stands for (do_swap_page in mm/memory.c, swapin in mm/swap_state.c)."""

from __future__ import annotations

from thplab.errors import ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import (
    PG_anon,
    PG_anon_exclusive,
    PG_hwpoison,
    PG_lru,
    PG_swapbacked,
    PG_swapcache,
    single,
    width,
)
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.hardware.swap_device import NO_PAGE
from thplab.kernel.address_space import Vma
from thplab.kernel.routines.cow import do_wp_page
from thplab.kernel.routines.mm import put_page
from thplab.kernel.routines.rmap import folio_add_anon_rmap_ptes, set_anon_rmap
from thplab.kernel.routines.swap import lookup_swap_cache, reuse_swap_page, slots_text, swap_free, try_to_free_swap
from thplab.kernel.routines.vm_fault import VM_FAULT_HWPOISON, VM_FAULT_OOM
from thplab.kernel.system import System


@routine
def do_swap_page(system: System, vma: Vma, address: int, pte_table: int, pte: int, write: bool) -> Routine[int]:
    """A fault at the swap entry `pte`: find its page in the swap cache or read it, and map it.

    Called under mmap_sem (shared). Returns 0 (done, or the entry has changed: the access is tried again), or, with
    nothing changed, VM_FAULT_OOM or, where the page is bad, VM_FAULT_HWPOISON.
    """
    slot = pt.pte_pfn(pte)
    page = yield from lookup_swap_cache(system, slot)
    if page == NO_PAGE:
        page = yield from swapin(system, slot)
    if page <= NO_PAGE:
        return VM_FAULT_OOM if page == -ENOMEM else 0
    if system.frames.flags[page] & PG_hwpoison:
        yield read(
            f"{system.page_name(page)} is known to be bad", "It was dirty: the swap cache keeps it for who comes."
        )
        yield from put_page(system, single(page))
        return VM_FAULT_HWPOISON
    lock = system.page_lock(page)
    yield from system.cpus.lock(lock)
    fault = yield from map_swapped_page(system, vma, address, pte_table, pte, page, write)
    yield from system.cpus.unlock(lock)
    if not fault & VM_FAULT_OOM and write:
        now = system.tables.get(pte_table, system.geometry.index(address, 0))
        yield read(f"read the PTE again: {pt.entry_text(now)}")
        if pt.pte_present(now) and not pt.pte_write(now):
            return (yield from do_wp_page(system, vma, address, pte_table, now))
    return fault


@phrase("read the page in")
def swapin(system: System, slot: int) -> Routine[int]:
    """Read what is in `slot` into a small page. Takes no lock.

    Returns the page with a reference, in the swap cache or, where one entry alone names the slot of a device that needs
    no waiting, outside of it; -ENOMEM; or NO_PAGE if somebody else was quicker.
    """
    device, frames = system.swap, system.frames
    assert device is not None, "an entry names the slot"
    alone = int(device.swap_map[slot]) == 1
    skips = system.kernel.reclaim.in_skips_cache and device.kind.synchronous and alone
    yield read(f"{slots_text(single(slot))}: {'one entry names' if alone else 'several entries name'} it")
    page = frames.alloc_pages(0)
    if page is None:
        return -ENOMEM
    yield change(f"allocate a small page, {system.page_name(page)}: {system.refcount_name} = 1")
    if not skips:
        if device.page(slot) != NO_PAGE or not device.swap_map[slot]:
            yield read("somebody else was quicker: try again")
            yield from put_page(system, single(page))
            return NO_PAGE
        device.add(single(page), slot)
        frames.ref_add(single(page), 1)
        frames.flags[page] |= PG_swapcache | PG_lru | PG_swapbacked
        yield change(
            f"it goes into the swap cache: {system.refcount_name} += 1",
            "Whoever else has an entry for the slot will find it there.",
        )
    frames.content[page] = device.read(slot)
    yield change(f"read {system.geometry.size_text(1)} from {slots_text(single(slot))}")
    return page


@phrase("map the page that is back")
def map_swapped_page(
    system: System, vma: Vma, address: int, pte_table: int, pte: int, page: int, write: bool
) -> Routine[int]:
    """Map `page`, which is in memory again, in the place of the swap entry `pte`.

    Called under its page lock and with a reference, which becomes the mapping's or is dropped.
    Returns 0 or VM_FAULT_OOM.
    """
    device, frames, tables, geometry = system.swap, system.frames, system.tables, system.geometry
    assert device is not None, "an entry names the slot"
    index = geometry.index(address, 0)
    head = frames.compound_head(page)
    in_cache = bool(frames.flags[head] & PG_swapcache)
    still = not in_cache or device.page(pt.pte_pfn(pte)) == page
    yield read("is it still the page of the slot? " + ("yes" if still else "no: try again"))
    if not still:
        yield from put_page(system, single(page))
        return 0
    source = page
    if frames.is_tail(page) and not system.kernel.reclaim.in_whole:
        copy = yield from ksm_might_need_to_copy(system, page)
        if copy < 0:
            yield from put_page(system, single(page))
            return VM_FAULT_OOM
        page, head = copy, copy
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    same = tables.get(pte_table, index) == pte
    yield read("is the swap entry still there? " + ("yes" if same else "no: try again"))
    if same:
        entries = slice(index, index + 1)
        if frames.is_compound(page) and system.kernel.reclaim.in_whole:
            entries = _whole_entries(system, vma, address, pte_table, pte, page)
        yield from set_swapped_ptes(
            system, vma, address, pte_table, entries, page, write, source != page or not in_cache
        )
    yield from system.cpus.unlock(lock)
    if not same:
        yield from put_page(system, single(page))
    if source != page:
        yield from put_page(system, single(source))
    return 0


def _whole_entries(system: System, vma: Vma, address: int, pte_table: int, pte: int, page: int) -> slice:
    """The PTEs that come back together: all those of a huge page, if all are swap entries for it in this VMA;
    else just the one.
    """
    geometry, head = system.geometry, system.frames.compound_head(page)
    index, count = geometry.index(address, 0), width(system.frames.compound(head))
    start, low = address - (page - head) * geometry.page_size, index - (page - head)
    inside = 0 <= low <= geometry.nr - count and vma.start <= start and start + count * geometry.page_size <= vma.end
    first = pt.mk_pte(pt.pte_pfn(pte) - (page - head), pte & ~pt.PTE_PFN_MASK)
    if inside and system.tables.in_sequence(pte_table, slice(low, low + count), first):
        return slice(low, low + count)
    return slice(index, index + 1)


@routine
def ksm_might_need_to_copy(system: System, page: int) -> Routine[int]:
    """A tail does not know where it is mapped, so the kernel takes it for a page of somebody else's and copies it.

    Returns the copy, with a reference, or -ENOMEM.
    """
    frames = system.frames
    new = frames.alloc_pages(0)
    if new is None:
        return -ENOMEM
    yield change(f"allocate a small page, {system.page_name(new)}: {system.refcount_name} = 1")
    frames.content[new] = frames.content[page]
    system.count_vm_event("ksm_swpin_copy")
    yield change(
        f"copy {system.geometry.size_text(1)}",
        "The index of a tail is not set: it looks like a page of somebody else's.",
    )
    return new


@phrase("set the PTEs")
def set_swapped_ptes(
    system: System, vma: Vma, address: int, pte_table: int, entries: slice, page: int, write: bool, fresh: bool
) -> Routine[None]:
    """Turn the swap entries `entries` into PTEs, that at `address` for `page`;
    the caller's reference is the first mapping's.

    Called under the page lock and the lock of `pte_table`. `fresh`:
    a page that is not in the swap cache and nobody else sees.
    """
    frames, tables = system.frames, system.tables
    head, index = frames.compound_head(page), system.geometry.index(address, 0)
    first = tables.get(pte_table, entries.start)
    pages = slice(page - index + entries.start, page - index + entries.stop)
    slots = slice(pt.pte_pfn(first), pt.pte_pfn(first) + width(entries))
    if system.kernel.cow.anon_exclusive:
        mine = fresh or bool(first & pt._SWP_EXCLUSIVE)
        yield from swap_free(system, slots)
        if write and frames.page_count(head) == 1 + width(frames.compound(head)):
            yield from try_to_free_swap(system, head)
        mine = mine or frames.page_count(head) == 1
        yield read(f"does nobody else have {system.page_name(pages.start)}? {'yes' if mine else 'no'}")
    else:
        mine = write and (yield from reuse_swap_page(system, pages.start))
        yield from swap_free(system, slots)
    new = not frames.flags[pages.start] & PG_anon and not frames.flags[head] & PG_anon
    if new:
        anon_vma = vma.chain[0 if mine or fresh else -1]
        set_anon_rmap(system, pages, anon_vma, vma.index(address))
        yield change(f"{system.page_name(pages.start)} is anonymous memory, found through {anon_vma.key}")
    if mine and system.kernel.cow.anon_exclusive:
        frames.flags.set(pages, PG_anon_exclusive)
    more = width(pages) - 1
    if more:
        frames.ref_one_by_one(head, more)
        frames.costs.rmw += 1 - more
        yield change(
            f"head {system.refcount_name} += {more}", "One reference for each mapping; the first has its own already."
        )
    entry = pt.mkyoung(pt.pgprot(vma.prot))
    if mine and vma.prot & pt.PROT_WRITE and (write or system.kernel.reclaim.in_writable):
        entry = pt.mkwrite(entry)
        entry = pt.mkdirty(entry) if write else entry
    tables.fill(pte_table, entries, pages.start, entry)
    yield change(
        f"{'PTE' if width(entries) == 1 else f'{width(entries)} PTEs'} = {system.page_name(pages.start)}: "
        f"{pt.entry_text(entry)}"
    )
    if new and system.kernel.reclaim.in_forgets_mlock:
        yield from system.scheme.add_pte_rmap(system, vma, pages)
    else:
        yield from folio_add_anon_rmap_ptes(system, vma, pages)
