"""How the parts of a slide are written in TOML: the shape of each field, and what is made of them.

An exhibit is a table whose first field names its kind, such as { walk = "mmap A; write A 0", stops = ["o2"] }.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from thplab.errors import BadInput, shown
from thplab.foreign import EitherShape, ExactShape, IntShape, ListShape, ObjectShape, RowShape, Shape, TextShape
from thplab.kernel import kernels
from thplab.learn.lectures.exhibits import (
    AskClass,
    Attempt,
    Counted,
    Exhibit,
    FactRow,
    Holds,
    Live,
    Outcomes,
    Questions,
    RacePlay,
    Schedule,
    Sentence,
    SideBySide,
    StopPlace,
    Walk,
)
from thplab.learn.lectures.walks import PLACE, lesson_named, show_named
from thplab.machine.trace import Setup
from thplab.scenario import load
from thplab.study.explore import parse_schedule
from thplab.study.explore.pairs import pair_named

Data = Mapping[str, Any]
Fields = Mapping[str, Shape]
Named = Mapping[str, str]
"""Scenarios that the file gives a name."""

LINE, TEXT = TextShape(200), TextShape(3000)
_SCENARIO = TextShape(4000)
_AT = TextShape(200, PLACE, 'a place such as "o3" or "o4: head _count",')
_AFTER = TextShape(5, r"o[1-9]\d{0,3}|all", 'an operation such as "o3", or "all",')
_COUNT = IntShape(0, 10**18)
_YES = ExactShape((False, True))

_MACHINE: Fields = {"kernel": LINE, "geometry": LINE, "mutant": LINE, "swap": LINE}
_STOP = ObjectShape({"at": _AT}, {"strip": LINE, "events": ListShape(LINE, 10), "result": LINE})
_STOPS = ListShape(EitherShape((_AT, _STOP)), 40)
_VALUES = ListShape(LINE, 6)
_ROWS = ListShape(
    ObjectShape({"label": LINE, "what": LINE, "at": _AFTER}, {"scenario": _SCENARIO, "values": _VALUES}), 12
)
_OUTCOME = ObjectShape(
    {"who": LINE, "scenario": _SCENARIO, "at": _AT, "follows": LINE}, {"swap": LINE, "answer": LINE, "failed": LINE}
)
FACT_NEEDS: Fields = {"scenario": _SCENARIO, "kernel": LINE, "what": LINE, "at": _AFTER, "is": LINE}
FACT_MAY: Fields = {"geometry": LINE, "swap": LINE}


@contextmanager
def at(where: str) -> Iterator[None]:
    """What is wrong in here is wrong at `where`: put before the argument of a BadInput."""
    try:
        yield
    except BadInput as wrong:
        raise BadInput(f"{where}: {wrong.argument}", wrong.wrong, wrong.right) from None


def fitting(data: Any, needs: Fields, may: Fields, what: str) -> Data:
    """A table that has the fields it needs, and besides them only those that it may have.

    Raises BadInput that names the field.
    """
    if not isinstance(data, dict):
        raise BadInput(what, f"is {shown(data)}", "a table of fields")
    known = {**needs, **may}
    for name in data:
        if name not in known:
            raise BadInput(name, f"is no field of {what}", "one of " + ", ".join(known))
    for name in needs:
        if name not in data:
            raise BadInput(name, f"is missing in {what}", known[name].right())
    for name, value in data.items():
        known[name].check(value, name)
    return data


def scenario(text: str, named: Named) -> str:
    """The scenario that a text is the name of, or is. Raises BadInput if it is none."""
    line = named.get(text, text)
    load(line)
    return line


def fact(data: Any, named: Named) -> FactRow:
    """A number of the notes."""
    fitting(data, FACT_NEEDS, FACT_MAY, "a fact")
    known = kernels.kernel(data["kernel"]).name
    line, geometry, swap = scenario(data["scenario"], named), data.get("geometry", "TOY"), data.get("swap", "")
    return FactRow("", data["what"], data["at"], line, known, geometry, swap, (data["is"],))


def exhibit(data: Any, named: Named) -> Exhibit:
    """An exhibit. Raises BadInput that names the field."""
    kind = next((name for name in data if name in _KINDS), None) if isinstance(data, dict) else None
    if kind is None:
        raise BadInput("its kind", f"is none of those of {shown(data)}", "one of " + ", ".join(_KINDS))
    first, needs, may, make = _KINDS[kind]
    return make(fitting(data, {kind: first, **needs}, may, f"a {kind}"), named)


# --- kinds ------------------------------------------------------------------------------------------------------------


def _setup(data: Data) -> Setup:
    setup = Setup(**{name: data[name] for name in _MACHINE if name in data})
    setup.machine()
    return setup


def _stops(data: Data) -> tuple[StopPlace, ...]:
    return tuple(
        StopPlace(stop) if isinstance(stop, str) else StopPlace(**(stop | {"events": tuple(stop.get("events", ()))}))
        for stop in data.get("stops", ())
    )


def _walk(data: Data, named: Named) -> Walk:
    meanwhile = tuple(data["meanwhile"]) if "meanwhile" in data else None
    line = scenario(data["walk"], named)
    return Walk(line, _setup(data), _stops(data), meanwhile, routines=data.get("routines", False))


def lesson_walk(name: str, stops: tuple[StopPlace, ...] = (), routines: bool = False) -> Walk:
    """The walk through a stepper of a lesson, "05: three attempts". Raises BadInput if there is none of that name."""
    number, _, show = (part.strip() for part in name.partition(":"))
    with at(name):
        found = show_named(lesson_named(number), show)
    return Walk(found.scenario, found.setup, stops, found.meanwhile, number, show, routines)


def _stepper(data: Data, named: Named) -> Walk:
    return lesson_walk(data["stepper"], _stops(data), data.get("routines", False))


def _rows(data: Data, named: Named) -> tuple[FactRow, ...]:
    return tuple(
        FactRow(
            row["label"],
            row["what"],
            row["at"],
            scenario(row["scenario"], named) if "scenario" in row else "",
            values=tuple(row.get("values", ())),
        )
        for row in data.get("rows", ())
    )


def _compare(data: Data, named: Named) -> SideBySide:
    names = tuple(kernels.kernel(name).name for name in data["kernels"])
    if len(set(names)) < max(2, len(names)):
        raise BadInput("kernels", f"are {', '.join(names)}", "two or more different ones")
    line, rows = scenario(data["compare"], named), _rows(data, named)
    return SideBySide(line, names, rows, data.get("geometry", "TOY"), data.get("below", ""))


def _outcomes(data: Data, named: Named) -> Outcomes:
    rows = (Attempt(**(row | {"scenario": scenario(row["scenario"], named)})) for row in data["rows"])
    return Outcomes(kernels.kernel(data["outcomes"]).name, tuple(rows), data.get("below", ""))


def _counted(data: Data, named: Named) -> Counted:
    return Counted(scenario(data["counted"], named), _setup(data), data["at"], data.get("strip", ""))


def _schedule(data: Data, named: Named) -> Schedule:
    pair_named(data["schedule"])
    parse_schedule(data["turns"])
    if data.get("holds"):
        pair_named(data["holds"])
    counts = data.get("schedules", 0), data.get("failing", 0)
    steps = tuple(data["steps"])
    return Schedule(data["schedule"], data["turns"], steps, data.get("below", ""), *counts, data.get("holds", ""))


def _holds(data: Data, named: Named) -> Holds:
    pair_named(data["holds"])
    return Holds(data["holds"], data["schedules"], data["below"])


def _race(data: Data, named: Named) -> RacePlay:
    pair_named(data["race"])
    parse_schedule(data.get("turns", ""))
    return RacePlay(data["race"], data.get("turns", ""))


def _live(data: Data, named: Named) -> Live:
    line = scenario(data["live"], named) if data["live"] else ""
    return Live(line, _rows(data, named), data.get("below", ""))


def _questions(data: Data, named: Named) -> Questions:
    lesson_named(data["questions"])
    return Questions(data["questions"], data.get("count", 3), data.get("seed", 1))


Maker = Callable[[Data, Named], Exhibit]
_KINDS: dict[str, tuple[Shape, Fields, Fields, Maker]] = {
    "walk": (
        _SCENARIO,
        {},
        {**_MACHINE, "stops": _STOPS, "meanwhile": RowShape((LINE, LINE, _SCENARIO)), "routines": _YES},
        _walk,
    ),
    "stepper": (LINE, {}, {"stops": _STOPS, "routines": _YES}, _stepper),
    "sentence": (TextShape(300), {}, {}, lambda data, named: Sentence(data["sentence"])),
    "compare": (_SCENARIO, {"kernels": ListShape(LINE, 6), "rows": _ROWS}, {"geometry": LINE, "below": TEXT}, _compare),
    "outcomes": (LINE, {"rows": ListShape(_OUTCOME, 10)}, {"below": TEXT}, _outcomes),
    "counted": (_SCENARIO, {"at": _AT}, {**_MACHINE, "strip": LINE}, _counted),
    "schedule": (
        LINE,
        {"turns": LINE, "steps": ListShape(IntShape(1, 10_000), 12)},
        {"below": TEXT, "schedules": _COUNT, "failing": _COUNT, "holds": LINE},
        _schedule,
    ),
    "holds": (LINE, {"schedules": _COUNT, "below": TEXT}, {}, _holds),
    "race": (LINE, {}, {"turns": LINE}, _race),
    "live": (TextShape(2000), {}, {"rows": _ROWS, "below": TEXT}, _live),
    "ask_class": (
        _SCENARIO,
        {},
        _MACHINE,
        lambda data, named: AskClass(scenario(data["ask_class"], named), _setup(data)),
    ),
    "questions": (
        TextShape(2, r"\d\d", 'the number of a lesson, "05",'),
        {},
        {"count": IntShape(1, 20), "seed": IntShape(0, 10**9)},
        _questions,
    ),
}
"""By the name of the first field: its shape, the fields that are needed and that may be there, and what makes it."""
