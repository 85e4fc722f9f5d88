"""Where the members of a kernel's structs lie: read from its own BTF (/sys/kernel/btf/vmlinux)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_PTR, _ARRAY, _STRUCT, _UNION, _ENUM = 2, 3, 4, 5, 6
_NO_CHANGE = {8, 9, 10, 11, 18}
"""typedef, volatile, const, restrict, type tag: the type behind them has the size."""
_EXTRA = {
    1: (4, 0),
    3: (12, 0),
    4: (0, 12),
    5: (0, 12),
    6: (0, 8),
    13: (0, 8),
    14: (4, 0),
    15: (0, 12),
    17: (4, 0),
    19: (0, 12),
}
"""Kind -> bytes behind a type, and bytes for each of its members (include/uapi/linux/btf.h)."""


class Member(NamedTuple):
    """A member of a struct: its name, its offset and size in bytes, and how many elements it has if it is an array
    (else 1)."""

    name: str
    offset: int
    size: int
    elements: int = 1


@dataclass(frozen=True)
class _Type:
    kind: int
    members: int
    name: str
    size_or_type: int
    extra: bytes
    bits: bool


class Btf:
    """The types of a BTF blob."""

    def __init__(self, data: bytes) -> None:
        """Raises ValueError if `data` does not begin like BTF."""
        if len(data) < 24 or data[:2] != b"\x9f\xeb":
            raise ValueError("this is no BTF")
        header, types, length, strings, size = struct.unpack_from("<IIIII", data, 4)
        self._strings = data[header + strings : header + strings + size]
        self._types: list[_Type] = [_Type(0, 0, "void", 0, b"", False)]
        at, end = header + types, header + types + length
        while at < end:
            name, info, word = struct.unpack_from("<III", data, at)
            kind, members = info >> 24 & 31, info & 0xFFFF
            fixed, each = _EXTRA.get(kind, (0, 0))
            behind = fixed + each * members
            self._types.append(
                _Type(kind, members, self._text(name), word, data[at + 12 : at + 12 + behind], bool(info >> 31))
            )
            at += 12 + behind

    def has(self, name: str) -> bool:
        """Is there a struct called `name`?"""
        return any(each.kind == _STRUCT and each.name == name for each in self._types)

    def members(self, name: str) -> dict[str, Member]:
        """The members of struct `name`; those of nameless structs and unions in it belong to it. Raises KeyError if
        there is none."""
        return {member.name: member for member in self._members(self._find(_STRUCT, name), 0)}

    def size(self, name: str) -> int:
        """The size of struct `name` in bytes. Raises KeyError if there is none."""
        return self._find(_STRUCT, name).size_or_type

    def enum(self, name: str) -> list[tuple[str, int]]:
        """The names and values of an enum, in order. Raises KeyError if there is none."""
        found = self._find(_ENUM, name)
        return [(self._text(text), value) for text, value in struct.iter_unpack("<Ii", found.extra)]

    def _find(self, kind: int, name: str) -> _Type:
        for each in self._types:
            if each.kind == kind and each.name == name:
                return each
        raise KeyError(name)

    def _members(self, of: _Type, base: int) -> Iterator[Member]:
        for text, number, offset in struct.iter_unpack("<III", of.extra):
            at = (offset & 0xFFFFFF if of.bits else offset) // 8 + base
            found = self._plain(number)
            if not text and found.kind in (_STRUCT, _UNION):
                yield from self._members(found, at)
            elif text:
                count = struct.unpack("<III", found.extra)[2] if found.kind == _ARRAY else 1
                yield Member(self._text(text), at, self._size(found), count)

    def _plain(self, number: int) -> _Type:
        found = self._types[number]
        while found.kind in _NO_CHANGE:
            found = self._types[found.size_or_type]
        return found

    def _size(self, of: _Type) -> int:
        if of.kind == _PTR:
            return 8
        if of.kind == _ARRAY:
            element, _, count = struct.unpack("<III", of.extra)
            return self._size(self._plain(element)) * int(count)
        return of.size_or_type

    def _text(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()
