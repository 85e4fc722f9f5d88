"""The comparison and the footprint lab in a real browser: every control, by mouse and by key, with Python and without."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from labserver import CONTRASTS, Server, open_alone, open_and_run, page, write_notebook
from playwright.sync_api import Locator, Page, expect

from thplab.learn import widgets
from thplab.learn.widgets import Compare, FootprintLab, Stepper
from thplab.learn.widgets.page import style
from thplab.learn.widgets.widget import Widget

pytestmark = pytest.mark.browser
CELLS = (
    "from thplab.learn.widgets import Compare\n"
    "Compare('mmap A; fill A 0 1thp; fork A B; mprotect B 4 1 r', kernels=('v3.16', 'rfc-2014', 'v6.18'))",
    "from thplab.learn.widgets import FootprintLab\nFootprintLab(thps=100)",
)


@pytest.fixture(scope="module")
def pg(server: Server) -> Iterator[Page]:
    write_notebook(server.folder / "compare.ipynb", *CELLS)
    with page(height=720) as pg:
        open_and_run(pg, server, "compare.ipynb")
        yield pg


@pytest.fixture
def comparison(pg: Page) -> Locator:
    found = pg.locator(".thp-compare[data-step]")
    found.wait_for()
    return found


@pytest.fixture
def footprint(pg: Page) -> Locator:
    found = pg.locator(".thp-footprint[data-answered]")
    found.wait_for()
    return found


def button(widget: Locator, name: str) -> Locator:
    return widget.get_by_role("button", name=name, exact=True)


def test_step_back_slider_and_keys(comparison: Locator) -> None:
    expect(comparison).to_have_attribute("data-step", "1")  # before the first operation there is nothing to be seen
    ways = {"Step to the next operation": 2, "Last operation": 4, "Back one operation": 3, "Before the first operation": 0}
    for name, step in ways.items():
        button(comparison, name).click()
        expect(comparison).to_have_attribute("data-step", str(step))
    comparison.get_by_role("slider", name="Operation").fill("3")
    expect(comparison).to_have_attribute("data-step", "3")
    button(comparison, "Step to the next operation").focus()
    for key, step in (("ArrowRight", 4), ("ArrowLeft", 3), ("Home", 0), ("End", 4)):
        comparison.page.keyboard.press(key)
        expect(comparison).to_have_attribute("data-step", str(step))
    expect(comparison.get_by_role("status")).to_contain_text("4. mprotect(B, page 4, r)")
    expect(button(comparison, "Step to the next operation")).to_have_attribute("aria-disabled", "true")


def test_differences_are_marked_in_a_table_and_all_of_it_can_be_seen(comparison: Locator) -> None:
    comparison.get_by_role("slider", name="Operation").fill("4")
    row = comparison.locator("tr", has=comparison.page.get_by_role("rowheader", name="F0 is", exact=True))
    expect(row.locator("td")).to_have_text(["8 small pages", "≠ compound", "≠ compound"])
    before = comparison.locator(".thp-numbers tr").count()
    comparison.get_by_role("switch", name="only what differs").uncheck()
    expect(comparison.get_by_role("rowheader", name="returns", exact=True)).to_be_visible()
    assert comparison.locator(".thp-numbers tr").count() > before
    comparison.get_by_role("switch", name="only what differs").check()
    expect(comparison.locator(".thp-bar-row").first).to_have_text("v3.1621 of 23")


def test_the_pictures_are_those_of_the_chosen_kernels(comparison: Locator) -> None:
    comparison.get_by_role("slider", name="Operation").fill("4")
    left, right = (comparison.locator(".thp-picture svg").nth(side) for side in (0, 1))
    expect(left).to_contain_text("8 ordinary pages")
    expect(right).to_contain_text("_large_mapcount")
    comparison.get_by_label("Kernel of the first picture").select_option(label="rfc-2014 (rfc)")
    expect(comparison.locator(".thp-picture svg").nth(0)).not_to_contain_text("8 ordinary pages")
    boxes = [comparison.locator(".thp-picture").nth(side).bounding_box() for side in (0, 1)]
    button(comparison, "Back one operation").click()
    assert [comparison.locator(".thp-picture").nth(side).bounding_box() for side in (0, 1)] == boxes, "pictures keep their places"
    comparison.get_by_label("Kernel of the second picture").select_option(label="no second picture")
    expect(comparison.locator(".thp-picture").nth(1)).to_be_hidden()
    button(comparison, "Step to the next operation").click()
    comparison.get_by_label("Kernel of the second picture").select_option(label="v6.18 (folio)")
    expect(comparison.locator(".thp-picture svg").nth(1)).to_have_accessible_name("v6.18: 4. mprotect(B, page 4, r)")


def test_something_else_can_be_compared_and_a_mistake_is_told(comparison: Locator) -> None:
    comparison.get_by_text("Compare something else", exact=True).click()
    comparison.get_by_label("A built-in scenario, or operations").fill("cow")
    comparison.get_by_role("checkbox", name="v3.16").uncheck()
    comparison.get_by_role("checkbox", name="v4.5").check()
    comparison.get_by_label("Geometry").select_option("MINI")
    button(comparison, "Compare").click()
    expect(comparison.locator("thead th")).to_have_text(["rfc-2014", "v4.5", "v6.18"])
    expect(comparison).to_have_attribute("data-step", "1")
    comparison.get_by_label("A built-in scenario, or operations").fill("mmap A; wriet A 0")
    for _ in range(2):  # the same mistake again is answered, too
        comparison.get_by_label("A built-in scenario, or operations").press("Enter")
        expect(comparison).not_to_have_attribute("aria-busy", "true")
        expect(comparison.locator(".thp-says")).to_contain_text("wriet")
    expect(comparison.locator("thead th")).to_have_text(["rfc-2014", "v4.5", "v6.18"])
    comparison.get_by_label("A built-in scenario, or operations").fill("mmap A; write A 0; madvise A 0 1 cold")
    comparison.page.keyboard.press("Enter")
    expect(comparison.get_by_role("slider", name="Operation")).to_have_attribute("max", "3")
    expect(comparison.get_by_label("A built-in scenario, or operations")).to_be_focused()
    button(comparison, "Last operation").click()
    expect(comparison.locator(".thp-remarks")).to_contain_text("v4.5: madvise: this kernel does not know the advice 'cold'")


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_every_text_can_be_read_in_light_and_in_dark(pg: Page, comparison: Locator, footprint: Locator, theme: str) -> None:
    pg.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    pg.locator(f"body[data-jp-theme-light='{str(theme.endswith('Light')).lower()}']").wait_for(state="attached")
    for widget, least in ((comparison, 50), (footprint, 50)):
        found = widget.evaluate(CONTRASTS)
        assert len(found) > least and found[0][0] >= 4.5, found[:3]


# The questions that a slider asks while it is dragged, and whether its bars were ever taken away.
DRAG = """async root => {
    const slider = root.querySelectorAll("input[type=range]")[1], bars = [...root.querySelectorAll(".thp-bar-row")];
    let answers = 0, taken = 0;
    const changed = new MutationObserver(records => { answers += records.length; taken += bars.filter(bar => !bar.isConnected).length; });
    changed.observe(root, { attributeFilter: ["data-answered"] });
    for (let share = 1; share <= 60; share += 1) {
        slider.value = share / 100;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
    }
    while (JSON.parse(root.dataset.answered).unmapped !== 0.6) await new Promise(requestAnimationFrame);
    changed.disconnect();
    return [answers, taken];
}"""


def test_while_a_slider_is_dragged_one_question_is_under_way_and_nothing_flickers(footprint: Locator) -> None:
    answers, taken = footprint.evaluate(DRAG)
    assert answers == 2 and taken == 0, "the first, and the last of those that came meanwhile"


def test_sliders_are_answered_and_the_last_one_wins(footprint: Locator) -> None:
    slider = footprint.get_by_label("unmapped", exact=True)
    slider.scroll_into_view_if_needed()
    box = footprint.locator(".thp-memory").bounding_box()
    for share in ("0.2", "0.4", "0.6", "0.8"):  # faster than it can be answered
        slider.fill(share)
    expect(footprint).to_have_attribute("data-answered", values(unmapped=0.8))
    expect(footprint.get_by_role("row", name="v3.16")).to_contain_text("40.0")
    footprint.get_by_label("memory pressure").fill("1")
    expect(footprint).to_have_attribute("data-answered", values(unmapped=0.8, pressure=1))
    expect(footprint.get_by_role("row", name="v4.5")).to_contain_text("100")
    assert footprint.locator(".thp-memory").bounding_box() == box, "the picture keeps its place"


def test_every_slider_and_the_arrow_keys(footprint: Locator) -> None:
    footprint.get_by_label("which small pages").select_option("front")
    moved = {"huge pages": "50", "processes that map each": "3", "of them unmap": "2", "pinned": "0.1", "zero-filled": "0.5"}
    for label, value in moved.items():
        footprint.get_by_label(label, exact=True).fill(value)
    wanted: dict[str, float | str] = {"thps": 50, "pattern": "front", "sharing": 3, "unmapping": 2, "pinned": 0.1, "zero_filled": 0.5}
    expect(footprint).to_have_attribute("data-answered", values(unmapped=0.8, pressure=1, **wanted))
    footprint.get_by_label("huge pages").focus()
    footprint.page.keyboard.press("ArrowRight")
    expect(footprint).to_have_attribute("data-answered", values(unmapped=0.8, pressure=1, **(wanted | {"thps": 60})))
    expect(footprint.locator("dd").nth(1)).to_contain_text("Nobody remembers the part")
    footprint.get_by_text("Why each kernel holds what it holds").click()
    expect(footprint.locator("dd").nth(1)).to_be_hidden()


def values(**changed: float | str) -> str:
    """What the page says of a position: numbers as a page writes them."""
    start = {"thps": 100, "unmapped": 0.5, "pattern": "random", "pressure": 0, "sharing": 1, "unmapping": 1, "pinned": 0, "zero_filled": 0}
    return json.dumps(start | changed, separators=(",", ":"))


def test_without_python_both_show_what_they_have(pg: Page, tmp_path: Path) -> None:
    pg.context.set_offline(True)
    open_alone(pg, tmp_path, Compare("cow", kernels=("v4.5", "v6.18")).html() + FootprintLab(thps=20).html())
    comparison, footprint = pg.locator(".thp-compare[data-step]"), pg.locator(".thp-footprint[data-answered]")
    button(comparison, "Last operation").click()
    expect(comparison).to_have_attribute("data-step", "7")
    comparison.get_by_text("Compare something else", exact=True).click()
    expect(comparison.locator(".thp-says")).to_contain_text("run this notebook")
    footprint.get_by_label("unmapped", exact=True).fill("0.3")
    expect(footprint.get_by_role("row", name="v3.16")).to_contain_text("28.0")
    footprint.get_by_label("memory pressure").fill("1")
    expect(footprint.get_by_role("row", name="v4.5")).to_contain_text("28.0")
    footprint.get_by_label("memory pressure").press("ArrowLeft")
    expect(footprint.get_by_role("row", name="v4.5")).to_contain_text("31.0")
    expect(footprint.get_by_label("huge pages")).to_be_disabled()
    expect(footprint.locator(".thp-says")).to_contain_text("Without Python")


# Where every element of a widget is, and how high and wide.
PLACES = """(root, styles) => {
    document.head.append(Object.assign(document.createElement("style"), { textContent: styles }));
    const place = ({ x, y, width, height }) => [x, y, width, height];
    const all = [root.parentNode, root, ...root.querySelectorAll("*")];
    return all.map(element => [`${element.className}`, ...place(element.getBoundingClientRect())]);
}"""


def settled(pg: Page, root: Locator) -> object:
    """Where everything is when it has come to rest: the call tree is scrolled after a step, when the browser has time."""
    now: object = None
    for _ in range(100):
        pg.evaluate("() => new Promise(done => requestIdleCallback(() => requestAnimationFrame(done)))")
        pg.wait_for_timeout(50)
        before, now = now, root.evaluate(PLACES, "")
        if before == now:
            break
    return now


SHOWN: dict[type[Widget], Callable[[], Widget]] = {
    Stepper: lambda: Stepper("cow"),
    Compare: lambda: Compare("cow", kernels=("v4.5", "v6.18")),
    FootprintLab: lambda: FootprintLab(thps=20),
}


@pytest.mark.parametrize("kind", SHOWN)
def test_the_styles_of_other_widgets_change_nothing(pg: Page, tmp_path: Path, kind: type[Widget]) -> None:
    open_alone(pg, tmp_path, SHOWN[kind]().html())
    root = pg.locator("[data-step], [data-answered]").first
    root.wait_for()
    if kind is Stepper:  # with all its lines
        root.get_by_role("switch").check(force=True)
        pg.keyboard.press("End")
        expect(root.get_by_role("button", name="Next step")).to_be_disabled()
    alone = settled(pg, root)
    kinds = [getattr(widgets, name) for name in widgets.__all__]
    others = [style(*other._page) for other in kinds if issubclass(other, Widget) and other is not kind]
    assert len(others) > 6 and root.evaluate(PLACES, "\n".join(others)) == alone
