"""What every notebook of the series keeps: its parts, its links, figures that are up to date, nothing given away, no machinery."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from lesson_checks import NOTEBOOKS, ROOT

from thplab.errors import BadInput
from thplab.learn.lessons import story
from thplab.learn.lessons.figures import FIGURES, stamp
from thplab.learn.lessons.lesson import Lesson
from thplab.learn.lessons.series import LESSONS

every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.notebook)


def cells(path: Path) -> list[nbformat.NotebookNode]:
    found: list[nbformat.NotebookNode] = nbformat.read(path, 4).cells
    return found


def test_every_notebook_belongs_to_a_lesson_or_is_for_all_of_them() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} - {"glossary", "progress"} == {lesson.notebook for lesson in LESSONS}
    assert [lesson.number for lesson in LESSONS] == list(range(len(LESSONS)))


def test_a_scenario_that_cannot_be_carried_out_is_told_where() -> None:
    assert "stops at operation 2, unpin dma, after step" in repr(story.lesson.attempt("held by nobody", "mmap A; unpin dma"))
    assert "cannot be read: line 1, 'wriet A 0'" in repr(story.lesson.attempt("held by nobody", "mmap A; wriet A 0"))


def test_what_does_not_exist_is_told() -> None:
    for wrong in (
        lambda: story.lesson.attempt("nothing", "mmap A;"),
        lambda: story.lesson.ask("nothing"),
        lambda: story.lesson.hint("held by nobody", 4),
        lambda: story.lesson.stepper("nothing"),
    ):
        with pytest.raises(BadInput, match="expected"):
            wrong()


@every_lesson
def test_tasks_ask_and_hint(lesson: Lesson, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(lesson.tasks) >= 2
    for name, task in lesson.tasks.items():
        lesson.ask(name)
        for level in (1, 2, 3):
            lesson.hint(name, level)
        told = capsys.readouterr().out
        assert task.question in told and all(h in told for h in task.hints)


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_drawn_from_what_it_shows_now(name: str) -> None:
    svg = (ROOT / "assets" / f"{name}.svg").read_text()
    assert svg.startswith("<svg") and svg.rstrip().endswith(stamp(FIGURES[name].sheet().dot())), "run make assets"


@every_lesson
def test_each_figure_is_used(lesson: Lesson) -> None:
    text = "\n".join(cell.source for cell in cells(NOTEBOOKS / f"{lesson.notebook}.ipynb"))
    assert lesson.figures.keys() == set(re.findall(rf"\.\./assets/{lesson.notebook[:2]}_(\w+)\.svg", text))


@every_lesson
def test_a_figure_with_alt_text_stands_above_each_stepper(lesson: Lesson) -> None:
    shown = 0
    for before, cell in itertools.pairwise(cells(NOTEBOOKS / f"{lesson.notebook}.ipynb")):
        for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", before.source):
            assert (NOTEBOOKS / target).is_file(), target
            assert len(alt) > 40
        if cell.cell_type == "code" and "lesson.stepper(" in cell.source:
            assert re.search(r"\]\(\.\./assets/", before.source), cell.source
            shown += 1
    assert shown >= len(lesson.shows)


@every_lesson
def test_a_notebook_gives_no_solution_away_and_holds_no_machinery(lesson: Lesson) -> None:
    for source in (cell.source for cell in cells(NOTEBOOKS / f"{lesson.notebook}.ipynb") if cell.cell_type == "code"):
        assert len(source.splitlines()) <= 12, "short cells"
        assert not re.search(r"^\s*(def|class|for|while|lambda)\b", source, re.MULTILINE)
        for name, scenario in re.findall(r'attempt\("([^"]+)",\s*"""(.*?)"""', source, re.DOTALL):
            assert not lesson.attempt(name, scenario).solved


def test_the_readme_example_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(example.strip().splitlines()) <= 13
    exec(example, {})
    told = capsys.readouterr().out
    assert told.startswith("-16\n")
    assert "head _count 514 = A: 1 PMD + B: 512 PTEs + dma: pin of subpage 256" in told


# --- the parts that each notebook has ---------------------------------------------------------------------------------

PARTS = ("Predict", "Run", "Investigate", "Modify", "Make", "Key points", "Check yourself", "References")
INSTRUCTOR = ("Minutes", "Before you start", "Talk track", "Expected wrong answers", "Projector check")


@every_lesson
def test_a_notebook_has_its_parts_in_their_order(lesson: Lesson) -> None:
    if lesson.number == 0:
        return  # the story is told along the cover letter, and says so
    sources = [cell.source for cell in cells(NOTEBOOKS / f"{lesson.notebook}.ipynb")]
    assert re.match(rf"# {lesson.number}\. \S", sources[0])
    for part in ("**Time:**", "**You need:**", "**After this lesson you can**", "**You may ignore**"):
        assert part in sources[0], part
    headings = "\n".join(re.findall(r"^## .*", "\n".join(sources), re.MULTILINE))
    places = [headings.find(part) for part in PARTS]
    assert -1 not in places and places == sorted(places), headings


@every_lesson
def test_the_instructor_s_page_has_its_parts(lesson: Lesson) -> None:
    page = (NOTEBOOKS / "instructor" / f"{lesson.notebook}.md").read_text()
    assert re.match(rf"# {lesson.number}\. \S", page)
    for part in INSTRUCTOR:
        assert re.search(rf"^## {part}", page, re.MULTILINE), part


@pytest.mark.parametrize("path", sorted([*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("cases/*.ipynb")]), ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    text = "\n".join(cell.source for cell in cells(path) if cell.cell_type == "markdown")
    for target in re.findall(r"(?<!!)\[[^\]]+\]\(([^()\s]+(?:\(\))?)\)", text):
        name, _, place = unquote(target).partition("#")
        if name.startswith("https://"):
            continue
        file = path.parent / name if name else path
        assert file.is_file(), target
        if place:
            headings = re.findall(r"^#+ (.+)$", "\n".join(cell.source for cell in cells(file)), re.MULTILINE)
            assert place in {heading.strip().replace(" ", "-") for heading in headings}, target
    if path.parent == NOTEBOOKS and path.stem[0].isdigit():
        number = int(path.stem[:2])
        for near in (lesson.notebook for lesson in LESSONS if abs(lesson.number - number) == 1):
            assert f"({near}.ipynb)" in text, f"no link to {near}"
