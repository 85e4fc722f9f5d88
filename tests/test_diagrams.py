"""The pictures: what they say and what they mark, which rows they have, and that nothing moves between them.

Facts are tested on ids, texts and classes; never on the bytes of an SVG.
"""

from __future__ import annotations

import random
import re
from itertools import pairwise

import numpy as np
import pytest
from pictures import GEOMETRIES, NS, Box, Picture, after, last_of, mid, pictures, step, story
from random_scenarios import operations

from thplab.errors import BadInput
from thplab.hardware.page_tables import PTE_PFN_MASK
from thplab.machine.machine import Machine
from thplab.machine.snapshot import capture
from thplab.machine.state import State
from thplab.machine.trace import Setup, record
from thplab.scenario import load
from thplab.show.diagrams import DETAILS, FULL, SIMPLE, Cut, Painter, Sheet, svg
from thplab.show.diagrams.arrows import arrows
from thplab.show.diagrams.places import IN_HAND, LINKED, find_tables

# --- what the story shows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_after_fork_two_thick_arrows_lead_to_the_page(geometry: str) -> None:
    for detail in DETAILS:
        trace, drawn = story(geometry, detail)
        picture = drawn[after(trace, "fork")]
        assert picture.arrows("huge") == ["A-pmd0-r0--page0-head", "B-pmd0-r0--page0-head"]
        assert picture.arrows("pte") == []
        for name in "AB":
            assert picture.says(f"{name}-pmd0-r0--page0-head") == f"all {trace[0].state.geometry.nr}"
        assert picture.says("page0-count-name") == "head _count" and picture.says("page0-count") == "2"
    for name in "AB":
        assert picture.says(f"{name}-pte0-0-head") == "PTE table deposited"
        assert picture.says(f"{name}-pte0-0-r{mid(geometry)}-entry") == ""
    order = trace[0].state.geometry.order
    assert picture.says("page0-head").startswith(f"compound page order {order} · pfn 0x")


@pytest.mark.parametrize(("geometry", "size"), [("TOY", "32 KiB"), ("X86_64", "2 MiB")])
def test_the_simple_picture_counts_tables_that_wait_and_tells_how_large_a_page_is(geometry: str, size: str) -> None:
    trace, drawn = story(geometry, SIMPLE)
    picture = drawn[after(trace, "fork")]
    assert picture.says("page0-head") == f"compound page {size}"
    for name in "AB":
        assert picture.says(f"process-{name}-title") == f"{name} rw  ·  1 deposited"
        assert f"{name}-pte0-0" not in picture.groups
        assert picture.says(f"{name}-pmd0-r0-entry") == "huge · r"
    withdrawn = drawn[step(trace, "withdraw", "mprotect")]
    assert withdrawn.says("process-B-title").endswith("1 → 0 deposited") and withdrawn.marked("process-B-title")


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_after_the_pmd_split_b_has_pte_rows_and_a_keeps_its_thick_arrow(geometry: str) -> None:
    middle = mid(geometry)
    rows = [0, 1, middle, middle + 1]
    for detail in DETAILS:
        trace, drawn = story(geometry, detail)
        nr = trace[0].state.geometry.nr
        picture = drawn[after(trace, "mprotect")]
        assert picture.arrows("huge") == ["A-pmd0-r0--page0-head"]
        assert picture.arrows("table") == ["B-pmd0-r0--B-pte0-0-head"]
        assert picture.arrows("pte") == sorted(f"B-pte0-0-r{i}--page0-r{i}" for i in rows)
        spans = ["0", f"1…{middle - 1}", str(middle), f"{middle + 1}…{nr - 1}"]
        assert [picture.says(f"B-pte0-0-r{i}-index") for i in rows] == spans
        if detail == SIMPLE:
            entries = ["r", f"r ×{middle - 1}", "r", f"r ×{nr - middle - 1}"]
            assert [picture.says(f"B-pte0-0-r{i}-entry") for i in rows] == entries
            assert picture.says("A-pmd0-r0-entry") == "huge · r"
            assert picture.says("process-B-title") == "B rw | r | rw"
    assert [picture.says(f"B-pte0-0-r{i}-times") for i in rows] == ["", f"×{middle - 1}", "", f"×{nr - middle - 1}"]
    assert picture.says("B-pte0-0-r0-entry") == "P·R·U·D"
    assert picture.says("A-pmd0-r0-entry") == "huge P·R·U·A·D·PSE"
    assert picture.says("process-B-title") == "Process B  3 vmas: rw | r | rw"


