"""What the engine costs, and its ratio to that of another commit, both asked in turn in one run.

    python benchmarks/engine.py [--other CHECKOUT] [recording] [memory] [races] [drained]

    recording   CPU time of a recorded step in the geometry of x86-64, by the memory of the machine
    memory      a machine of 1 TiB: resident memory when it is made, in use, and stepped; bytes for each 4 KiB in use
    races       CPU time to explore all pairs, and states per second
    drained     CPU time of the scenarios of benchmarks/life.py, by themselves

CHECKOUT is a folder with another commit, such as `git worktree add ../before COMMIT` makes. Each measurement is a
process of its own, so that neither side finds what the other has left. Of several rounds the quickest counts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent.parent
STEPS = (
    "mmap A 2thp; write A 0 2thp; fork A B; write B 3; mprotect A 256 1 r; pin A 5 1 dma; split A 0; unpin dma; "
    "madvise A 0 256 cold; munmap A 0 1thp; exit B"
)
MEMORY = {"32 MiB": 1 << 13, "1 GiB": 1 << 18, "64 GiB": 1 << 24}
IN_USE = {"huge pages": "mmap A 4096thp; write A 0 4096thp", "small pages": "mmap A 128thp none; write A 0 128thp"}
"""What is in use on the machine of 1 TiB: 8 GiB, 256 MiB."""


def recording(name: str) -> dict[str, float]:
    """Microseconds a step."""
    from thplab.machine.trace import Setup, record

    setup = Setup("v6.18", "X86_64", MEMORY[name])
    record(STEPS, Setup("v6.18", "X86_64"))  # what is built once
    rounds = []
    for _ in range(15 if name == "32 MiB" else 2):  # looking at all of a large memory takes long
        start = time.process_time()
        trace = record(STEPS, setup)
        rounds.append((time.process_time() - start) / len(trace))
    return {"µs a step": min(rounds) * 1e6}


def memory(name: str) -> dict[str, float]:
    """MiB of resident memory."""
    from thplab.machine.machine import Machine
    from thplab.machine.snapshot import capture
    from thplab.scenario import Scenario

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    Machine("v6.18", "X86_64")
    before = resident()
    machine = Machine("v6.18", "X86_64", 1 << 28)
    made = resident() - before
    for op in Scenario.parse(IN_USE[name]).ops:
        machine.call(op)
    used = resident() - before
    pages = sum(block.in_use for block in machine.system.frames.blocks.block.values())
    states = []
    stepped = "write A 3; mprotect A 4 9 r; munmap A 8 1; madvise A 0 9 cold; mprotect A 4 9 rw; write A 5"
    for op in Scenario.parse(stepped).ops:
        states += [capture(machine.system, in_progress=True) for _ in itertools.islice(machine.begin(op), 300)]
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    each = (used - made) * (1 << 20) / pages
    return {"MiB made": made, "MiB in use": used, "bytes a page": each, "states": len(states), "MiB at most": highest}


def races(name: str) -> dict[str, float]:
    """Seconds for one pair."""
    from thplab.study.explore import PAIRS, explore

    start = time.process_time()
    states = sum(explore(pair).states for pair in PAIRS.values())
    took = time.process_time() - start
    return {"s": took, "states/s": states / took}


def drained(name: str) -> dict[str, float]:
    """Microseconds a scenario."""
    sys.path.insert(0, str(HERE / "benchmarks"))
    from life import LIFE, LONGER, on_simulator, timed

    from thplab.scenario import Operation, Scenario

    perform, ops, rounds = on_simulator("v6.18"), Scenario.parse(LONGER.get(name, LIFE)).ops, []
    for number in range(40):
        region = {"region": f"R{number}"}
        fresh = [Operation(op.op, {**op.fields, **region} if "region" in op.fields else op.fields) for op in ops]
        rounds.append(sum(timed(perform, fresh)))
    return {"µs": min(rounds) * 1e6}


Measure = Callable[[str], dict[str, float]]
MEASURES: dict[str, tuple[Measure, list[str]]] = {
    "recording": (recording, list(MEMORY)),
    "memory": (memory, list(IN_USE)),
    "races": (races, ["all pairs"]),
    "drained": (drained, ["life", "holes", "rights", "pins"]),
}
ONLY_HERE = ("memory",)
"""What the commit before these benchmarks cannot do at all."""
ROUNDS = {"drained": 3}


def asked(checkout: Path, measure: str, name: str) -> dict[str, float]:
    """One measurement in a process of its own, with the code of a checkout."""
    command = [sys.executable, __file__, "--measure", measure, name]
    env = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=env, cwd=checkout, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--other", type=Path, metavar="CHECKOUT", help="a folder with another commit")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"{', '.join(MEASURES)} (default: all)")
    options = parser.parse_args()
    if options.measure:
        measure, name = options.measure
        print(json.dumps(MEASURES[measure][0](name)))
        return 0
    for what in options.what or MEASURES:
        other = options.other.resolve() if options.other and what not in ONLY_HERE else None
        for name in MEASURES[what][1]:
            sides: list[list[dict[str, float]]] = [[], []]
            for _ in range(ROUNDS.get(what, 1)):
                for checkout, seen in zip((HERE, other), sides, strict=True):
                    seen += [asked(checkout, what, name)] if checkout else []
            here, there = (min(seen, key=lambda each: next(iter(each.values())), default={}) for seen in sides)
            line = ", ".join(f"{value:,.1f} {unit}" for unit, value in here.items())
            ratio = ""
            if there:
                (unit, mine), before = next(iter(here.items())), next(iter(there.values()))
                ratio = f"   before {before:,.1f} {unit}   {mine / before:.3f} : 1"
            print(f"{what:10} {name:12} {line}{ratio}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
