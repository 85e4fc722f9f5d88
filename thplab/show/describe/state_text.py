"""The text twin of the page-table picture: one state in words, and what the last step changed as `old → new`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from thplab.hardware import page_tables as pt
from thplab.hardware.frames import COLUMNS, PG_used
from thplab.hardware.geometry import LEVEL_NAMES
from thplab.hardware.swap_device import NO_PAGE
from thplab.machine.state import ProcessState, State, SwapState, VmaState
from thplab.show.ledger import ledger, small_pages
from thplab.study.contents import contents_text

PROTECTION_NAMES = {bits: name for name, bits in pt.PROTECTIONS.items()}


def describe(state: State, previous: State | None = None) -> str:
    """The state in words, one fact a line: processes, VMAs, page tables with equal entries in one row, pages with their
    counters and who holds them, pins. With `previous`, what differs from it is written `old → new`, and what was not
    there is marked new.
    """
    lines = [_machine(state, previous)]
    for process in state.processes:
        lines += ["", *_process(state, previous, process)]
    if previous is not None:
        ended = {process.name for process in previous.processes} - {process.name for process in state.processes}
        lines += [line for name in sorted(ended) for line in ("", f"Process {name} has ended.")]
    for head in state.compound_pages():
        new = "" if previous is None or head in previous.compound_pages() else ", new"
        lines += ["", f"Compound page {head:#x}, {state.compound(head).stop - head} pages{new}"]
        lines += [f"  {account.text}" for account in ledger(state, head, previous)]
    small = small_pages(state, previous)
    if small:
        lines += ["", "Small pages", *(f"  {account.text}" for account in small)]
    if state.swap is not None:
        lines += ["", *_swap(state.swap, previous.swap if previous else None)]
    if state.pins:
        lines += ["", "Pins"]
        for name, pin in state.pins.items():
            lines.append(
                f"  {name}: a driver holds {_pinned(state, pin.pages)} and reads "
                f"{contents_text(state.pin_contents(name))}"
            )
    return "\n".join(lines) + "\n"


def _machine(state: State, previous: State | None) -> str:
    used = _moved(_frames_in_use(state), _frames_in_use(previous) if previous else None)
    text = f"{state.kernel.name}, {state.geometry.name}: {used} of {state.nframes} page frames in use"
    if state.in_progress:
        text += "; a routine is in progress" + (", which holds " + ", ".join(sorted(state.held)) if state.held else "")
    return text


def _swap(swap: SwapState, previous: SwapState | None) -> Iterator[str]:
    """The swap device: the slots in use, those that agree in one line."""
    used = _moved(_slots_in_use(swap), _slots_in_use(previous) if previous else None)
    yield f"Swap device {swap.kind}: {used} of {len(swap.swap_map)} slots in use"
    rows = np.stack(
        [swap.swap_map, swap.cache != NO_PAGE, *((previous.swap_map, previous.cache != NO_PAGE) if previous else ())]
    )
    step = np.diff(swap.cache) == (swap.cache[1:] != NO_PAGE)
    borders = np.flatnonzero((rows[:, 1:] != rows[:, :-1]).any(axis=0) | ~step) + 1
    for low, high in pairwise([0, *borders.tolist(), len(swap.swap_map)]):
        count, page = int(swap.swap_map[low]), int(swap.cache[low])
        old = (int(previous.swap_map[low]), previous.cache[low] != NO_PAGE) if previous else None
        if count or page != NO_PAGE or (old and any(old)):
            text = f"  {slots_text(low, high)}: swap_map {_moved(count, old[0] if old else None)}"
            if page != NO_PAGE:
                pages = f"page {page:#x}" if high - low == 1 else f"pages {page:#x}–{page + high - low - 1:#x}"
                text += f", {pages} in the swap cache" + (", new" if old and not old[1] else "")
            elif old and old[1]:
                text += ", no longer in the swap cache"
            yield text


def _slots_in_use(swap: SwapState) -> int:
    return int(np.count_nonzero((swap.swap_map > 0) | (swap.cache != NO_PAGE)))


def _frames_in_use(state: State) -> int:
    return sum(int(np.count_nonzero(block[COLUMNS.index("flags")] & PG_used)) for block in state.blocks.values())


def _moved(new: object, old: object) -> str:
    return f"{new}" if old is None or old == new else f"{old} → {new}"


# --- processes --------------------------------------------------------------------------------------------------------


def _process(state: State, previous: State | None, process: ProcessState) -> Iterator[str]:
    before = next((p for p in previous.processes if p.name == process.name), None) if previous else None
    yield f"Process {process.name}" + (", new" if previous and not before else "")
    for vma in process.vmas:
        yield f"  VMA: {vma_text(state, process, vma)}" + (", new" if before and vma not in before.vmas else "")
    for table, where in _tables(state, process.pgd, state.geometry.levels - 1, ""):
        level = state.levels[table]
        new = ", new" if previous and table not in previous.tables else ""
        yield f"  {LEVEL_NAMES[level]} table {table:#x}{where}{new}"
        for low, high in _rows(state, previous, table):
            now = entry_text(state, table, low, high)
            then = entry_text(previous, table, low, high) if previous and table in previous.tables else None
            yield f"    {span(low, high)}: {_moved(now, then)}"
        if level == 1:
            old = len(dict(before.deposited).get(table, ())) if before else None
            count = len(dict(process.deposited).get(table, ()))
            if count or old:
                yield f"    deposited PTE tables: {_moved(count, old)}"


def vma_text(state: State, process: ProcessState, vma: VmaState) -> str:
    """A VMA in words: its pages in their region, its protection, its addresses."""
    size = state.geometry.page_size
    for name, region in process.regions:
        if region.start <= vma.start < region.start + region.pages * size:
            low, high = (vma.start - region.start) // size, (vma.end - region.start) // size
            return (
                f"{'pages' if high - low > 1 else 'page'} {span(low, high)} of {name}, "
                f"{PROTECTION_NAMES[vma.prot]}, at {vma.start:#x}"
            )
    return f"{vma.start:#x} to {vma.end:#x}, {PROTECTION_NAMES[vma.prot]}"


def span(low: int, high: int) -> str:
    """The numbers of [low, high) as a reader writes them: "4" or "2–7"."""
    return f"{low}" if high - low == 1 else f"{low}–{high - 1}"


def _tables(state: State, table: int, level: int, where: str) -> Iterator[tuple[int, str]]:
    """The PMD and PTE tables below `table`, each with the entries that lead to it, in words."""
    row = state.tables.get(table)
    if row is None:
        return
    if level <= 1:
        yield table, where
    if level == 0:
        return
    for index in np.flatnonzero(row).tolist():
        entry = int(row[index])
        if not pt.pmd_trans_huge(entry):
            step = f"{LEVEL_NAMES[level]} {index}"
            path = f" at {step}" if level == 1 or not where else f"{where}, {step}"
            yield from _tables(state, pt.pte_pfn(entry), level - 1, path)


def _rows(state: State, previous: State | None, table: int) -> Iterator[tuple[int, int]]:
    """[low, high) of entries that are one row: neither this state nor the previous one tells them apart."""
    nr = state.geometry.nr
    borders = {0, nr, *_borders(state, table)}
    if previous is not None and table in previous.tables:
        borders |= _borders(previous, table)
    cuts = sorted(borders)
    yield from pairwise(cuts)


def _borders(state: State, table: int) -> set[int]:
    runs = {(m.index, m.index + m.count) for m in state.mapped if m.table == table}
    if state.levels[table]:
        runs |= {(index, index + 1) for index in np.flatnonzero(state.tables[table]).tolist()}
    return {border for run in runs for border in run}


def entry_text(state: State, table: int, low: int, high: int) -> str:
    """The entries [low, high) of a table, which form a run, in words: their bits and what they map."""
    entry = int(state.tables[table][low])
    if entry == 0:
        return "empty"
    pfn = pt.pte_pfn(entry)
    if pt.is_swap_entry(entry):
        return f"{pt.entry_text(entry)}, {slots_text(low=pfn, high=pfn + high - low)}"
    if pt.is_guard_entry(entry):
        return pt.entry_text(entry)
    if state.levels[table] and not pt.pmd_trans_huge(entry):
        return f"PTE table {pfn:#x}"
    if pfn in (state.huge_zero_page, state.zero_page):
        return f"{pt.entry_text(entry)}, the {'huge ' if state.levels[table] else ''}zero page"
    if state.levels[table]:
        whole = (
            f"compound page {pfn:#x}" if pfn in state.compound_pages() else pages_text(state, pfn, state.geometry.nr)
        )
        return f"{pt.entry_text(entry)}, {whole}"
    return f"{pt.entry_text(entry)}, {pages_text(state, pfn, high - low)}"


def slots_text(low: int, high: int) -> str:
    """Slots of the swap device in words: "slot 4", "slots 4–7"."""
    return f"slot{'s' if high - low > 1 else ''} {span(low, high)}"


def pages_text(state: State, pfn: int, count: int = 1) -> str:
    """Pages that lie together, in words: "subpages 2–7 of compound page 0x8", "page 0x9"."""
    head = state.head(pfn)
    if head in state.compound_pages() and state.head(pfn + count - 1) == head:
        return f"subpage{'s' if count > 1 else ''} {span(pfn - head, pfn - head + count)} of compound page {head:#x}"
    return f"page {pfn:#x}" if count == 1 else f"pages {pfn:#x}–{pfn + count - 1:#x}"


def _pinned(state: State, pages: tuple[int, ...]) -> str:
    """Pinned pages in words: neighbours together, in the order in which they were pinned."""
    cuts = [
        i
        for i in range(1, len(pages))
        if pages[i] != pages[i - 1] + 1 or state.head(pages[i]) != state.head(pages[i - 1])
    ]
    runs = zip([0, *cuts], [*cuts, len(pages)], strict=True)
    return ", ".join(pages_text(state, pages[low], high - low) for low, high in runs)
