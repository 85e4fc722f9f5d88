"""Who works in a notebook that a teacher has handed out."""

from __future__ import annotations

import os

from thplab.errors import BadInput
from thplab.learn.exercises.learner import VARIABLE


def working_as(student: str) -> None:
    """From here on the exercises of this notebook are those of `student`, an id as the teacher has it; say so.

    An empty id leaves it to the environment, in which a course's server may have put one. Raises BadInput if there is
    none, either.
    """
    if student.strip():
        os.environ[VARIABLE] = student.strip()
    if not os.environ.get(VARIABLE, "").strip():
        raise BadInput("student", "is empty", 'your id in this course, as student = "anna"')
    print(
        f"The exercises below are those of {os.environ[VARIABLE].strip()}, who must be you: others have other numbers."
    )
