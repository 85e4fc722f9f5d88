"""Random scenarios of operations that both the simulator and a real kernel can perform."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from thplab.errors import BadInput, ThplabError
from thplab.hardware.geometry import X86_64
from thplab.hardware.steps import drain
from thplab.machine.machine import Machine
from thplab.scenario import VOCABULARY, Operation, Phase, Scenario
from thplab.scenario.vocabulary import ADVICE
from thplab.study.live.portable import PORTABLE, refusal

PROCESSES = ("A", "B", "C", "D")
LENGTH = (5, 18)
"""How many operations a scenario has, before those that end it."""
_THPS = 128
"""Memory of a machine, in huge pages: more than the longest scenario can take."""
_TRIES = 200
_SHARE = 0.02
"""An operation that makes up less of what there is so far comes next, if it makes sense there."""

KINDS = (
    *(op for op in PORTABLE if op != "madvise"),
    *(
        f"madvise {advice}"
        for advice in ADVICE.words
        if advice not in VOCABULARY["madvise"].field("madvise", "advice").not_live
    ),
)
"""What is chosen from: the operations, and each advice."""
_OFTEN = {
    "write": 4,
    "fork": 3,
    "mprotect": 2,
    "munmap": 2,
    "pin": 3,
    "unpin": 2,
    "fill": 2,
    "madvise dontneed": 2,
    "mmap": 0,
}


def machine_for(kernel: str) -> Machine:
    """A machine on which a scenario can be tried out."""
    return Machine(kernel, X86_64, _THPS * X86_64.nr)


class Generator:
    """Scenarios for one simulated kernel. What the simulator has not built, or this machine refuses, does not occur."""

    def __init__(self, seed: int, kernel: str, io_uring: str = "") -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.kernel = kernel
        self.io_uring = io_uring
        self.made = Counter[str](dict.fromkeys(KINDS, 0))
        """Kind -> how often it occurs so far. A kind that turns out not to be built is taken out."""

    def scenarios(self, total: int) -> Iterator[Scenario]:
        """Scenarios that have `total` operations in all."""
        number = 0
        while (left := total - self.made.total()) > 0:
            number += 1
            ops = tuple(self._operations(min(left, self.rng.randint(*LENGTH))))[:left]
            self.made.update(map(_kind, ops))
            yield Scenario(f"random-{self.seed}-{number}", phases=(Phase(ops=ops),))

    def _operations(self, length: int) -> Iterator[Operation]:
        """About `length` operations that make sense where they come,
        and then the exit of every process that is left.
        """
        machine = machine_for(self.kernel)
        thps = self.rng.choice((1, 1, 2))
        advise = "none" if self.rng.random() < 0.1 else "hugepage"
        prot = self.rng.choice(("rw",) * 9 + ("r",))
        ops = [Operation("mmap", {"proc": "A", "thps": thps, "advise": advise, "prot": prot})]
        if self.rng.random() < 0.3:
            ops.append(Operation("mmap", {"proc": "A", "thps": 1, "region": "S"}))
        for op in ops:
            drain(machine.begin(op))
        yield from ops
        for serial in range(length - len(ops)):
            found = self._next(machine, serial)
            if found is None:
                break
            yield found
            try:
                drain(machine.begin(found))
            except ThplabError:
                return  # a bug of the simulator's: the comparison will say so
        for process in list(machine.system.mms):
            yield Operation("exit", {"proc": process})

    def _next(self, machine: Machine, serial: int) -> Operation | None:
        """An operation that makes sense now."""
        for attempt in range(_TRIES):
            op = self._propose(machine, self._choose(attempt), serial)
            if op is None or refusal(op, self.io_uring) is not None:
                continue
            try:
                machine.begin(op)  # checks only: a routine that is never advanced touches nothing
            except BadInput as error:
                if "is not built" in error.wrong:
                    self.made.pop(_kind(op), None)
                continue
            return op
        return None

    def _choose(self, attempt: int) -> str:
        """Now and then what is too rare so far, else any kind."""
        total = self.made.total()
        rare = [kind for kind, count in self.made.items() if count < _SHARE * total and kind != "mmap"]
        if rare and attempt % 3 == 0:
            return self.rng.choice(rare)
        kinds = list(self.made)
        return self.rng.choices(kinds, [_OFTEN.get(kind, 1) for kind in kinds])[0]

    def _propose(self, machine: Machine, kind: str, serial: int) -> Operation | None:
        rng, op = self.rng, kind.split()[0]
        process = rng.choice(list(machine.system.mms) or ["A"])
        regions = machine.system.mms[process].regions if process in machine.system.mms else {}
        if not regions:
            return None
        region = rng.choice(list(regions))
        pages = regions[region].pages
        start = rng.choice((0, 0, 1, 5, 255, 256, X86_64.nr - 1, X86_64.nr, rng.randrange(pages))) % pages
        beyond = rng.choice((*[0] * 16, 1, 3, X86_64.nr))  # what lies behind a region is a range as any other
        npages = min(rng.choice((1, 1, 1, 2, 3, 200, 256, X86_64.nr, pages)), pages - start) + beyond
        where: dict[str, object] = {"proc": process, "start": start, "npages": npages, "region": region}
        fields: dict[str, object] = {"proc": process}
        match op:
            case "write":
                fields = {**where, "value": rng.randrange(1, 256), "force": rng.random() < 0.1}
            case "fill":
                fields = {**where, "pattern": rng.choice(("unique", "unique", "same", "zero"))}
            case "fork":
                fields["child"] = rng.choice(PROCESSES)
            case "mprotect":
                fields = {**where, "prot": rng.choice(("none", "r", "r", "rw"))}
            case "madvise":
                fields = {**where, "advice": kind.split()[1]}
            case "mremap":
                to = rng.choice(list(regions))
                size = rng.choice((None, None, None, 1, npages + 1, X86_64.nr))
                fields = {**where, "size": size}
                if size is None or rng.random() < 0.5:
                    fields |= {"to": to, "at": rng.choice((0, 1, 256, rng.randrange(regions[to].pages + 2)))}
                    fields |= {"dontunmap": rng.random() < 0.3}
            case "pin":
                how = rng.choice(("vmsplice", "vmsplice", "io_uring"))
                fields = {**where, "npages": min(npages, rng.choice((1, 1, 3, 200))), "pin": f"p{serial}", "how": how}
            case "unpin":
                if not machine.system.pins:
                    return None
                fields = {"pin": rng.choice(list(machine.system.pins))}
            case "dma_read" | "dma_write":
                pins = [pin for pin in machine.system.pins.values() if op == "dma_read" or pin.foll_pin]
                if not pins:
                    return None
                taken = rng.choice(pins)
                fields = {"pin": taken.name, "start": rng.randrange(len(taken.buffer))}
                if op == "dma_write":
                    fields["value"] = rng.randrange(1, 256)
            case "clear_refs":
                fields["value"] = rng.choice((1, 1, 2, 3))
            case "read" | "munmap" | "mlock" | "munlock":
                fields = where
        return Operation(op, fields)  # type: ignore[arg-type]


def _kind(op: Operation) -> str:
    return f"madvise {op.fields['advice']}" if op.op == "madvise" else op.op
