"""The recorded operations of a kernel: which of them a scenario does, and which of its steps do what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from thplab.hardware.geometry import X86_64
from thplab.hardware.steps import drain
from thplab.kernel.kernels import kernel
from thplab.machine.trace import Setup
from thplab.scenario import Operation
from thplab.study.verify.fold import Folded
from thplab.study.verify.steps import Followed, follow, operation, side_by_side
from thplab.study.verify.stores import Store, Value, hides_dirty, read_recordings
from thplab.study.verify.watch import Watch


class Recording(NamedTuple):
    """One recorded operation of a kernel."""

    name: str
    release: str
    """The kernel that was recorded, as `uname -r` gives it."""
    setup: tuple[Operation, ...]
    op: Operation
    record: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What was recorded, and after what."""
        before = ", ".join(each.label(X86_64.nr) for each in self.setup)
        return f"{self.op.label(X86_64.nr)}, after {before}"


class Row(NamedTuple):
    """What a recording has in one place, and what the machine does there: the same, or not."""

    recorded: tuple[Folded, ...]
    here: tuple[Folded, ...]
    agrees: bool


def recordings_folder() -> Path:
    """Where the recordings of steps are: in the package if that came as a wheel, else beside it in the checkout."""
    package = Path(__file__).parents[2]
    folder = package / "truth" / "steps"
    return folder if folder.is_dir() else package.parent / "tests" / "truth" / "steps"


def recorded_kernels() -> list[str]:
    """The kernels whose steps were recorded, the oldest first."""
    versions = [path.stem.removeprefix("steps-") for path in recordings_folder().glob("steps-*.jsonl")]
    return [f"v{version}" for version in sorted(versions, key=lambda version: [*map(int, version.split("."))])]


@cache
def recordings(name: str) -> dict[str, Recording]:
    """The recorded operations of kernel `name`, by their names; none of a kernel that was not recorded."""
    path = recordings_folder() / f"steps-{name.removeprefix('v')}.jsonl"
    if name not in recorded_kernels():
        return {}
    found = {}
    for record in read_recordings(path):
        *setup, op = map(operation, (*record["setup"], record["op"]))
        found[str(record["name"])] = Recording(str(record["name"]), str(record["kernel"]), tuple(setup), op, record)
    return found


def recording_of(ops: Sequence[Operation], nr: int, name: str) -> Recording | None:
    """The recording on kernel `name` of the last one of `ops`, after the others. A huge page has `nr` pages there.

    Which page of a huge page an operation is about, and what a pin is called, does not matter.
    """
    kinds = [_kind(op, nr) for op in ops]
    for each in recordings(name).values():
        if [_kind(op, X86_64.nr) for op in (*each.setup, each.op)] == kinds:
            return each
    return None


def _kind(op: Operation, nr: int) -> dict[str, object]:
    fields: dict[str, object] = {"op": op.op, **op.resolve(nr)}
    count, start = fields.pop("npages", None), fields.pop("start", None)
    fields.pop("pin", None)
    if isinstance(count, int):
        fields["npages"] = "all" if (start, count) == (0, nr) else min(count, 2)
    return fields


def rows(one: Followed) -> list[Row]:
    """Both rows of stores side by side, line by line where they agree."""
    found = []
    for same, wanted, seen in side_by_side(one.expected, one.got):
        if same:
            found += [Row((there,), (here,), True) for there, here in zip(wanted, seen, strict=True)]
        else:
            found.append(Row(wanted, seen, False))
    return found


@cache
def followed(name: str, recording: str) -> Followed:
    """A recorded operation of kernel `name`, performed on it."""
    return follow(recordings(name)[recording].record, kernel(name))


# --- where a trace does it ------------------------------------------------------------------------------------------


def places(found: Sequence[Row], ops: Sequence[Operation], setup: Setup) -> list[tuple[int, int] | None]:
    """For each row the first and the last step of the last one of `ops`, from 0, that do it on a machine of this kind.

    None for a row of which nothing is done here.
    A loop over subpages is one step there, or a few, each of which does one thing with all of them.
    """
    machine = setup.machine()
    for op in ops[:-1]:
        drain(machine.begin(op))
    watch = Watch(machine, hides_dirty(setup.kernel_name))
    routine, steps = machine.begin(ops[-1]), []
    for number, step in enumerate(routine):
        before = len(watch.changes)
        watch.step(step, routine)
        steps += [number] * (len(watch.changes) - before)
    done = [(steps[event.step], _sort(event.store)) for event in watch.events()]
    return list(_placed(found, list(dict.fromkeys(done))))


def _placed(found: Sequence[Row], done: Sequence[tuple[int, object]]) -> Iterator[tuple[int, int] | None]:
    """Each row has the nearest steps that do its stores, rather later than earlier ones:
    a loop is peeled at its ends.
    """
    at = 0
    for row in found:
        stores = [event.store for line in row.here for event in line.events[: len(line.body)]]
        spots = []
        for wanted in map(_sort, stores):
            ways = [number for number, sort in done if sort == wanted]
            far = [2 * (at - number) if number < at else number - at for number in ways]
            spots += [ways[far.index(min(far))]] if ways else []
        at = max((at, *spots))
        yield (min(spots), max(spots)) if spots else None


def _sort(store: Store) -> object:
    """The same for a store and for what it is in another geometry: without numbers of pages, and of counts only whether
    they grow.
    """
    place = re.sub(r"^(?:B\d+|F\?*\d+|pfn\w+|page at .*?|[no]\d+)(?:\[\d+\])?$", "page", store.place)
    place = re.sub(r"#\d+|\[\d+\]|new#\d+", "", place)
    if store.field.startswith("_mm_id["):
        return place, store.field, store.new == 0
    if isinstance(store.old, int) and isinstance(store.new, int):
        return place, store.field, store.new > store.old
    return place, store.field, _word(store.old), _word(store.new)


def _word(value: Value) -> str:
    """What an entry is; a flag as it is."""
    text = str(value)
    known = re.match(r"none|table|huge|INVALID|migration|swap|hwpoison|protnone|[+-].*", text)
    return known[0] if known else "page"
