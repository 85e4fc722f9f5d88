"""mlock, mremap and what a VMA remembers: what no recording shows."""

from __future__ import annotations

from functools import partial

import pytest

from thplab import BadInput, Machine
from thplab.hardware.frames import PG_mlocked
from thplab.hardware.page_tables import pte_write
from thplab.hardware.steps import drain
from thplab.kernel.kernels import KERNELS
from thplab.machine.state import State
from thplab.machine.trace import Setup, record
from thplab.scenario.text import read_operation
from thplab.study.invariants import check_state
from thplab.study.observe import smaps

EAGAIN, ENOMEM, EFAULT, EBUSY, EINVAL = -11, -12, -14, -16, -22
NEWER = KERNELS["v4.5"].but(
    {"advice.known": KERNELS["v4.5"].advice.known | {"populate_write", "wipeonfork"}, "split.debugfs": "range"}
)

each_kernel = pytest.mark.parametrize("kernel", KERNELS)
since_the_rfc = pytest.mark.parametrize("kernel", [name for name, kernel in KERNELS.items() if kernel.scheme.pmd_split_is_local])


def bench(kernel: str = "v4.5", *ops: str) -> Machine:
    """Regions R and D of two huge pages each; the first of R was written to, each page a content of its own."""
    machine = Machine(NEWER if kernel == "newer" else kernel)
    a = machine.spawn("A")
    for region in "RD":
        a.mmap(2, region=region)
    a.fill(0, 8)
    for line in ops:
        machine.call(read_operation(line))
    return machine


def marked(machine: Machine) -> int:
    """How many pages, small ones and heads, have PG_mlocked."""
    return len(machine.system.frames.marked(PG_mlocked))


def counters(state: State) -> list[list[int]]:
    """Every counter of every page of the huge pages."""
    fields = ("refcount", "mapcount", "compound_mapcount")
    return [[int(v) for name in fields for v in state.column(name, head, 8)] for head in state.compound_pages()]


# --- mlock ------------------------------------------------------------------------------------------------------------


@since_the_rfc
def test_mlock_of_a_part_cuts_the_vma_and_splits_only_the_pmd(kernel: str) -> None:
    machine = bench(kernel)
    assert machine["A"].mlock(3, 2) == 0
    state = machine.state
    assert len(state.vmas("A", "R")) == 3 and machine.vmstat["thp_split_pmd"] == 1
    assert smaps(state, "A", "R")["Locked"] == 8 and len(state.compound_pages()) == 1
    assert machine["A"].munlock(0, 16) == 0
    assert len(machine.state.vmas("A", "R")) == 1 and smaps(machine.state, "A")["Locked"] == 0


@each_kernel
def test_mlock_of_a_whole_huge_page_changes_no_counter(kernel: str) -> None:
    machine = bench(kernel)
    before = machine.state
    machine["A"].mlock(0, 8)
    assert counters(machine.state) == counters(before) and machine.state.pmd_maps == before.pmd_maps
    assert smaps(machine.state, "A")["Locked"] == 32


@each_kernel
def test_a_child_does_not_inherit_the_lock(kernel: str) -> None:
    machine = bench(kernel, "mlock A 0 8", "fork A B")
    state = machine.state
    assert smaps(state, "A")["Locked"] == 16, "half of it is B's now"
    assert smaps(state, "B")["Locked"] == 0


def test_mlock_faults_everything_in() -> None:
    machine = bench()
    machine["A"].mprotect(8, 8, "r")
    assert machine["A"].mlock(0, 16) == 0
    state = machine.state
    assert None not in state.contents("A") and machine.vmstat["thp_fault_alloc"] == 1, "what is read-only gets the zero page"
    machine["A"].mlock(0, 8, region="D")
    assert machine.vmstat["thp_fault_alloc"] == 2, "what can be written gets memory of its own"


def test_mlock_of_shared_memory_copies_it_now() -> None:
    machine = bench("v4.5", "fork A B")
    contents = machine.state.contents("B")
    machine["B"].mlock(0, 8)
    state = machine.state
    assert {len(names) for names in state.pmd_maps.values()} == {1} and len(state.pmd_maps) == 2
    assert state.contents("B") == contents == state.contents("A")
    assert all(pte_write(m.entry) for m in state.mapped if m.process == "B")


