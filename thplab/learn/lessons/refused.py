"""Lesson 5, when the split fails:
the equation, refusals early and late, the race that a naive split loses, and the freeze.
"""

from __future__ import annotations

from collections.abc import Iterator

from thplab.errors import EBUSY, errname
from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Lesson, Show
from thplab.learn.lessons.places import first_head, first_step, op_end, op_start, risen
from thplab.learn.lessons.questions import head_refcount, page_splits, pin_leaves, refused_splits, split_result
from thplab.learn.lessons.tasks import RaceTask, Task
from thplab.learn.widgets import Prediction
from thplab.machine.state import State
from thplab.machine.trace import Frame, Setup, Trace
from thplab.study.explore.race import Race

_THREE_ATTEMPTS = """
scenario three_attempts: one page, three times asked for the split
phase Two processes map the page
why A maps all of it by one PMD. B has made one small page read-only, so B maps it by PTEs.
mmap A
write A 0
fork A B
mprotect B 1/2thp 1 r
phase A driver pins a tail
why The driver takes a reference. Then somebody asks for the split of the page.
pin A 1/2thp 1 dma
split A 0
phase A part is unmapped
why B gives up the small page that the driver uses. The driver has pinned it through A. Then the split is asked for again.
munmap B 1/2thp 1
split A 0
phase The driver lets go
why Every reference is explained by a mapping now.
unpin dma
split A 0
"""
_FIRST, _UNMAP, _SECOND, _THIRD = 5, 6, 7, 9  # operations of _THREE_ATTEMPTS

_SHARED = """
scenario shared_and_split: two processes map a huge page by PMDs, and somebody asks for its split
phase Two processes map the page
mmap A
write A 0
fork A B
phase The page is to be split
split A 0
"""
_PIN = "pin A 1/2thp 1 dma"


def mappings(state: State, head: int) -> int:
    """All mappings of a compound page in the RFC's scheme: the left side of the equation."""
    return sum(state.field("mapcount", pfn) + 1 for pfn in range(head, head + state.geometry.nr))


