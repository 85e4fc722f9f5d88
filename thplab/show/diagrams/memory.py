"""Physical memory in a picture: compound pages, what becomes of them, small pages, zero pages, and pins."""

from __future__ import annotations

import numpy as np

from thplab.hardware.frames import COLUMNS, FLAG_NAMES, PG_head, PG_order, PG_table, PG_tail, PG_used
from thplab.kernel.schemes.base import HeadCounter
from thplab.kernel.system import Pin
from thplab.machine.state import Array, State
from thplab.show.diagrams.arrows import MORE_PAGES, MORE_PINS, pin_id
from thplab.show.diagrams.cells import LARGE, SMALL, TALL, Cell, CellRow, Span, old_new, spans
from thplab.show.diagrams.layout import HUGE_ZERO_PAGE, Block
from thplab.show.diagrams.picture import PictureNode
from thplab.show.diagrams.rows import Rows
from thplab.show.diagrams.tables import note
from thplab.show.diagrams.view import View
from thplab.study.contents import contents_text

MOST_TOLD = 24
"""Letters of what a pin reads: more of them would make the picture wide."""

COMPOUND, ORDINARY, FREE = "compound page", "ordinary pages", "free memory"


def memory_of(view: View, keep: dict[object, PictureNode]) -> tuple[PictureNode, ...]:
    """All blocks of frames, zero pages, the note on what is not drawn, and the notes of pins.
    `keep` as for tables_of().
    """
    nodes = [_kept(view, block, keep) for block in view.cut.blocks]
    nodes += [_zero_page(view, name) for name in view.cut.zero_pages]
    if view.cut.more_blocks:
        nodes.append(note(MORE_PAGES, view.cut.more_blocks, "block", "memory"))
    nodes += [_pin(view, name) for name in view.cut.pins]
    if view.cut.more_pins:
        nodes.append(note(MORE_PINS, view.cut.more_pins, "pin", "pin"))
    return tuple(nodes)


def _zero_page(view: View, name: str) -> PictureNode:
    huge = name == HUGE_ZERO_PAGE
    size = view.state.geometry.size_text(view.state.geometry.nr if huge else 1)
    ground, told = view.ground(name, plain="zero"), f"{size} of zeroes" if view.full else size
    cells = (
        Cell(f"{name}-text", spans(Span("huge zero page" if huge else "zero page", bold=True)), ground),
        Cell(f"{name}-size", spans(Span(told, "ink", size=view.small)), ground, "end"),
    )
    shown = not huge or bool(view.state.huge_zero_page)
    return PictureNode(name, (CellRow(name, cells, "zero"),), "line", "zero", shown=shown)


# --- blocks -----------------------------------------------------------------------------------------------------------


def _frames(state: State, block: Block) -> Array:
    nr = state.geometry.nr
    found = state.blocks.get(block.number)
    return np.zeros((len(COLUMNS), nr), np.int64) if found is None else found


def _column(frames: Array, name: str) -> Array:
    column: Array = frames[COLUMNS.index(name)]
    return column


def _status(frames: Array) -> str:
    flags = _column(frames, "flags")
    if flags[0] & (PG_head | PG_order) == PG_head:
        return COMPOUND
    return ORDINARY if (flags & PG_used).any() else FREE


def _kept(view: View, block: Block, keep: dict[object, PictureNode]) -> PictureNode:
    """The node of a block, made anew only if the frames are others, now or before.
    In the simple picture one that is free, and was before, does not show.
    """
    old = view.previous.blocks.get(block.number) if view.previous else None
    key = (block.id, id(view.state.blocks.get(block.number)), id(old), view.previous is None, view.mark)
    node = keep.get(key)
    if node is None:
        node = keep[key] = _block(view, block)
    return node


def _block(view: View, block: Block) -> PictureNode:
    frames = _frames(view.state, block)
    old = _frames(view.previous, block) if view.previous else None
    rows = [_header(view, block, frames, old)] if block.whole else [_small_header(view, block)]
    if block.whole:
        rows += [_count_row(view, block, frames, old), *_head_counters(view, block, frames, old)]
        rows += [_flags_row(view, block, frames, old)] if view.full else []
    rows.append(_titles(view, block, frames))
    rows += [_row(view, block, run, frames, old) for run in block.rows]
    kind = _status(frames).split()[0] if block.whole else "small"
    shown = view.full or _in_use(frames, block) or (old is not None and _in_use(old, block))
    return PictureNode(block.id, tuple(rows), "freed" if kind == "free" else "page", f"memory {kind}", shown=shown)


