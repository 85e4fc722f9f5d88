"""What is seen of a scenario after each of its operations, in the form of tests/truth/README.md, part A."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from truth.recorder.entries import Mapped, Runs, of_pmd, ptes
from truth.recorder.memory import HUGE
from truth.recorder.pages import Block, Page
from truth.recorder.view import View, plain_regions

Record = dict[str, Any]
_THP = 9
"""The order of a huge page."""
_NO_COUNT = 1 << 32
"""What kpagecount says of a page that has no mapcount is larger."""


class _Region(NamedTuple):
    """A region of a process: what its PMDs map, the entries of the tables among them, and how many tables are
    deposited."""

    process: str
    name: str
    pmds: list[Mapped]
    ptes: dict[int, list[Mapped]]
    deposited: int


class Sight:
    """One scenario. A huge page keeps the name that it got at first sight, also after it has become small pages."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.names: dict[int, str] = {}
        """First page frame of a block -> F0, F1 ..."""
        self._origin: dict[int, int] = {}
        """page->index of the first page of a block, by which pages that somebody else has got since are known."""
        self._freed: dict[int, set[int]] = {}
        self._blocks: dict[int, Block] = {}
        self._pages: dict[int, list[Page]] = {}
        self._kept: dict[int, list[bool]] = {}
        """Which pages of a block with a name are still ours."""

    def look(self, answer: Record) -> dict[str, dict[str, Record]]:
        """Process -> region -> what smaps, in the guest's answer, and the page tables say. Huge pages that appear get
        names."""
        self._blocks, self._pages = {}, {}
        regions = list(self._regions(answer))
        for region in regions:
            self._name(region)
        mapped = {each.pfn for region in regions for each in chain(*region.ptes.values()) if each.kind == "present"}
        self._kept = {
            block: self._keep(block, {pfn % HUGE for pfn in mapped if pfn & -HUGE == block}) for block in self.names
        }
        seen: dict[str, dict[str, Record]] = {}
        for region in regions:
            if region.name in answer["smaps"].get(region.process, {}):
                tables = {
                    "pmd": [pmd.kind for pmd in region.pmds],
                    "deposited": region.deposited,
                    "runs": self._runs(region),
                }
                seen.setdefault(region.process, {})[region.name] = answer["smaps"][region.process][region.name] | tables
        return seen

    def frame(self, block: int, counts: Sequence[int]) -> Record | str:
        """A block with a name, after look(): its record, or "gone"; `counts` is what kpagecount says of its pages."""
        kept = self._kept[block]
        pages = [
            page if ours else Page("gone", 0, -1, "", 0) for page, ours in zip(self._of(block)[1], kept, strict=True)
        ]
        sub = _runs((page.kind, page.ref, page.mapcount, page.flags) for page in pages)
        if all(run[2] == "gone" for run in sub):
            return "gone"
        shown = (count if ours and count <= _NO_COUNT else 0 for count, ours in zip(counts, kept, strict=True))
        return self._of(block)[0].record() | {"sub": sub, "kpc": _runs((count,) for count in shown)}

    def _regions(self, answer: Record) -> Iterable[_Region]:
        for (process, name), ways in self.view.walks(answer["pids"], plain_regions(answer)).items():
            pmds = [of_pmd(self.view, way) for way in ways]
            tables = {number: ptes(self.view, pmd) for number, pmd in enumerate(pmds) if pmd.kind == "table"}
            deposited = max((len(self.view.deposited(way[2].at >> 12)) for way in ways if len(way) > 2), default=0)
            yield _Region(process, name, pmds, tables, deposited)

    def _name(self, region: _Region) -> None:
        """Name the huge pages that a region maps and that have no name yet, in the order of the region's pages."""
        for number, pmd in enumerate(region.pmds):
            if pmd.kind == "huge":
                self.names.setdefault(pmd.pfn & -HUGE, f"F{len(self.names)}")
            for entry in region.ptes.get(number, ()):
                block = entry.pfn & -HUGE
                if entry.kind == "present" and block not in self.names and self._of(block)[0].order == _THP:
                    self.names[block] = f"F{len(self.names)}"

    def _keep(self, block: int, mapped: set[int]) -> list[bool]:
        """Which pages of a block are still ours; `mapped` are those that our processes map by PTEs."""
        whole, pages = self._of(block)
        freed = self._freed.setdefault(block, set())
        self._origin.setdefault(block, pages[0].origin)
        if whole.order == _THP:  # a new huge page may lie there now
            self._origin[block] = pages[0].origin
            freed.clear()
        for number, page in enumerate(pages):
            same = page.kind != "free" and page.origin == self._origin[block]
            if not same and not ("k" in page.flags and number in mapped):
                freed.add(number)
        return [number not in freed or number in mapped for number in range(HUGE)]

    def _runs(self, region: _Region) -> list[list[Any]]:
        runs = Runs()
        for number, pmd in enumerate(region.pmds):
            page = number * HUGE
            if pmd.kind == "huge":
                runs.add(page, HUGE, "present", self.names[pmd.pfn & -HUGE], pmd.pfn % HUGE, "pmd", pmd.flags)
            elif pmd.kind == "hugezero":
                runs.add(page, HUGE, "hugezero", "Z", None, "pmd", pmd.flags)
            elif pmd.kind == "table":
                for i, entry in enumerate(region.ptes[number]):
                    if entry.kind == "present":
                        runs.add(page + i, 1, "present", *self._place(entry.pfn), "pte", entry.flags)
                    elif entry.kind != "none":
                        runs.add(page + i, 1, entry.kind, None, None, "pte", entry.flags)
            elif pmd.kind != "none":
                runs.add(page, HUGE, pmd.kind, None, None, "pmd", "")
        return runs.runs

    def _place(self, pfn: int) -> tuple[str, int | None]:
        """Where a mapped page lies: in a huge page, or what used to be one, or somewhere; then what it is, in words."""
        block, number = pfn & -HUGE, pfn % HUGE
        if block in self.names and number not in self._freed[block]:
            return self.names[block], number
        page = self._of(block)[1][number]
        return f"s:{page.kind} ref={page.ref} mc={page.mapcount} {page.flags}", None

    def _of(self, block: int) -> tuple[Block, list[Page]]:
        """A block and its pages as they are now."""
        if block not in self._blocks:
            self._blocks[block] = Block(self.view, block)
            self._pages[block] = self._blocks[block].pages()
        return self._blocks[block], self._pages[block]


def _runs(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Runs of [first, n, ...] of rows that are the same."""
    runs: list[list[Any]] = []
    for number, row in enumerate(rows):
        if runs and runs[-1][2:] == list(row):
            runs[-1][1] += 1
        else:
            runs.append([number, 1, *row])
    return runs
