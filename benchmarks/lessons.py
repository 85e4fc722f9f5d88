"""What the cells of each lesson cost, run from top to bottom in one process; and what its steppers cost, one by one.

    python benchmarks/lessons.py [OTHER_CHECKOUT]

Prints the CPU time of every lesson and of every stepper of its. With another checkout the same is measured there, right
before, and the ratios are printed. Figures are medians of three runs, each in a process of its own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
RUNS = 3

MEASURE = """
import contextlib, io, json, sys, time
from pathlib import Path
import nbformat
from IPython.core.interactiveshell import InteractiveShell
start = time.process_time()
from thplab.learn.lessons.series import LESSONS
first = LESSONS[int(sys.argv[1])]
cold = next(iter(first.shows))
first.stepper(cold)
found = {"cold": time.process_time() - start, "steppers": {}}
for name in first.shows:
    start = time.process_time()
    first.stepper(name)
    found["steppers"][name] = time.process_time() - start
shell = InteractiveShell.instance()
notebook = nbformat.read(f"{first.notebook}.ipynb", as_version=4)
start = time.process_time()
for cell in notebook.cells:
    if cell.cell_type == "code" and "raises-exception" not in cell.metadata.get("tags", ()):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            shell.run_cell(cell.source)
found["cells"] = time.process_time() - start
print(json.dumps(found))
"""


def measured(checkout: Path, lesson: int) -> dict[str, float]:
    """CPU seconds of one run: of the first stepper after a cold import, of each stepper, and of all cells."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(lesson)],
        cwd=checkout / "notebooks",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {"all cells": found["cells"], "first, cold": found["cold"], **found["steppers"]}


def main() -> int:
    """Measure every lesson."""
    checkouts = [Path(path).resolve() for path in sys.argv[1:2]] + [HERE]
    for lesson in range(10):
        runs = [[measured(checkout, lesson) for checkout in checkouts] for _ in range(RUNS)]
        for name in runs[0][-1]:
            times = [statistics.median(run[i].get(name, float("nan")) for run in runs) for i in range(len(checkouts))]
            ratio = f"  {times[-1] / times[0]:.2f} of {times[0]:.2f} s" if len(times) > 1 else ""
            print(f"lesson {lesson}  {name:30} {times[-1]:6.2f} s{ratio}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
