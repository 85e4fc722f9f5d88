"""References on pages (include/linux/mm.h, mm/swap.c). What they count is the scheme's business."""

from __future__ import annotations

from thplab.hardware.steps import Routine, routine
from thplab.kernel.system import System


@routine
def get_page(system: System, pages: slice) -> Routine[None]:
    """Take one reference through each of `pages`, which the caller knows to be in use."""
    yield from system.scheme.get_pages(system, pages)


@routine
def put_page(system: System, pages: slice) -> Routine[None]:
    """Drop one reference through each of `pages`; whoever drops the last one frees the page."""
    yield from system.scheme.put_pages(system, pages)


@routine
def get_huge_page_tail(system: System, head: int, pages: slice) -> Routine[None]:
    """Note on the tails among `pages`, parts of the huge page at `head`, that a reference of it, which the caller takes, is theirs."""
    yield from system.scheme.get_tail_pins(system, head, pages)
