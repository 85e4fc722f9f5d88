"""Sets of exercises on paper: a sheet for each learner, with her variants and room to write; the teacher's sheet."""

from __future__ import annotations

import argparse
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import groupby

from thplab.learn.classes.course import sets_named
from thplab.learn.classes.key import answers, learners, solution_folder
from thplab.learn.classes.solutions import read_solutions, read_wrong
from thplab.learn.exercises import Exercise, ExerciseSet, Variant
from thplab.learn.exercises.answers import LEDGER, STEPPER, Answers
from thplab.learn.exercises.exercise import TwoScenarios, Work
from thplab.learn.exercises.laws import Law
from thplab.learn.lessons.places import op_start
from thplab.learn.lessons.tasks import RaceTask, Task
from thplab.learn.printing import for_paper, paper_file, write_paper
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Trace, record
from thplab.show.diagrams import SIMPLE, Sheet
from thplab.study.explore.race import MOVES, RETURNS, Race

LINES = 8
"""Lines to write on where no budget says how many operations are enough."""
_TOLD = 3
"""Wrong attempts that the teacher's sheet tells of one exercise."""
_WIDE = 70
"""Characters of choices that find room beside a cell."""


def write_sheets(options: argparse.Namespace) -> str:
    """Write what `thplab class paper` was asked for; say where.

    Raises BadInput for sets, students or solutions that make no sense, and as write_paper() does; then nothing has
    been written.
    """
    output = paper_file(options.output)
    sets, named = sets_named(options.set), learners(options)
    if options.teacher:
        folder = solution_folder(options.solutions)
        page = teachers_sheet(sets, named, read_solutions(folder), read_wrong(folder))
    else:
        page = sheets(sets, named)
    return f"{write_paper(page, output)}\n"


def sheets(sets: Sequence[ExerciseSet], named: Sequence[str]) -> str:
    """A page with a sheet for each learner and set."""
    body = "".join(_sheet(series, learner) for learner in named for series in sets)
    return _page(", ".join(series.title for series in sets), body)


def teachers_sheet(
    sets: Sequence[ExerciseSet],
    named: Sequence[str],
    solutions: Mapping[str, Callable[[Variant], str]],
    wrong: Mapping[str, Sequence[Callable[[Variant], str]]],
) -> str:
    """A page with the rule of each exercise, the likely wrong attempts at the first learner's variant and what is said
    to them, and all learners' answers. Raises BadInput for solutions that do not solve the variants.
    """
    found = answers([each for series in sets for each in series.exercises], named, solutions)
    body = ""
    for series in sets:
        told = "".join(_told(each, named, found, wrong.get(each.id, ())) for each in series.exercises)
        body += f'<section class="sheet"><h1>{html.escape(series.title)}: teacher\'s sheet</h1>{told}</section>'
    return _page(", ".join(series.title for series in sets) + ": teacher's sheet", body)


def _page(title: str, body: str) -> str:
    style = files("thplab.learn.classes").joinpath("paper.css").read_text(encoding="utf-8")
    return for_paper(title, style, body)


# --- a learner's sheet ------------------------------------------------------------------------------------------------


def _sheet(series: ExerciseSet, learner: str) -> str:
    minutes = sum(each.minutes for each in series.exercises)
    whose = f"These are the variants of <b>{html.escape(learner)}</b>; others have other numbers."
    head = (
        f"<h1>{html.escape(series.title)}</h1>"
        f'<p class="who"><span>{whose}</span>'
        f"<span>{len(series.exercises)} exercises, {minutes} minutes</span></p>"
        '<p class="who"><span class="blank">Name</span><span class="blank">Date</span></p>'
    )
    return f'<section class="sheet">{head}{"".join(_asked(each, learner) for each in series.exercises)}</section>'


def _asked(each: Exercise, learner: str) -> str:
    work = each.variant(learner).work
    asked = f'<p class="question">{html.escape(work.question)}</p>'
    return f'<section class="exercise">{_heading(each)}{asked}{_state(work)}{_form(work)}</section>'


def _heading(each: Exercise) -> str:
    about = f"{each.level}, {each.kind}, {each.minutes} minutes"
    return f"<h2>{html.escape(each.name)} <small>{about}</small></h2>"


def _state(work: Work) -> str:
    """What a question is about and a learner would look at in the widget: a state, or numbered steps."""
    if isinstance(work, Task) and work.start:
        return _picture(record(work.start, work.setup), "The state at the beginning.")
    if isinstance(work, Answers) and work.shown == LEDGER:
        covered = "The state in the end; its counters are covered."
        return _picture(_first(work).trace(), covered, "covered")
    if isinstance(work, Answers) and work.shown == STEPPER:
        trace = _first(work).trace()
        begins = op_start(trace, len(trace.scenario.ops) - 1)
        return _steps(f"The steps of {trace.scenario.line().split('; ')[-1]}", begins, list(_texts(trace, begins)))
    if isinstance(work, RaceTask):
        alone = (_alone(work, cpu) for cpu in range(len(work.raced.cpus)))
        return "".join(_steps(f"CPU {cpu} alone: {line}", 1, texts) for cpu, (line, texts) in enumerate(alone))
    return ""


