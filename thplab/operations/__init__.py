"""The operations of the scenario vocabulary on a machine: each checks its arguments, then names the routine to run.

A check raises BadInput before anything has changed. The names and fields are those of tests/truth/README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

from thplab.errors import BadInput
from thplab.operations import advice, callers, memory, pins
from thplab.steps import Routine

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


def check_types(op: str, fields: dict[str, Any]) -> None:
    """BadInput if a field is missing, or is not a whole number or a text as it should be."""
    for name, parameter in FIELDS[op].items():
        if name not in fields:
            if parameter.default is Parameter.empty:
                raise BadInput(name, f"is missing for {op}", "a value")
            continue
        value = fields[name]
        number = parameter.annotation.startswith("int")
        if number and (not isinstance(value, int) or isinstance(value, bool)):
            raise BadInput(name, f"is {value!r}", "a whole number")
        flag = parameter.annotation == "bool"
        if flag and not isinstance(value, bool):
            raise BadInput(name, f"is {value!r}", "True or False")
        if not number and not flag and not isinstance(value, str) and not (name == "advise" and value is None):
            raise BadInput(name, f"is {value!r}", "a text")
