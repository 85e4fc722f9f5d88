"""Exercises across the lessons: numbers that real kernels have shown, and what must have been done.

They are those of recordings: x_dm_split_b_exit_b for N1, l_pin_tails_mixed for N3, pin_dma_then_fork for N4,
x_split_unpinned for N5, with other pages. N2 puts two together, cow_parent_write and the exit of the child. Those of N6
are what the simulator shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from thplab.hardware.frames import PG_double_map
from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, TwoScenarios, exercise
from thplab.learn.exercises.facts import (
    F,
    W,
    count,
    done,
    head_of,
    living,
    need,
    need_one_page,
    pfn_of,
    pmds,
    raw,
    used,
)
from thplab.learn.lessons.places import in_smaps
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.state import State
from thplab.machine.trace import Setup, Trace, record
from thplab.study.observe import kpagecount

Row = dict[str, int]


def _pmds_field(kernel: str) -> str:
    """What the recorder calls the field that counts PMDs."""
    return "entire_mapcount_raw" if kernel in ("v6.12", "v6.18") else "compound_mapcount_raw"


def _row(state: State, page: int) -> Row:
    """What the recorder shows of a compound page of the schemes with PageDoubleMap."""
    head = head_of(state)
    return {
        "ref": count(state),
        "compound_mapcount_raw": state.field("compound_mapcount", head),
        "double_map": int(bool(state.field("flags", head) & PG_double_map)),
        f"sub {page} _mapcount": raw(state, page),
    }


def _need_row(when: str, found: Row, wanted: Row) -> Iterator[str]:
    for name, number in wanted.items():
        yield from need(f"{when} {name}", found[name], number)


@exercise(
    "N1", "Two culprits", "analyse", "explain", 8,
    objective="find the calls that fit a recording, and decide between them by one more fact",
    myth="counters name the call",
)  # fmt: skip
def two_culprits(draw: Draw) -> Task:
    a, b = draw.processes(2)
    kernel, page = draw.pick("kernel", ("v4.5", "v5.10", "v6.1")), draw.between("page", 1, 511)
    before = {"ref": 513, "compound_mapcount_raw": 0, "double_map": 1, f"sub {page} _mapcount": 1}
    after = {"ref": 1, "compound_mapcount_raw": 0, "double_map": 1, f"sub {page} _mapcount": 0}

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        if trace.scenario.ops:
            yield from _need_row("before the last operation", _row(trace.end_of(len(trace.scenario.ops) - 1).state, page), before)
        yield from _need_row("at the end", _row(state, page), after)
        if b in living(state):
            yield f"/proc has no smaps of {b} any more at the end; in yours {b} lives"

    def rules(trace: Trace) -> Iterator[str]:
        if done(trace, "munmap") and b in living(trace[-1].state):
            yield "the counters fit: who unmaps all of it leaves the same behind as who exits, but lives"
        if a not in living(trace[-1].state):
            yield f"the PMD that is left is {a}'s: its compound_mapcount_raw would be -1 without it"

    return Task(
        f"{kernel}, X86_64. This was seen of the only huge page, before the last call and after it: ref 513, then 1; compound_mapcount_raw 0, "
        f"then 0; double_map 1, then 1; _mapcount of subpage {page}: 1, then 0. After it there is no smaps of {b} any more. What have {a} and "
        f"{b} done?",
        missing,
        (
            "512 references go with 512 PTEs. PageDoubleMap stays as long as a PMD is left.",
            "Two calls take all PTEs of a process away. After which of them does the process have a smaps file?",
            f"Begin with: {W.format(a)}; fork {a} {b}. Who needs PTEs so that ref is 513?",
        ),
        Setup(kernel, "X86_64"),
        processes=(a, b),
        rules=rules,
    )


@exercise(
    "N2", "Rss lies by a page", "analyse", "explain", 12,
    objective="find memory that is kept and that no smaps shows",
    myth="Rss is what a process costs",
)  # fmt: skip
def rss_lies(draw: Draw) -> Task:
    a, b = draw.processes(2)
    page = draw.between("page", 1, 511)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need("who lives at the end", ", ".join(living(state)), a)
        for name, wanted in (("Rss", 2048), ("Pss", 2048), ("AnonHugePages", 0)):
            yield from need(f"{name} of {a}, in kB,", in_smaps(state, a, name), wanted)
        yield from need_one_page(state)
        if len(state.compound_pages()) == 1:
            yield from need(f"the _mapcount of tail {page}, as stored,", raw(state, page), -1)
        yield from need("thp_deferred_split_page", state.vmstat["thp_deferred_split_page"], 1)
        yield from need("the number of page frames in use", used(trace)[-1], 514)

    def rules(trace: Trace) -> Iterator[str]:
        if not done(trace, "fork"):
            yield "without a fork nothing is copied, and nothing is kept beside what is mapped"
        if done(trace, "munmap"):
            yield "who unmaps a page has less Rss"

    return Task(
        f"v6.18, X86_64. This was seen: {a} is alone. Rss and Pss are 2048 kB, AnonHugePages is 0. Of the only huge page tail {page} has "
        f"_mapcount -1, as nobody maps it; thp_deferred_split_page has risen by 1. 514 page frames are in use, the page of zeros among them: "
        f"one more than {a} maps. What happened, with {a} and {b}? At most six operations.",
        missing,
        (
            "A write to a page that is shared copies. Since 5.8 it copies 4 KiB, and the huge page keeps all of its pages.",
            f"Which page does {a} map in the place of tail {page}? Why was it copied, and who is not there any more?",
            f"Begin with: {W.format(a)}; fork {a} {b}. {a} writes.",
        ),
        Setup("v6.18", "X86_64"),
        processes=(a, b),
        budget=6,
        rules=rules,
    )


@exercise(
    "N3", "Who maps a tail?", "apply", "explain", 8,
    objective="read kpagecount of 3.16 for what it is",
    myth="kpagecount shows who maps a page",
)  # fmt: skip
def who_maps_a_tail(draw: Draw) -> Task:
    a, b = draw.processes(2)
    p, q = sorted(draw.some("pages", range(1, 512), 2))

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        yield from need("ref", count(state), 4)
        head = head_of(state)
        column = {n: kpagecount(state, head + n) for n in range(512)} if head else {}
        shown = {n: number for n, number in column.items() if number}
        if shown != {0: 1, p: 1, q: 1}:
            told = ", ".join(f"{n}: {number}" for n, number in list(shown.items())[:6]) or "0 everywhere"
            yield f"kpagecount must be 1 for pages 0, {p} and {q}, and 0 for all others; it is {told}"

    def rules(trace: Trace) -> Iterator[str]:
        if done(trace, "fork"):
            yield "a second process maps the page by another PMD, and then the head shows 2"
        if not trace[-1].state.pins:
            yield "before the RFC a tail's field counts the pins that were taken through it, and kpagecount shows the field"

    return Task(
        f"v3.16, X86_64. This was seen of one huge page of {a}: ref 4; kpagecount is 1 for pages 0, {p} and {q}, and 0 for all others. What has "
        f"{a} done? ({b} is somebody who may have helped.)",
        missing,
        (
            "On 3.16 kpagecount shows _mapcount + 1, and the _mapcount of a tail counts no mappings.",
            "ref 4 is one mapping, and three others. Two of these show in a tail. Where is the third?",
            f"Begin with: {W.format(a)}. There are three drivers.",
        ),
        Setup("v3.16", "X86_64"),
        processes=(a, b),
        rules=rules,
    )


@exercise(
    "N4", "512 small pages", "analyse", "explain", 10,
    objective="recognise a fork that had to copy",
    myth="it was the child who split the huge page",
)  # fmt: skip
def small_pages(draw: Draw) -> Task:
    a, b = draw.processes(2)
    kernel, page = draw.pick("kernel", ("v5.10", "v6.1", "v6.12")), draw.between("page", 1, 511)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        head = head_of(state)
        if not head:
            return
        yield from need(f"ref of {a}'s page", count(state), 513)
        yield from need("pincount", state.field("pincount", head), 1)
        yield from need(_pmds_field(kernel), state.field("compound_mapcount", head), -1)
        theirs = [pfn for pfn in (pfn_of(state, b, n) for n in range(512)) if pfn is not None]
        counts = sorted({state.field("refcount", pfn) for pfn in theirs if state.head(pfn) == pfn and pfn != head})
        if len(theirs) != 512 or counts != [1] or any(state.head(pfn) == head for pfn in theirs):
            yield f"{b} must map 512 small pages of its own, each with ref 1"
        if not any(head + page in pin.pages for pin in state.pins.values()):
            yield f"it is page {page} that was pinned"

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        ops = [op.op for op in trace.scenario.ops]
        if state.pins and not any(pin.foll_pin for pin in state.pins.values()):
            yield "a pin by vmsplice is a FOLL_GET: pincount stays 0, and a fork shares the page"
        if "fork" in ops and "pin" in ops and ops.index("fork") < ops.index("pin"):
            yield "whoever pins a page that is shared gets a copy of that page for itself; the other one keeps the huge page"

    return Task(
        f"{kernel}, X86_64. This was seen: {b} maps 512 small pages, each with ref 1. {a} maps all 512 pages of a huge page by PTEs: ref 513, "
        f"pincount 1, {_pmds_field(kernel)} -1. It is page {page} that was pinned. What have {a} and {b} done?",
        missing,
        (
            "Since 5.9 a fork must not share what a FOLL_PIN driver writes to: it copies for the child.",
            "Who had the pin, and when was it taken: before the fork or after it?",
            f"Begin with: {W.format(a)}. The pin names how it was taken.",
        ),
        Setup(kernel, "X86_64"),
        processes=(a, b),
        rules=rules,
    )


@exercise(
    "N5", "2048 becomes little", "apply", "explain", 8,
    objective="see that a split of today frees what holds only zeros",
    myth="a split of a page costs and gives nothing",
)  # fmt: skip
def becomes_little(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    touched = draw.between("touched", 1, 30)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if done(trace, "munmap") or any(op.fields.get("advice") in ("dontneed", "free", "pageout") for op in trace.scenario.ops):
            yield "nothing may be unmapped or given up"
        if trace.scenario.ops:
            before = trace.end_of(len(trace.scenario.ops) - 1).state
            yield from need(f"the Rss of {a} before the last operation, in kB,", in_smaps(before, a, "Rss"), 2048)
        yield from need("thp_split_page", state.vmstat["thp_split_page"], 1)
        yield from need("the number of huge PMDs", pmds(state), 0)

    def both(one: Trace, two: Trace) -> Iterator[str]:
        found = tuple(in_smaps(trace[-1].state, a, "Rss") for trace in (one, two))
        if found != (4 * touched, 2048):
            yield f"the Rss of {a} must be {4 * touched} kB at the end of the first and 2048 kB at the end of the second; it is {found[0]} and {found[1]}"
            if found[0] == found[1]:
                yield "what a split frees are pages that hold only zeros: have both the same content?"

    return TwoScenarios(
        f"v6.12, X86_64. This was seen: Rss 2048 kB, then {4 * touched} kB, and {512 - touched} page frames are free again; thp_split_page has risen, "
        f"and {a} has unmapped nothing. Write the scenario, a line ---, and a control in which the same last operation leaves Rss at 2048 kB.",
        missing,
        (
            "Since 6.12 a split of an anonymous huge page maps the page of zeros in the place of small pages that hold only zeros.",
            f"How many pages of the huge page have ever been written to if {4 * touched} kB are left?",
            f"Begin with the control: {F.format(a)}. The last operation is the same in both.",
        ),
        Setup("v6.12", "X86_64"),
        processes=(a,),
        both=both,
    )


CALLS = {
    "mprotect none of all": "mprotect {a} 0 1thp none",
    "mprotect r of a page": "mprotect {a} {page} 1 r",
    "dontneed of all": "madvise {a} 0 1thp dontneed",
    "dontneed of a page": "madvise {a} {page} 1 dontneed",
    "a split of the page": "split {a} 0",
    "a fork": "fork {a} {b}",
}


@exercise(
    "N6", "Which call?", "analyse", "predict", 8,
    objective="tell calls apart by what they leave in smaps and in the head",
    myth="who has an Rss of 0 holds no memory",
)  # fmt: skip
def which_call(draw: Draw) -> Answers:
    a, b = draw.processes(2)
    kernel, page = draw.pick("kernel", ("v5.10", "v6.1", "v6.12", "v6.18")), draw.between("page", 1, 511)
    four = draw.some("calls", tuple(CALLS), 4)
    setup, start = Setup(kernel, "X86_64"), W.format(a)

    def after(call: str) -> str:
        return f"{start}; {CALLS[call].format(a=a, b=b, page=page)}"

    def cells() -> Mapping[str, Question]:
        asked = {}
        for number, call in enumerate(four, start=1):
            row = _shown_by(kernel, CALLS[call].format(a="A", b="B", page=page))
            slips: dict[int | str, str] = {}
            if call == "mprotect none of all":
                slips["dontneed of all"] = f"The page is there, with ref 1 and a PMD: {kernel} only does not show it in Rss."
            if call == "dontneed of all":
                slips["mprotect none of all"] = "Then the page would still be there; here there is none."
            if call == "a fork":
                slips["a split of the page"] = "A page that was split is none any more; here a second mapping has come."
            asked[str(number)] = Question(
                after(call), setup, f"{number}: {row}. Which call was it?", call, tuple(CALLS), slips=slips
            )
        return asked

    shown = "; ".join(
        f"{number}: {_shown_by(kernel, CALLS[call].format(a='A', b='B', page=page))}" for number, call in enumerate(four, start=1)
    )
    return Answers(
        f"{kernel}, X86_64. {a} has done {start} and then one call; four times, with another call each time. What was seen of {a}, in kB, and of "
        f"the huge page, if there is one: {shown}. Which call was it, each time: {', '.join(CALLS)}? Four lines.",
        cells,
        (
            f"Rss counts what is mapped and may be used, ref every reference, {_pmds_field(kernel)} the PMDs, less one.",
            "In which of the four is there no compound page left? In which has the PMD become PTEs?",
            "Begin with the one in which ref is largest.",
        ),
    )


@cache
def _shown_by(kernel: str, call: str) -> str:
    """What is seen after a call. What the processes are called makes no difference."""
    state = record(f"{W.format('A')}; {call}", Setup(kernel, "X86_64"))[-1].state
    figures = ", ".join(f"{name} {in_smaps(state, 'A', name)}" for name in ("Rss", "Pss", "AnonHugePages"))
    head = head_of(state)
    page = f"ref {count(state)}, {_pmds_field(kernel)} {state.field('compound_mapcount', head)}" if head else "no huge page"
    return f"{figures}, {page}"


SET = ExerciseSet(
    "12_real_numbers",
    "Real numbers",
    "",
    "Six exercises the other way round: such numbers were recorded from real kernels. What must the program have done?",
    (two_culprits, rss_lies, who_maps_a_tail, small_pages, becomes_little, which_call),
)
