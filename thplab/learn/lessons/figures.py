"""The figures of all notebooks. `python -m thplab.learn.lessons.figures FOLDER` draws them;
each carries the hash of its DOT source.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from thplab.learn.cases import CASES
from thplab.learn.cases.case import RacedFigure
from thplab.learn.lessons.figure import Figure
from thplab.learn.lessons.series import LESSONS

FIGURES: dict[str, Figure | RacedFigure] = {
    f"{lesson.notebook[:2]}_{name}": figure for lesson in LESSONS for name, figure in lesson.figures.items()
}
FIGURES |= {f"case_{case.notebook[:2]}": case.cause for case in CASES}
"""File name without ending -> what it shows."""


def stamp(dot: str) -> str:
    """The comment in an SVG that names the DOT source it was drawn from."""
    return f"<!-- dot sha256 {hashlib.sha256(dot.encode()).hexdigest()} -->"


def draw(folder: Path) -> None:
    """Draw all figures into a folder, as SVG files."""
    for name, figure in FIGURES.items():
        sheet = figure.sheet()
        (folder / f"{name}.svg").write_text(f"{sheet.svg()}\n{stamp(sheet.dot())}\n", encoding="utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
