"""A live run as text: what the kernel and the simulator show after each operation, side by side, and what disagrees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from thplab.hardware.geometry import X86_64
from thplab.study.live.check import Checked, Survey
from thplab.study.verify import Outcome
from thplab.study.verify.records import FrameView, OperationView

_SAME, _DIFFERENT = "=", "≠"
_WIDTH = 34

_OBSERVATIONS = {
    "sz": "statistics of huge pages of 2 MiB",
    "maps": "whether a PMD or a PTE maps a page",
    "frames": "page frames, their kinds and mapcounts (kpagecount, kpageflags)",
}


class ShownField(NamedTuple):
    """A field that either side shows after an operation, and what both say. `field` is e.g.
    `ret`, `ev.thp_split_pmd` or `A.R.rss`.
    """

    field: str
    kernel: str
    simulator: str
    agrees: bool


def side_by_side(outcomes: tuple[Outcome, ...], title: str) -> str:
    """All operations of a scenario: a line for each field that either side shows, marked where they disagree."""
    lines = [title, "", f"{'':>28}   {'kernel':{_WIDTH}} {'simulator'}"]
    for outcome in outcomes:
        mark = "" if outcome.not_modelled else f"  {_DIFFERENT} disagree" if outcome.differences else f"  {_SAME} agree"
        lines.append(f"{outcome.number + 1:3}. {outcome.op.label(X86_64.nr)}{mark}")
        if outcome.not_modelled:
            lines.append(f"     not modelled: {outcome.not_modelled}")
        lines += map(_line, rows(outcome))
    agree = sum(outcome.agrees for outcome in outcomes)
    lines += ["", f"{agree} of {len(outcomes)} operations agree"]
    return "\n".join(lines) + "\n"


def checked_line(checked: Checked) -> str:
    """What came out of one scenario, on one line."""
    agree = sum(outcome.agrees for outcome in checked.outcomes)
    runs = f"{checked.runs} run{'s' if checked.runs > 1 else ''}"
    return f"{checked.scenario.name}: {agree} of {len(checked.outcomes)} operations agree, {runs}\n"


def survey_text(survey: Survey, finding: str = "") -> str:
    """The report of many scenarios. `finding` says why differences are no errors here, if they are none."""
    text = "".join(f"finding: {line.line}\n" if finding else f"{line.line}\n" for line in survey.report.disagreements)
    text += f"{finding}\n" if finding and survey.report.disagreements else ""
    text += survey.report.counts()
    repeated = survey.runs.total() - survey.runs[1]
    runs = sum(number * count for number, count in survey.runs.items())
    return (
        text
        + f"{survey.runs.total()} scenarios in {runs} runs; {repeated} were repeated, {max(survey.runs, default=0)} "
        "runs at most\n"
    )


def performed_text(survey: Survey) -> str:
    """How often each operation was performed."""
    counts = ", ".join(f"{name} {count}" for name, count in survey.performed.most_common())
    return f"performed: {counts}\n"


def rows(outcome: Outcome) -> Iterator[ShownField]:
    """The fields of an operation: first those that agree, then those that do not."""
    wrong = {difference.field: difference for difference in outcome.differences}
    if outcome.views is not None:
        recorded, shown = map(_facts, outcome.views)
        for field in recorded:
            # Where the two do not differ, one that does not say it takes it as the other has it.
            if field not in wrong:
                yield ShownField(field, recorded[field], shown.get(field, recorded[field]), True)
    for field, difference in wrong.items():
        yield ShownField(field, difference.expected, difference.got, False)


def observed(unseen: Mapping[str, str]) -> list[str]:
    """What a run sees, a line each; `unseen` is what it does not see -> why."""
    lines = ["seen: return codes, events of /proc/vmstat, smaps, which pages are present, exclusive or swapped,"]
    lines += ["      what `read` has read, and what a pin reads"]
    lines += [
        f"not seen: {what}: {unseen[name]}" if name in unseen else f"seen: {what}"
        for name, what in _OBSERVATIONS.items()
    ]
    return lines


def _line(row: ShownField) -> str:
    mark = _SAME if row.agrees else _DIFFERENT
    if max(len(row.kernel), len(row.simulator)) <= _WIDTH:
        return f"     {mark} {row.field:21}   {row.kernel:{_WIDTH}} {row.simulator}"
    if row.agrees:
        return f"     {mark} {row.field:21}   {row.kernel}"
    return f"     {mark} {row.field:21}   {row.kernel}\n{'':28}   {'simulator:'} {row.simulator}"


def _facts(view: OperationView) -> dict[str, str]:
    """What a view says, field by field, without what is zero:
    which counters changed, what each region holds, which frames are kept.
    """
    facts = {"ret": str(view.ret)} | {name: f"{value:+d}" for name, value in sorted(view.counts.items()) if value}
    for name, region in sorted(view.regions.items()):
        facts |= {
            f"{name}.{field}": str(value) for field, value in region.fields.items() if isinstance(value, int) and value
        }
        facts |= {
            f"{name}.{field}": str(region.pages[field]) for field in ("runs", "mapcount") if field in region.pages
        }
    for name, frame in sorted(view.frames.items()):
        if isinstance(frame, FrameView):
            facts |= {
                f"{name}.{field}": str(frame.pages[field]) for field in ("kind", "mapcount") if field in frame.pages
            }
        else:
            facts[name] = frame
    return facts | view.contents
