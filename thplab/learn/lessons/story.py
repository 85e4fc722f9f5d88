"""Lesson 0, the whole story: its steppers, the questions in them, and its tasks.
All answers are read from the states.
"""

from __future__ import annotations

from collections.abc import Iterator

from thplab.errors import errname
from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Lesson, Show
from thplab.learn.lessons.places import first_head, first_step, frames_in_use, phase_start
from thplab.learn.lessons.questions import head_mapcount, head_refcount, pin_leaves, pmd_splits, split_result
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets import Prediction
from thplab.machine.state import State
from thplab.machine.trace import Frame, Setup, Trace


def questions(trace: Trace) -> tuple[Prediction, ...]:
    """The questions of the lesson on a trace of the story, in any geometry.
    The distractors are known misconceptions.
    """
    nr = trace[0].state.geometry.nr
    middle = nr // 2
    head = first_head(trace)

    def count(frame: Frame, page: int = 0) -> int:
        return frame.state.field("refcount", head + page)

    def mapcount(frame: Frame, page: int = 0) -> int:
        return frame.state.field("mapcount", head + page) + 1

    def whose(frame: Frame) -> str:
        before = trace[frame.number - 1]
        moved = [page for page in (0, middle) if count(frame, page) != count(before, page)]
        return {0: "the head's", middle: f"page {middle}'s own"}[moved[0]] if len(moved) == 1 else "both"

    def answer(frame: Frame) -> str:
        # The routine has returned to its caller; what it returned ends up as the operation's result.
        last = next(f for f in trace.frames[frame.number :] if f.result is not None)
        return errname(last.result or 0)

    def freed(frame: Frame) -> int:
        before = trace[phase_start(trace, 7) - 1]
        return frames_in_use(before) - frames_in_use(frame)

    split = first_step(trace, "split_huge_pmd", f"head _count += {nr - 1}")
    tails = first_step(trace, "split_huge_pmd", "each tail _mapcount += 1")
    check = first_step(trace, "swap_out", "all mappings of the page")
    unmapped = next(f.number for f in trace if f.op is not None and f.op.op == "munmap" and f.result is not None)
    return (
        Prediction(
            at=first_step(trace, "fork", "head _count += 1"),
            question="A has forked B. How many references will the head page have when both map it by a PMD?",
            actual=count,
            why="Each mapping holds one reference: A's PMD and B's PMD.",
        ),
        Prediction(
            at=split,
            question=f"B's PMD is about to become {nr} PTEs. What will the head's _count be, with A's PMD still there?",
            actual=count,
            why=f"A's PMD holds one reference. B's {nr} PTEs hold one each; the one that B's PMD held serves the "
            "first of them.",
        ),
        Prediction(
            at=tails,
            question="And the head's mapcount, which is 2 now: what will it be when the split of B's PMD is done?",
            answers=(1, 2, 3),
            actual=mapcount,
            why="It does not move. B's PMD mapping turns into B's PTE mapping of page 0, and the head's one field "
            "counts both kinds.",
        ),
        Prediction(
            at=first_step(trace, "pin", "head _count += 1"),
            question=f"A driver takes a reference on page {middle}, a tail. Whose count rises?",
            answers=("the head's", f"page {middle}'s own", "both"),
            actual=whose,
            why="As long as the page is compound, every reference to any part of it is on the head. Nobody notes "
            "which tail it was for.",
        ),
        Prediction(
            at=check,
            of=first_step(trace, "swap_out", "references but our own"),
            question="Swap-out asks split_huge_page() to split the page while the driver holds its pin. What does "
            "it return?",
            answers=("0", "-EBUSY"),
            actual=answer,
            why="One reference too many: no mapping explains it, so somebody still uses the page and must not lose it.",
        ),
        Prediction(
            at=first_step(trace, "split", "the compound page is no more"),
            of=next(f.number for f in trace if f.op is not None and f.op.op == "split" and f.result is not None),
            question=f"The pin is gone and the split succeeds. What will the _count of page {middle} be in the end?",
            actual=lambda frame: count(frame, middle),
            why="The references move from the head to the pages that they are about: A's PTE and B's PTE each "
            "hold one.",
        ),
        Prediction(
            at=phase_start(trace, 7),
            of=unmapped,
            question=f"B unmaps page {middle}, which is an ordinary page by now. How many page frames become free "
            "at once?",
            answers=(0, 1, nr),
            actual=freed,
            why="A still maps that page. B's mapping and its reference go, A's stay, and so does the page.",
        ),
    )


# --- tasks ------------------------------------------------------------------------------------------------------------


