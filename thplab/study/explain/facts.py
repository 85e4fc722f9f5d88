"""What the figures of an entry of smaps say for certain, whatever has happened: sentences with the sums in them."""

from __future__ import annotations

from collections.abc import Iterator

from thplab.hardware.geometry import X86_64
from thplab.kernel.policies import Kernel
from thplab.study.explain.smaps_text import HUGE_KIB, KIB, SmapsEntry

_WORDS = {
    "hg": "madvise(MADV_HUGEPAGE) was called",
    "nh": "madvise(MADV_NOHUGEPAGE) was called: no new huge page comes here",
    "lo": "locked by mlock: reclaim takes nothing",
    "mg": "open to KSM (MADV_MERGEABLE)",
    "dc": "a fork leaves it out (MADV_DONTFORK)",
    "wf": "a child gets it empty (MADV_WIPEONFORK)",
}
"""Flags of VmFlags that matter for huge pages."""


def facts(entry: SmapsEntry, kernel: Kernel) -> Iterator[str]:
    """What is certain of an entry of anonymous memory that holds no contradiction."""
    rss, huge = entry["Rss"], entry["AnonHugePages"]
    anonymous = entry.figures.get("Anonymous", rss)
    yield from _room(entry)
    if entry["ShmemPmdMapped"] or entry["FilePmdMapped"] or entry["Shared_Hugetlb"] or entry["Private_Hugetlb"]:
        yield "some of it are huge pages of shared memory, of files or of hugetlbfs, of which nothing is said here"
    if huge:
        yield f"AnonHugePages {huge} kB: {_some(huge // HUGE_KIB, 'huge PMD')}, each over a whole huge page"
    rest = (anonymous - min(huge, anonymous)) // KIB
    if rest:
        yield (
            f"{'the other ' if huge else ''}{rest * KIB} kB: {_some(rest, 'page')} mapped by PTEs. Whether they are "
            "small pages or parts of huge pages whose PMD was split smaps does not say"
        )
    if not rss:
        hidden = (
            ""
            if kernel.gup.follows_protnone
            else "; or is mapped, but without any right (PROT_NONE), which this kernel does not count"
        )
        yield f"Rss 0: of memory it maps nothing{hidden}. The zero page, swap and guard pages do not count"
    elif "Size" in entry.figures and entry["Size"] > rss:
        yield (
            f"{_some((entry['Size'] - rss) // KIB, 'page')} of {entry['Size'] // KIB} have no memory: never touched, "
            "unmapped, zero page, swapped out or a guard"
        )
    yield from _sharing(entry)
    for name, means in (
        ("LazyFree", "given up by MADV_FREE and not written since: reclaim may take them"),
        ("Swap", "swapped out, or on the way in the swap cache"),
        ("KSM", "merged by KSM"),
        ("Locked", "locked by mlock (its share in Pss)"),
    ):
        if entry[name]:
            yield f"{name} {entry[name]} kB: {means}"
    if entry.eligible is False and huge:
        yield "THPeligible 0: no new huge page comes here, but those that are there stay"
    flags = [f"{flag}: {_WORDS[flag]}" for flag in entry.flags or () if flag in _WORDS]
    if flags:
        yield f"VmFlags {'; '.join(flags)}"


def _room(entry: SmapsEntry) -> Iterator[str]:
    slots = entry.huge_slots()
    if slots is None:
        return
    size = X86_64.huge_size
    cut = [name for name, at in (("begins", entry.start), ("ends", entry.end)) if at % size]
    if not slots:
        yield "no aligned 2 MiB fit in it: nothing is mapped by a huge PMD, but parts of huge pages can be, by PTEs"
    elif cut:
        where = f"it {' and '.join(cut)} inside of 2 MiB, where only PTEs map"
        yield f"{_some(slots, 'huge page')} could be mapped by PMDs; {where}"
    else:
        yield f"{_some(slots, 'huge page')} could be mapped by PMDs"


def _sharing(entry: SmapsEntry) -> Iterator[str]:
    rss, pss = entry["Rss"], entry.figures.get("Pss")
    if pss is None or not rss:
        return
    shared = entry["Shared_Clean"] + entry["Shared_Dirty"]
    if pss >= rss - 1 and not shared:
        yield "Pss is Rss: nobody else maps any of it"
    elif shared == rss and pss:
        users = rss / pss
        often = f"{users:.0f} times each" if abs(users - round(users)) < 0.01 else f"{users:.2f} times each on average"
        yield f"Pss {pss} kB of Rss {rss} kB, all of it Shared: mapped {often}"
    else:
        pages = f", {_some(shared // KIB, 'page')}" if shared else ""
        yield f"Pss {pss} kB of Rss {rss} kB: a part is mapped more than once{pages}"


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
