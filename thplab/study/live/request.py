"""A scenario that a reader asks for is looked at before anything is performed, and refused in one sentence."""

from __future__ import annotations

from thplab.errors import BadInput, ThplabError
from thplab.hardware.geometry import X86_64
from thplab.hardware.steps import drain
from thplab.scenario import Scenario
from thplab.study.live.generate import machine_for
from thplab.study.live.limits import refuse_too_large
from thplab.study.live.portable import portable_part


def refuse_unless_portable(scenario: Scenario, io_uring: str = "") -> None:
    """Raise BadInput if not all operations can be performed;
    it names the portable equivalent, and the operation's number.

    `io_uring` is the errno with which this machine refuses io_uring, if it does.
    """
    ops, refused = portable_part(scenario, io_uring)
    if refused is not None:
        where = (
            f"operation {len(ops) + 1}, {scenario.ops[len(ops)].label(X86_64.nr)}:" if scenario.ops else "the scenario:"
        )
        raise BadInput(f"{where} {refused.argument}", refused.wrong, refused.right)


def refuse_unless_sensible(scenario: Scenario, kernel: str) -> None:
    """Raise BadInput for a scenario that could take too much of this machine, and for the first operation that makes no
    sense where it comes: of a process or region that is not there.

    What the simulated kernel has not built may make sense, and what it stops at is for the comparison to tell.
    """
    if not scenario.ops:
        raise BadInput("scenario", "has no operations", "operations such as: mmap A; write A 0")
    refuse_too_large(scenario.ops)
    machine = machine_for(kernel)
    for number, op in enumerate(scenario.ops, 1):
        try:
            drain(machine.begin(op))
        except BadInput as error:
            if "is not built" in error.wrong:
                return
            raise BadInput(
                f"operation {number}, {op.label(X86_64.nr)}: {error.argument}", error.wrong, error.right
            ) from None
        except ThplabError:
            return
