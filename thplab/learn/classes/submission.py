"""A notebook that a student has handed in, whatever is in it, laid into the form of the one that was handed out."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from thplab.learn.exercises import EXERCISES

STUDENT = "student"
WORDS = "in-words"
"""Ids of cells, as nbgrader keeps them: who works here, and the answer in words."""

_LARGEST = 50_000_000
_MOST_EXTRA, _LONGEST = 50, 20_000
_TAG = re.compile(r"<(?=[A-Za-z/!?])")

Notebook = nbformat.NotebookNode


def answer_cell(exercise: str) -> str:
    """The id of the cell that holds the answer to an exercise."""
    return f"answer-{_slug(exercise)}"


def mark_cell(exercise: str) -> str:
    """The id of the cell under which its mark stands."""
    return f"mark-{_slug(exercise)}"


def _slug(exercise: str) -> str:
    return exercise.replace(".", "-")


MARKED = {mark_cell(id): id for id in EXERCISES}
"""The exercise by the id of the cell under which its mark stands."""


def read_notebook(path: Path) -> tuple[Notebook | None, str]:
    """The notebook in a file; or None, and why it cannot be read."""
    try:
        if path.stat().st_size > _LARGEST:
            return None, f"it has {path.stat().st_size:,} bytes; {_LARGEST:,} at most are read"
        notebook = nbformat.reads(path.read_text(encoding="utf-8-sig"), as_version=4)
        sound = all(isinstance(each.source, str) and isinstance(each.metadata, dict) for each in notebook.cells)
    except Exception as error:  # whatever is wrong with it, the others are to be marked
        return None, f"it is no notebook ({type(error).__name__}: {str(error)[:200]})"
    return (notebook, "") if sound else (None, "its cells are no cells of a notebook")


def cell_id(cell: Any) -> str:
    """What nbgrader calls a cell; "" for one that it does not know."""
    known = cell.metadata.get("nbgrader")
    found = known.get("grade_id", "") if isinstance(known, dict) else ""
    return found if isinstance(found, str) else ""


def is_solution(cell: Any) -> bool:
    """Whether a cell is for the student to fill."""
    return bool(cell_id(cell)) and cell.metadata["nbgrader"].get("solution") is True


def filled(released: Notebook, submitted: Notebook) -> dict[str, str]:
    """What a student wrote into each cell that was hers to fill, by id.

    A cell may be there twice: the last one counts that is not as it was handed out. One whose id is gone is known by
    the exercise that it attempts. What is not there is as it was handed out.
    """
    given = {cell_id(cell): str(cell.source) for cell in released.cells if is_solution(cell)}
    as_handed_out = dict(given)
    for cell in submitted.cells:
        name = cell_id(cell) or _attempted(cell)
        if name in given and cell.source.strip() != as_handed_out[name].strip():
            given[name] = cell.source if len(cell.source) <= 5 * _LONGEST else _cut(cell.source)
    return given


def _attempted(cell: Any) -> str:
    found = re.search(r"""\bexercise\(\s*["']([\w.]+)["']\s*\)\s*\.attempt\(""", cell.source)
    return answer_cell(found[1]) if cell.cell_type == "code" and found else ""


def rebuilt(released: Notebook, submitted: Notebook | None, why: str = "") -> Notebook:
    """The notebook that was handed out, with what the student wrote in its place; her other cells stand at the end, as
    text. Without a notebook it is as it was handed out, and says `why`.

    Neither her markup nor her metadata is kept: whoever opens the page trusts it.
    """
    notebook = copy.deepcopy(released)
    given = filled(released, submitted) if submitted else {}
    for cell in notebook.cells:
        if is_solution(cell):
            text = given.get(cell_id(cell), cell.source)
            cell.source = text if cell.cell_type == "code" else _TAG.sub("&lt;", text)
    if submitted is None:
        told = f"**The file that was handed in cannot be read: {_TAG.sub('&lt;', why)}.** So nothing is answered below."
        notebook.cells.insert(0, new_markdown_cell(told))
        return notebook
    more = _others(released, submitted.cells, given)
    if more:
        notebook.cells.append(new_markdown_cell("## Other cells of what was handed in\n\nThey were not run."))
        notebook.cells += [new_code_cell(_cut(text)) for text in more[:_MOST_EXTRA]]
    return notebook


def _others(released: Notebook, cells: Iterable[Any], given: Mapping[str, str]) -> list[str]:
    """The texts of cells that were not handed out."""
    known = {cell.source.strip() for cell in released.cells} | {text.strip() for text in given.values()} | {""}
    marked = {cell_id(cell) for cell in released.cells if not is_solution(cell)} - {""}
    return [cell.source for cell in cells if cell.source.strip() not in known and cell_id(cell) not in marked]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n... and {len(text) - _LONGEST:,} characters more"
