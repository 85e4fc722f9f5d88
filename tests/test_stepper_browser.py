"""The stepper in a real JupyterLab and a real Chromium: every control is operated, and nothing moves that should not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from labserver import CONTRASTS, LONG, Server, open_once, page, write_notebook
from nbformat.v4 import new_markdown_cell
from playwright.sync_api import Locator, Page, expect

from thplab.learn.widgets.payload import payload
from thplab.machine.trace import Trace, record
from thplab.scenario import load
from thplab.show.diagrams import Sheet
from thplab.show.describe import describe

pytestmark = pytest.mark.browser

STORY = "from thplab.learn.widgets import Stepper\nstory = Stepper('story')\nstory"
SEEN = "svg => [...svg.querySelectorAll('g:not([display=none], [display=none] *)')].map(e => e.outerHTML).join()"
MIDDLE = "head _count += 7"  # a step in the middle of an operation
LECTURE = "from thplab.learn.widgets import Stepper\nStepper('story', lecture=True)"
NOTEBOOKS = {
    "story": [new_markdown_cell("# The story"), STORY, LONG],
    "lecture": [LECTURE],
}


@pytest.fixture(scope="module")
def pg() -> Iterator[Page]:
    with page(height=900, permissions=["clipboard-read", "clipboard-write"]) as pg:
        yield pg


@pytest.fixture(scope="module")
def show(server: Server, pg: Page) -> Callable[[str], Locator]:
    """Opens a notebook, unless it is open already, and answers its stepper, at its first step."""
    for name, cells in NOTEBOOKS.items():
        write_notebook(server.folder / f"{name}.ipynb", *cells)

    def show(name: str) -> Locator:
        open_once(pg, server, f"{name}.ipynb")
        stepper = pg.locator(".thp-stepper")
        stepper.and_(pg.locator("[data-step]")).wait_for()
        stepper.locator(".thp-switch input").set_checked(False) if name == "story" else None
        press(stepper, "Home")
        at(stepper, 0)
        side = stepper.locator(".thp-side")
        if side.count() and side.get_attribute("open") is None:  # folded where the window is too low for it
            side.locator("summary").click()
        return stepper

    return show


@pytest.fixture
def story(show: Callable[[str], Locator]) -> Locator:
    return show("story")


@pytest.fixture(scope="module")
def trace() -> Trace:
    return record(load("story"))


@pytest.fixture(scope="module")
def data(trace: Trace) -> dict[str, Any]:
    return payload(trace)


@pytest.fixture(scope="module")
def shown(data: dict[str, Any]) -> list[int]:
    """The frames that are shown unless all are."""
    return [number for number, frame in enumerate(data["frames"]) if not frame["plain"]]


def at(stepper: Locator, frame: int) -> None:
    expect(stepper).to_have_attribute("data-step", str(frame))


def press(stepper: Locator, key: str) -> None:
    stepper.locator(".thp-picture").press(key)


def button(stepper: Locator, name: str) -> Locator:
    return stepper.get_by_role("button", name=name, exact=True)


def picture(stepper: Locator) -> str:
    """The picture that is shown: without its name, which has the number of the step, and what is not in it."""
    return str(stepper.locator(".thp-canvas svg").evaluate(SEEN))


def step_named(data: dict[str, Any], text: str) -> int:
    return next(number for number, frame in enumerate(data["frames"]) if frame["text"] == text)


def begins(data: dict[str, Any], shown: list[int]) -> list[int]:
    return [next(number for number in shown if number >= phase["first"]) for phase in data["phases"]]


# --- going ----------------------------------------------------------------------------------------------------------------


def test_step_back_first_and_last(story: Locator, trace: Trace, data: dict[str, Any], shown: list[int]) -> None:
    seen = [picture(story)]
    for number in shown[1:7]:
        button(story, "Next step").click()
        at(story, number)
        assert data["frames"][number]["text"] in story.locator(".thp-caption").inner_text()
        seen.append(picture(story))
    changes = Sheet.of([frame.state for frame in trace]).page()["changes"]
    moved = [any(changes[before + 1 : now + 1]) for before, now in pairwise(shown[:7])]
    assert [one != other for one, other in pairwise(seen)] == moved and sum(moved) > 2
    button(story, "Back one step").click()
    at(story, shown[5])
    assert picture(story) == seen[5]
    button(story, "Last step").click()
    at(story, shown[-1])
    expect(button(story, "Next step")).to_be_disabled()
    button(story, "Next step").click(force=True)
    at(story, shown[-1])
    expect(story.locator(".thp-position")).to_contain_text(f"{len(shown) - 1} / {len(shown) - 1}")
    button(story, "First step").click()
    at(story, 0)
    assert picture(story) == seen[0]


def test_every_phase_mark(story: Locator, data: dict[str, Any], shown: list[int]) -> None:
    for number, (phase, first) in enumerate(zip(data["phases"], begins(data, shown), strict=True), 1):
        mark = story.get_by_role("button", name=f"{number} {phase['title']}: go to phase {number} of 7")
        mark.click()
        at(story, first)
        expect(mark).to_have_attribute("aria-current", "step")
        assert story.locator(".thp-mark[aria-current]").count() == 1
        caption = " ".join(story.locator(".thp-caption").inner_text().split())
        assert caption.startswith(f"{phase['title']}. {phase['why']}")
        expect(story.locator(".thp-position")).to_contain_text(f"{number} {phase['title']} · {shown.index(first)} / ")


SCROLLED = "() => [...document.querySelectorAll('*')].filter(e => !e.closest('.thp-stepper') && e.scrollTop).map(e => e.scrollTop)"


def test_the_keys_step_and_jupyterlab_does_not_get_them(pg: Page, story: Locator, shown: list[int]) -> None:
    selected = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
    slider, step = story.get_by_role("slider", name="Step"), button(story, "Next step")
    step.click()
    for target in (step, slider, story.locator(".thp-picture"), story.locator(".thp-mark").nth(2), story.locator(".thp-switch input")):
        target.focus()
        before = pg.evaluate(selected), pg.evaluate(SCROLLED)
        place = 1
        for key, by in (("ArrowRight", 1), ("ArrowRight", 1), ("ArrowLeft", -1), ("End", 10_000), ("ArrowLeft", -1), ("Home", -10_000)):
            target.press(key)
            place = max(0, min(len(shown) - 1, place + by))
            at(story, shown[place])
            assert (pg.evaluate(selected), pg.evaluate(SCROLLED)) == before, (target, key)
        for key, place in ((("ArrowUp", 1), ("ArrowDown", 0)) if target is slider else (("ArrowDown", 1), ("ArrowUp", 0))):
            target.press(key)
            at(story, shown[place])
        target.press("ArrowRight")
        at(story, shown[1])
        assert (pg.evaluate(selected), pg.evaluate(SCROLLED)) == before, target


def test_the_slider_names_its_step(story: Locator, data: dict[str, Any], shown: list[int]) -> None:
    slider = story.get_by_role("slider", name="Step")
    slider.fill("30")
    at(story, shown[30])
    text = slider.get_attribute("aria-valuetext")
    assert text is not None and text.startswith("phase ") and f"step 30 / {len(shown) - 1}: {data['frames'][shown[30]]['text']}" in text


WATCH = """([root, count, limit]) => new Promise(done => {
    const times = [performance.now()];
    const finish = () => { watch.disconnect(); done(times.slice(1).map((time, i) => time - times[i])); };
    const watch = new MutationObserver(() => { times.push(performance.now()); if (times.length > count) finish(); });
    watch.observe(root, { attributes: true, attributeFilter: ["data-step"] });
    setTimeout(finish, limit);
})"""


def test_play_stops_at_the_next_phase_mark_and_goes_on_from_there(story: Locator, data: dict[str, Any], shown: list[int]) -> None:
    marks, play = begins(data, shown), story.locator(".thp-play")
    story.get_by_label("Speed of Play").select_option("fast")
    story.locator(".thp-mark").nth(3).click()
    for first in marks[4:6]:
        play.click()
        expect(play).to_have_accessible_name("Pause")
        expect(play).to_have_accessible_name("Play to the end of the phase", timeout=60_000)
        at(story, first)
    press(story, "End")
    press(story, "ArrowLeft")
    press(story, " ")
    at(story, shown[-1])
    expect(play).to_have_text("Play")


def test_pause_stops_it_and_speed_is_kept(pg: Page, story: Locator, shown: list[int]) -> None:
    play, root = story.locator(".thp-play"), story.element_handle()
    times = {}
    for speed in ("fast", "medium"):
        story.get_by_label("Speed of Play").select_option(speed)
        press(story, "Home")
        press(story, " ")
        expect(play).to_have_text("Pause")
        times[speed] = pg.evaluate(WATCH, [root, 3, 20_000])[1:]
        play.click()
        expect(play).to_have_text("Play")
        assert pg.evaluate(WATCH, [root, 1, 1700]) == []
    assert 500 < min(times["fast"]) < min(times["medium"]) and min(times["medium"]) > 1300
    press(story, " ")
    button(story, "Back one step").click()
    expect(play).to_have_text("Play")
    assert pg.evaluate(WATCH, [root, 1, 1700]) == []


def test_all_steps_shows_what_is_folded(story: Locator, data: dict[str, Any], shown: list[int], trace: Trace) -> None:
    folded = next(number for number in range(20, len(trace)) if data["frames"][number]["plain"])
    switch = story.get_by_role("switch", name="all steps")
    press(story, "ArrowRight")
    lines = story.locator(".thp-line")
    assert lines.filter(visible=True).count() < lines.count()
    switch.check()
    expect(story.locator(".thp-position")).to_contain_text(f" 1 / {len(trace) - 1}")
    assert lines.filter(visible=True).count() == lines.count()
    for number in range(2, folded + 1):
        press(story, "ArrowRight")
        at(story, number)
    assert data["frames"][folded]["text"] in story.locator(".thp-caption").inner_text()
    expect(story.locator(".thp-here")).to_be_visible()
    switch.uncheck()
    at(story, next(number for number in shown if number > folded))
    assert f"before it: {data['frames'][folded]['text']}" in story.locator(".thp-caption").inner_text()
    expect(story.locator(".thp-position")).to_contain_text(f"/ {len(shown) - 1}")


def test_copy_as_code(pg: Page, story: Locator, trace: Trace) -> None:
    story.locator(".thp-mark").nth(2).click()
    press(story, "ArrowRight")
    number = int(story.get_attribute("data-step") or "")
    story.locator(".thp-copy").click()
    expect(story.locator(".thp-copy")).to_have_text("copied")
    text = pg.evaluate("() => navigator.clipboard.readText()")
    names: dict[str, Any] = {}
    exec(text, names)
    assert len(text.splitlines()) == 2 and f"seek({number})" in text
    assert names["state"].exact == trace[number].state.exact
    expect(story.locator(".thp-copy")).to_have_text("copy as code")


def test_python_knows_the_step_and_can_set_it(pg: Page, story: Locator, shown: list[int]) -> None:
    ask = """code => new Promise(done => {
        const run = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code });
        run.onIOPub = message => { if (message.header.msg_type === "stream") done(message.content.text); };
        run.done.then(() => done(""));
    })"""
    told = f"(await ({ask})('print(story.step)')).trim()"

    def python_follows() -> None:
        press(story, "ArrowRight")
        number = story.get_attribute("data-step")
        assert pg.evaluate(f"async () => {{ let n = 0; while (n++ < 200 && {told} !== '{number}'); return {told}; }}") == number

    python_follows()  # and so page and Python have found each other
    pg.evaluate(ask, "story.step = 60")
    at(story, next(number for number in shown if number >= 60))
    python_follows()


# --- what is shown --------------------------------------------------------------------------------------------------------


def test_every_step_marks_its_line_in_the_call_tree_and_in_sight(pg: Page, story: Locator, data: dict[str, Any], shown: list[int]) -> None:
    inside = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
        const here = document.querySelector(".thp-here").getBoundingClientRect();
        const box = document.querySelector(".thp-tree").getBoundingClientRect();
        done(here.top >= box.top - 1 && here.bottom <= box.bottom + 1);
    })))"""
    for number in shown[1:]:
        press(story, "ArrowRight")
        at(story, number)
        assert story.locator(".thp-here").inner_text() == data["frames"][number]["text"]
        assert pg.evaluate(inside), number


