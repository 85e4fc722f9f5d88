"""What holds of every lesson; the test of each lesson calls it with the solutions, which stand nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from thplab.learn.lessons.lesson import Lesson
from thplab.learn.lessons.places import op_end, op_start
from thplab.machine.trace import Setup, record

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
ATOMIC = ("rmw", "bit_rmw")
"""The costs that the lessons call atomic operations: on counters, and on lock bits."""


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


def cost(scenario: str, kernel: str, names: Sequence[str] = ATOMIC, operation: int = -1) -> int:
    """What an operation of a scenario costs at full size, the last one if no other is named."""
    trace = record(scenario, Setup(kernel, "X86_64"))
    index = range(len(trace.scenario.ops))[operation]
    before, after = trace[op_start(trace, index) - 1].state.costs, trace[op_end(trace, index)].state.costs
    return sum(after.get(name, 0) - before.get(name, 0) for name in names)


def prose(lesson: Lesson) -> str:
    """The text of a notebook's markdown cells, without the addresses of its links, one space between words."""
    cells = json.loads((NOTEBOOKS / f"{lesson.notebook}.ipynb").read_text())["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"\s+", " ", re.sub(r"\[([^\[\]]*)\]\([^()]*(?:\(\))?\)", r"\1", text))
