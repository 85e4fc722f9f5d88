"""`thplab verify` looks into a page split of the old world, and at the pages of the huge zero page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thplab.study.verify import Verified, verify

TRUTH = Path(__file__).parent / "truth" / "linux-3.16.jsonl"
Record = dict[str, Any]


def recorded(name: str) -> Record:
    records = (json.loads(line) for line in TRUTH.read_text(encoding="utf-8").splitlines())
    return next(record for record in records if record["name"] == name)


def run(tmp_path: Path, record: Record, kernel: str = "") -> Verified:
    path = tmp_path / "truth.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return verify(path, kernel)


def looks(record: Record) -> list[Record]:
    found: list[Record] = next(after["trace"] for after in record["after"] if "trace" in after)
    return found


CHANGES: dict[str, Callable[[list[Record]], object]] = {
    "split0.0.head": lambda trace: trace[0]["head"].__setitem__(1, 9),
    "split0.1.pmd": lambda trace: trace[1]["pmd"].__setitem__(0, ["huge", "pwdyu"]),
    "split0.2._refcount": lambda trace: trace[2]["tails"][1].__setitem__(3, 9),
    "split0.2.tails": lambda trace: trace[2]["tails"][1].__setitem__(2, "tail"),
    "split0.3.head": lambda trace: trace[3]["head"].__setitem__(0, "head"),
    "split0.3._mapcount": lambda trace: trace[3]["tails"][0].__setitem__(4, -1),
    "split0.4.pmd": lambda trace: trace[4]["pmd"].__setitem__(0, ["huge", "pwdyuS"]),
}


def test_what_the_recorder_saw_inside_agrees(tmp_path: Path) -> None:
    report = run(tmp_path, recorded("l_split_pins_via_tail"))
    assert report.text() == "9 operations, 9 agree, 0 disagree, 0 not modelled\n"


@pytest.mark.parametrize("field", CHANGES)
def test_a_look_that_shows_something_else_disagrees(tmp_path: Path, field: str) -> None:
    record = recorded("l_split_pins_via_tail")
    CHANGES[field](looks(record))
    assert [d.difference.field for d in run(tmp_path, record).disagreements] == [field]


def test_a_split_that_only_one_side_saw_disagrees(tmp_path: Path) -> None:
    record = recorded("l_split_pins_via_tail")
    trace = looks(record)
    trace.extend(json.loads(json.dumps(trace)))
    fields = [d.difference.field for d in run(tmp_path, record).disagreements]
    assert fields == [f"split1.{at}" for at in range(5)]
    del trace[:]
    fields = [d.difference.field for d in run(tmp_path, record).disagreements]
    assert fields == [f"split0.{at}" for at in range(5)]


def test_a_kernel_that_splits_in_another_way_is_not_compared_there(tmp_path: Path) -> None:
    report = run(tmp_path, recorded("l_split_pins_via_tail"), "v4.5")
    assert report.skipped["trace"] == 1
    assert not [d for d in report.disagreements if d.difference.field.startswith("split0")]


def test_the_huge_zero_page_is_compared(tmp_path: Path) -> None:
    record = recorded("l_pin_hugezero")
    assert run(tmp_path, record).text() == "5 operations, 5 agree, 0 disagree, 0 not modelled\n"
    record["after"][2]["hugezero"]["sub"][2][4] = 7
    record["after"][2]["hugezero"]["ref"] = 9
    assert [d.difference.field for d in run(tmp_path, record).disagreements] == ["hugezero.ref", "hugezero._mapcount"]


def test_a_small_page_in_a_block_that_was_a_huge_page_is_no_huge_page(tmp_path: Path) -> None:
    # Where the kernel puts a small page is noise: it happened to take one out of the block that had just been freed.
    record = recorded("dontneed_all_in_two_steps")
    assert record["after"][4]["frames"]["F0"]["head"] == 0 and record["after"][3]["frames"]["F0"] == "gone"
    assert run(tmp_path, record).disagreements == []
