"""Scenes: short random scenarios that make sense to a reader, carried out. What the questions are about."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from thplab.errors import BadInput
from thplab.hardware.geometry import geometry
from thplab.kernel.policies import Kernel
from thplab.learn.lessons.places import frames_in_use
from thplab.learn.widgets.question import ends
from thplab.machine.state import State
from thplab.machine.trace import Setup, Trace, record
from thplab.show.ledger import Account, ledger

PROCESSES = ("A", "B", "C")
PIN = "dma"
TRIES = 400
"""How many scenarios are tried before a question is given up."""


@dataclass(frozen=True)
class Scene:
    """A scenario that was carried out. All that is asked about it is read from its states."""

    line: str
    trace: Trace

    @classmethod
    def of(cls, line: str, setup: Setup) -> Scene:
        """The scene of a scenario line. Its `trace.problem` says if it could not be carried out."""
        return cls(line, record(line, setup))

    @cached_property
    def states(self) -> tuple[State, ...]:
        """The state before the first operation, and after each."""
        return tuple(frame.state for frame in ends(self.trace))

    @cached_property
    def in_use(self) -> tuple[int, int]:
        """Page frames in use before the last operation and after it, page tables not counted."""
        *_, before, last = map(frames_in_use, ends(self.trace))
        return before, last

    @property
    def end(self) -> State:
        """The state after the last operation."""
        return self.states[-1]

    @property
    def before(self) -> State:
        """The state before the last operation."""
        return self.states[-2]

    @property
    def result(self) -> int:
        """What the last operation returned."""
        return self.trace[-1].result or 0

    @property
    def kernel(self) -> Kernel:
        """The kernel that it is on."""
        return self.end.kernel

    @property
    def nr(self) -> int:
        """How many small pages a huge page has."""
        return self.end.geometry.nr

    @cached_property
    def head(self) -> int:
        """The head of the huge page that A's first write brought, whatever has become of it."""
        return self.states[2].compound_pages()[0]

    @property
    def compound(self) -> bool:
        """The huge page is still in one piece."""
        return self.head in self.end.compound_pages()

    def label(self, number: int = -1) -> str:
        """One of the operations as a reader sees it; the last one, if no number is given."""
        return self.trace.scenario.ops[number].label(self.nr)

    def count(self, page: int = 0) -> int:
        """The reference count of a subpage."""
        return self.end.field("refcount", self.head + page)

    def mapcount(self, page: int = 0) -> int:
        """The logical mapcount of a subpage: its raw field `_mapcount` plus 1."""
        return self.end.field("mapcount", self.head + page) + 1

    def pmds(self) -> tuple[str, ...]:
        """The processes that map the huge page by a PMD in the end."""
        return self.end.pmd_maps.get(self.head, ())

    def account(self, counter: str, page: int = 0, state: State | None = None) -> Account:
        """Who holds a counter of a subpage, in the end or in another state in which the page is compound."""
        accounts = ledger(state or self.end, self.head)
        return next(a for a in accounts if a.name.split()[-1] == counter and a.first <= self.head + page <= a.last)


def slips(actual: int | str, *known: tuple[int | str, str]) -> dict[int | str, str]:
    """What wrong answers tell: (answer, misconception), the most likely first.
    Those that happen to be right are left out.
    """
    found: dict[int | str, str] = {}
    for answer, misconception in known:
        if answer != actual:
            found.setdefault(answer, misconception)
    return found


def names(processes: Sequence[str]) -> str:
    """Processes as an answer: "nobody", "A", "A and B"."""
    *most, last = sorted(processes) or ["nobody"]
    return f"{', '.join(most)} and {last}" if most else last


# --- drawing ----------------------------------------------------------------------------------------------------------

USUAL = {"fork": 4, "mprotect": 4, "munmap": 2, "pin": 3, "unpin": 2, "split": 2, "exit": 1}
"""Operation -> how often it comes after A has written to its huge page."""


