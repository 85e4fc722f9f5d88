"""The footprint lab: sliders for a population of huge pages, and what each kernel holds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thplab.errors import BadInput
from thplab.hardware.geometry import X86_64
from thplab.learn.widgets.conversation import asked
from thplab.learn.widgets.page import pack
from thplab.learn.widgets.widget import Widget
from thplab.show import plots
from thplab.show.describe.footprint_text import reason, summary
from thplab.show.plots.footprint import KERNELS
from thplab.show.plots.held import table
from thplab.study.footprint import PATTERNS, Footprint, Population, population, project

MOST_THPS = 4000
GRID = tuple(step / 10 for step in range(11))
"""The shares unmapped that a page without Python has, for each of PRESSURES."""
PRESSURES = (0.0, 0.25, 0.5, 0.75, 1.0)


class FootprintLab(Widget, page="bars footprint"):
    """Memory mapped against memory held for thousands of huge pages, on several kernels, as the learner moves sliders.

    The arguments are where the sliders begin: how many huge pages; the share of their small pages that is unmapped and
    in which of PATTERNS; the share of the deferred split queue to which the shrinker gets; how many processes map each,
    and how many of them unmap; the shares that are pinned and zero-filled. Raises BadInput as
    thplab.study.footprint.population() and project() do.
    """

    def __init__(
        self,
        *,
        kernels: Sequence[str] = KERNELS,
        thps: int = 1000,
        unmapped: float = 0.5,
        pattern: str = "random",
        pressure: float = 0.0,
        sharing: int = 1,
        unmapping: int = 1,
        pinned: float = 0.0,
        zero_filled: float = 0.0,
    ) -> None:
        if not kernels:
            raise BadInput("kernels", "are none", "at least one kernel")
        self.kernels = tuple(kernels)
        self._values: dict[str, Any] = {
            "thps": thps, "unmapped": unmapped, "pattern": pattern, "pressure": pressure,
            "sharing": sharing, "unmapping": unmapping,
            "pinned": pinned, "zero_filled": zero_filled,
        }  # fmt: skip
        self._shown = self._at(self._values)
        super().__init__(packed=pack(self._data()))

    def _at(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All that depends on the position of the sliders."""
        question = _population(values)
        return _told(values, question, self._projected(question, values["pressure"]))

    def _projected(self, question: Population, pressure: float) -> list[Footprint]:
        return [project(kernel, question, pressure) for kernel in self.kernels]

    @asked("move")
    def _move(
        self,
        thps: int,
        unmapped: float,
        pattern: str,
        pressure: float,
        sharing: int,
        unmapping: int,
        pinned: float,
        zero_filled: float,
    ) -> None:
        """Show another position of the sliders."""
        values = {
            "thps": thps, "unmapped": unmapped, "pattern": pattern, "pressure": pressure,
            "sharing": sharing, "unmapping": unmapping,
            "pinned": pinned, "zero_filled": zero_filled,
        }  # fmt: skip
        self._shown, self._values = self._at(values), values
        self.packed = pack(self._data())

    def _data(self) -> dict[str, Any]:
        reasons = [[kernel, reason(kernel)] for kernel in self.kernels]
        return self._shown | {"controls": _controls(self._values), "reasons": reasons}

    def packed_for_html(self) -> str:
        """With the positions of GRID and PRESSURES for a page without Python;
        there the other sliders stay where they are.
        """
        grid = []
        for share in GRID:
            question = _population(self._values | {"unmapped": share})
            for pressure in PRESSURES:
                values = self._values | {"unmapped": share, "pressure": pressure}
                grid.append(_told(values, question, self._projected(question, pressure)))
        return pack(self._data() | {"grid": grid})

    def still(self) -> tuple[str, str]:
        """The picture at the position of the sliders, and what it says."""
        question = _population(self._values)
        return plots.held(self._projected(question, self._values["pressure"]), _memory(question)).svg(), self._shown[
            "words"
        ]


def _population(values: Mapping[str, Any]) -> Population:
    return population(
        values["thps"], values["unmapped"], values["pattern"], X86_64, values["sharing"], values["unmapping"],
        values["zero_filled"], values["pinned"],
    )  # fmt: skip


def _memory(question: Population) -> int:
    """Bytes that all of it has before anything is unmapped."""
    return question.unmapped.size * question.geometry.page_size


def _told(values: Mapping[str, Any], question: Population, answers: Sequence[Footprint]) -> dict[str, Any]:
    most = _memory(question)
    return {
        "values": dict(values),
        "bars": [[answer.kernel, answer.held / most, answer.mapped / most] for answer in answers],
        "table": table(answers),
        "words": summary(question, answers),
    }


def _controls(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sliders, in the order in which they stand: name, label, what it may be, and how a value is told."""
    return [
        {"name": "thps", "label": "huge pages", "min": 10, "max": MOST_THPS, "step": 10},
        {"name": "unmapped", "label": "unmapped", "min": 0, "max": 1, "step": 0.01, "percent": True},
        {"name": "pattern", "label": "which small pages", "options": list(PATTERNS)},
        {"name": "pressure", "label": "memory pressure", "min": 0, "max": 1, "step": 0.05, "percent": True},
        {"name": "sharing", "label": "processes that map each", "min": 1, "max": 8, "step": 1},
        {"name": "unmapping", "label": "of them unmap", "min": 0, "max": int(values["sharing"]), "step": 1},
        {"name": "pinned", "label": "pinned", "min": 0, "max": 1, "step": 0.01, "percent": True},
        {"name": "zero_filled", "label": "zero-filled", "min": 0, "max": 1, "step": 0.01, "percent": True},
    ]
