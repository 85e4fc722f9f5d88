"""Predictions in the stepper, in a real JupyterLab and a real Chromium: asked, answered, kept and saved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labserver import Server, open_and_run, page, write_notebook
from playwright.sync_api import Locator, Page, expect
from test_stepper_browser import MIDDLE, at, button, press, step_named

from thplab.learn.widgets.payload import payload
from thplab.machine.trace import record
from thplab.scenario import load

pytestmark = pytest.mark.browser

PHASES = [phase.title for phase in load("story").phases]
ASKING = f"""from thplab.learn.widgets import Prediction, Stepper

def head_count(frame):
    return frame.state.field("refcount", frame.state.compound_pages()[0])

Stepper("story", predictions=[
    Prediction({MIDDLE!r}, "How many references?", head_count, why="Each PTE holds one.", of="PMD = the PTE table"),
    Prediction({PHASES[4]!r}, "Whose count goes up?", lambda frame: "the head's",
               answers=["the head's", "page 4's own"], why="A tail has no count of its own."),
])"""
FROM_THE_MIDDLE = ASKING.replace('"story",', f'"story", step={MIDDLE!r},')


@pytest.fixture
def pg() -> Iterator[Page]:
    with page(height=900) as pg:
        yield pg


@pytest.fixture
def asking(server: Server, pg: Page) -> Locator:
    """A stepper with two questions, at its first step, in a browser that keeps no answers yet."""
    write_notebook(server.folder / "asking.ipynb", ASKING)
    open_and_run(pg, server, "asking.ipynb")
    stepper = pg.locator(".thp-stepper")
    at(stepper, 0)
    stepper.locator(".thp-side summary").click()  # folded, for the window is too low for it
    return stepper


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return payload(record(load("story")))


@pytest.fixture(scope="module")
def shown(data: dict[str, Any]) -> list[int]:
    """The frames that are shown unless all are."""
    return [number for number, frame in enumerate(data["frames"]) if not frame["plain"]]


def answer_both(asking: Locator) -> None:
    """8, which is wrong, and the head's, which is right."""
    press(asking, "End")
    asking.get_by_label("Your prediction, a whole number").fill("8")
    button(asking, "commit").click()
    press(asking, "End")
    button(asking, "the head's").click()
    expect(asking.locator(".thp-score")).to_have_text("2 of 2 answered, 1 right")


def test_a_step_is_hidden_until_the_learner_has_answered(pg: Page, asking: Locator, data: dict[str, Any], shown: list[int]) -> None:
    split, pin = step_named(data, MIDDLE), data["phases"][4]["first"]
    before = max(number for number in shown if number < split)
    field, panel = asking.get_by_label("Your prediction, a whole number"), asking.locator(".thp-questions")
    tree = asking.locator(".thp-tree")
    for skip in (button(asking, "Last step"), asking.locator(".thp-mark").nth(6)):
        press(asking, "Home")
        skip.click()
        at(asking, before)
        expect(field).to_be_focused()
    expect(asking.get_by_role("slider")).to_have_value(str(shown.index(before)))
    button(asking, "Next step: answer first").click()
    at(asking, before)
    assert "9" not in panel.inner_text() and "withdraw the deposited PTE table" in tree.inner_text()
    assert MIDDLE not in tree.inner_text() and "fill 8 PTEs" not in tree.inner_text()

    field.fill("nine")
    field.press("Enter")
    expect(panel).to_contain_text("Type a whole number.")
    at(asking, before)
    field.fill("8")
    field.press("Enter")
    at(asking, split)
    expect(panel).to_contain_text("You said 8. Step on and see.")
    expect(button(asking, "Next step")).to_be_focused()
    assert "fill 8 PTEs" in tree.inner_text()
    told = step_named(data, "PMD = the PTE table")
    while int(asking.get_attribute("data-step") or "") < told:
        assert "actual" not in panel.inner_text()
        pg.keyboard.press("ArrowRight")
    at(asking, told)
    expect(panel.locator(".thp-wrong")).to_contain_text("not so · yours 8 · actual 9 · Each PTE holds one.")

    press(asking, "End")
    at(asking, max(number for number in shown if number < pin))
    button(asking, "the head's").click()
    at(asking, pin)
    verdict = "as you said · yours the head's · actual the head's · A tail has no count of its own."
    expect(panel.locator(".thp-right")).to_contain_text(verdict)
    press(asking, "End")
    at(asking, shown[-1])
    expect(asking.locator(".thp-score")).to_have_text("2 of 2 answered, 1 right")


def test_answers_can_be_saved(pg: Page, asking: Locator, tmp_path: Path) -> None:
    expect(button(asking, "save my answers")).to_be_disabled()
    answer_both(asking)
    with pg.expect_download() as download:
        button(asking, "save my answers").click()
    assert download.value.suggested_filename == "answers-story.json"
    download.value.save_as(tmp_path / "answers.json")
    saved = json.loads((tmp_path / "answers.json").read_text())
    assert (saved["name"], saved["kernel"], saved["geometry"]) == ("story", "rfc-2014", "TOY")
    assert saved["scenario"] == load("story").line()
    first, second = saved["answers"]
    assert (first["question"], first["yours"], first["actual"], first["right"]) == ("How many references?", "8", "9", False)
    assert (second["yours"], second["right"]) == ("the head's", True)


def test_answers_outlive_a_second_run_and_can_be_given_again(pg: Page, asking: Locator, data: dict[str, Any]) -> None:
    answer_both(asking)
    pg.evaluate("() => { document.querySelector('.thp-stepper').dataset.old = 'yes'; }")
    pg.evaluate("async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    pg.locator(".thp-stepper[data-step]:not([data-old])").wait_for()
    expect(asking.locator(".thp-score")).to_have_text("2 of 2 answered, 1 right")
    press(asking, "End")
    at(asking, len(data["frames"]) - 1)
    button(asking, "answer again").click()
    expect(asking.locator(".thp-score")).to_have_text("0 of 2 answered, 0 right")
    expect(asking.get_by_label("Your prediction, a whole number")).to_be_visible()
    press(asking, "End")
    assert int(asking.get_attribute("data-step") or "") < step_named(data, MIDDLE)


def test_a_stepper_that_starts_at_a_question_asks_it_first_and_an_answer_counts_in_both(
    pg: Page, server: Server, data: dict[str, Any], shown: list[int]
) -> None:
    write_notebook(server.folder / "twice.ipynb", ASKING, FROM_THE_MIDDLE)
    open_and_run(pg, server, "twice.ipynb")
    one, other = pg.locator(".thp-stepper").nth(0), pg.locator(".thp-stepper").nth(1)
    first = step_named(data, MIDDLE)
    at(other, max(number for number in shown if number < first))
    press(one, "End")
    one.get_by_label("Your prediction, a whole number").fill("9")
    pg.keyboard.press("Enter")
    at(one, first)
    press(other, "ArrowRight")
    at(other, first)
    expect(other.locator(".thp-questions")).to_contain_text("You said 9.")
    expect(pg.locator("style[data-thp$=stepper]")).to_have_count(1)
    expect(one.locator(".thp-strip")).to_have_css("white-space", "nowrap")
