"""A process in a picture: its box and what it says about the VMAs."""

from __future__ import annotations

from thplab.hardware import page_tables as pt
from thplab.hardware.geometry import Geometry
from thplab.machine.state import ProcessState, State, VmaState
from thplab.show.diagrams.cells import LARGE, SMALL, TALL, Cell, CellRow, Span, old_new, spans
from thplab.show.diagrams.picture import PictureNode, ProcessBox
from thplab.show.diagrams.roles import CLEAR, process_role
from thplab.show.diagrams.tables import tables_of
from thplab.show.diagrams.view import View

MAX_VMAS = 5
"""VMAs that a title names one by one."""


def box_of(view: View, name: str, keep: dict[object, PictureNode]) -> ProcessBox:
    """The box of a process with its tables;
    all of it keeps its place, and does not show, while the process is not there. `keep` as for tables_of().
    """
    process = _find(view.state, name)
    role = process_role(view.cut.processes.index(name))
    title = (_full_title if view.full else _title)(view, name, role) if process else ()
    return ProcessBox(f"process-{name}", title, tables_of(view, name, keep), role, process is not None)


def _find(state: State | None, name: str) -> ProcessState | None:
    return next((p for p in state.processes if p.name == name), None) if state else None


# --- the title --------------------------------------------------------------------------------------------------------


def _title(view: View, name: str, role: str) -> tuple[CellRow, ...]:
    """The name, what each VMA allows, and how many tables are put aside: "A  rw | r | rw · 1 deposited"."""
    process, before = _find(view.state, name), _find(view.previous, name)
    assert process is not None
    rights, changed = _rights(process.vmas, before.vmas if before else process.vmas)
    started = view.previous is not None and before is None
    count, was = _deposited(process), _deposited(before) if before else 0
    new = view.previous is not None and count != was
    aside = old_new(f"{was}" if new else None, f"{count}") if count or new else ()
    text = spans(
        Span(f"{name} ", role, True, LARGE),
        *rights,
        Span("  ·  " if aside else "", "muted"),
        *aside,
        Span(" deposited" if aside else "", "muted"),
    )
    id = f"process-{name}-title"
    return (CellRow("", (Cell(id, text, view.ground(id, started or changed or new, CLEAR)),), "title", height=TALL),)


def _deposited(process: ProcessState) -> int:
    return sum(len(waiting) for _, waiting in process.deposited)


def _full_title(view: View, name: str, role: str) -> tuple[CellRow, ...]:
    process, before = _find(view.state, name), _find(view.previous, name)
    assert process is not None
    id, vmas = f"process-{name}-title", f"process-{name}-vmas"
    geometry = view.state.geometry
    count, where = _count(process.vmas), _where(process.vmas, geometry)
    started = view.previous is not None and before is None
    rights, changed = _rights(process.vmas, before.vmas if before else process.vmas)
    counts = old_new(_count(before.vmas) if before else None, count)
    moved = before is not None and where != _where(before.vmas, geometry)
    head = spans(Span(f"Process {name}  ", role, bold=True), *counts, *([Span(": "), *rights] if rights else []))
    return (
        CellRow("", (Cell(id, head, view.ground(id, started or changed, CLEAR)),), "title"),
        CellRow("", (Cell(vmas, spans(Span(where, "muted", size=SMALL)), view.ground(vmas, moved, CLEAR)),), "title"),
    )


def _count(vmas: tuple[VmaState, ...]) -> str:
    return f"{len(vmas)} vma" + "s" * (len(vmas) != 1)


def _rights(vmas: tuple[VmaState, ...], before: tuple[VmaState, ...]) -> tuple[list[Span], bool]:
    """ "rw | r | rw", each with what it was if only the protection changed; and whether anything changed."""
    same = len(vmas) == len(before)
    found: list[Span] = []
    for i, vma in enumerate(vmas[:MAX_VMAS]):
        found += [Span(" | ", "muted")] if i else []
        found += old_new(_prot(before[i]) if same else None, _prot(vma), "muted")
    if len(vmas) > MAX_VMAS:
        found.append(Span(f" | … {len(vmas) - MAX_VMAS} more", "muted"))
    return found, [(v.start, v.end, v.prot) for v in vmas] != [(v.start, v.end, v.prot) for v in before]


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
