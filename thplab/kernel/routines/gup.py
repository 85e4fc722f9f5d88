"""get_user_pages: how a driver gets hold of a process's pages (mm/gup.c, arch/x86/mm/gup.c).
The slow way, page by page, is in follow_page.py; how it lets go is in pins.py.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import GUP_PIN_COUNTING_BIAS, PG_anon, PG_referenced, single, width
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.address_space import AddressSpace
from thplab.kernel.routines.follow_page import __get_user_pages, gup_must_unshare, try_grab_page, usable
from thplab.kernel.routines.mm import get_huge_page_tail, put_page
from thplab.kernel.routines.pins import put_user_pages
from thplab.kernel.routines.walk import mapped_page, pmd_at
from thplab.kernel.system import Pin, System


@phrase("a driver's request")
def get_user_pages(
    system: System,
    mm: AddressSpace,
    start: int,
    end: int,
    pin: Pin,
    write: bool,
    fast: bool = True,
    split: bool = False,
) -> Routine[int]:
    """A driver takes one reference on each page of [start, end), as `pin` says, which has no pages yet,
    and remembers them.

    The pages count as referenced from then on (FOLL_TOUCH). It tries without a lock first if it may (`fast`). With
    `split` it wants small pages (FOLL_SPLIT) and faults nothing in. A ring, which pins to write, keeps one pin for each
    large folio of some kernels; of others it takes all the slow way, and does not mark anything then. Returns 0, or
    -EFAULT / -ENOMEM where a page cannot be faulted in; then the references taken so far are dropped.
    """
    if pin.foll_pin and not mm.has_pinned:
        mm.has_pinned = True
        yield change(f"{mm.name} has pinned pages", "A fork has to look out for them from now on.")
    pages: tuple[int, ...] = ()
    ring = pin.foll_pin and write
    slow = ring and bool(system.kernel.gup.pins_slowly)
    if fast and not slow:
        pages = yield from get_user_pages_fast(system, mm, start, end, write, pin.foll_pin)
    address = start + len(pages) * system.geometry.page_size
    error = 0
    while address < end and not error:
        page = yield from __get_user_pages(system, mm, address, write, pin.foll_pin, split, touch=not slow)
        if page >= 0:
            pages += (page,)
            address += system.geometry.page_size
        else:
            error = page
    if error:
        yield from put_user_pages(system, pages, pin.foll_pin)
        return error
    buffer = pages
    if ring and system.kernel.gup.coalesces and len(pages) > 1 and (kept := one_of_each_folio(system, pages)):
        counts = tuple(
            sum(system.frames.compound_head(p) == system.frames.compound_head(first) for p in pages) for first in kept
        )
        for i in range(len(kept)):
            yield from unpin_user_folio(system, kept[i], counts[i] - 1)
        pages = kept
    system.pins[pin.name] = replace(pin, pages=pages, buffer=buffer)
    if not slow:
        mark_referenced(system, pages)
    yield change(
        f"the driver holds {len(pages)} {'pages' if len(pages) > 1 else 'page'} as {pin.name!r}",
        f"It may read or write {'them' if len(pages) > 1 else 'it'} at any time.",
    )
    return 0


@phrase("a module takes the references")
def get_pages_raw(system: System, mm: AddressSpace, start: int, end: int, pin: Pin) -> Routine[int]:
    """A module takes one reference on each page that is mapped in [start, end), and remembers them. Returns 0.

    It reads the page tables without a lock, and does not mind what the process may do with the pages.
    """
    pages: tuple[int, ...] = ()
    addresses = range(start, end, system.geometry.page_size)
    for address in addresses:
        page = mapped_page(system, mm, address)
        yield read("nothing is mapped" if page is None else f"{system.page_name(page)} is mapped")
        if page is not None:
            yield from try_grab_page(system, page, False)
            pages += (page,)
    system.pins[pin.name] = replace(pin, pages=pages, buffer=pages)
    yield change(f"the module holds {len(pages)} {'pages' if len(pages) > 1 else 'page'} as {pin.name!r}")
    return 0


def mark_referenced(system: System, pages: tuple[int, ...]) -> None:
    """Set PG_referenced on small pages and on the heads of others, as long as they are anonymous memory."""
    for head in {system.frames.compound_head(page) for page in pages}:
        if system.frames.flags[head] & PG_anon:
            system.frames.flags[head] |= PG_referenced


@routine
def unpin_user_folio(system: System, page: int, count: int) -> Routine[None]:
    """Drop `count` FOLL_PIN pins of the folio that `page` is part of at once; one at least is left."""
    head = system.frames.compound_head(page)
    system.frames.pincount_add(head, -count)
    yield change(f"head _pincount -= {count}", "One pin keeps the whole folio: the driver needs no more.")
    system.frames.ref_add(single(head), -count)
    yield change(f"head {system.refcount_name} -= {count}")


def one_of_each_folio(system: System, pages: tuple[int, ...]) -> tuple[int, ...]:
    """The first of `pages` in each large folio, if they go through large folios without a gap;
    else nothing (io_coalesce_buffer).
    """
    frames = system.frames
    kept = [pages[0]]
    for before, page in pairwise(pages):
        if page == before + 1 and frames.compound_head(page) == frames.compound_head(before):
            continue
        if before + 1 != frames.compound(frames.compound_head(before)).stop or page != frames.compound_head(page):
            return ()
        kept.append(page)
    return tuple(kept) if all(frames.is_compound(page) for page in kept) else ()


@routine
def get_user_pages_fast(
    system: System, mm: AddressSpace, start: int, end: int, write: bool, foll_pin: bool = False
) -> Routine[tuple[int, ...]]:
    """Pin pages from `start` on by reading the page tables without a lock; returns the pfns of as many as it could.

    Interrupts are off, so the tables cannot go away below it: whoever takes entries away flushes the TLB, and that
    flush waits for this CPU. A fork that makes pages shared meanwhile is told by write_protect_seq: FOLL_PIN pins are
    given back.
    """
    seq = (yield from read_write_protect_seq(system, mm)) if foll_pin else 0
    if seq % 2:
        return ()
    pages = yield from lockless_pages_from_mm(system, mm, start, end, write, foll_pin)
    if foll_pin and pages:
        now = yield from read_write_protect_seq(system, mm)
        if now != seq:
            yield from put_user_pages(system, pages, foll_pin)
            return ()
    return pages


@phrase("is a fork under way?")
def read_write_protect_seq(system: System, mm: AddressSpace) -> Routine[int]:
    """The count of a process's forks, begun and ended: odd while one makes its entries read-only."""
    seq = mm.write_protect_seq
    yield read(f"write_protect_seq is {seq}: {'a fork is under way' if seq % 2 else 'no fork is under way'}")
    return seq


