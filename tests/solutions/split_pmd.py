"""Set 3."""

from __future__ import annotations

from solutions.model import Solved, Values


def turn(v: Values, k: int) -> str:
    return f"mmap {v['a']}; write {v['a']} 0; mmap {v['a']} region=T; mremap {v['a']} {k} {8 - k} T 0; mremap {v['a']} 0 {k} T {8 - k}"


EARLY = "{F}; fork {a} {b}; mprotect {a} 4 1 r; mprotect {b} 4 1 r"
LATE = "{F}; mprotect {a} 4 1 r; fork {a} {b}"


def deposits(v: Values, tables: int = 8, aside: int = 1) -> str:
    left = (4, 0) if v["leaves"] != v["splits"] else (4, 1)
    return "\n".join(map(str, (4, 1, 8, 2, tables, aside, *left)))


def filled(v: Values, order: str) -> str:
    return order.format(F=f"mmap {v['a']}; fill {v['a']} 0 1thp", **v)


SOLVED = {
    "3.1": Solved(
        "{W}; mprotect {a} {page} 1 r; mprotect {a} {page} 1 rw",
        4,
        (
            ("{W}; mprotect {a} {page} 1 r", "because their rights differ"),
            ("{W}; split {a} 0", "nothing compound is left"),
            ("{W}; mprotect {a} 0 1thp r", "no border fell inside"),
        ),
    ),
    "3.2": Solved(
        lambda v: turn(v, v["k"]),
        5,
        (
            (lambda v: turn(v, 8 - v["k"]) if v["k"] != 4 else "mmap {a}; write {a} 0".format_map(v), ""),
            ("{W}; mmap {a} region=T; mremap {a} 0 1thp T 0", "keeps the PMD"),
            ("{W}; split_pmd {a} 0", "tables that map all of them turned: 0"),
        ),
    ),
    "3.3": Solved(
        lambda v: filled(v, LATE if v["kernel"] == "v4.5" else EARLY),
        0,
        ((lambda v: filled(v, EARLY if v["kernel"] == "v4.5" else LATE), "yours cost"), ("{F}; fork {a} {b}", "the number of huge PMDs must be 0")),
        copies=0.5,
    ),
    "3.4": Solved(
        deposits,
        0,
        (
            (lambda v: deposits(v, tables=9), "none is new"),
            (lambda v: deposits(v, aside=2), "is in use now"),
        ),
        copies=0.6,
    ),
    "3.5": Solved(
        lambda v: f"mmap {v['a']} 3thp; fill {v['a']} 0 3thp; munmap {v['a']} {24 - v['gone']} {v['gone']}",
        3,
        (
            (lambda v: f"mmap {v['a']} 3thp; fill {v['a']} 0 3thp; munmap {v['a']} 1 {v['gone']}", "2 PMDs were split" ),
            ("mmap {a} 3thp; fill {a} 0 3thp; munmap {a} 0 16; munmap {a} 16 7", "one split is right"),
            ("{W}", "thp_fault_alloc must be 3"),
        ),
    ),
}
