"""`thplab verify --steps`: an operation performed at the grain of one subpage,
and what it stores held against a recording, in order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from thplab.errors import BadInput, Deadlock, KernelBug, errname
from thplab.hardware.geometry import X86_64
from thplab.hardware.steps import WAIT, drain
from thplab.kernel.kernels import kernel
from thplab.kernel.mutants import Mutant, mutant
from thplab.kernel.policies import Kernel
from thplab.kernel.routines.lru import lru_add_drain
from thplab.machine.machine import Machine
from thplab.scenario import Operation
from thplab.scenario.vocabulary import WORD, spec_of
from thplab.study.verify.fold import Folded, fold
from thplab.study.verify.records import kernel_name
from thplab.study.verify.same_names import same_names
from thplab.study.verify.stores import Event, hides_dirty, read_recordings, recorded_events
from thplab.study.verify.watch import Watch

Lines = tuple[Folded, ...]
RIGHT = mutant("")


class StepDifference(NamedTuple):
    """A place at which the machine does something else than the recorded kernel.
    `position` is the number of the recorded step.
    """

    scenario: str
    position: str
    expected: str
    got: str

    @property
    def line(self) -> str:
        return f"{self.scenario} {self.position}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True)
class Followed:
    """One recording, and what the machine did beside it."""

    name: str
    op: Operation | None = None
    differences: tuple[StepDifference, ...] = ()
    not_modelled: str = ""
    unknown: Counter[str] = field(default_factory=Counter)
    """What of the recording is of no kind that is known -> how many stores."""
    expected: Lines = ()
    got: Lines = ()

    @property
    def agrees(self) -> bool:
        return not self.differences and not self.not_modelled


@dataclass
class StepReport:
    """What came out: N operations = those in the recorded order + those that differ + those not modelled."""

    followed: list[Followed] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status: 0 only if nothing differs."""
        return 1 if any(one.differences for one in self.followed) else 0

    def text(self) -> str:
        """A line for each difference, what is not modelled and why; the last line counts the operations."""
        lines = [difference.line for one in self.followed for difference in one.differences]
        lines += [f"not modelled: {one.name}: {one.not_modelled}" for one in self.followed if one.not_modelled]
        unknown = sum((one.unknown for one in self.followed), Counter[str]())
        lines += [f"not modelled: {kind}, {count} stores" for kind, count in sorted(unknown.items())]
        agree, differ = sum(one.agrees for one in self.followed), sum(bool(one.differences) for one in self.followed)
        total = len(self.followed)
        lines.append(
            f"{total} operations, {agree} in the recorded order, {differ} differ, {total - agree - differ} not modelled"
        )
        return "\n".join(lines) + "\n"


def verify_steps(path: str | Path, kernel_override: str = "", mutant_name: str = "") -> StepReport:
    """Perform every recorded operation of a file on the kernel that it names, or on another one,
    and compare what it stores.

    Raises BadInput for a file that cannot be read or holds no recordings,
    and for a kernel or mutant that does not exist.
    """
    wrong = mutant(mutant_name)
    return StepReport(list(follow_all(read_recordings(path), kernel_override, wrong)))


def follow_all(
    records: Iterable[Mapping[str, Any]], kernel_override: str = "", wrong: Mutant = RIGHT
) -> Iterator[Followed]:
    """The same recording by recording."""
    for record in records:
        yield follow(record, wrong.of(kernel(kernel_override or kernel_name(record["kernel"]))), wrong)


def follow(record: Mapping[str, Any], on: Kernel, wrong: Mutant = RIGHT) -> Followed:
    """One recording on a machine of its own with the kernel `on`."""
    name = str(record["name"])
    reading = recorded_events(record)
    try:
        *setup, op = map(operation, (*record["setup"], record["op"]))
        machine = Machine(on, X86_64, _memory(setup, op), wrong.variants)
        watch, rets = _perform(machine, setup, op, hides_dirty(kernel_name(record["kernel"])))
    except BadInput as error:
        return Followed(name, not_modelled=str(error), unknown=reading.unknown)
    except (KernelBug, Deadlock) as error:
        stopped = StepDifference(name, "setup", "no error", f"{type(error).__name__}: {error}")
        return Followed(name, differences=(stopped,), unknown=reading.unknown)
    zero = f"B{machine.system.huge_zero_page >> X86_64.order}" if machine.system.huge_zero_page else "B-"
    expected, got = same_names(reading.events, watch.events(), record.get("frames", []), zero)
    lines, seen = tuple(fold(expected)), tuple(fold(_as_recorded(expected, got)))
    differences = (*_rets(name, record["rets"], rets), *_crowded(name, got, watch), *_differences(name, lines, seen))
    not_modelled = "it holds stores of an unknown kind" if reading.unknown and not differences else ""
    return Followed(name, op, differences, not_modelled, reading.unknown, lines, seen)


