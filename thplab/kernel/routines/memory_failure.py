"""Memory that goes bad: the advices MADV_SOFT_OFFLINE and MADV_HWPOISON and what they set off (mm/madvise.c,
mm/memory-failure.c).

Both are about one small page, so a huge page has to be split first; both must cope when it cannot be.
"""

from __future__ import annotations

from thplab.errors import EBUSY, EHWPOISON, EIO, KILLED_BY_SIGBUS
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import (
    PG_dirty,
    PG_has_hwpoisoned,
    PG_hwpoison,
    PG_ksm,
    PG_lru,
    PG_reserved,
    PG_swapcache,
    single,
    width,
)
from thplab.hardware.steps import Routine, change, read, routine
from thplab.kernel.address_space import AddressSpace, Vma
from thplab.kernel.routines.follow_page import __get_user_pages
from thplab.kernel.routines.gup import get_user_pages_fast, mark_referenced
from thplab.kernel.routines.lru import isolate_lru_page
from thplab.kernel.routines.migrate import split_for, unmap_and_move
from thplab.kernel.routines.mm import put_page
from thplab.kernel.routines.rmap import folio_remove_rmap_ptes, lock_rmap, page_vma_mapped_walk, rmap_walk_page
from thplab.kernel.routines.swap import delete_from_swap_cache
from thplab.kernel.routines.try_to_unmap import unmap_ptes
from thplab.kernel.routines.user import sigbus
from thplab.kernel.routines.vmscan import drop_slab
from thplab.kernel.routines.walk import mapped_page
from thplab.kernel.system import System


@routine
def madvise_hwpoison(system: System, mm: AddressSpace, start: int, end: int, soft: bool) -> Routine[int]:
    """Treat the pages under [start, end) as failing (`soft`: keep their contents) or as lost.

    Returns 0, the errno of the page at which it stopped, or KILLED_BY_SIGBUS; then the process is gone. How far it goes
    on behind a page differs between kernels, as does what a failure is worth. A signal waits until all is done.
    """
    policy = system.kernel.hwpoison
    address, error, killed = start, 0, False
    while address < end and not error:
        page = yield from _get_page(system, mm, address)
        if page < 0:
            error = page
            break
        step = _page_size(system, page)
        if soft:
            error = yield from soft_offline_page(system, page)
        elif system.frames.flags[page] & PG_hwpoison and not policy.size_first:
            yield from put_page(system, single(page))
        else:
            error, lost = yield from memory_failure(system, mm, page)
            killed = killed or (lost and policy.answer == "kills")
            error = 0 if policy.answer == "ignored" else error
        address += step if policy.size_first else _page_size(system, page)
    if killed:
        yield from sigbus(system, mm, "The kernel takes the caller for one that has used what is lost.")
    return KILLED_BY_SIGBUS if killed else error


def _page_size(system: System, page: int) -> int:
    """Bytes of the compound page that `page` is part of, or of a small page."""
    return width(system.frames.compound(system.frames.compound_head(page))) * system.geometry.page_size


def _get_page(system: System, mm: AddressSpace, address: int) -> Routine[int]:
    """The page under `address`, with a reference on it, faulted in if need be; or a negative errno."""
    pages = yield from get_user_pages_fast(system, mm, address, address + system.geometry.page_size, False)
    page = pages[0] if pages else (yield from __get_user_pages(system, mm, address, False))
    if page >= 0:
        mark_referenced(system, (page,))
        yield change(f"{system.page_name(page)} counts as referenced")
    return page


@routine
def try_to_split_thp_page(system: System, page: int) -> Routine[int]:
    """Split the compound page that `page` is part of, on which the caller has a reference, which ends on `page`.

    Returns 0, also for a page that is small already, or the errno of a refused split.
    """
    return (yield from split_for(system, page))