def _in_use(frames: Array, block: Block) -> bool:
    """Is any frame that has a row in use?"""
    used = _column(frames, "flags") & PG_used != 0
    return any(used[run.part].any() for run in block.rows)


def _name(frames: Array) -> str:
    status = _status(frames)
    flags = _column(frames, "flags")
    if status != ORDINARY:
        return status
    used, heads = np.count_nonzero((flags & (PG_used | PG_table)) == PG_used), np.count_nonzero(flags & PG_head)
    return f"{used} pages, {heads} smaller compound page{'s' if heads > 1 else ''}" if heads else f"{used} {status}"


def _header(view: View, block: Block, frames: Array, old: Array | None) -> CellRow:
    """What the block is: compound page, ordinary pages or free memory."""
    status, name, nr = _status(frames), _name(frames), view.state.geometry.nr
    before = _name(old) if old is not None else name
    pfn, size = block.number * nr, view.state.geometry.size_text(nr)
    where = (
        f"order {view.state.geometry.order} · pfn {pfn:#x}" if status == COMPOUND else f"pfn {pfn:#x}…{pfn + nr - 1:#x}"
    )
    ground, ink = {COMPOUND: ("page", "on-page"), ORDINARY: ("split", "ink"), FREE: ("page-row", "freed")}[status]
    changed = before != name
    if changed and before.endswith(ORDINARY) and status == ORDINARY:
        before = before.split()[0]
    id = f"{block.id}-head"
    title = f"{before} → {name}" if changed and view.full else name
    cells = (
        Cell(f"{id}-title", spans(Span(title, ink, bold=True)), view.ground(id, changed, ground)),
        Cell(
            f"{id}-where",
            spans(Span(where if view.full else size, ink, size=view.small)),
            view.ground(id, changed, ground),
            "end",
        ),
    )
    return CellRow(id, cells, "head", height=20)


def _small_header(view: View, block: Block) -> CellRow:
    id = f"{block.id}-head"
    cell = Cell(f"{id}-title", spans(Span("small pages", bold=True)), view.ground(id, plain="split"))
    return CellRow(id, (cell,), "head")


def _counter(view: View, id: str, name: str, was: str | None, text: str) -> CellRow:
    """A counter of the head: its name, and large what it says. `was` None: the same as before."""
    ground = view.ground(id, was is not None, "page-row")
    number = spans() if not text else old_new(was, text, size=LARGE, bold=True)
    cells = (
        Cell(f"{id}-name", spans(Span(name, "muted")), ground),
        Cell(id, number, ground, "end"),
    )
    return CellRow("", cells, "counter", height=TALL)


def _count_row(view: View, block: Block, frames: Array, old: Array | None) -> CellRow:
    """The head's reference count, under the kernel's name; what is no compound page keeps its place."""
    id, status = f"{block.id}-count", _status(frames)
    if status != COMPOUND:
        heads = (_column(frames, "flags") & PG_head).any()
        told = "each head has the count of its pages" if heads else "each page has its own count"
        told = told if status == ORDINARY else "nobody holds any of it"
        return _counter(view, id, told if view.full else "", None, "")
    count = int(_column(frames, "refcount")[0])
    before = int(_column(old, "refcount")[0]) if old is not None and _status(old) == COMPOUND else count
    return _counter(
        view, id, f"head {view.state.kernel.refcount_name}", None if before == count else str(before), str(count)
    )


def _head_counters(view: View, block: Block, frames: Array, old: Array | None) -> list[CellRow]:
    """The counters that the compound page has once, a row each. What is no compound page keeps their place."""
    before = old if old is not None and _status(old) == COMPOUND else None
    rows = []
    for counter in view.state.kernel.head_counters:
        id = f"{block.id}-{counter.column}"
        compound = _status(frames) == COMPOUND
        was, text = _told(counter, frames, before) if compound else (None, "")
        row = _counter(view, id, counter.name if compound else "", was, text)
        rows.append(row._replace(idle=not view.full and text in ("", "0") and was is None))
    return rows


