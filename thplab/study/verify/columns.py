"""What is known of pages: for each property a column, which holds runs of pages as the truth files write them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

NOTHING = object()
"""The value of a page that is not in a column."""


class PagePlace(NamedTuple):
    """Where a page of a region is:
    its state, its frame and which page of that (None where that says nothing), by PMD or by PTE.
    """

    state: str
    frame: str | None
    page: int | None
    how: str

    def behind(self, pages: int) -> PagePlace:
        """The place of the page that is so many pages behind, in the same run."""
        return self if self.page is None else self._replace(page=self.page + pages)


class PageRun(NamedTuple):
    """Some pages from `first` on, with the value of the first one:
    all have the same, or lie in places one behind the other.
    """

    first: int
    pages: int
    value: object

    @property
    def end(self) -> int:
        return self.first + self.pages

    def at(self, page: int) -> object:
        """The value of one page of the run."""
        return self.value.behind(page - self.first) if isinstance(self.value, PagePlace) else self.value


class Column:
    """Runs in the order of their pages, each as long as it can be: two columns say the same if their runs are equal."""

    def __init__(self) -> None:
        self.runs: list[PageRun] = []

    def add(self, first: int, count: int, value: object) -> None:
        """`count` pages from `first` on, which lie behind all that are in the column."""
        if self.runs and self.runs[-1].end == first and self.runs[-1].at(first) == value:
            first, longer, value = self.runs.pop()
            count += longer
        self.runs.append(PageRun(first, count, value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Column) and self.runs == other.runs

    def __str__(self) -> str:
        """In the form of the truth files: [page, n, value ...]; "nothing" if no page is there."""
        return " ".join(f"[{run.first}, {run.pages}, {_cell(run.value)}]" for run in self.runs) or "nothing"


Columns = dict[str, Column]
"""Property -> column. The first column has all pages; the others those to which they apply."""


def aligned(*columns: Column) -> Iterator[tuple[int, int, list[object]]]:
    """All pages of some columns, cut wherever a run begins or ends:
    first page, count, and the value in each column or NOTHING.
    """
    borders = sorted({border for column in columns for run in column.runs for border in (run.first, run.end)})
    at = [0] * len(columns)
    for first, end in itertools.pairwise(borders):
        values = []
        for number, column in enumerate(columns):
            while at[number] < len(column.runs) and column.runs[at[number]].end <= first:
                at[number] += 1
            run = column.runs[at[number]] if at[number] < len(column.runs) else None
            values.append(NOTHING if run is None or run.first > first else run.at(first))
        yield first, end - first, values


def _cell(value: object) -> str:
    return ", ".join(
        "-" if cell is None else str(cell) for cell in (value if isinstance(value, PagePlace) else (value,))
    )
