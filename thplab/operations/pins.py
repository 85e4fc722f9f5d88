"""What drivers do: take references on a process's pages, and drop them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thplab.errors import ENOSYS, BadInput
from thplab.operations.checks import check_choice, check_mapped, refuse
from thplab.routines.gup import pin_user_pages, unpin_user_pages
from thplab.steps import Routine

if TYPE_CHECKING:
    from thplab.machine import Machine

PIN_WRITES = {"vmsplice": False, "raw": False, "gup": False, "gupw": True}
"""How a pin is taken -> whether the driver wants to write. All of these take plain references (FOLL_GET)."""


def pin(machine: Machine, proc: str, start: int, npages: int = 1, pin: str = "", how: str = "vmsplice", region: str = "R") -> Routine[int]:
    if how == "io_uring" and not machine.system.kernel.foll_pin:
        return refuse(ENOSYS, "io_uring does not exist in this kernel")
    if how == "io_uring":
        raise BadInput("how", "'io_uring' is not built: it takes FOLL_PIN references", "one of " + ", ".join(PIN_WRITES))
    write = check_choice("how", how, PIN_WRITES)
    mm, low, high = check_mapped(machine, proc, start, npages, region)
    if not pin:
        raise BadInput("pin", "has no name", "a name by which it is let go later")
    if pin in machine.system.pins:
        raise BadInput("pin", f"{pin!r} is held already", "a new name")
    return pin_user_pages(machine.system, mm, pin, low, high, write)


def unpin(machine: Machine, pin: str, proc: str = "") -> Routine[int]:
    """`proc`, which recordings name, is who set the driver to work: the driver needs it no more."""
    if pin not in machine.system.pins:
        raise BadInput("pin", f"{pin!r} is not held", "one of: " + (", ".join(machine.system.pins) or "none is held"))
    return unpin_user_pages(machine.system, pin)
