"""A race that is played as the data that a page needs to show it:
plain lists and texts, everything computed beforehand.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

from thplab.learn.widgets.payload import geometry_text, must_hold
from thplab.machine.state import State
from thplab.machine.trace import Frame, call_text
from thplab.show.describe import describe
from thplab.show.diagrams import Cut, Painter, Plan, Sheet
from thplab.study.explore.race import Race
from thplab.study.explore.replay import RaceTrace, replay
from thplab.study.explore.run import RaceRun, Schedule, format_schedule
from thplab.study.invariants import ALWAYS, AT_REST


class RacePayload:
    """Makes the data of one race again and again as it goes on; pictures that were drawn are kept."""

    def __init__(self, race: Race) -> None:
        self.race = race
        self._states: dict[bytes, State] = {}
        # The pictures have a place for whatever comes when one CPU runs after the other; then they rarely have to be
        # drawn again.
        for order in permutations(range(len(race.pair.cpus))):
            self._know(replay(race.pair, self._in_turn(order)))
        self._cut = Cut.of(list(self._states.values()))
        self._plans: dict[str, tuple[Painter, Plan]] = {}

    def _in_turn(self, order: tuple[int, ...]) -> Schedule:
        run, schedule = RaceRun(self.race.pair), []
        for cpu in order:
            while run.move(cpu):
                schedule.append(cpu)
        return tuple(schedule)

    def _know(self, trace: RaceTrace) -> bool:
        """Remember the states of a trace; whether any was new."""
        known = len(self._states)
        self._states |= {frame.state.exact: frame.state for frame in trace}
        return len(self._states) > known

    def data(self) -> dict[str, Any]:
        """All that the widget shows of the race so far but its pictures, as JSON can hold it."""
        race, trace = self.race, self.race.trace
        geometry = race.pair.geometry
        return {
            "name": race.pair.name,
            "about": race.pair.about,
            "source": race.pair.source,
            "kernel": trace.setup.kernel_name,
            "geometry": geometry_text(geometry),
            "prepare": race.pair.prepare,
            "cpus": [race.pair.does(cpu) for cpu in range(len(race.pair.cpus))],
            "invariants": must_hold(ALWAYS, AT_REST),
            "line": race.line,
            "frames": [self._frame(frame, trace) for frame in trace],
        }

    def sheet(self, detail: str) -> Sheet:
        """The pictures of the race so far. What was laid out serves as long as it has a place for everything.
        Raises NoEngine if nothing can lay it out.
        """
        trace = self.race.trace
        if self._know(trace):
            cut = Cut.of(list(self._states.values()))
            if cut != self._cut:
                self._cut, self._plans = cut, {}
        if detail not in self._plans:
            painter, plan = Painter(self._cut, detail), Plan()
            plan.make_room([painter.paint(state) for state in self._states.values()])
            self._plans[detail] = painter, plan
        painter, plan = self._plans[detail]
        return Sheet([painter.paint(f.state, trace[max(0, f.number - 1)].state) for f in trace], plan)

    def _frame(self, frame: Frame, trace: RaceTrace) -> dict[str, Any]:
        race, schedule = self.race, trace.schedule[: frame.number]
        before = trace[frame.number - 1].state if frame.number else None
        ahead = [race.ahead(schedule, cpu) for cpu in range(len(race.pair.cpus))]
        return {
            "cpu": frame.cpu if frame.number else None,
            "text": frame.step.text if frame.step else "before the first step",
            "why": frame.step.why if frame.step else "",
            "routine": call_text(next(reversed(frame.stack), "")),
            "words": describe(frame.state, before),
            "ahead": [[a.state, a.step.text if a.step else ""] for a in ahead],
            "broken": {v.invariant: v.problem for v in race.broken(frame.number, trace)},
            "rest": frame.at_rest and frame.number > 0,
            "line": format_schedule(schedule),
        }
