"""What a row of a page table says: the kind of entry and its bits, and what changed in them."""

from __future__ import annotations

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.show.diagrams.cells import Span, spans
from thplab.show.diagrams.rows import Rows

_SLOTS = (("P", "none", "not present"), ("RW", "R"), ("U",), ("A",), ("D",), ("PSE",), ("splitting",))
"""The bits of an entry in the order in which entry_text writes them; those in one slot exclude each other."""


def entry_spans(
    entries: pt.Entries, old: pt.Entries | None, rows: Rows, level: int, full: bool
) -> tuple[tuple[Span, ...], bool]:
    """The text of a row of a table of `level`, and whether it changed. `old` is the table before, None to mark nothing.

    In full what is new is bold: "empty → huge P·RW", "huge P·RW → R·U·A". A row for many runs says how many entries
    changed. The simple text is where the entry leads and what it allows: "huge · rw", "r ×3"; only what shows there
    counts as a change.
    """
    changed = old is not None and bool((entries[rows.part] != old[rows.part]).any())
    if rows.runs > 1:
        count = np.count_nonzero(entries[rows.part] != old[rows.part]) if changed and old is not None else 0
        return spans(Span(rows.more, "muted"), Span(f", {count} changed" if count else "", bold=True)), changed
    new = int(entries[rows.start])
    before = int(old[rows.start]) if changed and old is not None else new
    if not full:
        return _simple(before, new, rows, level, changed)
    return spans(*_full(before, new, rows, level)), changed


def _simple(before: int, new: int, rows: Rows, level: int, changed: bool) -> tuple[tuple[Span, ...], bool]:
    was, now, times = _leads(before, level), _leads(new, level), rows.stop - rows.start
    moved = changed and new != 0 and was == now and pt.pte_pfn(before) != pt.pte_pfn(new)
    changed = was != now or moved
    text = f"{' · '.join(part for part in now if part)}" + (" → new page" if moved else "")
    if was[0] == now[0] and was[1] != now[1]:
        text = f"{now[0]}{' · ' if now[0] else ''}{was[1]} → {now[1]}"
    many = Span(f" ×{times}" if level == 0 and new and times > 1 else "", "muted" if not changed else "ink", changed)
    return spans(Span(text, "ink" if new else "muted", changed), many), changed


def _leads(entry: int, level: int) -> tuple[str, str]:
    """Where an entry leads and what it allows: ("huge", "rw"), ("", "r") for a page, ("–", "") for nothing. A huge PMD
    with the old mark says so: ("splitting", "rw").
    """
    if entry == 0:
        return "–", ""
    word = _word(entry, level)
    if word == "table":
        return word, ""
    rights = "" if word in ("swap", "guard", "hwpoison") else "rw" if _writable(entry) else "r"
    if "not present" in pt.entry_text(entry):
        return "not present", ""
    if pt.entry_text(entry).startswith("none"):
        rights = "none"
    if level and pt.pmd_trans_splitting(entry):
        word = "splitting"
    return "" if word == "page" else word, rights


def _writable(entry: int) -> bool:
    return "RW" in pt.entry_text(entry).split("·")


def _full(before: int, new: int, rows: Rows, level: int) -> list[Span]:
    slots = _slots(new, rows) if level == 0 else []
    if _word(before, level) != _word(new, level):
        return [Span(f"{_word(before, level)} → {_word(new, level)}", bold=True), *slots, *_bits(new, new, level)]
    if new == 0:
        return [Span("empty", "muted")]
    word = "" if _word(new, level) == "page" else _word(new, level)
    found = [Span(word, bold=True), *slots, *_bits(before, new, level)]
    if pt.pte_pfn(before) != pt.pte_pfn(new) and not slots:
        found.append(Span(" → new page" if level == 0 else " → new frame", bold=True))
    return found


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
