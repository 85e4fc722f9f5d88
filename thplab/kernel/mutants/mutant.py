"""What a mutant is: what it gets wrong, what of the kernel it replaces, and what finds it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from thplab.errors import BadInput
from thplab.kernel import kernels
from thplab.kernel.policies import Kernel
from thplab.kernel.schemes import Scheme


class TruthRow(NamedTuple):
    """A recorded value that a mutant gets wrong:
    a truth file, a scenario in it, and a field as `thplab verify` names it.
    """

    file: str
    scenario: str
    field: str


@dataclass(frozen=True)
class Mutant:
    """One way to be wrong, in plain words, and what it replaces in a kernel.

    `variants` replaces routines by name, `scheme` the scheme by a subclass of it, and `policies` some of the kernel
    record, by name. `killed_by` names the invariant that `scenario` breaks on `kernel`, or the row of a recording with
    which it disagrees.
    """

    about: str
    variants: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    killed_by: str | TruthRow = ""
    scenario: str = "story"
    kernel: str = kernels.DEFAULT
    scheme: type[Any] | None = None
    policies: Mapping[str, object] = field(default_factory=dict)

    def of(self, right: Kernel) -> Kernel:
        """The record `right` with this mutant's scheme and policies. Raises BadInput if it is about another scheme."""
        scheme: Scheme = right.scheme
        if self.scheme is not None:
            if not issubclass(self.scheme, type(right.scheme)):
                raise BadInput(
                    "mutant", f"is about the scheme {self.scheme.name}, which {right.name} does not have", self.kernel
                )
            scheme = self.scheme(**vars(right.scheme))
        return right.but(self.policies, scheme=scheme)
