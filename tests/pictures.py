"""Reading pictures back: what an SVG of thplab.show.diagrams says, marks and connects."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from functools import cache

from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import load
from thplab.show.diagrams import FULL, Sheet
from thplab.show.diagrams.roles import ROLES

NS = "{http://www.w3.org/2000/svg}"
GEOMETRIES = ("TOY", "X86_64")

Box = tuple[float, float, float, float]

_TEXTS = (f"{NS}tspan", f"{NS}text")


class Picture:
    """An SVG, read back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = ET.fromstring(text)
        self.groups = {g.get("id", ""): g for g in self.root.iter(f"{NS}g") if g.get("id")}

    def says(self, id: str) -> str:
        """All text in a row, cell or node; "" if it is not drawn."""
        return "".join(self.groups[id].itertext()).strip() if id in self.groups else ""

    def marked(self, id: str) -> bool:
        """The ground of a cell, or of any cell in a row, has the colour of change."""
        return any(p.get("fill") == ROLES["changed"].light for p in self.groups[id].iter(f"{NS}rect"))

    @property
    def unchanged(self) -> bool:
        """Nothing in the picture is marked."""
        return f'"{ROLES["changed"].light}"' not in self.text

    def arrows(self, kind: str) -> list[str]:
        """The ids of the arrows of a kind."""
        return sorted(id for id, g in self.groups.items() if g.get("class", "").split()[:2] == ["edge", kind])

    def cells(self) -> list[ET.Element]:
        """All cells that show."""
        return [group for group in self.groups.values() if group.get("class") == "cell"]

    def boxes(self) -> dict[str, Box]:
        """The ground of each cell, and the frame of each node and process."""
        return {id: box for id, g in self.groups.items() if (box := box_of(g))}

    def size(self) -> tuple[float, float]:
        """Width and height."""
        return float(self.root.get("width", "0")), float(self.root.get("height", "0"))

    def letters(self) -> list[float]:
        """The sizes of all pieces of text."""
        return [float(e.get("font-size", "0")) for e in self.root.iter() if e.text and e.tag in _TEXTS]


def box_of(group: ET.Element) -> Box | None:
    """Where the rectangle of a cell, or the frame of a node or process, is; None for rows and arrows."""
    shapes = [e for e in group.findall(f"{NS}rect") if group.get("class") == "cell" or e.get("class") == "frame"]
    if not shapes:
        return None
    x, y, width, height = (float(shapes[0].get(name, "0")) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


@cache
def story(geometry: str, detail: str = FULL) -> tuple[Trace, tuple[Picture, ...]]:
    return pictures("story", geometry, detail)


def pictures(scenario: str, geometry: str, detail: str = FULL) -> tuple[Trace, tuple[Picture, ...]]:
    """The trace of a scenario and the picture of each frame."""
    trace = record(load(scenario), Setup(geometry=geometry))
    assert not trace.problem
    sheet = Sheet.of([frame.state for frame in trace], detail)
    return trace, tuple(Picture(sheet.svg(frame.number)) for frame in trace)


def after(trace: Trace, op: str, nth: int = 0) -> int:
    """The number of the last frame of an operation."""
    return [f.number for f in trace if f.op and f.op.op == op and f.result is not None][nth]


def step(trace: Trace, text: str, op: str) -> int:
    """The number of the first frame of an operation whose step begins with a text."""
    return next(f.number for f in trace if f.op and f.op.op == op and f.step and f.step.text.startswith(text))


def mid(geometry: str) -> int:
    """The page that the story protects and pins."""
    return {"TOY": 4, "X86_64": 256}[geometry]


def last_of(scenario: str, op: str, geometry: str = "TOY", detail: str = FULL) -> Picture:
    """The picture after the last operation of that name, under the cut of the whole trace."""
    trace, drawn = pictures(scenario, geometry, detail)
    return drawn[after(trace, op, -1)]
