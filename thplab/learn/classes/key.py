"""`thplab class key`: the model answers to students' variants, as a file that is handed out when the time is up."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from thplab.errors import BadInput
from thplab.files import write_file
from thplab.learn.classes.course import sets_named
from thplab.learn.classes.roster import read_students
from thplab.learn.classes.solutions import checkout_solutions, read_solutions
from thplab.learn.exercises import SETS, Exercise, Variant
from thplab.learn.exercises.key import FILES, key_text


def make_key(options: argparse.Namespace) -> str:
    """Write the key that `thplab class key` was asked for; say what to do with it.

    Each answer has been tried. Raises BadInput, and writes nothing, for students, sets or solutions that make no
    sense, for an answer that does not solve its variant, and for a file that a notebook would not find.
    """
    output: Path = options.output
    if not output.match(FILES) or not output.parent.is_dir():
        raise BadInput("output", f"is {str(output)!r}", f"{FILES}, which notebooks look for, in a folder that exists")
    named = learners(options)
    sets = sets_named(options.set) if options.set else SETS
    exercises = [each for series in sets for each in series.exercises]
    found = answers(exercises, named, read_solutions(solution_folder(options.solutions)))
    write_file(output, key_text(found))
    for_whom = f"{len(named)} learners" if len(named) > 1 else "1 learner"
    return (
        f"{output}: {len(exercises)} model answers for {for_whom}. Where it lies in the folder of a learner's "
        'notebooks, or in one above, exercise("ID").solution() plays hers.\n'
    )


def learners(options: argparse.Namespace) -> list[str]:
    """Whose variants are asked for. Raises BadInput as read_students() does."""
    if options.students is None:
        return [options.learner]
    return [each["id"] for each in read_students(options.students)]


def solution_folder(given: Path | None) -> Path:
    """Where the model solutions are, by default in the checkout. Raises BadInput if there are none."""
    found = given or checkout_solutions()
    if found is None:
        right = "--solutions DIR, the folder tests/solutions of a checkout"
        raise BadInput("solutions", "are not here: thplab was installed from a wheel", right)
    return found


def answers(
    exercises: Sequence[Exercise], named: Iterable[str], solutions: Mapping[str, Callable[[Variant], str]]
) -> dict[str, dict[str, str]]:
    """The model answers by learner and exercise, each tried. Raises BadInput if one is missing, or does not solve."""
    found: dict[str, dict[str, str]] = {}
    for learner in named:
        for each in exercises:
            text = solutions[each.id](each.variant(learner)) if each.id in solutions else ""
            if not each.attempt(text, learner).solved:
                wrong = f"do not solve {each.id} of {learner!r}"
                raise BadInput("solutions", wrong, "those of this version of thplab")
            found.setdefault(learner, {})[each.id] = text
    return found
