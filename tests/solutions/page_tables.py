"""Set 1."""

from __future__ import annotations

from solutions.model import Solved, Values


def tables(v: Values, *wrong: int) -> str:
    """Three above, one aside for each huge page, one for each range of small ones."""
    right = (3 + v["huge"] + v["small"], v["huge"], 3 + v["small"])
    return "\n".join(map(str, wrong or right))


def refused(v: Values, fallbacks: int, small: int) -> str:
    ranges = [f"write {v['a']} {3 + n}thp {small - fallbacks + 1 if n == 0 else 1}" for n in range(fallbacks)]
    return "; ".join([f"mmap {v['a']} {3 + max(fallbacks, v['fallbacks'])}thp", *(f"write {v['a']} {n}thp" for n in range(3)), *ranges])


def zero(v: Values, **wrong: int) -> str:
    few = ("v5.10", "v6.1", "v6.12")
    return "\n".join(str(wrong.get("few", 1) if kernel in few else wrong.get("many", 8)) for kernel in v["kernels"])


SOLVED = {
    "1.1": Solved(
        tables,
        0,
        (
            (lambda v: tables(v, 3 + v["small"], v["huge"], 3 + v["small"]), "keeps a table aside"),
            (lambda v: tables(v, 4 + v["huge"] + v["small"], v["huge"], 3 + v["small"]), "the same PMD table"),
            (lambda v: tables(v, 3 + v["huge"] + v["small"], v["huge"], 3 + v["huge"] + v["small"]), "no entry leads there"),
        ),
        copies=0.45,
    ),
    "1.2": Solved(
        lambda v: f"mmap {v['a']} 5thp advise=none; write {v['a']} {8 * v['border'] - 1} 2",
        2,
        (
            ("mmap {a} 2thp advise=none; write {a} 3 2", "one table has them both"),
            ("mmap {a} 2thp; write {a} 7 2", "these are huge pages"),
        ),
    ),
    "1.3": Solved(
        lambda v: f"mmap {v['a']} advise=none; write {v['a']} {v['pages'][0]}; madvise {v['a']} 0 1thp hugepage; write {v['a']} {v['pages'][1]}",
        4,
        (
            ("mmap {a}; munmap {a} 4 4; write {a} 0", "too short"),
            (lambda v: f"mmap {v['a']} advise=none; madvise {v['a']} 0 1thp hugepage; write {v['a']} {v['pages'][0]}", "the PMD was empty"),
            (lambda v: f"mmap {v['a']} advise=none; write {v['a']} {v['pages'][0]}; write {v['a']} {v['pages'][1]}; madvise {v['a']} 0 1thp hugepage", "touched after the advice"),
        ),
    ),
    "1.4": Solved(
        lambda v: refused(v, v["fallbacks"], v["small"]),
        0,
        (
            (lambda v: refused(v, v["fallbacks"], v["small"] + 1), "small pages, and not"),
            (lambda v: refused(v, 1, v["small"]) if v["fallbacks"] > 1 else refused(v, 2, v["small"]), "thp_fault_fallback must be"),
        ),
    ),
    "1.5": Solved(
        zero,
        0,
        (
            (lambda v: zero(v, few=8) if {"v5.10", "v6.1", "v6.12"} & {*v["kernels"]} else zero(v, many=0), "is not it"),
            (lambda v: zero(v, few=0, many=0), "must stay zero"),
        ),
        copies=0.4,
    ),
}