@routine
def lockless_pages_from_mm(
    system: System, mm: AddressSpace, start: int, end: int, write: bool, foll_pin: bool = False
) -> Routine[tuple[int, ...]]:
    """The walk of GUP-fast, with interrupts off. Returns the pfns of the pages that it holds from then on."""
    geometry = system.geometry
    pages: tuple[int, ...] = ()
    yield from system.cpus.local_irq_disable(
        "No lock is taken: a TLB flush cannot finish while this CPU is deaf to it."
    )
    address = start
    while address < end:
        found = pmd_at(system, mm, address)
        pmd = found.entry if found else 0
        yield read(f"read the PMD: {pt.entry_text(pmd)}")
        if not usable(pmd, write) or pt.pmd_trans_splitting(pmd):
            break
        if pt.pmd_trans_huge(pmd):
            stop = min(end, (address & -geometry.huge_size) + geometry.huge_size)
            count = (stop - address) // geometry.page_size
            first = pt.pte_pfn(pmd) + geometry.index(address, 0)
            assert found is not None, "a usable PMD was found"
            taken = yield from gup_get_pages(
                system, found.table, found.at, pmd, slice(first, first + count), foll_pin, write
            )
            if not taken:
                break
            pages += tuple(range(first, first + count))
            address = stop
            continue
        pte = system.tables.get(pt.pte_pfn(pmd), geometry.index(address, 0))
        yield read(f"read the PTE: {pt.entry_text(pte)}")
        if not usable(pte, write) or pt.pte_special(pte):
            break
        taken = yield from gup_get_pages(
            system, pt.pte_pfn(pmd), geometry.index(address, 0), pte, single(pt.pte_pfn(pte)), foll_pin, write
        )
        if not taken:
            break
        pages += (pt.pte_pfn(pte),)
        address += geometry.page_size
    yield from system.cpus.local_irq_enable()
    return pages


