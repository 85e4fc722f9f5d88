"""Exercises across the lessons: kernels that are wrong in one way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache

from thplab.kernel.mutants import MUTANTS
from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, exercise
from thplab.learn.exercises.facts import W, count, done, head_of, raw, used
from thplab.learn.exercises.laws import NAMES, OPERATIONS, START, Law
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Scenario
from thplab.study.invariants import Violation, check_frame
from thplab.study.observe import smaps

SHORTEST = {
    "fills_writable_ptes": 4,
    "skips_the_check": 4,
    "splits_the_first_pmd_only": 4,
    "splits_every_pmd": 4,
    "frees_what_nobody_maps": 4,
    "grants_what_the_vma_grants": 5,
    "keeps_the_copied_mapping": 5,
    "posted_pte_reuse": 5,
}
"""How many operations are enough to convict a mutant."""


def broken(trace: Trace) -> Violation | None:
    """The first invariant that a trace breaks."""
    found = (v for f in trace for v in check_frame(f, trace[f.number - 1] if f.number else None))
    return next(found, None)


def right(trace: Trace) -> Trace:
    """The same operations on the kernel without the mistake."""
    return record(trace.scenario, replace(trace.setup, mutant=""))


def as_right(trace: Trace) -> bool:
    """Do both end in the same state?"""
    other = right(trace)
    return not other.problem and other[-1].state.exact == trace[-1].state.exact


@exercise(
    "M1", "Convict", "apply", "find the bug", 10,
    objective="find the smallest evidence for a bug that is told in words",
    myth="a bug shows wherever one looks",
)  # fmt: skip
def convict(draw: Draw) -> Task:
    a, b = draw.processes(2)
    mutant = draw.pick("mutant", tuple(SHORTEST))

    def missing(trace: Trace) -> Iterator[str]:
        if broken(trace) is None:
            yield "no rule is broken: each state is one that may be"
        wrong = broken(right(trace))
        if wrong is not None:
            yield f"the right kernel breaks a rule as well: {wrong.problem}"

    def rules(trace: Trace) -> Iterator[str]:
        if as_right(trace):
            yield "the right kernel ends in the same state: what is wrong was never called, or made no difference"
        else:
            yield "the state is not that of the right kernel any more, but nothing that must hold is broken yet"

    return Task(
        f"This kernel is wrong in one way: {MUTANTS[mutant].about}. Convict it with the processes {a} and {b}: at most "
        f"{SHORTEST[mutant]} operations, after which one of the invariants does not hold.",
        missing,
        (
            "An invariant compares a counter, or a right, with what the page tables say. Which one must the mistake break?",
            "Which operation calls the routine that is wrong, and what must be there already so that it makes a difference?",
            f"Begin with: {W.format(a)}. Then make the situation in which the mistake matters.",
        ),
        Setup(mutant=mutant),
        budget=SHORTEST[mutant],
        processes=(a, b),
        rules=rules,
    )


SUSPECTS = (
    "forgets_the_tails",
    "moves_the_head",
    "forgets_the_references",
    "splits_every_pmd",
    "allocates_a_table",
)
Evidence = Mapping[str, int]


@cache
def _evidence(mappers: int, splits: int, mutant: str) -> Evidence:
    """Numbers that tell the suspects apart, after one of those who map a huge page has split its PMD.

    What the processes are called makes no difference.
    """
    forks = "".join(f"; fork A {name}" for name in "BC"[: mappers - 1])
    state = record(f"{W.format('A')}{forks}; split_pmd {'ABC'[splits]} 0", Setup(mutant=mutant))[-1].state
    return {
        "the head's _count": count(state),
        "the head's _mapcount, as stored,": raw(state, 0),
        "each tail's _mapcount, as stored,": raw(state, 1),
        "the number of huge PMDs": len(state.pmd_maps.get(head_of(state), ())),
        "the number of deposited tables": sum(len(names) for p in state.processes for _, names in p.deposited),
    }


@exercise(
    "M2", "Three suspects", "analyse", "predict", 12,
    objective="read from numbers which routine is wrong",
    myth="a wrong sum tells where the mistake is",
)  # fmt: skip
def suspects(draw: Draw) -> Answers:
    names = draw.processes(3)[: draw.between("mappers", 2, 3)]
    who = draw.pick("who", names)
    three = draw.some("suspects", SUSPECTS, 3)
    scenario = "; ".join([W.format(names[0]), *(f"fork {names[0]} {name}" for name in names[1:]), f"split_pmd {who} 0"])

    def seen(mutant: str) -> Evidence:
        return _evidence(len(names), names.index(who), mutant)

    def cells() -> Mapping[str, Question]:
        asked = {}
        for number, culprit in enumerate(three, start=1):
            here = seen(culprit)
            slips: dict[int | str, str] = {}
            for other in SUSPECTS:
                if other != culprit:
                    there = seen(other)
                    what = next(name for name in here if here[name] != there[name])
                    slips[other] = f"With that mistake {what} would be {there[what]}; here it is {here[what]}."
            asked[str(number)] = Question(
                scenario,
                Setup(),
                f"Kernel {number}: {_told(here)}. What is wrong with it?",
                culprit,
                SUSPECTS,
                "The state that is shown is that of the right kernel.",
                slips,
            )
        return asked

    told = "; ".join(f"{name}: {MUTANTS[name].about}" for name in SUSPECTS)
    shown = ". ".join(f"Kernel {number}: {_told(seen(culprit))}" for number, culprit in enumerate(three, start=1))
    return Answers(
        f"Three kernels, each wrong in one way, have carried out {scenario}. {shown}. Which mistake has which? The suspects are: "
        f"{told}. Three lines: the names, for kernels 1, 2 and 3.",
        cells,
        (
            "A split of one PMD adds 7 to the head's count and 1 to each tail's _mapcount, leaves the head's _mapcount, and "
            "takes one deposited table.",
            "Compute what the right kernel has, line by line, and see which number is off.",
            "Begin with the numbers that are right: who gets those right is no suspect.",
        ),
    )


def _told(numbers: Evidence) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items()).replace(",,", ",")


@exercise(
    "M3", "Alibi", "create", "break it", 12,
    objective="write a long test that misses a bug",
    myth="a long test is a good test",
)  # fmt: skip
def alibi(draw: Draw) -> Task:
    a, b = draw.processes(2)
    page = draw.between("page", 1, 7)

    def missing(trace: Trace) -> Iterator[str]:
        ops = trace.scenario.ops
        if len(ops) < 6:
            yield f"at least six operations; there are {len(ops)}"
        if not done(trace, "fork"):
            yield "there must be a fork"
        if not trace[-1].state.vmstat["thp_split_pmd"]:
            yield "a PMD must be split, or it is too easy; thp_split_pmd is 0"
        shared = [frame for frame in trace if frame.result is not None and frame.op is not None and frame.op.op == "write"]
        before = [trace.end_of(frame.op_index).state for frame in shared]
        heads = [
            state for state, frame in zip(before, shared, strict=True)
            if frame.op is not None and frame.op.resolve(8)["start"] == page
            and len({m.process for m in state.mapped if state.head(m.pfn) in state.compound_pages()}) > 1
        ]  # fmt: skip
        if not heads:
            yield f"page {page} must be written to while two processes map the huge page"
        wrong = broken(trace)
        if wrong is not None:
            yield f"caught: {wrong.problem}"
        elif not as_right(trace):
            yield "the state at the end is not the one that the right kernel has: a sharp eye would see it"

    def rules(trace: Trace) -> Iterator[str]:
        if broken(trace) is not None:
            yield "the head's map count is 1 when nobody but the writer maps page 0; other pages may be shared all the same"

    return Task(
        f"This kernel is wrong in one way: {MUTANTS['posted_pmd_reuse'].about}. Write a test of at least six operations that does "
        f"not notice: with a fork of {a} and {b}, a PMD split, and a write to page {page} of a huge page that two processes map; and "
        "yet no rule is broken, and at the end all is as with the right kernel.",
        missing,
        (
            "The mistake shows only if a huge PMD is written through while the head's map count is 1 and a tail is shared.",
            "When is the head's map count 1 although somebody else maps a part of the page? Stay away from that.",
            f"Begin with: {W.format(a)}; fork {a} {b}; write {a} {page}. What does {a} map after that?",
        ),
        Setup(mutant="posted_pmd_reuse"),
        processes=(a, b),
        rules=rules,
    )


OUTSIDE = ("counts_a_page_split", "freezes_at_once", "overlooks_the_pin")


def _observed(trace: Trace) -> dict[str, int]:
    """What a user can see at the end."""
    state = trace[-1].state
    seen = dict(state.vmstat) | {"page frames in use": used(trace)[-1]}
    for process in state.processes:
        seen |= {f"{field} of {process.name}": kb for field, kb in smaps(state, process.name).items()}
    return seen


@exercise(
    "M4", "Only from outside", "analyse", "find the bug", 12,
    objective="find a bug that breaks no invariant",
    myth="whoever checks all invariants finds every bug",
)  # fmt: skip
def from_outside(draw: Draw) -> Task:
    a, b = draw.processes(2)
    mutant = draw.pick("mutant", OUTSIDE)

    def missing(trace: Trace) -> Iterator[str]:
        wrong = broken(trace)
        if wrong is not None:
            yield f"no rule may be broken, and one is: {wrong.problem}"
        if _observed(trace) == _observed(right(trace)):
            yield "vmstat, smaps or the page frames in use must differ from the right kernel's; all are equal"

    def rules(trace: Trace) -> Iterator[str]:
        if not done(trace, "split", "mprotect", "munmap", "mlock", "pin", "split_pmd"):
            yield "nothing was split or pinned, so nothing of what is wrong was asked"
        elif as_right(trace):
            yield "the page tables and counters are the same, too: what is wrong made no difference"

    return Task(
        f"v4.5, wrong in one way: {MUTANTS[mutant].about}. All its states are consistent. Show the mistake all the same: at most six "
        f"operations with {a} and {b}, after which a number of vmstat, of smaps, or of the page frames in use is not that of the right "
        "kernel.",
        missing,
        (
            "A state can be consistent and yet not the one that the kernel should be in.",
            "What does the mistake change: an event, what is left after a refusal, or what a write copies?",
            f"Begin with: {W.format(a)}. Then bring about what the mistake is about.",
        ),
        Setup("v4.5", mutant=mutant),
        budget=6,
        processes=(a, b),
        rules=rules,
    )


@exercise(
    "M5", "Shrink it", "apply", "shortest", 10,
    objective="cut a failing test down to what it needs",
    myth="the last operation is the cause",
)  # fmt: skip
def shrink(draw: Draw) -> Task:
    a, b, c = draw.processes(3)
    p, q, r, s = draw.some("pages", range(1, 8), 4)
    written = draw.between("written", 0, 3)
    given = (
        f"{W.format(a)}; fork {a} {b}; fork {a} {c}; read {c} {p}; pin {a} {q} 1 dma; split_pmd {a} 0; unpin dma; "
        f"mprotect {c} {r} 1 r; exit {c}; write {a} {written}; munmap {b} {s if s != written else p} 1"
    )
    draw.values["given"] = given
    setup = Setup(mutant="keeps_the_copied_mapping")
    whole = Scenario.parse(given).ops

    def missing(trace: Trace) -> Iterator[str]:
        rest = iter(whole)
        if not all(op in rest for op in trace.scenario.ops):
            yield "only leave operations out: nothing may be new, and the order stays"
            return
        if broken(trace) is None:
            yield "it does not fail any more"
            return
        ops = trace.scenario.line().split("; ")
        for number, op in enumerate(ops):
            without = record("; ".join(ops[:number] + ops[number + 1 :]), setup)
            if not without.problem and broken(without) is not None:
                yield f"without {op} it fails as well"

    return Task(
        f"This kernel is wrong in one way: {MUTANTS['keeps_the_copied_mapping'].about}. This test of 12 operations fails: {given}. "
        "Leave out what it does not need, until every operation that is left is needed for the failure.",
        missing,
        (
            "What is needed is what makes the routine that is wrong run, on a page where it matters.",
            "Leave one operation out and look whether a rule is still broken. If it is, go on without it.",
            "Begin with the process that comes last: what has it to do with the copy?",
        ),
        setup,
    )


LAWLESS = (
    "forgets_the_queue",
    "forgets_what_is_only_pinned",
    "forgets_the_tails",
    "moves_the_head",
    "forgets_the_references",
    "keeps_the_copied_mapping",
    "frees_the_subpage_at_once",
    "pins_the_tail",
)


@exercise(
    "M6", "Write the law", "create", "design", 20,
    objective="state what must hold in every state, so that a test can find what breaks it",
    myth="a law that sounds right is true",
)  # fmt: skip
def write_the_law(draw: Draw) -> Law:
    wrong = MUTANTS[draw.pick("mutant", LAWLESS)]
    told = "; ".join(f"{name}: {what}" for name, what in NAMES.items())
    return Law(
        f"{wrong.kernel}, wrong in one way: {wrong.about}. Write a law about the numbers of a huge page that is true in every state of "
        f"the right kernel, and that the wrong one breaks. The numbers are: {told}. A law is one comparison of sums, such as count >= "
        "pmds, or: if pins > 0 and pmds == 1 then count > 1. It is held against all states that are reached by these operations, again "
        f"and again, from {START} on: {'; '.join(OPERATIONS)}.",
        (
            "A law says what the counters must be, given what the page tables and the drivers hold.",
            "Which of the numbers does the mistake leave as it was, or change once too often? Which others say what it should be?",
            "Begin with a state in which nothing is wrong, and with one behind the mistake: which numbers are not those of each other?",
        ),
        draw.values["mutant"],
    )


SET = ExerciseSet(
    "10_find_the_bug",
    "Find the bug",
    "",
    "Six exercises with kernels that are wrong in one named way: find the smallest evidence, read it, escape it, shrink it, and write the "
    "law that is broken.",
    (convict, suspects, alibi, from_outside, shrink, write_the_law),
)
