"""Lesson 2, the old bargain: before the RFC the split had to succeed, so every pin was kept at its tail,
and everybody paid.
"""

from __future__ import annotations

from collections.abc import Iterator

from thplab.hardware import page_tables as pt
from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Lesson, Show
from thplab.learn.lessons.places import first_head, first_step, op_end, op_start
from thplab.learn.lessons.questions import head_refcount, mapped_by_pmd, page_splits, pin_leaves, raw_tail_mapcount
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets import Prediction
from thplab.machine.trace import Frame, Setup, Trace
from thplab.study.observe import smaps

_PIN = """
scenario pin_a_tail: a driver takes a reference on a tail, and gives it back
phase A maps a huge page
mmap A
fill A 0 1thp
phase A driver pins page 4
pin A 1/2thp 1 dma
phase The driver lets go
why To drop a reference through a tail, the kernel has to find the head, be sure that it stays the head, and lower two counters.
unpin dma
"""
_SPLIT = """
scenario split_for_all: B makes one small page read-only; the page is pinned through A
phase A and B share the page, and a driver uses page 4
mmap A
fill A 0 1thp
fork A B
pin A 1/2thp 1 dma
phase B makes one small page read-only
why B's VMA is cut. In this kernel a huge page is mapped by huge PMDs, or it is no huge page.
mprotect B 2 1 r
phase The driver lets go
unpin dma
"""
_PINNED, _UNPIN = 2, 3  # operations of _PIN
_FORK, _MPROTECT = 2, 4  # operations of _SPLIT


