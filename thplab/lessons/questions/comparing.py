"""Questions that compare two kernels on one scenario."""

from __future__ import annotations

import random
from dataclasses import replace

from thplab.kernels import KERNELS, Kernel
from thplab.lessons.questions.scene import Scene, draw, slips
from thplab.trace import Setup
from thplab.widgets.question import Question

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
        f"The same operations in {scene.kernel.name} and in {other}: where are more page frames in use in the end? Tables do not count.",
        actual,
        (one, two, same),
        f"{scene.kernel.name}: {here}; {other}: {there}. {_rule(scene, twin)}",
        slips(
            actual, (same, "That takes what a write copies, and what munmap gives back, for fixed. Both depend on how pages are counted.")
        ),
    )


def _ways(kernel: Kernel) -> tuple[bool, bool]:
    """The policies that show in how much memory is in use."""
    return kernel.cow_splits_pmd, kernel.scheme.pmd_split_is_local


def _rule(one: Scene, two: Scene) -> str:
    """What the two kernels do with a shared huge page that is written, and with a part that is unmapped."""
    ops = one.trace.scenario.ops
    told = []
    if any(op.op == "write" for op in ops[2:]):
        copies = [("the writer's page alone" if scene.kernel.cow_splits_pmd else "all of the huge page") for scene in (one, two)]
        told.append(f"A write to a huge page that is shared by PMDs copies {_both(one, two, *copies)}.")
    if any(op.op in ("munmap", "mprotect") for op in ops):
        parts = [("stays in one piece" if scene.kernel.scheme.pmd_split_is_local else "falls apart") for scene in (one, two)]
        told.append(f"When a part of it changes, the huge page {_both(one, two, *parts)}.")
    return " ".join(told)


def _both(one: Scene, two: Scene, first: str, second: str) -> str:
    return f"{first} in both" if first == second else f"{first} in {one.kernel.name}, but {second} in {two.kernel.name}"
