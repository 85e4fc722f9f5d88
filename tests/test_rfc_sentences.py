"""docs/rfc-sentences.md: there is a row for each sentence of the cover letter, and all that a row names exists."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from thplab.machine.trace import Setup
from thplab.scenario import Scenario, builtin, load
from thplab.study.invariants import INVARIANTS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "rfc-sentences.md").read_text()
LETTER = (ROOT / "docs" / "rfc.txt").read_text()

COLUMNS = 6
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
ids = [row[0] for row in ROWS]


def sentences(letter: str) -> list[str]:
    """The sentences of the letter, cut as the page says."""
    body = letter.rstrip().rsplit("\n", 1)[0]
    found = re.split(r"(?<=[.?;])(?<!I\.e\.)\s+|\n(?=- )", body)
    return [sentence for sentence in found if sentence.strip()]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@cache
def steps() -> frozenset[tuple[CodeType, str]]:
    """(code in progress, text) of every step of the built-in scenarios on the kernel of the letter."""
    return frozenset(step for name in builtin() for step in steps_of(load(name)))


def steps_of(scenario: Scenario) -> Iterator[tuple[CodeType, str]]:
    machine = Setup().machine()
    for op in scenario.ops:
        operation: Any = machine.begin(op)
        for step in operation:
            at = operation
            while hasattr(at, "gi_code"):
                yield at.gi_code, step.text
                at = at.gi_yieldfrom


def test_the_letter_is_cut_as_the_page_says() -> None:
    cut = sentences(LETTER)
    assert cut[0].startswith("Hello everybody,\nWe've discussed") and cut[-1] == "Any commemnt?"
    assert "- split of huge page should never fail;" in cut and "I.e. VMA now can start and end in\nmiddle of compound page." in cut


def test_each_sentence_has_its_row() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, len(sentences(LETTER)) + 1))
    assert all(len(row) == COLUMNS and row[1] for row in ROWS)


def test_no_row_repeats_the_letter() -> None:
    plain = " ".join(LETTER.lower().split())
    for row in ROWS:
        words = row[1].lower().split()
        for at in range(len(words) - 5):
            assert " ".join(words[at : at + 6]) not in plain, row[1]


def test_the_letter_is_linked_once() -> None:
    assert PAGE.count("https://lwn.net/Articles/601781") == 1


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_each_routine_exists_and_takes_the_step(row: list[str]) -> None:
    shown: dict[str, Any] = dict.fromkeys(quoted(row[2]))
    assert shown or row[2] == "–"
    for name in shown:
        module, *path = _split("thplab.kernel." + name)
        at = import_module(module)
        for part in path:
            at = getattr(at, part)
        shown[name] = inspect.unwrap(at)  # type: ignore[arg-type]
        assert inspect.isfunction(shown[name]), f"{name} is a {type(at)}"
    for step in re.findall(r"\*([^*]+)\*", row[2]):
        name, function = next(iter(shown.items()))
        assert any(function.__code__ is code and text.startswith(step) for code, text in steps()), f"{name} makes no step {step!r}"


def _split(name: str) -> tuple[str, ...]:
    """A dotted name as the module and what is inside it."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        file = ROOT.joinpath(*parts[:cut]).with_suffix(".py")
        if file.is_file():
            return (".".join(parts[:cut]), *parts[cut:])
    raise AssertionError(f"{name} is in no module")


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_each_invariant_exists(row: list[str]) -> None:
    named = quoted(row[3])
    assert named or row[3] == "–"
    assert set(named) <= {invariant.name for invariant in INVARIANTS}


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_each_test_exists(row: list[str]) -> None:
    named = quoted(row[4])
    assert named or row[4] == "–"
    for name in named:
        module, test = name.split(".")
        tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text())
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_each_cell_exists(row: list[str]) -> None:
    cells = {cell["id"] for path in (ROOT / "notebooks").glob("*.ipynb") for cell in json.loads(path.read_text())["cells"]}
    assert quoted(row[5]) and set(quoted(row[5])) <= cells
