"""A ledger to be filled in, as the data that a page needs:
every counter, every holder's share, and for each of them what helps.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from thplab.hardware.frames import GUP_PIN_COUNTING_BIAS
from thplab.kernel.schemes import count_text
from thplab.machine.state import State
from thplab.machine.trace import Frame
from thplab.show.describe import describe
from thplab.show.diagrams import Cut
from thplab.show.diagrams.arrows import HUGE, PTE, Arrow, Ends, arrows, pin_id
from thplab.show.ledger import Account, Share, ledger, small_pages

GAPS = ("none", "some", "all")
SHARE = 0.4
"""Of the cells that can be answered, how many are left blank with "some" gaps."""

_REFERENCES = {
    "PMD": "A PMD is one entry and holds one reference, however many pages it maps.",
    "PTE": "Each PTE holds one reference. The references of a compound page are all on its head.",
    "pin": "A pin holds one reference for each page that it was taken on. Those of a compound page are all on "
    "its head.",
    "total": "The total is the sum of all holders' references.",
}
_BIASED = f"A FOLL_PIN pin of a small page adds {GUP_PIN_COUNTING_BIAS} for each page (GUP_PIN_COUNTING_BIAS)."
_MAPCOUNTS = {
    ("tail_pinning", "head"): "Before the RFC only PMDs map a huge page, and each adds 1 on the head.",
    (
        "tail_pinning",
        "tails",
    ): "Before the RFC a tail's _mapcount counts the pins that were taken through it, and no mappings.",
    ("rfc", "head"): "The head's one field counts PMDs and the PTEs of page 0 together, each entry 1.",
    ("rfc", "tails"): "A tail counts the PTEs that map it. A PMD is counted on the head.",
    (
        "double_map",
        "head",
    ): "The head's own field counts the PTEs of page 0, and 1 more under PageDoubleMap; PMDs have compound_mapcount.",
    (
        "double_map",
        "tails",
    ): "A tail counts the PTEs that map it, and 1 more under PageDoubleMap; PMDs have compound_mapcount.",
    ("folio", "head"): "The head's own field counts the PTEs of page 0; PMDs have _entire_mapcount.",
    ("folio", "tails"): "A tail counts the PTEs that map it; PMDs have _entire_mapcount.",
}
"""What a map count counts, by the scheme's name and the part of the compound page."""

_HEAD = {
    "compound_mapcount": "It counts the PMDs that map the page, and nothing else.",
    "large_mapcount": "It counts every entry that maps the page or a part of it: each PMD 1, each PTE 1.",
    "nr_pages_mapped": "It counts the subpages that any PTE maps, each once, and carries 0x800000 while a PMD maps "
    "the page.",
    "pincount": "It counts FOLL_PIN pins, one for each page that they were taken on; they are in the refcount, too.",
}
"""What a counter counts that only the head has, by its column."""

_BY = {"PMD": "PMD", "PTE": "PTE", "cache": "swap cache", "subpages": "subpages with a PTE", "rest": "in hand"}


def payload(frame: Frame, gaps: str, seed: int) -> dict[str, Any]:
    """All that the widget shows of a frame but the picture, as JSON can hold it.

    With "some" gaps, `seed` chooses which of the cells that can be answered are blank.
    """
    state = frame.state
    cut = Cut.of([state])
    table = _Lines(state, cut, next(iter(frame.stack), ""))
    groups = [(title, [table.account(account) for account in accounts]) for title, accounts in table.groups()]
    cells = [cell for _, accounts in groups for account in accounts for cell in cells_of(account)]
    _blank([cell for cell in cells if cell.pop("can")], gaps, random.Random(seed))
    return {
        "groups": [{"title": title, "accounts": accounts} for title, accounts in groups],
        "refcount": state.kernel.refcount_name,
        "step": f"step {frame.number}: {frame.step.text}" if frame.step else "the machine before the first step",
        "words": describe(state),
        "entries": _entries(state),
    }


def cells_of(account: dict[str, Any]) -> list[dict[str, Any]]:
    """The total of an account, and the amount of each of its rows."""
    return [account["total"], *(row["cell"] for row in account["rows"])]


def _blank(cells: Sequence[dict[str, Any]], gaps: str, rng: random.Random) -> None:
    """Mark the cells that the learner fills in."""
    count = {"none": 0, "some": max(1, round(SHARE * len(cells))), "all": len(cells)}[gaps]
    for cell in rng.sample(cells, min(count, len(cells))):
        cell["blank"] = True


def _entries(state: State) -> str:
    """The picture in words without its counters: processes with their entries, and pins."""
    blocks = describe(state).split("\n\n")
    shown = [block for block in blocks if block.startswith("Process ")]
    pins = [f"  {pin.name}: pages " + ", ".join(f"{pfn:#x}" for pfn in pin.pages) for pin in state.pins.values()]
    return "\n\n".join(shown + (["\n".join(["Pins", *pins])] if pins else []))


