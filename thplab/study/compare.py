"""One scenario on several kernels:
what each of them answers, counts, spends and shows, operation by operation, side by side.

Pure data: a frozen Comparison, for the text in thplab.show.describe and for whatever else shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from thplab.errors import BadInput, Deadlock, KernelBug, errname
from thplab.hardware.frames import COLUMNS, PG_head, PG_order, PG_reserved, PG_table, PG_tail, PG_used
from thplab.hardware.geometry import Geometry
from thplab.hardware.steps import Routine, Step, drain
from thplab.hardware.swap_device import DEVICES
from thplab.kernel import kernels as known
from thplab.kernel.policies import Kernel
from thplab.machine.snapshot import capture
from thplab.machine.state import Array, ProcessState, State
from thplab.machine.trace import Setup
from thplab.scenario import Operation, Scenario
from thplab.study.contents import contents_text, runs
from thplab.study.observe import smaps

ANSWER, EVENTS, PAGES, USER, COSTS = "answer", "events", "huge pages", "what users see", "costs"
GROUPS = (ANSWER, EVENTS, PAGES, USER, COSTS)

NOT_BUILT, REFUSED, STOPPED = "not built", "refused", "stopped"
"""Answers of a simulated kernel that no real one gives: it cannot do this yet; it makes no sense there;
it met a bug of its own.
"""

REMARKS = (NOT_BUILT, REFUSED, STOPPED)

IN_USE = "page frames in use"
GONE = "gone"

Value = int | str | None
"""A fact on one kernel; None where the kernel has nothing of that name."""

Facts = dict[tuple[str, str, str], Value]
"""(group, subject, name) -> value."""

PMD_COUNTER, PMD_COLUMN = "PMD counter", "compound_mapcount"
"""What the count of PMD mappings is called here, and the column in which the schemes that have one keep it."""


@dataclass(frozen=True)
class Fact:
    """One fact on every kernel, in the order of Comparison.kernels.

    `subject` is what it is about: a huge page (F0, F1 ... in the order of first sight), a process, or nothing. Events
    and costs are those of this operation alone; anything else has a value `before` it, None where there was nothing to
    tell of.
    """

    group: str
    subject: str
    name: str
    values: tuple[Value, ...]
    before: tuple[Value, ...]

    @property
    def label(self) -> str:
        """The name with its subject: "F0 references"."""
        return f"{self.subject} {self.name}".strip()

    @property
    def differs(self) -> bool:
        """The kernels do not agree."""
        return len(set(self.values)) > 1

    @property
    def moved(self) -> bool:
        """The operation has changed it on at least one kernel; an answer counts as changed."""
        if self.group == ANSWER:
            return True
        if self.group in (EVENTS, COSTS):
            return any(self.values)
        return any((new or 0) != (old or 0) for new, old in zip(self.values, self.before, strict=True))


@dataclass(frozen=True)
class Compared:
    """One operation on all kernels. `remarks` has one text for each kernel:
    why it did not carry the operation out, else empty.

    `states` are the machines' afterwards.
    """

    op: Operation
    phase: int
    rows: tuple[Fact, ...]
    remarks: tuple[str, ...]
    states: tuple[State, ...] = field(compare=False, repr=False)

    def __repr__(self) -> str:
        return f"<Compared {self.op.op}: {len(self.differing())} of {len(self.rows)} facts differ>"

    def row(self, label: str) -> Fact:
        """The row of that label. Raises BadInput, naming those that there are, if there is none."""
        for row in self.rows:
            if row.label == label:
                return row
        raise BadInput("label", f"is {label!r}", "one of " + ", ".join(row.label for row in self.rows))

    def differing(self) -> tuple[Fact, ...]:
        """What the operation has changed, and not on all kernels alike."""
        return tuple(row for row in self.rows if row.differs and row.moved)

    def equal(self) -> tuple[Fact, ...]:
        """What the operation has changed on all kernels alike."""
        return tuple(row for row in self.rows if row.moved and not row.differs)


@dataclass(frozen=True)
class Comparison:
    """A scenario on several kernels: `operations` in order, and in `totals` the events and costs of all of it.

    `start` are the machines' states before the first operation. `problem` names the first operation that no kernel
    could carry out, and kernels that met a bug of their own; else it is empty.
    """

    scenario: Scenario
    geometry: Geometry
    kernels: tuple[Kernel, ...]
    operations: tuple[Compared, ...]
    totals: tuple[Fact, ...]
    problem: str
    start: tuple[State, ...] = field(compare=False, repr=False)

    def __repr__(self) -> str:
        return (
            f"<Comparison of {', '.join(kernel.name for kernel in self.kernels)}, {self.geometry.name}: "
            f"{self.scenario}>"
        )


def compare(
    scenario: Scenario | str,
    kernels: Sequence[str | Kernel] = (),
    geometry: str = "TOY",
    memory: int | None = None,
    swap: str = "",
) -> Comparison:
    """Carry out a scenario on several kernels, all known ones by default, and put what came of it side by side.

    An operation that a kernel does not have is answered as that kernel does (-EINVAL, -ENOSYS) or with NOT_BUILT; one
    that makes no sense there, because an earlier one was not carried out, with REFUSED. Both change nothing, and the
    scenario goes on. After a bug of its own a kernel does nothing any more. A kernel may be a record of the caller's
    own. Raises BadInput for a scenario that does not parse, fewer than two kernels, the same twice, and names that do
    not exist.
    """
    scenario = Scenario.parse(scenario) if isinstance(scenario, str) else scenario
    records = tuple(known.kernel(k) if isinstance(k, str) else k for k in kernels or known.KERNELS.values())
    names = [record.name for record in records]
    if len(names) < 2 or len(set(names)) < len(names):
        raise BadInput(
            "kernels", f"are {', '.join(names)}", "two or more different ones of " + ", ".join(known.KERNELS)
        )
    device = swap or (scenario.env if scenario.env in DEVICES else "")
    runs = [_OnKernel(Setup(record, geometry, memory, swap=device)) for record in records]
    start = tuple(run.state for run in runs)
    operations = tuple(_compared(runs, op, scenario.phase_of(index)) for index, op in enumerate(scenario.ops))
    totals = _rows([run.totals for run in runs], [{} for _ in runs])
    return Comparison(scenario, start[0].geometry, records, operations, totals, _problem(names, operations), start)


def _compared(runs: Sequence[_OnKernel], op: Operation, phase: int) -> Compared:
    before = [run.facts for run in runs]
    remarks = tuple(run.perform(op) for run in runs)
    return Compared(op, phase, _rows([run.facts for run in runs], before), remarks, tuple(run.state for run in runs))


def _rows(after: Sequence[Facts], before: Sequence[Facts]) -> tuple[Fact, ...]:
    """The facts of all kernels as rows: by group, then by subject, then in the order in which a kernel names them."""
    keys = sorted(
        dict.fromkeys(key for facts in after for key in facts),
        key=lambda key: (GROUPS.index(key[0]), len(key[1]), key[1]),
    )
    nothing = {COSTS: 0}  # a lock that a kernel never takes costs it nothing; an event that it does not have is none

    def values(key: tuple[str, str, str], kernels: Sequence[Facts]) -> tuple[Value, ...]:
        return tuple(facts.get(key, nothing.get(key[0])) for facts in kernels)

    return tuple(Fact(*key, values(key, after), values(key, before)) for key in keys)


def _problem(names: Sequence[str], operations: Iterable[Compared]) -> str:
    found = []
    for number, compared in enumerate(operations, 1):
        answers = compared.row("returns").values
        if all(answer in (NOT_BUILT, REFUSED) for answer in answers):
            found.append(f"no kernel can carry out operation {number}, {compared.op.op}: {compared.remarks[0]}")
            break
    for index, name in enumerate(names):
        bug = next((c.remarks[index] for c in operations if c.row("returns").values[index] == STOPPED), "")
        found += [f"{name}: {bug}"] if bug else []
    return "; ".join(found)


# --- one kernel -------------------------------------------------------------------------------------------------------


@dataclass
class _HugePage:
    """A block that is or was a huge page of the scenario;
    `ours` says which of its pages were never given back since.
    """

    label: str
    compound: bool
    ours: npt.NDArray[np.bool_]


class _OnKernel:
    """The scenario on one kernel. `facts` is what there is to tell after the last operation,
    `totals` what all of them have spent.
    """

    def __init__(self, setup: Setup) -> None:
        self.machine = setup.machine()
        self.state = self.machine.state
        self.pages: dict[int, _HugePage] = {}
        """Head -> what is followed there."""
        self.past: Facts = {}
        """Of huge pages of which nothing is left, that they are gone."""
        self.facts: Facts = dict(self._users())
        self.totals: Facts = {}
        self.stopped = ""

    def perform(self, op: Operation) -> str:
        """Carry out an operation and take down what came of it. Returns why it was not carried out, "" if it was."""
        answer, remark = (STOPPED, self.stopped) if self.stopped else self._answer(op)
        before, self.state = self.state, capture(self.machine.system)
        self._follow()
        spent = dict(self._spent(before))
        for key, count in spent.items():
            self.totals[key] = count + int(self.totals.get(key) or 0)
        self.totals[USER, "", IN_USE] = _in_use(self.state)
        self.facts = {
            (ANSWER, "", "returns"): answer,
            **spent,
            **self.past,
            **dict(self._huge_pages()),
            **dict(self._users()),
        }
        return remark

    def _answer(self, op: Operation) -> tuple[str, str]:
        steps: list[Step] = []
        try:
            answer = drain(_noted(self.machine.begin(op), steps))
            refused = answer < 0 and len(steps) == 1  # nothing was begun: its only step says why
            return errname(answer), steps[0].text if refused else ""
        except BadInput as error:
            return (NOT_BUILT if "is not built" in error.wrong else REFUSED), str(error)
        except (KernelBug, Deadlock) as error:
            self.stopped = f"{type(error).__name__}: {error}"
            return STOPPED, self.stopped

    def _spent(self, before: State) -> Iterator[tuple[tuple[str, str, str], int]]:
        for name, count in self.state.vmstat.items():
            yield (EVENTS, "", name), count - before.vmstat[name]
        for name, count in self.state.costs.items():
            lock = self.state.kernel.names.first(name.removeprefix("lock:"))
            yield (
                (COSTS, "", COST_NAMES.get(name, lock if lock.endswith("_lock") else f"lock {lock}")),
                count - before.costs.get(name, 0),
            )

    # --- huge pages ---------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Forget pages that were given back, and name the huge pages that are seen for the first time."""
        state, nr = self.state, self.state.geometry.nr
        for head, page in list(self.pages.items()):
            flags = state.column("flags", head, nr)
            compound = bool(flags[0] & (PG_head | PG_order) == PG_head)
            page.ours &= (flags & PG_used) != 0
            if not page.ours.any() or (compound and not page.compound):
                self.past[PAGES, page.label, "is"] = GONE
                del self.pages[head]
            page.compound = compound
        for head in state.huge_pages():
            if head not in self.pages:
                label = f"F{len(self.pages) + len(self.past)}"
                self.pages[head] = _HugePage(label, True, np.ones(nr, np.bool_))

    def _huge_pages(self) -> Iterator[tuple[tuple[str, str, str], Value]]:
        state, nr = self.state, self.state.geometry.nr
        for head, page in self.pages.items():
            left = int(page.ours.sum())
            heads = np.count_nonzero(state.column("flags", head, nr)[page.ours] & PG_head)
            parts = f"{left} pages, {heads} compound" if heads else f"{left} small page{'s' if left > 1 else ''}"
            kind = "compound" if page.compound else parts
            yield (PAGES, page.label, "is"), kind
            refs, maps = state.column("refcount", head, nr), state.column("mapcount", head, nr) + 1
            text = str(int(refs[0])) if page.compound else _pages(_known(refs, page.ours))
            yield (PAGES, page.label, "references"), text
            yield (PAGES, page.label, "mapcounts"), _pages(_known(maps, page.ours))
            if page.compound:
                yield from (((PAGES, page.label, name), value) for name, value in self._own_counters(head))

    def _own_counters(self, head: int) -> Iterator[tuple[str, Value]]:
        """What a compound page has once.
        The counter of PMDs has one name for all schemes, others are spelled as in the kernel.
        """
        kernel = self.state.kernel
        fields = {name: self.state.field(name, head) for name in COLUMNS}
        for counter in kernel.head_counters:
            count, text = counter.logical(fields[counter.column]), counter.text(fields[counter.column])
            yield PMD_COUNTER if counter.column == PMD_COLUMN else counter.name, count if text == str(count) else text
        for name, flag in kernel.scheme.raw_fields(fields, head in self.state.deferred).items():
            if not name.endswith("_raw"):
                yield "on split queue" if name == "deferred" else name, flag

    # --- users --------------------------------------------------------------------------------------------------------

    def _users(self) -> Iterator[tuple[tuple[str, str, str], Value]]:
        for process in self.state.processes:
            for region, _ in process.regions:
                subject = process.name if region == "R" else f"{process.name}.{region}"
                yield (USER, subject, "maps"), _pages(self._mapped(process, region))
                yield (
                    (USER, subject, "contents"),
                    contents_text([tag or 0 for tag in self.state.contents(process.name, region)]),
                )
            figures = smaps(self.state, process.name)
            for name in ("Rss", "AnonHugePages", "Swap"):
                if name in figures:
                    yield (USER, process.name, f"{name} kB"), figures[name]
        for name in self.state.pins:
            yield (USER, name, "contents"), contents_text(self.state.pin_contents(name))
        yield (USER, "", IN_USE), _in_use(self.state)

    def _mapped(self, process: ProcessState, region: str) -> list[str]:
        """What each page of a region is mapped to, in a word or two."""
        base, pages = dict(process.regions)[region]
        words = ["nothing"] * pages
        for m, first, count in self.state.mapped_in(process.name, base, pages):
            for i in range(count):
                words[first + i] = self._page_words(m.pfn + i, bool(m.level)) if m.kind == "page" else m.kind
        return words

    def _page_words(self, pfn: int, by_pmd: bool) -> str:
        head = pfn & -self.state.geometry.nr
        page = self.pages.get(head)
        if page is None or not page.ours[pfn - head]:
            return "small"
        if not self.state.field("flags", pfn) & (PG_head | PG_tail):
            return f"small of {page.label}"
        return f"{page.label} by {'PMD' if by_pmd else 'PTE'}"


