"""The kinds of value that a field of an operation can have:
what each accepts, and how it is written as text and in JSON.

Every method that reads answers None for a value that does not fit;
the caller knows the field's name and raises BadInput.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from thplab.errors import BadInput
from thplab.scenario.pages import Pages

Plain = str | int | None
"""A field's value once page numbers are resolved. (A bool is an int.)"""

Value = Plain | Pages
"""A field's value in an operation; None where an optional field is not given."""


class Kind(ABC):
    """A kind of value."""

    @abstractmethod
    def right(self) -> str:
        """What fits, in words, for an error message."""

    @abstractmethod
    def accept(self, raw: object) -> Value:
        """The value for a Python or JSON value `raw`; None if it does not fit."""

    def read(self, text: str) -> Value:
        """The value that `text` writes, inverse of show(); None if it does not fit."""
        return self.accept(text)

    def show(self, value: Value) -> str:
        """The text of a value that fits."""
        return str(value)

    def json(self, value: Value) -> Plain:
        """The JSON form of a value that fits, as the recorder writes it (tests/truth/README.md)."""
        assert not isinstance(value, Pages)
        return value


@dataclass(frozen=True)
class Word(Kind):
    """A text that matches a pattern. No pattern may let a space, ';' or '=' through:
    they are the grammar's own marks.
    """

    pattern: str
    means: str
    longest: int

    def right(self) -> str:
        return f"{self.means}, at most {self.longest} characters"

    def accept(self, raw: object) -> Value:
        fits = isinstance(raw, str) and len(raw) <= self.longest and re.fullmatch(self.pattern, raw)
        return str(raw) if fits else None


@dataclass(frozen=True)
class Choice(Kind):
    """One of a list of words. `null` is the word that JSON writes as null."""

    words: tuple[str, ...]
    null: str | None = None

    def right(self) -> str:
        return "one of " + ", ".join(self.words)

    def accept(self, raw: object) -> Value:
        if raw is None:
            return self.null
        return raw if isinstance(raw, str) and raw in self.words else None

    def json(self, value: Value) -> Plain:
        return None if value == self.null else super().json(value)


@dataclass(frozen=True)
class Number(Kind):
    """A whole number from `low` to `high`; `hexadecimal` writes it as 0x55 (and reads decimal, too)."""

    low: int
    high: int
    hexadecimal: bool = False

    def right(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def accept(self, raw: object) -> Value:
        if not isinstance(raw, int) or isinstance(raw, bool):
            return None
        return raw if self.low <= raw <= self.high else None

    def read(self, text: str) -> Value:
        if re.fullmatch("[0-9]{1,18}", text):
            return self.accept(int(text))
        if self.hexadecimal and re.fullmatch("0x[0-9a-fA-F]{1,16}", text):
            return self.accept(int(text, 16))
        return None

    def show(self, value: Value) -> str:
        return f"{value:#x}" if self.hexadecimal else str(value)


@dataclass(frozen=True)
class PageNumber(Kind):
    """A page index (`least` 0) or a page count (`least` 1); see Pages."""

    least: int

    def right(self) -> str:
        what = "a page" if self.least == 0 else "a count of at least 1 page"
        return f"{what}, such as 5, 1/2thp or 1thp-1"

    def accept(self, raw: object) -> Value:
        if not isinstance(raw, (int, str, Pages)) or isinstance(raw, bool):
            return None
        try:
            value = Pages.of(raw)
        except BadInput:
            return None
        return None if value.thp == 0 and value.pages < self.least else value

    def json(self, value: Value) -> Plain:
        assert isinstance(value, Pages)
        return value.pages if value.thp == 0 else str(value)


@dataclass(frozen=True)
class HugePages(Kind):
    """A whole number of huge pages.
    Always written with its unit (`2thp`), because `mmap A 2` reads like two small pages.
    """

    def right(self) -> str:
        return "a whole number of huge pages with its unit, such as 1thp"

    def accept(self, raw: object) -> Value:
        if isinstance(raw, str):
            found = re.fullmatch("([0-9]{1,4})thp", raw)
            raw = int(found.group(1)) if found else None
        if not isinstance(raw, int) or isinstance(raw, bool):
            return None
        return raw if 1 <= raw <= 9999 else None

    def show(self, value: Value) -> str:
        return f"{value}thp"


@dataclass(frozen=True)
class Flag(Kind):
    """Yes or no; true or false in JSON."""

    def right(self) -> str:
        return "yes or no"

    def accept(self, raw: object) -> Value:
        return raw if isinstance(raw, bool) else None

    def read(self, text: str) -> Value:
        return {"yes": True, "no": False}.get(text)

    def show(self, value: Value) -> str:
        return "yes" if value else "no"
