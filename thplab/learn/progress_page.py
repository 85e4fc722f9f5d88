"""What a learner has done over the series, as a page that a notebook shows."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from thplab.errors import BadInput
from thplab.files import refuse_input, write_file
from thplab.learn.exercises.series import SETS
from thplab.learn.folders import notebook_folder
from thplab.learn.lessons.lesson import Lesson
from thplab.learn.lessons.series import LESSONS
from thplab.learn.progress import EXERCISE, QUIZ, TASK, Kept, find, read

NOT_KEPT = "No progress is kept here. `thplab start DIR` makes a folder of your own with the series, which keeps it."
SET = 5
"""Questions of a quiz that a lesson needs."""

_COLUMNS = ("", "predictions", "quiz", "tasks", "exercises", "hints")
_STYLE = """<style>
.thp-progress table { border-collapse: collapse; }
.thp-progress :is(th, td) { padding: 3px 10px; text-align: left; vertical-align: top; border-bottom: 1px solid #8886; }
.thp-progress th[scope=row] { font-weight: normal; }
</style>"""


@dataclass(frozen=True)
class Count:
    """How many of how many were done (`of` is 0 where nobody knows), and how many of them right at the first try."""

    done: int = 0
    of: int = 0
    first: int = 0

    def __str__(self) -> str:
        if not self.done and not self.of:
            return "–"
        many = f"{self.done} of {self.of}" if self.of else f"{self.done}"
        return f"{many}, {self.first} right at first" if self.done else many


@dataclass(frozen=True)
class NotebookRow:
    """What was done in one notebook: `where` is its path below the folder of notebooks, without its ending."""

    where: str
    title: str
    begun: bool
    complete: bool
    predictions: Count
    quiz: Count
    tasks: Count
    exercises: Count
    hints: int

    @property
    def cells(self) -> Sequence[str]:
        """What the page says of it, from the second column on."""
        counts = (self.predictions, self.quiz, self.tasks, self.exercises)
        return (*map(str, counts), str(self.hints or "–"))


class Progress:
    """The learner's progress, as it is now: shown in a notebook as a page, else as text.

    It is that of the learner in whose folder the program works; where there is none, it says so. Raises BadInput that
    names the file if it makes no sense.
    """

    def __init__(self) -> None:
        self._path = find()
        self._kept = read(self._path) if self._path else None
        self._folder = self._path.parent / "notebooks" if self._path else notebook_folder()
        self.rows = tuple(self._rows(self._kept)) if self._kept else ()

    def export(self, path: str | Path) -> Path:
        """Write all that is kept, and what it comes to, as JSON, and return where.

        Raises BadInput where nothing is kept, for the file of progress itself, and if it cannot be written.
        """
        output = Path(path)
        if self._path is None or self._kept is None:
            raise BadInput("progress", "is not kept here", "a notebook in a folder that thplab start made")
        refuse_input(output, (self._path,))
        kept = {name: value for name, value in self._kept.items() if name != "copied"}
        text = json.dumps(kept | {"notebooks": [asdict(row) for row in self.rows]}, indent=1, ensure_ascii=False)
        write_file(output, text + "\n")
        return output

    def __repr__(self) -> str:
        if self._kept is None:
            return NOT_KEPT
        width = max(len(row.title) for row in self.rows) + 2
        lines = [f"{_mark(row)} {row.title:{width}}{_told(row)}" for row in self.rows]
        where, what, _ = self._stop(self._kept)
        return "\n".join([f"Progress{self._whose(self._kept)}", *lines, f"{what}: {where}"])

    def _repr_html_(self) -> str:
        if self._kept is None:
            return f"<p>{html.escape(NOT_KEPT)}</p>"
        head = "".join(f'<th scope="col">{name or "notebook"}</th>' for name in _COLUMNS)
        body = "".join(f"<tr>{self._named(row)}<td>{'</td><td>'.join(row.cells)}</td></tr>" for row in self.rows)
        title, what, notebook = self._stop(self._kept)
        go = f"<p><b>{html.escape(what)}:</b> {self._link(notebook, title)}</p>"
        about = "Of the predictions those count that you have met. ✓ complete, ◐ begun."
        return (
            f'<div class="thp-progress">{_STYLE}{go}<table><caption>Progress{html.escape(self._whose(self._kept))}. '
            f"{about}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def _whose(self, kept: Kept) -> str:
        return f" of {kept['name']}" if kept["name"] else ""

    def _named(self, row: NotebookRow) -> str:
        return f'<th scope="row">{_mark(row)} {self._link(row.where, row.title)}</th>'

    def _link(self, where: str, title: str) -> str:
        """A link to a notebook from the one that runs, or plain text if it is not there."""
        file = self._folder / f"{where}.ipynb"
        if not where or not os.path.isfile(file):
            return html.escape(title)
        return f'<a href="{quote(Path(os.path.relpath(file)).as_posix())}">{html.escape(title)}</a>'

    def _stop(self, kept: Kept) -> tuple[str, str, str]:
        """Where to go on, in words; what that is; and the notebook."""
        stopped = kept["stopped"]
        if stopped is None:
            return self.rows[0].title, "Begin", self.rows[0].where
        title = next((row.title for row in self.rows if row.where == stopped["where"]), stopped["where"])
        return f"{title or 'a notebook of your own'}, “{stopped['what']}”", "Go on where you stopped", stopped["where"]

    def _rows(self, kept: Kept) -> Iterator[NotebookRow]:
        """The lessons, the sets of exercises that are there, and what else was worked in."""
        known = [lesson.notebook for lesson in LESSONS]
        known += [f"exercises/{path.stem}" for path in sorted((self._folder / "exercises").glob("*.ipynb"))]
        for lesson in LESSONS:
            yield self._row(kept, lesson.notebook, lesson)
        sizes = {f"exercises/{series.notebook}": len(series.exercises) for series in SETS}
        for where in known[len(LESSONS) :]:
            yield self._row(kept, where, exercises=sizes.get(where, 0))
        entries: Iterable[Kept] = (*kept["answers"].values(), *kept["work"])
        for where in sorted({each["where"] for each in entries} - {*known}):
            yield self._row(kept, where)

    def _row(self, kept: Kept, where: str, lesson: Lesson | None = None, exercises: int = 0) -> NotebookRow:
        steppers = [each for each in kept["steppers"] if each["where"] == where]
        asked = {id for each in steppers for id in each["asks"]}
        given = [each for each in kept["answers"].values() if each["where"] == where and each["answer"] is not None]
        predicted = [kept["answers"][id] for id in asked & kept["answers"].keys()]
        predicted = [each for each in predicted if each["answer"] is not None]
        quiz = [each for each in given if each["kind"] == QUIZ]
        work = [each for each in kept["work"] if each["where"] == where]
        tasks = _solved(work, TASK, len(lesson.tasks) if lesson else 0)
        solved = _solved(work, EXERCISE, exercises or len([each for each in work if each["kind"] == EXERCISE]))
        return NotebookRow(
            where,
            self._title(where),
            bool(given or work or any(each["step"] is not None for each in steppers)),
            0 < exercises <= solved.done
            or (lesson is not None
            and lesson.shows.keys() <= {each["what"] for each in steppers}
            and len(predicted) >= len(asked)
            and len(quiz) >= SET
            and tasks.done >= len(lesson.tasks)),
            Count(len(predicted), len(asked), sum(each["first"] for each in predicted)),
            Count(len(quiz), 0, sum(each["first"] for each in quiz)),
            tasks,
            solved,
            sum(len(each["hints"]) for each in work),
        )

    def _title(self, where: str) -> str:
        """The first heading of a notebook, else its name."""
        try:
            cells = json.loads((self._folder / f"{where}.ipynb").read_text(encoding="utf-8"))["cells"]
            text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        except (OSError, ValueError, KeyError, TypeError):
            text = ""
        found = re.search(r"^# (.+)$", text, re.M)
        return found[1] if found else where or "a notebook of your own"


def _solved(work: Sequence[Kept], kind: str, of: int) -> Count:
    done = [each for each in work if each["kind"] == kind and each["solved"]]
    return Count(len(done), of, sum(each["tries"] == 1 for each in done))


def _mark(row: NotebookRow) -> str:
    return "✓" if row.complete else "◐" if row.begun else "·"


def _told(row: NotebookRow) -> str:
    told = [f"{name}: {cell}" for name, cell in zip(_COLUMNS[1:], row.cells, strict=True) if cell != "–"]
    return "; ".join(told)
