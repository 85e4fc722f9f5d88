"""Replaying the scenarios of a truth file on a machine, and the report of where it agrees with the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from errno import ENXIO
from pathlib import Path
from typing import Any, NamedTuple

from thplab.errors import BadInput, Deadlock, KernelBug
from thplab.geometry import X86_64
from thplab.kernels import Kernel, kernel
from thplab.machine import Machine
from thplab.scenario import Operation, Scenario
from thplab.state import capture
from thplab.steps import drain
from thplab.trace import begin
from thplab.verify.compare import Difference, compare
from thplab.verify.records import Labels, kernel_name, read_records, recorded_view, unrecorded
from thplab.verify.shown import Shown

ENVS = ("", "noswap")
"""Environments that the machine models: those without swap."""

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


class _Unmodelled(Exception):
    """The operation, and so the rest of the scenario, is not modelled; the text says why."""


class _Stopped(Exception):
    """The machine refused an operation that is modelled, or met a bug of its own in it; the text says what happened."""


@dataclass
class Report:
    """What came out: N operations = `agree` + `disagree` + `not_modelled`."""

    agree: int = 0
    disagree: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    """Why operations are not modelled -> how many."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Recorded fields that the machine does not show -> in how many places."""

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
        """A line for each disagreement, then what was not modelled and not compared; the last line counts."""
        lines = [d.line for d in self.disagreements]
        lines += [f"not modelled: {count} operations: {reason}" for reason, count in self.reasons.most_common()]
        lines += [f"not compared: {name}, {count} times: this kernel does not show it" for name, count in sorted(self.skipped.items())]
        lines.append(f"{self.operations} operations, {self.agree} agree, {self.disagree} disagree, {self.not_modelled} not modelled")
        return "\n".join(lines) + "\n"


def verify(path: str | Path, kernel_override: str = "") -> Report:
    """Replay every scenario of a truth file on the kernel that it names, or on another one, and compare all that is recorded.

    Raises BadInput for a file that cannot be read or holds no records, and for a kernel that does not exist.
    """
    report = Report()
    for record in read_records(path):
        scenario = Scenario.from_record(record)
        _Replay(scenario, record, kernel(kernel_override or kernel_name(record["kernel"])), report).run()
    return report


class _Replay:
    """One scenario on a machine of its own."""

    def __init__(self, scenario: Scenario, record: Mapping[str, Any], on: Kernel, report: Report) -> None:
        self.scenario = scenario
        self.record = record
        self.report = report
        self.machine = Machine(on, X86_64, _memory(scenario))
        self.state = capture(self.machine)
        self.shown = Shown(self.machine, self.state)
        self.labels = Labels()
        self.unrecorded = unrecorded(record)

    def run(self) -> None:
        """Replay to the end, or to where the machine cannot go on; the report gets what came out."""
        noisy, count = self.record["noisy_ops"], len(self.scenario.ops)
        for index, op in enumerate(self.scenario.ops):
            after = self.record["after"][index]
            try:
                self._count(index, list(self._operation(op, after, index in noisy)))
            except _Unmodelled as why:
                self.report.reasons[str(why)] += count - index
                return
            except _Stopped as why:
                self._count(index, [Difference("ret", str(after["ret"]), str(why))])
                if index + 1 < count:
                    self.report.reasons["the machine stopped earlier in the scenario"] += count - index - 1
                return

    def _count(self, index: int, differences: list[Difference]) -> None:
        name = self.scenario.ops[index].label(X86_64.nr)
        self.report.disagreements += [Disagreement(self.scenario.name, index, name, d) for d in differences]
        self.report.disagree += bool(differences)
        self.report.agree += not differences

    def _operation(self, op: Operation, after: Mapping[str, Any], noisy: bool) -> Iterator[Difference]:
        if self.scenario.env not in ENVS:
            raise _Unmodelled(f"env {self.scenario.env} is not built")
        if after["ret"] in DEAD:
            raise _Unmodelled("the recorder's process is dead from here on")
        result = self._perform(op, after["ret"])
        self.state = capture(self.machine, self.state)
        ignored = ("ev.", "sz.") if noisy else self.unrecorded
        return compare(recorded_view(after, self.labels), self.shown.view(self.state, result), self.report.skipped, ignored)

    def _perform(self, op: Operation, recorded: object) -> int:
        """Carry out an operation; returns what the kernel returns. Raises _Unmodelled or _Stopped if that cannot be."""
        try:
            return drain(begin(self.machine, op))
        except BadInput as error:
            if "is not built" in error.wrong:
                raise _Unmodelled(f"{op.op}: {error.argument} {error.wrong}") from None
            if op.op == "split" and recorded == "-ENXIO":
                return -ENXIO  # the recorder's own answer: it, too, refuses to split what is no huge page
            raise _Stopped(f"refused: {error}") from None
        except (KernelBug, Deadlock) as error:
            raise _Stopped(f"{type(error).__name__}: {error}") from None


def _memory(scenario: Scenario) -> int:
    """Page frames that can never run out: each operation may take all regions anew, as huge pages or as small ones, and tables."""
    thps = sum(number for op in scenario.ops if op.op == "mmap" and isinstance(number := op.fields["thps"], int))
    return X86_64.nr * (8 + len(scenario.ops) * (2 * thps + 2))
