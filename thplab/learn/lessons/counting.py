"""Lesson 4, counting maps: its steppers, the questions in them, and its tasks. All answers are read from the states."""

from __future__ import annotations

from collections.abc import Iterator

from thplab.hardware.frames import PG_double_map
from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Lesson, Show
from thplab.learn.lessons.places import first_head, op_end, op_start
from thplab.learn.lessons.questions import head_mapcount, head_refcount, raw_tail_mapcount, tail_mapcount
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets import Prediction
from thplab.machine.state import State
from thplab.machine.trace import Frame, Setup, Trace, record
from thplab.show.diagrams import FULL

LAST = """
scenario last: B splits its PMD and leaves; A's PMD is the last mapping
phase A and B map one huge page
mmap A
fill A 0 1thp
fork A B
phase B makes one page read-only
why B's PMD becomes PTEs; A's PMD stays.
mprotect B 1/2thp 1 r
phase B exits
why All of B's PTEs go. Look at what stays in the counters.
exit B
phase A exits
exit A
"""

ALONE = """
scenario alone: whose page is it? The head's mapcount is 1, but the tails are shared
phase A and B map one huge page, B by PTEs
mmap A
fill A 0 1thp
fork A B
munmap B 0 1
phase A writes to page 1
write A 1 value=0xaa
phase B reads page 1
read B 1
"""

THREE_KINDS = "mmap A; fill A 0 1thp; fork A B; fork A C; mprotect B 1/2thp 1 r; munmap C 0 1/2thp; pin A 1/2thp 1 dma"
"""A maps by a PMD, B by PTEs, C by PTEs of the second half, and a driver has a pin."""


def _one_pte_left(trace: Trace) -> State:
    """A huge page of which one PTE maps the first subpage, and nothing else maps any, on the same machine."""
    return record("mmap A; fill A 0 1thp; munmap A 1 " + str(trace[0].state.geometry.nr - 1), trace.setup)[-1].state


def _counts(state: State) -> list[list[int]]:
    """The reference and map counts of all pages of the one compound page."""
    (head,) = state.compound_pages()
    return [state.column(name, head, state.geometry.nr).tolist() for name in ("refcount", "mapcount")]