@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize(("geometry", "counts"), [("TOY", "2 → 9"), ("X86_64", "2 → 513")])
def test_the_count_of_the_head_is_marked_in_its_frame_only(geometry: str, counts: str, detail: str) -> None:
    trace, drawn = story(geometry, detail)
    number = step(trace, "head _count +=", "mprotect")
    assert drawn[number].says("page0-count") == counts
    assert drawn[number].marked("page0-count")
    assert not drawn[number].marked("page0-r1")
    assert detail == SIMPLE or not drawn[number].marked("page0-flags")
    for other in (number - 1, number + 1):
        assert "→" not in drawn[other].says("page0-count") and not drawn[other].marked("page0-count")


@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_tails_change_from_0_to_1_and_the_head_does_not(geometry: str, detail: str) -> None:
    trace, drawn = story(geometry, detail)
    picture = drawn[step(trace, "each tail _mapcount", "mprotect")]
    for i in (1, mid(geometry), mid(geometry) + 1):
        assert picture.says(f"page0-r{i}-mapcount") == "0 → 1" and picture.marked(f"page0-r{i}-mapcount")
        assert picture.says(f"page0-r{i}-count") == ("0" if detail == FULL else "")
    assert picture.says("page0-r0-mapcount") == "2" and not picture.marked("page0-r0")
    assert picture.says("page0-r0-page") == "0 head"


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_pte_table_is_the_same_node_from_its_deposit_to_its_end(geometry: str) -> None:
    trace, drawn = story(geometry)
    simple = story(geometry, SIMPLE)[1]
    assert drawn[step(trace, "allocate a PTE table", "write")].says("A-pte0-0-head") == "PTE table new, in hand"
    assert drawn[step(trace, "deposit", "write")].says("A-pte0-0-head") == "PTE table in hand → deposited"
    withdrawn = step(trace, "withdraw", "mprotect")
    assert drawn[withdrawn].says("B-pte0-0-head") == "PTE table deposited → in hand"
    assert "B-pte0-0" not in simple[withdrawn].groups, "empty, and nobody's"
    number = step(trace, "fill", "mprotect")
    for filled in (drawn[number], simple[number]):
        assert filled.says("B-pte0-0-head") == "PTE table in hand" and filled.arrows("pte") == []  # not live yet
    assert drawn[number].says("B-pte0-0-r0-entry") == "empty → page P·R·U·D"
    assert simple[number].says("B-pte0-0-r0-entry") == "r" and simple[number].marked("B-pte0-0-r0")
    assert drawn[step(trace, "allocate a PMD table", "write")].says("A-pmd0-head").startswith("PMD table new")
    number = step(trace, "PMD = the PTE table", "mprotect")
    for linked in (drawn[number], simple[number]):
        assert linked.marked("B-pte0-0-head") and linked.marked("B-pmd0-r0") and not linked.marked("A-pmd0")
    assert drawn[number].says("B-pte0-0-head") == "PTE table in hand → linked"
    assert drawn[number].says("B-pmd0-r0-entry") == "huge → table P·RW·U·A·D"
    assert simple[number].says("B-pte0-0-head") == "PTE table" and simple[number].says("B-pmd0-r0-entry") == "table"


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_changed_bits_are_written_as_old_and_new(geometry: str) -> None:
    trace, drawn = story(geometry)
    simple = story(geometry, SIMPLE)[1]
    number = step(trace, "the parent's PMD becomes read-only", "fork")
    assert drawn[number].says("A-pmd0-r0-entry") == "huge P·RW → R·U·A·D·PSE" and drawn[number].marked("A-pmd0-r0")
    assert simple[number].says("A-pmd0-r0-entry") == "huge · rw → r" and simple[number].marked("A-pmd0-r0")
    number = step(trace, "PMD marked not present", "mprotect")
    assert drawn[number].says("B-pmd0-r0-entry") == "huge P → not present·U·D·PSE"
    assert simple[number].says("B-pmd0-r0-entry") == "not present" and simple[number].marked("B-pmd0-r0")
    number = step(trace, "PTE cleared", "munmap")
    assert drawn[number].says(f"B-pte0-0-r{mid(geometry)}-entry") == "page → empty"
    assert simple[number].says(f"B-pte0-0-r{mid(geometry)}-entry") == "–"
    assert simple[number].marked(f"B-pte0-0-r{mid(geometry)}")


