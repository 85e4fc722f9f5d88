"""Mutants: kernels that are wrong in one named way, for tests and for find-the-bug exercises.

The wrong code stands beside the right one; these tables say what each replaces and what finds it out.
"""

from __future__ import annotations

from thplab.errors import BadInput
from thplab.kernel import kernels
from thplab.kernel.mutants import mappings, policies, references, splits
from thplab.kernel.mutants.mutant import Mutant, TruthRow

MUTANTS: dict[str, Mutant] = splits.MUTANTS | mappings.MUTANTS | references.MUTANTS | policies.MUTANTS

NOTHING_WRONG = Mutant("nothing is wrong", killed_by="", kernel=kernels.DEFAULT)

__all__ = ["MUTANTS", "NOTHING_WRONG", "Mutant", "TruthRow", "mutant"]


def mutant(name: str) -> Mutant:
    """The mutant of that name; the one that replaces nothing for the empty name. Raises BadInput for an unknown one."""
    if not name:
        return NOTHING_WRONG
    if name not in MUTANTS:
        raise BadInput("mutant", f"{name!r} is unknown", "one of " + ", ".join(MUTANTS))
    return MUTANTS[name]
