"""The quiz in a real Chromium: from the page alone, and in a JupyterLab, where another set can be had."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from labserver import CONTRASTS, LONG, Server, assert_told, open_alone, open_and_run, page, write_notebook
from playwright.sync_api import FloatRect, Locator, Page, expect

from thplab.errors import BadInput
from thplab.learn.lessons.questions import freed_by_munmap, head_refcount, mapped_by_pmd, pmd_splits, split_result
from thplab.learn.widgets import Question, Quiz

FAMILIES = [head_refcount, split_result, freed_by_munmap]
CELL = """from thplab.learn.lessons.questions import freed_by_munmap, head_refcount, split_result
from thplab.learn.widgets import Quiz
quiz = Quiz([head_refcount, split_result, freed_by_munmap], count=3, seed=4)
quiz"""


@pytest.fixture(scope="module")
def quiz() -> Quiz:
    return Quiz(FAMILIES, count=3, seed=4)


@pytest.fixture(scope="module")
def pg() -> Iterator[Page]:
    with page(height=720) as pg:
        yield pg


@pytest.fixture
def shown(pg: Page, quiz: Quiz, tmp_path: Path) -> Locator:
    """The quiz from the page alone, in a browser that keeps no answers yet."""
    open_alone(pg, tmp_path, quiz.html())
    pg.evaluate("() => localStorage.clear()")
    pg.reload()
    found = pg.locator(".thp-quiz")
    found.and_(pg.locator("[data-question]")).wait_for()
    return found


def button(quiz: Locator, name: str) -> Locator:
    return quiz.get_by_role("button", name=name, exact=True)


def at(quiz: Locator, number: int) -> None:
    expect(quiz).to_have_attribute("data-question", str(number))


def answer(quiz: Locator, question: Question, given: int | str) -> None:
    if question.answers:
        button(quiz, str(given)).click()
    else:
        quiz.get_by_label("Your answer, a whole number").fill(str(given))
        quiz.get_by_label("Your answer, a whole number").press("Enter")


def wrong(question: Question) -> tuple[int | str, str]:
    """A wrong answer, and the misconception that it comes from."""
    return next(iter(question.slips.items()))


def place(quiz: Locator) -> list[FloatRect | None]:
    """Where everything stands that must not move."""
    return [quiz.page.locator(where).bounding_box() for where in (".thp-bar", ".thp-does", ".thp-ask")]


@pytest.mark.browser
def test_the_state_is_shown_once_the_question_is_answered_and_nothing_moves(shown: Locator, quiz: Quiz) -> None:
    question = quiz.questions[0]
    expect(shown.locator(".thp-chip")).to_have_text(["kernel: rfc-2014", "geometry: TOY"])
    ops = question.trace().scenario.ops
    expect(shown.locator(".thp-ops li code")).to_have_text([op.label(8) for op in ops])
    expect(shown.locator(".thp-ops li").first).to_contain_text("A asks for memory, as much as a huge page.")
    expect(shown.locator(".thp-picture svg, .thp-ledger table")).to_have_count(0)
    assert question.why not in shown.inner_text()
    before = place(shown)
    given, slip = wrong(question)
    answer(shown, question, given)
    expect(shown.locator(".thp-verdict")).to_have_text("✗ not so")
    expect(shown.locator(".thp-yours")).to_have_text(str(given))
    expect(shown.locator(".thp-actual")).to_have_text(str(question.actual))
    expect(shown.locator(".thp-why")).to_contain_text(question.why)
    expect(shown.locator(".thp-slip")).to_have_text(f"Why not {given}? {slip}")
    expect(shown.locator(".thp-picture svg")).to_be_visible()
    expect(shown.locator(".thp-ledger")).to_contain_text("held by")
    assert place(shown) == before
    expect(button(shown, "Next")).to_be_in_viewport()
    shown.locator("summary").click()
    expect(shown.locator(".thp-text")).to_contain_text("Process A")


@pytest.mark.browser
def test_only_the_first_answer_scores_and_answers_are_kept(shown: Locator, quiz: Quiz, pg: Page) -> None:
    first, second, third = quiz.questions
    score, marks = shown.locator(".thp-score"), shown.locator(".thp-list button")
    expect(score).to_have_text("right the first time: 0 of 3")
    answer(shown, first, first.actual)
    expect(shown.locator(".thp-verdict")).to_have_text("✓ as you said")
    expect(shown.locator(".thp-slip")).to_have_count(0)
    expect(score).to_have_text("right the first time: 1 of 3")
    expect(button(shown, "Next")).to_be_focused()
    button(shown, "Next").click()
    at(shown, 1)
    given, _ = wrong(second)
    answer(shown, second, given)
    button(shown, "Try again").click()
    expect(shown.locator(".thp-picture svg")).to_be_hidden()
    answer(shown, second, second.actual)
    expect(shown.locator(".thp-verdict")).to_have_text("✓ as you said")
    expect(shown.locator(".thp-tools")).to_contain_text(f"Not scored: your first answer was {given}.")
    expect(score).to_have_text("right the first time: 1 of 3")
    expect(marks).to_have_text(["1 ✓ right", "2 ✗ wrong", "3 · open"])
    pg.reload()
    expect(marks).to_have_text(["1 ✓ right", "2 ✗ wrong", "3 · open"])
    shown.get_by_role("button", name="question 2 of 3, wrong the first time").click()
    expect(shown.locator(".thp-yours")).to_have_text(str(given))
    shown.get_by_role("button", name="question 3 of 3, not answered yet").click()
    expect(shown.locator(".thp-questions")).to_contain_text(third.question)
    expect(button(shown, "Next")).to_have_attribute("aria-disabled", "true")
    button(shown, "Previous").click()
    at(shown, 1)


@pytest.mark.browser
def test_keys(shown: Locator, quiz: Quiz, pg: Page) -> None:
    for key, number in (("ArrowRight", 1), ("End", 2), ("ArrowRight", 2), ("ArrowLeft", 1), ("Home", 0)):
        shown.locator(".thp-list button").first.press(key)
        at(shown, number)
    number = next(i for i, question in enumerate(quiz.questions) if not question.answers)
    shown.locator(".thp-list button").nth(number).press("Enter")
    field = shown.get_by_label("Your answer, a whole number")
    field.fill("many")
    field.press("ArrowLeft")
    at(shown, number)
    field.press("Enter")
    expect(shown.get_by_role("alert")).to_have_text("Type a whole number.")
    field.fill(str(quiz.questions[number].actual))
    pg.keyboard.press("Enter")
    expect(shown.locator(".thp-verdict")).to_have_text("✓ as you said")
    button(shown, "Try again").press("Enter")
    expect(field).to_be_focused()


@pytest.mark.browser
def test_another_set_needs_python_and_says_so(shown: Locator, quiz: Quiz) -> None:
    another = button(shown, "Another set")
    expect(another).to_have_attribute("aria-disabled", "true")
    expect(another).to_have_accessible_description("Another set needs Python: run this notebook.")
    expect(shown.get_by_text("Another set needs Python")).to_be_visible()
    another.click(force=True)
    expect(shown).not_to_have_attribute("aria-busy", "true")
    expect(shown.locator(".thp-questions")).to_contain_text(quiz.questions[0].question)


@pytest.mark.browser
def test_questions_that_are_all_there_are_offer_no_other_set(pg: Page, tmp_path: Path) -> None:
    open_alone(pg, tmp_path, Quiz([head_refcount], count=1, more=False).html())
    expect(pg.locator(".thp-quiz .thp-questions")).to_be_visible()
    expect(pg.locator(".thp-quiz .thp-another")).to_be_hidden()


@pytest.mark.browser
def test_marks_can_be_read_in_light_and_in_dark(shown: Locator, quiz: Quiz, pg: Page) -> None:
    answer(shown, quiz.questions[0], quiz.questions[0].actual)
    button(shown, "Next").click()
    answer(shown, quiz.questions[1], wrong(quiz.questions[1])[0])
    for light in ("true", "false"):
        pg.evaluate("light => { document.body.dataset.jpThemeLight = light; }", light)
        for number in range(3):
            shown.locator(".thp-list button").nth(number).click()
            found = shown.evaluate(CONTRASTS)
            assert len(found) > 10 and found[0][0] >= 4.5, (light, number, found[:3])


@pytest.mark.browser
def test_in_jupyterlab_python_reads_the_results_and_makes_another_set(pg: Page, quiz: Quiz, server: Server) -> None:
    write_notebook(server.folder / "quiz.ipynb", CELL, LONG)
    open_and_run(pg, server, "quiz.ipynb")
    live = pg.locator(".thp-quiz")
    live.and_(pg.locator("[data-question]")).wait_for()
    first, second, _ = quiz.questions
    answer(live, first, first.actual)
    for key in ("ArrowDown", "ArrowRight"):  # JupyterLab would move to another cell
        pg.keyboard.press(key)
    at(live, 1)
    assert pg.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex") == 0
    answer(live, second, wrong(second)[0])
    expected = [
        [first.question, str(first.actual), True],
        [second.question, str(wrong(second)[0]), False],
        [quiz.questions[2].question, None, None],
    ]
    told = "import json; print(json.dumps([[r['question'], r['yours'], r.get('right')] for r in quiz.results]))"
    assert_told(pg, told, f"{json.dumps(expected)}\n")
    expect(button(live, "Next")).to_be_in_viewport()
    top = live.bounding_box()
    button(live, "Another set").click()
    expect(live).to_have_attribute("data-seed", "5")
    at(live, 0)
    expect(live.locator(".thp-list button")).to_have_text(["1 · open", "2 · open", "3 · open"])
    expect(live.locator(".thp-questions")).to_contain_text(Quiz(FAMILIES, count=3, seed=5).questions[0].question)
    expect(live).not_to_have_attribute("aria-busy", "true")
    after = live.bounding_box()
    assert top is not None and after is not None and (top["x"], top["y"]) == (after["x"], after["y"])


def test_a_quiz_tells_python_what_is_in_it_and_makes_the_next_set(quiz: Quiz) -> None:
    own = Quiz([mapped_by_pmd], kernel="v3.16", count=2)
    assert len(own.questions) == 2 and {question.setup.kernel for question in own.questions} == {"v3.16"}
    before = own.packed
    own.another()
    assert own.seed == 2 and own.packed != before and own.results == []
    assert own.questions == Quiz([mapped_by_pmd], kernel="v3.16", count=2, seed=2).questions
    with pytest.raises(BadInput, match="no event thp_split_pmd"):
        Quiz([pmd_splits], kernel="v3.16")
    assert quiz.html() == Quiz(FAMILIES, count=3, seed=4).html()
    picture, caption = quiz.still()
    assert picture == "" and all(question.question in caption and question.why not in caption for question in quiz.questions)
