"""The live lab: scenarios performed on the real memory of this machine, and held against the simulator.

An agent, a process of its own, maps the memory and looks at it; what comes back is a record of the truth format, so
that thplab.study.verify does all comparing. No privilege is needed for the essentials, and no setting of the system is
changed.
"""

from thplab.study.live.check import Checked, Survey, check_live, portable_builtins, shortest, survey
from thplab.study.live.driver import Agent, LiveError
from thplab.study.live.portable import portable_part, refusal
from thplab.study.live.recording import record_live, shipped
from thplab.study.live.support import nearest, unable

__all__ = [
    "Agent",
    "Checked",
    "LiveError",
    "Survey",
    "check_live",
    "nearest",
    "portable_builtins",
    "portable_part",
    "record_live",
    "refusal",
    "shipped",
    "shortest",
    "survey",
    "unable",
]
