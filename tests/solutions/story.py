"""Set 0."""

from __future__ import annotations

from solutions.model import Solved, Values


def holders(v: Values, splitter: int = 8, tail: int = 0, head: int = 11) -> str:
    shares = [splitter if v[name] == v["splits"] else 1 for name in "abc"]
    return "\n".join(map(str, [*shares, 1, tail, head]))


def boxes(v: Values, **swapped: str) -> str:
    names = {"nothing": "nothing", "mapping": "a mapping", "page": "the page"} | swapped
    return "\n".join(next(told for key, told in names.items() if card in v[key]) for card in v["cards"])


def right_order(v: Values) -> str:
    """The pin and the unpin before the split, one munmap last."""
    pinned, gone = v["pages"]
    return "{F}; fork {a} {b}; " + f"pin {v['a']} {pinned} 1 dma; munmap {v['a']} {gone} 1; unpin dma; split {v['a']} 0; munmap {v['b']} {gone} 1"


def order(v: Values, *cards: str) -> str:
    pinned, gone = v["pages"]
    a, b = v["a"], v["b"]
    told = {"pin": f"pin {a} {pinned} 1 dma", "mine": f"munmap {a} {gone} 1", "unpin": "unpin dma", "split": f"split {a} 0", "yours": f"munmap {b} {gone} 1"}
    return "; ".join([f"mmap {a}; fill {a} 0 1thp; fork {a} {b}", *(told[card] for card in cards)])


SOLVED = {
    "0.1": Solved(
        holders,
        0,
        (
            (lambda v: holders(v, splitter=1), "each present entry holds one reference"),
            (lambda v: holders(v, splitter=9), "The PMD's reference serves the first PTE"),
            (lambda v: holders(v, tail=1), "references to a tail are on the head"),
            (lambda v: holders(v, head=10), "on the head, too"),
            ("8\n1", "no answer"),
            ("a\nb\nc\nd\ne\nf\ng", "too many"),
        ),
        copies=0.5,
    ),
    "0.2": Solved(
        lambda v: "mmap {a}; write {a} 0; fork {a} {b}; fork {a} {c}; mprotect {b} 1 1 r; munmap {c} 0 ".format_map(v) + str(17 - v["count"]),
        6,
        (
            (lambda v: "mmap {a}; write {a} 0; fork {a} {b}; fork {a} {c}; mprotect {b} 1 1 r; munmap {c} 0 ".format_map(v) + str(17 - v["count"] - (1 if v["count"] < 16 else -1)), "a PTE that is unmapped gives one reference back"),
            ("{W}; fork {a} {b}; fork {a} {c}; mprotect {b} 1 1 r; pin {a} 1 1 dma", "mappings must explain all"),
            ("{W}; fork {a} {b}; fork {a} {c}; mprotect {b} 1 1 r", "a split of one PMD adds 7"),
            ("{W}; fork {a} X", "the processes are called"),
        ),
    ),
    "0.3": Solved(
        lambda v: "mmap {a}; write {a} 0; fork {a} {b}; pin {a} {page} 1 dma how={how}; exit {a}; exit {b}".format_map(v) + ("; unpin dma" if v["how"] == "raw" else ""),
        0,
        (
            (lambda v: "mmap {a}; write {a} 0; fork {a} {b}; pin {a} {page} 1 dma how={how}; exit {a}; exit {b}".format_map(v) if v["how"] == "raw" else "mmap {a}; write {a} 0; fork {a} {b}; pin {a} {page} 1 dma how=vmsplice; unpin dma; exit {a}; exit {b}".format_map(v), ""),
            ("{W}; fork {a} {b}; pin {a} {page} 1 dma how={how}; exit {a}", "its entries hold references"),
            ("{W}; exit {a}", "must begin with"),
        ),
    ),
    "0.4": Solved(
        boxes,
        0,
        (
            (lambda v: boxes(v, mapping="the page"), "A border of a VMA cuts one mapping only"),
            (lambda v: boxes(v, nothing="a mapping"), "No border falls inside"),
            (lambda v: boxes(v, page="a mapping"), "one mapping is not enough"),
            (lambda v: boxes(v, page="everything"), "One of these is wanted"),
        ),
    ),
    "0.5": Solved(
        lambda v: order(v, "pin", "mine", "unpin", "split", "yours"),
        8,
        (
            (lambda v: order(v, "pin", "mine", "split", "unpin", "yours"), "-EBUSY"),
            (lambda v: order(v, "pin", "unpin", "mine", "yours", "split"), "freed as a whole"),
            (lambda v: order(v, "pin", "unpin", "split"), "the five cards, each once"),
        ),
    ),
}
