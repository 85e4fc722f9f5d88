"""The agent's other end: starts the process that performs scenarios, asks it, and sees to it that it ends."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from thplab.errors import ThplabError
from thplab.hardware.geometry import X86_64
from thplab.scenario import Operation
from thplab.study.live.limits import explained, met, refuse_too_large

STEP_LIMIT = 10.0
"""Seconds that one operation may take."""
_SLACK = 10.0

# Isolated, and with nothing but the agent on its path: what forks must not have loaded numpy, which starts threads.
_START = "import sys; sys.path.append(sys.argv[1]); from agent.serve import main; main()"


class LiveError(ThplabError):
    """A live run came to no end: the agent died, or an operation took longer than it may."""


class Agent:
    """A process that performs scenarios on real memory. Use it in a `with`: nothing of it is left after that.

    It lives in a session of its own, so that an interrupt from the keyboard reaches its user alone, who then closes it.
    """

    def __init__(self, step_limit: float = STEP_LIMIT, python: Sequence[str] = (sys.executable,)) -> None:
        """`python` is the command that starts Python: any of 3.11 or newer does."""
        self.step_limit = step_limit
        command = [*python, "-I", "-S", "-c", _START, str(Path(__file__).parent)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        try:
            hello = self._ask({"ask": "hello"}, _SLACK)
        except BaseException:
            self.close()
            raise
        self.unseen: dict[str, str] = hello["unseen"]
        """What this machine does not let one see -> why."""
        self.io_uring: str = hello["io_uring"]
        """The errno with which io_uring is refused here; empty if it works."""

    def __enter__(self) -> Agent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process that performs the operations."""
        return self._process.pid

    def perform(self, ops: Sequence[Operation]) -> list[dict[str, Any]]:
        """Perform operations in processes of their own, which end with the last one;
        what is there after each, in the truth format.

        The caller has seen to it that they can be performed (thplab.study.live.portable). Raises BadInput for more than
        a live run may take of this machine (thplab.study.live.limits), and LiveError.
        """
        refuse_too_large(ops)
        plain = [{"op": op.op, **op.resolve(X86_64.nr)} for op in ops]
        answer = self._ask(
            {"ask": "perform", "ops": plain, "limit": self.step_limit}, self.step_limit * (1 + len(ops)) + _SLACK
        )
        if "late" in answer:
            number = answer["late"]
            raise LiveError(
                f"operation {number}, {ops[number].label(X86_64.nr)}, took longer than {self.step_limit:g} s"
            )
        after = answer["after"]
        assert isinstance(after, list)
        for number, (op, seen) in enumerate(zip(ops, after, strict=True)):
            if limit := met(op, seen["ret"]):
                where = f"operation {number}, {op.label(X86_64.nr)}, met a limit"
                raise LiveError(f"{where}, {limit}: its {seen['ret']} says nothing of the kernel")
        return after

    def close(self) -> None:
        """End the agent and its children."""
        streams = self._process.stdin, self._process.stdout, self._process.stderr
        try:
            with contextlib.suppress(OSError):
                assert self._process.stdin is not None
                self._process.stdin.close()  # at which it ends by itself
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            for stream in streams:
                assert stream is not None
                with contextlib.suppress(OSError):
                    stream.close()

    def _ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        received = b""
        deadline = time.monotonic() + limit
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            while not received.endswith(b"\n"):
                if not select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    self._process.kill()
                    raise LiveError(f"the agent did not answer within {limit:g} s")
                data = os.read(self._process.stdout.fileno(), 1 << 20)
                if not data:
                    raise BrokenPipeError
                received += data
        except (BrokenPipeError, ValueError):  # ValueError: it is closed
            raise LiveError(f"the agent has ended{self._last_words()}") from None
        answer = json.loads(received)
        assert isinstance(answer, dict)
        return answer

    def _last_words(self) -> str:
        assert self._process.stderr is not None
        if self._process.stderr.closed:
            return ""
        lines = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        return f": {explained(lines[-1])}" if lines else ""
