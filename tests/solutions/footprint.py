"""Set 6."""

from __future__ import annotations

from solutions.model import Solved, Values

PRESSURE = "sys /proc/sys/vm/drop_caches 2"
SETTING = "sys /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none"


def three(v: Values, holes: str = "012", pin: str = "before") -> str:
    a = v["a"]
    ops = [f"mmap {a} 3thp", f"fill {a} 0 3thp", *(f"munmap {a} {8 * int(n) + 1 + int(n)} 1" for n in holes)]
    taken = [f"pin {a} {8 * v['stays']} 1 dma"]
    return "; ".join([*ops, *(taken if pin == "before" else []), PRESSURE, *(taken if pin == "after" else [])])


def meeting(v: Values, first: int, second: int) -> str:
    return "mmap {a}; fill {a} 0 1thp; fork {a} {b}; munmap {a} ".format_map(v) + f"{first} {v['k']}; munmap {v['b']} {second} {v['k']}"


def held(v: Values, before: int = 200, after: int = 0) -> str:
    """What is pinned stays whole, and the RFC splits nothing."""
    free = (100 - v["pinned"]) * v["unmapped"] // 50
    return "\n".join(f"{before}\n{after or (200 if kernel == 'rfc-2014' else 200 - free)}" for kernel in v["kernels"])


SOLVED = {
    "6.1": Solved(
        three,
        7,
        (
            (lambda v: three(v, pin="never"), "nothing refused"),
            (lambda v: three(v, pin="after"), "too late"),
            (lambda v: three(v, holes="012".replace(str(v["stays"]), "")), "whole pages are not queued"),
        ),
    ),
    "6.2": Solved(
        lambda v: meeting(v, v["page"] - v["k"] + 1, v["page"]),
        5,
        (
            (lambda v: meeting(v, 0, 8 - v["k"]), "nobody's page is missing"),
            (lambda v: meeting(v, v["page"], v["page"]), "and no other must be missing in both"),
        ),
    ),
    "6.3": Solved(
        f"{{F}}; {PRESSURE}",
        3,
        (
            (f"{{W}}; {PRESSURE}; munmap {{a}} 4 1", "too many"),
            ("{F}; munmap {a} 4 1", "the number of huge PMDs at the end must be 1"),
            ("{F}; exit {a}", "the page must live"),
        ),
        copies=0.5,
    ),
    "6.4": Solved(
        lambda v: f"{SETTING} {7 - v['k']}; mmap {v['a']}; write {v['a']} 0; write {v['a']} 1 {v['k'] - 1}; {PRESSURE}",
        5,
        (
            (lambda v: f"mmap {v['a']}; write {v['a']} 0 {v['k']}; {PRESSURE}", "never underused"),
            (lambda v: f"{SETTING} {7 - v['k']}; mmap {v['a']}; write {v['a']} 0 {v['k']}", "only when memory runs short"),
            (lambda v: f"{SETTING} 1; mmap {v['a']}; fill {v['a']} 0 1thp; {PRESSURE}", "leaves no page of zeros"),
        ),
    ),
    "6.5": Solved(
        held,
        0,
        (
            (lambda v: held(v, before=2 * (100 - v["unmapped"])), "Unmapping is not freeing"),
            (lambda v: held(v, after=2 * (100 - v["unmapped"])) if v["pinned"] or "rfc-2014" in v["kernels"] else held(v, after=200), "is not it"),
        ),
    ),
}