def three_attempts(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the three attempts. The distractors are known misconceptions."""
    head, middle = first_head(trace), trace[0].state.geometry.nr // 2
    counted = first_step(trace, "split", "all mappings of the page")
    handed_out = first_step(trace, "split", "the compound page is no more")

    def difference(frame: Frame) -> int:
        return frame.state.field("refcount", head) - mappings(frame.state, head)

    return (
        Prediction(
            at=counted,
            question="The split adds up the mapcounts. By how much will the references, its own left out, exceed "
            "the sum?",
            answers=(0, 1, 2),
            actual=lambda frame: difference(frame) - 1,
            why="The sum is what it was before the pin: a pin is no mapping. The head's _count has risen by one.",
        ),
        Prediction(
            at=first_step(trace, "split", "references but our own"),
            of=op_end(trace, _FIRST),
            question="Now it compares the sum with the references. What does it return?",
            answers=("0", "-EBUSY"),
            actual=lambda frame: errname(frame.result or 0),
            why="The driver's reference belongs to no mapping. One too many is enough.",
        ),
        Prediction(
            at=op_start(trace, _UNMAP),
            of=op_end(trace, _UNMAP),
            question="B unmaps the pinned page. By how much will the head's _count exceed the sum of the "
            "mapcounts then?",
            answers=(0, 1, 2),
            actual=difference,
            why="A mapping and its reference go together. What is left over is the driver's reference.",
        ),
        Prediction(
            at=op_start(trace, _THIRD),
            of=op_end(trace, _THIRD),
            question="The pin is gone, so the split will go through. How many PMDs does it have to split first?",
            answers=(0, 1, 2),
            actual=lambda frame: risen(trace, _THIRD, "thp_split_pmd"),
            why="A still maps the page by a PMD. B's was split long ago.",
        ),
        Prediction(
            at=handed_out,
            of=op_end(trace, _THIRD),
            question=f"What will the _count of page {middle} be in the end?",
            actual=lambda frame: frame.state.field("refcount", head + middle),
            why="A's PTE is the only one that maps it: B has unmapped it.",
        ),
    )


def too_late(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the pin that comes between the two looks."""
    second = first_step(trace, "split", "references but our own", after=first_step(trace, "pin", "interrupts off"))
    end = op_end(trace, 3)
    return (
        Prediction(
            at=second,
            of=end,
            question="This is the second look. What will split_huge_page() return?",
            answers=("0", "-EBUSY"),
            actual=lambda frame: errname(frame.result or 0),
            why="The pin came after the first look and before the second.",
        ),
        Prediction(
            at=second,
            of=end,
            question="And how many PMDs will map the page when it has returned?",
            answers=(0, 1, 2),
            actual=lambda frame: sum(len(places) for places in frame.state.pmd_maps.values()),
            why="Both were split before the second look, and nobody puts them together again.",
        ),
    )


def frozen(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on the split of v4.5."""
    head = first_head(trace)
    check = first_step(trace, "split", "frozen: is our reference the only one")
    return (
        Prediction(
            at=first_step(trace, "split", "who maps the page?"),
            of=check,
            question="Two PMDs map the page, and nobody has pinned it. What will the head's _count be when all "
            "mappings are frozen?",
            actual=lambda frame: frame.state.field("refcount", head),
            why="A migration entry holds no reference. What is left is the reference of the one who splits.",
        ),
    )


def frozen_and_pinned(trace: Trace) -> tuple[Prediction, ...]:
    """The questions on a pin that comes before the freeze of v4.5, and after its first check."""
    head, middle = first_head(trace), trace[0].state.geometry.nr // 2
    check = first_step(trace, "split", "frozen: is our reference the only one")
    return (
        Prediction(
            at=first_step(trace, "split", "who maps the page?"),
            of=check,
            question=f"A driver has just pinned page {middle}. What will the head's _count be when all mappings "
            "are frozen?",
            actual=lambda frame: frame.state.field("refcount", head),
            why="The reference of the one who splits, and the driver's.",
        ),
        Prediction(
            at=check,
            of=op_end(trace, 3),
            question="So the split gives up and puts the mappings back. How many references will the head have when "
            "it has returned?",
            actual=lambda frame: frame.state.field("refcount", head),
            why="Both processes map the page by PTEs now, each of which holds a reference; and the driver's is "
            "still there.",
        ),
    )


# --- tasks ------------------------------------------------------------------------------------------------------------


def _attempts(trace: Trace) -> list[tuple[int, int]]:
    """For each operation `split`: by how much the references exceeded the mappings before it, and its result."""
    found = []
    for frame in trace:
        if frame.op is not None and frame.op.op == "split" and frame.result is not None:
            before = trace[op_start(trace, frame.op_index) - 1].state
            over = sum(before.field("refcount", head) - mappings(before, head) for head in before.compound_pages())
            found.append((over, frame.result))
    return found


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _two_one_none(trace: Trace) -> Iterator[str]:
    found = _attempts(trace)
    if len(found) != 3:
        yield f"the page must be asked for its split three times; it was asked {_times(len(found))}"
    for (over, result), (wanted, returned) in zip(found, ((2, -EBUSY), (1, -EBUSY), (0, 0)), strict=False):
        if (over, result) != (wanted, returned):
            yield (
                f"a split met an excess of {over} and returned {errname(result)}; wanted: an excess of {wanted} and "
                f"{errname(returned)}"
            )
    events = trace[-1].state.vmstat
    if events["thp_split_page_failed"] != 2:
        yield f"thp_split_page_failed must be 2 at the end; it is {events['thp_split_page_failed']}"


def _nothing_left(trace: Trace) -> Iterator[str]:
    events = trace[-1].state.vmstat
    for event, wanted in (("thp_split_page", 1), ("thp_split_page_failed", 0), ("thp_split_pmd", 2)):
        if events[event] != wanted:
            yield f"{event} must be {wanted} at the end; it is {events[event]}"
    ends = [frame for frame in trace if frame.op is not None and frame.op.op == "split" and frame.result == 0]
    for end in ends:
        before = trace[op_start(trace, end.op_index) - 1].state
        split = risen(trace, end.op_index, "thp_split_pmd")
        if split:
            yield f"the split of the page had to split {split} PMDs itself; none may be left for it"
        mappers = {m.process for m in before.mapped if before.head(m.pfn) in before.compound_pages()}
        if len(mappers) < 2:
            yield f"two processes must map the page when it is split; {len(mappers)} of them did"


def _late(race: Race) -> Iterator[str]:
    trace = race.trace
    for frame in trace:
        broken = race.broken(frame.number, trace)
        if broken:
            yield f"after step {frame.number} something is lost: {broken[0].problem}"
            return
    if not trace[-1].at_rest:
        yield "both CPUs must have ended"
    begun = next((f.number for f in trace if f.step and f.step.text.startswith("so far mappings of the page: 1")), None)
    pinned = next((f.number for f in trace if f.cpu == 1 and f.step and "_count += 1" in f.step.text), None)
    compared = next(
        (f.number for f in trace if f.step and f.step.text.startswith("references but our own")), len(trace)
    )
    if begun is None or pinned is None or not begun < pinned < compared:
        yield (
            "the driver must take its reference after the split has begun to count the mappings, and before it compares"
        )


_TASKS: dict[str, Task | RaceTask] = {
    "two, one, none": Task(
        "Have one huge page asked for its split three times. The first time two references too many stand against it, "
        "the second "
        "time one, the third time none, and then it is split.",
        _two_one_none,
        (
            "A reference is one too many if no mapping explains it. Each pin is one.",
            "Look at the three attempts above. What has to happen between two of them so that the sides come "
            "closer by one?",
            "Begin with: mmap A; write A 0; pin A 1 1 dma; pin A 2 1 gpu; split A 0. Then one driver after the other "
            "lets go.",
        ),
    ),
    "nothing left to split": Task(
        "Let two processes share a huge page, and have it split in such a way that split_huge_page() finds no PMD "
        "that it would have "
        "to split itself. At the end thp_split_page is 1, thp_split_page_failed 0 and thp_split_pmd 2.",
        _nothing_left,
        (
            "Only PMDs that are still huge are split by the split of the page.",
            "Lesson 3 names what makes a process split its own PMD. Both processes need a reason before the page "
            "is split.",
            "Begin with: mmap A; write A 0; fork A B; mprotect B 1 1 r. A needs a reason, too.",
        ),
    ),
    "late, and yet nothing lost": RaceTask(
        "Write a schedule of the race naive-split-and-pin that runs to its end and loses nothing, although the driver "
        "takes its reference "
        "only after the split has begun to count the mappings, and before it compares them with the references. The "
        "race stepper's line "
        "is such a schedule: play it there, and copy it.",
        _late,
        (
            "The naive split trusts its answer from the moment it has compared the two numbers. Until then it can "
            "still notice.",
            "The sum is read in four steps, the references in a fifth. Which of the two numbers does a pin change?",
            "Begin with: 0x5. Now the driver makes 6 steps; then let both go on to their ends, CPU 0 first.",
        ),
        "naive-split-and-pin",
    ),
}

_V45 = Setup("v4.5")
_TO_BE_SPLIT = "The page is to be split"

lesson = Lesson(
    "05_when_the_split_fails",
    shows={
        "three attempts": Show(_THREE_ATTEMPTS, questions=three_attempts, step="A driver pins a tail"),
        "a pin between the two looks": Show(
            _SHARED, Setup(), too_late, _TO_BE_SPLIT, ("split", "references but our own", _PIN)
        ),
        "three attempts at full size": Show(
            _THREE_ATTEMPTS, Setup(geometry="X86_64"), three_attempts, "A driver pins a tail"
        ),
        "frozen": Show(_SHARED, _V45, frozen, _TO_BE_SPLIT),
        "frozen and pinned": Show(
            _SHARED, _V45, frozen_and_pinned, _TO_BE_SPLIT, ("split", "does every reference but our own", _PIN)
        ),
    },
    tasks=_TASKS,
    figures={
        "before": Figure(_THREE_ATTEMPTS, after("mprotect")),
        "pinned": Figure(_THREE_ATTEMPTS, after("pin")),
        "shared": Figure(_SHARED, after("fork")),
        "full_size": Figure(_THREE_ATTEMPTS, after("mprotect"), Setup(geometry="X86_64")),
        "shared_v45": Figure(_SHARED, after("fork"), _V45),
    },
    families=(split_result, refused_splits, pin_leaves, page_splits, head_refcount),
)
