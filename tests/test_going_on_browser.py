"""What a reader keeps: her place, her view and her cells, whatever is pressed, restarted, saved or opened again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from labserver import ASK, ERRORS, READY, RUN_ALL, Server, open_alone, open_and_run, open_once, page, write_notebook
from playwright.sync_api import Locator, Page, expect

from thplab.learn.widgets import Stepper

pytestmark = pytest.mark.browser

SHORT = "mmap A; write A 0; fork A B; split_pmd B 0"
CELLS = (
    f"from thplab import Quiz, RaceStepper, Sandbox, Stepper\nstepper = Stepper({SHORT!r})\nstepper",
    "from thplab.learn.lessons.questions import head_refcount\nquiz = Quiz([head_refcount], count=2)\nquiz",
    "sandbox = Sandbox('mmap A; write A 0')\nsandbox",
    "race = RaceStepper('pmd-split-and-zap')\nrace",
)
CELLS_NOW = "() => window.jupyterapp.shell.currentWidget.content.model.cells.length"
OPEN = "name => window.jupyterapp.commands.execute('docmanager:open', { path: name })"


@pytest.fixture(scope="module")
def pg(server: Server) -> Iterator[Page]:
    write_notebook(server.folder / "going.ipynb", *CELLS)
    with page(1366, 768) as pg:
        yield pg


@pytest.fixture
def going(pg: Page, server: Server) -> Page:
    open_once(pg, server, "going.ipynb")
    all_there(pg)
    return pg


def all_there(pg: Page) -> None:
    for name, is_there in (("stepper", "step"), ("quiz", "question"), ("sandbox", "done"), ("race", "step")):
        pg.locator(f".thp-{name}[data-{is_there}]").wait_for()


def restart_and_run(pg: Page) -> None:
    pg.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    pg.wait_for_function(READY)
    assert pg.evaluate(RUN_ALL) and pg.evaluate(ERRORS) == []
    all_there(pg)


def idle(widget: Locator) -> Locator:
    expect(widget).not_to_have_attribute("aria-busy", "true")
    return widget


@pytest.mark.parametrize("name", ["stepper", "quiz", "sandbox", "race"])
def test_no_key_without_a_modifier_reaches_the_notebook(going: Page, name: str) -> None:
    before = going.evaluate(CELLS_NOW)
    widget = going.locator(f".thp-{name}")
    for focused in (widget.locator("button").first, widget.locator(".thp-picture")):
        if not focused.is_visible():
            continue
        focused.focus()
        for key in ("x", "b", "a", "d", "d", "m", "y", "r"):
            going.keyboard.press(key)
    going.evaluate("() => new Promise(done => setTimeout(done, 300))")
    assert going.evaluate(CELLS_NOW) == before
    assert widget.is_visible()


def test_the_place_survives_a_restart(going: Page) -> None:
    stepper, quiz, sandbox, race = (going.locator(f".thp-{name}") for name in ("stepper", "quiz", "sandbox", "race"))
    for _ in range(3):
        stepper.get_by_role("button", name="Next step").click()
    place = stepper.get_attribute("data-step")
    assert place != "0"
    quiz.get_by_role("button", name="Another set").click()
    expect(quiz).to_have_attribute("data-seed", "2")
    sandbox.locator(".thp-line-of").fill(f"rfc-2014 TOY: {SHORT}")
    sandbox.locator(".thp-line-of").press("Enter")
    expect(sandbox).to_have_attribute("data-done", "4")
    race.locator(".thp-picture").press("1")
    expect(race).to_have_attribute("data-step", "1")
    race.locator(".thp-picture").press("0")
    expect(race).to_have_attribute("data-step", "2")
    line = race.locator(".thp-line-of").input_value()
    for each in (stepper, quiz, sandbox, race):
        idle(each)
    going.evaluate("() => new Promise(done => setTimeout(done, 200))")  # the stepper tells its place a moment later
    restart_and_run(going)
    expect(stepper).to_have_attribute("data-step", str(place))
    expect(quiz).to_have_attribute("data-seed", "2")
    expect(sandbox).to_have_attribute("data-done", "4")
    expect(race).to_have_attribute("data-step", "2")
    expect(race.locator(".thp-line-of")).to_have_value(line)
    assert going.evaluate(ASK, "print(race.step, sandbox.still()[1] != '', quiz.seed)").split()[::2] == ["2", "2"]


def test_the_place_survives_a_restart_in_the_full_view_too(going: Page) -> None:
    race, sandbox = going.locator(".thp-race"), going.locator(".thp-sandbox")
    steps, done = race.get_attribute("data-step"), sandbox.get_attribute("data-done")
    race.get_by_role("button", name="full", exact=True).click()
    expect(sandbox.get_by_role("button", name="full", exact=True)).to_have_attribute("aria-pressed", "true")
    restart_and_run(going)
    for widget, attribute, value in ((race, "data-step", steps), (sandbox, "data-done", done)):
        expect(widget).to_have_attribute(attribute, str(value))
        expect(widget.get_by_role("button", name="full", exact=True)).to_have_attribute("aria-pressed", "true")
    race.get_by_role("button", name="simple", exact=True).click()
    expect(sandbox.get_by_role("button", name="simple", exact=True)).to_have_attribute("aria-pressed", "true")


def test_keys_of_a_race_that_come_while_python_works_are_not_lost(going: Page) -> None:
    race = idle(going.locator(".thp-race"))
    race.locator(".thp-line-of").fill("")
    race.locator(".thp-line-of").press("Enter")
    expect(race).to_have_attribute("data-steps", "0")
    idle(race).locator(".thp-picture").focus()
    going.evaluate(
        """() => { for (const key of "01100")
            document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })); }"""
    )
    expect(race).to_have_attribute("data-steps", "5")
    expect(race.locator(".thp-line-of")).to_have_value("pmd-split-and-zap: 0x1 1x2 0x2")


def test_a_click_on_enlarge_opens_the_picture_and_escape_goes_back(going: Page) -> None:
    stepper = going.locator(".thp-stepper")
    svg = stepper.locator(".thp-canvas svg")
    before = svg.bounding_box()
    stepper.get_by_role("button", name="Enlarge the picture to the window").click()
    expect(stepper.get_by_role("dialog")).to_be_visible()
    large = svg.bounding_box()
    assert before is not None and large is not None and large["width"] > before["width"]
    assert large["width"] > 0.9 * 1366 or large["height"] > 0.85 * 768
    going.keyboard.press("Escape")
    expect(stepper.get_by_role("dialog")).to_have_count(0)
    stepper.locator(".thp-picture").click()
    expect(stepper.get_by_role("dialog")).to_be_visible()
    place = str(stepper.get_attribute("data-step"))
    going.keyboard.press("ArrowLeft")  # the picture steps in the dialog, too
    expect(stepper).not_to_have_attribute("data-step", place)
    going.keyboard.press("ArrowRight")
    expect(stepper).to_have_attribute("data-step", place)
    going.keyboard.press("Escape")
    expect(stepper.get_by_role("dialog")).to_have_count(0)
    expect(stepper.get_by_role("button", name="Enlarge the picture to the window")).to_be_focused()
    after = svg.bounding_box()
    assert after is not None and (after["width"], after["height"]) == (before["width"], before["height"])


def test_the_view_is_switched_for_all_and_kept(going: Page) -> None:
    stepper, race = going.locator(".thp-stepper"), going.locator(".thp-race")
    simple = stepper.locator(".thp-canvas svg").inner_html()
    stepper.get_by_role("button", name="full", exact=True).click()
    for widget in (stepper, race):
        expect(widget.get_by_role("button", name="full", exact=True)).to_have_attribute("aria-pressed", "true")
    assert len(stepper.locator(".thp-canvas svg").inner_html()) > len(simple)
    stepper.get_by_role("button", name="simple", exact=True).click()
    expect(stepper.get_by_role("button", name="simple", exact=True)).to_have_attribute("aria-pressed", "true")
    assert stepper.locator(".thp-canvas svg").inner_html() == simple


def test_a_saved_notebook_shows_still_pictures_until_it_is_run(pg: Page, server: Server) -> None:
    # Comes after all others that use the notebook: it ends its kernel.
    open_and_run(pg, server, "going.ipynb")
    all_there(pg)
    expect(pg.locator(".thp-later").first).to_be_hidden()
    assert pg.locator(".thp-later:visible").count() == 0
    pg.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    pg.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    pg.goto(f"{server.base}/lab/tree/going.ipynb?token={server.token}&reset")
    stills = pg.locator(".thp-later:visible")
    expect(stills).to_have_count(len(CELLS))
    for number in range(len(CELLS)):
        expect(stills.nth(number)).to_contain_text("Run this cell to go on.")
    expect(stills.first.locator("svg")).to_be_visible()
    assert "Error displaying widget" not in pg.locator(".jp-Notebook").inner_text()
    pg.wait_for_function(READY)
    assert pg.evaluate(RUN_ALL)
    all_there(pg)
    expect(stills).to_have_count(0)


def test_in_an_exported_page_the_view_is_switched_and_kept(pg: Page, tmp_path: Path) -> None:
    open_alone(pg, tmp_path, Stepper(SHORT).html())
    stepper = pg.locator(".thp-stepper")
    for name in ("full", "simple", "full"):
        stepper.get_by_role("button", name=name, exact=True).click()
        expect(stepper.get_by_role("button", name=name, exact=True)).to_have_attribute("aria-pressed", "true")
    full = stepper.locator(".thp-canvas svg").inner_html()
    pg.reload()
    expect(stepper.get_by_role("button", name="full", exact=True)).to_have_attribute("aria-pressed", "true")
    names = re.compile(r'aria-label="[^"]*"')
    assert names.sub("", stepper.locator(".thp-canvas svg").inner_html()) == names.sub("", full)
    pg.evaluate("() => localStorage.clear()")
