"""The ledger to fill in: its numbers are those of the state in every kernel, and what is blank can be told from the picture."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pictures import Picture

from thplab.errors import BadInput
from thplab.kernel.kernels import KERNELS
from thplab.learn.widgets import Ledger
from thplab.learn.widgets.ledger_payload import cells_of
from thplab.learn.widgets.payload import ledger_groups
from thplab.machine.state import State
from thplab.machine.trace import Setup, record
from thplab.show.diagrams import DETAILS
from thplab.show.ledger import NOBODY, ledger, small_pages

FORK = "mmap A; write A 0; fork A B; mprotect B 1/2thp 1 r; pin A 5 1 dma"
PINNED = "mmap A; write A 0; fork A B; pin A 3 2 dma"
SCENARIOS = [
    PINNED,
    FORK,
    FORK + "; munmap A 2 1; exit B",
    "mmap A; write A 0; munmap A 1 1; pin A 0 1 dma how=io_uring",
]


def accounts(widget: Ledger) -> list[dict[str, Any]]:
    return [account for group in widget._data["groups"] for account in group["accounts"]]


def number(cell: dict[str, Any]) -> int:
    return int(cell["actual"], 0)


def test_a_scheme_of_the_readers_own_has_an_account() -> None:
    class Mine(type(KERNELS["v4.5"].scheme)):  # type: ignore[misc]
        name = "mine"

    own = replace(KERNELS["v4.5"], name="mine", scheme=Mine())
    assert "as the scheme mine has it" in json.dumps(Ledger(PINNED, kernel=own, gaps="all")._data)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_numbers_are_what_the_scheme_expects_of_the_page_tables(kernel: str, scenario: str) -> None:
    widget = Ledger(scenario, kernel=kernel, gaps="all")
    state = widget.frame.state
    for account in accounts(widget):
        assert number(account["total"]) == sum(number(row["cell"]) for row in account["rows"]), account["name"]
        assert NOBODY not in {row["holder"] for row in account["rows"]}
    for head in state.compound_pages():
        part = slice(head, head + state.geometry.nr)
        pmds, flags = len(state.pmd_maps.get(head, ())), state.field("flags", head)
        expected = state.kernel.scheme.expected(pmds, state.pte_maps[part], state.pinned[part], flags)
        totals = {a["name"]: number(a["total"]) for a in group(widget, f"compound page {head:#x}")}
        assert totals[f"head {state.kernel.refcount_name}"] == expected.refcount[0]
        assert totals["head mapcount"] == expected.mapcount[0] + 1
        for counted in ledger(state, head):
            if counted.column == "mapcount" and counted.first > head:
                raw = expected.mapcount[counted.first - head : counted.last - head + 1]
                assert {int(value) + 1 for value in raw} == {totals[counted.name]}
        for counter in state.kernel.head_counters:
            if counter.column in expected.head and f"head {counter.name}" in totals:
                assert totals[f"head {counter.name}"] == counter.logical(expected.head[counter.column])


def group(widget: Ledger, title: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = next(g["accounts"] for g in widget._data["groups"] if g["title"] == title)
    return found


@pytest.mark.parametrize("kernel", KERNELS)
def test_each_counter_says_whether_it_is_logical_and_how_the_raw_field_stands_to_it(kernel: str) -> None:
    widget = Ledger(PINNED, kernel=kernel)
    state = widget.frame.state
    (head,) = state.compound_pages()
    for account, shown in zip(ledger(state, head), group(widget, f"compound page {head:#x}"), strict=True):
        less = shown["stored"].endswith("holds 1 less")
        assert less or shown["stored"] == "stored as it is"
        assert state.field(account.column, account.first) == account.value - less
        assert shown["stored"].startswith("pins, no mapcount") == (
            kernel == "v3.16" and account.name.startswith("tail") and less
        )
        assert shown["stored"].startswith("logical count") == (less and "pins" not in shown["stored"])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("geometry", ["TOY", "X86_64"])
def test_what_is_blank_can_be_seen_in_the_picture(kernel: str, geometry: str) -> None:
    widget = Ledger(FORK, kernel=kernel, geometry=geometry, gaps="all")
    blank = 0
    pictures = [Picture(sheet.svg()) for detail in DETAILS for sheet in widget.sheets(detail)]
    for account in accounts(widget):
        assert account["total"]["blank"]
        for row in account["rows"]:
            cell = row["cell"]
            assert cell["blank"] == (row["by"] not in ("offset", "ENTIRELY_MAPPED")), row
            assert bool(cell["marks"]) == cell["blank"]
            assert all(picture.says(mark) for mark in cell["marks"] for picture in pictures), cell["marks"]
            assert not cell["blank"] or row["holder"] in cell["where"] or row["by"] == "subpages with a PTE"
            blank += cell["blank"]
    assert widget.cells == blank + len(accounts(widget))
    assert not {"Compound", "_count", "mapcount"} & set(widget._data["entries"].split())


def test_hints_name_the_rule_and_the_row() -> None:
    widget = Ledger(FORK, gaps="all")
    (count, head, tails) = accounts(widget)
    b = next(row["cell"] for row in count["rows"] if row["holder"] == "B")
    assert (b["actual"], b["where"], b["why"]) == ("8", "entries 0…7 of B's PTE table", "B: 8 PTEs, in head _count")
    assert b["rule"].startswith("Each PTE holds one reference.") and {mark.split("-r")[0] for mark in b["marks"]} == {
        "B-pte0-0"
    }
    assert [row["cell"]["where"] for row in head["rows"]] == ["entry 0 of A's PMD table", "entry 0 of B's PTE table"]
    assert "counts PMDs and the PTEs of page 0 together" in head["total"]["rule"]
    assert tails["rows"][0]["cell"]["where"] == "entries 1…7 of B's PTE table"
    assert set(tails["rows"][0]["cell"]["marks"]) < set(b["marks"])
    old = next(a for a in accounts(Ledger(PINNED, kernel="v3.16", gaps="all")) if a["name"] == "tails 3–4 pins")
    assert "counts the pins" in old["total"]["rule"] and old["rows"][0]["cell"]["marks"] == ["pin-dma"]


def test_gaps_are_chosen_by_the_seed() -> None:
    def blanks(gaps: str, seed: int = 0) -> list[bool]:
        return [cell["blank"] for account in accounts(Ledger(FORK, gaps=gaps, seed=seed)) for cell in cells_of(account)]

    assert not any(blanks("none")) and blanks("some") == blanks("some")
    some = {tuple(blanks("some", seed)) for seed in range(4)}
    assert len(some) > 1 and all(0 < sum(each) < sum(blanks("all")) for each in some)
    assert "can" not in accounts(Ledger(FORK))[0]["total"]


def test_what_the_page_shows_where_no_script_runs_does_not_tell_the_answers() -> None:
    picture, told = Ledger(FORK, gaps="all").still()
    assert picture == "" and "head _count ? = A (PMD): ? + B (PTE): ? + dma (pin of subpage 5): ?" in told
    picture, told = Ledger(FORK).still()
    assert picture.startswith("<svg") and "head _count 10 = A (PMD): 1 + B (PTE): 8 + dma (pin of subpage 5): 1" in told


def test_what_is_in_a_routines_hand_is_given() -> None:
    trace = record("mmap A; write A 0; fork A B; swap_out A 0", Setup("rfc-2014", "TOY"))
    hand = next(
        step
        for frame in trace
        if frame.step
        for step in [frame.step.text]
        if step.startswith("reclaim takes the page off the LRU")
    )
    widget = Ledger(trace, step=hand, gaps="all")
    last = accounts(widget)[0]["rows"][-1]
    assert (last["holder"], last["by"]) == ("in the hands of reclaim of one page", "in hand")
    assert (last["cell"]["actual"], last["cell"]["blank"]) == ("1", False)


def test_a_foll_pin_of_a_small_page_is_explained_in_full() -> None:
    state = end("mmap A advise=none; write A 0 3; pin A 1 1 dma how=io_uring; pin A 2 1 dmb how=vmsplice", "v5.10")
    texts = [account.text for account in small_pages(state)]
    assert (
        "page 0x6 _refcount 1025 = A: PTE + dma: 1 pin of 1024 each" in texts
        and "page 0x7 _refcount 2 = A: PTE + dmb: pin" in texts
    )


def test_a_counter_that_carries_a_flag_is_shown_in_hexadecimal() -> None:
    state = end(FORK, "v6.18")
    shown = next(account for account in ledger(state, 8) if account.column == "nr_pages_mapped")
    assert shown.text == "head _nr_pages_mapped 0x800008 = PTEs: of 8 subpages + a PMD: ENTIRELY_MAPPED"
    frame = record(FORK, Setup("v6.18", "TOY"))[-1]
    lines = {line[0]: line for g in ledger_groups(frame, None) for line in g["rows"]}
    assert lines["head _nr_pages_mapped"][2] == "0x800008" and lines["head _refcount"][2] == 10


def end(scenario: str, kernel: str) -> State:
    return record(scenario, Setup(kernel, "TOY"))[-1].state


def test_bad_input_is_named() -> None:
    with pytest.raises(BadInput, match="gaps is 'few'; expected one of none, some, all"):
        Ledger(FORK, gaps="few")
    with pytest.raises(BadInput, match="step is 999"):
        Ledger(FORK, step=999)
    assert accounts(Ledger("mmap A")) == [] and Ledger("mmap A", gaps="some").cells == 0