def operation(op: Mapping[str, Any]) -> Operation:
    """An operation as the recorder of steps writes it: what it does not say is page 0, and one page."""
    spec = spec_of(str(op.get("op")))
    left_out = {"start": 0, "npages": 1, "at": 0}
    one_given = any(name in op for name in spec.one_of)
    wanted = {each.name for each in spec.fields if each.required or (each.name in spec.one_of and not one_given)}
    words = {each.name: str(op[each.name]) for each in spec.fields if each.kind is WORD and each.name in op}
    return Operation.from_json({name: value for name, value in left_out.items() if name in wanted} | dict(op) | words)


def _memory(setup: list[Operation], op: Operation) -> int:
    """Page frames that do not run out:
    each operation may take all regions anew, as huge pages, small ones and tables.
    """
    thps = sum(number for each in setup if each.op == "mmap" and isinstance(number := each.fields["thps"], int))
    return X86_64.nr * (4 + 2 * (len(setup) + 1) * max(1, thps))


def _perform(machine: Machine, setup: list[Operation], op: Operation, dirty: bool) -> tuple[Watch, list[int]]:
    """Carry out the setup at full speed, then the operation page by page.
    Returns what was seen of it, and what all of them returned.
    """
    rets: list[int] = []
    for each in setup:
        rets.append(drain(machine.begin(each)))
    drain(lru_add_drain(machine.system))  # the recorder waits until no page is in a batch
    machine.system.whole = False
    watch = Watch(machine, dirty)
    routine = machine.begin(op)
    while True:
        try:
            step = next(routine)
        except StopIteration as end:
            return watch, [*rets, end.value]
        if step.kind == WAIT:
            raise Deadlock(f"{step.text}: nobody else is running, so this never ends")
        watch.step(step, routine)


def _as_recorded(expected: list[Event], got: list[Event]) -> list[Event]:
    """The events of the machine; what one step stores at once, in the order in which the recording has it."""
    places: dict[Any, int] = {}
    for number, event in enumerate(expected):
        places.setdefault(event.store, number)
    return [
        e
        for _, step in groupby(got, key=lambda e: e.step)
        for e in sorted(step, key=lambda e: places.get(e.store, len(places)))
    ]


def _rets(name: str, recorded: list[object], got: list[int]) -> Iterator[StepDifference]:
    for number, (expected, result) in enumerate(zip(recorded, got, strict=False)):
        where = "ret" if number == len(got) - 1 else f"ret of setup {number}"
        if not isinstance(expected, dict) and str(expected) != errname(result):
            yield StepDifference(name, where, str(expected), errname(result))


def _crowded(name: str, got: list[Event], watch: Watch) -> Iterator[StepDifference]:
    """A step is one store: what a kernel stores one after the other must not be one step,
    or nobody can stop in between.
    """
    found: dict[tuple[str, str], Counter[int]] = {}
    for number, step in groupby(got, key=lambda e: e.step):
        events = list(step)
        if len(events) > 1:
            _, by, text = watch.changes[number]
            key = (by, re.sub(r"\d+", "#", text))
            found.setdefault(key, Counter())[len(events)] += 1
    for (by, text), sizes in found.items():
        most = max(sizes)
        yield StepDifference(
            name, "one step", "one store", f"{sizes.total()} steps of {by} with up to {most} stores: {text}"
        )


def _differences(name: str, expected: Lines, got: Lines) -> Iterator[StepDifference]:
    after = "before step 1"
    for same, wanted, seen in side_by_side(expected, got):
        if not same:
            where = f"step {wanted[0].events[0].step}" if wanted else after
            yield StepDifference(name, where, _told(wanted), _told(seen))
        after = f"after step {wanted[-1].events[-1].step}" if wanted else after


def side_by_side(expected: Lines, got: Lines) -> Iterator[tuple[bool, Lines, Lines]]:
    """Both rows cut where they begin or cease to agree: whether they do, and what each has there."""
    wanted, seen = ([line.text for line in lines] for lines in (expected, got))
    if wanted == seen:  # as nearly always, and then no place has to be looked for
        yield from [(True, expected, got)] if expected else ()
        return
    matcher = SequenceMatcher(None, wanted, seen, autojunk=False)
    for tag, low, high, first, last in matcher.get_opcodes():
        yield tag == "equal", expected[low:high], got[first:last]


def _told(lines: Lines) -> str:
    return " | ".join(f"{line.text} [{', '.join(dict.fromkeys(line.by))}]" for line in lines) or "nothing"
