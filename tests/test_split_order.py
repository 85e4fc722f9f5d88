"""Splits to an order above 0: the compound pages that come out, and what everybody does with them."""

from __future__ import annotations

import pytest
from filled_machine import NR, at_rest, events, madvise, mapped_to, same, with_thps

from thplab import Machine
from thplab.errors import EAGAIN, EINVAL
from thplab.hardware.frames import PG_partially_mapped
from thplab.machine.state import State
from thplab.show.describe.state_text import describe
from thplab.show.diagrams import svg
from thplab.study.observe import smaps

FOLIOS = ["v6.12", "v6.18"]
ORDER, SIZE = 2, 4
"""Of TOY's pages of order 3 the only other one that anonymous memory may have."""


def split_in_two(kernel: str, swap: str = "") -> Machine:
    machine = Machine(kernel, swap=swap)
    machine.spawn("A").mmap()
    machine["A"].fill(0, NR)
    assert machine["A"].split(0, order=ORDER) == 0
    return machine


def parts(state: State) -> list[tuple[int, int]]:
    """Size and reference count of each compound page."""
    return [(state.compound(head).stop - head, state.field("refcount", head)) for head in state.compound_pages()]


@pytest.mark.parametrize("kernel", FOLIOS)
def test_smaps_asks_the_head_of_each_for_its_flags(kernel: str) -> None:
    machine = split_in_two(kernel)
    assert madvise(machine, "free", SIZE, SIZE) == 0
    assert smaps(machine.state, "A")["LazyFree"] == SIZE * 4


@pytest.mark.parametrize("kernel", FOLIOS)
def test_smaller_compound_pages_come_out(kernel: str) -> None:
    machine = with_thps(kernel)
    machine["A"].fork("B")
    before = at_rest(machine)
    assert machine["A"].split(5, order=ORDER) == 0
    state = at_rest(machine)
    assert parts(state) == [(SIZE, 2 * SIZE)] * 2 and state.huge_pages() == () and state.deferred == ()
    assert [state.contents(p) for p in "AB"] == [before.contents(p) for p in "AB"]
    assert events(machine, "thp_split_page", "thp_split_pmd") == (1, 2)
    assert f"Compound page {mapped_to(state, SIZE):#x}, {SIZE} pages, new" in describe(state, before)
    assert "2 smaller compound pages" in svg(state, before)
    assert at_rest(Machine.restored(state)).exact == state.exact
    machine["B"].exit()
    machine["A"].exit()
    assert machine.system.frames.buddy.nr_free == state.nframes - 1


@pytest.mark.parametrize("kernel", FOLIOS)
def test_only_single_pages_are_replaced_by_the_zero_page(kernel: str) -> None:
    machine = Machine(kernel)
    machine.spawn("A").mmap()
    machine["A"].write(0)
    machine["A"].split(0, order=ORDER)
    assert parts(at_rest(machine)) == [(SIZE, SIZE)] * 2
    assert machine["A"].split(0) == machine["A"].split(SIZE) == 0
    assert [m.kind for m in at_rest(machine).mapped] == ["page", "zero"]
    assert events(machine, "thp_split_page") == (1,), "the event is about pages that a PMD can map"


@pytest.mark.parametrize("kernel", FOLIOS)
def test_a_hole_is_forgotten_until_the_next_one(kernel: str) -> None:
    machine = with_thps(kernel)
    machine["A"].munmap(1, 1)
    assert events(machine, "thp_deferred_split_page") == (1,)
    machine["A"].split(0, order=ORDER)
    state = at_rest(machine)
    first, second = state.compound_pages()
    assert parts(state) == [(SIZE, SIZE - 1), (SIZE, SIZE)] and state.deferred == ()
    assert not state.field("flags", first) & PG_partially_mapped
    machine["A"].munmap(SIZE, 1)
    state = at_rest(machine)
    assert state.deferred == (second,) and state.field("flags", second) & PG_partially_mapped
    assert events(machine, "thp_deferred_split_page") == (1,)
    machine.sys("/proc/sys/vm/drop_caches", "2")
    assert at_rest(machine).compound_pages() == (first,)
    machine["A"].munmap(0, SIZE)
    assert at_rest(machine).is_free(first)


