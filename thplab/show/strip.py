"""The strip: one line about one huge page, "10 = 9 + 1": its references are its mappings and its pins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from thplab.hardware.frames import PG_ORDER_SHIFT, PG_head, PG_order, PG_reserved, PG_table, PG_tail, PG_used
from thplab.machine.state import State
from thplab.machine.trace import Frame

_MOST_NAMED = 3
"""Runs of small pages that are named one by one."""


@dataclass(frozen=True)
class Strip:
    """The equation of one huge page, or of the pages that it was split into, in one state.

    `references` is what is stored, summed over its pages. What they are must come from elsewhere: `mappings` are
    counted in the page tables (migration entries are none), `pins` are what drivers have noted, `cached` is the swap
    cache's, `kept` what memory failure keeps for ever. `in_hand` is the rest: what a routine under way holds at this
    step, the one who splits or pins or has just unmapped; at rest it is 0. It is below 0 where references are frozen or
    not yet handed out. So at every step references = mappings + pins + cached + kept + in_hand.

    `text` is the equation, and, once the page is split, the pages: "8 pages: 2 each, page 4: 3".
    """

    references: int
    mappings: int
    pins: int
    cached: int
    kept: int
    in_hand: int
    text: str


def followed(frames: Iterable[Frame]) -> int | None:
    """The head of the huge page that a trace has first: the one that its strips are about. None if it has none."""
    return next((f.state.huge_pages()[0] for f in frames if f.state.huge_pages()), None)


def strip(state: State, head: int) -> Strip:
    """The strip of the huge page at `head`, or of what is left of it. Without any page in use its text is empty."""
    nr = state.geometry.nr
    flags = state.column("flags", head, nr)
    ours = flags & (PG_used | PG_table | PG_reserved) == PG_used
    counts = state.column("refcount", head, nr)
    block = slice(head, head + nr)
    references = int(counts[ours].sum())
    mappings = len(state.pmd_maps.get(head, ())) + int(state.pte_maps[block].sum())
    kept = sum(pfn in range(head, head + nr) for pfn in state.poisoned)
    pins, cached = int(state.pinned[block].sum()) - kept, int(state.cached[block].sum())
    in_hand = references - mappings - pins - cached - kept
    if not ours.any():
        text = ""
    elif flags[0] & PG_head and (flags[0] & PG_order) >> PG_ORDER_SHIFT in (0, state.geometry.order):
        others = ((cached, "in the swap cache"), (kept, "for ever"), (in_hand, "in hand"))
        more = "".join(f" {'+' if count > 0 else '−'} {abs(count)} {what}" for count, what in others if count)
        text = f"{references} = {mappings} + {pins}{more}"
    else:
        own = np.flatnonzero(ours & (flags & PG_tail == 0))
        folios = bool((flags[own] & PG_head).any())
        text = _pages({int(page): int(counts[page]) for page in own}, "folio" if folios else "page")
    return Strip(references, mappings, pins, cached, kept, in_hand, text)


def _pages(counts: dict[int, int], what: str) -> str:
    """The counts of pages in words, the most frequent one as that of "each"."""
    most = Counter(counts.values()).most_common(1)[0][0]
    runs = [
        (count, [page for page, _ in run])
        for count, run in ((value, list(run)) for value, run in groupby(counts.items(), lambda item: item[1]))
        if count != most
    ]
    named = [
        f"{what} {pages[0]}: {count}" if len(pages) == 1 else f"{what}s {pages[0]}–{pages[-1]}: {count}"
        for count, pages in runs[:_MOST_NAMED]
    ]
    rest = ["…"] if len(runs) > _MOST_NAMED else []
    each = f"{len(counts)} {what}{'s' if len(counts) > 1 else ''}: {most}{' each' if len(counts) > 1 else ''}"
    return ", ".join([each, *named, *rest])
