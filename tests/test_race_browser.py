"""The race stepper in a real JupyterLab and a real Chromium: every control is operated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from labserver import CONTRASTS, LONG, Server, ask, open_alone, open_once, page, write_notebook
from playwright.sync_api import Locator, Page, expect

from thplab.learn.widgets import RaceStepper
from thplab.study.explore import PAIRS, replay

pytestmark = pytest.mark.browser

BLIND, SEEING = "blind-pmd-split-and-zap", "pmd-split-and-zap"
FAILING = "0x2 1x7 0x2"


@pytest.fixture(scope="module")
def pg() -> Iterator[Page]:
    with page(height=1000, permissions=["clipboard-read", "clipboard-write"]) as pg:
        yield pg


@pytest.fixture(scope="module")
def show(server: Server, pg: Page) -> Callable[[str], Locator]:
    """Opens a notebook, unless it is open already, and answers its race, at the start with nothing done."""
    for name in (BLIND, SEEING):
        cell = f"from thplab.learn.widgets import RaceStepper\nrace = RaceStepper({name!r})\nrace"
        write_notebook(server.folder / f"{name}.ipynb", cell, LONG)

    def show(name: str) -> Locator:
        open_once(pg, server, f"{name}.ipynb")
        race = pg.locator(".thp-race")
        race.and_(pg.locator("[data-step]")).wait_for()
        load(race, "")
        at(race, 0, 0)
        return race

    return show


@pytest.fixture
def blind(show: Callable[[str], Locator]) -> Locator:
    return show(BLIND)


@pytest.fixture
def seeing(show: Callable[[str], Locator]) -> Locator:
    return show(SEEING)


def at(race: Locator, step: int, steps: int) -> None:
    expect(race).to_have_attribute("data-step", str(step))
    expect(race).to_have_attribute("data-steps", str(steps))
    expect(race).not_to_have_attribute("aria-busy", "true")


def load(race: Locator, line: str) -> None:
    expect(race).not_to_have_attribute("aria-busy", "true")
    race.get_by_role("textbox").fill(line)
    race.get_by_role("textbox").press("Enter")
    expect(race.locator(".thp-says")).to_contain_text("Loaded")


def moves(race: Locator, cpu: int) -> Locator:
    return race.get_by_role("button", name=f"CPU {cpu} moves")


def button(race: Locator, name: str) -> Locator:
    return race.get_by_role("button", name=name, exact=True)


def check(race: Locator, name: str) -> Locator:
    return race.locator(f"li[data-name={name}]")


# --- moving ---------------------------------------------------------------------------------------------------------------


def test_the_cpu_that_is_clicked_moves(blind: Locator) -> None:
    trace = replay(PAIRS[BLIND], "0x1 1x2 0x1")
    seen = []
    for number, cpu in enumerate((0, 1, 1, 0), start=1):
        step = trace[number].step
        assert step is not None
        expect(blind.locator(f".thp-cpu-{cpu} .thp-next")).to_contain_text(f"next: {step.text}")
        moves(blind, cpu).click()
        at(blind, number, number)
        expect(blind.locator(".thp-caption")).to_contain_text(f"CPU {cpu}: {step.text}")
        here = blind.locator("tr.thp-here td")
        assert here.all_inner_texts() == [step.text if column == cpu else "" for column in (0, 1)]
        seen.append(blind.locator(".thp-picture").inner_html())
    assert len(set(seen)) == 4


def test_a_blocked_cpu_says_why_and_its_button_explains(seeing: Locator) -> None:
    load(seeing, "1x3 0x1")
    at(seeing, 4, 4)
    expect(seeing.locator(".thp-cpu-0 .thp-next")).to_have_text("✋ blocked: waits for ptl 0x1, held by CPU 1")
    expect(moves(seeing, 0)).to_have_attribute("aria-disabled", "true")
    moves(seeing, 0).click(force=True)
    expect(seeing.locator(".thp-says")).to_have_text("CPU 0 cannot move: it waits for ptl 0x1, held by CPU 1.")
    at(seeing, 4, 4)


def test_back_and_then_another_cpu(blind: Locator) -> None:
    load(blind, FAILING)
    at(blind, 11, 11)
    button(blind, "Back one step").click()
    button(blind, "Back one step").click()
    at(blind, 9, 11)
    assert blind.locator("tr.thp-later").count() == 2
    button(blind, "Forward to the next step of this schedule").click()
    at(blind, 10, 11)
    button(blind, "Start").click()
    at(blind, 0, 11)
    expect(button(blind, "Back one step")).to_be_disabled()
    moves(blind, 1).click()
    at(blind, 1, 1)
    expect(blind.get_by_role("textbox")).to_have_value(f"{BLIND}: 1x1")


def test_a_longer_race_is_loaded_from_the_middle_of_a_short_one(blind: Locator) -> None:
    load(blind, "0x2 1x1")
    button(blind, "Back one step").click()
    at(blind, 2, 3)
    load(blind, FAILING)
    at(blind, 11, 11)
    button(blind, "Back one step").click()
    at(blind, 10, 11)


def test_the_keys_move_a_cpu_and_step_and_jupyterlab_does_not_get_them(pg: Page, blind: Locator) -> None:
    selected = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
    picture = blind.locator(".thp-picture")
    picture.focus()
    before = pg.evaluate(selected)
    for number, key in enumerate("0110", start=1):
        picture.press(key)
        at(blind, number, number)
    for key, step in (("ArrowLeft", 3), ("ArrowUp", 2), ("ArrowRight", 3), ("Home", 0), ("End", 4)):
        picture.press(key)
        at(blind, step, 4)
    assert pg.evaluate(selected) == before
    line = blind.get_by_role("textbox")
    line.press("End")
    line.press("1")  # typed, and not a move
    expect(line).to_have_value(f"{BLIND}: 0x1 1x2 0x11")
    at(blind, 4, 4)


def test_replay_goes_on_to_what_breaks(blind: Locator) -> None:
    load(blind, FAILING)
    at(blind, 11, 11)
    blind.locator(".thp-lanes tbody tr").nth(8).click()
    at(blind, 9, 11)
    button(blind, "Replay this schedule").click()
    expect(button(blind, "Pause")).to_be_visible()
    at(blind, 11, 11)
    expect(button(blind, "Replay this schedule")).to_be_visible()


# --- what must hold, and asking ---------------------------------------------------------------------------------------------


def test_the_checklist_turns_red_with_the_reason(blind: Locator) -> None:
    expect(check(blind, "no_kernel_bug")).to_have_class("thp-holds")
    expect(check(blind, "references_are_mappings_and_pins")).to_have_class("thp-not-due")
    load(blind, FAILING)
    broken = check(blind, "no_kernel_bug")
    expect(broken).to_have_class("thp-broken")
    expect(broken).to_contain_text("no PTE table was deposited under PMD table 0x1 of A")
    expect(blind.locator(".thp-must h4")).to_contain_text("✗ 1 of 8 does not hold")
    expect(blind.locator(".thp-cpu-1 .thp-next")).to_have_text("the kernel has stopped")
    blind.locator(".thp-picture").press("ArrowLeft")
    expect(broken).to_have_class("thp-holds")


def test_at_rest_everything_is_asked(seeing: Locator) -> None:
    for cpu in (0, 1):
        while "done" not in seeing.locator(f".thp-cpu-{cpu} .thp-next").inner_text():
            step = int(seeing.get_attribute("data-step") or 0)
            moves(seeing, cpu).click()
            expect(seeing).not_to_have_attribute("data-step", str(step))
    assert seeing.locator("li.thp-not-due, li.thp-broken").count() == 0
    expect(seeing.locator(".thp-must h4")).to_have_text(re.compile(r"✓ all \d+ that are due hold"))
    expect(seeing.locator(".thp-cpu-0 .thp-next")).to_have_text("✓ done, it returns 0")


def test_find_me_one_and_is_there_any(blind: Locator) -> None:
    button(blind, "Is there any schedule that breaks it?").click()
    expect(blind.locator(".thp-says")).to_have_text("374 states and 3,832 schedules were looked at. 280 break something.", timeout=60_000)
    button(blind, "Find me a schedule that breaks it").click()
    expect(blind.locator(".thp-says")).to_contain_text("11 steps, 2 switches between CPUs", timeout=60_000)
    at(blind, 0, 11)
    blind.locator(".thp-picture").press("End")
    expect(blind.get_by_role("textbox")).to_have_value(f"{BLIND}: {FAILING}")
    expect(blind.locator(".thp-caption .thp-error")).to_contain_text("no kernel bug")


def test_a_pair_that_holds_says_so(seeing: Locator) -> None:
    button(seeing, "Find me a schedule that breaks it").click()
    says = "361 states and 5,389 schedules were looked at. None breaks anything."
    expect(seeing.locator(".thp-says")).to_have_text(says, timeout=60_000)
    at(seeing, 0, 0)


def test_a_race_is_copied_and_loaded_as_a_line(pg: Page, blind: Locator) -> None:
    load(blind, "0x2 1x3")
    at(blind, 5, 5)
    button(blind, "copy: the race so far as a line").click()
    expect(button(blind, "copy: the race so far as a line")).to_have_text("copied")
    line = pg.evaluate("() => navigator.clipboard.readText()")
    assert line == f"{BLIND}: 0x2 1x3"
    load(blind, "")
    at(blind, 0, 0)
    load(blind, line)
    at(blind, 5, 5)
    blind.get_by_role("textbox").fill("1x99")
    button(blind, "load").click()
    expect(blind.locator(".thp-says")).to_contain_text("lets CPU 1 make step")
    at(blind, 5, 5)


# --- what goes wrong inside ---------------------------------------------------------------------------------------------------

TEAR = """
import logging, thplab.learn.widgets.pictured as module
class Kept(logging.Handler):
    records = []
    def emit(self, record):
        self.records.append(record)
