"""Pictures of page tables and pages: states, each with the one before it, as DOT and as SVG.
Needs the package graphviz.
"""

from __future__ import annotations

from thplab.machine.state import State
from thplab.show.diagrams.cut import Cut
from thplab.show.diagrams.engine import NoEngine
from thplab.show.diagrams.page_table import Painter
from thplab.show.diagrams.plan import Plan
from thplab.show.diagrams.sheet import Sheet
from thplab.show.diagrams.view import DETAILS, FULL, SIMPLE

__all__ = ["DETAILS", "FULL", "SIMPLE", "Cut", "NoEngine", "Painter", "Plan", "Sheet", "svg"]


def svg(state: State, previous: State | None = None, detail: str = SIMPLE) -> str:
    """The picture of one state as SVG text; what differs from `previous` is marked.
    Raises BadInput for another detail, NoEngine if nothing can draw it.
    """
    painter = Painter(Cut.of((previous, state) if previous else (state,)), detail)
    return Sheet([painter.paint(state, previous)]).svg()
