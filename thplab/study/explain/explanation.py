"""Explaining what was given: readers, contradictions, facts, and the examples that fit, put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from thplab.errors import BadInput
from thplab.hardware.geometry import X86_64
from thplab.kernel.kernels import kernel
from thplab.kernel.policies import Kernel
from thplab.study.explain.apart import Telling, telling
from thplab.study.explain.counters import Raised, Sum, exactly, raised, sums
from thplab.study.explain.facts import facts
from thplab.study.explain.fit import COMPARED, Explanation, Fit, Sought, alone, explanations, numbers
from thplab.study.explain.pagemap_text import Dump, Slot, dump_contradictions, looks_like_dump, read_dump
from thplab.study.explain.smaps_text import SmapsEntry, contradictions, looks_like_smaps, read_smaps
from thplab.study.explain.vmstat_text import (
    Differences,
    differences,
    fallen,
    looks_like_vmstat,
    read_vmstat,
    unknown_counters,
)
from thplab.study.live.support import nearest

DEFAULT_KERNEL = "v6.18"
LONGEST = 1 << 25
"""Characters of one text that is explained."""
_SHOWN = 6
"""Explanations that are told."""
Kind = TypeVar("Kind")
_ENTRIES = 3
"""Entries of a whole smaps file that are explained; all others are counted."""


class Given(NamedTuple):
    """A text that is to be explained, and what it is called in messages."""

    text: str
    name: str


@dataclass(frozen=True)
class Passage:
    """What is said of one thing that was given."""

    title: str
    wrong: tuple[str, ...] = ()
    """What cannot be. Then nothing else is said."""
    facts: tuple[str, ...] = ()
    """What is certain."""
    found: tuple[Explanation, ...] = ()
    """What may have happened, the simplest first."""
    rest: tuple[Explanation, ...] = ()
    """Further ones, which texts only count."""
    apart: tuple[Telling, ...] = ()
    raised: tuple[Raised, ...] = ()
    sums: tuple[Sum, ...] = ()

    @property
    def nearest(self) -> Fit | None:
        return self.found[0].best if self.found else None


@dataclass(frozen=True)
class Explained:
    """All that is said of what was given, on one kernel."""

    kernel: Kernel
    parts: tuple[Passage, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """All that cannot be."""
        return tuple(text for part in self.parts for text in part.wrong)

    @property
    def nearest(self) -> Fit | None:
        """The example that is shown as a picture, if there is one."""
        return next((part.nearest for part in self.parts if part.nearest), None)


@dataclass
class _All:
    """What was given, by kind, in the order in which it was given."""

    smaps: list[list[SmapsEntry]]
    vmstat: list[dict[str, int]]
    dumps: list[Dump]


def explain_texts(given: Sequence[Given], kernel_name: str = DEFAULT_KERNEL, at: str = "") -> Explained:
    """What is consistent with some texts on a kernel: smaps (an entry, or a whole file), /proc/vmstat, or a dump.

    Two of a kind are before and after. With `at`, an address such as "7f0000000000", only the entry that holds it is
    explained. Raises BadInput that names text and line for what cannot be read, for a third of a kind, and for an
    unknown kernel or address. What can be read, but cannot be, is no error: it is told in `Passage.wrong`.
    """
    record = kernel(kernel_name)
    texts = _read(given)
    change, counters = _counters(texts.vmstat, record)
    parts = [*_smaps_parts(texts.smaps, record, change, _address(at)), *_dump_parts(texts.dumps, record, change)]
    if counters is not None:
        # What was held against the counters above says more than they do alone.
        above = any(part.found for part in parts)
        parts.append(replace(counters, found=(), rest=(), sums=()) if above else counters)
    return Explained(record, tuple(parts))


def _read(given: Sequence[Given]) -> _All:
    found = _All([], [], [])
    for text, name in given:
        if len(text) > LONGEST:
            raise BadInput(name, f"has {len(text):,} characters", f"a text of at most {LONGEST:,}")
        line = next((line.rstrip() for line in text.split("\n") if line.strip()), "")
        if looks_like_dump(line):
            _add(found.dumps, read_dump(text.lstrip("\n"), name), name, "dumps")
        elif looks_like_smaps(line):
            _add(found.smaps, read_smaps(text, name), name, "smaps")
        elif looks_like_vmstat(line.strip()):
            _add(found.vmstat, read_vmstat(text, name), name, "readings of vmstat")
        else:
            raise BadInput(
                f"{name}, line 1", f"is {line[:200]!r}", "smaps, /proc/vmstat, or what thplab explain --dump writes"
            )
    if not given:
        raise BadInput("file", "is not given", "one at least: smaps, /proc/vmstat, or a dump")
    return found


def _add(kinds: list[Kind], one: Kind, name: str, what: str) -> None:
    if len(kinds) == 2:
        raise BadInput(name, f"is the third of the {what}", "two of a kind at most, before and after")
    kinds.append(one)


def _address(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,16}", text):
        raise BadInput("at", f"is {text[:100]!r}", "an address such as 7f0000000000")
    return int(text, 16)


# --- /proc/vmstat -----------------------------------------------------------------------------------------------------


def _counters(readings: Sequence[Mapping[str, int]], record: Kernel) -> tuple[Differences | None, Passage | None]:
    if not readings:
        return None, None
    title = "/proc/vmstat, before and after" if len(readings) == 2 else "/proc/vmstat, once"
    wrong = list(unknown_counters({name: 0 for reading in readings for name in reading}, record))
    wrong += fallen(*readings) if len(readings) == 2 else ()
    if wrong:
        return None, Passage(title, tuple(wrong))
    if len(readings) == 1:
        ever = _ever(readings[0], record)
        told = f"it counts since the machine was started, so one reading only says what has ever happened: {ever}"
        return None, Passage(title, facts=(told,))
    change = differences(readings[0], readings[1], record)
    events = {name: count for name, count in change.known.items() if count}
    foreign = [
        f"{name} {count:+d}: nothing that is simulated raises it" for name, count in sorted(change.foreign.items())
    ]
    sure = ["the counters are the whole system's: others may have raised them, too", *foreign]
    found = alone(exactly(record.name, events, (1,))) if events else []
    made = () if found or not events else tuple(sums(record.name, events, (1,)))
    if not events:
        sure.append("no counter of huge pages rose: whatever was done is among the operations that raise none")
    told_of = Passage(
        title,
        (),
        tuple(sure),
        tuple(found[:_SHOWN]),
        tuple(found[_SHOWN:]),
        (),
        tuple(raised(record.name, events, (1,))),
        made,
    )
    return change, told_of


def _ever(reading: Mapping[str, int], record: Kernel) -> str:
    seen = [f"{name} {reading[name]}" for name in record.proc.events if reading.get(name)]
    return ", ".join(seen) or "nothing of what is simulated"


# --- smaps ------------------------------------------------------------------------------------------------------------


def _smaps_parts(
    files: Sequence[Sequence[SmapsEntry]], record: Kernel, change: Differences | None, at: int | None
) -> Iterator[Passage]:
    if not files:
        return
    last = joined(files[-1])
    chosen = _chosen(last, at)
    if len(last) > 1:
        yield _overview(files[-1], chosen)
    for entry in chosen:
        earlier = _same(joined(files[0]), entry) if len(files) == 2 else None
        yield _entry_part(entry, earlier, record, change, len(files) == 2)


def joined(entries: Iterable[SmapsEntry]) -> list[SmapsEntry]:
    """The entries, but neighbours as one where a border cuts 2 MiB of anonymous memory: a huge page may lie across."""
    found: list[SmapsEntry] = []
    for entry in entries:
        last = found[-1] if found else None
        border = entry.start % X86_64.huge_size
        if (
            last is None
            or last.end != entry.start
            or not border
            or not _plain(last)
            or not _plain(entry)
            or last.name != entry.name
        ):
            found.append(entry)
            continue
        names = last.figures.keys() | entry.figures.keys()
        figures = {name: last[name] + entry[name] for name in names}
        perms = last.perms if last.perms == entry.perms else "several"
        flags = tuple(dict.fromkeys((*(last.flags or ()), *(entry.flags or ()))))
        found[-1] = replace(last, end=entry.end, perms=perms, figures=figures, flags=flags)
    return found


def _plain(entry: SmapsEntry) -> bool:
    return bool(entry.end) and not entry.not_anonymous and not entry.is_sum


def _chosen(entries: Sequence[SmapsEntry], at: int | None) -> list[SmapsEntry]:
    """The entries to explain: the only one, that at an address, or those with most huge pages, then most memory."""
    if at is not None:
        found = [entry for entry in entries if entry.start <= at < entry.end]
        if not found:
            raise BadInput("at", f"{at:x} is in no entry", "an address that smaps shows")
        return found
    if len(entries) == 1:
        return list(entries)
    worth = [entry for entry in entries if not entry.not_anonymous and (entry["AnonHugePages"] or entry.huge_slots())]
    worth.sort(key=lambda entry: (-entry["AnonHugePages"], -entry["Rss"]))
    return worth[:_ENTRIES]


def _overview(entries: Sequence[SmapsEntry], chosen: Sequence[SmapsEntry]) -> Passage:
    anonymous = [entry for entry in entries if not entry.not_anonymous]
    other: dict[str, int] = {}
    for entry in entries:
        if entry.not_anonymous:
            sort = entry.not_anonymous.partition(";")[0]
            other[sort] = other.get(sort, 0) + 1
    huge = sum(entry["AnonHugePages"] for entry in anonymous)
    sure = [
        f"{len(entries)} entries, {len(anonymous)} of them anonymous memory with {sum(e['Rss'] for e in anonymous)} kB "
        f"resident, {huge} kB of these by huge PMDs",
        *(f"not explained: {count} of {sort}" for sort, count in other.items()),
    ]
    if not chosen:
        sure.append("no anonymous entry has room for a huge page")
    elif len(anonymous) > len(chosen):
        sure.append("told below: those with most huge pages, then with most memory; --at ADDRESS tells another one")
    return Passage("smaps", facts=tuple(sure))


def _same(entries: Sequence[SmapsEntry], entry: SmapsEntry) -> SmapsEntry | None:
    """The entry before: that with the same beginning, or one that overlaps, or, without addresses, the only one."""
    if not entry.end:
        return entries[0] if len(entries) == 1 else None
    over = [each for each in entries if each.start < entry.end and entry.start < each.end]
    return next((each for each in over if each.start == entry.start), over[0] if over else None)


def _entry_part(
    entry: SmapsEntry, earlier: SmapsEntry | None, record: Kernel, change: Differences | None, two: bool
) -> Passage:
    title = f"{entry.where}: {entry.label}"
    if entry.not_anonymous:
        return Passage(title, facts=(f"{entry.not_anonymous}: no anonymous memory, so nothing is said of it",))
    wrong = [
        *contradictions(entry, record),
        *(f"before: {text}" for text in (contradictions(earlier, record) if earlier else ())),
    ]
    if wrong:
        return Passage(title, tuple(wrong))
    sure = list(facts(entry, record))
    if entry.is_sum:
        return Passage(title, facts=(*sure, "it is the sum of all of a process: smaps itself says more"))
    if two:
        sure.append(_moved(entry, earlier) if earlier else "before, nothing was mapped there")
    given = {name: entry[name] for name in (*COMPARED, "Size") if name in entry.figures}
    before = {name: earlier[name] for name in COMPARED if name in earlier.figures} if earlier else None
    if "Rss" not in given:
        return Passage(title, facts=(*sure, "Rss is not given, so nothing can be held against it"))
    if entry.perms.startswith("---") and not entry["Rss"]:
        return Passage(title, facts=(*sure, "nobody may touch it: a guard, or addresses that are reserved"))
    sought = Sought(given, before, events=change.known if change else None)
    every = explanations(record.name, sought, numbers([given, *([before] if before else [])]))
    return _told(title, sure, every, tuple(given))


def _moved(entry: SmapsEntry, earlier: SmapsEntry) -> str:
    moved = [f"{name} {entry[name] - earlier[name]:+d} kB" for name in COMPARED if entry[name] != earlier[name]]
    return f"since before: {', '.join(moved) or 'no figure has changed'}"


def _told(title: str, sure: Sequence[str], every: Sequence[Explanation], given: tuple[str, ...]) -> Passage:
    shown = tuple(every[:_SHOWN])
    apart = tuple(telling(shown, given)) if len(shown) > 1 and shown[0].exact else ()
    return Passage(title, (), tuple(sure), shown, tuple(every[_SHOWN:]), apart)


# --- dumps ------------------------------------------------------------------------------------------------------------


def _dump_parts(dumps: Sequence[Dump], record: Kernel, change: Differences | None) -> Iterator[Passage]:
    if not dumps:
        return
    last, title = dumps[-1], f"pagemap from {dumps[-1].start:x} on"
    wrong = [text for dump in dumps for text in dump_contradictions(dump)]
    if wrong:
        yield Passage(title, tuple(wrong))
        return
    earlier = {slot.address: slot for slot in dumps[0].slots()} if len(dumps) == 2 else {}
    groups: dict[tuple[object, ...], list[Slot]] = {}
    for slot in last.slots():
        was = earlier.get(slot.address)
        groups.setdefault((slot[1:], was[1:] if was else None), []).append(slot)
    named = nearest(last.release)[0] if last.release else record.name
    if named != record.name:
        yield Passage(title, facts=(f"it was made on Linux {last.release}, to which {named} is nearest",))
    if not groups:
        yield Passage(title, facts=("it holds no whole huge page's worth of addresses (2 MiB, aligned)",))
    for alike in groups.values():
        yield _slot_part(title, alike, earlier.get(alike[0].address), record, change)


def _slot_part(
    title: str, alike: Sequence[Slot], was: Slot | None, record: Kernel, change: Differences | None
) -> Passage:
    slot = alike[0]
    often = (
        f"{len(alike)} times 2 MiB, the first at {slot.address:x}" if len(alike) > 1 else f"2 MiB at {slot.address:x}"
    )
    sure = []
    if not slot.kinds and slot.contents.by_pte:
        sure.append(
            "whether its pages are parts of a huge page was not to be seen: for that the dump has to be made by root"
        )
    if slot.kept:
        sure.append(f"{slot.kept} pages of the huge page are held, though nobody maps them")
    if slot.shared is not None and slot.contents.pmd + slot.contents.by_pte:
        sure.append(
            f"{slot.shared} pages are mapped more than once"
            if slot.shared
            else "each page is mapped by this process alone"
        )
    held = slot.contents
    figures = {"Rss": 4 * (held.pmd + held.by_pte), "AnonHugePages": 4 * held.pmd, "Swap": 4 * held.swap}
    tried = numbers([figures], (slot.kept or 0, slot.shared or 0, held.zero))
    events = change.known if change else None
    sought = Sought(
        seen=held, seen_earlier=was.contents if was else None, kinds=slot.kinds, kept=slot.kept, events=events
    )
    every = explanations(record.name, sought, tried)
    if slot.shared is not None:
        every = [each for each in every if bool(each.around.shared) == bool(slot.shared)] or every
    return _told(f"{title}: {often}", sure, every, ())
