"""The series of exercises, in the order of the lessons."""

from __future__ import annotations

from thplab.errors import BadInput
from thplab.learn.exercises.exercise import Exercise
from thplab.learn.exercises.sets import (
    bugs,
    callers,
    counting,
    footprint,
    merged,
    old_bargain,
    own_kernel,
    page_tables,
    races,
    real_numbers,
    refused,
    split_pmd,
    story,
)

SETS = (
    story.SET,
    page_tables.SET,
    old_bargain.SET,
    split_pmd.SET,
    counting.SET,
    refused.SET,
    footprint.SET,
    callers.SET,
    merged.SET,
    own_kernel.SET,
    bugs.SET,
    races.SET,
    real_numbers.SET,
)

EXERCISES = {each.id: each for series in SETS for each in series.exercises}


def exercise(id: str) -> Exercise:
    """The exercise of that id, such as "0.2". Raises BadInput if there is none."""
    if id not in EXERCISES:
        raise BadInput("exercise", f"{id!r} does not exist", "one of " + ", ".join(EXERCISES))
    return EXERCISES[id]
