"""The live lab: scenarios performed on the real memory of this machine, and held against the simulator.

An agent, a process of its own, maps the memory and looks at it; what comes back is a record of the truth format, so that
thplab.verify does all comparing. No privilege is needed for the essentials, and no setting of the system is changed.
"""

from thplab.live.check import Checked, Survey, check, portable_builtins, shortest, survey
from thplab.live.driver import Agent, LiveError
from thplab.live.portable import portable_part, refusal
from thplab.live.recording import record, shipped
from thplab.live.support import nearest, unable

__all__ = [
    "Agent", "Checked", "LiveError", "Survey", "check", "nearest", "portable_builtins", "portable_part", "record", "refusal", "shipped",
    "shortest", "survey", "unable",
]  # fmt: skip
