"""Lesson 0, the whole story: its stepper and the questions in it. The answers are read from the states, never written down."""

from __future__ import annotations

from thplab.errors import BadInput, errname
from thplab.scenario import load
from thplab.trace import Frame, Setup, Trace, record
from thplab.widgets import Prediction, Stepper


def stepper(phase: int = 1, geometry: str = "TOY", lecture: bool = False) -> Stepper:
    """The story in a stepper that starts at a phase, counted from 1. In a lecture it is large and asks nothing.

    Raises BadInput for a phase or geometry that does not exist.
    """
    trace = record(load("story"), Setup(geometry=geometry))
    phases = trace.scenario.phases
    if not 1 <= phase <= len(phases):
        raise BadInput("phase", f"is {phase}", f"1 to {len(phases)}")
    start = 0 if phase == 1 else next(f.number for f in trace if f.phase == phase - 1)
    return Stepper(trace, predictions=predictions(trace), start=start, lecture=lecture)


def predictions(trace: Trace) -> tuple[Prediction, ...]:
    """The questions of the lesson on a trace of the story, in any geometry. The distractors are known misconceptions."""
    nr = trace[0].state.geometry.nr
    middle = nr // 2
    head = next(f.state.compound_pages()[0] for f in trace if f.state.compound_pages())

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
        before = trace[_phase_start(trace, 7) - 1]
        return _frames_in_use(before) - _frames_in_use(frame)

    split = _step(trace, "split_huge_pmd", f"head _count += {nr - 1}")
    tails = _step(trace, "split_huge_pmd", "each tail _mapcount += 1")
    check = _step(trace, "swap_out", "all mappings of the page")
    unmapped = next(f.number for f in trace if f.op is not None and f.op.op == "munmap" and f.result is not None)
    return (
        Prediction(
            at=_step(trace, "fork", "head _count += 1"),
            question="A has forked B. How many references will the head page have when both map it by a PMD?",
            actual=count,
            why="Each mapping holds one reference: A's PMD and B's PMD.",
        ),
        Prediction(
            at=split,
            question=f"B's PMD is about to become {nr} PTEs. What will the head's _count be, with A's PMD still there?",
            actual=count,
            why=f"A's PMD holds one reference. B's {nr} PTEs hold one each; the one that B's PMD held serves the first of them.",
        ),
        Prediction(
            at=tails,
            question="And the head's mapcount, which is 2 now: what will it be when the split of B's PMD is done?",
            answers=(1, 2, 3),
            actual=mapcount,
            why="It does not move. B's PMD mapping turns into B's PTE mapping of page 0, and the head's one field counts both kinds.",
        ),
        Prediction(
            at=_step(trace, "pin", "head _count += 1"),
            question=f"A driver takes a reference on page {middle}, a tail. Whose count rises?",
            answers=("the head's", f"page {middle}'s own", "both"),
            actual=whose,
            why="As long as the page is compound, every reference to any part of it is on the head. Nobody notes which tail it was for.",
        ),
        Prediction(
            at=check,
            of=_step(trace, "swap_out", "references but our own"),
            question="Swap-out asks split_huge_page() to split the page while the driver holds its pin. What does it return?",
            answers=("0", "-EBUSY"),
            actual=answer,
            why="One reference too many: no mapping explains it, so somebody still uses the page and must not lose it.",
        ),
        Prediction(
            at=_step(trace, "split", "the compound page is no more"),
            of=next(f.number for f in trace if f.op is not None and f.op.op == "split" and f.result is not None),
            question=f"The pin is gone and the split succeeds. What will the _count of page {middle} be in the end?",
            actual=lambda frame: count(frame, middle),
            why="The references move from the head to the pages that they are about: A's PTE and B's PTE each hold one.",
        ),
        Prediction(
            at=_phase_start(trace, 7),
            of=unmapped,
            question=f"B unmaps page {middle}, which is an ordinary page by now. How many page frames become free at once?",
            answers=(0, 1, nr),
            actual=freed,
            why="A still maps that page. B's mapping and its reference go, A's stay, and so does the page.",
        ),
    )


def _step(trace: Trace, routine: str, text: str) -> int:
    """The first frame of an operation or routine whose step begins with that text."""
    for frame in trace.frames[1:]:
        assert frame.step is not None and frame.op is not None, "only frame 0 has no step"
        if frame.step.text.startswith(text) and (routine == frame.op.op or routine in frame.stack):
            return frame.number
    raise BadInput("text", f"{text!r} is no step of {routine}", "the beginning of a step's text")


def _phase_start(trace: Trace, phase: int) -> int:
    """The first frame of a phase, counted from 1."""
    return next(f.number for f in trace.frames[1:] if f.phase == phase - 1)


def _frames_in_use(frame: Frame) -> int:
    """Allocated page frames, page tables not counted."""
    state = frame.state
    nr = state.geometry.nr
    return sum(not state.is_free(pfn) and pfn not in state.tables for block in state.blocks for pfn in range(block * nr, (block + 1) * nr))
