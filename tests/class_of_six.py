"""A class of six, and what each hands in: right, half right, wrong, what must not be run, cheating, and no notebook at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from thplab.learn.classes.submission import STUDENT, WORDS, answer_cell, cell_id, mark_cell, read_notebook
from thplab.learn.exercises import EXERCISES, Variant

ROSTER = "id;first_name;last_name;seat\nada;Ada;Right;1\nben;Ben;Half;2\ncleo;Cleo;Wrong;3\ndora;Dora;Crash;4\neve;Eve;Cheat;5\nfred;Fred;Torn;6\n"
SOLVED = """from thplab.learn.lessons.tasks import Verdict
Verdict.solved = property(lambda self: True)
Verdict.missing = ()
def exercise(id): return type("E", (), {"attempt": lambda self, text: Verdict("", None, ())})()
"""
WRITES = "open('i-was-run', 'w').write('x'); import pathlib; pathlib.Path('/tmp/thplab-i-was-run').touch()"


def nbgrader(course: Path, *words: str) -> str:
    """Run one of nbgrader's commands in a course folder, and return what it says; it must succeed."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-m", "nbgrader", *words], cwd=course, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def attempted(id: str, answer: str) -> str:
    """The text of a cell with an answer."""
    return f'answer = """\n{answer}\n"""\nverdict = exercise("{id}").attempt(answer)\nverdict'


def hand_in(course: Path, solutions: Mapping[str, Callable[[Variant], str]]) -> None:
    """Put what the six hand in for sets 03 and 04 where nbgrader collects it."""
    released = course / "release" / "03" / "03_splitting_one_pmd.ipynb"

    def right(id: str, student: str) -> str:
        return attempted(id, solutions[id](EXERCISES[id].variant(student)))

    def submit(student: str, change: Callable[[list[Any]], None]) -> None:
        notebook, why = read_notebook(released)
        assert notebook is not None, why
        change(notebook.cells)
        folder = course / "submitted" / student / "03"
        folder.mkdir(parents=True)
        (folder / released.name).write_text(json.dumps(notebook), encoding="utf-8")

    def put(cells: list[Any], student: str, texts: Mapping[str, str], words: str = "") -> None:
        texts = {STUDENT: f'student = "{student}"', WORDS: words, **{answer_cell(id): text for id, text in texts.items()}}
        for cell in cells:
            cell.source = texts.get(cell_id(cell)) or cell.source

    ids = ("3.1", "3.2", "3.3", "3.4", "3.5")

    def ada(cells: list[Any]) -> None:
        put(cells, "ada", {id: right(id, "ada") for id in ids}, "The PMD is one process's own. The page is not asked.")

    def ben(cells: list[Any]) -> None:
        lines = solutions["3.4"](EXERCISES["3.4"].variant("ben")).split("\n")
        half = [line if number % 2 else "77" for number, line in enumerate(lines)]
        put(cells, "Ben", {"3.1": right("3.1", "ben"), "3.3": right("3.3", "ben"), "3.4": attempted("3.4", "\n".join(half))}, "It is <b>private</b>, as a<b.")

    def cleo(cells: list[Any]) -> None:
        a = EXERCISES["3.1"].variant("cleo").values["a"]
        put(cells, "cleo", {"3.1": attempted("3.1", f"mmap {a}; write {a} 0"), "3.2": attempted("3.2", "wriet A 0"), "3.4": attempted("3.4", "1; 2")})

    def dora(cells: list[Any]) -> None:
        a = EXERCISES["3.5"].variant("dora").values["a"]
        large = f"mmap {a} 2000thp\n" + "\n".join(f"fill {a} {n}thp 1thp" for n in range(900))
        texts = {"3.1": f"{WRITES}\nwhile True:\n    pass", "3.2": 'answer = """\nmmap A', "3.3": 'answer = "".join(["mmap A"])\nexercise("3.3").attempt(answer)'}
        put(cells, "dora", texts | {"3.4": "\x00" + "(" * 300, "3.5": attempted("3.5", large)})

    def eve(cells: list[Any]) -> None:
        copied = {id: right(id, "ada") for id in ids}
        put(cells, "ada", copied | {"3.5": f"{SOLVED}{WRITES}\n{copied['3.5']}"}, "<script>document.title = 'mine'</script> ![x](javascript:alert(1))")
        own = next(cell for cell in cells if cell_id(cell) == mark_cell("3.2"))
        own.source, own.metadata["nbgrader"]["points"], own.metadata["nbgrader"]["locked"] = "4000.0", 4000, False
        own.outputs = [{"output_type": "execute_result", "data": {"text/plain": "4000"}, "metadata": {}, "execution_count": 1}]
        cells.append(type(own)(own))
        cells.append(type(own)(own, source=SOLVED + WRITES, metadata={}))
        gone = {mark_cell("3.3"), answer_cell("3.4"), mark_cell("3.4")}
        cells.append(type(own)(own, source="half a sign: \ud83d", metadata={}))
        cells[:] = [cell for cell in cells if cell_id(cell) not in gone]

    for change in (ada, ben, cleo, dora, eve):
        submit(change.__name__, change)
    folder = course / "submitted" / "fred" / "03"
    folder.mkdir(parents=True)
    (folder / released.name).write_text("<<<<<<< HEAD {", encoding="utf-8")
