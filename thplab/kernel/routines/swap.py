"""The swap cache and the slots below it (mm/swap_state.c, mm/swapfile.c).

A page in the swap cache has one reference more for each of its small pages: the cache's. Its slots stay in use as long
as it is there or a swap entry names them.
"""

from __future__ import annotations

from thplab.hardware.frames import PG_dirty, PG_swapcache, single, width
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.hardware.swap_device import NO_PAGE
from thplab.kernel.pages import free_page
from thplab.kernel.routines.mm import folio_put_refs, put_page
from thplab.kernel.system import System


def slots_text(slots: slice) -> str:
    """How texts name slots that lie together: "slot 3", "slots 8-15"."""
    return f"slot {slots.start}" if width(slots) == 1 else f"slots {slots.start}-{slots.stop - 1}"


@routine
def add_to_swap(system: System, page: int) -> Routine[bool]:
    """Give a page, small or huge, slots on the device and put it into the swap cache. Called under its page lock.

    Returns False, with nothing changed, if there is no device or no room for the page in one piece.
    """
    frames, device = system.frames, system.swap
    pages = frames.compound(page)
    slot = device.find_slots(width(pages)) if device and (device.kind.takes_thp or width(pages) == 1) else None
    if device is None or slot is None:
        yield read("get_swap_page: no room" if device else "get_swap_page: there is no swap")
        return False
    device.add(pages, slot)
    frames.ref_add(single(page), width(pages))
    frames.flags[page] |= PG_swapcache | PG_dirty
    yield change(
        f"{slots_text(device.slots(pages))} for {system.page_name(page)}, which goes into the swap cache: "
        f"{system.refcount_name} += {width(pages)}",
        "Whoever meets a swap entry for it finds it here as long as it is in memory. The cache holds a reference for "
        "each small page.",
    )
    return True


@routine
def delete_from_swap_cache(system: System, page: int) -> Routine[None]:
    """Take a page, small or huge, out of the swap cache.
    Called under its page lock, with a reference besides the cache's.
    """
    frames, device = system.frames, system.swap
    assert device is not None, "a page is in its cache"
    pages = frames.compound(page)
    slots = device.slots(pages)
    device.remove(pages)
    frames.flags[page] = frames.flags[page] & ~PG_swapcache | PG_dirty
    yield change(
        f"{system.page_name(page)} leaves the swap cache", f"{slots_text(slots)}: free where no swap entry names it."
    )
    yield from put_cache_references(system, page)


@phrase("drop the swap cache's references")
def put_cache_references(system: System, page: int) -> Routine[None]:
    """Drop the references that the swap cache had on a page, small or huge, that has just left it."""
    pages = system.frames.compound(page)
    system.frames.ref_add(single(page), -width(pages))
    yield change(f"{system.page_name(page)} {system.refcount_name} -= {width(pages)}: the cache's")


@routine
def try_to_free_swap(system: System, page: int) -> Routine[bool]:
    """Take a page out of the swap cache if no swap entry names any part of it.
    Called under its page lock with a reference.

    Returns whether it left the cache; False also if it was in none.
    """
    device = system.swap
    if device is None or not system.frames.flags[page] & PG_swapcache:
        return False
    named = device.swap_count(system.frames.compound(page))
    yield read(f"swap entries for {system.page_name(page)}: {named}")
    if named:
        return False
    yield from delete_from_swap_cache(system, page)
    return True


@routine
def reuse_swap_page(system: System, page: int) -> Routine[bool]:
    """May a write go to `page` in place:
    is there one user of it, mappings and swap entries together? Called under its page lock.

    If so, it leaves the swap cache, unless it is part of a huge page of which other parts are still out.
    """
    frames, device = system.frames, system.swap
    head = frames.compound_head(page)
    cached = device is not None and bool(frames.flags[head] & PG_swapcache)
    pages = frames.compound(head)
    named = (
        tuple(device.swap_map[device.slots(pages)].tolist()) if device is not None and cached else (0,) * width(pages)
    )
    users = max(
        system.scheme.page_mapcount(frames, p) + n for p, n in zip(range(pages.start, pages.stop), named, strict=True)
    )
    yield read(f"users of {system.page_name(page)}, mappings and swap entries: {users}")
    if users == 1 and cached and sum(named) == named[page - head]:
        yield from delete_from_swap_cache(system, head)
    return users <= 1


