"""What a driver does with the pages that it holds:
its device reads and writes them by their pfns, past every page table.
"""

from __future__ import annotations

from thplab.hardware.steps import Routine, change, phrase, read
from thplab.kernel.system import System


@phrase("the device reads")
def dma_read(system: System, name: str, page: int) -> Routine[int]:
    """Read one byte of page `page` of the pin's buffer, which has that many. Returns 0;
    what was read stands in the step.
    """
    pfn = system.pins[name].buffer[page]
    byte = int(system.frames.content[pfn]) & 0xFF
    yield read(f"{name!r} reads {byte:#x} from {system.page_name(pfn)}", "A device knows frames, not addresses.")
    return 0


@phrase("the device writes")
def dma_write(system: System, name: str, page: int, value: int) -> Routine[int]:
    """Store the byte `value` in page `page` of the pin's buffer, which has that many. No entry becomes dirty by it.
    Returns 0.
    """
    pfn = system.pins[name].buffer[page]
    system.frames.content[pfn] = (system.frames.content[pfn] & ~0xFF) + value
    yield change(
        f"{name!r} writes {value:#x} to {system.page_name(pfn)}", "No page table is asked, whatever it says by now."
    )
    return 0
