"""One schedule of a race as a trace: what a stepper shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from thplab.errors import BadInput
from thplab.hardware.steps import WAIT
from thplab.machine.trace import Frame, Trace
from thplab.scenario import Scenario
from thplab.study.explore.pair import Pair
from thplab.study.explore.run import RaceRun, Schedule, format_schedule, parse_schedule


@dataclass(eq=False, repr=False)
class RaceTrace(Trace):
    """The frames of one schedule of a pair, from the prepared machine on."""

    pair: Pair | None = None
    schedule: Schedule = ()

    @property
    def written(self) -> str:
        """The schedule as a line, as replay() takes it."""
        return format_schedule(self.schedule)

    def save(self) -> str:
        """Not as a scenario: a race is reproduced by its pair and its schedule."""
        raise BadInput("trace", "is a race", f"replay() with the schedule {self.written!r}")


def replay(pair: Pair, schedule: Schedule | str) -> RaceTrace:
    """Carry out one schedule and keep every state. A schedule may be written as a line ("0x5 1x12").

    Raises BadInput for a CPU that does not exist, has ended, or has to wait: it says for what.
    """
    schedule = parse_schedule(schedule) if isinstance(schedule, str) else schedule
    trace = RaceTrace(pair.setup, replace(Scenario.parse(pair.prepare), about=pair.about), pair=pair, schedule=schedule)
    run = RaceRun(pair)
    trace.frames.append(Frame(0, None, pair.start))
    for cpu in schedule:
        _move(run, cpu, trace.frames)
    return trace


def _move(run: RaceRun, cpu: int, frames: list[Frame]) -> None:
    number = len(frames)
    if not 0 <= cpu < len(run.routines):
        raise BadInput(
            "schedule", f"names CPU {cpu} for step {number}", "one of " + ", ".join(map(str, range(len(run.routines))))
        )
    before, op = len(run.results[cpu]), run.op(cpu)
    if not run.move(cpu):
        waits = run.step is not None and run.step.kind == WAIT and run.routines[cpu] is not None and not run.bug
        why = f"has to wait: it {run.step.text}" if waits and run.step else "has ended"
        raise BadInput("schedule", f"lets CPU {cpu} make step {number}, which {why}", "a CPU that can move")
    if len(run.results[cpu]) > before and not run.ended:
        last = next(frame for frame in reversed(frames) if frame.cpu == cpu and frame.op == op)
        frames[last.number] = replace(last, result=run.results[cpu][before])
    result = run.results[cpu][-1] if run.ended else None
    state = run.state()
    frames.append(
        Frame(number, run.step, state, run.op(cpu), run.at[cpu], stack=run.stack(cpu), cpu=cpu, result=result)
    )
