"""What a row of a page table says: the kind of entry and its bits, and what changed in them."""

from __future__ import annotations

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.show.diagrams.cells import Span
from thplab.show.diagrams.rows import Rows

_SLOTS = (("P", "none", "not present"), ("RW", "R"), ("U",), ("A",), ("D",), ("PSE",), ("splitting",))
"""The bits of an entry in the order in which entry_text writes them; those in one slot exclude each other."""


def entry_spans(entries: pt.Entries, old: pt.Entries | None, rows: Rows, level: int) -> tuple[list[Span], bool]:
    """The text of a row of a table of `level`, and whether it changed. `old` is the table before, None to mark nothing.

    What is new is bold: "empty → huge P·RW", "huge P·RW → R·U·A". A row for many runs says how many entries changed.
    """
    changed = old is not None and bool((entries[rows.part] != old[rows.part]).any())
    if rows.runs > 1:
        spans = [Span(rows.more, "muted")]
        if changed and old is not None:
            spans.append(Span(f", {np.count_nonzero(entries[rows.part] != old[rows.part])} entries changed", bold=True))
        return spans, changed
    new = int(entries[rows.start])
    slots = _slots(new, rows) if level == 0 else []
    before = int(old[rows.start]) if changed and old is not None else new
    if _word(before, level) != _word(new, level):
        return [
            Span(f"{_word(before, level)} → {_word(new, level)}", bold=True),
            *slots,
            *_bits(new, new, level),
        ], changed
    if new == 0:
        return [Span("empty", "muted")], changed
    word = "" if _word(new, level) == "page" else _word(new, level)
    spans = [Span(word, bold=True), *slots, *_bits(before, new, level)]
    if pt.pte_pfn(before) != pt.pte_pfn(new) and not slots:
        spans.append(Span(" → new page" if level == 0 else " → new frame", bold=True))
    return spans, changed


def _slots(entry: int, rows: Rows) -> list[Span]:
    """The slots of the swap device that a row of swap entries names; nothing for other entries."""
    if not pt.is_swap_entry(entry):
        return []
    slot, count = pt.pte_pfn(entry), rows.stop - rows.start
    return [Span(f" slot {slot}" if count == 1 else f" slots {slot}…{slot + count - 1}")]


def _word(entry: int, level: int) -> str:
    """What an entry is, in a word."""
    if entry == 0:
        return "empty"
    if level:
        return "huge" if pt.pmd_trans_huge(entry) else "table"
    return pt.pte_kind(entry)


def _bits(before: int, new: int, level: int) -> list[Span]:
    """The bits of an entry; where they differ from `before`, which is of the same kind, both."""
    if new == 0:
        return []
    was, now = (pt.entry_text(entry).split("·") for entry in (before, new))
    if now[0] in ("migration", "swap", "guard"):
        return [Span(" " + bit) for bit in now[1:]]
    spans: list[Span] = []
    for slot in _SLOTS:
        old, bit = (next((b for b in slot if b in bits), "") for bits in (was, now))
        if not bit and old in ("", "R"):  # "R" is the absence of RW, not a bit
            continue
        spans.append(Span("·" if spans else " "))
        # Read-only is what a fork and a protection leave behind: it stands out, as it explains the next write fault.
        text = bit if old == bit else f"{old} → {bit}" if old and bit else f"+{bit}" if bit else f"−{old}"
        spans.append(Span(text, bold=old != bit or bit == "R"))
    return spans
