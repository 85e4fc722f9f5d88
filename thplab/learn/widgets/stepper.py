"""The stepper: a trace in the page, forwards and backwards, with the picture, the routines,
the counters and the reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import traitlets

from thplab.errors import BadInput
from thplab.kernel.kernels import DEFAULT
from thplab.kernel.policies import Kernel
from thplab.learn import progress
from thplab.learn.widgets.asking import Asking
from thplab.learn.widgets.conversation import asked
from thplab.learn.widgets.live_run import LiveWidget
from thplab.learn.widgets.payload import payload, words
from thplab.learn.widgets.pictured import Pictured
from thplab.learn.widgets.prediction import Prediction, find_frame
from thplab.learn.widgets.recorded_payload import recorded_payload
from thplab.learn.widgets.widget import Stepped, trace_of
from thplab.machine.trace import Setup, Trace
from thplab.scenario import Scenario
from thplab.show.diagrams import DETAILS, SIMPLE, Sheet
from thplab.study.explore import RaceTrace
from thplab.study.live import nearest, unable
from thplab.study.live.request import refuse_unless_portable, refuse_unless_sensible
from thplab.study.live.support import release


class Stepper(LiveWidget, Pictured, Stepped, Asking, page="comparison recorded course stepper"):
    """Steps through a trace. All frames are in the page:
    once shown, it works without a kernel, also in an exported page.

    `scenario` is a trace, which brings its own machine, or what thplab.scenario.load takes (a built-in name, a file,
    operations), or a Scenario, recorded on `kernel` and `geometry`. `step` is the frame to begin at: a number, a
    phase's title or a step's text; left out, the trace's position. `all_steps` shows plain reads and locks from the
    start. `lecture` is for a projector: large, without predictions and without live runs; `stops` are the frames at
    which it comes to rest there. `detail` is how much the pictures say until the reader chooses: "simple" or "full".
    Where a Python kernel runs and the scenario is portable,
    it can be run on the kernel of this machine. Raises BadInput for a scenario, frame, prediction or detail that makes
    no sense, and NoEngine if no pictures can be drawn.
    """

    traits_in_html = ("step", "all_steps", "detail", "compared")

    all_steps = traitlets.Bool(False).tag(sync=True)
    detail = traitlets.Enum(DETAILS, SIMPLE).tag(sync=True)
    live = traitlets.Dict().tag(sync=True)
    """What can be run on the machine's own kernel: its release and, if nothing can, why;
    empty where that is no question.
    """
    reached = traitlets.Int(None, allow_none=True).tag(sync=True)
    """The frame to which the learner went last, also in an earlier session; None where that is not kept."""

    kind = progress.PREDICTION

    def __init__(
        self,
        scenario: Trace | Scenario | str,
        *,
        kernel: str | Kernel = DEFAULT,
        geometry: str = "TOY",
        step: int | str | None = None,
        predictions: Sequence[Prediction] = (),
        all_steps: bool = False,
        lecture: bool = False,
        stops: Sequence[int] = (),
        detail: str = SIMPLE,
    ) -> None:
        self.trace = trace_of(scenario, Setup(kernel, geometry))
        number = self.trace.position if step is None else find_frame(self.trace, step, "step")
        for stop in stops:
            find_frame(self.trace, stop, "stops")
        self._data = payload(self.trace, () if lecture else predictions, stops)
        live = {} if lecture or isinstance(self.trace, RaceTrace) else {"kernel": release(), "why": self._not_live()}
        self._sheets: dict[str, Sheet] = {}
        self._details = (detail,)
        self.kept_as = progress.here(self.trace.scenario.name or self.trace.scenario.line())
        progress.record_stepper(*self.kept_as, self.asks_now())
        super().__init__(
            packed=self.packed_now(), step=number, lecture=lecture, all_steps=all_steps, detail=detail, live=live
        )

    def asks_now(self) -> dict[str, str]:
        """The right answer to each question, by its id."""
        return {question["id"]: question["actual"] for question in self._data["questions"]}

    @traitlets.default("reached")
    def _where_she_was(self) -> int | None:
        step = progress.step(*self.kept_as)
        return None if step is None or step >= len(self.trace) else step

    @traitlets.observe("reached")
    def _keep_where_she_is(self, change: Any) -> None:
        with self.answering(0):
            if isinstance(change["new"], int) and 0 <= change["new"] < len(self.trace):
                progress.record_step(*self.kept_as, change["new"])

    def _not_live(self) -> str:
        """Why the trace's scenario cannot be run on the kernel of this machine; empty if it can."""
        if self.trace.inserts or self.trace.problem:
            return (
                "another CPU comes in between here" if self.trace.inserts else "the scenario does not come to its end"
            )
        try:
            refuse_unless_portable(self._on_the_kernel())
        except BadInput as error:
            return str(error)
        return unable()

    def _on_the_kernel(self) -> Scenario:
        """The trace's scenario, in the environment of its machine."""
        return replace(self.trace.scenario, env=self.trace.setup.swap or self.trace.scenario.env)

    @asked("run")
    def _run_here(self) -> str:
        """Run the scenario on the kernel of this machine."""
        if why := self.live.get("why", "that is no question here"):
            raise BadInput("run", f"is not possible: {why}", "a portable scenario on Linux")
        refuse_unless_sensible(self._on_the_kernel(), nearest(release())[0])
        self.start(self._on_the_kernel())
        return self.says

    def still(self) -> tuple[str, str]:
        """The picture of the frame that is shown, and its step."""
        frame = self._data["frames"][self.step]
        return self.sheets(self.detail)[0].svg(self.step), f"Step {self.step}: {frame['text']}. {frame['why']}"

    def data(self) -> dict[str, Any]:
        """What payload() makes of the trace, and words() once they were asked for."""
        return self._data

    @asked("words")
    def _tell_words(self) -> None:
        """Bring the states in words into the page, too."""
        before, self._data = self._data, self._data | {"words": words(self.trace)}
        try:
            self.packed = self.packed_now()
        except Exception:
            self._data = before
            raise

    @asked("recorded")
    def _tell_recorded(self) -> None:
        """Bring what was recorded of the trace's operations into the page, too."""
        before, self._data = self._data, self._data | {"recorded": recorded_payload(self.trace)}
        try:
            self.packed = self.packed_now()
        except Exception:
            self._data = before
            raise

    def packed_for_html(self) -> str:
        """With all that could be asked for: nobody can be asked there."""
        self._data |= {"words": words(self.trace), "recorded": recorded_payload(self.trace)}
        return super().packed_for_html()

    def sheets(self, detail: str) -> list[Sheet]:
        """One, with a picture for each frame."""
        if detail not in self._sheets:
            self._sheets[detail] = Sheet.of([frame.state for frame in self.trace], detail)
        return [self._sheets[detail]]
