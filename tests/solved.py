"""All solutions of tests/solutions, by the exercises' ids."""

from __future__ import annotations

from solutions import bugs, callers, counting, footprint, merged, old_bargain, own_kernel, page_tables, races, real_numbers, refused, split_pmd, story
from solutions.model import Solved

SOLVED: dict[str, Solved] = {
    id: solved
    for module in (story, page_tables, old_bargain, split_pmd, counting, refused, footprint, callers, merged, own_kernel, bugs, races, real_numbers)
    for id, solved in module.SOLVED.items()
}
