"""What a submission may be, and what is said to it: text is read, in a process of its own, and nothing else happens."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from solutions.model import written

from thplab.errors import BadInput
from thplab.learn.classes.answer_text import LONGEST, NoAnswer, answer_in, student_in
from thplab.learn.classes.marking import HandedIn, Mark, mark
from thplab.learn.classes.solutions import checkout_solutions, read_solutions
from thplab.learn.classes.submission import answer_cell, filled, read_notebook, rebuilt
from thplab.learn.exercises import EXERCISES, SETS


SOLUTIONS = read_solutions(checkout_solutions() or Path())


def right(id: str, student: str) -> str:
    return SOLUTIONS[id](EXERCISES[id].variant(student))


@pytest.mark.parametrize(
    ("cell", "answer"),
    [
        ('exercise("3.1").attempt("mmap A")', "mmap A"),
        ('exercise("3.1").attempt(answer="mmap A")', "mmap A"),
        ('answer = "mmap A"\nexercise("3.1").attempt(answer)', "mmap A"),
        ('answer: str = "mmap A" "; exit A"', "mmap A; exit A"),
        ('answer = "1"\nanswer = "2"', "2"),
        ('v = exercise("3.1").attempt("1")\nexercise("3.1").attempt("2")', "2"),
        ('exercise("3.2").attempt("1")\nanswer = "2"', "2"),
        ('answer = "1"\nexercise("3.1").attempt("2")', "2"),
    ],
)
def test_an_answer_is_read_and_not_run(cell: str, answer: str) -> None:
    assert answer_in(cell, "3.1") == answer


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("", "there is no answer"),
        ('while True: pass\nexercise("3.2").attempt("x")', "there is no answer"),
        ('answer = """\nmmap A', "Are the quotes"),
        ('answer = f"{1}"', "one text in quotes"),
        ('answer = "mmap A"; answer += "; exit A"; answer = str(answer)', "one text in quotes"),
        ('exercise("3.1").attempt(open("/etc/passwd").read())', "one text in quotes"),
        ("\x00", "no Python"),
        ("-" * 15_000 + "1", "no Python"),
        ("x" * (LONGEST + 1), "20,000 at most"),
    ],
)
def test_what_is_no_answer_is_told_why(cell: str, said: str) -> None:
    with pytest.raises(NoAnswer, match=said):
        answer_in(cell, "3.1")


def test_whose_notebook_it_is_can_be_read() -> None:
    assert student_in('student = "ada "\nworking_as(student)') == "ada"
    assert student_in("student = 7") == student_in("student = ''") == student_in("student =") == ""


HEAVY = "mmap {a} 8thp; " + "".join(f"fill {{a}} {n}thp 1thp; " for n in range(8)) + "mprotect {a} 0 8thp r; mprotect {a} 0 8thp rw;" * 300


@cache
def marks() -> dict[str, Mark]:
    """The marks of several answers from one process: one that ends badly must not touch the next."""
    heavy = f'answer = """{written(HEAVY, EXERCISES["3.3"].variant("ada").values)}"""'
    half = "\n".join(line if number % 2 else "77" for number, line in enumerate(right("3.4", "ada").split("\n")))
    asked = {
        "right": HandedIn("3.1", f'answer = """\n{right("3.1", "ada")}\n"""', "ada", 'student = "ada"', picture=True),
        "half": HandedIn("3.4", f'answer = """\n{half}\n"""', "ada", picture=True),
        "heavy": HandedIn("3.3", heavy, "ada"),
        "another's": HandedIn("3.2", f'answer = """\n{right("3.2", "eve")}\n"""', "ada", 'student = "eve"', others=("ben", "cleo"), picture=True),
        "empty": HandedIn("3.1", 'answer = """\n\n"""', "ada", picture=True),
        "odd": HandedIn("3.1", 'answer = "mmap A; fork A <b>\\ud800</b>"', "ada", 'student = "\\ud800"', picture=True),
        "broken": HandedIn("3.1", 'answer = """', "ada"),
        "last": HandedIn("3.5", f'exercise("3.5").attempt("""\n{right("3.5", "ada")}\n""")', "ada"),
    }
    return dict(zip(asked, mark(list(asked.values()), seconds=0.5), strict=True))


