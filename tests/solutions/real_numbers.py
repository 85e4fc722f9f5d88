"""Set N."""

from __future__ import annotations

from solutions.model import Solved, Values


def zeros(v: Values, first: str = "", second: str = "") -> str:
    touched = f"mmap {v['a']}; write {v['a']} 0 {v['touched']}; split {v['a']} 0"
    full = f"mmap {v['a']}; fill {v['a']} 0 1thp; split {v['a']} 0"
    return f"{first or touched}\n---\n{second or full}"


SOLVED = {
    "N1": Solved(
        "{W}; fork {a} {b}; mprotect {b} 1 1 r; exit {b}",
        5,
        (
            ("{W}; fork {a} {b}; mprotect {b} 1 1 r; munmap {b} 0 1thp", "the counters fit"),
            ("{W}; fork {a} {b}; mprotect {b} 1 1 r; exit {a}", "would be -1 without it"),
            ("{W}; fork {a} {b}; mprotect {b} 1 1 r; munmap {b} 1 1", "at the end ref must be 1; it is 512"),
        ),
    ),
    "N2": Solved(
        "{W}; fork {a} {b}; write {a} {page}; exit {b}",
        5,
        (
            ("{F}; munmap {a} {page} 1", "who unmaps a page has less Rss"),
            ("{W}; write {a} {page}", "nothing is copied"),
        ),
    ),
    "N3": Solved(
        lambda v: "mmap {a}; write {a} 0; pin {a} 0 1 h; ".format_map(v) + "; ".join(f"pin {v['a']} {page} 1 p{page}" for page in v["pages"]),
        5,
        (
            ("{W}; fork {a} {b}; pin {a} 1 2 p", "the head shows 2"),
            ("{W}; fork {a} {b}; munmap {b} 0 511", "counts the pins"),
        ),
    ),
    "N4": Solved(
        "mmap {a}; pin {a} {page} 1 p how=io_uring; fork {a} {b}",
        3,
        (
            ("{W}; pin {a} {page} 1 p; fork {a} {b}", "pincount stays 0"),
            ("{W}; fork {a} {b}; pin {a} {page} 1 p how=io_uring", "the other one keeps the huge page"),
        ),
    ),
    "N5": Solved(
        zeros,
        3,
        (
            (lambda v: zeros(v, first=f"mmap {v['a']}; write {v['a']} 0; madvise {v['a']} 1 511 dontneed"), "given up"),
            (lambda v: zeros(v, second=f"mmap {v['a']}; fill {v['a']} 0 1thp zero; split {v['a']} 0"), "the first and 2048 kB"),
            (lambda v: zeros(v, second=f"mmap {v['a']}; write {v['a']} 0 {v['touched']}; split {v['a']} 0"), "hold only zeros"),
        ),
    ),
    "N6": Solved(
        lambda v: "\n".join(v["calls"]),
        0,
        (
            (lambda v: "\n".join(reversed(v["calls"])), "is not it"),
            ("munmap\nmunmap\nmunmap\nmunmap", "One of these is wanted"),
        ),
    ),
}
