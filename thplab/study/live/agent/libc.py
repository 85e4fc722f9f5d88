"""System calls through ctypes, and the numbers that they take. Each call returns 0 or the recorder's "-ERRNO"."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct

from . import ARCHITECTURES

PAGE = 4096
HUGE = 512
"""Pages of a huge page: what one PMD maps on x86-64, and on arm64 with pages of 4 KiB."""

AREA = range(1 << 44, 1 << 45)
"""Where regions lie: far from what the kernel places by itself, so that what is outside of a region is a hole."""

PROT = {"none": 0, "r": 1, "rw": 3}
ADVICE = {
    "dontneed": 4, "free": 8, "dontfork": 10, "dofork": 11, "mergeable": 12, "unmergeable": 13,
    "hugepage": 14, "nohugepage": 15, "wipeonfork": 18,
    "cold": 20, "pageout": 21, "populate_write": 23, "collapse": 25, "guard_install": 102, "guard_remove": 103,
}  # fmt: skip

_MAP_PRIVATE_ANON, _MAP_FIXED_NOREPLACE = 0x22, 0x100000
_MREMAP_MAYMOVE_FIXED, _MREMAP_DONTUNMAP = 3, 4
_CLONE_PARENT = 0x8000
_PR_SET_PDEATHSIG, _PR_SET_THP_DISABLE, _THP_DISABLE_EXCEPT_ADVISED = 1, 41, 2

# PyDLL keeps the interpreter's lock: in the child of a raw clone() nobody would give it back.
_libc = ctypes.PyDLL(None, use_errno=True)
_long, _pointer, _size = ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t
_libc.mmap.restype = _libc.mremap.restype = _pointer
_libc.mmap.argtypes = [_pointer, _size, ctypes.c_int, ctypes.c_int, ctypes.c_int, _long]
_libc.mremap.argtypes = [_pointer, _size, _size, ctypes.c_int, _pointer]
_libc.munmap.argtypes = _libc.mlock.argtypes = _libc.munlock.argtypes = [_pointer, _size]
_libc.mprotect.argtypes = _libc.madvise.argtypes = [_pointer, _size, ctypes.c_int]
_libc.vmsplice.argtypes = [ctypes.c_int, _pointer, ctypes.c_ulong, ctypes.c_uint]
_libc.tee.argtypes = [ctypes.c_int, ctypes.c_int, _size, ctypes.c_uint]
_libc.vmsplice.restype = _libc.tee.restype = ctypes.c_ssize_t
_libc.syscall.restype = _long


def answer(worked: bool) -> int | str:
    """0, or the errno of the call that did not work, as "-EINVAL"."""
    return 0 if worked else failure(ctypes.get_errno())


def failure(number: int) -> str:
    """The name of an errno with a minus sign, as "-EINVAL"."""
    return "-" + errno.errorcode.get(number, str(number))


def map_region(last: int, huge_pages: int, prot: str) -> int:
    """Map private anonymous memory where nothing is: its address. Raises OSError.

    It is aligned to a huge page, and a huge page of nothing at least lies between it and what ends at `last`,
    or is mapped behind it.
    """
    size = PAGE * HUGE
    mapped = [end for end in _ends() if end < AREA.stop]
    base = (max(AREA.start, last, *mapped) + 2 * size - 1) // size * size
    if _libc.mmap(base, huge_pages * size, PROT[prot], _MAP_PRIVATE_ANON | _MAP_FIXED_NOREPLACE, -1, 0) != base:
        raise OSError(ctypes.get_errno(), "mmap")
    return base


def _ends() -> list[int]:
    """Where each mapping of this process ends."""
    with open("/proc/self/maps") as file:
        return [int(line.split(maxsplit=1)[0].split("-")[1], 16) for line in file]


def mprotect(address: int, size: int, prot: str) -> int | str:
    """Change what a range may be used for, "rw" for example."""
    return answer(_libc.mprotect(address, size, PROT[prot]) == 0)


def munmap(address: int, size: int) -> int | str:
    """Unmap a range."""
    return answer(_libc.munmap(address, size) == 0)


def mlock(address: int, size: int) -> int | str:
    """Lock a range in memory."""
    return answer(_libc.mlock(address, size) == 0)


def munlock(address: int, size: int) -> int | str:
    """Unlock a range."""
    return answer(_libc.munlock(address, size) == 0)


def madvise(address: int, size: int, advice: str) -> int | str:
    """Give an advice, by its name."""
    return answer(_libc.madvise(address, size, ADVICE[advice]) == 0)


class Drain:
    """Has this CPU carry out what it keeps in batches of pages:
    MADV_FREE does so first, whatever it finds at its address.
    """

    def __init__(self) -> None:
        self._page = _libc.mmap(None, PAGE, 0, _MAP_PRIVATE_ANON, -1, 0)

    def __call__(self) -> None:
        _libc.madvise(self._page, PAGE, ADVICE["free"])


def mremap(address: int, size: int, new_size: int, to: int | None, dontunmap: bool) -> int | str:
    """Move a range to another address, over what is there, or (`to` None) leave it where it is; it has a new size."""
    flags = 0 if to is None else _MREMAP_MAYMOVE_FIXED | (_MREMAP_DONTUNMAP if dontunmap else 0)
    place = address if to is None else to
    return answer(_libc.mremap(address, size, new_size, flags, place) == place)


def clear_refs(value: int) -> int | str:
    """Write to this process's own file."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write(str(value))
    except OSError as error:
        return failure(error.errno or 0)
    return 0


def clone_sibling() -> int:
    """fork(), but the child becomes a child of the caller's parent:
    whoever reaps it stays the same when the caller exits.
    """
    number = ARCHITECTURES[os.uname().machine]
    return int(
        _libc.syscall(_long(number), _long(_CLONE_PARENT | signal.SIGCHLD), _long(0), _long(0), _long(0), _long(0))
    )


def die_with_parent(parent: int) -> None:
    """Be killed when `parent` ends, and end at once if it has ended already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def huge_pages_where_advised() -> None:
    """No huge pages in the heap of this process and its children, where the kernel can be told so (since 6.18)."""
    _libc.prctl(_PR_SET_THP_DISABLE, _long(1), _long(_THP_DISABLE_EXCEPT_ADVISED), _long(0), _long(0))


def vmsplice(pipe: int, address: int, size: int) -> int | str:
    """Put a reference on each page into a pipe that has room for them;
    "-EFAULT" if that went well up to a page that cannot be read.
    """
    vector = ctypes.create_string_buffer(struct.pack("QQ", address, size), 16)
    taken = _libc.vmsplice(pipe, vector, 1, 0)
    return "-EFAULT" if 0 <= taken < size else answer(taken == size)


def tee(pipe: int, copy: int, size: int) -> None:
    """Put what is in a pipe into another one, too: the same pages, with a reference more. Raises OSError."""
    if _libc.tee(pipe, copy, size, 0) != size:
        raise OSError(ctypes.get_errno(), "tee")


def syscall(number: int, *arguments: int | ctypes.Array[ctypes.c_char]) -> int:
    """A system call that the C library has no function for; -1 on failure, then ctypes has the errno."""
    longs = [_long(each) if isinstance(each, int) else each for each in arguments]
    return int(_libc.syscall(_long(number), *longs))
