"""Exercises to lesson 0, the whole story."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from thplab.learn.exercises.answers import LEDGER, Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, exercise
from thplab.learn.exercises.facts import F, W, count, done, need, need_events, need_one_page, unmapped, used
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Scenario


@exercise(
    "0.1", "Who holds it?", "apply", "ledger", 8,
    objective="trace each reference of a huge page to its holder",
    myth="one process, one reference",
)  # fmt: skip
def who_holds_it(draw: Draw) -> Answers:
    a, b, c = names = draw.processes(3)
    splits, pins = draw.pick("splits", names), draw.pick("pins", names)
    page, pinned = draw.some("pages", range(1, 8), 2)
    scenario = f"{W.format(a)}; fork {a} {b}; fork {a} {c}; mprotect {splits} {page} 1 r; pin {pins} {pinned} 1 dma"

    def cells() -> Mapping[str, Question]:
        state = record(scenario)[-1].state
        entries = {name: sum(m.count for m in state.mapped if m.process == name) for name in names}
        asked: dict[str, Question] = {}
        for name in names:
            slips: dict[int | str, str] = {}
            if name == splits:
                slips = {
                    1: f"{name} has PTEs now, one for each page; each present entry holds one reference.",
                    9: "The PMD's reference serves the first PTE, so it is none beside those of the PTEs.",
                }
            elif entries[name] == 1:
                slips = {8: f"{name} maps all 8 pages by a single entry, and an entry holds one reference."}
            what = f"How many references do the entries of {name} hold?"
            asked[name] = Question(scenario, Setup(), what, entries[name], slips=slips)
        asked["dma"] = Question(
            scenario, Setup(), "How many references does the driver hold?", len(state.pins["dma"].pages)
        )
        asked["tail"] = Question(
            scenario,
            Setup(),
            f"What is the _count of tail {pinned}, the page that the driver has pinned?",
            state.field("refcount", state.compound_pages()[0] + pinned),
            slips={1: "While the page is compound, references to a tail are on the head."},
        )
        asked["head"] = Question(
            scenario,
            Setup(),
            "What is the _count of the head?",
            count(state),
            slips={count(state) - 1: "The driver's reference is on the head, too."},
        )
        return asked

    return Answers(
        f"After {scenario}: how many references do the entries of {a}, of {b} and of {c} hold, and how many the driver? "
        f"And what is the _count of tail {pinned}, and that of the head? Six lines, named {a}, {b}, {c}, dma, tail, head.",
        cells,
        (
            "Each present entry of a page table holds one reference, whatever it maps, and so does each page of a pin.",
            "Lesson 0, where B splits one PMD: how many entries does B have then, and how many has A?",
            "Begin with the process that has done nothing to its mapping: it has one PMD.",
        ),
        shown=LEDGER,
    )


@exercise(
    "0.2", "Exactly so many", "apply", "reach", 8,
    objective="turn the equation round: find mappings that give a wanted reference count",
    myth="only splits and pins change the reference count",
)  # fmt: skip
def exactly(draw: Draw) -> Task:
    a, b, c = draw.processes(3)
    wanted = draw.between("count", 11, 16)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need_one_page(state)
        yield from need("the head's _count", count(state), wanted)
        if done(trace, "pin"):
            yield "a pin is a reference, but here mappings must explain all of them"
        yield from need_events(state, thp_split_pmd=2)

    def rules(trace: Trace) -> Iterator[str]:
        gone = unmapped(trace)
        found = count(trace[-1].state)
        if gone and found != wanted:
            yield f"a PTE that is unmapped gives one reference back, and you unmapped {gone}: so {found} are left"
        if trace[-1].state.vmstat["thp_split_pmd"] < 2:
            yield "a PMD holds one reference, and its 8 PTEs hold 8: so a split of one PMD adds 7"

    return Task(
        f"Write at most six operations with the processes {a}, {b} and {c}, after which the head of the only huge page "
        f"has _count {wanted}. Nobody may take a pin, and thp_split_pmd is 2.",
        missing,
        (
            "The reference count is the number of PMDs and PTEs that map the page, plus pins.",
            "Three processes, two of them with PTEs: how many entries are that, and how many are too many?",
            f"Begin with: {W.format(a)}; fork {a} {b}; fork {a} {c}. Two operations split, and one of them gives back.",
        ),
        budget=6,
        processes=(a, b, c),
        rules=rules,
    )


@exercise(
    "0.3", "The last one out", "analyse", "shortest", 6,
    objective="say what ends a reference",
    myth="an exit frees everything that a process had",
)  # fmt: skip
def last_one_out(draw: Draw) -> Task:
    a, b = draw.processes(2)
    page, how = draw.between("page", 1, 7), draw.pick("how", ("vmsplice", "raw"))
    start = f"{W.format(a)}; fork {a} {b}; pin {a} {page} 1 dma how={how}"
    steps = 2 if how == "vmsplice" else 3
    draw.values["steps"] = steps

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need("the number of huge pages", len(state.compound_pages()), 0)
        yield from need("the number of page frames in use, the page of zeros included,", used(trace)[-1], 1)

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if how == "raw" and "dma" in state.pins and not state.processes:
            yield f"no file holds a raw reference, so it outlives {a}: somebody has to give it back"
        for process in state.processes:
            yield f"{process.name} lives, and its entries hold references"

    return Task(
        f"This has happened: {start}. Bring the machine back to where it was empty, in {steps} more operations: no "
        "huge page, and 1 page frame in use (the page of zeros).",
        missing,
        (
            "Memory is free when its last reference goes. A reference goes with its entry, or with the pin.",
            "Who holds this pin: a pipe, which is a file of the process and closed with it, or nobody that ends?",
            "Begin with the exits. Then look at what is left in the picture.",
        ),
        start=start,
        budget=4 + steps,
        rules=rules,
    )


NOTHING, MAPPING, PAGE = "nothing", "a mapping", "the page"
BOXES = (NOTHING, MAPPING, PAGE)


@exercise(
    "0.4", "Three boxes", "recall", "predict", 7,
    objective="tell a split of a mapping from a split of the page",
    myth="any change of a part splits the page",
)  # fmt: skip
def three_boxes(draw: Draw) -> Answers:
    a, b = draw.processes(2)
    p, q, r = draw.some("pages", range(1, 7), 3)
    some = draw.between("some", 1, 2)
    pool = (
        f"read {a} {p}", f"read {b} {q}", f"mprotect {a} 0 1thp r", f"munmap {b} 0 1thp", f"mlock {a} 0 1thp",
        f"munmap {b} {p} {some}", f"mlock {a} {q} {some}", f"mprotect {b} {r} {some} r", f"mprotect {a} {p} 1 none",
        f"split {a} {q}", f"swap_out {b} {r}", f"madvise {a} {p} 1 hwpoison", f"migrate {b} {q}",
    )  # fmt: skip
    three = (*draw.some("nothing", pool[:5], 3), *draw.some("mapping", pool[5:9], 3), *draw.some("page", pool[9:], 3))
    cards = draw.some("cards", three, 9)

    def cells() -> Mapping[str, Question]:
        return {card: _boxed(f"{F.format(a)}; fork {a} {b}; {card}") for card in cards}

    return Answers(
        f"After {F.format(a)}; fork {a} {b}, one of these is done. What does each split: {NOTHING}, {MAPPING}, or "
        f"{PAGE}? Nine lines, in this order: {'; '.join(cards)}.",
        cells,
        (
            "A mapping is split where a border falls inside it. The page is split by those who want to take it apart.",
            "Lesson 3, section 5, has borders; lesson 7 has the callers who need small pages.",
            "Begin with the cards that speak of 1thp, or only read: there is no border inside.",
        ),
    )


def _boxed(scenario: str) -> Question:
    events = record(scenario)[-1].state.vmstat
    actual = PAGE if events["thp_split_page"] else MAPPING if events["thp_split_pmd"] else NOTHING
    op = Scenario.parse(scenario).ops[-1]
    slips: dict[int | str, str] = {}
    if actual == MAPPING:
        slips = {
            PAGE: "A border of a VMA cuts one mapping only.",
            NOTHING: "A border falls inside the huge page, and one PMD cannot say two things.",
        }
    if actual == NOTHING:
        alone = "Who only reads needs no other mapping." if op.op == "read" else "No border falls inside."
        slips = {MAPPING: alone, PAGE: alone}
    if actual == PAGE:
        slips = {
            MAPPING: "This one takes small pages away, so that one mapping is not enough.",
            NOTHING: "This one needs small pages.",
        }
    return Question(scenario, Setup(), "What does the last operation split?", actual, BOXES, slips=slips)


@exercise(
    "0.5", "Cards in order", "apply", "order", 8,
    objective="put causes in an order: what must come before the split, and what frees a frame",
    myth="the last unmap frees the frame",
)  # fmt: skip
def cards_in_order(draw: Draw) -> Task:
    a, b = draw.processes(2)
    pinned, gone = draw.some("pages", range(1, 8), 2)
    start = f"{F.format(a)}; fork {a} {b}"
    cards = draw.some(
        "cards",
        (f"pin {a} {pinned} 1 dma", f"munmap {a} {gone} 1", "unpin dma", f"split {a} 0", f"munmap {b} {gone} 1"),
        5,
    )

    def missing(trace: Trace) -> Iterator[str]:
        ops = trace.scenario.ops[3:]
        wanted = Scenario.parse("; ".join(cards)).ops
        if sorted(map(str, ops)) != sorted(map(str, wanted)):
            yield "after the beginning come the five cards, each once"
            return
        yield from need_events(trace[-1].state, thp_split_page=1, thp_split_page_failed=0)
        if ops[-1].op != "munmap":
            yield f"the last card must be a munmap; it is {ops[-1].op}"
        frames = used(trace)
        at = [number - 3 for number in range(4, len(frames)) if frames[number] < frames[number - 1]]
        if at != [5]:
            cards_at = ", ".join(map(str, at)) or "none"
            yield f"a frame must come free with card 5 and with no other; here it is with: {cards_at}"

    def rules(trace: Trace) -> Iterator[str]:
        order = [op.op for op in trace.scenario.ops[3:]]
        if sorted(order) != ["munmap", "munmap", "pin", "split", "unpin"]:
            return
        if order.index("pin") < order.index("split") < order.index("unpin"):
            yield "-EBUSY: a split is refused while there is a reference that no mapping explains"
        elif order.index("split") > max(n for n, op in enumerate(order) if op == "munmap"):
            yield "the frame came free in the split: while the page is compound it is freed as a whole"

    return Task(
        f"{start}, and then these five cards, each once, in the right order: {'; '.join(cards)}. The split must succeed "
        "at its only try, the last card is a munmap, and it alone gives a page frame back. Write the beginning and the "
        "cards.",
        missing,
        (
            "A split needs references that mappings explain. A small page is free when its last mapping goes.",
            "Which card stands in the way of the split, and which takes it away?",
            f"Begin with: {start}; pin {a} {pinned} 1 dma. The unpin has to come before the split.",
        ),
        start=start,
        budget=8,
        rules=rules,
    )


SET = ExerciseSet(
    "00_the_whole_story",
    "The whole story",
    "00_the_whole_story",
    "Five exercises on what the whole course is about: who holds a reference, and what must be gone before a page can be "
    "split or freed.",
    (who_holds_it, exactly, last_one_out, three_boxes, cards_in_order),
)
