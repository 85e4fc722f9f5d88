"""Replaying the scenarios of a truth file on a machine, and the report of where it agrees with the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from thplab.errors import EFAULT, BadInput, Deadlock, KernelBug
from thplab.hardware.geometry import X86_64
from thplab.hardware.steps import drain
from thplab.kernel.kernels import kernel
from thplab.kernel.mutants import Mutant, mutant
from thplab.kernel.policies import Kernel
from thplab.kernel.routines.lru import lru_add_drain
from thplab.machine.machine import Machine
from thplab.machine.snapshot import capture
from thplab.machine.state import State
from thplab.scenario import Operation, Scenario
from thplab.study.contents import contents_text
from thplab.study.verify.compare import Difference, differences
from thplab.study.verify.inside import drive, shows_inside
from thplab.study.verify.records import (
    Labels,
    OperationView,
    RegionView,
    kernel_name,
    read_records,
    recorded_view,
    unrecorded,
)
from thplab.study.verify.shown import Shown
from thplab.study.verify.unseen import blurred

DEVICES = {"": "", "noswap": "", "swap": "swap", "zram": "zram"}
"""Environment of a scenario -> the kind of swap device that the machine has."""

_LARGEST = 1 << 21
"""Page frames of the machine of a scenario: 8 GiB of x86-64. It is compared page by page."""

COMPACTION = "/proc/sys/vm/compact_memory"
"""Which small pages it moves depends on what else is in the zone:
where the recordings differ, nothing can be compared.
"""

OWN = ("nopfn", "no such ", "region exists")
"""How the recorder's own answers begin: it, too, refuses. Another is -ENXIO to the split of what is no huge page."""

SEGV = "killed by SIGSEGV"
"""What a recorder answers whose process touches memory as any other does, instead of telling -EFAULT: it dies of it."""

DEAD = ("exited", "process is dead")
"""What the recorder answers once it has lost a child to a pin that never existed (tests/truth/README.md, part A)."""


class Disagreement(NamedTuple):
    """One field of one operation in which the machine disagrees with the record."""

    scenario: str
    number: int
    operation: str
    difference: Difference

    @property
    def line(self) -> str:
        name, expected, got = self.difference
        return f"{self.scenario} {self.number} {self.operation}: {name}: expected {expected}, got {got}"


@dataclass(frozen=True)
class Outcome:
    """What came out of one operation:
    the machine agrees, or there are differences, or it is `not_modelled` for a reason.
    """

    scenario: str
    number: int
    op: Operation
    differences: tuple[Difference, ...] = ()
    not_modelled: str = ""
    skipped: Counter[str] = field(default_factory=Counter)
    """Recorded fields that the machine does not show -> in how many places."""
    views: tuple[OperationView, OperationView] | None = None
    """What was compared, recorded and shown; None if nothing was."""
    state: State | None = None
    """The simulated machine after it; None if nothing was compared."""

    @property
    def agrees(self) -> bool:
        return not self.differences and not self.not_modelled


class _Unmodelled(Exception):
    """The operation, and so the rest of the scenario, is not modelled; the text says why."""


class _Stopped(Exception):
    """The machine refused an operation that is modelled, or met a bug of its own in it; the text says what happened."""


