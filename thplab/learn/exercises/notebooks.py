"""The notebooks of the exercises: `python -m thplab.learn.exercises.notebooks notebooks/exercises` writes them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.exercise import Exercise, ExerciseSet, TwoScenarios
from thplab.learn.exercises.laws import Law
from thplab.learn.exercises.series import SETS
from thplab.learn.lessons.tasks import RaceTask, Task

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
TERMS = {
    "reference count": "refcount,-reference-count",
    "PageDoubleMap": "DoubleMap",
    "huge zero page": "huge-zero-page",
    "huge page": "huge-page",
    "page table": "page-table",
    "_nr_pages_mapped": "_nr_pages_mapped",
    "folio": "folio",
    "subpage": "subpage",
    "PTE": "PGD,-PUD,-PMD,-PTE",
    "PMD": "PGD,-PUD,-PMD,-PTE",
    "VMA": "VMA",
    "FOLL_PIN": "pin",
    "pin": "pin",
    "mapping": "mapping",
    "reference": "reference",
    "kpagecount": "mapcount",
    "smaps": "smaps",
    "Pss": "smaps",
    "race": "race",
    "invariant": "invariant",
}
"""Words of objectives -> where the glossary explains them; a word before those that it holds."""
FORMS: dict[type, str] = {
    TwoScenarios: "two scenarios, with a line `---` between them",
    Task: "a scenario: operations, one to a line or with `;` between them",
    RaceTask: "a schedule, as the race stepper shows it: `0x10 1x6`",
    Answers: "a value for each cell, one to a line, in the order of the question",
    Law: "a law: a comparison, or `if A and B then C`",
}
"""What an answer is, by the kind of work."""


def notebook(series: ExerciseSet) -> dict[str, Any]:
    """A notebook, as JSON can hold it. It says nothing that was drawn, so it is the same for everybody."""
    return {
        "cells": list(_cells(series)),
        "metadata": METADATA,
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cells(series: ExerciseSet) -> Iterator[dict[str, Any]]:
    yield _cell(f"{series.notebook}-00", "markdown", _head(series))
    yield _cell(f"{series.notebook}-import", "code", "from thplab.learn.exercises import exercise")
    seen: set[str] = set()
    for each in series.exercises:
        name = f"{series.notebook}-{each.id.replace('.', '-')}"
        yield _cell(name, "markdown", _about(each, seen))
        yield _cell(f"{name}-show", "code", f'exercise("{each.id}").show()')
        yield _cell(f"{name}-answer", "code", f'exercise("{each.id}").attempt("""\n\n""")')
    yield _cell(f"{series.notebook}-end", "markdown", _links(series))


def _cell(name: str, kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": name, "metadata": {}, "source": source.splitlines(keepends=True)}
    return cell | {"execution_count": None, "outputs": []} if kind == "code" else cell


def _head(series: ExerciseSet) -> str:
    minutes = sum(each.minutes for each in series.exercises)
    lesson = f"[the lesson](../{series.lesson}.ipynb)" if series.lesson else "the lessons that they name"
    return f"""# Exercises: {series.title}

{_links(series)}

**Time:** {minutes} minutes for all {len(series.exercises)}. **You need:** {lesson}.

{series.about}

Every exercise is a family: your variant is drawn from your name, and another learner has other numbers. `show()` \
opens what you work with, which carries the question; `attempt()` takes your answer as text and says which rule it \
breaks, if any. If you are stuck, `exercise("{series.exercises[0].id}").hint(1)` names the rule, level 2 says where to \
look, and level 3 gives a way to begin. Attempts cost nothing.

`exercise("{series.exercises[0].id}").solution()` plays a model solution to your variant, once a key lies in your \
folder: a file `thplab-key.json`, which a teacher hands out when the time is up, or which you make yourself from the \
checkout. A key keeps honest people honest, and no more than that: the solutions stand in the public repository, and \
the simulator answers most questions to whoever asks it."""


def _linked(text: str, seen: set[str]) -> str:
    """A text in which each term of the glossary is a link, unless it was one before."""

    def link(found: re.Match[str]) -> str:
        anchor = TERMS[found["term"]]
        if anchor in seen:
            return found[0]
        seen.add(anchor)
        return f"[{found[0]}](../glossary.ipynb#{anchor})"

    return re.sub(rf"(?<!\w)(?P<term>{'|'.join(map(re.escape, TERMS))})s?(?!\w)", link, text)


def _about(each: Exercise, seen: set[str]) -> str:
    form = FORMS[type(each.variant("anybody").work)]
    return (
        f"## {each.id} {each.title}\n\n"
        f"*{each.level}, {each.kind}, {each.minutes} minutes.* **You practise to** {_linked(each.objective, seen)}. "
        f"**An answer is** {form}."
    )


def _links(series: ExerciseSet) -> str:
    at = SETS.index(series)
    before = SETS[at - 1] if at else None
    after = SETS[at + 1] if at + 1 < len(SETS) else None
    links = [
        f"[← {before.title}]({before.notebook}.ipynb)" if before else "",
        f"[Lesson](../{series.lesson}.ipynb)" if series.lesson else "",
        "[Glossary](../glossary.ipynb)",
        f"[{after.title} →]({after.notebook}.ipynb)" if after else "",
    ]
    return " · ".join(filter(None, links))


def text(series: ExerciseSet) -> str:
    """The file."""
    return json.dumps(notebook(series), indent=1, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Write all notebooks into a folder."""
    for series in SETS:
        (folder / f"{series.notebook}.ipynb").write_text(text(series), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
