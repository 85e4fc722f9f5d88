"""Plots: what is drawn are the numbers that were computed, their text twin has them, and they follow the theme."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from thplab.errors import BadInput
from thplab.kernel.kernels import KERNELS
from thplab.show import plots
from thplab.show.diagrams.roles import ROLES
from thplab.study.compare import COSTS, compare
from thplab.study.footprint import population, project

STORY = "mmap A; fill A 0 1thp; fork A B; mprotect B 1/2thp 1 r; split A 0"


def numbers(data: Any) -> list[float]:
    return [float(number) for number in data]


def widths(axes: Axes) -> list[float]:
    """How long the bars of a plot are."""
    return [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]


def test_a_footprint_has_a_line_for_each_kernel_and_the_numbers_of_the_projection() -> None:
    plot = plots.footprint(("v3.16", "rfc-2014", "v4.5"), pressure=1.0, thps=20)
    (axes,) = plot.figure.axes
    lines = {line.get_label(): numbers(line.get_ydata()) for line in axes.lines}
    assert lines.keys() == {"mapped", "v3.16, v4.5", "rfc-2014"}  # memory runs short: two of them agree
    for number, percent in enumerate(numbers(axes.lines[0].get_xdata())):
        answers = {kernel: project(kernel, population(20, percent / 100), 1.0) for kernel in ("v3.16", "rfc-2014")}
        assert lines["rfc-2014"][number] == answers["rfc-2014"].held / (1 << 20)
        assert lines["v3.16, v4.5"][number] == answers["v3.16"].held / (1 << 20)
        assert lines["mapped"][number] == answers["v3.16"].mapped / (1 << 20)
    assert "With 50% unmapped, 20.0 MiB are mapped" in plot.text and "rfc-2014 40.0 MiB" in plot.text
    assert plot.table[11] == ("50%", "20.0", "20.0", "40.0", "20.0")


def test_a_kernel_of_the_readers_own_has_a_line_and_none_is_refused() -> None:
    own = replace(KERNELS["v4.5"], name="mine")
    assert plots.footprint((own, "rfc-2014"), thps=10).table[0][2:] == ("mine holds, MiB", "rfc-2014 holds, MiB")
    with pytest.raises(BadInput, match="kernels are none"):
        plots.footprint(())


def test_without_pressure_the_queue_holds_what_it_has() -> None:
    plot = plots.footprint(("v3.16", "rfc-2014", "v4.5"), thps=20)
    assert {line.get_label() for line in plot.figure.axes[0].lines} == {"mapped", "v3.16", "rfc-2014, v4.5"}
    assert "memory does not run short" in plot.text


def test_costs_are_those_of_the_comparison() -> None:
    kernels = ("rfc-2014", "v6.18")
    plot, comparison = plots.costs(STORY, kernels), compare(STORY, kernels)
    panels = {axes.get_title(): widths(axes) for axes in plot.figure.axes}
    rows: dict[str, Any] = {row.name: row.values for row in comparison.totals if row.group == COSTS}
    atomic = [a + b for a, b in zip(rows["RMW of counters"], rows["RMW of lock bits"], strict=True)]
    assert panels["atomic operations"] == atomic and panels["TLB flushes"] == list(rows["TLB flushes"])
    named = {"RMW of counters", "RMW of lock bits", "TLB flushes", "interrupts off"}
    assert panels["locks taken"] == [sum(values[k] for name, values in rows.items() if name not in named) for k in (0, 1)]
    assert f"atomic operations: rfc-2014 {atomic[0]:,}, v6.18 {atomic[1]:,}" in plot.text
    assert plot.table[1] == ("atomic operations", *(f"{count:,}" for count in atomic))


def test_costs_of_one_operation() -> None:
    kernels = ("rfc-2014", "v6.18")
    plot, compared = plots.costs(STORY, kernels, operation=4), compare(STORY, kernels).operations[3]
    flushes = next(axes for axes in plot.figure.axes if axes.get_title() == "TLB flushes")
    assert widths(flushes) == list(compared.row("TLB flushes").values)
    assert "mprotect(B, page 4, r)" in plot.title and plot.table != plots.costs(STORY, kernels).table


def test_memory_held_is_drawn_beside_what_is_mapped() -> None:
    question = population(20, 0.5)
    answers = [project(kernel, question) for kernel in ("v3.16", "rfc-2014")]
    plot = plots.held(answers, 40 * 2**20)
    (axes,) = plot.figure.axes
    assert widths(axes) == [20.0, 40.0] and axes.get_xlim() == (0, 40)
    assert [set(numbers(line.get_xdata())) for line in axes.lines] == [{20.0}, {20.0}]
    assert "rfc-2014 holds 40.0 MiB of 20.0 MiB mapped" in plot.text and plot.table[2][:3] == ("rfc-2014", "20.0", "40.0")


@pytest.mark.parametrize("plot", [plots.footprint(thps=4), plots.costs(STORY)], ids=["footprint", "costs"])
def test_a_plot_follows_the_theme_and_says_what_it_shows(plot: plots.Plot) -> None:
    svg, html = plot.svg(), plot._repr_html_()
    drawn = set(re.findall(r"#[0-9a-f]{6}\b", re.sub(r"var\([^)]*\)", "", svg)))
    assert drawn <= {"#000000"}, "every colour is a role's"
    assert {"ink", "process-0"} <= set(re.findall(r"var\(--thp-([\w-]+)", svg)) <= ROLES.keys()
    assert 'role="img"' in svg and plot.text[:30] in svg and "<text" in svg
    assert all(f"<td>{cell}</td>" in html for cell in plot.table[1])
    assert svg == plot.svg(), "the same each time"
    assert "<style" not in svg, "a rule in it would hold for everything around it"
    assert not re.search(r"https?://(?!www\.w3\.org|purl\.org|creativecommons\.org)", html)


def test_bad_input_is_told() -> None:
    with pytest.raises(BadInput, match="pattern"):
        plots.footprint(pattern="spots")
    with pytest.raises(BadInput, match="kernels"):
        plots.costs(STORY, ("v4.5",))
    with pytest.raises(BadInput, match="operation is 6; expected 1 to 5"):
        plots.costs(STORY, operation=6)


def test_a_notebook_that_plots_nothing_does_not_load_matplotlib() -> None:
    code = "import sys; import thplab.learn.lessons.series, thplab.learn.exercises, thplab; thplab.RaceStepper; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
