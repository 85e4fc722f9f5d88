"""Page numbers that may be written in parts of a huge page."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thplab.errors import BadInput
from thplab.scenario import Pages

TOY = 8
fractions = st.fractions(min_value=0, max_value=9, max_denominator=512)


@st.composite
def page_numbers(draw: st.DrawFn) -> Pages:
    thp = draw(fractions)
    return Pages(thp, draw(st.integers(-999 if thp else 0, 999_999)))


@given(page_numbers())
def test_page_numbers_are_written_and_read_alike(pages: Pages) -> None:
    assert Pages.parse(str(pages)) == pages
    assert Pages.of(str(pages)) == Pages.of(pages) == pages


@given(fractions, st.integers(0, 999), st.integers(1, 512))
def test_resolve_is_arithmetic(thp: Fraction, pages: int, nr: int) -> None:
    exact = thp * nr + pages
    if exact.denominator == 1:
        assert Pages(thp, pages).resolve(nr) == exact
    else:
        with pytest.raises(BadInput, match="is not a whole number of pages"):
            Pages(thp, pages).resolve(nr)


@pytest.mark.parametrize(
    ("text", "canonical", "toy", "x86"),
    [
        ("5", "5", 5, 5),
        ("0", "0", 0, 0),
        ("007", "7", 7, 7),
        ("1thp", "1thp", 8, 512),
        ("1/2thp", "1/2thp", 4, 256),
        ("2/4thp", "1/2thp", 4, 256),
        ("4/2thp", "2thp", 16, 1024),
        ("1/2thp+1", "1/2thp+1", 5, 257),
        ("1thp-1", "1thp-1", 7, 511),
        ("1thp-0", "1thp", 8, 512),
        ("3/8thp", "3/8thp", 3, 192),
        ("0thp+3", "3", 3, 3),
    ],
)
def test_page_numbers_in_toy_and_x86(text: str, canonical: str, toy: int, x86: int) -> None:
    pages = Pages.parse(text)
    assert (str(pages), pages.resolve(TOY), pages.resolve(512)) == (canonical, toy, x86)


@pytest.mark.parametrize(
    "text", ["", "thp", "+5", "-1", "1thp5", "1/2", "1/0thp", "0thp-1", "1.5thp", "1 thp", "\u0665", "1thp+", "1" * 10]
)
def test_texts_that_are_no_page_number(text: str) -> None:
    with pytest.raises(BadInput, match="page number"):
        Pages.parse(text)


def test_page_numbers_refuse_what_they_cannot_hold() -> None:
    for thp, pages in ((0, -1), (Fraction(-1, 2), 0), (0, 10**9), (Fraction(1, 10**9), 0), (10**9, 0), (1, -(10**9))):
        with pytest.raises(BadInput, match=r"page number .* is (below zero|too large)"):
            Pages(Fraction(thp), pages)
    with pytest.raises(BadInput, match="page number 1/2thp-5 is -1 where a huge page has 8 subpages"):
        Pages.parse("1/2thp-5").resolve(TOY)
    with pytest.raises(BadInput, match="nr is 0"):
        Pages.parse("1thp").resolve(0)
    assert Pages.of(4) == Pages(Fraction(0), 4) == Pages.parse("4")
