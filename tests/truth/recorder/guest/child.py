"""A process of a scenario, as the live lab has it, but with nothing around its regions, so that what lies outside one
is a hole."""

from __future__ import annotations

import ctypes
import os
import socket

from thplab.study.live.agent import libc
from thplab.study.live.agent.child import Child

_FIRST = 0x200000000000
"""Where the first region begins: far from everything else, and the same each time."""
_APART = libc.PAGE * libc.HUGE
_PRIVATE_ANON_FIXED = 0x32

# Here, unlike in the live lab, a page frame may be taken away from the system.
libc.ADVICE |= {"hwpoison": 100, "soft_offline": 101}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


class GuestChild(Child):
    """A process whose regions follow one another, with a hole of one huge page between them."""

    def __init__(self, line: socket.socket, agent: int) -> None:
        super().__init__(line, agent)
        self.next = _FIRST

    def place(self, huge_pages: int) -> int:
        size = huge_pages * libc.HUGE * libc.PAGE
        base, self.next = self.next, self.next + size + _APART
        if _libc.mmap(base, size, libc.PROT["rw"], _PRIVATE_ANON_FIXED, -1, 0) != base:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return base
