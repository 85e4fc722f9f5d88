"""The vocabulary of short scenarios: how a huge page comes to be, and what may then be done about it.

Nothing here says what comes of it: examples.py carries them out on a kernel. `{k}` is a number of pages, taken from
what is to be explained; what `{p}` does is done by each process that lives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

PART = """
munmap {p} 8 {k} | mprotect {p} 8 {k} r | mprotect {p} 8 {k} none | mlock {p} 8 {k} | madvise {p} 8 {k} dontneed
madvise {p} 8 {k} free | madvise {p} 8 {k} cold | madvise {p} 8 {k} pageout | write {p} 8 {k} | read {p} 8 {k}
"""
WHOLE = """
madvise {p} 0 1thp dontneed | madvise {p} 0 1thp free | madvise {p} 0 1thp cold | madvise {p} 0 1thp pageout
madvise {p} 0 1thp collapse | madvise {p} 0 1thp nohugepage | munmap {p} 0 1thp | mprotect {p} 0 1thp r
mprotect {p} 0 1thp none | write {p} 0 1thp | fork {p} C | exit {p} | split {p} 0 | split_pmd {p} 0 | clear_refs {p} 1
"""
ALONE = "madvise {p} 0 1thp populate_write | mlock {p} 0 1thp"
SYSTEM = "khugepaged_scan 1 | sys /proc/sys/vm/drop_caches 2"
PINS = "pin {p} 8 1 dma | pin {p} 8 1 dma io_uring"
MOVES = """
migrate {p} 0 | swap_out {p} 0 | madvise {p} 8 {k} nohugepage | madvise {p} 8 {k} dontfork | mremap {p} 8 1 T
"""
EVERY = " | ".join((PART, WHOLE, SYSTEM, PINS))
FILLED = "mmap A; fill A 0 1thp"
SHARED = f"{FILLED}; fork A B"
SMALL = "mmap A advise=none; fill A 0 1thp"


class Story(NamedTuple):
    """What comes before, and what may come then: each is the last operation of a scenario."""

    before: str
    then: str
    """Operations with a `|` or the end of a line between them."""
    swap: str = ""
    """On a machine with such a swap device."""


STORIES = (
    Story("mmap A", "write A 0 | read A 0 | fill A 0 1thp | madvise A 0 1thp populate_write"),
    Story("mmap A; write A 0", f"{EVERY} | {ALONE} | fork A B"),
    Story(FILLED, f"{EVERY} | {ALONE} | fork A B"),
    Story("mmap A region=T; mmap A; fill A 0 1thp", MOVES),
    Story("mmap A; read A 0", f"{PART} | mprotect A 0 1thp r | munmap A 0 1thp | fork A B | madvise A 0 1thp collapse"),
    Story("mmap A; read A 0; fork A B", "write A 8 {k} | write B 8 {k} | munmap B 8 {k}"),
    Story("mmap A; read A 0; mprotect A 8 1 r", "write A 16 {k} | madvise A 0 1thp collapse"),
    Story("mmap A advise=none", "write A 0 {k} | read A 0 {k} | fill A 0 1thp"),
    Story(
        "mmap A advise=none; write A 0 {k}",
        "madvise A 0 1thp hugepage | fork A B | madvise A 0 1thp collapse | khugepaged_scan 1",
    ),
    Story("mmap A advise=none; write A 0 {k}; madvise A 0 1thp hugepage", "khugepaged_scan 2"),
    Story(
        SMALL, "madvise A 0 1thp collapse | munmap A 8 {k} | madvise A 8 {k} pageout | madvise A 8 {k} free | fork A B"
    ),
    Story(f"{SMALL}; madvise A 0 1thp hugepage", "khugepaged_scan 2"),
    # The PMD was split, the page was not.
    Story(f"{FILLED}; mprotect A 8 1 r", f"{EVERY} | {ALONE}"),
    Story(
        "mmap A; write A 0; mprotect A 8 1 r", "munmap A 8 {k} | madvise A 0 1thp pageout | split A 0 | write A 0 1thp"
    ),
    # A part is unmapped and held.
    Story(f"{FILLED}; munmap A 8 {{k}}", f"{WHOLE} | {ALONE} | {SYSTEM} | {PINS} | munmap A 0 8 | mprotect A 0 8 r"),
    Story(
        f"{FILLED}; madvise A 8 {{k}} dontneed",
        f"{SYSTEM} | write A 8 {{k}} | read A 8 {{k}} | madvise A 0 1thp collapse | split A 0",
    ),
    Story("mmap A; write A 0; munmap A 8 {k}", f"{SYSTEM} | split A 0"),
    Story(f"{FILLED}; munmap A 8 1", "madvise A 16 {k} cold | madvise A 16 {k} free | madvise A 16 {k} pageout"),
    # Shared after a fork.
    Story(SHARED, EVERY),
    Story(
        f"{SHARED}; write B 8 {{k}}",
        f"write A 8 {{k}} | write B 0 1thp | exit A | exit B | munmap A 8 {{k}} | {SYSTEM}",
    ),
    Story(
        f"{SHARED}; mprotect B 8 1 r",
        "mprotect A 8 1 r | exit A | exit B | write A 8 {k} | write B 8 {k} | split A 0 | munmap B 8 {k}",
    ),
    Story(f"{SHARED}; munmap B 8 {{k}}", f"munmap A 8 {{k}} | exit A | exit B | mprotect A 16 1 r | {SYSTEM}"),
    Story(f"{SHARED}; exit B", "write A 8 {k} | munmap A 8 {k} | split A 0"),
    Story(f"{SHARED}; fork A C", "write B 8 {k} | mprotect B 8 1 r | exit A | split A 0"),
    # Pinned.
    Story(f"{FILLED}; pin A 8 1 dma", f"{PART} | {WHOLE} | {ALONE} | {SYSTEM} | fork A B"),
    Story(f"{FILLED}; pin A 8 1 dma; munmap A 8 {{k}}", f"unpin dma | {SYSTEM}"),
    Story(
        f"{FILLED}; pin A 8 1 dma io_uring",
        "fork A B | split A 0 | madvise A 8 {k} cold | munmap A 8 {k} | munmap A 0 1thp",
    ),
    Story(f"{SHARED}; pin A 8 1 dma", "write A 8 {k} | write B 8 {k} | split A 0"),
    # The page was split.
    Story(
        f"{FILLED}; split A 0",
        "munmap A 8 {k} | fork A B | madvise A 0 1thp collapse | khugepaged_scan 2 | write A 0 1thp",
    ),
    Story(f"{SHARED}; split A 0", "write B 8 {k} | exit B | munmap B 8 {k}"),
    Story("mmap A; write A 0; split A 0", "write A 8 {k} | madvise A 0 1thp collapse | khugepaged_scan 2"),
    # Two more callers: KSM, and reclaim with something to write to.
    Story("mmap A; fill A 0 1thp same; madvise A 0 1thp mergeable", "ksm_scan 2"),
    Story(
        FILLED,
        "madvise A 0 1thp pageout | madvise A 8 {k} pageout | madvise A 0 1thp free | madvise A 8 {k} free"
        "| swap_out A 0",
        "swap",
    ),
    Story(
        f"{FILLED}; mprotect A 8 1 r",
        "madvise A 0 1thp pageout | madvise A 8 {k} pageout | madvise A 8 {k} free",
        "swap",
    ),
    Story(
        f"{FILLED}; madvise A 0 1thp pageout",
        "read A 0 | read A 0 {k} | write A 0 | madvise A 0 1thp collapse | fork A B",
        "swap",
    ),
    Story(SMALL, "madvise A 8 {k} pageout | madvise A 0 1thp pageout", "swap"),
    Story(f"{FILLED}; madvise A 0 1thp free", "madvise A 0 1thp pageout | write A 8 | write A 8 {k} | fork A B"),
    Story(f"{FILLED}; madvise A 0 1thp pageout", "read A 0 {k} | fork A B", "zram"),
    Story(f"{FILLED}; madvise A 0 1thp pageout; read A 0 {{k}}", "fork A B", "zram"),
    Story(f"{FILLED}; mprotect A 8 1 r", "madvise A 0 1thp pageout", "zram"),
)


BEHIND = 480
"""Pages that fit behind page 16 of a huge page, with some to spare."""


def lines(numbers: tuple[int, ...]) -> Iterator[tuple[str, str, str]]:
    """Each scenario as what comes before, its last operation, and the swap device, if there is one.

    `numbers` are the values of {k}; where none is named, a scenario comes once.
    """
    told = set[tuple[str, str, str]]()
    for story in STORIES:
        then = [op.strip() for line in story.then.split("\n") for op in line.split("|") if op.strip()]
        for k in numbers:
            for process in "AB" if "fork A B" in story.before else "A":
                for op in then:
                    one = (story.before.format(k=k), op.format(p=process, k=k), story.swap)
                    if one not in told and not (k > BEHIND and _is_behind(f"{story.before}; {op}")):
                        told.add(one)
                        yield one


def _is_behind(scenario: str) -> bool:
    """Are the {k} pages of a scenario not those at the beginning of the huge page?"""
    return "8 {k}" in scenario or "16 {k}" in scenario
