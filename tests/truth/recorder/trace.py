"""The emulator's plugin, from the host's side: what it is told, and what it has logged. plugin/steptrace.c has the same
layout."""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from truth.recorder.layout import PAGE_TYPE_OFFSET
from truth.recorder.view import View
from truth.recorder.vm import RAM
from truth.recorder.work import RecorderError

STORE, CALL, STORE_TO_NEW_TABLE = range(3)
EVENT = np.dtype(
    [
        ("pc", "<u8"),
        ("address", "<u8"),
        ("before", "<u8"),
        ("after", "<u8"),
        ("task", "<u8"),
        ("kind", "<u4"),
        ("size", "<u4"),
    ]
)
Log = npt.NDArray[np.void]

_CAPACITY = 3_000_000
_WORDS = (
    "on",
    "generation",
    "copied",
    "logged",
    "capacity",
    "lost",
    "ram_size",
    "type_offset",
    "type_mask",
    "type_value",
    "blocks",
)
_BLOCK, _BLOCKS, _CURRENT, _TABLES = 11, 16, 27, 64
_TABLES_SIZE = 1 << 18
_LOG = _TABLES * 8 + _TABLES_SIZE


SIZE = _LOG + _CAPACITY * EVENT.itemsize
"""Bytes of the file that host and plugin share."""


class Trace:
    """What host and plugin tell each other in a file of SIZE bytes."""

    def __init__(self, control: Path) -> None:
        self.file = control
        with open(control, "r+b") as file:
            self._control = mmap.mmap(file.fileno(), 0)
        self._set("capacity", _CAPACITY)
        self._set("ram_size", RAM)

    def arguments(self, plugin: Path, ram: Path, functions: Path) -> list[str]:
        """What QEMU has to be told. `functions` lists the addresses of functions whose calls are logged."""
        return ["-plugin", f"{plugin},control={self.file},ram={ram},functions={functions}"]

    def watch(self, view: View) -> None:
        """Tell the plugin what it has to know of a kernel that has come up."""
        self._set("type_offset", PAGE_TYPE_OFFSET)
        self._set("type_mask", view.kernel.table_type[0])
        self._set("type_value", view.kernel.table_type[1])
        self._set_word(_CURRENT, view.current)

    @contextlib.contextmanager
    def recording(self, tables: Iterable[int], blocks: Iterable[int]) -> Iterator[None]:
        """Record while the `with` lasts; `tables` are the page frames of page tables, `blocks` the first ones of huge
        pages."""
        self._control[_TABLES * 8 : _LOG] = bytes(_TABLES_SIZE)
        for table in tables:
            self._control[_TABLES * 8 + table] = 1
        named = list(blocks)[:_BLOCKS]
        self._set("blocks", len(named))
        for i, block in enumerate(named):
            self._set_word(_BLOCK + i, block)
        self._set("logged", 0)
        self._set("lost", 0)
        self._set("generation", self._get("generation") + 1)
        self._set("on", 1)
        try:
            yield
        finally:
            self._set("on", 0)

    def log(self) -> Log:
        """What happened while it was recorded, in order. Raises RecorderError if not all of it could be kept."""
        if self._get("lost"):
            raise RecorderError(f"{self._get('lost')} events more than the log can hold")
        return np.frombuffer(self._control, EVENT, self._get("logged"), _LOG).copy()

    def tables(self) -> set[int]:
        """The page frames of all page tables, of those that were made while it was recorded, too."""
        marks = np.frombuffer(self._control, np.uint8, _TABLES_SIZE, _TABLES * 8)
        return {int(pfn) for pfn in np.flatnonzero(marks)}

    def _set(self, name: str, value: int) -> None:
        self._set_word(_WORDS.index(name), value)

    def _set_word(self, number: int, value: int) -> None:
        struct.pack_into("<Q", self._control, number * 8, value)

    def _get(self, name: str) -> int:
        return int(struct.unpack_from("<Q", self._control, _WORDS.index(name) * 8)[0])
