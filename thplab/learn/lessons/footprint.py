"""Lesson 6, partial unmap and memory footprint: what a munmap of a part gives back, when, and on which kernel."""

from __future__ import annotations

from collections.abc import Iterator

from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Lesson, Show
from thplab.learn.lessons.places import frames_in_use, in_smaps, op_end, op_start, risen
from thplab.learn.lessons.questions import freed_by_munmap, memory_in_two_kernels
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets import Prediction
from thplab.machine.trace import Setup, Trace

PRESSURE = "sys /proc/sys/vm/drop_caches 2"

_HOLE = f"""
scenario a_hole: one small page of a huge page is unmapped; when does its memory come back?
phase A huge page, all of it in use
why A fills every small page with something of its own.
mmap A
fill A 0 1thp
phase A hole
why A unmaps one small page in the middle. Nobody else maps it.
munmap A 1/2thp 1
phase Memory runs short
why The kernel looks for memory that it can free. (Here an administrator asks for it, by writing 2 to drop_caches.)
{PRESSURE}
"""
_ONE_BYTE = f"""
scenario one_byte: one byte of a huge page is written, and one small page unmapped
phase A huge page, almost empty
why A writes a single byte. The kernel has filled the rest with zeros.
mmap A
write A 0
phase A hole
munmap A 1/2thp 1
phase Memory runs short
{PRESSURE}
"""
_SHARED = f"""
scenario shared_hole: the page is shared with B, and A unmaps a part
phase A and B map the page
mmap A
fill A 0 1thp
fork A B
phase A unmaps one small page
why B still maps all of the page by its PMD.
munmap A 1/2thp 1
{PRESSURE}
phase B exits
why Now nobody maps that small page any more.
exit B
{PRESSURE}
"""
_MUNMAP, _SHRINK = 2, 3  # operations of _HOLE and _ONE_BYTE


def _freed(trace: Trace, first: int, last: int) -> int:
    return frames_in_use(trace[first]) - frames_in_use(trace[last])


def hole(trace: Trace) -> tuple[Prediction, ...]:
    """How much comes free, at the munmap and when memory runs short."""

    def gone(op: int) -> Prediction:
        begin, end = op_start(trace, op), op_end(trace, op)
        when = "by this munmap" if op == _MUNMAP else "now that memory runs short"
        return Prediction(
            at=begin,
            of=end,
            question=f"How many page frames of A's memory come free {when}?",
            actual=lambda frame: _freed(trace, begin - 1, frame.number),
            why=_why_freed(trace, begin - 1, end),
        )

    return (gone(_MUNMAP), gone(_SHRINK))


def _why_freed(trace: Trace, begin: int, end: int) -> str:
    before, now = trace[begin].state, trace[end].state
    freed = _freed(trace, begin, end)
    if before.compound_pages() and not now.compound_pages():
        zero = (
            " Small pages that hold only zeros are freed as well; their PTEs lead to the zero page."
            if freed > 1
            else ""
        )
        return (
            "The page was split, so each small page has a count of its own, and nothing keeps the one that nobody "
            f"maps.{zero}"
        )
    if not now.compound_pages():
        return "Nothing is left to give back: the page was split before."
    queued = (
        " It is on the queue for a deferred split."
        if len(now.deferred)
        else " And nothing remembers that a part of it is of no use."
    )
    return f"The page is still one compound page, and its frames come free together or not at all.{queued}"


def shared(trace: Trace) -> tuple[Prediction, ...]:
    """Does it come back while another process maps all of it?"""
    first, second = op_end(trace, 4), op_end(trace, 6)
    return (
        Prediction(
            at=op_start(trace, 4),
            of=first,
            question="A has a hole, but B maps all of the page. How many page frames come free now?",
            actual=lambda frame: _freed(trace, op_start(trace, 4) - 1, frame.number),
            why="B's PMD still maps every small page. Nothing is out of use.",
        ),
        Prediction(
            at=op_start(trace, 5),
            of=op_end(trace, 5),
            question="B exits. Is the page on the queue for a deferred split afterwards?",
            answers=("yes", "no"),
            actual=lambda frame: "yes" if len(frame.state.deferred) else "no",
            why="When B's PMD goes, the kernel finds a small page that nobody maps any more.",
        ),
        Prediction(
            at=op_start(trace, 6),
            of=second,
            question="Memory runs short again. How many page frames come free this time?",
            actual=lambda frame: _freed(trace, op_start(trace, 6) - 1, frame.number),
            why="The page is split, and the small page that nobody maps is freed.",
        ),
    )


# --- tasks ------------------------------------------------------------------------------------------------------------