def pin_a_tail(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the pin of a tail."""
    head, middle = first_head(trace), trace[0].state.geometry.nr // 2
    begin, end = op_start(trace, _PINNED), op_end(trace, _PINNED)
    unpin, done = op_start(trace, _UNPIN), op_end(trace, _UNPIN)

    def atomic(frame: Frame) -> int:
        before, now = trace[unpin - 1].state.costs, frame.state.costs
        return sum(now.get(name, 0) - before.get(name, 0) for name in ("rmw", "bit_rmw"))

    return (
        Prediction(
            at=begin,
            of=end,
            question=f"A driver pins page {middle}. How many counters change in all the struct pages?",
            actual=lambda frame: sum(
                frame.state.field(name, pfn) != trace[begin - 1].state.field(name, pfn)
                for name in ("refcount", "mapcount")
                for pfn in range(head, head + frame.state.geometry.nr)
            ),
            why="The head's _count, so that the page is not freed; and the tail's _mapcount, so that the kernel knows "
            "for whom.",
        ),
        Prediction(
            at=unpin,
            of=done,
            question="The driver lets go. How many atomic operations on counters and on the lock bit does that take?",
            actual=atomic,
            why="A guard on the head and its end, the lock bit twice, the tail's pin, the head's reference. On a head "
            "it would be 1.",
        ),
    )


def split_for_all(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the split that every sharer has to bear."""
    head, middle = first_head(trace), trace[0].state.geometry.nr // 2
    begin, end = op_start(trace, _MPROTECT), op_end(trace, _MPROTECT)
    marked = first_step(trace, "mprotect", "each tail: pins", after=begin)
    return (
        Prediction(
            at=begin,
            of=marked,
            question="B wants one small page read-only. How many PMDs will have been changed before any reference is "
            "handed out?",
            answers=(0, 1, 2),
            actual=lambda frame: sum(pt.pmd_trans_splitting(m.entry) for m in frame.state.mapped if m.level),
            why="Every PMD that maps the page is marked first, A's too. Whoever finds a mark waits.",
        ),
        Prediction(
            at=first_step(trace, "mprotect", "each tail _count =", after=begin),
            of=end,
            question=f"What will the _count of page {middle} be when mprotect is done?",
            actual=lambda frame: frame.state.field("refcount", head + middle),
            why="A's PTE, B's PTE, and the driver's pin, which has moved from the head to the page that it is about.",
        ),
        Prediction(
            at=first_step(trace, "mprotect", "the compound page is no more", after=begin),
            of=end,
            question="B has made one small page read-only. What will smaps show as A's AnonHugePages "
            "afterwards, in kB?",
            actual=lambda frame: smaps(frame.state, "A")["AnonHugePages"],
            why="The huge page is gone for A as well, and A has done nothing.",
        ),
    )


# --- tasks ------------------------------------------------------------------------------------------------------------


def _remembered(trace: Trace) -> Iterator[str]:
    state, nr = trace[-1].state, trace[0].state.geometry.nr
    heads = state.compound_pages()
    if len(heads) != 1:
        yield f"there must be one huge page at the end; there are {len(heads)}"
        return
    pins = [state.field("mapcount", pfn) + 1 for pfn in range(heads[0] + 1, heads[0] + nr)]
    if sorted(pins, reverse=True)[:2] != [2, 1] or sum(pins) != 3:
        yield (
            f"one tail must count two pins, another one, and the rest none; the tails count {', '.join(map(str, pins))}"
        )
    count = state.field("refcount", heads[0])
    if count != 4:
        yield f"the head's _count must be 4; it is {count}"


def _who_pays(trace: Trace) -> Iterator[str]:
    state, page = trace[-1].state, trace[0].state.geometry.page_size >> 10
    if len(state.processes) != 3:
        yield f"three processes must live at the end; {len(state.processes)} do"
    for process in state.processes:
        huge = smaps(state, process.name)["AnonHugePages"]
        if huge:
            yield f"nobody may have a huge page any more; {process.name} has {huge} kB"
    if state.vmstat["thp_split"] != 1:
        yield f"thp_split must be 1; it is {state.vmstat['thp_split']}"
    ops = enumerate(trace.scenario.ops)
    acts = [index for index, op in ops if op.op in ("mprotect", "munmap", "madvise", "mremap", "mlock", "munlock")]
    if len(acts) != 1:
        yield (
            "one process must do one thing to its memory after the forks, and nobody else anything; there are "
            f"{len(acts)} such things"
        )
    elif not any(len(who) == 3 for who in trace[op_start(trace, acts[0]) - 1].state.pmd_maps.values()):
        yield "all three must share the huge page, by PMDs, before anybody does anything to it"
    if any(smaps(state, p.name)["Rss"] != state.geometry.nr * page for p in state.processes):
        yield "everybody must still have all small pages"


_V316 = Setup("v3.16")

_TASKS = {
    "remembered": Task(
        "Linux 3.16. Reach a state in which one tail of a huge page counts two pins, another tail one, and the head's "
        "_count is 4.",
        _remembered,
        (
            "A tail's _mapcount counts the pins taken through it; the head's _count counts every reference.",
            "Which reference is there besides the pins? And may two drivers hold the same page?",
            "Begin with: mmap A; write A 0; pin A 4 1 dma; pin A 4 1 gpu. One pin is missing.",
        ),
        _V316,
    ),
    "who pays": Task(
        "Linux 3.16. Three processes share a huge page. Let one of them do one thing to one small page, so that all "
        "three lose the huge "
        "page. Everybody keeps all small pages.",
        _who_pays,
        (
            "Any border of a VMA inside a huge page splits the page.",
            "Unmapping would take a small page away. What cuts a VMA and keeps the memory?",
            "Begin with: mmap A; write A 0; fork A B; fork A C. Then C takes a right away from page 4, by mprotect.",
        ),
        _V316,
    ),
}

_FULL = Setup("v3.16", "X86_64")

lesson = Lesson(
    "02_the_old_bargain",
    shows={
        "a pin of a tail": Show(_PIN, _V316, pin_a_tail, "A driver pins page 4"),
        "a split for all": Show(_SPLIT, _V316, split_for_all, "B makes one small page read-only"),
        "the same in the RFC": Show(_SPLIT, step="B makes one small page read-only"),
        "at full size": Show(_SPLIT, _FULL, step="B makes one small page read-only"),
    },
    tasks=_TASKS,
    figures={
        "fault": Figure(_PIN, after("fill"), _V316),
        "pin": Figure(_PIN, after("pin"), _V316),
        "shared": Figure(_SPLIT, after("pin"), _V316),
        "split": Figure(_SPLIT, after("mprotect"), _V316),
        "rfc": Figure(_SPLIT, after("pin")),
        "full": Figure(_SPLIT, after("pin"), _FULL),
    },
    families=(raw_tail_mapcount, head_refcount, pin_leaves, page_splits, mapped_by_pmd),
    quiz_setup=_V316,
)
