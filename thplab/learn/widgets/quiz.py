"""The quiz: questions made from states, to check oneself. Each shows the operations;
the state is shown once it is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets

from thplab.errors import BadInput
from thplab.hardware import geometry as sizes
from thplab.kernel.kernels import DEFAULT
from thplab.kernel.policies import Kernel
from thplab.learn import progress
from thplab.learn.widgets.asking import Asking
from thplab.learn.widgets.conversation import asked
from thplab.learn.widgets.payload import geometry_text, kernel_text, ledger_groups
from thplab.learn.widgets.pictured import Pictured
from thplab.learn.widgets.question import Family, Question, ends, make
from thplab.machine.trace import Frame, Setup
from thplab.scenario import Scenario
from thplab.show.describe import describe, sentence
from thplab.show.diagrams import Cut, Painter, Sheet


class Quiz(Pictured, Asking, page="quiz"):
    """Asks `count` questions from the families, about `kernel` and `geometry`, one at a time;
    the same ones for the same `seed`. Without `more` no other set is offered: these questions are all there are.

    All questions of a set are in the page, so it works without a kernel, but for another set, which is that of the next
    seed. `told` shows all answers from the start, with why the likely wrong ones are wrong; nothing is asked or kept.
    `lecture` is for a projector. Raises BadInput as make does, and NoEngine if no pictures can be drawn.
    """

    traits_in_html = ("seed",)

    seed = traitlets.Int(1).tag(sync=True)
    """The seed of the set that is shown."""
    results: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    """For each question of the set its text and `yours`, the first answer;
    None until there is one, then also `actual` and `right`.
    """

    kind = progress.QUIZ

    def __init__(
        self,
        families: Sequence[Family],
        *,
        kernel: str | Kernel = DEFAULT,
        geometry: str = "TOY",
        count: int = 5,
        seed: int = 1,
        lecture: bool = False,
        more: bool = True,
        told: bool = False,
    ) -> None:
        self._families, self._setup, self._count = tuple(families), Setup(kernel, geometry), count
        self._shown = {"more": more and not told, "told": told}
        self.questions = make(self._families, self._setup, count, seed)
        self.kept_as = progress.here("quiz")
        super().__init__(packed=self.packed_now(), seed=seed, lecture=lecture)

    @asked("another")
    def _give_another(self, seed: int) -> None:
        """Show the set of a seed."""
        self.another(seed)

    def another(self, seed: int | None = None) -> None:
        """Show the set of the next seed, or of another one.
        Raises BadInput, with the set unchanged, as make does, and for a negative seed.
        """
        wanted = self.seed + 1 if seed is None else seed
        if wanted < 0:
            raise BadInput("seed", f"is {wanted}", "0 or more")
        questions = make(self._families, self._setup, self._count, wanted)
        before, self.questions = self.questions, questions
        try:
            packed, answers = self.packed_now(), progress.answers(self.asks_now())
        except Exception:
            self.questions = before
            raise
        with self.at_once():
            self.packed, self.seed, self.results, self.answers = packed, wanted, [], answers

    def asks_now(self) -> dict[str, str]:
        """The right answer to each question of the set, by its id."""
        return {} if self._shown["told"] else {question.id: str(question.actual) for question in self.questions}

    def data(self) -> dict[str, Any]:
        """What payload() makes of the questions, whether there are more, and whether the answers are told."""
        return payload(self.questions) | self._shown

    def sheets(self, detail: str) -> list[Sheet]:
        """For each question one with the state at the end, in which what the last operation has changed is marked."""
        return [_sheet(ends(question.trace())[-2:], detail) for question in self.questions]

    def still(self) -> tuple[str, str]:
        """No picture, for it would tell the answers; the questions."""
        asked = (
            f"{number}. {question.scenario}: {question.question}"
            for number, question in enumerate(self.questions, start=1)
        )
        return "", "Check yourself. " + " ".join(asked)


def payload(questions: Sequence[Question]) -> dict[str, Any]:
    """All that a quiz shows of a set of questions but the pictures, as JSON can hold it."""
    return {"questions": [_question(question, *ends(question.trace())[-2:]) for question in questions]}


def _sheet(ends: Sequence[Frame], detail: str) -> Sheet:
    before, end = ends
    painter = Painter(Cut.of([before.state, end.state]), detail)
    return Sheet([painter.paint(end.state, before.state)])


def _question(question: Question, before: Frame, end: Frame) -> dict[str, Any]:
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
        "ledger": ledger_groups(end, before),
        "words": describe(end.state, before.state),
    }
