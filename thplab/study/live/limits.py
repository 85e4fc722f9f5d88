"""What a live run may take of the machine: memory within a stated part of what is free, and the limits of its user."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from thplab.errors import BadInput
from thplab.hardware.geometry import X86_64
from thplab.scenario import Operation

SHARE = 4
"""A live run takes at most this part of the memory that is free: a quarter."""
MOST = 1 << 30
"""And never more bytes than these."""
_PROCESS = 16 << 20
"""Bytes that a process of the agent has of its own."""
_ADDRESSES = 128 << 20
"""Bytes of address space that Python and what it loads may take, huge pages of a scenario aside."""
_TOUCHES = ("write", "fill", "mlock", "pin")
_TOUCHING_ADVICE = ("populate_write", "collapse")
_SYS_RESOURCE, _IPC_LOCK = 24, 14

if sys.platform != "win32":
    import resource


def takes(ops: Sequence[Operation]) -> int:
    """The most bytes that a scenario can take on a real kernel: every huge page that is touched counts as whole, again
    after each fork, and none as given back.
    """
    own: dict[str, set[tuple[object, int]]] = defaultdict(set)
    """Process -> the huge pages that it has touched since it was last forked."""
    before, processes = 0, set[str]()
    for op in ops:
        fields = op.resolve(X86_64.nr)
        process = str(fields.get("proc", ""))
        if op.op in ("mmap", "fork"):
            processes.add(str(fields.get("child", process)))
        if op.op == "fork":
            before += len(own.pop(process, ()))
        if op.op in _TOUCHES or fields.get("advice") in _TOUCHING_ADVICE:
            first, count = int(fields.get("start") or 0), int(fields.get("npages") or 1)
            last = min(first + count - 1, 10_000 * X86_64.nr)
            pages = range(first // X86_64.nr, last // X86_64.nr + 1)
            own[process].update((fields.get("region"), page) for page in pages)
    touched = before + sum(map(len, own.values()))
    return touched * X86_64.huge_size + len(processes) * _PROCESS


def room(root: Path = Path("/")) -> int:
    """The bytes that a live run may take here. `root` is where /proc and /sys are."""
    free = _free(root)
    return MOST if free is None else min(MOST, free // SHARE)


def _free(root: Path) -> int | None:
    """What is free in the machine, and in the cgroup if that has a limit."""
    found = []
    try:
        line = re.search(r"^MemAvailable:\s+(\d+) kB", (root / "proc/meminfo").read_text(), re.MULTILINE)
        found += [int(line[1]) << 10] if line else []
        limit = (root / "sys/fs/cgroup/memory.max").read_text().strip()
        used = (root / "sys/fs/cgroup/memory.current").read_text().strip()
        found += [max(0, int(limit) - int(used))] if limit.isdecimal() else []
    except (OSError, ValueError):
        pass  # no cgroup, or not of version 2
    return min(found, default=None)


def beforehand(ops: Sequence[Operation]) -> str:
    """What a run takes, in a sentence."""
    return f"takes at most {_mib(takes(ops))} of memory ({_mib(room())} are allowed)"


def refuse_too_large(ops: Sequence[Operation], root: Path = Path("/")) -> None:
    """Raise BadInput if a scenario could take more memory than a live run may, or meets a limit of its user's."""
    wanted, allowed = takes(ops), room(root)
    if wanted > allowed:
        raise BadInput(
            "scenario",
            f"could take {_mib(wanted)} of this machine's memory",
            f"at most {_mib(allowed)}, a quarter of what is free and never more than {_mib(MOST)}; or thplab run",
        )
    for name, option, needed, unit in _needs(ops):
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY and needed > limit:
            raise BadInput(
                "scenario",
                f"needs {needed // unit:,} of what {name} (ulimit -{option}) limits to {limit // unit:,}",
                "a smaller one, or a higher limit",
            )


def _needs(ops: Sequence[Operation]) -> list[tuple[str, str, int, int]]:
    """What is limited for a process: the limit, its letter, how much is needed, and the unit in which it is set."""
    regions, locked, processes, pins = defaultdict[str, int](int), defaultdict[str, int](int), 1, 0
    for op in ops:
        fields = op.resolve(X86_64.nr)
        process, pages = str(fields.get("proc", "")), int(fields.get("npages") or 1)
        if op.op == "mmap":
            regions[process] += int(fields.get("thps") or 1) * X86_64.huge_size
            processes += 1
        elif op.op == "fork":
            regions[str(fields["child"])] = regions[process]
            processes += 1
        elif op.op == "pin":
            pins += 1
        if op.op == "mlock" or fields.get("how") == "io_uring":
            locked[process] += pages * X86_64.page_size
    needs = [
        ("RLIMIT_AS", "v", _ADDRESSES + max(regions.values(), default=0), 1024),
        ("RLIMIT_NOFILE", "n", 16 + 2 * processes + 2 * pins, 1),
    ]
    return needs if _capable(_IPC_LOCK) else [*needs, ("RLIMIT_MEMLOCK", "l", max(locked.values(), default=0), 1024)]


def _capable(capability: int) -> bool:
    """May this process do what only the superuser may?"""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> capability & 1)


def met(op: Operation, ret: object) -> str:
    """Which limit an operation met, by what came of it, in words; empty if none: then the kernel has answered."""
    if ret == "-EMFILE":
        return _limit("RLIMIT_NOFILE", "n")
    if op.op == "fork" and ret == "-EAGAIN":
        return _limit("RLIMIT_NPROC", "u") + " or pids.max of the cgroup"
    if op.op in ("mmap", "fork") and ret == "-ENOMEM":
        return _limit("RLIMIT_AS", "v") + " or the machine's memory"
    return ""


def explained(words: str) -> str:
    """The last words of an agent, and which limit they tell of, if they do."""
    for error, name, option in (
        ("[Errno 11]", "RLIMIT_NPROC", "u"),
        ("can't start new thread", "RLIMIT_NPROC", "u"),
        ("[Errno 24]", "RLIMIT_NOFILE", "n"),
        ("[Errno 12]", "RLIMIT_AS", "v"),
        ("MemoryError", "RLIMIT_AS", "v"),
    ):
        if error in words:
            return f"{words}; that is {_limit(name, option)}"
    return words


def _limit(name: str, option: str) -> str:
    limit = resource.getrlimit(getattr(resource, name))[0]
    return f"{name} (ulimit -{option}), " + ("unlimited here" if limit == resource.RLIM_INFINITY else f"{limit:,} here")


def _mib(size: int) -> str:
    return f"{size >> 20:,} MiB"
