"""Set 7."""

from __future__ import annotations

from solutions.model import Solved, Values


def caller(v: Values) -> str:
    return "migrate" if v["banned"] == "swap_out" else "swap_out"


def eras(v: Values, **wrong: str) -> str:
    """Up to 4.5 in small pages, both ways; then out whole; from 6.12 on back by one fault."""
    lines = []
    n = len(v["reads"])
    for kernel in v["kernels"]:
        whole = kernel in ("v6.12", "v6.18")
        split = "yes" if kernel in ("rfc-2014", "v3.16", "v4.5") else "no"
        lines += ["8", "0", split] if whole else [str(n), str(8 - n), split]
    if "rss" in wrong:
        lines[::3] = ["8" if line != "8" else str(n) for line in lines[::3]]
    if "split" in wrong:
        lines[2::3] = ["no" if line == "yes" else "yes" for line in lines[2::3]]
    return "\n".join(lines)


def merged(v: Values, split: str, scans: int = 1) -> str:
    a, p = v["a"], v["page"]
    return f"mmap {a}; fill {a} {p} 2 same; madvise {a} {p} 2 mergeable; {split}ksm_scan {scans}"


SOLVED = {
    "7.1": Solved(
        lambda v: f"mmap {v['a']}; fill {v['a']} 0 1thp; munmap {v['a']} {v['page']} 1; {caller(v)} {v['a']} {0 if v['page'] else 1}",
        4,
        (
            ("{F}; munmap {a} {page} 1; sys /proc/sys/vm/drop_caches 2", "the RFC has no queue"),
            (lambda v: f"mmap {v['a']}; fill {v['a']} 0 1thp; munmap {v['a']} {v['page']} 1; pin {v['a']} 0 1 dma; {caller(v)} {v['a']} 0", "refused"),
            ("{F}; munmap {a} {page} 1; split {a} 0", "no split here"),
            ("{F}; munmap {a} {page} 1", "unmapping is not freeing"),
        ),
    ),
    "7.2": Solved(
        lambda v: merged(v, f"split {v['a']} 0; "),
        5,
        (
            (lambda v: merged(v, ""), "both on one head"),
            (lambda v: merged(v, "", 3), "both on one head"),
            ("{F}; split {a} 0; ksm_scan 1", "advised mergeable"),
        ),
    ),
    "7.3": Solved(
        eras,
        0,
        (
            (lambda v: eras(v, rss="x"), "one fault maps all of the folio"),
            (lambda v: eras(v, split="x"), "is not it"),
        ),
    ),
    "7.4": Solved(
        "{F}; migrate {a} 0",
        3,
        (
            ("mmap {a}; write {a} 0; munmap {a} 4 1", "split on this kernel, too"),
            ("mmap {a}; write {a} 0; pin {a} 0 1 dma", "moves on neither"),
            ("{F}", "as it was"),
        ),
        copies=0.4,
    ),
    "7.5": Solved(
        "{F}; mprotect {a} {page} 1 r; mprotect {a} {page} 1 rw; madvise {a} 0 1thp collapse",
        5,
        (
            ("{F}; mprotect {a} {page} 1 r; madvise {a} 0 1thp collapse", "still cut"),
            ("{F}; mprotect {a} {page} 1 r; mprotect {a} {page} 1 rw; pin {a} 1 1 dma; madvise {a} 0 1thp collapse", "-EAGAIN"),
            ("{F}; mprotect {a} {page} 1 r; mprotect {a} {page} 1 rw", "huge PMDs must be 1"),
        ),
    ),
}
