"""What drivers do: take references on a process's pages, and drop them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thplab.errors import ENOSYS, BadInput
from thplab.hardware.steps import Routine
from thplab.kernel.routines.gup import get_user_pages, release_pages
from thplab.kernel.system import Pin
from thplab.machine.operations.checks import check_choice, check_mapped, check_pin, refuse

if TYPE_CHECKING:
    from thplab.machine.machine import Machine

PIN_HOWS = {
    "vmsplice": {"write": False},
    "raw": {"write": False, "touch": False},
    "gup": {"write": False, "fast": False},
    "io_uring": {"write": True},
    "gupw": {"write": True, "fast": False},
    "fsplit": {"write": False, "fast": False, "split": True},
}
"""How a pin is taken -> what the driver asks get_user_pages for. io_uring takes FOLL_PIN pins, all others plain
references (FOLL_GET). What takes a raw reference (get_page) does not mark the page as referenced."""

PIN_FILES = ("vmsplice", "io_uring")
"""The ways in which the pin hangs on a file of the process (a pipe, a ring), which its children share and an exit closes."""


def pin(machine: Machine, proc: str, start: int, npages: int = 1, pin: str = "", how: str = "vmsplice", region: str = "R") -> Routine[int]:
    if how == "io_uring" and not machine.system.kernel.gup.foll_pin:
        return refuse(ENOSYS, "io_uring does not exist in this kernel")
    asks = check_choice("how", how, PIN_HOWS)
    if how == "fsplit" and machine.system.scheme.pmd_split_is_local:
        raise BadInput("how", "'fsplit' is not built where a split may be refused", "one of " + ", ".join(h for h in PIN_HOWS if h != how))
    mm, low, high = check_mapped(machine, proc, start, npages, region)
    if not pin:
        raise BadInput("pin", "has no name", "a name by which it is let go later")
    if pin in machine.system.pins:
        raise BadInput("pin", f"{pin!r} is held already", "a new name")
    taken = Pin(pin, proc, (), foll_pin=how == "io_uring", files=frozenset({proc} if how in PIN_FILES else ()))
    return get_user_pages(machine.system, mm, low, high, taken, **asks)


def unpin(machine: Machine, pin: str, proc: str = "") -> Routine[int]:
    """`proc`, which recordings name, is who set the driver to work: the driver needs it no more."""
    check_pin(machine, pin)
    return release_pages(machine.system, pin)
