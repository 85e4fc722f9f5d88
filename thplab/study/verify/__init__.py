"""`thplab verify`: replay a truth file on a simulated kernel and compare every recorded field (docs/verify.md)."""

from thplab.study.verify.compare import Difference, differences
from thplab.study.verify.records import LEFT_OUT, read_records
from thplab.study.verify.replay import Outcome, Verified, replay_records, verify
from thplab.study.verify.steps import StepReport, verify_steps
from thplab.study.verify.told import told

__all__ = [
    "LEFT_OUT",
    "Difference",
    "Outcome",
    "StepReport",
    "Verified",
    "differences",
    "read_records",
    "replay_records",
    "told",
    "verify",
    "verify_steps",
]
