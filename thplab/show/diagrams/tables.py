"""Page tables in a picture: a header, rows of index and entry, and lanes in which thick arrows pass them."""

from __future__ import annotations

import graphviz

from thplab.hardware.geometry import LEVEL_NAMES
from thplab.show.diagrams.arrows import HUGE, more_tables_id
from thplab.show.diagrams.cells import SMALL, Cell, CellRow, Span, Strip, more, table, table_below
from thplab.show.diagrams.cut import Cut
from thplab.show.diagrams.entries import entry_spans
from thplab.show.diagrams.layout import Table
from thplab.show.diagrams.places import IN_HAND, LINKED, Place, Stood
from thplab.show.diagrams.roles import process_role
from thplab.show.diagrams.rows import Rows
from thplab.show.diagrams.view import View

INDEX_WIDTH, ENTRY_WIDTH, TIMES_WIDTH = 80, 192, 42
WIDTH = INDEX_WIDTH + ENTRY_WIDTH + TIMES_WIDTH


def add_tables(box: graphviz.Digraph, view: View, process: str) -> None:
    """Add the tables of a process. One that is not there in this state keeps its place."""
    strips = _strips(view, process)
    there = any(p.name == process for p in view.state.processes)
    mine = [(place, node) for place, node in view.cut.tables.items() if place.process == process]
    if not mine:  # graphviz draws no box around nothing
        id, top = f"{process}-no-tables", LEVEL_NAMES[view.cut.geometry.levels - 1]
        cell = Cell(id, [Span(f"no table below the {top}" if there else "", "muted")], WIDTH)
        box.node(id, table([CellRow("", [cell], line=False)]), id=f"{id}-node", style="" if there else "invis")
    for place, node in mine:
        pmd = lane(view.cut, place)
        _add_table(box, view, place, node, strips.pop(pmd) if pmd in strips else None)
    for id, strip in strips.items():  # huge PMDs for whose PTE tables there was no room
        box.node(
            f"{id}-lane", table([strip]), id=f"{id}-lane", style="" if strip.text else "invis", **{"class": "size"}
        )
    if process in view.cut.more_tables:
        id = more_tables_id(process)
        label = more(id, view.cut.more_tables[process], "PTE table", WIDTH)
        box.node(id, label, id=f"{id}-node", style="" if there else "invis", **{"class": "more"})
        box.edge(mine[0][1].id, id, style="invis")


def lane(cut: Cut, place: Place) -> str:
    """The id of the row of the PMD table that a PTE table hangs under;
    "" for other tables and for rows of many runs.
    """
    upper = cut.tables.get(place.upper(cut.geometry)) if place.level == 0 else None
    index = cut.geometry.index(place.base, 1)
    return (
        next((upper.row_id(rows) for rows in upper.rows if rows.part == slice(index, index + 1)), "") if upper else ""
    )


def lanes(cut: Cut) -> dict[str, str]:
    """For each row of a PMD table where thick arrows begin in any state, the node with the lane that they take."""
    rows = dict.fromkeys(ends.tail_row for ends, arrow in cut.arrows.items() if arrow.kind == HUGE)
    beside = {lane(cut, place): table.id for place, table in cut.tables.items()}
    return {row: beside.get(row, f"{row}-lane") for row in rows}


def _strips(view: View, process: str) -> dict[str, Strip]:
    """For each row where thick arrows begin in any state: a strip that says what they map now."""
    role = process_role(view.cut.processes.index(process))
    strips: dict[str, Strip] = {}
    for ends, ever in view.cut.arrows.items():
        if ever.kind == HUGE and ever.process == process:
            now = view.arrows.get(ends)
            before = strips[ends.tail_row].text if ends.tail_row in strips else ""
            text = view.state.geometry.size_text(now.pages) if now else before
            strips[ends.tail_row] = Strip(f"{ends.tail_row}-size", text, role, WIDTH)
    return strips


def _add_table(box: graphviz.Digraph, view: View, place: Place, node: Table, strip: Strip | None) -> None:
    stood, before = view.tables.get(place), view.tables_before.get(place)
    role = process_role(view.cut.processes.index(place.process))
    live = stood is not None and stood.status == LINKED
    ghost = "in-hand" if stood and stood.status == IN_HAND else "muted"
    frame = (role if live else ghost) if stood else "paper"
    rows = [_header(view, place, node, stood, before, frame), *_rows(view, place, node, stood, before)]
    kind = f"table {stood.status}" if stood else "table"
    if strip is None:
        style = "" if stood else "invis"
        box.node(node.id, table(rows, frame, not live), id=node.id, style=style, **{"class": kind})
    else:
        style = "" if stood or strip.text else "invis"
        box.node(
            node.id,
            table_below(strip, node.id, rows, frame, not live),
            id=f"{node.id}-lane",
            style=style,
            **{"class": kind},
        )


def _header(view: View, place: Place, node: Table, stood: Stood | None, before: Stood | None, role: str) -> CellRow:
    id = f"{node.id}-head"
    live = stood is not None and stood.status == LINKED
    changed = stood is not None and view.previous is not None and (before is None or before.status != stood.status)
    ground, ink = (role, "on-process") if live else ("paper", role)
    title = Span(f"{LEVEL_NAMES[place.level]} table" if stood else "", ink, bold=True)
    status = Span(_status(view, place, stood, before) if stood else "", ink, changed, SMALL)
    cells = [
        Cell(f"{id}-title", [title], INDEX_WIDTH, view.ground(id, plain=ground)),
        Cell(f"{id}-status", [status], WIDTH - INDEX_WIDTH, view.ground(id, changed, ground)),
    ]
    return CellRow(id, cells, line=False)


def _status(view: View, place: Place, stood: Stood, before: Stood | None) -> str:
    """What the header of a table adds to its name: what became of it in this step, else how one gets to it."""
    if view.previous and (before is None or before.status != stood.status):
        return f"{before.status} → {stood.status}" if before else f"new, {stood.status}"
    if stood.status != LINKED:
        return stood.status
    geometry = view.state.geometry
    return place.via(geometry) if place.level else f"under PMD {geometry.index(place.base, 1)}"


def _rows(view: View, place: Place, node: Table, stood: Stood | None, before: Stood | None) -> list[CellRow]:
    rows = []
    for run in node.rows:
        id = node.row_id(run)
        spans, changed = _entry(view, place, run, stood, before)
        there = stood is not None and bool(view.state.tables[stood.pfn][run.start])
        times = (
            f"×{run.stop - run.start}"
            if there and place.level == 0 and run.runs == 1 and run.stop - run.start > 1
            else ""
        )
        ground = view.ground(id, changed)
        cells = [
            Cell(f"{id}-index", [Span(run.span if stood else "", "muted")], INDEX_WIDTH, ground, "end"),
            Cell(f"{id}-entry", spans, ENTRY_WIDTH, ground),
            Cell(f"{id}-times", [Span(times, "muted", size=SMALL)], TIMES_WIDTH, ground, "end"),
        ]
        rows.append(CellRow(id, cells, line=stood is not None))
    return rows


def _entry(view: View, place: Place, run: Rows, stood: Stood | None, before: Stood | None) -> tuple[list[Span], bool]:
    if stood is None:
        return [], False
    entries = view.state.tables[stood.pfn]
    # Of a table that is new as a whole the header says so.
    old = view.previous.tables[before.pfn] if view.previous and before else None
    spans, changed = entry_spans(entries, old, run, place.level)
    if stood.status != LINKED and not changed and not entries[run.part].any():
        return [Span("empty", "muted")] if run.start == 0 else [], False  # a spare table
    return spans, changed
