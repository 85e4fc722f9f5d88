"""The race stepper: the learner chooses which CPU moves next and tries to break the kernel."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from thplab.errors import BadInput
from thplab.learn import progress
from thplab.learn.widgets.conversation import asked
from thplab.learn.widgets.pictured import Pictured
from thplab.learn.widgets.race_payload import RacePayload
from thplab.learn.widgets.widget import Stepped
from thplab.show.diagrams import SIMPLE, Sheet
from thplab.study.explore import Pair
from thplab.study.explore.pairs import pair_named
from thplab.study.explore.race import Race
from thplab.study.explore.replay import RaceTrace
from thplab.study.explore.run import format_schedule


class RaceStepper(Pictured, Stepped, page="race"):
    """Plays a race: one column for each CPU, whoever is clicked makes its next step.

    `race` is a pair's name or a Pair, a name with a schedule ("naive-split-and-pin: 0x10 1x6", what the widget's
    "share" copies), or a replayed schedule. The race needs the Python kernel to go on; what has happened so far can be
    looked at without. Without `finds` it looks for no schedule that fails: that is left to the learner. `lecture` is
    for a projector. Raises BadInput for a pair or schedule that makes no sense, and NoEngine if no pictures can be
    drawn.
    """

    traits_in_html = ("step",)

    def __init__(self, race: str | Pair | RaceTrace, *, finds: bool = True, lecture: bool = False) -> None:
        self.race = _race(race)
        self._finds = finds
        self._payload = RacePayload(self.race)
        self._data = self._payload.data()
        super().__init__(packed=self.packed_now(), step=len(self.race.schedule), lecture=lecture)

    def way_back(self) -> Callable[[], None]:
        """To the schedule before."""
        before = self.race.schedule
        return lambda: setattr(self.race, "schedule", before)

    @asked("move")
    def _move(self, cpu: int, at: int) -> None:
        """Let a CPU make its next step after the first `at` ones."""
        self.race.move(cpu, at)
        progress.record_step(*progress.here(self.race.pair.name), len(self.race.schedule))
        self._show(len(self.race.schedule))

    @asked("load")
    def _load(self, line: str) -> str:
        """Take the schedule of a line."""
        name, colon, schedule = line.rpartition(":")
        if colon and name.strip() != self.race.pair.name:
            raise BadInput("line", f"is of the race {name.strip()!r}", f"one of {self.race.pair.name}")
        self.race.load(schedule)
        self._show(len(self.race.schedule))
        return f"Loaded: {len(self.race.schedule)} steps."

    @asked("find")
    def _find(self, at: int) -> str:
        """Load a schedule that fails, if there is one."""
        if not self._finds:
            raise BadInput("find", "is no question here", "a schedule of your own")
        kept = self.race.find(at)
        if kept is None:
            return self._any(at)
        found = self.race.schedule[kept:]
        switches = sum(a != b for a, b in itertools.pairwise(found))
        where = "from here on" if kept == at else "from the start, for from here on nothing more can go wrong"
        self._show(kept)
        times = "1 switch" if switches == 1 else f"{switches} switches"
        least = f"{len(found)} steps, {times} between CPUs, the fewest there are"
        return f"Found, {where}: {least}. Go through it with → or Replay."

    @asked("any")
    def _any(self, at: int) -> str:
        """Say how many schedules there are, and how many of them fail."""
        found = self.race.found
        fails = f"It can fail: {found.failure.problem}." if found.failure else "No failure was met."
        if not found.complete:
            return f"Not everything was seen: {found.states:,} states are the bound. {fails}"
        if found.schedules is None or found.failing_schedules is None:
            return (
                f"{found.states:,} states; a routine can go round in circles, so schedules cannot be counted. {fails}"
            )
        total = f"{found.states:,} states and {found.schedules:,} schedules were looked at. "
        if found.failure is None:
            return total + "None breaks anything."
        ways = self.race.ways(at)
        here = f"From here on {ways.schedules:,} are left, and {ways.failing:,} of them do." if ways and at else ""
        return f"{total}{found.failing_schedules:,} break something. {here}".strip()

    def _show(self, step: int) -> None:
        before, self._data = self._data, self._payload.data()
        try:
            packed = self.packed_now()
        except Exception:
            self._data = before
            raise
        self.packed, self.step = packed, step

    def data(self) -> dict[str, Any]:
        """What the payload has of the race so far, and whether a schedule can be asked for."""
        return self._data | {"finds": self._finds}

    def sheets(self, detail: str) -> list[Sheet]:
        """One, with a picture for each step so far."""
        return [self._payload.sheet(detail)]

    def still(self) -> tuple[str, str]:
        """The picture of the step that is shown, and its text."""
        frame = self._data["frames"][self.step]
        return self.sheets(SIMPLE)[0].svg(self.step), f"{self._data['name']}, step {self.step}: {frame['text']}"


def _race(given: str | Pair | RaceTrace) -> Race:
    if isinstance(given, Pair):
        return Race(given)
    if isinstance(given, RaceTrace):
        assert given.pair is not None, "replay() always names it"
        race = Race(given.pair)
        race.load(format_schedule(given.schedule))
        return race
    name, _, schedule = given.partition(":")
    race = Race(pair_named(name.strip()))
    race.load(schedule)
    return race
