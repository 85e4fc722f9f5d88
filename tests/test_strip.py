"""The strip: references = mappings + pins, at every step of every kernel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from thplab import record
from thplab.hardware.frames import COLUMNS
from thplab.kernel.kernels import KERNELS
from thplab.machine.trace import Setup, Trace
from thplab.show.strip import Strip, followed, strip

THREE_WAYS = "mmap A; fill A 0 1thp; fork A B; mprotect B 4 1 r; pin A 4 1 dma; split A 0; unpin dma; split A 0; exit A; exit B"


def strips(trace: Trace) -> list[Strip]:
    head = followed(trace)
    assert head is not None
    return [strip(frame.state, head) for frame in trace]


def ends(scenario: str, kernel: str) -> list[str]:
    trace = record(scenario, Setup(kernel))
    return [s.text for s, frame in zip(strips(trace), trace, strict=True) if frame.result is not None]


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_equation_holds_at_every_step_and_nothing_is_in_hand_at_rest(kernel: str) -> None:
    trace = record(THREE_WAYS, Setup(kernel))
    for s, frame in zip(strips(trace), trace, strict=True):
        assert s.references == s.mappings + s.pins + s.cached + s.kept + s.in_hand
        assert s.in_hand >= 0, (frame, s)
        assert frame.state.in_progress or s.in_hand == 0, (frame, s)


def test_ends_of_operations() -> None:
    assert ends(THREE_WAYS, "rfc-2014") == [
        "", "1 = 1 + 0", "2 = 2 + 0", "9 = 9 + 0", "10 = 9 + 1", "10 = 9 + 1", "9 = 9 + 0", "8 pages: 2 each", "8 pages: 1 each", "",
    ]  # fmt: skip
    assert ends("mmap A; fill A 0 1thp; pin A 4 1 dma; split A 0; unpin dma", "v3.16")[2:] == [
        "2 = 1 + 1", "8 pages: 1 each, page 4: 2", "8 pages: 1 each",
    ]  # fmt: skip


def test_what_a_routine_has_in_hand_stands_by_itself() -> None:
    trace = record("mmap A; fill A 0 1thp; split_pmd A 0; split A 0", Setup("v4.5"))
    texts = dict.fromkeys(s.text for s in strips(trace))
    assert list(texts)[3:7] == ["8 = 1 + 0 + 7 in hand", "8 = 8 + 0", "9 = 8 + 0 + 1 in hand", "9 = 7 + 0 + 2 in hand"]
    assert "8 = 0 + 0 + 8 in hand" in texts, "every mapping is frozen: a migration entry is none"


def test_memory_failure_has_a_term_of_its_own() -> None:
    marked = "mmap A; fill A 0 1thp; pin A 4 1 dma; madvise A 4 1 hwpoison; unpin dma"
    assert ends(marked, "rfc-2014")[-2:] == ["3 = 1 + 1 + 1 for ever", "2 = 1 + 0 + 1 for ever"]


def test_mappings_and_pins_are_counted_apart_from_the_references() -> None:
    trace = record("mmap A; fill A 0 1thp", Setup("rfc-2014"))
    head, state = followed(trace), trace[-1].state
    assert head is not None and strip(state, head).text == "1 = 1 + 0"
    for stored, text in ((5, "5 = 1 + 0 + 4 in hand"), (0, "0 = 1 + 0 − 1 in hand")):
        blocks = {number: block.copy() for number, block in state.blocks.items()}
        blocks[head // 8][COLUMNS.index("refcount"), head % 8] = stored
        assert strip(replace(state, blocks=blocks), head).text == text


def test_a_trace_without_a_huge_page_has_none_to_follow() -> None:
    assert followed(record("mmap A", Setup("rfc-2014"))) is None
    trace = record("mmap A; fill A 0 1thp", Setup("rfc-2014"))
    head = followed(trace)
    assert head is not None and strip(trace[0].state, head).text == ""


def test_many_odd_pages_are_not_all_named() -> None:
    pins = "; ".join(f"pin A {page} 1 p{page}" for page in (0, 2, 4, 6))
    texts = ends(f"mmap A; fill A 0 1thp; split A 0; {pins}; unpin p0", "v4.5")
    assert texts[-2:] == ["8 pages: 2 each, page 1: 1, page 3: 1, page 5: 1, …", "8 pages: 1 each, page 2: 2, page 4: 2, page 6: 2"]


def test_the_swap_cache_has_a_term_of_its_own() -> None:
    last = strips(record("mmap A; fill A 0 1thp; swap_out A 0", Setup("v6.18", swap="swap")))[-1]
    assert last.text == "8 = 0 + 0 + 8 in the swap cache"