def test_the_ledger_shows_before_and_now(story: Locator, data: dict[str, Any]) -> None:
    number = step_named(data, MIDDLE)
    story.locator(".thp-mark").nth(2).click()
    while int(story.get_attribute("data-step") or "") < number:
        press(story, "ArrowRight")
    at(story, number)
    row = story.locator(".thp-ledger tr", has_text="head _count")
    assert row.locator("td").all_inner_texts()[:2] == ["2", "9"]
    assert "thp-moved" in (row.get_attribute("class") or "")
    assert "A: 1 PMD" in row.inner_text() and "in the hands of" in row.inner_text()


def test_a_returned_error_is_shown(story: Locator, data: dict[str, Any]) -> None:
    failed = next(op for op in data["operations"] if op["failed"])
    story.locator(".thp-mark").nth(5).click()
    press(story, "ArrowLeft")
    at(story, failed["last"])
    assert f"{failed['label']} returns -EBUSY" in story.locator(".thp-caption").inner_text()
    assert "→ -EBUSY" in story.locator(".thp-tree").inner_text()


def test_the_state_in_words_is_a_table_and_follows(story: Locator, trace: Trace, shown: list[int]) -> None:
    story.get_by_text("The state in words", exact=True).click()
    story.locator(".thp-words table").first.wait_for()
    for number in shown[1:4]:
        press(story, "ArrowRight")
        at(story, number)
        cells = story.locator(".thp-words :is(th, td)").all_inner_texts()
        lines = describe(trace[number].state, trace[number - 1].state).splitlines()
        assert cells == [line.strip() for line in lines if line.strip()]
    story.get_by_text("The state in words", exact=True).click()
    expect(story.locator(".thp-words .thp-text")).to_be_hidden()


