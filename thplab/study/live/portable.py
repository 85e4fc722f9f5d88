"""Whether a live run performs an operation, and what it answers if not: why, and what to do instead.
The vocabulary holds the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from thplab.errors import BadInput
from thplab.hardware.geometry import X86_64
from thplab.scenario import VOCABULARY, Operation, Scenario
from thplab.scenario.vocabulary import SETTING

PORTABLE = tuple(op for op, spec in VOCABULARY.items() if spec.not_live is None)
"""The operations that a live run performs, unless it refuses a value of a field."""

NO_PINS: Mapping[str, str] = MappingProxyType({})

PIPE_PAGES = 256
"""A pipe of a user without privileges holds no more pages (/proc/sys/fs/pipe-max-size)."""


def refusal(op: Operation, io_uring: str = "", pins: Mapping[str, str] = NO_PINS) -> BadInput | None:
    """Why an operation cannot be performed live, with what to do instead; None if it can.

    `io_uring` is the errno with which this machine refuses io_uring, if it does; `pins` says how each pin was taken.
    """
    spec, fields = VOCABULARY[op.op], op.fields
    if spec.not_live is not None:
        return BadInput(op.op, *spec.not_live)
    for field in spec.fields:
        value = fields[field.name]
        if value in field.not_live:
            return BadInput(f"{op.op} {value if field.required else f'{field.name}={value}'}", *field.not_live[value])
    if op.op == "pin" and fields["how"] == "io_uring" and io_uring:
        return BadInput("pin how=io_uring", f"is refused on this machine ({io_uring})", "vmsplice")
    if op.op == "pin" and fields["how"] == "vmsplice" and int(op.resolve(X86_64.nr)["npages"] or 0) > PIPE_PAGES:
        return BadInput(
            "pin how=vmsplice", "has more pages than a pipe holds", f"at most {PIPE_PAGES} pages, or io_uring"
        )
    if op.op == "dma_write" and pins.get(str(fields["pin"])) == "vmsplice":
        return BadInput(f"dma_write {fields['pin']}", "would write to what a pipe holds", "a pin how=io_uring")
    return None


def portable_part(scenario: Scenario, io_uring: str = "") -> tuple[tuple[Operation, ...], BadInput | None]:
    """The operations up to the first that cannot be performed, and why that one cannot (None if all can)."""
    if scenario.env in ("swap", "zram"):
        return (), BadInput("env", f"{scenario.env} needs swapon, which {SETTING}", "a scenario without swap")
    pins: dict[str, str] = {}
    for number, op in enumerate(scenario.ops):
        why = refusal(op, io_uring, pins)
        if why is not None:
            return scenario.ops[:number], why
        if op.op == "pin":
            pins[str(op.fields["pin"])] = str(op.fields["how"])
    return scenario.ops, None
