"""A process in a picture: its box and what it says about the VMAs."""

from __future__ import annotations

import graphviz

from thplab.hardware import page_tables as pt
from thplab.hardware.geometry import Geometry
from thplab.machine.state import ProcessState, State, VmaState
from thplab.show.diagrams.cells import SMALL, Cell, CellRow, Span, old_new, table
from thplab.show.diagrams.roles import light, process_role
from thplab.show.diagrams.tables import add_tables
from thplab.show.diagrams.view import View

TITLE_WIDTH = 440
MAX_VMAS = 5
"""VMAs that a title names one by one."""


def add_process(graph: graphviz.Digraph, view: View, name: str) -> None:
    """Add the box of a process with its tables;
    all of it keeps its place, and does not show, while the process is not there.
    """
    process = _find(view.state, name)
    role = process_role(view.cut.processes.index(name))
    with graph.subgraph(name=f"cluster_{name}") as box:
        box.attr(
            id=f"process-{name}",
            style="rounded" if process else "invis",
            color=light(role),
            penwidth="1.3",
            margin="12",
        )
        box.attr(label=_title(view, name, role), labeljust="l", **{"class": f"process {role}"})
        add_tables(box, view, name)


def _find(state: State | None, name: str) -> ProcessState | None:
    return next((p for p in state.processes if p.name == name), None) if state else None


# --- the title --------------------------------------------------------------------------------------------------------


def _title(view: View, name: str, role: str) -> str:
    process, before = _find(view.state, name), _find(view.previous, name)
    id, vmas = f"process-{name}-title", f"process-{name}-vmas"
    if process is None:
        return _title_of(Cell(id, [], TITLE_WIDTH), Cell(vmas, [], TITLE_WIDTH))
    geometry = view.state.geometry
    count, where = _count(process.vmas), _where(process.vmas, geometry)
    started = view.previous is not None and before is None
    rights, changed = _rights(process.vmas, before.vmas if before else process.vmas)
    counts = old_new(_count(before.vmas) if before else None, count)
    moved = before is not None and where != _where(before.vmas, geometry)
    spans = [Span(f"Process {name}  ", role, bold=True), *counts, *rights]
    head = Cell(id, spans, TITLE_WIDTH, view.ground(id, started or changed))
    return _title_of(head, Cell(vmas, [Span(where, "muted", size=SMALL)], TITLE_WIDTH, view.ground(vmas, moved)))


def _title_of(head: Cell, below: Cell) -> str:
    return table(
        [CellRow("", [head._replace(height=18)], line=False), CellRow("", [below._replace(height=16)], line=False)]
    )


def _count(vmas: tuple[VmaState, ...]) -> str:
    return f"{len(vmas)} vma" + "s" * (len(vmas) != 1)


def _rights(vmas: tuple[VmaState, ...], before: tuple[VmaState, ...]) -> tuple[list[Span], bool]:
    """ ": rw | r | rw", each with what it was if only the protection changed; and whether anything changed."""
    same = len(vmas) == len(before)
    spans: list[Span] = []
    for i, vma in enumerate(vmas[:MAX_VMAS]):
        spans.append(Span(" | " if i else ": "))
        spans += old_new(_prot(before[i]) if same else None, _prot(vma))
    if len(vmas) > MAX_VMAS:
        spans.append(Span(f" | … {len(vmas) - MAX_VMAS} more"))
    return spans, [(v.start, v.end, v.prot) for v in vmas] != [(v.start, v.end, v.prot) for v in before]


def _prot(vma: VmaState) -> str:
    return next(name for name, prot in pt.PROTECTIONS.items() if prot == vma.prot)


def _where(vmas: tuple[VmaState, ...], geometry: Geometry) -> str:
    """Where the VMAs are: the first address, all sizes and the holes,
    "0x7f40_0000_0000 + 1 MiB | hole 4 KiB | 1020 KiB".
    """
    if not vmas:
        return "no memory mapped"
    parts: list[str] = []
    for i, vma in enumerate(vmas[:MAX_VMAS]):
        if i and vma.start > vmas[i - 1].end:
            parts.append("hole " + geometry.size_text((vma.start - vmas[i - 1].end) // geometry.page_size))
        parts.append(geometry.size_text((vma.end - vma.start) // geometry.page_size))
    return f"{vmas[0].start:#_x} + " + " | ".join(parts) + (" | …" if len(vmas) > MAX_VMAS else "")
