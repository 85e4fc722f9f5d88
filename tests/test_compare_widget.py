"""The comparison and the footprint lab as Python makes them: what they show is what was computed."""

from __future__ import annotations

from typing import Any

import pytest
from asking import ask, unpacked

from thplab.errors import EAGAIN, BadInput
from thplab.kernel.kernels import KERNELS, kernel
from thplab.learn.widgets import Compare, FootprintLab
from thplab.scenario import load
from thplab.show.diagrams import NoEngine
from thplab.study.compare import COSTS, compare
from thplab.study.footprint import population, project

SCENARIO = "mmap A; fill A 0 1thp; fork A B; mprotect B 1/2thp 1 r; split A 0"
THREE = ("v3.16", "rfc-2014", "v6.18")


def test_a_comparison_shows_what_differs() -> None:
    data, comparison = unpacked(Compare(SCENARIO, kernels=THREE).packed), compare(SCENARIO, THREE)
    assert data["kernels"] == list(THREE) and len(data["frames"]) == 6
    for frame, compared in zip(data["frames"][1:], comparison.operations, strict=True):
        rows = {row[0]: row for _, rows in frame["groups"] for row in rows}
        for row in compared.differing():
            if row.group != COSTS:
                assert rows[row.label][2:] == [[value != row.values[0] for value in row.values], True]
                told = [text.split("\N{NO-BREAK SPACE}")[-1] for text in rows[row.label][1]]
                assert told == ["-" if value is None else str(value) for value in row.values]


def test_what_is_marked_is_what_differs_now_and_not_what_it_was_before() -> None:
    last = unpacked(Compare("cow", kernels=("v4.5", "v5.10")).packed)["frames"][-1]
    (row,) = [row for _, rows in last["groups"] for row in rows if row[0] == "page frames in use"]
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in row[1]] == ["8 → 0", "9 → 0"] and row[2] == [False, False]


def test_a_kernel_that_does_not_have_an_operation_says_so() -> None:
    data = unpacked(Compare("mmap A; write A 0; madvise A 0 1 cold; pin A 0 1 dma io_uring", kernels=("v4.5", "v6.18")).packed)
    assert data["frames"][3]["remarks"] == [["v4.5", "madvise: this kernel does not know the advice 'cold'"]]
    assert data["frames"][4]["remarks"] == [["v4.5", "io_uring does not exist in this kernel: there is no FOLL_PIN"]]
    assert "answer" in [group for group, _ in data["frames"][3]["groups"]]


def test_a_kernel_of_the_readers_own_can_be_chosen_again() -> None:
    mine = kernel("rfc-2014").but({"split.refused": -EAGAIN}, name="mine")
    widget = Compare("mmap A; write A 0; pin A 1 1 dma; split A 0", kernels=(mine, "rfc-2014"))
    for _ in range(2):
        data = unpacked(widget.packed)
        answer = next(row for _, rows in data["frames"][4]["groups"] for row in rows if row[0] == "returns")
        assert answer[1:3] == [["-EAGAIN", "-EBUSY"], [False, True]] and data["choices"]["kernels"] == [*KERNELS, "mine"]
        assert ask(widget, "compare", scenario=data["source"], kernels=data["kernels"], geometry="TOY") == ""


def test_its_bars_add_up_to_the_totals() -> None:
    widget = Compare(SCENARIO, kernels=THREE)
    frames = unpacked(widget.packed)["frames"]
    totals: dict[str, Any] = {row.name: row.values for row in widget.comparison.totals if row.group == COSTS}
    for kind in range(4):
        now = [frame["costs"][kind][1] for frame in frames[1:]]
        assert [sum(column) for column in zip(*now, strict=True)] == frames[-1]["costs"][kind][2]
    atomic = [a + b for a, b in zip(totals["RMW of counters"], totals["RMW of lock bits"], strict=True)]
    assert frames[-1]["costs"][0] == ["atomic operations", frames[-1]["costs"][0][1], atomic]


def test_each_kernel_has_the_picture_of_its_own_state() -> None:
    widget = Compare(SCENARIO, kernels=("v3.16", "v6.18"))
    old, new = (sheet.svg(4) for sheet in widget.sheets("simple"))
    assert "8 ordinary pages" in old and "8 ordinary pages" not in new and "_large_mapcount" in new
    data = unpacked(widget.packed)
    counts = [len(sheet["changes"]) for sheet in data["pictures"]["simple"]]
    assert counts == [len(data["frames"])] * 2