def test_a_pmd_with_the_old_mark_says_so_in_both_views() -> None:
    trace = record(load("mmap A; write A 0; mprotect A 4 1 r"), Setup("v3.16"))
    number = step(trace, "PMD marked splitting", "mprotect")
    for detail, text in ((SIMPLE, "splitting · rw"), (FULL, "huge P·RW·U·A·D·PSE·+splitting")):
        picture = Picture(svg(trace[number].state, trace[number - 1].state, detail))
        assert picture.says("A-pmd0-r0-entry") == text and picture.marked("A-pmd0-r0")


@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_picture_marks_what_shows_only(geometry: str, detail: str) -> None:
    """A bit that only the full picture has, such as "accessed", marks nothing in the simple one."""
    trace, drawn = story(geometry, detail)
    number = next(
        f.number
        for before, f in pairwise(trace)
        if f.op and f.op.op == "read" and dict(f.state.tables).keys() == before.state.tables.keys()
        and any((f.state.tables[pfn] != before.state.tables[pfn]).any() for pfn in f.state.tables)
    )  # fmt: skip
    assert drawn[number].unchanged == (detail == SIMPLE)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_pin_names_its_holder_and_where_it_is_counted(geometry: str) -> None:
    for detail in DETAILS:
        trace, drawn = story(geometry, detail)
        number, i = after(trace, "pin"), mid(geometry)
        counted = "(counted on the head)" if detail == FULL else ""
        assert drawn[number].says("pin-dma") == f"dma: page {i}{counted}"
        assert drawn[number].arrows("pin") == [f"pin-dma--page0-r{i}"]
        assert drawn[number].marked("pin-dma") and not drawn[number + 1].marked("pin-dma")
        assert drawn[number - 1].says("pin-dma") == drawn[after(trace, "unpin")].says("pin-dma") == ""


@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_after_the_page_split_each_page_has_its_own_counts_and_then_is_freed(geometry: str, detail: str) -> None:
    trace, drawn = story(geometry, detail)
    nr, i = trace[0].state.geometry.nr, mid(geometry)
    title = "compound page → " if detail == FULL else ""
    gone = drawn[step(trace, "the compound page is no more", "split")]
    assert gone.says("page0-head-title") == f"{title}{nr} ordinary pages" and gone.marked("page0-head")
    split = drawn[after(trace, "split")]
    assert split.says("page0-head-title") == f"{nr} ordinary pages"
    assert [split.says(f"page0-r{n}-count") for n in (1, i)] == ["2", "2"]
    assert split.says("page0-r0-count") == "3 → 2"
    steps = (f.number for f in trace if f.op and f.op.op == "munmap" and f.step and f.step.text.endswith("_count -= 1"))
    unmapped = drawn[max(steps)]
    assert unmapped.says(f"page0-r{i}-count") == "2 → 1" and unmapped.says(f"page0-r{i}-mapcount") == "1"
    freed = drawn[after(trace, "exit")]  # B is gone; A still holds the pages
    assert freed.says("page0-head-title") == f"{nr} ordinary pages"
    number = next(f.number for f in trace if f.step and f.step.text == f"free {nr} pages")
    title = f"{nr} ordinary pages → " if detail == FULL else ""
    assert drawn[number].says("page0-head-title") == f"{title}free memory"
    assert drawn[number].says("page0-r1-count") == "0 → free"
    last = drawn[-1]
    assert last.says("A-pmd0") == last.says("process-A-title") == ""
    if detail == SIMPLE:
        assert "page0" not in last.groups, "what is free, and was before, is no more to be seen"
        return
    assert last.says("page0-head-title") == "free memory" and last.says("page0-r1-count") == "free"
    assert not any(last.marked(id) for id in last.groups if id.startswith("page0"))


