"""What one scenario costs on several kernels, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from thplab.errors import BadInput
from thplab.kernel.policies import Kernel
from thplab.scenario import Scenario, load
from thplab.show.diagrams.roles import light
from thplab.show.plots.plot import HATCHES, LINES, Plot, blank
from thplab.study.compare import COST_NAMES, COSTS, Fact, compare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ATOMIC, FLUSHES, DEAF, LOCKS = "atomic operations", "TLB flushes", "interrupts off", "locks taken"
KINDS = (ATOMIC, FLUSHES, LOCKS, DEAF)
_KIND_OF = {
    COST_NAMES["rmw"]: ATOMIC,
    COST_NAMES["bit_rmw"]: ATOMIC,
    COST_NAMES["flushes"]: FLUSHES,
    COST_NAMES["irqs_off"]: DEAF,
}
"""Cost of a comparison -> the panel that it is counted in; all others are locks by name."""

KERNELS = ("v3.16", "rfc-2014", "v4.5", "v6.18")


def costs(
    scenario: Scenario | str,
    kernels: Sequence[str | Kernel] = KERNELS,
    geometry: str = "TOY",
    operation: int | None = None,
) -> Plot:
    """The costs of a scenario as bars, a panel for each kind of cost:
    of all of it, or of one operation, the first being 1.

    `scenario` is a Scenario, or what thplab.scenario.load takes.
    Raises BadInput as compare() does, and for an operation that is not there.
    """
    comparison = compare(load(scenario) if isinstance(scenario, str) else scenario, kernels, geometry)
    nr, last = comparison.geometry.nr, len(comparison.operations)
    if operation is not None and operation not in range(1, last + 1):
        raise BadInput("operation", f"is {operation}", f"1 to {last}, or None for all")
    one = None if operation is None else comparison.operations[operation - 1]
    counts = counted(one.rows if one else comparison.totals, len(comparison.kernels))
    names = [kernel.name for kernel in comparison.kernels]
    title = f"What {one.op.label(nr) if one else 'it'} costs, at {nr} pages in a huge page"
    table = (("", *names), *((kind, *(f"{count:,}" for count in counts[kind])) for kind in KINDS))
    said = [f"{kind}: " + ", ".join(map(" ".join, zip(names, numbers, strict=True))) for kind, *numbers in table[1:]]
    return Plot(_drawn(title, names, counts), title, f"{'; '.join(said)}.", table)


def counted(rows: Iterable[Fact], kernels: int) -> dict[str, tuple[int, ...]]:
    """Kind of cost -> what these rows of a comparison of so many kernels cost on each."""
    sums = {kind: [0] * kernels for kind in KINDS}
    for row in rows:
        if row.group == COSTS:
            kind = sums[_KIND_OF.get(row.name, LOCKS)]
            for index, value in enumerate(row.values):
                kind[index] += int(value or 0)
    return {kind: tuple(values) for kind, values in sums.items()}


def _drawn(title: str, names: Sequence[str], counts: dict[str, tuple[int, ...]]) -> Figure:
    figure = blank(8.6, 0.62 + 0.42 * len(names))
    figure.suptitle(title, color=light("ink"), fontsize=11)
    for number, (kind, axes) in enumerate(zip(KINDS, figure.subplots(1, len(KINDS), sharey=True), strict=True)):
        places = list(range(len(names)))
        for place in places:
            role = LINES[place % len(LINES)]
            axes.barh(
                place,
                counts[kind][place],
                color=light(role),
                edgecolor=light("paper"),
                hatch=HATCHES[place % len(HATCHES)],
            )
            axes.annotate(
                f" {counts[kind][place]:,}", (counts[kind][place], place), va="center", color=light("ink"), fontsize=9
            )
        axes.set_title(kind, color=light("ink"), fontsize=10)
        axes.set_xlim(0, 1.45 * max(1, *counts[kind]))
        axes.set_xticks([])
        axes.set_yticks(places, names)
        axes.tick_params(colors=light("ink"), left=False, labelleft=number == 0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    figure.axes[0].invert_yaxis()
    return figure
