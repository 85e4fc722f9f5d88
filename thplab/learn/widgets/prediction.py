"""Questions that a learner answers before a step is shown.
The right answer is computed from the trace, never written down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from thplab.errors import BadInput
from thplab.machine.trace import Frame, Trace
from thplab.study.explore.replay import RaceTrace


@dataclass(frozen=True)
class Prediction:
    """A question at a step. `actual` computes the right answer from the frame `of`.

    `at` is the frame that stays hidden until the learner has committed to an answer: its number, or a text that is a
    phase's title (its first frame) or a step's text (the first such step). `of` is written likewise; left out, it is
    `at`. `answers` are the choices; without any the learner types a whole number. `why` is shown with the actual
    answer.
    """

    at: int | str
    question: str
    actual: Callable[[Frame], int | str]
    answers: Sequence[int | str] = ()
    why: str = ""
    of: int | str | None = None

    def on(self, trace: Trace) -> dict[str, Any]:
        """The question as the page needs it, its actual answer computed.

        Raises BadInput for a frame that is not there, for an `of` before `at`, for choices without the actual answer or
        two that are equal, and for an actual answer that is no number where there are no choices.
        """
        at = find_frame(trace, self.at, "at")
        of = at if self.of is None else find_frame(trace, self.of, "of")
        if at < 1:
            raise BadInput("at", "is frame 0, before which nothing can be asked", "a later frame")
        if of < at:
            raise BadInput("of", f"is frame {of}, before the question", f"frame {at} or a later one")
        actual = self.actual(trace[of])
        actual = actual if isinstance(actual, str) else int(actual)
        if self.answers and (actual not in self.answers or len(set(self.answers)) < len(self.answers)):
            raise BadInput(
                "answers",
                f"are {list(self.answers)}",
                f"the actual answer {actual!r} among them, and no two that are equal",
            )
        if not self.answers and isinstance(actual, str):
            raise BadInput(
                "answers",
                f"are missing, and the actual answer is {actual!r}",
                "choices, or an actual answer that is a number",
            )
        return {
            "id": self._id(trace, at, of),
            "at": at,
            "of": of,
            "question": self.question,
            "choices": [str(answer) for answer in self.answers],
            "actual": str(actual),
            "why": self.why,
        }

    def _id(self, trace: Trace, at: int, of: int) -> str:
        """The same for the same question on the same trace:
        a learner's answer is kept under it when the cell runs again.
        """
        inserts = [(insert.frame, [op.to_json() for op in insert.ops]) for insert in trace.inserts]
        race = [trace.pair.name, trace.written] if isinstance(trace, RaceTrace) and trace.pair is not None else []
        identity = [trace.setup.identity, trace.scenario.line(), inserts, at, of, self.question, *race]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def find_frame(trace: Trace, where: int | str, argument: str) -> int:
    """The number of a frame: `where` itself, the first frame of the phase with that title,
    or the first whose step has that text.

    Raises BadInput, which names `argument`, if there is no such frame.
    """
    if isinstance(where, int):
        if not 0 <= where < len(trace):
            raise BadInput(argument, f"is {where}", f"the number of a frame, 0 to {len(trace) - 1}")
        return where
    phases = trace.scenario.phases
    for frame in trace.frames[1:]:
        if where == phases[frame.phase].title or (frame.step is not None and where == frame.step.text):
            return frame.number
    raise BadInput(argument, f"is {where!r}", "a frame's number, a phase's title or a step's text")
