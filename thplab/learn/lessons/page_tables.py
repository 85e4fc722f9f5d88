"""Lesson 1, page tables and the fault: a small page, a huge PMD, the deposited table, fallback, the huge zero page."""

from __future__ import annotations

from collections.abc import Iterator

from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Lesson, Show
from thplab.learn.lessons.places import first_step, frames_in_use, op_end, op_start
from thplab.learn.lessons.questions import table_index
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets import Prediction
from thplab.machine.state import State
from thplab.machine.trace import Frame, Setup, Trace
from thplab.show.diagrams import FULL

_SMALL = """
scenario small_page: one byte is written; A has asked for no huge pages
phase A asks for memory
why A gets a range of addresses. Nothing is behind it yet.
mmap A advise=none
phase A writes one byte
why There is no entry for this address, so the processor calls the kernel.
write A 0
"""
_HUGE = """
scenario huge_page: one byte is written; A has asked for huge pages
phase A asks for memory
mmap A
phase A writes one byte
why The same byte as before. This time the kernel may map all of the range at once.
write A 0
"""
_NO_BLOCK = """
scenario no_block: memory is nearly full, and no free block is as large as a huge page
phase The last free block goes to region R
mmap A
write A 0
phase A writes in region S
why A has asked for huge pages here, too.
mmap A region=S
write A 0 region=S
"""


def tables(state: State) -> int:
    """How many page frames are page tables."""
    return len(state.tables)


def _taken(trace: Trace, op: int) -> int:
    """Page frames that an operation has taken, page tables included."""
    before, now = trace[op_start(trace, op) - 1], trace[op_end(trace, op)]
    return frames_in_use(now) - frames_in_use(before) + tables(now.state) - tables(before.state)


