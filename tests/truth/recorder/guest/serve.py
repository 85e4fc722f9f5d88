"""The guest's end of the serial line: a request is a line of JSON, the answer, too. What went wrong is answered as
{"error": ...}."""

from __future__ import annotations

import base64
import json
import os
import sys
import traceback
import zlib
from pathlib import Path
from typing import Any

from .scene import Scene, mapcounts


class Guest:
    """What is asked for, one request after the other."""

    def __init__(self) -> None:
        self.scene: Scene | None = None

    def begin(self, env: str, ops: list[dict[str, Any]]) -> dict[str, Any]:
        """A new scenario, whose first operations are carried out at once."""
        self.end()
        self.scene = Scene(env)
        rets = [self.scene.do(op) for op in ops]
        self.scene.drain()
        return {"rets": rets} | self._who()

    def do(self, op: dict[str, Any]) -> dict[str, Any]:
        """One operation and nothing else, so that hardly anything but it is seen from outside."""
        return {"ret": self._scene().do(op)} | self._who()

    def count(self, op: dict[str, Any]) -> dict[str, Any]:
        """One operation, and what the system's own files say of it."""
        return self._scene().counted(op) | self._who()

    def mapcounts(self, blocks: list[int]) -> dict[str, Any]:
        return {"mapcounts": [mapcounts(block) for block in blocks]}

    def end(self) -> dict[str, Any]:
        """End the scenario that there is, if there is one."""
        scene, self.scene = self.scene, None
        if scene:
            scene.end()
        return {}

    def symbols(self, variables: list[str]) -> dict[str, Any]:
        """The functions of the kernel, without those of modules, and some of its variables, as /proc/kallsyms writes
        them."""
        rows = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines() if "[" not in line]
        return _packed("\n".join(" ".join(row) for row in rows if row[1] in "tT" or row[2] in variables).encode())

    def file(self, path: str) -> dict[str, Any]:
        return _packed(Path(path).read_bytes())

    def _scene(self) -> Scene:
        if self.scene is None:
            raise ValueError("no scenario has begun")
        return self.scene

    def _who(self) -> dict[str, Any]:
        scene = self._scene()
        return {"pids": scene.pids, "regions": scene.regions}


def _packed(data: bytes) -> dict[str, Any]:
    return {"packed": base64.b64encode(zlib.compress(data)).decode()}


def main() -> None:
    """Say hello, then answer until the line is closed or somebody says quit."""
    guest = Guest()
    answer: dict[str, Any] = {"release": os.uname().release, "module": Path("/proc/thp_recorder").exists()}
    while True:
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()
        request = json.loads(sys.stdin.buffer.readline() or b'{"ask": "quit"}')
        ask = request.pop("ask")
        if ask == "quit":
            return
        try:
            answer = getattr(guest, ask)(**request)
        except Exception:  # whatever it is: the other end has to know
            answer = {"error": traceback.format_exc()}
