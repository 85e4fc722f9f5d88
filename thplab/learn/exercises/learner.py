"""Who is learning: the seed of the variants."""

from __future__ import annotations

import os

VARIABLE = "THPLAB_LEARNER"


def learner() -> str:
    """The learner's name or number, from the environment; "guest" if nobody has given one."""
    return os.environ.get(VARIABLE, "").strip() or "guest"
