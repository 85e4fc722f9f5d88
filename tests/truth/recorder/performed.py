"""Which operations the recorder can perform, and how the guest is told."""

from __future__ import annotations

from typing import Any

from thplab.errors import BadInput
from thplab.hardware.geometry import X86_64
from thplab.scenario import VOCABULARY, Operation, Scenario

_PINS = ("vmsplice", "io_uring", "raw", "pup")


def check(scenario: Scenario, module: bool) -> None:
    """Raises BadInput for an operation that cannot be performed; `module`: is the recorder's module in the guest?"""
    for op in scenario.ops:
        spec = VOCABULARY[op.op]
        if spec.kernel_only and spec.not_live is not None:
            raise BadInput(op.op, *spec.not_live)
        if op.op == "pin" and op.fields["how"] not in _PINS:
            raise BadInput("pin how", f"is {op.fields['how']}", "one of " + ", ".join(_PINS))
        if op.op == "split" and op.fields["start"] is None:
            raise BadInput("split", "names a pin", "a page by its number")
        needs_module = (op.op == "split" and op.fields["how"] == "direct") or (
            op.op == "pin" and op.fields["how"] in ("raw", "pup")
        )
        if needs_module and not module:
            instead = "split how=debugfs" if op.op == "split" else "pin how=vmsplice"
            raise BadInput(op.op, "needs the recorder's module, and the archive has no headers of this kernel", instead)


def plain(op: Operation) -> dict[str, Any]:
    """An operation as the guest is told it: with all its fields, page numbers plain."""
    return {"op": op.op, **op.resolve(X86_64.nr)}
