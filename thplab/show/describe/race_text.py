"""Races in words: what each CPU does, what was explored, and the simplest schedule that loses, CPU beside CPU."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from thplab.hardware.geometry import Geometry
from thplab.study.explore import Exploration, Pair, RaceTrace, replay
from thplab.study.invariants import INVARIANTS

WIDTH = 100


def summary(found: Exploration) -> str:
    """One line: whether the pair does what is said of it, its name, what it was seen to do, and how much was seen."""
    verdict = "ok  " if found.as_expected else "BAD "
    what = "loses" if found.failure else "holds" if found.complete else "?"
    switches = f", the simplest with {_count(found.failure.switches, 'switch', 'switches')}" if found.failure else ""
    bound = "" if found.complete else "; stopped at the bound, not everything was seen"
    return f"{verdict} {found.pair.name:28} {what:5}  {found.states:5,} states, {_schedules(found)}{switches}{bound}"


def story(found: Exploration) -> str:
    """The pair, what was found, and if it loses the simplest schedule step by step."""
    return "\n".join(_story(found)) + "\n"


def _story(found: Exploration) -> Iterator[str]:
    pair = found.pair
    if pair.source:
        yield from textwrap.wrap(f"{pair.name}: {pair.about}", WIDTH)
        yield f"({pair.source})"
        yield ""
    yield from textwrap.wrap(f"{_machine(pair)} Prepared by: {pair.prepare}. Then at the same time:", WIDTH)
    for cpu in range(len(pair.cpus)):
        yield f"  CPU {cpu}: {pair.does(cpu)}"
    yield ""
    expected = (
        "" if pair.loses is None else ", as it should be" if found.as_expected else ", which is not what is said of it"
    )
    verdict = "loses" if found.failure else "holds" if found.complete else "was not seen to lose"
    bound = "" if found.complete else " The bound on states was hit: not everything was seen."
    yield from textwrap.wrap(f"It {verdict}{expected}: {found.states:,} states, {_schedules(found)}.{bound}", WIDTH)
    if found.failure is None:
        return
    about = next((i.about for i in INVARIANTS if i.name == found.failure.invariant), "")
    yield from textwrap.wrap(
        f"{found.failure.invariant}: {found.failure.problem}.{' It must hold: ' + about if about else ''}", WIDTH
    )
    yield ""
    yield f"The simplest such schedule: {found.failure.text()}"
    yield from columns(replay(pair, found.failure.schedule))


def columns(trace: RaceTrace) -> Iterator[str]:
    """The steps of a schedule, each in the column of its CPU."""
    pair = trace.pair
    assert pair is not None, "replay() always names it"
    count = len(pair.cpus)
    width = (WIDTH - 5) // count
    yield "     " + "".join(f"{'CPU ' + str(cpu):{width}}" for cpu in range(count)).rstrip()
    for frame in trace.frames[1:]:
        assert frame.step is not None, "only frame 0 has none"
        lines = textwrap.wrap(frame.step.text, width - 2)
        for i, line in enumerate(lines):
            number = f"{frame.number:3}" if i == 0 else "   "
            yield f"{number}  {' ' * (width * frame.cpu)}{line if i == 0 else '  ' + line}"


def _machine(pair: Pair) -> str:
    kernel = pair.kernel if isinstance(pair.kernel, str) else pair.kernel.name
    return f"Kernel {kernel}, geometry {_geometry(pair.geometry)}."


def _geometry(geometry: Geometry) -> str:
    return f"{geometry.name} (a huge page is {geometry.nr} small pages)"


def _schedules(found: Exploration) -> str:
    if found.schedules is None:
        return "endlessly many schedules" if found.complete else "schedules not counted"
    failing = f" of which {_number(found.failing_schedules or 0)} fail" if found.failure else ""
    return f"{_number(found.schedules)} schedules{failing}"


def _number(count: int) -> str:
    """1,234,567 as it is; more than nine digits as 1.2e12."""
    return f"{count:,}" if count < 10**9 else f"{count:.1e}".replace("e+", "e")


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