def _told(counter: HeadCounter, frames: Array, old: Array | None) -> tuple[str | None, str]:
    """What a counter of the head said before, None if the same, and what it says now."""
    raw = int(_column(frames, counter.column)[0])
    was = int(_column(old, counter.column)[0]) if old is not None else raw
    return (None if was == raw else counter.text(was)), counter.text(raw)


def _flags_row(view: View, block: Block, frames: Array, old: Array | None) -> CellRow:
    """The flags of the head; what is new with a plus, what is gone with a minus."""
    id = f"{block.id}-flags"
    if _status(frames) != COMPOUND:
        return CellRow("", (Cell(id, (), view.ground(id, plain="page-row")),), "flags")
    flags = _flags(frames)
    was = _flags(old) if old is not None and _status(old) == COMPOUND else flags
    letters = []
    for flag in dict.fromkeys((*was, *flags)):
        new, gone = flag not in was, flag not in flags
        sign = "+" if new else "−" if gone else ""
        letters.append(Span(f"{sign}PG_{flag} ", "ink" if sign else "muted", bool(sign), SMALL))
    cell = Cell(id, spans(*letters), view.ground(id, was != flags, "page-row"))
    return CellRow("", (cell,), "flags")


def _flags(frames: Array) -> tuple[str, ...]:
    return tuple(name for bit, name in FLAG_NAMES.items() if int(_column(frames, "flags")[0]) & bit)


def _titles(view: View, block: Block, frames: Array) -> CellRow:
    """What the columns are. The references of a compound page are on its head, so its pages have no count here."""
    own = view.full or not block.whole or _status(frames) == ORDINARY
    texts = ("subpage" if block.whole else "pfn", view.state.kernel.refcount_name if own else "", "mapcount")
    cells = tuple(
        Cell(f"{block.id}-title{i}", spans(Span(text, "muted", size=view.small)), align="end" if i else "start")
        for i, text in enumerate(texts)
    )
    return CellRow("", cells, "rows", line=True)


def _row(view: View, block: Block, run: Rows, frames: Array, old: Array | None) -> CellRow:
    id = block.row_id(run)
    pins = view.state.kernel.scheme.tail_mapcount == "pins"
    count = _count(view, block, frames, run)
    texts = (count, _maps(frames, run, pins))
    before = (_count(view, block, old, run), _maps(old, run, pins)) if old is not None else texts
    free = not (_column(frames, "flags")[run.part] & PG_used).any()
    # What the head says for all is no count of this page; nor is it one that has changed.
    changed = [was != text and "" not in (was, text) for was, text in zip(before, texts, strict=True)]
    olds = [was if new else None for was, new in zip(before, changed, strict=True)]
    said = [old_new(was, text, "freed" if free else "ink") for was, text in zip(olds, texts, strict=True)]
    if run.runs > 1 and old is not None:  # a change may hide in the range
        for i, name in enumerate(("refcount", "mapcount")):
            hidden = texts[i] and not changed[i]
            if hidden and (_column(old, name)[run.part] != _column(frames, name)[run.part]).any():
                changed[i] = True
                said[i] = spans(Span(f"{texts[i]}, changed", bold=True))
    if texts[0] == "0" and not changed[0]:  # the references of a compound page are on its head
        said[0] = spans(Span(texts[0], "muted"))
    ground, label = view.ground(id, any(changed)), _label(view, block, run, frames)
    count_id, maps_id = f"{id}-count", f"{id}-mapcount"
    cells = (
        Cell(f"{id}-page", spans(Span(label, "freed" if free else "ink")), ground),
        Cell(count_id, said[0], view.ground(count_id, changed[0], ground), "end"),
        Cell(maps_id, said[1], view.ground(maps_id, changed[1], ground), "end"),
    )
    return CellRow(id, cells, "rows", line=True)


def _label(view: View, block: Block, run: Rows, frames: Array) -> str:
    if run.runs > 1:
        return run.more
    if not block.whole:
        first = block.number * view.state.geometry.nr
        return f"{first + run.start:#x}" + (f"…{first + run.stop - 1:#x}" if run.stop - run.start > 1 else "")
    flags = int(_column(frames, "flags")[run.start])
    return run.span + (" head" if flags & PG_head else "")


def _count(view: View, block: Block, frames: Array, run: Rows) -> str:
    """What a row's own reference counts say; "" where the head has the one that counts."""
    flags = _column(frames, "flags")[run.part]
    if not (flags & PG_used).any():
        return "free"
    if block.whole and _status(frames) == COMPOUND and (run.start == 0 or not view.full):
        return ""
    return _range(_column(frames, "refcount")[run.part])


