"""The errors that a caller of the library can meet.

Kernel errors are *returned* by the routines, as negative errno values, just as the kernel returns them. Only a caller's
mistake raises, and it raises before anything has changed.
"""

from __future__ import annotations

import errno
import reprlib

EAGAIN = errno.EAGAIN
EBUSY = errno.EBUSY
EFAULT = errno.EFAULT
EHWPOISON = 133
"""Not in every Python's errno."""
EINVAL = errno.EINVAL
EIO = errno.EIO
EMLINK = errno.EMLINK
ENOENT = errno.ENOENT
ENOMEM = errno.ENOMEM
ENOSPC = errno.ENOSPC
ENOSYS = errno.ENOSYS
ENXIO = errno.ENXIO

KILLED_BY_SIGBUS = -4103
"""No errno (those end at 4095): the process touched poisoned memory, or was told of it, and is gone."""


_SHOWN = reprlib.Repr()
_SHOWN.maxstring, _SHOWN.maxother, _SHOWN.maxlong, _SHOWN.maxlevel = 200, 100, 100, 3


def shown(value: object) -> str:
    """A value from outside as an error message shows it: its repr, shortened where it is long or deep."""
    try:
        return _SHOWN.repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a huge number"


def _cut(text: str) -> str:
    """A part of a message without its middle, if it is long: what a caller gave may have any length."""
    return text if len(text) <= 600 else f"{text[:400]} ... {text[-190:]}"


class ThplabError(Exception):
    """Base of everything that thplab raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: what is wrong, not where in thplab it was found."""
        return [f"{type(self).__name__}: {self}"]


class BadInput(ThplabError, ValueError):
    """An argument that makes no sense. Names the argument, what was wrong with it and what would be right, in short.

    >>> raise BadInput("npages", "is -1", "a count of at least 1 page")
    Traceback (most recent call last):
    ...
    thplab.errors.BadInput: npages is -1; expected a count of at least 1 page
    """

    def __init__(self, argument: str, wrong: str, right: str) -> None:
        self.argument = _cut(argument)
        self.wrong = _cut(wrong)
        self.right = right
        super().__init__(f"{self.argument} {self.wrong}; expected {right}")

    def __reduce__(self) -> tuple[type[BadInput], tuple[str, str, str]]:
        """As it was made: it may come from another process."""
        return type(self), (self.argument, self.wrong, self.right)


class Deadlock(ThplabError):
    """No routine in progress can move: each waits for what another one holds."""


class KernelBug(ThplabError):
    """The kernel's own BUG_ON: a routine found the machine in a state that must not occur."""


def errname(value: int) -> str:
    """The errno name of a kernel return value: errname(-16) is "-EBUSY", errname(0) is "0"."""
    if value >= 0:
        return str(value)
    if value == KILLED_BY_SIGBUS:
        return "killed by SIGBUS"
    return "-" + errno.errorcode.get(-value, str(-value))
