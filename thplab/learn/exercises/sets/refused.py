"""Exercises to lesson 5, when the split fails."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import cache

from thplab.errors import errname
from thplab.kernel.kernels import KERNELS
from thplab.learn.exercises.answers import STEPPER, Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, exercise
from thplab.learn.exercises.facts import F, done, ended, need, need_events, pages, pmds
from thplab.learn.lessons.places import first_head, first_step, op_end, op_start
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Setup, Trace, record
from thplab.study.observe import kpagecount


def _shared(names: tuple[str, ...]) -> str:
    first, *others = names
    return "; ".join([F.format(first), *(f"fork {first} {other}" for other in others)])


@cache
def _window(kernel: str, scenario: str, pin: str) -> tuple[int, int]:
    """The first and the last step of the last operation after which the pin makes the split fail and no PMD is left.

    Tried, at the borders: what is seen early leaves the PMDs, and what comes too late does not make it fail.
    """
    trace = record(scenario, Setup(kernel))

    def result(number: int) -> tuple[bool, bool]:
        """Does a pin after this step make the split fail, and does it leave PMDs?"""
        trace.seek(number)
        branch = trace.fork(pin)
        return not branch.problem and (branch[-1].result or 0) < 0, bool(pmds(branch[-1].state))

    steps = range(op_start(trace, len(trace.scenario.ops) - 1), len(trace) - 1)
    first = bisect_left(steps, True, key=lambda number: not all(result(number)))
    after = bisect_left(steps, True, lo=first, key=lambda number: not result(number)[0])
    return steps[first], steps[after - 1]


@exercise(
    "5.1", "The window", "analyse", "break it", 12,
    objective="tell an early refusal of a split from a late one",
    myth="a split that is refused changes nothing",
)  # fmt: skip
def window(draw: Draw) -> Answers:
    names = draw.processes(3)[: draw.between("mappers", 1, 3)]
    reads = draw.between("reads", 0, 5)
    scenario = "; ".join([_shared(names), *[f"read {names[0]} 0"] * reads, f"split {names[0]} 0"])
    pin = f"pin {names[0]} 4 1 dma"

    def cells() -> Mapping[str, Question]:
        # What the processes are called makes no difference to the steps.
        plain = _shared(("A", "B", "C")[: len(names)]), *["read A 0"] * reads, "split A 0"
        first, last = _window("rfc-2014", "; ".join(plain), "pin A 4 1 dma")
        early = "Then the first check sees the pin, and no PMD is split."
        late = "compound_lock is held by then: the pin waits, and the split succeeds."
        return {
            "first": Question(
                scenario, Setup(), "After which step, at the earliest?", first,
                slips=dict.fromkeys(range(max(0, first - 8), first), early),
            ),
            "last": Question(
                scenario, Setup(), "After which step, at the latest?", last,
                slips=dict.fromkeys(range(last + 1, last + 9), late),
            ),
        }  # fmt: skip

    return Answers(
        f"{scenario}, on rfc-2014. Another CPU carries out {pin} right after one of the steps of the split (as the stepper "
        "numbers them). After which step, at the earliest, does the split return -EBUSY and leave no PMD over the page? After "
        "which, at the latest? Two lines: first, last.",
        cells,
        (
            "The split looks at the references twice: before it splits the PMDs, and before it hands the references out.",
            "Before the first look a pin is seen early. From when on can no pin come at all? Look for the lock that GUP "
            "needs, too.",
            "Begin with the two steps that compare references with mappings.",
        ),
        shown=STEPPER,
    )


@exercise(
    "5.2", "It narrows", "analyse", "predict", 10,
    objective="say what freezing the mappings buys",
    myth="today no pin comes in between any more",
)  # fmt: skip
def narrows(draw: Draw) -> Answers:
    names = draw.processes(2)
    kernel = draw.pick("kernel", ("v4.5", "v5.10", "v6.18"))
    reads = draw.between("reads", 0, 5)
    scenario = "; ".join([_shared(names), *[f"read {names[0]} 0"] * reads, f"split {names[0]} 0"])

    def cells() -> Mapping[str, Question]:
        plain = "; ".join([_shared(("A", "B")), *["read A 0"] * reads, "split A 0"])
        first, last = _window(kernel, plain, "pin A 4 1 dma")
        trace = record(scenario, Setup(kernel))
        ends = trace[last + 1].step
        assert ends is not None
        here = [f.step.text for f in trace.frames[op_start(trace, len(trace.scenario.ops) - 1) :] if f.step is not None]
        others = [text for text in here if "flush" in text or "does every reference" in text or "is the PMD still" in text]
        choices = tuple(dict.fromkeys((*others, ends.text)))[-4:]
        early = "Then the first check sees the pin, and nothing is frozen yet."
        late = "GUP finds no entry that is present once it is frozen, and waits."
        slips: dict[int | str, str] = {choice: "A pin may still come after that." for choice in choices if choice != ends.text}
        return {
            "first": Question(
                scenario, Setup(kernel), "After which step, at the earliest?", first,
                slips=dict.fromkeys(range(max(0, first - 8), first), early),
            ),
            "last": Question(
                scenario, Setup(kernel), "After which step, at the latest?", last,
                slips=dict.fromkeys(range(last + 1, last + 30), late),
            ),
            "ends": Question(scenario, Setup(kernel), "Which step ends it?", ends.text, choices, slips=slips),
        }  # fmt: skip

    return Answers(
        f"{scenario}, on {kernel}. Another CPU carries out pin {names[0]} 4 1 dma right after one of the steps of the split. "
        "After which step, at the earliest, does the split fail and leave no PMD over the page, and after which at the latest? "
        "And what is the text of the step that ends this window? Three lines: first, last, ends.",
        cells,
        (
            "A migration entry is not present, so GUP cannot get at the page through it.",
            f"Which PMD does the pin go through, that of {names[0]}, or the other one? When is it taken away?",
            "Begin with the first check of the references. The window opens behind it.",
        ),
        shown=STEPPER,
    )


@exercise(
    "5.3", "No driver in sight", "analyse", "reach", 12,
    objective="find who else holds references to a page",
    myth="a refused split means that a driver has a pin",
)  # fmt: skip
def no_driver(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    bad, pinned = draw.some("pages", range(1, 8), 2)

    def missing(trace: Trace) -> Iterator[str]:
        state, ends = trace[-1].state, ended(trace)
        if not done(trace, "split") or ends[-1].op is None or ends[-1].op.op != "split":
            yield "the last operation must ask for the split of the page"
            return
        found = errname(ends[-1].result or 0)
        yield from need("what the last split returns", found, "-EBUSY")
        if state.pins:
            yield f"no driver may hold a pin at the end; {', '.join(state.pins)} is held"
        heads = state.compound_pages()
        if not heads or heads[0] + bad not in state.poisoned:
            yield f"page {bad} of the huge page must be known to be bad memory (hwpoison)"

    def rules(trace: Trace) -> Iterator[str]:
        state, ends = trace[-1].state, ended(trace)
        if not done(trace, "madvise") and ends and ends[-1].result == 0:
            yield "mappings explain all references, so the split succeeds"
        if done(trace, "madvise") and not done(trace, "pin"):
            yield "without a pin memory failure splits the page, and takes the bad page alone away"
        if state.pins:
            yield "as long as a driver is there, nobody knows whether it is the reason"

    return Task(
        f"{a} has one huge page. Page {bad} of it turns out to be bad memory. The last operation asks for the split and gets "
        "-EBUSY, although no driver holds a pin any more. At most six operations.",
        missing,
        (
            "Whoever must not lose a page holds a reference to it. Drivers are not the only ones.",
            "Memory failure keeps a reference on a bad page. When it can, it splits the page first; so it must be kept from it.",
            f"Begin with: {F.format(a)}; pin {a} {pinned} 1 dma. Now the memory goes bad.",
        ),
        processes=(a,),
        budget=6,
        rules=rules,
    )


RESULTS = ("0", "-EBUSY", "-EAGAIN")


@exercise(
    "5.4", "Six answers", "recall", "predict", 6,
    objective="know what a split of a pinned page returns in each kernel",
    myth="it has always been -EBUSY",
)  # fmt: skip
def six_answers(draw: Draw) -> Answers:
    (a,) = draw.processes(1)
    page = draw.between("page", 1, 7)
    order = draw.some("kernels", tuple(KERNELS), 6)
    scenario = f"{F.format(a)}; pin {a} {page} 1 dma; split {a} 0"

    def cells() -> Mapping[str, Question]:
        asked = {}
        for kernel in order:
            actual = errname(record(scenario, Setup(kernel))[-1].result or 0)
            slips: dict[int | str, str] = {}
            if kernel == "v3.16":
                slips = dict.fromkeys(RESULTS[1:], "It knows which tail was pinned, and moves the pin to its page.")
            else:
                slips = {"0": "A pin is a reference that no mapping explains."}
                other = next(result for result in RESULTS[1:] if result != actual)
                slips[other] = "It is refused, but with another number: 6.1 has changed it to the one that says 'try again'."
            asked[kernel] = Question(scenario, Setup(kernel), "What does the split return?", actual, RESULTS, slips=slips)
        return asked

    return Answers(
        f"{scenario}. What does the split return on {', '.join(order)}? Six lines, in this order: 0, -EBUSY or -EAGAIN.",
        cells,
        (
            "Since the RFC a reference that no mapping explains stops the split. Before, tails knew their pins.",
            "Lesson 5 has the RFC and 4.5. What does 'busy' say to a caller that 'try again' does not?",
            "Begin with the one kernel that can split a pinned page.",
        ),
    )


@exercise(
    "5.5", "Make room", "analyse", "shortest", 10,
    objective="end pins without unpin",
    myth="who unmaps a pinned page drops its pin",
)  # fmt: skip
def make_room(draw: Draw) -> Task:
    names = draw.processes(3)
    a, b, c = names
    first, second, _ = draw.some("pinners", names, 3)
    p, q = draw.some("pages", range(1, 8), 2)
    start = f"{F.format(a)}; fork {a} {b}; fork {a} {c}; pin {first} {p} 1 dma; pin {second} {q} 1 gpu"

    def missing(trace: Trace) -> Iterator[str]:
        yield from need("the number of operations split", len(done(trace, "split")), 1)
        if done(trace, "unpin"):
            yield "nobody may give a pin back by unpin"
        yield from need_events(trace[-1].state, thp_split_page=1, thp_split_page_failed=0)

    def rules(trace: Trace) -> Iterator[str]:
        held = trace[-1].state.pins
        if done(trace, "munmap") and held:
            yield "with a mapping its reference goes, and the pins stay as they are"
        elif held and done(trace, "exit"):
            yield f"one reference too many: {', '.join(held)} is still held"

    return Task(
        f"This has happened: {start}. Have the page split at its first try, three operations later, without any unpin.",
        missing,
        (
            "A pin by vmsplice is held by a pipe, and a pipe is closed with its process.",
            f"Which of {a}, {b} and {c} have pinned something? Who is left to be asked for the split?",
            "Begin with the end of one of those who hold a pin.",
        ),
        start=start,
        budget=9,
        rules=rules,
    )


@exercise(
    "5.6", "A shadow in smaps", "analyse", "predict", 8,
    objective="say what freezing looks like from outside",
    myth="pages that are frozen are still mapped",
)  # fmt: skip
def shadow(draw: Draw) -> Answers:
    names = draw.processes(3)[: draw.between("mappers", 1, 3)]
    page, who = draw.between("page", 1, 7), draw.pick("who", names)
    cuts = draw.between("cut", 0, 4)
    first = names[0]
    scenario = _shared(names) + (f"; munmap {first} {8 - cuts} {cuts}" if cuts else "") + f"; split {names[-1]} 0"

    def cells() -> Mapping[str, Question]:
        setup = Setup("v4.5")
        trace = record(scenario, setup)
        state = trace[first_step(trace, "split", "frozen: is our reference the only one")].state
        entries = sum(m.count for m in state.mapped if m.kind == "migration")
        before = trace[op_end(trace, len(trace.scenario.ops) - 2)].state
        counted = kpagecount(before, first_head(trace) + page)
        slips: dict[int | str, str] = {len(names): "A PMD is frozen as 8 PTEs, for each process."}
        return {
            "entries": Question(scenario, setup, "How many migration entries are there?", entries, slips=slips),
            "Rss": Question(
                scenario, setup, f"What is the Rss of {who}, in pages?", pages(state, who),
                slips={pages(before, who): "A migration entry is not present, so it is not resident."},
            ),
            "kpagecount": Question(
                scenario, setup, f"What does kpagecount show for subpage {page}?", kpagecount(state, first_head(trace) + page),
                slips={counted: "Mappings are taken away while they are frozen."} if counted else {},
            ),
        }  # fmt: skip

    return Answers(
        f"{scenario}, on v4.5, at the step of the split that begins with 'frozen:'. How many migration entries are there in all "
        f"page tables? What is the Rss of {who} in pages? What does kpagecount show for subpage {page}? Three lines: entries, "
        "Rss, kpagecount.",
        cells,
        (
            "To freeze a mapping is to put a migration entry in its place, which is not present and counts nowhere.",
            "How many small pages does each process still map before the split? Each of them gets an entry of its own.",
            "Begin with the entries: a PMD becomes 8 of them.",
        ),
        shown=STEPPER,
    )


SET = ExerciseSet(
    "05_when_the_split_fails",
    "When the split fails",
    "05_when_the_split_fails",
    "Six exercises on references that no mapping explains: when a pin comes too early or too late, who else holds one, and "
    "what the kernels answer.",
    (window, narrows, no_driver, six_answers, make_room, shadow),
)
