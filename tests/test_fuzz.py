"""A short run of every fuzz target, and that the runner notices what it is there for."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from fuzz import garble, run
from fuzz.run import feed
from fuzz.targets import TARGETS, Target
from thplab.errors import BadInput

INPUTS = {"parser": 500, "scenarios": 500, "schedules": 60, "machine": 40, "steps": 12}
"""Inputs of a target; 100 of one that is not named."""


@pytest.mark.parametrize("name", TARGETS)
def test_wrong_input_is_refused_and_right_input_is_not(name: str) -> None:
    fed = feed(name, 1, itertools.count(), lambda fed: fed.inputs < INPUTS.get(name, 100))
    assert not fed.found, "\n".join(text for _, text in fed.first.values())
    assert fed.refused < fed.inputs and (fed.refused or name == "machine")


def refuses(_: object) -> None:
    raise BadInput("x", "is wrong", "right")


def fails(_: object) -> None:
    raise KeyError("inside")


def hangs(_: object) -> None:
    time.sleep(60)


def takes_memory(_: object) -> None:
    bytearray(8 << 30)


@pytest.mark.parametrize(
    ("take", "found"), [(refuses, ""), (fails, "KeyError"), (hangs, "Hang"), (takes_memory, "MemoryError")]
)
def test_the_runner_tells_mistakes_from_refusals(
    take: Callable[[Any], None], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LONGEST", 0.2)
    fed = feed("x", 1, itertools.count(), lambda fed: fed.inputs < 2, Target(lambda rng: 0, take))
    assert fed.inputs == 2 and fed.refused == (0 if found else 2)
    assert [key.split()[0] for key in fed.found] == ([found] if found else [])


def test_an_input_can_be_drawn_again() -> None:
    for name, (draw, _) in TARGETS.items():
        assert draw(random.Random(f"1 {name} 7")) == draw(random.Random(f"1 {name} 7"))


def test_what_is_spoiled_stays_whole() -> None:
    right = {"ops": [{"op": "mmap", "thps": 1}] * 3, "name": "x"}
    before = json.dumps(right)
    spoiled = {json.dumps(garble.value(random.Random(seed), right)) for seed in range(50)}
    assert json.dumps(right) == before and len(spoiled) > 40
