"""Questions about where a scenario ends, and sets of them. Which questions there are:
thplab.learn.lessons.questions.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from thplab.errors import BadInput
from thplab.machine.trace import Frame, Setup, Trace, record

TRIES = 60
"""How often a family is asked for one more question that is not there yet."""


@dataclass(frozen=True)
class Question:
    """A question about the state in which a scenario ends on the machine of `setup`,
    with the answer that was read from it.

    `answers` are the choices; without any the learner types a whole number. `why` is shown with the actual answer.
    `slips` maps a wrong answer to the misconception that leads to it, in one sentence that is shown to who gives it.
    Raises BadInput for choices among which the actual answer is not exactly once, for an actual answer that is no
    number where there are no choices, and for a slip that is the actual answer or no choice.
    """

    scenario: str
    setup: Setup
    question: str
    actual: int | str
    answers: tuple[int | str, ...] = ()
    why: str = ""
    slips: Mapping[int | str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.answers and self.answers.count(self.actual) != 1:
            raise BadInput("answers", f"are {list(self.answers)}", f"the actual answer {self.actual!r} once among them")
        if not self.answers and isinstance(self.actual, str):
            raise BadInput(
                "answers",
                f"are missing, and the actual answer is {self.actual!r}",
                "choices, or a number as the actual answer",
            )
        for slip in self.slips:
            if slip == self.actual or (self.answers and slip not in self.answers):
                raise BadInput("slips", f"hold {slip!r}", "wrong answers that can be given")

    def trace(self) -> Trace:
        """The scenario carried out, step by step."""
        return record(self.scenario, self.setup)

    @property
    def id(self) -> str:
        """The same for the same question: a learner's answer is kept under it when the cell runs again."""
        return hashlib.sha256(json.dumps([self.setup.identity, self.scenario, self.question]).encode()).hexdigest()[:16]


def ends(trace: Trace) -> tuple[Frame, ...]:
    """The frame before the first operation of a scenario, and the last frame of each operation."""
    return (trace[0], *(frame for frame in trace if frame.result is not None))


Family = Callable[[random.Random, Setup], Question]
"""Makes a question of one kind. Raises BadInput where the kind makes no sense on a machine."""


def always(question: Question) -> Family:
    """The family of one question."""

    def ask(rng: random.Random, setup: Setup) -> Question:
        return question

    return ask


def make(families: Sequence[Family], setup: Setup | None = None, count: int = 5, seed: int = 1) -> tuple[Question, ...]:
    """`count` questions, no two equal, from the families in turn, in an order of chance;
    always the same ones for the same seed.

    Raises BadInput if there are no families, for a count below 1, if the families have no `count` different questions,
    and as they do.
    """
    if not families:
        raise BadInput("families", "are none", "at least one family of questions")
    if count < 1:
        raise BadInput("count", f"is {count}", "at least 1 question")
    setup = setup or Setup()
    rng = random.Random(seed)
    order = rng.sample(list(families), len(families))
    found: dict[str, Question] = {}
    for number in range(count):
        drawn = (order[number % len(order)](rng, setup) for _ in range(TRIES))
        new = next((question for question in drawn if question.id not in found), None)
        if new is None:
            raise BadInput(
                "count", f"is {count}", f"at most {len(found)}: no further question was found that is not there yet"
            )
        found[new.id] = new
    return tuple(found.values())
