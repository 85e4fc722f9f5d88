"""What the real kernel shows: counters of the system, smaps, pagemap and, with root's rights, the page frames.

All of it comes out in the form of tests/truth/README.md, part B.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .libc import HUGE, PAGE
from .processes import Regions

EVENTS = ("thp_", "pswp", "pglazyfree", "cow_ksm")
"""Beginnings of the names of /proc/vmstat that are recorded."""
STATS = Path("/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats")
SMAPS = {
    "Rss:": "rss",
    "Pss:": "pss",
    "AnonHugePages:": "anonhuge",
    "Swap:": "swap",
    "LazyFree:": "lazyfree",
    "KSM:": "ksm",
}

# Bits of /proc/kpageflags and of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
_BUDDY, _HEAD, _TAIL, _NOPAGE, _KSM, _THP, _ZERO = 10, 15, 16, 20, 21, 22, 24
_PFN, _EXCLUSIVE, _GUARD, _SWAPPED, _PRESENT = (1 << 55) - 1, 56, 58, 62, 63
_PAGEMAP_SCAN = 3 << 30 | 96 << 16 | ord("f") << 8 | 16
_IS_PFNZERO, _IS_HUGE = 1 << 5, 1 << 6

SeenRun = list[Any]


def counters(events: tuple[str, ...] = EVENTS) -> dict[str, dict[str, int]]:
    """The counters of the system: `ev` from /proc/vmstat, `sz` for huge pages of 2 MiB where the kernel has them."""
    with open("/proc/vmstat") as file:
        pairs = (line.split() for line in file if line.startswith(events))
        found = {"ev": {name: int(value) for name, value in pairs}}
    if STATS.is_dir():
        found["sz"] = {path.name: int(path.read_text()) for path in STATS.iterdir()}
    return found


def changes(before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """What changed, by group and name."""
    return {
        group: {
            name: value - before[group][name] for name, value in sorted(values.items()) if value != before[group][name]
        }
        for group, values in after.items()
    }


class Observer:
    """Looks at the processes of a scenario, again after each operation;
    frames are named in the order of first sight.
    """

    def __init__(self) -> None:
        self.counts = self._open("/proc/kpagecount")
        self.flags = self._open("/proc/kpageflags")
        self.sees_frames = self.counts is not None and self.flags is not None and self._sees_pfns()
        self.sees_maps = self._scan_works()
        self.forget()

    def forget(self) -> None:
        """A new scenario begins."""
        self.frames: dict[int, str] = {}
        self.ours: set[int] = set()
        """pfns in named frames that were ours whenever we looked: whatever is there later is another page."""

    def unseen(self) -> dict[str, str]:
        """What cannot be seen here -> why."""
        missing = {}
        if not self.sees_frames:
            missing["frames"] = "page frame numbers, kpagecount and kpageflags are for root"
        if not self.sees_maps:
            missing["maps"] = "the ioctl PAGEMAP_SCAN came with Linux 6.7"
        if not STATS.is_dir():
            missing["sz"] = f"there is no {STATS}"
        return missing

    def look(self, pids: dict[str, int], regions: Regions) -> dict[str, Any]:
        """`proc` and `frames` of a record. A process that somebody has killed just now is left out."""
        seen, now = set[int](), set[int]()
        processes: dict[str, dict[str, Any]] = {}
        for process in sorted(pids):
            found: dict[str, dict[str, Any]] = {}
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for region, (base, pages) in sorted(regions[process].items()):
                    runs = self._pages(pids[process], base, pages, seen, now)
                    found[region] = {**smaps(pids[process], base, pages), "runs": runs}
                processes[process] = found
        return {"proc": processes, "frames": self._frames(seen, now)}

    # --- entries of a process -----------------------------------------------------------------------------------------

    def _pages(self, pid: int, base: int, pages: int, seen: set[int], now: set[int]) -> list[SeenRun]:
        """Runs of [page, n, state, frame, frame_index, mapcount, kind, map, exclusive]."""
        with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
            entries = _words(file.fileno(), base // PAGE, pages)
            if len(entries) < pages:
                raise ProcessLookupError  # it has no memory any more
            huge = self._scan(file.fileno(), base, pages, _IS_HUGE)
            zero = self._scan(file.fileno(), base, pages, _IS_PFNZERO)
        known = self._known(entries) if self.sees_frames else {}
        runs: list[SeenRun] = []
        for page, entry in enumerate(entries):
            how = ("pmd" if page in huge else "pte") if self.sees_maps else None
            if entry >> _PRESENT & 1:
                pfn = entry & _PFN
                place = (
                    self._place(pfn, known[pfn], seen, now)
                    if known
                    else _zero(how)
                    if page in zero
                    else [None, None, None, None]
                )
                new = [page, 1, "present", *place, how, entry >> _EXCLUSIVE & 1]
            elif entry >> _SWAPPED & 1:
                state = "guard" if entry >> _GUARD & 1 else "swap"
                new = [page, 1, state, None, None, None, None, how, 0]
            else:
                continue
            if runs and _continues(runs[-1], new):
                runs[-1][1] += 1
            else:
                runs.append(new)
        return runs

    def _known(self, entries: Sequence[int]) -> dict[int, tuple[int, int]]:
        """pfn -> its flags and its mapcount, for all pages that are mapped;
        those that lie one behind the other are read at once.
        """
        assert self.flags is not None and self.counts is not None
        known: dict[int, tuple[int, int]] = {}
        pfns = sorted({entry & _PFN for entry in entries if entry >> _PRESENT & 1})
        for _, group in itertools.groupby(enumerate(pfns), lambda pair: pair[1] - pair[0]):
            run = [pfn for _, pfn in group]
            pairs = zip(_words(self.flags, run[0], len(run)), _words(self.counts, run[0], len(run)), strict=True)
            known.update(zip(run, pairs, strict=True))
        return known

    def _place(self, pfn: int, shown: tuple[int, int], seen: set[int], now: set[int]) -> SeenRun:
        """Frame, index in it, mapcount and kind of a page that is mapped."""
        block, index = divmod(pfn, HUGE)
        flags, count = shown
        kind = _kind(flags)
        if flags >> _ZERO & 1:
            return ["Z", None, count, "hugezero" if kind in ("head", "tail") else "zero"]
        if kind in ("head", "tail") and block not in self.frames:
            self.frames[block] = f"F{len(self.frames)}"
            self.ours.update(range(block * HUGE, (block + 1) * HUGE))
        if block in self.frames and (kind in ("head", "tail") or pfn in self.ours):
            seen.add(block)
            now.add(pfn)
            return [self.frames[block], index, count, kind]
        return ["s", None, count, kind]

    def _scan(self, pagemap: int, base: int, pages: int, category: int) -> set[int]:
        """The pages of a category that only the ioctl tells; nobody needs a privilege for it."""
        if not self.sees_maps:
            return set()
        found = (ctypes.c_uint64 * (3 * 1024))()
        words = (96, 0, base, base + pages * PAGE, 0, ctypes.addressof(found), 1024, 0, 0, category, 0, category)
        count = fcntl.ioctl(pagemap, _PAGEMAP_SCAN, bytearray(struct.pack("12Q", *words)), True)
        ranges = (((found[3 * i] - base) // PAGE, (found[3 * i + 1] - base) // PAGE) for i in range(count))
        return {page for low, high in ranges for page in range(low, high)}

    # --- page frames --------------------------------------------------------------------------------------------------

    def _frames(self, seen: set[int], now: set[int]) -> dict[str, Any]:
        """Frame -> runs of [index, n, kind, mapcount], also of pages that nobody maps any more, or "gone"."""
        found: dict[str, Any] = {}
        for block, label in self.frames.items():
            assert self.flags is not None and self.counts is not None
            flags = _words(self.flags, block * HUGE, HUGE)
            compound = flags[0] >> _THP & 1
            if block not in seen and not compound:
                found[label] = "gone"
                continue
            counts = _words(self.counts, block * HUGE, HUGE)
            if compound:
                now.update(range(block * HUGE, (block + 1) * HUGE))
            pages = (
                (i, _kind(flags[i]), counts[i] if counts[i] < 1 << 40 else 0)
                if block * HUGE + i in now
                else (i, "gone", 0)
                for i in range(HUGE)
            )
            found[label] = _frame_runs(pages)
        self.ours = now
        return found

    # --- what this machine allows -------------------------------------------------------------------------------------

    @staticmethod
    def _open(path: str) -> int | None:
        try:
            return os.open(path, os.O_RDONLY)
        except OSError:
            return None

    @staticmethod
    def _sees_pfns() -> bool:
        here = ctypes.create_string_buffer(1)
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            entry = _words(file.fileno(), ctypes.addressof(here) // PAGE, 1)[0]
        return bool(entry & _PFN)

    def _scan_works(self) -> bool:
        self.sees_maps = True
        here = ctypes.create_string_buffer(1)
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            try:
                self._scan(file.fileno(), ctypes.addressof(here) // PAGE * PAGE, 1, _IS_HUGE)
            except OSError:
                return False
        return True


def _words(file: int, first: int, count: int) -> tuple[int, ...]:
    data = os.pread(file, 8 * count, 8 * first)
    return struct.unpack(f"{len(data) // 8}Q", data)


def _kind(flags: int) -> str:
    if flags >> _NOPAGE & 1 or flags >> _BUDDY & 1:
        return "nopage" if flags >> _NOPAGE & 1 else "buddy"
    if flags >> _KSM & 1:
        return "ksm"
    return "head" if flags >> _HEAD & 1 else "tail" if flags >> _TAIL & 1 else "small"


def _zero(how: str | None) -> SeenRun:
    """The place of the zero page, for who does not see frames."""
    return ["Z", None, 0, "hugezero" if how == "pmd" else "zero"]


def _continues(run: SeenRun, new: SeenRun) -> bool:
    """Does a page go on where a run ends: right behind it, all else equal, and in the next page of the same frame?"""
    if run[0] + run[1] != new[0] or run[2:4] != new[2:4] or run[5:] != new[5:]:
        return False
    return bool(new[4] is None if run[4] is None else new[4] == run[4] + run[1])


def _frame_runs(pages: Iterable[tuple[int, str, int]]) -> list[SeenRun]:
    runs: list[SeenRun] = []
    for index, kind, count in pages:
        if runs and runs[-1][2:] == [kind, count]:
            runs[-1][1] += 1
        else:
            runs.append([index, 1, kind, count])
    return runs


def smaps(pid: int, base: int, pages: int, names: Mapping[str, str] = SMAPS) -> dict[str, int]:
    """The figures of smaps in kB, summed over the VMAs of a region, and the number of these."""
    figures = {"vmas": 0} | dict.fromkeys(names.values(), 0)
    inside = False
    with open(f"/proc/{pid}/smaps") as file:
        for line in file:
            if not line[0].isupper():  # the first line of a VMA
                low, high = (int(bound, 16) for bound in line.split(maxsplit=1)[0].split("-"))
                if low >= base + pages * PAGE:
                    break
                inside = high > base
                figures["vmas"] += inside
            elif inside:
                name, value = line.split()[:2]
                if name in names:
                    figures[names[name]] += int(value)
    return figures