@pytest.mark.parametrize("kernel", FOLIOS)
def test_what_cannot_be(kernel: str) -> None:
    machine = with_thps(kernel)
    before = at_rest(machine)
    assert [machine["A"].split(0, order=order) for order in (1, 3, 9)] == [-EINVAL] * 3
    assert same(machine, before) and events(machine, "thp_split_page_failed") == (0,)
    machine["A"].pin(2, 1, "dma")
    assert machine["A"].split(0, order=ORDER) == -EAGAIN
    assert events(machine, "thp_split_page_failed") == (1,)
    machine.unpin("dma")
    machine["A"].split(0, order=ORDER)
    machine["A"].pin(2, 1, "dma")
    assert machine["A"].split(0) == -EAGAIN and machine["A"].split(SIZE) == 0
    assert events(machine, "thp_split_page_failed") == (1,), "nor is this one"
    assert parts(at_rest(machine)) == [(SIZE, SIZE + 1)]


@pytest.mark.parametrize("kernel", FOLIOS)
def test_debugfs_takes_an_order(kernel: str) -> None:
    machine = with_thps(kernel, 2)
    assert machine["A"].split(0, NR + 1, "debugfs", order=ORDER) == 0
    assert parts(at_rest(machine)) == [(SIZE, SIZE)] * 4
    before = at_rest(machine)
    machine["A"].split(0, NR, "debugfs", order=ORDER)
    assert same(machine, before)


@pytest.mark.parametrize("kernel", ["v3.16", "rfc-2014", "v4.5", "v5.10", "v6.1"])
def test_older_kernels_know_no_order(kernel: str) -> None:
    machine = with_thps(kernel)
    assert machine["A"].split(0, order=ORDER) == 0 and at_rest(machine).compound_pages() == ()


@pytest.mark.parametrize("kernel", FOLIOS)
def test_a_smaller_page_goes_out_and_comes_back_as_one(kernel: str) -> None:
    machine = split_in_two(kernel, "zram")
    before = at_rest(machine)
    assert madvise(machine, "pageout", SIZE, SIZE) == 0
    state = at_rest(machine)
    assert [m.kind for m in state.mapped] == ["page", "swap"] and events(machine, "thp_swpout") == (0,)
    machine["A"].read(SIZE + 1)
    assert at_rest(machine).contents("A") == before.contents("A")


@pytest.mark.parametrize("kernel", FOLIOS)
def test_a_smaller_page_moves_as_one_and_is_collapsed(kernel: str) -> None:
    machine = split_in_two(kernel)
    before = at_rest(machine)
    assert machine["A"].migrate(SIZE + 1) == 0
    state = at_rest(machine)
    assert parts(state) == [(SIZE, SIZE)] * 2 and mapped_to(state, SIZE) != mapped_to(before, SIZE)
    assert events(machine, "thp_migration_success") == (0,)
    assert madvise(machine, "collapse", 0, NR) == 0
    state = at_rest(machine)
    assert state.huge_pages() == state.compound_pages() and state.contents("A") == before.contents("A")


@pytest.mark.parametrize("kernel", FOLIOS)
def test_one_process_copies_from_a_shared_one(kernel: str) -> None:
    machine = split_in_two(kernel)
    machine["A"].fork("B")
    machine["A"].write(SIZE, 2, value=1)
    state = at_rest(machine)
    assert parts(state) == [(SIZE, 2 * SIZE), (SIZE, 2 * SIZE - 2)]
    machine["B"].exit()
    assert len(at_rest(machine).deferred) == 1, "two of its pages have lost their last mapping"
