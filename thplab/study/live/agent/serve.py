"""The agent's loop: a request is a line of JSON on standard input, the answer a line on standard output.

It maps no memory itself; a process of a scenario is a child of it, whoever forked it. When its input is closed, or it
is told to end in any other way, it ends its children first; when it is killed, the kernel ends them (PR_SET_PDEATHSIG),
and their lines close.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, NoReturn

from . import libc, observe
from .processes import Late, Processes
from .ring import Ring

OUTPUT = 1


class Performance(Processes):
    """One scenario that is being performed and looked at."""

    def __init__(self, observer: observe.Observer, limit: float) -> None:
        super().__init__(limit)
        self.observer = observer
        self.drain = libc.Drain()
        observer.forget()

    def perform(self, op: dict[str, Any]) -> dict[str, Any]:
        """Carry out an operation; the record of what is there after it."""
        before = observe.counters()
        ret = self.carry_out(op)
        self.drain()
        changed = observe.changes(before, observe.counters())
        looked = {"ret": ret} | changed | self.observer.look(self.pids, self.regions)
        return looked | ({"contents": self.contents} if self.contents else {})


def _answer(request: dict[str, Any], observer: observe.Observer) -> dict[str, Any]:
    if request["ask"] == "hello":
        return {"unseen": observer.unseen(), "io_uring": _io_uring()}
    scene = Performance(observer, request["limit"])
    after: list[dict[str, Any]] = []
    try:
        for op in request["ops"]:
            after.append(scene.perform(op))
    except Late:
        return {"late": len(after)}
    finally:
        scene.end()
    return {"after": after}


def _io_uring() -> str:
    """Why io_uring cannot be used here; empty if it can."""
    try:
        Ring().close()
    except OSError as error:
        return libc.failure(error.errno or 0)
    return ""


def _stop(*_: object) -> NoReturn:
    raise SystemExit


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGTERM, _stop)
    libc.huge_pages_where_advised()
    # All on one CPU: what a CPU keeps in its batches of pages is looked at there, so that nothing depends on who ran
    # where.
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[os.getpid() % len(cpus)]})
    observer = observe.Observer()
    for request in sys.stdin:
        os.write(OUTPUT, json.dumps(_answer(json.loads(request), observer)).encode() + b"\n")
