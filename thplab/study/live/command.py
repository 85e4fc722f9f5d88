"""What the commands `thplab live`, `thplab verify --live` and `thplab record` do.
`tell` takes the text for the user.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from thplab.errors import BadInput
from thplab.files import refuse_input, write_file
from thplab.hardware.geometry import X86_64
from thplab.kernel import kernels
from thplab.scenario import Phase, Scenario, load
from thplab.scenario.builtin import source_file
from thplab.study.live.check import check_live, portable_builtins, shortest, survey
from thplab.study.live.driver import Agent
from thplab.study.live.generate import Generator
from thplab.study.live.limits import beforehand
from thplab.study.live.portable import portable_part
from thplab.study.live.recording import record_live, shipped
from thplab.study.live.request import refuse_unless_portable, refuse_unless_sensible
from thplab.study.live.support import nearest, release, unable
from thplab.study.live.text import checked_line, observed, performed_text, side_by_side, survey_text
from thplab.study.verify import replay_records

Tell = Callable[[str], object]


def live(source: str | None, recorded: bool, tell: Tell) -> int:
    """Perform a scenario beside the simulator; without one, only say what this machine allows. Returns the exit status.

    What cannot be performed stops it, with the reason. Where nothing can be performed, a recorded run is shown. Raises
    BadInput for a scenario that is none or cannot begin, LiveError if the run comes to no end.
    """
    why = unable()
    if source is None:
        tell(f"no live run here: {why}\n" if why else _allowed())
        return 1 if why else 0
    scenario = load(source)
    if why or recorded:
        return _show_recorded(scenario, why, tell)
    kernel, own = nearest(release())
    with Agent() as agent:
        ops, refused = portable_part(scenario, agent.io_uring)
        if refused is not None and not ops:
            raise refused
        part = Scenario(scenario.name, scenario.about, (Phase(ops=ops),), scenario.env)
        refuse_unless_sensible(part, kernel)
        tell(f"the scenario {beforehand(ops)}\n")
        checked = check_live(agent, part, kernel)
        hidden = "".join(f"\nnot seen here: {name}: {reason}" for name, reason in agent.unseen.items())
    runs = f"{checked.runs} run{'s' if checked.runs > 1 else ''}"
    tell(side_by_side(checked.outcomes, f"Linux {release()}, live ({runs}); simulator {kernel}{_nearest(own)}{hidden}"))
    if refused is not None:
        tell(f"stopped before {scenario.ops[len(ops)].label(X86_64.nr)}: {refused}\n")
        return 1
    return 1 if checked.disagrees and own else 0


def verify_live(kernel: str, total: int, seed: int, tell: Tell) -> int:
    """Perform the portable built-in scenarios, and random ones of `total` operations in all; compare.
    Returns the exit status.

    The first random scenario that disagrees is shrunk. Raises BadInput where nothing can be performed, LiveError.
    """
    why = unable()
    if why:
        raise BadInput(
            "--live", f"is not possible here: {why}", "thplab verify FILE.jsonl, which compares with a recording"
        )
    own_kernel, own = nearest(release())
    name = kernels.kernel(kernel or own_kernel).name
    finding = (
        ""
        if own or kernel
        else f"Linux {release()} has no record of its own: {name} is the nearest, and differences are findings"
    )
    with Agent() as agent:
        tell(f"Linux {release()} live, simulator {name}\n")
        generator = Generator(seed, name, agent.io_uring)
        scenarios = [*portable_builtins(agent.io_uring)]
        result = survey(agent, scenarios, name, lambda checked: tell(checked_line(checked)))
        tell(survey_text(result, finding))
        disagree = result.report.disagree
        if total:
            tell(f"random scenarios, seed {seed}:\n")
            result = survey(
                agent,
                generator.scenarios(total),
                name,
                lambda checked: checked.disagrees and tell(checked_line(checked)),
            )
            tell(performed_text(result) + survey_text(result, finding))
            disagree += result.report.disagree
        if result.first is not None:
            found = shortest(agent, result.first, name)
            tell(f"the shortest that disagrees: {found.scenario.line()}\n" + side_by_side(found.outcomes, ""))
    return 1 if disagree and not finding else 0


def record_all(sources: Sequence[str], path: Path, tell: Tell) -> int:
    """Record scenarios to a truth file. Returns the exit status.
    Raises BadInput if one is not portable or makes no sense, LiveError.
    """
    why = unable()
    if why:
        raise BadInput("record", f"is not possible here: {why}", "a Linux machine with huge pages")
    scenarios = [load(source) for source in sources]
    refuse_input(path, filter(None, map(source_file, sources)))
    if not path.parent.is_dir():
        raise BadInput("output", f"{str(path)!r} cannot be written", "a file in a folder that exists")
    with Agent() as agent:
        for scenario in scenarios:
            refuse_unless_portable(scenario, agent.io_uring)
            refuse_unless_sensible(scenario, nearest(release())[0])
        lines = []
        for scenario in scenarios:
            tell(f"{scenario.name or scenario.line()} {beforehand(scenario.ops)}\n")
            made = record_live(agent, scenario)
            lines.append(json.dumps(made, separators=(",", ":")) + "\n")
            tell(
                f"{scenario.name or scenario.line()}: {made['agree']} of {made['reps']} runs agree, noisy "
                f"{made['noisy_ops']}\n"
            )
    write_file(path, "".join(lines))
    return 0


def _show_recorded(scenario: Scenario, why: str, tell: Tell) -> int:
    found = shipped(scenario)
    if found is None:
        reason = f", and no live one is possible: {why}" if why else ""
        raise BadInput("scenario", f"has no recorded run{reason}", "a portable built-in one")
    kernel, own = nearest(found["kernel"])
    reason = f"no live run here: {why}\n" if why else ""
    tell(
        side_by_side(
            tuple(replay_records([found], kernel)),
            f"{reason}Linux {found['kernel']}, recorded; simulator {kernel}{_nearest(own)}",
        )
    )
    return 0


def _allowed() -> str:
    """What a live run can do and see on this machine."""
    with Agent() as agent:
        lines = [
            f"Linux {release()} on {sys.platform}: live runs are possible, beside the simulator's "
            f"{nearest(release())[0]}"
        ]
        lines += observed(agent.unseen)
        lines.append(
            f"io_uring: refused ({agent.io_uring}), so no FOLL_PIN" if agent.io_uring else "io_uring: FOLL_PIN works"
        )
    return "\n".join(lines) + "\n"


def _nearest(own: bool) -> str:
    return "" if own else " (the nearest: differences are findings)"
