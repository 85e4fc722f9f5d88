"""Every widget that can stand on a slide, for a projector: in a box of a fixed size, as a slide gives it, with Python behind the page."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from asking import ask
from labserver import CONTRASTS, page
from playwright.sync_api import Page

from thplab.learn.lessons.series import LESSONS
from thplab.learn.widgets import Compare, Ledger, LiveLab, Quiz, RaceStepper, Sandbox
from thplab.learn.widgets.page import script, style
from thplab.learn.widgets.widget import Widget
from thplab.study.live import unable

pytestmark = pytest.mark.browser

RACES = ("unmarked-split-and-fork", "naive-split-and-pin", "rfc-split-and-zap", "unflushed-freeze-and-pin", "blind-pmd-split-and-zap")
SHARED = "mmap A; fill A 0 1thp; fork A B"
SPLIT = SHARED + "; pin A 4 1 dma; mprotect B 2 1 r; unpin dma"
HELD = SHARED + "; munmap A 0 2; mprotect B 4 1 r; pin B 1 2 dma"
REMOTE = ("PageDown", "PageUp", ".", "b", "F5", "Escape")

class Screen(NamedTuple):
    """A projector's page, the box in it that a slide leaves for a widget, and the least letters that can be read there."""

    width: int
    height: int
    box: tuple[int, int]
    letters: int


SCREENS = (Screen(1280, 720, (1264, 600), 18), Screen(1920, 1080, (1900, 920), 24))


def failing(name: str) -> RaceStepper:
    """A race with a schedule that breaks it, at its start."""
    race = RaceStepper(name, lecture=True)
    ask(race, "find", at=0)
    assert len(race.race.schedule) > 3
    race.step = 0
    return race


def performed() -> LiveLab:
    """The live lab with what this machine's kernel has just done."""
    lab = LiveLab("cow", lecture=True)
    lab.run()
    return lab


WIDGETS: dict[str, Callable[[], Widget]] = {
    **{name: functools.partial(failing, name) for name in RACES},
    "sandbox": lambda: Sandbox(SHARED, lecture=True),
    "live, recorded": lambda: LiveLab("cow", recorded=True, lecture=True),
    "live": performed,
    "quiz": lambda: Quiz(LESSONS[4].families, lecture=True),
    "compare": lambda: Compare(SPLIT, kernels=("v3.16", "rfc-2014"), lecture=True),
    "ledger": lambda: Ledger(HELD, gaps="some", lecture=True),
}

# A page with Python behind it: what the page says goes to said(), which answers with the traits as they are then.
PAGE = """<!doctype html><meta charset="utf-8"><style>CSS</style>
<style>body { margin: 0; background: #fff } body.thp-dark { background: #111 }</style><body><div id="box" style="overflow: auto; width: WIDTHpx; height: HEIGHTpx"></div>
<script type="module">
SCRIPT
let state = STATE, changed = {};
const heard = {};
const take = text => {
    const before = state, now = state = JSON.parse(text);
    const other = Object.keys(now).filter(name => JSON.stringify(now[name]) !== JSON.stringify(before[name]));
    for (const name of other) (heard[`change:${name}`] ?? []).forEach(run => run());
};
const model = {
    get: name => state[name], set: (name, value) => { changed[name] = state[name] = value; },
    save_changes: () => { window.said(JSON.stringify(changed), "").then(take); changed = {}; },
    on: (event, run) => (heard[event] ??= []).push(run), off() {},
    send: question => { window.said("{}", JSON.stringify(question)).then(take); },
};
await kind.render({ model, el: document.getElementById("box") });
window.take = take;
</script>"""

# The letters of every text that can be seen, in pixels of the screen, the smallest first; [size, text].
LETTERS = """root => [...root.querySelectorAll("*")]
    .filter(e => !e.closest("option") && e.checkVisibility({ visibilityProperty: true }) && e.getBoundingClientRect().width > 2)
    .filter(e => e.matches("input[type=text], select") || [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .map(e => [parseFloat(getComputedStyle(e).fontSize) * (e.closest("svg") ? e.getScreenCTM().a : 1), e.textContent.slice(0, 40)])
    .sort(([a], [b]) => a - b)"""

# Texts that a box cuts off which cannot be scrolled, unless it says so with an ellipsis and has all of it as a title.
CUT = """root => [...root.querySelectorAll("*")]
    .filter(e => !e.closest("option, .thp-sr") && e.checkVisibility({ visibilityProperty: true }))
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .flatMap(e => {
        let seen = e.getBoundingClientRect();
        for (let box = e; box !== root.parentElement; box = box.parentElement) {
            const { overflowX: how, textOverflow } = getComputedStyle(box), edge = box.getBoundingClientRect();
            if (box.closest("svg") || how === "visible" || !edge.width) continue;
            if (/auto|scroll/.test(how)) { seen = edge; continue; }
            const inside = box === e ? e.scrollWidth <= e.clientWidth + 1 && e.scrollHeight <= e.clientHeight + 1
                : seen.left >= edge.left - 1 && seen.right <= edge.right + 1
                    && seen.top >= edge.top - 1 && seen.bottom <= edge.bottom + 1;
            if (!inside && !(textOverflow === "ellipsis" && box.title)) return [`${box.className}: ${e.textContent.slice(0, 40)}`];
        }
        return [];
    })"""

