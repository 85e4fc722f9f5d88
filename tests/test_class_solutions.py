"""Model solutions are read from a folder, wherever it lies."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from solutions.model import Solved

from thplab.errors import BadInput
from thplab.learn.classes.solutions import checkout_solutions, read_solutions
from thplab.learn.exercises import EXERCISES

HERE = Path(__file__).parent / "solutions"


def test_the_checkout_has_an_answer_for_each_exercise(tmp_path: Path) -> None:
    assert checkout_solutions() == HERE
    elsewhere = shutil.copytree(HERE, tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    answers = read_solutions(elsewhere)
    assert answers.keys() == EXERCISES.keys()
    each = EXERCISES["0.2"]
    assert each.attempt(answers["0.2"](each.variant("Ada")), "Ada").solved
    assert sys.modules["solutions.model"].Solved is Solved, "what was imported before is there as it was"


@pytest.mark.parametrize(("files", "said"), [({}, "holds no model.py"), ({"model.py": "written = 1/0", "__init__.py": ""}, "cannot be read")])
def test_a_folder_that_has_none_is_refused(files: dict[str, str], said: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = {name: module for name, module in sys.modules.items() if name.startswith("solutions")}
    with pytest.raises(BadInput, match=said):
        read_solutions(tmp_path)
    assert before == {name: module for name, module in sys.modules.items() if name.startswith("solutions")}
