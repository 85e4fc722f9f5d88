"""Set M."""

from __future__ import annotations

from solutions.model import Solved, Values

CONVICTS = {
    "fills_writable_ptes": "fork {a} {b}; split_pmd {a} 0",
    "skips_the_check": "pin {a} 2 1 dma; split {a} 0",
    "splits_the_first_pmd_only": "fork {a} {b}; split {a} 0",
    "splits_every_pmd": "fork {a} {b}; mprotect {b} 1 1 r",
    "frees_what_nobody_maps": "pin {a} 1 1 dma; munmap {a} 0 1thp",
    "grants_what_the_vma_grants": "fork {a} {b}; mprotect {b} 0 1thp r; mprotect {b} 0 1thp rw",
    "keeps_the_copied_mapping": "fork {a} {b}; split_pmd {a} 0; write {a} 0",
    "posted_pte_reuse": "fork {a} {b}; split_pmd {a} 0; write {a} 1",
}
OUTSIDE = {
    "counts_a_page_split": "mprotect {a} 1 1 r",
    "freezes_at_once": "pin {a} 1 1 dma; split {a} 0",
    "overlooks_the_pin": "pin {a} 1 1 dma; fork {a} {b}; exit {b}; write {a} 1",
}

_COUNTED, _MAPPED = "count == pmds + ptes + pins", "maps == pmds + ptes"
LAWS = {
    "forgets_the_queue": "if pmds == 0 and holes > 0 then queued == 1",
    "forgets_what_is_only_pinned": "if pmds == 0 and ptes == 0 then queued > 0",
    "forgets_the_tails": _MAPPED,
    "moves_the_head": _MAPPED,
    "forgets_the_references": _COUNTED,
    "keeps_the_copied_mapping": _MAPPED,
    "frees_the_subpage_at_once": _COUNTED,
    "pins_the_tail": _COUNTED,
}


def after(v: Values, ops: str) -> str:
    return ("mmap {a}; write {a} 0; " + ops).format_map(v)


def core(v: Values, *more: str) -> str:
    """The five operations, and others of the test that are named by how they begin."""
    wanted = (f"mmap {v['a']}", f"write {v['a']}", f"fork {v['a']} {v['b']}", f"split_pmd {v['a']}", *more)
    return "; ".join(op for op in v["given"].split("; ") if op.startswith(wanted))


SOLVED = {
    "M1": Solved(
        lambda v: after(v, CONVICTS[v["mutant"]]),
        0,
        (
            ("{W}; fork {a} {b}; read {b} 0", "the right kernel ends in the same state"),
            (lambda v: after(v, "read {a} 0; read {a} 0; read {a} 0; ".format_map(v) + CONVICTS[v["mutant"]]), "are enough"),
        ),
    ),
    "M2": Solved(
        lambda v: "\n".join(v["suspects"]),
        0,
        (
            (lambda v: "\n".join([v["suspects"][1], v["suspects"][0], v["suspects"][2]]), "With that mistake"),
            ("me\nyou\nthem", "One of these is wanted"),
        ),
    ),
    "M3": Solved(
        "{W}; fork {a} {b}; write {a} {page}; mprotect {b} 1 1 r; exit {b}",
        6,
        (
            ("{W}; fork {a} {b}; read {a} 0; munmap {b} 0 1; write {a} {page}", "caught"),
            ("{W}; fork {a} {b}; write {a} {page}; read {a} 1; write {b} 2; exit {b}", "too easy"),
            ("{W}; fork {a} {b}", "at least six"),
        ),
    ),
    "M4": Solved(
        lambda v: after(v, OUTSIDE[v["mutant"]]).replace("; write {a} 0; mprotect".format_map(v), "; mprotect"),  # it counts without a PMD
        0,
        (
            ("{W}; fork {a} {b}", "nothing was split or pinned"),
            ("{W}; mlock {a} 0 1thp", "made no difference"),
        ),
        copies=0.4,
    ),
    "M5": Solved(
        core,
        5,
        (
            (lambda v: core(v, "pin", "unpin"), "fails as well"),
            (lambda v: core(v).replace(f"fork {v['a']} {v['b']}; ", ""), "does not fail any more"),
            ("{W}; fork {a} {b}; split_pmd {a} 0; write {a} 7", "only leave operations out"),
            (lambda v: v["given"], "fails as well"),
        ),
    ),
    "M6": Solved(
        lambda v: LAWS[v["mutant"]],
        0,
        (
            ("if holes > 0 then queued == 1", "it is false in a right state"),
            ("count >= pmds", "but it catches nothing"),
            ("count == pmds + ptes + pins + queued + 1", "it is false in a right state"),
        ),
        copies=0.6,
    ),
}
