"""What there is after each operation of a scenario: answers, counters of the system, page tables, struct pages as they
are stored."""

from __future__ import annotations

import json
from typing import Any

from thplab.scenario import Scenario
from truth.recorder.performed import plain
from truth.recorder.prepare import Guest
from truth.recorder.sight import Sight

Record = dict[str, Any]


def record(guest: Guest, scenario: Scenario, repeats: int) -> Record:
    """Carry a scenario out that many times: a line of tests/truth/linux-*.jsonl. What differs from the first time is
    noisy.

    Raises RecorderError if the guest fails.
    """
    runs = [_run(guest, scenario) for _ in range(max(1, repeats))]
    first, last = runs[0], runs[-1]
    noisy = sorted({i for run in runs[1:] for i, (a, b) in enumerate(zip(first, run, strict=True)) if a != b})
    found: Record = {
        "kernel": guest.vm.hello["release"],
        "name": scenario.name,
        "about": scenario.about,
        "env": scenario.env,
        "ops": [op.to_json() for op in scenario.ops],
        "after": last,
        "noisy_ops": noisy,
    }
    return found | ({"run0": {str(i): first[i] for i in noisy[:4]}} if noisy else {})


def _run(guest: Guest, scenario: Scenario) -> list[Record]:
    """What there was after each operation, as JSON would give it back."""
    sight = Sight(guest.view)
    guest.vm.ask("begin", env=scenario.env, ops=[])
    after: list[Record] = []
    for op in scenario.ops:
        answer = guest.vm.ask("count", op=plain(op))
        processes = sight.look(answer)
        blocks = list(sight.names)
        counts = guest.vm.ask("mapcounts", blocks=blocks)["mapcounts"] if blocks else []
        frames = {
            name: sight.frame(block, count) for (block, name), count in zip(sight.names.items(), counts, strict=True)
        }
        sizes = {"sz": answer["sz"]} if answer.get("sz") else {}
        after.append({"ret": answer["ret"], "ev": answer["ev"], "proc": processes, **sizes, "frames": frames})
    guest.vm.ask("end")
    result: list[Record] = json.loads(json.dumps(after))
    return result
