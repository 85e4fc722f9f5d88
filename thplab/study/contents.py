"""What memory holds, in words: for a process, for a driver, and for an operation that reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from thplab.machine.state import State
from thplab.scenario import Operation

T = TypeVar("T")


def contents_text(tags: Sequence[int], first: int = 0) -> str:
    """What pages from `first` on hold, as numbers: "0: 0x55, 1–7: 0"; the number alone for one page.

    Where that is shorter, numbers that count up, as `fill` makes them, are one run.
    """
    if len(tags) == 1:
        return _number(tags[0])
    same = [(where, _number(tags[low])) for low, where in runs(tags, first)]
    up = [
        (where, _number(tags[low]) + " and up" * ("–" in where))
        for low, where in runs([t - page for page, t in enumerate(tags)], first)
    ]
    shorter = up if len(up) < len(same) else same
    return f"all {shorter[0][1]}" if len(shorter) == 1 else ", ".join(f"{where}: {text}" for where, text in shorter)


def _number(tag: int) -> str:
    return f"{tag:#x}" if tag else "0"


def runs(keys: Sequence[T], first: int = 0) -> Iterator[tuple[int, str]]:
    """Pages next to each other whose keys agree: the index of the first one, and the pages in words ("4", "4–7")."""
    low = 0
    for _, group in groupby(keys):
        high = low + len(list(group))
        yield low, f"{low + first}" if high - low == 1 else f"{low + first}–{high + first - 1}"
        low = high


def seen(state: State, op: Operation) -> str:
    """What `op` has read, one byte of each page: "reads 0x99". `state` is the one after it.
    Empty if it reads nothing.
    """
    plain = op.resolve(state.geometry.nr)
    start = int(plain.get("start") or 0)
    if op.op == "dma_read":
        found: Sequence[int | None] = state.pin_contents(str(plain["pin"]))[start : start + 1]
    elif op.op == "read":
        found = state.contents(str(plain["proc"]), str(plain["region"]))[start : start + int(plain["npages"] or 1)]
    else:
        return ""
    return "reads " + contents_text([(tag or 0) & 0xFF for tag in found], start)