@routine
def soft_offline_page(system: System, page: int) -> Routine[int]:
    """Stop using a page that still works: its contents move, the frame is never used again.
    Takes over the caller's reference.

    Returns 0; -EBUSY if it is part of a huge page that cannot be split, -EIO or -EBUSY if it is the kernel's own, with
    nothing changed; the kernel's errno if the page cannot be moved.
    """
    frames, policy = system.frames, system.kernel.hwpoison
    if frames.flags[page] & PG_hwpoison:
        yield from put_page(system, single(page))
        return 0
    if frames.flags[page] & PG_reserved:
        yield from put_page(system, single(page))
        if policy.shakes_slab:
            yield from drop_slab(system)
        return -EBUSY if policy.shakes_slab and frames.is_compound(page) else -EIO
    error = yield from try_to_split_thp_page(system, page)
    if error:
        yield from put_page(system, single(page))
        return -EBUSY
    error = yield from unmap_and_move(system, page)
    if error:
        yield from put_page(system, single(page))
        return policy.soft_offline_failed
    frames.flags[page] = (frames.flags[page] | PG_hwpoison) & ~PG_lru
    if policy.soft_offline_keeps:
        system.poisoned.append(page)
        yield change(
            f"{system.page_name(page)} is marked bad",
            "The reference is kept for ever, so that nobody gets the page again.",
        )
    else:
        frames.ref_add(single(page), -1)
        yield change(
            f"{system.page_name(page)} is marked bad and given back",
            "The allocator never hands out a page with PG_hwpoison.",
        )
    return 0


@routine
def memory_failure(system: System, mm: AddressSpace, page: int) -> Routine[tuple[int, bool]]:
    """The memory behind a page is lost: whoever maps the page gets an entry that says so.
    Takes over the caller's reference.

    `mm` has reported it. Returns 0 or a negative errno, which it is for the kernel's own memory and for a huge page
    that cannot be split, of which all mappings stay; and whether `mm` was found to map the page, and to lose something
    with it.
    """
    frames, policy = system.frames, system.kernel.hwpoison
    if frames.flags[page] & PG_hwpoison:
        yield read("it is known to be bad")
        if policy.keeps_known:
            system.poisoned.append(page)
            return 0, True
        yield from put_page(system, single(page))
        return -EHWPOISON, True
    own = bool(frames.flags[page] & PG_reserved)
    frames.flags[page] |= PG_hwpoison
    yield change(f"{system.page_name(page)} is marked bad")
    head = frames.compound_head(page)
    if policy.filters_first:
        lock = system.page_lock(page)
        yield from system.cpus.lock(lock)
        yield from system.cpus.unlock(lock, "hwpoison_filter has looked: no test has asked to leave this page out.")
    if frames.is_compound(page) and policy.unsplit == "both":
        frames.flags[head] |= PG_has_hwpoisoned
        yield change("head: one of its subpages is bad")
    error = -EBUSY if own and frames.is_compound(page) else 0
    if not own:
        error = yield from try_to_split_thp_page(system, page)
    if error:
        if policy.unsplit == "nothing":
            frames.flags[page] &= ~PG_hwpoison
            yield change(
                f"{system.page_name(page)} is not marked any more",
                "The split was refused: the page is mapped as before.",
            )
        if policy.unsplit == "held":
            system.poisoned.append(page)
            yield change(
                f"{system.page_name(page)} stays marked",
                "It is mapped as before. The reference stays, so nobody can split it.",
            )
        else:
            yield from put_page(system, single(page))
        return -EHWPOISON if policy.answer == "kills" else -EBUSY, not own
    if own or (frames.flags[page] & PG_ksm and not policy.unmaps_ksm):
        system.poisoned.append(page)
        whose = "the kernel's own" if own else "KSM's"
        yield read(f"it is {whose}: nothing can be done", "It stays mapped, and the reference is never dropped.")
        return -EBUSY, False
    users = yield from hwpoison_user_mappings(system, mm, page)
    dirty = bool(frames.flags[page] & PG_dirty)
    if frames.flags[page] & PG_swapcache and not dirty:
        yield from delete_from_swap_cache(system, page)
    cached = bool(frames.flags[page] & PG_swapcache)
    if cached:
        frames.flags[page] &= ~PG_dirty
    system.poisoned.append(page)
    used = policy.counts_users and frames.page_count(page) != 1 + cached
    yield read(
        "does anybody still refer to it? " + ("yes: recovery failed" if used else "nobody who matters"),
        "Our own reference is kept for ever, so that nobody gets the page again.",
    )
    return -EBUSY if used else 0, dirty and mm.name in users


