"""Writing to a process's memory past all protection, as a debugger does: /proc/PID/mem (fs/proc/base.c)."""

from __future__ import annotations

from thplab.errors import EIO
from thplab.hardware.frames import PG_dirty, single
from thplab.hardware.steps import Routine, change, routine
from thplab.kernel.address_space import AddressSpace
from thplab.kernel.routines.follow_page import __get_user_pages
from thplab.kernel.routines.mm import put_page
from thplab.kernel.system import System


@routine
def mem_write(system: System, mm: AddressSpace, start: int, end: int, value: int) -> Routine[int]:
    """Store the byte `value` in every page of [start, end) through the kernel's own mapping of it (FOLL_FORCE).

    Page by page: the kernel holds the page while it writes, and locks it to mark it dirty. What the process itself may
    do with the memory stays as it is. Returns 0, or -EIO at the first page that is not to be had.
    """
    frames = system.frames
    addresses = range(start, end, system.geometry.page_size)
    for address in addresses:
        page = yield from __get_user_pages(system, mm, address, True, force=True)
        if page < 0:
            return -EIO
        frames.content[page] = (frames.content[page] & ~0xFF) + value
        yield change(f"{value:#x} written to {system.page_name(page)}", "No entry of the process is asked, or marked.")
        head = frames.compound_head(page)
        lock = system.page_lock(head)
        yield from system.cpus.lock(lock)
        frames.flags[head] |= PG_dirty
        yield change("PG_dirty set", "No entry tells that the page was written to.")
        yield from system.cpus.unlock(lock)
        yield from put_page(system, single(page))
    return 0
