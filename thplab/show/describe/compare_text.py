"""A comparison in words: what is the same in one line, what differs in a table with a column for each kernel."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest

from thplab.kernel.policies import Kernel
from thplab.scenario.text import write_operation
from thplab.study.compare import (
    ANSWER,
    COSTS,
    EVENTS,
    PAGES,
    PMD_COLUMN,
    PMD_COUNTER,
    USER,
    Compared,
    Comparison,
    Fact,
    Value,
)

NARROWEST, WIDEST = 100, 140

_NONE = "-"
"""What stands where a kernel has nothing of that name."""

_GAP = "\N{NO-BREAK SPACE}"
"""Keeps a mark at its value while a cell is wrapped."""

_NAMES = 28
"""Columns of the names on the left."""

_BROADEST = 32
"""Columns of one kernel at most: a few of them stand close enough to be read across."""


def side_by_side(comparison: Comparison, width: int = 120) -> str:
    """The comparison as text, at most `width` columns wide, which is brought between NARROWEST and WIDEST.

    After each operation only what it has changed, and not on all kernels alike, has a row; what it has changed on all
    alike is named in one line. A star marks what differs from the first kernel's. At the end stand the events and costs
    of the whole scenario.
    """
    return "\n".join(line.rstrip() for line in _Teller(comparison, min(max(width, NARROWEST), WIDEST)).lines()) + "\n"


class _Teller:
    def __init__(self, comparison: Comparison, width: int) -> None:
        self.comparison = comparison
        self.width = width
        self.column = min((width - _NAMES) // len(comparison.kernels), _BROADEST)

    def lines(self) -> Iterator[str]:
        yield from self._heading()
        phases, phase = self.comparison.scenario.phases, -1
        for number, compared in enumerate(self.comparison.operations, 1):
            if compared.phase != phase and phases[compared.phase].title:
                yield from ("", *textwrap.wrap(f"== {phases[compared.phase].title} ==", self.width))
            phase = compared.phase
            yield ""
            yield from textwrap.wrap(f"{number}. {write_operation(compared.op)}", self.width)
            yield from self._operation(compared)
        yield from ("", "In all")
        told = [
            row for row in self.comparison.totals if row.moved and (row.group in (EVENTS, COSTS) or any(row.values))
        ]
        yield from self._table(told)
        if self.comparison.problem:
            yield from ("", *textwrap.wrap(f"PROBLEM {self.comparison.problem}", self.width))

    # --- heading ------------------------------------------------------------------------------------------------------

    def _heading(self) -> Iterator[str]:
        scenario, geometry = self.comparison.scenario, self.comparison.geometry
        title = ": ".join(filter(None, (scenario.name, scenario.about)))
        yield from textwrap.wrap(title, self.width)
        yield from textwrap.wrap(
            f"Geometry {geometry.name}: a huge page is {geometry.nr} small pages, {geometry.size_text(geometry.nr)}. "
            "F0, F1 ... are huge "
            "pages in the order of first sight. Mapcounts are the fields _mapcount plus 1, as the scheme stores them."
            " RMW is an atomic read-modify-write. A star marks what differs from "
            f"{self.comparison.kernels[0].name}; {_NONE} stands where there is no such thing.",
            self.width,
        )
        kernels = self.comparison.kernels
        yield self._names()
        yield from self._cells("  scheme", [kernel.scheme.name for kernel in kernels])
        yield from self._cells("  references are in", [kernel.refcount_name for kernel in kernels])
        yield from self._cells(f"  the {PMD_COUNTER} is", [_pmd_counter(kernel) for kernel in kernels])

    # --- one operation ------------------------------------------------------------------------------------------------

    def _operation(self, compared: Compared) -> Iterator[str]:
        differing = compared.differing()
        yield from self._same(compared, everything=not differing)
        yield from self._table(differing)
        told: dict[str, list[str]] = {}
        for kernel, remark in zip(self.comparison.kernels, compared.remarks, strict=True):
            if remark:
                told.setdefault(remark, []).append(kernel.name)
        for remark, names in told.items():
            yield from textwrap.wrap(
                f"{', '.join(names)}: {remark}", self.width, initial_indent="   ", subsequent_indent="     "
            )

    def _same(self, compared: Compared, everything: bool) -> Iterator[str]:
        """What has changed on all kernels alike, in one line, the most telling first; what does not fit is counted."""
        equal = compared.equal()
        facts = [
            _fact(row) for row in sorted(equal, key=lambda row: (ANSWER, EVENTS, USER, PAGES, COSTS).index(row.group))
        ]
        contents = [row for row in compared.rows if row.name == "contents"]
        if contents and not any(row.moved or row.differs for row in contents):
            facts.insert(1, "contents unchanged")
        line = "   all the same: " if everything else "   the same: "
        for index, fact in enumerate(facts):
            more = f"{len(facts) - index} more"
            if len(line) + len(fact) + len(f"; {more}") > self.width:
                yield line + more
                return
            line += fact + ("; " if fact is not facts[-1] else "")
        yield line if facts else "   nothing is the same"

    # --- tables -------------------------------------------------------------------------------------------------------

    def _table(self, rows: Sequence[Fact]) -> Iterator[str]:
        if rows:
            yield self._names()
        for group, members in groupby(rows, key=lambda row: row.group):
            if group != ANSWER:
                yield f"  {group}"
            for row in members:
                indent = "  " if group == ANSWER else "    "
                yield from self._cells(indent + row.label, [_cell(row, index) for index in range(len(row.values))])

    def _names(self) -> str:
        return " " * _NAMES + "".join(f"{kernel.name:{self.column}}" for kernel in self.comparison.kernels)

    def _cells(self, label: str, cells: Sequence[str]) -> Iterator[str]:
        """One row of a table; what is too long for its column goes on below."""
        indent = len(label) - len(label.lstrip())
        first, *more = _broken(label.strip(), _NAMES - indent - 1)
        parts = [[" " * indent + first, *(" " * (indent + 2) + line for line in more)]] + [
            _broken(cell, self.column - 1) for cell in cells
        ]
        for name, *texts in zip_longest(*parts, fillvalue=""):
            yield f"{name:{_NAMES}}" + "".join(f"{text:{self.column}}" for text in texts)


def _broken(text: str, width: int) -> list[str]:
    """`text` in lines of a cell; a long word is broken at its "_"s if it has any."""
    lines = textwrap.wrap(
        text.replace("_", "_ ") if max(map(len, text.split()), default=0) > width else text, width
    ) or [""]
    return [line.replace("_ ", "_").replace(_GAP, " ") for line in lines]


def _cell(row: Fact, index: int) -> str:
    """A value, with what it was before where that is short; marked if it is not the first kernel's."""
    mark = "*" if row.values[index] != row.values[0] else ""
    return mark + value_text(row, index)


def value_text(row: Fact, index: int) -> str:
    """The value of a row on one kernel, with what it was before where both are numbers: "2 → 513"."""
    new, old = row.values[index], row.before[index]
    if row.group in (ANSWER, EVENTS, COSTS) or old in (None, new) or not (_is_number(old) and _is_number(new)):
        return _text(new)
    return f"{old}{_GAP}→{_GAP}{new}"


def _fact(row: Fact) -> str:
    """A row on which all agree: "F0 references 1 → 2", where they were the same before, too."""
    value = value_text(row, 0) if len(set(row.before)) == 1 else _text(row.values[0])
    return f"{row.label} {value}".replace(_GAP, " ")


def _is_number(value: Value) -> bool:
    return isinstance(value, int) or (value is not None and value.isdigit())


def _pmd_counter(kernel: Kernel) -> str:
    """The kernel's own name for its count of PMD mappings."""
    return next((counter.name for counter in kernel.head_counters if counter.column == PMD_COLUMN), _NONE)


def _text(value: Value) -> str:
    return _NONE if value is None else str(value)
