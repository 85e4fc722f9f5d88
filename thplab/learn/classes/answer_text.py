"""The answer that a cell of a submission holds, read as text: nothing of the cell is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator

LONGEST = 20_000
"""Characters of a cell that are looked at: answers have some hundred."""


class NoAnswer(ValueError):
    """A cell from which no answer can be read; says why."""


def answer_in(cell: str, exercise: str) -> str:
    """The text that a cell hands to `exercise("ID").attempt(...)`, or else gives the name `answer`; of several the
    last. Raises NoAnswer.
    """
    found = list(_texts(_tree(cell), exercise))
    told = [text for attempted, text in found if attempted] or [text for _, text in found]
    if not told:
        raise NoAnswer(f'there is no answer = """...""" in this cell, and no exercise("{exercise}").attempt("""...""")')
    if told[-1] is None:
        raise NoAnswer(
            "the answer must be one text in quotes: nothing of a submission is run to find out what it makes"
        )
    return told[-1]


def student_in(cell: str) -> str:
    """The id that a cell gives the name `student`; "" if none can be read."""
    try:
        found = [_text(node.value) for node in _named(_tree(cell), "student")]
    except NoAnswer:
        return ""
    return (found[-1] or "").strip() if found else ""


def _tree(cell: str) -> ast.Module:
    if len(cell) > LONGEST:
        raise NoAnswer(f"the cell has {len(cell):,} characters; {LONGEST:,} at most are read")
    try:
        return ast.parse(cell)
    except SyntaxError as error:
        at = f", line {error.lineno}" if error.lineno else ""
        raise NoAnswer(f"the cell is no Python{at}: {error.msg}. Are the quotes around the answer closed?") from None
    except (ValueError, RecursionError, MemoryError):
        raise NoAnswer("the cell is no Python that can be read") from None


def _texts(tree: ast.Module, exercise: str) -> Iterator[tuple[bool, str | None]]:
    """What may be the answer, in the order of the lines: whether it is attempted, and the text, None if it is none."""
    for node in tree.body:
        for each in ast.walk(node):
            if isinstance(each, ast.Call) and _attempts(each, exercise):
                given = [*each.args, *(keyword.value for keyword in each.keywords if keyword.arg == "answer")]
                if given and not (isinstance(given[0], ast.Name) and given[0].id == "answer"):
                    yield True, _text(given[0])
    for assigned in _named(tree, "answer"):
        yield False, _text(assigned.value)


def _named(tree: ast.Module, name: str) -> Iterator[ast.Assign | ast.AnnAssign]:
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            yield node


def _attempts(call: ast.Call, exercise: str) -> bool:
    """Whether a call is exercise("ID").attempt(...)."""
    of = call.func
    if not (isinstance(of, ast.Attribute) and of.attr == "attempt" and isinstance(of.value, ast.Call)):
        return False
    named = of.value.args
    return len(named) == 1 and isinstance(named[0], ast.Constant) and named[0].value == exercise


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
