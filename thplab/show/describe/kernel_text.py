"""A kernel in words: what its record says in each policy, what that means, and why it is believed."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import NamedTuple

from thplab.errors import errname
from thplab.kernel import policies
from thplab.kernel.evidence import Recorded
from thplab.kernel.kernels import KERNELS
from thplab.kernel.policies import GROUPS, POLICIES, Kernel


class PolicyRow(NamedTuple):
    """One policy of one kernel in words. `kernel` is whose record says it: this kernel's, or that of one before it."""

    name: str
    value: str
    meaning: str
    kernel: str
    why: tuple[str, ...]


def policy_rows(kernel: Kernel) -> tuple[PolicyRow, ...]:
    """All policies of a kernel, group by group. As JSON: `[row._asdict() for row in policy_rows(kernel)]`."""
    return tuple(policy_row(kernel, name) for name in POLICIES)


def policy_row(kernel: Kernel, name: str) -> PolicyRow:
    """One policy of a kernel. Raises BadInput for one that does not exist."""
    value, evidence, whose = kernel.evidence(name)
    return PolicyRow(name, _value(value), _meanings()[name], whose, tuple(map(str, evidence)))


def kernels_text() -> str:
    """The kernels, a line for each."""
    lines = [f"{k.name:9} {k.scheme.name:12} {k.refcount_name:10} {k.source}" for k in KERNELS.values()]
    return "\n".join((*lines, "", "All policies of one of them: thplab kernels NAME", ""))


def kernel_text(kernel: Kernel, width: int = 120) -> str:
    """All policies of a kernel: its value in each, what that means, and why it is believed."""
    lines = [
        f"{kernel.name}: scheme {kernel.scheme.name}, references in {kernel.refcount_name}",
        *textwrap.wrap(
            f"Read in {kernel.source}. A star marks what this record says itself; the rest is as in the kernel named.",
            width,
        ),
    ]
    for group, rows in groupby(policy_rows(kernel), key=lambda row: row.name.partition(".")[0]):
        lines += ["", f"{group}: {GROUPS[group].__doc__}"]
        for row in rows:
            lines += textwrap.wrap(
                f"{'*' if row.kernel == kernel.name else ' '} {row.name}: {row.value}", width, subsequent_indent="    "
            )
            lines += _indented(row.meaning, width)
            whose = "" if row.kernel == kernel.name else f"as {row.kernel}, "
            lines += [line for why in row.why for line in _indented(whose + why, width)]
    return "\n".join((*lines, ""))


def policy_text(kernel: Kernel, name: str, width: int = 120) -> str:
    """One policy of a kernel in full, and what the other kernels do.
    Raises BadInput for a policy that does not exist.
    """
    row, belief = policy_row(kernel, name), kernel.evidence(name)
    whose = (
        f"{kernel.name}'s own record says so"
        if row.kernel == kernel.name
        else f"{kernel.name} inherits it from {row.kernel}"
    )
    lines = [
        *textwrap.wrap(f"{name} of {kernel.name}: {row.value}", width),
        *_indented(row.meaning, width),
        "",
        f"{whose}:",
    ]
    for evidence in belief.evidence:
        lines += [*_indented(str(evidence), width), *_indented(" ".join((type(evidence).__doc__ or "").split()), width)]
        if isinstance(evidence, Recorded):  # in one line, to be copied
            lines.append(f"    To see it: {evidence.command(row.kernel)}")
    lines += ["", "The kernels:"]
    for other in KERNELS.values():
        lines += textwrap.wrap(f"    {other.name:9} {_value(other.policy(name))}", width, subsequent_indent=" " * 14)
    return "\n".join((*lines, ""))


def _indented(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent="    ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _value(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "no answer", True: "yes", False: "no"}[value]
    if isinstance(value, int) and value < 0:
        return errname(value)
    if isinstance(value, frozenset | tuple):
        return ", ".join(sorted(value) if isinstance(value, frozenset) else value)
    return str(value) or "none"


@cache
def _meanings() -> dict[str, str]:
    """Policy -> the docstring of its field, which only the source has."""
    classes = {
        node.name: node for node in ast.parse(inspect.getsource(policies)).body if isinstance(node, ast.ClassDef)
    }
    return {
        f"{group}.{name}": text for group, kind in GROUPS.items() for name, text in _docstrings(classes[kind.__name__])
    }


def _docstrings(of: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in zip(of.body, of.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            assert isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant), field.target.id
            yield field.target.id, " ".join(str(text.value.value).split())
