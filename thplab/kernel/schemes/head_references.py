"""References as every kernel since v4.5 counts them: all on the head, and no lock for a tail."""

from __future__ import annotations

from thplab.hardware.frames import PG_anon_exclusive, width
from thplab.hardware.steps import Routine, change, read
from thplab.kernel.address_space import Vma
from thplab.kernel.memory import Memory
from thplab.kernel.pages import free_page, get_page_unless_zero, put_small_pages
from thplab.kernel.schemes.base import Scheme


def clear_exclusive(memory: Memory, part: slice) -> Routine[None]:
    """Somebody else is about to map pages, which are no longer one process's own:
    take PG_anon_exclusive away where it is.
    """
    if (memory.frames.flags[part] & PG_anon_exclusive).any():
        memory.frames.flags.clear(part, PG_anon_exclusive)
        yield change(f"{memory.pages_text(part)} PG_anon_exclusive cleared", "Two processes share it from now on.")


class HeadReferences:
    """get_page() and put_page() of schemes whose tails need no reference of their own:
    c_i = 0, and one atomic on the head.
    """

    tail_mapcount = "mappings"
    batches = False
    split_counts_ptes = "after"

    def dup_pte_rmap(self: Scheme, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        """Count one more PTE for each of `pages`, page by page, in the child of a fork."""
        parts = system.each(pages)
        for part in parts:
            yield from clear_exclusive(system, part)
            yield from self.add_pte_rmap(system, vma, part)

    def get_pages(self, system: Memory, pages: slice) -> Routine[None]:
        """Take one reference through each of `pages`, which the caller knows to be in use (get_page)."""
        frames = system.frames
        parts = system.each(pages)
        for part in parts:
            if frames.is_compound(part.stop - 1):
                frames.ref_one_by_one(frames.compound_head(part.stop - 1), width(part))
                yield change(
                    f"head {system.refcount_name} += {width(part)}",
                    "Head or tail: the reference is the head's, and no lock is needed.",
                )
            else:
                frames.ref_add(part, 1)
                yield change(f"{system.pages_text(part)} {system.refcount_name} += 1")

    def get_pages_foll(self, system: Memory, pages: slice) -> Routine[None]:
        """get_pages under the page table lock, which makes no difference here."""
        yield from self.get_pages(system, pages)

    def try_get_page(self, system: Memory, page: int) -> Routine[bool]:
        """Take a reference through `page`, which may be split or freed at any time;
        returns False if it has none (any more).
        """
        return (yield from get_page_unless_zero(system, system.frames.compound_head(page)))

    def get_tail_pins(self, system: Memory, head: int, pages: slice) -> Routine[None]:
        """Nobody notes which tail a reference is for."""
        yield from ()

    def put_pages(self, system: Memory, pages: slice) -> Routine[None]:
        """Drop one reference through each of `pages`; whoever drops the last one frees the page (put_page)."""
        frames = system.frames
        if not frames.is_compound(pages.stop - 1):
            yield read("not compound: its own count is the one")
            yield from put_small_pages(system, pages)
            return
        parts = system.each(pages)
        for part in parts:
            head = frames.compound_head(part.stop - 1)
            frames.ref_one_by_one(head, -width(part))
            last = bool(frames.refcount[head] == 0)
            yield change(f"head {system.refcount_name} -= {width(part)}")
            if last:
                yield from free_page(system, head)
