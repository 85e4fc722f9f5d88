"""Holding what was given against the examples: which of them fit, how well, and in which order they are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from thplab.study.explain.contents import NR, Around, Contents
from thplab.study.explain.examples import Example, Sight, examples
from thplab.study.explain.smaps_text import HUGE_KIB, KIB

COMPARED = ("Rss", "Pss", "AnonHugePages", "Swap", "LazyFree", "KSM")
"""The figures of smaps that are held against an example."""
_MOST_NUMBERS = 4
_MIXED = 2
"""How many are told beside which there must be other pages, where others fit without."""
_NEAREST = 2
"""How many are told where none fits."""

Figures = Mapping[str, int]


@dataclass(frozen=True)
class Sought:
    """What an example must show. What is None was not given."""

    figures: Figures | None = None
    """smaps, in kB, by name."""
    earlier: Figures | None = None
    """The same before."""
    seen: Contents | None = None
    """What a dump shows of one huge page's worth of addresses; parts and small pages apart only if `kinds`."""
    seen_earlier: Contents | None = None
    kinds: bool = False
    kept: int | None = None
    """Pages that nobody maps, from a dump that sees page frames."""
    events: Mapping[str, int] | None = None
    """What rose in /proc/vmstat."""


@dataclass(frozen=True, order=True)
class Score:
    """How far an example is from what is sought; less is nearer."""

    distance: int
    """kB, and pages of a dump, in which they differ."""
    missing: int
    """Events that should have been counted and were not."""
    other: int
    """What else must be there: 0 nothing, 1 whole huge pages, 2 other pages."""
    extra: int
    """Events that were counted, and of which the example knows nothing."""
    times: int
    beside: int
    """Huge pages and other pages beside it."""
    length: int


@dataclass(frozen=True)
class Fit:
    """An example that was held against it: `times` times it, and beside it `huge` whole huge pages, `pages` others."""

    example: Example
    view: Sight
    score: Score
    times: int = 1
    huge: int = 0
    pages: int = 0
    off: Mapping[str, int] = field(default_factory=dict)
    """Figure -> by how many kB what was given is larger than what the example shows."""


@dataclass(frozen=True)
class Explanation:
    """A state that fits: alike for page tables and pages, however it came about. `ways`: how, the nearest first."""

    contents: Contents
    around: Around
    ways: tuple[Fit, ...]

    @property
    def best(self) -> Fit:
        return self.ways[0]

    @property
    def small_alone(self) -> int:
        """How many small pages there are, if that is all of the state; else 0."""
        fit = self.best
        return fit.times * fit.view.contents.small + fit.pages if _only_small(fit.view) else 0

    @property
    def pinned(self) -> bool | None:
        """Whether a driver holds one of the pages; None if it may."""
        found = {fit.view.around.pinned for fit in self.ways}
        return found.pop() if len(found) == 1 else None

    @property
    def exact(self) -> bool:
        """Nothing differs, and no event is missing."""
        return not self.best.score.distance and not self.best.score.missing


