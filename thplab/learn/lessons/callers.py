"""Lesson 7, four callers: swap-out, memory failure, migration and KSM, and what each does when the split is refused."""

from __future__ import annotations

from collections.abc import Iterator

from thplab.errors import errname
from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Lesson, Show
from thplab.learn.lessons.places import first_step, frames_in_use, op_end, op_start
from thplab.learn.lessons.questions import page_splits, pin_leaves, refused_splits, split_result
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets import Prediction
from thplab.machine.state import State
from thplab.machine.trace import Frame, Setup, Trace
from thplab.study.observe import smaps

_SWAP_OUT = """
scenario swap_out: reclaim wants the page on the swap device
env swap
phase A driver has pinned a small page
mmap A
fill A 0 1thp
pin A 1/2thp 1 dma
phase Memory runs short
why Reclaim has chosen this page. It can only write small pages to the device, so it asks for the split first.
swap_out A 0
phase The driver has let go
why Some time later reclaim comes to the same page again.
unpin dma
swap_out A 0
phase A reads
read A 1/2thp
"""
_BAD_PAGE = """
scenario bad_page: the hardware reports that one small page is broken
phase A driver has pinned the page that will break
mmap A
fill A 0 1thp
pin A 1/2thp 1 dma
phase The page breaks
why Only this small page is broken. To take it away, and leave the others, the kernel needs it as a page of its own.
madvise A 1/2thp 1 hwpoison
phase The driver has let go, and the hardware reports again
unpin dma
madvise A 1/2thp 1 hwpoison
"""
_MIGRATE = """
scenario move_one: one small page is to be moved elsewhere
phase A driver has pinned another page of the same huge page
mmap A
fill A 0 1thp
pin A 1 1 dma
phase Page 4 is to be moved
migrate A 1/2thp
phase The driver has let go
unpin dma
migrate A 1/2thp
"""
_KSM = """
scenario merge: a small page has the same content as a part of a huge page
phase A page of its own, and a huge page, with one content in common
mmap A
fill A 0 1thp
fill A 2 1 same
mmap A advise=none region=S
fill A 0 1 same region=S
madvise A 2 1 mergeable
madvise A 0 1 mergeable region=S
phase A driver has pinned a part of the huge page
pin A 1 1 dma
ksm_scan 1
phase The driver has let go
unpin dma
ksm_scan 1
"""
_TWO_ALIKE = """
scenario two_alike: two small pages with the same content lie in one huge page
phase Two alike in one page
mmap A
fill A 0 1thp
fill A 2 2 same
madvise A 2 2 mergeable
phase KSM looks at both
ksm_scan 1
"""
_THREE_VMAS = """
scenario three_vmas: one huge page, mapped by three VMAs of the same process
phase A VMA that ends inside the page
mmap A
fill A 0 1thp
mprotect A 1/2thp 1 r
phase The page is to be moved
migrate A 0
"""


def _result(frame: Frame) -> str:
    return errname(frame.result or 0)


def _returns(trace: Trace, index: int, question: str, why: str) -> Prediction:
    begin, end = op_start(trace, index), op_end(trace, index)
    return Prediction(begin, question, _result, ("0", "-EBUSY"), why, end)


