"""A footprint in words: what kernels hold of the same population, as a table and in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from thplab.kernel import kernels
from thplab.kernel.policies import Kernel
from thplab.study.footprint import NO_PIN, Footprint, Population, queues


def footprint_table(question: Population, answers: Sequence[tuple[Footprint, Footprint]], pressure: float) -> str:
    """The population, a row for each kernel, and how to read it. `answers`:
    each kernel's without and with the `pressure`.
    """
    return "\n".join(_lines(question, answers, pressure)) + "\n"


def _lines(question: Population, answers: Sequence[tuple[Footprint, Footprint]], pressure: float) -> Iterator[str]:
    pages = question.unmapped.size
    pinned = int(np.count_nonzero(question.pins != NO_PIN))
    some = question.unmapping < question.sharing
    who = f"{question.unmapping} of them" if some else "each of them" if question.sharing > 1 else "it"
    memory = _size(pages * question.geometry.page_size)
    yield (
        f"{_count(question.thps, 'huge page')} ({memory}), each mapped by {_count(question.sharing, 'process', 'es')}."
    )
    yield (
        f"munmap by {who}: {_share(question.unmapped.sum(), pages)} of the pages. Pinned: "
        f"{_count(pinned, 'huge page')}."
    )
    yield f"Zero-filled: {_share(question.zero_filled.sum(), pages)} of the pages."
    yield f"Pressure: the shrinker gets to {pressure * 100:g}% of the deferred split queue."
    yield ""
    yield f"{'kernel':10}{'mapped':>14}{'held':>14}{'held, pressed':>16}{'held/mapped':>13}{'split':>9}{'refused':>9}{'queued':>9}"
    for before, after in answers:
        ratio = f"{after.held / after.mapped:.2f}" if after.mapped else "-"
        memory = f"{_size(before.mapped):>14}{_size(before.held):>14}{_size(after.held):>16}"
        yield f"{after.kernel:10}{memory}{ratio:>13}{after.split:9,}{after.refused:9,}{after.queued:9,}"
    yield ""
    yield reading([after for _, after in answers])


def summary(question: Population, answers: Sequence[Footprint]) -> str:
    """What is still mapped of the population, and in one sentence what kernels hold of it."""
    memory = question.unmapped.size * question.geometry.page_size
    return f"{_size(answers[0].mapped)} of {_size(memory)} are still mapped. {reading(answers)}"


def reading(answers: Sequence[Footprint]) -> str:
    """One sentence: which kernels hold how much more, or less, than is mapped."""
    groups: dict[int, list[str]] = {}
    for answer in answers:
        groups.setdefault(answer.held - answer.mapped, []).append(answer.kernel)
    return (
        "In the end "
        + "; ".join(f"{_joined(names)} {_holds(more, len(names))}" for more, names in groups.items())
        + "."
    )


def reason(kernel: str | Kernel) -> str:
    """Why a kernel holds what it holds: what a munmap of a part does there, and what happens when memory runs short."""
    record = kernels.kernel(kernel) if isinstance(kernel, str) else kernel
    if not record.scheme.pmd_split_is_local:
        return (
            "A munmap of a part splits the page, so the part is free at once. A pin keeps the small page that it is on."
        )
    if not queues(record):
        return (
            "A munmap of a part splits the mapping only. Nobody remembers the part, so all of the page is held "
            "while any of it is used."
        )
    zero = " Small pages that hold only zeros are freed as well." if record.split.frees_zero_pages else ""
    return (
        "A munmap of a part queues the page. When memory runs short, the shrinker splits what it gets to, unless "
        f"it is pinned.{zero}"
    )


def _holds(more: int, kernels: int) -> str:
    hold = "holds" if kernels == 1 else "hold"
    if not more:
        return f"{hold} as much as is mapped"
    return f"{hold} {_size(abs(more))} {'more' if more > 0 else 'less'} than is mapped"


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number:,} {what}{'' if number == 1 else plural}"


def _share(part: float, whole: int) -> str:
    return f"{part / whole:.1%}"


def _size(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
