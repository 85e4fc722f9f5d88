"""The live lab: a scenario on the learner's own kernel, beside the simulator, operation by operation."""

from __future__ import annotations

import threading

import traitlets

from thplab.errors import BadInput
from thplab.learn.widgets.conversation import asked
from thplab.learn.widgets.live_payload import RECORDED, live_payload
from thplab.learn.widgets.live_run import LiveWidget
from thplab.learn.widgets.page import pack
from thplab.scenario import Scenario, load
from thplab.study.live import nearest, portable_builtins, shipped, unable
from thplab.study.live.request import refuse_unless_portable, refuse_unless_sensible
from thplab.study.live.support import release
from thplab.study.verify import replay_records

ASKED_FOR = "only recorded runs were asked for (recorded=True)"


class LiveLab(LiveWidget, page="comparison live"):
    """Performs a scenario on the kernel that runs here, and steps through both sides of what came out.

    `scenario` is what thplab.scenario.load takes; every operation must be portable. Until it is run, and where nothing
    can be run or `recorded` is true, the recorded run that comes with thplab is shown, if there is one. `lecture` is
    for a projector, without pictures. Raises BadInput for a scenario that makes no sense or is not portable, and
    NoEngine if no pictures can be drawn.
    """

    traits_in_html = ("compared", "scenario", "step")
    live_pictures = True

    scenario = traitlets.Unicode("").tag(sync=True)
    """The scenario that is shown or would be run: a name, or operations."""
    step = traitlets.Int(0).tag(sync=True)
    """The number of the operation that is shown, from 0."""

    def __init__(self, scenario: str = "cow", *, recorded: bool = False, lecture: bool = False) -> None:
        why = ASKED_FOR if recorded else unable()
        self._kernel = nearest(release())[0]
        self._why = why
        choices = [[each.name, each.about, each.line()] for each in portable_builtins()]
        machine = {"choices": choices, "why": why, "kernel": release(), "simulator": self._kernel}
        super().__init__(packed=pack(machine), lecture=lecture)
        self.choose(scenario)

    def choose(self, source: str) -> None:
        """Take another scenario, and show its recorded run if there is one.

        Raises BadInput if it makes no sense or cannot be performed, and during a run; then nothing has changed.
        """
        with self.at_once():
            self.tell(self._choose(source))

    @asked("choose")
    def _choose(self, source: str) -> str:
        """As choose(); returns what is said of it."""
        self.refuse_while_running("choose")
        scenario = self._checked(source)
        record = shipped(scenario)
        compared, says = "", f"No recorded run of it comes with thplab, and no live one is possible: {self._why}."
        if record is not None:
            simulator = nearest(record["kernel"])[0]
            unseen = dict.fromkeys(record.get("unseen", ()), "not seen when it was recorded")
            outcomes = tuple(replay_records([record], simulator))
            compared = pack(live_payload(record, outcomes, RECORDED, simulator, unseen, self.live_pictures))
            says = f"Recorded on Linux {record['kernel']}."
            if self._why:
                says += f" No live run here: {self._why}."
        elif not self._why:
            says = "Not run yet."
        self.scenario, self.compared, self.step = source, compared, 0
        return says

    def run(self, source: str | None = None) -> None:
        """Perform the scenario, or another one, and wait for the end.
        Raises BadInput as choose() does, and if nothing can be run.
        """
        self._begin(self.scenario if source is None else source).join()

    @asked("run")
    def _run_here(self, source: str) -> str:
        """Perform a scenario, and do not wait for the end."""
        self._begin(source)
        return self.says

    def _begin(self, source: str) -> threading.Thread:
        self.refuse_while_running("run")
        scenario = self._checked(source)
        if self._why:
            raise BadInput("run", f"is not possible here: {self._why}", "choose(), which shows a recorded run")
        return self.start(scenario, scenario=source, step=0)

    def _checked(self, source: str) -> Scenario:
        scenario = load(source.strip())
        refuse_unless_portable(scenario)
        refuse_unless_sensible(scenario, self._kernel)
        return scenario

    def still(self) -> tuple[str, str]:
        """No picture; what is said of the scenario."""
        return "", f"Live lab, {self.scenario}: {self.says}"
