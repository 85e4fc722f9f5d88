"""What Graphviz has laid out, read back from its SVG: where cells and arrows are."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import NamedTuple

NS = "{http://www.w3.org/2000/svg}"
LABEL_AT = 0.4
HREF = "{http://www.w3.org/1999/xlink}href"


class Rect(NamedTuple):
    """A rectangle: left, top, right and bottom."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, boxes: Iterable[Rect]) -> Rect:
        """The smallest one around others, at least one."""
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        return cls(min(lefts), min(tops), max(rights), max(bottoms))


class Course(NamedTuple):
    """The course of an arrow: its curve, the points of its head ("" for none), and where a label stands: nearer to the
    tail, for arrows that meet at their heads.
    """

    curve: str
    head: str
    label: tuple[float, float]


@dataclass
class Drawn:
    """A layout. Ids are those of the DOT source, units those of the picture, from its upper left corner."""

    width: float = 0
    height: float = 0
    cells: dict[str, Rect] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    """What each cell says."""
    boxes: dict[str, Rect] = field(default_factory=dict)
    """The frames of processes."""
    nodes: list[str] = field(default_factory=list)
    arrows: dict[str, Course] = field(default_factory=dict)


def read_back(svg: str) -> Drawn:
    """Read the SVG that Graphviz makes of a plan's DOT source. What is invisible there is not in it."""
    root = ET.fromstring(svg[svg.index("<svg") :])
    width, height = (float(part) for part in root.get("viewBox", "").split()[2:])
    drawn = Drawn(width, height)
    graph = root.find(f"{NS}g")
    assert graph is not None, "Graphviz draws a graph"
    moved = re.search(r"translate\(([-\d.]+)[ ,]([-\d.]+)\)", graph.get("transform", ""))
    assert moved is not None, "Graphviz moves a graph into its picture"
    x, y = float(moved[1]), float(moved[2])
    for group in graph.findall(f"{NS}g"):
        kind, id = group.get("class", "").split()[0], group.get("id", "")
        if kind == "edge":
            drawn.arrows[id] = _course(group, x, y)
            continue
        if kind == "cluster":
            for path in group.findall(f"{NS}path"):  # none: the process is not there
                drawn.boxes[id] = _bounds(_points(path.get("d", ""), x, y))
        else:
            drawn.nodes.append(id)
        for link in group.iter(f"{NS}a"):
            cell = link.get(HREF, "").removeprefix("#")
            shape = link.find(f"{NS}polygon")
            if shape is not None and link.find(f"{NS}g") is None:
                drawn.cells[cell] = _bounds(_points(shape.get("points", ""), x, y))
                drawn.texts[cell] = "".join(text.text or "" for text in link.findall(f"{NS}text")).replace("\xa0", " ")
    return drawn


def _course(group: ET.Element, x: float, y: float) -> Course:
    path, head = group.find(f"{NS}path"), group.find(f"{NS}polygon")
    assert path is not None, "an arrow has a curve"
    points = list(_points(path.get("d", ""), x, y))
    curve = f"M{_text(points[:1])}C{_text(points[1:])}"
    return Course(curve, _text(_points(head.get("points", ""), x, y)) if head is not None else "", _part_way(points))


def _part_way(points: list[tuple[float, float]]) -> tuple[float, float]:
    """The point of a curve a part of its way along; a piece of it is a point and three more."""
    way = [points[0]]
    for first in range(0, len(points) - 1, 3):
        way += [_on(points[first : first + 4], part / 16) for part in range(1, 17)]
    lengths = [math.dist(one, next) for one, next in pairwise(way)]
    wanted, gone = LABEL_AT * sum(lengths), accumulate(lengths)
    return next(point for point, so_far in zip(way[1:], gone, strict=True) if so_far >= wanted)


def _on(piece: list[tuple[float, float]], part: float) -> tuple[float, float]:
    rest = 1 - part
    weights = (rest**3, 3 * rest**2 * part, 3 * rest * part**2, part**3)
    x, y = (sum(weight * point[i] for weight, point in zip(weights, piece, strict=True)) for i in (0, 1))
    return x, y


def _points(text: str, x: float, y: float) -> Iterator[tuple[float, float]]:
    for left, top in re.findall(r"(-?[\d.]+),(-?[\d.]+)", text):
        yield float(left) + x, float(top) + y


def _bounds(points: Iterable[tuple[float, float]]) -> Rect:
    return Rect.around(Rect(left, top, left, top) for left, top in points)


def _text(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
