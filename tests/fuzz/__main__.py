"""The command `python -m fuzz` (make fuzz): feeds the targets in turns, and tells what it found."""

from __future__ import annotations

import argparse
import itertools
import sys
import time

from fuzz.run import MEMORY, Fed, feed, peak
from fuzz.targets import TARGETS


def main() -> int:
    """Returns the exit status: 0 only if no mistake was found and the memory was kept to."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)} (default: all)")
    parser.add_argument(
        "--hours", type=float, default=0.01, help="for how long, over all targets (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="which inputs (default: %(default)s)")
    parser.add_argument("--number", type=int, help="only this input of one target, with its traceback")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}")
    if options.number is not None:
        return _tell([feed(names[0], options.seed, iter([options.number]), lambda fed: not fed.inputs)])
    every = []
    for name in names:
        until = time.monotonic() + options.hours * 3600 / len(names)

        def in_time(_: Fed, until: float = until) -> bool:
            return time.monotonic() < until

        every.append(feed(name, options.seed, itertools.count(), in_time))
        print(every[-1].line, flush=True)
    return _tell(every)


def _tell(every: list[Fed]) -> int:
    for fed in every:
        for key, (number, text) in fed.first.items():
            print(f"\n{fed.name}, number {number} ({fed.found[key]} alike): {key}\n{text}")
    mistakes = sum(fed.found.total() for fed in every)
    print(f"{sum(fed.inputs for fed in every):,} inputs, {mistakes} mistakes, peak {peak() >> 20} MiB")
    return 1 if mistakes or peak() > MEMORY else 0


sys.exit(main())
