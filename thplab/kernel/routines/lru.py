"""The lists on which somebody works on pages, and the batches in which a CPU collects pages that change between lists
(mm/swap.c).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from thplab.hardware.frames import (
    PageFrames,
    PG_lazyfree_batch,
    PG_lru,
    PG_mlocked,
    PG_swapbacked,
    PG_swapcache,
    single,
    width,
)
from thplab.hardware.steps import Routine, change, routine
from thplab.kernel.routines.mm import put_page
from thplab.kernel.system import System

PAGEVEC_SIZE = 31
"""Pages of a batch: the last one that fits in has all of them carried out. Seen on 6.18; the recordings of older
kernels show no batch (tests/truth/README.md, part A: drained after every operation)."""


def batch_is_full(frames: PageFrames) -> bool:
    """Do as many pages wait for MADV_FREE as a batch takes?"""
    return len(frames.marked(PG_lazyfree_batch)) >= PAGEVEC_SIZE


@dataclass(eq=False)
class PageList:
    """Pages that somebody has taken off the LRU to work on them:
    small ones and heads, each with a reference that is the list's.
    """

    pages: list[int] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"page list {self.pages}"


@routine
def lru_add_drain(system: System) -> Routine[None]:
    """Carry out what waits in the batches: MADV_FREE of small pages. A page that was freed meanwhile is in none."""
    waiting = system.frames.marked(PG_lazyfree_batch)
    for page in waiting:
        yield from lru_lazyfree(system, page)


@routine
def lru_lazyfree(system: System, page: int) -> Routine[None]:
    """Tell reclaim that it need not keep the contents of `page`, small or a head,
    unless it is in the swap cache or off the LRU.
    """
    frames = system.frames
    flags = int(frames.flags[page])
    frames.flags[page] &= ~PG_lazyfree_batch
    if flags & PG_swapbacked and flags & PG_lru and not flags & PG_swapcache:
        frames.flags[page] &= ~PG_swapbacked
        system.count_vm_event("pglazyfree", width(frames.compound(page)))
        yield change(
            f"{system.page_name(page)}: PG_swapbacked cleared",
            "Reclaim need not keep the contents unless somebody writes again.",
        )


@routine
def isolate_lru_page(system: System, pages: slice) -> Routine[tuple[int, ...]]:
    """Take pages off the LRU, each with a reference, to work on them. Returns those that were on it."""
    frames = system.frames
    found: tuple[int, ...] = ()
    for page in range(pages.start, pages.stop):
        if frames.flags[page] & PG_lru and frames.ref_inc_not_zero(page):
            frames.flags[page] &= ~PG_lru
            found += (page,)
            yield change(
                f"{system.page_name(page)} off the LRU: {system.refcount_name} += 1",
                "Whoever works on it has it for himself.",
            )
    return found


@routine
def putback_lru_page(system: System, page: int, active: bool) -> Routine[None]:
    """Put a page back on the LRU, as active if it could not be written out,
    and give up the reference of whoever worked on it.
    """
    frames = system.frames
    frames.flags[page] |= PG_lru
    frames.mlock_count[page] = system.kernel.mm.mlocks == "walked" and bool(frames.flags[page] & PG_mlocked)
    yield change(
        "the page goes back to the LRU" + (", as active" if active else ""),
        "Swap-out copes with a refusal: it will come back." if active else "",
    )
    yield from put_page(system, single(page))
