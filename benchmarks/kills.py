"""Kills live runs at random moments, and looks whether anything is left behind: `benchmarks/kills.py [NUMBER] [SEED]`.

Each run is `thplab live` with a temporary folder of its own; the command or a process of its agent is ended by SIGKILL,
SIGTERM or SIGINT. Nothing may be left: no process, no file in that folder or in /dev/shm, and no setting of the kernel
changed. Exit status 0: nothing was.
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCENARIO = (
    "mmap A 4thp; fill A 0 4thp; fork A B; write B 1/2thp; fork B C; pin A 0 8 p; mprotect C 1 1 r; "
    + "; ".join(["madvise B 1 1 dontneed; write B 1 1; write C 512 64"] * 20)
)
SETTINGS = ("/sys/kernel/mm/transparent_hugepage", "/sys/kernel/mm/ksm", "/proc/sys/vm")
CHANGING = (
    "/sys/kernel/mm/transparent_hugepage/khugepaged/full_scans",
    "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_collapsed",
)
LONGEST = 120.0
"""Seconds that a command may go on after it has lost a process."""
PATIENCE = 15.0
"""Seconds after the command's end in which everything has to be gone."""
MARK = "THPLAB_KILLED_RUN"


def settings() -> dict[str, str]:
    """Each setting of the kernel's memory management that can be read; statistics are left out."""
    found = {}
    for folder in SETTINGS:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and os.access(path, os.W_OK) and "stats" not in path.parts and str(path) not in CHANGING:
                try:
                    found[str(path)] = path.read_text()
                except (OSError, ValueError):
                    continue  # written only
    return found


def marked(mark: str) -> list[int]:
    """The processes that were started, directly or not, with this mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if (
                f"{MARK}={mark}\0".encode() in path.read_bytes()
                and b"Z" not in (path.parent / "stat").read_bytes().split()[2:3]
            ):
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended
    return found


def shared() -> set[str]:
    """What is in /dev/shm."""
    return set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()


def kill_one(rng: random.Random, mark: str, counted: collections.Counter[str]) -> list[str]:
    """Start a run, kill it, and tell what is left of it."""
    before = shared()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {MARK: mark, "TMPDIR": folder}
        command = [
            sys.executable,
            "-c",
            "import sys; from thplab.cli import main; sys.exit(main(sys.argv[1:]))",
            "live",
            SCENARIO,
        ]
        run = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + PATIENCE
        enough = rng.randint(2, 5)
        while (
            len(marked(mark)) < enough and run.poll() is None and time.monotonic() < deadline and rng.random() < 0.995
        ):
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.4))
        victims = marked(mark)
        victim = rng.choice((run.pid, *victims))
        how = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        counted[f"{'the command' if victim == run.pid else 'a process of the agent'}, {how.name}"] += 1
        counted[f"{len(victims)} processes at that moment"] += 1
        try:
            os.kill(victim, how)
        except ProcessLookupError:
            counted["had ended already"] += 1
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(LONGEST)  # who lost a process of its scenario goes on to the end
        deadline = time.monotonic() + PATIENCE
        while (left := marked(mark)) and time.monotonic() < deadline:
            time.sleep(0.02)
        wrong = [f"process {pid} is left" for pid in left]
        wrong += [f"{name} is left in the temporary folder" for name in os.listdir(folder)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        run.wait()
    return wrong + [f"{name} is left in /dev/shm" for name in shared() - before if "thplab" in name]


def main() -> int:
    """Returns the exit status."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rng, counted = random.Random(seed), collections.Counter[str]()
    before, wrong, began = settings(), list[str](), time.monotonic()
    for each in range(number):
        wrong += [f"run {each}: {what}" for what in kill_one(rng, f"{os.getpid()}.{each}", counted)]
    changed = [f"{name} is changed" for name, value in settings().items() if before.get(name) != value]
    print("\n".join([*wrong, *changed, *(f"{count:5} {what}" for what, count in sorted(counted.items()))]))
    took = f"{number} runs killed in {time.monotonic() - began:.0f} s"
    print(f"{took}, {len(wrong)} things left behind; {len(before)} settings, {len(changed)} changed")
    return 1 if wrong or changed else 0


if __name__ == "__main__":
    sys.exit(main())
