"""A course folder as nbgrader has it, made once for some sets and students."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from thplab.errors import BadInput
from thplab.files import write_file
from thplab.learn.classes.questions import POINTS, WORDS_POINTS, question
from thplab.learn.classes.roster import read_students, written
from thplab.learn.classes.solutions import read_solutions
from thplab.learn.classes.submission import STUDENT, WORDS, answer_cell, mark_cell
from thplab.learn.exercises import SETS, Exercise, ExerciseSet, Variant
from thplab.learn.exercises.notebooks import notebook
from thplab.learn.start import with_links_that_lead

EXAMPLE = "teacher"
"""Whose variant the model solutions in `source` are for."""
STUDENTS = "students.csv"

Solutions = Mapping[str, Callable[[Variant], str]]

_BEGIN, _END = "### BEGIN SOLUTION", "### END SOLUTION"
_WORDS_STUB = "*Your answer, in two sentences.*"
_CONFIG = """\
# Made by `thplab class make`. nbgrader's own commands run in this folder as ever.
from thplab.learn.classes.autograde import templates

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = {course!r}

# What stands in place of a solution in what students get.
c.ClearSolutions.code_stub = {{"python": ""}}
c.ClearSolutions.text_stub = {words!r}

# Nothing of a submission is run. Its answers are laid into the notebook that was handed out, and a process of its own
# marks them as text, with limits. With Execute in place of Marked, a submission could give itself any points.
c.Autograde.exporter_class = "thplab.learn.classes.autograde.AnyNotebook"
c.Autograde.sanitize_preprocessors = [
    "thplab.learn.classes.autograde.Rebuilt",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Autograde.autograde_preprocessors = [
    "thplab.learn.classes.autograde.Marked",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# A feedback page asks no server for anything.
c.HTMLExporter.extra_template_basedirs = templates()
"""


def sets_named(names: str) -> list[ExerciseSet]:
    """The sets of a list such as "03,05", in its order. Raises BadInput if one does not exist or is there twice."""
    known = {number(series): series for series in SETS}
    asked = [name.strip() for name in names.split(",") if name.strip()]
    wrong = [name for name in asked if name not in known]
    if wrong or not asked:
        told = f"{wrong[0]!r} does not exist" if wrong else "names none"
        raise BadInput("set", told, f"some of {', '.join(known)}, with commas between them")
    if len({*asked}) < len(asked):
        raise BadInput("set", f"{names!r} names one twice", "each set once")
    return [known[name] for name in asked]


def number(series: ExerciseSet) -> str:
    """What nbgrader calls the assignment: "03"."""
    return series.notebook.partition("_")[0]


def make(folder: Path, sets: Sequence[ExerciseSet], students: Path, solutions: Path | None = None) -> str:
    """Make a course folder: nbgrader's configuration, a source notebook for each set, and the students; say what comes
    next. Nobody else on this machine may look into it, for it holds solutions, and will hold marks.

    `solutions` is a folder of model solutions; without one the source notebooks have none, and say so. Raises BadInput,
    and nothing is written, if the folder exists or something given makes no sense.
    """
    if folder.exists():
        raise BadInput("course", f"{str(folder)!r} exists", "a new folder: what is there may be somebody's work")
    if not folder.absolute().parent.is_dir():
        raise BadInput("course", f"{str(folder)!r} has no folder to stand in", "a new folder in one that exists")
    people = read_students(students)
    answers = read_solutions(solutions) if solutions else {}
    texts = {
        "nbgrader_config.py": _CONFIG.format(course=folder.absolute().name, words=_WORDS_STUB),
        STUDENTS: written(people),
    }
    for series in sets:
        texts[f"source/{number(series)}/{series.notebook}.ipynb"] = source_notebook(series, answers)
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))
    except OSError as error:
        raise BadInput(
            "course", f"{str(folder)!r} cannot be made ({error.strerror})", "a folder that you may make"
        ) from None
    try:
        for name, text in texts.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            write_file(made / name, text)
        made.rename(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            shutil.rmtree(made)
        raise
    return _next(folder, [number(series) for series in sets], len(people), solutions)


def _next(folder: Path, numbers: Sequence[str], people: int, solutions: Path | None) -> str:
    """What has been made, and what a teacher does with it."""
    have = (
        f"with the model solutions of {solutions}" if solutions else "without model solutions: there is no --solutions"
    )
    first = numbers[0]
    return f"""\
{folder}: {len(numbers)} assignments for {people} students, {have}.
Next, in that folder, with nbgrader (pip install 'thplab[class]') on PATH:
  nbgrader db student import {STUDENTS}
  nbgrader generate_assignment {first}     writes release/{first}, which is what students get
  ... what they hand in goes to submitted/STUDENT/{first}/ ...
  nbgrader autograde {first}
  jupyter lab, menu Nbgrader, Formgrader: give points to the answers in words
  nbgrader generate_feedback {first}
  nbgrader export
  thplab class same {folder} {first}
"""


def source_notebook(series: ExerciseSet, solutions: Solutions) -> str:
    """The teacher's notebook of a set, with nbgrader's marks."""
    plain = notebook(series)
    by_answer = {f"{series.notebook}-{each.id.replace('.', '-')}-answer": each for each in series.exercises}
    cells: list[dict[str, Any]] = []
    for cell in plain["cells"]:
        if cell["id"] in by_answer:
            cells += _answered(cell, by_answer[cell["id"]], solutions)
        elif cell["id"].endswith("-00"):
            cells += [_with(cell, _head("".join(cell["source"])))]
        elif cell["id"].endswith("-import"):
            cells += [cell, _who(cell, solutions)]
        elif cell["id"].endswith("-end"):
            cells += _in_words(cell, series)
        else:
            cells.append(cell)
    text = json.dumps({**plain, "cells": cells}, indent=1, ensure_ascii=False) + "\n"
    return with_links_that_lead(text, f"{series.notebook}.ipynb", set())


def _with(cell: Mapping[str, Any], source: str, id: str = "", **known: Any) -> dict[str, Any]:
    """A cell like another, with another text, and with what nbgrader is to know of it, if anything."""
    told = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3, **known}
    metadata = {"nbgrader": told} if known else {}
    return {**cell, "id": id or cell["id"], "metadata": metadata, "source": source.splitlines(keepends=True)}


def _head(text: str) -> str:
    """What stands first, without the links to what is not here."""
    return re.sub(r"\n\n[^\n]* · [^\n]*(?=\n)", "", text)


def _who(cell: Mapping[str, Any], solutions: Solutions) -> dict[str, Any]:
    missing = (
        [] if solutions else ["# This source has no model solutions: `thplab class make --solutions DIR` puts them in."]
    )
    lines = [
        "from thplab.learn.classes.student import working_as",
        "",
        'student = ""  # your id in this course, between the quotes',
        _BEGIN,
        *missing,
        f'student = "{EXAMPLE}"',
        _END,
        "working_as(student)",
    ]
    return _with(cell, "\n".join(lines), f"{cell['id']}-{STUDENT}", grade_id=STUDENT, solution=True)


def _answered(cell: Mapping[str, Any], each: Exercise, solutions: Solutions) -> Iterator[dict[str, Any]]:
    """The cell of an answer, and that of its mark."""
    if each.id in solutions:
        solution = f'answer = """\n{solutions[each.id](each.variant(EXAMPLE))}\n"""'
    else:
        solution = f"# There is no model solution of {each.id} here."
    text = (
        f'answer = """\n\n"""\n{_BEGIN}\n{solution}\n{_END}\nverdict = exercise("{each.id}").attempt(answer)\nverdict'
    )
    yield _with(cell, text, grade_id=answer_cell(each.id), solution=True)
    told = "# Your teacher has the text above marked by a program of its own.\n# The points stand below this cell."
    text = f"{told}\nassert verdict.solved, verdict"
    name = cell["id"].removesuffix("answer") + "mark"
    place = _with(cell, text, name, grade_id=mark_cell(each.id), grade=True, locked=True, points=POINTS[each.level])
    place["metadata"]["tags"] = ["raises-exception"]  # so that the cells below run, too
    yield place


def _in_words(cell: Mapping[str, Any], series: ExerciseSet) -> Iterator[dict[str, Any]]:
    """The question that is answered in words, and the cell for that."""
    yield _with(cell, f"## In words\n\n{question(series.notebook)} A person reads it.", f"{series.notebook}-question")
    yield _with(
        cell, _WORDS_STUB, f"{series.notebook}-{WORDS}", grade_id=WORDS, grade=True, solution=True, points=WORDS_POINTS
    )