class _Lines:
    """Makes the lines of one state's ledger."""

    def __init__(self, state: State, cut: Cut, routine: str) -> None:
        self.state, self.cut, self.routine = state, cut, routine
        self.arrows = arrows(state, cut)

    def groups(self) -> Iterator[tuple[str, tuple[Account, ...]]]:
        """The pages that have accounts, each with a title."""
        for head in self.state.compound_pages():
            yield f"compound page {head:#x}", ledger(self.state, head, None, self.routine)
        small = small_pages(self.state, None, self.routine)
        if small:
            yield "small pages", small

    def account(self, account: Account) -> dict[str, Any]:
        """A counter: its total, and a row for each holder."""
        rows = [self._row(account, row) for row in account.rows]
        marks = sorted({mark for row in rows for mark in row["cell"]["marks"]})
        where = "the rows below it: their amounts add up to it" if rows else "the entries: none of them counts here"
        return {
            "name": account.name,
            "stored": self._stored(account),
            "total": self._cell(account.value, self._rule(account, "total"), where, marks, account.text, True),
            "rows": rows,
        }

    def _row(self, account: Account, row: Share) -> dict[str, Any]:
        where, marks = self._where(account, row)
        why, can = f"{row.text}, in {account.name}", bool(marks)  # what the picture does not show is given
        cell = self._cell(row.count, self._rule(account, row.kind, row.count), where, marks, why, can)
        return {"holder": row.holder, "by": self._by(account, row), "cell": cell}

    def _cell(self, value: int, rule: str, where: str, marks: list[str], why: str, can: bool) -> dict[str, Any]:
        return {
            "actual": count_text(value),
            "rule": rule,
            "where": where,
            "marks": marks,
            "why": why,
            "blank": False,
            "can": can,
        }

    def _by(self, account: Account, row: Share) -> str:
        """By what the holder holds, without how often."""
        page_0 = row.kind == "PTE" and row.what.endswith("of page 0")
        if row.kind == "pin" and account.column == "refcount":
            return re.sub(r"^\d+ pins|^pin", "pin", row.what)
        return "PTE of page 0" if page_0 else _BY.get(row.kind, row.what if row.kind == "flag" else row.kind)

    # --- help ---------------------------------------------------------------------------------------------------------

    def _part(self, account: Account) -> str:
        if self.state.head(account.first) != account.first:
            return "tails"
        return "head" if account.first in self.state.compound_pages() else "small"

    def _stored(self, account: Account) -> str:
        """How a counter is stored, so that nobody takes the logical count for the raw field."""
        if account.column == "refcount":
            return "stored as it is"
        for counter in self.state.kernel.head_counters:
            if counter.column == account.column:
                return "logical count; the raw field holds 1 less" if counter.none else "stored as it is"
        what = "pins, no mapcount" if account.name.endswith("pins") else "logical count"
        return f"{what}; the raw field _mapcount holds 1 less"

    def _rule(self, account: Account, kind: str, count: int = 0) -> str:
        """The rule by which a share is counted."""
        if account.column in _HEAD:
            return _HEAD[account.column]
        if account.column == "refcount":
            return (
                _BIASED
                if kind == "pin" and count >= GUP_PIN_COUNTING_BIAS
                else _REFERENCES.get(kind, _REFERENCES["total"])
            )
        part = self._part(account)
        if part == "small":
            return "A small page counts the PTEs that map it."
        scheme = self.state.kernel.scheme.name
        return _MAPCOUNTS.get((scheme, part), f"It is counted as the scheme {scheme} has it.")

    def _where(self, account: Account, row: Share) -> tuple[str, list[str]]:
        """Where in the picture a share can be seen: in words, and as ids of rows and notes."""
        first, last = self._reach(account)
        if row.kind == "pin":
            return f"the note of the pin {row.holder}", [pin_id(row.holder)] * (row.holder in self.cut.pins)
        process = None if row.kind == "subpages" else row.holder
        kinds = {"PMD": (HUGE,), "PTE": (PTE,), "subpages": (PTE,)}.get(row.kind, ())
        leading = (
            ends
            for ends, arrow in self.arrows.items()
            if arrow.kind in kinds and self._leads(ends, arrow, process, first, last)
        )
        marks = sorted({ends.tail_row for ends in leading})
        return self._entries_to(process, 1 if row.kind == "PMD" else 0, first, last), marks

    def _reach(self, account: Account) -> tuple[int, int]:
        """The first and the last page that a counter counts for."""
        if account.column == "mapcount" or self._part(account) == "small":
            return account.first, account.last
        return account.first, account.first + self.state.geometry.nr - 1

    def _leads(self, ends: Ends, arrow: Arrow, process: str | None, first: int, last: int) -> bool:
        """Does an arrow lead from the process (None: any) to one of these pages?"""
        block = self.cut.block_at(first)
        if block is None or ends.head != block.id or process not in (None, arrow.process):
            return False
        base = block.number * self.state.geometry.nr
        inside = (rows for rows in block.rows if base + rows.start <= last and first < base + rows.stop)
        return arrow.kind == HUGE or ends.head_row in {block.row_id(rows) for rows in inside}

    def _entries_to(self, process: str | None, level: int, first: int, last: int) -> str:
        """The entries of a process that map these pages, in words."""
        found = []
        for m in self.state.mapped:
            low, high = max(m.pages.start, first), min(m.pages.stop - 1, last)
            if low <= high and m.level == level and m.kind == "page" and process in (None, m.process):
                start, stop = (m.index, m.index) if level else (m.index + low - m.pfn, m.index + high - m.pfn)
                entries = f"entry {start}" if start == stop else f"entries {start}…{stop}"
                found.append(f"{entries} of {m.process}'s {'PMD' if level else 'PTE'} table")
        return " and ".join(found)
