"""What the schemes before v4.5 have in common:
one `_mapcount` in each struct page, and the PMD mappings in the head's.
"""

from __future__ import annotations

from collections.abc import Mapping

from thplab.hardware.frames import PageFrames, single, width
from thplab.hardware.steps import Routine, change
from thplab.kernel.address_space import Vma
from thplab.kernel.memory import Memory
from thplab.kernel.pages import get_page_unless_zero


class HeadMapcount:
    """PMD mappings are counted in the head's `_mapcount`, PTE mappings in that of the page that they map."""

    head_counters = ()
    splits_to_order = False
    batches = False
    split_counts_ptes = "after"

    # --- mappings ---------------------------------------------------------------------------------------------------

    def new_rmap(self, system: Memory, vma: Vma, page: int) -> Routine[None]:
        system.frames.mapcount[page] = 0  # a plain store: the page is not visible to anybody yet
        yield change(
            f"{system.pages_text(single(page))} _mapcount = 0 (one mapping)",
            "The field starts at -1, so 0 means one mapping.",
        )

    def dup_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        system.frames.map_add(single(head), 1)
        yield change("head _mapcount += 1", "One more PMD maps the huge page; the tails are not touched.")

    def remove_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        system.frames.map_add(single(head), -1)
        yield change("head _mapcount -= 1", "One PMD less maps the huge page.")

    def add_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        parts = system.each(pages)
        for part in parts:
            system.frames.map_add(part, 1)
            yield change(
                f"{system.pages_text(part)} _mapcount += 1", "Each PTE is counted on the very page that it maps."
            )

    def dup_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        yield from self.add_pte_rmap(system, vma, pages)

    def remove_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        parts = system.each(pages)
        for part in parts:
            system.frames.map_add(part, -1)
            yield change(
                f"{system.pages_text(part)} _mapcount -= 1", "The mapping is gone; its reference follows later."
            )

    # --- references -------------------------------------------------------------------------------------------------

    def try_get_page(self, system: Memory, page: int) -> Routine[bool]:
        return (yield from get_page_unless_zero(system, system.frames.compound_head(page)))

    # --- questions --------------------------------------------------------------------------------------------------

    def page_mapcount(self, frames: PageFrames, page: int) -> int:
        return int(frames.mapcount[page]) + 1

    def page_mapcounts(self, frames: PageFrames, pages: slice) -> int:
        return int(frames.mapcount[pages].sum()) + width(pages)

    def maybe_mapped_shared(self, frames: PageFrames, page: int) -> bool:
        return self.page_mapcount(frames, page) != 1

    def raw_fields(self, head: Mapping[str, int], queued: bool) -> dict[str, int]:
        return {}
