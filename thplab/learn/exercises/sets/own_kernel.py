"""Exercises to lesson 9, your own kernel. Everything in them can be performed by a program without privileges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from thplab.kernel.kernels import KERNELS
from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, TwoScenarios, exercise
from thplab.learn.exercises.facts import F, done, ended, living, need, pages
from thplab.learn.lessons.places import in_smaps, op_end, op_start
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Setup, Trace, record
from thplab.study.asked import asked_policies
from thplab.study.live.portable import portable_part
from thplab.study.observe import smaps

TODAY = Setup("v6.18", "X86_64")


def portable(trace: Trace) -> Iterator[str]:
    """Every operation must be one that a real kernel can be told."""
    refused = portable_part(trace.scenario)[1]
    if refused is not None:
        yield f"a real kernel cannot be told this: {refused}"


def moved_events(trace: Trace) -> dict[str, int]:
    """The events that the last operation has raised, and by how much."""
    if not trace.scenario.ops:
        return {}
    last = len(trace.scenario.ops) - 1
    before, after = trace[op_start(trace, last) - 1].state.vmstat, trace[op_end(trace, last)].state.vmstat
    return {event: number - before[event] for event, number in after.items() if number != before[event]}


def cold_part(trace: Trace) -> Iterator[str]:
    """The last operation must be `madvise cold` of a part; it returns 0, and no event is counted."""
    ops = trace.scenario.ops
    if not ops or ops[-1].fields.get("advice") != "cold":
        yield "the last operation must be madvise with the advice cold"
        return
    if int(ops[-1].resolve(512)["npages"] or 0) >= 512:
        yield "it must be about a part of the huge page"
    yield from need("what the last operation returns", ended(trace)[-1].result, 0)
    for event, number in moved_events(trace).items():
        yield f"no event may be counted in it; {event} rises by {number}"


@exercise(
    "9.1", "Zero is not yes", "apply", "reach", 7,
    objective="see that advice may be ignored without a word",
    myth="a system call that returns 0 has done what it was asked for",
)  # fmt: skip
def zero_is_not_yes(draw: Draw) -> Task:
    a, b = draw.processes(2)
    first, number = draw.between("first", 1, 400), draw.between("number", 2, 60)

    def missing(trace: Trace) -> Iterator[str]:
        yield from portable(trace)
        yield from cold_part(trace)
        state, ops = trace[-1].state, trace.scenario.ops
        if ops and ops[-1].op == "madvise":
            where = ops[-1].resolve(512)
            if (where["start"], where["npages"]) != (first, number):
                yield f"the advice must be about {number} pages from page {first} on"
        yield from need(f"AnonHugePages of {a}, in kB,", in_smaps(state, a, "AnonHugePages"), 2048)
        if state.pins:
            yield "nobody may hold a pin"

    def rules(trace: Trace) -> Iterator[str]:
        moved = moved_events(trace)
        if "thp_split_page_failed" in moved:
            yield "the split was tried and refused, and that is counted: so it was not ignored"
        if "thp_split_page" in moved:
            yield "it was split, because nobody else maps it"
        ops = trace.scenario.ops
        if ops and ops[-1].fields.get("advice") == "cold" and int(ops[-1].resolve(512)["npages"] or 0) >= 512:
            yield "a whole huge page is only aged: no split is wanted"

    return Task(
        f"v6.18, X86_64, with what a program may do. {a} says of {number} pages of its huge page, from page {first} on, that they are cold "
        "(madvise … cold). The call returns 0, no event is counted, nobody holds a pin, and AnonHugePages is 2048 kB as before.",
        missing,
        (
            "To make a part cold the kernel wants to split the page. It does so only if that helps nobody but the caller.",
            "Which huge pages does madvise leave alone at once, before it tries?",
            f"Begin with: {F.format(a)}. Something must be true of the page before the advice comes.",
        ),
        TODAY,
        processes=(a, b),
        rules=rules,
    )


@exercise(
    "9.2", "Read Pss", "apply", "reach", 8,
    objective="read from Pss how much is shared",
    myth="Pss is Rss, divided by the number of processes",
)  # fmt: skip
def read_pss(draw: Draw) -> Task:
    a, b = draw.processes(2)
    k = draw.between("k", 1, 20)

    def missing(trace: Trace) -> Iterator[str]:
        yield from portable(trace)
        state = trace[-1].state
        yield from need(f"the Rss of {a}, in kB,", in_smaps(state, a, "Rss"), 2048)
        yield from need(f"the Pss of {a}, in kB,", in_smaps(state, a, "Pss"), 1024 + 2 * k)
        if b not in living(state):
            yield f"{b} must live"

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        found, rss = in_smaps(state, a, "Pss"), in_smaps(state, a, "Rss")
        if rss < 2048 and done(trace, "munmap"):
            yield f"{a} itself has given something up: its own Rss fell to {rss} kB"
        elif 1024 < found < 2048 and found != 1024 + 2 * k:
            yield f"each page that {b} does not share any more adds 2 kB: here that are {(found - 1024) // 2}, not {k}"

    return Task(
        f"v6.18, X86_64, with what a program may do. {a} and its child {b} live. In smaps of {a}, Rss is 2048 kB and Pss {1024 + 2 * k} kB.",
        missing,
        (
            "A page counts in Pss with its size divided by the number of entries that map it.",
            f"A page that two share counts 2 kB, one that {a} has alone 4 kB. How many have to change?",
            f"Begin with: {F.format(a)}; fork {a} {b}. One operation is missing, and it is not one of {a}.",
        ),
        TODAY,
        processes=(a, b),
        rules=rules,
    )


PARTS = {"whole": 1, "halves": 2, "quarters": 4}


@exercise(
    "9.3", "In parts", "analyse", "predict", 7,
    objective="see that a table stays when a huge page is given up in parts",
    myth="an empty range gets a huge page again, however it was emptied",
)  # fmt: skip
def in_parts(draw: Draw) -> Answers:
    (a,) = draw.processes(1)
    ways = draw.some("ways", ("whole", "halves", "quarters", "all but one page, then that page", "whole, twice"), 4)
    page = draw.between("page", 0, 511)

    def given_up(way: str) -> list[str]:
        if way.startswith("all but"):
            return [f"madvise {a} 0 511 dontneed", f"madvise {a} 511 1 dontneed"]
        if way.endswith("twice"):
            return [f"madvise {a} 0 512 dontneed"] * 2
        size = 512 // PARTS[way]
        return [f"madvise {a} {start} {size} dontneed" for start in range(0, 512, size)]

    def cells() -> Mapping[str, Question]:
        asked = {}
        for way in ways:
            line = "; ".join([F.format(a), *given_up(way), f"write {a} {page}"])
            found = in_smaps(record(line, TODAY)[-1].state, a, "AnonHugePages")
            slips: dict[int | str, str] = (
                {2048: "Given up in parts, the huge page leaves a table under the PMD, so the fault gives a small page."}
                if not found
                else {0: "Given up as a whole, the PMD is empty, and the next fault may bring a huge page."}
            )
            asked[way] = Question(line, TODAY, f"What is AnonHugePages of {a}, in kB?", found, slips=slips)
        return asked

    return Answers(
        f"v6.18, X86_64: {F.format(a)}. Then {a} gives up all 512 pages by madvise … dontneed, in one of these ways: {'; '.join(ways)}. "
        f"Then write {a} {page}. What is AnonHugePages of {a} in kB, for each way? Four lines, in this order.",
        cells,
        (
            "A fault brings a huge page only where the PMD is empty. A table below it that is empty is a table all the same.",
            "Which of the ways ever speaks of a part of the huge page?",
            "Begin with the way that takes the whole of it at once.",
        ),
    )


@exercise(
    "9.4", "The third heir", "analyse", "reach", 12,
    objective="see from outside that a kernel cannot find the last owner",
    myth="who is left alone owns what is left",
)  # fmt: skip
def third_heir(draw: Draw) -> Task:
    a, b, c = draw.processes(3)
    first = draw.between("first", 1, 400)

    def missing(trace: Trace) -> Iterator[str]:
        yield from portable(trace)
        yield from cold_part(trace)
        state, ops = trace[-1].state, trace.scenario.ops
        yield from need("who lives at the end", ", ".join(living(state)), c)
        yield from need(f"the Rss of {c}, in pages,", pages(state, c), 512)
        if ops and ops[-1].op == "madvise" and ops[-1].resolve(512)["start"] != first:
            yield f"the part must begin at page {first}"
        if state.pins:
            yield "nobody may hold a pin"

    def rules(trace: Trace) -> Iterator[str]:
        if moved_events(trace).get("thp_split_page"):
            if len(done(trace, "fork")) == 1:
                yield f"{c} has a slot in the folio when only two share it: so the kernel knows that it is alone, and splits"
            elif not done(trace, "mprotect", "munmap", "mlock"):
                yield "one PMD is one mapping: a total of 1 proves that nobody else is there"

    return Task(
        f"v6.18, X86_64, with what a program may do. In the end {c} is the only process, with an Rss of 512 pages; {a} was the first one. "
        f"{c} says of some pages from page {first} on that they are cold. The call returns 0, and no event is counted.",
        missing,
        (
            "The kernel splits for this advice only what it knows to be mapped by nobody else.",
            "Exercise 4.6 has such a folio. How many processes must have mapped it, and who of them must be left?",
            f"Begin with: {F.format(a)}; fork {a} {b}; fork {a} {c}. One of the three needs PTEs.",
        ),
        TODAY,
        processes=(a, b, c),
        rules=rules,
    )


DEFERRED = "thp_deferred_split_page"


@exercise(
    "9.5", "An exit that counts", "analyse", "measure", 12,
    objective="see that an event is no gauge of memory",
    myth="thp_deferred_split_page counts holes",
)  # fmt: skip
def exit_that_counts(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    page = draw.between("page", 1, 510)

    def missing(trace: Trace) -> Iterator[str]:
        yield from portable(trace)
        ops = trace.scenario.ops
        if done(trace, "munmap") or any(op.fields.get("advice") == "dontneed" for op in ops):
            yield "nothing may be unmapped or given up"
        if not ops or ops[-1].op != "exit":
            yield "the last operation must be an exit"
        if not trace[-1].state.vmstat["thp_split_pmd"]:
            yield "a PMD must have been split before; thp_split_pmd is 0"
        cuts = [op for op in done(trace, "mprotect", "mlock") if op.resolve(512)["start"] == page]
        if not cuts:
            yield f"it must have been split by an operation on page {page}"

    def both(one: Trace, two: Trace) -> Iterator[str]:
        found = [moved_events(trace).get(DEFERRED, 0) for trace in (one, two)]
        if sorted(found) != [0, 1]:
            yield f"{DEFERRED} must rise by 1 in one of the exits and not in the other; it rises by {found[0]} and {found[1]}"

    return TwoScenarios(
        f"v6.18, X86_64, with what a program may do. Write two scenarios of {a} that end in its exit, with a line --- between them. In both "
        f"an operation on page {page} has split a PMD, and nothing was unmapped. The exit raises {DEFERRED} by 1 in one of them, and not at "
        "all in the other.",
        missing,
        (
            "An exit unmaps VMA by VMA. In between a huge page can be mapped in part, and the event is counted then.",
            "How many VMAs are there when the exit comes? An operation can be undone.",
            f"Begin with: {F.format(a)}; mprotect {a} {page} 1 r. In one story that is all before the exit.",
        ),
        TODAY,
        processes=(a,),
        both=both,
    )


ASKED = {
    "cow.splits_pmd": "a write fault on a huge page that is shared splits the writer's PMD and copies 4 KiB, or it copies the huge page",
    "cow.zero_splits_pmd": "a write fault on the huge page of zeros splits the PMD and gives the writer 4 KiB, or it gives a huge page",
    "cow.reuses_large": "a write fault uses a part of a folio in place when one process has all its mappings, or it copies the part",
    "advice.free_needs_swap": "MADV_FREE without swap gives the memory up at once, or it only marks it",
    "advice.pageout_clears_young": "MADV_PAGEOUT takes the accessed bit away first, also where nothing can go out, or it leaves the bit",
    "migration.keeps_young": "what a split takes away and puts back has the accessed bit that it had, or it has lost it",
}
"""Policies that smaps or vmstat can tell apart: what the kernel may do, one way or the other."""


def observed(trace: Trace, number: int) -> dict[str, int]:
    """What a user can see after the first so many operations."""
    state = trace.end_of(number).state
    shown = {f"{field} of {process.name}": kb for process in state.processes for field, kb in smaps(state, process.name).items()}
    return dict(state.vmstat) | shown


@exercise(
    "Z2", "Ask your kernel", "create", "measure", 25,
    objective="design a measurement: a program whose numbers say which of two things a kernel does",
    myth="what a kernel does inside can only be read in its source",
)  # fmt: skip
def ask_your_kernel(draw: Draw) -> Task:
    a, b = draw.processes(2)
    policy = draw.pick("policy", tuple(ASKED))
    right = KERNELS["v6.18"]
    other = replace(TODAY, kernel=right.but({policy: not right.policy(policy)}, name="the other one"))

    def differ(trace: Trace) -> tuple[list[str], list[str]]:
        """The numbers that tell the two kernels apart before the last operation, and after it."""
        there, last = record(trace.scenario, other), len(trace.scenario.ops)
        ends = [(observed(trace, number), observed(there, number)) for number in (last - 1, last)] if last else []
        told = [[name for name in one if one[name] != two.get(name)] for one, two in ends]
        return (told[0], told[1]) if told else ([], [])

    def missing(trace: Trace) -> Iterator[str]:
        yield from portable(trace)
        before, after = differ(trace)
        if before:
            yield f"the two kernels must show the same until the last operation; before it {before[0]} differs"
        elif not after:
            yield "no number of smaps or vmstat differs after the last operation: whoever runs this learns nothing"

    def rules(trace: Trace) -> Iterator[str]:
        if not any(policy in asked for asked in asked_policies(trace)):
            yield "the kernel never comes to where the two ways part"
        elif not any(differ(trace)):
            yield "the kernel comes to where the two ways part, but in this state both end with the same numbers"

    return Task(
        f"v6.18, X86_64, with what a program may do. Of two kernels nothing is known but this: {ASKED[policy]}. Write a scenario of {a} and "
        f"{b}, of at most eight operations, whose last operation tells them apart: before it smaps and vmstat show the same on both, after "
        "it some number differs. Then write down what you expect, and measure: thplab live, with your scenario, performs it on the kernel of "
        "your machine, the simulator beside it.",
        missing,
        (
            "A measurement is worth something if the two answers that are possible lead to different numbers.",
            "Which operation makes the kernel decide? What must be there before, so that it comes to that point?",
            f"Begin with: mmap {a}. In which state is a huge page when the kernel has to decide this?",
        ),
        TODAY,
        budget=8,
        processes=(a, b),
        rules=rules,
    )


SET = ExerciseSet(
    "09_your_own_kernel",
    "Your own kernel",
    "09_your_own_kernel",
    "Six exercises in the size of real kernels, with what a program without privileges can do. What you find here you can try on "
    "your own machine with thplab live.",
    (zero_is_not_yes, read_pss, in_parts, third_heir, exit_that_counts, ask_your_kernel),
)
