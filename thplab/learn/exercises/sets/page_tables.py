"""Exercises to lesson 1, page tables and the fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from thplab.kernel.address_space import VM_HUGEPAGE
from thplab.kernel.kernels import KERNELS
from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, exercise
from thplab.learn.exercises.facts import base_of, done, need, need_events, pages, used
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.state import State
from thplab.machine.trace import Setup, Trace, record


def small_pages(state: State, process: str) -> list[int]:
    """The numbers of the small pages that a process maps in its first region, in the order of addresses."""
    base, size = base_of(state, process), state.geometry.page_size
    found = (m for m in state.mapped if m.process == process and m.level == 0 and m.kind == "page")
    return sorted((m.address - base) // size + i for m in found for i in range(m.count))


@exercise(
    "1.1", "Idle tables", "recall", "ledger", 7,
    objective="count page tables, those among them that wait for a split, too",
    myth="a huge PMD saves the table below it",
)  # fmt: skip
def idle_tables(draw: Draw) -> Answers:
    (a,) = draw.processes(1)
    huge, small = draw.between("huge", 1, 3), draw.between("small", 1, 3)
    touched = draw.between("touched", 1, 2)
    writes = [f"write {a} {n}thp" if n else f"write {a} 0" for n in range(huge)]
    second = [f"write {a} {n}thp {touched} region=S" if n else f"write {a} 0 {touched} region=S" for n in range(small)]
    scenario = "; ".join([f"mmap {a} {huge}thp", *writes, f"mmap {a} {small}thp advise=none region=S", *second])

    def cells() -> Mapping[str, Question]:
        state = record(scenario)[-1].state
        tables, waiting = len(state.tables), sum(len(names) for p in state.processes for _, names in p.deposited)
        return {
            "tables": Question(
                scenario, Setup(), "How many page tables are there in all?", tables,
                slips={
                    tables - waiting: "Each huge PMD keeps a table aside, and that is one of them.",
                    tables + 1: "S lies under the same PMD table as the first region.",
                },
            ),
            "waiting": Question(
                scenario, Setup(), "How many of them are deposited?", waiting,
                slips={waiting + small: "The tables of S are in use: entries lead to them."},
            ),
            "in use": Question(
                scenario, Setup(), "To how many of them does an entry, or the process itself, lead?", tables - waiting,
                slips={tables: f"{waiting} are deposited; no entry leads there."},
            ),
        }  # fmt: skip

    return Answers(
        f"{scenario}. How many page tables are there in all? How many of them are deposited? And to how many does an entry (or "
        "the process itself) lead? Three lines: tables, waiting, in use.",
        cells,
        (
            "For each huge PMD a table is put aside when it is mapped. A small page needs a table that is in use.",
            "In the picture the number of deposited tables stands beside the name of the process.",
            "Begin with the three tables above: PGD, PUD and PMD. All regions here share them.",
        ),
    )


@exercise(
    "1.2", "Neighbours", "apply", "reach", 6,
    objective="say from an address which table its entry is in",
    myth="neighbours in memory share a page table",
)  # fmt: skip
def neighbours(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    border = draw.between("border", 1, 4)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        tables = [m.table for m in state.mapped if m.level == 0 and m.kind == "page" for _ in range(m.count)]
        yield from need("the number of small pages that are mapped", len(tables), 2)
        found = small_pages(state, a)
        if len(found) != 2 or found[1] - found[0] != 1:
            yield f"the two must be neighbours; yours are pages {', '.join(map(str, found)) or 'none'} of {a}"
        yield from need("the number of tables that map them", len(set(tables)), 2)
        if found[1:] != [8 * border]:
            yield f"the second must be the first page of huge-page range {border}"

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if state.compound_pages():
            yield "these are huge pages, which have no PTEs: without advice the kernel gives small ones"
        found = small_pages(state, a)
        if len(found) == 2 and found[0] // 8 == found[1] // 8:
            yield f"pages {found[0]} and {found[1]} differ in the PTE index only: one table has them both"

    return Task(
        f"{a} maps two small pages, and no third one. Their addresses are 4096 bytes apart, and yet two page tables map them: the "
        f"second is the first page of the range of huge page {border} of the region (ranges are counted from 0).",
        missing,
        (
            "The PTE index of an address goes from 0 to 7 here; the next page after index 7 is in the next table.",
            "Two pages beside a border: which numbers have they in the region?",
            f"Begin with: mmap {a} 5thp advise=none. One write of two pages is missing.",
        ),
        processes=(a,),
        rules=rules,
    )


@exercise(
    "1.3", "A table in the way", "analyse", "reach", 9,
    objective="find a third reason for a small page beside missing advice and missing memory",
    myth="with advice and free memory a fault brings a huge page",
)  # fmt: skip
def in_the_way(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    first, second = draw.some("pages", range(8), 2)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_events(state, thp_fault_alloc=0, thp_fault_fallback=0)
        span = state.geometry.nr * state.geometry.page_size
        whole = [v for p in state.processes for v in p.vmas if VM_HUGEPAGE in v.flags and v.end // span > -(-v.start // span)]
        if not whole:
            yield "a VMA with the advice hugepage must cover a whole aligned range of 8 pages"
        found = small_pages(state, a)
        if found != sorted((first, second)):
            yield f"{a} must map pages {min(first, second)} and {max(first, second)}, and no other; it maps {found}"
        advised = [n for n, op in enumerate(trace.scenario.ops) if op.fields.get("advice") == "hugepage" or op.op == "mmap"]
        last = [n for n, op in enumerate(trace.scenario.ops) if op.op in ("write", "read", "fill")]
        if whole and last and last[-1] < advised[-1]:
            yield "a page must be touched after the advice"

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if state.vmstat["thp_fault_alloc"]:
            yield "the PMD was empty when the advice was there, so a huge page was given"
        if done(trace, "munmap") and not state.vmstat["thp_fault_alloc"]:
            yield "a VMA that is too short for a huge page is another reason, which lesson 1 has shown"

    return Task(
        f"{a} has a VMA with the advice hugepage that covers a whole aligned range, and memory is free. Then {a} writes to a page of "
        f"it and gets a small page all the same: neither thp_fault_alloc nor thp_fault_fallback is counted. At the end {a} maps "
        f"pages {min(first, second)} and {max(first, second)} only, one of them from before the advice.",
        missing,
        (
            "A huge page is given only where the PMD is empty. Where a table hangs below it, the fault fills in a PTE.",
            "How does a table get there before the advice comes?",
            f"Begin with: mmap {a} advise=none. Then comes a first small page, and only then the advice.",
        ),
        processes=(a,),
        rules=rules,
    )


@exercise(
    "1.4", "Refusals", "apply", "reach", 8,
    objective="say what thp_fault_fallback counts",
    myth="thp_fault_fallback counts small pages",
)  # fmt: skip
def refusals(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    fallbacks = draw.between("fallbacks", 1, 3)
    small = draw.between("small", fallbacks + 1, fallbacks + 6)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_events(state, thp_fault_alloc=3, thp_fault_fallback=fallbacks)
        yield from need(f"the Rss of {a}, in pages,", pages(state, a), 3 * 512 + small)

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        tried, mapped = state.vmstat["thp_fault_fallback"], pages(state, a) - 3 * 512
        if tried < fallbacks <= mapped:
            yield "one range is one attempt: then its table is there, and further pages of it ask no more"
        if tried == fallbacks and 0 < mapped != small:
            yield f"that many attempts, but {mapped} small pages, and not {small}"

    return Task(
        f"X86_64, with memory for 2048 page frames. {a} gets three huge pages; for a fourth there is no room. At the end "
        f"thp_fault_alloc is 3, thp_fault_fallback {fallbacks}, and {a} maps {small} small pages beside the huge ones.",
        missing,
        (
            "A fallback is counted when a fault wanted a huge page and got none. It wants one only where the PMD is empty.",
            "How many ranges must be touched for the first time, and how many pages in them?",
            f"Begin with: mmap {a} {3 + fallbacks}thp; write {a} 0; write {a} 1thp; write {a} 2thp. Now memory is full.",
        ),
        Setup(geometry="X86_64", memory=2048),
        processes=(a,),
        rules=rules,
    )


@exercise(
    "1.5", "Zero is not memory", "analyse", "predict", 7,
    objective="say what the first write to the huge zero page brings on each kernel",
    myth="the first write always brings a huge page",
)  # fmt: skip
def zero_is_not_memory(draw: Draw) -> Answers:
    (a,) = draw.processes(1)
    order = draw.some("kernels", tuple(KERNELS), 4)
    ranges = draw.between("ranges", 2, 4)
    written = draw.between("written", 1, ranges - 1)
    reads = [f"read {a} {n}thp" if n else f"read {a} 0" for n in range(ranges)]
    scenario = "; ".join([f"mmap {a} {ranges}thp", *reads, f"write {a} {written}thp"])

    def cells() -> Mapping[str, Question]:
        asked = {}
        for kernel in order:
            frames = used(record(scenario, Setup(kernel)))
            taken = frames[-1] - frames[-2]
            slips: dict[int | str, str] = {0: "The zero page must stay zero, so a write needs a page of its own."}
            if taken == 1:
                slips[8] = "From 5.10 to 6.12 the PMD of the zero page is split, and the write gets one page."
            else:
                slips[1] = "Here the whole range gets a huge page in place of the zero page."
            asked[kernel] = Question(
                scenario, Setup(kernel), "How many page frames does the last operation take? Tables do not count.", taken,
                slips=slips,
            )  # fmt: skip
        return asked

    return Answers(
        f"{scenario}. How many page frames does the last operation take on {', '.join(order)}? Page tables do not count. Four lines, "
        "in this order.",
        cells,
        (
            "All ranges that were only read share one huge page of zeros. Whoever writes needs memory of its own.",
            "A write to the zero page either allocates a huge page, or splits the PMD and allocates a small one. Kernels differ.",
            "Begin with the kernels from 5.10 to 6.12: they are of one mind.",
        ),
    )


SET = ExerciseSet(
    "01_page_tables_and_the_fault",
    "Page tables and the fault",
    "01_page_tables_and_the_fault",
    "Five exercises on how an address is looked up and what a fault brings: tables in use and tables that wait, and reasons for "
    "small pages.",
    (idle_tables, neighbours, in_the_way, refusals, zero_is_not_memory),
)
