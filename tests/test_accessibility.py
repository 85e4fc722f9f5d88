"""Every widget, and exported pages, held to the rules of axe-core, in light and in dark. With THPLAB_EVERY_LESSON set,
the pages of all lessons.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from labserver import page
from playwright.sync_api import Page

from thplab.learn.export import export
from thplab.learn.lessons.series import LESSONS
from thplab.learn.widgets import AddressWalker, Compare, FootprintLab, Ledger, LiveLab, Quiz, RaceStepper, Sandbox
from thplab.learn.widgets.widget import Widget

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[1]
AXE = ROOT / ".ci" / "node_modules" / "axe-core" / "axe.min.js"

if not AXE.is_file():
    pytest.skip("axe-core is not there: .ci/types brings it where there is npm", allow_module_level=True)

WIDGETS: dict[str, Callable[[], Widget]] = {
    "stepper": lambda: LESSONS[0].stepper("one mapping is split"),
    "stepper in a lecture": lambda: LESSONS[0].stepper("a pin", lecture=True),
    "race": lambda: RaceStepper("naive-split-and-pin: 0x3 1x4"),
    "compare": lambda: Compare("cow"),
    "quiz": lambda: LESSONS[4].quiz(),
    "sandbox": lambda: Sandbox("mmap A; fill A 0 1thp; fork A B; write A 3"),
    "ledger": lambda: Ledger("story", step="B splits one PMD", gaps="some"),
    "live": lambda: LiveLab("cow", recorded=True),
    "race in a lecture": lambda: RaceStepper("naive-split-and-pin: 0x3 1x4", lecture=True),
    "compare in a lecture": lambda: Compare("cow", lecture=True),
    "quiz in a lecture": lambda: Quiz(LESSONS[4].families, lecture=True),
    "sandbox in a lecture": lambda: Sandbox("mmap A; fill A 0 1thp; fork A B; write A 3", lecture=True),
    "ledger in a lecture": lambda: Ledger("story", step="B splits one PMD", gaps="some", lecture=True),
    "live in a lecture": lambda: LiveLab("cow", recorded=True, lecture=True),
    "walker": lambda: AddressWalker("mmap A; write A 0"),
    "footprint": lambda: FootprintLab(),
}
AROUND = {"heading-order", "landmark-one-main", "page-has-heading-one", "region"}
"""What is asked of the page around a widget, which is not there when it stands alone."""


@pytest.fixture(scope="module", params=["light", "dark"])
def pg(request: pytest.FixtureRequest) -> Iterator[Page]:
    with page(1366, 768, color_scheme=request.param) as pg:
        yield pg


def violations(pg: Page) -> dict[str, list[str]]:
    """What axe-core finds in the page: rule -> the elements."""
    pg.evaluate(AXE.read_text(encoding="utf-8"))
    found: Any = pg.evaluate(
        "axe.run().then(all => all.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 200))]))"
    )
    return dict(found)


@pytest.mark.parametrize("name", WIDGETS)
def test_a_widget_has_no_violation(name: str, pg: Page, tmp_path: Path) -> None:
    file, dark = tmp_path / "page.html", pg.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    look = 'class="thp-dark" style="background: #111"' if dark else ""
    file.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>x</title><body {look}>{WIDGETS[name]().html()}'
    )
    pg.goto(file.as_uri())
    pg.locator(".thp-widget").first.wait_for()
    assert {rule: html for rule, html in violations(pg).items() if rule not in AROUND} == {}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Exports a lesson, once."""
    folder = tmp_path_factory.mktemp("pages")

    def exported(notebook: str) -> Path:
        made = folder / f"{notebook}.html"
        return made if made.exists() else export(ROOT / "notebooks" / f"{notebook}.ipynb", made)

    return exported


EVERY_LESSON = "THPLAB_EVERY_LESSON" in os.environ
"""Looking at all of them takes minutes, most of it to run them."""


@pytest.mark.parametrize("notebook", [lesson.notebook for lesson in (LESSONS if EVERY_LESSON else LESSONS[:1])])
def test_an_exported_lesson_has_no_violation(notebook: str, pg: Page, exported: Callable[[str], Path]) -> None:
    pg.goto(exported(notebook).as_uri())
    pg.wait_for_timeout(1000)  # every widget of the page is there
    assert json.dumps(violations(pg), indent=1) == "{}"
