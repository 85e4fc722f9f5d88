"""Every notebook runs in a real JupyterLab, and every widget in it is operated there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from labserver import lab, open_and_run, page
from lesson_checks import NOTEBOOKS, ROOT
from playwright.sync_api import Locator, Page, expect


def step(widget: Locator) -> None:
    """The stepper goes one step forward, over a question if one is asked there, and back."""
    expect(widget).to_have_attribute("data-step", re.compile(r"\d+"))
    before = str(widget.get_attribute("data-step"))
    widget.get_by_role("button", name="Next step").click()
    form = widget.locator(".thp-form")
    if form.count():
        if form.locator(".thp-choice").count():
            form.locator(".thp-choice").first.click()
        else:
            form.locator("input").fill("1")
            form.locator("input").press("Enter")
    expect(widget).not_to_have_attribute("data-step", before)
    widget.get_by_role("button", name="Back one step").click()
    expect(widget).to_have_attribute("data-step", before)


DRIVERS: dict[str, Callable[[Locator], None]] = {"thp-stepper": step}
"""Class of a widget's root -> what is done with it."""


def served(tmp_path: Path) -> Path:
    """A copy of what `thplab lab` serves: the notebooks, and beside them the figures that they show."""
    for name in ("notebooks", "assets"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.browser
def test_every_widget_of_every_notebook_works_in_a_real_browser(tmp_path: Path) -> None:
    driven: dict[str, int] = {}
    with lab(served(tmp_path)) as server:
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            with page() as pg:
                open_and_run(pg, server.base, server.token, f"notebooks/{path.name}")
                assert_figures_are_there(pg)
                driven[path.stem] = drive(pg)
    assert all(number for stem, number in driven.items() if stem != "glossary"), driven


def drive(pg: Page) -> int:
    """Operate each widget of the page; how many there were."""
    widgets = pg.locator(".thp-widget")
    for number in range(widgets.count()):
        widget = widgets.nth(number)
        widget.scroll_into_view_if_needed()
        (kind,) = set((widget.get_attribute("class") or "").split()) & DRIVERS.keys()
        DRIVERS[kind](widget)
    return widgets.count()


def assert_figures_are_there(pg: Page) -> None:
    broken = pg.evaluate(
        "() => [...document.querySelectorAll('.jp-RenderedMarkdown img')].filter(i => i.complete && !i.naturalWidth).map(i => i.alt)"
    )
    assert broken == []
