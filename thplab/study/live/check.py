"""Holding the simulator against the running kernel:
all comparing is done by thplab.study.verify, on records of live runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from thplab.scenario import Operation, Phase, Scenario, builtin, load
from thplab.study.live.driver import Agent
from thplab.study.live.portable import portable_part
from thplab.study.live.recording import REPEATS, LiveRuns, Record
from thplab.study.live.shrink import shrink
from thplab.study.verify import Outcome, Verified, replay_records


@dataclass(frozen=True)
class Checked:
    """A scenario that was performed and compared."""

    scenario: Scenario
    record: Record
    outcomes: tuple[Outcome, ...]

    @property
    def runs(self) -> int:
        """How often it was performed."""
        return int(self.record["reps"])

    @property
    def disagrees(self) -> bool:
        """Whether some operation was not what the simulator does."""
        return any(outcome.differences for outcome in self.outcomes)


def check_live(agent: Agent, scenario: Scenario, kernel: str, repeats: int = REPEATS) -> Checked:
    """Perform a portable scenario and compare it with a simulated kernel.

    Noise makes runs differ, and no noise makes them agree: so one run that agrees is enough, and one that does not is
    repeated until it is clear what the kernel does. Raises LiveError.
    """
    runs = LiveRuns(scenario, agent.unseen)
    while True:
        runs.add(agent.perform(runs.ops))
        record = runs.record()
        checked = Checked(scenario, record, tuple(replay_records([record], kernel)))
        if not checked.disagrees or runs.settled(repeats):
            return checked


@dataclass
class Survey:
    """Many scenarios, checked: what came out, as thplab.study.verify reports it, and how often each was run."""

    report: Verified = field(default_factory=Verified)
    performed: Counter[str] = field(default_factory=Counter)
    """Operation, or madvise and its advice -> how often."""
    runs: Counter[int] = field(default_factory=Counter)
    """Number of runs -> of how many scenarios."""
    first: Checked | None = None
    """The first scenario that disagrees."""

    def add(self, checked: Checked) -> None:
        """Count one more scenario."""
        self.runs[checked.runs] += 1
        for outcome in checked.outcomes:
            self.report.add(outcome)
            fields = outcome.op.fields
            self.performed[f"madvise {fields['advice']}" if outcome.op.op == "madvise" else outcome.op.op] += 1
        if checked.disagrees and self.first is None:
            self.first = checked


def portable_builtins(io_uring: str = "") -> list[Scenario]:
    """The built-in scenarios of which every operation can be performed here."""
    return [scenario for scenario in map(load, builtin()) if portable_part(scenario, io_uring)[1] is None]


def survey(
    agent: Agent, scenarios: Iterable[Scenario], kernel: str, tell: Callable[[Checked], object] = lambda _: None
) -> Survey:
    """Check scenarios one after the other; `tell` hears of each. Raises LiveError."""
    result = Survey()
    for scenario in scenarios:
        checked = check_live(agent, scenario, kernel)
        result.add(checked)
        tell(checked)
    return result


def shortest(agent: Agent, checked: Checked, kernel: str) -> Checked:
    """The shortest scenario made of a disagreeing one's operations that still disagrees. Raises LiveError."""
    found = checked

    def disagrees(ops: tuple[Operation, ...]) -> bool:
        nonlocal found
        tried = check_live(agent, Scenario(checked.scenario.name, phases=(Phase(ops=ops),)), kernel)
        if tried.disagrees:
            found = tried
        return tried.disagrees

    last = max(outcome.number for outcome in checked.outcomes if outcome.differences)
    ops = tuple(outcome.op for outcome in checked.outcomes[: last + 1])
    shrink(ops, disagrees, kernel)
    return found
