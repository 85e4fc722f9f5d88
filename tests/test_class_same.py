"""Which submissions are told to be alike, and which are not, although they are."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from thplab.errors import BadInput
from thplab.learn.classes.marking import Mark
from thplab.learn.classes.same import STRANGERS, Alike, Borrowed, Submission, alike, borrowed, in_words, submissions
from thplab.learn.classes.solutions import checkout_solutions, read_solutions
from thplab.learn.exercises import EXERCISES

MARK = Mark("", "", "", "", "", "", 0, 1, "", (), "", "", ())
SOLUTIONS = read_solutions(checkout_solutions() or Path())


def handed_in(answers: dict[str, str], id: str = "3.2") -> list[Submission]:
    return [Submission(student, {id: replace(MARK, answer=answer)}, "") for student, answer in answers.items()]


ODD = "mmap {0}; read {0} 0; write {0} 0; mprotect {0} {1} 1 r; madvise {0} {1} 1 cold"
MANY = {f"s{number}": "mmap A; write A 0; " + "read A 1; " * number for number in range(5, 12)}


def test_renaming_and_reordering_hide_nothing() -> None:
    found = handed_in({"ada": ODD.format("A", 3), "ben": ODD.format("K", 5).replace("; ", "\n  "), **MANY})
    assert list(alike(found, SOLUTIONS)) == [Alike("3.2", ("ada", "ben"), 5, 9)]
    region = "mmap {0} region=S thps=2thp; write {0} 0 region=S; read {0} 1 region=S; exit {0}"
    turned = "mmap {0} thps=2thp region=S; write {0} 0 region=S; read {0} 1 region=S; exit {0}"
    assert [each.students for each in alike(handed_in({"x": region.format("A"), "y": turned.format("B")}), {})] == [("x", "y")]


def test_numbers_that_differ_among_themselves_are_told_apart() -> None:
    found = handed_in({"ada": ODD.format("A", 3), "ben": ODD.format("K", 5).replace("5 1 cold", "6 1 cold"), **MANY})
    assert not list(alike(found, SOLUTIONS))


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"a": "mmap A; write A 0; exit A", "b": "mmap B; write B 0; exit B"}, "it is short"),
        ({name: ODD.format("A", 3) for name in "abc"} | MANY, "three of ten is not few"),
        ({"a": "", "b": "", **MANY}, "nothing is written"),
        ({"a": "wriet A 0; a; b; c; d", "b": "wriet A 0; a; b; c; d"}, "it cannot be read"),
    ],
)
def test_what_many_would_write_is_not_told(answers: dict[str, str], why: str) -> None:
    assert not list(alike(handed_in(answers), SOLUTIONS)), why


def test_the_form_of_the_model_solution_is_not_told() -> None:
    each = EXERCISES["3.2"]
    like = next(name for name in STRANGERS if each.variant(name).values["k"] == each.variant("ada").values["k"])
    answers = {student: SOLUTIONS["3.2"](each.variant(student)) for student in ("ada", like)} | MANY
    assert not list(alike(handed_in(answers), SOLUTIONS))
    assert len(list(alike(handed_in(answers), {}))) == 1, "without solutions nobody knows that it is the model's"


def test_values_and_schedules_have_no_form() -> None:
    assert not list(alike(handed_in({"a": "1\n2\n3\n4\n5", "b": "1\n2\n3\n4\n5"}, "3.4"), {}))
    assert not list(alike(handed_in({"a": "0x10 1x6 0x3 1x4", "b": "0x10 1x6 0x3 1x4"}, "R1"), {}))


def test_an_answer_to_another_students_variant_is_told_unless_it_fits_nearly_all() -> None:
    def fits(*names: str) -> list[Submission]:
        return [Submission("ada", {"3.1": MARK}, ""), Submission("eve", {"3.1": replace(MARK, fits=names)}, "")]

    assert list(borrowed(fits("ada", STRANGERS[0]))) == [Borrowed("3.1", "eve", ("ada",), 1)]
    assert not list(borrowed(fits("ada", *STRANGERS[:10]))) and not list(borrowed(fits("somebody else")))


def test_words_are_compared_without_case_and_signs() -> None:
    told = {"ada": "The PMD belongs to one process, so the others never notice.", "ben": "the pmd belongs to one process so the others never notice it", "cleo": "I do not know.", "dora": "I do not know."}
    found = [Submission(student, {}, words) for student, words in told.items()]
    assert [(one, other) for one, other, _ in in_words(found)] == [("ada", "ben")], "short answers are often the same"


@pytest.mark.parametrize("assignment", ["03", "", "../03"])
def test_a_course_without_submissions_is_refused(assignment: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=re.escape(str(tmp_path))):
        submissions(tmp_path, assignment)