def test_why_the_kernel_does_so_is_one_click_away_and_follows(story: Locator, data: dict[str, Any], shown: list[int]) -> None:
    why, click = story.locator(".thp-evidence"), story.get_by_text("Why does rfc-2014 do so, and why do we believe it?", exact=True)
    expect(why).to_be_hidden()
    click.click()
    expect(why).to_contain_text("nothing was asked")
    place = next(place for place, number in enumerate(shown) if data["frames"][number]["asks"])
    for _ in range(place):
        press(story, "ArrowRight")
    at(story, shown[place])
    policy = data["policies"][data["frames"][shown[place]]["asks"][0]]
    expect(why.locator("h4")).to_have_text(re.compile("Asked on the way to this step", re.IGNORECASE))
    expect(why.locator("dt").first).to_have_text(f"{policy['name']}: {policy['value']}")
    expect(why.locator("dd").first).to_contain_text(f"as {policy['kernel']}, {policy['why'][0]}")
    asked = [any(frame["asks"] for frame in data["frames"][before + 1 : number + 1]) for before, number in pairwise(shown)]
    quiet = asked.index(False, place)
    for _ in range(quiet + 1 - place):
        press(story, "ArrowRight")
    at(story, shown[quiet + 1])
    expect(why.locator("h4")).to_have_text(re.compile("Asked before it in this operation", re.IGNORECASE))
    click.click()
    expect(why).to_be_hidden()


