"""How much faster the closed form of a footprint is than the machine, and how fast it is for 10,000 huge pages.

    python benchmarks/footprint.py [SIMULATED]

The machine carries out a part of the population, SIMULATED huge pages (default: 20), for it takes a munmap for each run
of pages; both are told per huge page. Half of the pages is unmapped, any of them, a fifth is zero-filled, one huge page
in ten is pinned; the shrinker gets to all. Exit status 1 if the two do not agree.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from thplab.kernel.kernels import KERNELS
from thplab.study.footprint import Footprint, Population, population, project, simulate

T = TypeVar("T")
THPS, ROUNDS = 10_000, 5


def main() -> int:
    simulated = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    drawn, question = timed(lambda: asked(THPS))
    print(f"population of {THPS:,} huge pages drawn in {drawn * 1000:.0f} ms")
    part = asked(simulated)
    print(
        f"{'kernel':10}{f'closed form, {THPS:,}':>20}{f'machine, {simulated:,}':>16}{'per huge page':>28}{'ratio':>10}"
    )
    equal = True
    for kernel in KERNELS:
        fast = min(timed(lambda k=kernel: project(k, question, 1.0))[0] for _ in range(ROUNDS)) / THPS
        took, answer = timed(lambda k=kernel: simulate(k, part, 1.0))
        slow = took / simulated
        same = alike(answer, project(kernel, part, 1.0))
        equal &= same
        each = f"{fast * 1e6:.2f} µs / {slow * 1e3:.2f} ms"
        print(
            f"{kernel:10}{fast * THPS * 1e3:>17.1f} ms{took:>14.2f} "
            f"s{each:>28}{slow / fast:>10,.0f}{'' if same else '  DIFFERENT'}"
        )
    return 0 if equal else 1


def asked(thps: int) -> Population:
    return population(thps, 0.5, zero_filled=0.2, pinned=0.1)


def alike(one: Footprint, other: Footprint) -> bool:
    return (
        one.held_by_thp.tolist() == other.held_by_thp.tolist()
        and one.mapped_by_thp.tolist() == other.mapped_by_thp.tolist()
    )


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    sys.exit(main())
