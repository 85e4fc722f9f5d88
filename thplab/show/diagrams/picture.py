"""What a picture says, before anybody has laid it out: boxes of processes, nodes with rows of text, and arrows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from thplab.show.diagrams.arrows import Ends
from thplab.show.diagrams.cells import Cell, CellRow


class PictureNode(NamedTuple):
    """A table, a block of memory or a note.

    `frame` is the role of the line around it, "" for none; `kind` its classes;
    `rank` where it stands from left to right.
    """

    id: str
    rows: tuple[CellRow, ...]
    frame: str = "line"
    kind: str = "note"
    rank: str = "memory"
    dashed: bool = False
    shown: bool = True


class ProcessBox(NamedTuple):
    """A process: a frame around its title and its tables."""

    id: str
    title: tuple[CellRow, ...]
    nodes: tuple[PictureNode, ...]
    role: str
    shown: bool


class Look(NamedTuple):
    """How an arrow looks: its kind, the role of its colour, whether the step made it, and what stands beside it."""

    kind: str
    role: str
    changed: bool
    label: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """All that one picture says."""

    boxes: tuple[ProcessBox, ...]
    nodes: tuple[PictureNode, ...]
    arrows: Mapping[Ends, Look]

    def all_nodes(self) -> Iterator[PictureNode]:
        """The nodes in boxes and outside."""
        for box in self.boxes:
            yield from box.nodes
        yield from self.nodes

    def all_rows(self) -> Iterator[tuple[str, CellRow]]:
        """Every row that shows, with the id of its node or box."""
        for box in self.boxes:
            if box.shown:
                yield from ((box.id, row) for row in box.title)
        for node in self.all_nodes():
            if node.shown:
                yield from ((node.id, row) for row in node.rows)

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Every cell that shows, by its id."""
        return {cell.id: cell for _, row in self.all_rows() for cell in row.cells}
