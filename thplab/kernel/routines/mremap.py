"""mremap to a fixed place, or to another size at the same place (mm/mremap.c, move_huge_pmd in mm/huge_memory.c):
entries of the page tables move, pages do not.

No counter of any page changes. The pages keep their index in the reverse map, so the VMA at the new place gets the
`pgoff` that makes the same index lead to the new address.
"""

from __future__ import annotations

from thplab.errors import EFAULT, EINVAL, ENOMEM
from thplab.hardware import page_tables as pt
from thplab.hardware.steps import Routine, change, read, routine
from thplab.kernel.address_space import VM_LOCKED, VM_MERGEABLE, AddressSpace, Vma
from thplab.kernel.routines.deposit import pgtable_trans_huge_deposit, pgtable_trans_huge_withdraw
from thplab.kernel.routines.fault import __pte_alloc, pmd_alloc
from thplab.kernel.routines.huge_pmd import wait_split_huge_page
from thplab.kernel.routines.ksm import unmerge_ksm_pages
from thplab.kernel.routines.populate import mm_populate
from thplab.kernel.routines.protect import vma_merge
from thplab.kernel.routines.rmap import anon_vma_lock, vmas_lock
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.kernel.routines.unmap import do_munmap, unlink_anon_vmas
from thplab.kernel.routines.walk import next_vma, pmd_at, pmd_ranges
from thplab.kernel.system import System


@routine
def mremap_to(
    system: System, mm: AddressSpace, old: int, new: int, length: int, size: int, dontunmap: bool = False
) -> Routine[int]:
    """Move `length` bytes at `old` to `new`, where they are `size` bytes from then on. Takes mmap_sem.

    With `dontunmap` the old range stays mapped, but empty. Returns 0; -EINVAL if the two ranges overlap, the
    destination ends beyond all addresses, or `dontunmap` is unknown or asks for another size, with nothing changed;
    -EFAULT if what is to be moved is not inside one VMA, or -ENOMEM, when what was mapped at the destination is gone,
    but the source is where it was. Where the kernel looks first, a source that does not begin in a VMA is -EFAULT,
    whatever else is wrong, with nothing changed. Where the kernel moves several VMAs, of which the source need only
    begin in one, what lies between them stays unmapped at the destination, too, and another size is refused before
    anything has changed.
    """
    overlap = old < new + size and new < old + length
    beyond = new + size > system.geometry.address_limit
    unknown = dontunmap and (not system.kernel.mm.dontunmap or length != size)
    nothing = not unknown and system.kernel.mm.mremap_looks_first and mm.find_vma(old) is None
    if overlap or beyond or nothing or unknown:
        why = (
            "MREMAP_DONTUNMAP is unknown, or does not go with another size"
            if unknown
            else "no VMA begins the source"
            if nothing
            else "the destination is no address"
            if beyond
            else "source and destination overlap"
        )
        yield read(why)
        return -EFAULT if nothing else -EINVAL
    yield from system.cpus.lock(mm.mmap_sem)
    moves_vmas = system.kernel.mm.mremap_moves_vmas
    if moves_vmas and length == size:
        error = yield from remap_move(system, mm, old, new, length, dontunmap)
        yield from system.cpus.unlock(mm.mmap_sem)
        return error
    error, kept = 0, min(length, size)
    if moves_vmas:
        error = (yield from vma_to_resize(system, mm, old, kept))[1]
    if not error:
        yield from do_munmap(system, mm, new, new + size)
        if size < length:
            yield from do_munmap(system, mm, old + size, old + length)
        vma, error = yield from vma_to_resize(system, mm, old, kept)
        if vma is not None:
            error = yield from move_vma(system, vma, old, new, kept, size, dontunmap)
    target = None if error else mm.find_vma(new)
    grows_locked = size > length and target is not None and VM_LOCKED in target.flags
    yield from system.cpus.unlock(mm.mmap_sem)
    if grows_locked:
        yield from mm_populate(system, mm, new + length, new + size)
    return error


