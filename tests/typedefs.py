"""Reads the typedefs of the payloads (thplab/learn/widgets/*.d.ts), as far as they go, and holds data against them.

They are written in a part of TypeScript: interfaces, type aliases, lists, tuples, unions, texts and numbers, Record and objects in place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thplab.learn import widgets

FOLDER = Path(widgets.__file__).parent
_TYPEDEF = re.compile(r"^(?:interface|type) (\w+)(?: extends (\w+))?(?: =)?(.*?)(?=^(?:interface|type) |\Z)", re.S | re.M)
_TOKEN = re.compile(r'"[^"]*"|[A-Za-z_]\w*|\S')
PLAIN = {"string": (str,), "number": (int, float), "boolean": (bool,), "null": (type(None),), "unknown": (object,)}


@dataclass(frozen=True)
class Fields:
    """An interface, or an object in place: name -> type, which of them may be left out, and what it extends."""

    types: dict[str, Any]
    optional: frozenset[str]
    base: str = ""


def typedefs(folder: Path = FOLDER) -> dict[str, Any]:
    """All typedefs by name: Fields, ("list", type), ("tuple", types), ("union", types), ("record", type), or the name of a type."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.d.ts")):
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.S)
        for name, base, body in _TYPEDEF.findall(text):
            assert name not in found, name
            if name != "Model":  # has methods
                made = _Reader(_TOKEN.findall(body)).type()
                found[name] = replace(made, base=base) if base else made
    return found


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def take(self, *expected: str) -> str:
        token = self.tokens.pop(0)
        assert not expected or token in expected, (token, expected, self.tokens[:5])
        return token

    def type(self) -> Any:
        """A union, or the one type that it has."""
        kinds = [self.part()]
        while self.tokens and self.tokens[0] == "|":
            self.take()
            kinds.append(self.part())
        return kinds[0] if len(kinds) == 1 else ("union", kinds)

    def part(self) -> Any:
        token = self.take()
        if token == "{":
            made: Any = self.fields()
        elif token == "[":
            made = ("tuple", self.inside("]"))
        elif token == "(":
            made = self.inside(")")[0]
        elif token == "Record":
            self.take("<")
            made = ("record", self.inside(">")[1])
        elif token == "Partial":  # of a Record: no key has to be there
            self.take("<")
            (made,) = self.inside(">")
        else:
            made = token
        while self.tokens[:2] == ["[", "]"]:
            self.tokens = self.tokens[2:]
            made = ("list", made)
        return made

    def inside(self, end: str) -> list[Any]:
        found = [self.type()]
        while self.take(",", end) != end:
            found.append(self.type())
        return found

    def fields(self) -> Fields:
        types, optional = {}, set()
        while (name := self.take()) != "}":
            if self.take("?", ":", "(") == "?":
                optional.add(name)
                self.take(":")
            types[name] = self.type()
            if self.tokens[0] == ";":
                self.take()
        return Fields(types, frozenset(optional))


def fields_of(name: str, known: dict[str, Any]) -> Fields:
    """The fields of an interface, with those that it extends."""
    own: Fields = known[name]
    if not own.base:
        return own
    base = fields_of(own.base, known)
    return Fields(base.types | own.types, base.optional.difference(own.types) | own.optional)


def wrong(value: Any, kind: Any, known: dict[str, Any], where: str = "data") -> list[str]:
    """Where a value, as JSON has it, is not of a type."""
    if isinstance(kind, str) and kind in known:
        found = known[kind]
        return wrong(value, fields_of(kind, known) if isinstance(found, Fields) else found, known, where)
    if isinstance(kind, Fields):
        if not isinstance(value, dict):
            return [f"{where} is {value!r:.40}, no object"]
        missing = [f"{where}.{name} is missing" for name in kind.types.keys() - value.keys() - kind.optional]
        extra = [f"{where}.{name} has no typedef" for name in value.keys() - kind.types.keys()]
        both = kind.types.keys() & value.keys()
        return missing + extra + [line for name in both for line in wrong(value[name], kind.types[name], known, f"{where}.{name}")]
    if isinstance(kind, tuple):
        return _wrong_inside(value, kind, known, where)
    if kind.startswith('"'):
        return [] if value == kind.strip('"') else [f"{where} is {value!r:.40}, not {kind}"]
    right = isinstance(value, PLAIN[kind]) and (kind in ("boolean", "unknown") or not isinstance(value, bool))
    return [] if right else [f"{where} is {value!r:.40}, no {kind}"]


def _wrong_inside(value: Any, kind: tuple[str, Any], known: dict[str, Any], where: str) -> list[str]:
    what, inside = kind
    if what == "union":
        each = [wrong(value, one, known, where) for one in inside]
        return [] if [] in each else min(each, key=len)
    if what == "record":
        if not isinstance(value, dict):
            return [f"{where} is {value!r:.40}, no object"]
        return [line for key, one in value.items() for line in wrong(one, inside, known, f"{where}[{key!r}]")]
    if not isinstance(value, list) or (what == "tuple" and len(value) != len(inside)):
        return [f"{where} is {value!r:.40}, no {what}" + (f" of {len(inside)}" if what == "tuple" else "")]
    kinds = inside if what == "tuple" else [inside] * len(value)
    return [line for at, (one, kind) in enumerate(zip(value, kinds, strict=True)) for line in wrong(one, kind, known, f"{where}[{at}]")]