def _give_it_back(trace: Trace) -> Iterator[str]:
    state, nr = trace[-1].state, trace[0].state.geometry.nr
    if state.vmstat["thp_fault_alloc"] != 1 or {p.name for p in state.processes} != {"A"}:
        yield "A must be alone, and there must be one huge page"
        return
    freed = max(frames_in_use(frame) for frame in trace) - frames_in_use(trace[-1])
    if freed < nr - 1:
        yield f"{nr - 1} page frames must have come free; {freed} have"
    rss = in_smaps(state, "A", "Rss")
    if rss != 4:
        yield f"A must map one small page at the end (Rss 4 kB); its Rss is {rss} kB"


def _will_not_go(trace: Trace) -> Iterator[str]:
    state = trace[-1].state
    if PRESSURE not in trace.scenario.line():
        yield f"memory must run short: {PRESSURE}"
    if not state.deferred:
        yield "the huge page must still be on the queue for a deferred split at the end; the queue is empty"
    short = (index for index, op in enumerate(trace.scenario.ops) if op.op == "sys")
    if not any(risen(trace, index, "thp_split_page_failed") for index in short):
        yield "the kernel must have tried to split it when memory ran short: thp_split_page_failed must rise then"
    if not any(state.head(m.pfn) in state.deferred for m in state.mapped):
        yield "somebody must still map a part of it at the end"


def _from_one_byte(trace: Trace) -> Iterator[str]:
    for op in trace.scenario.ops:
        advice = op.fields["advice"] if op.op == "madvise" else ""
        if op.op in ("munmap", "exit", "sys") or advice in ("dontneed", "free", "pageout"):
            yield (
                f"A must not give anything up or exit, nor memory run short; your scenario has {op.op} {advice}"
            ).rstrip()
    geometry = trace[0].state.geometry
    most, rss = max(in_smaps(frame.state, "A", "Rss") for frame in trace), in_smaps(trace[-1].state, "A", "Rss")
    if most * 1024 != geometry.nr * geometry.page_size:
        yield f"A's Rss must have been {geometry.size_text(geometry.nr)} at some time; the most was {most} kB"
    if not trace[-1].state.vmstat["thp_split_page"]:
        yield "a huge page must have been split; thp_split_page is 0"
    if rss != 4:
        yield f"A's Rss must be 4 kB at the end; it is {rss} kB"


_V45, _V618 = Setup("v4.5"), Setup("v6.18")

_TASKS = {
    "give it back": Task(
        "Linux 4.5. A maps one huge page. At the end A maps a single small page, A alone is there, and all other "
        "page frames "
        "of the huge page are free.",
        _give_it_back,
        (
            "Unmapping gives nothing back as long as the page is compound. What makes the kernel split it?",
            "Look at the third phase of the stepper for Linux 4.5.",
            "Begin with: mmap A; fill A 0 1thp; munmap A 1 7. One operation is missing.",
        ),
        _V45,
    ),
    "it will not go": Task(
        "Linux 4.5. Memory has run short, the kernel has tried to split a huge page with a hole, and still the page "
        "is there and on the "
        "queue for a deferred split.",
        _will_not_go,
        (
            "Lesson 5 has the one reason for which a split is refused.",
            "The reason has to be there before memory runs short. Which operation brings it?",
            "Begin with: mmap A; fill A 0 1thp; munmap A 4 1. Then somebody takes a reference, and memory runs short.",
        ),
        _V45,
    ),
    "from one byte": Task(
        "Linux 6.18. A writes to a huge page, so that its Rss is the whole huge page. Then its Rss falls to 4 kB, "
        "although A unmaps "
        "nothing, gives nothing up, and memory does not run short.",
        _from_one_byte,
        (
            "On this kernel each split of an anonymous huge page frees what holds only zeros.",
            "So you need a split of the page without a munmap. A program's advice about a part of the page "
            "leads to one.",
            "Begin with: mmap A; write A 0. Then A says of a part of the page that it will not be used soon: madvise "
            "A 4 2 and the advice.",
        ),
        _V618,
    ),
}

lesson = Lesson(
    "06_partial_unmap_and_footprint",
    shows={
        "a hole in the RFC": Show(_HOLE, questions=hole, step="A hole"),
        "a hole in 3.16": Show(_HOLE, Setup("v3.16"), hole, "A hole"),
        "a hole in 4.5": Show(_HOLE, _V45, hole, "A hole"),
        "one byte in 6.18": Show(_ONE_BYTE, _V618, hole, "A hole"),
        "a shared hole": Show(_SHARED, _V45, shared, "A unmaps one small page"),
    },
    tasks=_TASKS,
    figures={
        "full": Figure(_HOLE, after("fill")),
        "hole": Figure(_HOLE, after("munmap")),
        "hole_v316": Figure(_HOLE, after("munmap"), Setup("v3.16")),
        "hole_v45": Figure(_HOLE, after("munmap"), _V45),
        "one_byte": Figure(_ONE_BYTE, after("write"), _V618),
        "shared": Figure(_SHARED, after("fork"), _V45),
    },
    families=(freed_by_munmap, memory_in_two_kernels),
    quiz_setup=_V45,
)
