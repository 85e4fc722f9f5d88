"""What a learner has done, kept in one file of a folder of her own (`thplab start` makes both), and sent nowhere.

A notebook finds the file from its working directory upwards. Where there is none, nothing is kept, and every function
here does nothing; likewise while a notebook is run to be exported. Each function that finds a file raises BadInput that
names it, and leaves it as it is, if the file makes no sense or cannot be written.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from thplab.errors import BadInput
from thplab.files import write_file
from thplab.foreign import (
    NULL,
    EitherShape,
    ExactShape,
    IntShape,
    ListShape,
    ObjectShape,
    Shape,
    TextShape,
    parse,
    read_text,
)
from thplab.learn import EXPORTING
from thplab.learn.folders import notebook_folder

FILE = "thplab-progress.json"
PREDICTION, QUIZ = "prediction", "quiz"
TASK, EXERCISE = "task", "exercise"
MOST = 5000
"""Entries of one kind; where there would be more, the oldest go."""
_STEPS = 10**9

NAME = TextShape(200)
_YES_OR_NO = ExactShape((True, False))
_TEXT = TextShape(1000)
_WHERE = TextShape(300)
_ANSWER = ObjectShape(
    {
        "kind": ExactShape((PREDICTION, QUIZ)),
        "where": _WHERE,
        "answer": EitherShape((NULL, _TEXT)),
        "right": _YES_OR_NO,
        "first": _YES_OR_NO,
    }
)
"""`answer` is None where the learner wants to answer again; `first` says whether the first answer was right."""
_WORK = ObjectShape(
    {
        "kind": ExactShape((TASK, EXERCISE)),
        "where": _WHERE,
        "id": _WHERE,
        "seed": _WHERE,
        "solved": _YES_OR_NO,
        "tries": IntShape(0, _STEPS),
        "hints": ListShape(IntShape(1, 100), 100),
        "last": TextShape(64),
    }
)
"""`tries` counts up to the first that solved it; `last` is a hash of the last answer, which is no try once more."""
_STEPPER = ObjectShape(
    {"where": _WHERE, "what": _WHERE, "asks": ListShape(_WHERE, 1000), "step": EitherShape((NULL, IntShape(0, _STEPS)))}
)
_STOPPED = ObjectShape({"where": _WHERE, "what": _WHERE, "step": IntShape(0, _STEPS)})
SHAPE: Shape = ObjectShape(
    {
        "thplab": ExactShape((1,)),
        "learner": TextShape(16, "[0-9a-f]{16}", "16 hexadecimal digits"),
        "name": NAME,
        "copied": ObjectShape(others=TextShape(64, "[0-9a-f]{64}", "a hash"), most=MOST),
        "answers": ObjectShape(others=_ANSWER, most=MOST),
        "work": ListShape(_WORK, MOST),
        "steppers": ListShape(_STEPPER, MOST),
        "stopped": EitherShape((NULL, _STOPPED)),
    }
)

Kept = dict[str, Any]
"""What a file holds, of the shape above."""

_ABOUT: ContextVar[tuple[str, str]] = ContextVar("about", default=("", ""))


# --- the file ---------------------------------------------------------------------------------------------------------


def find() -> Path | None:
    """The file of the learner in whose folder this program works; None where there is none."""
    try:
        here = Path.cwd()
    except OSError:  # the folder is gone
        return None
    return next((each / FILE for each in (here, *here.parents) if os.path.isfile(each / FILE)), None)


def begin(path: Path, name: str) -> None:
    """Write the file of a learner who has done nothing yet."""
    nothing: Kept = {"copied": {}, "answers": {}, "work": [], "steppers": [], "stopped": None}
    write_file(path, _text({"thplab": 1, "learner": secrets.token_hex(8), "name": name} | nothing))


def read(path: Path) -> Kept:
    """What a file holds."""
    right = "a file that thplab start made"
    kept: Kept = parse(read_text(path, right), SHAPE, str(path))
    return kept


@contextmanager
def changing(path: Path) -> Iterator[Kept]:
    """What a file holds, to be changed: it is written at the end, if it has changed and nothing was raised."""
    with _alone(path.parent):
        kept = read(path)
        before = _text(kept)
        yield kept
        for name in ("answers", "work", "steppers"):
            while len(kept[name]) > MOST:
                del kept[name][next(iter(kept[name])) if name == "answers" else 0]
        after = _text(kept)
        if after != before:
            SHAPE.check(kept, str(path))
            write_file(path, after)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other notebook of the learner's changes the file meanwhile, as far as the system can see to that."""
    try:
        import fcntl

        held = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _text(kept: Kept) -> str:
    return json.dumps(kept, indent=1, ensure_ascii=False) + "\n"


def _file() -> Path | None:
    """The file in which is kept what happens now."""
    return None if EXPORTING in os.environ else find()


# --- who, and where ---------------------------------------------------------------------------------------------------


def learner() -> str:
    """The learner's id; "" where nothing is kept."""
    path = _file()
    return str(read(path)["learner"]) if path else ""


@contextmanager
def about(where: str, what: str) -> Iterator[None]:
    """Widgets that are made within are kept as `what` of the notebook `where`: its path below the folder of notebooks,
    without its ending.
    """
    token = _ABOUT.set((where, what))
    try:
        yield
    finally:
        _ABOUT.reset(token)


def here(what: str) -> tuple[str, str]:
    """As what a widget is kept that is made now: what about() says, else as `what` of the notebook that runs."""
    told = _ABOUT.get()
    return told if any(told) else (_notebook(), _short(what))