def test_the_picture_has_a_name_and_the_caption_is_the_one_status(story: Locator, data: dict[str, Any], shown: list[int]) -> None:
    for number in shown[1:4]:
        press(story, "ArrowRight")
        at(story, number)
        expect(story.locator(".thp-picture svg")).to_have_role("img")
        text = data["frames"][number]["text"]
        expect(story.locator(".thp-picture svg")).to_have_accessible_name(f"Step {shown.index(number)} of {len(shown) - 1}: {text}")
        expect(story.locator(".thp-picture svg")).to_have_accessible_description(re.compile("The state in words is below"))
    assert story.get_by_role("status").count() == 1


BOXES = """() => {
    const root = document.querySelector(".thp-stepper"), boxes = {};
    const names = ["bar", "marks", "picture", "caption", "side", "tree", "ledger", "words"];
    const parts = [root, ...names.map(name => root.querySelector(`.thp-${name}`))];
    for (const part of parts) boxes[part.className.split(" ")[0]] = part.getBoundingClientRect();
    for (const node of root.querySelectorAll(".thp-picture svg g[id]")) {
        const box = node.getBoundingClientRect();
        if (box.width) boxes[node.id] = box;  // else it is not in this picture
    }
    for (const button of root.querySelectorAll(".thp-bar button")) boxes[button.ariaLabel] = button.getBoundingClientRect();
    return Object.entries(boxes).map(([id, box]) => [id, ["x", "y", "width", "height"].map(side => Math.round(box[side]))]);
}"""


