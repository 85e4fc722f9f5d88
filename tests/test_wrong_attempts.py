"""A wrong attempt gets a sentence that helps: it names a rule, a cell, an operation or a number, and never the answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from solutions.model import written
from solved import SOLVED
from wrong_attempts import NEAR, SILLY

from thplab.learn.exercises import EXERCISES, Exercise

SEEDS = ("Ada", "Linus")
MOST = 3000
"""Characters of what is said."""


def form(each: Exercise) -> str:
    return type(each.variant("x").work).__name__


KINDS: dict[str, dict[str, Exercise]] = {each.kind: {} for each in EXERCISES.values()}
"""For each kind the first exercise of each form of answers."""
for each in EXERCISES.values():
    KINDS[each.kind].setdefault(form(each), each)


def attempts(kind: str, seed: str) -> Iterator[tuple[str, Exercise, str, str]]:
    """The name of each attempt, the exercise, the answer, and what must be said."""
    for shape, each in KINDS[kind].items():
        for silly in SILLY:
            if shape in silly.said and seed == SEEDS[0]:
                yield silly.name, each, silly.answer(each.variant(seed).work), silly.said[shape]
    for near in NEAR[kind]:
        each = EXERCISES[near.id]
        values = each.variant(seed).values
        yield near.name, each, written(near.answer, values), written(near.said, values)


@pytest.mark.parametrize("kind", KINDS)
def test_at_least_ten_named_wrong_attempts_of_each_kind_are_told_why(kind: str) -> None:
    assert all(EXERCISES[near.id].kind == kind for near in NEAR[kind])
    assert len({name for name, *_ in attempts(kind, SEEDS[0])}) >= 10 + len(KINDS[kind])
    for seed in SEEDS:
        for name, each, answer, said in attempts(kind, seed):
            verdict = each.attempt(answer, seed)
            told = repr(verdict)
            assert not verdict.solved and said in told, (name, each.id, answer[:200], told)
            assert len(told) <= MOST and "Traceback" not in told, (name, each.id, told)
            assert all(len(line.split()) >= 3 for line in verdict.missing), (name, told)
            assert written(SOLVED[each.id].answer, each.variant(seed).values) not in told.replace(answer, ""), (name, told)
