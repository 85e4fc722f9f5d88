"""What a learner has done is kept in one file of her folder: hers alone, on any port, after an update, and never spoiled further."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from labserver import write_notebook
from lesson_checks import NOTEBOOKS
from nbformat.v4 import new_markdown_cell

from thplab import Progress
from thplab.errors import BadInput
from thplab.files import write_file
from thplab.learn import EXPORTING, progress
from thplab.learn.exercises import SETS, exercise, learner
from thplab.learn.lessons import story
from thplab.learn.lessons.questions import head_refcount, split_result
from thplab.learn.lessons.series import LESSONS
from thplab.learn.progress import EXERCISE, FILE, PREDICTION, QUIZ, TASK, Kept, read
from thplab.learn.progress_page import Count, NotebookRow
from thplab.learn.start import start
from thplab.learn.widgets import Prediction, Quiz, RaceStepper, Stepper

LESSON = story.lesson
STEPPER = "one mapping is split"
TRIED = "mmap A; write A 0; fork A B"


@pytest.fixture
def ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A learner's folder, in the notebooks of which the program runs."""
    start(tmp_path / "ada", "Ada")
    monkeypatch.chdir(tmp_path / "ada" / "notebooks")
    return tmp_path / "ada"


@pytest.fixture
def bob(tmp_path: Path) -> Path:
    start(tmp_path / "bob", "Bob")
    return tmp_path / "bob"


def kept(folder: Path) -> Kept:
    return read(folder / FILE)


def work(folder: Path) -> list[tuple[Any, ...]]:
    return [(e["kind"], e["where"], e["id"], e["solved"], e["tries"], e["hints"]) for e in kept(folder)["work"]]


def asking() -> Stepper:
    """A stepper with two questions, whose answers are 1 and A."""
    questions = [Prediction(9, "How many?", lambda _: 1), Prediction(9, "Who?", lambda _: "A", ["A", "B"])]
    return Stepper("cow", predictions=questions)


# --- where nothing is kept -----------------------------------------------------------------------------------------------


def test_without_a_file_nothing_is_kept_and_everything_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stepper = asking()
    assert (stepper.learner, stepper.answers, stepper.reached) == ("", {}, None)
    stepper.answers, stepper.reached = dict.fromkeys(stepper.asks_now(), "1"), 3
    LESSON.attempt("held by nobody", TRIED)
    LESSON.hint("held by nobody")
    assert LESSON.quiz().answers == {} and list(tmp_path.iterdir()) == []


def test_while_a_notebook_is_exported_nothing_is_kept(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXPORTING, "1")
    before = (ada / FILE).read_bytes()
    stepper = LESSON.stepper(STEPPER)
    LESSON.attempt("held by nobody", TRIED)
    assert stepper.learner == "" and (ada / FILE).read_bytes() == before


def test_a_page_without_python_has_nothing_of_the_learner(ada: Path) -> None:
    stepper = asking()
    stepper.answers = dict.fromkeys(stepper.asks_now(), "made up")
    assert kept(ada)["learner"] not in stepper.html() and "made up" not in stepper.html()


# --- questions -----------------------------------------------------------------------------------------------------------


def test_predictions_are_kept_and_come_back(ada: Path) -> None:
    stepper = LESSON.stepper(STEPPER)
    right = stepper.asks_now()
    assert stepper.learner == kept(ada)["learner"] and right and stepper.answers == {}
    first = next(iter(right))
    stepper.answers = dict.fromkeys(right) | {first: "made up"}
    entry = {"kind": PREDICTION, "where": LESSON.notebook, "answer": "made up", "right": False, "first": False}
    assert kept(ada)["answers"] == {first: entry}
    assert LESSON.stepper(STEPPER).answers == {first: "made up"}
    stepper.answers = dict.fromkeys(right)
    assert LESSON.stepper(STEPPER).answers == {first: None}, "she wants to answer again, in any browser"
    stepper.answers = right
    assert kept(ada)["answers"][first] == entry | {"answer": right[first], "right": True}
    assert LESSON.stepper(STEPPER).answers == right
    assert next(each for each in kept(ada)["steppers"] if each["what"] == STEPPER)["asks"] == list(right)


