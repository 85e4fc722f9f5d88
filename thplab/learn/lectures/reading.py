"""Lectures from TOML: the project's own, and anybody's. A BadInput names the slide and the field that does not fit."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from thplab.errors import BadInput, shown
from thplab.foreign import ListShape, ObjectShape, Shape, TextShape, read_text
from thplab.learn.lectures.slide import LETTERS, Card, Lecture, Notes, Slide
from thplab.learn.lectures.written import LINE, TEXT, Data, Named, at, exhibit, fact, fitting, lesson_walk

Made = TypeVar("Made")

_FILES = {
    "two_splits": ("two_splits.toml",),
    "letter": ("letter.toml",),
    "old_bargain_to_today": ("old_bargain.toml", "races.toml"),
    "your_kernel": ("your_kernel.toml",),
}
LECTURES = tuple(_FILES)
"""The names of the project's own lectures, in order. A second file goes on where the first one ends."""

_LONGEST = 1_000_000
"""Characters of a lecture that is read."""


@dataclass(frozen=True)
class _Minutes(Shape):
    """A number of minutes."""

    def right(self) -> str:
        return "a number of minutes, 0 to 600"

    def fits(self, value: object) -> bool:
        return (
            isinstance(value, (int, float)) and type(value) is not bool and math.isfinite(value) and 0 <= value <= 600
        )


_NOTES: Mapping[str, Shape] = {
    "say": TEXT,
    "ask": TEXT,
    "answer": TEXT,
    "wrong": ListShape(TextShape(600), 10),
    "late": TEXT,
}
_HEAD: Mapping[str, Shape] = {
    "id": TextShape(20, r"[A-Za-z0-9.]+", "letters, digits and dots,"),
    "title": TextShape(120),
    "part": LINE,
    "minutes": _Minutes(),
}
_CARD: Mapping[str, Shape] = {
    "question": TextShape(300),
    "choices": ListShape(TextShape(120), len(LETTERS)),
    "right": TextShape(1),
}
_CARD_MAY: Mapping[str, Shape] = {"why": TEXT, "slips": ObjectShape(others=LINE, most=6), "proof": LINE}


@dataclass(frozen=True)
class _Apart(Shape):
    """What is looked at by itself: a table, or a list of tables."""

    kind: type[dict[str, Any]] | type[list[Any]]
    means: str

    def right(self) -> str:
        return self.means

    def fits(self, value: object) -> bool:
        return isinstance(value, self.kind) and len(value) <= 200


_TABLE, _TABLES = _Apart(dict, "a table of fields"), _Apart(list, "a list of at most 200 tables")
_LECTURE: Mapping[str, Shape] = {
    "title": TextShape(120),
    "minutes": _Minutes(),
    "audience": TEXT,
    "objectives": ListShape(TextShape(600), 20),
    "prepare": ListShape(TextShape(600), 20),
    "scenarios": ObjectShape(others=TextShape(4000), most=100),
}


@cache
def lecture(name: str) -> Lecture:
    """One of the project's own lectures. Raises BadInput for another name."""
    if name not in _FILES:
        raise BadInput("lecture", f"is {name!r}", "one of " + ", ".join(LECTURES))
    texts = ((Path(__file__).parent / file).read_text(encoding="utf-8") for file in _FILES[name])
    return _LectureReader(LECTURES[: LECTURES.index(name)]).lecture("\n".join(texts), name)


def read(source: str | Path) -> Lecture:
    """A lecture from TOML: a Path, or the text itself.

    A slide is written out, or taken over by `use`: "1.5" is a slide of the project's own lectures, "05: three attempts"
    a stepper of lesson 5; what is written beside it takes the place of what is there. What is carried out is not
    carried out here: Lecture.check() does that. Raises BadInput that names the slide and the field.
    """
    if isinstance(source, Path):
        return _LectureReader(LECTURES).lecture(read_text(source, "a lecture in TOML"), source.stem)
    return _LectureReader(LECTURES).lecture(source, "lecture")


