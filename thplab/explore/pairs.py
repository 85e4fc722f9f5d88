"""Pairs of routines that meet, and the variants of one of them: which loses, and which holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from thplab.geometry import MINI, Geometry
from thplab.machine import Machine
from thplab.routines.split_huge_page import split_huge_page_compound_lock, split_huge_page_naive
from thplab.routines.split_huge_page_freeze import split_huge_page_freeze
from thplab.steps import Routine


@dataclass(frozen=True)
class Pair:
    """A machine brought to where it gets interesting, and what then happens at the same time, one routine per CPU.

    `prepare` is a scenario; `variants` replaces routines by name; `loses` says whether a schedule that breaks an
    invariant is known to exist.
    """

    name: str
    about: str
    source: str
    prepare: str
    cpus: tuple[Callable[[Machine], Routine[int]], ...]
    loses: bool
    variants: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    geometry: Geometry = MINI


def split(machine: Machine) -> Routine[int]:
    """CPU 0: split_huge_page() on A's huge page."""
    return machine.begin("split", proc="A", start=0)


def pin_and_unpin(machine: Machine) -> Routine[int]:
    """CPU 1: a driver pins page 1 of A and lets it go again."""
    yield from machine.begin("pin", proc="A", start=1, pin="dma")
    return (yield from machine.begin("unpin", pin="dma"))


def pin_and_munmap(machine: Machine) -> Routine[int]:
    """CPU 1: a driver pins page 1 of A, A unmaps it, the driver lets it go."""
    yield from machine.begin("pin", proc="A", start=1, pin="dma")
    yield from machine.begin("munmap", proc="A", start=1)
    return (yield from machine.begin("unpin", pin="dma"))


def munmap(machine: Machine) -> Routine[int]:
    """CPU 1: A unmaps page 1."""
    return machine.begin("munmap", proc="A", start=1)


MAPPED_BY_PTES = "mmap A; write A 0; split_pmd A 0"

PAIRS = {
    pair.name: pair
    for pair in (
        Pair(
            "naive split and pin",
            "The split checks and then trusts the answer. A pin that comes in between stays on the head.",
            "docs/KERNEL.md 6.4, the short version",
            MAPPED_BY_PTES,
            (split, pin_and_unpin),
            loses=True,
            variants={"split_huge_page": split_huge_page_naive},
        ),
        Pair(
            "naive split, pin and munmap",
            "The split checks and then trusts the answer. With an unmap the page is free while the driver still uses it.",
            "docs/KERNEL.md 6.4",
            MAPPED_BY_PTES,
            (split, pin_and_munmap),
            loses=True,
            variants={"split_huge_page": split_huge_page_naive},
        ),
        Pair(
            "frozen split, pin and munmap",
            "Every mapping becomes a migration entry before the deciding check: nothing can change behind it.",
            "docs/KERNEL.md 6.6",
            MAPPED_BY_PTES,
            (split, pin_and_munmap),
            loses=False,
            variants={"split_huge_page": split_huge_page_freeze},
        ),
        Pair(
            "RFC split and pin",
            "compound_lock keeps get_page and put_page of a tail out while the references are handed out.",
            "docs/KERNEL.md 6.5",
            MAPPED_BY_PTES,
            (split, pin_and_unpin),
            loses=False,
            variants={"split_huge_page": split_huge_page_compound_lock},
        ),
        Pair(
            "RFC split and munmap",
            "The RFC's own window: an unmap drops the map count first and the reference later, and the split reads in between.",
            "docs/KERNEL.md 6.5",
            MAPPED_BY_PTES,
            (split, munmap),
            loses=True,
            variants={"split_huge_page": split_huge_page_compound_lock},
        ),
    )
}