# By how much the slide's box, the picture and the sentence below it would have to be scrolled, and any box to the side.
SCROLLS = """root => [root.parentElement, root, ...root.querySelectorAll(":not(svg *, input)")]
    .filter(e => e.checkVisibility() && getComputedStyle(e).overflowX !== "visible")
    .map(e => [e.className || e.id, e.scrollWidth - e.clientWidth,
        e.matches("#box, .thp-widget, .thp-picture, .thp-caption") ? e.scrollHeight - e.clientHeight : 0])
    .filter(([, x, y]) => x > 1 || y > 1)"""

# The buttons and switches that can be seen, each by a name that stays while its state changes.
CONTROLS = """root => [...root.querySelectorAll("button, select, input:not([type=text])")].filter(e => e.checkVisibility())
    .map(e => [e, e.getAttribute("aria-label") ?? e.closest("label")?.firstChild.textContent ?? e.textContent])
    .map(([e, label]) => e.dataset.name = `${e.className} ${label}`)"""


@pytest.fixture(scope="module")
def projector(request: pytest.FixtureRequest) -> Iterator[tuple[Page, Screen]]:
    """The first of the screens, unless a test asks for another one."""
    screen = getattr(request, "param", SCREENS[0])
    with page(screen.width, screen.height) as pg:
        yield pg, screen


def traits(widget: Widget) -> str:
    """What the page has of a widget."""
    names = [name for name in widget.traits(sync=True) if name[0] != "_" and name not in ("layout", "tabbable", "tooltip")]
    return json.dumps({name: getattr(widget, name) for name in names})


class Slide:
    """A widget in the box of a page of its own, with Python behind it. `wrong` is what goes wrong in the page."""

    def __init__(self, pg: Page, screen: Screen, widget: Widget) -> None:
        self.widget, self.screen = widget, screen
        self.wrong: list[str] = []
        self.page = pg.context.new_page()
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda message: self.wrong.append(message.text) if message.type == "error" else None)
        self.page.expose_function("said", self._said)
        parts = {
            "CSS": style(*widget._page),
            "WIDTH": str(screen.box[0]),
            "HEIGHT": str(screen.box[1]),
            "SCRIPT": script(*widget._page).replace("export default ", "const kind = "),
            "STATE": traits(widget),
        }
        text = PAGE
        for name, part in parts.items():
            text = text.replace(name, part, 1)
        self.page.set_content(text)
        self.page.wait_for_function("() => window.take")
        self.root = self.page.locator("#box > .thp-widget")

    def _said(self, changed: str, question: str) -> str:
        for name, value in json.loads(changed).items():
            setattr(self.widget, name, value)
        if question:
            self.widget._asked(self.widget, json.loads(question), [])
        return traits(self.widget)

    def settle(self) -> None:
        """Waits until Python has answered and what it said is painted."""
        while self.root.get_attribute("aria-busy"):
            self.page.wait_for_timeout(50)
            self.page.evaluate("text => window.take(text)", traits(self.widget))  # a live run ends when it does
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))")

    def assert_readable(self, where: str) -> None:
        """Every letter is large enough, all of it stands in the box, and nothing is cut off."""
        self.settle()
        letters, scrolls, cut = self.root.evaluate(f"root => [({LETTERS})(root), ({SCROLLS})(root), ({CUT})(root)]")
        assert len(letters) > 5 and letters[0][0] >= self.screen.letters, (where, letters[:3])
        assert (scrolls, cut) == ([], []), where

    def assert_in_contrast(self) -> None:
        """Every text is told from its ground, in the light and in the dark."""
        for dark in (False, True):
            contrasts = self.root.evaluate(f"root => {{ document.body.classList.toggle('thp-dark', {json.dumps(dark)}); return ({CONTRASTS})(root); }}")
            assert contrasts[0][0] >= 4.5, (dark, contrasts[:3])

    def operate(self) -> int:
        """Uses every control that can be seen once, those that come up in between, too; answers how many there were."""
        used: set[str] = set()
        while new := [each for each in self.root.evaluate(CONTROLS) if each not in used]:
            used.add(new[0])
            control = self.root.locator(f"[data-name={json.dumps(new[0], ensure_ascii=False)}]:visible").first
            if control.evaluate("e => e.matches('select')"):
                control.select_option(index=0)
            else:
                control.click(force=True)  # also where it only says why it does nothing
            self.assert_readable(f"after {new[0]}")
        return len(used)


