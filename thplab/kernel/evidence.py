"""Why a kernel record says what it says. Each policy of a record has a value and, beside it, its evidence as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

LIVE, STEPS = "live/", "steps/"
"""Folders: what the live lab recorded and comes with thplab;
and, in tests/truth as all the rest, what is stored inside an operation.
"""


@dataclass(frozen=True)
class Recorded:
    """A recording of a real kernel asks for it:
    with another value, the replay of this one scenario disagrees (tests/test_truth.py).
    """

    file: str
    scenario: str

    @property
    def path(self) -> str:
        """The file in the repository."""
        return (
            f"thplab/study/live/recorded/{self.file.removeprefix(LIVE)}"
            if self.file.startswith(LIVE)
            else f"tests/truth/{self.file}"
        )

    def command(self, kernel: str) -> str:
        """The command that shows what was recorded, in a checkout."""
        if self.file.startswith(STEPS):
            return f"thplab steps {self.scenario} --kernel {kernel}"
        return f"thplab run {self.path}:{self.scenario} --kernel {kernel} --geometry X86_64"

    def __str__(self) -> str:
        return f"recorded in {self.path}, scenario {self.scenario}"


@dataclass(frozen=True)
class Said:
    """Evidence that is no recording, in words."""

    what: str

    def __str__(self) -> str:
        return f"{type(self).__name__.lower()}: {self.what}"


class Documented(Said):
    """A page of the repository says so and names its own sources, first of all where."""


class Recalled(Said):
    """Known from the kernel's history, and neither recorded nor read again."""


class Derived(Said):
    """Follows from what else is known of this kernel."""


class Moot(Said):
    """The question does not come up in this kernel."""


class Unrecorded(Said):
    """No recording asks for it. Routines do as the kernels before did."""


class Own(Said):
    """Not a kernel of this package: somebody's own record changes it."""


Evidence = Recorded | Said


class Belief(NamedTuple):
    """What a kernel does in one policy, why that is believed, and the kernel whose record says it,
    which may be an earlier one.
    """

    value: Any
    evidence: tuple[Evidence, ...]
    kernel: str