def _end(trace: Trace) -> State:
    return trace[-1].state


def _two_tables_one_page(trace: Trace) -> Iterator[str]:
    state, nr = _end(trace), _end(trace).geometry.nr
    heads = state.compound_pages()
    if len(heads) != 1:
        yield f"there must be one compound page at the end; there are {len(heads)}"
        return
    names = {m.process for m in state.mapped if m.level == 0 and state.head(m.pfn) == heads[0]}
    if len(names) < 2:
        yield f"two processes must map it by PTEs; {len(names)} of them do"
    count = state.field("refcount", heads[0])
    if count != 2 * nr:
        yield f"the head's _count must be {2 * nr}; it is {count}"
    if state.pins:
        yield "no driver may hold a pin"


def _refused_then_split(trace: Trace) -> Iterator[str]:
    vmstat = _end(trace).vmstat
    for event, wanted in (("thp_split_page_failed", 1), ("thp_split_page", 1), ("thp_split_pmd", 3)):
        if vmstat[event] != wanted:
            yield f"{event} must be {wanted} at the end; it is {vmstat[event]}"
    if {p.name for p in _end(trace).processes} != {f for f in _names(trace)}:
        yield "no process may have ended"


def _names(trace: Trace) -> set[str]:
    return {p.name for f in trace for p in f.state.processes}


def _held_by_nobody(trace: Trace) -> Iterator[str]:
    state = _end(trace)
    if (
        not state.pins
        and any(frame.state.pins for frame in trace)
        and not any(op.op == "unpin" for op in trace.scenario.ops)
    ):
        yield "the driver's pin went with its process: an exit closes the file by which it was held"
    if not state.compound_pages():
        yield "a compound page must still be allocated at the end; there is none"
        return
    head = state.compound_pages()[0]
    mapped = len(state.pmd_maps.get(head, ())) + int(state.pte_maps[head : head + state.geometry.nr].sum())
    if mapped:
        yield f"no page table may map it any more; {mapped} entries do"
    count = state.field("refcount", head)
    if count != 1:
        yield f"a single reference must keep it; its head has {count}"


_TASKS = {
    "two tables, one page": Task(
        "Reach a state with one compound page that two processes map by PTEs, so that the head's _count is twice the "
        "number of "
        "subpages. No driver holds a pin.",
        _two_tables_one_page,
        (
            "Every PTE that maps a subpage holds one reference on the head.",
            "split_huge_pmd() works on one PMD of one process. Who has to call for it, and how often?",
            "Begin with: mmap A; write A 0; fork A B. Then give both processes a reason to cut their VMA inside the "
            "huge page.",
        ),
    ),
    "refused, then split": Task(
        "Let three processes share a huge page. Make the split of the page fail once and then succeed, so that vmstat "
        "ends with "
        "thp_split_page_failed 1, thp_split_page 1 and thp_split_pmd 3. All three processes live on.",
        _refused_then_split,
        (
            "A split that is refused at once changes only its event. One that succeeds first splits every PMD that is "
            "still there.",
            "Look at phase 5 of the story for the refusal, and count the PMDs in phase 6.",
            "Begin with: mmap A; write A 0; fork A B; fork A C; pin A 1 1 dma; split A 0. The rest is two operations.",
        ),
    ),
    "held by nobody": Task(
        "Keep a whole huge page in memory although no page table maps any part of it. A single reference may hold it.",
        _held_by_nobody,
        (
            "A page is freed when its last reference goes. A mapping is not the only thing that can hold one.",
            "In phase 5 of the story one reference on the head belongs to no mapping. What would be left if A and B "
            "unmapped it all then?",
            "Begin with: mmap A; write A 0; pin A 3 1 dma. Then take the mapping away.",
        ),
    ),
}

_FULL_SIZE = Setup(geometry="X86_64")

lesson = Lesson(
    "00_the_whole_story",
    shows={
        "mapped and shared": Show("story", questions=questions),
        "one mapping is split": Show("story", questions=questions, step="B splits one PMD"),
        "a pin": Show("story", questions=questions, step="A pin, then swap-out"),
        "full size": Show("story", _FULL_SIZE, questions, "B splits one PMD"),
    },
    tasks=_TASKS,
    figures={
        "fault": Figure("story", after("write")),
        "fork": Figure("story", after("fork")),
        "split_pmd": Figure("story", after("mprotect")),
        "pin": Figure("story", after("pin")),
        "split_page": Figure("story", after("split")),
        "full_size": Figure("story", after("fork"), _FULL_SIZE),
    },
    families=(head_refcount, head_mapcount, pmd_splits, split_result, pin_leaves),
)