def _picture(trace: Trace, caption: str, kind: str = "") -> str:
    svg = Sheet.of([trace[-1].state], SIMPLE).svg(0)
    return f'<figure class="{kind}">{svg}<figcaption>{caption}</figcaption></figure>'


def _texts(trace: Trace, first: int) -> Iterator[str]:
    return (frame.step.text if frame.step else "it returns" for frame in trace.frames[first:])


def _alone(work: RaceTask, cpu: int) -> tuple[str, list[str]]:
    """What a CPU does, and its steps if no other one moves."""
    race = Race(work.raced)
    while race.ahead(race.schedule, cpu).state in (MOVES, RETURNS):
        race.move(cpu)
    return race.pair.does(cpu), list(_texts(race.trace, 1))


def _steps(title: str, first: int, texts: Sequence[str]) -> str:
    rows = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f'<div class="steps"><p>{html.escape(title)}</p><ol start="{first}">{rows}</ol></div>'


def _form(work: Work) -> str:
    """Where the answer is written."""
    if isinstance(work, Answers):
        rows = "".join(f"<tr><th>{html.escape(cell)}</th>{_cell(each)}</tr>" for cell, each in work.cells.items())
        return f'<table class="cells">{rows}</table>'
    if isinstance(work, RaceTask | Law):
        return f'<p class="blank">{"Law" if isinstance(work, Law) else "Schedule"}</p><p class="blank"></p>'
    if isinstance(work, TwoScenarios):
        halves = "".join(f"<div><p>{which} scenario</p>{_lines(work)}</div>" for which in ("First", "Second"))
        return f'<div class="halves">{halves}</div>'
    return _lines(work)


def _cell(question: Question) -> str:
    choices = [str(choice) for choice in question.answers]
    if not choices or sum(map(len, choices)) > _WIDE:
        return '<td class="write"></td>'
    return "<td>" + "".join(f'<span class="choice">☐ {html.escape(choice)}</span>' for choice in choices) + "</td>"


def _lines(work: Task) -> str:
    begun = work.start.split("; ") if work.start else []
    blank = (work.budget or LINES) - len(begun)
    rows = "".join(f"<li><code>{html.escape(op)}</code></li>" for op in begun) + "<li></li>" * blank
    return f'<ol class="lines">{rows}</ol>'


# --- the teacher's sheet ----------------------------------------------------------------------------------------------


def _told(
    each: Exercise,
    named: Sequence[str],
    found: Mapping[str, Mapping[str, str]],
    wrong: Sequence[Callable[[Variant], str]],
) -> str:
    variant = each.variant(named[0])
    work = variant.work
    parts = [
        f"<p><b>It is about:</b> {html.escape(each.objective)}. <b>The wrong idea:</b> {html.escape(each.myth)}.</p>",
        f"<p><b>The rule:</b> {html.escape(work.hints[0])}</p>",
        f'<p class="question"><b>{html.escape(named[0])} is asked:</b> {html.escape(work.question)}</p>',
    ]
    if isinstance(work, Answers):
        parts += _slips(work)
    else:
        parts += [_attempt(each, attempt(variant), named[0]) for attempt in wrong[:_TOLD]]
    rows = "".join(
        f"<tr><th>{html.escape(learner)}</th><td><code>{html.escape(_line(each, learner, found))}</code></td></tr>"
        for learner in named
    )
    return f'<section class="exercise">{_heading(each)}{"".join(parts)}<table class="answers">{rows}</table></section>'


def _line(each: Exercise, learner: str, found: Mapping[str, Mapping[str, str]]) -> str:
    """An answer on one line, values with the names of their cells."""
    work, answer = each.variant(learner).work, found[learner][each.id]
    if isinstance(work, Answers):
        return ", ".join(f"{cell}: {question.actual}" for cell, question in work.cells.items())
    return answer.replace("\n---\n", "  ---  ").replace("\n", "; ")


def _slips(work: Answers) -> Iterator[str]:
    """What a wrong value tells, cell by cell; equal sentences once."""
    for cell, question in work.cells.items():
        for why, slips in groupby(question.slips.items(), key=lambda slip: slip[1]):
            values = [str(value) for value, _ in slips]
            told = f"{values[0]} to {values[-1]}" if len(values) > 2 else " or ".join(values)
            yield f'<p class="wrong"><b>{html.escape(f"{cell}: {told}")}</b> {html.escape(why)}</p>'


def _attempt(each: Exercise, attempt: str, learner: str) -> str:
    said = "; ".join(each.attempt(attempt, learner).missing)
    return f'<p class="wrong"><code>{html.escape(attempt)}</code> {html.escape(said)}.</p>'


def _first(work: Answers) -> Question:
    return next(iter(work.cells.values()))
