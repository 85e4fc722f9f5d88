"""The comparison and the footprint lab as Python makes them: what they show is what was computed."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from thplab.compare import COSTS, compare
from thplab.errors import BadInput
from thplab.footprint import population, project
from thplab.kernels import KERNELS
from thplab.scenario import load
from thplab.widgets import Compare, FootprintLab

SCENARIO = "mmap A; fill A 0 1thp; fork A B; mprotect B 1/2thp 1 r; split A 0"
THREE = ("v3.16", "rfc-2014", "v6.18")


def unpacked(text: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return data


def test_a_comparison_shows_what_differs() -> None:
    data, comparison = unpacked(Compare(SCENARIO, THREE).packed), compare(SCENARIO, THREE)
    assert data["kernels"] == list(THREE) and len(data["frames"]) == 6
    for frame, compared in zip(data["frames"][1:], comparison.operations, strict=True):
        rows = {row[0]: row for _, rows in frame["groups"] for row in rows}
        for row in compared.differing():
            if row.group != COSTS:
                assert rows[row.label][2:] == [True, True]
                told = [text.split("\N{NO-BREAK SPACE}")[-1] for text in rows[row.label][1]]
                assert told == ["-" if value is None else str(value) for value in row.values]


def test_its_bars_add_up_to_the_totals() -> None:
    widget = Compare(SCENARIO, THREE)
    frames, totals = unpacked(widget.packed)["frames"], {row.name: row.values for row in widget.comparison.totals if row.group == COSTS}
    for kind in range(4):
        now = [frame["costs"][kind][1] for frame in frames[1:]]
        assert [sum(column) for column in zip(*now, strict=True)] == frames[-1]["costs"][kind][2]
    atomic = [a + b for a, b in zip(totals["RMW of counters"], totals["RMW of lock bits"], strict=True)]
    assert frames[-1]["costs"][0] == ["atomic operations", frames[-1]["costs"][0][1], atomic]


def test_each_kernel_has_the_picture_of_its_own_state() -> None:
    data = unpacked(Compare(SCENARIO, ("v3.16", "v6.18")).packed)
    split = [data["pictures"][number] for number in data["frames"][4]["pictures"]]
    assert "8 ordinary pages" in split[0] and "8 ordinary pages" not in split[1] and "_large_mapcount" in split[1]


def test_another_comparison_and_what_cannot_be_compared() -> None:
    widget = Compare(SCENARIO, THREE)
    widget._asked(None, {"do": "compare", "scenario": "cow", "kernels": ["v4.5", "v6.18"], "geometry": "MINI"}, None)
    data = unpacked(widget.packed)
    assert (data["name"], data["kernels"], widget.step, widget.says) == ("cow", ["v4.5", "v6.18"], 0, "")
    assert len(data["frames"]) == 1 + len(load("cow").ops) and data["geometry"].startswith("MINI")
    for scenario, kernels in (("cow", ["v4.5"]), ("nonsense", THREE), ("cow", KERNELS)):
        widget._asked(None, {"do": "compare", "scenario": scenario, "kernels": list(kernels)}, None)
        assert "expected" in widget.says and unpacked(widget.packed) == data


def test_bad_arguments_are_told() -> None:
    with pytest.raises(BadInput, match="kernels are 5; expected 2 to 4"):
        Compare(SCENARIO, tuple(KERNELS)[:5])
    with pytest.raises(BadInput, match="step is 9"):
        Compare(SCENARIO, THREE, step=9)
    with pytest.raises(BadInput, match="pattern"):
        FootprintLab(pattern="spots")


def test_equal_comparisons_are_equal_pages() -> None:
    assert Compare("cow", THREE, step=2).html() == Compare("cow", THREE, step=2).html()


def held(table: list[list[str]]) -> list[str]:
    return [row[2] for row in table[1:]]


def test_the_footprint_lab_tells_what_the_projection_says() -> None:
    lab = FootprintLab(("v3.16", "rfc-2014", "v4.5"), thps=50)
    asked = ({"unmapped": 0.3}, {"pressure": 1.0}, {"pattern": "front", "thps": 200}, {"sharing": 3, "unmapping": 2}, {"pinned": 0.2})
    for values in asked:
        lab._asked(None, {"values": values}, None)
        now = unpacked(lab.packed)
        v = now["values"]
        question = population(v["thps"], v["unmapped"], v["pattern"], "X86_64", v["sharing"], v["unmapping"], v["zero_filled"], v["pinned"])
        assert held(now["table"]) == [f"{project(k, question, v['pressure']).held / 2**20:,.1f}" for k in lab.kernels]
        assert values.items() <= v.items() and "<svg" in now["picture"]


def test_a_position_that_makes_no_sense_is_told_and_changes_nothing() -> None:
    lab = FootprintLab(thps=50)
    before = unpacked(lab.packed)
    lab._asked(None, {"values": {"unmapping": 5}}, None)
    now = unpacked(lab.packed)
    assert "unmapping" in now["says"] and now["table"] == before["table"] and now["picture"] == before["picture"]


def test_without_python_a_grid_of_positions_is_there() -> None:
    lab = FootprintLab(("rfc-2014", "v4.5"), thps=20)
    answers = unpacked(lab.grid)["answers"]
    assert {(a["values"]["unmapped"], a["values"]["pressure"]) for a in answers} == {(n / 10, p) for n in range(11) for p in (0.0, 1.0)}
    for answer in answers:
        question = population(20, answer["values"]["unmapped"], unmapping=1)
        assert held(answer["table"])[1] == f"{project('v4.5', question, answer['values']['pressure']).held / 2**20:,.1f}"
    assert lab.grid in lab.html() and len(lab.grid) < 300_000
