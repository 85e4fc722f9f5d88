"""Scenarios: of the list beside this file, of a file of the same form, or of recordings that are to be made again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from thplab.errors import BadInput
from thplab.scenario import Phase, Scenario
from thplab.study.verify.steps import operation

LIST = Path(__file__).parent / "scenarios.txt"


def read(path: Path) -> list[Scenario]:
    """The scenarios of a file: .jsonl holds recordings of either kind, everything else the text form, each from its
    `scenario` line on.

    Raises BadInput.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadInput("file", f"{str(path)!r} cannot be read ({error})", "a file of scenarios") from None
    if path.suffix == ".jsonl":
        return [_of_record(json.loads(line)) for line in text.splitlines() if line.strip()]
    pieces: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("scenario ") or not pieces:
            pieces.append("")
        pieces[-1] += line
    found = [Scenario.parse(piece) for piece in pieces]
    return [scenario for scenario in found if scenario.ops]


def picked(scenarios: Iterable[Scenario], prefixes: Iterable[str]) -> list[Scenario]:
    """The scenarios whose names begin so. Raises BadInput if nothing is left."""
    wanted = tuple(prefixes)
    found = [scenario for scenario in scenarios if scenario.name.startswith(wanted)]
    if not found:
        raise BadInput("name", f"begins with {' or '.join(wanted)} in no scenario", "the beginning of a name")
    return found


def _of_record(record: dict[str, Any]) -> Scenario:
    """The scenario of a recording: of the state after each operation, or of the steps of the last one."""
    if "ops" in record:
        return Scenario.from_record(record)
    ops = tuple(operation(each) for each in (*record["setup"], record["op"]))
    return Scenario(record["name"], phases=(Phase(ops=ops),))
