"""One operation of a scenario, and a phase: operations under a title."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from thplab.errors import BadInput, shown
from thplab.scenario.kinds import HugePages, PageNumber, Plain, Value
from thplab.scenario.pages import Pages
from thplab.scenario.vocabulary import spec_of, usage


class Fields(Mapping[str, Value]):
    """An operation's fields: a mapping that does not change and can be hashed."""

    __slots__ = ("_values",)

    def __init__(self, items: tuple[tuple[str, Value], ...]) -> None:
        self._values = dict(items)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        return repr(self._values)


@dataclass(frozen=True)
class Operation:
    """An operation by its name in VOCABULARY, and its fields.

    Fields that are not given get their defaults, so `fields` holds all that the operation has, in table order; page
    numbers are Pages (ints and texts such as "1/2thp" are taken). Raises BadInput for an unknown operation or field,
    for a field that is missing, and for a value that does not fit.

    >>> Operation("mprotect", {"proc": "B", "start": "1/2thp", "npages": 1, "prot": "r"}).label(8)
    'mprotect(B, page 4, r)'
    """

    op: str
    fields: Mapping[str, Value]

    def __post_init__(self) -> None:
        spec = spec_of(self.op)
        for name in self.fields:
            spec.field(self.op, name)
        missing = [field.name for field in spec.fields if field.required and field.name not in self.fields]
        if missing:
            raise BadInput(self.op, "lacks " + ", ".join(missing), usage(self.op))
        items: list[tuple[str, Value]] = []
        for field in spec.fields:
            raw = self.fields.get(field.name, field.default)
            value = field.kind.accept(raw)
            if value is None and (raw is not None or field.required or field.default is not None):
                raise BadInput(f"{self.op} {field.name}", f"is {shown(raw)}", field.kind.right())
            items.append((field.name, value))
        object.__setattr__(self, "fields", Fields(tuple(items)))
        given = [name for name in spec.one_of if self.fields[name] is not None]
        if spec.one_of and len(given) != 1:
            wrong = f"both {' and '.join(given)}" if given else f"neither {' nor '.join(spec.one_of)}"
            raise BadInput(self.op, f"has {wrong}", "one of the two")

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Operation:
        """The operation that the recorder writes as `data`. Raises BadInput as the constructor does."""
        if not isinstance(data, Mapping) or not isinstance(data.get("op"), str):
            raise BadInput("operation", f"is {shown(data)}", 'an object with "op" and the operation\'s fields')
        fields = {name: cast(Value, value) for name, value in data.items() if name != "op"}
        return cls(str(data["op"]), fields)

    def to_json(self) -> dict[str, Plain]:
        """The operation as the recorder writes it, defaults included. Inverse of from_json()."""
        given = (field for field in spec_of(self.op).fields if self.fields[field.name] is not None)
        return {"op": self.op} | {field.name: field.kind.json(self.fields[field.name]) for field in given}

    def resolve(self, nr: int) -> dict[str, Plain]:
        """All fields, page numbers as plain ints, for huge pages of `nr` subpages.

        Raises BadInput if a page number does not come out whole there, or a count comes out as 0.
        """
        plain: dict[str, Plain] = {}
        for field in spec_of(self.op).fields:
            value = self.fields[field.name]
            if isinstance(value, Pages):
                number = value.resolve(nr)
                if isinstance(field.kind, PageNumber) and number < field.kind.least:
                    raise BadInput(
                        f"{self.op} {field.name}",
                        f"{value} is {number} where a huge page has {nr} subpages",
                        field.kind.right(),
                    )
                plain[field.name] = number
            else:
                plain[field.name] = value
        return plain

    def label(self, nr: int) -> str:
        """The operation as a reader sees it where a huge page has `nr` subpages: `munmap(A, pages 4…7)`.

        Fields equal to their defaults are left out. Raises BadInput as resolve() does.
        """
        plain = self.resolve(nr)
        parts: list[str] = []
        for field in spec_of(self.op).fields:
            value = plain[field.name]
            if field.name == "start" and isinstance(value, int):
                last = value + int(plain.get("npages") or 1) - 1
                parts.append(f"page {value}" if last == value else f"pages {value}…{last}")
            elif isinstance(field.kind, HugePages):
                parts.append(f"{value} THP" if value == 1 else f"{value} THPs")
            elif field.name != "npages" and self.fields[field.name] != field.default:
                text = (
                    f"{field.name} page {value}"
                    if isinstance(field.kind, PageNumber)
                    else field.kind.show(self.fields[field.name])
                )
                parts.append(f"{field.name}={text}" if field.keyed else text)
        return f"{self.op}({', '.join(parts)})"


@dataclass(frozen=True)
class Phase:
    """Operations that belong together: a title for the timeline and a `why` of a sentence or two.

    Title and why are single lines without outer spaces, and a title holds no ';', so that the text form can write them
    as they are. A why needs a title. Raises BadInput otherwise.
    """

    title: str = ""
    why: str = ""
    ops: tuple[Operation, ...] = ()

    def __post_init__(self) -> None:
        one_line("title", self.title)
        one_line("why", self.why)
        if ";" in self.title:
            raise BadInput(
                "title", f"{shown(self.title)} holds a ';'", "a title without ';', which ends it in the text form"
            )
        if self.why and not self.title:
            raise BadInput("why", "is given for a phase without a title", "a title as well")
        object.__setattr__(self, "ops", tuple(self.ops))


def one_line(name: str, text: str) -> None:
    """Raises BadInput if `text`, given as `name`, is not a single line without outer spaces."""
    if not isinstance(text, str) or "\n" in text or "\r" in text or text != text.strip():
        raise BadInput(name, f"is {shown(text)}", "a single line without spaces before or after it")
