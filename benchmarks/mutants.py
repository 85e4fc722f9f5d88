"""How many faults some tests find: one small break of the kernel at a time, in a copy of the repository.

    python benchmarks/mutants.py [--number 20] [--seed 1] -- tests/test_kernel_rules.py ...    (make mutants: the graded tests)

A break is drawn evenly from all places of the simulated kernel and of the machine below and above it where one can be
made: a comparison turned round, a condition denied, `and` for `or`, plus for minus, a number one higher, a flag turned
over, a statement left out. Each is tried with the tests that are named, up to the first that fails. What no test finds
is listed: some of it no test can find, because the break changes nothing that could be seen. Wrong variants, which are
broken on purpose, are left whole.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from thplab.kernel.mutants import MUTANTS
from thplab.study.explore import PAIRS

ROOT = Path(__file__).parent.parent
PLACES = ("thplab/hardware", "thplab/kernel", "thplab/machine/operations")
_VARIANTS = [*(m.variants for m in MUTANTS.values()), *(pair.variants for pair in PAIRS.values())]
WRONG_ON_PURPOSE = {variant.__name__ for variants in _VARIANTS for variant in variants.values()}
TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
LIMIT = 600  # seconds; a loop that has become endless takes them


class Break(NamedTuple):
    path: str
    line: int
    before: str
    after: str
    source: str
    """The whole file, broken."""


def broken(node: ast.AST) -> ast.AST | None:
    """The node with one thing wrong, or None if nothing can be made wrong there."""
    wrong = copy.deepcopy(node)
    match wrong:
        case ast.Compare(ops=[op]) if type(op) in TURNED:
            wrong.ops = [TURNED[type(op)]()]  # type: ignore[list-item]
        case ast.BoolOp(op=op) | ast.AugAssign(op=op) | ast.BinOp(op=op) if type(op) in TURNED:
            wrong.op = TURNED[type(op)]()  # type: ignore[assignment]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
        case ast.IfExp(test=test):
            wrong.test = ast.UnaryOp(ast.Not(), test)
        case ast.Constant(value=bool(value)):
            wrong.value = not value
        case ast.Constant(value=int(value)):
            wrong.value = value + 1
        case ast.Expr(value=ast.Call() | ast.YieldFrom()):
            return ast.Pass()
        case _:
            return None
    return wrong


def places(node: ast.AST) -> Iterator[ast.AST]:
    """What runs below a node: no types, no texts, no wrong variants."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) if name in WRONG_ON_PURPOSE:
                continue
            case ast.FunctionDef():
                yield from (found for part in (child.args, *child.body) for found in places(ast.Module([part], [])))  # type: ignore[list-item]
            case ast.JoinedStr() | ast.arg() | ast.Import() | ast.ImportFrom():
                continue
            case ast.AnnAssign(value=value):
                yield from places(ast.Module([value] if value else [], []))  # type: ignore[list-item]
            case _:
                yield child
                yield from places(child)


def breaks() -> list[Break]:
    """Every break there can be."""
    found = []
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            if "mutants" in path.parts:
                continue
            text = path.read_bytes()
            starts = [0]
            for line in text.splitlines(keepends=True):
                starts.append(starts[-1] + len(line))
            for node in places(ast.parse(text)):
                if (wrong := broken(node)) is None:
                    continue
                start, end = (
                    starts[node.lineno - 1] + node.col_offset,
                    starts[node.end_lineno - 1] + node.end_col_offset,
                )  # type: ignore[attr-defined]
                after = ast.unparse(ast.fix_missing_locations(wrong))
                after = f"({after})" if isinstance(node, ast.expr) and not isinstance(node, ast.Constant) else after
                source = (text[:start] + after.encode() + text[end:]).decode()
                found.append(Break(str(path.relative_to(ROOT)), node.lineno, text[start:end].decode(), after, source))  # type: ignore[attr-defined]
    return found


def failing(tests: list[str], where: Path) -> str:
    """The test that fails first in that copy of the repository, or "" if all pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command,
            cwd=where,
            env=os.environ | {"PYTHONPATH": str(where)},
            capture_output=True,
            timeout=LIMIT,
            check=False,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return "endless"
    named = re.findall(r"^(?:FAILED|ERROR) tests/(test_\w+)", done.stdout, re.MULTILINE)
    return named[0] if named else "pytest" * (done.returncode != 0)


def write(path: Path, source: str) -> None:
    """Write a module so that Python sees that it is a new one: compiled ones are told apart by size and second."""
    later = path.stat().st_mtime + 2
    path.write_text(source)
    os.utime(path, (later, later))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--number", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("tests", nargs="+", metavar="argument", help="of pytest: files, -m 'not slow'")
    asked = parser.parse_args()
    chosen = random.Random(asked.seed).sample(breaks(), asked.number)
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    with tempfile.TemporaryDirectory() as scratch:
        where = Path(scratch)
        for name in names:
            if (ROOT / name).is_file():
                (where / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, where / name)
        if found := failing(asked.tests, where):
            print(f"{found} fails without any break.")
            return 1
        results = []
        for path, line, before, after, source in chosen:
            start, right = time.monotonic(), (where / path).read_text()
            write(where / path, source)
            results.append(failing(asked.tests, where))
            write(where / path, right)
            what = f"{' '.join(before.split())[:50]}  ->  {' '.join(after.split())[:50]}"
            print(
                f"{results[-1] or 'NOT FOUND':<20} {time.monotonic() - start:4.0f} s  {path}:{line}  {what}", flush=True
            )
    print(f"{sum(map(bool, results))} of {len(results)} found: {dict(Counter(filter(None, results)))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
