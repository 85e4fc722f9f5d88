"""What the widgets share that perform a scenario on the running kernel:
the run, beside everything else, and what is said of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any

import traitlets

from thplab.errors import BadInput
from thplab.learn.widgets.live_payload import LIVE, live_payload
from thplab.learn.widgets.page import pack
from thplab.learn.widgets.widget import Widget
from thplab.scenario import Scenario
from thplab.study.live import Agent, LiveError, check_live, nearest
from thplab.study.live.limits import beforehand
from thplab.study.live.request import refuse_unless_portable
from thplab.study.live.support import release

_ONE_AT_A_TIME = threading.Lock()
"""The counters are the system's: two runs at once would see each other."""

RUNNING = "Running on this kernel…"


class LiveWidget(Widget):
    """A widget that can perform a scenario on the running kernel, through an agent that ends with the run.

    Closing the widget ends a run that is under way.
    `live_pictures` says whether the result comes with the simulator's pictures.
    """

    live_pictures = False

    compared = traitlets.Unicode("").tag(sync=True)
    """The run that is shown beside the simulator, packed; empty if there is none."""

    # On the class, because a widget whose making failed is closed, too.
    _agent: Agent | None = None
    _ended = False

    def start(self, scenario: Scenario, /, **then: Any) -> threading.Thread:
        """Perform a scenario and show it, while the kernel of the notebook goes on; returns the thread that does.

        `then` are traits that are set together with the result. The caller has seen to it that runs are possible here.
        What goes wrong is said in the widget, which shows what it showed before. Raises BadInput if a run is under way.
        """
        with self.at_once():
            self.refuse_while_running("run")
            self.tell(f"{RUNNING} It {beforehand(scenario.ops)}.", running=True)
            thread = threading.Thread(target=self._run, args=(scenario, then, self._to), daemon=True)
            thread.start()
        return thread

    def refuse_while_running(self, argument: str) -> None:
        """Raises BadInput, which names `argument`, if a run is under way."""
        if self.running:
            raise BadInput(argument, "comes while a run is under way", "a moment later, when that has ended")

    def close(self) -> None:
        """Close the widget, and end its agent with all that it has started."""
        self._ended = True
        agent = self._agent
        if agent is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(agent.pid, signal.SIGKILL)  # its children die with it; the run hears of it and cleans up
        super().close()

    def _run(self, scenario: Scenario, then: dict[str, Any], to: int) -> None:
        with self.answering(to, running=False):
            compared, says = self._performed(scenario)
            with self.at_once():
                for name, value in ({"compared": compared} | then).items():
                    setattr(self, name, value)
                self.tell(says, running=False, to=to)

    def _performed(self, scenario: Scenario) -> tuple[str, str]:
        """Perform and compare: the result, packed, and what to say of it.
        Raises BadInput, LiveError, NoEngine, OSError.
        """
        kernel = nearest(release())[0]
        with _ONE_AT_A_TIME, Agent() as agent:
            self._agent = agent
            try:
                if self._ended:
                    raise LiveError("the widget was closed")
                refuse_unless_portable(scenario, agent.io_uring)
                checked = check_live(agent, scenario, kernel)
            finally:
                self._agent = None
        data = live_payload(checked.record, checked.outcomes, LIVE, kernel, agent.unseen, self.live_pictures)
        findings = len(checked.outcomes) - data["agree"]
        says = (
            f"Performed on Linux {release()}: {data['agree']} of {len(checked.outcomes)} operations agree with the "
            "simulator"
        )
        return pack(data), says + (f", {findings} to look at." if findings else ".")
