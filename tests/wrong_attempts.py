"""Wrong attempts by kind of exercise, each with its name and a part of what is said to it.

SILLY is tried on an exercise of each kind and each form of answer; NEAR are near misses at one exercise each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from solutions import bugs, counting, own_kernel, page_tables, races, real_numbers, refused, split_pmd, story
from solutions.merged import dear
from solutions.model import Text, Values

from thplab.learn.exercises.exercise import Work

SCENARIO, TWO, SCHEDULE, CELLS, LAW = "Task", "TwoScenarios", "RaceTask", "Answers", "Law"
"""Forms of answers, as the classes of work are called."""


@dataclass(frozen=True)
class Silly:
    """An attempt that makes no sense anywhere, and what is said to it in each form; where a form is left out, it is no silly one."""

    name: str
    answer: Callable[[Work], str]
    said: Mapping[str, str]


SILLY = (
    Silly(
        "empty",
        lambda work: " \n",
        {SCENARIO: "nothing is written yet; what is asked for is a scenario", TWO: "nothing is written yet", SCHEDULE: "what is asked for is a schedule", CELLS: "what is asked for is a value for each of", LAW: "the law is not written yet"},
    ),
    Silly(
        "prose",
        lambda work: "I think that both of them share the page.",
        {SCENARIO: "'I think that both of them share the page.' is no operation", TWO: "is no operation", SCHEDULE: "'I' is no part of one", CELLS: "I think that both of them share the page. is no", LAW: "compares nothing"},
    ),
    Silly(
        "another kind's answer, a schedule",
        lambda work: "0x10 1x6",
        {SCENARIO: "this is a schedule, and what is asked for is a scenario", TWO: "this is a schedule", CELLS: "0x10 1x6 is no", LAW: "'0x10 1x6' compares nothing"},
    ),
    Silly("another kind's answer, a scenario", lambda work: "mmap A; write A 0", {SCHEDULE: "'mmap' is no part of one", CELLS: "mmap A is no", LAW: "compares nothing"}),
    Silly(
        "another kind's answer, cells",
        lambda work: "first: 3\nlast: 5\ncount: 4",
        {SCENARIO: "'first: 3' is no operation", TWO: "'first: 3' is no operation", SCHEDULE: "'first:' is no part of one", CELLS: "there is no cell 'count'", LAW: "compares nothing"},
    ),
    Silly(
        "the question, pasted",
        lambda work: work.question,
        {SCENARIO: "the scenario cannot be read: line 1", TWO: "the scenario cannot be read: line 1", SCHEDULE: "is no part of one", CELLS: "", LAW: "the law has"},
    ),
    Silly(
        "10,000 characters",
        lambda work: "x" * 10_000,
        {SCENARIO: "xxx...' is no operation", TWO: "xxx...' is no operation", SCHEDULE: "xxx' is no part of one", CELLS: "xxx... is no", LAW: "the law has 10,000 characters; expected 300 at most"},
    ),
    Silly(
        "a thousand lines",
        lambda work: "read A 0\n" * 1000,
        {SCENARIO: "proc 'A' is not a living process", TWO: "proc 'A' is not a living process", SCHEDULE: "'read' is no part of one", CELLS: "1000 answers are too many for", LAW: "300 at most"},
    ),
    Silly("JSON", lambda work: '{"ops": []}', {SCENARIO: "is no operation", TWO: "is no operation", SCHEDULE: "is no part of one", CELLS: "there is no cell", LAW: "compares nothing"}),
)


@dataclass(frozen=True)
class Near:
    """An attempt that misses by a little: at which exercise, and what is said to it."""

    name: str
    id: str
    answer: Text
    said: str


def another_split(v: Values) -> str:
    """The table as if another one had split."""
    other = next(v[name] for name in "abc" if v[name] != v["splits"])
    return story.holders({**v, "splits": other})


def last_out(*end: str) -> Callable[[Values], str]:
    return lambda v: "; ".join(line.format_map(v) for line in ("mmap {a}; write {a} 0; fork {a} {b}; pin {a} {page} 1 dma how={how}", *end))


def cards(*order: str) -> Callable[[Values], str]:
    return lambda v: story.order(v, *order)


def convicted(v: Values) -> str:
    """What convicts another mutant."""
    names = ("fills_writable_ptes", "skips_the_check")
    return bugs.after(v, bugs.CONVICTS[names[v["mutant"] == names[0]]])


def after(ops: str) -> str:
    return "{W}; fork {a} {b}; " + ops


NEAR: Mapping[str, tuple[Near, ...]] = {
    "ledger": (
        Near("off by the pin", "0.1", lambda v: story.holders(v, head=10), "head: 10 is not it. The driver's reference is on the head, too"),
        Near("the wrong process has split", "0.1", another_split, "maps all 8 pages by a single entry"),
        Near("a tail with a reference", "0.1", lambda v: story.holders(v, tail=1), "tail: 1 is not it. While the page is compound"),
        Near("half of the table", "0.1", lambda v: "\n".join(story.holders(v).split("\n")[:3]), "no answer for: dma, tail, head"),
        Near("two answers for a cell", "0.1", "head: 10\nhead: 9", "head has two answers, 10 and 9; one is asked for"),
        Near("a number with its unit", "0.1", "head: 10 references", "head: 10 references is no whole number. What is the _count of the head?"),
        Near("a table too many", "1.1", lambda v: page_tables.tables(v, 4 + v["huge"] + v["small"], v["huge"], 3 + v["small"]), "the same PMD table"),
        Near("another kernel's offset", "4.1", lambda v: counting.coded(v, offset=-1), "adds one to every field"),
    ),
    "predict": (
        Near("every border splits the page", "0.4", lambda v: story.boxes(v, mapping="the page"), "A border of a VMA cuts one mapping only"),
        Near("a box that is not there", "0.4", lambda v: story.boxes(v, page="everything"), "everything is no answer here. One of these is wanted: nothing, a mapping, the page"),
        Near("the world before the RFC", "5.4", lambda v: refused.results(v, **{kernel.replace(".", "_"): "0" for kernel in v["kernels"]}), "A pin is a reference that no mapping explains"),
        Near("off by one, late", "R6", lambda v: "\n".join(str(races.MOMENTS[name] + 1) for name in v["pairs"]), "After that step no failing order is left"),
        Near("off by one, early", "R6", lambda v: "\n".join(str(races.MOMENTS[name] - 1) for name in v["pairs"]), "One step later some order still fails"),
        Near("the strongest for all", "R5", lambda v: races.least(v, "freeze"), "a weaker one does, too, and costs less"),
        Near("a PMD frozen as one entry", "5.6", lambda v: refused.frozen(v, v["mappers"], 0, 0), "A PMD is frozen as 8 PTEs"),
        Near("a line too many", "9.3", lambda v: own_kernel.dontneed(v) + "\n0", "answers are too many for"),
    ),
    "reach": (
        Near("off by one", "0.2", lambda v: "mmap {a}; write {a} 0; fork {a} {b}; fork {a} {c}; mprotect {b} 1 1 r; munmap {c} 0 ".format_map(v) + str(17 - v["count"] - (1 if v["count"] < 16 else -1)), "a PTE that is unmapped gives one reference back"),
        Near("a process of another seed", "0.2", "{W}; fork {a} X", "yours has X, too"),
        Near("right, and one operation too many", "0.2", lambda v: "mmap {a}; write {a} 0; read {a} 0; fork {a} {b}; fork {a} {c}; mprotect {b} 1 1 r; munmap {c} 0 ".format_map(v) + str(17 - v["count"]), "7 operations are too many: 6 are enough"),
        Near("a pin in the place of a mapping", "0.2", "{W}; fork {a} {b}; fork {a} {c}; mprotect {b} 1 1 r; pin {a} 1 1 dma", "mappings must explain all of them"),
        Near("the page is split, and not the mapping", "3.1", "{W}; split {a} 0", "nothing compound is left"),
        Near("a slip of the pen", "0.2", "mmap {a}; wriet {a} 0", "operation 'wriet' is unknown; expected write"),
        Near("an argument is missing", "3.1", "{W}; mprotect {a} 1 1", "mprotect"),
        Near("an operation that cannot be", "0.2", "{W}; munmap {b} 0 1", "the scenario stops at operation 3, munmap {b} 0 1, "),
    ),
    "shortest": (
        Near("one operation too many", "0.3", last_out("read {a} 0", "exit {a}", "exit {b}", "unpin dma"), "operations are too many"),
        Near("half of the way", "0.3", last_out("exit {a}"), "its entries hold references"),
        Near("without the beginning", "0.3", "exit {a}; exit {b}", "the scenario must begin with: mmap {a}"),
        Near("another page than drawn", "0.3", "{W}; fork {a} {b}; pin {a} 0 1 dma how={how}; exit {a}; exit {b}", "the scenario must begin with"),
        Near("a pin that is not there", "0.3", last_out("unpin gpu"), "the scenario stops"),
        Near("the pin does not stand in the way", "2.3", "{W}; pin {a} {page} 1 dma; split {a} 0", "a pin is carried along"),
        Near("the flag outlives the PTEs", "4.5", "{F}; fork {a} {b}; mprotect {b} {page} 1 r; munmap {b} 0 1thp", "until the last PMD goes"),
        Near("nothing left out", "M5", "{given}", "fails as well"),
    ),
    "order": (
        Near("the split before the unpin", "0.5", cards("pin", "mine", "split", "unpin", "yours"), "-EBUSY: a split is refused while"),
        Near("the split last", "0.5", cards("pin", "unpin", "mine", "yours", "split"), "the last card must be a munmap; it is split"),
        Near("a card left out", "0.5", cards("pin", "unpin", "split", "yours"), "the five cards, each once"),
        Near("a card twice", "0.5", cards("pin", "unpin", "split", "mine", "mine", "yours"), "9 operations are too many: 8 are enough, the start included"),
        Near("both unmaps before the split", "0.5", cards("pin", "mine", "yours", "unpin", "split"), "freed as a whole"),
        Near("the unpin first", "0.5", cards("unpin", "pin", "split", "mine", "yours"), "the scenario stops at operation 4, unpin dma, "),
        Near("the cards alone", "0.5", lambda v: "; ".join(v["cards"]), "the scenario must begin with: mmap {a}"),
        Near("the pin stays", "0.5", cards("unpin", "split", "mine", "yours", "pin"), "the scenario stops"),
    ),
    "find the bug": (
        Near("the mistake is never called", "M1", after("read {b} 0"), "the right kernel ends in the same state"),
        Near("what convicts another mutant", "M1", convicted, "no rule is broken: each state is one that may be"),
        Near("convicted with too many operations", "M1", lambda v: bugs.after(v, "read {a} 0; read {a} 0; read {a} 0; ".format_map(v) + bugs.CONVICTS[v["mutant"]]), "operations are too many"),
        Near("another process", "M1", "{W}; fork {a} X; split_pmd {a} 0", "yours has X, too"),
        Near("an operation that cannot be", "M1", "{W}; unpin dma", "the scenario stops at operation 3, unpin dma, "),
        Near("only a fork", "M4", "{W}; fork {a} {b}", "nothing was split or pinned"),
        Near("a whole huge page", "M4", "{W}; mlock {a} 0 1thp", "made no difference"),
        Near("the name of the mistake", "M1", "{mutant}", "is no operation"),
    ),
    "break it": (
        Near("the entry is as it was", "R3", "0x{steps} 1x8", "it was the same"),
        Near("the other CPU first", "R1", "0x10 1x6 0x11 1x6", "CPU 0 moves first"),
        Near("one step too many at first", "R1", lambda v: f"1x{v['steps'] + 1} 0x10", "must begin with exactly"),
        Near("the check has seen the pin", "R1", lambda v: "1x{steps} 0x4 1x".format_map(v) + f"{6 - v['steps']} 0x8 1x8", "its check has seen the pin"),
        Near("stops before anything is lost", "R1", "1x{steps} 0x4", "nothing is lost"),
        Near("a CPU that is not there", "R1", "1x{steps} 2x4", "schedule names CPU 2"),
        Near("behind the end", "R1", "1x{steps} 0x400", "which has ended"),
        Near("not to the end", "R2", "0x{steps} 1x6", "both CPUs must have ended"),
        Near("a step early", "5.1", lambda v: refused.rfc_window(v, early=-1), "the first check sees the pin"),
        Near("a step late", "5.1", lambda v: refused.rfc_window(v, late=1), "the pin waits"),
        Near("the test that notices", "M3", after("read {a} 0; munmap {b} 0 1; write {a} {page}"), "caught: "),
        Near("the test that is too easy", "M3", after("write {a} {page}; read {a} 1; write {b} 2; exit {b}"), "it is too easy; thp_split_pmd is 0"),
    ),
    "explain": (
        Near("fits, but lives", "N1", after("mprotect {b} 1 1 r; munmap {b} 0 1thp"), "the counters fit"),
        Near("the wrong process leaves", "N1", after("mprotect {b} 1 1 r; exit {a}"), "its compound_mapcount_raw would be -1 without it"),
        Near("one page in the place of all", "N1", after("mprotect {b} 1 1 r; munmap {b} 1 1"), "at the end ref must be 1; it is 512"),
        Near("an unmap in the place of a copy", "N2", "{F}; munmap {a} {page} 1", "who unmaps a page has less Rss"),
        Near("another kind of pin", "N4", "{W}; pin {a} {page} 1 p; fork {a} {b}", "pincount stays 0"),
        Near("the pin after the fork", "N4", after("pin {a} {page} 1 p how=io_uring"), "the other one keeps the huge page"),
        Near("the page of another seed", "N4", "mmap {a}; pin {a} 0 1 p how=io_uring; fork {a} {b}", "that was pinned"),
        Near("one scenario of two", "N5", "{W}; split {a} 0", "two scenarios are asked for, with a line --- between them; this is one"),
        Near("equal controls", "N5", lambda v: real_numbers.zeros(v, second=f"mmap {v['a']}; write {v['a']} 0 {v['touched']}; split {v['a']} 0"), "hold only zeros"),
    ),
    "measure": (
        Near("nothing is decided", "Z2", "{W}; read {a} 1", "never comes to where the two ways part"),
        Near("an operation more than is told apart", "Z2", lambda v: own_kernel.asks(v, "write {a} 5"), "must show the same until the last operation"),
        Near("the order of the other kernel", "3.3", lambda v: split_pmd.filled(v, split_pmd.EARLY if v["kernel"] == "v4.5" else split_pmd.LATE), "may cost"),
        Near("half of the state", "3.3", "{F}; fork {a} {b}", "the number of huge PMDs must be 0; it is 2"),
        Near("a page that is not filled", "3.3", lambda v: split_pmd.filled(v, split_pmd.EARLY).replace("fill", "write").replace("0 1thp", "0"), "must fill the page"),
        Near("the flag was never set", "8.4", lambda v: dear(v, cut=False), "PageDoubleMap was never set"),
        Near("the price of a split", "8.4", "{F}; fork {a} {b}; mprotect {b} 4 1 r", "the last operation must be"),
        Near("holes in the place of borders", "9.5", lambda v: own_kernel.two_exits(v, "hole", "undone"), "nothing may be unmapped"),
        Near("the same story twice", "9.5", lambda v: own_kernel.two_exits(v, "cut", "cut"), "it rises by 1 and 1"),
        Near("no split before the exit", "9.5", lambda v: own_kernel.two_exits(v, "", "cut"), "thp_split_pmd is 0"),
    ),
    "design": (
        Near("holes under a PMD forgotten", "M6", "if holes > 0 then queued == 1", "it is false in a right state: after mmap A; write A 0 there are pmds 1, ptes 0, holes 4"),
        Near("a law that is always true", "M6", "count >= pmds", "but it catches nothing"),
        Near("a condition that is never met", "M6", "if pins > 40 then count == 7", "but it catches nothing"),
        Near("off by one", "M6", "count == pmds + ptes + pins + 1", "it is false in a right state"),
        Near("a number that is not there", "M6", "count == pmds + references", "speaks of 'references'; expected pmds, ptes, holes"),
        Near("two laws in one", "M6", "pmds < count < 9", "compares more than two sums"),
        Near("an equation that is half there", "M6", "count ==", "is no sum"),
        Near("a program", "M6", "__import__('os').system('true') == 0", "is no sum"),
    ),
}
