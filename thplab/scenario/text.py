"""The text form of operations and scenarios.

    scenario NAME: ABOUT      optional, first
    env noswap|swap|zram      optional, the swap that a recording was made with
    phase TITLE               starts a phase
    why TEXT                  optional, right below its phase line; more lines are joined with a space
    OP arg arg key=value      an operation; page numbers may be written in parts of a THP (1/2thp+1)
    # comment                 dropped

One rule says where things end: lines that begin with `scenario`, `env`, `why` or `#` are taken whole, so that these may
hold a ';'; every other line is cut at each ';'. Hence a phase title holds no ';', and `why` must begin a line. Nothing
is ever quoted. Arguments go by position, in the order of VOCABULARY, and after them as key=value; defaults are left out
when writing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from thplab.errors import BadInput
from thplab.scenario.kinds import Value
from thplab.scenario.operation import Operation, Phase, one_line
from thplab.scenario.vocabulary import VOCABULARY, near, spec_of, usage

ENVS = ("", "noswap", "swap", "zram")
"""What a recording says about swap (tests/truth/README.md); "" where it says nothing."""

_WHOLE_LINES = ("scenario", "env", "why")


def write_operation(operation: Operation) -> str:
    """The operation as text, the shortest that read_operation() reads back as the same."""
    words = [operation.op]
    by_position = True
    for spec in spec_of(operation.op).fields:
        value = operation.fields[spec.name]
        by_position = by_position and not spec.keyed and (spec.required or value != spec.default)
        if by_position:
            words.append(spec.kind.show(value))
        elif spec.required or value != spec.default:
            words.append(f"{spec.name}={spec.kind.show(value)}")
    return " ".join(words)


def read_operation(text: str) -> Operation:
    """The operation that `text` writes.

    Raises BadInput for an unknown operation or key (naming near ones), too many or missing arguments, a key given
    twice, an argument after a key=value, and a value that does not fit.
    """
    op, *words = text.split()
    spec = spec_of(op)
    positions = iter([each for each in spec.fields if not each.keyed])
    given: dict[str, str] = {}
    keyed = False
    for word in words:
        key, equals, rest = word.partition("=")
        if equals:
            keyed = True
            target = spec.field(op, key)
        elif keyed:
            raise BadInput(op, f"has {word!r} after a key=value", f"{usage(op)}, arguments by position first")
        else:
            found = next(positions, None)
            if found is None:
                raise BadInput(op, f"has too many arguments, from {word!r} on", usage(op))
            target, rest = found, word
        if target.name in given:
            raise BadInput(f"{op} {target.name}", "is given twice", "it once")
        given[target.name] = rest
    return read_fields(op, given)


def read_fields(op: str, given: Mapping[str, str]) -> Operation:
    """The operation `op` whose fields these texts write.
    Raises BadInput for an unknown name and for a value that is missing or wrong.
    """
    spec = spec_of(op)
    values: dict[str, Value] = {}
    for name, text in given.items():
        kind = spec.field(op, name).kind
        value = kind.read(text)
        if value is None:
            raise BadInput(f"{op} {name}", f"is {text!r}", kind.right())
        values[name] = value
    return Operation(op, values)


def write_line(operations: Iterable[Operation]) -> str:
    """Operations on one line, separated by '; '."""
    return "; ".join(map(write_operation, operations))


@dataclass
class Parts:
    """What a text holds: the arguments of a Scenario."""

    name: str = ""
    about: str = ""
    env: str = ""
    phases: list[Phase] = field(default_factory=list)


def write(parts: Parts) -> str:
    """The text form, one operation a line, with a newline at the end (nothing at all for an empty scenario).
    Inverse of read().
    """
    return "".join(line + "\n" for line in _lines(parts))


def _lines(parts: Parts) -> Iterator[str]:
    if parts.name or parts.about:
        yield f"scenario {parts.name}" + (f": {parts.about}" if parts.about else "")
    if parts.env:
        yield f"env {parts.env}"
    for phase in parts.phases:
        if phase.title:
            yield f"phase {phase.title}"
        if phase.why:
            yield f"why {phase.why}"
        yield from map(write_operation, phase.ops)


def read(text: str) -> Parts:
    """What `text` holds. Raises BadInput that names the line, the text,
    what is wrong with it and what would be right.
    """
    parts = Parts()
    seen: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line.startswith("#"):
            continue
        whole = _first_word(line) in _WHOLE_LINES
        for piece in filter(None, map(str.strip, [line] if whole else line.split(";"))):
            try:
                _take(parts, piece, seen, whole)
            except BadInput as error:
                raise BadInput(f"line {number}, {piece!r}: {error.argument}", error.wrong, error.right) from None
    return parts


def _take(parts: Parts, piece: str, seen: set[str], whole: bool) -> None:
    """Add one line, or one piece of a line, to `parts`; `seen` holds the first words of the pieces before it."""
    word = _first_word(piece)
    rest = piece[len(word) :].strip()
    before = set(seen)
    seen.add(word)
    if word in _WHOLE_LINES and not whole:
        raise BadInput(word, "follows a ';'", f"{word} at the beginning of a line")
    if word == "scenario":
        if before:
            raise BadInput("scenario", "is not the first line", "it once, before everything else")
        name, _, about = rest.partition(":")
        parts.name, parts.about = name.strip(), about.strip()
        check_header(parts.name, parts.about, "")
    elif word == "env":
        if before - {"scenario"}:
            raise BadInput("env", "comes too late", "it once, below the scenario line and before phases and operations")
        parts.env = rest
        check_header("", "", rest)
    elif word == "phase":
        if not rest:
            raise BadInput("phase", "has no title", "phase TITLE")
        parts.phases.append(Phase(rest))
    elif word == "why":
        if not rest or not parts.phases or not parts.phases[-1].title or parts.phases[-1].ops:
            raise BadInput(
                "why", "has no text" if not rest else "is out of place", "why TEXT, right below a phase line"
            )
        last = parts.phases[-1]
        parts.phases[-1] = replace(last, why=f"{last.why} {rest}".strip())
    elif word not in VOCABULARY:
        raise BadInput("operation", f"{word!r} is unknown", near(word, (*VOCABULARY, *_WHOLE_LINES, "phase")))
    else:
        operation = read_operation(piece)
        if not parts.phases:
            parts.phases.append(Phase())
        parts.phases[-1] = replace(parts.phases[-1], ops=(*parts.phases[-1].ops, operation))


def _first_word(text: str) -> str:
    return text.split(maxsplit=1)[0] if text else ""


def check_header(name: str, about: str, env: str) -> None:
    """Raises BadInput if one of them could not stand in the lines above the phases."""
    if not re.fullmatch("[A-Za-z0-9_.+-]*", name):
        raise BadInput("name", f"is {name!r}", "letters, digits and _ . + -")
    one_line("about", about)
    if env not in ENVS:
        raise BadInput("env", f"is {env!r}", "one of " + ", ".join(filter(None, ENVS)))
