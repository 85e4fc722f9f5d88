"""The page-table diagram: processes and their tables on the left, the pages they map on the right, pins beyond."""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import pairwise

import graphviz

from thplab.errors import BadInput
from thplab.machine.state import State
from thplab.show.diagrams.arrows import HUGE, MIGRATION, MORE_PAGES, MORE_PINS, PIN, SPARE, TABLE, Arrow
from thplab.show.diagrams.cells import FONT, Cell, CellRow, Span, table
from thplab.show.diagrams.cut import Cut
from thplab.show.diagrams.memory import add_memory
from thplab.show.diagrams.process import add_process
from thplab.show.diagrams.roles import light, process_role
from thplab.show.diagrams.tables import WIDTH, lanes
from thplab.show.diagrams.view import View

_STYLES = {
    HUGE: {"penwidth": "4", "arrowsize": "0.6"},
    TABLE: {"penwidth": "1.2"},
    SPARE: {"penwidth": "1.2", "style": "dashed", "arrowhead": "none"},
    MIGRATION: {"penwidth": "1.2", "style": "dotted"},
    PIN: {"penwidth": "1.6", "style": "dashed"},
}


def page_table_diagram(
    state: State, previous: State | None = None, cut: Cut | None = None, mark: Collection[str] = ()
) -> graphviz.Digraph:
    """The picture of `state` as DOT; what differs from `previous` is marked.

    Pictures of several states stay still if they share the cut, Cut.of(all states); None cuts for `state` and
    `previous` alone. The cut must be of states among which these two are: it has a place for nothing else. `mark` holds
    ids of rows, cells and nodes to point to; ids are the same in DOT, in the SVG and in every frame. Raises BadInput if
    the cut is of another geometry, or for a mark that is not in the picture.
    """
    if cut is None:
        cut = Cut.of((previous, state) if previous else (state,))
    if cut.geometry != state.geometry:
        raise BadInput("cut", f"is for geometry {cut.geometry.name}", f"one for {state.geometry.name}")
    view = View(state, previous, cut, frozenset(mark))
    graph = graphviz.Digraph("thplab")
    graph.attr(rankdir="LR", bgcolor=light("paper"), nodesep="0.3", ranksep="0.95", pad="0.1")
    graph.attr("node", shape="plain", fontname=FONT, fontcolor=light("ink"))
    graph.attr("edge", fontname=FONT, arrowsize="0.7")
    for name in cut.processes:
        add_process(graph, view, name)
    add_memory(graph, view)
    if not cut.processes and not cut.blocks:
        cell = Cell("nothing-text", [Span("no process yet", "muted")], WIDTH)
        graph.node("nothing", table([CellRow("nothing", [cell], line=False)]), id="nothing-node")
    _keep_columns(graph, cut)
    _add_arrows(graph, view)
    for id in sorted(view.mark - set(re.findall(r'\bid="?([\w-]+)', graph.source, re.IGNORECASE))):
        raise BadInput("mark", f"{id!r} is not in this picture", "ids of rows and nodes, such as A-pmd0-r0 or page0")
    return graph


def _keep_columns(graph: graphviz.Digraph, cut: Cut) -> None:
    """Memory is one column in a fixed order, right of all tables, whether or not an arrow leads there."""
    memory = [*(block.id for block in cut.blocks), *cut.zero_pages, *([MORE_PAGES] if cut.more_blocks else [])]
    if not memory:
        return
    with graph.subgraph() as column:
        column.attr(rank="same")
        column.node(memory[0])
        for above, below in pairwise(memory):
            column.edge(above, below, style="invis")
    for node in cut.tables.values():
        graph.edge(node.id, memory[0], style="invis", weight="0")
    if cut.more_pins:
        graph.edge(memory[0], MORE_PINS, style="invis")


def _add_arrows(graph: graphviz.Digraph, view: View) -> None:
    """Add every arrow that the cut knows, so that the layout is the same in all frames;
    those of other frames do not show.
    """
    now, before = view.arrows, view.arrows_before
    looks = {
        ends: _look(view, now[ends], before.get(ends)) if ends in now else {"style": "invis"}
        for ends in view.cut.arrows
    }
    through = lanes(view.cut)
    for ends, ever in view.cut.arrows.items():
        tail, head = f"{ends.tail}:{ends.tail_row}:e", f"{ends.head}:{ends.head_row}:w"
        if ever.kind == HUGE:
            tail = f"{through[ends.tail_row]}:{ends.tail_row}-size:e"
        if ever.kind == PIN:  # drawn backwards, so that the notes stand on the far side of the pages
            tail, head = f"{ends.head}:{ends.head_row}:e", f"{ends.tail}:w"
            looks[ends]["dir"] = "back"
        graph.edge(tail, head, id=ends.id, **looks[ends])
    for row, node in through.items():
        mine = [ends for ends in looks if ends.tail_row == row and view.cut.arrows[ends].kind == HUGE]
        shown = next((ends for ends in mine if ends in now), mine[0])
        graph.edge(
            f"{shown.tail}:{row}:e",
            f"{node}:{row}-size:w",
            id=f"{row}--{row}-size",
            **looks[shown] | {"arrowhead": "none"},
        )


def _look(view: View, arrow: Arrow, before: Arrow | None) -> dict[str, str]:
    role = process_role(view.cut.processes.index(arrow.process)) if arrow.process else "pin"
    colour = light("muted" if arrow.kind == SPARE else role)
    changed = "" if before and before.kind == arrow.kind else " changed"
    return {"color": colour, "class": f"{arrow.kind} {role}{changed}", **_STYLES.get(arrow.kind, {"penwidth": "1.3"})}
