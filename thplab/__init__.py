"""thplab: how a transparent huge page is mapped, split, pinned and counted, to be learned by doing.

Here stands what most need: a machine or a scenario, its trace or comparison, words and widgets for it, check() for
a scheme of one's own, and the learner's progress. What is of `learn` is loaded when it is first asked for, so that
nothing else needs Jupyter.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from thplab.errors import BadInput, Deadlock, KernelBug, ThplabError
from thplab.hardware.geometry import MINI, TOY, X86_64, Geometry
from thplab.kernel.kernels import KERNELS
from thplab.machine.machine import Machine, OutOfMemory, Process
from thplab.machine.state import State
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Operation, Scenario, load
from thplab.show.describe import describe
from thplab.study.compare import compare
from thplab.study.explore.check import Report, check

if TYPE_CHECKING:
    from thplab.learn.progress_page import Progress
    from thplab.learn.widgets import (
        AddressWalker,
        Compare,
        FootprintLab,
        Ledger,
        LiveLab,
        Prediction,
        Question,
        Quiz,
        RaceStepper,
        Sandbox,
        Stepper,
    )

__all__ = [
    "KERNELS",
    "MINI",
    "TOY",
    "X86_64",
    "AddressWalker",
    "BadInput",
    "Compare",
    "Deadlock",
    "FootprintLab",
    "Geometry",
    "KernelBug",
    "Ledger",
    "LiveLab",
    "Machine",
    "Operation",
    "OutOfMemory",
    "Prediction",
    "Process",
    "Progress",
    "Question",
    "Quiz",
    "RaceStepper",
    "Report",
    "Sandbox",
    "Scenario",
    "Setup",
    "State",
    "Stepper",
    "ThplabError",
    "Trace",
    "check",
    "compare",
    "describe",
    "load",
    "record",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        module = "progress_page" if name == "Progress" else "widgets"
        return globals().setdefault(name, getattr(import_module(f"thplab.learn.{module}"), name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
