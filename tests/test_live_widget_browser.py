"""The live lab and the stepper's run on the kernel, in a real JupyterLab and a real Chromium: every control is operated.

Where this machine allows no live run, the same controls are held to the recording and to the reason that is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from labserver import CONTRASTS, LONG, Server, open_alone, open_and_run, page, write_notebook
from playwright.sync_api import Locator, Page, expect

from thplab.learn.widgets import LiveLab
from thplab.scenario import load
from thplab.study.live import nearest, shipped, unable
from thplab.study.live.support import release

pytestmark = pytest.mark.browser

WHY = unable()
CELL = "from thplab.learn.widgets import LiveLab, Stepper\nlive = LiveLab()\nlive"
OWN = "mmap A; write A 0; madvise A 1/4thp 1/4thp cold"


@pytest.fixture(scope="module")
def pg(server: Server) -> Iterator[Page]:
    write_notebook(server.folder / "live.ipynb", CELL, LONG, "Stepper('cow')", "Stepper('story')")
    with page(height=1000) as pg:
        open_and_run(pg, server, "live.ipynb")
        yield pg


@pytest.fixture
def live(pg: Page) -> Locator:
    lab = pg.locator(".thp-live-lab")
    lab.scroll_into_view_if_needed()
    expect(lab).to_have_attribute("data-step", re.compile(r"\d+|none"))
    return lab


def at(live: Locator, step: int, label: str) -> None:
    expect(live).to_have_attribute("data-step", str(step))
    expect(live.locator(".thp-operation[aria-current]")).to_contain_text(f"{step + 1}. {label}")
    expect(live.locator(".thp-comparison caption")).to_contain_text(f"{step + 1}. {label}")


def says(live: Locator) -> Locator:
    return live.get_by_role("status")


def button(widget: Locator, name: str | re.Pattern[str]) -> Locator:
    return widget.get_by_role("button", name=name, exact=True)


def choose(live: Locator, name: str) -> None:
    live.get_by_role("combobox").select_option(name)
    found = shipped(load(name))
    assert found is not None
    expect(says(live)).to_contain_text(f"Recorded on Linux {found['kernel']}")
    expect(live.locator(".thp-line-of")).to_have_value(load(name).line())


# --- the live lab ---------------------------------------------------------------------------------------------------------


def test_a_scenario_of_the_menu_is_chosen_and_run(live: Locator) -> None:
    choose(live, "last_pmd")
    at(live, 0, "mmap(A, 1 THP)")
    expect(live.locator(".thp-live-title")).to_contain_text("recorded on Linux")
    run = button(live, "Run on this kernel")
    if WHY:
        expect(run).to_have_attribute("aria-disabled", "true")
        expect(live.locator(".thp-reason")).to_contain_text(WHY)
        return
    run.click()
    expect(says(live)).to_contain_text(f"Performed on Linux {release()}")
    expect(live.locator(".thp-live-title")).to_contain_text(f"performed on this machine's Linux {release()}")
    expect(run).to_have_attribute("aria-disabled", "false")
    if nearest(release())[1]:
        expect(live.locator(".thp-live-title")).to_contain_text("6 of 6 operations agree")
        assert live.locator(".thp-findings").count() == 0
    assert set(live.locator(".thp-both").all_inner_texts()) <= {"= agree", "≠ differs"}


def test_ones_own_operations_are_typed_and_run_and_a_refusal_changes_nothing(live: Locator) -> None:
    choose(live, "cow")
    line = live.locator(".thp-line-of")
    live.get_by_role("combobox").select_option("my own operations")
    expect(line).to_be_focused()
    button(live, "Step to the next operation").click()
    line.fill("mmap A; write A 0; swap_out A 0")
    line.press("Enter")
    expect(says(live)).to_contain_text("operation 3, swap_out(A, page 0): swap_out is done by the kernel alone")
    expect(says(live)).to_contain_text("expected madvise ... pageout")
    at(live, 1, "write(A, page 0)")
    line.fill(OWN)
    line.press("Enter")
    if WHY:
        expect(says(live)).to_contain_text("No recorded run of it comes with thplab")
        expect(live).to_have_attribute("data-step", "none")
        return
    expect(says(live)).to_contain_text("of 3 operations agree")
    at(live, 0, "mmap(A, 1 THP)")
    button(live, "Last operation").click()
    at(live, 2, "madvise(A, pages 128…255, cold)")
    expect(live.locator(".thp-comparison")).to_contain_text("thp_split_page")


def test_buttons_list_slider_and_keys_step_and_jupyterlab_does_not_get_them(pg: Page, live: Locator) -> None:
    choose(live, "cow")
    labels = ["mmap(A, 1 THP)", "write(A, page 0)", "fork(A, B)", "write(B, page 256)", "write(A, page 256)", "exit(B)", "exit(A)"]
    seen = []
    for number in range(1, 7):
        button(live, "Step to the next operation").click()
        at(live, number, labels[number])
        seen.append(live.locator(".thp-picture").inner_html())
    assert len(set(seen)) == 6
    expect(button(live, "Step to the next operation")).to_be_disabled()
    for name, number in (("Back one operation", 5), ("First operation", 0), ("Last operation", 6)):
        button(live, name).click()
        at(live, number, labels[number])
    live.locator(".thp-operation").nth(3).click()
    at(live, 3, labels[3])
    expect(live.locator(".thp-differs, .thp-agrees").first).to_be_visible()
    slider = live.get_by_role("slider")
    slider.fill("2")
    at(live, 2, labels[2])
    expect(slider).to_have_attribute("aria-valuetext", "operation 3 of 7, fork(A, B): = agrees")
    slider.press("ArrowUp")
    at(live, 3, labels[3])
    cell = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
    picture = live.locator(".thp-picture")
    picture.focus()
    before = pg.evaluate(cell)
    for key, number in (("ArrowRight", 4), ("ArrowLeft", 3), ("ArrowDown", 4), ("ArrowUp", 3), ("End", 6), ("Home", 0)):
        picture.press(key)
        at(live, number, labels[number])
    assert pg.evaluate(cell) == before
    table = live.locator(".thp-live-box")
    table.press("ArrowDown")  # scrolls
    at(live, 0, labels[0])


def test_the_state_in_words_and_what_was_seen(live: Locator) -> None:
    choose(live, "cow")
    live.get_by_text("The simulator's state in words").click()
    button(live, "Step to the next operation").click()
    expect(live.locator(".thp-text table")).to_contain_text("refcount 1")
    live.get_by_text("What the run could see of the kernel").click()
    expect(live.locator(".thp-seen")).to_contain_text("return codes, events of /proc/vmstat, smaps")
    expect(live.locator(".thp-picture svg")).to_have_accessible_name(re.compile("after operation 2: write"))


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_every_text_can_be_read_in_light_and_in_dark(pg: Page, live: Locator, theme: str) -> None:
    pg.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    pg.locator(f"body[data-jp-theme-light='{str(theme.endswith('Light')).lower()}']").wait_for(state="attached")
    choose(live, "cow")
    live.locator(".thp-operation").nth(4).click()
    at(live, 4, "write(A, page 256)")
    found = live.evaluate(CONTRASTS)
    assert len(found) > 60 and found[0][0] >= 4.5, found[:3]


# --- the stepper ----------------------------------------------------------------------------------------------------------


def test_the_stepper_runs_its_scenario_on_this_kernel(pg: Page) -> None:
    stepper = pg.get_by_role("group", name="Stepper cow")
    stepper.scroll_into_view_if_needed()
    run = stepper.get_by_role("button", name="Run this scenario on my kernel")
    panel = stepper.locator(".thp-live")
    expect(panel).to_be_hidden()
    run.click(force=True)
    expect(panel).to_be_visible()
    if WHY:
        expect(panel).to_contain_text(WHY)
        return
    expect(panel).to_contain_text(f"performed on this machine's Linux {release()}")
    expect(panel).to_contain_text("The steps below are those of rfc-2014, another kernel")
    stepper.locator(".thp-picture").press("Home")
    expect(panel).to_contain_text("No operation has ended yet at this step.")
    stepper.get_by_role("button", name=re.compile("go to operation 4 of 7")).click()
    expect(panel.locator("caption")).to_contain_text("3. fork(A, B)")  # the fourth has only begun
    stepper.locator(".thp-picture").press("End")
    expect(panel.locator("caption")).to_contain_text("7. exit(A)")
    expect(run).to_have_attribute("aria-disabled", "false")


def test_the_stepper_says_why_its_scenario_is_not_portable(pg: Page) -> None:
    stepper = pg.get_by_role("group", name="Stepper story")
    stepper.scroll_into_view_if_needed()
    run = stepper.get_by_role("button", name="Run this scenario on my kernel")
    expect(run).to_have_attribute("aria-disabled", "true")
    run.click(force=True)
    expect(stepper.locator(".thp-live")).to_contain_text("swap_out is done by the kernel alone")


# --- without Python ---------------------------------------------------------------------------------------------------------


def test_the_run_that_was_made_can_be_stepped_through_without_a_kernel(pg: Page, tmp_path: Path) -> None:
    # Comes last: it leaves the notebook.
    made = LiveLab("cow")
    if not WHY:
        made.run()
    open_alone(pg, tmp_path, made.html())
    live = pg.locator(".thp-live-lab")
    at(live, 0, "mmap(A, 1 THP)")
    expect(live.locator(".thp-live-title")).to_contain_text("recorded on Linux")
    expect(live.locator(".thp-live-title")).not_to_contain_text("this machine")
    live.locator(".thp-picture").press("ArrowRight")
    at(live, 1, "write(A, page 0)")
    button(live, "Last operation").click()
    at(live, 6, "exit(A)")
    run = button(live, "Run on this kernel")
    expect(run).to_have_attribute("aria-disabled", "true")
    expect(live.locator(".thp-reason")).to_contain_text("that needs the notebook's Python")
    run.click(force=True)
    expect(says(live)).to_contain_text("that needs the notebook's Python")
    expect(live.get_by_role("combobox")).to_be_disabled()