@pytest.fixture
def slide(projector: tuple[Page, Screen]) -> Iterator[Callable[..., Slide]]:
    made: list[Slide] = []

    def slide(widget: Widget) -> Slide:
        made.append(Slide(*projector, widget))
        return made[-1]

    yield slide
    for each in made:
        each.page.close()


@pytest.mark.parametrize("projector", SCREENS, ids=lambda screen: f"{screen.height}", indirect=True)
@pytest.mark.parametrize("name", WIDGETS)
def test_a_widget_on_a_slide_is_read_from_afar_and_operated(name: str, slide: Callable[..., Slide]) -> None:
    if name == "live" and unable():
        pytest.skip(unable())
    shown = slide(WIDGETS[name]())
    shown.assert_readable("at first")
    shown.assert_in_contrast()
    if shown.screen == SCREENS[0]:
        for _ in range(len(shown.widget.race.schedule) if isinstance(shown.widget, RaceStepper) else 0):
            shown.root.get_by_role("button", name="Forward to the next step").click()
            shown.assert_readable(f"step {shown.root.get_attribute('data-step')}")
        assert shown.operate() > 4
        shown.assert_in_contrast()
    assert shown.wrong == []


@pytest.mark.parametrize("name", [name for name in WIDGETS if name not in (*RACES[1:], "live")])
def test_the_keys_of_a_remote_reach_the_page(name: str, slide: Callable[..., Slide]) -> None:
    shown = slide(WIDGETS[name]())
    shown.page.evaluate("""() => { window.came = [];
        window.addEventListener("keydown", event => { window.came.push([event.key, event.defaultPrevented]); event.preventDefault(); }); }""")
    shown.root.locator("button:not([aria-disabled=true])").first.focus()
    for key in (*REMOTE, "x"):
        shown.page.keyboard.press(key)
    assert shown.page.evaluate("() => window.came") == [[key, False] for key in REMOTE]
    field = shown.root.locator("input[type=text]:visible:enabled").first
    if field.count():
        field.focus()
        shown.page.keyboard.type("b.")
        assert field.input_value().endswith("b.")
        assert len(shown.page.evaluate("() => window.came")) == len(REMOTE)
    assert shown.wrong == []


def test_what_a_class_calls_out_is_typed_into_the_sandbox(slide: Callable[..., Slide]) -> None:
    sandbox = Sandbox(SHARED, lecture=True)
    shown = slide(sandbox)
    field, said = shown.root.get_by_role("textbox", name="Operations"), shown.root.locator(".thp-says")
    for line in ("write B 3", "pin A 0 1 dma; split A 0"):
        field.fill(line)
        field.press("Enter")
        shown.assert_readable(line)
        assert field.input_value() == "" and said.text_content() == ""
    assert sandbox.scenario == SHARED + "; write B 3; pin A 0 1 dma; split A 0"
    assert "split A 0 returns -EBUSY" in str(shown.root.locator(".thp-caption").text_content())
    field.fill("write B 1; write C 1")
    field.press("Enter")
    shown.assert_readable("a mistake")
    assert field.input_value() == "write B 1; write C 1" and "C" in str(said.text_content())
    assert sandbox.scenario.endswith("split A 0")


# Of other sets some pictures are larger than a slide: they scroll.
@pytest.mark.parametrize(("lesson", "seed"), [(4, 1), (8, 1), (8, 2)])
def test_a_question_and_its_verdict_stand_on_one_slide(lesson: int, seed: int, slide: Callable[..., Slide]) -> None:
    shown = slide(Quiz(LESSONS[lesson].families, seed=seed, lecture=True))
    for number in range(5):
        shown.assert_readable(f"question {number}")
        form = shown.root.locator(".thp-form")
        if form.locator("input").count():
            form.locator("input").fill("77")
            form.locator("input").press("Enter")
        else:
            form.locator("button").first.click()
        shown.assert_readable(f"verdict {number}")
        shown.root.get_by_role("button", name="Next").click(force=True)


def test_a_ledger_s_hints_and_marks_stand_on_the_slide(slide: Callable[..., Slide]) -> None:
    shown = slide(Ledger(HELD, gaps="some", lecture=True))
    for entry in shown.root.locator(".thp-ledger input").all():
        for answer in ("77", "78", "79"):
            entry.fill(answer)
            entry.press("Enter")
            shown.assert_readable(answer)
    assert shown.root.get_attribute("data-filled") == shown.root.get_attribute("data-blank")


def test_the_choice_of_a_reader_at_a_desk_does_not_change_a_lecture(slide: Callable[..., Slide]) -> None:
    shown = slide(Compare("cow", lecture=True))
    drawn = shown.root.locator(".thp-canvas svg").inner_html()
    shown.page.evaluate("() => document.dispatchEvent(new CustomEvent('thp-detail', { detail: 'full' }))")
    shown.settle()
    assert shown.root.locator(".thp-canvas svg").inner_html() == drawn
