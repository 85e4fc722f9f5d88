"""Exercises to lesson 3, splitting one PMD."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, exercise
from thplab.learn.exercises.facts import (
    F,
    W,
    base_of,
    done,
    ended,
    need,
    need_events,
    need_one_page,
    pages,
    pmds,
    ptes,
    total_cost,
)
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.state import State
from thplab.machine.trace import Setup, Trace, record


@exercise(
    "3.1", "A scar", "apply", "reach", 6,
    objective="see that a split PMD does not come back when its reason has gone",
    myth="when VMAs are joined again, so is the PMD",
)  # fmt: skip
def scar(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    page = draw.between("page", 1, 7)

    def alone(state: State) -> bool:
        size, base = state.geometry.page_size, base_of(state, a)
        return bool(base) and any((v.start - base, v.end - v.start) == (page * size, size) for v in state.vmas(a))

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        yield from need("the number of VMAs", sum(len(p.vmas) for p in state.processes), 1)
        yield from need("the number of huge PMDs", pmds(state), 0)
        yield from need("the number of subpages that one PTE maps", ptes(state).count(1), 8)
        if not any(alone(frame.state) for frame in trace):
            yield f"page {page} must have been a VMA of its own at some time; it never was"

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if state.vmstat["thp_split_page"]:
            yield "that split the page: nothing compound is left"
        vmas = sum(len(p.vmas) for p in state.processes)
        if vmas > 1:
            yield f"there are {vmas} VMAs, because their rights differ"
        if pmds(state):
            yield "no border fell inside the huge page, so the PMD stays huge"

    return Task(
        f"{a} has one huge page. Reach a state in which {a} has a single VMA and maps all 8 pages of one compound page, but "
        f"by PTEs, although at the end nothing divides the VMA any more. On the way page {page} was a VMA of its own.",
        missing,
        (
            "A border inside a huge page splits its PMD. When the border goes, nobody puts the PMD together again.",
            "Which call changes the rights of one page, and which gives them back?",
            f"Begin with: {W.format(a)}. Then take the right to write away from one page.",
        ),
        processes=(a,),
        rules=rules,
    )


@exercise(
    "3.2", "Turned", "create", "reach", 12,
    objective="tell the place of a PTE in its table from the subpage that it maps",
    myth="the index of a PTE is the number of its subpage",
)  # fmt: skip
def turned(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    k = draw.between("k", 1, 7)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        found = _turns(state)
        if k not in found:
            seen = ", ".join(map(str, sorted(found))) or "none"
            yield f"one table must map all 8 subpages, turned by {k}; tables that map all of them turned: {seen}"

    def rules(trace: Trace) -> Iterator[str]:
        found = _turns(trace[-1].state)
        if 8 - k in found and 8 - k != k:
            yield f"index 0 holds subpage {8 - k}, so it is turned the other way"
        if pmds(trace[-1].state):
            yield "a move of a whole huge page to an aligned place keeps the PMD, and everything in its place"

    return Task(
        f"{a} has one huge page and a second region. Reach a state with one page table in which the entry with index i maps "
        f"subpage (i + {k}) mod 8 of one compound page, for all i from 0 to 7.",
        missing,
        (
            "A PTE that moves takes its subpage with it, wherever in a table it goes.",
            f"The pages from {k} on have to come first, and those before {k} behind them.",
            f"Begin with: {W.format(a)}; mmap {a} region=T. Two moves are missing, and each needs its own place in T.",
        ),
        processes=(a,),
        rules=rules,
    )


def _turns(state: State) -> set[int]:
    """By how much tables that map all subpages of one compound page are turned."""
    entries: dict[int, dict[int, int]] = {}
    for m in state.mapped:
        if m.level == 0 and m.kind == "page":
            places = entries.setdefault(m.table, {})
            places |= {m.index + i: m.pfn + i - state.head(m.pfn) for i in range(m.count)}
    nr = state.geometry.nr
    return {k for row in entries.values() for k in range(nr) if row == {i: (i + k) % nr for i in range(nr)}}


CHEAPEST = {"rfc-2014": 1026, "v4.5": 1538}
"""Kernel -> what the best order costs. The orders themselves would be a solution, so a test has them."""


@exercise(
    "3.3", "Early or late", "create", "measure", 15,
    objective="weigh two orders of the same operations by what they cost",
    myth="one order is the best on every kernel",
)  # fmt: skip
def early_or_late(draw: Draw) -> Task:
    a, b = draw.processes(2)
    kernel = draw.pick("kernel", ("rfc-2014", "v4.5"))

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        yield from need("the number of huge PMDs", pmds(state), 0)
        yield from need("the number of PTEs over the page", sum(ptes(state)), 1024)
        yield from need("the number of processes", len(state.processes), 2)
        if not done(trace, "fill"):
            yield f"{a} must fill the page"
        spent, limit = total_cost(trace), CHEAPEST[kernel] + 20
        if spent > limit:
            yield f"all operations together may cost {limit} atomic operations; yours cost {spent}"

    def rules(trace: Trace) -> Iterator[str]:
        order = [op.op for op in trace.scenario.ops if op.op in ("mprotect", "munmap", "fork")]
        if total_cost(trace) <= CHEAPEST[kernel] + 20 or "fork" not in order:
            return
        if order[0] == "fork" and kernel == "v4.5":
            yield "the first split that leaves another PMD sets PageDoubleMap, and counts every subpage once more"
        if order[0] != "fork" and kernel == "rfc-2014":
            yield "in the RFC a fork that copies PTEs takes compound_lock for each tail"

    return Task(
        f"{kernel}, X86_64. {a} fills one huge page ({F.format(a)}) and shares it with its child {b}, so that in the end "
        "both map all 512 pages by PTEs. Find the cheaper order: all operations together within 20 atomic operations (rmw "
        "and bit_rmw) of the cheapest. The costs of a step stand in the stepper, those of a trace in "
        'record(...)[-1].state.costs.',
        missing,
        (
            "A split counts all tails once. What it costs beside that depends on who else maps the page by a PMD.",
            "Lesson 3, section 6, has the prices of one split. What does a fork cost that copies PTEs and not a PMD?",
            f"Begin with: {F.format(a)}. Then write both orders, and compare their costs.",
        ),
        Setup(kernel, "X86_64"),
        processes=(a, b),
        rules=rules,
    )


@exercise(
    "3.4", "A diary of deposits", "apply", "ledger", 8,
    objective="say where the table of a split comes from",
    myth="a split allocates the table that it needs",
)  # fmt: skip
def diary(draw: Draw) -> Answers:
    a, b = draw.processes(2)
    splits, leaves = draw.pick("splits", (a, b)), draw.pick("leaves", (a, b))
    page = draw.between("page", 1, 7)
    scenario = f"{W.format(a)}; fork {a} {b}; mprotect {splits} {page} 1 r; exit {leaves}"
    rows = (("write", 2), ("fork", 3), ("mprotect", 4), ("exit", 5))

    def cells() -> Mapping[str, Question]:
        asked: dict[str, Question] = {}
        ops = scenario.split("; ")
        for name, number in rows:
            line = "; ".join(ops[:number])
            state = record(line)[-1].state
            tables, aside = len(state.tables), sum(len(d) for p in state.processes for _, d in p.deposited)
            slips: dict[int | str, str] = {}
            if name == "mprotect":
                slips = {tables + 1: "It took the table that was deposited: none is new."}
            asked[f"{name} tables"] = Question(
                line, Setup(), "How many page tables are there in all, deposited ones included?", tables, slips=slips
            )
            slips = {aside + 1: f"{splits}'s table is in use now."} if name == "mprotect" else {}
            asked[f"{name} deposited"] = Question(line, Setup(), "How many of them are deposited?", aside, slips=slips)
        return asked

    return Answers(
        f"{scenario}. After write, fork, mprotect and exit: how many page tables are there in all, and how many of them are "
        "deposited? Eight lines, two for each operation: all, deposited.",
        cells,
        (
            "For each huge PMD one table is put aside when it is mapped. A split takes it.",
            "A process has a table on each of the three levels above the PTEs; the picture counts the deposited ones.",
            f"Begin with the write: three tables lead to {a}'s PMD, and one is put aside for it.",
        ),
    )


@exercise(
    "3.5", "Borders, not pages", "apply", "reach", 6,
    objective="predict from the borders of a range how many PMDs are split",
    myth="the more pages, the more splits",
)  # fmt: skip
def borders(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    gone = draw.between("gone", 17, 22)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_events(state, thp_split_pmd=1, thp_split_page=0, thp_fault_alloc=3)
        yield from need(f"the number of pages that {a} maps", pages(state, a), 24 - gone)
        if done(trace, "fork", "exit"):
            yield f"{a} is alone, and lives"

    def rules(trace: Trace) -> Iterator[str]:
        splits = trace[-1].state.vmstat["thp_split_pmd"]
        if splits > 1:
            yield f"{splits} borders fell inside huge pages, so {splits} PMDs were split"
        elif splits == 1 and ended(trace) and pages(trace[-1].state, a) != 24 - gone:
            yield f"one split is right, but {24 - pages(trace[-1].state, a)} pages were given up, and not {gone}"

    return Task(
        f"{a} maps three huge pages, 24 pages, and has all of them. Then {a} gives up exactly {gone} pages, and only one PMD "
        "is split.",
        missing,
        (
            "A PMD is split where a border of the range falls inside a huge page. A range has two ends.",
            "Where must one of the two ends be so that it splits nothing?",
            f"Begin with: mmap {a} 3thp; fill {a} 0 3thp. One operation is missing, and it ends where the region ends.",
        ),
        processes=(a,),
        rules=rules,
    )


SET = ExerciseSet(
    "03_splitting_one_pmd",
    "Splitting one PMD",
    "03_splitting_one_pmd",
    "Five exercises on the split of a mapping: when it happens, what it leaves behind, where its table comes from, and what "
    "it costs.",
    (scar, turned, early_or_late, diary, borders),
)