def _maps(frames: Array, run: Rows, pins: bool) -> str:
    """What a row's map counts say. With `pins` those of tails are no map counts: each counts the pins of its tail."""
    flags = _column(frames, "flags")[run.part]
    if not (flags & PG_used).any():
        return "–"
    if (flags & PG_table).all():
        return "page table"
    counted = _range(_column(frames, "mapcount")[run.part] + 1)
    if not pins or not (flags & PG_tail).all():
        return counted
    return f"{counted} pin" if counted == "1" else f"{counted} pins"


def _range(values: Array) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low}…{high}"


# --- pins -------------------------------------------------------------------------------------------------------------


def _pin(view: View, name: str) -> PictureNode:
    pin, id = view.state.pins.get(name), pin_id(name)
    new = view.previous is not None and name not in view.previous.pins
    ground = view.ground(id, new, "pin-ground")
    if pin is None:
        return PictureNode(id, (), "pin", "pin", "pin", shown=False)
    text = spans(Span(f"{name}: ", "pin", bold=True), Span(_pages(view.state, pin), "pin"))
    rows = [CellRow(id, (Cell(f"{id}-pages", text, ground),), "pin"), _reads(view, name, new)]
    if view.full:
        counted = spans(Span(_counted(view.state, pin), "pin", size=SMALL))
        rows.append(CellRow("", (Cell(f"{id}-counted", counted, ground),), "pin"))
    return PictureNode(id, tuple(rows), "pin", "pin", "pin")


def _reads(view: View, name: str, new: bool) -> CellRow:
    """What the driver's device would read, which tells whether it still sees what the process writes."""
    id = f"{pin_id(name)}-reads"
    then = view.previous if view.previous is not None and not new else None
    now, was = (_contents(state, name) if state else None for state in (view.state, then))
    changed = was is not None and was != now
    text = old_new(was if changed else None, now or "", "pin")
    cell = Cell(id, spans(Span("reads ", "pin"), *text), view.ground(id, changed, "pin-ground"))
    return CellRow("", (cell,), "pin", idle=now in ("0", "all 0") and not changed)


def _contents(state: State, name: str) -> str:
    text = contents_text([tag & 0xFF for tag in state.pin_contents(name)])  # a byte of each page, as `dma_read` tells
    return text if len(text) <= MOST_TOLD else "several numbers"


def _pages(state: State, pin: Pin) -> str:
    """Which pages a pin holds: subpages of a compound page by number, small ones by pfn."""
    pages = sorted(set(pin.pages))
    heads = {state.head(pfn) for pfn in pages}
    if not any(_compound(state, pfn) for pfn in pages):
        return f"pfn {pages[0]:#x}" if len(pages) == 1 else f"{len(pages)} small pages"
    if len(heads) > 1:
        return f"{len(pages)} pages of {len(heads)} pages"
    low, high = pages[0] - min(heads), pages[-1] - min(heads)
    if len(pages) == 1:
        return f"page {low}"
    return f"pages {low}…{high}" if high - low + 1 == len(pages) else f"{len(pages)} of pages {low}…{high}"


def _compound(state: State, pfn: int) -> bool:
    return bool(state.field("flags", pfn) & (PG_head | PG_tail))


def _counted(state: State, pin: Pin) -> str:
    """Where the references of a pin are counted, as the scheme has it: what one pin more would change."""
    compound = [pfn for pfn in pin.pages if _compound(state, pfn)]
    if not compound:
        return "(counted on the page itself)"
    pfn = max(compound)
    head = state.head(pfn)
    nr, index = state.compound(head).stop - head, pfn - head
    nobody, one = np.zeros(nr, np.int64), np.zeros(nr, np.int64)
    one[index] = 1
    scheme = state.kernel.scheme
    without, with_pin = scheme.expected(1, nobody, nobody), scheme.expected(1, nobody, one)
    places = []
    if with_pin.refcount[0] != without.refcount[0]:
        places.append("the head")
    if index and any(new[index] != old[index] for new, old in zip(with_pin[:2], without[:2], strict=True)):
        places.append("the tail")
    return f"(counted on {' and '.join(places) or 'nothing'})"
