"""The widgets that ask: what the learner answers is kept in her file, where there is one, and comes back from it."""

from __future__ import annotations

from typing import Any, ClassVar

import traitlets

from thplab.learn import progress
from thplab.learn.widgets.conversation import fits
from thplab.learn.widgets.widget import Widget


class Asking(Widget):
    """A widget with questions. It says what it asks in asks_now(), and sets `kept_as` before its traits are set."""

    answers = traitlets.Dict().tag(sync=True)
    """What the learner has answered, by the question's id: at first what her file has, then as the page says.
    None for a question that she wants to answer again. Empty where nothing is kept.
    """

    kind: ClassVar[str]
    """As what the answers are kept: progress.PREDICTION or progress.QUIZ."""
    kept_as: tuple[str, str]
    """The notebook, and the widget's name in it: progress.here()."""

    def asks_now(self) -> dict[str, str]:
        """The right answer to each question that is asked, by its id."""
        raise NotImplementedError

    @traitlets.default("answers")
    def _kept(self) -> dict[str, str | None]:
        return progress.answers(self.asks_now())

    @traitlets.observe("answers")
    def _keep(self, change: Any) -> None:
        given = change["new"]
        with self.answering(0):
            if fits(given, dict[str, str | None]):
                progress.record_answers(self.kind, *self.kept_as, given, self.asks_now())
