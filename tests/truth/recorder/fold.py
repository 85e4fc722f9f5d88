"""Events as the steps of a recording: what is done to one page, or entry, after the other is one step, or one loop,
that says how often."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from truth.recorder.decode import Event

Step = list[Any]
"""[function, object, field, old, new, repeat] or ["loop", n, [steps]]."""

LONGEST_BODY = 26
"""Steps in the body of a loop, at most."""

_COUNTED = frozenset((
    "_refcount", "_large_mapcount", "_entire_mapcount", "compound_mapcount", "_nr_pages_mapped", "_pincount",
    "_mm_id_mapcount[0]", "_mm_id_mapcount[1]",
))  # fmt: skip
"""Fields that count, of the huge page as a whole: the same step is done again where the difference is the same."""
_SET = ("index", "private")
"""Fields that get another value on each page: the same step is done again whatever that is."""


def steps(events: Sequence[Event]) -> list[Step]:
    """The steps, in order."""
    found: list[Step] = []
    for start, length, times in _runs(events):
        first = events[start : start + length]
        last = events[start + (times - 1) * length : start + times * length]
        body = [_step(a, z, times, times if length == 1 else 1) for a, z in zip(first, last, strict=True)]
        found += body if length == 1 or times == 1 else [["loop", times, body]]
    return found


def _step(first: Event, last: Event, times: int, repeat: int) -> Step:
    """The step that stands for an event and those that repeat it, up to `last`."""
    if not first.is_store:
        return [first.function, first.kind, "", "", "", repeat]
    same_place = last.at == first.at
    where = first.object
    if first.at is not None:
        where += f"[{first.at}]" if same_place else f"[{first.at}..{last.at}]"
    new = (
        last.new if times > 1 and isinstance(first.old, int) and same_place else first.new
    )  # a counter: from the first to the last value
    return [first.function, where, first.field, first.old, new, repeat]


def _runs(events: Sequence[Event]) -> list[tuple[int, int, int]]:
    """(first event, length of the body, times) for each run of repeats; what is not repeated is a run of one event."""
    keys = [_key(event) for event in events]
    numbers: dict[Hashable, int] = {}
    ids = np.array([numbers.setdefault(key, len(numbers)) for key, _ in keys])
    places = [at for _, at in keys]
    runs: list[tuple[int, int, int]] = []
    at = 0
    while at < len(events):
        length, times = 1, 1
        for body in range(1, min(LONGEST_BODY, (len(events) - at) // 2) + 1):
            again = _times(ids, places, at, body)
            if again > 1 and (again - 1) * body > (times - 1) * length:
                length, times = body, again
        runs.append((at, length, times))
        at += length * times
    return runs


def _times(ids: np.ndarray[Any, Any], places: Sequence[int | None], at: int, body: int) -> int:
    """How often the body that begins at `at` is done, its place moving on by one, up or down, each time."""
    pattern = ids[at : at + body]
    times = 1
    while at + (times + 1) * body <= len(ids):
        start = at + times * body
        if not (ids[start : start + body] == pattern).all():
            break
        if not all(_next(places[start - body + i], places[start + i]) for i in range(body)):
            break
        times += 1
    return times


def _next(place: int | None, after: int | None) -> bool:
    return after is None if place is None else after is not None and abs(after - place) == 1


def _key(event: Event) -> tuple[Hashable, int | None]:
    """What is the same for the same step on the next page, and the place that moves (None for what stays)."""
    if not event.is_store:
        return (event.kind, event.function), None
    kind, function, name, index, field, old, new, _ = event
    what = (kind, function, name, field)
    if kind == "flags" and "mm_ids" in str(old):
        return (*what, old), None
    if kind == "field" and field in _SET:
        return what, index
    if kind == "field" and field in _COUNTED and index is not None and (field != "_refcount" or index == 0):
        return (*what, index, _number(new) - _number(old)), None
    return (*what, _relative(old, index), _relative(new, index)), index


def _number(value: int | str) -> int:
    """A counter, without the ENTIRELY_MAPPED in it."""
    return int(value.removeprefix("E+")) if isinstance(value, str) else value


def _relative(value: int | str, index: int | None) -> int | str:
    """A value with the page that it names, where this is the one that it is stored in, left open."""
    if index is None or isinstance(value, int):
        return value
    return re.sub(r"\[(\d+)\]", lambda found: "[i]" if int(found[1]) == index else found[0], value)
