"""Exercises to lesson 4, counting maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from thplab.hardware.frames import PG_double_map, PG_maybe_shared
from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, TwoScenarios, exercise
from thplab.learn.exercises.facts import (
    F,
    count,
    done,
    head_of,
    living,
    need,
    need_one_page,
    pmds,
    ptes,
    raw,
)
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.state import State
from thplab.machine.trace import Setup, Trace, record

ENTIRE = 0x800000
"""What _nr_pages_mapped holds while a PMD maps the folio."""


def large(state: State) -> int:
    """The large mapcount of the compound page, as a number of mappings."""
    return state.field("large_mapcount", head_of(state)) + 1


def mapped_pages(state: State) -> int:
    """_nr_pages_mapped of the compound page."""
    return state.field("nr_pages_mapped", head_of(state))


def flag(state: State, bit: int) -> bool:
    """Has the head of the compound page this flag?"""
    return bool(state.field("flags", head_of(state)) & bit)


@exercise(
    "4.1", "Three alphabets", "apply", "ledger", 12,
    objective="write one truth in three codings of the map counts",
    myth="the fields mean the same in every kernel",
)  # fmt: skip
def alphabets(draw: Draw) -> Answers:
    a, b, c = draw.processes(3)
    half = draw.pick("half", (0, 4))
    cut, pinned = draw.some("pages", range(1, 8), 2)
    asked_pages = draw.some("asked", (0, *range(1, 4), *range(5, 8)), 3)
    scenario = f"{F.format(a)}; fork {a} {b}; fork {a} {c}; mprotect {b} {cut} 1 r; munmap {c} {half} 4; pin {a} {pinned} 1 dma"

    def cells() -> Mapping[str, Question]:
        asked: dict[str, Question] = {}
        for kernel in ("rfc-2014", "v4.5", "v6.18"):
            setup = Setup(kernel)
            state = record(scenario, setup)[-1].state
            asked[f"{kernel} C"] = Question(
                scenario, setup, "What is the reference count of the head?", count(state),
                slips={count(state) - 1: "A pin is a reference."},
            )  # fmt: skip
            for page in asked_pages:
                stored = raw(state, page)
                slips: dict[int | str, str] = {}
                if kernel == "v4.5":
                    slips = {stored - 1: "While PMDs and PTEs map the page, PageDoubleMap adds one to every field."}
                elif page:
                    slips = {stored + 1: "The field begins at -1: as it is stored, it holds one less than it counts."}
                asked[f"{kernel} raw {page}"] = Question(
                    scenario, setup, f"What is the _mapcount of subpage {page}, as it is stored?", stored, slips=slips
                )
            if kernel == "v6.18":
                asked["v6.18 L"] = Question(
                    scenario, setup, "How many mappings does _large_mapcount count?", large(state),
                    slips={large(state) + 1: "A pin is no mapping."},
                )  # fmt: skip
                asked["v6.18 N"] = Question(scenario, setup, "What is _nr_pages_mapped?", mapped_pages(state))
        return asked

    first, second, third = asked_pages
    return Answers(
        f"{scenario}, on rfc-2014, v4.5 and v6.18. For each: the reference count C of the head, and the stored _mapcount of "
        f"subpages {first}, {second} and {third} (raw). For v6.18 also L, the mappings that _large_mapcount counts, and N, "
        "_nr_pages_mapped. Fourteen lines.",
        cells,
        (
            "A mapcount field begins at -1. What it counts is the kernel's choice: PMDs on the head, an offset, or PTEs "
            "alone.",
            "Lesson 4 has the three schemes side by side. Which of the three has PageDoubleMap, and is it set here?",
            f"Begin with a list of mappings: {a} has a PMD, {b} has 8 PTEs, {c} has 4.",
        ),
    )


@exercise(
    "4.2", "One value, two stories", "create", "reach", 12,
    objective="read a stored map count together with its flag",
    myth="a stored 1 means two PTEs",
)  # fmt: skip
def two_stories(draw: Draw) -> Task:
    a, b = draw.processes(2)
    kernel, page = draw.pick("kernel", ("v4.5", "v5.10", "v6.1")), draw.between("page", 1, 7)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        yield from need(f"the stored _mapcount of subpage {page}", raw(state, page), 1)
        if pmds(state) > 1:
            yield f"one PMD or none may map the page; {pmds(state)} do"

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if raw(state, page) == 0 and flag(state, PG_double_map):
            yield "PageDoubleMap is set, and it alone lifts the field to 0: no PTE maps the subpage"
        if done(trace, "pin"):
            yield "pins are not in _mapcount since the RFC"

    def both(first: Trace, second: Trace) -> Iterator[str]:
        found = sorted((pmds(first[-1].state), pmds(second[-1].state)))
        if found != [0, 1]:
            yield f"one of the two must have a PMD over the page, and the other none; they have {found[0]} and {found[1]}"

    return TwoScenarios(
        f"{kernel}. Write two scenarios with {a} and {b}, with a line --- between them. In both the stored _mapcount of "
        f"subpage {page} of the only huge page is 1 at the end. In one of them one PMD maps the page, in the other none.",
        missing,
        (
            "Up to 6.1 every subpage's field is one higher while both PMDs and PTEs map the page: PageDoubleMap.",
            "One mapping and the offset are as much as two mappings without it. Who has PTEs in each story?",
            f"Begin with the story that has a PMD: {F.format(a)}; fork {a} {b}. One of them needs PTEs.",
        ),
        Setup(kernel),
        processes=(a, b),
        rules=rules,
        both=both,
    )


@exercise(
    "4.3", "A number that counts subpages", "apply", "reach", 8,
    objective="tell _nr_pages_mapped, which counts subpages, from the number of mappings",
    myth="_nr_pages_mapped counts PTEs",
)  # fmt: skip
def counts_subpages(draw: Draw) -> Task:
    a, b, c = draw.processes(3)
    subpages = draw.between("subpages", 2, 5)
    mappings = draw.between("mappings", subpages + 2, 2 * subpages + 1)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        found, wanted = mapped_pages(state), ENTIRE + subpages
        if found != wanted:
            yield f"_nr_pages_mapped must be {wanted:#x}; it is {found:#x}"
        yield from need("the number of mappings that _large_mapcount counts", large(state), mappings)
        yield from need("the number of huge PMDs", pmds(state), 1)

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if not pmds(state):
            yield "no PMD maps the page, so the 0x800000 is gone"
        elif sum(ptes(state)) + pmds(state) != mappings:
            yield f"each entry is one mapping: here {pmds(state)} PMDs and {sum(ptes(state))} PTEs"
        elif mapped_pages(state) != ENTIRE + subpages:
            yield f"a subpage is counted once, however many PTEs map it: here {8 - ptes(state).count(0)} have a PTE"

    return Task(
        f"v6.12. {a}, {b} and {c} share one huge page. Reach a state in which _nr_pages_mapped is {ENTIRE + subpages:#x}, "
        f"_large_mapcount counts {mappings} mappings, and one of them is a PMD.",
        missing,
        (
            "_nr_pages_mapped counts each subpage once that any PTE maps, and holds 0x800000 while a PMD maps the page. "
            "_large_mapcount counts every entry.",
            f"{mappings} mappings are one PMD and {mappings - 1} PTEs. They may meet on the same subpages.",
            f"Begin with: {F.format(a)}; fork {a} {b}; fork {a} {c}. {a} keeps its PMD, and {b} keeps {subpages} pages.",
        ),
        Setup("v6.12"),
        processes=(a, b, c),
        rules=rules,
    )


@exercise(
    "4.4", "What a folio cannot tell", "create", "explain", 12,
    objective="see what sums cannot tell: which subpages are mapped",
    myth="the two sums of a folio fix the map count of every subpage",
)  # fmt: skip
def cannot_tell(draw: Draw) -> Task:
    a, b = draw.processes(2)
    kept = draw.between("kept", 2, 6)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        yield from need("the number of huge PMDs", pmds(state), 1)
        if mapped_pages(state) != ENTIRE + kept:
            yield f"_nr_pages_mapped must be {ENTIRE + kept:#x}; it is {mapped_pages(state):#x}"

    def both(first: Trace, second: Trace) -> Iterator[str]:
        one, two = first[-1].state, second[-1].state
        for what, read in (("the reference count", count), ("_large_mapcount", large), ("_nr_pages_mapped", mapped_pages)):
            if read(one) != read(two):
                yield f"{what} must be equal in both; it is {read(one)} and {read(two)}"
        if ptes(one) == ptes(two):
            yield f"both keep the same pages: the PTEs over the subpages are {ptes(one)} in both"

    return TwoScenarios(
        f"v6.12. Write two scenarios with {a} and {b}, with a line --- between them. In both one PMD maps the only huge page, "
        f"and _nr_pages_mapped is {ENTIRE + kept:#x}. All sums are equal (the reference count, _large_mapcount, "
        "_nr_pages_mapped), and yet some subpage is mapped by another number of PTEs.",
        missing,
        (
            "A sum does not say what was added up.",
            f"{kept} subpages are mapped by PTEs. Which ones, no counter of the folio says.",
            f"Begin with: {F.format(a)}; fork {a} {b}. {b} keeps the first pages in one story.",
        ),
        Setup("v6.12"),
        processes=(a, b),
        both=both,
    )


@exercise(
    "4.5", "Take the flag down", "analyse", "shortest", 6,
    objective="say when PageDoubleMap goes",
    myth="the flag goes when the PTEs go",
)  # fmt: skip
def flag_down(draw: Draw) -> Task:
    a, b = draw.processes(2)
    kernel, page = draw.pick("kernel", ("v4.5", "v5.10", "v6.1")), draw.between("page", 1, 7)
    start = f"{F.format(a)}; fork {a} {b}; mprotect {b} {page} 1 r"

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        if flag(state, PG_double_map):
            yield "PageDoubleMap must be off; it is set"
        yield from need("the number of processes", len(state.processes), 2)

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if flag(state, PG_double_map) and not sum(ptes(state)):
            yield f"no PTE is left, but PageDoubleMap stays until the last PMD goes, and {a} still has one"
        if a not in living(state):
            yield f"{a} must live"

    return Task(
        f"{kernel}. This has happened: {start}, and PageDoubleMap is set. Take it down in one operation, so that {a} and {b} "
        "live and the huge page is still compound.",
        missing,
        (
            "PageDoubleMap means that PMDs and PTEs map the page at once, as far as the kernel has noticed.",
            "The kernel notices when the last PMD goes. Whose is it?",
            f"Begin with what {b} has done, and see what it did to its PMD.",
        ),
        Setup(kernel),
        start=start,
        budget=5,
        rules=rules,
    )


@exercise(
    "4.6", "Stuck", "analyse", "reach", 14,
    objective="see why two slots are not enough to find the last owner of a folio",
    myth="who is alone with a folio is known to be its only owner",
)  # fmt: skip
def stuck(draw: Draw) -> Task:
    a, b, c = draw.processes(3)
    page = draw.between("page", 1, 7)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        mappers = sorted({m.process for m in state.mapped if m.kind == "page"})
        if mappers != [c]:
            yield f"only {c} may map the page at the end; it is mapped by {', '.join(mappers) or 'nobody'}"
        yield from need("the number of huge PMDs", pmds(state), 0)
        yield from need(f"the number of PTEs over subpage {page}", ptes(state)[page], 1)
        if not flag(state, PG_maybe_shared):
            yield "the folio must still say that it may be shared; it does not"

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        forks = len(done(trace, "fork"))
        if not flag(state, PG_maybe_shared) and forks == 1:
            yield "two processes have a slot each: when one leaves, the other's count equals the total, and the bit goes"
        if pmds(state):
            yield "a PMD is a single mapping, and a total of 1 is proof enough, whatever the flag says"

    return Task(
        f"v6.18. In the end only {c} maps the folio, by PTEs, page {page} among them; and yet the folio still says that it may "
        f"be shared (maybe_shared). The processes are {a}, {b} and {c}, and {a} is the first.",
        missing,
        (
            "A folio has two slots for the processes that map it, and a total of all mappings. It is exclusive when the "
            "count of one slot equals the total.",
            "Who came third has no slot. What can the kernel compare when the other two have gone?",
            f"Begin with: {F.format(a)}; fork {a} {b}; fork {a} {c}. {c} needs PTEs.",
        ),
        Setup("v6.18"),
        processes=(a, b, c),
        rules=rules,
    )


SET = ExerciseSet(
    "04_counting_maps",
    "Counting maps",
    "04_counting_maps",
    "Six exercises on the counters that say who maps a huge page: what each kernel counts, and what it cannot know.",
    (alphabets, two_stories, counts_subpages, cannot_tell, flag_down, stuck),
)