logging.getLogger("thplab").addHandler(Kept())
def torn(data):
    raise RuntimeError("the pack is torn")
pack, module.pack = module.pack, torn
"""


def test_what_fails_inside_python_is_one_clear_line_and_the_race_goes_on(pg: Page, blind: Locator) -> None:
    load(blind, "0x2")
    ask(pg, TEAR)
    before = blind.locator(".thp-picture").inner_html()
    for _ in range(2):
        moves(blind, 1).click()
        expect(blind.locator(".thp-says.thp-error")).to_have_text(
            "Something failed inside (RuntimeError: the pack is torn). Nothing has changed; the log has the traceback."
        )
        at(blind, 2, 2)
    assert blind.locator(".thp-picture").inner_html() == before
    assert ask(pg, "module.pack = pack; print([bool(record.exc_info) for record in Kept.records])") == "[True, True]\n"
    moves(blind, 1).click()
    at(blind, 3, 3)
    expect(blind.locator(".thp-says")).to_have_text("")
    expect(blind.locator(".thp-error")).to_have_count(0)


# --- looks ------------------------------------------------------------------------------------------------------------------


def test_the_state_in_words_follows(blind: Locator) -> None:
    load(blind, "0x2 1x4")
    blind.get_by_text("The state in words", exact=True).click()
    expect(blind.locator(".thp-words table")).to_contain_text("→")
    blind.get_by_text("The state in words", exact=True).click()
    expect(blind.locator(".thp-text")).to_be_hidden()
    expect(blind.locator(".thp-picture svg")).to_have_accessible_name("Step 6 of 6, CPU 1: PMD cleared")
    assert blind.get_by_role("status").count() == 1


PLACES = """() => [".thp-cpus", ".thp-bar", ".thp-picture", ".thp-caption", ".thp-lanes", ".thp-must", ".thp-share"].map(name => {
    const box = document.querySelector(".thp-race " + name).getBoundingClientRect();
    const top = document.querySelector(".thp-race").getBoundingClientRect().y;
    return [name, Math.round(box.x), Math.round(box.y - top), Math.round(box.width), Math.round(box.height)];
})"""


def test_nothing_moves_when_a_cpu_does(pg: Page, blind: Locator) -> None:
    before = pg.evaluate(PLACES)
    load(blind, FAILING)
    for step in range(11, -1, -1):
        at(blind, step, 11)
        assert pg.evaluate(PLACES) == before, step
        blind.locator(".thp-picture").press("ArrowLeft")


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_every_text_can_be_read_in_light_and_in_dark(pg: Page, blind: Locator, theme: str) -> None:
    pg.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    pg.locator(f"body[data-jp-theme-light='{str(theme.endswith('Light')).lower()}']").wait_for(state="attached")
    load(blind, FAILING)
    for key in ("End", "ArrowLeft", "Home"):
        blind.locator(".thp-picture").press(key)
        found = pg.locator(".thp-race").evaluate(CONTRASTS)
        assert len(found) > 30 and found[0][0] >= 4.5, found[:3]


def test_without_a_kernel_the_race_so_far_can_be_stepped_through(pg: Page, tmp_path: Path) -> None:
    # Comes last: it leaves the notebook.
    open_alone(pg, tmp_path, RaceStepper(f"{BLIND}: {FAILING}").html())
    race = pg.locator(".thp-race")
    at(race, 11, 11)
    race.locator(".thp-picture").press("Home")
    at(race, 0, 11)
    button(race, "Forward to the next step of this schedule").click()
    at(race, 1, 11)
    expect(moves(race, 0)).to_have_attribute("aria-disabled", "true")
    moves(race, 0).click(force=True)
    expect(race.locator(".thp-says")).to_contain_text("run this notebook")
    at(race, 1, 11)
