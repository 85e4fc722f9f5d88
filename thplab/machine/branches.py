"""What somebody tries out on a machine, one operation after the other:
undo, redo, and branches where something else was done instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from thplab.errors import BadInput
from thplab.hardware.swap_device import DEVICES
from thplab.kernel.kernels import KERNELS
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Operation, Scenario, load
from thplab.scenario.text import write_line


@dataclass
class Branches:
    """Branches of operations from the same start, on one machine.
    `at` is the current one, of which the first `done` are carried out.

    Each branch is the trace of all its operations, those that are undone included:
    going back and forth computes nothing.
    """

    setup: Setup
    all: list[Trace] = field(default_factory=list)
    at: int = 0
    done: int = 0

    def __repr__(self) -> str:
        return f"<Branches on {self.setup}: {len(self.all)}, number {self.at} at operation {self.done}>"

    @classmethod
    def of(cls, scenario: Scenario, setup: Setup) -> Branches:
        """One branch with all operations of a scenario, its phases laid aside.

        Raises BadInput for a setup that does not exist.
        A scenario that cannot be carried out to its end stops where it stops.
        """
        if scenario.env in DEVICES and not setup.swap:
            setup = replace(setup, swap=scenario.env)
        branches = cls(setup)
        branches._add(record(Scenario.parse(scenario.line()), setup))
        return branches

    @property
    def whole(self) -> Trace:
        """The current branch with all its operations."""
        return self.all[self.at]

    @property
    def trace(self) -> Trace:
        """The operations that are carried out, at the last frame."""
        return self.whole.first(self.done)

    @property
    def stopped(self) -> tuple[int, str] | None:
        """The number of the operation of the current branch that could not be carried out, from 0, and why;
        None if all could.
        """
        trace = self.whole
        return (trace.reached - (not trace[-1].at_rest), str(trace.error)) if trace.error else None

    def do(self, op: Operation) -> None:
        """Carry out one more operation. If others followed here, they stay in a branch of their own.

        Raises BadInput, with nothing changed, if it makes no sense here.
        """
        later = self.whole.scenario.ops[self.done :]
        if later and later[0] == op and self.done < self.whole.reached:
            self.done += 1
            return
        longer = self.trace.then(op)
        if later:
            self._add(longer)
        else:
            self.all[self.at] = longer
            self.done = longer.reached

    def go(self, done: int) -> None:
        """Undo or redo: have the first `done` operations of the branch carried out.
        Raises BadInput if it cannot come so far.
        """
        self.whole.end_of(done)
        self.done = done

    def switch(self, at: int) -> None:
        """Go to another branch, to its end. Raises BadInput if there is none of that number."""
        if not 0 <= at < len(self.all):
            raise BadInput("branch", f"is {at}", f"0 to {len(self.all) - 1}")
        self.at, self.done = at, self.all[at].reached

    def move_to(self, setup: Setup) -> None:
        """Carry out all branches again on another machine;
        a branch that cannot be carried out to its end stops where it stops.

        Who had undone something stays where it was, as far as that is reached.
        Raises BadInput, with nothing changed, for a setup that does not exist.
        """
        undone = self.done < self.whole.reached
        self.all = [record(trace.scenario, setup) for trace in self.all]
        self.setup, self.done = setup, min(self.done, self.whole.reached) if undone else self.whole.reached

    def _add(self, trace: Trace) -> None:
        self.all.append(trace)
        self.switch(len(self.all) - 1)


# --- a line that holds everything -------------------------------------------------------------------------------------


def write_share(setup: Setup, scenario: Scenario) -> str:
    """A machine and operations on one line: "rfc-2014 TOY: mmap A; write A 0". The amount of memory is left out.

    read_share() is the inverse; a kernel record of the caller's own is known to it by name where it is the machine's
    already.
    """
    extra = [f"{name}={value}" for name in ("swap", "mutant") if (value := getattr(setup, name))]
    return f"{' '.join([setup.kernel_name, setup.geometry, *extra])}: {write_line(scenario.ops)}".strip()


def read_share(text: str, setup: Setup) -> tuple[Scenario, Setup]:
    """The scenario and machine of a line that write_share() wrote.

    Anything else that thplab.scenario.load takes is a scenario for the machine `setup`, and an empty text is one
    without operations. Raises BadInput for what is neither.
    """
    head, colon, rest = text.partition(":")
    words = head.split()
    if not colon or not words or words[0] not in (*KERNELS, setup.kernel_name):
        return (load(text) if text.strip() else Scenario()), setup
    keys = dict(word.partition("=")[::2] for word in words[2:])
    if len(words) < 2 or not keys.keys() <= {"swap", "mutant"} or "" in keys.values():
        raise BadInput("line", f"begins with {head!r}", "KERNEL GEOMETRY: and then operations")
    kernel = setup.kernel if words[0] == setup.kernel_name else words[0]
    machine = Setup(kernel, words[1], setup.memory, keys.get("mutant", ""), keys.get("swap", ""))
    return Scenario.parse(rest), machine
