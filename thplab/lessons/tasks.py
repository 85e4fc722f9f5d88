"""Tasks that a learner solves by writing a scenario. The simulator carries it out and tells what is still missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from thplab.errors import BadInput
from thplab.scenario import Scenario
from thplab.state import State
from thplab.trace import Setup, Trace, record


@dataclass(frozen=True)
class Task:
    """What is to be reached, how to see what is missing, and three hints: the rule, where to look, a way to begin."""

    question: str
    missing: Callable[[Trace], Iterator[str]]
    hints: tuple[str, str, str]


@dataclass(frozen=True)
class Verdict:
    """The outcome of an attempt. Its text says what is still missing, with the numbers that were found."""

    task: str
    trace: Trace
    missing: tuple[str, ...]

    @property
    def solved(self) -> bool:
        """Nothing is missing."""
        return not self.missing

    def __repr__(self) -> str:
        if self.solved:
            steps = len(self.trace) - 1
            return f"{self.task}: solved. Your scenario took {len(self.trace.scenario.ops)} operations and {steps} steps of the kernel."
        return f"{self.task}: not yet.\n" + "\n".join(f"  - {line}" for line in self.missing)


def ask(name: str) -> None:
    """Print what a task asks for. Raises BadInput for a task that does not exist."""
    print(f"{name}: {_task(name).question}")


def attempt(name: str, scenario: str, geometry: str = "TOY") -> Verdict:
    """Carry out a scenario as an answer to a task. Raises BadInput only for a task that does not exist.

    A scenario that cannot be read, or not be carried out to its end, is not a solution: the verdict says where and why.
    """
    task = _task(name)
    try:
        written = Scenario.parse(scenario)
    except BadInput as error:
        return Verdict(name, record(Scenario(), Setup(geometry=geometry)), (f"the scenario cannot be read: {error}",))
    trace = record(written, Setup(geometry=geometry))
    if trace.problem:
        return Verdict(name, trace, (f"the scenario stops {trace.problem}",))
    return Verdict(name, trace, tuple(task.missing(trace)))


def hint(name: str, level: int = 1) -> None:
    """Print a hint: level 1 names the rule, 2 says where to look, 3 how to begin. Raises BadInput for another level."""
    hints = _task(name).hints
    if not 1 <= level <= len(hints):
        raise BadInput("level", f"is {level}", f"1 to {len(hints)}")
    print(hints[level - 1])


def _task(name: str) -> Task:
    if name not in TASKS:
        raise BadInput("task", f"{name!r} does not exist", "one of " + ", ".join(TASKS))
    return TASKS[name]


# --- lesson 0 -----------------------------------------------------------------------------------------------------------


def _end(trace: Trace) -> State:
    return trace[-1].state


def _two_tables_one_page(trace: Trace) -> Iterator[str]:
    state, nr = _end(trace), _end(trace).geometry.nr
    heads = state.compound_pages()
    if len(heads) != 1:
        yield f"there must be one compound page at the end; there are {len(heads)}"
        return
    names = {m.process for m in state.mapped if m.level == 0 and state.head(m.pfn) == heads[0]}
    if len(names) < 2:
        yield f"two processes must map it by PTEs; {len(names)} of them do"
    count = state.field("refcount", heads[0])
    if count != 2 * nr:
        yield f"the head's _count must be {2 * nr}; it is {count}"
    if state.pins:
        yield "no driver may hold a pin"


def _refused_then_split(trace: Trace) -> Iterator[str]:
    vmstat = _end(trace).vmstat
    for event, wanted in (("thp_split_page_failed", 1), ("thp_split_page", 1), ("thp_split_pmd", 3)):
        if vmstat[event] != wanted:
            yield f"{event} must be {wanted} at the end; it is {vmstat[event]}"
    if {p.name for p in _end(trace).processes} != {f for f in _names(trace)}:
        yield "no process may have ended"


def _names(trace: Trace) -> set[str]:
    return {p.name for f in trace for p in f.state.processes}


def _held_by_nobody(trace: Trace) -> Iterator[str]:
    state = _end(trace)
    if not state.compound_pages():
        yield "a compound page must still be allocated at the end; there is none"
        return
    head = state.compound_pages()[0]
    mapped = len(state.pmd_maps.get(head, ())) + int(state.pte_maps[head : head + state.geometry.nr].sum())
    if mapped:
        yield f"no page table may map it any more; {mapped} entries do"
    count = state.field("refcount", head)
    if count != 1:
        yield f"a single reference must keep it; its head has {count}"


TASKS = {
    "two tables, one page": Task(
        "Reach a state with one compound page that two processes map by PTEs, so that the head's _count is twice the number of "
        "subpages. No driver holds a pin.",
        _two_tables_one_page,
        (
            "Every PTE that maps a subpage holds one reference on the head.",
            "split_huge_pmd() works on one PMD of one process. Who has to call for it, and how often?",
            "Begin with: mmap A; write A 0; fork A B. Then give both processes a reason to cut their VMA inside the huge page.",
        ),
    ),
    "refused, then split": Task(
        "Let three processes share a huge page. Make the split of the page fail once and then succeed, so that vmstat ends with "
        "thp_split_page_failed 1, thp_split_page 1 and thp_split_pmd 3. All three processes live on.",
        _refused_then_split,
        (
            "A refused split changes nothing but its event. A split that succeeds first splits every PMD that is still there.",
            "Look at phase 5 of the story for the refusal, and count the PMDs in phase 6.",
            "Begin with: mmap A; write A 0; fork A B; fork A C; pin A 1 1 dma; split A 0. The rest is two operations.",
        ),
    ),
    "held by nobody": Task(
        "Keep a whole huge page in memory although no page table maps any part of it. A single reference may hold it.",
        _held_by_nobody,
        (
            "A page is freed when its last reference goes. A mapping is not the only thing that can hold one.",
            "In phase 5 of the story one reference on the head belongs to no mapping. What would be left if A and B unmapped it all then?",
            "Begin with: mmap A; write A 0; pin A 3 1 dma. Then take the mapping away.",
        ),
    ),
}
"""Task -> what it asks for."""
