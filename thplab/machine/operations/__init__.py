"""The operations of the scenario vocabulary on a machine: each checks its arguments, then names the routine to run.

A check raises BadInput before anything has changed. The names and fields are those of tests/truth/README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

from thplab.errors import BadInput
from thplab.hardware.steps import Routine
from thplab.machine.operations import advice, callers, memory, pins

OPERATIONS: dict[str, Callable[..., Routine[int]]] = {
    "spawn": memory.spawn,
    "mmap": memory.mmap,
    "write": memory.write,
    "read": memory.read,
    "fill": memory.fill,
    "fork": memory.fork,
    "exit": memory.exit,
    "mprotect": memory.mprotect,
    "munmap": memory.munmap,
    "mlock": memory.mlock,
    "munlock": memory.munlock,
    "mremap": memory.mremap,
    "pin": pins.pin,
    "unpin": pins.unpin,
    "split": callers.split,
    "split_pmd": callers.split_pmd,
    "swap_out": callers.swap_out,
    "madvise": advice.madvise,
    "sys": callers.sys,
    "ksm_scan": callers.ksm_scan,
    "khugepaged_scan": callers.khugepaged_scan,
    "migrate": callers.migrate,
    "clear_refs": callers.clear_refs,
}
"""Operation -> how it is begun. Each takes the machine and the operation's fields, checks them, returns the routine."""

FIELDS = {op: dict(list(signature(start).parameters.items())[1:]) for op, start in OPERATIONS.items()}
"""Operation -> the fields that it takes, as parameters with their defaults."""

_WORDS = {int: "a whole number", bool: "True or False", str: "a text"}


def _type_of(parameter: Parameter) -> type:
    """What a field is by its annotation: a number, a flag, else a text."""
    return int if parameter.annotation.startswith("int") else bool if parameter.annotation == "bool" else str


_TYPES = {op: [(name, p.default is Parameter.empty, _type_of(p)) for name, p in fields.items()] for op, fields in FIELDS.items()}
"""Operation -> for each field its name, whether it must be given, and its type."""


def check_types(op: str, fields: dict[str, Any]) -> None:
    """BadInput if a field is missing, or is not a whole number or a text as it should be."""
    for name, required, right in _TYPES[op]:
        if name in fields:
            value = fields[name]
            fits = isinstance(value, right) and (right is bool or not isinstance(value, bool))
            if not fits and not (name == "advise" and value is None):
                raise BadInput(name, f"is {value!r}", _WORDS[right])
        elif required:
            raise BadInput(name, f"is missing for {op}", "a value")