@pytest.mark.parametrize("detail", DETAILS)
def test_nothing_is_marked_without_a_state_before(detail: str) -> None:
    trace, _ = story("TOY")
    painter = Painter(Cut.of([f.state for f in trace]), detail)
    sheet = Sheet([painter.paint(frame.state) for frame in trace])
    for frame in trace:
        picture = Picture(sheet.svg(frame.number))
        said = " ".join(picture.says(cell.get("id", "")) for cell in picture.cells())
        assert "→" not in said.replace("PGD 2 → PUD", "") and picture.unchanged, frame.number


@pytest.mark.parametrize("detail", DETAILS)
def test_every_change_is_marked_by_colour_and_by_words(detail: str) -> None:
    trace, drawn = story("TOY", detail)
    for (before, frame), picture in zip(pairwise(trace), drawn[1:], strict=True):
        if frame.state.exact == before.state.exact:
            assert picture.unchanged, frame.step
    shown = [p for p in drawn if not p.unchanged]
    assert len(shown) > (30 if detail == FULL else 20)
    for picture in shown if detail == FULL else ():
        ids = [id for cell in picture.cells() if picture.marked(id := cell.get("id", ""))]
        words = r"→|new|[+−]PG_|Process|dma|\+"
        assert any(re.search(words, picture.says(id)) for id in ids), ids


# --- other scenarios ----------------------------------------------------------------------------------------------------------


def test_a_copied_small_page_is_a_small_page_of_its_own() -> None:
    picture = last_of("mmap A 1thp; write A 0; fork A B; mprotect B 1/2thp 1 r; write B 1", "write")
    assert picture.says("small0-head") == "small pages"
    assert picture.says("small0-title1") == "_count", "a small page has its own count, in the simple picture, too"
    arrows = [id for id in picture.arrows("pte") if "--small0-r" in id]
    assert [id.split("--")[0] for id in arrows] == ["B-pte0-0-r1"]
    assert "P·RW" in picture.says("B-pte0-0-r1-entry")


def test_zero_pages_are_one_small_node() -> None:
    assert last_of("mmap A; read A 0", "read").arrows("huge") == ["A-pmd0-r0--huge-zero-page"]
    picture = last_of("mmap A advise=none; read A 0 2", "read")
    assert "A-pte0-0-r0--zero-page" in picture.arrows("pte") and picture.says("zero-page").startswith("zero page")


def test_a_migration_entry_has_a_dotted_arrow() -> None:
    setup = Setup(kernel="rfc-2014", geometry="TOY")
    machine = setup.machine()
    machine.spawn("A").mmap()
    machine["A"].write(0)
    machine["A"].split_pmd(0)
    table = next(pfn for pfn, level in machine.system.tables.level.items() if level == 0)
    machine.system.tables.freeze(table, slice(0, 8), keep=0, exclusive=np.zeros(8, np.bool_))
    picture = Picture(svg(machine.state, detail=FULL))
    assert picture.arrows("migration") and not picture.arrows("pte")
    arrow = picture.groups[picture.arrows("migration")[0]]
    assert any(path.get("stroke-dasharray") == "1,3" for path in arrow.iter(f"{NS}path"))
    assert picture.says("A-pte0-0-r0-entry").startswith("migration")


def test_a_pin_of_a_small_page_is_counted_on_it() -> None:
    assert (
        last_of("mmap A advise=none; write A 0; pin A 0 1 nic", "pin")
        .says("pin-nic")
        .endswith("(counted on the page itself)")
    )


