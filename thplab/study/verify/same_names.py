"""One set of names for a recording and a machine:
which frame, small page, table and mm of the one is which of the other.

Where a kernel puts a page is noise. A small page is named by the entry that first names it, a table by the PMD that
leads to it, a frame so that most stores agree.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache

from thplab.study.verify.stores import Event, Store, Value

_MOST_FRAMES = 5
"""All ways to name so many frames are tried; what a recording has beyond them keeps the order in which it comes up."""

Name = Callable[[str], str]


def same_names(
    expected: list[Event], got: list[Event], frames: list[str], zero: str
) -> tuple[list[Event], list[Event]]:
    """Both rows of events with the same names for the same things.

    `frames` are those that the recording knows, `zero` is the machine's name for the block of the huge zero page.
    """
    got = _renamed(got, r"(?:PMD|PTE) \w+#\d+", _same_tables(expected, got))
    expected, got = _small_pages(expected), _small_pages(got)
    got = _same_frames(expected, got, frames, zero)
    return _mms(expected), _mms([event for event in got if not event.store.place.startswith("hugezero")])


def _renamed(events: list[Event], pattern: str, names: Mapping[str, str]) -> list[Event]:
    """The events with what matches `pattern`, in places and values, under its new name, if it has one."""
    if not names:
        return events
    compiled = re.compile(pattern)

    @cache
    def of(value: Value) -> Value:
        return compiled.sub(lambda found: names.get(found[0], found[0]), value) if isinstance(value, str) else value

    return [Event(Store(str(of(s.place)), s.field, of(s.old), of(s.new)), by, step) for s, by, step in events]


# --- tables -----------------------------------------------------------------------------------------------------------


def _same_tables(expected: list[Event], got: list[Event]) -> dict[str, str]:
    """The machine's labels of tables -> the recording's, by the PMD through which both link or unlink them."""
    there, here = _linked(expected), _linked(got)
    names = {label: there[place] for place, label in here.items() if place in there}
    swapped = {new: old for old, new in names.items() if new not in names}  # two tables never get one name
    return names | swapped


def _linked(events: list[Event]) -> dict[str, str]:
    found: dict[str, str] = {}
    for store, _, _ in events:
        for value in (store.old, store.new):
            if store.field == "entry" and isinstance(value, str) and value.startswith("table("):
                found.setdefault(store.place, value[6:-1])
    return found


# --- small pages ------------------------------------------------------------------------------------------------------

_SMALL = r"\b(?:[no]\d+|pfn[0-9a-f]+)\b"


def _small_pages(events: list[Event]) -> list[Event]:
    names: dict[str, str] = {}
    for store, _, _ in events:
        for value in (store.old, store.new):
            for page in re.findall(_SMALL, value) if store.field == "entry" and isinstance(value, str) else ():
                if page not in names:
                    names[page] = _unused(f"page at {store.place}", names)
    for store, _, _ in events:
        for page in re.findall(_SMALL, store.place):
            if page not in names:
                names[page] = _unused("small page", names)
    return _renamed(events, _SMALL, names)


def _unused(name: str, names: Mapping[str, str]) -> str:
    while name in names.values():
        name += "'"
    return name


# --- frames and mms ---------------------------------------------------------------------------------------------------


def _same_frames(expected: list[Event], got: list[Event], frames: list[str], zero: str) -> list[Event]:
    there, here = _bases(expected), _bases(got)
    names = list(dict.fromkeys([*(name for name in there if name != "hugezero"), *frames]))
    # 6.18's recordings count the huge zero page among their frames.
    known = {} if zero in here and len(names) >= len(here) else {zero: "hugezero"}
    blocks = [block for block in here if block not in known]
    names += [f"F?{n}" for n in range(len(blocks) - len(names))]
    ways = itertools.permutations(names, len(blocks)) if len(names) <= _MOST_FRAMES else [tuple(names[: len(blocks)])]
    wanted = Counter(event.store for event in expected)
    best, most = got, -1
    for way in ways:
        mapped = dict(zip(blocks, way, strict=True)) | known
        tried = _renamed(got, r"\bB\d+\b", mapped)
        tried = (
            _renamed(tried, r"\bhugezero\[0\]$|\bhugezero\[0\](?= )", {"hugezero[0]": "hugezero"}) if known else tried
        )
        agree = (wanted & Counter(event.store for event in tried)).total()
        if agree > most:
            best, most = tried, agree
    return best


def _bases(events: list[Event]) -> list[str]:
    """The frames that are named, in the order in which they come up."""
    found: dict[str, None] = {}
    for store, _, _ in events:
        for value in (store.place, store.old, store.new):
            for name in re.findall(r"\b[FB]\d+(?=\[)|\bhugezero\b", value) if isinstance(value, str) else ():
                found[name] = None
    return list(found)


def _mms(events: list[Event]) -> list[Event]:
    """A folio's mm ids by the order in which they come up."""
    ids: dict[Value, Value] = {0: 0}
    renamed = []
    for event in events:
        store = event.store
        if store.field.startswith("_mm_id["):
            old, new = (ids.setdefault(value, f"mm {len(ids)}") for value in (store.old, store.new))
            event = event._replace(store=store._replace(old=old, new=new))
        renamed.append(event)
    return renamed