def swap_out(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on swap-out."""
    return (
        _returns(
            trace,
            3,
            "Reclaim asks for the split of the pinned page. What does it get?",
            "The pin is a reference too many.",
        ),
        Prediction(
            at=op_start(trace, 5),
            of=op_end(trace, 5),
            question="The second attempt succeeds. How many small pages of A are still in memory as far as A's page "
            "table can tell?",
            actual=lambda frame: smaps(frame.state, "A")["Rss"] * 1024 // frame.state.geometry.page_size,
            why="Each PTE has become a swap entry: not present, it says where on the device the content is.",
        ),
        Prediction(
            at=op_start(trace, 6),
            of=op_end(trace, 6),
            question="A reads one page again. How many small pages does A's page table map then?",
            actual=lambda frame: smaps(frame.state, "A")["Rss"] * 1024 // frame.state.geometry.page_size,
            why="Only the one that was touched comes back, and it comes back as a small page. The huge page is "
            "history.",
        ),
    )


def bad_page(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on a memory failure."""
    return (
        Prediction(
            at=op_start(trace, 3),
            of=op_end(trace, 3),
            question="The page is pinned when it breaks. Can A still reach it afterwards?",
            answers=("yes", "no"),
            actual=lambda frame: "yes" if _reaches(frame.state, 1, 2) else "no",
            why="The split was refused, so the page is mapped as before, broken as it is. The mark is taken back.",
        ),
        Prediction(
            at=op_start(trace, 5),
            of=op_end(trace, 5),
            question="Now the split succeeds. How many small pages does A keep?",
            actual=lambda frame: smaps(frame.state, "A")["Rss"] * 1024 // frame.state.geometry.page_size,
            why="All but the broken one. That is what the split was for.",
        ),
    )


def _reaches(state: State, part: int, of: int) -> bool:
    """Does A map the small page at that part of its huge page?"""
    nr = state.geometry.nr
    pages = [page for m in state.mapped if m.process == "A" and m.kind == "page" for page in m.pages]
    first = min((m.pages[0] for m in state.mapped if m.process == "A"), default=0) // nr * nr
    return first + nr * part // of in pages


def migrate(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on migration."""

    def moved(frame: Frame) -> int:
        before, now = trace[op_start(trace, 5) - 1].state, frame.state
        return len(_frames(before) - _frames(now))

    return (
        _returns(
            trace,
            3,
            "Page 4 is to be moved, and page 1 is pinned. What does migrate return?",
            "One pin holds the whole huge page.",
        ),
        Prediction(
            at=op_start(trace, 5),
            of=op_end(trace, 5),
            question="The driver has let go. How many of the small pages lie in another page frame afterwards?",
            actual=moved,
            why="The huge page is split, and then the one small page is moved. The others stay where they were.",
        ),
    )


def _frames(state: State) -> set[int]:
    return {
        pfn
        for m in state.mapped
        if m.process == "A"
        for pfn in range(m.pfn, m.pfn + m.count * (state.geometry.nr if m.level else 1))
    }


def ksm(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on KSM."""
    first, second = op_end(trace, 8), op_end(trace, 10)
    return (
        Prediction(
            at=op_start(trace, 8),
            of=first,
            question="KSM finds the two equal pages while the huge page is pinned. How many page frames does it save?",
            actual=lambda frame: frames_in_use(trace[op_start(trace, 8) - 1]) - frames_in_use(frame),
            why="A part of a compound page cannot be merged, and the split is refused. KSM drops the matter until its "
            "next scan.",
        ),
        Prediction(
            at=op_start(trace, 10),
            of=second,
            question="And with the pin gone?",
            actual=lambda frame: frames_in_use(trace[op_start(trace, 10) - 1]) - frames_in_use(frame),
            why="The huge page is split, and two small pages become one.",
        ),
    )


def two_alike(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on two candidates in one huge page."""
    scan = op_start(trace, 4)
    return (
        Prediction(
            at=first_step(trace, "ksm_scan", "references but our own", after=scan),
            of=op_end(trace, 4),
            question="Nobody has pinned anything. Is the page still a huge page when the scan is over?",
            answers=("yes", "no"),
            actual=lambda frame: "yes" if frame.state.compound_pages() else "no",
            why="KSM holds a reference on each of the two candidates, and both are on the same head. One of them is "
            "one too many.",
        ),
    )


def three_vmas(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on a page that several VMAs map."""
    return (
        Prediction(
            at=op_start(trace, 3),
            question="To move the page, the kernel must find all its mappings. Of how many VMAs of A does the page "
            "have a part?",
            actual=lambda frame: len(frame.state.vmas("A")),
            why="Before page 4, page 4, behind page 4: mprotect cut the VMA in three, and left the page in one piece.",
        ),
    )


# --- tasks ------------------------------------------------------------------------------------------------------------


def _events(trace: Trace, **wanted: int) -> Iterator[str]:
    for event, number in wanted.items():
        found = trace[-1].state.vmstat[event]
        if found != number:
            yield f"{event} must be {number} at the end; it is {found}"


def _twice_refused(trace: Trace) -> Iterator[str]:
    refused = {frame.op.op for frame in trace if frame.op is not None and frame.result is not None and frame.result < 0}
    for op in ("swap_out", "migrate"):
        if op not in refused:
            yield f"{op} must have been refused; it was not"
    yield from _events(trace, thp_fault_alloc=1, thp_split_page=0)
    if trace[-1].state.pins:
        yield "no driver may hold a pin at the end"
    if not trace[-1].state.compound_pages():
        yield "the huge page must still be there"


def _mappers(state: State, pfn: int) -> set[str]:
    """The processes that map any part of the huge page that `pfn` is part of, if it is one."""
    heads = {state.head(pfn)} & set(state.compound_pages())
    return {m.process for m in state.mapped if m.kind == "page" and state.head(m.pfn) in heads}


def _lose_one(trace: Trace) -> Iterator[str]:
    state, nr = trace[-1].state, trace[0].state.geometry.nr
    if len(state.poisoned) != 1:
        yield f"one page must be marked as broken; {len(state.poisoned)} are"
        return
    if not any({"A", "B"} <= _mappers(frame.state, state.poisoned[0]) for frame in trace):
        yield "the page that breaks must be part of a huge page that A and B both map"
    for name in ("A", "B"):
        if name not in {p.name for p in state.processes}:
            yield f"process {name} must live"
            continue
        pages = smaps(state, name)["Rss"] * 1024 // state.geometry.page_size
        if pages != nr - 1:
            yield f"{name} must map {nr - 1} small pages at the end; it maps {pages}"


_TASKS = {
    "twice refused": Task(
        "One huge page is refused to two different callers, to swap-out and to migration, and is still a huge page in "
        "the end. No driver "
        "holds a pin any more by then.",
        _twice_refused,
        (
            "One pin is enough for all callers.",
            "Look at the first two phases of the steppers on swap-out and on migration: the beginning is the same.",
            "Begin with: mmap A; fill A 0 1thp; pin A 1 1 dma; swap_out A 0. Then the other caller, and the driver "
            "lets go.",
        ),
    ),
    "one page lost": Task(
        "A and B share a huge page. One small page of it breaks. In the end the broken page is out of use, and both "
        "processes still "
        "map all the others.",
        _lose_one,
        (
            "The broken page is taken away from everyone who maps it. The reverse map finds them.",
            "What has to be true of the references when the hardware reports the page?",
            "Begin with: mmap A; fill A 0 1thp; fork A B. One operation is missing.",
        ),
    ),
}

_MINI, _V45, _V618 = Setup(geometry="MINI"), Setup("v4.5"), Setup("v6.18")

lesson = Lesson(
    "07_four_callers",
    shows={
        "swap-out": Show(_SWAP_OUT, _MINI, swap_out, "Memory runs short"),
        "a bad page": Show(_BAD_PAGE, _V45, bad_page, "The page breaks"),
        "migration": Show(_MIGRATE, questions=migrate, step="Page 4 is to be moved"),
        "KSM": Show(_KSM, _MINI, ksm, "A driver has pinned a part of the huge page"),
        "two alike": Show(_TWO_ALIKE, _MINI, two_alike, "KSM looks at both"),
        "cut by mprotect": Show(_THREE_VMAS, _V618, three_vmas, "The page is to be moved"),
    },
    tasks=_TASKS,
    figures={
        "pinned_mini": Figure(_SWAP_OUT, after("pin"), _MINI),
        "swapped": Figure(_SWAP_OUT, after("swap_out", 5), _MINI),
        "pinned": Figure(_BAD_PAGE, after("pin"), _V45),
        "bad": Figure(_BAD_PAGE, after("madvise", 5), _V45),
        "pinned_elsewhere": Figure(_MIGRATE, after("pin")),
        "alike": Figure(_KSM, after("madvise", 6), _MINI),
        "two_alike": Figure(_TWO_ALIKE, after("madvise"), _MINI),
        "one_vma": Figure(_THREE_VMAS, after("fill"), _V618),
        "three_vmas": Figure(_THREE_VMAS, after("mprotect"), _V618),
    },
    families=(split_result, refused_splits, pin_leaves, page_splits),
)
