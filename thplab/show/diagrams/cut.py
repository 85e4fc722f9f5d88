"""Which rows a picture has, and what has a place in it.
All frames of a trace are cut alike, so that nothing moves between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thplab.errors import BadInput
from thplab.machine.state import State
from thplab.show.diagrams.cutter import Cutter
from thplab.show.diagrams.layout import Layout


@dataclass(frozen=True)
class Cut(Layout):
    """The nodes and rows of all pictures that belong together."""

    def __repr__(self) -> str:
        return f"<Cut: {len(self.tables)} tables, {len(self.blocks)} blocks>"

    @classmethod
    def of(cls, states: Sequence[State]) -> Cut:
        """The cut that fits all `states`, which are of one machine.
        Raises BadInput if there are none or their geometries differ.
        """
        if not states:
            raise BadInput("states", "is empty", "at least one state")
        if len({s.geometry for s in states}) > 1:
            raise BadInput("states", "have different geometries", "states of one machine")
        return cls(**vars(Cutter(states).nodes()))
