"""One scenario on two to four kernels side by side:
pictures, what differs, and what it costs, operation by operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thplab.errors import BadInput
from thplab.hardware.geometry import GEOMETRIES
from thplab.kernel import kernels as known
from thplab.kernel.policies import Kernel
from thplab.learn.widgets.conversation import asked
from thplab.learn.widgets.payload import geometry_text
from thplab.learn.widgets.pictured import Pictured
from thplab.learn.widgets.widget import Stepped
from thplab.machine.state import State
from thplab.scenario import Scenario, builtin, load
from thplab.show.describe.compare_text import value_text
from thplab.show.diagrams import SIMPLE, Sheet
from thplab.show.plots.costs import KINDS, counted
from thplab.study.compare import GROUPS, Compared, Comparison, Fact, compare

KERNELS = ("v3.16", "rfc-2014", "v6.18")
LEAST, MOST = 2, 4
"""How many kernels stand side by side."""


class Compare(Pictured, Stepped, page="bars compare"):
    """Goes through a scenario on several kernels in lock-step.

    `scenario` is what thplab.scenario.load takes, or a Scenario; `kernels` are two to four names, or records of the
    reader's own. The learner may choose others while there is Python; what was compared works without. Raises BadInput
    as compare() does, and for too many kernels. `lecture` is for a projector: one picture at a time, and what differs.
    """

    traits_in_html = ("step",)

    def __init__(
        self,
        scenario: Scenario | str = "story",
        *,
        kernels: Sequence[str | Kernel] = KERNELS,
        geometry: str = "TOY",
        step: int = 1,
        lecture: bool = False,
    ) -> None:
        self._known = known.KERNELS | {kernel.name: kernel for kernel in kernels if isinstance(kernel, Kernel)}
        self.comparison, self._source = (
            _compare(scenario, kernels, geometry),
            scenario if isinstance(scenario, str) else "",
        )
        self._data = payload(self.comparison, self._source, tuple(self._known))
        super().__init__(packed=self.packed_now(), step=step, lecture=lecture)

    @asked("compare")
    def _compare_anew(self, scenario: str, kernels: list[str], geometry: str) -> None:
        """Compare something else."""
        comparison = _compare(scenario, [self._known.get(name, name) for name in kernels], geometry)
        data = payload(comparison, scenario, tuple(self._known))
        before = self.comparison, self._source, self._data
        self.comparison, self._source, self._data = comparison, scenario, data
        try:
            packed = self.packed_now()
        except Exception:
            self.comparison, self._source, self._data = before
            raise
        self.packed, self.step = packed, min(1, len(data["frames"]) - 1)

    def data(self) -> dict[str, Any]:
        """What payload() makes of the comparison."""
        return self._data

    def sheets(self, detail: str) -> list[Sheet]:
        """One for each kernel, with a picture for each state between the operations."""
        columns = zip(self.comparison.start, _by_kernel(self.comparison), strict=True)
        return [Sheet.of([before, *after], detail) for before, after in columns]

    def still(self) -> tuple[str, str]:
        """The picture of the last kernel at the step that is shown, and the operation."""
        frame, names = self._data["frames"][self.step], self._data["kernels"]
        caption = f"{frame['label']}, on {names[-1]}. Compared with {', '.join(names[:-1])}."
        return self.sheets(SIMPLE)[-1].svg(self.step), caption


def _compare(scenario: Scenario | str, kernels: Sequence[str | Kernel], geometry: str) -> Comparison:
    if not LEAST <= len(kernels) <= MOST:
        raise BadInput("kernels", f"are {len(kernels)}", f"{LEAST} to {MOST} of {', '.join(known.KERNELS)}")
    return compare(load(scenario) if isinstance(scenario, str) else scenario, kernels, geometry)


def payload(comparison: Comparison, source: str, kernels: Sequence[str]) -> dict[str, Any]:
    """All that is shown but the pictures, as JSON can hold it; `kernels` are those to choose from."""
    size, count = comparison.geometry, len(comparison.kernels)
    spent = {kind: (0,) * count for kind in KINDS}
    nothing: dict[str, list[Any]] = {"groups": [], "remarks": [], "costs": []}
    frames = [{"label": "before the first operation", **nothing}]
    for number, compared in enumerate(comparison.operations, 1):
        costs = counted(compared.rows, count)
        spent = {kind: tuple(a + b for a, b in zip(spent[kind], costs[kind], strict=True)) for kind in KINDS}
        frames.append(
            {
                "label": f"{number}. {compared.op.label(size.nr)}",
                "groups": _groups(compared),
                "remarks": [
                    [k.name, text] for k, text in zip(comparison.kernels, compared.remarks, strict=True) if text
                ],
                "costs": [[kind, costs[kind], spent[kind]] for kind in KINDS],
            }
        )
    return {
        "name": comparison.scenario.name or "your scenario",
        "about": comparison.scenario.about,
        "source": source or comparison.scenario.line(),
        "scenario": comparison.scenario.line(),
        "kernels": [kernel.name for kernel in comparison.kernels],
        "schemes": [kernel.scheme.name for kernel in comparison.kernels],
        "geometry": geometry_text(size),
        "problem": comparison.problem,
        "choices": {"scenarios": list(builtin()), "kernels": list(kernels), "geometries": list(GEOMETRIES)},
        "most": MOST,
        "frames": frames,
    }


def _by_kernel(comparison: Comparison) -> list[list[State]]:
    """For each kernel its states after the operations."""
    return [[compared.states[index] for compared in comparison.operations] for index in range(len(comparison.kernels))]


def _groups(compared: Compared) -> list[list[Any]]:
    """The facts after an operation, by group: [title, rows], a row being [label, texts, others, moved].

    `others` says of each kernel whether it differs from the first.
    """
    found = []
    for group in GROUPS[:-1]:  # costs are bars
        rows = [
            row
            for row in compared.rows
            if row.group == group and (row.moved or any(value not in (None, 0) for value in row.values))
        ]
        found += [[group, [_row(row) for row in rows]]] if rows else []
    return found


def _row(row: Fact) -> list[Any]:
    texts = [value_text(row, index) for index in range(len(row.values))]
    return [row.label, texts, [value != row.values[0] for value in row.values], row.moved]
