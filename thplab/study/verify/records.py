"""Truth files: reading them, and what a record says after an operation, in the form in which it is compared.

The record formats are those of tests/truth/README.md, parts A and C (raw counters) and B (as /proc shows them).
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thplab.errors import BadInput
from thplab.foreign import read_lines
from thplab.scenario import Scenario
from thplab.study.contents import contents_text
from thplab.study.verify.columns import NOTHING, Column, Columns, PagePlace, aligned
from thplab.study.verify.shapes import RECORD

LEFT_OUT = {
    "frames.flags": "LRU and other page flags, in sub as well: the simulator has no LRU lists; x (anon_exclusive) "
    "and m (mlocked) alone are compared",
    "frames.queue_len": "the list is the system's: other THP users are on it, too; whether this page is on it is "
    "compared (deferred)",
    "frames.order": "a page of another order shows in head and sub",
    "frames.large_rmappable": "1 in every record",
    "frames.compound_lock": "0 in every record: on one CPU the bit is never stored",
    "ev.thp_zero_page_alloc": "noise: counts only if the huge zero page was freed before the scenario",
    "ev.pswpin": "noise: the recorder's own pages are swapped, too",
    "ev.pswpout": "noise: the recorder's own pages are swapped, too",
    "ret (a dict)": "ksm_scan and khugepaged_scan: the recorder's remark, no return value of the kernel",
}
"""Recorded field -> why it is not compared. docs/verify.md shows this table; a test compares the two."""

GONE = "gone"


@dataclass
class FrameView:
    """A physical block of a huge page's size:
    counters of the compound page by name, and its pages by index in the block.
    """

    fields: dict[str, int]
    pages: Columns


@dataclass
class RegionView:
    """A region of a process: smaps figures and the like by name, and its pages by index in the region."""

    fields: dict[str, object]
    pages: Columns


@dataclass
class OperationView:
    """All that can be compared after an operation; a frame that is not ours any more is GONE."""

    ret: str | None
    counts: dict[str, int]
    regions: dict[str, RegionView] = field(default_factory=dict)
    frames: dict[str, FrameView | str] = field(default_factory=dict)
    inside: dict[str, RegionView] | None = None
    """What was seen inside each page split, by `splitN.at`; None if nobody looked."""
    contents: dict[str, str] = field(default_factory=dict)
    """What an operation has read, and what pins read after it, in words, as far as it was recorded."""
    extra: tuple[str, ...] = ()
    """Whatever else the record holds: nothing that a machine shows."""


class Labels:
    """Names for physical blocks in the order of first sight. A block that was gone and comes back is another one.

    A recording labels by physical address, so a new THP may get an old label there;
    where the kernel puts a page is noise.
    """

    def __init__(self) -> None:
        self.names: dict[Any, str] = {}
        self.gone: list[str] = []
        self.freed: dict[str, set[int]] = defaultdict(set)
        """Name -> pages of the block that were freed once: whatever is there later is another page."""
        self.left: set[Any] = set()
        """Blocks that were ours once and are not any more."""

    def see(self, block: Any) -> str:
        """The name of a block that is ours, a new one at first sight."""
        self.left.discard(block)
        return self.names.setdefault(block, f"F{len(self.names) + len(self.gone)}")

    def drop(self, block: Any) -> None:
        """The block is not ours any more; nothing happens if it was not."""
        if block in self.names:
            self.gone.append(self.names.pop(block))
            self.left.add(block)


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """The records of a truth file.
    Raises BadInput that names the line if one is not a record, or the file cannot be read.

    The first recorder of raw counters did not look at cow_ksm:
    no record of such a file names it, and to each it is unseen.
    """
    right = "a truth file such as tests/truth/linux-4.5.jsonl"
    records = [_record(record, where) for where, record in read_lines(Path(path), RECORD, right)]
    if not records:
        raise BadInput("file", f"{str(path)!r} holds no record", "one record a line (tests/truth/README.md)")
    if not any("cow_ksm" in after["ev"] for record in records for after in record["after"]):
        for record in records:
            record.setdefault("unseen", [] if "reps" in record else ["ev.cow_ksm"])
    return records


def _record(record: dict[str, Any], where: str) -> dict[str, Any]:
    if len(record["ops"]) != len(record["after"]):
        raise BadInput(
            f"{where}: after", f"has {len(record['after'])} entries", f"one for each of the {len(record['ops'])} ops"
        )
    try:
        Scenario.from_record(record)
    except BadInput as wrong:
        raise BadInput(f"{where}: {wrong.argument}", wrong.wrong, wrong.right) from None
    return record


def unrecorded(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The counts of the system, by the beginnings of their names, that this record would not show if they changed."""
    names = () if any("sz" in after for after in record["after"]) else ("sz.",)
    names += tuple(name for name in record.get("unseen", ()) if name.startswith("ev."))
    return (*names, "ev.nr_anon_transparent_hugepages") if "reps" in record else names  # part B records no gauge in ev


def kernel_name(recorded: str) -> str:
    """The kernel record for a recorded kernel: its first two numbers, `v4.5` for 4.5.0.
    Raises BadInput if it has none.
    """
    found = re.match(r"\d+\.\d+", recorded)
    if found is None:
        raise BadInput("kernel", f"is {recorded!r}", "a release such as 4.5.0")
    return f"v{found.group()}"


