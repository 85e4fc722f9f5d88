"""The checks that operations share.
Each raises BadInput, before anything has changed, that names the argument and what would be right.
"""

from __future__ import annotations

from thplab.errors import BadInput
from thplab.hardware.steps import Routine, read
from thplab.kernel.address_space import AddressSpace
from thplab.kernel.routines.walk import mapped_page
from thplab.kernel.system import Pin, System


def check_process(system: System, name: str) -> AddressSpace:
    """The address space of a living process; BadInput if there is none of that name."""
    living = {mm.name: mm for mm in system.mms.values() if mm.alive}
    if name not in living:
        raise BadInput("proc", f"{name!r} is not a living process", f"one of: {', '.join(living) or 'none yet'}")
    return living[name]


def check_range(
    system: System, proc: str, start: int, npages: int, region: str, place: str = "region"
) -> tuple[AddressSpace, int, int]:
    """The address space and the addresses [low, high) of pages, counted from the first one of a region;
    BadInput if there is none.

    The pages need not be mapped, and may lie behind the region: what the kernel says to that is its own affair.
    `place` is what the operation calls the region.
    """
    mm = check_process(system, proc)
    regions = mm.regions
    if region not in regions:
        raise BadInput(
            place, f"{region!r} does not exist in {proc}", f"one of: {', '.join(regions) or 'none yet, mmap first'}"
        )
    base, size = regions[region].start, system.geometry.page_size
    return mm, base + start * size, base + (start + npages) * size


def check_new_process(system: System, name: str, argument: str) -> None:
    """BadInput if a process of that name lives already."""
    if name in system.mms:
        raise BadInput(argument, f"{name!r} lives already", "a new name")


def check_pinned_page(system: System, pin: str) -> int:
    """The head of the compound page that a driver holds a part of, mapped or not; BadInput if it holds none."""
    page = check_pin(system, pin).pages[0]
    if not system.frames.is_compound(page):
        raise BadInput("pin", f"{pin!r} holds a page that is not part of a huge page", "a pin of a huge page")
    return system.frames.compound_head(page)


def check_pin(system: System, pin: str) -> Pin:
    """The pin of that name; BadInput if there is none."""
    if pin not in system.pins:
        raise BadInput("pin", f"{pin!r} is not held", "one of: " + (", ".join(system.pins) or "none is held"))
    return system.pins[pin]


def check_page(system: System, proc: str, start: int, region: str) -> int:
    """The small page, or the head of the compound page, mapped at a page; BadInput if none is, or it is a zero page."""
    mm, low, _ = check_range(system, proc, start, 1, region)
    page, frames = mapped_page(system, mm, low), system.frames
    if page is None:
        raise BadInput(
            "start", f"page {start} of region {region} in {proc} is not mapped yet", "a page that was written to"
        )
    head = frames.compound_head(page)
    if head in (system.huge_zero_page, frames.zero_page):
        huge = "huge " if frames.is_compound(page) else ""
        raise BadInput(
            "start", f"page {start} of region {region} in {proc} is the {huge}zero page", "a page that was written to"
        )
    return head


def check_present(system: System, proc: str, start: int, npages: int, region: str) -> None:
    """BadInput if nothing, or the small zero page, is mapped at one of these pages."""
    mm, low, high = check_range(system, proc, start, npages, region)
    for page, address in enumerate(range(low, high, system.geometry.page_size), start):
        if mapped_page(system, mm, address) in (None, system.frames.zero_page):
            raise BadInput(
                "start", f"page {page} of region {region} in {proc} has no page yet", "pages that were written to"
            )


def check_huge_page(system: System, proc: str, start: int, region: str) -> int:
    """The part of a compound page that is mapped at a page; BadInput if none is."""
    mm, low, _ = check_range(system, proc, start, 1, region)
    page = mapped_page(system, mm, low)
    if page is None or not system.frames.is_compound(page):
        what = "is not mapped yet" if page is None else "is not part of a huge page"
        raise BadInput("start", f"page {start} of region {region} in {proc} {what}", "a page of a huge page")
    check_page(system, proc, start, region)  # the huge zero page is none of ours
    return page


def refuse(error: int, text: str) -> Routine[int]:
    """What the system call interface answers by itself."""
    yield read(text)
    return -error