def _noted(routine: Routine[int], steps: list[Step]) -> Routine[int]:
    """The routine as it is; each of its steps is put into `steps`."""
    while True:
        try:
            step = next(routine)
        except StopIteration as end:
            return int(end.value)
        steps.append(step)
        yield step


COST_NAMES = {
    "rmw": "RMW of counters",
    "bit_rmw": "RMW of lock bits",
    "flushes": "TLB flushes",
    "irqs_off": "interrupts off",
}
"""What the costs of thplab.hardware.steps are called here; RMW is an atomic read-modify-write.
Locks have their own names.
"""


def _in_use(state: State) -> int:
    """Allocated page frames, page tables and zero pages not counted."""
    flags = (block[COLUMNS.index("flags")] for block in state.blocks.values())
    return sum(int(np.count_nonzero(f & (PG_used | PG_table | PG_reserved) == PG_used)) for f in flags)


def _known(column: Array, ours: npt.NDArray[np.bool_]) -> list[Value]:
    return [value if known else GONE for value, known in zip(column.tolist(), ours.tolist(), strict=True)]


def _pages(values: Sequence[Value]) -> str:
    """Values of pages in words, the most frequent one once: "0: 2, else 1", or "all 1"."""
    most, times = Counter(values).most_common(1)[0]
    if times == len(values):
        return f"all {most}" if isinstance(most, int) else str(most)
    others = [f"{where}: {values[low]}" for low, where in runs(values) if values[low] != most]
    return ", ".join([*others, f"else {most}"])
