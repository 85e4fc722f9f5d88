"""A dump of what a process maps, as text: written by `thplab explain --dump`, and read again.

    # thplab pagemap 1: 0x7f0000000000, 512 pages, Linux 6.18.44
    # address pages state map exclusive frame index kind mapcount
    7f0000000000 1 present pmd yes F0 0 head 1
    7f0000001000 511 present pmd yes F0 1 tail 1
    frame F0 0 512 tail 0

A line is a run of pages that look alike; pages that nothing maps have none. What could not be seen is `-`. Lines
`frame` tell pages of a huge page by their number in it, and how often each is mapped: only if root made the dump.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from thplab.errors import BadInput, shown
from thplab.hardware.geometry import X86_64
from thplab.study.explain.contents import NR, Contents

MOST_PAGES = 1 << 18
"""1 GiB."""
_HEADER = re.compile(r"# thplab pagemap 1: 0x([0-9a-f]{1,16}), (\d{1,8}) pages(?:, Linux (\S{1,100}))?")
_RIGHT = "a line of a dump, such as 7f0000000000 512 present pmd yes - - - -"
_STATES, _MAPS, _EXCLUSIVE = ("present", "swap", "guard"), ("pmd", "pte", "-"), ("yes", "no", "-")
_KINDS = ("head", "tail", "small", "ksm", "zero", "hugezero", "nopage", "buddy", "gone", "-")


class DumpRow(NamedTuple):
    """A run of pages that are mapped alike; what is not known is None."""

    page: int
    """The first one, counted from the beginning of the dump."""
    pages: int
    state: str
    how: str | None
    exclusive: bool | None
    frame: str | None
    place: int | None
    """The number of the first page in its frame."""
    kind: str | None
    mapcount: int | None

    @property
    def end(self) -> int:
        return self.page + self.pages


class FrameRow(NamedTuple):
    """Pages of one huge page, whoever maps them."""

    frame: str
    first: int
    pages: int
    kind: str
    mapcount: int


class Slot(NamedTuple):
    """What one huge page's worth of addresses holds."""

    address: int
    contents: Contents
    kinds: bool
    """Parts of huge pages and small pages are told apart."""
    shared: int | None
    """Pages that are mapped more than once."""
    kept: int | None
    """Pages of the huge pages that are seen here that nobody maps."""