def draw(
    rng: random.Random,
    setup: Setup,
    suits: Callable[[Scene], bool],
    last: Sequence[str] = (),
    usual: Mapping[str, int] = USUAL,
) -> Scene:
    """A scene of 3 to 7 operations that suits. It ends with one of the operations in `last`, if there are any.

    Raises BadInput if none is found, or if the setup names what does not exist.
    """
    nr = geometry(setup.geometry).nr
    for _ in range(TRIES):
        script = _Script(rng, nr, usual)
        written = script.write(rng.randrange(1, 6), last)
        if written is None:
            continue
        scene = Scene.of(written, setup)
        if not scene.trace.problem and suits(scene):
            return scene
    raise BadInput(
        "setup",
        f"({setup.kernel_name}, {setup.geometry}) gives no scene for the question",
        "a larger geometry, or more memory",
    )


class _Script:
    """Writes operations that make sense one after the other:
    what is unmapped is not named again, what is held is let go once.
    """

    def __init__(self, rng: random.Random, nr: int, usual: Mapping[str, int]) -> None:
        self.rng = rng
        self.nr = nr
        self.usual = usual
        self.mapped = {"A": set(range(nr))}
        self.writable = {"A": set(range(nr))}
        self.pinned = False
        self.splittable = True
        self.ops = ["mmap A", "write A 0"]

    def write(self, count: int, last: Sequence[str]) -> str | None:
        """A scenario of `count` operations after the first two; None if its last operation is not possible."""
        for number in range(count):
            kinds = list(last) if last and number == count - 1 else list(self.usual)
            weights = [self.usual.get(kind, 1) for kind in kinds]
            op = getattr(self, "_" + self.rng.choices(kinds, weights)[0])()
            if op is not None:
                self.ops.append(op)
            elif number == count - 1:
                return None
        return "; ".join(self.ops) if len(self.ops) > 2 else None

    def _process(self) -> str:
        return self.rng.choice(sorted(self.mapped))

    def _part(self, pages: set[int], most: int) -> tuple[int, int] | None:
        """Start and length of a part of a huge page, all of it among `pages`."""
        size = self.rng.choice([1, 1, *(size for size in (2, self.nr // 4, self.nr // 2) if 1 <= size <= most)])
        start = size * self.rng.randrange(self.nr // size)
        return (start, size) if pages.issuperset(range(start, start + size)) else None

    def _fork(self) -> str | None:
        parent, child = self._process(), PROCESSES[min(len(self.mapped), len(PROCESSES) - 1)]
        if child in self.mapped or any(op.startswith("exit") for op in self.ops):
            return None
        self.mapped[child], self.writable[child] = set(self.mapped[parent]), set(self.writable[parent])
        return f"fork {parent} {child}"

    def _mprotect(self) -> str | None:
        process = self._process()
        part = self._part(self.mapped[process] & self.writable[process], self.nr // 2)
        if part is None:
            return None
        self.writable[process] -= set(range(part[0], sum(part)))
        return f"mprotect {process} {part[0]} {part[1]} r"

    def _munmap(self) -> str | None:
        process = self._process()
        part = self._part(self.mapped[process], self.nr // 2)
        if part is None or len(self.mapped[process]) == part[1]:
            return None
        self.mapped[process] -= set(range(part[0], sum(part)))
        return f"munmap {process} {part[0]} {part[1]}"

    def _pin(self) -> str | None:
        process = self._process()
        part = self._part(self.mapped[process], min(2, self.nr - 1))
        if part is None or self.pinned:
            return None
        self.pinned = self.splittable = True
        return f"pin {process} {part[0]} {part[1]} {PIN}"

    def _unpin(self) -> str | None:
        if not self.pinned:
            return None
        self.pinned, self.splittable = False, True
        return f"unpin {PIN}"

    def _split(self) -> str | None:
        process = self._process()
        if not self.splittable:
            return None
        self.splittable = False
        return f"split {process} {min(self.mapped[process])}"

    def _exit(self) -> str | None:
        process = self._process()
        if len(self.mapped) == 1:
            return None
        del self.mapped[process], self.writable[process]
        return f"exit {process}"

    def _write(self) -> str | None:
        process = self._process()
        pages = sorted(self.mapped[process] & self.writable[process])
        return f"write {process} {self.rng.choice(pages)}" if pages and len(self.mapped) > 1 else None