@routine
def mremap_at(system: System, mm: AddressSpace, old: int, length: int, size: int) -> Routine[int]:
    """Let `length` bytes at `old` be `size` bytes, at the same place. Takes mmap_sem.

    Returns 0; -EFAULT if what is to grow is not inside one VMA, or -ENOMEM if it does not end its VMA or something is
    behind it, with nothing changed. What shrinks may be mapped or not; where the kernel looks first, -EFAULT if it does
    not begin in a VMA.
    """
    yield from system.cpus.lock(mm.mmap_sem)
    policies, vma = system.kernel.mm, mm.find_vma(old)
    error = 0
    if size > length:
        vma, error = yield from vma_to_resize(system, mm, old, length)
        if vma is not None:
            error = yield from expand_vma(system, vma, old, length, size)
    elif vma is None and (policies.mremap_looks_first or policies.mremap_moves_vmas):
        yield read("no VMA begins the range")
        error = -EFAULT
    elif size < length:
        yield from do_munmap(system, mm, old + size, old + length)
    vma = mm.find_vma(old)
    populate = size > length and not error and vma is not None and VM_LOCKED in vma.flags
    yield from system.cpus.unlock(mm.mmap_sem)
    if populate:
        yield from mm_populate(system, mm, old + length, old + size)
    return error


@routine
def vma_to_resize(system: System, mm: AddressSpace, old: int, length: int) -> Routine[tuple[Vma | None, int]]:
    """The VMA that holds all of `length` bytes at `old`, and 0; or None, and -EFAULT."""
    vma = mm.find_vma(old)
    fits = vma is not None and old + length <= vma.end
    yield read("does one VMA hold all of the source? " + ("yes" if fits else "no"))
    return (vma, 0) if fits else (None, -EFAULT)


@routine
def expand_vma(system: System, vma: Vma, old: int, length: int, size: int) -> Routine[int]:
    """Let `vma` go on behind `length` bytes at `old`, so that they are `size`. Called under mmap_sem.

    Returns 0, or -ENOMEM, with nothing changed, if they do not end the VMA, or there is something behind it.
    """
    mm, end = vma.mm, old + size
    fits = vma.end == old + length and end <= system.geometry.address_limit and not mm.overlapping(vma.end, end)
    yield read(f"is there room behind the VMA? {'yes' if fits else 'no'}")
    if not fits:
        return -ENOMEM
    lock = anon_vma_lock(vma.chain[0]) if vma.chain else ""
    if lock:
        yield from system.cpus.lock(lock)
    mm.grow(vma, end)
    yield change("the VMA becomes longer", "Only a promise so far: nothing is mapped before it is touched.")
    if lock:
        yield from system.cpus.unlock(lock)
    if system.kernel.mm.mremap_growth_merges:
        yield from vma_merge(system, vma)
    return 0


@routine
def remap_move(system: System, mm: AddressSpace, old: int, new: int, length: int, dontunmap: bool) -> Routine[int]:
    """Move the VMAs in `length` bytes at `old` one after the other, the gaps between them as they are.
    Called under mmap_sem.

    Returns 0; -EFAULT, with nothing changed, if no VMA begins the source;
    or -ENOMEM, with the VMAs before that one moved.
    """
    vma = mm.find_vma(old)
    yield read("does a VMA begin the source? " + ("yes" if vma else "no"))
    if vma is None:
        return -EFAULT
    at, error = old, 0
    while not error and (found := next_vma(mm, at, old + length)):
        start, stop = found.start, found.end
        yield from do_munmap(system, mm, new + start - old, new + stop - old)
        vma = mm.find_vma(start)  # again: it may have begun at the destination
        assert vma is not None, "the destination holds nothing of the source"
        error = yield from move_vma(system, vma, start, new + start - old, stop - start, stop - start, dontunmap)
        at = stop
    return error


@routine
def move_vma(system: System, vma: Vma, old: int, new: int, length: int, size: int, dontunmap: bool) -> Routine[int]:
    """Make a VMA of `size` bytes at `new`, move the entries of `length` bytes there, unmap the old range, or, with
    `dontunmap`, leave it without pages. Called under mmap_sem; nothing is mapped at `new`.

    Returns 0, or -ENOMEM (no memory for a page table) with everything back where it was.
    """
    mm = vma.mm
    if VM_MERGEABLE in vma.flags:
        yield from unmerge_ksm_pages(system, vma, old, old + length)  # KSM finds its pages by their addresses
    target, rmap_locks = yield from copy_vma(system, vma, old, new, size)
    source = mm.find_vma(old)  # the old VMA itself may have become part of the new one
    assert source is not None
    moved = yield from move_page_tables(system, source, old, target, new, length, rmap_locks)
    if moved < length:
        yield from move_page_tables(system, target, new, source, old, moved, True)
        yield from do_munmap(system, mm, new, new + size)
        return -ENOMEM
    if dontunmap:
        yield from dontunmap_complete(system, source, target, old, old + length)
    else:
        yield from do_munmap(system, mm, old, old + length)
    return 0