@routine
def free_swap_cache(system: System, page: int) -> Routine[None]:
    """Somebody gives up a page: if it is in the swap cache, nobody maps it and nothing names its slots,
    it leaves the cache.

    Called with a reference. Does nothing if the page is locked.
    """
    head = system.frames.compound_head(page)
    if not system.frames.flags[head] & PG_swapcache or system.scheme.total_mapcount(system.frames, head):
        return
    lock = system.page_lock(head)
    locked = yield from system.cpus.trylock(lock)
    if locked:
        yield from try_to_free_swap(system, head)
        yield from system.cpus.unlock(lock)


@routine
def swap_duplicate(system: System, slots: slice) -> Routine[None]:
    """Count one more swap entry for each of these slots."""
    assert system.swap is not None, "an entry names its slot"
    parts = system.each(slots)
    for part in parts:
        system.swap.duplicate(part)
        yield change(f"{slots_text(part)}: swap_map += 1", "The slot counts the entries that name it.")


@routine
def swap_free(system: System, slots: slice) -> Routine[None]:
    """Count one swap entry less for each of these slots. Pages in the swap cache stay there."""
    assert system.swap is not None, "an entry named the slot"
    parts = system.each(slots)
    for part in parts:
        system.swap.free(part)
        yield change(f"{slots_text(part)}: swap_map -= 1")


@routine
def free_swap_and_cache(system: System, slots: slice) -> Routine[None]:
    """Swap entries for these slots are gone:
    count them away, and free pages in the swap cache that nobody will ask for again.
    """
    device = system.swap
    assert device is not None, "an entry named the slot"
    yield from swap_free(system, slots)
    heads = tuple(
        dict.fromkeys(system.frames.compound_head(page) for page in device.cache[slots].tolist() if page != NO_PAGE)
    )
    for head in heads:
        if system.frames.ref_inc_not_zero(head):
            yield change(
                f"find_get_page: {system.page_name(head)} {system.refcount_name} += 1", "It is still in the swap cache."
            )
            yield from free_swap_cache(system, head)
            yield from put_page(system, single(head))


@routine
def lookup_swap_cache(system: System, slot: int) -> Routine[int]:
    """The page of `slot` in the swap cache, a small page or part of a huge one, with a reference;
    NO_PAGE if there is none.
    """
    device, frames = system.swap, system.frames
    assert device is not None, "an entry names the slot"
    page = device.page(slot)
    if page == NO_PAGE or not frames.ref_inc_not_zero(frames.compound_head(page)):
        yield read(f"lookup_swap_cache: nothing for {slots_text(single(slot))}")
        return NO_PAGE
    yield change(
        f"lookup_swap_cache: {slots_text(single(slot))} is {system.page_name(page)}, {system.refcount_name} += 1",
        "It is in memory still or again.",
    )
    return page


@routine
def free_pages_and_swap_cache(system: System, pages: slice) -> Routine[None]:
    """Drop the references that cleared entries held through `pages`.
    What nobody needs any more leaves the swap cache first.
    """
    frames = system.frames
    heads: tuple[int, ...] = ()
    if system.swap is not None and system.swap.slot_of:
        heads = tuple(dict.fromkeys(frames.compound_head(page) for page in range(pages.start, pages.stop)))
    for head in heads:
        yield from free_swap_cache(system, head)
    yield from folio_put_refs(system, pages)


# --- mutants ----------------------------------------------------------------------------------------------------------


def keeps_the_caches_reference(system: System, page: int) -> Routine[None]:
    """put_cache_references that drops none."""
    yield read(f"{system.page_name(page)} {system.refcount_name} stays")


def forgets_the_second_entry(system: System, slots: slice) -> Routine[None]:
    """swap_duplicate that counts the first entry of a slot, and no copy of it."""
    assert system.swap is not None, "an entry names its slot"
    if not system.swap.swap_map[slots].any():
        yield from swap_duplicate.right(system, slots)
    else:
        yield read(f"{slots_text(slots)}: in use already")


def frees_what_nobody_maps(system: System, pages: slice) -> Routine[None]:
    """free_pages_and_swap_cache that frees a page with its last mapping, whoever else has a reference."""
    frames, head = system.frames, system.frames.compound_head(pages.start)
    unmapped = not system.scheme.total_mapcount(frames, head)
    yield from free_pages_and_swap_cache.right(system, pages)
    if unmapped and frames.refcount[head]:
        frames.refcount[head] = 0
        yield from free_page(system, head)