@dataclass
class Verified:
    """What came out: N operations = `agree` + `disagree` + `not_modelled`."""

    agree: int = 0
    disagree: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    """Why operations are not modelled -> how many."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Recorded fields that the machine does not show -> in how many places."""

    def add(self, outcome: Outcome) -> None:
        """Count an operation in."""
        self.agree += outcome.agrees
        self.disagree += bool(outcome.differences)
        if outcome.not_modelled:
            self.reasons[outcome.not_modelled] += 1
        if outcome.differences:
            name = outcome.op.label(X86_64.nr)
            self.disagreements += [Disagreement(outcome.scenario, outcome.number, name, d) for d in outcome.differences]
        self.skipped.update(outcome.skipped)

    @property
    def not_modelled(self) -> int:
        return self.reasons.total()

    @property
    def operations(self) -> int:
        return self.agree + self.disagree + self.not_modelled

    @property
    def status(self) -> int:
        """The exit status: 0 only if nothing disagrees."""
        return 1 if self.disagree else 0

    def text(self) -> str:
        """A line for each disagreement, then the counts."""
        return "".join(f"{d.line}\n" for d in self.disagreements) + self.counts()

    def counts(self) -> str:
        """What was not modelled and not compared; the last line counts the operations."""
        lines = [f"not modelled: {count} operations: {reason}" for reason, count in self.reasons.most_common()]
        lines += [
            f"not compared: {name}, {count} times: this kernel does not show it"
            for name, count in sorted(self.skipped.items())
        ]
        lines.append(
            f"{self.operations} operations, {self.agree} agree, {self.disagree} disagree, {self.not_modelled} not "
            "modelled"
        )
        return "\n".join(lines) + "\n"


def verify(path: str | Path, kernel_override: str = "", mutant_name: str = "") -> Verified:
    """Replay every scenario of a truth file on the kernel that it names, or on another one,
    and compare all that is recorded.

    `mutant_name` replays on that mutant of the kernel. Raises BadInput for a file that cannot be read or holds no
    records, for a kernel or mutant that does not exist, and for a mutant of another scheme.
    """
    report = Verified()
    for outcome in replay_records(read_records(path), kernel_override, mutant_name):
        report.add(outcome)
    return report


def replay_records(
    records: Iterable[Mapping[str, Any]], kernel_override: str = "", mutant_name: str = ""
) -> Iterator[Outcome]:
    """The same operation by operation, in the order of the records: whoever has seen enough may stop.
    Raises as verify does.
    """
    wrong = mutant(mutant_name)
    for record in records:
        yield from _Replay(record, kernel(kernel_override or kernel_name(record["kernel"])), wrong).run()