def test_nothing_moves_but_what_the_kernel_moved(pg: Page, story: Locator, shown: list[int]) -> None:
    before = pg.evaluate(SCROLLED)
    places: dict[str, list[int]] = {}
    for number in shown:
        at(story, number)
        for id, box in pg.evaluate(BOXES):
            assert places.setdefault(id, box) == box, (id, number)
        button(story, "Next step").click(force=True)
    assert len(places) > 40
    assert pg.evaluate(SCROLLED) == before


def test_what_changed_lights_up_unless_the_reader_wants_no_motion(pg: Page, story: Locator, data: dict[str, Any], shown: list[int]) -> None:
    moving = "() => ['.thp-picture', '.thp-tree'].map(part => document.querySelector(part).getAnimations({ subtree: true }).length)"
    number = step_named(data, MIDDLE)
    story.get_by_role("slider", name="Step").fill(str(shown.index(number) - 1))
    press(story, "ArrowRight")
    at(story, number)
    assert min(pg.evaluate(moving)) > 0
    press(story, "ArrowLeft")
    assert pg.evaluate(moving) == [0, 0]
    pg.emulate_media(reduced_motion="reduce")
    press(story, "ArrowRight")
    at(story, number)
    assert pg.evaluate(moving) == [0, 0]
    pg.emulate_media(reduced_motion="no-preference")


# --- themes and sizes -----------------------------------------------------------------------------------------------------

# Text that stands in a box of its own colour, and the least contrast with it.


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_every_text_can_be_read_in_light_and_in_dark(pg: Page, story: Locator, theme: str) -> None:
    pg.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    dark = theme.endswith("Dark")
    pg.locator(f"body[data-jp-theme-light='{str(not dark).lower()}']").wait_for(state="attached")
    story.locator(".thp-mark").nth(5).click()
    press(story, "ArrowLeft")
    press(story, "Escape")
    found = pg.locator(".thp-stepper").evaluate(CONTRASTS)
    assert len(found) > 40 and found[0][0] >= 4.5, found[:3]
    paper = pg.evaluate("() => getComputedStyle(document.querySelector('.thp-stepper')).backgroundColor")
    fill = pg.evaluate("() => getComputedStyle(document.querySelector(\".thp-picture [fill='#ffffff']\")).fill")
    assert paper == fill == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")


def test_the_focus_can_be_seen(pg: Page, story: Locator) -> None:
    button(story, "Next step").focus()
    for _ in range(6):
        outline = pg.evaluate("() => [getComputedStyle(document.activeElement).outlineStyle, document.activeElement.className]")
        assert outline[0] == "solid", outline
        pg.keyboard.press("Tab")


FONTS = """() => [...document.querySelectorAll(".thp-stepper *")]
    .filter(e => !e.closest("svg") && e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .map(e => [parseFloat(getComputedStyle(e).fontSize), e.className, e.textContent.slice(0, 30)])"""


def test_a_lecture_fits_what_can_be_seen_and_is_large(pg: Page, show: Callable[[str], Locator], data: dict[str, Any], shown: list[int]) -> None:
    pg.set_viewport_size({"width": 1280, "height": 720})
    lecture = show("lecture")
    pg.evaluate("() => window.jupyterapp.shell.collapseLeft()")  # as a lecturer has it
    for number in begins(data, shown):
        lecture.get_by_role("slider").fill(str(shown.index(number)))
        at(lecture, number)
        fonts = pg.evaluate(FONTS)
        assert len(fonts) > 6 and min(fonts)[0] >= 18, min(fonts)
        clipped = pg.evaluate("() => { const c = document.querySelector('.thp-caption'); return c.scrollHeight - c.clientHeight; }")
        assert clipped <= 1, number
    box = lecture.bounding_box()
    assert box is not None and box["width"] <= 1280 and box["height"] <= 690  # a window without JupyterLab's bars has 720
    scale = lecture.locator(".thp-picture svg").evaluate("svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width")
    assert scale > 0.4
    pg.set_viewport_size({"width": 1280, "height": 900})
