"""Submissions that are more alike than students who work alone would make them. It finds, and proves nothing."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path

from thplab.errors import BadInput
from thplab.learn.classes.course import Solutions
from thplab.learn.classes.marking import HandedIn, Mark, mark
from thplab.learn.classes.submission import MARKED, STUDENT, WORDS, answer_cell, cell_id, filled, read_notebook
from thplab.learn.exercises import exercise
from thplab.learn.lessons.tasks import Task
from thplab.scenario import Scenario
from thplab.scenario.text import write_operation

STRANGERS = tuple(f"nobody {number}" for number in range(20))
"""Names that nobody has: how many of their variants an answer solves says how easily it solves somebody else's."""

_OFTEN = 0.25
"""An answer that solves so many strangers' variants says nothing of a friend's."""
_SHORT = 3
"""Operations that say nothing, for many write the same."""
_FEW = 0.2
"""Of all answers, how many may look alike and still be worth a look."""
_WORDS, _ALIKE = 8, 0.85
"""Of answers in words: how many make one, and what share of them is the same."""


@dataclass(frozen=True)
class Submission:
    """What one student handed in for an assignment."""

    student: str
    marks: Mapping[str, Mark]
    words: str
    unread: str = ""

    @property
    def claimed(self) -> str:
        """Whose notebook it says it is."""
        return next((each.claimed for each in self.marks.values()), "")


@dataclass(frozen=True)
class Borrowed:
    """An answer that solves the variants of `owners`, and not that of the student; and how many of STRANGERS have a
    variant that it solves.
    """

    exercise: str
    student: str
    owners: tuple[str, ...]
    strangers: int


@dataclass(frozen=True)
class Alike:
    """Answers that are one when processes and numbers are renamed: `of` have answered, and only these so."""

    exercise: str
    students: tuple[str, ...]
    operations: int
    of: int


def submissions(course: Path, assignment: str) -> list[Submission]:
    """What lies in `submitted` for an assignment, each answer marked and tried on the variants of the others.
    Raises BadInput if nothing was handed out or in.
    """
    found = sorted((course / "release" / assignment).glob("*.ipynb"))
    released = read_notebook(found[0])[0] if found else None
    folders = sorted(path for path in (course / "submitted").glob(f"*/{assignment}") if path.is_dir())
    if not assignment or released is None or not folders:
        lacking = f"no release/{assignment}" if released is None else f"no submitted/STUDENT/{assignment}"
        raise BadInput("course", f"{str(course)!r} has {lacking}", "a course in which something was handed in")
    ids = [MARKED[cell_id(cell)] for cell in released.cells if cell_id(cell) in MARKED]
    read = {folder.parent.name: read_notebook(folder / found[0].name) for folder in folders}
    texts = {student: filled(released, notebook) for student, (notebook, _) in read.items() if notebook is not None}
    asked = []
    for student, given in texts.items():
        others = tuple(other for other in read if other != student) + STRANGERS
        asked += [HandedIn(id, given.get(answer_cell(id), ""), student, given.get(STUDENT, ""), others) for id in ids]
    marks = iter(mark(asked))
    stub = next((cell.source for cell in released.cells if cell_id(cell) == WORDS), "")
    made = []
    for student, (_, why) in read.items():
        words = texts.get(student, {}).get(WORDS, stub)
        told = {id: next(marks) for id in ids} if student in texts else {}
        made.append(Submission(student, told, "" if words == stub else words, why))
    return made


def borrowed(found: Sequence[Submission]) -> Iterator[Borrowed]:
    """Answers that solve another student's variant in place of their own, unless they solve nearly anybody's."""
    students = {each.student for each in found}
    for each in found:
        for id, told in each.marks.items():
            owners = tuple(name for name in dict.fromkeys(told.fits) if name in students)
            strangers = len({*told.fits} & {*STRANGERS})
            if owners and strangers <= _OFTEN * len(STRANGERS):
                yield Borrowed(id, each.student, owners, strangers)


def alike(found: Sequence[Submission], solutions: Solutions) -> Iterator[Alike]:
    """Answers of the same form that few have, short ones and the model solution's form left out."""
    for id in {id: None for each in found for id in each.marks}:
        groups: dict[str, list[str]] = defaultdict(list)
        for each in found:
            if form := _form(id, each.marks[id].answer if id in each.marks else ""):
                groups[form].append(each.student)
        of = sum(map(len, groups.values()))
        for form, students in groups.items():
            if len(students) < 2 or len(students) > max(2, _FEW * of) or form.count(";") < _SHORT:
                continue
            variants = (exercise(id).variant(student) for student in students)
            if id not in solutions or form not in {_form(id, solutions[id](variant)) for variant in variants}:
                yield Alike(id, tuple(students), form.count(";") + 1, of)


