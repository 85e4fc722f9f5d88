"""A lecture: slides in order, each with its claim, what it shows, a question to vote on, and what is said to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from itertools import groupby
from typing import Any, NamedTuple

from thplab.errors import BadInput
from thplab.learn.lectures.exhibits import Counted, Exhibit, FactRow, Walk, reading_of
from thplab.learn.lectures.misconceptions import MISCONCEPTIONS

LETTERS = "abcdef"
"""What the choices of a card are called."""


@dataclass(frozen=True)
class Card:
    """A question on which a class votes before it sees the slide. `right` and the keys of `slips` number the choices.

    `slips` names for a wrong choice the misconception behind it. `proof` says where the right choice can be read:
    "references at o4", or another of exhibits.READINGS, in the first walk or ledger of the slide; the choice then
    begins with that. Raises BadInput for what is no question of this kind.
    """

    question: str
    choices: tuple[str, ...]
    right: int
    why: str
    slips: Mapping[int, str] = field(default_factory=dict, hash=False)
    proof: str = ""

    def __post_init__(self) -> None:
        if not 2 <= len(self.choices) <= len(LETTERS) or len(set(self.choices)) < len(self.choices):
            raise BadInput("choices", f"are {list(self.choices)}", f"2 to {len(LETTERS)} different ones")
        if not 0 <= self.right < len(self.choices):
            raise BadInput("right", "is none of the choices", f"one of {', '.join(LETTERS[: len(self.choices)])}")
        for choice, name in self.slips.items():
            if choice == self.right or not 0 <= choice < len(self.choices):
                raise BadInput("slips", "are about a choice that is right or not there", "wrong choices")
            if name not in MISCONCEPTIONS:
                raise BadInput("slips", f"hold {name!r}", "one of " + ", ".join(map(repr, MISCONCEPTIONS)))

    @property
    def letter(self) -> str:
        """What the right choice is called."""
        return LETTERS[self.right]


@dataclass(frozen=True)
class Notes:
    """What is for the lecturer only: what to say, the question to ask and its answer, answers that are wrong (and why
    they are given), and what to do when late.
    """

    say: str = ""
    ask: str = ""
    answer: str = ""
    wrong: tuple[str, ...] = ()
    late: str = ""

    def lines(self) -> list[tuple[str, str]]:
        """What there is of it, each with what it is called."""
        wrong = [("Wrong", each) for each in self.wrong]
        said = [("Say", self.say), ("Ask", self.ask), ("Answer", self.answer), *wrong, ("When late", self.late)]
        return [(name, text) for name, text in said if text]


@dataclass(frozen=True)
class Slide:
    """One claim, as title, and the exhibits that show it, each a screenful. The card comes before them.

    `minutes` is 0 for a slide that is shown if there is time. `facts` are numbers of the notes, which the exhibits do
    not show: each names its scenario, its kernel and the value.
    """

    id: str
    title: str
    part: str
    minutes: float
    notes: Notes
    card: Card | None
    exhibits: tuple[Exhibit, ...]
    facts: tuple[FactRow, ...] = ()

    def check(self) -> list[str]:
        """What is not as the slide says, when all of it is carried out."""
        found = [problem for exhibit in self.exhibits for problem in exhibit.check()]
        found += [problem for fact in self.facts for problem in fact.check()]
        return [f"slide {self.id}: {problem}" for problem in (*found, *self._unproven())]

    def _unproven(self) -> list[str]:
        if self.card is None or not self.card.proof:
            return []
        what, _, at = self.card.proof.partition(" at ")
        shown = next((e for e in self.exhibits if isinstance(e, (Walk, Counted))), None)
        if shown is None:
            return ["card.proof needs a walk or a ledger on the slide"]
        try:
            value = reading_of(shown.trace(), what, at)
        except BadInput as wrong:
            return [f"card.proof: {wrong}"]
        right = self.card.choices[self.card.right]
        return [] if right.split(" ")[0].strip(",;:") == value else [f"card: {what} are {value}, not {right!r}"]


class Part(NamedTuple):
    """Slides that belong together: the name, (id, minutes) of each, and when it is over, in minutes from the start."""

    name: str
    slides: tuple[tuple[str, float], ...]
    sum: float


@dataclass(frozen=True)
class Lecture:
    """Slides in order. `minutes` is how long it takes; slides for which there may be no time are not in it."""

    name: str
    title: str
    minutes: float
    audience: str
    objectives: tuple[str, ...]
    prepare: tuple[str, ...]
    slides: tuple[Slide, ...]

    def __repr__(self) -> str:
        return f"<Lecture {self.name}: {len(self.slides)} slides, {self.minutes:g} minutes>"

    def timing(self) -> tuple[Part, ...]:
        """The parts in order, each with the minutes of its slides."""
        parts, over = [], 0.0
        for name, slides in groupby(self.slides, lambda slide: slide.part):
            each = tuple((slide.id, slide.minutes) for slide in slides)
            over += sum(minutes for _, minutes in each)
            parts.append(Part(name, each, over))
        return tuple(parts)

    def find(self, id: str) -> Slide:
        """The slide of that id. Raises BadInput if there is none."""
        for slide in self.slides:
            if slide.id == id:
                return slide
        raise BadInput("id", f"is {id!r}", "one of " + ", ".join(slide.id for slide in self.slides))

    def slide(self, id: str, live: bool = True) -> Any:
        """A slide as a widget, to be shown in a notebook; without `live` for a page in which no kernel can be asked.
        Raises BadInput if there is none of that id.
        """
        widgets = import_module("thplab.learn.widgets.slide")  # which imports what is in here
        return widgets.LectureSlide(self, self.find(id), live)

    def check(self) -> list[str]:
        """What is not as the lecture says: each a sentence that begins with its slide."""
        found = [problem for slide in self.slides for problem in slide.check()]
        total = self.timing()[-1].sum
        if abs(total - self.minutes) > 0.01:
            found.append(f"the slides take {total:g} minutes, not {self.minutes:g}")
        return found
