"""An explanation in words: what is mapped how, what is held, and what it would take."""

from __future__ import annotations

from collections.abc import Iterator

from thplab.study.explain.contents import NR
from thplab.study.explain.counters import kind
from thplab.study.explain.fit import Explanation, Fit


def state_words(one: Explanation) -> str:
    """The state: page tables and pages, and what is beside it."""
    fit = one.best
    if one.small_alone:
        whole = f"; beside {_some(fit.huge, 'huge page')} mapped whole by PMDs" if fit.huge else ""
        return f"{_some(one.small_alone, 'small page')} by PTEs: never a huge page, or one that was split{whole}"
    text = "; ".join(_held(one)) or "nothing is mapped"
    text += "".join(f"; {each}" for each in _around(one))
    if fit.times > 1:
        text = f"{fit.times:,} times this: {text}"
    beside = [_some(fit.huge, "huge page") + " mapped whole by PMDs"] * bool(fit.huge)
    beside += [_some(fit.pages, "other page") + " by PTEs"] * bool(fit.pages)
    return text + (f"; beside {' and '.join(beside)}" if beside else "")


def _held(one: Explanation) -> Iterator[str]:
    held = one.contents
    if held.pmd:
        yield "a huge page, mapped whole by a PMD" if held.pmd == NR else f"{_some(held.pmd, 'page')} by PMDs"
    if held.parts == NR and not one.around.kept:
        yield "a huge page in one piece, all of it mapped by PTEs: its PMD was split, the page was not"
    elif held.parts:
        yield f"{_some(held.parts, 'page')} of a huge page in one piece, mapped by PTEs"
    if held.small:
        yield f"{_some(held.small, 'small page')} by PTEs"
    if held.hugezero:
        yield "the huge zero page, by a PMD"
    for count, what in (
        (held.zero, "the zero page by {} PTEs"),
        (held.swap, "{} swapped out"),
        (held.guard, "{} guarded"),
    ):
        if count:
            yield what.format(f"{count:,}")
    if held.poison:
        yield f"{_some(held.poison, 'page')} poisoned"


def _around(one: Explanation) -> Iterator[str]:
    if one.around.kept:
        yield f"{_some(one.around.kept, 'page')} of a huge page held without any mapping"
    if one.around.shared:
        total = one.contents.pmd + one.contents.by_pte
        yield (
            "mapped by others, too"
            if one.around.shared == total
            else f"{_some(one.around.shared, 'page')} mapped by others, too"
        )
    if one.pinned:
        yield "pinned by a driver"


def off_words(fit: Fit) -> str:
    """In what it differs from what was given; empty if in nothing."""
    words = [f"{name} by {gap:+d} kB" for name, gap in fit.off.items()]
    if fit.score.distance and not words:
        words.append(f"{fit.score.distance} pages or kB, before or after")
    if fit.score.extra:
        words.append(f"{fit.score.extra} of the counted events, which somebody else must have raised")
    if fit.score.missing:
        words.append(f"{fit.score.missing} events that should have been counted")
    return ", ".join(words)


def ways_words(one: Explanation, most: int = 6) -> str:
    """The operations that lead there, the shortest scenarios first."""
    kinds = list(dict.fromkeys(kind(fit.example.op) for fit in one.ways))
    rest = f", and {len(kinds) - most} more" if len(kinds) > most else ""
    return ", ".join(kinds[:most]) + rest


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
