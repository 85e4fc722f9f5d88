"""Random scenarios, and a model of what every process must read: facts that no kernel's bookkeeping may change."""

from __future__ import annotations

import random
from collections.abc import Iterator

from thplab.errors import BadInput
from thplab.machine import Machine
from thplab.scenario import Operation
from thplab.trace import begin

PROCESSES = ("A", "B", "C")

OFTEN = ["write"] * 3 + ["fork", "mprotect", "pin"] * 2 + ["read", "fill", "exit", "munmap", "unpin", "split", "split_pmd", "swap_out"]
OFTEN += ["madvise", "sys"]
"""What is proposed, as often as it stands here."""


def propose(rng: random.Random, pages: int, serial: int) -> Operation:
    """Any operation of the core vocabulary, sensible or not, on a region of `pages` pages."""
    proc = rng.choice(PROCESSES)
    start = rng.randrange(pages)
    npages = min(pages - start, rng.choice((1, 1, 1, 2, 3, pages)))
    where = {"proc": proc, "start": start, "npages": npages}
    op = rng.choice(OFTEN)
    fields: dict[str, object] = {
        "write": {**where, "value": rng.randrange(1, 200)},
        "read": where,
        "fill": {**where, "pattern": rng.choice(("unique", "same", "zero"))},
        "fork": {"proc": proc, "child": rng.choice(PROCESSES)},
        "exit": {"proc": proc},
        "mprotect": {**where, "prot": rng.choice(("none", "r", "rw"))},
        "munmap": where,
        "pin": {**where, "pin": f"p{serial}", "how": rng.choice(("vmsplice", "io_uring", "gupw"))},
        "unpin": {"pin": f"p{rng.randrange(serial + 1)}"},
        "split": {"proc": proc, "start": start},
        "split_pmd": {"proc": proc, "start": start},
        "swap_out": {"proc": proc, "start": start},
        "madvise": {**where, "advice": rng.choice(("dontneed", "dontneed", "nohugepage", "hugepage"))},
        "sys": {"path": "/proc/sys/vm/drop_caches", "value": "2"},
    }[op]
    return Operation(op, fields)  # type: ignore[arg-type]


def operations(seed: int, machine: Machine, thps: int = 2, count: int = 14) -> Iterator[Operation]:
    """`count` operations that make sense where they come, mmap first. The caller runs each before asking for the next."""
    rng = random.Random(seed)
    nr = machine.system.geometry.nr
    yield Operation("mmap", {"proc": "A", "thps": thps, "advise": rng.choice(("hugepage", "hugepage", "hugepage", "none"))})
    yield Operation("write", {"proc": "A", "start": rng.randrange(thps * nr), "value": 7})
    made = 0
    while made < count and machine.system.mms:
        op = propose(rng, thps * nr, made)
        try:
            begin(machine, op)  # checks only: a routine that is never advanced touches nothing
        except BadInput:
            continue
        made += 1
        yield op


class Model:
    """What each process reads and may do, kept without pages, tables or counters."""

    def __init__(self) -> None:
        self.contents: dict[str, dict[int, int]] = {}
        self.prot: dict[str, dict[int, str]] = {}

    def apply(self, op: Operation, nr: int, result: int) -> None:
        """Follow one operation that returned `result`."""
        f = op.resolve(nr)
        proc = str(f.get("proc"))
        first, npages = int(f.get("start") or 0), int(f.get("npages") or 1)
        pages = range(first, first + npages)
        if op.op == "mmap":
            self.prot[proc] = dict.fromkeys(range(int(f["thps"] or 0) * nr), "rw")
            self.contents[proc] = dict.fromkeys(self.prot[proc], 0)
        elif op.op == "fork" and result == 0:
            self.prot[str(f["child"])] = dict(self.prot[proc])
            self.contents[str(f["child"])] = dict(self.contents[proc])
        elif op.op == "exit":
            del self.prot[proc], self.contents[proc]
        elif op.op == "mprotect":
            self.prot[proc].update(dict.fromkeys(pages, str(f["prot"])))
        elif op.op == "madvise" and f["advice"] == "dontneed":
            self.contents[proc].update(dict.fromkeys(pages, 0))
        elif op.op == "munmap":
            for page in pages:
                self.prot[proc].pop(page, None)
                self.contents[proc].pop(page, None)
        elif op.op in ("write", "fill"):
            for i, page in enumerate(pages):
                if self.prot[proc][page] != "rw":
                    assert result == -14, f"{op} ignores a protection"
                    break
                self.contents[proc][page] = self._stored(op, f, i)

    @staticmethod
    def _stored(op: Operation, f: dict[str, object], i: int) -> int:
        if op.op == "write":
            return int(str(f["value"]))
        return {"zero": 0, "same": 0x77, "unique": -1}[str(f["pattern"])]
