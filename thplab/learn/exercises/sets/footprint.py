"""Exercises to lesson 6, partial unmap and footprint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, exercise
from thplab.learn.exercises.facts import (
    PRESSURE,
    F,
    base_of,
    done,
    living,
    need,
    need_events,
    need_one_page,
    pages,
    pmds,
    ptes,
    used,
)
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Setup, Trace
from thplab.study.footprint import population, project

MAX_PTES_NONE = "/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none"
_V45 = Setup("v4.5")


@exercise(
    "6.1", "Two of three", "apply", "reach", 9,
    objective="say what memory pressure does with holes, and what a pin does to that",
    myth="when memory runs short, every hole comes free",
)  # fmt: skip
def two_of_three(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    stays = draw.between("stays", 0, 2)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_events(state, thp_split_page=2, thp_split_page_failed=1)
        yield from need("the length of the queue for deferred splits", len(state.deferred), 1)
        yield from need("the number of page frames in use", used(trace)[-1], 23)
        first = [m.pfn for m in state.mapped if m.process == a and m.kind == "page" and state.head(m.pfn) in state.deferred]
        places = {(m.address - base_of(state, a)) // state.geometry.page_size // 8 for m in state.mapped if m.pfn in first}
        if len(state.deferred) == 1 and places != {stays}:
            yield f"the page that stays must be huge page {stays} of {a}; it is {', '.join(map(str, places)) or 'unmapped'}"

    def rules(trace: Trace) -> Iterator[str]:
        state, ops = trace[-1].state, [op.op for op in trace.scenario.ops]
        events = state.vmstat
        if events["thp_split_page"] == 3:
            yield "all three were split: nothing refused"
        if "pin" in ops and "sys" in ops and ops.index("pin") > ops.index("sys"):
            yield "the pin came too late: the queue is empty by then"
        if events["thp_split_page"] == 2 and not state.deferred and not events["thp_split_page_failed"]:
            yield "whole pages are not queued on 4.5, so nobody tries to split the third"

    return Task(
        f"v4.5. {a} has three huge pages, 0 to 2, and each of them gets a hole of one page. Memory runs short ({PRESSURE}): "
        f"two huge pages are split, and huge page {stays} is refused and stays on the queue. 23 page frames are in use then.",
        missing,
        (
            "A huge page with a hole is queued, and split when memory runs short, if mappings explain its references.",
            "What makes the kernel refuse one of three? It has to be there before memory runs short.",
            f"Begin with: mmap {a} 3thp; fill {a} 0 3thp; munmap {a} 1 1. Two more holes are missing.",
        ),
        _V45,
        processes=(a,),
        rules=rules,
    )


@exercise(
    "6.2", "Holes that meet", "apply", "reach", 9,
    objective="find the subpage that is nobody's any more",
    myth="a hole in one process is a hole in the page",
)  # fmt: skip
def holes_that_meet(draw: Draw) -> Task:
    a, b = draw.processes(2)
    k, page = draw.between("k", 2, 3), draw.between("page", 2, 5)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        yield from need("the number of huge PMDs", pmds(state), 0)
        empty = [number for number, mapped in enumerate(ptes(state)) if not mapped]
        if empty != [page]:
            yield f"page {page} and no other must be missing in both; missing in both: {', '.join(map(str, empty)) or 'none'}"
        yield from need("the length of the queue for deferred splits", len(state.deferred), 1)
        for process in (a, b):
            yield from need(f"the number of pages that {process} maps", pages(state, process), 8 - k)

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if state.compound_pages() and all(ptes(state)) and len(done(trace, "munmap")) > 1:
            yield f"{b} maps what {a} gave up, so nobody's page is missing, and nothing is queued"

    return Task(
        f"v4.5. {a} and its child {b} share one huge page. Each gives up {k} pages, by PTEs, and exactly one page, page {page}, is "
        "missing in both; the huge page is on the queue for a deferred split.",
        missing,
        (
            "A subpage is nobody's when its last mapping has gone. That is what the kernel queues a page for.",
            f"Two ranges of {k} pages that have only page {page} in common: where does each begin?",
            f"Begin with: {F.format(a)}; fork {a} {b}. Each of the two gives up a range, so two operations are missing.",
        ),
        _V45,
        processes=(a, b),
        rules=rules,
    )


@exercise(
    "6.3", "Queued, and nothing wrong", "analyse", "reach", 7,
    objective="tell membership of the queue from its meaning",
    myth="what is on the queue is mapped in part",
)  # fmt: skip
def nothing_wrong(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    kernel = draw.pick("kernel", ("v6.12", "v6.18"))

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if not any(frame.state.deferred for frame in trace):
            yield "a huge page must have been on the queue at some time; none was"
        yield from need("the length of the queue at the end", len(state.deferred), 0)
        yield from need("the number of huge PMDs at the end", pmds(state), 1)
        yield from need_events(state, thp_split_page=0, thp_split_pmd=0, thp_deferred_split_page=0)
        if a not in living(state):
            yield f"{a} must live"

    def rules(trace: Trace) -> Iterator[str]:
        if done(trace, "munmap") and trace[-1].state.vmstat["thp_split_page"]:
            yield "a page that is mapped in part is split"
        if done(trace, "exit"):
            yield "the page must live, and so must who maps it"

    return Task(
        f"{kernel}. A huge page of {a} was on the queue for deferred splits, and is not any more; it was never split, nothing of it "
        "was ever unmapped, and it is mapped by its PMD at the end. Three operations.",
        missing,
        (
            "Since 6.12 every huge page is queued when it is made, because it may turn out to hold nothing but zeros.",
            "Who goes through the queue, and what is done with a page that is well used?",
            f"Begin with a page that is full: {F.format(a)}. One operation is missing.",
        ),
        Setup(kernel),
        processes=(a,),
        budget=3,
        rules=rules,
    )


@exercise(
    "6.4", "Underused", "apply", "reach", 9,
    objective="say when the content of a huge page decides that it is split",
    myth="only holes come back",
)  # fmt: skip
def underused(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    k = draw.between("k", 2, 4)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_events(state, thp_underused_split_page=1)
        yield from need(f"the Rss of {a}, in pages,", pages(state, a), k)
        if done(trace, "munmap", "madvise"):
            yield f"{a} gives nothing up"

    def rules(trace: Trace) -> Iterator[str]:
        ops = [op.op for op in trace.scenario.ops]
        if ops.count("sys") == 1 and PRESSURE in trace.scenario.line():
            yield "max_ptes_none is 7 as it comes, so a page with one page of data is never underused"
        if PRESSURE not in trace.scenario.line():
            yield "the content is looked at only when memory runs short"
        if "fill" in ops:
            yield "who fills a page leaves no page of zeros"

    return Task(
        f"v6.18. {a} has one huge page and gives nothing up. At the end the Rss of {a} is {k} pages, because the page was split as "
        f"underused (thp_underused_split_page is 1). The setting is {MAX_PTES_NONE}, as in: sys {MAX_PTES_NONE} 3.",
        missing,
        (
            "A page is underused if more of its pages hold only zeros than max_ptes_none allows. The split frees those.",
            f"{k} pages hold data, {8 - k} zeros. Which settings are below that?",
            f"Begin with the setting; then mmap {a} and writes. Who looks at the content, and when?",
        ),
        Setup("v6.18"),
        processes=(a,),
        rules=rules,
    )


@exercise(
    "6.5", "The line that stays up", "analyse", "predict", 10,
    objective="compute what stays in memory when pressure has done what it can",
    myth="under pressure the footprint falls to what is mapped",
)  # fmt: skip
def stays_up(draw: Draw) -> Answers:
    unmapped, pinned = draw.pick("unmapped", (25, 50, 75)), draw.pick("pinned", (0, 20, 60, 100))
    kernels = draw.some("kernels", ("rfc-2014", "v4.5", "v5.10", "v6.1", "v6.12", "v6.18"), 3)
    # One huge page with such a hole, which is what a quiz can show.
    scenario = f"mmap A; fill A 0 1thp; munmap A 0 {8 * unmapped // 100}"

    def cells() -> Mapping[str, Question]:
        many = population(100, unmapped=unmapped / 100, pattern="first", pinned=pinned / 100)
        asked: dict[str, Question] = {}
        for kernel in kernels:
            before, after = (round(project(kernel, many, share).held / 2**20) for share in (0.0, 1.0))
            mapped = 2 * (100 - unmapped)
            slips: dict[int | str, str] = {}
            if after != mapped:
                slips[mapped] = (
                    "The RFC queues no page with a hole, so pressure finds nothing to split."
                    if kernel == "rfc-2014"
                    else "A split is refused while the page is pinned, and then all of it stays."
                )
            if after != before:
                slips[before] = "Pressure splits the pages with holes that nobody has pinned, and the holes are free."
            unsplit: dict[int | str, str] = {mapped: "Unmapping is not freeing: a compound page is freed as a whole."}
            asked[f"{kernel} before"] = Question(
                scenario, Setup(kernel), f"{kernel}: how many MiB are held before memory runs short?", before, slips=unsplit
            )
            asked[f"{kernel} after"] = Question(
                scenario, Setup(kernel), f"{kernel}: how many MiB are held when pressure has done what it can?", after, slips=slips
            )
        return asked

    return Answers(
        f"100 huge pages of 2 MiB are filled; {pinned} of them are pinned for good; then {unmapped} percent of each is unmapped. How many MiB "
        f"do the kernels {', '.join(kernels)} hold, before memory runs short, and when pressure has tried every page on the queue? Six "
        "lines: before, after, for each kernel in this order. (FootprintLab() draws such lines.)",
        cells,
        (
            "A huge page with a hole stays whole until it is split, and a split needs references that mappings explain.",
            "Which of the kernels queue a page with a hole? Which of the pages on the queue are refused?",
            "Begin with what is held before: nothing is split yet.",
        ),
    )


SET = ExerciseSet(
    "06_partial_unmap_and_footprint",
    "Partial unmap and footprint",
    "06_partial_unmap_and_footprint",
    "Five exercises on memory that is held and not used: which holes come back, when, and what else is on the queue.",
    (two_of_three, holes_that_meet, nothing_wrong, underused, stays_up),
)
