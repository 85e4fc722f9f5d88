"""The one reader of JSON that others wrote: traces, recordings, recorded steps and scenarios.

A shape says what a value must be, with bounds for everything. What does not fit raises one BadInput that names the
file, the line and the field, such as "mine.jsonl, line 3: after[2].frames.F0". What fits needs no second look.
"""

from __future__ import annotations

import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thplab.errors import BadInput, shown

LARGEST_FILE = 1 << 28
"""Bytes of a file that is read."""
_DEEPEST = 20


class Shape(ABC):
    """What a value must be."""

    @abstractmethod
    def right(self) -> str:
        """What fits, in words."""

    @abstractmethod
    def fits(self, value: object) -> bool:
        """Whether the value itself fits, what is inside aside."""

    def wrong(self, value: object) -> str:
        """What a value that does not fit is, in words."""
        return f"is {shown(value)}"

    def inside(self, value: Any) -> Iterable[tuple[int | str, object, Shape]]:
        """What a value that fits holds: its number in a list or name in an object, it, and its shape."""
        return ()

    def place(self, key: int | str) -> str:
        """How the place of what is inside is written behind the value's own."""
        return f"[{key}]" if isinstance(key, int) else f".{key}"

    def holds(self, value: object) -> bool:
        """Whether the value and all that is inside fit."""
        return self.fits(value) and all(shape.holds(each) for _, each, shape in self.inside(value))

    def check(self, value: object, at: str = "") -> None:
        """Raise BadInput that names the place, `at`, if the value or something in it does not fit."""
        if not self.fits(value):
            raise BadInput(at or "the value", self.wrong(value), self.right())
        for key, each, shape in self.inside(value):
            if not shape.holds(each):  # places are written only where something is wrong
                shape.check(each, f"{at}{self.place(key)}" if at else self.place(key).lstrip("."))


