"""The file split_huge_pages of debugfs (mm/huge_memory.c): splits on request, of all huge pages or of a range of a process."""

from __future__ import annotations

import numpy as np

from thplab.hardware.frames import PG_anon, PG_head, single
from thplab.hardware.steps import Routine, read, routine
from thplab.kernel.address_space import AddressSpace
from thplab.kernel.routines.gup import follow_page
from thplab.kernel.routines.mm import put_page
from thplab.kernel.routines.vmscan import split_locked, split_page_direct
from thplab.kernel.system import System


@routine
def split_huge_pages_set(system: System) -> Routine[int]:
    """Try to split every huge page of the machine, in the order of their addresses. Returns 0, whatever came out."""
    flags = PG_head | PG_anon
    heads = tuple(int(pfn) for pfn in np.flatnonzero(system.frames.flags & flags == flags))
    yield read(f"{len(heads)} huge pages in memory")
    for page in heads:
        yield from split_page_direct(system, page)
    return 0


@routine
def split_huge_pages_pid(system: System, mm: AddressSpace, start: int, end: int) -> Routine[int]:
    """Try to split the huge pages that a process maps in [start, end), up to the first address without a VMA. Returns 0.

    A page that is pinned is not tried: that counts no failure.
    """
    frames, size = system.frames, system.geometry.page_size
    yield from system.cpus.lock(mm.mmap_sem, "shared")
    address = start
    while address < end and (vma := mm.find_vma(address)) is not None:
        page = yield from follow_page(system, vma, address)
        address += size
        if page is None:
            continue
        head = frames.compound_head(page)
        if frames.is_compound(page) and frames.flags[head] & PG_anon:
            explained = system.scheme.total_mapcount(frames, head) == frames.page_count(head) - 1
            yield read("does every reference but our own belong to a mapping? " + ("yes" if explained else "no"))
            lock = system.page_lock(head)
            if explained and (yield from system.cpus.trylock(lock)):
                yield from split_locked(system, head)
                yield from system.cpus.unlock(lock)
        yield from put_page(system, single(head))
    yield from system.cpus.unlock(mm.mmap_sem)
    return 0
