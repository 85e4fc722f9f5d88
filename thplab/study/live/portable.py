"""Which operations a live run performs, and what it answers to the others: why not, and what to do instead."""

from __future__ import annotations

from thplab.errors import BadInput
from thplab.hardware.geometry import X86_64
from thplab.scenario import VOCABULARY, Operation, Scenario

PORTABLE = (
    "mmap", "write", "read", "fill", "fork", "exit", "mprotect", "munmap", "mlock", "munlock", "madvise", "mremap", "pin", "unpin",
    "clear_refs",
)  # fmt: skip

_SETTING = "changes a setting of the whole system, which a live run never does"
_REFUSED = {
    "split": ("needs a module in the kernel", "madvise ... cold of part of the THP"),
    "sys": (_SETTING, "madvise ... pageout, which splits a THP that is mapped in part"),
    "ksm_scan": (_SETTING, "madvise ... mergeable, and the simulator for the scan (thplab run)"),
    "khugepaged_scan": (_SETTING, "madvise ... collapse"),
    "memcg_new": (_SETTING, "madvise ... pageout"),
    "memcg_force_empty": (_SETTING, "madvise ... pageout"),
    "memcg_limit": (_SETTING, "madvise ... pageout"),
}
"""Operation -> why it is not performed, and what to write instead. What only a kernel does is named in the vocabulary."""

PIN_HOW = ("vmsplice", "io_uring")
PIPE_PAGES = 256
"""A pipe of a user without privileges holds no more pages (/proc/sys/fs/pipe-max-size)."""
REFUSED_ADVICE = {
    "soft_offline": "takes a page frame away from the whole system",
    "hwpoison": "takes a page frame away from the whole system",
}


def refusal(op: Operation, io_uring: str = "") -> BadInput | None:
    """Why an operation cannot be performed live, with what to do instead; None if it can.

    `io_uring` is the errno with which this machine refuses io_uring, if it does.
    """
    spec = VOCABULARY[op.op]
    if spec.kernel_only:
        return BadInput(op.op, "is done by the kernel alone: no system call asks for it", str(spec.portable_equivalent))
    if op.op not in PORTABLE:
        why, instead = _REFUSED[op.op]
        return BadInput(op.op, why, instead)
    fields = op.fields
    if op.op == "madvise" and fields["advice"] in REFUSED_ADVICE:
        return BadInput(f"madvise {fields['advice']}", REFUSED_ADVICE[str(fields["advice"])], "the simulator (thplab run)")
    if op.op == "pin" and fields["how"] not in PIN_HOW:
        return BadInput(f"pin how={fields['how']}", "needs a module in the kernel", "vmsplice or io_uring")
    if op.op == "pin" and fields["how"] == "io_uring" and io_uring:
        return BadInput("pin how=io_uring", f"is refused on this machine ({io_uring})", "vmsplice")
    if op.op == "pin" and fields["how"] == "vmsplice" and int(op.resolve(X86_64.nr)["npages"] or 0) > PIPE_PAGES:
        return BadInput("pin how=vmsplice", "has more pages than a pipe holds", f"at most {PIPE_PAGES} pages, or io_uring")
    return None


def portable_part(scenario: Scenario, io_uring: str = "") -> tuple[tuple[Operation, ...], BadInput | None]:
    """The operations up to the first that cannot be performed, and why that one cannot (None if all can)."""
    if scenario.env in ("swap", "zram"):
        return (), BadInput("env", f"{scenario.env} needs swapon, which {_SETTING}", "a scenario without swap")
    for number, op in enumerate(scenario.ops):
        why = refusal(op, io_uring)
        if why is not None:
            return scenario.ops[:number], why
    return scenario.ops, None
