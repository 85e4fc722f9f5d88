"""Lesson 8, what was merged and what runs today:
one scenario on seven kernels, what it costs, and what changed after the RFC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from thplab.hardware.frames import PG_anon_exclusive
from thplab.kernel import kernels
from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Lesson, Show
from thplab.learn.lessons.places import first_head, first_step, frames_in_use, in_smaps, op_end, op_start
from thplab.learn.lessons.questions import (
    mapped_by_pmd,
    memory_in_two_kernels,
    raw_tail_mapcount,
    split_result,
    tail_mapcount,
)
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets import Prediction
from thplab.machine.state import State
from thplab.machine.trace import Frame, Setup, Trace, record
from thplab.show.diagrams import FULL
from thplab.study.observe import smaps

STORY = "mmap A; fill A 0 1thp; fork A B; mprotect B 1/2thp 1 r; pin A 1/2thp 1 dma; split A 0; unpin dma; split A 0"
"""The RFC's story with every small page in use, so that no kernel finds zeros to free."""

_PART = """
scenario part: B splits its mapping, A keeps its PMD
phase A and B map the page by PMDs
mmap A
fill A 0 1thp
fork A B
phase B makes one small page read-only
mprotect B 1/2thp 1 r
"""
_WRITE = """
scenario write_after_fork: B writes one byte of the page that it shares with A
phase A and B map the page by PMDs
mmap A
fill A 0 1thp
fork A B
phase B writes
write B 1/2thp
"""
_ALONE = """
scenario one_split: A makes one page of its own huge page read-only
phase A has a huge page
mmap A
fill A 0 1thp
phase A makes one page read-only
mprotect A 1/2thp 1 r
"""

HIDDEN, WITHDRAWN = "PMD marked not present", "withdraw the deposited PTE table"


