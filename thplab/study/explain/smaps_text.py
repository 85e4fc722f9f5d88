"""Reading /proc/PID/smaps (or one entry of it, or smaps_rollup) as text, and what in it cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from thplab.errors import BadInput, shown
from thplab.hardware.geometry import X86_64
from thplab.kernel.policies import Kernel

KIB = X86_64.page_size // 1024
HUGE_KIB = X86_64.huge_size // 1024
MOST_ENTRIES = 100_000
LARGEST = 1 << 50
"""kB: more than any address space has."""

HEADER = re.compile(
    r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-][w-][x-][ps]) ([0-9a-f]{1,16}) ([0-9a-f]+:[0-9a-f]+) (\d{1,20}) *(.*)"
)
FIGURE = re.compile(r"([A-Z][A-Za-z_]{1,40}): +(\d{1,20}) kB")
_NUMBER = re.compile(r"(THPeligible|ProtectionKey): +(\d{1,10})")
_FLAGS = re.compile(r"VmFlags:((?: [a-z0-9]{2})*) ?")
_ROLLUP, _KERNELS_OWN = "[rollup]", ("[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]")
_RIGHT = "smaps: a line such as 7f0000000000-7f0000200000 rw-p 00000000 00:00 0, then lines such as Rss: 2048 kB"


@dataclass(frozen=True)
class SmapsEntry:
    """One VMA as smaps shows it. Without its first line `end` is 0, and it is taken for anonymous memory."""

    where: str
    """The file and the line at which it begins."""
    start: int = 0
    end: int = 0
    perms: str = ""
    inode: int = 0
    name: str = ""
    figures: Mapping[str, int] = field(default_factory=dict)
    """Rss and the like, in kB."""
    eligible: bool | None = None
    flags: tuple[str, ...] | None = None

    @property
    def label(self) -> str:
        """What it is called."""
        if not self.end:
            return "the entry"
        return f"{self.start:x}-{self.end:x} {self.perms}{f' {self.name}' if self.name else ''}"

    @property
    def is_sum(self) -> bool:
        """Not one VMA but all of a process: smaps_rollup."""
        return self.name == _ROLLUP

    def __getitem__(self, name: str) -> int:
        """A figure in kB, 0 if it is not shown."""
        return self.figures.get(name, 0)

    @property
    def not_anonymous(self) -> str:
        """Why nothing is said of its pages: it maps no anonymous memory. Empty if it does."""
        if self.name in _KERNELS_OWN:
            return f"pages of the kernel itself ({self.name})"
        if self.inode and self.perms.endswith("s"):
            return "a shared mapping of a file or of shared memory"
        if self.inode:
            copies = (
                f"; {self['Anonymous']} kB are private copies of pages that were written to, small ones"
                if self["Anonymous"]
                else ""
            )
            return f"a private mapping of a file{copies}"
        return "shared memory" if self.perms.endswith("s") else ""

    def huge_slots(self) -> int | None:
        """How many huge pages could be mapped by PMDs: 2 MiB, aligned, inside; None if the address is not known."""
        if not self.end or self.is_sum:
            return None
        size = X86_64.huge_size
        return max(0, self.end // size - -(-self.start // size))


def looks_like_smaps(line: str) -> bool:
    """Does a text that begins with this line look like smaps?"""
    return bool(HEADER.fullmatch(line) or re.match(r"[A-Z][A-Za-z_]*: +\d+ kB$", line))


def read_smaps(text: str, where: str) -> list[SmapsEntry]:
    """The entries of a text. Raises BadInput that names the line if one does not belong there, or comes twice."""
    entries = [_entry(lines, where) for lines in _grouped(text, where)]
    if not entries:
        raise BadInput(where, "holds no entry", _RIGHT)
    return entries


Lines = list[tuple[int, str]]


def _grouped(text: str, where: str) -> Iterator[Lines]:
    """The lines of each entry with their numbers."""
    group: Lines = []
    count = 0
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip()
        if not line:
            continue
        if HEADER.fullmatch(line) and group:
            yield group
            group = []
            count += 1
            if count > MOST_ENTRIES:
                raise BadInput(f"{where}, line {number}", "is one entry too many", f"at most {MOST_ENTRIES:,}")
        group.append((number, line))
    if group:
        yield group


def _entry(lines: Lines, where: str) -> SmapsEntry:
    first, line = lines[0]
    header = HEADER.fullmatch(line)
    figures: dict[str, int] = {}
    numbers: dict[str, int] = {}
    flags: tuple[str, ...] | None = None
    for number, line in lines[1:] if header else lines:
        if found := FIGURE.fullmatch(line):
            name, value, into = found[1], int(found[2]), figures
        elif found := _NUMBER.fullmatch(line):
            name, value, into = found[1], int(found[2]), numbers
        elif (found := _FLAGS.fullmatch(line)) and flags is None:
            flags = tuple(found[1].split())
            continue
        else:
            raise BadInput(f"{where}, line {number}", f"is {shown(line)}", _RIGHT)
        if name in into or value > LARGEST:
            wrong = f"has {name} for the second time in one entry" if name in into else f"has {value:,} kB"
            raise BadInput(f"{where}, line {number}", wrong, "each figure once, within what a process can have")
        into[name] = value
    eligible = bool(numbers["THPeligible"]) if "THPeligible" in numbers else None
    place = f"{where}, line {first}"
    if not header:
        return SmapsEntry(place, figures=figures, eligible=eligible, flags=flags)
    low, high = int(header[1], 16), int(header[2], 16)
    if low >= high:
        raise BadInput(place, f"is {shown(line)}", "an address that ends behind its beginning")
    return SmapsEntry(place, low, high, header[3], int(header[6]), header[7], figures, eligible, flags)


# --- what cannot be ---------------------------------------------------------------------------------------------------

_AT_MOST = (
    ("Rss", "Size"),
    ("Pss", "Rss"),
    ("Anonymous", "Rss"),
    ("AnonHugePages", "Anonymous"),
    ("AnonHugePages", "Rss"),
    ("LazyFree", "Anonymous"),
    ("Referenced", "Rss"),
    ("KSM", "Rss"),
    ("Pss_Dirty", "Pss"),
    ("SwapPss", "Swap"),
    ("Locked", "Pss"),
)
"""No more of the first than of the second: the kernel adds the first up in a part of what it adds up for the second."""
_SHARES = ("Pss", "Pss_Dirty", "Pss_Anon", "Pss_File", "Pss_Shmem", "SwapPss", "Locked")
"""Figures that need not be whole pages: they are shares."""
_PARTS = ("Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty")
_WHOLE_HUGE = ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped")


def contradictions(entry: SmapsEntry, kernel: Kernel) -> Iterator[str]:
    """What no state of page tables can show on this kernel, in words, a figure or two each."""
    given = entry.figures
    for less, more in _AT_MOST:
        if less in given and more in given and given[less] > given[more]:
            if less == "AnonHugePages" and more == "Anonymous" and kernel.proc.huge_zero_in_rss:
                continue  # the huge zero page is in the one and not in the other
            yield f"{less} is {given[less]} kB, more than {more}, {given[more]} kB"
    for name, value in given.items():
        if name in _WHOLE_HUGE and value % HUGE_KIB and not name.startswith("File"):
            yield f"{name} is {value} kB, not a multiple of {HUGE_KIB} kB: a PMD maps all of a huge page or nothing"
        elif name not in _SHARES and value % KIB:
            yield f"{name} is {value} kB, not a multiple of {KIB} kB, the size of a page"
    if given.get("LazyFree") and "pglazyfree" not in kernel.proc.events:
        yield f"LazyFree is {given['LazyFree']} kB, but {kernel.name} shows no such figure"
    if "Rss" in given and all(part in given for part in _PARTS):
        total = sum(given[part] for part in _PARTS)
        if total != given["Rss"]:
            yield f"the four Shared_ and Private_ figures add up to {total} kB, but Rss is {given['Rss']} kB"
        elif total and given.get("Pss", 0) == given["Rss"] and given["Shared_Clean"] + given["Shared_Dirty"]:
            yield f"Pss is all of Rss, {given['Rss']} kB, but some of it is Shared_, which counts in part only"
    if entry.end and not entry.is_sum and "Size" in given and given["Size"] * 1024 != entry.end - entry.start:
        yield f"Size is {given['Size']} kB, but the addresses are {(entry.end - entry.start) // 1024} kB apart"
    slots = entry.huge_slots()
    if slots is not None and given.get("AnonHugePages", 0) > slots * HUGE_KIB:
        yield f"AnonHugePages is {given['AnonHugePages']} kB, but only {slots} aligned huge pages fit in"
