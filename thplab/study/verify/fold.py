"""Folding a row of stores as the recordings do:
what is done to one subpage after the other is one line, or one loop.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from thplab.kernel.schemes.folio import ENTIRELY_MAPPED
from thplab.study.verify.stores import FLUSH, Event, Store, Value

_LONGEST = 26
"""So many steps at most are looked at as the body of a loop."""
_PLACE = re.compile(r"(.*)\[(\d+)\]$")


class Folded(NamedTuple):
    """Some events that are one: a body, each of its steps in words, and how often it is done."""

    body: tuple[str, ...]
    times: int
    events: Sequence[Event]

    @property
    def text(self) -> str:
        """All of it on one line. Equal texts say that the same was stored."""
        if len(self.body) > 1:
            return f"{self.times} times: " + "; ".join(self.body)
        return self.body[0] + (f" (×{self.times})" if self.times > 1 else "")

    @property
    def by(self) -> tuple[str, ...]:
        """The function of each step of the body."""
        return tuple(event.by for event in self.events[: len(self.body)])


def fold(events: list[Event]) -> list[Folded]:
    """The events as lines; equal rows of stores fold into equal lines."""
    keys: dict[object, int] = {}
    index = [_index(event.store) for event in events]
    numbers = [keys.setdefault(_key(event.store, at), len(keys)) for event, at in zip(events, index, strict=True)]
    found, at = [], 0
    while at < len(events):
        length, times = 1, 1
        for tried in range(1, min(_LONGEST, (len(events) - at) // 2) + 1):
            turns = _turns(numbers, index, at, tried)
            if turns > 1 and (turns - 1) * tried > (times - 1) * length:
                length, times = tried, turns
        part = events[at : at + length * times]
        body = (_line(a.store, z.store) for a, z in zip(part[:length], part[-length:], strict=True))
        found.append(Folded(tuple(body), times, part))
        at += length * times
    return found


def _turns(numbers: list[int], index: list[int | None], at: int, length: int) -> int:
    body, turns = numbers[at : at + length], 1
    while numbers[at + turns * length : at + (turns + 1) * length] == body:
        before, now = at + (turns - 1) * length, at + turns * length
        if any(_leaps(index[before + i], index[now + i]) for i in range(length)):
            break
        turns += 1
    return turns


def _leaps(before: int | None, now: int | None) -> bool:
    return before is not None and (now is None or abs(now - before) != 1)


def _index(store: Store) -> int | None:
    """Which subpage or entry it is; None of a word that a loop may come back to."""
    found = _PLACE.match(store.place)
    return int(found[2]) if found and not _is_counter(store, int(found[2])) else None


def _is_counter(store: Store, index: int) -> bool:
    return store.field in ("mm_ids", "_deferred_list") or (
        isinstance(store.old, int) and (store.field != "_mapcount") and (store.field != "_refcount" or index == 0)
    )


def _key(store: Store, index: int | None) -> object:
    """The same for the same store on the next subpage."""
    if isinstance(store.old, int) and isinstance(store.new, int) and index is None:
        return (store.place, store.field, store.new - store.old)
    if index is None:
        return store
    place = store.place[: store.place.rindex("[")]
    return (place, store.field, *(_relative(value, index) for value in (store.old, store.new)))


def _relative(value: Value, index: int) -> Value:
    return value.replace(f"[{index}]", "[i]") if isinstance(value, str) else value


def _line(first: Store, last: Store) -> str:
    """A store in words, or those from the first to the last one."""
    if first.place == FLUSH.place:
        return "flush the TLB"
    a, z = _PLACE.match(first.place), _PLACE.match(last.place)
    place = f"{a[1]}[{a[2]}..{z[2]}]" if a and z and a[2] != z[2] else first.place
    if first.field in ("ptl", "mm_ids"):
        return (
            f"{'lock' if first.new else 'unlock'} {'mm_ids' if first.field == 'mm_ids' else 'ptl'} of "
            f"{place.removeprefix('page of ')}"
        )
    if first.field == "flags":
        return f"{place} {first.new}"
    old, new = first.old, last.new if isinstance(last.new, int) else first.new
    if first.field == "_nr_pages_mapped":
        old, new = _mapped(old), _mapped(new)
    return f"{place} {'' if first.field == 'entry' else first.field + ' '}{old} → {new}"


def _mapped(count: Value) -> Value:
    """A count of mapped subpages, with E where it says that a PMD maps all of them."""
    return f"E+{count - ENTIRELY_MAPPED}" if isinstance(count, int) and count >= ENTIRELY_MAPPED else count
