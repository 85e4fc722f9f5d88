"""The notebooks: their figures are up to date, their questions have answers, their tasks can be solved, nothing is given away."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from labserver import lab, open_and_run, page
from playwright.sync_api import Page

from thplab.errors import BadInput
from thplab.lessons import figures, story
from thplab.lessons.tasks import TASKS, ask, attempt, hint
from thplab.scenario import load
from thplab.trace import Setup, record

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

SOLUTIONS = {
    "two tables, one page": "mmap A; write A 0; fork A B; mprotect A 1 1 r; mprotect B 1 1 r",
    "refused, then split": "mmap A; write A 0; fork A B; fork A C; pin A 1 1 dma; split A 0; unpin dma; split A 0",
    "held by nobody": "mmap A; write A 0; pin A 3 1 dma; munmap A 0 1thp",
}
NEARLY = {
    "two tables, one page": ["mmap A; write A 0; fork A B; mprotect B 1 1 r", "mmap A; write A 0; mprotect A 1 1 r; pin A 0 1thp dma"],
    "refused, then split": [
        "mmap A; write A 0; fork A B; fork A C; split A 0",
        "mmap A; write A 0; fork A B; fork A C; pin A 1 1 d; split A 0; unpin d; split A 0; exit C",
    ],
    "held by nobody": ["mmap A; write A 0", "mmap A; write A 0; exit A", "mmap A; write A 0; pin A 3 2 dma; munmap A 0 1thp"],
}


@pytest.mark.parametrize("geometry", ["TOY", "X86_64"])
@pytest.mark.parametrize("name", TASKS)
def test_each_task_can_be_solved_and_a_near_miss_is_told_why(name: str, geometry: str) -> None:
    verdict = attempt(name, SOLUTIONS[name], geometry)
    assert verdict.solved and f"{name}: solved" in repr(verdict)
    for scenario in NEARLY[name]:
        verdict = attempt(name, scenario, geometry)
        assert not verdict.solved and "not yet" in repr(verdict)


def test_a_scenario_that_cannot_be_carried_out_is_told_where() -> None:
    assert "stops after step" in repr(attempt("held by nobody", "mmap A; unpin dma"))
    assert "cannot be read: line 1, 'wriet A 0'" in repr(attempt("held by nobody", "mmap A; wriet A 0"))
    with pytest.raises(BadInput, match="task 'nothing' does not exist"):
        attempt("nothing", "mmap A;")


def test_tasks_ask_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    for name, task in TASKS.items():
        ask(name)
        for level in (1, 2, 3):
            hint(name, level)
        told = capsys.readouterr().out
        assert task.question in told and all(h in told for h in task.hints)
    for wrong in (lambda: ask("nothing"), lambda: hint("held by nobody", 4)):
        with pytest.raises(BadInput):
            wrong()


@pytest.mark.parametrize("geometry", ["TOY", "X86_64"])
def test_the_answers_to_the_questions_are_what_the_kernel_does(geometry: str) -> None:
    trace = record(load("story"), Setup(geometry=geometry))
    nr = trace[0].state.geometry.nr
    answers = [str(p.on(trace)["actual"]) for p in story.predictions(trace)]
    assert answers == ["2", str(nr + 1), "2", "the head's", "-EBUSY", "2", "0"]
    phases = [trace[int(p.on(trace)["at"])].phase + 1 for p in story.predictions(trace)]
    assert phases == [2, 3, 3, 5, 5, 6, 7]


def test_a_phase_that_does_not_exist() -> None:
    with pytest.raises(BadInput, match="phase is 8; expected 1 to 7"):
        story.stepper(phase=8)


@pytest.mark.parametrize("name", figures.FIGURES)
def test_each_figure_is_drawn_from_what_it_shows_now(name: str) -> None:
    svg = (ROOT / "assets" / f"{name}.svg").read_text()
    assert svg.startswith("<svg") and svg.rstrip().endswith(figures.stamp(figures.source(name))), "run make assets"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_figure_with_alt_text_stands_above_each_widget(path: Path) -> None:
    cells = nbformat.read(path, 4).cells
    shown = 0
    for before, cell in itertools.pairwise(cells):
        for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", before.source):
            assert (path.parent / target).is_file(), target
            assert len(alt) > 40
        if cell.cell_type == "code" and "stepper(" in cell.source:
            assert re.search(r"\]\(\.\./assets/", before.source), cell.source
            shown += 1
    assert shown >= 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_gives_no_solution_away_and_holds_no_machinery(path: Path) -> None:
    cells = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    for source in cells:
        assert len(source.splitlines()) <= 12, "short cells"
        assert not re.search(r"^\s*(def|class|for|while|lambda)\b", source, re.MULTILINE)
        for name, scenario in re.findall(r'attempt\("([^"]+)",\s*"""(.*?)"""', source, re.DOTALL):
            assert not attempt(name, scenario).solved


def test_the_readme_example_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(example.strip().splitlines()) <= 13
    exec(example, {})
    told = capsys.readouterr().out
    assert told.startswith("-16\n")
    assert "head _count 514 = A: 1 PMD + B: 512 PTEs + dma: pin of subpage 256" in told


# --- in a real browser ------------------------------------------------------------------------------------------------


def served(tmp_path: Path) -> Path:
    """A copy of what `thplab lab` serves: the notebooks, and beside them the figures that they show."""
    for name in ("notebooks", "assets"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.browser
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_widget_of_a_notebook_steps_in_a_real_browser(path: Path, tmp_path: Path) -> None:
    with lab(served(tmp_path)) as server, page() as pg:
        open_and_run(pg, server.base, server.token, f"notebooks/{path.name}")
        assert_figures_are_there(pg)
        steppers = pg.locator(".thplab-stepper")
        for number in range(steppers.count()):
            stepper = steppers.nth(number)
            stepper.scroll_into_view_if_needed()
            stepper.locator("svg").first.wait_for()
            before = stepper.get_attribute("data-step")
            stepper.get_by_role("button", name="Next step").click()
            pg.wait_for_function("([n, old]) => document.querySelectorAll('.thp-stepper')[n].dataset.step !== old", arg=[number, before])


def assert_figures_are_there(pg: Page) -> None:
    broken = pg.evaluate(
        "() => [...document.querySelectorAll('.jp-RenderedMarkdown img')].filter(i => i.complete && !i.naturalWidth).map(i => i.alt)"
    )
    assert broken == []
