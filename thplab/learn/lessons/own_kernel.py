"""Lesson 9, your own kernel: what can be seen from a program without privileges,
predicted on the simulator and tried on the real one.
"""

from __future__ import annotations

from collections.abc import Iterator

from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Lesson, Show
from thplab.learn.lessons.places import in_smaps, op_end, op_start, risen
from thplab.learn.lessons.questions import freed_by_munmap, mapped_by_pmd, page_splits, pmd_splits, refused_splits
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets import Prediction
from thplab.machine.trace import Setup, Trace
from thplab.study.live import portable_part
from thplab.study.observe import smaps

_TODAY = Setup("v6.18", "X86_64")


def hole(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on partial_munmap: what smaps and vmstat will show."""
    begin, end = op_start(trace, 2), op_end(trace, 2)
    return (
        Prediction(
            at=begin,
            of=end,
            question="A unmaps one small page. What will smaps show as A's AnonHugePages, in kB?",
            actual=lambda frame: smaps(frame.state, "A")["AnonHugePages"],
            why="AnonHugePages is what huge PMDs map. A's PMD has become 512 PTEs, of which 511 are left. The page is "
            "still one.",
        ),
        Prediction(
            at=begin,
            of=end,
            question="And by how much will thp_split_page in vmstat have risen?",
            actual=lambda frame: risen(trace, 2, "thp_split_page"),
            why="A mapping was split, and no page. The event of that is thp_split_pmd.",
        ),
    )


def pinned_split(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on pinned_split: which event, and what madvise returns."""

    def event(op: int, question: str, why: str) -> Prediction:
        names = ("thp_split_page", "thp_split_page_failed", "neither")

        def which(end: object) -> str:
            return next((name for name in names[:2] if risen(trace, op, name)), names[2])

        return Prediction(op_start(trace, op), question, which, names, why, op_end(trace, op))

    return (
        event(
            3,
            "A says of two small pages that it will not use them soon. The kernel wants to put them on another list, "
            "one by one, so it "
            "asks for the split. A pipe holds page 1. Which event is counted?",
            "The pipe's reference is one too many. The advice is only advice: madvise returns 0 all the same.",
        ),
        event(
            5, "The pipe has been read, and A says it again. Which event now?", "Every reference belongs to a mapping."
        ),
    )


# --- tasks ------------------------------------------------------------------------------------------------------------


def _portable(trace: Trace) -> Iterator[str]:
    refused = portable_part(trace.scenario)[1]
    if refused is not None:
        yield f"a real kernel cannot be told this: {refused}"


def _split_without_root(trace: Trace) -> Iterator[str]:
    yield from _portable(trace)
    if any(op.op in ("munmap", "exit") or op.fields.get("advice") == "dontneed" for op in trace.scenario.ops):
        yield "nothing may be unmapped or given up"
    splits = [index for index in range(len(trace.scenario.ops)) if risen(trace, index, "thp_split_page")]
    if not splits:
        yield "thp_split_page must be counted; it is 0"
    full = trace[0].state.geometry.nr * trace[0].state.geometry.page_size >> 10
    for index in splits:
        for when, at in (("before", op_start(trace, index) - 1), ("after", op_end(trace, index))):
            rss = in_smaps(trace[at].state, "A", "Rss")
            if rss != full:
                yield f"A's Rss must be {full} kB right {when} the split; it is {rss} kB"


def _no_hole(trace: Trace) -> Iterator[str]:
    yield from _portable(trace)
    state = trace[-1].state
    if not {"A", "B"} <= {p.name for p in state.processes}:
        yield "A and B must live at the end"
        return
    ours, theirs = (smaps(state, name)["Rss"] for name in ("A", "B"))
    if ours >= theirs:
        yield f"A's Rss must be smaller than B's at the end; they are {ours} and {theirs} kB"
    if not state.vmstat["thp_split_pmd"]:
        yield "a PMD must have been split; thp_split_pmd is 0"
    if state.vmstat["thp_deferred_split_page"]:
        yield f"no hole may be counted; thp_deferred_split_page is {state.vmstat['thp_deferred_split_page']}"


_TASKS = {
    "split without root": Task(
        "Make the kernel split a huge page, with nothing but what a program without privileges can do, and without "
        "unmapping anything. A's "
        "Rss is the whole huge page before and after.",
        _split_without_root,
        (
            "Advice about a part of a huge page makes the kernel want that part as pages of its own. And zeros are "
            "freed by a split.",
            "Look at the last madvise of the scenario pinned_split, and at what the scenario did before it.",
            "Begin with: mmap A; fill A 0 1thp. One operation is missing.",
        ),
        _TODAY,
    ),
    "a hole that is none": Task(
        "A and B share a huge page. A ends with less Rss than B, a PMD has been split, and still the kernel has no "
        "reason to count a hole: "
        "thp_deferred_split_page stays 0. Use only what a program without privileges can do.",
        _no_hole,
        (
            "A hole is a part that nobody maps.",
            "Look at lesson 6, the shared hole, before B exits.",
            "Begin with: mmap A; fill A 0 1thp; fork A B. One operation is missing.",
        ),
        _TODAY,
    ),
}

lesson = Lesson(
    "09_your_own_kernel",
    shows={
        "a hole": Show("partial_munmap", _TODAY, hole),
        "a refusal": Show("pinned_split", _TODAY, pinned_split),
    },
    tasks=_TASKS,
    figures={
        "full": Figure("partial_munmap", after("write"), _TODAY),
        "hole": Figure("partial_munmap", after("munmap"), _TODAY),
        "pinned": Figure("pinned_split", after("pin"), _TODAY),
    },
    families=(pmd_splits, page_splits, refused_splits, freed_by_munmap, mapped_by_pmd),
    quiz_setup=Setup("v6.18"),
)
