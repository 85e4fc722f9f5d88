"""The numbered orders of docs/KERNEL.md 3.7 and 4.7: each is a piece of a recorded operation, store by store."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from thplab.study.verify.fold import fold
from thplab.study.verify.stores import read_recordings, recorded_events

ROOT = Path(__file__).parent.parent
_LIST = re.compile(r"^(?P<title>.+)\n<!-- order: (?P<name>\w+) (?P<versions>[\d. ]+) -->\n(?P<items>(?:.+\n)+)", re.MULTILINE)
_STORE = re.compile(r"(?:\[([\d. ]+)\] )?`([^`]+)`")


class Order(NamedTuple):
    """A numbered list: its title, the recording that its comment names, the kernels, and what is numbered."""

    title: str
    name: str
    versions: tuple[str, ...]
    items: str

    def stores(self, version: str) -> list[str]:
        """What one kernel stores: all that is in backticks but for what has the mark of others."""
        return [store for only, store in _STORE.findall(self.items) if not only or version in only.split()]


def orders() -> list[Order]:
    text = (ROOT / "docs" / "KERNEL.md").read_text(encoding="utf-8")
    found = [Order(m["title"], m["name"], tuple(m["versions"].split()), m["items"]) for m in _LIST.finditer(text)]
    assert len(found) == text.count("<!-- order"), "a list that cannot be read"
    return found


@cache
def recordings(version: str) -> dict[str, dict[str, Any]]:
    return {str(record["name"]): record for record in read_recordings(ROOT / "tests" / "truth" / "steps" / f"steps-{version}.jsonl")}


@cache
def recorded(version: str, name: str) -> list[str]:
    """The stores of a recording, folded, a line each. Recordings number small pages; the lists have one, n0."""
    lines = fold(recorded_events(recordings(version)[name]).events)
    return [re.sub(r"\bn\d+\b", "n0", line.text) for line in lines]


def agreeing(wanted: list[str], lines: list[str]) -> int:
    """How many of `wanted` stand in `lines` in a row, from its first on, at the best place."""
    pairs = (zip(wanted, lines[at:], strict=False) for at in range(len(lines)))
    return max(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], row)) for row in pairs)


CASES = [pytest.param(o, version, id=f"{o.title.split(':')[0]}-{version}") for o in orders() for version in o.versions]


@pytest.mark.parametrize(("order", "version"), CASES)
def test_a_numbered_order_is_the_recorded_one(order: Order, version: str) -> None:
    wanted = order.stores(version)
    same = agreeing(wanted, recorded(version, order.name))
    assert same == len(wanted), f"{order.title}, {order.name} on {version}: {wanted[same]!r} does not come next"


def test_lists_are_numbered_from_1_and_have_an_order() -> None:
    for order in orders():
        numbers = [int(number) for number in re.findall(r"^ ?(\d+) ", order.items, re.MULTILINE)]
        assert numbers == list(range(1, len(numbers) + 1)), order.title
        assert all(len(order.stores(version)) > 1 for version in order.versions), order.title
        marked = {version for only, _ in _STORE.findall(order.items) for version in only.split()}
        assert marked <= set(order.versions), order.title


def test_both_sections_have_the_same_routines() -> None:
    """Beside the DoubleMap of 5.10 and 6.1."""
    old, new = ({o.title.split(":")[0] for o in orders() if version in o.versions} for version in ("5.10", "6.18"))
    assert old - new == {"PMD split while another PMD is left, in place of 7"} and new <= old and len(new) == 15


def test_two_stores_the_other_way_round_are_another_order() -> None:
    for order in orders():
        for version in order.versions:
            wanted = order.stores(version)
            for at, (first, second) in enumerate(pairwise(wanted)):
                turned = [*wanted[:at], second, first, *wanted[at + 2 :]]
                same = agreeing(turned, recorded(version, order.name))
                assert turned == wanted or same < len(turned), (order.title, first)
