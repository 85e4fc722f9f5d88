"""Making a dump of a running process, by what the live lab looks with."""

from __future__ import annotations

import re
from typing import Any

from thplab.errors import BadInput
from thplab.hardware.geometry import X86_64
from thplab.study.explain.pagemap_text import MOST_PAGES, write_dump
from thplab.study.live.support import release, unable

_CHUNK = 1024
"""Pages that are looked at in one go: their runs fit into one answer of PAGEMAP_SCAN."""


def dump(pid: str, address: str, length: str) -> str:
    """What process `pid` maps in `length` bytes from `address` on, as text: both may be written as 0x... or in decimal,
    and the range is widened to whole huge pages.

    Raises BadInput if one of them is no such number, if the process is not there or somebody else's, and where pagemap
    cannot be read at all.
    """
    why = unable()
    if why:
        raise BadInput("--dump", f"is not possible here: {why}", "a dump that was made on a Linux machine")
    from thplab.study.live.agent.observe import Observer  # there is no fcntl elsewhere

    number, low, size = _number("pid", pid), _number("address", address), _number("length", length)
    start = low // X86_64.huge_size * X86_64.huge_size
    end = -(-(low + size) // X86_64.huge_size) * X86_64.huge_size
    pages = (end - start) // X86_64.page_size
    if not 0 < pages <= MOST_PAGES or end > 1 << 47:
        raise BadInput(
            "length", f"is {size:,} bytes", f"1 to {MOST_PAGES * X86_64.page_size:,}, of a process's own addresses"
        )
    chunks = {
        f"{page:08}": (start + page * X86_64.page_size, min(_CHUNK, pages - page)) for page in range(0, pages, _CHUNK)
    }
    try:
        seen = Observer().look({"P": number}, {"P": chunks})
    except OSError as error:
        raise BadInput(
            "pid", f"{number} cannot be looked at ({error.strerror})", "a process of your own, or any as root"
        ) from None
    regions = seen["proc"].get("P", {})
    if len(regions) < len(chunks):
        raise BadInput("pid", f"{number} is not there", "the number of a process that runs")
    runs: list[list[Any]] = [
        [int(name) + run[0], *run[1:]] for name, found in sorted(regions.items()) for run in found["runs"]
    ]
    return write_dump(start, pages, release(), runs, seen["frames"])


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,19}", text):
        raise BadInput(name, f"is {text[:100]!r}", "a number, in decimal or as 0x...")
    return int(text, 0)
