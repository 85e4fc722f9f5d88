"""Set 2."""

from __future__ import annotations

from solutions.model import Solved, Values


def counts(v: Values, head: int = 0, tail: int = 0) -> str:
    """Two who map each page, and its pins."""
    found = [2 + 2 * (page == v["twice"]) + (page == v["once"]) for page in range(8)]
    found[0] += head
    found[v["twice"]] += tail
    return "\n".join(map(str, found))


def bill(v: Values, pin: int = 0, unpin: int = 0) -> str:
    """The head once, each tail its own pin; and six for each tail that is given back."""
    heads = int(v["start"] == 0)
    tails = v["k"] - heads
    return "\n".join(map(str, (pin or 1 + tails, unpin or 6 * tails + heads, 1, v["k"])))


def ticks(v: Values, **swapped: str) -> str:
    told = {"breaks": "yes", "leaves": "no"} | swapped
    return "\n".join(next(word for key, word in told.items() if card in v[key]) for card in v["cards"])


SOLVED = {
    "2.1": Solved(
        counts,
        0,
        (
            (lambda v: counts(v, head=5 - 2 - (v["once"] == 0)), "left the head with the split"),
            (lambda v: counts(v, tail=-1), "follows it"),
        ),
    ),
    "2.2": Solved(
        lambda v: "; ".join([f"mmap {v['a']}; write {v['a']} 0", *(f"pin {v['a']} {v['page']} 1 {name}" for name in "defg"[: v["count"] - 1]), f"mprotect {v['a']} 1 1 r"]),
        0,
        (
            ("{W}; pin {a} {page} 1 d; pin {a} {page} 1 e", "its references are on the head"),
            ("{W}; mprotect {a} 1 1 r", "must be ["),
        ),
    ),
    "2.3": Solved(
        "{W}; pin {a} {page} 1 dma how=raw; munmap {a} 0 1thp; split {a} pin=dma",
        5,
        (
            ("{W}; pin {a} {page} 1 dma; split {a} 0", "a pin is carried along"),
            ("{W}; pin {a} {page} 1 dma how=raw; munmap {a} 0 1thp; split {a} 0", "stops"),
        ),
    ),
    "2.4": Solved(
        bill,
        0,
        (
            (lambda v: bill(v, pin=2 * v["k"]), "adds to the head once"),
            (lambda v: bill(v, unpin=v["k"]), "Each tail takes six"),
        ),
    ),
    "2.5": Solved(
        ticks,
        0,
        (
            (lambda v: ticks(v, leaves="yes"), "is not it"),
            (lambda v: ticks(v, breaks="no"), "is not it"),
        ),
    ),
}
