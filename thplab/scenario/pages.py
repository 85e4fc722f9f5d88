"""Page numbers and page counts that may be written in parts of a huge page,
so that one scenario runs in every geometry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from thplab.errors import BadInput, shown

_LIMIT = 10**9
_FORM = re.compile(r"(?:([0-9]{1,9})(?:/([0-9]{1,9}))?thp)?([+-]?[0-9]{1,9})?")
_RIGHT = "a page number such as 5, 1thp, 1/2thp, 1/2thp+1 or 1thp-1"


@dataclass(frozen=True)
class Pages:
    """A page number or page count:
    `thp` huge pages plus `pages` small ones (`pages` may be negative beside a THP part).

    Raises BadInput if it is below zero in every geometry, or beyond a billion.

    >>> str(Pages.parse("2/4thp+1")), Pages.parse("1/2thp+1").resolve(8)
    ('1/2thp+1', 5)
    """

    thp: Fraction
    pages: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "thp", Fraction(self.thp))
        if self.thp < 0 or (self.thp == 0 and self.pages < 0):
            raise BadInput("page number", f"{self} is below zero", _RIGHT)
        if max(self.thp.numerator, self.thp.denominator, abs(self.pages)) >= _LIMIT:
            raise BadInput("page number", f"{self} is too large", f"numbers below {_LIMIT}")

    @classmethod
    def parse(cls, text: str) -> Pages:
        """The value that `text` writes. Inverse of str(). Raises BadInput if `text` writes none."""
        found = _FORM.fullmatch(text)
        if found is None or not text:
            raise BadInput("page number", f"{shown(text)} cannot be read", _RIGHT)
        over, under, rest = found.groups()
        # A sign joins the small pages to the THP part: "1thp5" and "+5" mean nothing.
        if rest is not None and (over is None) == (rest[0] in "+-"):
            raise BadInput("page number", f"{shown(text)} cannot be read", _RIGHT)
        if under is not None and int(under) == 0:
            raise BadInput("page number", f"{shown(text)} divides by zero", _RIGHT)
        return cls(Fraction(int(over or 0), int(under or 1)), int(rest or 0))

    @classmethod
    def of(cls, value: AnyPages) -> Pages:
        """`value` as Pages, whichever of the three ways it is given in.
        Raises BadInput as the constructor and parse() do.
        """
        if isinstance(value, Pages):
            return value
        return cls.parse(value) if isinstance(value, str) else cls(Fraction(0), value)

    def __str__(self) -> str:
        """The canonical text: the shortest fraction, no part that is zero (but "0" for zero)."""
        if self.thp == 0:
            return str(self.pages)
        return f"{self.thp}thp" + (f"{self.pages:+d}" if self.pages else "")

    def resolve(self, nr: int) -> int:
        """The plain number of pages where a huge page has `nr` subpages.

        Raises BadInput if a part of a THP is not a whole number of pages there, or if the result is below zero.
        """
        if nr < 1:
            raise BadInput("nr", f"is {nr}", "the number of subpages of a huge page, at least 1")
        whole, rest = divmod(self.thp.numerator * nr, self.thp.denominator)
        if rest:
            raise BadInput(
                f"page number {self}",
                f"is not a whole number of pages where a huge page has {nr} subpages",
                f"a fraction whose denominator divides {nr}",
            )
        number = whole + self.pages
        if number < 0:
            raise BadInput(
                f"page number {self}",
                f"is {number} where a huge page has {nr} subpages",
                "a number that is not below zero",
            )
        return number


AnyPages = Pages | int | str
"""The ways in which a page number can be given."""
