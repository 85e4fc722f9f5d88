"""What one picture shows: shared by all that draw a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from thplab.machine.state import State
from thplab.show.diagrams.cells import SIZE, SMALL
from thplab.show.diagrams.cut import Cut
from thplab.show.diagrams.places import Place, Stood

SIMPLE, FULL = "simple", "full"
DETAILS = (SIMPLE, FULL)
"""How much a picture says: what a lesson needs, or every bit and flag."""


@dataclass(frozen=True)
class View:
    """A state under a cut, the state before it (None: mark no change), the ids of rows and nodes that somebody
    points to, and how much is said.
    """

    state: State
    previous: State | None
    cut: Cut
    mark: frozenset[str]
    full: bool
    tables: Mapping[Place, Stood]
    """The tables of the state that have a place."""
    tables_before: Mapping[Place, Stood]

    @property
    def small(self) -> float:
        """The size of what matters less. The simple picture has one size, to be read from the last row."""
        return SMALL if self.full else SIZE

    def ground(self, id: str, changed: bool = False, plain: str = "paper") -> str:
        """The role of the ground of the row or cell with this id; a mark on a node is one on its header."""
        return (
            "pointed" if id in self.mark or id.removesuffix("-head") in self.mark else "changed" if changed else plain
        )
