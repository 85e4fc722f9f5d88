"""Set R. Schedules are searched: their numbers change whenever a routine gets another step."""

from __future__ import annotations

from functools import cache

from solutions.model import Solved, Values

from thplab.errors import BadInput
from thplab.hardware.steps import WAIT
from thplab.study.explore.pairs import PAIRS
from thplab.study.explore.race import MOVES, RETURNS, Race
from thplab.study.explore.run import RaceRun, format_schedule, parse_schedule


@cache
def losing(steps: int, extra: int) -> str:
    race = Race(PAIRS["naive-split-and-pin"])
    race.load(f"1x{steps} 0x{1 + extra}")
    assert race.find(len(race.schedule)) == steps + 1 + extra
    return race.line


@cache
def refused(steps: int) -> str:
    """CPU 1 in the middle of its zap, then CPU 0 to its end, then CPU 1."""
    for middle in (6, 7, 8, 14):
        race = Race(PAIRS["rfc-split-and-zap"])
        try:
            race.load(f"0x{steps} 1x{middle}")
        except BadInput:
            continue
        for cpu in (0, 1):
            while race.ahead(race.schedule, cpu).state in (MOVES, RETURNS):
                race.move(cpu)
        trace = race.trace
        result = next(frame.result for frame in trace if frame.cpu == 0 and frame.result is not None)
        if result == -16 and not any(race.broken(frame.number, trace) for frame in trace):
            return format_schedule(race.schedule)
    raise AssertionError(steps)


@cache
def stepped_back(steps: int) -> str:
    """CPU 1 has read the entry when CPU 0 takes it away, has its reference when CPU 0 freezes, and looks again then."""
    run = RaceRun(PAIRS["cas-split-and-pin"], parse_schedule(f"0x{steps} 1x3"))
    schedule = [*parse_schedule(f"0x{steps} 1x3")]

    def go(cpu: int, until: str = "nothing is called so") -> None:
        while not run.over(cpu):
            run.move(cpu)
            if run.step is not None and run.step.kind == WAIT:
                return
            schedule.append(cpu)
            if run.step is not None and until in run.step.text:
                return

    go(0, "tail 1 not exclusive any more")
    go(0, "migration entry")
    go(1, "try_get")
    go(0, "compare-and-swap")
    for cpu in (1, 0, 1):
        go(cpu)
    return format_schedule(tuple(schedule))


LOSES = {
    "naive": ("madvise A 1 1 dontneed", "exit A", "fork A B"),
    "rfc": ("madvise A 1 1 dontneed", "exit A"),
    "freeze": (),
}


def table(v: Values, swap: bool = False) -> str:
    told = ("holds", "loses")
    return "\n".join(told[(opponent in LOSES[split]) is not swap] for split, opponent in v["cells"])


def least(v: Values, always: str = "") -> str:
    return "\n".join(always or next(split for split in LOSES if opponent not in LOSES[split]) for opponent in v["opponents"])


MOMENTS = {
    "naive-split-and-pin": 10,
    "rfc-split-and-zap": 14,
    "unflushed-freeze-and-pin": 18,
    "unflushed-mark-and-pin": 6,
    "unlocked-split-and-unpin": 14,
}

SOLVED = {
    "R1": Solved(
        lambda v: losing(v["steps"], v["extra"]),
        0,
        (
            ("0x10 1x6 0x11 1x6", "CPU 0 moves first"),
            ("1x6 0x12 1x8", "its check has seen the pin"),
            ("1x{steps} 0x4", "nothing is lost"),
        ),
    ),
    "R2": Solved(
        lambda v: refused(v["steps"]),
        0,
        (
            ("0x14 1x6 0x9 1x4", "nothing may be lost"),
            ("0x28 1x13", "it returns 0"),
            ("0x{steps} 1x6", "both CPUs must have ended"),
        ),
    ),
    "R3": Solved(
        lambda v: stepped_back(v["steps"]),
        0,
        (
            ("1x9 0x71", "CPU 1 moves first"),
            ("0x{steps} 1x9", "both CPUs must have ended"),
            ("0x{steps} 1x8", "it was the same"),
        ),
    ),
    "R4": Solved(table, 0, ((lambda v: table(v, swap=True), "is not it"), ("loses; holds; loses; holds; maybe", "is not it"))),
    "R5": Solved(
        least,
        0,
        (
            (lambda v: least(v, "freeze") if {*v["opponents"]} - {"madvise A 1 1 dontneed", "exit A"} else least(v, "rfc"), "costs less"),
            (lambda v: least(v, "none"), "One of these is wanted"),
        ),
        copies=0.5,
    ),
    "R6": Solved(
        lambda v: "\n".join(str(MOMENTS[name]) for name in v["pairs"]),
        0,
        (
            (lambda v: "\n".join(str(MOMENTS[name] + 1) for name in v["pairs"]), "no failing order is left"),
            (lambda v: "\n".join(str(MOMENTS[name] - 1) for name in v["pairs"]), "some order still fails"),
        ),
    ),
}
