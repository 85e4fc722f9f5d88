"""A live run as a record of the truth format (tests/truth/README.md, part B):
repeated until it is clear what the kernel does.

The counters are the system's, so that other programs show in them, and khugepaged may come by. What the kernel does is
what most runs say, operation by operation: the counters by themselves, and by itself what is seen of the processes and
their memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from thplab.hardware.geometry import X86_64
from thplab.scenario import Operation, Scenario
from thplab.study.live.driver import Agent
from thplab.study.live.support import nearest, release, swap_is_on
from thplab.study.verify.records import read_records

Record = dict[str, Any]

REPEATS = 3
"""How many runs have to say the same."""
PATIENCE = 4
"""So many times as many runs are made at most."""
_COUNTS = ("ev", "sz")

SHIPPED = Path(__file__).parent / "recorded"


class LiveRuns:
    """Some runs of one scenario."""

    def __init__(self, scenario: Scenario, unseen: Collection[str]) -> None:
        self.scenario = scenario
        self.unseen = sorted(unseen)
        self.ops = tuple(Operation(op.op, op.resolve(X86_64.nr)) for op in scenario.ops)
        self.count = 0
        self._votes = [(Counter[str](), Counter[str]()) for _ in self.ops]
        """For each operation what was seen, as JSON -> how often: the counters, and the rest."""

    def add(self, afters: Sequence[dict[str, Any]]) -> None:
        """Count a run in: what was there after each operation."""
        self.count += 1
        for (counts, rest), after in zip(self._votes, afters, strict=True):
            counts[_text({name: after[name] for name in _COUNTS if name in after})] += 1
            rest[_text({name: value for name, value in after.items() if name not in _COUNTS})] += 1

    def settled(self, repeats: int) -> bool:
        """Did `repeats` runs, and more than half of all, say the same of each operation,
        or is it pointless to go on?
        """
        return self.count >= repeats * PATIENCE or all(
            _top(votes)[1] >= repeats and 2 * _top(votes)[1] > self.count for pair in self._votes for votes in pair
        )

    def record(self) -> Record:
        """What most runs say. An operation of which not more than half of them say the same is noisy."""
        tops = [(_top(counts), _top(rest)) for counts, rest in self._votes]
        return {
            "kernel": release(),
            "name": self.scenario.name,
            "about": self.scenario.about,
            "env": "swap" if swap_is_on() else "noswap",
            "ops": [op.to_json() for op in self.ops],
            "after": [json.loads(counts) | json.loads(rest) for (counts, _), (rest, _) in tops],
            "noisy_ops": [index for index, pair in enumerate(tops) if any(2 * seen <= self.count for _, seen in pair)],
            "reps": self.count,
            "agree": min((seen for pair in tops for _, seen in pair), default=self.count),
            "unseen": self.unseen,
            "drained": True,
        }


def record_live(agent: Agent, scenario: Scenario, repeats: int = REPEATS) -> Record:
    """Perform a scenario until `repeats` runs agree. It must be portable (thplab.study.live.portable).
    Raises LiveError.
    """
    runs = LiveRuns(scenario, agent.unseen)
    while not runs.settled(repeats):
        runs.add(agent.perform(runs.ops))
    return runs.record()


def shipped(scenario: Scenario) -> Record | None:
    """The record of the same operations that comes with thplab, of the newest kernel that has one;
    None if there is none.
    """
    ops = [Operation(op.op, op.resolve(X86_64.nr)) for op in scenario.ops]
    records = [each for path in sorted(SHIPPED.glob("*.jsonl")) for each in read_records(path)]
    same = [each for each in records if list(Scenario.from_record(each).ops) == ops]
    return max(same, key=lambda each: nearest(each["kernel"]), default=None)


def _text(part: dict[str, Any]) -> str:
    return json.dumps(part, sort_keys=True)


def _top(votes: Counter[str]) -> tuple[str, int]:
    return votes.most_common(1)[0] if votes else ("{}", 0)
