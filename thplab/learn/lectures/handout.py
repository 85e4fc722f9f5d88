"""What a class takes home: two slides a page, key pictures and room to write; the same with answers and notes."""

from __future__ import annotations

import html
from importlib.resources import files
from pathlib import Path

from thplab.learn.lectures.exhibits import Counted, Live, Tabular, Walk
from thplab.learn.lectures.slide import LETTERS, Card, Lecture, Slide
from thplab.learn.lectures.walks import TableTexts
from thplab.learn.printing import for_paper, paper_file, write_paper
from thplab.show.diagrams import SIMPLE, Sheet
from thplab.show.strip import followed, strip

_LINES = 12
"""Lines to write on below a slide, as far as there is room; the teacher's copy has the notes there."""


def write_handout(lecture: Lecture, output: str | Path, teacher: bool = False) -> Path:
    """Write the handout as PDF, or as a page to be printed if the file ends in .html; return where. `teacher` puts the
    answers and the notes in the place of the lines to write on.

    Raises BadInput for another ending or a folder that is not there, and NoBrowser if a PDF is wanted and nothing can
    print one; then nothing has been written.
    """
    path = paper_file(output)
    return write_paper(handout(lecture, teacher), path)


def handout(lecture: Lecture, teacher: bool = False) -> str:
    """The page that is printed."""
    title = lecture.title + (": teacher's copy" if teacher else "")
    slides = "".join(_slide(slide, teacher) for slide in lecture.slides)
    own = files("thplab.learn.lectures").joinpath("handout.css").read_text(encoding="utf-8")
    return for_paper(title, own, f"<h1>{html.escape(title)}</h1>{slides}")


def _slide(slide: Slide, teacher: bool) -> str:
    parts = [_card(slide.card, teacher)] if slide.card else []
    for exhibit in slide.exhibits:
        if isinstance(exhibit, Walk):
            parts.append(_pictures(exhibit, teacher or slide.card is None))
        elif isinstance(exhibit, Tabular) and (teacher or not isinstance(exhibit, (Counted, Live))):
            parts.append(_table(exhibit.table()))
    if teacher:
        parts.append(_notes(slide))
    else:
        lines = '<div class="line"></div>' * _LINES
        parts.append(f'<div class="lines">{lines}</div>')
    return f'<section class="slide"><h2>{html.escape(f"{slide.id}  {slide.title}")}</h2>{"".join(parts)}</section>'


def _pictures(walk: Walk, told: bool) -> str:
    """The picture where the walk begins, or, when the answer may be seen, where it ends; and its strip."""
    trace = walk.trace()
    frames, head = walk.frames(trace), followed(trace)
    number = frames[-1] if told else frames[0]
    state = trace[number].state
    text = "" if head is None else strip(state, head).text
    summed = f"references = mappings + pins: {text}" if "=" in text else text
    return f'{Sheet.of([state], SIMPLE).svg(0)}<p class="sum">{html.escape(summed)}</p>'


def _card(card: Card, teacher: bool) -> str:
    choices = "".join(
        f'<span class="{"right" if teacher and number == card.right else ""}">'
        f"{'✓' if teacher and number == card.right else '☐'} {LETTERS[number]} {html.escape(choice)}</span>"
        for number, choice in enumerate(card.choices)
    )
    why = f"<div>{html.escape(card.why)}</div>" if teacher else ""
    return f'<div class="card"><p>{html.escape(card.question)}</p>{choices}{why}</div>'


def _table(table: TableTexts) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in table["columns"])
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in table["rows"]
    )
    whole = f"<table><tr>{head}</tr>{rows}</table>" if rows else ""
    return whole + f"<p>{html.escape(table['below'])}</p>"


def _notes(slide: Slide) -> str:
    told = "".join(f"<p><b>{name}:</b> {html.escape(text)}</p>" for name, text in slide.notes.lines())
    return f'<div class="notes"><p><b>{slide.minutes:g} minutes.</b></p>{told}</div>'
