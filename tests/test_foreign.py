"""Foreign JSON: what does not fit is named by file, line and field, and nothing else is raised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thplab.errors import BadInput
from thplab.foreign import AnyShape, IntShape, ListShape, TextShape, parse, read_lines
from thplab.machine.trace import Trace
from thplab.scenario import Scenario
from thplab.study.verify.records import read_records
from thplab.study.verify.stores import read_recordings

TRUTH = Path(__file__).parent / "truth"


def record(**changes: Any) -> dict[str, Any]:
    first: dict[str, Any] = json.loads((TRUTH / "linux-6.1.jsonl").read_text().split("\n")[0])
    return first | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": 6.1}, "kernel is 6.1; expected a release"),
        ({"noisy_ops": [True]}, "noisy_ops[0] is True; expected a whole number"),
        ({"noisy_ops": [-1]}, "noisy_ops[0] is -1"),
        ({"after": []}, "after has 0 entries; expected one for each of the 3 ops"),
        (
            {"after": [{"ret": 0, "ev": {"thp_split": "1"}, "proc": {}, "frames": {}}] * 3},
            "after[0].ev.thp_split is '1'",
        ),
        (
            {"after": [{"ret": 0, "ev": {}, "proc": {"A": {"R": {"runs": [[0]]}}}, "frames": {}}] * 3},
            "after[0].proc.A.R.runs[0] is [0]",
        ),
        ({"ops": [{"op": "mmap", "proc": 5}] * 3}, "mmap proc is 5"),
        ({"name": "\ud800"}, "name is '\\ud800'"),
    ],
)
def test_a_record_names_the_field_that_is_wrong(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n" + json.dumps(record(**changes)))
    with pytest.raises(BadInput) as raised:
        read_records(path)
    assert f"mine.jsonl, line 2: {message}" in str(raised.value)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "9" * 5000, "NaN", '{"a": ' * 30 + "1" + "}" * 30, "\x00", '"\\ud800"']
)
def test_what_is_no_foreign_json_is_bad_input(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(text)
    for read in (read_records, read_recordings, lambda path: list(read_lines(path, ListShape(IntShape()), "a list"))):
        with pytest.raises(BadInput):
            read(path)
    for load in (Trace.load, lambda text: Scenario.from_json(parse(text, AnyShape(), "text"))):
        with pytest.raises(BadInput):
            load(text)


def test_a_value_that_nobody_reads_has_a_depth() -> None:
    parse("[" * 20 + "]" * 20, AnyShape(), "text")
    with pytest.raises(BadInput, match=r"text: \[0\]\[0\].* nested at most 20 deep"):
        parse("[" * 22 + "]" * 22, AnyShape(), "text")
    with pytest.raises(BadInput, match="a text of at most 3 characters"):
        parse('"abcd"', TextShape(3), "text")
