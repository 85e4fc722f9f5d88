"""Physical memory in a picture: compound pages, what becomes of them, small pages, zero pages, and pins."""

from __future__ import annotations

import graphviz
import numpy as np

from thplab.hardware.frames import COLUMNS, FLAG_NAMES, PG_head, PG_order, PG_table, PG_tail, PG_used
from thplab.kernel.schemes.base import HeadCounter
from thplab.kernel.system import Pin
from thplab.machine.state import Array, State
from thplab.show.diagrams.arrows import HUGE_ZERO_PAGE, MORE_PAGES, MORE_PINS, pin_id
from thplab.show.diagrams.cells import PAD, SMALL, Cell, CellRow, Span, more, old_new, table, text_width
from thplab.show.diagrams.layout import Block
from thplab.show.diagrams.roles import light
from thplab.show.diagrams.rows import Rows
from thplab.show.diagrams.view import View

PAGE_WIDTH, COUNT_WIDTH, MAP_WIDTH = 100, 104, 146
WIDTH = PAGE_WIDTH + COUNT_WIDTH + MAP_WIDTH
NOTE_WIDTH = 168

ABOVE = "above"
"""In place of the head's count, which stands in the row for the compound page as a whole."""

COMPOUND, ORDINARY, FREE = "compound page", "ordinary pages", "free memory"


def add_memory(graph: graphviz.Digraph, view: View) -> None:
    """Add all blocks of frames, zero pages, the note on what is not drawn, and the notes of pins."""
    for block in view.cut.blocks:
        _add_block(graph, view, block)
    for name in view.cut.zero_pages:
        title = "huge zero page" if name == HUGE_ZERO_PAGE else "zero page"
        size = view.state.geometry.size_text(view.state.geometry.nr if name == HUGE_ZERO_PAGE else 1)
        text = [Span(title, bold=True), Span(f"  {size} of zeroes, shared by all", size=SMALL)]
        row = CellRow(name, [Cell(f"{name}-text", text, WIDTH, view.ground(name, plain="zero"))], line=False)
        hidden = name == HUGE_ZERO_PAGE and not view.state.huge_zero_page
        graph.node(name, table([row], "line"), id=f"{name}-node", style="invis" if hidden else "", **{"class": "zero"})
    if view.cut.more_blocks:
        graph.node(
            MORE_PAGES,
            more(MORE_PAGES, view.cut.more_blocks, "block", WIDTH),
            id=f"{MORE_PAGES}-node",
            **{"class": "more"},
        )
    for name in view.cut.pins:
        _add_pin(graph, view, name)
    if view.cut.more_pins:
        graph.node(
            MORE_PINS,
            more(MORE_PINS, view.cut.more_pins, "pin", NOTE_WIDTH),
            id=f"{MORE_PINS}-node",
            **{"class": "more"},
        )


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


def _add_block(graph: graphviz.Digraph, view: View, block: Block) -> None:
    frames = _frames(view.state, block)
    old = _frames(view.previous, block) if view.previous else None
    rows = [_header(view, block, frames, old)] if block.whole else [_small_header(view, block)]
    if block.whole:
        rows += [_counters(view, block, frames, old), *_head_counter_rows(view, block, frames, old)]
    rows.append(_titles(view, block))
    rows += [_row(view, block, run, frames, old) for run in block.rows]
    kind = _status(frames).split()[0] if block.whole else "small"
    graph.node(block.id, table(rows, "freed" if kind == "free" else "page"), id=block.id, **{"class": f"memory {kind}"})


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
    pfn = block.number * nr
    where = (
        f"order {view.state.geometry.order} · pfn {pfn:#x}" if status == COMPOUND else f"pfn {pfn:#x}…{pfn + nr - 1:#x}"
    )
    ground, ink = {COMPOUND: ("page", "on-page"), ORDINARY: ("split", "ink"), FREE: ("page-row", "freed")}[status]
    changed = before != name
    if changed and before.endswith(ORDINARY) and status == ORDINARY:
        before = before.split()[0]
    id = f"{block.id}-head"
    spans = [Span(f"{before} → {name}" if changed else name, ink, bold=True), Span(f" · {where}", ink, size=SMALL)]
    return CellRow(id, [Cell(f"{id}-title", spans, WIDTH, view.ground(id, changed, ground))], line=False)