@dataclass(frozen=True)
class Dump:
    """What a process maps from an address on."""

    start: int
    pages: int
    release: str
    rows: tuple[DumpRow, ...]
    frames: tuple[FrameRow, ...]

    def slots(self) -> list[Slot]:
        """Each aligned 2 MiB that the dump holds whole, and what is in it."""
        size = X86_64.page_size
        first = -(self.start // size) % NR
        return [self._slot(page) for page in range(first, self.pages - NR + 1, NR)]

    def _slot(self, first: int) -> Slot:
        parts = [cut for row in self.rows if (cut := _cut(row, first, first + NR)) is not None]
        counts = Counter[str]()
        for row in parts:
            counts[_sort(row)] += row.pages
        present = [row for row in parts if row.state == "present" and row.kind not in ("zero", "hugezero")]
        kinds = all(row.kind is not None for row in present)
        known = all(row.exclusive is not None for row in present)
        shared = sum(row.pages for row in present if not row.exclusive) if known else None
        names = {row.frame for row in present}
        kept = sum(f.pages for f in self.frames if f.frame in names and not f.mapcount and f.kind in ("head", "tail"))
        return Slot(
            self.start + first * X86_64.page_size, Contents(**counts), kinds, shared, kept if self.frames else None
        )


def _sort(row: DumpRow) -> str:
    """The field of Contents in which a run counts. By PTE, and of a kind that is not known: a small page."""
    if row.state != "present":
        return row.state
    if row.kind in ("zero", "hugezero"):
        return row.kind
    return "pmd" if row.how == "pmd" else "parts" if row.kind in ("head", "tail") else "small"


def _cut(row: DumpRow, low: int, high: int) -> DumpRow | None:
    first, end = max(row.page, low), min(row.end, high)
    return row._replace(page=first, pages=end - first) if first < end else None


# --- writing ----------------------------------------------------------------------------------------------------------


def write_dump(start: int, pages: int, release: str, runs: Sequence[Sequence[Any]], frames: Mapping[str, Any]) -> str:
    """The text of a dump, from the runs of an Observer, whose pages are counted from `start`, and from its frames."""
    lines = [f"# thplab pagemap 1: {start:#x}, {pages} pages, Linux {release}"]
    lines.append("# address pages state map exclusive frame index kind mapcount")
    for page, count, state, frame, index, mapcount, kind, how, exclusive in runs:
        known = "-" if state != "present" else "yes" if exclusive else "no"
        cells = (count, state, how, known, frame, index, kind, mapcount)
        lines.append(
            f"{start + page * X86_64.page_size:x} " + " ".join("-" if cell is None else str(cell) for cell in cells)
        )
    for name, found in frames.items():
        lines += [f"frame {name} {' '.join(map(str, run))}" for run in found if found != "gone"]
    return "\n".join(lines) + "\n"


# --- reading ----------------------------------------------------------------------------------------------------------


def looks_like_dump(line: str) -> bool:
    """Does a text that begins with this line look like a dump?"""
    return line.startswith("# thplab pagemap")


def read_dump(text: str, where: str) -> Dump:
    """The dump that a text holds. Raises BadInput that names the line if one does not belong there."""
    lines = text.split("\n")
    header = _HEADER.fullmatch(lines[0].strip())
    if header is None:
        raise BadInput(f"{where}, line 1", f"is {shown(lines[0])}", "# thplab pagemap 1: ADDRESS, N pages")
    start, pages = int(header[1], 16), int(header[2])
    if not 0 < pages <= MOST_PAGES or start % X86_64.page_size:
        raise BadInput(
            f"{where}, line 1", f"is {shown(lines[0])}", f"the address of a page, and at most {MOST_PAGES} pages"
        )
    rows: list[DumpRow] = []
    frames: list[FrameRow] = []
    for number, line in enumerate(lines[1:], 2):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        read = _frame(words) if words[0] == "frame" else _row(words, start)
        if read is None:
            raise BadInput(f"{where}, line {number}", f"is {shown(line.strip())}", _RIGHT)
        if isinstance(read, FrameRow):
            frames.append(read)
            continue
        wrong = next(_misplaced(read, rows, start, pages), "")
        if wrong:
            raise BadInput(f"{where}, line {number}", wrong, f"runs in order, within {pages} pages from {start:#x} on")
        rows.append(read)
    return Dump(start, pages, header[3] or "", tuple(rows), tuple(frames))


def _row(words: Sequence[str], start: int) -> DumpRow | None:
    if len(words) != 9 or not re.fullmatch("[0-9a-f]{1,16}", words[0]):
        return None
    (address, pages, state, how, exclusive, frame, index, kind, mapcount) = words
    numbers = [_number(each) for each in (pages, index, mapcount)]
    offset = int(address, 16) - start
    right = state in _STATES and how in _MAPS and exclusive in _EXCLUSIVE and kind in _KINDS
    if (
        not right
        or numbers[0] is None
        or -1 in numbers
        or offset % X86_64.page_size
        or not re.fullmatch(r"F\d{1,6}|s|Z|-", frame)
    ):
        return None
    known = None if exclusive == "-" else exclusive == "yes"
    seen = [None if each == "-" else each for each in (how, frame, kind)]
    return DumpRow(
        offset // X86_64.page_size, numbers[0], state, seen[0], known, seen[1], numbers[1], seen[2], numbers[2]
    )


def _frame(words: Sequence[str]) -> FrameRow | None:
    if len(words) != 6 or not re.fullmatch(r"F\d{1,6}", words[1]) or words[4] not in _KINDS[:-1]:
        return None
    index, pages, mapcount = (_number(words[place]) for place in (2, 3, 5))
    if index is None or pages is None or mapcount is None or min(index, pages, mapcount) < 0 or index + pages > NR:
        return None
    return FrameRow(words[1], index, pages, words[4], mapcount)


def _number(word: str) -> int | None:
    """A number; None for one that is not known, -1 for what is none."""
    return None if word == "-" else int(word) if re.fullmatch(r"[0-9]{1,9}", word) else -1


def _misplaced(row: DumpRow, rows: Sequence[DumpRow], start: int, pages: int) -> Iterator[str]:
    if row.page < 0 or row.end > pages or row.pages < 1:
        yield "goes beyond what the first line says"
    if rows and row.page < rows[-1].end:
        yield "begins before the line above it ends"
    if row.frame is not None and row.frame.startswith("F") and (row.place is None or row.place + row.pages > NR):
        yield f"goes beyond the {NR} pages of its frame"


def dump_contradictions(dump: Dump) -> Iterator[str]:
    """What no page tables can be, in words."""
    for low, end in _by_pmd(dump.rows):
        for page in (low, end):
            address = dump.start + page * X86_64.page_size
            if address % X86_64.huge_size and 0 < page < dump.pages:
                yield f"pages that a PMD maps begin or end at {address:#x}, which is not a multiple of 2 MiB"


def _by_pmd(rows: Sequence[DumpRow]) -> list[tuple[int, int]]:
    """Stretches of pages that PMDs map."""
    found: list[tuple[int, int]] = []
    for row in rows:
        if row.how == "pmd":
            low = found.pop()[0] if found and found[-1][1] == row.page else row.page
            found.append((low, row.end))
    return found
