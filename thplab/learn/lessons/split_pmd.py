"""Lesson 3, splitting one PMD: its steppers, the questions in them, and its tasks.
All answers are read from the states.
"""

from __future__ import annotations

from collections.abc import Iterator

from thplab.errors import errname
from thplab.hardware import page_tables as pt
from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Lesson, Show
from thplab.learn.lessons.places import first_head, first_step, frames_in_use, op_end, op_start, risen
from thplab.learn.lessons.questions import head_refcount, mapped_by_pmd, pmd_split_touches, pmd_splits, tail_mapcount
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets import Prediction
from thplab.machine.trace import Frame, Setup, Trace

THREE = """
scenario three: three processes share a huge page; two of them want their mapping in pieces
phase A, B and C map one huge page
mmap A
write A 0
fork A B
fork A C
phase B makes one page read-only
why B's VMA falls into three, and one PMD cannot serve all three.
mprotect B 1/2thp 1 r
phase C unmaps the first half
why C's VMA loses its first half. What is left of it begins inside the huge page.
munmap C 0 1/2thp
"""

FULL = """
scenario full: no page frame is free, and the huge page is pinned
phase A has a huge page, and a driver pins a part of it
mmap A
write A 0
pin A 3 1 dma
phase The rest of memory is used up
mmap A advise=none region=S
write A 0 2 region=S
phase A makes one page read-only
mprotect A 1/2thp 1 r
phase A touches a new page
why For comparison: this needs a page frame, and there is none.
write A 2 region=S
"""

MOVED = """
scenario moved: half of a huge page moves to another address
phase A has a huge page, and room elsewhere
mmap A
mmap A region=T
write A 0
phase mremap moves the first half
why The first half goes to the second half of region T.
mremap A 0 1/2thp T 1/2thp
"""


def _answer(frame: Frame) -> str:
    return errname(frame.result or 0)


