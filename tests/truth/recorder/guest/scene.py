"""One scenario in the guest: its processes, what the system does for it, and what /proc shows of it."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from typing import Any

from thplab.study.live.agent import child, libc, observe
from thplab.study.live.agent.processes import Processes

from . import system

# Here, unlike in the live lab, a page frame may be taken away from the system.
libc.ADVICE |= {"hwpoison": 100, "soft_offline": 101}



def pup(process: child.Child, name: str, address: int, size: int) -> int | str:
    """pin_user_pages() by the module, on memory of the process that asks: here it holds what no system call would."""
    number = system.module(f"pup {address} {size // libc.PAGE}")
    if isinstance(number, str):
        return number
    process.pins[name] = lambda: system.module(f"unpup {number}")
    return 0


child.PINS["pup"] = pup

EVENTS = (*observe.EVENTS, "ksm_", "nr_anon_transparent_hugepages", "zswp")
SMAPS = {
    "Rss:": "rss",
    "Pss:": "pss",
    "AnonHugePages:": "anonhuge",
    "Swap:": "swap",
    "LazyFree:": "lazyfree",
    "Locked:": "locked",
}
_ALWAYS = ("vmas", "rss", "anonhuge")
"""Figures that are recorded when they are 0, too."""
_WRITE_BACK = 0.08
"""Seconds after an operation in which what it swapped out is written."""
_LIMIT = 40.0


class Scene(Processes):
    """The processes of a scenario. It has to be ended, so that nothing of it is left."""

    def __init__(self, env: str) -> None:
        super().__init__(_LIMIT)
        self.drain = libc.Drain()
        self.swap = system.SWAP.get(env)
        self.settings: list[tuple[str, str]] = []
        """Settings to put back."""
        self.held: dict[str, int] = {}
        """Pin by the module -> the page frame."""
        if self.swap:
            system.swapon(self.swap)

    def end(self) -> None:
        """End the processes, let go of pages, put settings back."""
        for pfn in self.held.values():
            system.module(f"put {pfn}")
        super().end()
        with contextlib.suppress(OSError):  # there is no module of all kernels
            system.module("unpup 0")
        system.memcg_end()
        for path, value in reversed(self.settings):
            with contextlib.suppress(OSError):
                system.write(path, value)
        if self.swap:
            system.swapoff(self.swap)

    def do(self, op: dict[str, Any]) -> system.Ret:
        """Carry out any operation; what came of it."""
        try:
            return self._do(op)
        except OSError as error:
            return libc.failure(error.errno or 0)

    def counted(self, op: dict[str, Any]) -> dict[str, Any]:
        """Carry out an operation; what came of it, which counters of the system it changed, and what smaps says."""
        before = _counters()
        ret = self.do(op)
        if self.swap:
            time.sleep(_WRITE_BACK)
        self.drain()
        return {"ret": ret} | observe.changes(before, _counters()) | {"smaps": self._smaps()}

    def _do(self, op: dict[str, Any]) -> system.Ret:
        kind = op["op"]
        if kind == "sys" and op["restore"]:
            with contextlib.suppress(OSError):
                self.settings.append((op["path"], system.read(op["path"])))
        if kind in system.BY_NAME:
            return system.BY_NAME[kind](op)
        if kind == "unpin" and op["pin"] in self.held:
            return system.module(f"put {self.held.pop(op['pin'])}")
        raw = kind == "pin" and op["how"] == "raw"
        if (raw or kind in ("split", "memcg_new")) and op["proc"] not in self.pids:
            return "process is dead"
        if kind == "memcg_new":
            return system.memcg_new(self.pids[op["proc"]])
        if raw or kind == "split":
            pid = self.pids[op["proc"]]
            address = self.regions[op["proc"]][op["region"]][0] + op["start"] * libc.PAGE
            if kind == "split":
                return system.split(op, pid, address)
            pfn = system.pfn(pid, address)
            self.held[op["pin"]] = pfn
            return system.module(f"get {pfn}")
        return self.carry_out(op)

    def _smaps(self) -> dict[str, dict[str, dict[str, int]]]:
        """Process -> region -> figure. A process that somebody has killed just now is left out."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for process, pid in sorted(self.pids.items()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for region, (base, pages) in sorted(self.regions[process].items()):
                    figures = observe.smaps(pid, base, pages, SMAPS)
                    kept = {name: value for name, value in figures.items() if value or name in _ALWAYS}
                    found.setdefault(process, {})[region] = kept
        return found


def mapcounts(block: int) -> list[int]:
    """What /proc/kpagecount says of the 512 pages from a page frame on."""
    file = os.open("/proc/kpagecount", os.O_RDONLY)
    try:
        return list(struct.unpack(f"{libc.HUGE}Q", os.pread(file, 8 * libc.HUGE, 8 * block)))
    finally:
        os.close(file)


def _counters() -> dict[str, dict[str, int]]:
    with contextlib.suppress(OSError):
        system.write("/proc/sys/vm/stat_refresh", 1)
    return observe.counters(EVENTS)
