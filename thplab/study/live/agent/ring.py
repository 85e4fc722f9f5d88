"""io_uring: what a device does through a fixed buffer of pinned memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import libc

SETUP, ENTER, REGISTER = 425, 426, 427  # the same on every machine

_REGISTER_BUFFERS, _UNREGISTER_BUFFERS = 0, 1
_GETEVENTS, _READ_FIXED, _WRITE_FIXED = 1, 4, 5
_AT_ITS_POSITION = 0xFFFFFFFFFFFFFFFF
_SQES = 0x10000000
"""Where the file of a ring holds the requests; the two queues are at its beginning (one mapping, since 5.4)."""
_PARAMS = struct.Struct("10I 8IQ 8IQ")
_SQE = struct.Struct("=BBHiQQIIQ32x")
_CQE = struct.Struct("=QiI")
_INDEX = struct.Struct("=I")
_COMPLETIONS = 2
"""The kernel makes room for twice as many answers as requests."""
_SPACE = 4096
"""Bytes of both queues of one request, and of the requests."""


class Ring:
    """A ring of one request, and the buffer that it has."""

    def __init__(self) -> None:
        """Set one up. Raises OSError where that is not allowed."""
        params = ctypes.create_string_buffer(_PARAMS.size)
        self.file = libc.syscall(SETUP, 1, params)
        if self.file < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        told = _PARAMS.unpack(params)
        self._tail, self._array = told[11], told[16]
        self._head_done, self._done = told[19], told[24]
        self._address = self._size = 0

    def register(self, address: int, size: int) -> int | str:
        """Make a range of memory the ring's fixed buffer: FOLL_PIN references until the ring lets it go."""
        vector = ctypes.create_string_buffer(struct.pack("QQ", address, size), 16)
        done = libc.answer(libc.syscall(REGISTER, self.file, _REGISTER_BUFFERS, vector, 1) == 0)
        if done == 0:
            self._address, self._size = address, size
        return done

    def unregister(self) -> int | str:
        """Let go of the fixed buffer."""
        return libc.answer(libc.syscall(REGISTER, self.file, _UNREGISTER_BUFFERS, 0, 0) == 0)

    def close(self) -> None:
        """End the ring, for this process."""
        os.close(self.file)

    def read(self) -> list[int]:
        """The first byte of each page of the buffer, as a device reads it: no page table is asked.
        Nothing where that cannot be had.
        """
        read: list[int] = []
        with self._requests() as request, _pipe() as (out, into):
            for page in range(self._size // libc.PAGE):
                if request(_WRITE_FIXED, into, page) != 1:
                    return []
                read += os.read(out, 1)
        return read

    def write(self, page: int, value: int) -> int | str:
        """Store a byte in page `page` of the buffer, as a device does."""
        with self._requests() as request, _pipe() as (out, into):
            os.write(into, bytes([value]))
            written = request(_READ_FIXED, out, page)
            return 0 if written == 1 else libc.failure(-written)

    @contextmanager
    def _requests(self) -> Iterator[Callable[[int, int, int], int]]:
        """What has one byte moved between a file and a page of the buffer: how many were, or the errno below 0."""
        with mmap.mmap(self.file, _SPACE) as queues, mmap.mmap(self.file, _SPACE, offset=_SQES) as requests:

            def request(opcode: int, file: int, page: int) -> int:
                address = self._address + page * libc.PAGE
                requests[: _SQE.size] = _SQE.pack(opcode, 0, 0, file, _AT_ITS_POSITION, address, 1, 0, 0)
                _INDEX.pack_into(queues, self._array, 0)
                _count(queues, self._tail)
                if libc.syscall(ENTER, self.file, 1, 1, _GETEVENTS, 0, 0) != 1:
                    return -ctypes.get_errno()
                done = _count(queues, self._head_done)
                return int(_CQE.unpack_from(queues, self._done + done % _COMPLETIONS * _CQE.size)[1])

            yield request


def _count(queues: mmap.mmap, at: int) -> int:
    """Count an index of a queue up by one; what it was."""
    (old,) = _INDEX.unpack_from(queues, at)
    _INDEX.pack_into(queues, at, old + 1 & 0xFFFFFFFF)
    return int(old)


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    out, into = os.pipe()
    try:
        yield out, into
    finally:
        os.close(out)
        os.close(into)
