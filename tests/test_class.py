"""A class from `thplab class make` to its feedback pages, with nbgrader's own commands."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from class_of_six import ROSTER, hand_in, nbgrader

from thplab.cli import main
from thplab.errors import BadInput
from thplab.learn.classes.course import make, sets_named, source_notebook
from thplab.learn.classes.questions import POINTS, question
from thplab.learn.classes.solutions import checkout_solutions, read_solutions
from thplab.learn.classes.student import working_as
from thplab.learn.classes.submission import MARKED, WORDS, answer_cell, cell_id, mark_cell, read_notebook
from thplab.learn.exercises import EXERCISES, SETS
from thplab.learn.exercises.learner import VARIABLE

NAME = "03_splitting_one_pmd"
IDS = ("3.1", "3.2", "3.3", "3.4", "3.5")


class Course(NamedTuple):
    folder: Path
    said: str
    """What nbgrader said while it marked."""


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """Six students, one set, everything done by nbgrader's own commands."""
    root = tmp_path_factory.mktemp("class")
    students, folder = root / "students.csv", root / "thp"
    students.write_text(ROSTER)
    assert main(["class", "make", str(folder), "--set", "03", "--students", str(students)]) == 0
    with (folder / "nbgrader_config.py").open("a") as config:
        config.write("c.Marked.seconds = 2\n")
    nbgrader(folder, "db", "student", "import", "students.csv")
    nbgrader(folder, "generate_assignment", "03")
    solutions = checkout_solutions()
    assert solutions
    hand_in(folder, read_solutions(solutions))
    said = nbgrader(folder, "autograde", "03")
    nbgrader(folder, "generate_feedback", "03")
    nbgrader(folder, "export")
    return Course(folder, said)


def cells(course: Course, student: str) -> dict[str, Any]:
    """The cells of a marked notebook by their ids."""
    notebook, why = read_notebook(course.folder / "autograded" / student / "03" / f"{NAME}.ipynb")
    assert notebook is not None, why
    return {cell_id(cell) or f"#{number}": cell for number, cell in enumerate(notebook.cells)}


def points(course: Course, student: str) -> dict[str, float]:
    """What each exercise got."""
    found = cells(course, student)
    return {id: float(found[mark_cell(id)].outputs[0].data["text/plain"]) for id in IDS}


def told(course: Course, student: str, id: str) -> str:
    """What is said under an exercise, as HTML."""
    return str(cells(course, student)[mark_cell(id)].outputs[0].data["text/html"])


FULL = {id: float(POINTS[EXERCISES[id].level]) for id in IDS}
NONE = dict.fromkeys(IDS, 0.0)


@pytest.mark.parametrize(
    ("student", "expected"),
    [("ada", FULL), ("ben", {**NONE, "3.1": FULL["3.1"], "3.3": FULL["3.3"], "3.4": FULL["3.4"] / 2}), ("cleo", NONE), ("dora", NONE), ("eve", NONE), ("fred", NONE)],
)
def test_each_gets_the_points_that_the_answers_deserve(course: Course, student: str, expected: dict[str, float]) -> None:
    assert points(course, student) == expected


def test_the_gradebook_has_the_same_and_the_names(course: Course) -> None:
    rows = {row["student_id"]: row for row in csv.DictReader((course.folder / "grades.csv").read_text().splitlines())}
    assert rows.keys() == {"ada", "ben", "cleo", "dora", "eve", "fred"}
    for student, row in rows.items():
        assert float(row["raw_score"]) == sum(points(course, student).values()), student
        assert float(row["max_score"]) == sum(FULL.values()) + 2, "the words are worth 2, which a person gives"
    assert (rows["eve"]["first_name"], rows["eve"]["last_name"]) == ("Eve", "Cheat")


@pytest.mark.parametrize(
    ("student", "id", "said"),
    [
        ("ada", "3.1", "solved. Your scenario took"),
        ("ben", "3.2", "nothing is answered"),
        ("ben", "3.4", "write tables: 77"),
        ("cleo", "3.1", "must be"),
        ("cleo", "3.2", "wriet"),
        ("dora", "3.1", "there is no answer"),
        ("dora", "3.2", "Are the quotes"),
        ("dora", "3.3", "one text in quotes"),
        ("dora", "3.4", "no Python"),
        ("dora", "3.5", "too small"),
        ("eve", "3.1", "says that it is ada&#x27;s; it lies in the folder of eve"),
        ("eve", "3.2", "The answer solves the variant of ada."),
        ("eve", "3.4", "nothing is answered"),
        ("fred", "3.1", "nothing is answered"),
    ],
)
def test_each_is_told_what_is_missing(course: Course, student: str, id: str, said: str) -> None:
    assert said in told(course, student, id)
    assert EXERCISES[id].name in told(course, student, id)


def test_nothing_of_a_submission_was_run(course: Course) -> None:
    assert not list(course.folder.rglob("i-was-run")) and not Path("/tmp/thplab-i-was-run").exists()
    found = cells(course, "eve")
    assert found[mark_cell("3.2")].source.startswith("# Your teacher") and found[mark_cell("3.2")].metadata["nbgrader"]["points"] == FULL["3.2"]
    assert answer_cell("3.4") in found, "she has deleted it"
    assert "fred" in course.said and "cannot be read" in course.said