@routine
def hwpoison_user_mappings(system: System, mm: AddressSpace, page: int) -> Routine[tuple[str, ...]]:
    """Replace every mapping of a small page by a hwpoison entry, and take the page off the LRU;
    whoever touches it gets SIGBUS.

    Where it is to be killed, `mm` is looked up first. Returns who has mapped the page.
    Of a page in the swap cache they become swap entries: its contents may still be on the device.
    """
    lock = system.page_lock(page)
    yield from system.cpus.lock(lock)
    locks = yield from lock_rmap(system, page)
    places = rmap_walk_page(system, page)
    yield read("who maps the page? The reverse map tells")
    killed = tuple(place for place in places if place[0].mm is mm and system.kernel.hwpoison.answer == "kills")
    for vma, address in killed:
        yield from page_mapped_in_vma(system, vma, address, page)
    users: tuple[str, ...] = ()
    for vma, address in places:
        if mapped_page(system, vma.mm, address) == page:
            users += (vma.mm.name,)
        yield from try_to_unmap_poisoned(system, vma, address, page)
    for held in locks:
        yield from system.cpus.unlock(held)
    isolated = yield from isolate_lru_page(system, single(page))
    if isolated:
        yield from put_page(system, single(page))
    yield from system.cpus.unlock(lock)
    return users


@routine
def page_mapped_in_vma(system: System, vma: Vma, address: int, page: int) -> Routine[None]:
    """Does a PTE at `address` map the small page `page`? Then its process is among those that are killed."""
    pte_table = system.tables.walk(vma.mm.pgd, address, 0)
    if pte_table is not None:
        index = system.geometry.index(address, 0)
        yield from page_vma_mapped_walk(system, pte_table, index, index + 1, single(page))
        yield from system.cpus.unlock(system.ptl(pte_table))


@routine
def try_to_unmap_poisoned(system: System, vma: Vma, address: int, page: int) -> Routine[None]:
    """Put a hwpoison or a swap entry where a PTE at `address` maps the small page `page`; does nothing if none does."""
    pte_table = system.tables.walk(vma.mm.pgd, address, 0)
    if pte_table is None:
        return
    index = system.geometry.index(address, 0)
    if system.frames.flags[page] & PG_swapcache:
        yield from unmap_ptes(system, vma, pte_table, index, index + 1, page)
        return
    lock = system.ptl(pte_table)
    yield from system.cpus.lock(lock)
    pte = system.tables.get(pte_table, index)
    yield read(f"read the PTE: {pt.entry_text(pte)}")
    if pt.pte_present(pte) and not pt.pte_special(pte) and pt.pte_pfn(pte) == page:
        system.tables.set(pte_table, index, 0)
        yield change("PTE cleared")
        yield from system.cpus.flush_tlb(f"one page of {vma.mm.name}")
        system.tables.set(pte_table, index, pt.mk_hwpoison(page))
        system.frames.flags[page] |= PG_dirty if pte & pt._PAGE_DIRTY else 0
        yield change("PTE = hwpoison entry", "Whoever touches the page now gets SIGBUS.")
        yield from folio_remove_rmap_ptes(system, vma, single(page))
        yield from put_page(system, single(page))
    yield from system.cpus.unlock(lock)
