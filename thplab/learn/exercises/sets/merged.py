"""Exercises to lesson 8, what was merged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from thplab.hardware.frames import PG_double_map
from thplab.kernel.kernels import KERNELS
from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, exercise
from thplab.learn.exercises.facts import F, cost, count, done, need, pages, raw, used
from thplab.learn.lessons.places import op_end, op_start
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.state import State
from thplab.machine.trace import Setup, Trace, record

Seen = tuple[tuple[tuple[str, int, int], ...], int]


def on(trace: Trace, kernel: str) -> Trace:
    """The same operations on another kernel."""
    return trace if trace.setup.kernel_name == kernel else record(trace.scenario, replace(trace.setup, kernel=kernel))


def seen(trace: Trace) -> Seen:
    """What can be seen from outside at the end: Rss and huge pages of each process, and page frames in use."""
    state = trace[-1].state
    shown = tuple((p.name, pages(state, p.name), pages(state, p.name, "AnonHugePages")) for p in state.processes)
    return shown, used(trace)[-1]


@exercise(
    "8.1", "Odd one out", "create", "reach", 15,
    objective="find operations that a single policy of one kernel answers differently",
    myth="versions differ by degree, the newer the more",
)  # fmt: skip
def odd_one_out(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    odd = draw.pick("odd", ("v3.16", "rfc-2014", "v6.1"))

    def groups(trace: Trace) -> dict[Seen, list[str]]:
        found: dict[Seen, list[str]] = {}
        for kernel in KERNELS:
            there = on(trace, kernel)
            if not there.problem:
                found.setdefault(seen(there), []).append(kernel)
        return found

    def missing(trace: Trace) -> Iterator[str]:
        for kernel in KERNELS:
            if on(trace, kernel).problem:
                yield f"on {kernel} the scenario stops {on(trace, kernel).problem}"
                return
        found = list(groups(trace).values())
        if len(found) != 2 or [odd] not in found:
            told = " | ".join(", ".join(names) for names in found)
            yield f"{odd} alone must differ in Rss, huge pages or page frames in use; those that agree: {told}"

    def rules(trace: Trace) -> Iterator[str]:
        found = sorted(groups(trace).values(), key=len)
        if len(found) == 1:
            yield "all are equal: no policy in which they differ was asked"
        elif len(found) == 2 and len(found[0]) == 1 and found[0] != [odd]:
            yield f"{found[0][0]} is alone here, not {odd}"
        elif done(trace, "write") and done(trace, "fork"):
            yield "what a write to a shared huge page copies has changed in 5.8, and again later: several kernels on each side"

    return Task(
        f"Write at most four operations with {a} after which {odd} alone differs from the six other kernels in an Rss, in huge "
        "pages, or in the number of page frames in use. (The sandbox shows rfc-2014; thplab compare shows all.)",
        missing,
        (
            "Each kernel record says by its policies where it differs. One that no other kernel shares makes it the odd one.",
            {
                "v3.16": "What could 3.16 not do that all others can?",
                "rfc-2014": "What have all others that the RFC lacks when memory runs short?",
                "v6.1": "Look at what smaps counts, and at memory that nobody may touch.",
            }[odd],
            f"Begin with: {F.format(a)}. At most two operations are missing.",
        ),
        processes=(a,),
        budget=4,
        rules=rules,
    )


THREE = ("v4.5", "v5.10", "v6.1")


@exercise(
    "8.2", "The kernel in the middle", "analyse", "reach", 15,
    objective="find one test to which three kernels give three answers",
    myth="change goes in one direction",
)  # fmt: skip
def in_the_middle(draw: Draw) -> Task:
    a, b = draw.processes(2)
    written, pinned = draw.some("pages", range(1, 8), 2)

    def missing(trace: Trace) -> Iterator[str]:
        there = {kernel: on(trace, kernel) for kernel in THREE}
        for kernel, each in there.items():
            if each.problem:
                yield f"on {kernel} the scenario stops {each.problem}"
                return
        frames = {kernel: used(each)[-1] for kernel, each in there.items()}
        if len(set(frames.values())) != 3:
            told = ", ".join(f"{kernel} {number}" for kernel, number in frames.items())
            yield f"the page frames in use must be three different numbers; they are: {told}"
        ops = trace.scenario.ops
        if not ops or ops[-1].op != "write" or ops[-1].resolve(8)["start"] != written:
            yield f"the last operation must be a write to page {written}"
        before = [frame.state for frame in trace if frame.op_index < len(ops) - 1]
        at_first = max((len(state.compound_pages()) for state in before), default=0)
        yield from need("the number of huge pages before the last operation", at_first, 1)

    def rules(trace: Trace) -> Iterator[str]:
        if not done(trace, "pin"):
            yield "without a further reference all three see at once that the writer is alone, and reuse the page"
        if not done(trace, "fork"):
            yield "nothing is read-only yet: without a fork a write does not fault"

    return Task(
        f"One huge page at first. The last operation is a write to page {written}, after which v4.5, v5.10 and v6.1 have three different "
        f"numbers of page frames in use. Only {a} and {b} take part.",
        missing,
        (
            "May the writer have the page for itself? 4.5 counts references, 5.10 asks for mappings, 6.1 for a mark.",
            "The three must disagree: a reference that is no mapping, and a page that was shared and is not any more.",
            f"Begin with: {F.format(a)}; pin {a} {pinned} 1 dma. Then it is shared for a while.",
        ),
        Setup("v4.5"),
        processes=(a, b),
        rules=rules,
    )


@exercise(
    "8.3", "A dear child", "apply", "reach", 8,
    objective="say when a fork copies memory at once",
    myth="a fork copies no pages",
)  # fmt: skip
def dear_child(draw: Draw) -> Task:
    a, b = draw.processes(2)
    kernel, page = draw.pick("kernel", ("v5.10", "v6.1", "v6.12", "v6.18")), draw.between("page", 1, 7)

    def missing(trace: Trace) -> Iterator[str]:
        ops = trace.scenario.ops
        if not ops or ops[-1].op != "fork":
            yield "the last operation must be a fork"
            return
        frames = used(trace)
        yield from need("the number of page frames that the fork takes, without tables,", frames[-1] - frames[-2], 8)
        yield from need("thp_split_pmd in the fork", _risen(trace, "thp_split_pmd"), 1)
        held = {pfn for pin in trace[-1].state.pins.values() for pfn in pin.pages}
        if not any(head + page in held for head in trace[-1].state.compound_pages()):
            yield f"a driver must hold page {page}"

    def rules(trace: Trace) -> Iterator[str]:
        pins = trace[-1].state.pins
        if done(trace, "unpin"):
            yield "nothing is pinned at the time of the fork"
        elif pins and not any(pin.foll_pin for pin in pins.values()):
            yield "a pin by FOLL_GET does not mark its process, so the page is shared as usual"

    return Task(
        f"{kernel}. {a} has a huge page, and a driver holds its page {page}. The last operation, fork {a} {b}, takes 8 page frames and "
        "splits a PMD.",
        missing,
        (
            "What a driver has taken by FOLL_PIN must stay with its process. So a fork copies it for the child, small page by "
            "small page.",
            "Which way of taking a pin is FOLL_PIN? There are two that a program may choose, vmsplice and io_uring.",
            f"Begin with: {F.format(a)}. The pin comes next, and says how.",
        ),
        Setup(kernel),
        processes=(a, b),
        rules=rules,
    )


def _risen(trace: Trace, event: str) -> int:
    """By how much the last operation has raised an event."""
    last = len(trace.scenario.ops) - 1
    before, after = trace[op_start(trace, last) - 1].state, trace[op_end(trace, last)].state
    return after.vmstat.get(event, 0) - before.vmstat.get(event, 0)


@exercise(
    "8.4", "Whose exit is dear?", "analyse", "measure", 9,
    objective="find the price of PageDoubleMap",
    myth="to drop a PMD costs the same everywhere",
)  # fmt: skip
def dear_exit(draw: Draw) -> Task:
    a, b = draw.processes(2)
    kernel, last = draw.pick("kernel", ("v4.5", "v5.10", "v6.1")), draw.pick("last", ("exit", "munmap"))

    def missing(trace: Trace) -> Iterator[str]:
        ops = trace.scenario.ops
        if not ops or ops[-1].op != last:
            yield f"the last operation must be {last}"
            return
        today = on(trace, "v6.18")
        if today.problem:
            yield f"on v6.18 the scenario stops {today.problem}"
            return
        here, there = cost(trace), cost(today)
        if here - there < 500:
            yield f"the last operation must cost {kernel} 500 atomic operations more than v6.18; it costs {here} and {there}"

    def rules(trace: Trace) -> Iterator[str]:
        ops = trace.scenario.ops
        if ops and ops[-1].op == last and not any(_double_map(frame.state) for frame in trace):
            yield "PageDoubleMap was never set: no PMD was split while another one was left"
        if ops and ops[-1].op == "mprotect":
            yield "a split costs more there for another reason; here a PMD must be dropped"

    return Task(
        f"X86_64. Write a scenario with {a} and {b} whose last operation is {last} and costs {kernel} at least 500 atomic operations "
        "(rmw and bit_rmw) more than v6.18.",
        missing,
        (
            "When the last PMD goes, PageDoubleMap goes, and with it the offset in the field of each of the 512 subpages.",
            "Who must have PTEs, and who must have the last PMD?",
            f"Begin with: {F.format(a)}; fork {a} {b}. One of them splits; the other one drops what it has.",
        ),
        Setup(kernel, "X86_64"),
        processes=(a, b),
        rules=rules,
    )


def _double_map(state: State) -> bool:
    return any(state.field("flags", head) & PG_double_map for head in state.compound_pages())


@exercise(
    "8.5", "Nobody there, one counted", "analyse", "predict", 7,
    objective="say how long PageDoubleMap stays",
    myth="the stored count is -1 again when the last PTE has gone",
)  # fmt: skip
def one_counted(draw: Draw) -> Answers:
    a, b = draw.processes(2)
    kernels = draw.some("kernels", ("v5.10", "v6.1", "v6.12", "v6.18"), 3)
    page, goes = draw.between("page", 1, 7), draw.pick("goes", ("write", "exit"))
    cut = draw.between("cut", 1, 7)
    scenario = f"{F.format(a)}; fork {a} {b}; " + (
        f"write {b} 0 1thp" if goes == "write" else f"mprotect {b} {cut} 1 r; exit {b}"
    )

    def cells() -> Mapping[str, Question]:
        asked: dict[str, Question] = {}
        for kernel in kernels:
            setup = Setup(kernel)
            state = record(scenario, setup)[-1].state
            stored, references = raw(state, page), count(state)
            slips: dict[int | str, str] = (
                {-1: f"The PMD of {a} is left, so PageDoubleMap is left, and it adds one to every field."}
                if stored == 0
                else {0: "Folios have no PageDoubleMap: when nobody maps the subpage by a PTE, its field is empty."}
            )
            asked[f"{kernel} raw"] = Question(
                scenario, setup, f"What is the _mapcount of subpage {page}, as it is stored?", stored, slips=slips
            )
            asked[f"{kernel} C"] = Question(
                scenario, setup, "What is the reference count of the head?", references,
                slips={9: f"No PTE of {b} leads to this page any more."},
            )  # fmt: skip
            flag = "on" if _double_map(state) else "off"
            asked[f"{kernel} flag"] = Question(scenario, setup, "Is PageDoubleMap on?", flag, ("on", "off"))
        return asked

    return Answers(
        f"{scenario}. For {', '.join(kernels)}: what is the stored _mapcount of subpage {page} of {a}'s huge page, what the reference "
        "count of its head, and is PageDoubleMap on or off? Nine lines: raw, C, flag, for each kernel in this order.",
        cells,
        (
            "PageDoubleMap is set when a PMD is split while another is left, and goes with the last PMD.",
            f"Whose PMD is left, and what do the PTEs of {b} lead to in the end?",
            f"Begin with the count: which entries still lead to {a}'s page?",
        ),
    )


SET = ExerciseSet(
    "08_what_was_merged",
    "What was merged",
    "08_what_was_merged",
    "Five exercises that compare kernels: where one of them is alone, where three disagree, and what a flag costs.",
    (odd_one_out, in_the_middle, dear_child, dear_exit, one_counted),
)
