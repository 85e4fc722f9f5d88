"""Progress in a real JupyterLab: an answer comes back after a restart in another browser, and another learner has none of it."""

from __future__ import annotations

import pytest
from labserver import Server, ask, assert_told, lab, open_and_run, page, write_notebook
from playwright.sync_api import Locator, Page, expect

from thplab.learn.progress import FILE, read
from thplab.learn.start import start

pytestmark = pytest.mark.browser

ASKING = """from thplab import Prediction, Quiz, Stepper
from thplab.learn.lessons.questions import head_refcount
questions = [Prediction(9, "How many?", lambda frame: 1)]
stepper = Stepper("cow", predictions=questions)
stepper"""
QUIZ = "quiz = Quiz([head_refcount], count=2)\nquiz"


def opened(pg: Page, server: Server, folder: str) -> tuple[Locator, Locator]:
    open_and_run(pg, server, f"{folder}notebooks/mine.ipynb")
    stepper, quiz = pg.locator(".thp-stepper[data-step]"), pg.locator(".thp-quiz[data-question]")
    stepper.wait_for()
    quiz.wait_for()
    return stepper, quiz


def predict(stepper: Locator, text: str) -> None:
    stepper.locator(".thp-picture").press("End")
    stepper.get_by_label("Your prediction, a whole number").fill(text)
    stepper.get_by_role("button", name="commit").click()


def test_an_answer_comes_back_in_another_browser_and_another_learner_has_none(server: Server) -> None:
    for who in ("ada", "bob"):
        start(server.folder / who, who)
        write_notebook(server.folder / who / "notebooks" / "mine.ipynb", ASKING, QUIZ)
    with page() as pg:
        stepper, quiz = opened(pg, server, "ada/")
        expect(stepper.locator(".thp-score")).to_have_text("0 of 1 answered, 0 right")
        predict(stepper, "7")
        expect(stepper.locator(".thp-score")).to_have_text("1 of 1 answered, 0 right")
        stepper.get_by_role("button", name="Next step").click()
        at = str(stepper.get_attribute("data-step"))
        assert_told(pg, "print(stepper.reached, *stepper.answers.values())", f"{at} 7\n")
        quiz.get_by_label("Your answer, a whole number").fill("99")
        quiz.get_by_label("Your answer, a whole number").press("Enter")
        expect(quiz.locator(".thp-list button")).to_have_text(["1 ✗ wrong", "2 · open"])
        assert_told(pg, "print('99' in quiz.answers.values())", "True\n")
        kept = read(server.folder / "ada" / FILE)
        assert [each["answer"] for each in kept["answers"].values()] == ["7", "99"]
        assert kept["stopped"] == {"where": "mine", "what": "quiz", "step": 0}
        # The same browser, another learner.
        stepper, quiz = opened(pg, server, "bob/")
        expect(stepper.locator(".thp-score")).to_have_text("0 of 1 answered, 0 right")
        expect(stepper).to_have_attribute("data-step", "0")
        expect(quiz.locator(".thp-list button")).to_have_text(["1 · open", "2 · open"])
        assert read(server.folder / "bob" / FILE)["stopped"] is None
    # Another browser, and another server on another port, which has a copy of the folder.
    with lab(server.folder / "ada") as other, page() as pg:
        stepper, quiz = opened(pg, other, "")
        expect(stepper.locator(".thp-score")).to_have_text("1 of 1 answered, 0 right")
        expect(stepper).to_have_attribute("data-step", at)
        expect(quiz.locator(".thp-list button")).to_have_text(["1 ✗ wrong", "2 · open"])
        assert read(other.folder / FILE) == kept, "opening it is not learning"
        stepper.get_by_role("button", name="answer again").click()
        predict(stepper, "1")
        expect(stepper.locator(".thp-score")).to_have_text("1 of 1 answered, 1 right")
        assert_told(pg, "print(*stepper.answers.values())", "1\n")
        (answer,) = (each for each in read(other.folder / FILE)["answers"].values() if each["kind"] == "prediction")
        assert (answer["right"], answer["first"]) == (True, False)
        assert ask(pg, "print(stepper.learner == quiz.learner != '')") == "True\n"
        open_and_run(pg, other, "notebooks/progress.ipynb")
        shown = pg.locator(".thp-progress")
        expect(shown).to_contain_text("Progress of ada")
        expect(shown.get_by_role("row", name="◐ mine 1 of 1, 0 right at first 1, 0 right at first")).to_be_visible()
        shown.get_by_role("link", name="mine, “cow”").click()
        pg.wait_for_function("() => window.jupyterapp.shell.currentWidget.context?.path === 'notebooks/mine.ipynb'")
