"""The page-table diagram: processes and their tables on the left, the pages they map on the right, pins beyond."""

from __future__ import annotations

from collections.abc import Collection

import graphviz

from thplab.diagrams.arrows import HUGE, MIGRATION, MORE_PAGES, PIN, SPARE, TABLE, Arrow, Ends
from thplab.diagrams.cells import FONT
from thplab.diagrams.cut import Cut
from thplab.diagrams.memory import add_memory
from thplab.diagrams.process import add_process
from thplab.diagrams.roles import light, process_role
from thplab.diagrams.view import View
from thplab.errors import BadInput
from thplab.state import State

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

    Pictures of several states stay still if they share the cut, Cut.of(all states); None cuts for `state` and `previous`
    alone. `mark` holds ids of rows and nodes to point to: ids are the same in DOT, in the SVG and in every frame.
    Raises BadInput if the cut is of another geometry.
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
    _keep_columns(graph, cut)
    _add_arrows(graph, view)
    return graph


def _keep_columns(graph: graphviz.Digraph, cut: Cut) -> None:
    """Memory is one column, right of all tables, whether or not an arrow leads there."""
    memory = [*(block.id for block in cut.blocks), *cut.zero_pages, *([MORE_PAGES] if cut.more_blocks else [])]
    if not memory:
        return
    with graph.subgraph() as column:
        column.attr(rank="same")
        for node in memory:
            column.node(node)
    for table in cut.tables.values():
        graph.edge(table.id, memory[0], style="invis", weight="0")


def _add_arrows(graph: graphviz.Digraph, view: View) -> None:
    """Add every arrow that the cut knows, so that the layout is the same in all frames; those of other frames do not show."""
    now, before = view.arrows, view.arrows_before
    looks = {ends: _look(view, now[ends], before.get(ends)) if ends in now else {"style": "invis"} for ends in view.cut.arrows}
    for ends, ever in view.cut.arrows.items():
        tail, head = f"{ends.tail}:{ends.tail_row}:e", f"{ends.head}:{ends.head_row}:w"
        if ever.kind == HUGE:  # goes on from the note with its size
            tail = f"{ends.size_id}:e"
        if ever.kind == PIN:  # drawn backwards, so that the notes stand on the far side of the pages
            tail, head = f"{ends.head}:{ends.head_row}:e", f"{ends.tail}:w"
            looks[ends]["dir"] = "back"
        graph.edge(tail, head, id=ends.id, **looks[ends])
    for row, all_ends in _by_row(view.cut).items():
        shown = next((ends for ends in all_ends if ends in now), all_ends[0])
        look = looks[shown] | {"arrowhead": "none"}
        graph.edge(f"{shown.tail}:{row}:e", f"{shown.size_id}:w", id=f"{row}--{shown.size_id}", **look)


def _by_row(cut: Cut) -> dict[str, list[Ends]]:
    """The thick arrows that begin at each row."""
    found: dict[str, list[Ends]] = {}
    for ends, arrow in cut.arrows.items():
        if arrow.kind == HUGE:
            found.setdefault(ends.tail_row, []).append(ends)
    return found


def _look(view: View, arrow: Arrow, before: Arrow | None) -> dict[str, str]:
    role = process_role(view.cut.processes.index(arrow.process)) if arrow.process else "pin"
    colour = light("muted" if arrow.kind == SPARE else role)
    changed = "" if before and before.kind == arrow.kind else " changed"
    return {"color": colour, "class": f"{arrow.kind} {role}{changed}", **_STYLES.get(arrow.kind, {"penwidth": "1.3"})}