def in_words(found: Sequence[Submission]) -> Iterator[tuple[str, str, float]]:
    """Two whose answers in words are nearly the same, and what share of the words is."""
    texts = {each.student: re.findall(r"\w+", each.words.lower()) for each in found}
    for (one, first), (other, second) in combinations(texts.items(), 2):
        if min(len(first), len(second)) >= _WORDS:
            share = SequenceMatcher(None, first, second, autojunk=False).ratio()
            if share >= _ALIKE:
                yield one, other, share


def _form(id: str, answer: str) -> str:
    """A scenario with its processes and numbers named in the order in which they appear; "" for what is none: values
    and schedules consist of their numbers.
    """
    if not isinstance(exercise(id).variant(STRANGERS[0]).work, Task):
        return ""
    try:
        parts = [Scenario.parse(part) for part in answer.split("---")]
    except BadInput:
        return ""
    names: dict[str, str] = {}
    people = {
        str(op.fields[key]) for part in parts for op in part.ops for key in ("proc", "child") if op.fields.get(key)
    }
    lines = []
    for op in (op for part in parts for op in part.ops):
        first, *words = re.findall(r"[A-Za-z_]\w*|\d+|\S", write_operation(op))
        known = (names.setdefault(w, f"#{len(names)}") if w in people or w.isdigit() else w for w in words)
        lines.append(" ".join((first, *known)))
    return "; ".join(lines)


def report(course: Path, assignment: str, solutions: Solutions) -> str:
    """What is worth a look in an assignment, in words."""
    found = submissions(course, assignment)
    copied = [f"  {line}" for line in _borrowed_lines(list(borrowed(found)))]
    students = {each.student for each in found}
    copied += [
        f"  {each.student}: the notebook says at its top that it is {each.claimed}'s"
        for each in found
        if each.claimed != each.student and each.claimed in students
    ]
    formed = [f"  {line}" for line in _alike_lines(list(alike(found, solutions)))]
    said = [f"  {one}, {other}: {share:.0%} of the words" for one, other, share in in_words(found)]
    parts = {
        "Answers to another student's variant:": copied,
        "Scenarios of one form, which few have:": formed,
        "Answers in words that are nearly the same:": said,
        "Not read:": [f"  {each.student}: {each.unread}" for each in found if each.unread],
    }
    lines = [f"{assignment}: {len(found)} submissions."]
    for title, told in parts.items():
        lines += ["", title, *told] if told else []
    if not any(list(parts.values())[:3]):
        lines += ["", "Nothing is more alike than chance makes it."]
    return "\n".join([*lines, "", "This is where to look, and proves nothing: docs/marking.md says why.", ""])


def _borrowed_lines(found: Sequence[Borrowed]) -> Iterator[str]:
    """A line for each student and owner, what counts most first."""
    pairs: dict[tuple[str, str], list[Borrowed]] = defaultdict(list)
    for each in found:
        for owner in each.owners:
            pairs[each.student, owner].append(each)
    for (student, owner), several in sorted(pairs.items(), key=lambda item: -len(item[1])):
        which = ", ".join(each.exercise for each in several)
        chances = ", ".join(str(each.strangers) for each in several)
        yield f"{student}: {which} solve {owner}'s variant; of {len(STRANGERS)} made-up names: {chances}"


def _alike_lines(found: Sequence[Alike]) -> Iterator[str]:
    """A line for each group, with how likely it is if answers are as frequent as here and they worked alone."""
    groups: dict[tuple[str, ...], list[Alike]] = defaultdict(list)
    for each in found:
        groups[each.students].append(each)
    for students, several in sorted(groups.items(), key=lambda item: -len(item[1])):
        chance = math.prod((len(students) / each.of) ** (len(students) - 1) for each in several)
        told = ", ".join(
            f"{e.exercise} ({e.operations} operations, {len(students)} of {e.of} answers)" for e in several
        )
        yield f"{', '.join(students)}: {told}; alone about 1 time in {1 / chance:,.0f}"
