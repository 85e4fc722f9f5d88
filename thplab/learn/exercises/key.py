"""Keys: files with the model answers to the variants of some learners. Whoever has the solutions makes one, and a
learner lays it in her folder.

A key names nobody, and says nothing to whom it is not for: answers stand under a hash of the learner's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from thplab.errors import BadInput
from thplab.foreign import ExactShape, ObjectShape, TextShape, parse, read_text

FILES = "thplab-key*.json"
"""What the file of a key is called."""
_RIGHT = "a key that thplab class key made"
_HASH = 16
_ANSWERS = ObjectShape(others=TextShape(20_000, means="an answer"), most=500)
_SHAPE = ObjectShape({"thplab key": ExactShape((1,)), "answers": ObjectShape(others=_ANSWERS, most=20_000)})


def key_text(answers: Mapping[str, Mapping[str, str]]) -> str:
    """The file of a key: the answers by learner, and by exercise."""
    hashed = {_hash(learner): dict(of_her) for learner, of_her in answers.items()}
    return json.dumps({"thplab key": 1, "answers": hashed}, indent=1, ensure_ascii=False) + "\n"


def answer_of(exercise: str, learner: str, folder: Path) -> str:
    """The answer to a learner's variant, from the keys in a folder and in those above it.

    Raises BadInput that says how to get a key if none has it, and one that names the file if a key makes no sense.
    """
    for path in (path for each in (folder, *folder.parents) for path in sorted(each.glob(FILES))):
        of_her = parse(read_text(path, _RIGHT), _SHAPE, str(path))["answers"].get(_hash(learner), {})
        if exercise in of_her:
            return str(of_her[exercise])
    raise BadInput(
        "solution",
        f"of {exercise} for {learner!r} is in no file {FILES} of this folder or one above it",
        "a key: your teacher hands it out when the time is up; who learns alone makes it from the checkout of thplab, "
        f"by thplab class key --learner '{learner}'",
    )


def _hash(learner: str) -> str:
    return hashlib.sha256(learner.encode("utf-8", "replace")).hexdigest()[:_HASH]
