"""Pictures that are laid out once and filled many times: over the shows of all lessons, in both details.

Graphviz lays out the own DOT source of some frames of some shows, so that this takes seconds; make sweep has it lay
out all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import pytest
from pictures import Picture

from thplab.learn.lessons.series import LESSONS
from thplab.machine.state import State
from thplab.machine.trace import record
from thplab.show.diagrams import DETAILS, SIMPLE, Cut, Painter, Sheet
from thplab.show.diagrams.cells import SIZE, SMALL
from thplab.show.diagrams.drawn import Rect
from thplab.show.diagrams.engine import lay_out

SHOWS = [(lesson.notebook, name) for lesson in LESSONS for name in lesson.shows]
SAMPLE = 3
"""So many frames of a show are laid out."""
SCREEN = 1240, 560
"""Pixels for a picture in lecture mode at 1280x720."""
READABLE = 18


@cache
def states(lesson: str, show: str) -> tuple[State, ...]:
    found = next(each for each in LESSONS if each.notebook == lesson)
    return tuple(frame.state for frame in found.shows[show].trace())


@cache
def sheet(lesson: str, show: str, detail: str) -> Sheet:
    return Sheet.of(states(lesson, show), detail)


def picked(drawn: Sheet) -> Iterator[int]:
    """The numbers of the pictures that are laid out: some, evenly from the first to the last; or all."""
    last = len(drawn.pictures) - 1
    count = last if os.environ.get("THPLAB_SWEEP") else SAMPLE - 1
    yield from sorted({round(part * last / max(count, 1)) for part in range(count + 1)})


def near(one: Rect, other: Rect) -> bool:
    return all(abs(a - b) <= 1 for a, b in zip(one, other, strict=True))


@pytest.mark.sweep(3)
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize(("lesson", "show"), SHOWS)
def test_a_filled_picture_is_what_graphviz_makes_of_its_own_dot(lesson: str, show: str, detail: str) -> None:
    drawn = sheet(lesson, show, detail)
    for number in picked(drawn):
        own = lay_out(drawn.dot(number))
        filled = Picture(drawn.svg(number))
        classes = {id: group.get("class", "") for id, group in filled.groups.items()}
        boxes = filled.boxes()
        cells = {id for id, kind in classes.items() if kind == "cell"}
        said = {id: "".join(filled.groups[id].itertext()) for id in cells}
        assert cells <= own.cells.keys(), number
        assert {id: text for id, text in own.texts.items() if text} == {id: text for id, text in said.items() if text}
        assert set(own.nodes) == drawn.plan.nodes.keys() & classes.keys(), number
        assert own.boxes.keys() == drawn.plan.boxes.keys() & classes.keys(), number
        assert own.arrows.keys() == {id for id, kind in classes.items() if kind.startswith("edge ")}, number
        places = {**own.cells, **own.boxes}
        far = {id: boxes[id] for id in (*cells, *own.boxes) if not near(Rect(*boxes[id]), places[id])}
        assert not far, number
        assert near(Rect(0, 0, *filled.size()), Rect(0, 0, own.width, own.height)), number


@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize(("lesson", "show"), SHOWS)
def test_the_changes_of_a_page_lead_to_what_fills_each_picture(lesson: str, show: str, detail: str) -> None:
    drawn = sheet(lesson, show, detail)
    page = drawn.page()
    first = Picture(page["svg"])
    filled: dict[str, object] = {}
    assert len(page["changes"]) == len(drawn.pictures)
    for number, changes in enumerate(page["changes"]):
        places, values = ([page[name][i] for i in changes[at::2]] for at, name in enumerate(("places", "values")))
        assert len(set(places)) == len(places), number
        assert not number or all(filled[id] != value for id, value in zip(places, values, strict=True)), number
        filled |= dict(zip(places, values, strict=True))
        cells, shapes = drawn.fill(number)
        assert filled == {**cells, **shapes}, number
        empty = {id for id, value in cells.items() if value is None or not value.texts}
        assert filled.keys() - first.groups.keys() <= empty, number


@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize(("lesson", "show"), SHOWS)
def test_nothing_moves_and_every_letter_can_be_read(lesson: str, show: str, detail: str) -> None:
    drawn = sheet(lesson, show, detail)
    places: dict[str, tuple[float, ...]] = {}
    for number in range(0, len(drawn.pictures), 5):
        picture = Picture(drawn.svg(number))
        assert picture.size() == (drawn.drawn.width, drawn.drawn.height)
        assert min(picture.letters(), default=SMALL) >= SMALL >= 12, number
        for id, box in picture.boxes().items():
            assert box == places.setdefault(id, box), (number, id)


@pytest.mark.parametrize(("lesson", "show"), SHOWS)
def test_a_simple_picture_can_be_read_from_the_last_row(lesson: str, show: str) -> None:
    """What entries and counters say; titles of columns may be a little smaller."""
    drawn = sheet(lesson, show, SIMPLE).drawn
    scale = min(SCREEN[0] / drawn.width, SCREEN[1] / drawn.height)
    assert scale * SIZE >= READABLE, (drawn.width, drawn.height)


@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize(("lesson", "show"), SHOWS)
def test_processes_stand_below_each_other_in_their_order(lesson: str, show: str, detail: str) -> None:
    drawn = sheet(lesson, show, detail)
    started = list(dict.fromkeys(f"process-{p.name}" for state in states(lesson, show) for p in state.processes))
    boxes = [drawn.drawn.boxes[id] for id in started]
    assert all(above.bottom < below.top for above, below in pairwise(boxes))


@pytest.mark.parametrize(("lesson", "show"), SHOWS)
def test_a_simple_picture_marks_what_shows_only(lesson: str, show: str) -> None:
    before: dict[str, str] = {}
    for number, picture in enumerate(sheet(lesson, show, SIMPLE).pictures):
        rows = {row.cells[0].id: row for _, row in picture.all_rows()}
        now = {id: " ".join(span.text for cell in row.cells for span in cell.spans) for id, row in rows.items()}
        marked = [id for id, row in rows.items() if any(cell.ground == "changed" for cell in row.cells)]
        assert not number or [id for id in marked if now[id] == before.get(id)] == [], number
        assert number or not marked
        before = now


def test_a_process_without_any_table_has_its_box() -> None:
    """It has a title and nothing below it, in every picture of the series."""
    trace = record("mmap A; fill A 0 1thp; fork A B; munmap B 0 1thp")
    end = trace[-1].state
    painter = Painter(Cut.of([frame.state for frame in trace]), SIMPLE)
    assert 'id="process-B"' in Sheet([painter.paint(end)]).svg()
