"""What holds of every lesson; the test of each lesson calls it with the solutions, which stand nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from thplab.lessons.lesson import Lesson

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"


def check_tasks(
    lesson: Lesson, solutions: Mapping[str, str], nearly: Mapping[str, Sequence[str]], geometries: Sequence[str] = ("",)
) -> None:
    """Each task can be solved, each near miss is told why it is none, and no hint is a solution."""
    assert solutions.keys() == nearly.keys() == lesson.tasks.keys()
    for geometry in geometries:
        for task in lesson.tasks:
            verdict = lesson.attempt(task, solutions[task], geometry)
            assert verdict.solved and f"{task}: solved" in repr(verdict), verdict
            assert nearly[task]
            for scenario in nearly[task]:
                verdict = lesson.attempt(task, scenario, geometry)
                assert not verdict.solved and "not yet" in repr(verdict), scenario
            for hint in lesson.tasks[task].hints:
                begun = hint.partition("Begin with: ")[2].partition(". ")[0].rstrip(".")
                assert not begun or not lesson.attempt(task, begun, geometry).solved, hint


def answers(lesson: Lesson, show: str) -> list[str]:
    """The actual answers to the questions of a stepper, in their order."""
    trace = lesson.shows[show].trace()
    questions = sorted((p.on(trace) for p in lesson.shows[show].questions(trace)), key=lambda question: int(question["at"]))
    return [str(question["actual"]) for question in questions]


def prose(lesson: Lesson) -> str:
    """The text of a notebook's markdown cells, without the addresses of its links, one space between words."""
    cells = json.loads((NOTEBOOKS / f"{lesson.notebook}.ipynb").read_text())["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"\s+", " ", re.sub(r"\[([^\[\]]*)\]\([^()]*(?:\(\))?\)", r"\1", text))