def test_a_right_answer_is_marked_with_a_picture() -> None:
    found = marks()["right"]
    assert found.solved and found.name == "3.1 A scar" and found.head.startswith("solved") and not found.missing
    assert found.question == EXERCISES["3.1"].variant("ada").work.question
    assert found.picture.startswith("<svg") and "=" in found.strip and marks()["last"].solved


def test_values_are_counted_cell_by_cell() -> None:
    found = marks()["half"]
    assert (found.right, found.of) == (4, 8) and not found.solved and not found.picture
    assert any("77" in line for line in found.missing)


def test_an_answer_that_takes_too_long_is_stopped() -> None:
    assert "longer than 0.5 s" in marks()["heavy"].problem and not marks()["heavy"].solved


def test_another_students_answer_is_told_from_ones_own() -> None:
    found = marks()["another's"]
    assert not found.solved and found.claimed == "eve" and "eve" in found.fits and "ada" not in found.fits and found.missing


def test_nothing_and_nonsense_get_a_sentence() -> None:
    assert marks()["empty"].problem == "nothing is answered" and not marks()["empty"].picture
    assert "�" not in marks()["odd"].claimed and marks()["odd"].missing and "<b>" not in marks()["odd"].picture
    assert "quotes" in marks()["broken"].problem and not marks()["broken"].solved


def test_a_memory_limit_holds() -> None:
    a = EXERCISES["3.3"].variant("x").values["a"]
    text = f"mmap {a}; fill {a} 0 1thp; mprotect {a} 0 1 r; " + "".join(f"fork {a} P{number}; " for number in range(70))
    (found,) = mark([HandedIn("3.3", f'answer = "{text}"', "x")], mib=1)
    assert "1 MiB of memory" in found.problem


def test_a_model_solution_of_every_set_gets_full_marks() -> None:
    firsts = [series.exercises[0].id for series in SETS]
    found = mark([HandedIn(id, f'answer = """\n{right(id, "ada")}\n"""', "ada") for id in firsts])
    assert {id: each.missing for id, each in zip(firsts, found, strict=True) if not each.solved} == {}


def test_only_exercises_that_exist_are_marked() -> None:
    with pytest.raises(BadInput, match="one of"):
        mark([HandedIn("99", "", "ada")])


def cell(source: str, id: str = "", solution: bool = True) -> object:
    known = {"grade_id": id, "solution": solution, "grade": not solution, "locked": not solution, "schema_version": 3, "points": 1}
    return new_code_cell(source, metadata={"nbgrader": known} if id else {})


RELEASED = new_notebook(cells=[new_markdown_cell("Hello"), cell("answer", answer_cell("3.1")), cell("assert", "mark-3-1", False)])


def test_the_last_of_two_cells_counts_that_says_something() -> None:
    twice = new_notebook(cells=[cell(text, answer_cell("3.1")) for text in ("one", "two", "answer")])
    assert filled(RELEASED, twice) == {answer_cell("3.1"): "two"}
    bare = new_notebook(cells=[new_code_cell('x = exercise( "3.1" ).attempt("three")')])
    assert filled(RELEASED, bare) == {answer_cell("3.1"): 'x = exercise( "3.1" ).attempt("three")'}
    assert filled(RELEASED, new_notebook()) == {answer_cell("3.1"): "answer"}


def test_a_notebook_is_laid_into_the_one_that_was_handed_out() -> None:
    mark_of_hers = cell("4000", "mark-3-1", False)
    odd = new_markdown_cell("<script>x</script>", metadata={"nbgrader": 7})
    made = rebuilt(RELEASED, new_notebook(cells=[mark_of_hers, odd, cell("hers", answer_cell("3.1")), new_code_cell("answer")]))
    assert [each.source for each in made.cells][:3] == ["Hello", "hers", "assert"]
    assert [each.source for each in made.cells][4:] == ["<script>x</script>"] and made.cells[-1].cell_type == "code"
    torn = rebuilt(RELEASED, None, "it is <b>torn</b>")
    assert "&lt;b>torn" in torn.cells[0].source and [each.source for each in torn.cells][1:] == ["Hello", "answer", "assert"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"nbformat": 4, "cells": 5}', '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [7]}', "[" * 5000])
def test_a_file_that_is_no_notebook_is_told_why(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text(text)
    found, why = read_notebook(tmp_path / "x.ipynb")
    assert found is None and why
    assert read_notebook(tmp_path / "none.ipynb")[0] is None
