"""Marks for what was handed in, from a process of its own: whoever asks runs nothing of it, and gets text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import thplab
from thplab.errors import BadInput, ThplabError
from thplab.foreign import IntShape, ListShape, ObjectShape, RowShape, TextShape, parse
from thplab.learn.exercises.series import exercise

SECONDS, MIB = 20.0, 1024
"""What one answer may take: CPU time, and memory beside what the simulator itself has."""

# Isolated: neither the environment nor the working directory decides what is imported.
_START = "import sys; sys.path.insert(0, sys.argv[1]); from thplab.learn.classes.marker import main; main()"

_TEXT = TextShape(2000)
_SHAPE = ObjectShape(
    {"name": _TEXT, "question": TextShape(20_000), "claimed": _TEXT},
    optional={
        "problem": _TEXT,
        "ours": _TEXT,
        "answer": TextShape(50_000),
        "right": RowShape((IntShape(0, 1000), IntShape(1, 1000))),
        "head": _TEXT,
        "missing": ListShape(_TEXT, 100),
        "picture": TextShape(20_000_000),
        "strip": _TEXT,
        "fits": ListShape(_TEXT, 100_000),
    },
)


class MarkingFailed(ThplabError):
    """The process that marks has ended, or does not start: nothing is known of the answers."""


@dataclass(frozen=True)
class HandedIn:
    """One answer to be marked: the cell that holds it, the cell that says whose notebook it is, and whose variant it is
    marked for. If it does not solve that, the variants of `others` are tried, too.
    """

    exercise: str
    cell: str
    seed: str
    who: str = ""
    others: Sequence[str] = ()
    picture: bool = False


@dataclass(frozen=True)
class Mark:
    """What is said of one answer to an exercise, `name`, which has asked `question` of this student. `head` and
    `missing` are the verdict's own words; without a verdict `problem` says why. `right` of `of` parts are right.
    `claimed` is whose notebook it says it is, `fits` whose variants the answer solves, of those that were tried, `ours`
    an error that was thplab's.
    """

    name: str
    question: str
    answer: str
    problem: str
    ours: str
    claimed: str
    right: int
    of: int
    head: str
    missing: tuple[str, ...]
    picture: str
    strip: str
    fits: tuple[str, ...]

    @property
    def solved(self) -> bool:
        """All is right."""
        return self.right == self.of


def mark(handed_in: Sequence[HandedIn], seconds: float = SECONDS, mib: int = MIB) -> list[Mark]:
    """The marks, in the order of the answers; each answer within these limits. Raises MarkingFailed, and BadInput if an
    exercise does not exist or this system has no limits for a process (Windows).
    """
    for each in handed_in:
        exercise(each.exercise)
    if os.name != "posix":
        raise BadInput("system", f"is {os.name}, on which no process can be limited", "Linux or macOS")
    asked = json.dumps({"answers": [asdict(each) for each in handed_in], "seconds": seconds, "mib": mib})
    with tempfile.TemporaryDirectory() as nowhere:
        command = [sys.executable, "-I", "-c", _START, str(Path(thplab.__file__).parents[1])]
        clean = {"PATH": os.environ.get("PATH", os.defpath), "HOME": nowhere, "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
        done = subprocess.run(
            command, input=asked, capture_output=True, encoding="utf-8", check=False, cwd=nowhere, env=clean
        )
    lines = done.stdout.split("\n")[:-1]
    if done.returncode or len(lines) != len(handed_in):
        raise MarkingFailed(f"the process that marks has ended with {done.returncode}: {done.stderr[-500:].strip()}")
    return [_mark(line) for line in lines]


def _mark(line: str) -> Mark:
    told = parse(line, _SHAPE, "the process that marks")
    right, of = told.get("right", (0, 1))
    texts = {key: told.get(key, "") for key in ("answer", "problem", "ours", "head", "picture", "strip")}
    known = {key: told[key] for key in ("name", "question", "claimed")}
    return Mark(
        **known, **texts, right=right, of=of, missing=tuple(told.get("missing", ())), fits=tuple(told.get("fits", ()))
    )
