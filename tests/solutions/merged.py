"""Set 8."""

from __future__ import annotations

from solutions.model import Solved, Values

ODD = {
    "v3.16": "munmap {a} 4 1",
    "rfc-2014": "munmap {a} 4 1; sys /proc/sys/vm/drop_caches 2",
    "v6.1": "mprotect {a} 0 1thp none",
}


def alone(v: Values, odd: str = "") -> str:
    return ("mmap {a}; fill {a} 0 1thp; " + ODD[odd or v["odd"]]).format_map(v)


def middle(v: Values, pin: bool = True, fork: bool = True) -> str:
    written, pinned = v["pages"]
    a, b = v["a"], v["b"]
    ops = [f"mmap {a}; fill {a} 0 1thp", *([f"pin {a} {pinned} 1 dma"] if pin else []), *([f"fork {a} {b}; exit {b}"] if fork else [])]
    return "; ".join([*ops, f"write {a} {written}"])


def dear(v: Values, cut: bool = True) -> str:
    a, b = v["a"], v["b"]
    return f"mmap {a}; fill {a} 0 1thp; fork {a} {b}; " + (f"mprotect {b} 4 1 r; " if cut else "") + (f"exit {a}" if v["last"] == "exit" else f"munmap {a} 0 1thp")


def sticky(v: Values, raw: int | None = None, count: int = 1) -> str:
    lines = []
    for kernel in v["kernels"]:
        old = kernel in ("v5.10", "v6.1")
        lines += [str((0 if old else -1) if raw is None else raw), str(count), "on" if old else "off"]
    return "\n".join(lines)


SOLVED = {
    "8.1": Solved(
        alone,
        0,
        (
            (lambda v: alone(v, "v3.16" if v["odd"] != "v3.16" else "v6.1"), "is alone here, not"),
            ("{F}", "all are equal"),
        ),
        copies=0.4,
    ),
    "8.2": Solved(
        middle,
        6,
        (
            (lambda v: middle(v, pin=False), "reuse the page"),
            (lambda v: middle(v, fork=False), "without a fork a write does not fault"),
        ),
    ),
    "8.3": Solved(
        "mmap {a}; pin {a} {page} 1 dma how=io_uring; fork {a} {b}",
        3,
        (
            ("{F}; pin {a} {page} 1 dma; fork {a} {b}", "a pin by FOLL_GET"),
            ("{F}; pin {a} {page} 1 dma how=io_uring; unpin dma; fork {a} {b}", "nothing is pinned"),
        ),
    ),
    "8.4": Solved(
        dear,
        5,
        (
            (lambda v: dear(v, cut=False), "PageDoubleMap was never set"),
            ("{F}; fork {a} {b}; mprotect {b} 4 1 r", "a PMD must be dropped"),
        ),
        copies=0.5,
    ),
    "8.5": Solved(
        sticky,
        0,
        (
            (lambda v: sticky(v, raw=-1) if {"v5.10", "v6.1"} & {*v["kernels"]} else sticky(v, raw=0), "is not it"),
            (lambda v: sticky(v, count=9), "any more"),
        ),
        copies=0.45,
    ),
}
