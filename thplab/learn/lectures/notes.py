"""What is written from the lectures: a page for the instructor and a notebook of each.

`python -m thplab.learn.lectures.notes FOLDER` writes them below FOLDER, which is the one of the notebooks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from thplab.files import write_file
from thplab.learn.lectures.exhibits import (
    AskClass,
    Counted,
    Exhibit,
    Live,
    Questions,
    RacePlay,
    Sentence,
    StopPlace,
    Tabular,
    Walk,
)
from thplab.learn.lectures.misconceptions import MISCONCEPTIONS
from thplab.learn.lectures.reading import LECTURES, lecture
from thplab.learn.lectures.slide import LETTERS, Card, Lecture, Slide
from thplab.scenario import load

_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def files() -> dict[str, str]:
    """What is written, by its path in the folder of the notebooks."""
    found = {}
    for number, name in enumerate(LECTURES, 1):
        found[page_path(name)] = page(lecture(name), number)
        found[f"lectures/{name}.ipynb"] = nbformat.writes(notebook(lecture(name))) + "\n"
    return found


def page_path(name: str) -> str:
    """Where the page about one of the project's own lectures is, in the folder of the notebooks."""
    return f"instructor/lecture_{LECTURES.index(name) + 1}_{name}.md"


# --- the page for the instructor --------------------------------------------------------------------------------------


def page(talk: Lecture, number: int) -> str:
    """The instructor's page, in Markdown."""
    return "\n".join(_page(talk, number)).rstrip() + "\n"


def _page(talk: Lecture, number: int) -> Iterator[str]:
    yield f"# Lecture {number}. {talk.title}: for the instructor\n"
    yield f"{talk.minutes:g} minutes. For: {talk.audience}"
    yield f"The slides are in [{talk.name}.ipynb](../lectures/{talk.name}.ipynb). How to vote, what to do when"
    yield "something fails, and what helps those who do not see the picture: [giving a lecture](giving_a_lecture.md).\n"
    yield "Afterwards they can\n"
    yield from (f"- {objective}," for objective in talk.objectives[:-1])
    yield f"- {talk.objectives[-1]}.\n"
    yield "## Minutes\n"
    yield from _rows(("part", "slides: minutes", "until"), _timing(talk))
    yield "\n## Before you start\n"
    yield from (f"- {line}" for line in talk.prepare)
    yield "\n## Slides\n"
    for slide in talk.slides:
        yield f"### {slide.id} {slide.title}\n"
        yield f"{_minutes(slide)}\n"
        yield from (f"{line}\n" for line in notes(slide))
    yield "## What is behind the wrong answers\n"
    yield "The name stands in the notes; the class is shown the sentence.\n"
    met = [name for name in MISCONCEPTIONS if any(f"({name})" in w for s in talk.slides for w in s.notes.wrong)]
    yield from _rows(("name", "sentence"), ((name, MISCONCEPTIONS[name]) for name in met))


def _timing(talk: Lecture) -> Iterator[tuple[str, ...]]:
    for part in talk.timing():
        each = ", ".join(f"{id} {minutes:g}" if minutes else id for id, minutes in part.slides)
        yield part.name, each, f"{part.sum:g}"


def _minutes(slide: Slide) -> str:
    if not slide.minutes:
        return "If there is time."
    return f"{slide.minutes:g} minute{'' if slide.minutes == 1 else 's'}."