@dataclass(frozen=True)
class IntShape(Shape):
    """A whole number within bounds: those of 64 bits if no others are given."""

    low: int = -(1 << 63)
    high: int = (1 << 64) - 1

    def right(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def fits(self, value: object) -> bool:
        return type(value) is int and self.low <= value <= self.high


@dataclass(frozen=True)
class TextShape(Shape):
    """A text that is not too long, can be written as UTF-8, and matches a pattern if there is one."""

    longest: int = 1000
    pattern: str = ""
    means: str = "a text"

    def right(self) -> str:
        return f"{self.means} of at most {self.longest:,} characters"

    def fits(self, value: object) -> bool:
        if not isinstance(value, str) or len(value) > self.longest:
            return False
        whole = value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
        return whole and (not self.pattern or re.fullmatch(self.pattern, value) is not None)


@dataclass(frozen=True)
class ExactShape(Shape):
    """One of some values, true and false told apart from 1 and 0."""

    values: tuple[object, ...]

    def right(self) -> str:
        return " or ".join(map(json.dumps, self.values))

    def fits(self, value: object) -> bool:
        return any(type(value) is type(each) and value == each for each in self.values)


NULL = ExactShape((None,))


@dataclass(frozen=True)
class ListShape(Shape):
    """A list of alike values."""

    each: Shape
    longest: int = 100_000

    def right(self) -> str:
        return f"a list of at most {self.longest:,}, each {self.each.right()}"

    def fits(self, value: object) -> bool:
        return isinstance(value, list) and len(value) <= self.longest

    def inside(self, value: Any) -> Iterable[tuple[int | str, object, Shape]]:
        return ((number, each, self.each) for number, each in enumerate(value))

    def holds(self, value: Any) -> bool:
        return self.fits(value) and all(map(self.each.holds, value))


@dataclass(frozen=True)
class RowShape(Shape):
    """A list in which each place has a shape of its own; the last `optional` places may be missing."""

    places: tuple[Shape, ...]
    optional: int = 0

    def right(self) -> str:
        return "[" + ", ".join(place.right() for place in self.places) + "]"

    def fits(self, value: object) -> bool:
        return isinstance(value, list) and len(self.places) - self.optional <= len(value) <= len(self.places)

    def inside(self, value: Any) -> Iterable[tuple[int | str, object, Shape]]:
        return zip(itertools.count(), value, self.places, strict=False)


@dataclass(frozen=True)
class ObjectShape(Shape):
    """An object with these fields; all others have the shape `others`."""

    fields: Mapping[str, Shape] = field(default_factory=dict, hash=False)
    optional: Mapping[str, Shape] = field(default_factory=dict, hash=False)
    others: Shape | None = None
    most: int = 1000

    def right(self) -> str:
        named = f" with {', '.join(self.fields)}" if self.fields else ""
        return f"an object of at most {self.most:,} fields{named}"

    def fits(self, value: object) -> bool:
        if not isinstance(value, dict) or len(value) > self.most or not all(map(_NAME.fits, value)):
            return False
        known = self.others is not None or value.keys() <= self.fields.keys() | self.optional.keys()
        return known and self.fields.keys() <= value.keys()

    def wrong(self, value: object) -> str:
        lacking = self.fields.keys() - value.keys() if isinstance(value, dict) else ()
        return f"lacks {', '.join(sorted(lacking))}" if lacking else super().wrong(value)

    def inside(self, value: Any) -> Iterable[tuple[int | str, object, Shape]]:
        for name, each in value.items():
            shape = self.fields.get(name) or self.optional.get(name) or self.others
            assert shape is not None, "fits() has looked"
            yield name, each, shape


_NAME = TextShape(200)


@dataclass(frozen=True)
class EitherShape(Shape):
    """One of some shapes: the first that the value itself fits, by which what is inside is then held."""

    shapes: tuple[Shape, ...]

    def right(self) -> str:
        return " or ".join(shape.right() for shape in self.shapes)

    def fits(self, value: object) -> bool:
        return any(shape.fits(value) for shape in self.shapes)

    def inside(self, value: Any) -> Iterable[tuple[int | str, object, Shape]]:
        return next(shape for shape in self.shapes if shape.fits(value)).inside(value)


@dataclass(frozen=True)
class AnyShape(Shape):
    """Any value that is not nested too deeply: nobody reads it, or whoever does checks it."""

    deepest: int = _DEEPEST

    def right(self) -> str:
        return f"a value that is nested at most {_DEEPEST} deep"

    def fits(self, value: object) -> bool:
        return self.deepest > 0 or not isinstance(value, (list, dict))

    def inside(self, value: Any) -> Iterable[tuple[int | str, object, Shape]]:
        if not isinstance(value, (list, dict)):
            return ()
        deeper = AnyShape(self.deepest - 1)
        return ((key, each, deeper) for key, each in (enumerate(value) if isinstance(value, list) else value.items()))

    def holds(self, value: Any) -> bool:
        if not isinstance(value, (list, dict)):
            return True
        deeper = AnyShape(self.deepest - 1)
        return self.fits(value) and all(map(deeper.holds, value if isinstance(value, list) else value.values()))

    def place(self, key: int | str) -> str:
        return super().place(key if isinstance(key, int) else shown(key))


def parse(text: str, shape: Shape, where: str) -> Any:
    """The JSON value that `text` writes, of a shape. Raises BadInput that begins with `where`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise BadInput(where, "is nested too deeply", shape.right()) from None
    except ValueError as error:
        raise BadInput(where, f"is not JSON ({error})", shape.right()) from None
    try:
        shape.check(value)
    except BadInput as wrong:
        raise BadInput(f"{where}: {wrong.argument}", wrong.wrong, wrong.right) from None
    return value


def read_text(path: Path, right: str) -> str:
    """The text of a file. Raises BadInput, saying what would be right, if it is too large or cannot be read."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadInput("file", f"{str(path)!r} has {path.stat().st_size:,} bytes", f"{LARGEST_FILE:,} at most")
        return path.read_text(encoding="utf-8-sig")
    except BadInput:
        raise
    except (OSError, ValueError) as error:
        raise BadInput("file", f"{str(path)!r} cannot be read ({error})", right) from None


def read_lines(path: Path, shape: Shape, right: str) -> Iterator[tuple[str, Any]]:
    """The values of a file of JSON, one a line: where each stands, for an error message, and itself.

    Raises BadInput that names the file and the line; `right` says what the file should be.
    """
    for number, line in enumerate(read_text(path, right).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, parse(line, shape, where)
