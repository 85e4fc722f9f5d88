"""What a machine shows after an operation, under the names of the truth files."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from thplab.errors import errname
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import (
    COLUMNS,
    PG_anon_exclusive,
    PG_has_hwpoisoned,
    PG_head,
    PG_hwpoison,
    PG_ksm,
    PG_mlocked,
    PG_table,
    PG_tail,
    PG_used,
)
from thplab.machine.machine import Machine
from thplab.machine.state import Mapped, ProcessState, State
from thplab.study.observe import smaps
from thplab.study.verify.columns import Column, Columns, PagePlace
from thplab.study.verify.records import GONE, FrameView, Labels, OperationView, RegionView

SMAPS = {
    "rss": "Rss",
    "pss": "Pss",
    "anonhuge": "AnonHugePages",
    "swap": "Swap",
    "lazyfree": "LazyFree",
    "locked": "Locked",
    "ksm": "KSM",
}
"""What a recording calls the figures of smaps -> what the file calls them."""

_STATS = {
    "anon_fault_alloc": "thp_fault_alloc",
    "split": "thp_split_page",
    "split_failed": "thp_split_page_failed",
    "split_deferred": "thp_deferred_split_page",
    "swpout": "thp_swpout",
    "swpout_fallback": "thp_swpout_fallback",
}
"""Counters of hugepages-2048kB/stats -> the event that counts the same. THPs have one size here."""

_NOT_SHOWN = ("first_page", "mapping", "index", "content", "mlock_count")
_COUNTERS = [row for row, name in enumerate(COLUMNS) if name not in _NOT_SHOWN]
"""Rows of a block by which what is compared of a page is told."""

_FLAGS = ((pt._PAGE_PROTNONE, "n"), (pt._PAGE_RW, "w"), (pt._PAGE_DIRTY, "d"), (pt._PAGE_ACCESSED, "y"))


class _Thp(NamedTuple):
    """A block that is or was a THP of the scenario:
    whether it is a compound page, and which pages are ours since then.
    """

    compound: bool
    ours: npt.NDArray[np.bool_]


class Shown:
    """Follows a machine from operation to operation; `view` is what it shows after one."""

    def __init__(self, machine: Machine, state: State, live: bool) -> None:
        self.machine = machine
        self.state = state
        self.live = live
        """As a live machine shows it: a small page that is mapped in no region is gone."""
        self.labels = Labels()
        self.frames: dict[int, _Thp] = {}
        self.counts = self._counts(state)

    def view(self, state: State, result: int | str, hugezero: bool = False) -> OperationView:
        """What the machine shows in `state`, at rest after an operation that returned `result`,
        or that the recorder answered itself.

        The huge zero page only if asked.
        """
        self.state = state
        self._follow_frames()
        counts = self._counts(state)
        ret = errname(result) if isinstance(result, int) else result
        view = OperationView(ret, {name: value - self.counts.get(name, 0) for name, value in counts.items()})
        self.counts = counts
        for process in state.processes:
            for name, region in sorted(process.regions):
                fields = self._region_fields(process, name, region)
                view.regions[f"{process.name}.{name}"] = RegionView(fields, self._pages(process, region))
        view.frames = dict.fromkeys(self.labels.gone, GONE)
        view.frames |= {self.labels.see(block): self._frame(block, frame) for block, frame in self.frames.items()}
        if hugezero and state.huge_zero_page:
            nr = state.geometry.nr
            view.frames["hugezero"] = self._frame(state.huge_zero_page // nr, _Thp(True, np.ones(nr, np.bool_)))
        return view

    # --- counters of the system ---------------------------------------------------------------------------------------

    def _counts(self, state: State) -> dict[str, int]:
        counts = {f"ev.{name}": value for name, value in state.vmstat.items()}
        counts |= {f"sz.{name}": state.vmstat[event] for name, event in _STATS.items() if event in state.vmstat}
        heads = state.huge_pages()
        counts["ev.nr_anon_transparent_hugepages"] = len(state.pmd_maps)
        counts["sz.nr_anon"] = len(heads)
        counts["sz.nr_anon_partially_mapped"] = sum(
            self._raw_fields(state, head).get("partially_mapped", 0) for head in heads
        )
        return counts

    def _raw_fields(self, state: State, head: int) -> Mapping[str, int]:
        fields = {name: state.field(name, head) for name in COLUMNS}
        return state.kernel.scheme.raw_fields(fields, head in state.deferred)

    # --- frames -------------------------------------------------------------------------------------------------------

    def _follow_frames(self) -> None:
        """Forget pages and blocks that were freed, then name the THPs that are seen for the first time."""
        state, nr = self.state, self.state.geometry.nr
        seen = self._seen() if self.live else None
        for block, frame in list(self.frames.items()):
            flags = state.column("flags", block * nr, nr)
            compound = bool(flags[0] & PG_head)
            given_back = ((flags & (PG_hwpoison | PG_tail)) == PG_hwpoison) & (
                state.column("refcount", block * nr, nr) == 0
            )
            ours = frame.ours & ((flags & (PG_used | PG_table)) == PG_used) & ~given_back
            if seen is not None and not compound:
                ours &= seen[block * nr : (block + 1) * nr]
            if not ours.any() or (compound and not frame.compound):
                del self.frames[block]
                self.labels.drop(block)
            else:
                self.frames[block] = _Thp(compound, ours)
        for process in state.processes:
            for _, region in sorted(process.regions):
                for m, _, _ in self._mapped(process, region):
                    block = m.pfn // nr
                    if (
                        m.kind == "page"
                        and block not in self.frames
                        and state.field("flags", m.pfn) & (PG_head | PG_tail)
                    ):
                        self.labels.see(block)
                        self.frames[block] = _Thp(True, np.ones(nr, np.bool_))

    def _seen(self) -> npt.NDArray[np.bool_]:
        """Which frames are mapped in any region: all that a live machine shows of small pages."""
        seen = np.zeros(self.state.nframes, np.bool_)
        for process in self.state.processes:
            for _, region in process.regions:
                for m, _, count in self._mapped(process, region):
                    if m.kind == "page":
                        seen[m.pfn : m.pfn + count] = True
        return seen

    def _frame(self, block: int, frame: _Thp) -> FrameView:
        state, nr = self.state, self.state.geometry.nr
        head = block * nr
        columns: Columns = defaultdict(Column)
        fields = {"head": int(frame.compound)}
        if frame.compound:
            tails = state.column("refcount", head, nr)[1:], state.column("mapcount", head, nr)[1:]
            fields["ref"] = state.field("refcount", head)
            fields["has_hwpoisoned"] = int(bool(state.field("flags", head) & PG_has_hwpoisoned))
            fields["head_mapcount_raw"] = state.field("mapcount", head)
            fields["tails_count_nonzero"] = int(np.count_nonzero(tails[0]))
            fields["tail_pins"] = int((tails[1] + 1).sum())
            fields |= self._raw_fields(state, head)
            fields["maybe_shared"] = int(state.kernel.scheme.maybe_mapped_shared(self.machine.system.frames, head))
            if state.kernel.gup.foll_pin:
                fields["pincount"] = state.field("pincount", head)
        for page, count in self._alike(head, nr):
            pfn, ours = head + page, bool(frame.ours[page])
            small = "ksm" if self.live and state.field("flags", pfn) & PG_ksm else "small"
            kind = _part_of_compound(state.field("flags", pfn)) or small
            columns["kind"].add(page, count, kind if ours else GONE)
            if not ours:
                continue
            mapcount = self._kpagecount(pfn)
            columns["_refcount"].add(page, count, state.field("refcount", pfn))
            columns["_mapcount"].add(page, count, state.field("mapcount", pfn))
            columns["kpagecount"].add(page, count, mapcount)
            columns["mapcount"].add(page, count, mapcount)
            columns["mlocked"].add(page, count, bool(state.field("flags", pfn) & PG_mlocked))
            exclusive = self._exclusive(pfn)
            if exclusive is not None:
                columns["anon_exclusive"].add(page, count, exclusive)
        return FrameView(fields, dict(columns))

    def _alike(self, pfn: int, count: int) -> Iterator[tuple[int, int]]:
        """Runs of the frames from `pfn` on, as (offset from pfn, count):
        those of one block whose counters and flags are equal.
        """
        nr = self.state.geometry.nr
        first = 0
        while first < count:
            block, index = divmod(pfn + first, nr)
            width = min(nr - index, count - first)
            columns = self.state.blocks[block][_COUNTERS, index : index + width] if block in self.state.blocks else None
            differs = (
                np.zeros(width - 1, np.bool_) if columns is None else (columns[:, 1:] != columns[:, :-1]).any(axis=0)
            )
            if block in self.frames:
                ours = self.frames[block].ours[index : index + width]
                differs |= ours[1:] != ours[:-1]
            for low, high in itertools.pairwise([0, *(np.flatnonzero(differs) + 1).tolist(), width]):
                yield first + low, high - low
            first += width

    def _kpagecount(self, pfn: int) -> int:
        return self.state.kernel.scheme.page_mapcount(self.machine.system.frames, pfn)

    def _exclusive(self, pfn: int) -> bool | None:
        return (
            bool(self.state.field("flags", pfn) & PG_anon_exclusive) if self.state.kernel.cow.anon_exclusive else None
        )

    # --- regions ------------------------------------------------------------------------------------------------------

    def _region_fields(self, process: ProcessState, name: str, region: tuple[int, int]) -> dict[str, object]:
        state, (start, pages) = self.state, region
        figures = smaps(state, process.name, name)
        fields: dict[str, object] = {field: figures.get(figure, 0) for field, figure in SMAPS.items()}
        fields["vmas"] = len(state.vmas(process.name, name))
        kinds, tables = [], set()
        for at in range(start, start + pages * state.geometry.page_size, state.geometry.huge_size):
            kind, table = self._pmd(process, at)
            kinds.append(kind)
            tables.add(table)
        fields["pmd"] = tuple(kinds)
        fields["deposited"] = sum(len(waiting) for table, waiting in process.deposited if table in tables)
        return fields

    def _pmd(self, process: ProcessState, address: int) -> tuple[str, int]:
        """What the PMD for an address is, and the table that it is in (0 if there is none)."""
        state, table = self.state, process.pgd
        for level in range(state.geometry.levels - 1, 1, -1):
            entry = int(state.tables[table][state.geometry.index(address, level)])
            if not entry:
                return "none", 0
            table = pt.pte_pfn(entry)
        entry = int(state.tables[table][state.geometry.index(address, 1)])
        if not entry:
            return "none", table
        if pt.pmd_trans_huge(entry):
            return ("hugezero" if pt.pte_pfn(entry) == state.huge_zero_page else "huge"), table
        return ("migration" if pt.is_migration_entry(entry) else "table"), table

    def _mapped(self, process: ProcessState, region: tuple[int, int]) -> Iterator[tuple[Mapped, int, int]]:
        """The mappings in a region, each with its first page and its count of pages, as far as they lie in it."""
        return self.state.mapped_in(process.name, *region)

    def _pages(self, process: ProcessState, region: tuple[int, int]) -> Columns:
        columns: Columns = defaultdict(Column)
        for m, page, count in self._mapped(process, region):
            how = "pmd" if m.level else "pte"
            letters = "".join(letter for bit, letter in _FLAGS if m.entry & bit)
            if m.kind == "swap":
                letters = "x" if m.entry & pt._SWP_EXCLUSIVE else ""
            columns["flags"].add(page, count, letters if m.kind in ("page", "zero", "swap") else "")
            if m.kind == "page":
                for offset, alike in self._alike(m.pfn, count):
                    self._add_alike(columns, page + offset, alike, m.pfn + offset, how)
                continue
            if m.kind in ("swap", "guard"):
                columns["runs"].add(page, count, PagePlace(m.kind, None, None, how))
                columns["excl"].add(page, count, 0)
                continue
            kind = m.kind if m.kind != "zero" else "hugezero" if m.level else "zero"
            columns["runs"].add(page, count, PagePlace(kind, None, None, how))
            columns["kind"].add(page, count, kind)
            columns["mapcount"].add(page, count, 0)
            columns["excl"].add(page, count, 0)
        return dict(columns)

    def _add_alike(self, columns: Columns, page: int, count: int, pfn: int, how: str) -> None:
        """Pages that lie one behind the other and look the same, from `page` of the region and frame `pfn` on."""
        state, nr = self.state, self.state.geometry.nr
        flags = state.field("flags", pfn)
        block, index = divmod(pfn, nr)
        mapcount = self._kpagecount(pfn)
        if block in self.frames and self.frames[block].ours[index]:
            columns["runs"].add(page, count, PagePlace("present", self.labels.see(block), index, how))
        else:
            columns["runs"].add(page, count, PagePlace("present", "s", None, how))
            small = f"small ref={state.field('refcount', pfn)} mc={state.field('mapcount', pfn)}"
            columns["mlocked"].add(page, count, bool(flags & PG_mlocked))
            columns["small page"].add(page, count, small)
        columns["kind"].add(
            page,
            count,
            _part_of_compound(flags) or ("ksm" if flags & PG_ksm else "small"),
        )
        columns["mapcount"].add(page, count, mapcount)
        # pagemap asks the first page of a PMD for all of them.
        columns["excl"].add(page, count, int((self._kpagecount(state.head(pfn)) if how == "pmd" else mapcount) == 1))


def _part_of_compound(flags: int) -> str:
    return "head" if flags & PG_head else "tail" if flags & PG_tail else ""
