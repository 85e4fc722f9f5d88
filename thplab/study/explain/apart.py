"""What would tell explanations apart: for each of them what the next file to look at would show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from thplab.study.explain.contents import NR
from thplab.study.explain.fit import COMPARED, Explanation, Fit

_DUMP = "thplab explain --dump PID ADDRESS LENGTH"


class Telling(NamedTuple):
    """Something that can be looked at: where, and what it shows for each explanation, in their order."""

    where: str
    shows: tuple[str, ...]


def telling(found: Sequence[Explanation], given: Sequence[str]) -> list[Telling]:
    """All in which the explanations differ, what needs the least rights first. `given` are figures that are known."""
    rows = [dict(_looks(each.best, given)) for each in found]
    names = dict.fromkeys(name for row in rows for name in row)
    table = [Telling(name, tuple(row.get(name, "nothing") for row in rows)) for name in names]
    return [row for row in table if len(set(row.shows)) > 1]


def _looks(fit: Fit, given: Sequence[str]) -> Iterator[tuple[str, str]]:
    held, around, times = fit.view.contents, fit.view.around, fit.times
    for name in COMPARED:
        if name not in given and name in fit.view.figures:
            yield f"smaps, {name}", f"{times * fit.view.figures[name]} kB"
    by = (("by PMD", times * held.pmd + fit.huge * NR), ("by PTE", times * held.by_pte + fit.pages))
    others = (("swapped out", held.swap), ("of the zero page", held.zero + held.hugezero), ("guarded", held.guard))
    yield f"pagemap ({_DUMP})", _counts((*by, *((what, times * count) for what, count in others)), "nothing mapped")
    yield "pagemap, pages that are not exclusive", str(times * around.shared)
    events = ", ".join(f"{name} +{count}" for name, count in fit.example.total.items())
    yield "/proc/vmstat since before all of it, for one of them", events or "nothing rises"
    parts = (
        ("parts of huge pages", times * (held.pmd + held.parts) + fit.huge * NR),
        ("small", times * held.small),
        ("of either kind", fit.pages),
    )
    yield "/proc/kpageflags (the same, as root)", _counts(parts, "no page")
    yield "/proc/kpagecount (the same, as root), pages of huge pages that nobody maps", str(times * around.kept)


def _counts(counted: Iterable[tuple[str, int]], nothing: str) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counted if count) or nothing
