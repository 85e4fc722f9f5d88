"""References on pages (include/linux/mm.h, mm/swap.c). What they count is the scheme's business."""

from __future__ import annotations

from thplab.hardware.frames import single, width
from thplab.hardware.steps import Routine, change, routine
from thplab.kernel.pages import free_page
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
def folio_ref_add(system: System, pages: slice) -> Routine[None]:
    """get_page of parts of one compound page, for a batch of PTEs: with one add where there are batches."""
    frames = system.frames
    if not system.scheme.batches or not frames.is_compound(pages.start):
        yield from get_page(system, pages)
        return
    frames.ref_add(single(frames.compound_head(pages.start)), width(pages))
    yield change(
        f"head {system.refcount_name} += {width(pages)}", "One add for the whole batch: all references are the head's."
    )


@routine
def folio_put_refs(system: System, pages: slice) -> Routine[None]:
    """put_page of parts of one compound page, for a batch of PTEs: with one subtraction where there are batches."""
    frames = system.frames
    if not system.scheme.batches or not frames.is_compound(pages.start):
        yield from put_page(system, pages)
        return
    head = frames.compound_head(pages.start)
    frames.ref_add(single(head), -width(pages))
    last = bool(frames.refcount[head] == 0)
    yield change(f"head {system.refcount_name} -= {width(pages)}", "One subtraction for the whole batch.")
    if last:
        yield from free_page(system, head)


@routine
def get_huge_page_tail(system: System, head: int, pages: slice) -> Routine[None]:
    """Note on the tails among `pages`, parts of the huge page at `head`, that a reference of it,
    which the caller takes, is theirs.
    """
    yield from system.scheme.get_tail_pins(system, head, pages)
