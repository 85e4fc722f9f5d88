"""Set 9."""

from __future__ import annotations

from solutions.model import Solved, Values


def dontneed(v: Values, **wrong: int) -> str:
    return "\n".join(str(wrong.get("whole", 2048) if way.startswith("whole") else wrong.get("parts", 0)) for way in v["ways"])


def two_exits(v: Values, *middles: str) -> str:
    a, p = v["a"], v["page"]
    told = {"cut": f"mprotect {a} {p} 1 r; ", "undone": f"mprotect {a} {p} 1 r; mprotect {a} {p} 1 rw; ", "hole": f"munmap {a} {p} 1; ", "": ""}
    return "\n---\n".join(f"mmap {a}; fill {a} 0 1thp; {told[middle]}exit {a}" for middle in middles)


ASKS = {
    "cow.splits_pmd": "fill {a} 0 1thp; fork {a} {b}; write {b} 3",
    "cow.zero_splits_pmd": "read {a} 0; write {a} 3",
    "cow.reuses_large": "fill {a} 0 1thp; mprotect {a} 1 1 r; fork {a} {b}; exit {b}; mprotect {a} 1 1 rw; write {a} 1",
    "advice.free_needs_swap": "fill {a} 0 1thp; madvise {a} 0 1thp free",
    "advice.pageout_clears_young": "fill {a} 0 1thp; mprotect {a} 3 1 r; madvise {a} 0 1thp pageout",
    "migration.keeps_young": "fill {a} 0 1thp; madvise {a} 1 9 cold",
}


def asks(v: Values, *more: str) -> str:
    return "; ".join(line.format_map(v) for line in ("mmap {a}", ASKS[v["policy"]], *more))


SOLVED = {
    "9.1": Solved(
        "{F}; fork {a} {b}; madvise {a} {first} {number} cold",
        4,
        (
            ("{F}; pin {a} 1 1 dma; madvise {a} {first} {number} cold", "tried and refused"),
            ("{F}; madvise {a} {first} {number} cold", "nobody else maps it"),
            ("{F}; madvise {a} 0 1thp cold", "a whole huge page is only aged"),
            ("{F}; fork {a} {b}; split {a} 0", "a real kernel cannot be told this"),
        ),
    ),
    "9.2": Solved(
        lambda v: f"mmap {v['a']}; fill {v['a']} 0 1thp; fork {v['a']} {v['b']}; munmap {v['b']} 5 {v['k']}",
        4,
        (
            (lambda v: f"mmap {v['a']}; fill {v['a']} 0 1thp; fork {v['a']} {v['b']}; munmap {v['a']} 5 {v['k']}", "has given something up"),
            (lambda v: f"mmap {v['a']}; fill {v['a']} 0 1thp; fork {v['a']} {v['b']}; write {v['b']} 5 {v['k'] + 1}", "adds 2 kB"),
        ),
    ),
    "9.3": Solved(
        dontneed,
        0,
        (
            (lambda v: dontneed(v, parts=2048), "leaves a table under the PMD"),
            (lambda v: dontneed(v, whole=0), "the next fault may bring a huge page"),
        ),
        copies=0.5,
    ),
    "9.4": Solved(
        "{F}; fork {a} {b}; fork {a} {c}; mprotect {c} 4 1 r; exit {a}; exit {b}; madvise {c} {first} 2 cold",
        8,
        (
            ("{F}; fork {a} {b}; fork {a} {c}; exit {a}; exit {b}; madvise {c} {first} 2 cold", "a total of 1 proves"),
            ("{F}; fork {a} {c}; mprotect {c} 4 1 r; exit {a}; madvise {c} {first} 2 cold", "has a slot"),
        ),
    ),
    "9.5": Solved(
        lambda v: two_exits(v, "cut", "undone"),
        5,
        (
            (lambda v: two_exits(v, "hole", "undone"), "nothing may be unmapped"),
            (lambda v: two_exits(v, "cut", "cut"), "it rises by 1 and 1"),
            (lambda v: two_exits(v, "", "cut"), "thp_split_pmd is 0"),
        ),
    ),
    "Z2": Solved(
        asks,
        0,
        (
            ("{W}; read {a} 1", "never comes to where the two ways part"),
            (lambda v: asks(v, "write {a} 5"), "before it"),
            ("{F}; split {a} 0", "a real kernel cannot be told this"),
        ),
        copies=0.4,
    ),
}
