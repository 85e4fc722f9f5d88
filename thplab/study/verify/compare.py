"""Comparing what was recorded after an operation with what the machine shows:
one Difference for each field that disagrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from thplab.study.verify.columns import NOTHING, Column, Columns, aligned
from thplab.study.verify.records import GONE, LEFT_OUT, FrameView, OperationView, RegionView


class Difference(NamedTuple):
    """A field in which the machine disagrees with the record. `field` is e.g. `A.R.rss` or `F0.ref`."""

    field: str
    expected: str
    got: str


def differences(
    recorded: OperationView, shown: OperationView, skipped: Counter[str], ignored: tuple[str, ...] = ()
) -> Iterator[Difference]:
    """The differences after one operation.
    Counts of the system whose names begin with one of `ignored` are not looked at.

    `skipped` counts the recorded fields that the machine does not show.
    """
    if recorded.ret is not None and recorded.ret != shown.ret:
        yield Difference("ret", recorded.ret, str(shown.ret))
    yield from _counts(recorded.counts, shown.counts, ignored)
    for name in sorted(recorded.regions.keys() | shown.regions.keys()):
        here, there = recorded.regions.get(name), shown.regions.get(name)
        if here is None or there is None:
            yield Difference(name, _there(here), _there(there))
        else:
            yield from _region(name, here, there, skipped)
    for name in sorted(recorded.frames.keys() | shown.frames.keys()):
        frame, block = recorded.frames.get(name), shown.frames.get(name)
        if isinstance(frame, FrameView) and isinstance(block, FrameView):
            yield from _frame(name, frame, block, skipped)
        elif frame != block:
            yield Difference(name, _kept(frame), _kept(block))
    if recorded.inside is not None:
        yield from _inside(recorded.inside, shown.inside, skipped)
    for name, expected in recorded.contents.items():
        if expected != shown.contents.get(name, expected):
            yield Difference(name, expected, shown.contents[name])
    skipped.update(recorded.extra)


def _inside(
    recorded: dict[str, RegionView], shown: dict[str, RegionView] | None, skipped: Counter[str]
) -> Iterator[Difference]:
    """The looks into page splits, one by one; skipped where the machine splits in another way."""
    if shown is None:
        skipped["trace"] += 1
        return
    for name in sorted(recorded.keys() | shown.keys()):
        here, there = recorded.get(name), shown.get(name)
        if here is None or there is None:
            yield Difference(name, "nothing" if here is None else "a split", "nothing" if there is None else "a split")
            continue
        for field, expected in here.fields.items():
            if expected != there.fields[field]:
                yield Difference(f"{name}.{field}", _text(expected), _text(there.fields[field]))
        yield from _columns(name, "trace", here.pages, there.pages, "tails", skipped)


def _there(view: RegionView | None) -> str:
    return "no such region" if view is None else "a region"


def _kept(frame: FrameView | str | None) -> str:
    return "never seen" if frame is None else GONE if isinstance(frame, str) else "kept"


def _counts(recorded: dict[str, int], shown: dict[str, int], ignored: tuple[str, ...]) -> Iterator[Difference]:
    """A count that the record does not name did not change; one that the machine does not have cannot change there."""
    for name in sorted(recorded.keys() | shown.keys()):
        expected, got = recorded.get(name, 0), shown.get(name, 0)
        if expected != got and name not in LEFT_OUT and not name.startswith(ignored):
            yield Difference(name, str(expected), str(got))


def _region(name: str, recorded: RegionView, shown: RegionView, skipped: Counter[str]) -> Iterator[Difference]:
    """A figure that part A or C leaves out is 0 there;
    part B, which knows no PMDs, writes all that it has looked at.
    """
    zero_left_out = "pmd" in recorded.fields
    for field, got in shown.fields.items():
        expected = recorded.fields.get(field, 0 if zero_left_out and field not in ("deposited", "ksm") else got)
        if expected != got:
            yield Difference(f"{name}.{field}", _text(expected), _text(got))
    skipped.update(f"proc.{field}" for field in recorded.fields.keys() - shown.fields.keys())
    yield from _columns(name, "proc", recorded.pages, shown.pages, "runs", skipped)


def _frame(name: str, recorded: FrameView, shown: FrameView, skipped: Counter[str]) -> Iterator[Difference]:
    for field, expected in recorded.fields.items():
        if f"frames.{field}" in LEFT_OUT:
            continue
        if field in shown.fields:
            if expected != shown.fields[field]:
                yield Difference(f"{name}.{field}", str(expected), str(shown.fields[field]))
        elif shown.fields.get("head") == recorded.fields["head"]:
            skipped[f"frames.{field}"] += 1
    yield from _columns(name, "frames", recorded.pages, shown.pages, "kind", skipped)


def _columns(
    name: str, where: str, recorded: Columns, shown: Columns, first: str, skipped: Counter[str]
) -> Iterator[Difference]:
    """Differences page by page. A page that only one side has shows in the `first` column."""
    here, there = recorded.get(first, Column()), shown.get(first, Column())
    if here != there:
        yield from _difference(
            f"{name}.{first}", (piece for piece in aligned(here, there) if piece[2][0] != piece[2][1])
        )
    for column, expected in recorded.items():
        got = shown.get(column, Column())
        if column == first or expected == got:
            continue
        both = [
            (page, count, side[2:]) for page, count, side in aligned(here, there, expected, got) if side[0] == side[1]
        ]
        # Where the record does not show the flag either, nothing is lost.
        if any(values[1] is NOTHING and values[0] is not NOTHING and values[0] is not False for _, _, values in both):
            skipped[f"{where}.{column}"] += 1
        differ = (piece for piece in both if NOTHING not in piece[2] and not _same(column, *piece[2]))
        yield from _difference(f"{name}.{column}", differ)


def _difference(field: str, pieces: Iterable[tuple[int, int, list[object]]]) -> Iterator[Difference]:
    """One difference in all these pieces of an expected column and the one that was got,
    or none if there are no pieces.
    """
    sides = Column(), Column()
    for page, count, values in pieces:
        for side, value in zip(sides, values, strict=True):
            if value is not NOTHING:
                side.add(page, count, value)
    if any(side.runs for side in sides):
        yield Difference(field, str(sides[0]), str(sides[1]))


def _same(column: str, expected: object, got: object) -> bool:
    if column == "flags" and isinstance(expected, str) and isinstance(got, str):
        # Not every recording shows PROT_NONE (n).
        return expected == (got if "n" in expected else got.replace("n", ""))
    return expected == got


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
