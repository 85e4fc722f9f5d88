"""The process that marks: it reads what was handed in from its input, and writes the marks to its output, as JSON.

It is started once for a notebook (thplab.learn.classes.marking), loads the exercises, and looks at each answer in a
child of its own, with limits. An answer is data here, as everywhere; nothing of a submission is run.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from thplab.learn.classes.answer_text import NoAnswer, answer_in, student_in
from thplab.learn.exercises import Exercise, exercise
from thplab.learn.exercises.answers import Answers
from thplab.learn.lessons.tasks import RaceTask, Task, Verdict
from thplab.show.diagrams import SIMPLE, NoEngine, Sheet
from thplab.show.diagrams.engine import lay_out
from thplab.show.strip import followed, strip

_MOST_LINES, _LONGEST_LINE = 20, 1000
_LARGEST = 2_000_000
"""Characters of a picture."""
_TOO_LONG = "it took the simulator longer than {seconds:g} s of its time, and was stopped there"
_TOO_MUCH = "it took the simulator more than {mib:,} MiB of memory, and was stopped there"


def main() -> None:
    """Mark what the input asks for: a line of JSON for each answer, in their order."""
    asked = json.load(sys.stdin)
    with suppress(NoEngine):
        lay_out("digraph {}")  # which loads Graphviz once, and not in each child under its limits
    for each in asked["answers"]:
        print(json.dumps(_marked(each, asked["seconds"], asked["mib"])), flush=True)


def _marked(asked: Mapping[str, Any], seconds: float, mib: int) -> dict[str, Any]:
    """One mark: what the child that looks at the answer says, or why it says nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _look(asked, seconds, mib, writing)
    os.close(writing)
    received, status = _received(reading, child, time.monotonic() + 4 * seconds)  # others use the CPU, too
    told = {key: value for line in received.split(b"\n")[:-1] for key, value in json.loads(line).items()}
    if not told.keys() & {"right", "problem"}:
        ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        late = ended in (signal.SIGXCPU, signal.SIGKILL)
        told["problem"] = _TOO_LONG.format(seconds=seconds) if late else f"the simulator ended at it (signal {ended})"
    return told


def _received(reading: int, child: int, deadline: float) -> tuple[bytes, int]:
    """What a child writes until it ends, or is made to, and how it ended."""
    received = b""
    while select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
        data = os.read(reading, 1 << 20)
        if not data:
            break
        received += data
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    return received, os.waitpid(child, 0)[1]


def _look(asked: Mapping[str, Any], seconds: float, mib: int, writing: int) -> None:
    """In the child: look at an answer, write what there is to say, and end."""
    try:
        _limit(seconds, mib)
        with os.fdopen(writing, "w", encoding="utf-8") as out:
            try:
                for part in _said(asked):
                    out.write(json.dumps(part) + "\n")
                    out.flush()
            except (MemoryError, SystemError):  # the second is numpy's, where it finds no memory to say so
                _lift_memory_limit()  # to say so takes some, too
                out.write(json.dumps({"problem": _TOO_MUCH.format(mib=mib)}) + "\n")
            except Exception as error:
                ours = f"thplab met an error of its own ({type(error).__name__}); your teacher marks it"
                out.write(json.dumps({"problem": ours, "ours": repr(error)[:_LONGEST_LINE]}) + "\n")
    finally:
        os._exit(0)


def _limit(seconds: float, mib: int) -> None:
    """What this process may take from now on; no dump of its memory."""
    whole = int(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # no Linux
        now = 4 << 30
    limit = now + (mib << 20)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _lift_memory_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _said(asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The mark in parts, the most important first."""
    each = exercise(asked["exercise"])
    claimed = student_in(asked["who"])[:_LONGEST_LINE].encode("utf-8", "replace").decode("utf-8")
    yield {"name": each.name, "question": each.variant(asked["seed"]).work.question, "claimed": claimed}
    try:
        answer = answer_in(asked["cell"], each.id).encode("utf-8", "replace").decode("utf-8")
    except NoAnswer as error:
        yield {"problem": str(error)}
        return
    if not answer.strip():
        yield {"problem": "nothing is answered"}
        return
    yield {"answer": answer}
    verdict = each.attempt(answer, asked["seed"])
    yield {
        "right": _right(each, asked["seed"], answer, verdict),
        "head": repr(verdict).partition("\n")[0].removeprefix(f"{each.name}: ")[:_LONGEST_LINE],
        "missing": [line[:_LONGEST_LINE] for line in verdict.missing[:_MOST_LINES]],
    }
    if asked["picture"]:
        yield from _picture(each, asked["seed"], verdict)
    if not verdict.solved:
        others = [*asked["others"], claimed] if claimed and claimed != asked["seed"] else asked["others"]
        tried: dict[str, bool] = {}
        for other in others:  # many have the same variant
            values = repr(each.variant(other).values)
            tried[values] = tried[values] if values in tried else each.attempt(answer, other).solved
        yield {"fits": [other for other in others if tried[repr(each.variant(other).values)]]}


def _right(each: Exercise, seed: str, answer: str, verdict: Verdict) -> list[int]:
    """How much of how much is right."""
    work = each.variant(seed).work
    if isinstance(work, Answers) and not verdict.solved:
        return [work.right(answer), len(work.cells)]
    return [int(verdict.solved), 1]


def _picture(each: Exercise, seed: str, verdict: Verdict) -> Iterator[dict[str, Any]]:
    """The state that an answer reaches: only scenarios and schedules reach one."""
    if not isinstance(each.variant(seed).work, Task | RaceTask) or len(verdict.trace) < 2:
        return
    state = verdict.trace[-1].state
    head = followed(verdict.trace)
    text = "" if head is None else strip(state, head).text
    try:
        picture = Sheet.of([state], SIMPLE).svg()
    except Exception:  # a mark without a picture is a mark
        return
    if len(picture) <= _LARGEST:
        yield {"picture": picture, "strip": text[:_LONGEST_LINE]}
