"""Blocks of 512 struct pages, in the form of tests/truth/README.md, part A."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from truth.recorder.memory import HUGE, STRUCT_PAGE, VMEMMAP, Bytes
from truth.recorder.view import View

_LETTERS = (
    ("A", "active"), ("r", "referenced"), ("d", "dirty"), ("L", "locked"), ("b", "swapbacked"), ("u", "unevictable"), ("m", "mlocked"),
    ("w", "writeback"), ("W", "workingset"),
)  # fmt: skip
_COUNTERS = {
    "compound_mapcount": "compound_mapcount_raw",
    "_entire_mapcount": "entire_mapcount_raw",
    "_large_mapcount": "large_mapcount_raw",
    "_nr_pages_mapped": "nr_pages_mapped_raw",
    "_pincount": "pincount",
    "compound_pincount": "pincount",
    "hpage_pinned_refcount": "pincount",
}
"""Field of the first or second tail -> its name in a recording. To record one more, add it here."""
_FIRST_TAIL_FLAGS = ("double_map", "has_hwpoisoned", "partially_mapped", "large_rmappable")
_ORDER_MASK = 0xFF
"""Where no field says the order, the flags of page 1 begin with it (since 6.6)."""
_MAYBE_SHARED = 1 << 31
"""In folio->_mm_id[1] (since 6.15)."""

Column = npt.NDArray[np.int64]


class Page(NamedTuple):
    """One struct page: head, tail, small, free or reserved; its counters as stored; its flags as letters; index minus
    place."""

    kind: str
    ref: int
    mapcount: int
    flags: str
    origin: int


class Block:
    """512 struct pages, as they were when it was made."""

    def __init__(self, view: View, pfn: int) -> None:
        self.view = view
        self.pfn = pfn
        self.data = view.block(pfn)
        self.flags = [int(word) & (1 << 64) - 1 for word in self._column("head", "flags")]
        self.head = bool(self._has(0, "head"))
        self.order = self._order() if self.head else 0

    def record(self) -> dict[str, Any]:
        """What is recorded of the block as a whole: of a compound page its counters."""
        if not self.head:
            return {"head": 0}
        found: dict[str, Any] = {"head": 1, "flags": self._letters(0, False)}
        if self.order >= 2:
            found |= {"order": self.order, "ref": self._value("head", "_refcount", 0)}
            for number, role in ((1, "first tail"), (2, "second tail")):
                present = [name for name in _COUNTERS if self.view.layout.field(role, name)]
                found |= {_COUNTERS[name]: self._value(role, name, number) for name in present}
            known = [name for name in _FIRST_TAIL_FLAGS if name in self.view.layout.flags.bits]
            found |= {name: self._has(1, name) for name in known}
            found["deferred"] = self._deferred()
            if "large_mapcount_raw" in found:
                found["maybe_shared"] = int(self._maybe_shared())
            found["queue_len"] = self.view.queue_length(self._memcg())
        return found

    def pages(self) -> list[Page]:
        """All 512."""
        refs, mapcounts, indexes = (self._column("head", name) for name in ("_refcount", "_mapcount", "index"))
        links = self._column("tail", "compound_head")
        found: list[Page] = []
        for i in range(HUGE):
            tail = bool(links[i] & 1)
            origin = int(indexes[i]) - i
            if tail:
                head = (int(links[i]) - 1 - VMEMMAP & (1 << 64) - 1) // STRUCT_PAGE - self.pfn
                origin = int(indexes[head]) - head if 0 <= head < HUGE else 0
            kind = "tail" if tail else "head" if self._has(i, "head") else "free" if not refs[i] else "small"
            if kind == "small" and self._has(i, "reserved"):
                kind = "reserved"
            if kind == "free":
                found.append(Page("free", 0, -1, "", 0))
            else:
                found.append(Page(kind, int(refs[i]), int(mapcounts[i]), self._letters(i, tail), origin))
        return found

    def _letters(self, number: int, tail: bool) -> str:
        """The flags of a page. Of a tail only those that are its own."""
        letters = "".join(
            letter for letter, name in (("x", "anon_exclusive"), ("h", "hwpoison")) if self._has(number, name)
        )
        if tail:
            return letters
        kind = self._value("head", "mapping", number) & 3
        letters += {1: "a", 3: "k"}.get(kind, "") + ("l" if self._has(number, "lru") else "")
        letters += "".join(letter for letter, name in _LETTERS if self._has(number, name))
        return letters + ("s" if self._has(number, "swapcache") and self._has(number, "swapbacked") else "")

    def _maybe_shared(self) -> bool:
        """folio_maybe_mapped_shared(); before 6.15 folio_likely_mapped_shared(), which looks at the counters."""
        if self.view.layout.field("first tail", "_mm_id[1]"):
            return bool(self._value("first tail", "_mm_id[1]", 1) & _MAYBE_SHARED)
        mapcount, entire = (self._value("first tail", name, 1) + 1 for name in ("_large_mapcount", "_entire_mapcount"))
        if mapcount <= 1:
            return False
        return bool(entire) or mapcount > 1 << self.order or self._value("head", "_mapcount", 0) > 0

    def _deferred(self) -> int:
        """Is the page on a deferred split list, that is: does the list's head in it not point to itself?"""
        field = self.view.layout.field("second tail", "_deferred_list.next") or self.view.layout.field(
            "second tail", "deferred_list.next"
        )
        assert field is not None
        at = VMEMMAP + (self.pfn + 2) * STRUCT_PAGE + field.offset
        return int(self._value("second tail", field.name, 2) & (1 << 64) - 1 != at)

    def _memcg(self) -> int:
        """The address of the cgroup that the page is charged to; 0 if it is to none."""
        page = self.view.btf.members("page")
        field = page.get("memcg_data") or page["mem_cgroup"]
        return int.from_bytes(self.data[0][field.offset : field.offset + 8].tobytes(), "little") & -8

    def _order(self) -> int:
        if self.view.layout.field("first tail", "compound_order"):
            return self._value("first tail", "compound_order", 1)
        return self._value("first tail", "flags", 1) & _ORDER_MASK

    def _has(self, number: int, flag: str) -> int:
        """1 if a page has the flag, 0 if not or if this kernel has no such flag."""
        bit = self.view.layout.flags.bits.get(flag)
        return 0 if bit is None else self.flags[number] >> bit & 1

    def _value(self, role: str, name: str, number: int) -> int:
        return int(self._column(role, name)[number])

    def _column(self, role: str, name: str) -> Column:
        """A field of all pages, with its sign."""
        field = self.view.layout.field(role, name)
        assert field is not None
        return column(self.data, field.offset, field.size)


def column(data: Bytes, offset: int, size: int) -> Column:
    """The numbers of `size` bytes at an offset in each row, with their signs."""
    kinds = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}
    part = np.ascontiguousarray(data[:, offset : offset + size])
    return part.view(kinds[size])[:, 0].astype(np.int64)