def _small_header(view: View, block: Block) -> CellRow:
    id = f"{block.id}-head"
    return CellRow(
        id, [Cell(f"{id}-title", [Span("small pages", bold=True)], WIDTH, view.ground(id, plain="split"))], line=False
    )


def _counters(view: View, block: Block, frames: Array, old: Array | None) -> CellRow:
    """The head's reference count and flags, under the kernel's names."""
    id, name = f"{block.id}-count", view.state.kernel.refcount_name
    flags_id = f"{block.id}-flags"
    width = WIDTH - COUNT_WIDTH - 30
    if _status(frames) != COMPOUND:
        heads = (_column(frames, "flags") & PG_head).any()
        text = "each head has the count of its pages" if heads else "each page has its own count"
        text = text if _status(frames) == ORDINARY else "nobody holds any of it"
        empty = Cell(id, [], COUNT_WIDTH + 30, view.ground(id, plain="page-row"))
        return CellRow(
            "",
            [empty, Cell(flags_id, [Span(text, "muted", size=SMALL)], width, view.ground(flags_id, plain="page-row"))],
        )
    count, flags = int(_column(frames, "refcount")[0]), _flags(frames)
    before = old is not None and _status(old) == COMPOUND
    old_count = int(_column(old, "refcount")[0]) if old is not None and before else None
    spans = [Span(f"{name} "), *old_new(str(old_count) if old_count is not None else None, str(count))]
    was = _flags(old) if old is not None and before else flags
    letters = []
    for flag in dict.fromkeys((*was, *flags)):
        new, gone = flag not in was, flag not in flags
        letters.append(
            Span(
                ("+" if new else "−" if gone else "") + f"PG_{flag} ",
                "ink" if new or gone else "muted",
                new or gone,
                SMALL,
            )
        )
    while text_width(letters) > width - PAD and not letters[-1].bold:
        letters.pop()
    return CellRow(
        "",
        [
            Cell(id, spans, COUNT_WIDTH + 30, view.ground(id, old_count not in (None, count), "page-row")),
            Cell(flags_id, letters, width, view.ground(flags_id, was != flags, "page-row")),
        ],
    )


def _head_counter_rows(view: View, block: Block, frames: Array, old: Array | None) -> list[CellRow]:
    """The counters that the compound page has once, a row each. What is no compound page keeps their place."""
    before = old if old is not None and _status(old) == COMPOUND else None
    rows = []
    for counter in view.state.kernel.head_counters:
        id = f"{block.id}-{counter.column}"
        compound = _status(frames) == COMPOUND
        was, text = _told(counter, frames, before) if compound else (None, "")
        ground = view.ground(id, was is not None, "page-row")
        name = Cell(
            f"{id}-name", [Span(counter.name if compound else "", size=SMALL)], PAGE_WIDTH + COUNT_WIDTH, ground
        )
        rows.append(CellRow("", [name, Cell(id, old_new(was, text), MAP_WIDTH, ground)]))
    return rows


def _told(counter: HeadCounter, frames: Array, old: Array | None) -> tuple[str | None, str]:
    """What a counter of the head said before, None if the same, and what it says now."""
    raw = int(_column(frames, counter.column)[0])
    was = int(_column(old, counter.column)[0]) if old is not None else raw
    return (None if was == raw else counter.text(was)), counter.text(raw)


def _flags(frames: Array) -> tuple[str, ...]:
    return tuple(name for bit, name in FLAG_NAMES.items() if int(_column(frames, "flags")[0]) & bit)


