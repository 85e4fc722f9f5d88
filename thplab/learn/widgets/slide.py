"""A slide of a lecture: a question to vote on, exhibits one after the other, and the answer."""

from __future__ import annotations

import html
from typing import Any

import traitlets
from ipywidgets import Widget as AnyWidget
from ipywidgets import widget_serialization

from thplab.learn.lectures.exhibits import AskClass, Exhibit, Live, Questions, RacePlay, Tabular, Walk
from thplab.learn.lectures.misconceptions import MISCONCEPTIONS
from thplab.learn.lectures.slide import LETTERS, Card, Lecture, Slide
from thplab.learn.lectures.walks import lesson_named
from thplab.learn.widgets.live import LiveLab
from thplab.learn.widgets.page import definition, kind_of, pack
from thplab.learn.widgets.quiz import Quiz
from thplab.learn.widgets.race import RaceStepper
from thplab.learn.widgets.sandbox import Sandbox
from thplab.learn.widgets.stepper import Stepper
from thplab.learn.widgets.widget import Widget
from thplab.scenario import load
from thplab.study.live.recording import shipped

SHOWN_FIRST = "cow"
"""The scenario of a live lab for which the lecture names none."""
CARD, ANSWER = "card", "answer"
"""Screens beside those of the exhibits, which have numbers."""


class LectureSlide(Widget, page="slide"):
    """A slide on the projector. In a notebook it stands in its cell, and "Present" shows it, and the lecture's other
    slides whose cells have been run, over the whole window.

    One goes through its places in order: the card, each stop of each exhibit, the card with its answer. Without `live`
    a live lab is on it only if it has a recorded run to show; what the simulator says of its scenario is there always.
    """

    traits_in_html = ("place",)

    place = traitlets.Int(0).tag(sync=True)
    """Where one is on the slide, from 0."""
    children: traitlets.List[AnyWidget] = traitlets.List(trait=traitlets.Instance(AnyWidget)).tag(
        sync=True, **widget_serialization
    )
    """The widgets on it, in the order of the exhibits that need one."""

    def __init__(self, lecture: Lecture, slide: Slide, live: bool = True) -> None:
        self.slide = slide
        screens: list[dict[str, Any]] = []
        widgets: list[Widget] = []
        places: list[dict[str, int | str]] = [{"screen": CARD}] if slide.card else []
        for exhibit in slide.exhibits:
            if not isinstance(exhibit, Tabular) or (isinstance(exhibit, Live) and (live or is_recorded(exhibit))):
                widget, stops = exhibit_widget(exhibit)
                number = len(screens)
                places += [{"screen": number, "stop": stop} for stop in stops] or [{"screen": number}]
                screens.append({"widget": len(widgets)})
                widgets.append(widget)
            if isinstance(exhibit, Tabular) and (table := exhibit.table())["rows"] + [table["below"]] != [""]:
                places.append({"screen": len(screens)})
                screens.append({"table": table})
        places += [{"screen": ANSWER}] if slide.card else []
        self._data: dict[str, Any] = {
            "lecture": lecture.title,
            "name": lecture.name,
            "number": lecture.slides.index(slide),
            "of": len(lecture.slides),
            "id": slide.id,
            "title": slide.title,
            "part": slide.part,
            "minutes": slide.minutes,
            "card": card_data(slide.card) if slide.card else None,
            "screens": screens,
            "places": places,
            "notes": list(map(list, slide.notes.lines())),
        }
        super().__init__(packed=pack(self._data), children=widgets, lecture=True)

    @property
    def places(self) -> int:
        """How many places it has."""
        places: list[object] = self._data["places"]
        return len(places)

    def still(self) -> tuple[str, str]:
        """The picture of the first widget, or the words of the slide."""
        pictures = [child.still()[0] for child in self.children if isinstance(child, Widget)]
        return next(filter(None, pictures), ""), f"{self.slide.id} {self.slide.title}"

    def packed_for_html(self) -> str:
        """With the widgets on it, each with the name that a page calls its kind."""
        inside = [child for child in self.children if isinstance(child, Widget)]
        made = [{"kind": kind_of(child._page), "state": child.state_for_html()} for child in inside]
        return pack(self._data | {"widgets": made})

    def html(self) -> str:
        """The slide as HTML that works from the page alone."""
        kinds = dict.fromkeys(child._page for child in self.children if isinstance(child, Widget))
        return "".join(map(definition, kinds)) + super().html()

    def notes_html(self) -> str:
        """What the lecturer reads, as HTML."""
        told = "".join(f"<p><b>{name}:</b> {html.escape(text)}</p>" for name, text in self.slide.notes.lines())
        return f"<p><b>{self.slide.id}</b>, {self.slide.minutes:g} minutes</p>{told}"


def is_recorded(exhibit: Live) -> bool:
    """Does a recorded run of its scenario come with thplab?"""
    return shipped(load(exhibit.scenario or SHOWN_FIRST)) is not None


def exhibit_widget(exhibit: Exhibit) -> tuple[Widget, list[int]]:
    """The widget that shows an exhibit in a lecture, and the frames at which it stops."""
    if isinstance(exhibit, Walk):
        trace = exhibit.trace()
        stops = list(exhibit.frames(trace))
        return Stepper(trace, step=stops[0], lecture=True, stops=stops), stops
    if isinstance(exhibit, RacePlay):
        return RaceStepper(f"{exhibit.pair}: {exhibit.schedule}", lecture=True), []
    if isinstance(exhibit, AskClass):
        setup = exhibit.setup
        assert isinstance(setup.kernel, str), "a lecture names its kernels"
        sandbox = Sandbox(
            exhibit.scenario,
            kernel=setup.kernel,
            geometry=setup.geometry,
            mutant=setup.mutant,
            swap=setup.swap,
            lecture=True,
        )
        return sandbox, []
    if isinstance(exhibit, Live):
        return LiveLab(exhibit.scenario or SHOWN_FIRST, lecture=True), []
    assert isinstance(exhibit, Questions), "no other kind needs a widget"
    lesson = lesson_named(exhibit.lesson)
    assert isinstance(lesson.quiz_setup.kernel, str), "a lesson names its kernels"
    quiz = Quiz(
        lesson.families,
        kernel=lesson.quiz_setup.kernel,
        geometry=lesson.quiz_setup.geometry,
        count=exhibit.count,
        seed=exhibit.seed,
        lecture=True,
    )
    return quiz, []


def card_data(card: Card) -> dict[str, Any]:
    """A card as the page needs it."""
    return {
        "question": card.question,
        "choices": [[LETTERS[number], choice] for number, choice in enumerate(card.choices)],
        "right": card.right,
        "why": card.why,
        "slips": {str(choice): [name, MISCONCEPTIONS[name]] for choice, name in card.slips.items()},
    }