def _notebook() -> str:
    """The notebook that runs, as about() names it; "" if the server does not say."""
    session, path = os.environ.get("JPY_SESSION_NAME", ""), find()
    if not path or not session.endswith(".ipynb"):
        return ""
    try:
        place = Path(session).resolve().relative_to(path.parent.resolve() / "notebooks")
        return _short(place.with_suffix("").as_posix())
    except ValueError:
        return _short(Path(session).stem)


def _short(text: str) -> str:
    """A text that fits into the file."""
    return text[: _WHERE.longest].encode("utf-8", "replace").decode("utf-8")


# --- questions and steppers -------------------------------------------------------------------------------------------


def answers(ids: Iterable[str]) -> dict[str, str | None]:
    """The learner's answers to these questions; None for one that she wants to answer again."""
    path = _file()
    kept = read(path)["answers"] if path else {}
    return {id: kept[id]["answer"] for id in ids if id in kept}


def record_answers(
    kind: str, where: str, what: str, given: Mapping[str, str | None], actual: Mapping[str, str]
) -> None:
    """Keep what was answered to the questions of a widget: None takes an answer back. `actual` has the right answers by
    the questions' ids. What is no question of these, or no answer, is left out.
    """
    path = _file()
    if not path:
        return
    with changing(path) as kept:
        old = kept["answers"]
        new = [_answer(old, kind, where, id, text, actual[id]) for id, text in given.items() if id in actual]
        if any(new) and kind == QUIZ:  # a stepper tells where it is
            _stop(kept, where, what, 0)


def _answer(kept: Kept, kind: str, where: str, id: str, text: str | None, actual: str) -> bool:
    old = kept.get(id)
    if (old is None and text is None) or (old and old["answer"] == text) or (text is not None and not _TEXT.fits(text)):
        return False
    right = text == actual
    if old is None:
        kept[id] = {"kind": kind, "where": where, "answer": text, "right": right, "first": right}
    else:
        old |= {"answer": text, "right": right}
    return True


def record_stepper(where: str, what: str, asks: Iterable[str]) -> None:
    """Keep that a stepper was opened, and which questions it asks, by their ids."""
    path = _file()
    if path:
        with changing(path) as kept:
            _stepper(kept, where, what)["asks"] = list(asks)


def record_step(where: str, what: str, step: int) -> None:
    """Keep that the learner is at a step of a stepper, and was nowhere else since."""
    path = _file()
    if path and 0 <= step <= _STEPS:
        with changing(path) as kept:
            _stepper(kept, where, what)["step"] = step
            _stop(kept, where, what, step)


def step(where: str, what: str) -> int | None:
    """The step of a stepper at which the learner was; None if she was not there."""
    path = _file()
    found: int | None = _stepper(read(path), where, what)["step"] if path else None
    return found


def _stepper(kept: Kept, where: str, what: str) -> Kept:
    return _entry(kept["steppers"], {"where": where, "what": what}, {"asks": [], "step": None})


def _stop(kept: Kept, where: str, what: str, step: int) -> None:
    kept["stopped"] = {"where": where, "what": what, "step": step}


def _entry(entries: list[Kept], key: Kept, empty: Kept) -> Kept:
    """The entry that has these values, a new one if there is none."""
    found = next((each for each in entries if key.items() <= each.items()), None)
    if found is None:
        entries.append(found := key | empty)
    return found


# --- tasks and exercises ----------------------------------------------------------------------------------------------


def record_attempt(kind: str, where: str, id: str, solved: bool, answer: str | None = None, seed: str = "") -> None:
    """Keep that a task or an exercise was tried: `kind` is TASK or EXERCISE, `where` as about() says, `seed` the
    variant.

    An `answer` that is blank is no try, nor is one that the notebook itself proposes and that does not solve it, the
    same once more, or anything after the one that has solved it. Without an answer each call is a try.
    """
    path = _file()
    if not path or (answer is not None and not solved and _is_proposed(where, answer.strip())):
        return
    last = "" if answer is None else hashlib.sha256(answer.encode("utf-8", "replace")).hexdigest()[:16]
    with changing(path) as kept:
        entry = _work(kept, kind, where, id, seed)
        if not entry["solved"] and not (last and last == entry["last"]):
            entry |= {"tries": min(entry["tries"] + 1, _STEPS), "solved": solved, "last": last}
            _stop(kept, where, id, 0)


def record_hint(kind: str, where: str, id: str, level: int, seed: str = "") -> None:
    """Keep that a hint to a task or an exercise was read."""
    path = _file()
    if path:
        with changing(path) as kept:
            entry = _work(kept, kind, where, id, seed)
            entry["hints"] = sorted({*entry["hints"], level})
            _stop(kept, where, id, 0)


def _work(kept: Kept, kind: str, where: str, id: str, seed: str) -> Kept:
    key = {"kind": kind, "where": _short(where), "id": _short(id), "seed": _short(seed)}
    return _entry(kept["work"], key, {"solved": False, "tries": 0, "hints": [], "last": ""})


def _is_proposed(where: str, answer: str) -> bool:
    """Whether an answer is blank, or a text that a cell of the notebook holds as it came."""
    if not answer:
        return True
    try:
        cells = json.loads((notebook_folder() / f"{where}.ipynb").read_text(encoding="utf-8"))["cells"]
    except (BadInput, OSError, ValueError, KeyError):
        return False
    sources = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return any(answer == text.strip() for source in sources for text in _texts(source))


def _texts(source: str) -> Iterator[str]:
    """The texts that a program holds."""
    with suppress(SyntaxError):  # a line for IPython
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
