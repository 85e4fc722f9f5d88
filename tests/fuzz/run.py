"""Feeding a target: each input is drawn from its own number, so that one of them can be taken again alone."""

from __future__ import annotations

import logging
import random
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from fuzz.targets import TARGETS, Target
from thplab.errors import BadInput

LONGEST = 10.0
"""Seconds that one input may take."""
MEMORY = 1 << 30
"""Bytes that the process may take, beside what it holds already: tests that ran before keep what they share."""


class Hang(BaseException):
    """An input took too long. No Exception: nothing may take it for a mistake of its own."""


@dataclass
class Fed:
    """What came of the inputs of a target."""

    name: str
    inputs: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, 0)
    """Seconds, and the number of the input."""
    found: Counter[str] = field(default_factory=Counter)
    """Mistakes by where they were raised -> how often."""
    first: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Mistake -> the number of the first input that shows it, and the traceback."""

    @property
    def line(self) -> str:
        """All of it on one line."""
        slowest, number = self.slowest
        return (
            f"{self.name:11} {self.inputs:9,} inputs, {self.refused:9,} refused, {self.found.total():5,} mistakes, "
            f"{self.seconds:7.1f} s, slowest {slowest:6.3f} s (number {number}), peak {peak() >> 20} MiB"
        )


def peak() -> int:
    """The most memory that this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def feed(
    name: str, seed: int, numbers: Iterator[int], go_on: Callable[[Fed], bool], target: Target | None = None
) -> Fed:
    """Give a target the inputs of these numbers as long as `go_on` says so."""
    fed = Fed(name)
    draw, take = target or TARGETS[name]
    log = logging.getLogger("thplab")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with _limited():
            while go_on(fed):
                number = next(numbers)
                given = draw(random.Random(f"{seed} {name} {number}"))
                _feed_one(fed, number, given, take)
    finally:
        log.setLevel(before)
    return fed


def _feed_one(fed: Fed, number: int, given: Any, take: Callable[[Any], None]) -> None:
    begun = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        take(given)
    except BadInput as refused:
        fed.refused += 1
        if len(str(refused)) > 3000:
            _note(fed, number, AssertionError(f"a message of {len(str(refused))} characters"))
    except (Exception, Hang) as mistake:
        _note(fed, number, mistake)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    took = time.monotonic() - begun
    fed.inputs += 1
    fed.seconds += took
    fed.slowest = max(fed.slowest, (took, number))


def _note(fed: Fed, number: int, mistake: BaseException) -> None:
    at = traceback.extract_tb(mistake.__traceback__)
    where = f"{at[-1].filename.rpartition('/')[2]}:{at[-1].lineno}" if at else "nowhere"
    key = f"{type(mistake).__name__} at {where}"
    fed.found[key] += 1
    text = "".join(traceback.format_exception(mistake)[-8:])
    fed.first.setdefault(key, (number, text))


def _hang(*_: object) -> NoReturn:
    raise Hang(f"more than {LONGEST:g} s")


@contextmanager
def _limited() -> Iterator[None]:
    """The limits of time and memory hold within: who asks for more memory gets a MemoryError."""
    before, old = resource.getrlimit(resource.RLIMIT_DATA), signal.signal(signal.SIGALRM, _hang)
    held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY, before[1]))
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_DATA, before)
