"""A learner without a browser: opens a notebook on a Jupyter server, runs all cells, saves it, and what that took.

It speaks to the server as JupyterLab's page does, by REST and the kernel's websocket, and answers no widget.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

MIB = 1024
"""Of the kibibytes that /proc tells."""
OUTPUTS = ("stream", "display_data", "execute_result", "error")


@dataclass
class Learner:
    """One who works on the server at `base` (no final slash), with a token of hers."""

    base: str
    token: str
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {"Authorization": f"token {self.token}"}

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the server answers, None where it answers nothing. Raises tornado's HTTPClientError."""
        text = None if body is None else json.dumps(body)
        request = HTTPRequest(
            self.base + path, method, self.headers, text, request_timeout=300, allow_nonstandard_methods=True
        )
        answer = await AsyncHTTPClient(max_body_size=1 << 28).fetch(request)
        return json.loads(answer.body) if answer.body else None

    async def open(self, path: str) -> str:
        """Open a notebook with a kernel of its own; the kernel's id."""
        asked = {"path": path, "name": path.rpartition("/")[2], "type": "notebook", "kernel": {"name": "python3"}}
        session = await self.ask("POST", "/api/sessions", asked)
        return str(session["kernel"]["id"])

    async def run(self, kernel: str, code: str) -> str:
        """Run code in a kernel; what it prints."""
        socket = await self._connect(kernel)
        shown = await _outputs(socket, code)
        socket.close()
        return "".join(each["text"] for each in shown if each["output_type"] == "stream")

    async def _connect(self, kernel: str) -> WebSocketClientConnection:
        url = f"ws{self.base.removeprefix('http')}/api/kernels/{kernel}/channels"
        return await websocket_connect(HTTPRequest(url, headers=self.headers), max_message_size=1 << 28)

    async def run_all(self, path: str, kernel: str) -> list[str]:
        """Run every cell of a notebook that is open, keep what they show, and save it; what has failed.

        A cell that is to fail, by its tag, is no failure.
        """
        model = await self.ask("GET", f"/api/contents/{quote(path)}?content=1")
        notebook = nbformat.from_dict(model["content"])
        socket = await self._connect(kernel)
        failed = []
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "code" and cell.source.strip():
                cell.outputs = [nbformat.from_dict(each) for each in await _outputs(socket, cell.source)]
                if "raises-exception" not in cell.metadata.get("tags", ()):
                    failed += [f"cell {number}: {each.evalue}" for each in cell.outputs if each.output_type == "error"]
        socket.close()
        await self.ask("PUT", f"/api/contents/{quote(path)}", {"type": "notebook", "content": notebook})
        return failed


async def _outputs(socket: WebSocketClientConnection, code: str) -> list[dict[str, Any]]:
    """What a kernel shows when it runs a cell."""
    asked = uuid.uuid4().hex
    header = {"msg_id": asked, "msg_type": "execute_request", "session": asked, "username": "", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": True, "stop_on_error": False, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await socket.write_message(json.dumps(message | {"buffers": []}))
    shown = []
    while True:
        told = await asyncio.wait_for(socket.read_message(), 300)
        if not isinstance(told, str):
            raise RuntimeError("the kernel's websocket was closed")
        heard = json.loads(told)
        kind = heard["header"]["msg_type"]
        if heard["parent_header"].get("msg_id") != asked:
            continue
        if kind in OUTPUTS:
            shown.append(_output(kind, heard["content"]))
        elif kind == "status" and heard["content"]["execution_state"] == "idle":
            return shown


def _output(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """A message of a kernel as a notebook keeps it."""
    return {"output_type": kind} | {name: value for name, value in content.items() if name != "transient"}


# --- processes --------------------------------------------------------------------------------------------------------


def memory(pid: int) -> float:
    """MiB of a process, what it shares divided by how many share it (PSS)."""
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+)", told, re.M)
    assert found
    return int(found[1]) / MIB


def cpu(pids: Iterable[int]) -> float:
    """Seconds of CPU time that processes have taken."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run, in the order of their numbers."""
    told = (Path(f"/proc/{pid}/task/{task}/children").read_text() for task in os.listdir(f"/proc/{pid}/task"))
    return sorted(int(number) for text in told for number in text.split())
