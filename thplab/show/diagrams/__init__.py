"""Pictures of page tables and pages: a state, and the one before it, as DOT and as SVG. Needs the package graphviz."""

from __future__ import annotations

from thplab.machine.state import State
from thplab.machine.trace import Trace
from thplab.show.diagrams.cut import Cut
from thplab.show.diagrams.engine import NoEngine, render
from thplab.show.diagrams.page_table import page_table_diagram

__all__ = ["Cut", "NoEngine", "page_table_diagram", "render", "render_trace", "svg"]


def svg(state: State, previous: State | None = None) -> str:
    """The picture of one state as SVG text; what differs from `previous` is marked.
    Raises NoEngine if nothing can draw it.
    """
    return render([page_table_diagram(state, previous).source])[0]


def render_trace(trace: Trace) -> list[str]:
    """The pictures of all frames of a trace as SVG texts, each marked with what its step changed;
    nothing moves between them.

    Raises NoEngine if nothing can draw them.
    """
    states = [frame.state for frame in trace]
    cut = Cut.of(states)
    return render(
        [page_table_diagram(now, before, cut).source for before, now in zip([None, *states], states, strict=False)]
    )