def test_a_feedback_page_shows_the_state_and_no_markup_of_a_student(course: Course) -> None:
    def page(student: str) -> str:
        return (course.folder / "feedback" / student / "03" / f"{NAME}.html").read_text()

    assert page("ada").count("<svg") == 4, "four scenarios; values reach no state"
    assert "references = mappings + pins: 8 = 8 + 0" in page("ada")
    assert "<script>document" not in page("eve") and "<b>private" not in page("ben") and "They were not run" in page("eve")
    assert "cannot be read" in page("fred")
    assert "<script src" not in page("ada") and not re.search(r"<(script|link|img)[^>]*https?:", page("ada")), "it asks no server"
    assert EXERCISES["3.1"].variant("cleo").work.question.split("\n")[0][:40] in page("cleo")


def test_what_students_get_holds_no_solution(course: Course) -> None:
    released = (course.folder / "release" / "03" / f"{NAME}.ipynb").read_text()
    source = (course.folder / "source" / "03" / f"{NAME}.ipynb").read_text()
    solutions = read_solutions(checkout_solutions() or Path())
    for id in IDS:
        answer = json.dumps(solutions[id](EXERCISES[id].variant("teacher")).split("\n")[0])[1:-1]
        assert answer in source and (len(answer) < 10 or answer not in released), id
    assert "SOLUTION" not in released and '"teacher"' not in released.replace("\\", "")
    names: dict[str, object] = {}
    notebook, _ = read_notebook(course.folder / "release" / "03" / f"{NAME}.ipynb")
    assert notebook is not None and cell_id(notebook.cells[-1]) == WORDS and question(NAME) in notebook.cells[-2].source
    with pytest.raises(BadInput, match="student is empty"):
        exec("\n".join(cell.source for cell in notebook.cells[1:3]), names)
    assert VARIABLE not in os.environ


# --- what is made -----------------------------------------------------------------------------------------------------


def test_a_source_notebook_is_marked_for_nbgrader_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    text = source_notebook(sets_named("04")[0], read_solutions(checkout_solutions() or Path()))
    names: dict[str, Any] = {}
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        assert "](../" not in source, "links lead nowhere where this is handed out"
        if cell["cell_type"] == "code" and ".show()" not in source:
            exec(source, names)  # the cells of the marks assert that the answers are right
    assert os.environ[VARIABLE] == "teacher"


@pytest.mark.parametrize("series", SETS, ids=lambda series: series.notebook)
def test_every_set_can_be_handed_out_without_solutions(series: Any) -> None:
    found = [cell["metadata"]["nbgrader"] for cell in json.loads(source_notebook(series, {}))["cells"] if cell["metadata"]]
    ids = [each["grade_id"] for each in found]
    assert len({*ids}) == len(ids) == 2 * len(series.exercises) + 2
    assert {MARKED[id] for id in ids if id in MARKED} == {each.id for each in series.exercises}
    assert "has no model solutions" in source_notebook(series, {}) and all(re.fullmatch(r"[\w-]+", id) for id in ids)


def test_who_works_is_said_or_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(BadInput, match="is empty"):
        working_as(" ")
    working_as(" ada ")
    assert os.environ[VARIABLE] == "ada" and "those of ada" in capsys.readouterr().out
    working_as("")
    assert os.environ[VARIABLE] == "ada", "a server may have said who it is"


@pytest.mark.parametrize(
    ("sets", "roster", "said"),
    [
        ("99", "id\nada", "set '99' does not exist"),
        ("", "id\nada", "set names none"),
        ("03,03", "id\nada", "names one twice"),
        ("03", "name\nada", "has the columns name"),
        ("03", "", "has the columns none"),
        ("03", "id\n", "has no students"),
        ("03", "id\nada\n\nAda\n", "line 4 has the id 'Ada', as line 2 has"),
        ("03", "id,email\n,x@y\n", "line 2 has the id ''"),
        ("03", "id\n../etc\n", "line 2 has the id '../etc'"),
        ("03", 'id\n"a\x00b"\n', "line 2 has the id"),
    ],
)
def test_bad_input_is_one_error_and_writes_nothing(sets: str, roster: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.csv").write_text(roster)
    assert main(["class", "make", str(tmp_path / "c"), "--set", sets, "--students", str(tmp_path / "s.csv")]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes(b"\xef\xbb\xbfID;Email\r\n 7 ;a@b\r\n")
    (tmp_path / "c").mkdir()
    with pytest.raises(BadInput, match="exists"):
        make(tmp_path / "c", sets_named("03"), tmp_path / "s.csv")
    with pytest.raises(BadInput, match="no folder to stand in"):
        make(tmp_path / "none" / "c", sets_named("03"), tmp_path / "s.csv")
    with pytest.raises(BadInput, match="holds no model"):
        make(tmp_path / "d", sets_named("03"), tmp_path / "s.csv", tmp_path / "c")
    assert {path.name for path in tmp_path.iterdir()} == {"c", "s.csv"} and not list((tmp_path / "c").iterdir())
    assert "2 assignments for 1 students" in make(tmp_path / "d", sets_named("03, 11"), tmp_path / "s.csv")
    assert (tmp_path / "d").stat().st_mode & 0o077 == 0
    assert (tmp_path / "d" / "students.csv").read_text() == "id,first_name,last_name,email,lms_user_id\n7,,,a@b,\n"


def test_a_copied_variant_is_told(course: Course, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["class", "same", str(course.folder), "03"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"eve: 3\.1.* 3\.5 solve ada's variant; of 20 made-up names: [01],", told)
    assert "eve: the notebook says at its top that it is ada's" in told
    assert "fred: it is no notebook" in told and not re.search(r"^  (ada|ben|cleo):", told, re.MULTILINE)
