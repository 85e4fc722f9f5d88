"""Whether a reader can read what is shown: sizes of letters, and what stands in one window, measured in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from labserver import Server, open_and_run, open_once, page, write_notebook
from playwright.sync_api import Page, ViewportSize, expect

pytestmark = pytest.mark.browser

LAPTOP = 1366, 768
BEAMER, HALL = ViewportSize(width=1280, height=720), ViewportSize(width=1920, height=1080)
IMPORTS = "from thplab import Compare, RaceStepper\nfrom thplab.learn.lessons.series import LESSONS\n"
SAMPLE = (
    IMPORTS + "LESSONS[0].stepper('one mapping is split')",
    "LESSONS[2].stepper(next(iter(LESSONS[2].shows)))",
    "LESSONS[8].stepper(next(iter(LESSONS[8].shows)))",
    "RaceStepper('naive-split-and-pin: 0x3 1x4')",
    "Compare('cow')",
    "LESSONS[4].quiz()",
)
LECTURES = (
    "LESSONS[0].stepper(next(iter(LESSONS[0].shows)), lecture=True)",
    "LESSONS[8].stepper(next(iter(LESSONS[8].shows)), lecture=True)",
)
LETTERS = """root => [...root.querySelectorAll(".thp-canvas svg text")]
    .filter(e => e.getBoundingClientRect().width && e.textContent.trim())
    .flatMap(e => (e.children.length ? [...e.children] : [e]).filter(piece => piece.textContent.trim())
        .map(piece => [parseFloat(getComputedStyle(piece).fontSize) * e.getScreenCTM().a, piece.textContent]))
    .sort(([a], [b]) => a - b)"""
NOTEBOOK = "() => document.querySelector('.jp-WindowedPanel-outer').getBoundingClientRect().toJSON()"


@pytest.fixture(scope="module")
def pg() -> Iterator[Page]:
    with page(*LAPTOP) as pg:
        yield pg


@pytest.fixture
def laptop(pg: Page, server: Server) -> Page:
    """The sample in a notebook, beside an open file browser."""
    write_notebook(server.folder / "reading.ipynb", *SAMPLE)
    open_once(pg, server, "reading.ipynb")
    expect(pg.locator(".thp-widget")).to_have_count(len(SAMPLE))
    expect(pg.locator("#filebrowser")).to_be_visible()
    return pg


def letters(pg: Page, number: int) -> list[tuple[float, str]]:
    """What the pictures of a widget say, with the height of its letters in pixels, the smallest first."""
    widget = pg.locator(".thp-widget").nth(number)
    widget.scroll_into_view_if_needed()
    found: Any = widget.evaluate(LETTERS)
    return [(size, text) for size, text in found]


@pytest.mark.parametrize("number", range(len(SAMPLE)))
def test_letters_of_pictures_can_be_read_beside_an_open_file_browser(laptop: Page, number: int) -> None:
    widget = laptop.locator(".thp-widget").nth(number)
    if "thp-quiz" in str(widget.get_attribute("class")):  # its picture comes with the answer
        form = widget.locator(".thp-form")
        if form.locator("input").count():
            form.locator("input").fill("1")
            form.locator("input").press("Enter")
        else:
            form.locator("button").first.click()
    widget.locator(".thp-canvas svg").first.wait_for()
    slider = widget.get_by_role("slider").first
    if slider.count():  # where something is to be seen, and before the first question
        slider.fill("8")
    found = letters(laptop, number)
    assert len(found) > 5 and found[0][0] >= 12, found[:3]


def test_step_picture_sentence_and_question_stand_in_one_window(laptop: Page) -> None:
    stepper = laptop.locator(".thp-stepper").first
    for _ in range(60):
        if stepper.locator(".thp-asking").count():
            break
        stepper.get_by_role("button", name="Next step").click()
    expect(stepper.locator(".thp-asking")).to_be_visible()
    width, step = "e => e.offsetWidth", stepper.locator(".thp-step")
    expect(step).to_have_text("Answer first")
    place = str(stepper.get_attribute("data-step"))
    step.click()
    expect(stepper.locator(".thp-changes")).to_have_text("Answer the question first; then Step goes on.")
    expect(stepper.locator(".thp-asking")).to_be_in_viewport(ratio=0.95)
    expect(stepper).to_have_attribute("data-step", place)
    asking = step.evaluate(width)
    stepper.get_by_role("button", name="Back one step").click()
    expect(step).to_have_text("Step")
    assert step.evaluate(width) == asking
    step.click()
    stepper.evaluate("root => root.scrollIntoView({ block: 'start' })")
    seen = laptop.evaluate(NOTEBOOK)
    for part in (".thp-step", ".thp-picture", ".thp-caption", ".thp-asking", ".thp-changes"):
        box = stepper.locator(part).first.bounding_box()
        assert box is not None, part
        assert seen["top"] <= box["y"] and box["y"] + box["height"] <= seen["bottom"], (part, box, seen)


@pytest.mark.parametrize(("size", "least"), [(BEAMER, 18), (HALL, 24)])
@pytest.mark.parametrize("cell", LECTURES)
def test_letters_in_a_lecture_can_be_read_from_the_last_row(
    pg: Page, server: Server, cell: str, size: ViewportSize, least: int
) -> None:
    pg.set_viewport_size(size)
    name = f"lecture {LECTURES.index(cell)} {least}.ipynb"
    write_notebook(server.folder / name, IMPORTS + cell)
    open_and_run(pg, server, name)
    lecture = pg.locator(".thp-lecture[data-step]")
    lecture.wait_for()
    slider = lecture.get_by_role("slider", name="Step")
    last = int(str(slider.get_attribute("max")))
    for place in (last // 3, last // 2, 2 * last // 3):
        slider.fill(str(place))
        found = letters(pg, 0)
        assert len(found) > 10 and found[0][0] >= least, (place, found[:3])


FONTS = """root => [...root.querySelectorAll("p, button, code")].filter(e => e.checkVisibility())
    .map(e => parseFloat(getComputedStyle(e).fontSize))"""
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
ON_TOP = """e => { const b = e.getBoundingClientRect();
    return document.elementFromPoint(b.x + b.width / 2, b.y + b.height / 2)?.closest(".thp-picture") !== null; }"""
CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.cells.length"


def test_a_lecture_keeps_its_letters_when_another_widget_comes(pg: Page, server: Server) -> None:
    pg.set_viewport_size(BEAMER)
    write_notebook(server.folder / "lecture.ipynb", IMPORTS + LECTURES[0], "Compare('cow')", "LESSONS[4].quiz()")
    open_once(pg, server, "lecture.ipynb")
    expect(pg.locator(".thp-widget")).to_have_count(3)
    sizes = pg.locator(".thp-lecture").evaluate(FONTS)
    assert len(sizes) > 3 and min(sizes) >= 18


def test_a_presenters_remote_steps_and_blanks(pg: Page, server: Server) -> None:
    pg.set_viewport_size(BEAMER)
    write_notebook(server.folder / "lecture.ipynb", IMPORTS + LECTURES[0], "Compare('cow')", "LESSONS[4].quiz()")
    open_once(pg, server, "lecture.ipynb")
    lecture, before = pg.locator(".thp-lecture"), pg.evaluate(CELLS)
    step = lecture.get_by_role("button", name="Next step")
    step.click()
    first = str(lecture.get_attribute("data-step"))
    pg.keyboard.press("PageDown")
    expect(lecture).not_to_have_attribute("data-step", first)
    pg.keyboard.press("PageUp")
    expect(lecture).to_have_attribute("data-step", first)
    for key in (".", "b"):
        for blank in (True, False):
            pg.keyboard.press(key)
            pg.evaluate(PAINTED)
            assert lecture.locator(".thp-picture").evaluate(ON_TOP) is not blank, (key, blank)
    expect(step).to_be_focused()
    assert pg.evaluate(CELLS) == before
