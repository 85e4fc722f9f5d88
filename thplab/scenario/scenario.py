"""A scenario: what is done to memory, as plain data."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from textwrap import shorten
from typing import Any

from thplab.errors import BadInput
from thplab.foreign import AnyShape, ListShape, ObjectShape, TextShape
from thplab.scenario import text
from thplab.scenario.operation import Operation, Phase

_TEXT = TextShape(text.LONGEST)
_OPS = ListShape(ObjectShape({"op": _TEXT}, others=AnyShape(), most=50))
_HEADER = {"name": _TEXT, "about": _TEXT, "env": _TEXT}
RECORD = ObjectShape({"ops": _OPS}, _HEADER, AnyShape())
"""What a scenario is read from in a record of a recording."""
_PHASE = ObjectShape({"ops": _OPS}, {"title": _TEXT, "why": _TEXT})
_SHAPE = ObjectShape({"phases": ListShape(_PHASE)}, _HEADER)


@dataclass(frozen=True)
class Scenario:
    """A name, a line about it, and operations in phases; `env` names the swap of a recording.
    A scenario without phases is one phase without a title.

    parse() and format() are inverses, from_json() and to_json() too. Raises BadInput for a name, about or env that the
    text form cannot hold, and for a phase without a title that is not the first or is empty beside others.
    """

    name: str = ""
    about: str = ""
    phases: tuple[Phase, ...] = (Phase(),)
    env: str = ""

    def __post_init__(self) -> None:
        text.check_header(self.name, self.about, self.env)
        object.__setattr__(self, "phases", tuple(self.phases) or (Phase(),))
        if any(not phase.title for phase in self.phases[1:]):
            raise BadInput("phases", "have no title", "a title for each phase but the first")
        if len(self.phases) > 1 and not self.phases[0].title and not self.phases[0].ops:
            raise BadInput("phases", "begin with one that has neither title nor operations", "to leave it out")

    def __str__(self) -> str:
        return self.name or shorten(text.write_line(self.ops[:20]), 80, placeholder=" ...")

    def __repr__(self) -> str:
        return f"<Scenario {self}: {len(self.ops)} operations>"

    @cached_property
    def ops(self) -> tuple[Operation, ...]:
        """All operations in order."""
        return tuple(op for phase in self.phases for op in phase.ops)

    def phase_of(self, index: int) -> int:
        """The index of the phase that operation number `index` belongs to.
        Raises BadInput if there is no such operation.
        """
        if not 0 <= index < len(self.ops):
            raise BadInput("index", f"is {index}", f"an operation's number, from 0 to below {len(self.ops)}")
        return bisect_right(self._ends, index)

    @cached_property
    def _ends(self) -> list[int]:
        """For each phase the number of operations up to its end."""
        return list(accumulate(len(phase.ops) for phase in self.phases))

    def first(self, count: int) -> Scenario:
        """The first `count` operations, in their phases."""
        kept: list[Phase] = []
        for phase, end in zip(self.phases, self._ends, strict=True):
            left = count - end + len(phase.ops)
            if left > 0 or not kept:
                kept.append(replace(phase, ops=phase.ops[:left]))
        return replace(self, phases=tuple(kept))

    def then(self, op: Operation) -> Scenario:
        """The scenario with one more operation at the end of its last phase."""
        *before, last = self.phases
        return replace(self, phases=(*before, replace(last, ops=(*last.ops, op))))

    @classmethod
    def parse(cls, source: str) -> Scenario:
        """The scenario that `source` writes; the form is described in thplab.scenario.text.
        Raises BadInput naming the line.
        """
        parts = text.read(source)
        return cls(parts.name, parts.about, tuple(parts.phases), parts.env)

    def format(self) -> str:
        """The text form, one operation a line. Inverse of parse()."""
        return text.write(text.Parts(self.name, self.about, self.env, list(self.phases)))

    def line(self) -> str:
        """The operations alone, on one line. parse() reads them back as a scenario without phases."""
        return text.write_line(self.ops)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Scenario:
        """The scenario of a record of tests/truth/*.jsonl: its name, about, env and ops.
        What was recorded is left aside.

        Raises BadInput if the record does not fit.
        """
        RECORD.check(record)
        return cls(*_header(record), (Phase(ops=_ops(record)),), record.get("env", ""))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scenario:
        """The scenario that to_json() wrote. Raises BadInput if `data` does not fit."""
        _SHAPE.check(data)
        made = (Phase(phase.get("title", ""), phase.get("why", ""), _ops(phase)) for phase in data["phases"])
        return cls(*_header(data), tuple(made), data.get("env", ""))

    def to_json(self) -> dict[str, Any]:
        """The scenario as a dict that JSON can hold; operations as the recorder writes them."""
        phases = [
            {"title": phase.title, "why": phase.why, "ops": [op.to_json() for op in phase.ops]} for phase in self.phases
        ]
        return {"name": self.name, "about": self.about, "env": self.env, "phases": phases}


def _header(data: Mapping[str, Any]) -> tuple[str, str]:
    return data.get("name", ""), data.get("about", "")


def _ops(data: Mapping[str, Any]) -> tuple[Operation, ...]:
    return tuple(map(Operation.from_json, data["ops"]))