class _LectureReader:
    """Reads a lecture, which may take over slides of the project's own ones in `others`."""

    def __init__(self, others: tuple[str, ...]) -> None:
        self.others = others

    def lecture(self, text: str, name: str) -> Lecture:
        data = fitting(_parsed(text), {"title": _LECTURE["title"], "slides": _TABLES}, _LECTURE, "a lecture")
        named = {key: _flat(line) for key, line in data.get("scenarios", {}).items()}
        if not data["slides"]:
            raise BadInput("slides", "are none", "at least one")
        slides: list[Slide] = []
        for number, each in enumerate(data["slides"], 1):
            id = each.get("id", each.get("use", "")) if isinstance(each, dict) else ""
            with at(f"slide {id if isinstance(id, str) and id else number}"):
                slides.append(self._slide(each, named, slides, number))
        total = sum(slide.minutes for slide in slides)
        return Lecture(
            name,
            _flat(data["title"]),
            data.get("minutes", total),
            _flat(data.get("audience", "")),
            tuple(map(_flat, data.get("objectives", ()))),
            tuple(map(_flat, data.get("prepare", ()))),
            tuple(slides),
        )

    def _slide(self, data: Any, named: Named, before: list[Slide], number: int) -> Slide:
        uses = isinstance(data, dict) and "use" in data
        may = {**_HEAD, **_NOTES, "use": LINE, "card": _TABLE, "show": _TABLES, "facts": _TABLES}
        fitting(data, {} if uses else {"title": _HEAD["title"], "minutes": _HEAD["minutes"]}, may, "a slide")
        slide = self._used(data["use"], number) if uses else Slide(str(number), "", "", 0, Notes(), None, ())
        slide = replace(slide, part=before[-1].part if before else "")
        slide = replace(slide, **{name: data[name] for name in _HEAD if name in data}, notes=_notes(data, slide.notes))
        if "card" in data:
            slide = replace(slide, card=_card(data["card"]))
        if "show" in data:
            slide = replace(slide, exhibits=tuple(_each(data["show"], "show", exhibit, named)))
        if "facts" in data:
            slide = replace(slide, facts=tuple(_each(data["facts"], "facts", fact, named)))
        if slide.card is None and not slide.exhibits:
            raise BadInput("show", "is missing, and there is no card", "an exhibit or a card")
        if slide.id in {other.id for other in before}:
            raise BadInput("id", f"is {slide.id!r}, as that of a slide before", "one of its own")
        return slide

    def _used(self, use: str, number: int) -> Slide:
        if ":" in use:
            with at("use"):
                walk = lesson_walk(use)
            return Slide(str(number), walk.show.capitalize(), "", 5, Notes(), None, (walk,))
        slides = {slide.id: slide for name in self.others for slide in lecture(name).slides}
        if use not in slides:
            raise BadInput("use", f"is {use!r}", f'"05: three attempts" or one of {", ".join(slides)}')
        return slides[use]


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > _LONGEST:
        raise BadInput("lecture", f"has {len(text):,} characters", f"{_LONGEST:,} at most")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput("lecture", f"is not TOML ({error})", "TOML with [[slides]]") from None


def _flat(text: str) -> str:
    """A text on one line: where it is broken in the file means nothing."""
    return " ".join(text.split())


def _notes(data: Data, old: Notes) -> Notes:
    texts = {name: _flat(data[name]) for name in _NOTES if name in data and name != "wrong"}
    wrong = tuple(map(_flat, data["wrong"])) if "wrong" in data else old.wrong
    return replace(old, **texts, wrong=wrong)


def _card(data: Any) -> Card:
    with at("card"):
        fitting(data, _CARD, _CARD_MAY, "a card")
        question, why, choices = _flat(data["question"]), _flat(data.get("why", "")), tuple(data["choices"])
        right, slips = _lettered(data["right"], "right"), data.get("slips", {})
        numbered = {_lettered(letter, "slips"): name for letter, name in slips.items()}
        return Card(question, choices, right, why, numbered, data.get("proof", ""))


def _lettered(letter: str, field: str) -> int:
    """Which choice a letter stands for."""
    if letter not in tuple(LETTERS):
        raise BadInput(field, f"names {shown(letter)}", f"one of {', '.join(LETTERS)}")
    return LETTERS.index(letter)


def _each(rows: list[Any], field: str, make: Callable[[Any, Named], Made], named: Named) -> Iterator[Made]:
    for number, row in enumerate(rows, 1):
        with at(f"{field} {number}"):
            yield make(row, named)
