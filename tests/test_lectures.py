"""Lectures: each number on each slide is run again, and a lecture of one's own is read or refused."""

from __future__ import annotations

import pytest

from thplab.errors import BadInput
from thplab.learn.lectures import read
from thplab.learn.lectures.exhibits import Walk

SLIDE = '[[slides]]\nid = "X1"\ntitle = "A claim"\nminutes = 2\n'
WALK = 'show = [{ walk = "mmap A; write A 0; fork A B", stops = ["o2", "o3"] }]\n'
OWN = 'title = "Mine"\n' + SLIDE + WALK


# --- a lecture of one's own -------------------------------------------------------------------------------------------


def test_a_few_lines_make_a_lecture() -> None:
    own = read(OWN + '[[slides]]\nuse = "05: three attempts"\nminutes = 4\n')
    assert own.check() == []
    assert (own.title, own.minutes, [s.title for s in own.slides]) == ("Mine", 6, ["A claim", "Three attempts"])
    first, second = (slide.exhibits[0] for slide in own.slides)
    assert isinstance(first, Walk) and isinstance(second, Walk)
    trace = first.trace()
    assert [trace[n].op_index for n in first.frames(trace)] == [1, 2]
    attempts = second.trace()
    stops = second.frames(attempts)
    assert attempts[stops[0]].phase == 1 and stops[-1] == len(attempts) - 1 and len(stops) == 7


def test_what_is_not_as_the_slide_says_is_told() -> None:
    def problems(stop: str) -> list[str]:
        return read(OWN.replace('"o3"]', stop + "]")).check()

    assert problems('{ at = "o3", strip = "2 = 2 + 0" }') == []
    assert "'2 = 2 + 0', not '3 = 2 + 1'" in problems('{ at = "o3", strip = "3 = 2 + 1" }')[0]
    assert "the answer is 0, not -EBUSY" in problems('{ at = "o3", result = "-EBUSY" }')[0]
    assert "has risen by 0" in problems('{ at = "o3", events = ["thp_split_pmd +1"] }')[0]
    assert "does not occur" in problems('"o9"')[0]
    assert "not in order" in problems('"o1"')[0]
    assert "rises, and the slide does not say so" in read(
        OWN.replace("fork A B", "split A 0").replace("A B", "A C")
    ).check()[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title = 'a'", "slides is missing in a lecture"),
        ("title = ", "lecture is not TOML"),
        ("title = 'a'\nslides = []", "slides are none"),
        (OWN.replace("title = \"A", "titel = \"A"), "slide X1: titel is no field of a slide"),
        (OWN.replace("walk", "wlk"), "slide X1: show 1: its kind is none"),
        (OWN.replace("fork A B", "frok A B"), "slide X1: show 1: line 1, 'frok A B'"),
        (OWN.replace('"o3"', '"p3"'), r"slide X1: show 1: stops\[1\] is 'p3'"),
        (OWN.replace("stops", "kernel = 'v9', stops"), "slide X1: show 1: kernel 'v9'"),
        (OWN.replace("minutes = 2", "minutes = nan"), "slide X1: minutes is nan"),
        (OWN.replace(WALK, ""), "slide X1: show is missing, and there is no card"),
        (OWN + SLIDE + WALK, "slide X1: id is 'X1', as that of a slide before"),
        (OWN + "[slides.card]\nquestion = 'q'\nchoices = ['1', '2']\nright = 'c'", "slide X1: card: right is none of the choices"),
        (OWN + "[slides.card]\nquestion = 'q'\nchoices = ['1', '2']\nright = 'a'\nslips = { b = 'no' }", "slide X1: card: slips hold 'no'"),
        (OWN.replace('id = "X1"', 'use = "05: none"'), "slide 05: none: use: 05: none: show is 'none'"),
    ],
)  # fmt: skip
def test_wrong_toml_is_told_by_slide_and_field(text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        read(text)