def test_a_hole_in_memory_is_told() -> None:
    picture = last_of("mmap A; write A 0; munmap A 2 1", "munmap")
    assert picture.says("process-A-vmas") == "0x50_0000 + 8 KiB | hole 4 KiB | 20 KiB"


def test_two_tables_that_are_split_in_turn_do_not_change_places() -> None:
    trace = record(load("mmap A 2thp; write A 0; write A 1thp; split_pmd A 0; split_pmd A 1thp"), Setup(geometry="TOY"))
    cut = Cut.of([f.state for f in trace])
    for frame in trace:
        seen = {cut.tables[place].id: stood.status for place, stood in cut.find(frame.state).items()}
        if frame.step and frame.step.text.startswith(("withdraw", "fill")):
            first = frame.op_index == 3
            assert seen["A-pte0-0"] == (IN_HAND if first else LINKED)
            assert seen["A-pte0-1"] == ("deposited" if first else IN_HAND)


# --- the cut ------------------------------------------------------------------------------------------------------------------


MIXED = "mmap A 2thp; write A 0; pin A 1 2 x; split A 0; fork A B; write B 3"


@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("scenario", ["story", "cow", "zero_page", MIXED])
def test_nothing_moves(scenario: str, geometry: str, detail: str) -> None:
    _, drawn = story(geometry, detail) if scenario == "story" else pictures(scenario, geometry, detail)
    places: dict[str, Box] = {}
    for picture in drawn:
        assert picture.root.get("viewBox") == drawn[0].root.get("viewBox")
        for id, box in picture.boxes().items():
            assert box == places.setdefault(id, box), id
    assert len(places) > 20


@pytest.mark.parametrize("detail", DETAILS)
def test_the_same_story_has_pictures_of_one_size_class(detail: str) -> None:
    small, large = (story(geometry, detail)[1][0].size() for geometry in GEOMETRIES)
    for one, other in zip(small, large, strict=True):
        assert 1 / 1.6 <= one / other <= 1.6
    assert max(small[1], large[1]) < 600


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_row_of_a_cut_is_one_run_in_every_state(geometry: str) -> None:
    trace, _ = story(geometry)
    states = [f.state for f in trace]
    cut = Cut.of(states)
    for state in states:
        for block in cut.blocks:
            for rows in block.rows:
                pfn = block.number * cut.geometry.nr + rows.start
                for field in ("refcount", "mapcount") if not state.is_free(pfn) else ():
                    assert len(set(state.column(field, pfn, rows.stop - rows.start).tolist())) == 1
        for place, stood in cut.find(state).items():
            for rows in cut.tables[place].rows:
                entries = state.tables[stood.pfn][rows.part] & np.uint64(~PTE_PFN_MASK & (1 << 64) - 1)
                assert len(set(entries.tolist())) == 1


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_tables_and_blocks_are_cut_alike(geometry: str) -> None:
    """A is split first, at no border; B and a pin cut the page later, and so the table of A too."""
    trace = record(
        load("mmap A; write A 0; fork A B; split_pmd A 0; mprotect B 2 1 none; pin A 5 1 x"), Setup(geometry=geometry)
    )
    cut = Cut.of([f.state for f in trace])
    for frame in trace:
        rows = [ends.tail_row for ends, arrow in arrows(frame.state, cut).items() if arrow.kind == "pte"]
        assert len(set(rows)) == len(rows), "one row, one arrow"
    by_id = {table.id: [rows.start for rows in table.rows] for table in cut.tables.values()}
    assert by_id["A-pte0-0"] == by_id["B-pte0-0"] == [rows.start for rows in cut.blocks[0].rows] == [0, 1, 2, 3, 5, 6]


MANY = "mmap A; write A 0; " + "; ".join(f"mprotect A {i} 1 r" for i in range(1, 20, 2)) + "; munmap A 19 1"
"""More runs than a table has rows."""


def drawn_under(scenario: str, geometry: str, numbers: tuple[int, ...]) -> list[Picture]:
    """The full pictures of some frames, under the cut of the whole trace."""
    states = [f.state for f in record(load(scenario), Setup(geometry=geometry))]
    painter = Painter(Cut.of(states), FULL)
    sheet = Sheet([painter.paint(states[n], states[n - 1]) for n in numbers])
    return [Picture(sheet.svg(number)) for number in range(len(numbers))]


