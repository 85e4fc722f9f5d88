"""Page tables in a picture: a header, and rows of index and entry."""

from __future__ import annotations

from thplab.hardware.geometry import LEVEL_NAMES
from thplab.show.diagrams.arrows import more_tables_id
from thplab.show.diagrams.cells import SMALL, Cell, CellRow, Span, spans
from thplab.show.diagrams.entries import entry_spans
from thplab.show.diagrams.layout import Table
from thplab.show.diagrams.picture import PictureNode
from thplab.show.diagrams.places import IN_HAND, LINKED, Place, Stood
from thplab.show.diagrams.roles import process_role
from thplab.show.diagrams.rows import Rows
from thplab.show.diagrams.view import View

RANKS = ("pte", "pmd")
"""Where tables stand, by level."""


def tables_of(view: View, process: str, keep: dict[object, PictureNode]) -> tuple[PictureNode, ...]:
    """The nodes of the tables of a process, and a note on those that are not drawn. `keep` holds nodes that were made
    before, of this cut and in this detail.
    """
    there = any(p.name == process for p in view.state.processes)
    mine = [(place, table) for place, table in view.cut.tables.items() if place.process == process]
    nodes = [_kept(view, place, table, keep) for place, table in mine]
    if not mine:  # graphviz draws no box around nothing
        id, top = f"{process}-no-tables", LEVEL_NAMES[view.cut.geometry.levels - 1]
        cell = Cell(id, spans(Span(f"no table below the {top}" if there else "", "muted")))
        nodes.append(PictureNode(id, (CellRow("", (cell,), "note"),), "", rank="pmd", shown=there))
    more = view.cut.more_tables.get(process, 0)
    if more:
        nodes.append(note(more_tables_id(process), more, "PTE table", "pte", shown=there))
    return tuple(nodes)


def note(id: str, count: int, what: str, rank: str, shown: bool = True) -> PictureNode:
    """A note that says what there was no room for: "… 3 more blocks"."""
    text = f"… {count} more {what}" + "s" * (count != 1)
    row = CellRow(id, (Cell(f"{id}-text", spans(Span(text, "muted"))),), "note")
    return PictureNode(id, (row,), "line", "more", rank, dashed=True, shown=shown)


def _kept(view: View, place: Place, table: Table, keep: dict[object, PictureNode]) -> PictureNode:
    """The node of a table, made anew only if one of the things that it is made from is another."""
    stood, before = view.tables.get(place), view.tables_before.get(place)
    entries = view.state.tables[stood.pfn] if stood else None
    old = view.previous.tables[before.pfn] if view.previous and before else None
    key = (
        place, stood and stood.status, before and before.status, id(entries), id(old), view.previous is None, view.mark,
    )  # fmt: skip
    node = keep.get(key)
    if node is None:
        node = keep[key] = _table(view, place, table, stood, before)
    return node


def _table(view: View, place: Place, table: Table, stood: Stood | None, before: Stood | None) -> PictureNode:
    role = process_role(view.cut.processes.index(place.process))
    live = stood is not None and stood.status == LINKED
    ghost = "in-hand" if stood and stood.status == IN_HAND else "muted"
    frame = (role if live else ghost) if stood else "paper"
    shown = stood is not None and (
        view.full or live or (stood.status == IN_HAND and bool(view.state.tables[stood.pfn].any()))
    )
    rows = (_header(view, place, table, stood, before, frame), *_rows(view, place, table, stood, before))
    kind = f"table {stood.status}" if stood else "table"
    return PictureNode(table.id, rows if shown else (), frame, kind, RANKS[place.level], not live, shown)


def _header(view: View, place: Place, table: Table, stood: Stood | None, before: Stood | None, role: str) -> CellRow:
    id = f"{table.id}-head"
    live = stood is not None and stood.status == LINKED
    changed = stood is not None and view.previous is not None and (before is None or before.status != stood.status)
    ground, ink = (role, "on-process") if live else ("paper", role)
    title = Span(f"{LEVEL_NAMES[place.level]} table", ink, bold=True)
    status = Span(_status(view, place, stood, before) if stood else "", ink, changed, view.small)
    cells = (
        Cell(f"{id}-title", spans(title), view.ground(id, changed and not view.full, ground)),
        Cell(f"{id}-status", spans(status), view.ground(id, changed, ground), "end"),
    )
    return CellRow(id, cells, "head", wide=1)


def _status(view: View, place: Place, stood: Stood, before: Stood | None) -> str:
    """What the header of a table adds to its name: in full what became of it in this step, else how one gets to it;
    in short nothing of a table that is where it belongs.
    """
    if not view.full:
        return "" if stood.status == LINKED else stood.status
    if view.previous and (before is None or before.status != stood.status):
        return f"{before.status} → {stood.status}" if before else f"new, {stood.status}"
    if stood.status != LINKED:
        return stood.status
    geometry = view.state.geometry
    return place.via(geometry) if place.level else f"under PMD {geometry.index(place.base, 1)}"


def _rows(view: View, place: Place, table: Table, stood: Stood | None, before: Stood | None) -> list[CellRow]:
    rows = []
    for run in table.rows:
        id = table.row_id(run)
        text, changed = _entry(view, place, run, stood, before)
        ground = view.ground(id, changed)
        cells = [
            Cell(f"{id}-index", spans(Span(run.span, "muted")), ground, "end" if view.full else "start"),
            Cell(f"{id}-entry", text, ground, "start" if view.full else "end"),
        ]
        if view.full:
            there = stood is not None and bool(view.state.tables[stood.pfn][run.start])
            many = there and place.level == 0 and run.runs == 1 and run.stop - run.start > 1
            times = f"×{run.stop - run.start}" if many else ""
            cells.append(Cell(f"{id}-times", spans(Span(times, "muted", size=SMALL)), ground, "end"))
        rows.append(CellRow(id, tuple(cells), "rows", wide=1, line=True))
    return rows


def _entry(
    view: View, place: Place, run: Rows, stood: Stood | None, before: Stood | None
) -> tuple[tuple[Span, ...], bool]:
    if stood is None:
        return (), False
    entries = view.state.tables[stood.pfn]
    # Of a table that is new as a whole the header says so.
    old = view.previous.tables[before.pfn] if view.previous and before else None
    text, changed = entry_spans(entries, old, run, place.level, view.full)
    if view.full and stood.status != LINKED and not changed and not entries[run.part].any():
        return spans(Span("empty" if run.start == 0 else "", "muted")), False  # a spare table
    return text, changed
