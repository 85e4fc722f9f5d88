"""A mapping by page frame number or block number that never changes: a changed one shares with it what stayed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

V = TypeVar("V")

_SHIFT = 9
"""Keys go together by 512, so that a change copies 512 entries and one in 512 of the others, not all."""


class Shared(Mapping[int, V], Generic[V]):
    """What is kept under each number; in the order of numbers."""

    __slots__ = ("_groups", "_len")

    def __init__(self) -> None:
        self._groups: dict[int, dict[int, V]] = {}
        """Each in the order of its keys."""
        self._len = 0

    @classmethod
    def of(cls, entries: Mapping[int, V]) -> Shared[V]:
        """These entries, as such a mapping."""
        return entries if isinstance(entries, Shared) else cls().changed(entries)

    def changed(self, news: Mapping[int, V | None]) -> Shared[V]:
        """The mapping with these entries put in, or left out where they are None."""
        after: Shared[V] = Shared()
        after._groups, after._len = self._groups.copy(), self._len
        own: dict[int, dict[int, V]] = {}
        for key, value in news.items():
            group = own.get(key >> _SHIFT)
            if group is None:
                group = own[key >> _SHIFT] = self._groups.get(key >> _SHIFT, {}).copy()
            after._len += (value is not None) - (key in group)
            if value is not None:
                group[key] = value
            else:
                group.pop(key, None)
        for number, group in own.items():
            if group:
                grown = group.keys() != self._groups.get(number, {}).keys()
                after._groups[number] = dict(sorted(group.items())) if grown else group
            else:
                after._groups.pop(number, None)
        return after

    def unlike(self, other: Shared[V]) -> list[int]:
        """The keys, in order, under which the two keep other objects, or only one of them keeps something."""
        found: list[int] = []
        if self is other:
            return found
        for number in sorted(self._groups.keys() | other._groups.keys()):
            mine, theirs = self._groups.get(number, {}), other._groups.get(number, {})
            if mine is not theirs:
                found += sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) is not theirs.get(key))
        return found

    def __getitem__(self, key: int) -> V:
        return self._groups[key >> _SHIFT][key]

    def get(self, key: int, default: V | None = None) -> V | None:  # type: ignore[override]
        group = self._groups.get(key >> _SHIFT)
        return default if group is None else group.get(key, default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and key in self._groups.get(key >> _SHIFT, ())

    def __iter__(self) -> Iterator[int]:
        for number in sorted(self._groups):
            yield from self._groups[number]

    def __len__(self) -> int:
        return self._len

    def __repr__(self) -> str:
        return f"<Shared: {self._len} entries>"