def _titles(view: View, block: Block) -> CellRow:
    name = "subpage" if block.whole else "pfn"
    texts = (
        (name, PAGE_WIDTH),
        (view.state.kernel.refcount_name, COUNT_WIDTH),
        ("mapcount = _mapcount + 1", MAP_WIDTH),
    )
    cells = [
        Cell(f"{block.id}-title{i}", [Span(text, "muted", size=8.5)], width) for i, (text, width) in enumerate(texts)
    ]
    return CellRow("", cells, line=True)


def _row(view: View, block: Block, run: Rows, frames: Array, old: Array | None) -> CellRow:
    id = block.row_id(run)
    pins = view.state.kernel.scheme.tail_mapcount == "pins"
    texts = (_count(frames, run), _maps(frames, run, pins))
    before = (_count(old, run), _maps(old, run, pins)) if old is not None else texts
    free = texts[0] == "free"
    changed = [was != text and ABOVE not in (was, text) for was, text in zip(before, texts, strict=True)]
    olds = [was if new else None for was, new in zip(before, changed, strict=True)]
    spans = [old_new(was, text, "freed" if free else "ink") for was, text in zip(olds, texts, strict=True)]
    if run.runs > 1 and old is not None:  # a change may hide in the range
        for i, name in enumerate(("refcount", "mapcount")):
            if not changed[i] and (_column(old, name)[run.part] != _column(frames, name)[run.part]).any():
                changed[i] = True
                spans[i] = [Span(f"{texts[i]}, changed", bold=True)]
    # The references of a compound page are on its head, in the row above: nothing new in the zeroes of the tails.
    if texts[0] in ("0", ABOVE) and not changed[0]:
        spans[0] = [Span(texts[0], "muted")]
    cells = [
        Cell(
            f"{id}-page",
            [Span(_label(view, block, run, frames), "freed" if free else "ink")],
            PAGE_WIDTH,
            view.ground(id, any(changed)),
        ),
        Cell(f"{id}-count", spans[0], COUNT_WIDTH, view.ground(f"{id}-count", changed[0], view.ground(id))),
        Cell(f"{id}-mapcount", spans[1], MAP_WIDTH, view.ground(f"{id}-mapcount", changed[1], view.ground(id))),
    ]
    return CellRow(id, cells)


def _label(view: View, block: Block, run: Rows, frames: Array) -> str:
    if run.runs > 1:
        return run.more
    if not block.whole:
        first = block.number * view.state.geometry.nr
        return f"{first + run.start:#x}" + (f"…{first + run.stop - 1:#x}" if run.stop - run.start > 1 else "")
    flags = int(_column(frames, "flags")[run.start])
    return run.span + (" head" if flags & PG_head else "")


def _count(frames: Array, run: Rows) -> str:
    flags = _column(frames, "flags")[run.part]
    if not (flags & PG_used).any():
        return "free"
    if run.start == 0 and flags[0] & (PG_head | PG_order) == PG_head:
        return ABOVE
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


def _add_pin(graph: graphviz.Digraph, view: View, name: str) -> None:
    pin, id = view.state.pins.get(name), pin_id(name)
    new = view.previous is not None and name not in view.previous.pins
    ground = view.ground(id, new, "pin-ground")
    texts = (_pages(view.state, pin), _counted(view.state, pin)) if pin else ("", "")
    rows = [
        CellRow(
            "",
            [Cell(f"{id}-pages", [Span(f"{name}: ", "pin", bold=True), Span(texts[0], "pin")], NOTE_WIDTH, ground)],
            line=False,
        ),
        CellRow("", [Cell(f"{id}-counted", [Span(texts[1], "pin", size=SMALL)], NOTE_WIDTH, ground)], line=False),
    ]
    graph.node(
        id,
        table(rows),
        id=id,
        shape="note",
        margin="0.02",
        color=light("pin"),
        fillcolor=light(ground),
        style="filled" if pin else "invis",
        **{"class": "pin"},
    )


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
