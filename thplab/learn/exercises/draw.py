"""How a variant is drawn: the same for the same name on every machine and in every Python."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

Thing = TypeVar("Thing")

PROCESSES = ("A", "B", "C", "D", "E", "K", "M", "P")
"""What processes may be called. A name is cheap, and an answer that was copied has the wrong ones."""


class Draw:
    """Chance for one variant, and what it chose, by name.

    Python promises that random() gives the same numbers for the same seed in every version, and of nothing else that
    is built on it; so only random() is asked.
    """

    def __init__(self, exercise: str, seed: str) -> None:
        self.values: dict[str, Any] = {}
        self._random = random.Random(f"{exercise} {seed}")

    def pick(self, name: str, choices: Sequence[Thing]) -> Thing:
        """One of `choices`."""
        self.values[name] = chosen = choices[self._below(len(choices))]
        return chosen

    def between(self, name: str, low: int, high: int) -> int:
        """A whole number, `low` and `high` among them."""
        return self.pick(name, range(low, high + 1))

    def some(self, name: str, choices: Sequence[Thing], count: int) -> tuple[Thing, ...]:
        """`count` different ones of `choices`, in an order of chance."""
        left = list(choices)
        self.values[name] = chosen = tuple(left.pop(self._below(len(left))) for _ in range(count))
        return chosen

    def processes(self, count: int) -> tuple[str, ...]:
        """What `count` processes are called; their values are named a, b, c."""
        names = self.some("processes", PROCESSES, count)
        self.values |= dict(zip("abc", names, strict=False))
        return names

    def _below(self, count: int) -> int:
        return int(self._random.random() * count)
