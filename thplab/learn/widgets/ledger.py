"""The ledger: who holds what of every page, worked, with gaps or blank. What is counted: thplab/show/ledger.py."""

from __future__ import annotations

from typing import Any

import traitlets

from thplab.errors import BadInput
from thplab.kernel.kernels import DEFAULT
from thplab.kernel.policies import Kernel
from thplab.learn.widgets.ledger_payload import GAPS, cells_of, payload
from thplab.learn.widgets.payload import geometry_text, kernel_text
from thplab.learn.widgets.pictured import Pictured
from thplab.learn.widgets.prediction import find_frame
from thplab.learn.widgets.walker import carried_out
from thplab.machine.trace import Frame, Setup, Trace
from thplab.scenario import Scenario
from thplab.show.diagrams import SIMPLE, Sheet


class Ledger(Pictured, page="ledger"):
    """The table of every reference and mapping at a frame of a trace, with its holder, below the picture of the state.

    `scenario` is a trace, which brings its own machine, or what thplab.scenario.load takes, or a Scenario, carried out
    on `kernel` and `geometry`. `step` is the frame: a number, a phase's title or a step's text; left out, where the
    trace stands, the end of a scenario. `gaps` is "none" (all is filled in), "some" (cells that `seed` chooses are
    blank) or "all". What is blank can be told from the entries and pins in the picture; its counters are covered until
    all cells are filled. The answers come from the state. `lecture` is for a projector. Raises BadInput for a scenario,
    frame or kind of gaps that makes no sense, and NoEngine if no picture can be drawn.
    """

    traits_in_html = ("results",)

    results: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """For each blank cell, once something was tried or asked: `counter`, `holder` ("" for a total), the texts tried,
    how many hints were shown, and `right`: whether the first try was right, and came without a hint. An `actual` is
    there once the cell is filled."""

    def __init__(
        self,
        scenario: Trace | Scenario | str,
        *,
        kernel: str | Kernel = DEFAULT,
        geometry: str = "TOY",
        step: int | str | None = None,
        gaps: str = "none",
        seed: int = 0,
        lecture: bool = False,
    ) -> None:
        if gaps not in GAPS:
            raise BadInput("gaps", f"is {gaps!r}", "one of " + ", ".join(GAPS))
        trace = carried_out(scenario, Setup(kernel, geometry))
        number = trace.position if step is None else find_frame(trace, step, "step")
        self.frame: Frame = trace[number]
        self._data = payload(self.frame, gaps, seed) | {
            "kernel": kernel_text(trace.setup),
            "geometry": geometry_text(self.frame.state.geometry),
            "scenario": (trace.scenario.name if trace is scenario else "") or trace.scenario.line(),
        }
        super().__init__(packed=self.packed_now(), lecture=lecture)

    @property
    def cells(self) -> int:
        """How many cells are blank."""
        return sum(cell["blank"] for account in self._accounts() for cell in cells_of(account))

    @property
    def right_first_time(self) -> int:
        """How many blank cells were right the first time, without a hint."""
        return sum(bool(result["right"]) for result in self.results)

    def data(self) -> dict[str, Any]:
        """What payload() makes of the frame, and what it is of."""
        return self._data

    def sheets(self, detail: str) -> list[Sheet]:
        """One with one picture, in which nothing is marked."""
        return [Sheet.of([self.frame.state], detail)]

    def _accounts(self) -> list[dict[str, Any]]:
        return [account for group in self._data["groups"] for account in group["accounts"]]

    def still(self) -> tuple[str, str]:
        """The picture if nothing is to be found out, and the ledger in words, with "?" for what is blank."""
        told = "; ".join(map(_line, self._accounts()))
        picture = "" if self.cells else self.sheets(SIMPLE)[0].svg()
        return picture, f"Who holds what, {self._data['step']}. {told}"


def _line(account: dict[str, Any]) -> str:
    rows = " + ".join(f"{row['holder']} ({row['by']}): {_shown(row['cell'])}" for row in account["rows"])
    return f"{account['name']} {_shown(account['total'])}" + (f" = {rows}" if rows else "")


def _shown(cell: dict[str, Any]) -> str:
    return "?" if cell["blank"] else str(cell["actual"])
