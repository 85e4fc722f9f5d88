"""The processes of a scenario, and what each of them is asked to do:
one operation of the vocabulary at a time, by its process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import Any

from . import libc
from .child import RING_DELAY, start

INPUT = 0

Regions = dict[str, dict[str, tuple[int, int]]]
"""Process -> region -> its address and its number of pages."""


_BY_PIN = ("unpin", "dma_read", "dma_write")
"""Operations of whoever has the pin's file."""


class Late(Exception):
    """An operation took longer than it may."""


class Processes:
    """The processes of one scenario that is being performed."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.pids: dict[str, int] = {}
        self.lines: dict[str, socket.socket] = {}
        self.regions: Regions = {}
        self.holders: dict[str, set[str]] = {}
        """Pin -> the processes that have its file."""
        self.rings: set[str] = set()
        """Pins that io_uring holds."""
        self.contents: dict[str, list[int]] = {}
        """What the last operation has read, under "read", and what each pin reads after it: a byte of each page."""

    def end(self) -> None:
        """End every process that is left, and wait for it."""
        for pid in self.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in list(self.pids):
            self._bury(process)

    def carry_out(self, op: dict[str, Any]) -> int | str:
        """Have an operation done by its process; what came of it. Raises Late."""
        kind: str = op["op"]
        self.contents = {}
        process: str = min(self.holders.get(op["pin"], {""})) if kind in _BY_PIN else op["proc"]
        if kind == "mmap" and process not in self.pids:
            self.pids[process], self.lines[process] = start(os.getpid())
            self.regions[process] = {}
        if process not in self.pids:
            return "process is dead"
        with contextlib.suppress(BrokenPipeError):  # then no answer comes, either
            self.lines[process].sendall(json.dumps(op).encode() + b"\n")
        line = self._receive_line(process) if kind == "fork" else None
        answer = self._receive(process)
        if answer is None:
            return self._bury(process)
        if kind == "fork" and line is not None:
            self._adopt(op["child"], process, answer["pid"], line)
        elif kind == "mmap" and "base" in answer:
            self.regions[process][op["region"]] = answer["base"], op["thps"] * libc.HUGE
        elif kind == "pin" and answer["ret"] == 0:
            self.holders[op["pin"]] = {process}
            if op["how"] == "io_uring":
                self.rings.add(op["pin"])
        elif kind == "unpin":
            del self.holders[op["pin"]]
        elif kind == "exit":
            self._bury(process)
        ret = answer["ret"]
        assert isinstance(ret, (int, str))
        self.contents = {"read": answer["bytes"]} if kind == "read" else {}
        for pin, holders in sorted(self.holders.items()):
            self.contents[f"pin {pin}"] = self._peek(min(holders), pin)
        return ret

    def _peek(self, process: str, pin: str) -> list[int]:
        """What a pin reads; nothing if the process that is asked has died."""
        with contextlib.suppress(BrokenPipeError):
            self.lines[process].sendall(json.dumps({"op": "peek", "pin": pin}).encode() + b"\n")
        answer = self._receive(process)
        found = answer["bytes"] if answer is not None and "bytes" in answer else []
        assert isinstance(found, list)
        return found

    def _adopt(self, name: str, parent: str, pid: int, line: socket.socket) -> None:
        """A process that another one has forked: it answers once by itself, when it is ready."""
        self.pids[name], self.lines[name] = pid, line
        self.regions[name] = dict(self.regions[parent])
        for holders in self.holders.values():
            if parent in holders:
                holders.add(name)
        self._receive(name)

    def _bury(self, process: str) -> str:
        """Wait for a process that ends, and forget it; how it ended, in the recorder's words."""
        self.lines.pop(process).close()
        _, status = os.waitpid(self.pids.pop(process), 0)
        del self.regions[process]
        closed = [pin for pin, holders in self.holders.items() if holders == {process}]
        for holders in self.holders.values():
            holders.discard(process)
        if self.rings.intersection(closed):
            time.sleep(2 * RING_DELAY)
        for pin in closed:
            del self.holders[pin]
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else "exited"

    def _receive(self, process: str) -> dict[str, Any] | None:
        """A child's answer; None if it has died."""
        received = b""
        deadline = time.monotonic() + self.limit
        while not received.endswith(b"\n"):
            _wait(self.lines[process], deadline)
            data = b""
            with contextlib.suppress(ConnectionError):
                data = self.lines[process].recv(1 << 16)
            if not data:
                return None
            received += data
        answer = json.loads(received)
        assert isinstance(answer, dict)
        return answer

    def _receive_line(self, parent: str) -> socket.socket | None:
        """The line to a process that `parent` forks; None if the fork fails: then the answer comes alone."""
        _wait(self.lines[parent], time.monotonic() + self.limit)
        first = b""
        with contextlib.suppress(ConnectionError):
            first = self.lines[parent].recv(1, socket.MSG_PEEK)
        if first != b"+":
            return None
        _, files, _, _ = socket.recv_fds(self.lines[parent], 1, 1)
        return socket.socket(fileno=files[0])


def _wait(line: socket.socket, deadline: float) -> None:
    """Wait until something comes. Raises Late after the deadline;
    ends the agent if nobody is there any more to be answered.
    """
    poll = select.poll()
    poll.register(line, select.POLLIN)
    poll.register(INPUT, 0)  # which reports that it was closed
    left = deadline - time.monotonic()
    ready = dict(poll.poll(left * 1000)) if left > 0 else {}
    if ready.get(INPUT, 0) & (select.POLLHUP | select.POLLERR):
        raise SystemExit
    if not ready:
        raise Late
