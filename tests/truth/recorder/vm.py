"""A guest in QEMU, with its RAM in a shared file and a serial line on which its program answers."""

from __future__ import annotations

import base64
import contextlib
import json
import mmap
import os
import socket
import subprocess
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from truth.recorder.work import RecorderError, need

RAM = 1 << 30
_SHARED = Path("/dev/shm")
_BOOT_SECONDS, _ANSWER_SECONDS = 600.0, 300.0
# Whatever comes up must come up the same each time; and nothing in the kernel may wait, move or hide what is to be seen.
_APPEND = "console=ttyS0 panic=-1 oops=panic quiet loglevel=4 mitigations=off nopti nokaslr nosmap nosmep damon_stat.enabled=N"


class GuestLost(RecorderError):
    """The guest does not answer any more: its kernel has crashed, or an operation does not end."""


class Vm:
    """A guest that has come up. Use it in a `with`: nothing is left of it then but its log."""

    def __init__(self, image: Path, disk: Path, folder: Path, ram: Path, more: Sequence[str] = ()) -> None:
        """Boot with a file of RAM bytes as RAM; `more` are more arguments for QEMU, `folder` takes the console's log.

        Raises RecorderError if the guest does not come up.
        """
        need(("qemu-system-x86_64", "qemu-system-x86"))
        self.log = folder / "console.log"
        line = folder / "serial"
        line.unlink(missing_ok=True)
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "max,la57=off", "-smp", "1", "-m", str(RAM >> 20),
            "-object", f"memory-backend-file,id=ram,size={RAM},mem-path={ram},share=on", "-machine", "pc,memory-backend=ram",
            "-nodefaults", "-display", "none", "-no-reboot", "-nic", "none",
            "-kernel", str(image), "-initrd", str(disk), "-append", _APPEND,
            "-serial", f"file:{self.log}", "-serial", f"unix:{line},server=on,wait=off", *more,
        ]  # fmt: skip
        self._received = b""
        with open(ram, "r+b") as file:
            self.ram = mmap.mmap(file.fileno(), RAM)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            self._line = self._connect(line)
            self.hello = self._receive(_BOOT_SECONDS)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Vm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, ask: str, **fields: Any) -> dict[str, Any]:
        """The guest's answer to a request. Raises GuestLost if none comes, RecorderError if it says that something went
        wrong."""
        self._line.sendall(json.dumps({"ask": ask, **fields}).encode() + b"\n")
        answer = self._receive(_ANSWER_SECONDS)
        if "error" in answer:
            raise RecorderError(f"the guest: {answer['error']}")
        return answer

    def unpacked(self, ask: str, **fields: Any) -> bytes:
        """The answer to a request for something long."""
        return zlib.decompress(base64.b64decode(self.ask(ask, **fields)["packed"]))

    def close(self) -> None:
        """End the guest."""
        self._process.kill()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _connect(self, path: Path) -> socket.socket:
        while self._process.poll() is None:
            line = socket.socket(socket.AF_UNIX)
            with contextlib.suppress(OSError):
                line.connect(str(path))
                return line
            line.close()
            time.sleep(0.05)
        assert self._process.stderr is not None
        raise RecorderError(f"QEMU ended: {self._process.stderr.read().decode(errors='replace').strip()}")

    def _receive(self, seconds: float) -> dict[str, Any]:
        self._line.settimeout(seconds)
        while b"\n" not in self._received:
            try:
                data = self._line.recv(1 << 20)
            except (TimeoutError, ConnectionError):
                data = b""
            if not data:
                raise GuestLost(f"the guest does not answer; its console: {self.log}")
            self._received += data
        line, self._received = self._received.split(b"\n", 1)
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer


@contextlib.contextmanager
def shared_file(folder: Path, name: str, size: int) -> Iterator[Path]:
    """An empty file of that size for as long as the `with` lasts, in memory where that is possible, else in
    `folder`."""
    path = _SHARED / f"thplab-recorder-{os.getpid()}-{name}" if _SHARED.is_dir() else folder / name
    try:
        with open(path, "wb") as file:
            file.truncate(size)
        yield path
    finally:
        path.unlink(missing_ok=True)
