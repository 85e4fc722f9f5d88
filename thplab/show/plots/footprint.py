"""Memory held against memory unmapped: what a partial munmap gives back, on each kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from thplab.errors import BadInput
from thplab.hardware.geometry import X86_64, Geometry
from thplab.kernel.policies import Kernel
from thplab.show.diagrams.roles import light
from thplab.show.plots.plot import DASHES, LINES, MARKS, Plot, blank
from thplab.study.footprint import population, project

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KERNELS = ("v3.16", "rfc-2014", "v4.5", "v6.18")
STEPS = 20
MIB = 1 << 20


def footprint(
    kernels: Sequence[str | Kernel] = KERNELS,
    pressure: float = 0.0,
    thps: int = 100,
    pattern: str = "random",
    geometry: str | Geometry = X86_64,
    sharing: int = 1,
    unmapping: int | None = None,
    zero_filled: float = 0.0,
    pinned: float = 0.0,
    seed: int = 0,
) -> Plot:
    """Memory held, in MiB, over the share that is unmapped, from nothing to all, for each kernel.

    The arguments are those of thplab.study.footprint.population() and project(), and the same is raised. Kernels that
    agree everywhere share one line. Source of the numbers: project(), which tests hold equal to the simulated routines.
    """
    if not kernels:
        raise BadInput("kernels", "are none", "at least one kernel")
    shares = [step / STEPS for step in range(STEPS + 1)]
    questions = [
        population(thps, share, pattern, geometry, sharing, unmapping, zero_filled, pinned, seed) for share in shares
    ]
    named = {kernel if isinstance(kernel, str) else kernel.name: kernel for kernel in kernels}
    answers = {name: [project(kernel, question, pressure) for question in questions] for name, kernel in named.items()}
    held = {kernel: tuple(answer.held / MIB for answer in found) for kernel, found in answers.items()}
    mapped = [answer.mapped / MIB for answer in next(iter(answers.values()))]
    lines: dict[tuple[float, ...], list[str]] = {}
    for kernel, line in held.items():
        lines.setdefault(line, []).append(kernel)
    when = f"the shrinker gets to {pressure:.0%} of the queue" if pressure else "memory does not run short"
    title = f"Memory held by {thps:,} huge pages, {pattern} parts unmapped"
    return Plot(
        _drawn(title, shares, mapped, lines), title, _told(shares, mapped, lines, when), _table(shares, mapped, held)
    )


def _drawn(
    title: str, shares: Sequence[float], mapped: Sequence[float], lines: dict[tuple[float, ...], list[str]]
) -> Figure:
    figure = blank(7.2, 3.9)
    axes = figure.add_subplot()
    percent = [100 * share for share in shares]
    axes.fill_between(percent, mapped, color=light("page-row"), zorder=0)
    axes.plot(percent, mapped, color=light("muted"), linewidth=1, label="mapped")
    for number, (line, kernels) in enumerate(lines.items()):
        which, label = number % len(LINES), ", ".join(kernels)
        axes.plot(
            percent,
            line,
            color=light(LINES[which]),
            linestyle=DASHES[which],
            marker=MARKS[which],
            markevery=2,
            label=label,
        )
    axes.set_title(title, color=light("ink"), fontsize=11)
    axes.set_xlabel("unmapped, % of the small pages", color=light("ink"))
    axes.set_ylabel("held, MiB", color=light("ink"))
    axes.set_xlim(0, 100)
    axes.set_ylim(0)
    axes.tick_params(colors=light("ink"))
    axes.grid(color=light("line"), linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_color(light("freed"))
    axes.legend(frameon=False, labelcolor=light("ink"), loc="lower left")
    return figure


def _told(
    shares: Sequence[float], mapped: Sequence[float], lines: dict[tuple[float, ...], list[str]], when: str
) -> str:
    middle = len(shares) // 2
    said = "; ".join(f"{', '.join(kernels)} {line[middle]:,.1f} MiB" for line, kernels in lines.items())
    return (
        f"With {shares[middle]:.0%} unmapped, {mapped[middle]:,.1f} MiB are mapped, and if {when}, these are "
        f"held: {said}."
    )


def _table(
    shares: Sequence[float], mapped: Sequence[float], held: dict[str, tuple[float, ...]]
) -> tuple[tuple[str, ...], ...]:
    heading = ("unmapped", "mapped, MiB", *(f"{kernel} holds, MiB" for kernel in held))
    rows = (
        (f"{share:.0%}", f"{mapped[i]:.1f}", *(f"{line[i]:.1f}" for line in held.values()))
        for i, share in enumerate(shares)
    )
    return (heading, *rows)
