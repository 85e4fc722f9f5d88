"""The stepper's "As recorded" in a real JupyterLab and a real Chromium: a click shows it, and it follows the steps."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from labserver import CONTRASTS, LONG, Server, open_and_run, page, write_notebook
from playwright.sync_api import Locator, Page, expect

from thplab.learn.widgets.recorded_payload import recorded_payload
from thplab.machine.trace import Setup, record

pytestmark = pytest.mark.browser

SPLIT = "mmap A; fill A 0 1thp; mprotect A 4 1 r"
CELL = f"from thplab.learn.widgets import Stepper\nStepper('{SPLIT}', kernel='v6.12')"


@pytest.fixture(scope="module")
def pg(server: Server) -> Iterator[Page]:
    write_notebook(server.folder / "recorded.ipynb", CELL, LONG, "Stepper('story')")
    with page(height=1000) as pg:
        open_and_run(pg, server, "recorded.ipynb")
        yield pg


@pytest.fixture
def stepper(pg: Page) -> Locator:
    stepper = pg.locator(".thp-stepper").first
    stepper.scroll_into_view_if_needed()
    expect(stepper).to_have_attribute("data-step", re.compile(r"\d+"))
    return stepper


def go(stepper: Locator, frame: int) -> None:
    stepper.locator(".thp-switch input").set_checked(True)
    stepper.get_by_role("slider", name="Step").fill(str(frame))
    expect(stepper).to_have_attribute("data-step", str(frame))


def test_one_click_shows_a_tick_at_every_step_and_another_one_hides_it(stepper: Locator) -> None:
    (shown,) = recorded_payload(record(SPLIT, Setup("v6.12")))
    button, box = stepper.get_by_role("button", name="As recorded", exact=True), stepper.locator(".thp-recorded")
    expect(box).to_be_hidden()
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(box).to_be_visible()
    expect(box.locator("p")).to_contain_text(f"Recorded on Linux {shown['kernel']}: {shown['label']}")
    ticks = box.locator(".thp-both").all_inner_texts()
    assert ticks == ["✓ agree"] * len(shown["rows"])
    first = "lock ptl of PMD A _raw_spin_lock lock ptl of PMD A split_huge_pmd ✓ agree"
    assert " ".join(box.locator("tbody tr").first.inner_text().split()) == first
    button.click()
    expect(box).to_be_hidden()
    button.click()


def test_the_row_of_each_step_is_marked_and_in_sight_and_a_row_leads_to_its_step(pg: Page, stepper: Locator) -> None:
    (shown,) = recorded_payload(record(SPLIT, Setup("v6.12")))
    rows = stepper.locator(".thp-recorded tbody tr")
    inside = """() => {
        const box = document.querySelector(".thp-recorded-box").getBoundingClientRect();
        const here = document.querySelector(".thp-recorded tr[aria-current]").getBoundingClientRect();
        return here.top >= box.top - 1 && here.bottom <= box.bottom + 1;
    }"""
    for number, row in enumerate(shown["rows"]):
        go(stepper, row["frames"][0])
        expect(rows.nth(number)).to_have_attribute("aria-current", "step")
        assert pg.evaluate(inside), number
    go(stepper, 0)
    expect(stepper.locator(".thp-recorded tr[aria-current]")).to_have_count(0)
    rows.nth(4).click()
    expect(stepper).to_have_attribute("data-step", str(shown["rows"][4]["frames"][1]))


def test_nothing_else_moves_when_a_step_is_made(pg: Page, stepper: Locator) -> None:
    places = """() => ["recorded", "picture", "caption", "tree"].map(name => {
        const box = document.querySelector(`.thp-${name}`).getBoundingClientRect();
        return [box.x, box.y, box.width, box.height].map(Math.round);
    })"""
    go(stepper, 0)
    before = pg.evaluate(places)
    for _ in range(12):
        stepper.locator(".thp-picture").press("ArrowRight")
        assert pg.evaluate(places) == before


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_its_texts_can_be_read_in_light_and_in_dark(pg: Page, stepper: Locator, theme: str) -> None:
    pg.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    pg.locator(f"body[data-jp-theme-light='{str(theme.endswith('Light')).lower()}']").wait_for(state="attached")
    go(stepper, 20)
    found = stepper.locator(".thp-recorded").evaluate(CONTRASTS)
    assert len(found) > 40 and found[0][0] >= 4.5, found[:3]


def test_a_kernel_without_recordings_offers_nothing(pg: Page) -> None:
    story = pg.locator(".thp-stepper").nth(1)
    story.scroll_into_view_if_needed()
    expect(story).to_have_attribute("data-step", re.compile(r"\d+"))
    expect(story.get_by_role("button", name="As recorded")).to_have_count(0)
