"""thplab: how a transparent huge page is mapped, split, pinned and counted, to be learned by doing."""

from thplab.errors import BadInput, Deadlock, KernelBug, ThplabError
from thplab.hardware.geometry import MINI, TOY, X86_64, Geometry
from thplab.machine.machine import Machine, OutOfMemory, Process
from thplab.study.explore.check import Report, check

__all__ = [
    "MINI",
    "TOY",
    "X86_64",
    "BadInput",
    "Deadlock",
    "Geometry",
    "KernelBug",
    "Machine",
    "OutOfMemory",
    "Process",
    "Report",
    "ThplabError",
    "check",
]
