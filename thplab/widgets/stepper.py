"""The stepper: a trace in the page, forwards and backwards, with the picture, the routines, the counters and the reasons."""

from __future__ import annotations

from collections.abc import Sequence

import traitlets

from thplab.scenario import load
from thplab.trace import Trace, record
from thplab.widgets.page import pack
from thplab.widgets.payload import payload
from thplab.widgets.prediction import Prediction, find_frame
from thplab.widgets.widget import Widget


class Stepper(Widget, page="stepper"):
    """Steps through a trace. All frames are in the page: once shown, it works without a kernel, also in an exported page.

    `trace` is a trace, or what thplab.scenario.load takes (a built-in name, a file, operations), recorded on the default machine.
    `start` is the frame to begin at: a number, a phase's title or a step's text; left out, the trace's position. `all_steps`
    shows plain reads and locks from the start. `lecture` is for a projector: large, without predictions.
    Raises BadInput for a scenario, frame or prediction that makes no sense, and NoEngine if no pictures can be drawn.
    """

    traits_in_html = ("step", "all_steps", "lecture")

    step = traitlets.Int(0).tag(sync=True)
    """The number of the frame that is shown; set it to show another one."""
    all_steps = traitlets.Bool(False).tag(sync=True)
    lecture = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        trace: Trace | str,
        *,
        lecture: bool = False,
        predictions: Sequence[Prediction] = (),
        start: int | str | None = None,
        all_steps: bool = False,
    ) -> None:
        self.trace = record(load(trace)) if isinstance(trace, str) else trace
        step = self.trace.position if start is None else find_frame(self.trace, start, "start")
        self._data = payload(self.trace, () if lecture else predictions)
        super().__init__(packed=pack(self._data), step=step, lecture=lecture, all_steps=all_steps)

    def still(self) -> tuple[str, str]:
        """The picture of the frame that is shown, and its step."""
        frame = self._data["frames"][self.step]
        return self._data["pictures"][frame["picture"]], f"Step {self.step}: {frame['text']}. {frame['why']}"