@phrase("take the references, and look at the entry again")
def gup_get_pages(
    system: System, table: int, index: int, entry: int, pages: slice, foll_pin: bool, write: bool
) -> Routine[bool]:
    """GUP-fast takes a reference for each of `pages`, which `entry`, read before, maps. Called with interrupts off.

    Where a split freezes the count, none is taken from a count of 0, and the entry is read again afterwards: if it has
    changed, the references are dropped; and so if the page must be unshared first. Returns False then, with nothing
    held; the slow way has to be gone.
    """
    frames, count, huge = system.frames, width(pages), pt.pmd_trans_huge(entry)
    head = frames.compound_head(pages.start)
    if not system.kernel.split.freezes_refcount:
        if not huge:
            yield from try_grab_page(system, pages.start, foll_pin)
            return True
        yield from get_huge_page_tail(system, head, pages)
        frames.ref_add(single(head), count)
        if foll_pin:
            frames.pincount_add(head, count)
        yield change(
            f"head {system.refcount_name} += {count}",
            "One add for all pages of this huge page: a pin of a tail is a reference on the head.",
        )
        return True
    refs = yield from try_grab_compound_head(system, head, count, foll_pin)
    if not refs:
        return False
    same = system.tables.get(table, index) == entry and frames.compound_head(pages.start) == head
    entry_name, now = "PMD" if huge else "PTE", "the same" if same else "changed"
    yield read(f"read the {entry_name} again: {now}", "Until now nothing said that the page is still mapped.")
    if same and gup_must_unshare(system, entry, pages.start, foll_pin and not write):
        yield read("the page may be shared: not this way", "A driver that reads would be left on it by the next write.")
        same = False
    if not same:
        if foll_pin and frames.is_compound(head):
            frames.pincount_add(head, -count)
            yield change(f"head _pincount -= {count}")
        if refs > 1:
            frames.ref_one_by_one(head, 1 - refs)
            pages_text = system.pages_text(single(head))
            yield change(f"{pages_text} {system.refcount_name} -= {refs - 1}", "All but the last one.")
        yield from put_page(system, single(head))
    return same


@routine
def try_grab_compound_head(system: System, head: int, count: int, foll_pin: bool) -> Routine[int]:
    """Take `count` references on a head, or one on a small page, with one add. Returns what was added:
    0 if the count is 0.
    """
    frames, large = system.frames, system.frames.is_compound(head)
    refs, name = (count, "head") if large else (GUP_PIN_COUNTING_BIAS if foll_pin else 1, system.page_name(head))
    if not frames.ref_inc_not_zero(head, refs):
        yield read(
            f"try_get: {name} {system.refcount_name} is 0, no reference", "Somebody is splitting or freeing the page."
        )
        return 0
    yield change(
        f"try_get: {name} {system.refcount_name} += {refs}",
        "One add, unless the count is 0. A tail's reference is on the head.",
    )
    if foll_pin and large:
        frames.pincount_add(head, count)
        yield change(f"head _pincount += {count}", "These references are pins of a driver that uses the contents.")
    return refs


# --- mutants ----------------------------------------------------------------------------------------------------------


def sees_no_fork(system: System, mm: AddressSpace) -> Routine[int]:
    """read_write_protect_seq that does not look."""
    yield read("write_protect_seq is not looked at")
    return 0


def pins_the_tail(
    system: System, table: int, index: int, entry: int, pages: slice, foll_pin: bool, write: bool
) -> Routine[bool]:
    """gup_get_pages that takes the reference on the very page, also if that is a tail."""
    system.frames.ref_add(pages, 1)
    yield change(f"{system.pages_text(pages)} {system.refcount_name} += 1")
    return True


def forgets_that_it_has_pinned(
    system: System,
    mm: AddressSpace,
    start: int,
    end: int,
    pin: Pin,
    write: bool,
    fast: bool = True,
    split: bool = False,
) -> Routine[int]:
    """get_user_pages that leaves no note in the mm for a fork to find."""
    result = yield from get_user_pages.right(system, mm, start, end, pin, write, fast, split)
    mm.has_pinned = False
    return result