def test_a_quiz_keeps_the_answers_of_each_set(ada: Path) -> None:
    quiz = Quiz([head_refcount, split_result], count=2)
    first = quiz.asks_now()
    quiz.answers = first
    quiz.another()
    assert quiz.answers == {} and not first.keys() & quiz.asks_now().keys()
    quiz.answers = dict.fromkeys(quiz.asks_now(), "made up")
    quiz.another(1)
    assert quiz.answers == first
    assert [(each["kind"], each["right"]) for each in kept(ada)["answers"].values()] == [(QUIZ, True)] * 2 + [(QUIZ, False)] * 2
    assert kept(ada)["stopped"] == {"where": "", "what": "quiz", "step": 0}
    LESSON.quiz().answers = LESSON.quiz().asks_now()
    assert kept(ada)["stopped"]["where"] == LESSON.notebook


@pytest.mark.parametrize("said", [{"x": 1}, {"unknown": "1"}, {1: "1"}, {"x": ["1"]}])
def test_what_a_page_says_that_is_no_answer_is_left_out(ada: Path, said: dict[Any, Any]) -> None:
    stepper = asking()
    before = kept(ada)
    stepper.answers = {(id if key == "x" else key): text for id in stepper.asks_now() for key, text in said.items()}
    for text in ("x" * 1001, "\ud800"):
        stepper.answers = dict.fromkeys(stepper.asks_now(), text)
    stepper.reached = 10**6
    assert kept(ada) == before


# --- where the learner is ------------------------------------------------------------------------------------------------


def test_where_a_stepper_was_left_is_kept(ada: Path) -> None:
    stepper = LESSON.stepper(STEPPER)
    before = kept(ada)["stopped"]
    stepper.step = 4
    assert kept(ada)["stopped"] == before, "the program has moved it, or the page has when it began"
    stepper.reached = 5
    assert kept(ada)["stopped"] == {"where": LESSON.notebook, "what": STEPPER, "step": 5}
    assert LESSON.stepper(STEPPER).reached == 5 and LESSON.stepper("a pin").reached is None
    LESSON.attempt("held by nobody", TRIED)
    assert kept(ada)["stopped"] == {"where": LESSON.notebook, "what": "held by nobody", "step": 0}


def test_a_step_that_an_update_has_taken_away_is_forgotten(ada: Path) -> None:
    progress.record_step(LESSON.notebook, STEPPER, 10**6)
    assert LESSON.stepper(STEPPER).reached is None


