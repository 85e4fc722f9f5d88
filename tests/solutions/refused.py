"""Set 5."""

from __future__ import annotations

from functools import cache

from solutions.model import Solved, Values

from thplab.machine.trace import Setup, record


@cache
def step(kernel: str, mappers: int, reads: int, text: str) -> int:
    """The number of the first step of the split that begins so."""
    forks = [f"fork A {name}" for name in "BC"[: mappers - 1]]
    trace = record("; ".join(["mmap A; fill A 0 1thp", *forks, *["read A 0"] * reads, "split A 0"]), Setup(kernel))
    return next(f.number for f in trace if f.op and f.op.op == "split" and f.step and f.step.text.startswith(text))


def rfc_window(v: Values, early: int = 0, late: int = 0) -> str:
    """From the first comparison to the step before compound_lock."""
    first = step("rfc-2014", v["mappers"], v["reads"], "references but our own")
    last = step("rfc-2014", v["mappers"], v["reads"], "interrupts off, lock compound_lock") - 1
    return f"{first + early}\n{last + late}"


FREEZES = "PMD marked not present"


def narrow(v: Values, early: int = 0, late: int = 0, ends: str = FREEZES) -> str:
    """From the first comparison to the step before the first PMD is hidden."""
    first = step(v["kernel"], 2, v["reads"], "does every reference but our own")
    return f"first: {first + early}\nlast: {step(v['kernel'], 2, v['reads'], FREEZES) - 1 + late}\nends: {ends}"


def results(v: Values, **others: str) -> str:
    known = {"v3.16": "0", "rfc-2014": "-EBUSY", "v4.5": "-EBUSY", "v5.10": "-EBUSY"}
    return "; ".join(others.get(kernel.replace(".", "_"), known.get(kernel, "-EAGAIN")) for kernel in v["kernels"])


def frozen(v: Values, *wrong: int) -> str:
    right = (8 * v["mappers"] - v["cut"], 0, 0)
    return "\n".join(map(str, wrong or right))


def left(v: Values) -> tuple[str, str, str]:
    """Two who have a pin, and the one who has not."""
    first, second, third = v["pinners"]
    return first, second, third


def begun(v: Values) -> str:
    (p, q), (first, second, _) = v["pages"], left(v)
    line = "mmap {a}; fill {a} 0 1thp; fork {a} {b}; fork {a} {c}; ".format_map(v)
    return f"{line}pin {first} {p} 1 dma; pin {second} {q} 1 gpu; "


def bad(v: Values) -> str:
    page, pinned = v["pages"]
    return f"mmap {v['a']}; fill {v['a']} 0 1thp; pin {v['a']} {pinned} 1 dma; madvise {v['a']} {page} 1 hwpoison; unpin dma; split {v['a']} 0"


SOLVED = {
    "5.1": Solved(
        rfc_window,
        0,
        (
            (lambda v: rfc_window(v, early=-1), "the first check sees the pin"),
            (lambda v: rfc_window(v, late=1), "the pin waits"),
            ("first: never\nlast: always", "first: never is no whole number"),
        ),
    ),
    "5.2": Solved(
        narrow,
        0,
        (
            (lambda v: narrow(v, early=-1), "the first check sees the pin"),
            (lambda v: narrow(v, late=5), "GUP finds no entry"),
            (lambda v: narrow(v, ends="is the PMD still huge? yes"), "A pin may still come after that"),
        ),
    ),
    "5.3": Solved(
        bad,
        6,
        (
            ("{F}; pin {a} 1 1 dma; unpin dma; split {a} 0", "mappings explain all references"),
            ("{F}; pin {a} 1 1 dma; split {a} 0", "as long as a driver is there"),
            (lambda v: f"mmap {v['a']}; fill {v['a']} 0 1thp; madvise {v['a']} {v['pages'][0]} 1 hwpoison", "memory failure splits the page"),
        ),
    ),
    "5.4": Solved(
        results,
        0,
        (
            (lambda v: results(v, v3_16="-EBUSY", v4_5="-EBUSY", v6_1="-EBUSY", v6_12="-EBUSY", v6_18="-EBUSY", v5_10="-EAGAIN"), "is not it"),
            (lambda v: results(v, v6_1="0", v4_5="0"), "A pin is a reference that no mapping explains"),
        ),
    ),
    "5.5": Solved(
        lambda v: begun(v) + f"exit {left(v)[0]}; exit {left(v)[1]}; split {left(v)[2]} 0",
        9,
        (
            (lambda v: begun(v) + f"munmap {left(v)[0]} 0 1thp; munmap {left(v)[1]} 0 1thp; split {left(v)[2]} 0", "the pins stay as they are"),
            (lambda v: begun(v) + f"exit {left(v)[0]}; split {left(v)[2]} 0", "one reference too many"),
            (lambda v: begun(v) + f"unpin dma; unpin gpu; split {left(v)[2]} 0", "by unpin"),
        ),
    ),
    "5.6": Solved(
        frozen,
        0,
        (
            (lambda v: frozen(v, v["mappers"], 0, 0), "A PMD is frozen as 8 PTEs"),
            (lambda v: frozen(v, 8 * v["mappers"] - v["cut"], 8 - (v["cut"] if v["who"] == v["a"] else 0), 0), "is not it"),
        ),
    ),
}
