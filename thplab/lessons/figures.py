"""The figures of the notebooks: pictures of single steps, drawn ahead so that a notebook can be read without a kernel.

`python -m thplab.lessons.figures FOLDER` draws them; each carries the hash of the DOT source that it was drawn from.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thplab.diagrams import Cut, page_table_diagram, render
from thplab.scenario import load
from thplab.trace import Frame, Setup, Trace, record


@dataclass(frozen=True)
class Figure:
    """A step of a built-in scenario: the last frame at which `shows` holds."""

    scenario: str
    shows: Callable[[Frame], bool]
    geometry: str = "TOY"


def _after(op: str) -> Callable[[Frame], bool]:
    """The end of an operation."""
    return lambda frame: frame.op is not None and frame.op.op == op and frame.result is not None


FIGURES = {
    "00_fault": Figure("story", _after("write")),
    "00_fork": Figure("story", _after("fork")),
    "00_split_pmd": Figure("story", _after("mprotect")),
    "00_pin": Figure("story", _after("pin")),
    "00_split_page": Figure("story", _after("split")),
    "00_full_size": Figure("story", _after("fork"), "X86_64"),
}
"""File name without ending -> what it shows."""


def source(name: str) -> str:
    """The DOT source of a figure."""
    figure = FIGURES[name]
    trace: Trace = record(load(figure.scenario), Setup(geometry=figure.geometry))
    frame = next(f for f in reversed(trace.frames) if figure.shows(f))
    op_start = next(f.number for f in trace if f.op is frame.op)
    before = trace[op_start - 1].state  # the whole operation's change is marked, not only its last step's
    dot: str = page_table_diagram(frame.state, before, Cut.of([before, frame.state])).source
    return dot


def stamp(dot: str) -> str:
    """The comment in an SVG that names the DOT source it was drawn from."""
    return f"<!-- dot sha256 {hashlib.sha256(dot.encode()).hexdigest()} -->"


def draw(folder: Path) -> None:
    """Draw all figures into a folder, as SVG files."""
    sources = [source(name) for name in FIGURES]
    for name, dot, svg in zip(FIGURES, sources, render(sources), strict=True):
        (folder / f"{name}.svg").write_text(f"{svg.rstrip()}\n{stamp(dot)}\n", encoding="utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
