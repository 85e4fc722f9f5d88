"""What drivers do: take references on a process's pages, and drop them."""

from __future__ import annotations

from thplab.errors import ENOSYS, BadInput
from thplab.hardware.frames import PG_reserved
from thplab.hardware.steps import Routine
from thplab.kernel.routines import dma
from thplab.kernel.routines.gup import get_pages_raw, get_user_pages
from thplab.kernel.routines.pins import drop_pin
from thplab.kernel.system import Pin, System
from thplab.machine.operations.checks import check_pin, check_present, check_range, refuse

PIN_HOWS = {
    "vmsplice": {"write": False},
    "gup": {"write": False, "fast": False},
    "io_uring": {"write": True},
    "gupw": {"write": True, "fast": False},
    "fsplit": {"write": False, "fast": False, "split": True},
    "pup": {"write": False},
}
"""How a pin is taken -> what the driver asks get_user_pages for."""

FOLL_PIN = ("io_uring", "pup")
"""The ways that take FOLL_PIN pins, io_uring to write and read, "pup" (pin_user_pages) to read only, as O_DIRECT does
that writes a file. All others take plain references (FOLL_GET).
"""

RAW = "raw"
"""get_page by a module: a reference on what the page table maps, whatever the process may do with it.
Nothing is faulted in.
"""

PIN_FILES = ("vmsplice", "io_uring")
"""The ways in which the pin hangs on a file of the process (a pipe, a ring),
which its children share and an exit closes.
"""


def pin(system: System, proc: str, start: int, npages: int, pin: str, how: str, region: str) -> Routine[int]:
    """For a raw pin the pages must be mapped; the name must be new.

    FOLL_SPLIT is built only where a split is never refused.
    """
    if how in FOLL_PIN and not system.kernel.gup.foll_pin:
        return refuse(ENOSYS, f"{how} does not exist in this kernel: there is no FOLL_PIN")
    if how == "fsplit" and system.scheme.pmd_split_is_local:
        raise BadInput(
            "how",
            "'fsplit' is not built where a split may be refused",
            "one of " + ", ".join(h for h in PIN_HOWS if h != how),
        )
    mm, low, high = check_range(system, proc, start, npages, region)
    if how == RAW:
        check_present(system, proc, start, npages, region)
    if pin in system.pins:
        raise BadInput("pin", f"{pin!r} is held already", "a new name")
    taken = Pin(pin, proc, (), foll_pin=how in FOLL_PIN, files=frozenset({proc} if how in PIN_FILES else ()))
    if how == RAW:
        return get_pages_raw(system, mm, low, high, taken)
    return get_user_pages(system, mm, low, high, taken, **PIN_HOWS[how])


def dma_read(system: System, pin: str, start: int) -> Routine[int]:
    """The pin must be held, and its buffer must have the page."""
    return dma.dma_read(system, pin, _in_buffer(system, pin, start))


def dma_write(system: System, pin: str, start: int, value: int) -> Routine[int]:
    """The pin must be held, and its buffer must have the page. No driver writes to a zero page, which all share: a pin
    that is taken to write never holds it.
    """
    page = _in_buffer(system, pin, start)
    pfn = system.pins[pin].buffer[page]
    if system.frames.flags[system.frames.compound_head(pfn)] & PG_reserved:
        raise BadInput("pin", f"{pin!r} holds the zero page there, which is for reading", "a pin of a page of its own")
    return dma.dma_write(system, pin, page, value)


def _in_buffer(system: System, pin: str, page: int) -> int:
    """The page of a pin's buffer; BadInput if it has fewer."""
    pages = len(check_pin(system, pin).buffer)
    if page >= pages:
        raise BadInput("start", f"is page {page}, but {pin!r} has {pages}", f"0 to {pages - 1}")
    return page


def unpin(system: System, pin: str) -> Routine[int]:
    """The pin must be held."""
    check_pin(system, pin)
    return drop_pin(system, pin)
