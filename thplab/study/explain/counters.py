"""What the counters of /proc/vmstat say: who raises each of them on a kernel, and which operations raise just this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from thplab.hardware.geometry import X86_64
from thplab.scenario import Operation
from thplab.study.explain.examples import Example, examples, operation

_MOST_PARTS = 3
"""Different operations that a sum may have."""
_MOST_SUMS = 4

Events = tuple[tuple[str, int], ...]


class Raised(NamedTuple):
    """One event that was counted."""

    name: str
    times: int
    routines: tuple[str, ...]
    """Those that raise it in the short scenarios."""
    kinds: tuple[str, ...]
    """The operations that do so, those that do most often first."""


class Sum(NamedTuple):
    """Operations that together raise just what was counted: each how many times, and a scenario that ends with it."""

    parts: tuple[tuple[int, Example], ...]

    @property
    def words(self) -> str:
        """All of it on one line."""
        return " + ".join(f"{times} × {kind(example.op)}" for times, example in self.parts)


def kind(op: str) -> str:
    """What sort of operation it is: `madvise cold of a part`, `mprotect r of all`, `fork`."""
    return kind_of(operation(op))


def kind_of(op: Operation) -> str:
    """The same of an operation."""
    plain = op.resolve(X86_64.nr)
    word = (
        plain.get("advice") or plain.get("prot") or plain.get("how") if op.op in ("madvise", "mprotect", "pin") else ""
    )
    name = " ".join(filter(None, ("write" if op.op == "fill" else op.op, str(word or ""))))
    if op.op == "sys":
        return f"{str(plain['path']).rpartition('/')[2]}={plain['value']}"
    if op.op in ("pin", "read") or plain.get("npages") is None or op.op == "split":
        return name
    return f"{name} of {'all' if plain['npages'] == X86_64.nr else 'a part'}"


def raised(kernel_name: str, events: Mapping[str, int], tried: tuple[int, ...]) -> list[Raised]:
    """Who raises each event that was counted."""
    found = []
    for name, count in events.items():
        if count:
            having = [example for example in examples(kernel_name, tried) if name in example.events]
            routines = Counter(example.raised[name] for example in having if name in example.raised)
            kinds = Counter(kind(example.op) for example in having)
            found.append(Raised(name, count, _most(routines), _most(kinds)))
    return found


def _most(counted: Counter[str]) -> tuple[str, ...]:
    return tuple(name for name, _ in counted.most_common())


def exactly(kernel_name: str, events: Mapping[str, int], tried: tuple[int, ...]) -> list[Example]:
    """The scenarios whose last operation raises just these events, shorter ones first, each sort of operation once."""
    wanted = {name: count for name, count in events.items() if count}
    found = [example for example in examples(kernel_name, tried) if example.events == wanted]
    return _each_kind(found)


def _each_kind(found: Sequence[Example]) -> list[Example]:
    first: dict[str, Example] = {}
    for example in sorted(found, key=lambda example: example.length):
        first.setdefault(kind(example.op), example)
    return list(first.values())


def sums(kernel_name: str, events: Mapping[str, int], tried: tuple[int, ...]) -> list[Sum]:
    """Operations that together raise just these events: few different ones, each as often as it takes. May be empty."""
    by_events: dict[Events, Example] = {}
    for example in sorted(examples(kernel_name, tried), key=lambda example: example.length):
        if example.events:
            by_events.setdefault(tuple(sorted(example.events.items())), example)
    wanted = {name: count for name, count in events.items() if count}
    found = {
        tuple(sorted((key, n) for n, key in parts)): parts for parts in _sums(wanted, list(by_events), _MOST_PARTS)
    }
    few = sorted(found.values(), key=lambda parts: (len(parts), sum(n for n, _ in parts)))[:_MOST_SUMS]
    return [Sum(tuple((times, by_events[key]) for times, key in parts)) for parts in few]


def _sums(wanted: dict[str, int], known: Sequence[Events], left: int) -> Iterator[tuple[tuple[int, Events], ...]]:
    if not wanted:
        yield ()
        return
    if not left:
        return
    rarest = min(wanted, key=lambda name: (sum(name in dict(key) for key in known), name))
    for key in known:
        step = dict(key)
        if rarest not in step or not all(wanted.get(name, 0) >= count for name, count in step.items()):
            continue
        most = min(wanted[name] // count for name, count in step.items())
        for times in {most, wanted[rarest] // step[rarest] if wanted[rarest] % step[rarest] == 0 else most}:
            if times > most:
                continue
            rest = {name: count - times * step.get(name, 0) for name, count in wanted.items()}
            for others in _sums({name: count for name, count in rest.items() if count}, known, left - 1):
                yield ((times, key), *others)
