"""Page tables in a picture: a header, rows of index and entry, and beside them the notes that thick arrows pass through."""

from __future__ import annotations

from itertools import pairwise

import graphviz

from thplab.diagrams.arrows import HUGE, more_tables_id
from thplab.diagrams.cells import SMALL, Cell, Row, Span, table
from thplab.diagrams.cut import Table
from thplab.diagrams.entries import entry_spans
from thplab.diagrams.places import IN_HAND, LINKED, Place, Stood
from thplab.diagrams.roles import process_role
from thplab.diagrams.rows import Rows
from thplab.diagrams.view import View
from thplab.geometry import LEVEL_NAMES

INDEX_WIDTH, ENTRY_WIDTH, TIMES_WIDTH, SIZE_WIDTH = 80, 192, 42, 54
WIDTH = INDEX_WIDTH + ENTRY_WIDTH + TIMES_WIDTH


def add_tables(box: graphviz.Digraph, view: View, process: str) -> None:
    """Add the tables of a process. One that is not there in this state keeps its place."""
    sizes = _size_notes(view, process)
    lane: list[tuple[int, str]] = []
    for place, node in view.cut.tables.items():
        if place.process != process:
            continue
        _add_table(box, view, place, node, view.tables.get(place), view.tables_before.get(place))
        if place.level == 0:
            lane.append((place.base + 1, node.id))  # below the note for the same PMD
        for run in node.rows:
            if node.row_id(run) in sizes:
                lane.append((place.base + (run.start << view.state.geometry.shift(1)), f"{node.row_id(run)}-size"))
    for id, (size, there) in sizes.items():
        role = process_role(view.cut.processes.index(process))
        row = Row("", [Cell(f"{id}-size-text", [Span(size, role, bold=True)], SIZE_WIDTH, align="middle")], line=False)
        box.node(f"{id}-size", table([row]), id=f"{id}-size", style="" if there else "invis", **{"class": "size"})
    if process in view.cut.more_tables:
        id = more_tables_id(process)
        text = [Span(f"… {view.cut.more_tables[process]} more PTE tables", "muted")]
        row = Row(id, [Cell(f"{id}-text", text, WIDTH)], line=False)
        there = any(p.name == process for p in view.state.processes)
        box.node(id, table([row], "line", dashed=True), id=f"{id}-node", style="" if there else "invis", **{"class": "more"})
    with box.subgraph() as column:
        column.attr(rank="same")
        ordered = [node for _, node in sorted(lane)]
        for above, below in pairwise(ordered):
            column.edge(above, below, style="invis")


def _size_notes(view: View, process: str) -> dict[str, tuple[str, bool]]:
    """For each row where thick arrows begin in any state: the size they map, and whether they do so now."""
    notes: dict[str, tuple[str, bool]] = {}
    for ends, ever in view.cut.arrows.items():
        if ever.kind == HUGE and ever.process == process:
            now = view.arrows.get(ends)
            text, there = notes.get(ends.tail_row, ("", False))
            notes[ends.tail_row] = (view.state.geometry.size_text(now.pages) if now else text, there or now is not None)
    return notes


def _add_table(box: graphviz.Digraph, view: View, place: Place, node: Table, stood: Stood | None, before: Stood | None) -> None:
    role = process_role(view.cut.processes.index(place.process))
    live = stood is not None and stood.status == LINKED
    ghost = "in-hand" if stood and stood.status == IN_HAND else "muted"
    rows = [_header(view, place, node, stood, before, role if live else ghost), *_rows(view, place, node, stood, before)]
    style = "" if stood else "invis"
    kind = f"table {stood.status}" if stood else "table"
    box.node(node.id, table(rows, role if live else ghost, dashed=not live), id=node.id, style=style, **{"class": kind})


def _header(view: View, place: Place, node: Table, stood: Stood | None, before: Stood | None, role: str) -> Row:
    id = f"{node.id}-head"
    live = stood is not None and stood.status == LINKED
    changed = view.previous is not None and (before.status if before else "") != (stood.status if stood else "")
    ground, ink = (role, "on-process") if live else ("paper", role)
    title = Span(f"{LEVEL_NAMES[place.level]} table", ink, bold=True)
    status = Span(_status(view, place, stood, before) if stood else "", "ink" if changed else ink, changed, SMALL)
    cells = [
        Cell(f"{id}-title", [title], INDEX_WIDTH, ground),
        Cell(f"{id}-status", [status], WIDTH - INDEX_WIDTH, view.ground(id, changed, ground)),
    ]
    return Row(id, cells, line=False)


def _status(view: View, place: Place, stood: Stood, before: Stood | None) -> str:
    """What the header of a table adds to its name: what became of it in this step, else how one gets to it."""
    if view.previous and (before is None or before.status != stood.status):
        return f"{before.status} → {stood.status}" if before else f"new, {stood.status}"
    if stood.status != LINKED:
        return stood.status
    geometry = view.state.geometry
    return place.via(geometry) if place.level else f"under PMD {geometry.index(place.base, 1)}"


def _rows(view: View, place: Place, node: Table, stood: Stood | None, before: Stood | None) -> list[Row]:
    rows = []
    for run in node.rows:
        id = node.row_id(run)
        spans, changed = _entry(view, place, run, stood, before)
        there = stood is not None and bool(view.state.tables[stood.pfn][run.start])
        times = f"×{run.stop - run.start}" if there and place.level == 0 and run.runs == 1 and run.stop - run.start > 1 else ""
        ground = view.ground(id, changed)
        cells = [
            Cell(f"{id}-index", [Span(run.text, "muted")], INDEX_WIDTH, ground, "end" if run.runs == 1 else "start"),
            Cell(f"{id}-entry", spans, ENTRY_WIDTH, ground),
            Cell(f"{id}-times", [Span(times, "muted", size=SMALL)], TIMES_WIDTH, ground, "end"),
        ]
        rows.append(Row(id, cells))
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
