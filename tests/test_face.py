"""The public face: one import line is enough, and what is shown in a cell says in one line what it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import thplab
from thplab import KERNELS, Machine, Setup, compare, load, record
from thplab.learn import widgets
from thplab.learn.lessons.story import lesson
from thplab.machine.branches import Branches
from thplab.show import plots
from thplab.show.diagrams import Cut
from thplab.study.explore import PAIRS, explore, replay
from thplab.study.explore.race import Race
from thplab.study.explore.reachable import reachable
from thplab.study.footprint import population, project

STORY = "mmap A; write A 0; fork A B; pin A 1 1 dma; split A 0"
PAIR = PAIRS["pmd-split-and-zap"]


def test_every_widget_comes_from_the_package_itself() -> None:
    assert set(widgets.__all__) <= set(thplab.__all__) <= set(dir(thplab))
    assert all(getattr(thplab, name) is getattr(widgets, name) for name in widgets.__all__)


def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(AttributeError, match="module 'thplab' has no attribute 'Steper'"):
        _ = thplab.Steper


def test_the_readme_needs_one_import_line_and_says_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (Path(__file__).parent.parent / "README.md").read_text(), flags=re.S)
    assert len(re.findall(r"^(?:from|import) ", code, flags=re.M)) == 1
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("-16\n") and "dma: a driver holds subpage 256" in printed


def with_process() -> Machine:
    machine = Machine("v4.5")
    machine.spawn("A").mmap()
    return machine


SAID: dict[str, tuple[Callable[[], object], str]] = {
    "trace": (lambda: record(STORY), f"<Trace on rfc-2014, TOY: frame 0 of 0 to 59; {STORY}>"),
    "frame": (lambda: record(STORY)[1], "<Frame 1: process A starts, with an empty page table>"),
    "state": (lambda: record(STORY)[-1].state, "<State of rfc-2014, TOY: A, B; huge pages: 1>"),
    "machine": (with_process, "<Machine v4.5, TOY, 256 frames: A>"),
    "empty machine": (lambda: Machine(geometry="X86_64"), "<Machine rfc-2014, X86_64, 16384 frames: no process>"),
    "system": (lambda: with_process().system, "<System v4.5, TOY, 256 frames: A>"),
    "process": (lambda: with_process()["A"], "<Process A of v4.5, TOY, 256 frames: A>"),
    "mm": (lambda: with_process().mm("A"), "<mm A, VMAs: 1>"),
    "vma": (lambda: with_process().mm("A").vmas[0], "<VMA of A: 0x500000 to 0x508000>"),
    "kernel": (lambda: KERNELS["v6.18"], "<Kernel v6.18, scheme folio>"),
    "scenario": (lambda: load("story"), "<Scenario story: 13 operations>"),
    "scenario without a name": (lambda: load("; ".join(["write A 0"] * 20)), "<Scenario write A 0; write A 0; "),
    "comparison": (lambda: compare(load("cow")), "<Comparison of rfc-2014, v3.16, v4.5, v5.10, v6.1, v6.12, v6.18, TOY: cow>"),
    "compared": (lambda: compare(load("cow")).operations[0], "<Compared mmap: "),
    "branches": (lambda: Branches.of(load("cow"), Setup("v4.5")), "<Branches on v4.5, TOY: 1, number 0 at operation 7>"),
    "pair": (lambda: PAIR, "<Pair pmd-split-and-zap: split_pmd(A, page 0) | madvise(A, "),
    "race": (lambda: Race(PAIR, (0, 1)), "<Race pmd-split-and-zap: 0x1 1x1>"),
    "race trace": (lambda: replay(PAIR, "0x2"), "<RaceTrace on rfc-2014, TINY: frame 0 of 0 to 2; mmap A; write A 0>"),
    "exploration": (lambda: explore(PAIR, limit=5), "<Exploration pmd-split-and-zap: "),
    "graph": (lambda: explore(PAIR, limit=5).graph, "<Graph of 5 nodes>"),
    "failure": (lambda: explore(PAIRS["blind-pmd-split-and-zap"]).failure, "<Failure "),
    "reached": (lambda: reachable(limit=5), "<Reached 5 states "),
    "report": (lambda: thplab.check(KERNELS["v4.5"].scheme, limit=1), "<Report on double_map: nothing wrong was found>"),
    "population": (lambda: population(20, 0.5), "<Population of 20 huge pages, 50% unmapped>"),
    "footprint": (lambda: project("v4.5", population(20, 0.5)), "<Footprint on v4.5: "),
    "cut": (lambda: Cut.of([record(STORY)[-1].state]), "<Cut: "),
    "plot": (lambda: plots.footprint(thps=4), "<Plot Memory held by 4 huge pages, random parts unmapped: "),
    "lesson": (lambda: lesson, "<Lesson 00_the_whole_story: mapped and shared, "),
}


@pytest.mark.parametrize("name", SAID)
def test_a_cell_shows_one_line_that_says_what_it_is(name: str) -> None:
    make, said = SAID[name]
    shown = repr(make())
    assert shown.startswith(said) and shown.endswith(">") and "\n" not in shown and len(shown) < 250