@routine
def dontunmap_complete(system: System, vma: Vma, target: Vma, start: int, end: int) -> Routine[None]:
    """All that is left of [start, end) in `vma` is the promise of memory: no page of it is locked, or registered in
    its reverse map if the VMA has gone whole. Called under mmap_sem.
    """
    vma.flags -= {VM_LOCKED}
    yield change("the old VMA stays, without pages", "The next touch finds zeroes there, as after MADV_DONTNEED.")
    if system.kernel.mm.dontunmap == "unlinks" and vma is not target and (vma.start, vma.end) == (start, end):
        yield from unlink_anon_vmas(system, vma)


@routine
def copy_vma(system: System, vma: Vma, old: int, new: int, length: int) -> Routine[tuple[Vma, bool]]:
    """A VMA for the range at `new` with the rights, flags and reverse map that `vma` has at `old`;
    merged where it can be.

    Returns it, and whether the entries must move under the anon_vma lock: a VMA that is older than `vma` may come
    before it in a walk of the reverse map, which would then look for a page at both places in the wrong order and miss
    it.
    """
    mm, size = vma.mm, system.geometry.page_size
    pgoff = vma.index(old) if vma.chain else new // size  # without pages it need not remember where it came from
    copy = Vma(mm, new, new + length, vma.prot, vma.flags, pgoff, list(vma.chain))
    others = mm.mergeable(copy, bool(system.kernel.mm.merges_into_unfaulted))
    lock = vmas_lock(copy, *others)
    if lock:
        yield from system.cpus.lock(lock)
    mm.insert(copy)
    target = mm.merge(copy, others)
    yield change(
        "a VMA at the new place" + (", merged with its neighbour" if others else ""),
        "It has the indexes of the old place, so the reverse map finds the moved pages." if vma.chain else "",
    )
    if lock:
        yield from system.cpus.unlock(lock)
    return target, bool(others)


@routine
def move_page_tables(
    system: System, vma: Vma, old: int, target: Vma, new: int, length: int, rmap_locks: bool
) -> Routine[int]:
    """Move the entries of `length` bytes from `old` in `vma` to `new` in `target`, which has none.
    Called under mmap_sem.

    A huge PMD moves as one if it goes whole and to an aligned place, else it is split. Returns how many bytes were
    dealt with: fewer than `length` if there was no memory for a page table.
    """
    geometry, mm = system.geometry, vma.mm
    lock = anon_vma_lock(target.chain[0]) if rmap_locks and target.chain else ""
    done = 0
    while done < length:
        start, stop = pmd_ranges(geometry, old + done, old + length)[0]
        found = pmd_at(system, mm, start)
        yield read(f"read the PMD: {pt.entry_text(found.entry if found else 0)}")
        if found is None or pt.pte_none(found.entry):
            done += stop - start
            continue
        pmd_table = yield from pmd_alloc(system, mm, new + done)
        if pmd_table is None:
            break
        index = geometry.index(new + done, 1)
        if lock:
            yield from system.cpus.lock(lock, why="The walk of the reverse map must not miss a page on its way.")
        moved = False
        if (
            pt.pmd_trans_huge(found.entry)
            and stop - start == geometry.huge_size
            and (new + done) % geometry.huge_size == 0
        ):
            moved = yield from move_huge_pmd(system, vma, found.table, found.at, pmd_table, index)
        if lock:
            yield from system.cpus.unlock(lock)
        if moved:
            done += geometry.huge_size
            continue
        yield from split_huge_pmd(system, vma, start)
        source_table = system.tables.walk(mm.pgd, start, 0)
        pte_table = yield from __pte_alloc(system, mm, pmd_table, index)
        if source_table is None or not pte_table:
            break
        room = geometry.huge_size - (new + done) % geometry.huge_size
        stop = min(stop, start + room)
        if lock:
            yield from system.cpus.lock(lock, why="The walk of the reverse map must not miss a page on its way.")
        yield from move_ptes(
            system, mm, source_table, geometry.index(start, 0), pte_table, geometry.index(new + done, 0), stop - start
        )
        if lock:
            yield from system.cpus.unlock(lock)
        done += stop - start
    if not system.kernel.mm.mremap_flushes_locked:
        yield from flush_old_range(system, mm)
    return done


