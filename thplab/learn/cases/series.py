"""All cases, in the order in which they are listed."""

from __future__ import annotations

from thplab.errors import BadInput
from thplab.learn.cases.case import Case
from thplab.learn.cases.copies import ALONE, DATABASE, DIRECT_IO, MAPCOUNT, PIPE
from thplab.learn.cases.memory import BROUGHT, HELD, LAZY, STACK, ZEROES

CASES = (PIPE, DIRECT_IO, HELD, BROUGHT, DATABASE, STACK, MAPCOUNT, LAZY, ZEROES, ALONE)


def case(number: int) -> Case:
    """The case of that number, from 1. Raises BadInput if there is none."""
    if not 1 <= number <= len(CASES):
        raise BadInput("case", f"is {number}", f"1 to {len(CASES)}")
    return CASES[number - 1]