class _Replay:
    """One scenario on a machine of its own."""

    def __init__(self, record: Mapping[str, Any], on: Kernel, wrong: Mutant) -> None:
        self.scenario = Scenario.from_record(record)
        self.record = record
        wanted = _memory(self.scenario)
        self.too_large = wanted > _LARGEST
        self.machine = Machine(
            wrong.of(on), X86_64, min(wanted, _LARGEST), wrong.variants, _device(self.scenario.env, record)
        )
        self.state = self.machine.state
        self.shown = Shown(self.machine, self.state, live="reps" in record)
        self.labels = Labels()
        self.unrecorded = unrecorded(record)
        # Part A drained the batches after each operation (tests/truth/README.md); a live run of today does so, too, and
        # says it.
        self.drained = bool(record.get("drained", not self.shown.live))
        self.unseen = tuple(record.get("unseen", ()))
        self.views: tuple[OperationView, OperationView] | None = None

    def run(self) -> Iterator[Outcome]:
        """Replay to the end; from where the machine cannot go on, nothing is modelled."""
        stopped = ""
        for index, op in enumerate(self.scenario.ops):
            skipped = Counter[str]()
            found: tuple[Difference, ...] = ()
            why, self.views = stopped, None
            if not stopped:
                try:
                    found = self._operation(index, op, skipped)
                except _Unmodelled as unmodelled:
                    why = stopped = str(unmodelled)
                except _Stopped as met:
                    found = (Difference("ret", str(self.record["after"][index]["ret"]), str(met)),)
                    stopped = "the machine stopped earlier in the scenario"
            yield Outcome(
                self.scenario.name, index, op, found, why, skipped, self.views, self.state if self.views else None
            )

    def _operation(self, index: int, op: Operation, skipped: Counter[str]) -> tuple[Difference, ...]:
        """Carry out an operation and compare.
        One that was recorded twice with different outcomes agrees with either.
        """
        after, noisy = self.record["after"][index], index in self.record["noisy_ops"]
        if self.too_large:
            raise _Unmodelled("the simulated machine's memory could run out in so large a scenario")
        if self.scenario.env not in DEVICES:
            raise _Unmodelled(f"env {self.scenario.env} is not built")
        if after["ret"] in DEAD:
            raise _Unmodelled("the recorder's process is dead from here on")
        if noisy and op.op == "sys" and op.fields["path"] == COMPACTION:
            raise _Unmodelled("compaction moved other pages when it was recorded again")
        result, inside = self._perform(op, after["ret"], look="trace" in after)
        if self.drained:
            drain(lru_add_drain(self.machine.system))
        self.state = capture(self.machine.system)
        ignored = ("ev.", "sz.") if noisy else self.unrecorded
        first = self.record.get("run0", {}).get(str(index)) if noisy else None
        labels = deepcopy(self.labels) if first else Labels()
        recorded, shown = (
            recorded_view(after, self.labels),
            self.shown.view(self.state, result, hugezero="hugezero" in after),
        )
        shown.inside, shown.contents = inside, self._contents(op, after.get("contents", {}))
        self.views = blurred(recorded, self.unseen), blurred(shown, self.unseen)
        found = tuple(differences(*self.views, skipped, ignored))
        if found and first:
            other = blurred(recorded_view(first, labels), self.unseen)
            return found if any(differences(other, self.views[1], Counter(), ignored)) else ()
        return found

    def _contents(self, op: Operation, recorded: Mapping[str, Sequence[int]]) -> dict[str, str]:
        """What `op` has read, as far as it came, and what pins read after it: one byte of each page."""
        found = {f"pin {name}": self.state.pin_contents(name) for name in self.state.pins}
        if recorded.get("read") and op.op == "read":
            plain = op.resolve(X86_64.nr)
            start, stop = int(plain["start"] or 0), int(plain["start"] or 0) + len(recorded["read"])
            there = self.state.contents(str(plain["proc"]), str(plain["region"]))[start:stop]
            found["read"] = tuple(tag or 0 for tag in there)
        return {name: contents_text([tag & 0xFF for tag in tags]) for name, tags in found.items() if tags}

    def _perform(self, op: Operation, recorded: object, look: bool) -> tuple[int | str, dict[str, RegionView] | None]:
        """Carry out an operation; returns what the kernel returns and, if asked to `look`,
        what was seen inside of page splits.

        Raises _Unmodelled or _Stopped if that cannot be.
        """
        try:
            if look and shows_inside(self.machine):
                return drive(self.machine, self.machine.begin(op))
            result = drain(self.machine.begin(op))
            if recorded == SEGV and result == -EFAULT:
                drain(self.machine.begin(Operation("exit", {"proc": op.fields["proc"]})))
                return SEGV, None
            return result, None
        except BadInput as error:
            if "is not built" in error.wrong:
                raise _Unmodelled(f"{op.op}: {error.argument} {error.wrong}") from None
            if str(recorded).startswith(OWN) or (op.op == "split" and recorded == "-ENXIO"):
                return str(recorded), None
            raise _Stopped(f"refused: {error}") from None
        except (KernelBug, Deadlock) as error:
            raise _Stopped(f"{type(error).__name__}: {error}") from None


def _device(env: str, record: Mapping[str, Any]) -> str:
    """The kind of swap device of a recording. A live machine (part B) swapped to a file, the others to a disk."""
    return "swapfile" if env == "swap" and "reps" in record else DEVICES.get(env, "")


def _memory(scenario: Scenario) -> int:
    """Page frames that can never run out:
    each operation may take all regions anew, as huge pages or as small ones, and tables.
    """
    thps = sum(number for op in scenario.ops if op.op == "mmap" and isinstance(number := op.fields["thps"], int))
    return X86_64.nr * (8 + len(scenario.ops) * (2 * thps + 2))
