"""The work folder: kernels, what is built for them, and logs. Nothing else on the machine is written to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from thplab.errors import ThplabError


class RecorderError(ThplabError):
    """A tool, a package or the emulator failed."""


def default_root() -> Path:
    """Where the work folder is if nobody says so."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thplab-recorder"


@dataclass(frozen=True)
class Work:
    """The folder, and the places in it."""

    root: Path

    def kernel(self, name: str) -> Path:
        """The folder of a kernel; it is made if need be."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def files(self, name: str) -> Path:
        """Where the packages of a kernel are unpacked."""
        return self.kernel(name) / "files"

    def image(self, name: str) -> Path:
        """The kernel itself. Raises RecorderError if it has not been fetched."""
        found = sorted((self.files(name) / "boot").glob("vmlinuz-*"))
        if not found:
            raise RecorderError(f"kernel {name} is not here: record.py fetch {name}")
        return found[-1]

    def release(self, name: str) -> str:
        """What `uname -r` says on a kernel that was fetched."""
        return self.image(name).name.removeprefix("vmlinuz-")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One recorder at a time: wait until no other one works in this folder."""
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another recorder in {self.root}", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def need(*tools: tuple[str, str]) -> None:
    """Raises RecorderError, naming the packages, unless all the tools are there. A tool is a command and Debian's
    package of it."""
    missing = sorted({package for command, package in tools if shutil.which(command) is None})
    if missing:
        raise RecorderError("missing: apt-get install --no-install-recommends " + " ".join(missing))


def run(command: Sequence[str | Path], env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """The output of a command. Raises RecorderError with the end of what it said if it fails."""
    done = subprocess.run(list(map(str, command)), env=env, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise RecorderError("\n".join([f"{' '.join(map(str, command))} failed:", *said[-20:]]))
    return done.stdout
