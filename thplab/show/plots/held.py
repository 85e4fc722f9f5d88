"""What kernels hold of one population of huge pages, beside what is mapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from thplab.show.diagrams.roles import light
from thplab.show.plots.plot import HATCHES, LINES, Plot, blank
from thplab.study.footprint import Footprint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIB = 1 << 20


def held(answers: Sequence[Footprint], most: float) -> Plot:
    """Memory held on each kernel as a bar, and as a mark what is mapped.
    `most` is the memory, in bytes, at the end of the scale.
    """
    title = "Memory held (bars) and mapped (marks)"
    said = "; ".join(f"{a.kernel} holds {a.held / MIB:,.1f} MiB of {a.mapped / MIB:,.1f} MiB mapped" for a in answers)
    return Plot(_drawn(answers, most / MIB), title, f"{said}.", table(answers))


def table(answers: Sequence[Footprint]) -> tuple[tuple[str, ...], ...]:
    """The numbers of each kernel as texts, below a heading:
    memory, and how many huge pages were split, refused or are queued.
    """
    return (("kernel", "mapped, MiB", "held, MiB", "split", "refused", "queued"), *(_row(answer) for answer in answers))


def _row(answer: Footprint) -> tuple[str, ...]:
    memory = (f"{size / MIB:,.1f}" for size in (answer.mapped, answer.held))
    return (answer.kernel, *memory, *(f"{count:,}" for count in (answer.split, answer.refused, answer.queued)))


def _drawn(answers: Sequence[Footprint], most: float) -> Figure:
    figure = blank(7.6, 0.75 + 0.42 * len(answers))
    axes = figure.add_subplot()
    for place, answer in enumerate(answers):
        which = place % len(LINES)
        axes.barh(
            place,
            answer.held / MIB,
            color=light(LINES[which]),
            edgecolor=light("paper"),
            hatch=HATCHES[which],
            height=0.7,
        )
        axes.plot([answer.mapped / MIB] * 2, [place - 0.45, place + 0.45], color=light("ink"), linewidth=2.5)
        axes.annotate(
            f" {answer.held / MIB:,.1f} MiB",
            (most, place),
            va="center",
            color=light("ink"),
            fontsize=9,
            annotation_clip=False,
        )
    axes.set_xlim(0, most)
    axes.set_ylim(len(answers) - 0.4, -0.6)
    axes.set_yticks(range(len(answers)), [answer.kernel for answer in answers])
    axes.tick_params(colors=light("ink"), left=False)
    axes.set_xlabel("MiB", color=light("ink"), labelpad=1)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(light("freed"))
    return figure
