"""Exercises to lesson 2, the old bargain. All are about Linux 3.16."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, exercise
from thplab.learn.exercises.facts import F, W, cost, ended, need, need_events, pfn_of
from thplab.learn.lessons.places import first_head, in_smaps
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Scenario

V316 = Setup("v3.16")


@exercise(
    "2.1", "Where pins go", "apply", "ledger", 8,
    objective="compute the counts of the small pages that a split of 3.16 leaves behind",
    myth="a split sheds the pins",
)  # fmt: skip
def where_pins_go(draw: Draw) -> Answers:
    a, b = draw.processes(2)
    twice, once = draw.pick("twice", range(1, 8)), draw.pick("once", (0, *range(1, 8)))
    cut = draw.between("cut", 1, 7)
    scenario = (
        f"{W.format(a)}; fork {a} {b}; pin {a} {twice} 1 d; pin {a} {twice} 1 e; pin {a} {once} 1 f; mprotect {b} {cut} 1 r"
    )

    def cells() -> Mapping[str, Question]:
        trace = record(scenario, V316)
        head, state = first_head(trace), trace[-1].state
        asked = {}
        for page in range(8):
            found = state.field("refcount", head + page)
            slips: dict[int | str, str] = {}
            if page == 0:
                slips[5] = "The tails' pins left the head with the split."
            elif found > 2:
                slips[2] = f"The split moves each pin of tail {page} to its page."
                slips[found - 1] = f"Every pin of tail {page} follows it."
            asked[str(page)] = Question(scenario, V316, f"What is the _count of page {page}?", found, slips=slips)
        return asked

    return Answers(
        f"{scenario}, on v3.16. What is the _count of each of the 8 pages at the end? Eight lines, page 0 first.",
        cells,
        (
            "After the split each page counts who maps it, and the pins that were taken through it.",
            "Lesson 2 has the two sums of the split: what a tail gets, and what the head gives away.",
            f"Begin with a page that nobody has pinned: {a} and {b} map it.",
        ),
    )


@exercise(
    "2.2", "Pins, not maps", "apply", "reach", 7,
    objective="tell pins from mappings in a count",
    myth="_count says how many map a page",
)  # fmt: skip
def pins_not_maps(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    page, wanted = draw.between("page", 1, 7), draw.between("count", 3, 5)

    def missing(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        yield from need("the number of compound pages", len(state.compound_pages()), 0)
        frames = [pfn_of(state, a, number) for number in range(8)]
        counts = [0 if pfn is None else state.field("refcount", pfn) for pfn in frames]
        want = [wanted if number == page else 1 for number in range(8)]
        if counts != want:
            yield f"the _count of pages 0 to 7 must be {want}; it is {counts}"
        pfn = frames[page]
        if pfn is not None:
            yield from need(f"the mapcount of page {page}", state.field("mapcount", pfn) + 1, 1)

    def rules(trace: Trace) -> Iterator[str]:
        state = trace[-1].state
        if len(state.processes) > 1:
            yield "a process more maps every page once more: then all counts rise, and the mapcounts with them"
        if state.compound_pages() and state.pins:
            yield "while the page is compound a tail's own _count is 0: its references are on the head"

    return Task(
        f"v3.16. {a} has had a huge page, and it was split. Page {page} has _count {wanted} and mapcount 1 at the end, and all "
        "other pages have _count 1.",
        missing,
        (
            "A count is mappings plus pins. On 3.16 the split gives each page its own pins.",
            f"{wanted} is one mapping and {wanted - 1} pins. What makes 3.16 split the page?",
            f"Begin with: {W.format(a)}; pin {a} {page} 1 d. Each pin needs a name of its own.",
        ),
        V316,
        processes=(a,),
        rules=rules,
    )


@exercise(
    "2.3", "The broken promise", "analyse", "shortest", 8,
    objective="find the one case in which the split of 3.16 does not split",
    myth="3.16 never refuses a split",
)  # fmt: skip
def broken_promise(draw: Draw) -> Task:
    (a,) = draw.processes(1)
    page = draw.between("page", 1, 7)

    def missing(trace: Trace) -> Iterator[str]:
        state, ends = trace[-1].state, ended(trace)
        last = ends[-1] if ends else None
        if last is None or last.op is None or last.op.op != "split":
            yield "the last operation must be a split"
            return
        yield from need("what the split returns", last.result, 1)
        yield from need_events(state, thp_split=0)
        held = {pfn for pin in state.pins.values() for pfn in pin.pages}
        if not any(head + page in held for head in state.compound_pages()):
            yield f"a driver must hold page {page} of the huge page"

    def rules(trace: Trace) -> Iterator[str]:
        if ended(trace) and ended(trace)[-1].result == 0 and trace[-1].state.vmstat.get("thp_split"):
            yield "a pin is carried along with its page; that nobody maps the page is another matter"

    return Task(
        f"v3.16. A split of a huge page returns 1, which says that it was not split, and thp_split stays 0. A driver holds page "
        f"{page}. The process is {a}; at most five operations.",
        missing,
        (
            "The split of 3.16 finds all mappings by way of the page's reverse map, and needs at least one.",
            "How can a huge page be alive when nobody maps it? And who can still name it then?",
            f"Begin with: {W.format(a)}; pin {a} {page} 1 dma how=raw. A split may be asked for by way of a pin: split {a} pin=dma.",
        ),
        V316,
        processes=(a,),
        budget=5,
        rules=rules,
    )


@exercise(
    "2.4", "The bill", "analyse", "predict", 9,
    objective="price a reference to a tail",
    myth="a tail costs what a head costs",
)  # fmt: skip
def the_bill(draw: Draw) -> Answers:
    (a,) = draw.processes(1)
    start, k = draw.pick("start", (0, 4, 9, 100)), draw.between("k", 2, 6)
    scenario = f"{F.format(a)}; pin {a} {start} {k} d; unpin d"
    pinned = scenario.rpartition("; ")[0]

    def cells() -> Mapping[str, Question]:
        asked: dict[str, Question] = {}
        for kernel in ("v3.16", "v4.5"):
            setup = Setup(kernel, "X86_64")
            trace = record(scenario, setup)
            pin, unpin = cost(trace, -2), cost(trace)
            old = kernel == "v3.16"
            more: dict[int | str, str] = {2 * k: "GUP-fast adds to the head once, for all pages."} if 2 * k != pin else {}
            each: dict[int | str, str] = {k: "Each tail takes six: a guard, its end, the pin, the reference, a lock bit twice."}
            asked[f"{kernel} pin"] = Question(pinned, setup, "What does the pin cost?", pin, slips=more)
            asked[f"{kernel} unpin"] = Question(
                scenario, setup, "What does the unpin cost?", unpin, slips=each if old else {}
            )
        return asked

    return Answers(
        f"{scenario}, at full size. How many atomic operations (rmw and bit_rmw) do the pin and the unpin cost on v3.16, and on "
        "v4.5? Four lines: pin, unpin on v3.16; pin, unpin on v4.5.",
        cells,
        (
            "On 3.16 a tail counts its pins itself, and put_page of a tail has to be sure that it still is one.",
            "Lesson 2 has the steps of put_page of a tail. Which of them change something that others may change, too?",
            f"Begin with the pin: one addition to the head for all {k} pages; and is page {start} a tail?",
        ),
    )


@exercise(
    "2.5", "Innocent calls", "analyse", "predict", 8,
    objective="say who breaks whose huge page in 3.16",
    myth="calls about whole huge pages split them, too",
)  # fmt: skip
def innocent_calls(draw: Draw) -> Answers:
    a, b = draw.processes(2)
    p, q = draw.some("pages", range(1, 7), 2)
    breaks = (
        f"mlock {a} {p} 1", f"clear_refs {a} 1", f"madvise {a} {q} 1 dontfork", f"swap_out {a} 0", f"migrate {a} 0",
        f"mprotect {a} {p} 1 r", f"munmap {a} {q} 1",
    )  # fmt: skip
    leaves = (
        f"mprotect {a} 0 1thp r", f"mlock {a} 0 1thp", f"mremap {a} 0 1thp S 0", f"pin {a} {p} 1 x", f"read {a} {q}",
        f"munmap {a} 0 1thp",
    )  # fmt: skip
    cards = draw.some("cards", (*draw.some("breaks", breaks, 3), *draw.some("leaves", leaves, 3)), 6)
    start = f"{F.format(a)}; mmap {a} region=S; fork {a} {b}"

    def cells() -> Mapping[str, Question]:
        return {card: _broken(f"{start}; {card}", b) for card in cards}

    return Answers(
        f"v3.16. After {start}, one of these is done by {a}. Does {b}, who does nothing, lose its huge page (yes or no)? Six "
        f"lines, in this order: {'; '.join(cards)}.",
        cells,
        (
            "In 3.16 a mapping cannot be split alone: whoever needs PTEs splits the page, for everybody.",
            "Which of the cards need PTEs? A border inside is one reason; a routine that only knows PTEs is another.",
            "Begin with those that speak of 1thp: they take the PMD as it is.",
        ),
    )


def _broken(scenario: str, other: str) -> Question:
    actual = "no" if in_smaps(record(scenario, V316)[-1].state, other, "AnonHugePages") else "yes"
    op = Scenario.parse(scenario).ops[-1].op
    if actual == "no":
        said = "No border falls inside." if op in ("mprotect", "mlock", "mremap", "munmap") else "It needs no PTEs."
    elif op == "clear_refs":
        said = "It walks PTEs, so 3.16 splits first."
    elif op in ("swap_out", "migrate"):
        said = "It takes small pages away, and 3.16 splits the page for all who map it."
    else:
        said = "A border falls inside, and a split of the page is the only one there is."
    return Question(
        scenario,
        V316,
        f"Does {other} lose its huge page?",
        actual,
        ("yes", "no"),
        slips={"yes" if actual == "no" else "no": said},
    )


SET = ExerciseSet(
    "02_the_old_bargain",
    "The old bargain",
    "02_the_old_bargain",
    "Five exercises on Linux 3.16: what its split gives to whom, what it costs, and whom it surprises.",
    (where_pins_go, pins_not_maps, broken_promise, the_bill, innocent_calls),
)

