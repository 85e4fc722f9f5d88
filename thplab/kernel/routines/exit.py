"""The end of a process (kernel/exit.c)."""

from __future__ import annotations

from thplab.hardware.steps import Routine, change, routine
from thplab.kernel.address_space import AddressSpace
from thplab.kernel.routines.pins import exit_files
from thplab.kernel.routines.unmap import exit_mmap
from thplab.kernel.system import System


@routine
def do_exit(system: System, mm: AddressSpace) -> Routine[int]:
    """End a process. Its memory is taken down by whoever is the last to use it. Returns 0."""
    mm.alive = False
    if mm.mm_users > 1:
        yield change(
            f"{mm.name} has ended, but another thread of it is in a system call",
            "The memory lives on until its last user goes (mm_users).",
        )
    else:
        yield from mmput(system, mm)
    return 0


@routine
def mmput(system: System, mm: AddressSpace) -> Routine[None]:
    """Take an address space down whose process has ended: its memory, then the files by which it holds pins.
    Called by its last user.
    """
    if not system.whole:
        yield change(f"nobody else uses the memory of {mm.name}")
    if system.cpus.others_hold(mm.mmap_sem):
        # khugepaged and ksmd are no users: they look under this lock whether anything is left (__khugepaged_exit).
        yield from system.cpus.lock(mm.mmap_sem)
        yield from system.cpus.unlock(mm.mmap_sem)
    yield from exit_mmap(system, mm)
    yield from exit_files(system, mm.name)


def in_process(system: System, process: str, call: Routine[int]) -> Routine[int]:
    """A system call of a process that may end meanwhile: if this is the last user, it takes the memory down."""
    result = yield from call
    mm = system.mms.get(process)
    if mm is not None and not mm.alive and mm.mm_users == 1:
        yield from mmput(system, mm)
    return result
