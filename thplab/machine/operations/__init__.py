"""What a machine does for each operation:
a starter checks what the vocabulary cannot know, and returns the routine to run.

A check raises BadInput before anything has changed.
Names, types and bounds of the fields have been checked by the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

from thplab.hardware.steps import Routine
from thplab.machine.operations import advice, callers, memory, pins
from thplab.scenario import VOCABULARY

OPERATIONS: dict[str, Callable[..., Routine[int]]] = {
    op: start for module in (memory, pins, advice, callers) for op, start in vars(module).items() if op in VOCABULARY
}
"""Operation -> its starter, the function of that name.
It takes the system and, of the operation's fields, those that are simulated.
"""
