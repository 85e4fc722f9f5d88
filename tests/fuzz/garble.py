"""Spoiling what is right: texts and JSON values with some mistakes in them, the same for the same random numbers."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

NUMBERS = (
    0,
    1,
    -1,
    2,
    7,
    8,
    511,
    512,
    513,
    9999,
    10_000,
    2**31,
    2**32,
    2**63,
    2**64,
    -(2**63),
    10**30,
    1.5,
    -0.0,
    1e308,
)
VALUES: tuple[Any, ...] = (
    *NUMBERS,
    None,
    True,
    False,
    "",
    "A",
    "F0",
    "gone",
    "\ud800",
    "x" * 3000,
    "9" * 400,
    [],
    {},
    [[]],
    {"": 0},
    float("nan"),
)
PIECES = (
    *(
        "; ",
        ";",
        "\n",
        "=",
        "#",
        ":",
        "x",
        "0x",
        "-",
        "+",
        "/",
        "thp",
        "1/2thp",
        "1/0thp",
        "9999thp",
        "99999999999",
        "9" * 5000,
    ),
    *(
        "é",
        "\u0661",
        "\x00",
        "\r",
        "\u2028",
        "scenario ",
        "phase ",
        "why ",
        "env swap\n",
        "A",
        "R",
        "0",
        "1",
        "7",
        "region=",
        "how=",
    ),
)


def text(rng: random.Random, right: str, most: int = 6) -> str:
    """`right` with one to `most` mistakes."""
    for _ in range(rng.randint(1, most)):
        at = rng.randrange(len(right) + 1)
        to = min(len(right), at + rng.choice((0, 1, 1, 2, 5, 30)))
        way = rng.randrange(4)
        if way == 0:
            right = right[:at] + rng.choice(PIECES) + right[to:]
        elif way == 1:
            right = right[:at] + right[to:]
        elif way == 2:
            right = right[:at] + right[at:to] * rng.randint(2, 5) + right[to:]
        else:
            elsewhere = rng.randrange(len(right) + 1)
            right = right[:at] + right[elsewhere : elsewhere + to - at] + right[to:]
    return right


def value(rng: random.Random, right: Any, most: int = 4) -> Any:
    """A copy of a JSON value with one to `most` mistakes: something changed, left out, doubled, or put elsewhere."""
    spoiled = {"": copy.deepcopy(right)}
    for _ in range(rng.randint(1, most)):
        holder, key = rng.choice(_deep(rng, spoiled))
        way = rng.choice(range(12))
        if way > 8 and type(holder[key]) is int:
            holder[key] += rng.choice((-1, 1, 2))
        elif way == 0 and holder is not spoiled:
            del holder[key]
        elif way == 1 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif way == 2 and isinstance(holder, dict) and holder is not spoiled:
            holder[rng.choice(("x", "F9", "A", "\n", "ret", "1" * 300))] = holder.pop(key)
        elif way == 3:
            other, place = rng.choice(_deep(rng, spoiled))
            holder[key] = copy.deepcopy(other[place])
        elif way == 4 and type(holder[key]) is int:
            holder[key] += rng.choice((-1, 1, 512, -512))
        elif way == 5 and isinstance(holder[key], str):
            holder[key] = text(rng, holder[key], 2)
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return spoiled[""]


def _deep(rng: random.Random, top: dict[str, Any]) -> list[tuple[Any, Any]]:
    """The places on a random way into a value: each a holder and a key."""
    way: list[tuple[Any, Any]] = [(top, "")]
    while True:
        at = way[-1][0][way[-1][1]]
        if not isinstance(at, (list, dict)) or not at:
            return way
        way.append((at, rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))))


def line(rng: random.Random, right: Any) -> str:
    """A JSON value as a line, spoiled as a value, seldom as a text or not at all."""
    if rng.randrange(10) == 0:
        return text(rng, json.dumps(right))
    if rng.randrange(30) == 0:
        deep = rng.choice((10, 25, 100_000))
        return "[" * deep + "]" * deep
    return json.dumps(value(rng, right, rng.choice((1, 1, 4))))
