"""The quiz: questions made from states, to check oneself. Each shows the operations;
the state is shown once it is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets

from thplab.hardware import geometry as sizes
from thplab.kernel.kernels import DEFAULT
from thplab.kernel.policies import Kernel
from thplab.learn.widgets.conversation import asked
from thplab.learn.widgets.page import pack
from thplab.learn.widgets.payload import geometry_text, kernel_text, ledger_groups, without_style
from thplab.learn.widgets.question import Family, Question, ends, make
from thplab.learn.widgets.widget import Widget
from thplab.machine.trace import Frame, Setup
from thplab.scenario import Scenario
from thplab.show.describe import describe, sentence
from thplab.show.diagrams import Cut, page_table_diagram, render


class Quiz(Widget, page="quiz"):
    """Asks `count` questions from the families, about `kernel` and `geometry`, one at a time;
    the same ones for the same `seed`.

    All questions of a set are in the page, so it works without a kernel, but for another set, which is that of the next
    seed. Raises BadInput as make does, and NoEngine if no pictures can be drawn.
    """

    traits_in_html = ("seed",)

    seed = traitlets.Int(1).tag(sync=True)
    """The seed of the set that is shown."""
    results: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """For each question of the set its text and `yours`, the first answer;
    None until there is one, then also `actual` and `right`.
    """

    def __init__(
        self,
        families: Sequence[Family],
        *,
        kernel: str | Kernel = DEFAULT,
        geometry: str = "TOY",
        count: int = 5,
        seed: int = 1,
    ) -> None:
        self._families, self._setup, self._count = tuple(families), Setup(kernel, geometry), count
        self.questions = make(self._families, self._setup, count, seed)
        super().__init__(packed=pack(payload(self.questions)), seed=seed)

    @asked("another")
    def another(self) -> None:
        """Show the set of the next seed. Raises BadInput, with the set unchanged, as make does."""
        questions = make(self._families, self._setup, self._count, self.seed + 1)
        packed = pack(payload(questions))
        self.questions = questions
        with self.at_once():
            self.packed, self.seed, self.results = packed, self.seed + 1, []

    def still(self) -> tuple[str, str]:
        """No picture, for it would tell the answers; the questions."""
        asked = (
            f"{number}. {question.scenario}: {question.question}"
            for number, question in enumerate(self.questions, start=1)
        )
        return "", "Check yourself. " + " ".join(asked)


def payload(questions: Sequence[Question]) -> dict[str, Any]:
    """All that a quiz shows of a set of questions, as JSON can hold it. Raises NoEngine if no pictures can be drawn."""
    shown = [ends(question.trace())[-2:] for question in questions]
    drawn = render([_drawing(before, end) for before, end in shown])
    return {
        "questions": [
            _question(question, number, *states)
            for number, (question, states) in enumerate(zip(questions, shown, strict=True))
        ],
        "pictures": [without_style(svg) for svg in drawn],
    }


def _drawing(before: Frame, end: Frame) -> str:
    """The DOT source of the last state. What the last operation has changed is marked."""
    dot: str = page_table_diagram(end.state, before.state, Cut.of([before.state, end.state])).source
    return dot


def _question(question: Question, picture: int, before: Frame, end: Frame) -> dict[str, Any]:
    size = sizes.geometry(question.setup.geometry)
    return {
        "id": question.id,
        "kernel": kernel_text(question.setup),
        "geometry": geometry_text(size),
        "operations": [(op.label(size.nr), sentence(op, size.nr)) for op in Scenario.parse(question.scenario).ops],
        "question": question.question,
        "choices": [str(answer) for answer in question.answers],
        "actual": str(question.actual),
        "why": question.why,
        "slips": {str(answer): told for answer, told in question.slips.items()},
        "picture": picture,
        "ledger": ledger_groups(end, before),
        "words": describe(end.state, before.state),
    }
