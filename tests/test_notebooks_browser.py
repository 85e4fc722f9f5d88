"""Every notebook runs in a real JupyterLab, and every widget in it is operated there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator

import nbformat
import pytest
from labserver import Server, open_and_run, page, write_notebook
from lesson_checks import NOTEBOOKS, ROOT
from playwright.sync_api import Locator, Page, expect

expect.set_options(timeout=30_000)  # a notebook has up to eleven widgets, and all are made at once


def button(widget: Locator, name: str) -> Locator:
    """A button by its label or its text. Looking through everything in a widget for its role takes a page far longer."""
    return widget.locator(f'button[aria-label^="{name}"], button[title^="{name}"], button:has-text("{name}")').first


def step(widget: Locator) -> None:
    """The stepper goes one step forward, over a question if one is asked there, and back."""
    expect(widget).to_have_attribute("data-step", re.compile(r"\d+"))
    before = str(widget.get_attribute("data-step"))
    button(widget, "Next step").click()
    while widget.locator(".thp-form").count() and widget.get_attribute("data-step") == before:
        answer(widget.locator(".thp-form").first)
    expect(widget).not_to_have_attribute("data-step", before)
    button(widget, "Back one step").click()
    expect(widget).to_have_attribute("data-step", before)


def answer(form: Locator) -> None:
    """Commit to a number, or to the first choice."""
    if form.locator("input").count():
        form.locator("input").fill("1")
        form.locator("input").press("Enter")
    else:
        form.locator("button").first.click()


def race(widget: Locator) -> None:
    """A CPU makes a step, and it is taken back."""
    expect(widget).to_have_attribute("data-step", re.compile(r"\d+"))
    before = int(str(widget.get_attribute("data-step")))
    moves = widget.locator("button.thp-cpu")
    free = next(i for i in range(moves.count()) if moves.nth(i).get_attribute("aria-disabled") != "true")
    moves.nth(free).click()
    expect(widget).to_have_attribute("data-step", re.compile(rf"^(?!{before}$)\d+"))
    button(widget, "Back one step").click()
    expect(widget).to_have_attribute("data-step", re.compile(r"\d+"))


def quiz(widget: Locator) -> None:
    """A question is answered, and the answer is told."""
    expect(widget).to_have_attribute("data-question", "0")
    form = widget.locator(".thp-form")
    answer(form)
    expect(widget.locator(".thp-verdict").first).to_be_visible()


def compare(widget: Locator) -> None:
    """One operation forwards, and back."""
    expect(widget).to_have_attribute("data-step", "1")
    button(widget, "Step to the next operation").click()
    expect(widget).to_have_attribute("data-step", "2")
    button(widget, "Back one operation").click()
    expect(widget).to_have_attribute("data-step", "1")


def footprint(widget: Locator) -> None:
    """A slider is moved, and Python answers."""
    widget.get_by_label("unmapped", exact=True).fill("0.25")
    expect(widget).to_have_attribute("data-answered", re.compile('"unmapped":0.25'))


def sandbox(widget: Locator) -> None:
    """Everything is undone, and one operation done again; where nothing is done yet, something is."""
    expect(widget).to_have_attribute("data-done", re.compile(r"\d+"))
    if widget.get_attribute("data-done") == "0":
        button(widget, "Do it").click()
    expect(widget).to_have_attribute("data-done", re.compile(r"[1-9]\d*"))
    button(widget, "Undo everything").click()
    expect(widget).to_have_attribute("data-done", "0")
    button(widget, "Redo (Ctrl+Y)").click()
    expect(widget).to_have_attribute("data-done", "1")


def walk(widget: Locator) -> None:
    """One page on, and back."""
    expect(widget).to_have_attribute("data-address", re.compile("0x"))
    before = str(widget.get_attribute("data-address"))
    button(widget, "Higher address").click()
    expect(widget).not_to_have_attribute("data-address", before)
    button(widget, "Lower address").click()
    expect(widget).to_have_attribute("data-address", before)


def live(widget: Locator) -> None:
    """The run that is shown, recorded or not, goes to its first operation."""
    expect(widget).to_have_attribute("data-step", re.compile(r"\d+"))
    widget.locator("input[aria-label='Operation']").fill("1")
    expect(widget).to_have_attribute("data-step", "1")


def accounts(widget: Locator) -> None:
    """A number is filled in by asking for all hints, if any is missing."""
    expect(widget).to_have_attribute("data-filled", re.compile(r"\d+"))
    if widget.get_attribute("data-blank") == "0":
        return
    before = str(widget.get_attribute("data-filled"))
    for _ in range(3):
        button(widget, "Hint").click()
    expect(widget).not_to_have_attribute("data-filled", before)


DRIVERS: dict[str, Callable[[Locator], None]] = {
    "thp-stepper": step,
    "thp-race": race,
    "thp-quiz": quiz,
    "thp-compare": compare,
    "thp-footprint": footprint,
    "thp-sandbox": sandbox,
    "thp-walker": walk,
    "thp-accounts": accounts,
    "thp-live-lab": live,
}
"""Class of a widget's root -> what is done with it."""


@pytest.fixture(scope="module")
def pg(server: Server) -> Iterator[Page]:
    """A page for what `thplab lab` serves: the notebooks, and beside them the figures that they show."""
    for name in ("notebooks", "assets"):
        shutil.copytree(ROOT / name, server.folder / name)
    with page() as pg:
        yield pg


@pytest.mark.browser
@pytest.mark.parametrize("stem", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_every_widget_of_a_notebook_works_in_a_real_browser(pg: Page, server: Server, stem: str) -> None:
    open_and_run(pg, server, f"notebooks/{stem}.ipynb")
    assert_figures_are_there(pg)
    assert drive(pg) or stem in ("glossary", "progress")


MAKING = re.compile(r"this\.(predict|stepper)\(|\.show\(")
"""Code of a case or an exercise that shows a widget."""


@pytest.mark.browser
@pytest.mark.parametrize("some", ["cases/*", "exercises/0[0-5]*", "exercises/0[6-9]*", "exercises/1*"])
def test_every_widget_of_many_notebooks_works_in_a_real_browser(pg: Page, server: Server, some: str) -> None:
    """Code and figures of some in one notebook: a kernel and a page for each, and their texts, would cost far more than they show."""
    every = [cell for path in sorted(NOTEBOOKS.glob(f"{some}.ipynb")) for cell in nbformat.read(path, 4).cells]
    cells = [cell for cell in every if cell.cell_type == "code" or "![" in cell.source]
    folder = some.partition("/")[0]
    write_notebook(server.folder / "notebooks" / folder / "some.ipynb", *cells)
    open_and_run(pg, server, f"notebooks/{folder}/some.ipynb")
    assert_figures_are_there(pg)
    assert drive(pg) == sum(cell.cell_type == "code" and bool(MAKING.search(cell.source)) for cell in cells) > 10


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
