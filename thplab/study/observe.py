"""What a user of a real kernel can observe of a state: /proc/PID/smaps and pagemap, and /proc/kpagecount.
(/proc/vmstat is `State.vmstat`.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.blocks import Array, pieces
from thplab.hardware.frames import PageFrames, PG_anon, PG_dirty, PG_ksm, PG_referenced, PG_swapbacked, PG_tail
from thplab.hardware.steps import Costs
from thplab.kernel.address_space import VM_LOCKED
from thplab.machine.counts import FrameCounts
from thplab.machine.state import BlockArrays, Mapped, State, VmaState

_PSS_SHIFT = 12
"""smaps adds up shares of pages in units of 1/4096 byte."""

_PRESENT, _SWAPPED, _GUARD, _EXCLUSIVE = 1 << 63, 1 << 62, 1 << 58, 1 << 56
"""Bits of pagemap."""


def smaps(state: State, process: str, region: str = "") -> dict[str, int]:
    """Rss, Pss, AnonHugePages, Referenced, Locked, KSM and, with a swap device, Swap of a process in kB, recounted from
    the page tables and summed over its VMAs, or over those of one region.

    A page's share in Pss is its size divided by the number of entries that map it, PMDs and PTEs alike, which is what
    every recorded kernel shows. (The RFC as posted would divide by page_mapcount(), which leaves PMDs out on a tail:
    docs/KERNEL.md 2.1.) Locked is the share in Pss of the VMAs that mlock has locked. Whether a PMD over the huge zero
    page counts is the kernel's policy `proc.huge_zero_in_rss`; so it is with a hwpoison entry. (Kernels show KSM since
    6.6.)

    Raises BadInput if the process does not live in this state or has no such region.
    """
    total: Counter[str] = Counter()
    for figures in smaps_entries(state, process, region):
        total.update(figures)  # unlike +=, it keeps what is 0
    return dict(total) or _figures(state)


def smaps_entries(state: State, process: str, region: str = "") -> list[dict[str, int]]:
    """The same for each VMA by itself, in the order of `State.vmas`. Raises BadInput as smaps() does."""
    mine = [m for m in state.mapped if m.process == process]
    counts = map_counts(state)
    return [_entry(state, mine, counts, vma) for vma in state.vmas(process, region)]


def _figures(state: State) -> dict[str, int]:
    names = ("Rss", "Pss", "AnonHugePages", "Referenced", "Locked", "KSM", *(("Swap",) if state.swap else ()))
    lazyfree = ("LazyFree",) if "pglazyfree" in state.vmstat else ()
    return dict.fromkeys((*names, *lazyfree), 0)


def _entry(state: State, mine: Sequence[Mapped], counts: FrameCounts, vma: VmaState) -> dict[str, int]:
    """The figures of one VMA, of what its process maps."""
    kib = state.geometry.page_size // 1024
    figures, share = _figures(state), 0
    for m in mine:
        pages = _pages_in(state, m, vma)
        if m.kind == "swap":
            figures["Swap"] += len(pages) * kib
            continue
        if not _counts(state, m):
            continue
        resident = len(pages)
        figures["Rss"] += resident * kib
        figures["AnonHugePages"] += resident * kib if m.level else 0
        zero = m.kind == "zero"
        flags = _flags(state, range(0) if zero else pages)
        if m.kind == "page":
            accessed = m.entry & pt._PAGE_ACCESSED
            figures["Referenced"] += (resident if accessed else _marked(flags, PG_referenced)) * kib
        if "LazyFree" in figures and not (m.kind == "page" and m.entry & pt._PAGE_DIRTY):
            free = (flags & (PG_anon | PG_swapbacked | PG_dirty)) == PG_anon  # reclaim may throw it away
            figures["LazyFree"] += int(np.count_nonzero(free)) * kib
        if m.kind == "page" and not m.level:
            figures["KSM"] += _marked(flags, PG_ksm) * kib
        users = np.ones(resident, np.int64) if zero else np.maximum(counts[pages.start : pages.stop], 1)
        share += int(((state.geometry.page_size << _PSS_SHIFT) // users).sum())
    pss = share >> (10 + _PSS_SHIFT)  # the kernel rounds down once in each VMA
    figures["Pss"] += pss
    figures["Locked"] += pss if VM_LOCKED in vma.flags else 0
    return figures


def pagemap(state: State, process: str, region: str = "R") -> list[int]:
    """The entries of /proc/PID/pagemap for the pages of a region, as who is not root reads them: no frame numbers.

    Of the bits those of what is present (63), in swap (62), a guard (58) or mapped by this one entry alone (56); a
    kernel that is built to track soft-dirty pages sets bit 55, too. Raises BadInput if there is no such process or
    region.
    """
    base, pages = state.region(process, region)
    counts, entries = map_counts(state), [0] * pages
    for m, first, count in state.mapped_in(process, base, pages):
        for page in range(first, first + count):
            entries[page] = _PRESENT if m.kind in ("page", "zero") else _SWAPPED  # of a kind: all that is not present
            entries[page] |= _GUARD if m.kind == "guard" else 0
            if m.kind == "page" and counts[m.pfn + page - first] == 1:
                entries[page] |= _EXCLUSIVE
    return entries


def _flags(state: State, pages: range) -> Array:
    """The flags of these frames; of a tail those of its head."""
    found = [np.empty(0, np.int64)]
    for number, low, high in pieces(state.geometry.order, pages.start, pages.stop):
        base = number << state.geometry.order
        flags = state.column("flags", base, state.geometry.nr)
        heads = state.column("first_page", base + low, high - low) - base  # in the same block
        tail = flags[low:high] & PG_tail != 0
        found.append(np.where(tail, flags[heads * tail], flags[low:high]))
    return np.concatenate(found)


def _marked(flags: Array, bit: int) -> int:
    """How many of the frames with these flags have a bit."""
    return int(np.count_nonzero(flags & bit))


def kpagecount(state: State, pfn: int) -> int:
    """What /proc/kpagecount shows for a frame: the scheme's page_mapcount(), 0 for a free frame.

    Under the RFC that is the field of this very page, so a tail of a page that only PMDs map shows 0 (docs/KERNEL.md
    2.1).
    """
    return 0 if state.is_free(pfn) else state.kernel.scheme.page_mapcount(_frames(state), pfn)


def _counts(state: State, m: Mapped) -> bool:
    """Does smaps count what this entry maps as resident memory?"""
    if m.kind == "zero":
        return bool(m.level) and state.kernel.proc.huge_zero_in_rss
    if m.kind == "hwpoison":
        return state.kernel.proc.hwpoison_in_rss
    hidden = m.level and not pt.pte_user(m.entry) and not state.kernel.gup.follows_protnone
    return m.kind == "page" and not hidden


def map_counts(state: State) -> FrameCounts:
    """Number of entries that map each frame."""
    pmds = ((head, state.geometry.nr, len(processes)) for head, processes in state.pmd_maps.items())
    return FrameCounts(state.geometry.order, pmds, state.pte_maps)


def _pages_in(state: State, m: Mapped, vma: VmaState) -> range:
    """The frames that `m` maps inside a VMA."""
    size = state.geometry.page_size
    count = state.geometry.nr if m.level else m.count
    low = max(0, (vma.start - m.address) // size)
    high = min(count, (vma.end - m.address) // size)
    return range(m.pfn + low, m.pfn + max(low, high))


def _frames(state: State) -> PageFrames:
    """The page frames of a state, as schemes read them."""
    frames = PageFrames(state.geometry, state.nframes, Costs())
    frames.blocks.restore(BlockArrays.of(state.blocks).kept)
    return frames
