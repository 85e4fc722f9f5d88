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

from thplab.errors import BadInput, shown
from thplab.scenario.kinds import Value
from thplab.scenario.operation import Operation, Phase, one_line
from thplab.scenario.vocabulary import VOCABULARY, near, spec_of, usage

ENVS = ("", "noswap", "swap", "zram")
"""What a recording says about swap (tests/truth/README.md); "" where it says nothing."""

LONGEST = 10_000_000
"""Characters of a scenario's text."""

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
            raise BadInput(op, f"has {shown(word)} after a key=value", f"{usage(op)}, arguments by position first")
        else:
            found = next(positions, None)
            if found is None:
                raise BadInput(op, f"has too many arguments, from {shown(word)} on", usage(op))
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
            raise BadInput(f"{op} {name}", f"is {shown(text)}", kind.right())
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
    if len(text) > LONGEST:
        raise BadInput("scenario", f"has {len(text):,} characters", f"a text of at most {LONGEST:,}")
    reader = _Gathered()
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line.startswith("#"):
            continue
        whole = _first_word(line) in _WHOLE_LINES
        for piece in filter(None, map(str.strip, [line] if whole else line.split(";"))):
            try:
                reader.take(piece, whole)
            except BadInput as error:
                where = f"line {number}, {shown(piece)}: {error.argument}"
                raise BadInput(where, error.wrong, error.right) from None
    return reader.parts()


class _Gathered:
    """What was read so far: a phase's lines and operations are gathered in lists until the next one begins."""

    def __init__(self) -> None:
        self.header = Parts()
        self.seen: set[str] = set()
        self.phases: list[tuple[str, list[str], list[Operation]]] = []

    def parts(self) -> Parts:
        """All that was read."""
        phases = [Phase(title, " ".join(why), tuple(ops)) for title, why, ops in self.phases]
        return replace(self.header, phases=phases)

    def take(self, piece: str, whole: bool) -> None:
        """Add one line, or one piece of a line. Raises BadInput."""
        word = _first_word(piece)
        rest = piece[len(word) :].strip()
        if word in _WHOLE_LINES and not whole:
            raise BadInput(word, "follows a ';'", f"{word} at the beginning of a line")
        if word in ("scenario", "env"):
            self._head(word, rest)
        elif word == "phase":
            if not rest:
                raise BadInput("phase", "has no title", "phase TITLE")
            self.phases.append((Phase(rest).title, [], []))
        elif word == "why":
            wrong = "is out of place" if not self.phases or not self.phases[-1][0] or self.phases[-1][2] else ""
            wrong = wrong if rest else "has no text"
            if wrong:
                raise BadInput("why", wrong, "why TEXT, right below a phase line")
            one_line("why", rest)
            self.phases[-1][1].append(rest)
        elif word not in VOCABULARY:
            known = (*VOCABULARY, *_WHOLE_LINES, "phase")
            raise BadInput("operation", f"{shown(word)} is unknown", near(word, known))
        else:
            operation = read_operation(piece)
            if not self.phases:
                self.phases.append(("", [], []))
            self.phases[-1][2].append(operation)
        self.seen.add(word)

    def _head(self, word: str, rest: str) -> None:
        if word == "scenario":
            if self.seen:
                raise BadInput("scenario", "is not the first line", "it once, before everything else")
            name, _, about = rest.partition(":")
            self.header.name, self.header.about = name.strip(), about.strip()
        else:
            if self.seen - {"scenario"}:
                right = "it once, below the scenario line and before phases and operations"
                raise BadInput("env", "comes too late", right)
            self.header.env = rest
        check_header(self.header.name, self.header.about, self.header.env)


def _first_word(text: str) -> str:
    return text.split(maxsplit=1)[0] if text else ""


def check_header(name: str, about: str, env: str) -> None:
    """Raises BadInput if one of them could not stand in the lines above the phases."""
    if not re.fullmatch("[A-Za-z0-9_.+-]*", name):
        raise BadInput("name", f"is {shown(name)}", "letters, digits and _ . + -")
    one_line("about", about)
    if env not in ENVS:
        raise BadInput("env", f"is {shown(env)}", "one of " + ", ".join(filter(None, ENVS)))
