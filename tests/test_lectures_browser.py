"""Every slide of every lecture, exported and live: it fits, it can be read from the last row, and PageDown leads through all of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from labserver import Server, open_and_run, page
from lesson_checks import NOTEBOOKS
from playwright.sync_api import Page, expect

from thplab.learn.lectures.deck import deck
from thplab.learn.lectures.reading import LECTURES, lecture, read

pytestmark = pytest.mark.browser

SMALL, LARGE = (1280, 720), (1920, 1080)

# Of the slide that is shown: the smallest letters, and what scrolls or is cut off.
MEASURE = """root => {
    const seen = e => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !e.closest("aside, .thp-sr, option");
    const size = e => {
        const svg = e.closest("svg"), box = svg?.viewBox?.baseVal;
        return parseFloat(getComputedStyle(e).fontSize) * (box?.width ? svg.getBoundingClientRect().width / box.width : 1);
    };
    const letters = [...root.querySelectorAll("*")].filter(e => seen(e) && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
        .map(e => [size(e), e.textContent.slice(0, 40)]).sort((a, b) => a[0] - b[0]);
    const room = e => [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight];
    const boxes = [root, ...root.querySelectorAll("h2, .thp-screen, .thp-picture, .thp-caption, .thp-sum, .thp-strip, .thp-events")].filter(seen);
    return { letters: letters.slice(0, 3), cut: boxes.map(e => [e.className || e.tagName, ...room(e)]).filter(([, w, h]) => w > 1 || h > 1) };
}"""
SHOWN = """() => {
    const slide = document.querySelector(".thp-talk .thp-slide") ?? Reveal.getCurrentSlide().querySelector(".thp-slide");
    const child = [...(slide?.querySelectorAll(".thp-child:not(.thp-away)") ?? [])][0];
    return child && !child.querySelector(".thp-widget") ? null : slide?.querySelector(".thp-where").textContent ?? "opening";
}"""


def measured(pg: Page, least: float, where: str) -> None:
    slide = pg.locator(".thp-talk .thp-slide, .reveal section.present .thp-slide")
    found = slide.evaluate(MEASURE)
    assert found["letters"][0][0] >= least - 0.01, (where, found["letters"])
    assert found["cut"] == [], (where, found["cut"])


def shown(pg: Page, before: str = "") -> str:
    """Where the lecture is, once it is elsewhere than `before`."""
    told = pg.wait_for_function(f"before => {{ const now = ({SHOWN})(); return now !== null && now !== before && now; }}", arg=before)
    pg.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return str(told.json_value())


@pytest.fixture(scope="module", params=LECTURES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("lecture") / f"{request.param}.html"
    path.write_text(deck(lecture(request.param)))
    return request.param, path


def test_a_page_of_slides_is_given_with_page_down_and_page_up_alone_and_without_a_network(exported: tuple[str, Path]) -> None:
    """Forward on a small projector, and back on a large one."""
    name, path = exported
    with page(*SMALL, offline=True) as pg:
        errors: list[str] = []
        pg.on("pageerror", lambda error: errors.append(str(error)))
        pg.goto(path.as_uri())
        where = shown(pg)
        assert where == "opening"
        places = sum(slide.places for slide in (lecture(name).slide(each.id, live=False) for each in lecture(name).slides))
        for _ in range(places):
            pg.keyboard.press("PageDown")
            where = shown(pg, where)
            measured(pg, 18, f"{name} {where}")
        assert re.match(rf"\S+ · {len(lecture(name).slides)} / ", where) and "○" not in where
        pg.set_viewport_size({"width": LARGE[0], "height": LARGE[1]})
        for _ in range(places):
            measured(pg, 24, f"{name} {where}, large")
            pg.keyboard.press("PageUp")
            where = shown(pg, where)
        assert where == "opening" and errors == []


@pytest.mark.parametrize("name", ["two_splits", "your_kernel"])
def test_a_lecture_is_presented_from_its_notebook_and_keys_lead_through_it(server: Server, name: str) -> None:
    """The notebook as it is in the series, in JupyterLab, run from top to bottom."""
    slides = lecture(name).slides
    with page(*SMALL) as pg:
        shutil.copy(NOTEBOOKS / "lectures" / f"{name}.ipynb", server.folder)
        open_and_run(pg, server, f"{name}.ipynb")
        pg.get_by_role("button", name=re.compile("Present this lecture")).first.click()
        where, seen = shown(pg), 1
        while not (where.startswith(f"{slides[-1].id} · {len(slides)} / ") and "○" not in where):
            pg.keyboard.press("PageDown")
            where = shown(pg, where)
            measured(pg, 18, f"{name} {where}")
            seen += 1
        assert seen > 2 * len(slides) - 5
        pg.keyboard.press("PageUp")
        where = shown(pg, where)
        pg.keyboard.press("Home")
        assert shown(pg, where).startswith(f"{slides[0].id} ")
        show = pg.locator(".thp-talk")
        pg.keyboard.press("b")
        expect(show).to_have_class(re.compile("thp-blank"))
        pg.keyboard.press("b")
        expect(show).not_to_have_class(re.compile("thp-blank"))
        with pg.expect_popup() as notes:
            pg.keyboard.press("s")
        expect(notes.value.locator("body")).to_contain_text(slides[0].notes.say[:40])
        notes.value.close()
        pg.bring_to_front()
        show.focus()
        pg.keyboard.press("Escape")
        expect(show).to_have_count(0)


def test_hands_are_counted_and_the_misconception_of_most_is_told(tmp_path: Path) -> None:
    talk = read('title = "One"\n[[slides]]\nuse = "1.5"')
    card = talk.slides[0].card
    assert card is not None and card.right == 1
    (tmp_path / "one.html").write_text(deck(talk))
    with page(*SMALL) as pg:
        pg.goto((tmp_path / "one.html").as_uri())
        pg.keyboard.press("PageDown")
        where = shown(pg, "opening")
        because, hands = pg.locator(".thp-because"), pg.locator(".thp-card input")
        expect(because).to_have_text("")
        for number, count in enumerate(("3", "20", "9")):
            hands.nth(number).fill(count)
        expect(because).to_have_text("")
        pg.get_by_role("button", name="Answer").click()
        expect(because).to_contain_text(card.why)
        expect(because).to_contain_text(card.slips[2])
        expect(pg.locator(".thp-card li.thp-right")).to_contain_text(card.choices[1])
        hands.nth(0).fill("12")
        expect(because).to_contain_text(card.slips[0])
        pg.locator(".thp-asked").click()
        pg.keyboard.press("PageDown")
        assert shown(pg, where) != where


def test_a_lecturers_view_has_the_notes_and_the_next_slide(exported: tuple[str, Path]) -> None:
    name, path = exported
    with page(*SMALL) as pg:
        pg.goto(path.as_uri())
        pg.keyboard.press("PageDown")
        shown(pg, "opening")
        with pg.expect_popup() as view:
            pg.keyboard.press("s")
        expect(view.value.locator("body")).to_contain_text(lecture(name).slides[0].notes.say[:40])
        pg.bring_to_front()
        pg.keyboard.press("o")
        expect(pg.locator(".reveal")).to_have_class(re.compile("overview"))
