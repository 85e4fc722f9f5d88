"""madvise and the deferred split queue, on the kernels that have them."""

from __future__ import annotations

import pytest

from thplab import BadInput, Machine
from thplab.hardware.frames import PG_partially_mapped
from thplab.kernel.kernels import KERNELS


def machine_with_a_huge_page(kernel: str) -> tuple[Machine, int]:
    machine = Machine(kernel)
    machine.spawn("A").mmap()
    machine["A"].write(0)
    return machine, machine.state.compound_pages()[0]


@pytest.mark.parametrize("kernel", KERNELS)
def test_dontneed_takes_the_pages_and_leaves_the_vma(kernel: str) -> None:
    machine, head = machine_with_a_huge_page(kernel)
    machine["A"].madvise(2, 3, "dontneed")
    state = machine.state
    assert state.contents("A") == (0x55, 0, None, None, None, 0, 0, 0)
    assert len(state.process("A").vmas) == 1
    kept = (head,) if KERNELS[kernel].scheme.pmd_split_is_local else ()
    assert state.compound_pages() == kept, "the page is kept as a whole, except before the RFC"
    machine["A"].write(3, value=9)
    assert machine.state.contents("A")[3] == 9


@pytest.mark.parametrize("kernel", KERNELS)
def test_nohugepage_on_a_part_cuts_the_vma_and_splits_the_pmd(kernel: str) -> None:
    machine, _ = machine_with_a_huge_page(kernel)
    machine["A"].madvise(2, 1, "nohugepage")
    assert len(machine.state.process("A").vmas) == 3
    assert machine.vmstat["thp_split_pmd" if KERNELS[kernel].scheme.pmd_split_is_local else "thp_split"] == 1
    machine["A"].madvise(2, 1, "hugepage")
    assert len(machine.state.process("A").vmas) == 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_dontfork_keeps_a_part_from_the_child(kernel: str) -> None:
    machine, _ = machine_with_a_huge_page(kernel)
    machine["A"].madvise(0, 4, "dontfork")
    machine["A"].fork("B")
    assert machine.state.contents("B") == (None,) * 4 + (0,) * 4


def test_an_advice_that_the_kernel_does_not_know_is_einval() -> None:
    machine, _ = machine_with_a_huge_page("v4.5")
    assert machine["A"].madvise(0, 1, "cold") == -22


def test_without_a_queue_a_hole_is_kept_and_with_one_the_shrinker_frees_it() -> None:
    # docs/KERNEL.md, table 5, "munmap 4k": the RFC queues nothing, v4.5 does.
    free = {}
    for kernel in ("rfc-2014", "v4.5"):
        machine, _ = machine_with_a_huge_page(kernel)
        machine["A"].munmap(3, 1)
        before = machine.system.frames.buddy.nr_free
        machine.sys("/proc/sys/vm/drop_caches", "2")
        free[kernel] = machine.system.frames.buddy.nr_free - before
    assert free == {"rfc-2014": 0, "v4.5": 1}


@pytest.mark.parametrize(
    ("kernel", "queued", "event", "marked"),
    [
        ("v4.5", (False, True), None, False),  # no event before 4.6, no flag before folios: docs/KERNEL.md 3.1
        ("v5.10", (False, True), 1, False),
        ("v6.1", (False, True), 1, False),
        ("v6.12", (True, True), 1, True),  # tests/truth/README.md part A, surprise 7: every new huge page is queued, the flag tells
        ("v6.18", (True, True), 1, True),
    ],
)
def test_what_says_that_a_part_is_mapped_no_more(kernel: str, queued: tuple[bool, bool], event: int | None, marked: bool) -> None:
    machine, head = machine_with_a_huge_page(kernel)
    full = machine.state
    machine["A"].munmap(3, 1)
    hole = machine.state
    assert (full.deferred == (head,), hole.deferred == (head,)) == queued
    assert machine.vmstat.get("thp_deferred_split_page") == event
    assert [bool(state.field("flags", head) & PG_partially_mapped) for state in (full, hole)] == [False, marked]


def test_a_setting_that_makes_no_sense() -> None:
    machine, _ = machine_with_a_huge_page("v4.5")
    with pytest.raises(BadInput, match="value is 'all'; expected 1, 2 or 3"):
        machine.sys("/proc/sys/vm/drop_caches", "all")


def test_a_pinned_page_stays_on_the_queue() -> None:
    machine, head = machine_with_a_huge_page("v4.5")
    machine["A"].pin(1, 1, "dma")
    machine["A"].munmap(3, 1)
    machine.sys("/proc/sys/vm/drop_caches", "2")
    assert machine.state.deferred == (head,) and machine.vmstat["thp_split_page_failed"] == 1
    machine.unpin("dma")
    machine.sys("/proc/sys/vm/drop_caches", "2")
    after = machine.state
    assert after.deferred == () and after.compound_pages() == ()


def test_io_uring_does_not_exist_yet() -> None:
    machine, _ = machine_with_a_huge_page("v4.5")
    assert machine["A"].pin(0, 1, "ring", "io_uring") == -38
    assert not machine.system.pins
