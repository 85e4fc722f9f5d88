"""How long the life of a THP takes on the simulator and on the real kernel: one run, medians, ratios.

    python benchmarks/life.py

A life: mmap, the fault, a PMD split (mprotect of one page), a page split (MADV_COLD of a part), munmap; 500 times, the
two sides in turn. Then three longer scenarios, 30 times. The simulator is drained, in the geometry of x86-64. The
kernel is asked by the live lab's own child process code. On both sides the clock is that of this process (CPU time, so
that other programs do not count), and it runs for the operations alone, called from Python: no pipe, nothing is looked
at.
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import time
from collections.abc import Callable

from thplab.hardware.geometry import X86_64
from thplab.hardware.steps import drain
from thplab.machine.machine import Machine
from thplab.scenario import Operation, Scenario
from thplab.study.live import nearest, unable
from thplab.study.live.agent.child import Child
from thplab.study.live.support import release

LIVES, ROUNDS = 500, 30
GOAL = 0.1
LIFE = "mmap A; write A 0; mprotect A 256 1 r; madvise A 0 256 cold; munmap A 0 1thp"
LONGER = {
    "holes": "mmap A 4thp; write A 0 4thp; "
    + "; ".join(f"munmap A {page} 1" for page in range(8, 2048, 64))
    + "; munmap A 0 4thp",
    "rights": "mmap A 4thp; write A 0 4thp; "
    + "; ".join(f"mprotect A {page} 16 r; mprotect A {page} 16 rw; write A {page} 16" for page in range(0, 2048, 128))
    + "; munmap A 0 4thp",
    "pins": "mmap A 2thp; write A 0 2thp; "
    + "; ".join(
        f"pin A {i} 1 p{i}; madvise A {i} 1 cold; unpin p{i}; madvise A {i} 1 dontneed" for i in (7, 99, 600, 700)
    )
    + "; munmap A 0 2thp",
}

Perform = Callable[[Operation], object]


def on_simulator(kernel: str) -> Perform:
    machine = Machine(kernel, X86_64, 64 * X86_64.nr)
    return lambda op: drain(machine.begin(op))


def on_kernel() -> Perform:
    line, _ = socket.socketpair()
    child = Child(line, os.getpid())
    return lambda op: child.perform({"op": op.op, **op.resolve(X86_64.nr)})


def timed(perform: Perform, ops: list[Operation]) -> list[float]:
    """Seconds that each operation takes."""
    times = []
    for op in ops:
        start = time.process_time()
        perform(op)
        times.append(time.process_time() - start)
    return times


def measure(kernel: str, line: str, rounds: int) -> list[tuple[str, float, float]]:
    """(operation, simulator, kernel) with medians in seconds over so many rounds, the whole scenario last."""
    sides = on_simulator(kernel), on_kernel()
    seen: tuple[list[list[float]], list[list[float]]] = [], []
    ops = Scenario.parse(line).ops
    for number in range(rounds):
        region = {"region": f"R{number}"}  # of its own: the old one is unmapped
        fresh = [Operation(op.op, {**op.fields, **region} if "region" in op.fields else op.fields) for op in ops]
        for perform, times in zip(sides, seen, strict=True):
            times.append(timed(perform, fresh))
    columns = ([statistics.median(column) for column in zip(*times, strict=True)] for times in seen)
    rows = [(op.label(X86_64.nr), *both) for op, *both in zip(ops, *columns, strict=True)]
    whole = [statistics.median(map(sum, times)) for times in seen]
    return [*((name, mine, real) for name, mine, real in rows), ("all", whole[0], whole[1])]


def main() -> int:
    why = unable()
    if why:
        print(f"no live run here: {why}", file=sys.stderr)
        return 2
    kernel, _ = nearest(release())
    print(
        f"simulator {kernel} against Linux {release()}: medians in microseconds, and simulator : kernel (goal "
        f"{GOAL} : 1)"
    )
    ratios = {}
    for name, line, rounds in [("life", LIFE, LIVES), *((name, line, ROUNDS) for name, line in LONGER.items())]:
        rows = measure(kernel, line, rounds)
        for label, simulated, real in rows if name == "life" else rows[-1:]:
            print(f"{name:8} {label:34} {simulated * 1e6:10.1f} {real * 1e6:10.1f} {simulated / real:8.2f} : 1")
        ratios[name] = rows[-1][1] / rows[-1][2]
    return 0 if max(ratios.values()) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