def test_a_notebook_is_known_by_its_server(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for session, where in (
        (ada / "notebooks" / "exercises" / "00_a.ipynb", "exercises/00_a"),
        (ada.parent / "elsewhere.ipynb", "elsewhere"),
        ("console-1", ""),
    ):
        monkeypatch.setenv("JPY_SESSION_NAME", str(session))
        stepper = Stepper("cow")
        assert stepper.kept_as == (where, "cow")
    race = RaceStepper("blind-pmd-split-and-zap")
    race._done({"do": "move", "with": {"cpu": 0, "at": 0}})
    assert kept(ada)["stopped"] == {"where": "", "what": "blind-pmd-split-and-zap", "step": 1}


# --- tasks and exercises -------------------------------------------------------------------------------------------------


def test_tries_are_counted_until_one_solves_it(ada: Path) -> None:
    name = "held by nobody"
    cells = json.loads((NOTEBOOKS / f"{LESSON.notebook}.ipynb").read_text())["cells"]
    (proposed,) = (text.split('"""')[1] for text in map("".join, (c["source"] for c in cells)) if text.startswith(f'lesson.attempt("{name}"'))
    LESSON.attempt(name, proposed)
    assert work(ada) == [], "the notebook's own proposal is no try"
    LESSON.attempt(name, "  ")
    assert work(ada) == [], "nor is nothing"
    for scenario in (TRIED, TRIED, "mmap A", TRIED):
        LESSON.attempt(name, scenario)
    LESSON.hint(name, 2)
    LESSON.hint(name, 2)
    LESSON.hint(name, 1)
    assert work(ada) == [(TASK, LESSON.notebook, name, False, 3, [1, 2])]
    with pytest.raises(BadInput):
        LESSON.hint(name, 4)
    with pytest.raises(BadInput):
        LESSON.attempt("nothing", TRIED)
    assert len(work(ada)) == 1


def test_a_try_that_solves_counts_whatever_it_is(ada: Path) -> None:
    for answer, solved in (("story", False), ("one mapping is split", False), ("8", False), ("one mapping is split", True)):
        progress.record_attempt(TASK, LESSON.notebook, "x", solved, answer)
    assert work(ada) == [(TASK, LESSON.notebook, "x", True, 3, [])], "the notebook has the second as a text"


def test_exercises_are_kept_by_their_seed(ada: Path) -> None:
    for seed, solved in (("ada", False), ("ada", True), ("ada", False), ("bob", True)):
        progress.record_attempt(EXERCISE, "exercises/00_a", "0.1", solved, seed=seed)
    progress.record_hint(EXERCISE, "exercises/00_a", "0.2", 3, "ada")
    assert work(ada) == [
        (EXERCISE, "exercises/00_a", "0.1", True, 2, []),
        (EXERCISE, "exercises/00_a", "0.1", True, 1, []),
        (EXERCISE, "exercises/00_a", "0.2", False, 0, [3]),
    ]


# --- one file for one learner --------------------------------------------------------------------------------------------


def test_two_learners_on_one_machine_share_nothing(ada: Path, bob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hers = asking()
    hers.answers = hers.asks_now()
    LESSON.attempt("held by nobody", TRIED)
    monkeypatch.chdir(bob / "notebooks")
    his = asking()
    assert his.answers == {} and his.learner != hers.learner
    his.answers = dict.fromkeys(his.asks_now(), "B")
    assert work(bob) == [] and {each["answer"] for each in kept(bob)["answers"].values()} == {"B"}
    assert {each["answer"] for each in kept(ada)["answers"].values()} == {"1", "A"}


def test_the_file_is_found_from_below(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ada / "notebooks" / "mine" / "deep").mkdir(parents=True)
    monkeypatch.chdir(ada / "notebooks" / "mine" / "deep")
    assert progress.find() == ada / FILE and progress.learner() == kept(ada)["learner"]
    (ada / "notebooks" / "mine" / "deep").rmdir()
    assert progress.find() is None


def test_an_update_of_the_series_keeps_what_was_done(ada: Path) -> None:
    stepper = asking()
    stepper.answers = stepper.asks_now()
    LESSON.hint("held by nobody")
    before = kept(ada)
    (ada / "notebooks" / "glossary.ipynb").unlink()
    assert start(ada).brought == ["notebooks/glossary.ipynb"]
    assert kept(ada) == before


def test_two_notebooks_at_once_lose_nothing(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_slowly(path: Path, text: str) -> None:
        time.sleep(0.02)  # the other one would read meanwhile
        write_file(path, text)

    def try_often(id: str) -> None:
        for number in range(10):
            progress.record_attempt(EXERCISE, "x", id, False, f"answer {number}")

    monkeypatch.setattr(progress, "write_file", write_slowly)
    both = [threading.Thread(target=try_often, args=(id,)) for id in "ab"]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert sorted((id, tries) for _, _, id, _, tries, _ in work(ada)) == [("a", 10), ("b", 10)]


def test_the_file_has_a_bound(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MOST", 3)
    stepper = asking()
    for number in range(5):
        progress.record_attempt(EXERCISE, "x", str(number), False)
        progress.record_answers(QUIZ, "x", "quiz", {str(number): "1"}, {str(number): "1"})
        progress.record_step("x", str(number), number)
    assert [each["id"] for each in kept(ada)["work"]] == list(kept(ada)["answers"]) == ["2", "3", "4"]
    assert [each["what"] for each in kept(ada)["steppers"]] == ["2", "3", "4"]
    stepper.answers = stepper.asks_now()
    assert "4" in kept(ada)["answers"]


# --- the page ------------------------------------------------------------------------------------------------------------


def lesson_row() -> NotebookRow:
    return next(row for row in Progress().rows if row.where == LESSON.notebook)


def test_the_page_tells_what_was_done_and_where_to_go_on(ada: Path) -> None:
    page = Progress()
    series = [lesson.notebook for lesson in LESSONS] + [f"exercises/{each.notebook}" for each in SETS]
    assert [row.where for row in page.rows] == series and not any(row.begun for row in page.rows)
    assert "Begin: 0. The whole story in half an hour" in repr(page)
    stepper = LESSON.stepper(STEPPER)
    assert not lesson_row().begun, "run, not yet done"
    first, *more = stepper.asks_now()
    stepper.answers = stepper.asks_now() | {first: "made up"}
    LESSON.attempt("held by nobody", TRIED)
    LESSON.hint("held by nobody", 1)
    LESSON.hint("held by nobody", 2)
    quiz = LESSON.quiz()
    quiz.answers = quiz.asks_now()
    progress.record_attempt(TASK, LESSON.notebook, "two tables, one page", True)
    row = lesson_row()
    assert (row.begun, row.complete, row.hints) == (True, False, 2)
    assert row.predictions == Count(len(more) + 1, len(more) + 1, len(more)) and row.quiz == Count(5, 0, 5)
    assert row.tasks == Count(1, 3, 1) and row.exercises == Count()
    stepper.reached = 5
    shown = Progress()._repr_html_()
    link = f'<a href="{LESSON.notebook}.ipynb">0. The whole story in half an hour, “{STEPPER}”</a>'
    assert f"<b>Go on where you stopped:</b> {link}" in shown and "Progress of Ada" in shown
    told = repr(Progress())
    assert f"◐ 0. The whole story in half an hour      predictions: {len(more) + 1} of {len(more) + 1}, {len(more)} right" in told
    stepper.answers = dict.fromkeys(stepper.asks_now())
    assert lesson_row().predictions.done == 0, "she wants to answer again"


def test_a_lesson_is_complete_when_everything_in_it_was_done(ada: Path) -> None:
    for name in LESSON.shows:
        assert not lesson_row().complete
        stepper = LESSON.stepper(name)
        stepper.answers = stepper.asks_now()
    quiz = LESSON.quiz()
    quiz.answers = quiz.asks_now()
    for task in LESSON.tasks:
        assert not lesson_row().complete
        progress.record_attempt(TASK, LESSON.notebook, task, True)
    assert lesson_row().complete and "✓ 0." in repr(Progress())


def test_an_exercise_is_the_learners_own_variant_and_is_kept(ada: Path, bob: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THPLAB_LEARNER", raising=False)
    scar, series = exercise("3.1"), next(each for each in SETS if each.lesson == "03_splitting_one_pmd")
    hers = scar.variant()
    assert hers.values == scar.variant("Ada").values
    assert not scar.attempt("mmap A").solved and not scar.attempt("\n\n").solved
    scar.hint(1)
    assert work(ada) == [(EXERCISE, f"exercises/{series.notebook}", "3.1", False, 1, [1])]
    row = next(row for row in Progress().rows if row.where == f"exercises/{series.notebook}")
    assert row.exercises == Count(0, len(series.exercises), 0) and row.hints == 1 and row.begun and not row.complete
    scar.attempt("mmap A; write A 0", seed="Bob")  # somebody else's, tried out
    assert len(work(ada)) == 1
    monkeypatch.chdir(bob / "notebooks")
    assert learner() == "Bob" and work(bob) == []


def test_sets_of_exercises_and_one_s_own_notebooks_have_rows(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_notebook(ada / "notebooks" / "exercises" / "00_a.ipynb", new_markdown_cell("# <b>First</b> set"))
    for solved in (False, True):
        progress.record_attempt(EXERCISE, "exercises/00_a", "0.1", solved)
    progress.record_attempt(EXERCISE, "exercises/00_a", "0.2", False)
    monkeypatch.setenv("JPY_SESSION_NAME", str(ada / "notebooks" / "mine.ipynb"))
    stepper = asking()
    stepper.answers = stepper.asks_now()
    exercises, mine = (next(row for row in Progress().rows if row.where == where) for where in ("exercises/00_a", "mine"))
    assert (exercises.title, exercises.exercises) == ("<b>First</b> set", Count(1, 2, 0))
    assert (mine.title, mine.predictions) == ("mine", Count(2, 2, 2))
    monkeypatch.chdir(ada / "notebooks" / "exercises")
    shown = Progress()._repr_html_()
    assert '<a href="00_a.ipynb">&lt;b&gt;First&lt;/b&gt; set' in shown and f'href="../{LESSON.notebook}.ipynb"' in shown


def test_progress_is_exported_and_says_what_it_comes_to(ada: Path, tmp_path: Path) -> None:
    LESSON.attempt("held by nobody", TRIED)
    exported = json.loads(Progress().export(tmp_path / "mine.json").read_text())
    assert exported["name"] == "Ada" and exported["work"] == kept(ada)["work"] and "copied" not in exported
    assert exported["notebooks"][0]["tasks"] == {"done": 0, "of": 3, "first": 0}
    before = (ada / FILE).read_bytes()
    with pytest.raises(BadInput, match="is what is read"):
        Progress().export(ada / FILE)
    assert (ada / FILE).read_bytes() == before


def test_where_nothing_is_kept_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "thplab start DIR" in repr(Progress()) and "thplab start DIR" in Progress()._repr_html_()
    with pytest.raises(BadInput, match="progress is not kept here"):
        Progress().export(tmp_path / "mine.json")


# --- a file that makes no sense ------------------------------------------------------------------------------------------

SPOILED: dict[str, Callable[[Kept], Any]] = {
    "is not JSON": lambda _: "{",
    "lacks work": lambda kept: {name: value for name, value in kept.items() if name != "work"},
    "learner is": lambda kept: kept | {"learner": "../../x"},
    r"work\[0\]": lambda kept: kept | {"work": [{"kind": "task"}]},
    "thplab is 2": lambda kept: kept | {"thplab": 2},
    "answers.q.right is 1": lambda kept: (
        kept | {"answers": {"q": {"kind": "quiz", "where": "", "answer": "1", "right": 1, "first": True}}}
    ),
}


@pytest.mark.parametrize("wrong", SPOILED)
def test_a_spoiled_file_is_named_in_one_error_and_left_as_it_is(ada: Path, wrong: str) -> None:
    spoiled = SPOILED[wrong](kept(ada))
    text = spoiled if isinstance(spoiled, str) else json.dumps(spoiled)
    (ada / FILE).write_text(text)
    for use in (
        lambda: LESSON.stepper(STEPPER),
        lambda: LESSON.quiz(),
        lambda: LESSON.attempt("held by nobody", TRIED),
        lambda: start(ada),
        Progress,
    ):
        with pytest.raises(BadInput, match=rf"{FILE}.*{wrong}"):
            use()
    assert (ada / FILE).read_text() == text


def test_a_page_is_told_that_its_answer_cannot_be_kept(ada: Path) -> None:
    stepper = asking()
    (ada / FILE).write_text("{")
    stepper.answers = stepper.asks_now()
    assert stepper.answer["error"] and f"{FILE} is not JSON" in stepper.says
