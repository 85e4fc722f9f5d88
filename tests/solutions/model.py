"""What a test knows of an exercise and the package does not: an answer, and attempts that are wrong for a known reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]
Text = str | Callable[[Values], str]
"""A template over the values of the variant, with W and F for its first process, or a function of them."""


@dataclass(frozen=True)
class Solved:
    """The model answer, how many operations it has (0: it is no scenario), and wrong attempts, each with a part of what is said
    to it. `copies` is the greatest share of other variants that may accept it.
    """

    answer: Text
    length: int
    wrong: tuple[tuple[Text, str], ...]
    copies: float = 0.35


def written(text: Text, values: Values) -> str:
    """An answer for a variant."""
    if callable(text):
        return text(values)
    a = values.get("a", "A")
    return text.format_map({"W": f"mmap {a}; write {a} 0", "F": f"mmap {a}; fill {a} 0 1thp", **values})