def _rows(head: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


# --- the notes of a slide ---------------------------------------------------------------------------------------------


def notes(slide: Slide) -> Iterator[str]:
    """What the lecturer has before him, as paragraphs of Markdown."""
    said = slide.notes
    if slide.card is not None:
        yield f"**Card:** {_card(slide.card)}"
    yield from (f"**Shown:** {shown(exhibit)}" for exhibit in slide.exhibits)
    yield f"**Say:** {said.say}"
    if said.ask:
        yield f"**Ask:** {said.ask}"
    if said.answer:
        yield f"**Answer:** {said.answer}"
    if said.wrong:
        yield "**Expected wrong answers:**\n\n" + "\n".join(f"- {wrong}" for wrong in said.wrong)
    yield f"**When late:** {said.late}"


def _card(card: Card) -> str:
    choices = (
        f"*{letter}* {f'**{choice}**' if number == card.right else choice}"
        for number, (letter, choice) in enumerate(zip(LETTERS, card.choices, strict=False))
    )
    return f"{card.question} {' · '.join(choices)}. Why: {card.why}"


@singledispatch
def shown(exhibit: Exhibit) -> str:
    """An exhibit in words, with the numbers that it shows."""
    raise NotImplementedError(type(exhibit).__name__)


@shown.register
def _(exhibit: Walk) -> str:
    what = f"the stepper *{exhibit.show}* of lesson {int(exhibit.lesson)}" if exhibit.lesson else "the stepper"
    if len(exhibit.stops) == 1:
        what = "a still picture"
    stops = "; ".join(map(_stop, exhibit.stops))
    routines = ", with the kernel's routines" if exhibit.routines else ""
    return f"{what}{routines}, {exhibit.setup}: `{_line(exhibit.scenario)}`" + (f". Stops: {stops}" if stops else "")


def _stop(stop: StopPlace) -> str:
    where, _, text = stop.at.partition(": ")
    place = f"in operation {where[1:]} at *{text}*" if text else f"end of operation {where[1:]}"
    told = [f"**{stop.strip}**" if stop.strip else "", *stop.events, f"returns {stop.result}" if stop.result else ""]
    return " ".join((place, ", ".join(filter(None, told)))).strip()


@shown.register
def _(exhibit: Sentence) -> str:
    return f"*{exhibit.text}*"


@shown.register
def _(exhibit: Tabular) -> str:
    table = exhibit.table()
    below = f"\n\n{table['below']}" if table["below"] else ""
    return f"\n\n{chr(10).join(_rows(table['columns'], table['rows']))}{below}"


@shown.register
def _(exhibit: Counted) -> str:
    where = f"end of operation {exhibit.at[1:]}"
    return f"the ledger, filled in, {exhibit.setup}: `{_line(exhibit.scenario)}`, {where}, **{exhibit.strip}**"


@shown.register
def _(exhibit: Live) -> str:
    if not exhibit.scenario:
        return "the live lab, empty"
    table = "\n".join(_rows(exhibit.table()["columns"], exhibit.table()["rows"]))
    return f"the live lab: `{_line(exhibit.scenario)}`\n\n{table}"


@shown.register
def _(exhibit: RacePlay) -> str:
    return f"the race itself, to be played: `{exhibit.pair}: {exhibit.schedule}`"


@shown.register
def _(exhibit: AskClass) -> str:
    return f"a sandbox, {exhibit.setup}: `{_line(exhibit.scenario)}`"


@shown.register
def _(exhibit: Questions) -> str:
    return f"{exhibit.count} questions of lesson {int(exhibit.lesson)}"


def _line(scenario: str) -> str:
    return load(scenario).line()


# --- the notebook -----------------------------------------------------------------------------------------------------


def notebook(talk: Lecture) -> nbformat.NotebookNode:
    """The notebook, without outputs: a title, then each slide, and its notes below it."""
    about = f"# {talk.title}\n\n{talk.minutes:g} minutes. For: {talk.audience}"
    page = f"For the instructor: [notes](../{page_path(talk.name)})." if talk.name in LECTURES else ""
    begin = f'from thplab.learn.lectures import lecture\n\ntalk = lecture("{talk.name}")'
    cells = [
        new_markdown_cell(f"{about}\n\n{page}".rstrip(), **_meta("title", "slide")),
        new_code_cell(begin, **_meta("begin", "skip")),
    ]
    for slide in talk.slides:
        id = slide.id.replace(".", "-")
        cells.append(new_code_cell(f'talk.slide("{slide.id}")', **_meta(f"slide-{id}", "slide")))
        cells.append(new_markdown_cell("\n\n".join(notes(slide)), **_meta(f"notes-{id}", "notes")))
    written: nbformat.NotebookNode = new_notebook(cells=cells, metadata=_METADATA)
    return written


def _meta(id: str, kind: str) -> dict[str, Any]:
    return {"id": id, "metadata": {"slideshow": {"slide_type": kind}}}


def write(folder: Path) -> None:
    """Write all files below a folder. Raises BadInput if one cannot be written."""
    for path, text in files().items():
        (folder / path).parent.mkdir(exist_ok=True)
        write_file(folder / path, text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