def three_processes(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on three processes of which two have their PMD split, in any geometry."""
    head, nr = first_head(trace), trace[0].state.geometry.nr
    split, unmap = op_start(trace, 4), op_start(trace, 5)
    tails = first_step(trace, "split_huge_pmd", "each tail _mapcount += 1")

    def count(frame: Frame) -> int:
        return frame.state.field("refcount", head)

    def mapcount(frame: Frame) -> int:
        return frame.state.field("mapcount", head) + 1

    return (
        Prediction(
            at=split,
            of=op_end(trace, 4),
            question="Three huge PMDs map the page. How many will be left when B's mprotect is done?",
            actual=lambda frame: len(frame.state.pmd_maps[head]),
            why="split_huge_pmd() works on one PMD of one process. A's and C's are not even read.",
        ),
        Prediction(
            at=first_step(trace, "split_huge_pmd", f"head _count += {nr - 1}"),
            question="The head has 3 references, one for each PMD. What will its _count be when B's split has taken "
            "what it needs?",
            actual=count,
            why=f"B needs {nr} references for {nr} PTEs and had one for its PMD, so {nr - 1} are added to 3.",
        ),
        Prediction(
            at=tails,
            question="The head's mapcount is 3. What will it be after B's split?",
            actual=mapcount,
            why="B's PMD was counted there, and now B's PTE of page 0 is. One went, one came, so the kernel does not "
            "touch it.",
        ),
        Prediction(
            at=unmap,
            of=op_end(trace, 5),
            question=f"C unmaps pages 0 to {nr // 2 - 1}. That splits C's PMD, too. What will the head's _count be in "
            "the end?",
            actual=count,
            why=f"C's split adds {nr - 1}, and the {nr // 2} PTEs that go give their references back.",
        ),
        Prediction(
            at=unmap,
            of=op_end(trace, 5),
            question="And the head's mapcount?",
            actual=mapcount,
            why="A's PMD and B's PTE of page 0. C's PTE of page 0 is gone.",
        ),
        Prediction(
            at=unmap,
            of=op_end(trace, 5),
            question=f"How many of the {nr} subpages are free then?",
            answers=(0, nr // 2, nr),
            actual=lambda frame: frames_in_use(trace[unmap - 1]) - frames_in_use(frame),
            why="A and B still map them, and a compound page is freed as a whole or not at all.",
        ),
    )


def no_memory(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on a split with no free page frame and a pinned page."""
    head, nr, split = first_head(trace), trace[0].state.geometry.nr, op_start(trace, 5)
    return (
        Prediction(
            at=split,
            of=op_end(trace, 5),
            question="No page frame is free, and a driver has pinned page 3. What does mprotect, which has to split "
            "the PMD, return?",
            answers=("0", "-ENOMEM", "-EBUSY"),
            actual=_answer,
            why="The table that the split needs was put aside when the huge page was mapped. And a pin is on the "
            "page, not on the PMD.",
        ),
        Prediction(
            at=split,
            of=op_end(trace, 5),
            question="The head has 2 references: A's PMD and the driver's pin. What will its _count be after "
            "the split?",
            actual=lambda frame: frame.state.field("refcount", head),
            why=f"{nr} PTEs and the pin. The split leaves the pin where it is, on the head.",
        ),
        Prediction(
            at=op_start(trace, 6),
            of=op_end(trace, 6),
            question="A writes to a page of region S that it has not touched yet. What comes of it?",
            answers=("0", "-ENOMEM"),
            actual=_answer,
            why="A fault has to allocate, so it can fail. That is the difference: the split does not.",
        ),
    )


def half_moves(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on mremap of a part."""
    head, nr, move = first_head(trace), trace[0].state.geometry.nr, op_start(trace, 3)

    def index(frame: Frame) -> int:
        return next(m.index for m in frame.state.mapped if m.level == 0 and m.pfn == head)

    return (
        Prediction(
            at=move,
            of=op_end(trace, 3),
            question=f"Half of the PTEs move to another table. What will the head's _count be, when all {nr} subpages "
            "are still mapped?",
            actual=lambda frame: frame.state.field("refcount", head),
            why=f"{nr} PTEs, {nr} references. Where a PTE stands is nothing to the page that it maps.",
        ),
        Prediction(
            at=move,
            of=op_end(trace, 3),
            question="At which index of its table is the PTE of subpage 0 then?",
            actual=index,
            why="It moved to the middle of region T. From now on the place in the table does not tell which "
            "subpage it is.",
        ),
    )


def in_the_old_kernel(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the same mprotect in Linux 3.16."""
    head, begin, end = first_head(trace), op_start(trace, 4), op_end(trace, 4)
    return (
        Prediction(
            at=begin,
            of=end,
            question="The same mprotect by B in Linux 3.16. How many huge PMDs will be left?",
            actual=lambda frame: len(frame.state.pmd_maps.get(head, ())),
            why="A PMD cannot be split alone there. The page is split, and with it every mapping of it.",
        ),
        Prediction(
            at=begin,
            of=end,
            question="How often will the TLB be flushed in the course of it?",
            actual=lambda frame: frame.state.costs["flushes"] - trace[begin - 1].state.costs["flushes"],
            why="Twice for each of the three PMDs, once to mark it and once to replace it, and once more for "
            "mprotect itself.",
        ),
    )


# --- tasks ------------------------------------------------------------------------------------------------------------


def _one_call_two_splits(trace: Trace) -> Iterator[str]:
    jumps = [risen(trace, index, "thp_split_pmd") for index in range(len(trace.scenario.ops))]
    if max(jumps, default=0) < 2:
        yield f"one operation must raise thp_split_pmd by 2; the most that one of yours does is {max(jumps, default=0)}"
    if trace[-1].state.vmstat["thp_split_page"]:
        yield f"no page may be split; thp_split_page is {trace[-1].state.vmstat['thp_split_page']}"


def _not_where_it_was(trace: Trace) -> Iterator[str]:
    state = trace[-1].state
    first = [m.pfn for m in state.mapped if m.level == 0 and m.index == 0 and m.kind == "page"]
    if not any(state.head(pfn) != pfn for pfn in first):
        yield "the PTE with index 0 of some table must map a subpage of a compound page other than subpage 0; none does"


def _whole_or_nothing(trace: Trace) -> Iterator[str]:
    state = trace[-1].state
    if len(state.processes) != 1:
        yield f"there must be one process at the end, the only one; there are {len(state.processes)}"
    for event, wanted in (("thp_fault_alloc", 2), ("thp_split_pmd", 0), ("thp_split_page", 0)):
        if state.vmstat[event] != wanted:
            yield f"{event} must be {wanted} at the end; it is {state.vmstat[event]}"
    left = [m for m in state.mapped if m.level == 1]
    if len(left) != 1:
        yield f"one huge PMD must be left; there are {len(left)}"
        return
    first = next(m for f in trace for m in f.state.mapped if m.level == 1 and m.pfn == left[0].pfn)
    if left[0].address == first.address:
        yield "the huge page that is left must be at another address than the one at which it was first mapped"
    if left[0].entry & pt._PAGE_RW or not left[0].entry & pt._PAGE_PRESENT:
        yield "the PMD that is left must be read-only: present, and not writable"


_TASKS = {
    "one call, two splits": Task(
        "Write a scenario in which a single operation splits two PMDs, so that it raises thp_split_pmd by 2. No page "
        "may be split.",
        _one_call_two_splits,
        (
            "split_huge_pmd() is called for each border of a VMA that falls inside a huge page.",
            "In section 5 the borders of one VMA fell into one huge page. A range has two ends.",
            "Begin with: mmap A 2thp; write A 0; write A 1thp. One operation is missing.",
        ),
    ),
    "not where it was": Task(
        "Reach a state in which the PTE with index 0 of some table maps a subpage of a huge page, but not its "
        "subpage 0.",
        _not_where_it_was,
        (
            "A PTE that moves takes its subpage with it. The subpage keeps its number in the huge page.",
            "Section 5: mremap moved the first half to the second half of a region. Which half has to go where?",
            "Begin with: mmap A; mmap A region=T; write A 0. One operation is missing.",
        ),
    ),
    "all or nothing": Task(
        "Let a single process map two huge pages, protect one of them, move it to another address and unmap the other "
        "one. In the end one "
        "huge PMD is left, read-only, not where it was first, and thp_split_pmd is still 0.",
        _whole_or_nothing,
        (
            "A PMD has to be split only if an operation is about a part of what it maps.",
            "The table of section 5 has the ranges for which nothing was split.",
            "Begin with: mmap A 2thp; mmap A region=T; write A 0; write A 1thp. Three operations are missing.",
        ),
    ),
}

_FULL_SIZE, _NO_MEMORY, _V316 = Setup(geometry="X86_64"), Setup(memory=16), Setup("v3.16")

lesson = Lesson(
    "03_splitting_one_pmd",
    shows={
        "three processes": Show(THREE, questions=three_processes, step="B makes one page read-only"),
        "no memory": Show(FULL, _NO_MEMORY, no_memory, "A makes one page read-only"),
        "half moves": Show(MOVED, questions=half_moves, step="mremap moves the first half"),
        "in 3.16": Show(THREE, _V316, in_the_old_kernel, "B makes one page read-only"),
        "full size": Show(THREE, _FULL_SIZE, three_processes, "B makes one page read-only"),
    },
    tasks=_TASKS,
    figures={
        "three": Figure(THREE, after("fork")),
        "one_split": Figure(THREE, after("mprotect")),
        "two_split": Figure(THREE, after("munmap")),
        "full_memory": Figure(FULL, after("write", 4), _NO_MEMORY),
        "half": Figure(MOVED, after("write")),
        "half_moved": Figure(MOVED, after("mremap")),
        "three_v316": Figure(THREE, after("fork"), _V316),
        "split_v316": Figure(THREE, after("mprotect"), _V316),
        "full_size": Figure(THREE, after("fork"), _FULL_SIZE),
    },
    families=(head_refcount, mapped_by_pmd, pmd_split_touches, pmd_splits, tail_mapcount),
)
