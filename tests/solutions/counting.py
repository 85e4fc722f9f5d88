"""Set 4."""

from __future__ import annotations

from solutions.model import Solved, Values


def coded(v: Values, offset: int = 0, pins: int = 0, base: int = 0) -> str:
    """A has a PMD, B 8 PTEs, C the half that it keeps."""
    kept = range(4, 8) if v["half"] == 0 else range(4)
    ptes = {page: 1 + (page in kept) for page in range(8)}
    lines = ["14", *(str(ptes[p] - 1 + (1 if p == 0 else 0) + base) for p in v["asked"])]
    lines += ["14", *(str(ptes[p] + offset) for p in v["asked"])]
    lines += ["14", *(str(ptes[p] - 1) for p in v["asked"]), str(13 + pins), "0x800008"]
    return "\n".join(lines)


SOLVED = {
    "4.1": Solved(
        coded,
        0,
        (
            (lambda v: coded(v, offset=-1), "adds one to every field"),
            (lambda v: coded(v, pins=1), "A pin is no mapping"),
            (lambda v: coded(v, base=1), "The field begins at -1"),
        ),
    ),
    "4.2": Solved(
        "{F}; fork {a} {b}; mprotect {b} 4 1 r\n---\n{F}; mprotect {a} 4 1 r; fork {a} {b}",
        4,
        (
            ("{F}; fork {a} {b}; mprotect {b} 4 1 r\n---\n{F}; fork {a} {b}; mprotect {b} 4 1 r", "they have 1 and 1"),
            ("{F}; fork {a} {b}; mprotect {b} 4 1 r; exit {b}\n---\n{F}; mprotect {a} 4 1 r; fork {a} {b}", "it alone lifts the field to 0"),
            ("{F}; pin {a} 1 1 dma\n---\n{F}", "pins are not in _mapcount"),
            ("{F}; fork {a} {b}; mprotect {b} 4 1 r", "two scenarios are asked for"),
        ),
        copies=0.4,
    ),
    "4.3": Solved(
        lambda v: (
            "mmap {a}; fill {a} 0 1thp; fork {a} {b}; fork {a} {c}; ".format_map(v)
            + f"munmap {v['b']} {v['subpages']} {8 - v['subpages']}; "
            + f"munmap {v['c']} {v['mappings'] - 1 - v['subpages']} {9 - v['mappings'] + v['subpages']}"
        ),
        6,
        (
            ("{F}; fork {a} {b}; fork {a} {c}", "each entry is one mapping"),
            ("{F}; fork {a} {b}; mprotect {a} 1 1 r; mprotect {b} 1 1 r", "the 0x800000 is gone"),
        ),
    ),
    "4.4": Solved(
        lambda v: "mmap {a}; fill {a} 0 1thp; fork {a} {b}; munmap {b} ".format_map(v) + f"{v['kept']} {8 - v['kept']}\n---\n" + "mmap {a}; fill {a} 0 1thp; fork {a} {b}; munmap {b} ".format_map(v) + f"0 {8 - v['kept']}",
        4,
        (
            (lambda v: "\n---\n".join(["mmap {a}; fill {a} 0 1thp; fork {a} {b}; munmap {b} ".format_map(v) + f"0 {8 - v['kept']}"] * 2), "both keep the same pages"),
            (lambda v: "mmap {a}; fill {a} 0 1thp; fork {a} {b}; munmap {b} ".format_map(v) + f"0 {8 - v['kept']}\n---\n" + "mmap {a}; fill {a} 0 1thp; fork {a} {b}; munmap {b} 0 1".format_map(v), "the second scenario: _nr_pages_mapped must be"),
        ),
    ),
    "4.5": Solved(
        "{F}; fork {a} {b}; mprotect {b} {page} 1 r; mprotect {a} 4 1 r",
        5,
        (
            ("{F}; fork {a} {b}; mprotect {b} {page} 1 r; munmap {b} 0 1thp", "until the last PMD goes"),
            ("{F}; fork {a} {b}; mprotect {b} {page} 1 r; exit {a}", "must live"),
            ("{F}; fork {a} {b}; mprotect {a} 4 1 r", "must begin with"),
        ),
    ),
    "4.6": Solved(
        "{F}; fork {a} {b}; fork {a} {c}; mprotect {c} 4 1 r; exit {a}; exit {b}",
        7,
        (
            ("{F}; fork {a} {c}; mprotect {c} 4 1 r; exit {a}", "the bit goes"),
            ("{F}; fork {a} {b}; fork {a} {c}; mprotect {c} 4 1 r; exit {a}", "it is mapped by"),
            ("{F}; fork {a} {b}; fork {a} {c}; exit {a}; exit {b}", "a total of 1 is proof enough"),
        ),
    ),
}