def test_what_mlock_cannot_do() -> None:
    machine = bench("v4.5", "munmap A 5 1")
    assert machine["A"].mlock(4, 3) == ENOMEM
    assert machine["A"].munlock(5, 1) == ENOMEM
    locked = [v for v in machine.state.vmas("A", "R") if "locked" in v.flags]
    assert [(v.end - v.start) // 4096 for v in locked] == [1], "page 4, before the gap"
    machine["A"].mprotect(8, 8, "none")
    assert machine["A"].mlock(8, 8) == ENOMEM, "nothing can be faulted in"
    assert machine.state.contents("A")[8:] == (None,) * 8
    assert sum("locked" in v.flags for v in machine.state.vmas("A", "R")) == 2, "but the VMA is locked"


def test_mlock_without_memory_says_try_again() -> None:
    machine = Machine("v4.5", memory=16)
    machine.spawn("A").mmap(2)
    machine["A"].write(0)
    assert machine["A"].mlock(0, 16) == EAGAIN
    assert check_state(machine.state) == []


def test_locked_memory_is_not_thrown_away() -> None:
    machine = bench("v4.5", "mlock A 2 2")
    assert machine["A"].madvise(0, 8, "dontneed") == EINVAL
    contents = machine.state.contents("A")
    assert contents[:2] == (None, None) and None not in contents[2:8], "only what came before it is gone"


def test_locked_memory_that_becomes_writable_is_copied_at_once() -> None:
    ops = ["mprotect A 0 8 r", "mlock A 0 8"]
    machine = bench("v4.5", *ops, "mprotect A 0 8 rw")
    assert all(pte_write(m.entry) for m in machine.state.mapped)


@each_kernel
def test_reclaim_leaves_locked_memory_alone(kernel: str) -> None:
    machine = Machine(kernel, swap="swap")
    for line in ("mmap A advise=none", "fill A 0 8", "mlock A 0 4"):
        machine.call(read_operation(line))
    assert machine["A"].swap_out(0) == EBUSY and machine["A"].swap_out(4) == 0
    assert sum(m.kind == "swap" for m in machine.state.mapped) == 1
    machine["A"].munlock(0, 4)
    assert machine["A"].swap_out(0) == 0 and check_state(machine.state) == []


def test_a_locked_vma_keeps_a_page_whose_mark_was_missed() -> None:
    machine = Machine("v6.12", swap="zram")
    for line in ("mmap A advise=none", "fill A 0 8", "madvise A 0 8 pageout", "mlock A 0 8"):
        machine.call(read_operation(line))
    assert not marked(machine), "what was read from the device is not marked (recorded: mlk_swapped_zram)"
    assert machine["A"].swap_out(0) == EBUSY and marked(machine) == 1
    assert not any(m.kind == "swap" for m in machine.state.mapped) and check_state(machine.state) == []


def test_a_mark_without_a_mapping_is_found() -> None:
    machine = Machine("v5.10")
    for line in ("mmap A", "fill A 0 8", "pin A 0 1 p raw", "mlock A 0 8", "munmap A 0 8"):
        machine.call(read_operation(line))
    assert not marked(machine) and check_state(machine.state) == []
    machine.system.frames.flags[machine.state.compound_pages()[0]] |= PG_mlocked
    assert [v.invariant for v in check_state(machine.state)] == ["what_is_locked_in_memory_is_mapped"]


def test_a_page_that_two_processes_lock_says_so_until_the_last_one_unlocks_it() -> None:
    line = "mmap A advise=none; write A 0; mprotect A 0 1thp r; fork A B; mlock A 0 1; mlock B 0 1; munlock B 0 1; munlock A 0 1"
    trace = record(line, Setup("v6.18"))
    said = [(frame.op_index, frame.step.text.partition(": ")[2]) for frame in trace.frames[1:] if frame.step and frame.step.text.startswith("pfn")]
    assert [text for op, text in said if op == 6] == ["locked in memory once less"]
    assert [text for op, text in said if op == 7] == ["PG_mlocked cleared"]


# --- mremap -----------------------------------------------------------------------------------------------------------


@since_the_rfc
def test_a_whole_huge_page_moves_by_its_pmd_and_takes_its_table_along(kernel: str) -> None:
    machine = bench(kernel)
    machine["A"].mmap(8, region="FAR")  # so that FAR ends under another PMD table
    before = machine.state
    assert machine["A"].mremap(0, 8, "FAR", 56) == 0
    state = machine.state
    assert counters(state) == counters(before) and machine.vmstat["thp_split_pmd"] == 0
    ((old,), (new,)) = before.mapped, state.mapped
    assert new.entry == old.entry and new.table != old.table
    assert [table for table, _ in state.process("A").deposited] == [new.table]
    assert state.contents("A", "FAR")[56:] == before.contents("A")[:8]
    assert check_state(state) == []


@since_the_rfc
@pytest.mark.parametrize(("start", "npages", "at"), [(5, 1, 0), (0, 8, 1), (2, 6, 8), (0, 16, 0)])
def test_a_moved_page_is_found_by_a_split_of_the_huge_page(kernel: str, start: int, npages: int, at: int) -> None:
    at = min(at, 16 - npages)
    machine = bench(kernel)
    contents = machine.state.contents("A")[start : start + npages]
    counts = counters(machine.state)
    assert machine["A"].mremap(start, npages, "D", at) == 0
    whole = machine.vmstat["thp_split_pmd"] == 0
    assert whole == (start == 0 and npages == 16)
    assert (counters(machine.state) == counts) == whole
    assert machine["A"].split(at, region="D") == 0
    state = machine.state
    assert state.contents("A", "D")[at : at + npages] == contents and state.compound_pages() == ()
    assert check_state(state) == []


@since_the_rfc
def test_pins_stay_with_the_page_that_moves(kernel: str) -> None:
    machine = bench(kernel, "pin A 5 1 dma")
    pinned = machine.system.pins["dma"].pages
    machine["A"].mremap(5, 1, "D", 3)
    state = machine.state
    assert [m.pfn for m in state.mapped if m.address == dict(state.process("A").regions)["D"].start + 3 * 4096] == list(pinned)
    assert machine["A"].split(3, region="D") == machine.system.kernel.split.refused


def test_what_was_at_the_destination_is_unmapped_first() -> None:
    machine = bench("v4.5", "write A 0 16 value=7 region=D")
    machine["A"].mprotect(4, 1, "r")
    assert machine["A"].mremap(3, 2, "D", 0) == EFAULT
    state = machine.state
    assert state.contents("A", "D")[:3] == (None, None, 7), "although nothing could move: the source is in two VMAs"
    assert None not in state.contents("A")[:8]
    machine["A"].mremap(4, 1, "D", 8)
    assert machine.state.contents("A", "D")[8] == state.contents("A")[4]
    assert machine["A"].write(8, region="D") == EFAULT, "the protection moves, too"
    assert check_state(machine.state) == []


def test_source_and_destination_may_not_overlap() -> None:
    machine = bench()
    before = machine.state
    assert machine["A"].mremap(0, 3, "R", 2) == EINVAL
    assert machine.state.exact == before.exact


def test_pages_that_come_back_are_one_vma_again() -> None:
    machine = bench()
    for page in (5, 6):
        machine["A"].mremap(page, 1, "D", page)
    assert len(machine.state.vmas("A", "D")) == 3, "the two pages lie in a row, the rest of D on both sides"
    machine["A"].mremap(5, 2, "R", 5, region="D")
    assert len(machine.state.vmas("A", "R")) == 1
    machine["A"].mmap(region="NEW")
    machine["A"].mremap(6, 1, "NEW", 2, region="NEW")
    assert [(v.end - v.start) // 4096 for v in machine.state.vmas("A", "NEW")] == [6, 1], "memory without pages fits anywhere"


def test_without_memory_for_a_table_everything_moves_back() -> None:
    results = []
    for spare in range(5):
        machine = Machine("v4.5", memory=32)
        machine.spawn("A").mmap()
        machine["A"].mmap(8, region="FAR")
        machine["A"].fill(0, 8)
        tables = machine.system.tables
        taken = list(iter(partial(tables.alloc, 0), None))
        for _ in range(spare):
            tables.free(taken.pop())
        before = machine.state
        results.append(drain(machine.begin(read_operation("mremap A 0 8 FAR 55"))))
        for table in taken:
            tables.free(table)
        after = machine.state
        assert check_state(after) == [], f"{spare} frames were free"
        moved, stayed = after.contents("A", "FAR")[55:63], after.contents("A")
        assert (stayed if results[-1] else moved) == before.contents("A")
        assert set(moved if results[-1] else stayed) == {None}
    assert results == [ENOMEM, ENOMEM, ENOMEM, 0, 0], "none, one and two of three tables"


# --- what a VMA remembers ---------------------------------------------------------------------------------------------


def test_populate_write_is_a_write_that_stores_nothing() -> None:
    machine = bench("newer", "fork A B")
    contents = machine.state.contents("B")
    assert machine["B"].madvise(0, 16, "populate_write") == 0
    state = machine.state
    assert state.contents("B") == (*contents[:8], *(0,) * 8)
    assert all(pte_write(m.entry) for m in state.mapped if m.process == "B")
    machine["B"].mprotect(0, 1, "r")
    assert machine["B"].madvise(0, 8, "populate_write") == EINVAL


def test_wipeonfork_gives_the_child_zeroes_and_its_child_as_well() -> None:
    machine = bench("newer")
    assert machine["A"].madvise(0, 4, "wipeonfork") == 0
    machine["A"].fork("B")
    assert machine.state.contents("B")[:4] == (None,) * 4 and machine.state.contents("B")[4:8] == machine.state.contents("A")[4:8]
    machine["B"].write(0, 4)
    machine["B"].fork("C")
    assert machine.state.contents("C")[:4] == (None,) * 4
    assert check_state(machine.state) == []


@each_kernel
def test_mergeable_cuts_the_vma_and_unmergeable_heals_it(kernel: str) -> None:
    machine = bench(kernel)
    machine["A"].madvise(3, 1, "mergeable")
    assert [sorted(v.flags) for v in machine.state.vmas("A", "R")] == [["hugepage"], ["hugepage", "mergeable"], ["hugepage"]]
    machine["A"].madvise(0, 16, "unmergeable")
    assert len(machine.state.vmas("A", "R")) == 1


def test_a_vma_without_pages_takes_its_neighbours_reverse_map() -> None:
    machine = Machine("v4.5")
    machine.spawn("A").mmap()
    machine["A"].mprotect(3, 1, "r")
    machine["A"].write(4, 2)
    machine["A"].mprotect(3, 1, "rw")
    (vma,) = machine.state.vmas("A")
    assert len(vma.chain) == 1 and check_state(machine.state) == []
    machine["A"].write(0, 8, value=9)
    assert check_state(machine.state) == []


# --- splits and settings ----------------------------------------------------------------------------------------------


def test_debugfs_splits_everything_a_range_or_does_not_exist() -> None:
    left = {}
    for kernel in ("rfc-2014", "v4.5", "newer"):
        machine = bench(kernel, "write A 8", "write A 0 region=D")
        machine["A"].read(8, region="D")
        result = machine["A"].split(5, 6, "debugfs")
        assert check_state(machine.state) == []
        left[kernel] = (result, len(machine.state.compound_pages()))
    assert left == {"rfc-2014": (-2, 3), "v4.5": (0, 0), "newer": (0, 1)}


def test_debugfs_does_not_try_a_pinned_page_of_a_range() -> None:
    for kernel, failed in (("v4.5", 1), ("newer", 0)):
        machine = bench(kernel, "pin A 5 1 dma")
        assert machine["A"].split(0, 8, "debugfs") == 0
        assert machine.vmstat["thp_split_page_failed"] == failed and len(machine.state.compound_pages()) == 1
        assert check_state(machine.state) == []


@since_the_rfc
def test_a_pinned_page_is_refused_by_its_pin_mapped_or_not(kernel: str) -> None:
    machine = bench(kernel, "pin A 5 1 dma")
    assert machine["A"].split(pin="dma") == machine.system.kernel.split.refused
    machine["A"].munmap(0, 8)
    assert machine["A"].split(pin="dma") == -16
    assert machine.vmstat["thp_split_page_failed"] == 2 and len(machine.state.compound_pages()) == 1


def test_a_pin_of_a_small_page_is_no_huge_page() -> None:
    machine = bench("v4.5", "split A 0", "pin A 5 1 dma")
    with pytest.raises(BadInput, match="pin 'dma' holds a page that is not part of a huge page"):
        machine["A"].split(pin="dma")


def test_max_ptes_none_is_kept_with_the_state() -> None:
    path = "/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none"
    machine = Machine("v4.5")
    assert machine.system.settings["max_ptes_none"] == 7
    before = machine.state
    assert machine.sys(path, "3") == 0
    assert Machine.restored(machine.state).system.settings == machine.system.settings != before.settings
    assert machine.state.exact != before.exact
    assert machine.sys(path, "8") == EINVAL == machine.sys(path, "all")
    assert machine.system.settings["max_ptes_none"] == 3
