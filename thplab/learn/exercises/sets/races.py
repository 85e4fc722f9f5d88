"""Exercises across the lessons: schedules of two CPUs that meet in the split of a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from thplab.errors import EAGAIN, EBUSY, errname
from thplab.hardware.geometry import TINY
from thplab.kernel.routines.split_huge_page import split_huge_page_naive
from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.draw import Draw
from thplab.learn.exercises.exercise import ExerciseSet, exercise
from thplab.learn.lessons.tasks import RaceTask
from thplab.learn.widgets.question import Question
from thplab.machine.trace import Setup
from thplab.study.explore import explore
from thplab.study.explore.pair import Pair
from thplab.study.explore.pairs import MAPPED_BY_PTES, PAIRS
from thplab.study.explore.race import ENDED, MOVES, RETURNS, Race
from thplab.study.invariants import check_state


def lost(race: Race) -> str:
    """What is lost first; "" if nothing is. Where somebody has moved on, only the state can be wrong."""
    trace = race.trace
    *before, last = trace
    found = [v for frame in before for v in check_state(frame.state)] or race.broken(last.number, trace)
    return found[0].problem if found else ""


def returned(race: Race) -> int | None:
    """What the operation of CPU 0 has returned; None if it has not."""
    return next((frame.result for frame in race.trace if frame.cpu == 0 and frame.result is not None), None)


def _begins(race: Race, cpu: int, steps: int) -> Iterator[str]:
    """The schedule must begin with exactly so many steps of a CPU."""
    first = 0
    while race.schedule[first : first + 1] == (cpu,):
        first += 1
    if first == steps:
        return
    told = f"it makes {first} at first" if first else f"CPU {1 - cpu} moves first" if race.schedule else "nobody moves"
    yield f"the schedule must begin with exactly {_steps(steps)} of CPU {cpu} ({cpu}x{steps}); {told}"


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number} steps"


@exercise(
    "R1", "Another way to lose", "apply", "break it", 12,
    objective="find which order of steps matters, and which does not",
    myth="who begins decides",
)  # fmt: skip
def another_way(draw: Draw) -> RaceTask:
    steps = draw.between("steps", 1, 5)
    extra = draw.between("extra", 0, 3)

    def missing(race: Race) -> Iterator[str]:
        yield from _begins(race, 1, steps)
        second = race.schedule[steps : steps + 1 + extra]
        if second != (0,) * (1 + extra):
            yield f"then CPU 0 makes {_steps(1 + extra)} at least"
        if not lost(race):
            yield "nothing is lost"
            if returned(race) == -EBUSY:
                yield "the split returns -EBUSY: its check has seen the pin"

    return RaceTask(
        f"naive-split-and-pin: the split checks and then trusts the answer. Write a schedule that loses a page, and that begins with "
        f"exactly {_steps(steps)} of CPU 1 (1x{steps}), after which CPU 0 makes at least {1 + extra}.",
        missing,
        (
            "The page is lost if the pin's reference comes after the check and before the references are handed out.",
            "Which step of CPU 1 takes the reference? Steps before it may come at any time.",
            f"Begin with 1x{steps}. Then CPU 0 goes up to the step that compares, and one further than that.",
        ),
        "naive-split-and-pin",
    )


REFUSES = (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12)
"""After so many steps of CPU 0 a refusal for nothing is still to be had, by six or more steps of CPU 1."""


@exercise(
    "R2", "Refused for nothing", "analyse", "break it", 12,
    objective="see that a refusal proves no pin",
    myth="-EBUSY means that somebody has pinned the page",
)  # fmt: skip
def for_nothing(draw: Draw) -> RaceTask:
    steps = draw.pick("steps", REFUSES)

    def missing(race: Race) -> Iterator[str]:
        yield from _begins(race, 0, steps)
        problem = lost(race)
        if problem:
            yield f"nothing may be lost; here: {problem}"
        if any(race.ahead(race.schedule, cpu).state != ENDED for cpu in (0, 1)):
            yield "both CPUs must have ended"
        elif returned(race) != -EBUSY:
            yield f"the split must return -EBUSY; it returns {errname(returned(race) or 0)}"
            yield "the sum of the mapcounts and the references were both read before or after the zap has changed them"

    return RaceTask(
        f"rfc-split-and-zap: CPU 0 splits a page, and CPU 1 gives a part of it up. Nobody has a pin. Write a schedule that begins with "
        f"exactly {_steps(steps)} of CPU 0 (0x{steps}), runs to the end of both, loses nothing, and in which the split returns -EBUSY.",
        missing,
        (
            "The split compares two numbers that it does not read at the same moment. The zap changes them one after the other.",
            "Between which two of its steps has the zap lowered the one number and not yet the other?",
            f"Begin with 0x{steps}. Then CPU 1 goes into the middle of its zap, and waits there until CPU 0 has compared.",
        ),
        "rfc-split-and-zap",
    )


@exercise(
    "R3", "Both step back", "analyse", "break it", 20,
    objective="bring it about that each side of a race sees the other and gives in",
    myth="where two meet, one of them wins",
)  # fmt: skip
def both_step_back(draw: Draw) -> RaceTask:
    steps = draw.between("steps", 1, 24)

    def missing(race: Race) -> Iterator[str]:
        yield from _begins(race, 0, steps)
        problem = lost(race)
        if problem:
            yield f"nothing may be lost; here: {problem}"
        again = [frame.step.text for frame in race.trace if frame.cpu == 1 and frame.step is not None]
        looks = [text.removeprefix(AGAIN) for text in again if text.startswith(AGAIN)]
        if "changed" not in looks:
            saw = f"it was {looks[0]}" if looks else "it took no reference through an entry that it had read"
            yield f"GUP-fast must find the entry changed when it reads it again; {saw}"
        if any(race.ahead(race.schedule, cpu).state != ENDED for cpu in (0, 1)):
            yield "both CPUs must have ended"
        elif returned(race) != -EAGAIN:
            yield f"the split must return -EAGAIN; it returns {errname(returned(race) or 0)}"
            yield "the compare-and-swap is refused only while somebody else holds a reference"

    return RaceTask(
        f"cas-split-and-pin, v6.18: write a schedule that begins with exactly {_steps(steps)} of CPU 0 (0x{steps}) and runs to the end of "
        "both, in which both step back: the split is refused with -EAGAIN, and GUP-fast finds the entry changed and gives its reference "
        "back. Nothing is lost.",
        missing,
        (
            "The split takes the entry away first and freezes the count later. GUP-fast reads the entry, takes its reference, and reads again.",
            "When must CPU 1 have read the entry, when must its reference be there, and when must it look again?",
            f"Begin with 0x{steps}. Then CPU 1 reads the entry, and waits there until it is a migration entry.",
        ),
        "cas-split-and-pin",
    )


AGAIN = "read the PTE again: "
SPLITS = {"naive": "the naive split", "rfc": "the split of the RFC", "freeze": "the split of v4.5"}
OPPONENTS = (
    "madvise A 1 1 dontneed",
    "exit A",
    "fork A B",
    "munmap A 0 1",
    "mprotect A 1 1 r",
    "write A 1",
)
WHY = {
    "madvise A 1 1 dontneed": "It drops the map count first and the reference later, and the later drop finds another page.",
    "exit A": "An exit drops map counts first and references when all is unmapped.",
    "fork A B": "A fork takes references before it counts mappings; who compares only once does not see it.",
    "munmap A 0 1": "References of a compound page are on the head, and page 0 is the head: a late drop there is right.",
    "mprotect A 1 1 r": "It changes rights, and neither a map count nor a reference.",
    "write A 1": "The page is A's own: the write changes no counter.",
}


@cache
def loses(split: str, opponent: str) -> bool:
    """Is there a schedule in which this split loses something to this opponent? All of them are looked at."""
    variants = {"split_huge_page": split_huge_page_naive} if split == "naive" else {}
    kernel = "v4.5" if split == "freeze" else "rfc-2014"
    pair = Pair(
        f"{split} {opponent}", "", "", MAPPED_BY_PTES, ("split A 0", opponent), None, variants, kernel, TINY
    )  # fmt: skip
    return explore(pair).failure is not None


def _setup(split: str) -> Setup:
    return Setup("v4.5" if split == "freeze" else "rfc-2014", "TINY")


@exercise(
    "R4", "Loses or holds", "analyse", "predict", 15,
    objective="say what exactly a split can lose to whom",
    myth="every unmap is dangerous",
)  # fmt: skip
def loses_or_holds(draw: Draw) -> Answers:
    cells_of = draw.some("cells", tuple((split, opponent) for split in SPLITS for opponent in OPPONENTS), 5)

    def cells() -> Mapping[str, Question]:
        asked = {}
        for split, opponent in cells_of:
            actual = "loses" if loses(split, opponent) else "holds"
            told = WHY[opponent] if split != "freeze" else "Frozen mappings cannot change until the split has decided."
            asked[f"{split} / {opponent}"] = Question(
                MAPPED_BY_PTES,
                _setup(split),
                f"CPU 0: split A 0, by {SPLITS[split]}. CPU 1: {opponent}. Can anything be lost?",
                actual,
                ("loses", "holds"),
                slips={"holds" if actual == "loses" else "loses": told},
            )
        return asked

    told = "; ".join(f"{split} / {opponent}" for split, opponent in cells_of)
    return Answers(
        f"A has a huge page that is mapped by PTEs ({MAPPED_BY_PTES}). CPU 0 splits the page: naive (checks once and trusts), rfc (checks "
        f"again under compound_lock), or freeze (v4.5). CPU 1 does something meanwhile. Does the split lose anything in some order, or does "
        f"it hold in all? {told}. Five lines: loses or holds. (All orders are looked at, which takes some seconds.)",
        cells,
        (
            "A split loses if map counts and references change at different moments, and it looks in between.",
            "For each opponent: what does it change, in which order, and does compound_lock keep it out?",
            "Begin with those who change neither a map count nor a reference: nothing can be lost to them.",
        ),
    )


@exercise(
    "R5", "Mend with the least", "create", "predict", 20,
    objective="choose the weakest protection that is enough",
    myth="more locks are always better",
)  # fmt: skip
def the_least(draw: Draw) -> Answers:
    three = draw.some("opponents", OPPONENTS, 3)

    def weakest(opponent: str) -> str:
        return next(split for split in SPLITS if not loses(split, opponent))

    def cells() -> Mapping[str, Question]:
        asked = {}
        for opponent in three:
            actual = weakest(opponent)
            order = list(SPLITS)
            slips: dict[int | str, str] = {}
            for split in order:
                if order.index(split) < order.index(actual):
                    slips[split] = f"It loses to {opponent}. {WHY[opponent]}"
                elif split != actual:
                    slips[split] = "It holds, but a weaker one does, too, and costs less."
            asked[opponent] = Question(
                MAPPED_BY_PTES, _setup(actual), f"CPU 1: {opponent}. Which split is enough?", actual, tuple(order), slips=slips
            )
        return asked

    return Answers(
        f"A has a huge page that is mapped by PTEs ({MAPPED_BY_PTES}). Which is the weakest split of the page that loses nothing to CPU 1 in "
        f"any order: naive (checks once), rfc (checks again under compound_lock), or freeze (v4.5)? CPU 1 does: {'; '.join(three)}. Three "
        "lines. (All orders are looked at, which takes some seconds.)",
        cells,
        (
            "compound_lock keeps out who takes references. Freezing keeps out who changes map counts, too.",
            "What does each opponent change first: the map count, the reference, or neither?",
            "Begin with the one that changes neither.",
        ),
    )


MOMENTS = (
    "naive-split-and-pin",
    "rfc-split-and-zap",
    "unflushed-freeze-and-pin",
    "unflushed-mark-and-pin",
    "unlocked-split-and-unpin",
)


@cache
def _last_moment(name: str) -> int:
    """After how many steps of CPU 0 alone some order still fails, at most."""
    race = Race(PAIRS[name])
    while race.ahead(race.schedule, 0).state in (MOVES, RETURNS):
        race.move(0)
    failing = []
    for steps in range(len(race.schedule) + 1):
        ways = race.ways(steps)
        if ways is not None and ways.failing:
            failing.append(steps)
    return failing[-1]


@exercise(
    "R6", "The last moment", "analyse", "predict", 15,
    objective="locate the window of a race",
    myth="once the check is done, all is decided",
)  # fmt: skip
def last_moment(draw: Draw) -> Answers:
    two = draw.some("pairs", MOMENTS, 2)

    def cells() -> Mapping[str, Question]:
        asked = {}
        for name in two:
            pair, steps = PAIRS[name], _last_moment(name)
            kernel = pair.kernel if isinstance(pair.kernel, str) else pair.kernel.name
            asked[name] = Question(
                pair.prepare,
                Setup(kernel, pair.geometry.name),
                f"{name}: CPU 0 makes some steps alone. After how many, at most, can something still be lost?",
                steps,
                slips={
                    steps + 1: "After that step no failing order is left.",
                    steps - 1: "One step later some order still fails.",
                },
            )
        return asked

    return Answers(
        f"CPU 0 goes first, alone, for some steps. What is the greatest number of steps after which some order of what is left still loses "
        f"something, for {two[0]} and for {two[1]}? Two lines. In the race stepper of a pair you can let CPU 0 go on, and ask how many ways "
        "are left, and how many of them fail: RaceStepper(NAME).",
        cells,
        (
            "A race has a window: it opens with a read, and closes with the step that makes the read of no account.",
            "Let CPU 0 go step by step, and ask in the race stepper how many of the ways that are left fail.",
            "Begin where the check is done, and go on from there.",
        ),
    )


SET = ExerciseSet(
    "11_races",
    "Races: break it and mend it",
    "",
    "Six exercises with two CPUs: find an order that loses a page, one that refuses for nothing, one in which both give in, and say which "
    "split holds against whom.",
    (another_way, for_nothing, both_step_back, loses_or_holds, the_least, last_moment),
)