def recorded_view(after: Mapping[str, Any], labels: Labels) -> OperationView:
    """What a record says after an operation. `labels` is the scenario's own and goes on from operation to operation."""
    for label, frame in after["frames"].items():
        if frame == GONE:
            labels.drop(label)
    ret = after["ret"]
    view = OperationView(None if isinstance(ret, dict) else str(ret), {})
    for kind in ("ev", "sz"):
        view.counts |= {f"{kind}.{name}": count for name, count in after.get(kind, {}).items()}
    for process, regions in after["proc"].items():
        for region, shown in regions.items():
            fields = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in shown.items()
                if name != "runs"
            }
            view.regions[f"{process}.{region}"] = RegionView(fields, _page_columns(shown["runs"], labels))
    view.frames = dict.fromkeys(labels.gone, GONE)
    for label, frame in after["frames"].items():
        if frame != GONE and (label in labels.names or _has_head(frame)):
            name = labels.see(label)
            view.frames[name] = _frame(frame, labels.freed[name])
    view.contents = {name: contents_text(tags) for name, tags in after.get("contents", {}).items() if tags}
    if "hugezero" in after:
        view.frames["hugezero"] = _frame(after["hugezero"], set())
    if "trace" in after:
        view.inside = _inside(after["trace"])
    view.extra = tuple(after.keys() - {"ret", "ev", "sz", "proc", "frames", "hugezero", "trace", "contents"})
    return view


def _has_head(frame: Any) -> bool:
    """Is it a compound page? A small page that happens to come from where a THP was before is no block to compare."""
    return any(kind == "head" for _, _, kind, *_ in frame) if isinstance(frame, list) else bool(frame["head"])


def _page_columns(runs: Iterable[list[Any]], labels: Labels) -> Columns:
    columns: Columns = defaultdict(Column)
    for page, count, state, label, index, *rest in runs:
        live = len(rest) == 4
        kind, how = (rest[1], rest[2]) if live else (None, rest[0])
        frame = label
        if live and label == "Z":
            state, frame = kind, None
        elif not live and state == "hugezero":
            frame = None
        elif isinstance(label, str) and label.startswith("F"):
            frame = labels.see(label)
        elif isinstance(label, str) and label.startswith("s:"):
            small, _, letters = label[2:].rpartition(" ")
            frame = "s"
            columns["small page"].add(page, count, small)
            columns["mlocked"].add(page, count, "m" in letters)
        columns["runs"].add(page, count, PagePlace(state, frame, index, how))
        others = {"mapcount": rest[0], "kind": kind, "excl": rest[3]} if live else {"flags": rest[1]}
        for name, value in others.items():
            if value is not None:
                columns[name].add(page, count, value)
    return dict(columns)


def _frame(frame: Any, freed: set[int]) -> FrameView:
    """The block's view. `freed` are its pages that were freed before; those that are gone now are added."""
    columns: Columns = defaultdict(Column)
    runs = frame if isinstance(frame, list) else frame["sub"]
    compound = any(kind == "head" for _, _, kind, *_ in runs)  # of which no page is ever freed alone
    for first, count, kind, *values in runs:
        if kind == GONE and not compound:
            freed.update(range(first, first + count))  # whoever has the page now
        for gone, pages in itertools.groupby(range(first, first + count), freed.__contains__):
            low, *rest = pages
            columns["kind"].add(low, 1 + len(rest), GONE if gone else kind)
            if gone or kind == GONE:
                continue
            if isinstance(frame, list):
                found = {"mapcount": values[0]}
            else:
                found = {"_refcount": values[0], "_mapcount": values[1]}
                found |= {"anon_exclusive": "x" in values[2], "mlocked": "m" in values[2]}
            for name, value in found.items():
                columns[name].add(low, 1 + len(rest), value)
    if isinstance(frame, list):
        return FrameView({}, dict(columns))
    recorded = Column()
    for first, count, value in frame.get("kpc", ()):  # not recorded of the huge zero page
        recorded.add(first, count, value)
    for first, count, (kind, value) in aligned(columns["kind"], recorded):
        if kind != GONE and value is not NOTHING:
            columns["kpagecount"].add(first, count, value)
    return FrameView({name: value for name, value in frame.items() if name not in ("sub", "kpc")}, dict(columns))


def pmd_kinds(pmds: Iterable[Any]) -> tuple[str, ...]:
    """Which kinds of PMD there are. Not how many: the recorder saw one twice while its VMA was being cut;
    the head counts them.
    """
    return tuple(sorted({f"{kind} {bits}" for kind, bits in pmds}))


def _inside(trace: Iterable[Mapping[str, Any]]) -> dict[str, RegionView]:
    """What a record's `trace` says, in the form of verify.inside.
    At 2, under the locks, the recorder could not look at PMDs.
    """
    seen: dict[str, RegionView] = {}
    split = -1
    for look in trace:
        split += look["at"] == 0
        columns: Columns = defaultdict(Column)
        for first, count, kind, refcount, mapcount in look["tails"]:
            for name, value in (("tails", kind), ("_refcount", refcount), ("_mapcount", mapcount)):
                columns[name].add(first, count, value)
        fields: dict[str, object] = {"head": tuple(look["head"])}
        if look["pmd"]:
            fields["pmd"] = pmd_kinds(look["pmd"])
        seen[f"split{split}.{look['at']}"] = RegionView(fields, dict(columns))
    return seen
