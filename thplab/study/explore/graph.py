"""The graph of all that can happen in a race:
counting the ways through it, and the simplest way to what must not be.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from thplab.study.explore.run import Schedule
from thplab.study.invariants import Violation


@dataclass
class Node:
    """One state of a race: where each CPU's next step leads, and what is wrong with it.
    A wrong one is not followed further.
    """

    edges: dict[int, int] = field(default_factory=dict)
    problem: Violation | None = None


class Ways(NamedTuple):
    """Complete schedules from a node on, and how many of them end in a failure."""

    schedules: int
    failing: int


@dataclass
class Graph:
    """All states that were reached; node 0 is the start. `complete` is False if the bound on states was hit."""

    nodes: list[Node] = field(default_factory=list)
    complete: bool = True

    def __repr__(self) -> str:
        return f"<Graph of {len(self.nodes)} nodes>"

    def follow(self, schedule: Schedule) -> int | None:
        """The node that a schedule leads to; None if it leaves the graph."""
        at = 0
        for cpu in schedule:
            if cpu not in self.nodes[at].edges:
                return None
            at = self.nodes[at].edges[cpu]
        return at

    def reached(self) -> set[int]:
        """The nodes on some schedule. What was tried before it showed that another CPU just returns is on none."""
        found, pending = {0}, [0]
        while pending:
            new = set(self.nodes[pending.pop()].edges.values()) - found
            found |= new
            pending += new
        return found

    @cached_property
    def ways(self) -> dict[int, Ways] | None:
        """The schedules from each node on; None if they cannot be counted:
        a routine can go round in circles, or the bound was hit.
        """
        if not self.complete:
            return None
        found: dict[int, Ways] = {}
        open_: set[int] = set()
        stack = [(0, False)]
        while stack:
            at, closing = stack.pop()
            edges = self.nodes[at].edges.values()
            if closing:
                open_.discard(at)
                failing = int(self.nodes[at].problem is not None)
                parts = [found[e] for e in edges] or [Ways(1, failing)]
                found[at] = Ways(sum(p.schedules for p in parts), sum(p.failing for p in parts))
            elif at not in found:
                if any(e in open_ or e == at for e in edges):
                    return None
                open_.add(at)
                stack.append((at, True))
                stack += [(e, False) for e in edges if e not in found]
        return found

    def simplest_failure(self, start: int = 0, last: int = -1) -> tuple[Violation, Schedule] | None:
        """The failure that needs the fewest switches between CPUs from `start` on,
        then the fewest steps (Dijkstra over node and CPU).

        `last` is the CPU that moved before. None if no failure was found from there on.
        """
        heap: list[tuple[int, int, Schedule, int]] = [(0, 0, (), start)]
        seen: set[tuple[int, int]] = set()
        while heap:
            switches, steps, schedule, at = heapq.heappop(heap)
            before = schedule[-1] if schedule else last
            if (at, before) in seen:
                continue
            seen.add((at, before))
            node = self.nodes[at]
            if node.problem is not None:
                return node.problem, schedule
            for cpu, to in node.edges.items():
                heapq.heappush(heap, (switches + (before not in (-1, cpu)), steps + 1, (*schedule, cpu), to))
        return None
