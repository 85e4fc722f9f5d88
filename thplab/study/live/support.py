"""Can scenarios be performed on this machine, and if not, why; which simulated kernel stands beside it."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
from pathlib import Path

from thplab.hardware.geometry import X86_64
from thplab.kernel.kernels import KERNELS
from thplab.study.live.agent import ARCHITECTURES

_THP = "sys/kernel/mm/transparent_hugepage"


def unable(root: Path = Path("/"), system: str = sys.platform, machine: str = "") -> str:
    """Why nothing can be performed here; empty if it can. `root` is where /proc and /sys are."""
    machine = machine or platform.machine()
    if system != "linux":
        return f"this is {system}, not Linux"
    if machine not in ARCHITECTURES:
        return f"the processor is {machine}, not one of {', '.join(ARCHITECTURES)}"
    if os.sysconf("SC_PAGE_SIZE") != X86_64.page_size:
        return f"pages have {os.sysconf('SC_PAGE_SIZE')} bytes, not {X86_64.page_size}"
    if importlib.util.find_spec("_ctypes") is None:
        return "this Python was built without ctypes"
    return _hidden(root) or _switched_off(root)


def _hidden(root: Path) -> str:
    """What of /proc cannot be read: in some containers it is hidden."""
    for name, word in (
        ("vmstat", "thp_fault_alloc"),
        ("self/smaps", "AnonHugePages"),
        ("self/maps", ""),
        ("self/pagemap", ""),
    ):
        path = root / "proc" / name
        try:
            with path.open("rb") as file:
                text = file.read() if word else b""
        except OSError as error:
            return f"/proc/{name} cannot be read ({error.strerror})"
        if word.encode() not in text:
            return f"/proc/{name} shows no {word}: a kernel without transparent huge pages"
    return ""


def _switched_off(root: Path) -> str:
    """Who forbids huge pages: the system, for all sizes or for this one, or whoever started this process."""
    if not (root / _THP).is_dir():
        return f"there is no /{_THP}: a kernel without transparent huge pages, or a hidden /sys"
    for name in ("enabled", "hugepages-2048kB/enabled"):
        try:
            mode = (root / _THP / name).read_text()
        except OSError:
            continue  # sizes have files of their own since 6.8
        if "[never]" in mode:
            return f"huge pages are switched off: /{_THP}/{name} says never"
    if re.search(r"^THP_enabled:\s*0", (root / "proc/self/status").read_text(), re.MULTILINE):
        return "huge pages are switched off for this process (PR_SET_THP_DISABLE)"
    return ""


def release() -> str:
    """The release of the running kernel, such as 6.18.44: its numbers alone."""
    found = re.match(r"\d+(\.\d+)+", platform.release())
    return found.group() if found else platform.release()


def swap_is_on(root: Path = Path("/")) -> bool:
    """Does this machine swap? Then MADV_PAGEOUT and MADV_FREE do other things."""
    try:
        return len((root / "proc/swaps").read_text().splitlines()) > 1
    except OSError:
        return False


def nearest(release: str) -> tuple[str, bool]:
    """The simulated kernel to hold against a real one: its own, or the last one before it, or the first;
    and whether it is its own.
    """
    known = {_number(name): name for name in KERNELS if re.match(r"v\d", name)}
    number = _number(release)
    older = [each for each in known if each <= number]
    best = max(older) if older else min(known)
    return known[best], best == number


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release)[:2])
