"""Who is learning: the seed of the variants."""

from __future__ import annotations

import os

from thplab.learn import progress

VARIABLE = "THPLAB_LEARNER"


def learner() -> str:
    """The learner's name or number: that of the environment, else that of the folder in which she works (its id, if she
    gave no name), else "guest".
    """
    given = os.environ.get(VARIABLE, "").strip()
    path = progress.find()
    if given or path is None:
        return given or "guest"
    kept = progress.read(path)
    return str(kept["name"] or kept["learner"])
