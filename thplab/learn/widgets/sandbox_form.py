"""What a learner can do next in the sandbox:
the operations as forms, those that make sense where they stand, and what can be clicked.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from thplab.errors import BadInput
from thplab.machine.machine import Machine
from thplab.machine.operations.callers import SYS_FILES
from thplab.machine.state import State
from thplab.scenario import VOCABULARY, FieldSpec, Operation
from thplab.scenario.kinds import Choice, Flag, Number
from thplab.scenario.text import read_fields, write_operation
from thplab.scenario.vocabulary import GROUPS, usage
from thplab.show.diagrams import Cut
from thplab.show.diagrams.places import LINKED

_TRIES = 64
"""Fillings of a form that are tried before an operation counts as one that makes no sense now."""

_LIKELY = {"prot": ("r",)}
"""Words that a form begins with, where the first of all is not what most learners try first."""


class Spot(NamedTuple):
    """A page of a process that was clicked, or was last worked on: the page is numbered in its region.
    Texts, as in a form.
    """

    proc: str = ""
    region: str = "R"
    start: str = "0"


# --- forms ------------------------------------------------------------------------------------------------------------


def forms() -> list[dict[str, Any]]:
    """Every operation that a simulated kernel can perform as a form, in groups:
    its fields with the texts that they can have.
    """
    return [{"title": title, "ops": [_form(op) for op in ops if VOCABULARY[op].built]} for title, ops in GROUPS.items()]


def _form(op: str) -> dict[str, Any]:
    spec = VOCABULARY[op]
    doc = spec.doc + "."
    if spec.not_live and spec.kernel_only:
        doc += f" Only a simulated kernel can be told so; on a real one: {spec.not_live.instead}."
    return {"op": op, "doc": doc, "usage": usage(op), "fields": [_field(field) for field in spec.fields]}


def _field(field: FieldSpec) -> dict[str, Any]:
    """`words` are all that a field can be, [] where it is typed; `default` "" is to leave it out."""
    return {
        "name": field.name,
        "required": field.required,
        "default": "" if field.default is None else field.kind.show(field.default),
        "words": list(field.kind.words)
        if isinstance(field.kind, Choice)
        else ["yes", "no"]
        if isinstance(field.kind, Flag)
        else [],
        "right": field.kind.right() + (f"; {field.note}" if field.note else ""),
    }


def operation_of(op: str, given: Mapping[str, str]) -> Operation:
    """The operation that a form with these texts stands for; an empty text leaves a field out.
    Raises BadInput for what does not fit.
    """
    return read_fields(op, {name: text.strip() for name, text in given.items() if text.strip()})


# --- what makes sense -------------------------------------------------------------------------------------------------


def names(state: State, spot: Spot, called: Sequence[str] = ()) -> dict[str, list[str]]:
    """By field: the names that it can have in this state, the likeliest first;
    those that things of the state have, and a new one. A new process is one of those `called`, while there is one.
    """
    living = [process.name for process in state.processes]
    regions = list(dict.fromkeys(name for process in state.processes for name, _ in process.regions))
    pins = list(state.pins)
    first = [spot.proc] if spot.proc in living else []
    fresh = _fresh((*called, *string.ascii_uppercase), living)
    here = [spot.region] if spot.region in regions else []
    return {
        "proc": [*dict.fromkeys(first + living), fresh],
        "child": [fresh],
        "region": [*dict.fromkeys([*here, *regions, "R"]), _fresh("RSTUVWXYZ", regions or ["R"])],
        "to": sorted(regions, key=lambda name: name == spot.region),
        "pin": [*pins, _fresh(("dma", *(f"dma{n}" for n in range(2, 100))), pins)],
        "path": list(SYS_FILES),
    }


def _fresh(candidates: Sequence[str], taken: Sequence[str]) -> str:
    return next((name for name in candidates if name not in taken), f"{candidates[0]}{len(taken)}")


def offered(machine: Machine, state: State, spot: Spot, called: Sequence[str] = ()) -> dict[str, dict[str, str]]:
    """The operations that make sense in `state`, each with the texts of a form that can be carried out,
    at `spot` if it is about a page. `called` as in names().

    `machine` is in that state; it is only asked whether an operation can begin, and does not change.
    """
    found = {}
    for op in itertools.chain(*GROUPS.values()):
        texts = next(
            (texts for texts in _fillings(op, state, spot, called) if _can_begin(machine, operation_of(op, texts))),
            None,
        )
        if texts is not None:
            found[op] = texts
    return found


def lines(offers: Mapping[str, Mapping[str, str]], spot: Spot) -> list[str]:
    """Of the operations that are offered those that are about the page at `spot`, as lines."""
    about = {"proc": spot.proc, "start": spot.start}
    here = (
        op
        for op, texts in offers.items()
        if about.items() <= texts.items() and texts.get("region", Spot().region) == spot.region
    )
    return [write_operation(operation_of(op, offers[op])) for op in here]


def _can_begin(machine: Machine, op: Operation) -> bool:
    try:
        machine.begin(op)
    except BadInput:
        return False
    return True


def _fillings(op: str, state: State, spot: Spot, called: Sequence[str]) -> Iterator[dict[str, str]]:
    """Ways to fill the form of an operation in, the likeliest first. What may be left out is, but for the region."""
    spec, known = VOCABULARY[op], names(state, spot, called)
    fields = [field for field in spec.fields if field.required or field.name in (*spec.one_of[:1], "region")]
    choices = [_texts(field, known, spot) for field in fields]
    for texts in itertools.islice(itertools.product(*choices), _TRIES):
        yield dict(zip((field.name for field in fields), texts, strict=True))


def _texts(field: FieldSpec, known: Mapping[str, Sequence[str]], spot: Spot) -> Sequence[str]:
    if field.name in known:
        return known[field.name]
    if field.name in ("start", "at"):
        return list(dict.fromkeys((spot.start, "0")))
    if isinstance(field.kind, Choice):
        return _LIKELY.get(field.name, field.kind.words)
    return [field.kind.show(field.kind.low)] if isinstance(field.kind, Number) and field.kind.low else ["1"]


# --- what can be clicked ----------------------------------------------------------------------------------------------


class Stretch(NamedTuple):
    """Pages `first` to `last` of a region of a process."""

    proc: str
    region: str
    first: int
    last: int


def clickable(state: State, cut: Cut) -> dict[str, list[Stretch]]:
    """Rows of the picture by id, and the pages that each stands for;
    those of a row of subpages once for each process that maps them.
    """
    found: dict[str, list[Stretch]] = {}
    geometry = state.geometry
    for place, stood in cut.find(state).items():
        if stood.status == LINKED:
            table, span = cut.tables[place], 1 << geometry.shift(place.level)
            for rows in table.rows:
                stretch = _stretch(state, place.process, place.base + rows.start * span, place.base + rows.stop * span)
                found |= {table.row_id(rows): [stretch]} if stretch else {}
    for block in cut.blocks:
        for rows in block.rows:
            first = block.number * geometry.nr
            mapped = _mapped(state, first + rows.start, first + rows.stop)
            found |= {block.row_id(rows): mapped} if mapped else {}
    return found


def _mapped(state: State, low: int, high: int) -> list[Stretch]:
    """Where each process that maps any of the frames [low, high) does so first."""
    size = state.geometry.page_size
    found: dict[str, Stretch] = {}
    for m in state.mapped:
        first, stop = max(low, m.pages.start), min(high, m.pages.stop)
        if m.kind == "page" and first < stop:
            address = m.address + (first - m.pages.start) * size
            stretch = _stretch(state, m.process, address, address + (stop - first) * size)
            if stretch:
                found.setdefault(m.process, stretch)
    return list(found.values())


def _stretch(state: State, process: str, low: int, high: int) -> Stretch | None:
    """The pages in the bytes [low, high) that are of one region of the process; None if none are."""
    size = state.geometry.page_size
    for name, region in state.process(process).regions:
        start, stop = max(low, region.start), min(high, region.start + region.pages * size)
        if start < stop:
            return Stretch(process, name, (start - region.start) // size, (stop - region.start) // size - 1)
    return None