def part_in_45(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the split of a PMD in Linux 4.5."""
    head, begin, end = first_head(trace), op_start(trace, 3), op_end(trace, 3)
    return (
        Prediction(
            at=begin,
            of=end,
            question="B's PMD becomes PTEs, A's stays. How many mappings will the _mapcount of page 3 count then?",
            actual=lambda frame: frame.state.field("mapcount", head + 3) + 1,
            why="B's PTE, and one for PageDoubleMap: from now on until the last PMD goes, every small page counts "
            "one more.",
        ),
        Prediction(
            at=begin,
            of=end,
            question="And the compound_mapcount, which was 2: how many mappings will it count?",
            actual=lambda frame: frame.state.field("compound_mapcount", head) + 1,
            why="It counts PMDs and nothing else. A's is left. This is the question that the RFC's head could "
            "not answer.",
        ),
    )


def part_in_618(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the split of a PMD in Linux 6.18."""
    head, begin, end = first_head(trace), op_start(trace, 3), op_end(trace, 3)
    return (
        Prediction(
            at=begin,
            of=end,
            question="The same on Linux 6.18. How many mappings will the _mapcount of page 3 count?",
            actual=lambda frame: frame.state.field("mapcount", head + 3) + 1,
            why="B's PTE. There is no PageDoubleMap any more.",
        ),
        Prediction(
            at=begin,
            of=end,
            question="_large_mapcount counts all mappings of the folio together, a PMD as one. What will it count?",
            actual=lambda frame: frame.state.field("large_mapcount", head) + 1,
            why="A's PMD and B's PTEs, in one word. The left side of the equation of lesson 5 need not be summed up "
            "any more.",
        ),
    )


def write_after_fork(trace: Trace) -> tuple[Prediction, ...]:
    """How much a write after a fork copies."""
    begin = op_start(trace, 3)
    huge = not trace[-1].state.vmstat["thp_split_pmd"]
    return (
        Prediction(
            at=begin,
            of=op_end(trace, 3),
            question="B writes one byte. How many page frames does the kernel allocate for it, page tables not "
            "counted?",
            actual=lambda frame: frames_in_use(frame) - frames_in_use(trace[begin - 1]),
            why="A whole huge page is allocated and all of it copied, so that B has a huge page again."
            if huge
            else "B's PMD is split, and the one small page that B writes is copied.",
        ),
    )


# --- one split on five kernels, step by step ------------------------------------------------------------------------


def _in_split(trace: Trace, text: str) -> int:
    """The step of the split of the PMD that begins so."""
    return first_step(trace, "split_huge_pmd", text)


def _counted(trace: Trace, frame: Frame) -> int:
    """How many mappings the _mapcount of page 3 counts."""
    return frame.state.field("mapcount", first_head(trace) + 3) + 1


def hidden_when(trace: Trace) -> tuple[Prediction, ...]:
    """What is done already when the hardware loses the huge PMD."""
    late = _in_split(trace, WITHDRAWN) < _in_split(trace, HIDDEN)
    return (
        Prediction(
            at=op_start(trace, 2),
            of=_in_split(trace, HIDDEN),
            question="A's PMD is split. At the step that marks it not present, how many mappings does the _mapcount "
            "of page 3 count?",
            actual=lambda frame: _counted(trace, frame),
            why="All PTEs are filled and counted by then. The processors have used the huge PMD all the while."
            if late
            else "Nothing has been counted yet. The PMD is taken away from the processors before it is read.",
        ),
    )


def marked_exclusive(trace: Trace) -> tuple[Prediction, ...]:
    """To how many pages the mark of the head is handed on."""
    head, nr = first_head(trace), trace[0].state.geometry.nr
    return (
        Prediction(
            at=op_start(trace, 2),
            of=_in_split(trace, "PMD = the PTE table"),
            question="One page has the flag PG_anon_exclusive now, the head. How many have it when the PMD has become "
            "a table?",
            actual=lambda frame: int((frame.state.column("flags", head, nr) & PG_anon_exclusive != 0).sum()),
            why="The head's mark spoke for all of them. From now on each small page is written through a PTE of "
            "its own, "
            "and asked by itself.",
        ),
    )


def counted_when(trace: Trace) -> tuple[Prediction, ...]:
    """What is counted already when the table is fetched."""
    return (
        Prediction(
            at=op_start(trace, 2),
            of=_in_split(trace, WITHDRAWN),
            question="The table is withdrawn and still empty. How many mappings does the _mapcount of page 3 count "
            "by then?",
            actual=lambda frame: _counted(trace, frame),
            why="All of them are counted first, in one go, and then the PTEs are filled.",
        ),
    )


def locked_how_often(trace: Trace) -> tuple[Prediction, ...]:
    """How often the lock of the mm ids is taken."""
    begin, end = op_start(trace, 2), _in_split(trace, "PMD = the PTE table")
    frames = trace.frames[begin : end + 1]
    return (
        Prediction(
            at=begin,
            of=end,
            question="A folio remembers which processes map it, under a lock bit of its own. How often does this "
            "split take that lock?",
            actual=lambda _: sum(frame.step.text.startswith("lock mm_ids") for frame in frames if frame.step),
            why="Once to add the PTEs, and once to take away the PMD.",
        ),
    )


# --- tasks: each runs the learner's scenario on several kernels -------------------------------------------------------


def _on(trace: Trace, kernel: str) -> Trace:
    return record(trace.scenario, replace(trace.setup, kernel=kernel))


def _two_worlds(trace: Trace) -> Iterator[str]:
    if len(trace.scenario.ops) > 4:
        yield f"four operations are enough; there are {len(trace.scenario.ops)}"
    before = _on(trace, "v3.16")
    if before.problem:
        yield f"on v3.16 the scenario stops {before.problem}"
        return
    old, new = (in_smaps(each[-1].state, "A", "AnonHugePages") for each in (before, trace))
    if not new:
        yield f"on rfc-2014 A's AnonHugePages must not be 0 at the end; it is {new} kB"
    if old:
        yield f"on v3.16 A's AnonHugePages must be 0 at the end; it is {old} kB"


def _costs_less_today(trace: Trace) -> Iterator[str]:
    today = _on(trace, "v6.18")
    if today.problem:
        yield f"on v6.18 the scenario stops {today.problem}"
        return
    more = frames_in_use(trace[-1]) - frames_in_use(today[-1])
    if more < trace[0].state.geometry.nr - 1:
        yield (
            f"v4.5 must have {trace[0].state.geometry.nr - 1} page frames more in use at the end than v6.18; it "
            f"has {more}"
        )
    for name, end in (("v4.5", trace[-1].state), ("v6.18", today[-1].state)):
        if end.vmstat["thp_split_page"]:
            yield f"no page may be split; on {name} thp_split_page is {end.vmstat['thp_split_page']}"


def _takes_a_part(trace: Trace, end: Frame) -> bool:
    """Does the operation that ends with this frame leave its process less of a huge page, but not nothing,
    while another maps it, too?
    """
    if end.op is None or end.result is None:
        return False
    before, process = trace[op_start(trace, end.op_index) - 1].state, str(end.op.fields["proc"])
    for head in end.state.compound_pages():
        mapped = [_mapped(state, head) for state in (before, end.state)]
        if len(mapped[1]) > 1 and 0 < mapped[1].get(process, 0) < mapped[0].get(process, 0):
            return True
    return False


def _mapped(state: State, head: int) -> dict[str, int]:
    """How many small pages of a huge page each process maps; those that map none are left out."""
    found: dict[str, int] = {}
    for m in state.mapped:
        if m.kind == "page" and state.head(m.pfn) == head:
            found[m.process] = found.get(m.process, 0) + len(m.pages)
    return found


def _nobody_can_tell(trace: Trace) -> Iterator[str]:
    if not any(op.op == "fork" for op in trace.scenario.ops):
        yield "there must be a fork"
    if not any(_takes_a_part(trace, frame) for frame in trace if frame.op is not None and frame.op.op == "munmap"):
        yield "a munmap must take a part of a huge page away from one process, while another process maps it"
    seen = {}
    for name in kernels.KERNELS:
        there = _on(trace, name)
        if there.problem:
            yield f"on {name} the scenario stops {there.problem}"
            return
        end = there[-1]
        seen[name] = ({p.name: smaps(end.state, p.name)["Rss"] for p in end.state.processes}, frames_in_use(end))
    first = next(iter(seen))
    for name, found in seen.items():
        if found != seen[first]:
            yield f"{first} ends with Rss and page frames {seen[first]}, {name} with {found}"
            return


_TASKS = {
    "two worlds": Task(
        "Write at most four operations after which A still has a huge page on rfc-2014 (AnonHugePages is not 0), and "
        "has none on v3.16.",
        _two_worlds,
        (
            "In 3.16 nobody could split a mapping alone.",
            "A must do nothing to its own page. Who else maps it?",
            "Begin with: mmap A; write A 0; fork A B. One operation is missing.",
        ),
    ),
    "it costs less today": Task(
        "Write a scenario after which v4.5 has at least seven page frames more in use than v6.18, although no page "
        "was split on either.",
        _costs_less_today,
        (
            "The kernels differ in what a write copies.",
            "Look at the two steppers with B's write.",
            "Begin with: mmap A; fill A 0 1thp; fork A B.",
        ),
        Setup("v4.5"),
    ),
    "nobody can tell": Task(
        "Write a scenario with a fork and a munmap of a part of a huge page, after which all seven kernels show the "
        "same Rss for every "
        "process and have the same number of page frames in use.",
        _nobody_can_tell,
        (
            "A munmap of a part shows a difference only if the part is of no use to anybody.",
            "Lesson 6 has a hole that is none.",
            "Begin with: mmap A; fill A 0 1thp; fork A B. Then one of them unmaps a part, and the other does nothing.",
        ),
    ),
}

_V45, _V618 = Setup("v4.5"), Setup("v6.18")

lesson = Lesson(
    "08_what_was_merged",
    shows={
        "one PMD in 4.5": Show(_PART, _V45, part_in_45, "B makes one small page read-only", detail=FULL),
        "one PMD in 6.18": Show(_PART, _V618, part_in_618, "B makes one small page read-only"),
        "a write in 4.5": Show(_WRITE, _V45, write_after_fork, "B writes"),
        "a write in 6.18": Show(_WRITE, _V618, write_after_fork, "B writes"),
        "the split in 4.5": Show(_ALONE, _V45, hidden_when, "A makes one page read-only", detail=FULL),
        "the split in 5.10": Show(_ALONE, Setup("v5.10"), hidden_when, "A makes one page read-only", detail=FULL),
        "the split in 6.1": Show(_ALONE, Setup("v6.1"), marked_exclusive, "A makes one page read-only", detail=FULL),
        "the split in 6.12": Show(_ALONE, Setup("v6.12"), counted_when, "A makes one page read-only", detail=FULL),
        "the split in 6.18": Show(_ALONE, _V618, locked_how_often, "A makes one page read-only", detail=FULL),
    },
    tasks=_TASKS,
    figures={
        "shared_v45": Figure(_PART, after("fork"), _V45),
        "part_v45": Figure(_PART, after("mprotect"), _V45, FULL),
        "shared_v618": Figure(_PART, after("fork"), _V618),
        "part_v618": Figure(_PART, after("mprotect"), _V618),
        "alone_v45": Figure(_ALONE, after("fill"), _V45, FULL),
        "alone_v510": Figure(_ALONE, after("fill"), Setup("v5.10"), FULL),
        "alone_v61": Figure(_ALONE, after("fill"), Setup("v6.1"), FULL),
        "alone_v612": Figure(_ALONE, after("fill"), Setup("v6.12"), FULL),
        "alone_v618": Figure(_ALONE, after("fill"), _V618, FULL),
    },
    families=(memory_in_two_kernels, raw_tail_mapcount, tail_mapcount, split_result, mapped_by_pmd),
    quiz_setup=_V618,
)
