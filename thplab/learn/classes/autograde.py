"""What nbgrader calls in place of running a notebook; nbgrader_config.py of a course names it. Needs nbgrader."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import nbgrader
from nbconvert.exporters import NotebookExporter
from nbformat.v4 import new_notebook, new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Float, Integer

from thplab.learn.classes import submission
from thplab.learn.classes.marking import MIB, SECONDS, HandedIn, Mark, mark
from thplab.learn.classes.submission import Notebook

_UNREAD = "thplab_unread"
_PAGE = (
    '<div style="background:#fff;color:#111;max-width:60em;font-family:sans-serif;font-size:14px">'
    "<p><b>{name}</b></p>{body}</div>"
)


def templates() -> list[str]:
    """The folders in which nbgrader finds what a feedback page is made of: thplab's own, then nbgrader's."""
    own, theirs = Path(__file__).parent / "templates", Path(nbgrader.__file__).parent
    return [str(own), str(theirs / "server_extensions" / "formgrader" / "templates")]


class AnyNotebook(NotebookExporter):
    """nbgrader's exporter, which also takes a file that is no notebook: as an empty one."""

    def from_filename(self, filename: str, resources: Any = None, **kw: Any) -> Any:
        """Convert a file, as nbconvert says it."""
        path = Path(filename)
        notebook, why = submission.read_notebook(path)
        if why:
            self.log.warning("%s cannot be read: %s", filename, why)
        named = {"metadata": {"name": path.stem, "path": str(path.parent)}, _UNREAD: why}
        resources = {**(resources or {}), **named}
        return self.from_notebook_node(notebook or new_notebook(), resources, **kw)  # type: ignore[no-untyped-call]


class Rebuilt(NbGraderPreprocessor):  # type: ignore[misc]
    """Before anybody else looks: lay what was handed in into the notebook that was handed out."""

    def preprocess(self, nb: Notebook, resources: Any) -> tuple[Notebook, Any]:
        """The notebook as `release` has it, with the student's answers. Raises FileNotFoundError without that."""
        told = resources["nbgrader"]
        course = self.parent.parent.coursedir
        path = Path(course.format_path(course.release_directory, ".", told["assignment"]), f"{told['notebook']}.ipynb")
        released, why = submission.read_notebook(path)
        if released is None:
            raise FileNotFoundError(f"{path}: {why}; nbgrader generate_assignment writes it")
        unread = resources.get(_UNREAD, "")
        return submission.rebuilt(released, None if unread else nb, unread), resources


class Marked(NbGraderPreprocessor):  # type: ignore[misc]
    """In place of running the notebook: have each answer marked for the variant of the student in whose folder it lies,
    and put the mark under its cell, where nbgrader looks for points.
    """

    seconds = Float(SECONDS, help="CPU time that one answer may take").tag(config=True)
    mib = Integer(MIB, help="MiB that one answer may take beside the simulator itself").tag(config=True)

    def preprocess(self, nb: Notebook, resources: Any) -> tuple[Notebook, Any]:
        """The notebook with the marks."""
        student = resources["nbgrader"]["student"]
        texts = {submission.cell_id(cell): cell.source for cell in nb.cells}
        cells = [cell for cell in nb.cells if cell.cell_type == "code" and _is_marked(cell)]
        ours = [cell for cell in cells if submission.cell_id(cell) in submission.MARKED]
        handed_in = []
        for cell in ours:
            id = submission.MARKED[submission.cell_id(cell)]
            text = texts.get(submission.answer_cell(id), "")
            handed_in.append(HandedIn(id, text, student, texts.get(submission.STUDENT, ""), picture=True))
        for cell in cells:
            if cell not in ours:
                why = "thplab marks its own exercises only, and runs no cell of a submission. Mark this one by hand."
                cell.outputs = [new_output("error", ename="NotMarked", evalue=why, traceback=[why])]
        for cell, found in zip(ours, mark(handed_in, self.seconds, self.mib), strict=True):
            if found.ours:
                self.log.error("%s, %s: %s", student, submission.cell_id(cell), found.ours)
            points = round(float(cell.metadata["nbgrader"]["points"]) * found.right / found.of, 2)
            data = {
                "text/plain": str(points),
                "text/html": page(found, student, points, cell.metadata["nbgrader"]["points"]),
            }
            cell.outputs = [new_output("execute_result", data, execution_count=None)]
        return nb, resources


def _is_marked(cell: Any) -> bool:
    told = cell.metadata.get("nbgrader", {})
    return bool(told.get("grade")) and not told.get("solution")


def page(found: Mark, student: str, points: float, most: float) -> str:
    """A mark as HTML: what was asked, the verdict, what is missing, whose variant the answer fits if it is not this
    student's, and the state that it reaches.
    """
    missing = [*found.missing, *([found.problem] if found.problem else [])]
    told = f"{points:g} of {most:g} points: {found.head or 'not yet.'}"
    body = f'<p style="white-space:pre-line">{html.escape(found.question)}</p>'
    body += f"<p><b>{html.escape(told)}</b></p>"
    if missing:
        body += f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in missing)}</ul>"
    if found.missing and found.claimed and found.claimed != student:
        body += f"<p>{html.escape(_other_name(found, student))}</p>"
    if found.picture:
        summed = f": references = mappings + pins: {found.strip}" if "=" in found.strip else ""
        caption = html.escape(f"The state in which this answer ends{summed}.")
        body += f'<figure style="margin:8px 0">{found.picture}<figcaption>{caption}</figcaption></figure>'
    return _PAGE.format(name=html.escape(found.name), body=body)


def _other_name(found: Mark, student: str) -> str:
    claimed = found.claimed
    told = (
        f"At its top this notebook says that it is {claimed}'s; it lies in the folder of {student}, and is marked so."
    )
    return f"{told} The answer solves the variant of {claimed}." if claimed in found.fits else told