def numbers(figures: Iterable[Figures], more: Iterable[int] = ()) -> tuple[int, ...]:
    """The numbers of pages that short scenarios should try, in view of figures: holes, rests, and what was copied."""
    found = [1, *more]
    for given in figures:
        rss, huge = given.get("Rss", 0), given.get("AnonHugePages", 0)
        pages = max(0, rss - huge) // KIB
        hole, units = -pages % NR, -(-pages // NR)
        found += [hole, *([hole // units] if units > 1 and hole % units == 0 else []), pages % NR]
        found += [given.get(name, 0) // KIB % NR for name in ("Swap", "LazyFree")]
        if given.get("Pss", rss) < rss:
            found.append(-((rss - given["Pss"]) // 2) % NR)
    return tuple(dict.fromkeys(k for k in found if 0 < k < NR))[:_MOST_NUMBERS]


def explanations(kernel_name: str, sought: Sought, tried: tuple[int, ...]) -> list[Explanation]:
    """All states that fit, the nearest first; if none fits, the nearest ones."""
    fits: list[Fit] = []
    for example in examples(kernel_name, tried):
        for view in example.after:
            fits += [best] if (best := _fit(example, view, sought)) is not None else []
    fits.sort(key=lambda fit: fit.score)
    groups: dict[tuple[object, ...], list[Fit]] = {}
    for fit in fits:
        groups.setdefault(_state(fit), []).append(fit)
    found = [Explanation(ways[0].view.contents, ways[0].view.around, _causes(ways)) for ways in groups.values()]
    exact = [each for each in found if each.exact]
    simple = [each for each in exact if each.best.score.other < 2]
    mixed = [each for each in exact if each.best.score.other == 2]
    if simple:
        extra = simple[0].best.score.extra
        mixed = [each for each in mixed if each.contents.parts and each.best.score.extra <= extra][:_MIXED]
    return [*simple, *mixed] or found[:_NEAREST]


def _state(fit: Fit) -> tuple[object, ...]:
    """The same for fits that stand for one state. Whether something is pinned no page table says."""
    if _only_small(fit.view):
        return fit.times * fit.view.contents.small + fit.pages, fit.huge
    return fit.view.contents, fit.view.around._replace(pinned=False), fit.times, fit.huge, fit.pages


def _only_small(view: Sight) -> bool:
    """Small pages of one process, and nothing else: any number of them is alike."""
    held = view.contents
    return bool(held.small) and held == Contents(small=held.small) and not view.around.kept and not view.around.shared


def _causes(ways: Sequence[Fit]) -> tuple[Fit, ...]:
    """The nearest of those whose last operation has changed anything; of all if none has."""
    best = ways[0].score
    near = [fit for fit in ways if (fit.score.distance, fit.score.missing) == (best.distance, best.missing)]
    changing = [
        fit for fit in near if fit.example.events or not _alike(fit.example.earlier.get(fit.view.process), fit.view)
    ]
    return tuple(changing or near)


def _alike(one: Sight | None, other: Sight) -> bool:
    if one is None or (one.contents, one.around) != (other.contents, other.around):
        return False
    return all(one.figures.get(name) == other.figures.get(name) for name in COMPARED)


def alone(found: Iterable[Example]) -> list[Explanation]:
    """Examples of which nothing but their events is sought, by their states: the first process that is left stands for
    each.
    """
    groups: dict[tuple[Contents, Around], list[Fit]] = {}
    for example in found:
        view = example.after[0] if example.after else Sight("", {}, Contents(), Around())
        fit = Fit(example, view, Score(0, 0, 0, 0, 1, 0, example.length))
        groups.setdefault((view.contents, view.around), []).append(fit)
    return [Explanation(held, around, tuple(ways)) for (held, around), ways in groups.items()]


def _score(example: Example, distance: int, sought: Sought, other: int = 0, times: int = 1, beside: int = 0) -> Score:
    missing = extra = 0
    if sought.events is not None:
        names = sought.events.keys() | example.events.keys()
        gap = [sought.events.get(name, 0) - times * example.events.get(name, 0) for name in names]
        missing, extra = -sum(n for n in gap if n < 0), sum(n for n in gap if n > 0)
    return Score(distance, missing, other, extra, times, beside, example.length)


def _fit(example: Example, view: Sight, sought: Sought) -> Fit | None:
    """The best way to have this view in what is sought; None if there is no sense in it."""
    earlier = example.earlier.get(view.process)
    if sought.seen is not None:
        distance = _apart(sought.seen, view.contents, sought.kinds)
        if sought.seen_earlier is not None:
            distance += _apart(sought.seen_earlier, earlier.contents if earlier else Contents(), sought.kinds)
        distance += 0 if sought.kept is None else abs(sought.kept - view.around.kept)
        return Fit(example, view, _score(example, distance, sought))
    if sought.figures is None:
        return None
    fits = [_times(example, view, earlier, sought, times) for times in {1, _likely(sought.figures, view.figures)}]
    return min((fit for fit in fits if fit is not None), key=lambda fit: fit.score, default=None)


def _apart(seen: Contents, shown: Contents, kinds: bool) -> int:
    """Pages in which two contents differ."""
    if not kinds:
        seen, shown = (each._replace(parts=each.by_pte, small=0) for each in (seen, shown))
    return sum(abs(one - other) for one, other in zip(seen, shown, strict=True))


def _special(figures: Figures) -> dict[str, int]:
    """What tells an example from huge pages that one process maps whole: shares, pages by PTE, and the rest."""
    rss = figures.get("Rss", 0)
    found = {"shared": rss - figures.get("Pss", rss), "by PTE": rss - figures.get("AnonHugePages", 0)}
    return found | {name: figures.get(name, 0) for name in ("Swap", "LazyFree", "KSM")}


def _likely(given: Figures, shown: Figures) -> int:
    """How many times an example is likely to be there: as often as it explains what is special, else all huge pages."""
    wanted, special = _special(given), _special(shown)
    for name, value in special.items():
        if value > 0:
            return max(1, wanted[name] // value)
    huge = shown.get("AnonHugePages", 0)
    return max(1, given.get("AnonHugePages", 0) // huge) if huge else 1


def _times(example: Example, view: Sight, earlier: Sight | None, sought: Sought, times: int) -> Fit | None:
    given, shown = sought.figures, view.figures
    assert given is not None
    huge = max(0, given.get("AnonHugePages", 0) - times * shown.get("AnonHugePages", 0)) // HUGE_KIB
    rest = given.get("Rss", 0) - times * shown.get("Rss", 0) - huge * HUGE_KIB
    pages = max(0, rest) // KIB
    special = any(_special(shown).values())
    if times > 1 and times + huge > -(-given.get("Size", given.get("Rss", 0) + given.get("Swap", 0)) // HUGE_KIB):
        return None  # there is no room for so many
    if ((huge or pages) and not special) or (pages and not shown.get("Rss", 0)):
        return None
    off = _off(given, shown, times, huge, pages)
    distance = sum(map(abs, off.values()))
    if sought.earlier is not None:
        distance += sum(map(abs, _off(sought.earlier, earlier.figures if earlier else {}, times, huge, pages).values()))
    other = 2 if pages and not _only_small(view) else 1 if huge else 0
    return Fit(example, view, _score(example, distance, sought, other, times, huge + pages), times, huge, pages, off)


def _off(given: Figures, shown: Figures, times: int, huge: int, pages: int) -> dict[str, int]:
    """By how much each figure is larger than it should be; Pss is rounded once in each VMA."""
    beside = {"Rss": huge * HUGE_KIB + pages * KIB, "AnonHugePages": huge * HUGE_KIB}
    beside["Pss"] = beside["Rss"]
    found = {}
    for name in COMPARED:
        if name in given:
            gap = given[name] - times * shown.get(name, 0) - beside.get(name, 0)
            if abs(gap) > (times if name == "Pss" else 0):
                found[name] = gap
    return found