def test_what_is_cut_off_is_announced() -> None:
    last = drawn_under(MANY, "X86_64", (-1,))[0]
    rows = [id for id in last.groups if re.fullmatch(r"A-pte0-0-r\d+", id)]
    assert len(rows) == 12
    assert all(re.match(r"… \d+ more runs", last.says(id)) for id in ("A-pte0-0-r11-entry", "page0-r11-page"))
    assert last.says("process-A-title").endswith("more")
    pins = "; ".join(f"pin A {i} 1 p{i}" for i in range(6))
    last = Picture(svg(record(load(f"mmap A 6thp; write A 0 6thp; fork A B; {pins}"))[-1].state))
    assert last.says("more-pages") == "… 2 more blocks" and last.says("A-more") == "… 2 more PTE tables"
    assert last.says("more-pins") == "… 2 more pins"
    assert last.arrows("huge")[-1].endswith("--more-pages")


def test_a_change_in_a_row_for_many_runs_is_marked() -> None:
    trace = record(load(MANY), Setup(geometry="X86_64"))
    numbers = (step(trace, "PTE cleared", "munmap"), step(trace, "tail 19 _mapcount", "munmap"))
    cleared, dropped = drawn_under(MANY, "X86_64", numbers)
    assert cleared.says("A-pte0-0-r11-entry").endswith("1 changed") and cleared.marked("A-pte0-0-r11")
    assert dropped.says("page0-r11-mapcount") == "1 → 0…1" and dropped.marked("page0-r11-mapcount")


def test_a_cut_wants_states_of_one_machine() -> None:
    with pytest.raises(BadInput, match="states"):
        Cut.of([])
    states = [record(load("mmap A"), Setup(geometry=g))[-1].state for g in GEOMETRIES]
    with pytest.raises(BadInput, match="geometries"):
        Cut.of(states)
    with pytest.raises(BadInput, match="X86_64"):
        Painter(Cut.of(states[1:])).paint(states[0])
    with pytest.raises(BadInput, match="detail is 'short'; expected simple or full"):
        Painter(Cut.of(states[1:]), "short")


def test_random_scenarios_can_be_drawn() -> None:
    for seed in range(6):
        states = _random_states(seed)
        cut = Cut.of(states)
        picked = random.Random(seed).sample(list(pairwise(states)), 12)
        for detail in DETAILS:
            painter = Painter(cut, detail)
            sheet = Sheet([painter.paint(now, before) for before, now in picked])
            for number in range(len(picked)):
                Picture(sheet.svg(number))
        for state in states:  # each table is at one place, and each place is of a living process
            found = find_tables(state, cut.homes, cut.known)
            assert len({stood.pfn for stood in found.values()}) == len(found)
            assert {place.process for place in found} <= {p.name for p in state.processes}


def _random_states(seed: int) -> list[State]:
    machine = Machine(geometry="TOY")
    states = [machine.state]
    for op in operations(seed, machine):
        for _ in machine.begin(op):
            states.append(capture(machine.system, in_progress=True))
    return states


def test_a_pin_tells_what_the_driver_reads_where_that_is_anything() -> None:
    copied = "mmap A; fill A 0 1thp same; pin A 2 1 p; fork A B; write A 2 value=0x99"
    for kernel, reads in (("v4.5", "reads 0x77"), ("v6.18", "reads 0x77 → 0x99")):  # copied at once; not for the driver's page
        setup = Setup(kernel, geometry="TOY")
        trace = record(load(copied if kernel == "v4.5" else copied.replace(" p;", " p io_uring;")), setup)
        sheet = Sheet.of([frame.state for frame in trace])
        told = [Picture(sheet.svg(number)).says("pin-p-reads") for number in range(len(trace))]
        assert told[-1] == reads, kernel
    assert "pin-dma-reads" not in story("TOY")[1][-30].groups, "nothing but zeroes takes no room"