def last_pmd(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the last PMD under the RFC, in any geometry."""
    head = first_head(trace)
    split, leaves = op_start(trace, 3), op_start(trace, 4)

    def told(frame: Frame) -> str:
        return "no" if _counts(frame.state) == _counts(_one_pte_left(trace)) else "yes"

    return (
        Prediction(
            at=split,
            of=op_end(trace, 3),
            question="Two PMDs map the page. B's becomes PTEs. What will the head's mapcount be?",
            actual=lambda frame: frame.state.field("mapcount", head) + 1,
            why="A's PMD and B's PTE of page 0, in one field. It was two PMDs before. The number is the same.",
        ),
        Prediction(
            at=leaves,
            of=op_end(trace, 4),
            question="B exits. What will the mapcount of tail 3 be?",
            actual=lambda frame: frame.state.field("mapcount", head + 3) + 1,
            why="Nobody maps tail 3 by a PTE any more. A's PMD is counted on the head alone.",
        ),
        Prediction(
            at=leaves,
            of=op_end(trace, 4),
            question="And what is then stored in the field _mapcount of tail 3?",
            answers=(-1, 0, 1),
            actual=lambda frame: frame.state.field("mapcount", head + 3),
            why="The field holds one less than the mapcount, so -1 means that there is no mapping.",
        ),
        Prediction(
            at=leaves,
            of=op_end(trace, 4),
            question="Then the head's _count and mapcount are 1, every tail's mapcount 0. Do these numbers tell that "
            "a PMD is left?",
            answers=("yes", "no"),
            actual=told,
            why="A single PTE of page 0 leaves exactly the same numbers. Section 4 shows both, side by side.",
        ),
    )


def alone(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on a write to a huge page whose tails are shared, as the RFC was posted."""
    head, write = first_head(trace), op_start(trace, 4)
    before = trace[write - 1].state

    def seen_by_b(state: State) -> int:
        mine = next(m for m in state.mapped if m.process == "B" and m.level == 0)
        return state.field("content", mine.pfn + 1 - mine.index)

    return (
        Prediction(
            at=write,
            of=op_end(trace, 4),
            question="The posted test: if the head's mapcount is 1, A may write in place. Otherwise it gets a copy. "
            "Will A get a copy?",
            answers=("yes", "no"),
            actual=lambda frame: "no" if frame.state.compound_pages() == (head,) else "yes",
            why="The head's mapcount is 1, for A's PMD. B maps every page but page 0, and none of its PTEs is counted "
            "on the head.",
        ),
        Prediction(
            at=write,
            of=op_end(trace, 5),
            question="After the fork A and B must not see each other's writes. Will B see what A writes to page 1?",
            answers=("yes", "no"),
            actual=lambda frame: "yes" if seen_by_b(frame.state) != seen_by_b(before) else "no",
            why="The routine as posted takes a mapcount of 1 at the head for a proof that A is alone, and lets A "
            "write in place.",
        ),
    )


def with_double_map(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the last PMD in Linux 4.5, in any geometry."""
    head, nr = first_head(trace), trace[0].state.geometry.nr
    split, leaves, last = op_start(trace, 3), op_start(trace, 4), op_start(trace, 5)

    def atomic(frame: Frame) -> int:
        before = trace[last - 1].state.costs
        return frame.state.costs["rmw"] - before["rmw"]

    return (
        Prediction(
            at=split,
            of=op_end(trace, 3),
            question="Linux 4.5 counts PMDs in a field of their own, compound_mapcount. It is 2. What will it be "
            "after B's split?",
            actual=lambda frame: frame.state.field("compound_mapcount", head) + 1,
            why="A's PMD, and nothing else. The question of this lesson is answered by one look.",
        ),
        Prediction(
            at=leaves,
            of=op_end(trace, 4),
            question="B exits, and with it all PTEs. How many mappings will the _mapcount of tail 3 count then?",
            actual=lambda frame: frame.state.field("mapcount", head + 3) + 1,
            why="PageDoubleMap is still set, and stands in every field with 1 until the last PMD goes. No PTE "
            "maps tail 3.",
        ),
        Prediction(
            at=last,
            of=op_end(trace, 5),
            question=f"A exits: one PMD goes. How many atomic operations does that take, with {nr} subpages?",
            actual=atomic,
            why="The PMD, its reference and the flag are three, and the offset has to be taken from each of "
            f"{nr} fields.",
        ),
    )


def in_folios(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the last PMD in Linux 6.18."""
    head, split, leaves = first_head(trace), op_start(trace, 3), op_start(trace, 4)

    def logical(name: str, frame: Frame) -> int:
        return frame.state.field(name, head) + 1

    return (
        Prediction(
            at=split,
            of=op_end(trace, 3),
            question="_entire_mapcount counts PMDs, _large_mapcount all mappings. What will _large_mapcount be after "
            "B's split?",
            actual=lambda frame: logical("large_mapcount", frame),
            why="A's PMD is one mapping, and B's PTEs are one each.",
        ),
        Prediction(
            at=leaves,
            of=op_end(trace, 4),
            question="B exits. How many mappings will the _mapcount of tail 3 count?",
            actual=lambda frame: frame.state.field("mapcount", head + 3) + 1,
            why="None, and no offset is left behind: folios have no PageDoubleMap.",
        ),
    )


# --- tasks ------------------------------------------------------------------------------------------------------------


_NOT_ONE = "there must be exactly one compound page at the end"


def _differs(state: State, head: int, count: int, mapcounts: tuple[int, ...]) -> Iterator[str]:
    """What the counters of a compound page are, where they are not what is wanted;
    its mapcounts are those of all subpages.
    """
    names = ("the head's mapcount", *(f"the mapcount of tail {page}" for page in range(1, len(mapcounts))))
    found = [state.field("mapcount", head + page) + 1 for page in range(len(mapcounts))]
    if state.field("refcount", head) != count:
        yield f"the head's _count must be {count}; it is {state.field('refcount', head)}"
    yield from (
        f"{name} must be {want}; it is {is_}"
        for name, want, is_ in zip(names, mapcounts, found, strict=True)
        if want != is_
    )


def _read_backwards(trace: Trace) -> Iterator[str]:
    state, heads = trace[-1].state, trace[-1].state.compound_pages()
    if len(heads) != 1:
        yield _NOT_ONE
        return
    yield from _differs(state, heads[0], 12, (1, 2, 2, 2, 1, 1, 1, 1))
    pmds = sum(map(len, state.pmd_maps.values()))
    if pmds != 1:
        yield f"one PMD must map the page; {pmds} do"


def _twins(trace: Trace) -> Iterator[str]:
    state, heads = trace[-1].state, trace[-1].state.compound_pages()
    if len(heads) != 1:
        yield _NOT_ONE
        return
    yield from _differs(state, heads[0], 9, (2, 1, 1, 1, 1, 1, 1, 1))
    pmds = sum(map(len, state.pmd_maps.values()))
    if pmds:
        yield f"no PMD may map the page; {pmds} do"
    if state.pins:
        yield "no driver may hold a pin"


def _offset(trace: Trace) -> Iterator[str]:
    state, heads = trace[-1].state, trace[-1].state.compound_pages()
    if len(heads) != 1:
        yield _NOT_ONE
        return
    if len(state.processes) < 2:
        yield "two processes must live at the end"
    ptes = int(state.pte_maps[heads[0] : heads[0] + state.geometry.nr].sum())
    if ptes:
        yield f"no PTE may map any part of the huge page; {ptes} do"
    if not state.field("flags", heads[0]) & PG_double_map:
        yield "PageDoubleMap must be set, so that each tail counts a mapping that no PTE makes; it is not"


_TASKS = {
    "read backwards": Task(
        "These are the counters of a huge page under the RFC: head _count 12, head mapcount 1, tails 1 to 3 mapcount "
        "2, tails 4 to 7 "
        "mapcount 1. One PMD maps the page. Write a scenario that ends like that.",
        _read_backwards,
        (
            "All mappings together are the sum of the mapcounts. References beyond that are pins.",
            "1 + 3 × 2 + 4 × 1 = 11. The head's mapping is the PMD, so who can map page 0 by a PTE?",
            "Begin with: mmap A; write A 0; fork A B; fork A C. A keeps its PMD. Let B and C unmap what they must "
            "not map.",
        ),
    ),
    "twins": Task(
        "After mmap A; write A 0; fork A B; mprotect B 4 1 r the head has _count 9 and mapcount 2, and each tail has "
        "mapcount 1. Reach "
        "exactly these numbers under the RFC, without any PMD over the page and without a pin.",
        _twins,
        (
            "A mapping of the head's mapcount may be a PMD or a PTE of page 0.",
            "Section 4 has two states with equal counters. There, one PTE of page 0 takes the place of a PMD.",
            "Begin with: mmap A; write A 0; fork A B. One of them needs 8 PTEs; the other just one.",
        ),
    ),
    "counted but not mapped": Task(
        "On Linux 4.5, reach a state in which every tail's _mapcount counts a mapping although no PTE maps any part "
        "of the page. Two "
        "processes live at the end.",
        _offset,
        (
            "PageDoubleMap stands for one mapping in every field, until the last PMD goes.",
            "Look at the stepper of section 5 after B has left. Who else could let go of all its PTEs, and live on?",
            "Begin with: mmap A; write A 0; fork A B; mprotect B 4 1 r. One operation is missing.",
        ),
        Setup("v4.5"),
    ),
}

_V45, _V618, _FULL_SIZE = Setup("v4.5"), Setup("v6.18"), Setup("v4.5", "X86_64")
_POSTED = Setup(mutant="posted_pmd_reuse")

lesson = Lesson(
    "04_counting_maps",
    shows={
        "last PMD": Show(LAST, questions=last_pmd, step="B makes one page read-only"),
        "as posted": Show(ALONE, _POSTED, alone, "A writes to page 1"),
        "last PMD in 4.5": Show(LAST, _V45, with_double_map, "B makes one page read-only", detail=FULL),
        "last PMD in 6.18": Show(LAST, _V618, in_folios, "B makes one page read-only"),
        "full size": Show(LAST, _FULL_SIZE, with_double_map, "B makes one page read-only"),
    },
    tasks=_TASKS,
    figures={
        "shared": Figure(LAST, after("fork")),
        "last": Figure(LAST, after("exit", 4)),
        "ledger": Figure(THREE_KINDS, after("pin")),
        "one_pte": Figure("mmap A; fill A 0 1thp; munmap A 1 7", after("munmap")),
        "alone": Figure(ALONE, after("munmap")),
        "shared_v45": Figure(LAST, after("fork"), _V45, FULL),
        "split_v45": Figure(LAST, after("mprotect"), _V45, FULL),
        "last_v45": Figure(LAST, after("exit", 4), _V45, FULL),
        "shared_v618": Figure(LAST, after("fork"), _V618),
        "split_v618": Figure(LAST, after("mprotect"), _V618),
        "full_size": Figure(LAST, after("fork"), _FULL_SIZE),
    },
    families=(head_mapcount, head_refcount, raw_tail_mapcount, tail_mapcount),
)
