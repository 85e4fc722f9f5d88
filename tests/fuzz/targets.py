"""What is fuzzed: for each target how an input is drawn, and what is done with it.

An input may be refused (BadInput, and what else is made to be told in one line); anything else that is raised is a
mistake of thplab's. A target that has more to hold than that asserts it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from fuzz import garble
from random_scenarios import propose
from thplab.errors import BadInput
from thplab.hardware.steps import drain
from thplab.kernel import kernels
from thplab.learn import lectures, progress
from thplab.learn.lessons.questions import head_refcount, split_result
from thplab.learn.progress_page import Progress
from thplab.learn.widgets import Compare, FootprintLab, Quiz, RaceStepper, Sandbox
from thplab.learn.widgets.widget import Widget
from thplab.machine.branches import Branches, read_share
from thplab.machine.machine import Machine
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import VOCABULARY, Operation, Scenario, builtin, load
from thplab.show.explained import explain
from thplab.study.explore import PAIRS
from thplab.study.explore.race import Race
from thplab.study.invariants import check_state
from thplab.study.verify import replay_records
from thplab.study.verify.records import kernel_name, read_records
from thplab.study.verify.steps import follow_all
from thplab.study.verify.stores import read_recordings

TRUTH = Path(__file__).parent.parent / "truth"


class Target(NamedTuple):
    """One target."""

    draw: Callable[[random.Random], Any]
    """An input from random numbers."""
    take: Callable[[Any], None]
    """What is done with it."""


# --- texts ------------------------------------------------------------------------------------------------------------


@cache
def _texts() -> list[str]:
    usages = [f"{op} " + " ".join(_words(op)) for op in VOCABULARY]
    return [load(name).format() for name in builtin()] + usages + ["; ".join(usages[:6])]


def _words(op: str) -> list[str]:
    right = {
        "proc": "A",
        "child": "B",
        "thps": "1thp",
        "start": "1/2thp+1",
        "npages": "1thp-1",
        "prot": "r",
        "pin": "p",
    }
    right |= {
        "to": "R",
        "at": "0",
        "advice": "cold",
        "scans": "1",
        "value": "1",
        "path": "/proc/sys/vm/drop_caches",
        "bytes": "9",
    }
    return [right[field.name] for field in VOCABULARY[op].fields if field.required]


def _draw_text(rng: random.Random) -> str:
    return garble.text(rng, rng.choice(_texts()))


def _parse(text: str) -> None:
    scenario = Scenario.parse(text)
    assert Scenario.parse(scenario.format()) == scenario
    assert Scenario.from_json(json.loads(json.dumps(scenario.to_json()))) == scenario


@cache
def _scenarios() -> list[Any]:
    return [load(name).to_json() for name in builtin()]


def _draw_json(rng: random.Random) -> Any:
    return garble.value(rng, rng.choice(_scenarios()))


def _read_json(data: Any) -> None:
    scenario = Scenario.from_json(data)
    assert Scenario.from_json(scenario.to_json()) == scenario


# --- machine ----------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """A machine, and what it is asked to do, sensible or not."""

    kernel: str
    geometry: str
    memory: int
    swap: str
    ops: tuple[Operation, ...]


def _draw_run(rng: random.Random) -> Run:
    nr = rng.choice((2, 4, 8))
    thps = rng.choice((1, 1, 2))
    begin = [Operation("mmap", {"proc": proc, "thps": thps}) for proc in rng.sample("AB", rng.randint(1, 2))]
    ops = [_resized(rng, propose(rng, thps * nr, serial), thps * nr) for serial in range(rng.randint(1, 30))]
    kernel, swap = rng.choice(list(kernels.KERNELS)), rng.choice(("", "", "swap", "zram"))
    return Run(kernel, {2: "TINY", 4: "MINI", 8: "TOY"}[nr], nr * rng.choice((4, 8, 16, 32)), swap, (*begin, *ops))


def _resized(rng: random.Random, op: Operation, pages: int) -> Operation:
    """Many an mremap asks for another size, some of them at the same place."""
    if op.op != "mremap" or rng.randrange(2):
        return op
    fields = {**op.fields, "size": rng.randrange(1, pages + 2)}
    return Operation("mremap", fields if rng.randrange(2) else {**fields, "to": None})


def _perform(run: Run) -> None:
    machine = Machine(run.kernel, run.geometry, run.memory, swap=run.swap)
    for op in run.ops:
        try:
            routine = machine.begin(op)
        except BadInput:
            continue
        drain(routine)
        broken = check_state(machine.state)
        assert not broken, f"{op} breaks {broken[0].invariant}: {broken[0].problem}"


# --- files ------------------------------------------------------------------------------------------------------------


@cache
def _saved() -> list[Any]:
    setups = (Setup(), Setup("v6.18", "MINI", 64), Setup("v4.5", swap="swap"), Setup(mutant="forgets_the_tails"))
    traces = [record(load(name), setup) for name, setup in zip(("cow", "story", "pinned_split"), setups, strict=False)]
    return [json.loads(trace.save()) for trace in (*traces, traces[0].fork("pin A 0 1 p"))]


def _load_trace(line: str) -> None:
    trace = Trace.load(line)
    assert Trace.load(trace.save()) == trace


@cache
def _records() -> list[Any]:
    paths = sorted(TRUTH.glob("linux-*.jsonl"))
    lines = itertools.chain.from_iterable(path.read_text().splitlines() for path in paths)
    return [json.loads(line) for line in lines if len(line) < 6000]


@cache
def _recordings() -> list[Any]:
    paths = sorted((TRUTH / "steps").glob("*.jsonl"))
    lines = itertools.chain.from_iterable(path.read_text().splitlines() for path in paths)
    return [json.loads(line) for line in lines if len(line) < 8000]


def _in_file(line: str, take: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.jsonl"
        path.write_text(line, encoding="utf-8", errors="surrogatepass")
        take(path)


def _replay(path: Path) -> None:
    for each in read_records(path):
        for outcome in replay_records([each], kernel_name(each["kernel"])):
            for difference in outcome.differences:
                str(difference)


def _follow(path: Path) -> None:
    for one in follow_all(read_recordings(path)):
        for difference in one.differences:
            str(difference.line)


def _draw_progress(rng: random.Random) -> str:
    answer = {"kind": "quiz", "where": "00_the_whole_story", "answer": "8", "right": True, "first": False}
    work = {"kind": "task", "where": "x", "id": "a", "seed": "", "solved": True, "tries": 2, "hints": [1], "last": "0"}
    stepper = {"where": "00_the_whole_story", "what": "a pin", "asks": ["q"], "step": None}
    who = {"thplab": 1, "learner": "0123456789abcdef", "name": "Ada", "copied": {"notebooks/x.ipynb": "0" * 64}}
    done = {"answers": {"q": answer}, "work": [work], "steppers": [stepper]}
    return garble.line(rng, who | done | {"stopped": {"where": "x", "what": "a", "step": 1}})


def _go_on(line: str) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(progress.FILE).write_text(line, encoding="utf-8", errors="surrogatepass")
        progress.record_hint(progress.TASK, "00_the_whole_story", "a", 1)
        assert Progress()._repr_html_() and repr(Progress())


# --- widgets ----------------------------------------------------------------------------------------------------------


@cache
def _widgets() -> dict[str, Callable[[], Widget]]:
    race = "pmd-split-and-pin"
    made: dict[str, Callable[[], Widget]] = {
        "compare": lambda: Compare("mmap A; write A 0", kernels=["v4.5", "v6.18"]),
        "footprint": lambda: FootprintLab(),
        "quiz": lambda: Quiz([head_refcount, split_result], count=2),
        "race": lambda: RaceStepper(race),
        "sandbox": lambda: Sandbox("mmap A; write A 0; fork A B"),
    }
    return made


_standing: dict[str, Widget] = {}


_RIGHT: dict[str, list[dict[str, Any]]] = {
    "compare": [
        {"do": "compare", "with": {"scenario": "mmap A; read A 0", "kernels": ["v4.5", "v6.1"], "geometry": "TOY"}}
    ],
    "footprint": [
        {
            "do": "move",
            "with": {
                **{"thps": 20, "unmapped": 0.5, "pattern": "random", "pressure": 1.0},
                **{"sharing": 1, "unmapping": 1, "pinned": 0.0, "zero_filled": 0.0},
            },
        }
    ],
    "quiz": [{"do": "another", "with": {}}],
    "race": [
        {"do": "move", "with": {"cpu": 0, "at": 0}},
        {"do": "load", "with": {"line": "pmd-split-and-pin: 0x3 1x2"}},
        {"do": "find", "with": {"at": 0}},
        {"do": "any", "with": {"at": 0}},
    ],
    "sandbox": [
        {"do": "op", "with": {"op": "write", "fields": {"proc": "A", "start": "1"}}},
        {"do": "op", "with": {"op": "munmap", "fields": {"proc": "B", "start": "1", "npages": "2"}}},
        {"do": "go", "with": {"at": 1}},
        {"do": "switch", "with": {"branch": 0}},
        {"do": "machine", "with": {"kernel": "v6.1", "geometry": "TOY"}},
        {"do": "load", "with": {"line": "v4.5 MINI: mmap A; write A 0"}},
        {"do": "choose", "with": {"proc": "A", "region": "R", "start": "0"}},
        {"do": "step", "with": {"step": 1}},
        {"do": "check", "with": {}},
    ],
}


def _draw_message(rng: random.Random) -> tuple[str, Any]:
    name = rng.choice(("compare", "footprint", "race", "race", "sandbox", "sandbox", "sandbox", "quiz"))
    question = {"number": rng.randrange(100), **rng.choice(_RIGHT[name])}
    return name, garble.value(rng, question, 2) if rng.randrange(8) else question


def _tell(message: tuple[str, Any]) -> None:
    """A widget stays from one message to the next one: so they meet many states."""
    name, question = message
    if name not in _standing:
        _standing[name] = _widgets()[name]()
    widget = _standing[name]
    widget._asked(widget, question, [])
    assert "failed inside" not in widget.says, widget.says
    if isinstance(widget, Sandbox) and widget.scenario.count(";") > 30:
        del _standing[name]
    if widget.answer["error"]:
        raise BadInput("message", "is refused", "one that is not")


# --- schedules --------------------------------------------------------------------------------------------------------


def _draw_schedule(rng: random.Random) -> tuple[str, str]:
    name = rng.choice(("naive-split-and-pin", "pmd-split-and-zap", "frozen-split-and-pin"))
    parts = [f"{rng.randrange(2)}x{rng.randint(1, 12)}" for _ in range(rng.randint(1, 8))]
    right = " ".join(parts)
    return name, garble.text(rng, right, 3) if rng.randrange(3) else right


def _schedule(given: tuple[str, str]) -> None:
    name, text = given
    race = Race(PAIRS[name])
    race.load(text)
    again = Race(PAIRS[name])
    again.load(race.line.partition(":")[2])
    assert again.schedule == race.schedule


# --- lines of a sandbox -------------------------------------------------------------------------------------------------


def _draw_share(rng: random.Random) -> str:
    head = rng.choice(("v6.18 TOY", "rfc-2014 MINI", "v4.5 TINY swap=zram", "v6.1 X86_64 mutant=forgets_the_tails"))
    return garble.text(rng, f"{head}: mmap A; write A 0; fork A B; split_pmd B 0", 3)


def _share(line: str) -> None:
    scenario, setup = read_share(line, Setup())
    Branches.of(scenario, setup)


# --- lectures ---------------------------------------------------------------------------------------------------------

_LECTURE = """
title = "Mine"
[scenarios]
shared = "mmap A; write A 0; fork A B"
[[slides]]
use = "1.5"
[[slides]]
use = "05: three attempts"
minutes = 4
[[slides]]
id = "X1"
title = "A claim"
minutes = 1.5
show = [
  { walk = "shared", kernel = "v4.5", stops = ["o2", { at = "o3: head", strip = "2 = 2 + 0", events = ["thp_split_pmd +1"] }] },
  { compare = "shared", kernels = ["v3.16", "v6.18"], rows = [{ label = "pages", what = "page frames in use", at = "o3" }] },
  { race = "naive-split-and-pin", turns = "0x10 1x6" },
]
[slides.card]
question = "How many?"
choices = ["1", "2"]
right = "b"
slips = { a = "one split" }
"""


@cache
def _lectures() -> list[str]:
    folder = Path(lectures.__file__).parent
    return [_LECTURE] * 3 + [(folder / f"{name}.toml").read_text() for name in ("two_splits", "races")]


def _read_lecture(toml: str) -> None:
    talk = lectures.read(toml)
    assert all(slide.title is not None and (slide.card or slide.exhibits) for slide in talk.slides) and talk.timing()


# --- what is explained ------------------------------------------------------------------------------------------------

_EXPLAINED = Path(__file__).parent.parent.parent / "docs/examples/explain"
_DUMP = """# thplab pagemap 1: 0x7f0000000000, 512 pages, Linux 6.18.44
7f0000000000 1 present pte yes F0 0 head 1
7f0000001000 7 present pte no F0 1 tail 2
7f000000b000 500 present pte yes - - - -
7f00001ff000 1 swap pte - - - - -
frame F0 8 3 tail 0
"""


@cache
def _explained() -> list[str]:
    """Right texts. Those that are explained first have the examples made, which takes longer than an input may."""
    texts = [path.read_text() for path in sorted(_EXPLAINED.glob("*.*"))] + [_DUMP]
    for text in texts:
        _explain((text,))
    return texts


def _draw_explained(rng: random.Random) -> tuple[str, ...]:
    chosen = [rng.choice(_explained()) for _ in range(rng.randint(1, 3))]
    return tuple(garble.text(rng, text, 3) if rng.randrange(3) else text for text in chosen)


def _explain(texts: tuple[str, ...]) -> None:
    """With examples of one number of pages only: each number more takes most of a second."""
    with patch("thplab.study.explain.explanation.numbers", lambda *_: (1,)):
        assert repr(explain(*texts, kernel="v6.12"))


TARGETS = {
    "explained": Target(_draw_explained, _explain),
    "lectures": Target(lambda rng: garble.text(rng, rng.choice(_lectures())), _read_lecture),
    "parser": Target(_draw_text, _parse),
    "scenarios": Target(_draw_json, _read_json),
    "machine": Target(_draw_run, _perform),
    "traces": Target(lambda rng: garble.line(rng, rng.choice(_saved())), _load_trace),
    "recordings": Target(lambda rng: garble.line(rng, rng.choice(_records())), lambda line: _in_file(line, _replay)),
    "steps": Target(lambda rng: garble.line(rng, rng.choice(_recordings())), lambda line: _in_file(line, _follow)),
    "messages": Target(_draw_message, _tell),
    "progress": Target(_draw_progress, _go_on),
    "schedules": Target(_draw_schedule, _schedule),
    "lines": Target(_draw_share, _share),
}
"""All targets by their names."""
