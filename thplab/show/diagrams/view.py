"""What one picture shows: shared by all that draw a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from thplab.machine.state import State
from thplab.show.diagrams.arrows import Arrow, Ends, arrows
from thplab.show.diagrams.cut import Cut
from thplab.show.diagrams.places import Place, Stood


@dataclass(frozen=True)
class View:
    """A state under a cut, the state before it (None:
    mark no change), and the ids of rows and nodes that somebody points to.
    """

    state: State
    previous: State | None
    cut: Cut
    mark: frozenset[str]

    def ground(self, id: str, changed: bool = False, plain: str = "paper") -> str:
        """The role of the ground of the row or cell with this id; a mark on a node is one on its header."""
        return (
            "pointed" if id in self.mark or id.removesuffix("-head") in self.mark else "changed" if changed else plain
        )

    @cached_property
    def tables(self) -> dict[Place, Stood]:
        return self.cut.find(self.state)

    @cached_property
    def tables_before(self) -> dict[Place, Stood]:
        return self.cut.find(self.previous) if self.previous else {}

    @cached_property
    def arrows(self) -> dict[Ends, Arrow]:
        return arrows(self.state, self.cut)

    @cached_property
    def arrows_before(self) -> dict[Ends, Arrow]:
        """As `arrows`; the same if there is no state before, so that nothing looks new."""
        return arrows(self.previous, self.cut) if self.previous else self.arrows