def test_another_comparison_and_what_cannot_be_compared() -> None:
    widget = Compare(SCENARIO, kernels=THREE)
    ask(widget, "compare", scenario="cow", kernels=["v4.5", "v6.18"], geometry="MINI")
    data = unpacked(widget.packed)
    assert (data["name"], data["kernels"], widget.step, widget.says) == ("cow", ["v4.5", "v6.18"], 1, "")
    assert len(data["frames"]) == 1 + len(load("cow").ops) and data["geometry"].startswith("MINI")
    assert widget.comparison.scenario == load("cow") and [k.name for k in widget.comparison.kernels] == ["v4.5", "v6.18"]
    for scenario, kernels in (("cow", ["v4.5"]), ("nonsense", THREE), ("cow", KERNELS)):
        assert "expected" in ask(widget, "compare", scenario=scenario, kernels=list(kernels), geometry="MINI")
        assert unpacked(widget.packed) == data


def test_bad_arguments_are_told() -> None:
    with pytest.raises(BadInput, match="kernels are 5; expected 2 to 4"):
        Compare(SCENARIO, kernels=tuple(KERNELS)[:5])
    with pytest.raises(BadInput, match="step is 9"):
        Compare(SCENARIO, kernels=THREE, step=9)
    with pytest.raises(BadInput, match="pattern"):
        FootprintLab(pattern="spots")
    with pytest.raises(BadInput, match="kernels are none"):
        FootprintLab(kernels=())


def test_where_no_picture_can_be_drawn_the_old_comparison_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    widget = Compare(SCENARIO, kernels=THREE)
    before = widget.comparison, widget.packed

    def nothing(*_: object) -> None:
        raise NoEngine("no engine")

    monkeypatch.setattr("thplab.learn.widgets.compare.payload", nothing)
    assert ask(widget, "compare", scenario="cow", kernels=list(THREE), geometry="TOY") == "no engine"
    assert (widget.comparison, widget.packed) == before and widget.answer["error"]


def test_equal_comparisons_are_equal_pages() -> None:
    assert Compare("cow", kernels=THREE, step=2).html() == Compare("cow", kernels=THREE, step=2).html()


def held(table: list[list[str]]) -> list[str]:
    return [row[2] for row in table[1:]]


def move(lab: FootprintLab, **values: float | str) -> str:
    """What is said when some sliders are moved."""
    return ask(lab, "move", **unpacked(lab)["values"] | values)


def test_the_footprint_lab_tells_what_the_projection_says() -> None:
    lab = FootprintLab(kernels=("v3.16", "rfc-2014", "v4.5"), thps=50)
    asked = ({"unmapped": 0.3}, {"pressure": 1.0}, {"pattern": "front", "thps": 200}, {"sharing": 3, "unmapping": 2}, {"pinned": 0.2})
    for values in asked:
        assert move(lab, **values) == ""
        now = unpacked(lab.packed)
        v = now["values"]
        question = population(v["thps"], v["unmapped"], v["pattern"], "X86_64", v["sharing"], v["unmapping"], v["zero_filled"], v["pinned"])
        assert held(now["table"]) == [f"{project(k, question, v['pressure']).held / 2**20:,.1f}" for k in lab.kernels]
        most = question.unmapped.size * 4096
        projected = [project(k, question, v["pressure"]) for k in lab.kernels]
        assert now["bars"] == [[p.kernel, p.held / most, p.mapped / most] for p in projected]
        assert values.items() <= v.items() and f"{projected[0].mapped / 2**20:,.1f} MiB of" in now["words"]


def test_a_position_that_makes_no_sense_is_told_and_changes_nothing() -> None:
    lab = FootprintLab(thps=50)
    before = unpacked(lab.packed)
    assert "unmapping" in move(lab, unmapping=5) and lab.answer["error"]
    assert unpacked(lab.packed) == before


def test_without_python_a_grid_of_positions_is_there() -> None:
    lab = FootprintLab(kernels=("rfc-2014", "v4.5"), thps=20)
    move(lab, thps=30, unmapped=0.7)  # the page begins where the sliders are by now
    packed = lab.packed_for_html()
    data = unpacked(packed)
    assert data["values"]["unmapped"] == 0.7
    at = {(a["values"]["unmapped"], a["values"]["pressure"]) for a in data["grid"]}
    assert at == {(n / 10, p / 4) for n in range(11) for p in range(5)}
    for answer in data["grid"]:
        question = population(30, answer["values"]["unmapped"], unmapping=1)
        assert answer["values"]["thps"] == 30
        assert held(answer["table"])[1] == f"{project('v4.5', question, answer['values']['pressure']).held / 2**20:,.1f}"
    assert packed in lab.html() and len(packed) < 300_000
