"""Exercises to lesson 7, four callers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from thplab.hardware.frames import PG_ksm
from thplab.kernel.kernels import KERNELS
from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, exercise
from thplab.learn.exercises.facts import (
    F,
    done,
    ended,
    head_of,
    living,
    need,
    need_events,
    pages,
    pfn_of,
    pmds,
    used,
)
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Setup, Trace, record


@exercise(
    "7.1", "Somebody else's broom", "apply", "reach", 7,
    objective="use a caller of the split as a way out",
    myth="the RFC never frees a hole",
)  # fmt: skip
def broom(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    page, banned = draw.between("page", 1, 7), draw.pick("banned", ("swap_out", "migrate"))

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need("the number of page frames in use", used(trace)[-1], 8)
        yield from need(f"the Rss of {a}, in pages,", pages(state, a), 7)
        if pfn_of(state, a, page) is not None:
            yield f"page {page} must be the one that is missing"
        for op in done(trace, "split", "split_pmd", "exit", banned):
            yield f"no {op.op} here"

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if done(trace, "sys"):
            yield "the RFC has no queue of pages with holes, so memory pressure finds nothing"
        if state.vmstat["thp_split_page_failed"]:
            yield "the split was refused, so the page stays whole"
        if head_of(state) and done(trace, "munmap") and not state.vmstat["thp_split_page_failed"]:
            yield "unmapping is not freeing: somebody has to need the page in small pieces"

    return Task(
        f"{a} fills a huge page and unmaps page {page}. Have the page frame behind the hole come free, so that 8 frames are in "
        f"use: without split, without exit, and without {banned}.",
        missing,
        (
            "In the RFC nobody looks for holes. But some callers split a huge page for reasons of their own, and then a hole "
            "is free.",
            "Lesson 7 has four callers. Which of them can be asked for with one operation?",
            f"Begin with: {F.format(a)}; munmap {a} {page} 1. One operation is missing.",
        ),
        processes=(a,),
        rules=rules,
    )


@exercise(
    "7.2", "Out of its own way", "apply", "reach", 9,
    objective="see that a caller holds references, too",
    myth="without a pin no split is refused",
)  # fmt: skip
def own_way(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    page = draw.between("page", 1, 6)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need(f"the pages of {a} that are KSM's", pages(state, a, "KSM"), 2)
        frames = [pfn_of(state, a, number) for number in (page, page + 1)]
        if any(pfn is None or not state.field("flags", pfn) & PG_ksm for pfn in frames):
            yield f"pages {page} and {page + 1} must be merged"
        yield from need_events(state, thp_fault_alloc=1, thp_split_page_failed=0)

    def rules(trace: Trace) -> Iterator[str]:
        failed = trace[-1].state.vmstat["thp_split_page_failed"]
        if failed:
            yield f"KSM holds a reference for each of the two pages, both on one head, so its split is refused ({failed} times)"
        if not done(trace, "madvise"):
            yield "KSM looks only at memory that was advised mergeable"

    return Task(
        f"{a} has one huge page. KSM merges its pages {page} and {page + 1}, which hold the same, into one, and no split fails "
        "(thp_split_page_failed is 0).",
        missing,
        (
            "KSM takes references to the pages that it compares. References to parts of a compound page are all on the head.",
            "What if the huge page were none any more when KSM comes?",
            f"Begin with: mmap {a}; fill {a} {page} 2 same; madvise {a} {page} 2 mergeable. KSM is told to run by ksm_scan 1.",
        ),
        processes=(a,),
        rules=rules,
    )


@exercise(
    "7.3", "Out whole, back in parts", "analyse", "predict", 10,
    objective="say how a huge page goes to the swap device and comes back, by era",
    myth="what goes out in one piece comes back in one piece",
)  # fmt: skip
def out_and_back(draw: Draw) -> Answers:
    (a,) = draw.processes(1)
    kernels = draw.some("kernels", tuple(KERNELS), 3)
    reads = draw.some("reads", range(8), draw.between("count", 1, 3))
    scenario = "; ".join([F.format(a), f"swap_out {a} 0", *(f"read {a} {page}" for page in reads)])

    def cells() -> Mapping[str, Question]:
        asked: dict[str, Question] = {}
        for kernel in kernels:
            setup = Setup(kernel, swap="swap")
            state = record(scenario, setup)[-1].state
            split = "yes" if state.vmstat.get("thp_split_page", 0) or state.vmstat.get("thp_split", 0) else "no"
            rss, slot = pages(state, a), pages(state, a, "Swap")
            slips: dict[int | str, str] = {
                len(reads) if rss == 8 else 8: "From 6.12 on one fault maps all of the folio that is in the swap cache; before, "
                "each fault maps one page."
            }
            asked[f"{kernel} Rss"] = Question(scenario, setup, f"What is the Rss of {a}, in pages?", rss, slips=slips)
            asked[f"{kernel} Swap"] = Question(scenario, setup, "And its Swap, in pages?", slot)
            told = "It went out in one piece." if split == "no" else "Only small pages can go out here: the page is split first."
            asked[f"{kernel} split"] = Question(
                scenario, setup, "Was the page split?", split, ("yes", "no"), slips={"yes" if split == "no" else "no": told}
            )
        return asked

    return Answers(
        f"{scenario}, with a swap device. For {', '.join(kernels)}: what are the Rss and the Swap of {a} at the end, in pages, and "
        "was the huge page itself split (yes or no)? Nine lines: Rss, Swap, split, for each kernel in this order.",
        cells,
        (
            "Up to 4.5 only small pages go to the swap device. Later the huge page goes as a whole, and its PMD becomes 8 swap "
            "entries.",
            "Lesson 7 and docs/KERNEL.md have swap-out by kernel. What does one fault bring back?",
            "Begin with the split: has the kernel an event for a huge page that was swapped out, thp_swpout?",
        ),
    )


@exercise(
    "7.4", "One call, two worlds", "apply", "reach", 8,
    objective="compare migration before and since huge pages can move",
    myth="to move a huge page is to split it",
)  # fmt: skip
def two_worlds(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    kernel = draw.pick("kernel", ("v5.10", "v6.1", "v6.12", "v6.18"))

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if done(trace, "madvise"):
            yield "no advice is needed"
        first = next((h for frame in trace for h in frame.state.compound_pages()), 0)
        yield from need("the number of huge PMDs", pmds(state), 1)
        if pmds(state) and head_of(state) == first:
            yield f"the huge page must be in another block of frames than at first; it is at {first:#x}, as it was"
        yield from need_events(state, thp_split_page=0)
        old = record(trace.scenario, replace(trace.setup, kernel="rfc-2014"))
        if old.problem:
            yield f"on rfc-2014 the scenario stops {old.problem}"
            return
        end = old[-1].state
        small = sum(m.count for m in end.mapped if m.level == 0 and end.head(m.pfn) == m.pfn and m.kind == "page")
        if small != 8 or end.compound_pages():
            yield f"on rfc-2014 {a} must map 8 small pages at the end; there are {small}, and {len(end.compound_pages())} huge ones"

    def rules(trace: Trace) -> Iterator[str]:
        if done(trace, "munmap"):
            yield "what is mapped in part is split on this kernel, too"
        if done(trace, "pin"):
            yield "a page that is pinned moves on neither"

    return Task(
        f"One scenario, two worlds. On {kernel} it ends with a huge PMD over a huge page that is in another block of frames, "
        f"and no page was split. On rfc-2014 the same operations leave {a} with 8 small pages. At most three operations.",
        missing,
        (
            "Before 4.14 only small pages could migrate.",
            "Which operation moves a page to another frame?",
            f"Begin with: {F.format(a)}. One operation is missing.",
        ),
        Setup(kernel),
        budget=3,
        processes=(a,),
        rules=rules,
    )


@exercise(
    "7.5", "Back to huge", "apply", "reach", 9,
    objective="see that a collapse copies",
    myth="a collapse puts the PMD together again, in place",
)  # fmt: skip
def back_to_huge(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    page = draw.between("page", 1, 7)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        first = next((h for frame in trace for h in frame.state.compound_pages()), 0)
        yield from need("the number of huge PMDs", pmds(state), 1)
        if pmds(state) and head_of(state) == first:
            yield f"the huge page must be another one than at first; it is at {first:#x}, as it was"
        yield from need_events(state, thp_split_pmd=1, thp_split_page=0)
        cut = [op for op in done(trace, "mprotect", "mlock") if op.fields["npages"] != 8 and op.resolve(8)["start"] == page]
        if not cut:
            yield f"the PMD must have been split by an operation on page {page}"

    def rules(trace: Trace) -> Iterator[str]:
        ends = [frame for frame in ended(trace) if frame.op is not None and frame.op.fields.get("advice") == "collapse"]
        if ends and ends[-1].result == -22:
            yield "-EINVAL: no single VMA covers the range, it is still cut"
        if ends and ends[-1].result == -11:
            yield "-EAGAIN: references must equal mappings before anything is copied"
        if a in living(trace[-1].state) and len(trace[-1].state.vmas(a)) > 1:
            yield "the rights of the pages still differ"

    return Task(
        f"v6.18. {a} has a huge page. An operation on page {page} alone splits its PMD, and in the end {a} has a huge PMD again, over "
        "another huge page; thp_split_pmd is 1 and thp_split_page 0.",
        missing,
        (
            "A collapse takes a new huge page, copies, and gives the old pages back. It needs one VMA over all of it.",
            "Which advice asks for it at once? And what has to be undone before?",
            f"Begin with: {F.format(a)}; mprotect {a} {page} 1 r. Undo the cut, then ask.",
        ),
        Setup("v6.18"),
        processes=(a,),
        rules=rules,
    )


SET = ExerciseSet(
    "07_four_callers",
    "Four callers",
    "07_four_callers",
    "Five exercises on those who ask for a split, and on what they do today instead: swap, migration, KSM and collapse.",
    (broom, own_way, out_and_back, two_worlds, back_to_huge),
)
