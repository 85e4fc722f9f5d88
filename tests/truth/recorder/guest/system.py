"""The operations that no process of a scenario performs, but the system: its settings, its threads, its cgroups, its
debugfs.

Each function carries one out and returns what the recording shows: 0, "-ERRNO" or a dict. OSError is for the caller.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thplab.study.live.agent import libc

Op = dict[str, Any]
Ret = int | str | dict[str, Any]

KERNEL = tuple(int(part) for part in os.uname().release.split("-")[0].split("+")[0].split(".")[:2])
SWAP = {"swap": "/dev/vda", "zram": "/dev/zram0"}
"""The env of a scenario -> what it swaps to."""

_CGROUP = Path("/sys/fs/cgroup/recorded")
_KSM = Path("/sys/kernel/mm/ksm")
_KHUGEPAGED = Path("/sys/kernel/mm/transparent_hugepage/khugepaged")
_MODULE = "/proc/thp_recorder"
_SLEEPS = 100_000_000
"""Milliseconds for which khugepaged sleeps when nobody wants it to work."""

_libc = ctypes.CDLL(None, use_errno=True)


def swapon(path: str) -> None:
    """Raises OSError."""
    if _libc.swapon(path.encode(), 0):
        raise OSError(ctypes.get_errno(), "swapon")


def swapoff(path: str) -> None:
    """What cannot be switched off stays on."""
    _libc.swapoff(path.encode())


def write(path: str | Path, value: object) -> None:
    """One write of a setting, as the kernel wants it. Raises OSError."""
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, str(value).encode())
    finally:
        os.close(file)


def read(path: str | Path) -> str:
    """A setting as it can be written back: of `always [madvise] never`, the chosen one. Raises OSError."""
    text = Path(path).read_text().strip()
    return text.split("[")[1].split("]")[0] if "[" in text else text


def pfn(pid: int, address: int) -> int:
    """The page frame at an address of a process. Raises OSError if no page is there."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        (entry,) = struct.unpack("Q", os.pread(file.fileno(), 8, address // libc.PAGE * 8))
    if not entry >> 63:
        raise OSError(6, "no page there")
    return int(entry) & (1 << 55) - 1


def module(command: str) -> int | str:
    """Have the recorder's kernel module do something; what it returned. Raises OSError, where there is no module
    too."""
    file = os.open(_MODULE, os.O_RDWR)
    try:
        os.write(file, command.encode())
        ret = int(os.pread(file, 32, 0))
    finally:
        os.close(file)
    return libc.failure(-ret) if ret < 0 else ret


def split(op: Op, pid: int, address: int) -> Ret:
    """split_huge_page() on one page by the module, or of a range through debugfs (before 5.13: of all there are)."""
    if op["how"] == "direct":
        return module(f"split {pfn(pid, address)} {op['order'] or 0}")
    text = f"{pid},{address:#x},{address + op['npages'] * libc.PAGE:#x}"
    if op["order"] is not None:
        text += f",{op['order']}"
    write("/sys/kernel/debug/split_huge_pages", text if KERNEL >= (5, 13) else "1")
    return 0


def set_value(op: Op) -> Ret:
    write(op["path"], op["value"])
    return 0


def ksm_scan(op: Op) -> Ret:
    names = [name for name in ("run", "pages_to_scan", "sleep_millisecs", "smart_scan") if (_KSM / name).exists()]
    before = {name: read(_KSM / name) for name in names}
    during = {"run": 1, "pages_to_scan": 20000, "sleep_millisecs": 5, "smart_scan": 0}
    goal = int(read(_KSM / "full_scans")) + op["scans"]
    for name in reversed(names):
        write(_KSM / name, during[name])
    _wait(lambda: int(read(_KSM / "full_scans")) >= goal, 10)
    found = {name: int(read(_KSM / name)) for name in ("pages_shared", "pages_sharing")}
    for name in names:
        write(_KSM / name, before[name])
    return found


def khugepaged_scan(op: Op) -> Ret:
    write(_KHUGEPAGED / "pages_to_scan", 100000)
    write(_KHUGEPAGED / "alloc_sleep_millisecs", 10)
    goal = int(read(_KHUGEPAGED / "full_scans")) + op["scans"]
    write(_KHUGEPAGED / "scan_sleep_millisecs", 10)
    reached = _wait(lambda: int(read(_KHUGEPAGED / "full_scans")) >= goal, 3)
    write(_KHUGEPAGED / "scan_sleep_millisecs", _SLEEPS)
    time.sleep(0.05)
    return {"full_scans": f">={op['scans']}" if reached else "timeout"}


def memcg_new(pid: int) -> Ret:
    _CGROUP.mkdir(exist_ok=True)
    write(_CGROUP / "cgroup.procs", pid)
    return 0


def memcg_force_empty(op: Op) -> Ret:
    """Reclaim all of it: memory.reclaim where there is one (since 5.19), else a limit for a moment."""
    charged = int(read(_CGROUP / "memory.current"))
    if (_CGROUP / "memory.reclaim").exists():
        write(_CGROUP / "memory.reclaim", charged)
    else:
        write(_CGROUP / "memory.high", 0)
        write(_CGROUP / "memory.high", "max")
    return 0


def memcg_limit(op: Op) -> Ret:
    write(_CGROUP / "memory.high", op["bytes"])
    return 0


def memcg_end() -> None:
    """Remove the cgroup, which must have no process any more."""
    if _CGROUP.is_dir():
        _wait(_removed, 1)


def _removed() -> bool:
    try:
        _CGROUP.rmdir()
    except OSError:
        return False
    return True


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    """Wait until it is done; False if it was not in that time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


BY_NAME: dict[str, Callable[[Op], Ret]] = {
    "sys": set_value,
    "ksm_scan": ksm_scan,
    "khugepaged_scan": khugepaged_scan,
    "memcg_force_empty": memcg_force_empty,
    "memcg_limit": memcg_limit,
}
"""The operations that are about no process."""
