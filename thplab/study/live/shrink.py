"""The shortest scenario with a property: operations are left out as long as the rest still has it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from thplab.errors import BadInput, ThplabError
from thplab.hardware.steps import drain
from thplab.scenario import Operation
from thplab.study.live.generate import machine_for

Operations = tuple[Operation, ...]


def shrink(ops: Operations, fails: Callable[[Operations], bool], kernel: str) -> Operations:
    """The shortest part of `ops` for which `fails` still holds,
    as far as leaving out operations alone and by twos finds it.

    What makes no sense any more once an operation is left out (the exit of a process that is never forked) is left out
    with it. `fails` must hold for `ops`.
    """
    tried = set[Operations]()
    while True:
        for candidate in _shorter(ops):
            sensible = _sensible(candidate, kernel)
            if len(sensible) < len(ops) and sensible not in tried:
                tried.add(sensible)
                if fails(sensible):
                    ops = sensible
                    break
        else:
            return ops


def _shorter(ops: Operations) -> Iterator[Operations]:
    """Without half of the operations, without a quarter ... without one, then without any two."""
    width = len(ops) // 2
    while width:
        for first in range(0, len(ops), width):
            yield ops[:first] + ops[first + width :]
        width //= 2
    for low, high in itertools.combinations(range(len(ops)), 2):
        yield ops[:low] + ops[low + 1 : high] + ops[high + 1 :]


def _sensible(ops: Operations, kernel: str) -> Operations:
    """Those of the operations that make sense where they come."""
    machine = machine_for(kernel)
    kept: list[Operation] = []
    for op in ops:
        try:
            drain(machine.begin(op))
        except BadInput as error:
            if "is not built" not in error.wrong:
                continue
        except ThplabError:
            return (*kept, op)  # the simulator cannot go on behind what may be the disagreement itself
        kept.append(op)
    return tuple(kept)
