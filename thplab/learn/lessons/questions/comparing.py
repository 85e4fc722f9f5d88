"""Questions that compare two kernels on one scenario."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

from thplab.kernel.kernels import KERNELS
from thplab.kernel.policies import Kernel
from thplab.learn.lessons.places import frames_in_use
from thplab.learn.lessons.questions.scene import Scene, draw, slips
from thplab.learn.widgets.question import Question, ends
from thplab.machine.trace import Setup

USUAL = {"fork": 4, "write": 4, "mprotect": 2, "munmap": 3}
ENDS = ("write", "munmap")


def memory_in_two_kernels(rng: random.Random, setup: Setup) -> Question:
    """On which of two kernels does the same scenario end with more memory in use?"""
    own = setup.machine().system.kernel
    other = rng.choice([name for name, kernel in KERNELS.items() if _ways(kernel) != _ways(own)])
    differs = rng.random() < 0.6  # in the rest the two may agree, so that the question is one

    def suits(scene: Scene) -> bool:
        twin = Scene.of(scene.line, replace(setup, kernel=other))
        return not twin.trace.problem and (not differs or twin.in_use[1] != scene.in_use[1])

    scene = draw(rng, setup, suits, last=ENDS, usual=USUAL)
    twin = Scene.of(scene.line, replace(setup, kernel=other))
    here, there = scene.in_use[1], twin.in_use[1]
    one, two, same = f"more in {scene.kernel.name}", f"more in {other}", "as many in both"
    actual = same if here == there else one if here > there else two
    return Question(
        scene.line,
        setup,
        f"The same operations in {scene.kernel.name} and in {other}: where are more page frames in use in the end? "
        "Tables do not count.",
        actual,
        (one, two, same),
        f"{scene.kernel.name}: {here}; {other}: {there}, the page of zeros that each system keeps included. "
        f"{_told(scene, twin)}",
        slips(
            actual,
            (
                same,
                "That takes what a write copies, and what munmap gives back, for fixed. Both depend on how pages are "
                "counted.",
            ),
        ),
    )


def _ways(kernel: Kernel) -> tuple[bool, bool]:
    """The policies that show in how much memory is in use."""
    return kernel.cow.splits_pmd, kernel.scheme.pmd_split_is_local


def _told(one: Scene, two: Scene) -> str:
    """In which operations the two kernels take or give back a different number of page frames, and by which rules."""
    used = [[frames_in_use(frame) for frame in ends(scene.trace)] for scene in (one, two)]
    moved = [[now - before for before, now in pairwise(column)] for column in used]
    differ = [number for number, (a, b) in enumerate(zip(*moved, strict=True)) if a != b]
    if not differ:
        return "No operation takes or gives back more in one of them."
    numbers = "; ".join(f"{one.label(number)}: {moved[0][number]:+d} and {moved[1][number]:+d}" for number in differ)
    rule = _rule(one, two, [one.trace.scenario.ops[number].op for number in differ])
    return f"Page frames taken or given back where they differ: {numbers}. {rule}".strip()


def _rule(one: Scene, two: Scene, differ: list[str]) -> str:
    """What the two kernels do with a shared huge page that is written, and with a part that is unmapped,
    if such operations differ.
    """
    told = []
    if "write" in differ:
        copies = [
            ("the writer's page alone" if scene.kernel.cow.splits_pmd else "all of the huge page")
            for scene in (one, two)
        ]
        told.append(f"A write to a huge page that is shared by PMDs copies {_both(one, two, *copies)}.")
    if "munmap" in differ:
        parts = [
            ("stays in one piece" if scene.kernel.scheme.pmd_split_is_local else "falls apart") for scene in (one, two)
        ]
        told.append(f"When a part of it changes, the huge page {_both(one, two, *parts)}.")
    return " ".join(told)


def _both(one: Scene, two: Scene, first: str, second: str) -> str:
    return f"{first} in both" if first == second else f"{first} in {one.kernel.name}, but {second} in {two.kernel.name}"