def small_page(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the fault of a small page."""
    begin, end = op_start(trace, 1), op_end(trace, 1)
    return (
        Prediction(
            at=begin,
            of=end,
            question="A writes one byte. The top table, the PGD, is there already. How many page frames are taken, "
            "tables included?",
            actual=lambda frame: _taken(trace, 1),
            why="A table for each of the three levels below the PGD, and the page itself.",
        ),
    )


def huge_page(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the fault of a huge page."""
    nr = trace[0].state.geometry.nr
    begin, end = op_start(trace, 1), op_end(trace, 1)
    return (
        Prediction(
            at=begin,
            of=end,
            question="The same byte. How many page tables will A have in the end, the PGD included? (In the first run "
            "it was 4.)",
            actual=lambda frame: tables(frame.state),
            why="PGD, PUD, PMD, and a table of PTEs that nobody uses: it is put aside for the day on which the PMD "
            "has to be split.",
        ),
        Prediction(
            at=first_step(trace, "write", "PMD = the huge page"),
            of=end,
            question=f"A writes to all {nr} small pages afterwards. How many more faults does that take?",
            actual=lambda frame: 0 if frame.state.pmd_maps else nr - 1,
            why="One entry maps them all, so the processor does not have to ask again.",
        ),
    )


def _got(frame: Frame) -> str:
    if frame.result:
        return "an error"
    return "a small page" if any(not m.level and m.kind == "page" for m in frame.state.mapped) else "a huge page"


def no_block(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the fallback."""
    end = op_end(trace, 3)
    return (
        Prediction(
            at=op_start(trace, 3),
            of=end,
            question="No block of 8 free pages is left, but a few single ones are. What does A get?",
            answers=("a huge page", "a small page", "an error"),
            actual=_got,
            why="Huge pages are a favour. Where none can be had, the fault goes on as if they did not exist, and one "
            "event is counted.",
        ),
    )


def zero_page(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the huge zero page."""
    read, write = op_start(trace, 1), op_start(trace, 2)

    def is_own(frame: Frame) -> str:
        return "yes" if frame.state.compound_pages() else "no"

    return (
        Prediction(
            at=read,
            of=op_end(trace, 1),
            question="A reads memory that it has never written. Does the kernel give A a huge page of its own?",
            answers=("yes", "no"),
            actual=is_own,
            why="All of it reads as zero. One huge page full of zeros serves all readers. It is nobody's, and no "
            "mapcount counts them.",
        ),
        Prediction(
            at=write,
            of=op_end(trace, 2),
            question="Now A writes one byte. And now?",
            answers=("yes", "no"),
            actual=is_own,
            why="The zero page must stay zero. In this kernel the writer gets a huge page of its own, and the PMD "
            "leads there.",
        ),
    )


# --- tasks ------------------------------------------------------------------------------------------------------------


def _both(trace: Trace) -> Iterator[str]:
    state = trace[-1].state
    huge = {m.process for m in state.mapped if m.level and m.kind == "page"}
    small = {m.process for m in state.mapped if not m.level and m.kind == "page"}
    if not huge & small:
        yield "one process must map a huge page by a PMD, and a small page by a PTE; no process does both"
    if state.vmstat["thp_split_pmd"]:
        yield "no PMD may have been split"
    if state.vmstat["thp_fault_fallback"]:
        yield "no fault may have fallen back"


def _zeros_for_two(trace: Trace) -> Iterator[str]:
    state = trace[-1].state
    readers = {m.process for m in state.mapped if m.kind == "zero" and m.level}
    if len(readers) < 2:
        yield f"two processes must map the huge zero page; {len(readers)} do"
    if state.compound_pages():
        yield "nobody may have a huge page of its own"
    if state.vmstat["thp_zero_page_alloc"] != 1:
        yield f"thp_zero_page_alloc must be 1; it is {state.vmstat['thp_zero_page_alloc']}"


def _too_small(trace: Trace) -> Iterator[str]:
    state = trace[-1].state
    small = [m for m in state.mapped if m.kind == "page" and not m.level]
    if not small:
        yield "a small page must be mapped at the end"
    elif not any(v.start <= m.address < v.end and "hugepage" in v.flags for m in small for v in state.vmas(m.process)):
        yield "the small page must lie where A asks for huge pages (mmap A, or madvise hugepage)"
    if state.compound_pages():
        yield "it must be a small page; there is a huge one"
    for event in ("thp_fault_alloc", "thp_fault_fallback"):
        if state.vmstat[event]:
            yield f"{event} must be 0; it is {state.vmstat[event]}"


_TASKS = {
    "one of each": Task(
        "Let A map a huge page by a PMD, and another, small page by a PTE, without splitting anything and with memory "
        "to spare.",
        _both,
        (
            "Whether a fault may give a huge page is a matter of the VMA's advice.",
            "A can have two regions with different advice. The first stepper and the second each make one.",
            "Begin with: mmap A; write A 0. Then a second region: mmap A advise=none region=S.",
        ),
    ),
    "zeros for two": Task(
        "Let two processes map the huge zero page. Nobody has a huge page of its own, and thp_zero_page_alloc is 1.",
        _zeros_for_two,
        (
            "Only reading untouched memory maps the zero page.",
            "There are two ways to a second reader: a fork, or a process that maps and reads for itself.",
            "Begin with: mmap A; read A 0.",
        ),
    ),
    "too small for a favour": Task(
        "Let A ask for huge pages and still get a small one, although memory is free: neither thp_fault_alloc nor "
        "thp_fault_fallback "
        "may count.",
        _too_small,
        (
            "A huge page is given only where the VMA has room for all of it, from one multiple of its size to "
            "the next.",
            "The VMA has to be smaller than a huge page when it is touched for the first time.",
            "Begin with: mmap A. Then A gives a part of the range back before it writes.",
        ),
    ),
}

_LITTLE = Setup(memory=16)
_FULL_SIZE = Setup(geometry="X86_64")

lesson = Lesson(
    "01_page_tables_and_the_fault",
    shows={
        "a small page": Show(_SMALL, questions=small_page, step="A writes one byte", detail=FULL),
        "a huge page": Show(_HUGE, questions=huge_page, step="A writes one byte", detail=FULL),
        "at full size": Show(_HUGE, _FULL_SIZE, step="A writes one byte", detail=FULL),
        "no block": Show(_NO_BLOCK, _LITTLE, no_block, "A writes in region S"),
        "the zero page": Show("zero_page", questions=zero_page),
    },
    tasks=_TASKS,
    figures={
        "empty": Figure(_SMALL, after("mmap"), detail=FULL),
        "small": Figure(_SMALL, after("write"), detail=FULL),
        "huge": Figure(_HUGE, after("write"), detail=FULL),
        "small_full": Figure(_SMALL, after("write"), _FULL_SIZE, FULL),
        "huge_full": Figure(_HUGE, after("write"), _FULL_SIZE, FULL),
        "before": Figure(_NO_BLOCK, after("mmap", 2), _LITTLE),
        "untouched": Figure("zero_page", after("mmap")),
        "zero": Figure("zero_page", after("read")),
    },
    families=(table_index,),
    quiz_setup=Setup(geometry="X86_64"),
)
