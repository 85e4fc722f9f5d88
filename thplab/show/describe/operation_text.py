"""An operation of a scenario as a plain sentence."""

from __future__ import annotations

from thplab.scenario import Operation
from thplab.scenario.vocabulary import spec_of

_RIGHTS = {"none": "inaccessible", "r": "read-only", "rw": "writable again"}


def sentence(op: Operation, nr: int) -> str:
    """What the operation does, where a huge page has `nr` subpages:
    "B makes page 4 read-only." It does not tell what comes of it.

    What the lessons seldom use is told as the vocabulary has it. Raises BadInput as Operation.resolve() does.
    """
    plain = op.resolve(nr)
    proc, start, npages = plain.get("proc"), plain.get("start"), int(plain.get("npages") or 1)
    pages = f"page {start}" if npages == 1 else f"pages {start} to {int(start or 0) + npages - 1}"
    thps = "a huge page" if plain.get("thps") == 1 else f"{plain.get('thps')} huge pages"
    whose = f"the page under {pages} of {proc}" if start is not None else f"the page that {plain.get('pin')} holds"
    doc = spec_of(op.op).doc
    known = {
        "mmap": f"{proc} asks for memory, as much as {thps}.",
        "write": f"{proc} writes a byte to {pages}.",
        "read": f"{proc} reads a byte of {pages}.",
        "fork": f"{proc} forks: its child {plain.get('child')} gets the same memory.",
        "exit": f"{proc} ends.",
        "mprotect": f"{proc} makes {pages} {_RIGHTS.get(str(plain.get('prot')))}.",
        "munmap": f"{proc} unmaps {pages}.",
        "pin": f"A driver takes a reference on {pages} of {proc} and calls it {plain.get('pin')}.",
        "unpin": f"The driver lets go of {plain.get('pin')}.",
        "split": f"The kernel is asked to split {whose}.",
    }
    return known.get(op.op, f"{doc[0].upper()}{doc[1:]}.")