def flush_old_range(system: System, mm: AddressSpace) -> Routine[None]:
    """No CPU may keep using the old addresses: once somebody else can get at the moved entries, their pages may go."""
    yield from system.cpus.flush_tlb(f"the old range of {mm.name}", "No CPU may keep using the old addresses.", mm.name)


@routine
def move_huge_pmd(
    system: System, vma: Vma, old_table: int, old_index: int, new_table: int, new_index: int
) -> Routine[bool]:
    """Move a huge PMD to an empty one, together with the table that lies deposited for it.

    Returns False, with nothing changed, if it is not huge any more: a page split was quicker, and is over.
    """
    tables, mm = system.tables, vma.mm
    old_lock, new_lock = system.ptl(old_table), system.ptl(new_table)
    yield from system.cpus.lock(old_lock)
    if new_lock != old_lock:
        yield from system.cpus.lock(new_lock)
    pmd = tables.get(old_table, old_index)
    splitting = pt.pmd_trans_splitting(pmd)
    huge = pt.pmd_trans_huge(pmd) and not splitting
    yield read("is the PMD still huge? " + ("yes" if huge else "no"))
    if huge:
        tables.set(old_table, old_index, 0)
        yield change("PMD cleared")
        if new_table != old_table:
            pgtable = yield from pgtable_trans_huge_withdraw(system, mm, old_table)
            yield from pgtable_trans_huge_deposit(system, mm, new_table, pgtable)
        tables.set(new_table, new_index, pmd)
        yield change(
            "the PMD at the new place = the huge page", "One entry moves; the page and its counters stay as they are."
        )
        if system.kernel.mm.mremap_flushes_locked:
            yield from flush_old_range(system, mm)
    if new_lock != old_lock:
        yield from system.cpus.unlock(new_lock)
    yield from system.cpus.unlock(old_lock)
    if splitting:
        yield from wait_split_huge_page(system, vma)
    return huge


@routine
def move_ptes(
    system: System, mm: AddressSpace, old_table: int, old_index: int, new_table: int, new_index: int, length: int
) -> Routine[None]:
    """Move the PTEs of `length` bytes, of any kind and as they are, to entries that are empty."""
    tables, count = system.tables, length // system.geometry.page_size
    old_lock, new_lock = system.ptl(old_table), system.ptl(new_table)
    yield from system.cpus.lock(old_lock)
    if new_lock != old_lock:
        yield from system.cpus.lock(new_lock)
    runs = tables.runs(old_table, old_index, old_index + count)
    yield read("read the PTEs")
    for run in runs:
        parts = system.each(run.entries)
        for part in parts:
            entries = tuple(map(int, tables.table[old_table][part]))
            tables.store(old_table, part, 0)
            yield change("PTE cleared" if len(entries) == 1 else f"{len(entries)} PTEs cleared")
            first = new_index + part.start - old_index
            tables.store(new_table, slice(first, first + len(entries)), entries)
            yield change(
                f"{'the same PTE' if len(entries) == 1 else f'the same {len(entries)} PTEs'} at the new place",
                "The mapping is the same one as before: nothing is counted.",
            )
    if system.kernel.mm.mremap_flushes_locked and any(run.kind in ("page", "zero") for run in runs):
        yield from flush_old_range(system, mm)
    if new_lock != old_lock:
        yield from system.cpus.unlock(new_lock)
    yield from system.cpus.unlock(old_lock)


# --- mutants ----------------------------------------------------------------------------------------------------------


def counts_the_moved_mapping(
    system: System, mm: AddressSpace, old_table: int, old_index: int, new_table: int, new_index: int, length: int
) -> Routine[None]:
    """move_ptes that counts a mapping at the new place, as if it were one more."""
    yield from move_ptes.right(system, mm, old_table, old_index, new_table, new_index, length)
    last = new_index + length // system.geometry.page_size
    runs = tuple(run for run in system.tables.runs(new_table, new_index, last) if run.kind == "page")
    for run in runs:
        pages = run.pages
        system.frames.map_add(pages, 1)
        yield change(f"{system.pages_text(pages)} _mapcount += 1")
