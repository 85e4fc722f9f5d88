"""Exercises whose answer is a law: a sentence about the numbers of a huge page that must hold in every state."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from thplab.errors import BadInput
from thplab.hardware.geometry import MINI
from thplab.kernel.kernels import KERNELS
from thplab.kernel.mutants import mutant
from thplab.learn.lessons.tasks import Verdict
from thplab.learn.widgets import Sandbox
from thplab.machine.state import State
from thplab.machine.trace import Setup, Trace, record
from thplab.study.explore.reachable import Reached, reachable

Numbers = Mapping[str, int]

NAMES = {
    "pmds": "PMDs that map the page",
    "ptes": "PTEs that map subpages of it",
    "holes": "subpages that no PTE maps",
    "pins": "references of drivers",
    "count": "_count of the head",
    "maps": "the sum of the map counts of its subpages, the head's among them, each as it is stored plus 1",
    "queued": "1 if it is on the deferred split queue, else 0",
}
"""What a law may speak of."""

OPERATIONS = (
    "fork A B",
    "split_pmd A 0",
    "munmap A 1 1",
    "munmap B 1 1",
    "munmap A 0 4",
    "pin A 2 1 dma",
    "write A 0",
)
START = "mmap A; write A 0"
_MOST = 400
"""States of a wrong kernel that are looked at."""

_COMPARED: Mapping[str, Callable[[int, int], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_TERM = re.compile(r"([+-]?)(?:(\d{1,6})\*)?([a-z]+|\d{1,6})")
_LONGEST = 300


@dataclass(frozen=True)
class Clause:
    """Two sums, and how they are compared."""

    left: str
    how: str
    right: str

    def holds(self, numbers: Numbers) -> bool:
        """Is it true of these numbers?"""
        return _COMPARED[self.how](_sum(self.left, numbers), _sum(self.right, numbers))


@dataclass(frozen=True)
class Written:
    """A law that was read: where all of `conditions` are true, `then` must be."""

    conditions: tuple[Clause, ...]
    then: Clause

    def holds(self, numbers: Numbers) -> bool:
        """Is it true of these numbers?"""
        return self.then.holds(numbers) or not all(each.holds(numbers) for each in self.conditions)


@dataclass(frozen=True)
class Law:
    """A law is asked for that holds in each state of the right kernel, and not in each of a mutant's.

    It is read, and nothing of it is run: "A", or "if B and C then A", where each of the three compares two sums of
    NAMES and whole numbers.
    """

    question: str
    hints: tuple[str, str, str]
    mutant: str

    def attempt(self, name: str, answer: str, geometry: str = "") -> Verdict:
        """What is wrong with a law: where it cannot be read, a right state in which it is false, or that it is true of
        all that the mutant does. Raises BadInput if a geometry is named.
        """
        if geometry:
            raise BadInput("geometry", f"is {geometry!r} for a law", "none: it is held against states of four subpages")
        right, wrong = _states(self.kernel, ""), _states(self.kernel, self.mutant)
        try:
            law = _read(answer)
        except BadInput as error:
            return Verdict(name, self._trace(START), (str(error),))
        for number, numbers in _all_numbers(right):
            if not law.holds(numbers):
                line = right.scenario(number).line()
                said = f"it is false in a right state: after {line} there are {_told(numbers)}"
                return Verdict(name, self._trace(line), (said,))
        caught = next((number for number, numbers in _all_numbers(wrong) if not law.holds(numbers)), None)
        everywhere = f"it is true in all {len(right.states)} right states"
        if caught is None:
            said = f"{everywhere}, but it catches nothing: it is true in each state of the wrong kernel as well"
            return Verdict(name, self._trace(START), (said,))
        line = wrong.scenario(caught).line()
        return Verdict(name, self._trace(line, self.mutant), (), f"I{everywhere[1:]}, and {line} breaks it.")

    @property
    def kernel(self) -> str:
        """The kernel that the mistake is in."""
        return mutant(self.mutant).kernel

    def _trace(self, line: str, wrong: str = "") -> Trace:
        return record(line, Setup(self.kernel, MINI.name, mutant=wrong))

    def widget(self) -> Sandbox:
        """A sandbox with the wrong kernel."""
        return Sandbox(START, kernel=self.kernel, geometry=MINI.name, mutant=self.mutant)


@cache
def _states(kernel: str, name: str) -> Reached:
    """What OPERATIONS lead to on a kernel, or on a mutant of it; behind a state that breaks an invariant, nothing."""
    wrong = mutant(name)
    return reachable(OPERATIONS, START, wrong.of(KERNELS[kernel]), variants=wrong.variants, limit=_MOST)


def _all_numbers(found: Reached) -> Iterator[tuple[int, Numbers]]:
    """The numbers of each huge page in each state, with the number of the state; equal ones once."""
    seen = set()
    for number, state in enumerate(found.states):
        for head in state.compound_pages():
            numbers = _numbers(state, head)
            key = tuple(numbers.values())
            if key not in seen:
                seen.add(key)
                yield number, numbers


def _numbers(state: State, head: int) -> Numbers:
    nr = state.geometry.nr
    ptes = [int(n) for n in state.pte_maps[head : head + nr]]
    return {
        "pmds": len(state.pmd_maps.get(head, ())),
        "ptes": sum(ptes),
        "holes": ptes.count(0),
        "pins": sum(head <= pfn < head + nr for pin in state.pins.values() for pfn in pin.pages),
        "count": state.field("refcount", head),
        "maps": sum(state.field("mapcount", head + page) + 1 for page in range(nr)),
        "queued": int(head in state.deferred),
    }


def _told(numbers: Numbers) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


def _read(text: str) -> Written:
    """The law that a text writes. Raises BadInput that says what is wrong."""
    line = " ".join(text.split())
    right = "a law, such as count >= pmds or if pins > 0 and pmds == 1 then count > 1"
    if not line:
        raise BadInput("the law", "is not written yet", right)
    if len(line) > _LONGEST:
        raise BadInput("the law", f"has {len(line):,} characters", f"{_LONGEST} at most")
    found = re.fullmatch(r"(?:if (.+) then )?(.+)", line)
    assert found is not None, "the last part takes anything"
    conditions = found[1].split(" and ") if found[1] else []
    return Written(tuple(_comparison(part, right) for part in conditions), _comparison(found[2], right))


def _comparison(text: str, right: str) -> Clause:
    parts = re.split(r"(==|!=|<=|>=|<|>)", text)
    if len(parts) != 3:
        compared = "compares nothing" if len(parts) == 1 else "compares more than two sums"
        raise BadInput("the law", f"cannot be read: {text[:60]!r} {compared}", right)
    left, how, rest = (part.replace(" ", "") for part in parts)
    for side in (left, rest):
        terms = list(_TERM.finditer(side))
        if not side or "".join(term[0] for term in terms) != side or any(not term[1] for term in terms[1:]):
            sums = f"sums of {', '.join(NAMES)} and numbers"
            raise BadInput("the law", f"cannot be read: {side[:60]!r} is no sum", sums)
        for term in terms:
            if not term[3].isdecimal() and term[3] not in NAMES:
                raise BadInput("the law", f"speaks of {term[3][:60]!r}", f"{', '.join(NAMES)} and numbers")
    return Clause(left, how, rest)


def _sum(side: str, numbers: Numbers) -> int:
    total = 0
    for sign, times, what in _TERM.findall(side):
        value = int(what) if what.isdecimal() else numbers[what]
        total += int(f"{sign}{times or 1}") * value
    return total
