"""The end of a process (kernel/exit.c)."""

from __future__ import annotations

from thplab.hardware.steps import Routine, routine
from thplab.kernel.address_space import AddressSpace
from thplab.kernel.routines.pins import exit_files
from thplab.kernel.routines.unmap import exit_mmap
from thplab.kernel.system import System


@routine
def do_exit(system: System, mm: AddressSpace) -> Routine[int]:
    """Take a process down: its memory, then the files by which it holds pins. Called when nobody else uses it.
    Returns 0.
    """
    yield from exit_mmap(system, mm)
    yield from exit_files(system, mm.name)
    return 0
