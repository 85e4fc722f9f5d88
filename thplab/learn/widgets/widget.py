"""What all widgets have in common:
their files, the data they show in one text, and the same as HTML for a page without a kernel.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import traitlets
from IPython.display import display

from thplab.errors import BadInput
from thplab.learn import EXPORTING, progress
from thplab.learn.widgets.conversation import Conversation
from thplab.learn.widgets.page import dressed, later, standalone
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Scenario, load


class Widget(Conversation):
    """A widget whose page is `class Mine(Widget, page="mine")`:
    the files mine.js and mine.css beside those that all share.

    `page="more mine"` brings more.js and more.css before its own: what some widgets share.

    `traits_in_html` names the traits, besides `packed`, `answer` and `lecture`, with which the HTML begins.
    A widget says what stands there where no script runs.
    """

    _page: ClassVar[tuple[str, ...]]
    traits_in_html: ClassVar[tuple[str, ...]] = ()

    packed = traitlets.Unicode("").tag(sync=True)
    """Everything that is shown, packed."""
    lecture = traitlets.Bool(False).tag(sync=True)
    """Whether it is for a projector: large, with what a class needs and no more."""
    learner = traitlets.Unicode().tag(sync=True)
    """The id of the learner in whose folder the notebook is, under which the browser keeps what it keeps;
    "" where there is none.
    """

    @traitlets.default("learner")
    def _whose(self) -> str:
        return progress.learner()

    def __init_subclass__(cls, page: str | None = None, **kwargs: Any) -> None:
        if page is not None:  # traitlets makes subclasses of its own
            cls._page = tuple(page.split())
            cls._esm = dressed(*cls._page)
        super().__init_subclass__(**kwargs)

    def still(self) -> tuple[str, str]:
        """What the page shows where no script runs: a picture (SVG text, or "") and a caption (plain text)."""
        raise NotImplementedError

    def packed_for_html(self) -> str:
        """`packed` as a page without a kernel needs it: the same, unless a widget has more to say there."""
        return self.packed

    def html(self) -> str:
        """The widget as HTML that works from the page alone. Equal widgets give equal texts."""
        return standalone(self._page, self.state_for_html(), *self.still())

    def state_for_html(self) -> dict[str, Any]:
        """The traits with which the HTML begins."""
        state = {name: getattr(self, name) for name in self.traits_in_html}
        told = {"packed": self.packed_for_html(), "answer": self.answer | {"to": 0}, "lecture": self.lecture}
        return state | told

    def _ipython_display_(self) -> None:
        """Show the live widget, and after it what a notebook shows that is opened again without running it: the still
        picture. While a notebook is run to be exported (export.py), show the HTML in place of both.
        """
        if EXPORTING in os.environ:
            display({"text/html": self.html(), "text/plain": repr(self)}, raw=True)  # type: ignore[no-untyped-call]
            return
        live = self._repr_mimebundle_()
        if live is not None:
            display(live[0], metadata=live[1], raw=True)  # type: ignore[no-untyped-call]
            display({"text/html": later(*self.still())}, raw=True)  # type: ignore[no-untyped-call]


def trace_of(scenario: Trace | Scenario | str, setup: Setup, usual: Setup | None = None) -> Trace:
    """What a widget shows: the trace that it was given, which brings its own machine, or the scenario,
    recorded on `setup`.

    Raises BadInput for a scenario that makes no sense, and for a trace beside a machine that is not the `usual` one.
    """
    if isinstance(scenario, Trace):
        if setup != (usual or Setup()):
            raise BadInput(
                "scenario", "is a trace, which brings a machine of its own", "no kernel or geometry beside it"
            )
        return scenario
    return record(load(scenario) if isinstance(scenario, str) else scenario, setup)


class Stepped(Widget):
    """A widget that shows one of the frames of its `_data` at a time, which stand there before it is made."""

    step = traitlets.Int(0).tag(sync=True)
    """The number of the frame that is shown, from 0. Set it to show another one;
    BadInput, and nothing changes, if there is none.
    """

    _data: dict[str, Any]

    @traitlets.validate("step")
    def _there(self, proposal: Any) -> int:
        step, last = int(proposal["value"]), len(self._data["frames"]) - 1
        if not 0 <= step <= last:
            raise BadInput("step", f"is {step}", f"0 to {last}")
        return step
