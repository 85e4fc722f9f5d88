"""Reading pictures back: what an SVG of thplab.show.diagrams says, marks and connects."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from functools import cache

from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import load
from thplab.show.diagrams import render_trace
from thplab.show.diagrams.roles import ROLES

NS = "{http://www.w3.org/2000/svg}"
GEOMETRIES = ("TOY", "X86_64")

Box = tuple[float, float, float, float]


class Picture:
    """An SVG, read back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = ET.fromstring(text)
        self.groups = {g.get("id", ""): g for g in self.root.iter(f"{NS}g") if g.get("id")}

    def says(self, id: str) -> str:
        """All text in a row, cell or node; "" if it is not drawn."""
        return "".join(self.groups[id].itertext()).replace("\n", "").replace("\xa0", " ").strip() if id in self.groups else ""

    def marked(self, id: str) -> bool:
        """The ground of a cell, or of any cell in a row, has the colour of change."""
        return any(p.get("fill") == ROLES["changed"].light for p in self.groups[id].iter(f"{NS}polygon"))

    @property
    def unchanged(self) -> bool:
        """Nothing in the picture is marked."""
        return f'"{ROLES["changed"].light}"' not in self.text

    def arrows(self, kind: str) -> list[str]:
        """The ids of the arrows of a kind, those to the lane of a thick arrow left out."""
        found = [id for id, g in self.groups.items() if g.get("class", "").split()[:2] == ["edge", kind]]
        return sorted(id for id in found if not id.endswith("-size"))

    def boxes(self) -> dict[str, Box]:
        """The bounding box of the first shape of everything that has an id, arrows left out."""
        return {id: box for id, g in self.groups.items() if g.get("class", "").split()[0] != "edge" and (box := box_of(g))}


def box_of(group: ET.Element) -> Box | None:
    shape = next((e for e in group.iter() if e.get("points") or e.get("d")), None)
    if shape is None:
        return None
    pairs = re.findall(r"(-?[\d.]+),(-?[\d.]+)", shape.get("points") or shape.get("d") or "")
    xs, ys = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
    return min(xs), min(ys), max(xs), max(ys)


@cache
def story(geometry: str) -> tuple[Trace, tuple[Picture, ...]]:
    return pictures("story", geometry)


def pictures(scenario: str, geometry: str) -> tuple[Trace, tuple[Picture, ...]]:
    trace = record(load(scenario), Setup(geometry=geometry))
    assert not trace.problem
    texts = render_trace(trace)
    read = {text: Picture(text) for text in set(texts)}
    return trace, tuple(read[text] for text in texts)


def after(trace: Trace, op: str, nth: int = 0) -> int:
    """The number of the last frame of an operation."""
    return [f.number for f in trace if f.op and f.op.op == op and f.result is not None][nth]


def step(trace: Trace, text: str, op: str) -> int:
    """The number of the first frame of an operation whose step begins with a text."""
    return next(f.number for f in trace if f.op and f.op.op == op and f.step and f.step.text.startswith(text))


def mid(geometry: str) -> int:
    """The page that the story protects and pins."""
    return {"TOY": 4, "X86_64": 256}[geometry]


def last_of(scenario: str, op: str, geometry: str = "TOY") -> Picture:
    """The picture after the last operation of that name, under the cut of the whole trace."""
    trace, drawn = pictures(scenario, geometry)
    return drawn[after(trace, op, -1)]
