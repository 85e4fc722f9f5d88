"""mlock, mremap and what a VMA remembers: what no recording shows."""

from __future__ import annotations

from functools import partial

import pytest

from thplab import BadInput, Machine
from thplab.hardware.page_tables import pte_write
from thplab.hardware.steps import drain
from thplab.kernel.kernels import KERNELS
from thplab.machine.state import State, capture, restore
from thplab.study.invariants import check_state
from thplab.study.observe import smaps

EAGAIN, ENOMEM, EFAULT, EINVAL = -11, -12, -14, -22
NEWER = KERNELS["v4.5"].but(
    {"advice.known": KERNELS["v4.5"].advice.known | {"populate_write", "wipeonfork"}, "split.debugfs": "range"}
)

each_kernel = pytest.mark.parametrize("kernel", KERNELS)
since_the_rfc = pytest.mark.parametrize("kernel", [name for name, kernel in KERNELS.items() if kernel.scheme.pmd_split_is_local])


def bench(kernel: str = "v4.5", *ops: tuple[str, dict[str, object]]) -> Machine:
    """Regions R and D of two huge pages each; the first of R was written to, each page a content of its own."""
    machine = Machine(NEWER if kernel == "newer" else kernel)
    for region in "RD":
        machine.call("mmap", proc="A", pages=16, region=region)
    machine.call("fill", proc="A", start=0, npages=8)
    for op, fields in ops:
        machine.call(op, **fields)
    return machine


def counters(state: State) -> list[list[int]]:
    """Every counter of every page of the huge pages."""
    fields = ("refcount", "mapcount", "compound_mapcount")
    return [[int(v) for name in fields for v in state.column(name, head, 8)] for head in state.compound_pages()]


# --- mlock ------------------------------------------------------------------------------------------------------------


@since_the_rfc
def test_mlock_of_a_part_cuts_the_vma_and_splits_only_the_pmd(kernel: str) -> None:
    machine = bench(kernel)
    assert machine.call("mlock", proc="A", start=3, npages=2) == 0
    state = capture(machine)
    assert len(state.vmas("A", "R")) == 3 and machine.vmstat["thp_split_pmd"] == 1
    assert smaps(state, "A", "R")["Locked"] == 8 and len(state.compound_pages()) == 1
    assert machine.call("munlock", proc="A", start=0, npages=16) == 0
    assert len(capture(machine).vmas("A", "R")) == 1 and smaps(capture(machine), "A")["Locked"] == 0


@each_kernel
def test_mlock_of_a_whole_huge_page_changes_no_counter(kernel: str) -> None:
    machine = bench(kernel)
    before = capture(machine)
    machine.call("mlock", proc="A", start=0, npages=8)
    assert counters(capture(machine)) == counters(before) and capture(machine).pmd_maps == before.pmd_maps
    assert smaps(capture(machine), "A")["Locked"] == 32


@each_kernel
def test_a_child_does_not_inherit_the_lock(kernel: str) -> None:
    machine = bench(kernel, ("mlock", {"proc": "A", "start": 0, "npages": 8}), ("fork", {"proc": "A", "child": "B"}))
    state = capture(machine)
    assert smaps(state, "A")["Locked"] == 16, "half of it is B's now"
    assert smaps(state, "B")["Locked"] == 0


def test_mlock_faults_everything_in() -> None:
    machine = bench()
    machine.call("mprotect", proc="A", start=8, npages=8, prot="r")
    assert machine.call("mlock", proc="A", start=0, npages=16) == 0
    state = capture(machine)
    assert None not in state.contents("A") and machine.vmstat["thp_fault_alloc"] == 1, "what is read-only gets the zero page"
    machine.call("mlock", proc="A", start=0, npages=8, region="D")
    assert machine.vmstat["thp_fault_alloc"] == 2, "what can be written gets memory of its own"


def test_mlock_of_shared_memory_copies_it_now() -> None:
    machine = bench("v4.5", ("fork", {"proc": "A", "child": "B"}))
    contents = capture(machine).contents("B")
    machine.call("mlock", proc="B", start=0, npages=8)
    state = capture(machine)
    assert {len(names) for names in state.pmd_maps.values()} == {1} and len(state.pmd_maps) == 2
    assert state.contents("B") == contents == state.contents("A")
    assert all(pte_write(m.entry) for m in state.mapped if m.process == "B")


def test_what_mlock_cannot_do() -> None:
    machine = bench("v4.5", ("munmap", {"proc": "A", "start": 5}))
    assert machine.call("mlock", proc="A", start=4, npages=3) == ENOMEM
    assert machine.call("munlock", proc="A", start=5) == ENOMEM
    locked = [v for v in capture(machine).vmas("A", "R") if "locked" in v.flags]
    assert [(v.end - v.start) // 4096 for v in locked] == [1], "page 4, before the gap"
    machine.call("mprotect", proc="A", start=8, npages=8, prot="none")
    assert machine.call("mlock", proc="A", start=8, npages=8) == ENOMEM, "nothing can be faulted in"
    assert capture(machine).contents("A")[8:] == (None,) * 8
    assert sum("locked" in v.flags for v in capture(machine).vmas("A", "R")) == 2, "but the VMA is locked"


def test_mlock_without_memory_says_try_again() -> None:
    machine = Machine("v4.5", memory=16)
    machine.call("mmap", proc="A", pages=16)
    machine.call("write", proc="A", start=0)
    assert machine.call("mlock", proc="A", start=0, npages=16) == EAGAIN
    assert check_state(capture(machine)) == []


def test_locked_memory_is_not_thrown_away() -> None:
    machine = bench("v4.5", ("mlock", {"proc": "A", "start": 2, "npages": 2}))
    assert machine.call("madvise", proc="A", start=0, npages=8, advice="dontneed") == EINVAL
    contents = capture(machine).contents("A")
    assert contents[:2] == (None, None) and None not in contents[2:8], "only what came before it is gone"


def test_locked_memory_that_becomes_writable_is_copied_at_once() -> None:
    ops = [("mprotect", {"proc": "A", "start": 0, "npages": 8, "prot": "r"}), ("mlock", {"proc": "A", "start": 0, "npages": 8})]
    machine = bench("v4.5", *ops, ("mprotect", {"proc": "A", "start": 0, "npages": 8, "prot": "rw"}))
    assert all(pte_write(m.entry) for m in capture(machine).mapped)


# --- mremap -----------------------------------------------------------------------------------------------------------


@since_the_rfc
def test_a_whole_huge_page_moves_by_its_pmd_and_takes_its_table_along(kernel: str) -> None:
    machine = bench(kernel)
    machine.call("mmap", proc="A", pages=64, region="FAR")  # so that FAR ends under another PMD table
    before = capture(machine)
    assert machine.call("mremap", proc="A", start=0, npages=8, to="FAR", at=56) == 0
    state = capture(machine)
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
    contents = capture(machine).contents("A")[start : start + npages]
    counts = counters(capture(machine))
    assert machine.call("mremap", proc="A", start=start, npages=npages, to="D", at=at) == 0
    whole = machine.vmstat["thp_split_pmd"] == 0
    assert whole == (start == 0 and npages == 16)
    assert (counters(capture(machine)) == counts) == whole
    assert machine.call("split", proc="A", start=at, region="D") == 0
    state = capture(machine)
    assert state.contents("A", "D")[at : at + npages] == contents and state.compound_pages() == ()
    assert check_state(state) == []


@since_the_rfc
def test_pins_stay_with_the_page_that_moves(kernel: str) -> None:
    machine = bench(kernel, ("pin", {"proc": "A", "start": 5, "pin": "dma"}))
    pinned = machine.system.pins["dma"].pages
    machine.call("mremap", proc="A", start=5, to="D", at=3)
    state = capture(machine)
    assert [m.pfn for m in state.mapped if m.address == dict(state.process("A").regions)["D"].start + 3 * 4096] == list(pinned)
    assert machine.call("split", proc="A", start=3, region="D") == machine.system.kernel.split.refused


def test_what_was_at_the_destination_is_unmapped_first() -> None:
    machine = bench("v4.5", ("write", {"proc": "A", "start": 0, "npages": 16, "value": 7, "region": "D"}))
    machine.call("mprotect", proc="A", start=4, prot="r")
    assert machine.call("mremap", proc="A", start=3, npages=2, to="D", at=0) == EFAULT
    state = capture(machine)
    assert state.contents("A", "D")[:3] == (None, None, 7), "although nothing could move: the source is in two VMAs"
    assert None not in state.contents("A")[:8]
    machine.call("mremap", proc="A", start=4, to="D", at=8)
    assert capture(machine).contents("A", "D")[8] == state.contents("A")[4]
    assert machine.call("write", proc="A", start=8, region="D") == EFAULT, "the protection moves, too"
    assert check_state(capture(machine)) == []


def test_source_and_destination_may_not_overlap() -> None:
    machine = bench()
    before = capture(machine)
    assert machine.call("mremap", proc="A", start=0, npages=3, to="R", at=2) == EINVAL
    assert capture(machine).exact == before.exact


def test_pages_that_come_back_are_one_vma_again() -> None:
    machine = bench()
    for page in (5, 6):
        machine.call("mremap", proc="A", start=page, to="D", at=page)
    assert len(capture(machine).vmas("A", "D")) == 3, "the two pages lie in a row, the rest of D on both sides"
    machine.call("mremap", proc="A", start=5, npages=2, to="R", at=5, region="D")
    assert len(capture(machine).vmas("A", "R")) == 1
    machine.call("mmap", proc="A", pages=8, region="NEW")
    machine.call("mremap", proc="A", start=6, to="NEW", at=2, region="NEW")
    assert [(v.end - v.start) // 4096 for v in capture(machine).vmas("A", "NEW")] == [6, 1], "memory without pages fits anywhere"


def test_without_memory_for_a_table_everything_moves_back() -> None:
    results = []
    for spare in range(5):
        machine = Machine("v4.5", memory=32)
        machine.call("mmap", proc="A", pages=8)
        machine.call("mmap", proc="A", pages=64, region="FAR")
        machine.call("fill", proc="A", start=0, npages=8)
        tables = machine.system.tables
        taken = list(iter(partial(tables.alloc, 0), None))
        for _ in range(spare):
            tables.free(taken.pop())
        before = capture(machine)
        results.append(drain(machine.begin("mremap", proc="A", start=0, npages=8, to="FAR", at=55)))
        for table in taken:
            tables.free(table)
        after = capture(machine)
        assert check_state(after) == [], f"{spare} frames were free"
        moved, stayed = after.contents("A", "FAR")[55:63], after.contents("A")
        assert (stayed if results[-1] else moved) == before.contents("A")
        assert set(moved if results[-1] else stayed) == {None}
    assert results == [ENOMEM, ENOMEM, ENOMEM, 0, 0], "none, one and two of three tables"


# --- what a VMA remembers ---------------------------------------------------------------------------------------------


def test_populate_write_is_a_write_that_stores_nothing() -> None:
    machine = bench("newer", ("fork", {"proc": "A", "child": "B"}))
    contents = capture(machine).contents("B")
    assert machine.call("madvise", proc="B", start=0, npages=16, advice="populate_write") == 0
    state = capture(machine)
    assert state.contents("B") == (*contents[:8], *(0,) * 8)
    assert all(pte_write(m.entry) for m in state.mapped if m.process == "B")
    machine.call("mprotect", proc="B", start=0, prot="r")
    assert machine.call("madvise", proc="B", start=0, npages=8, advice="populate_write") == EINVAL


def test_wipeonfork_gives_the_child_zeroes_and_its_child_as_well() -> None:
    machine = bench("newer")
    assert machine.call("madvise", proc="A", start=0, npages=4, advice="wipeonfork") == 0
    machine.call("fork", proc="A", child="B")
    assert capture(machine).contents("B")[:4] == (None,) * 4 and capture(machine).contents("B")[4:8] == capture(machine).contents("A")[4:8]
    machine.call("write", proc="B", start=0, npages=4)
    machine.call("fork", proc="B", child="C")
    assert capture(machine).contents("C")[:4] == (None,) * 4
    assert check_state(capture(machine)) == []


@each_kernel
def test_mergeable_cuts_the_vma_and_unmergeable_heals_it(kernel: str) -> None:
    machine = bench(kernel)
    machine.call("madvise", proc="A", start=3, npages=1, advice="mergeable")
    assert [sorted(v.flags) for v in capture(machine).vmas("A", "R")] == [["hugepage"], ["hugepage", "mergeable"], ["hugepage"]]
    machine.call("madvise", proc="A", start=0, npages=16, advice="unmergeable")
    assert len(capture(machine).vmas("A", "R")) == 1


def test_a_vma_without_pages_takes_its_neighbours_reverse_map() -> None:
    machine = Machine("v4.5")
    machine.call("mmap", proc="A", pages=8)
    machine.call("mprotect", proc="A", start=3, prot="r")
    machine.call("write", proc="A", start=4, npages=2)
    machine.call("mprotect", proc="A", start=3, prot="rw")
    (vma,) = capture(machine).vmas("A")
    assert len(vma.chain) == 1 and check_state(capture(machine)) == []
    machine.call("write", proc="A", start=0, npages=8, value=9)
    assert check_state(capture(machine)) == []


# --- splits and settings ----------------------------------------------------------------------------------------------


def test_debugfs_splits_everything_a_range_or_does_not_exist() -> None:
    left = {}
    for kernel in ("rfc-2014", "v4.5", "newer"):
        machine = bench(kernel, ("write", {"proc": "A", "start": 8}), ("write", {"proc": "A", "start": 0, "region": "D"}))
        machine.call("read", proc="A", start=8, region="D")
        result = machine.call("split", proc="A", start=5, npages=6, how="debugfs")
        assert check_state(capture(machine)) == []
        left[kernel] = (result, len(capture(machine).compound_pages()))
    assert left == {"rfc-2014": (-2, 3), "v4.5": (0, 0), "newer": (0, 1)}


def test_debugfs_does_not_try_a_pinned_page_of_a_range() -> None:
    for kernel, failed in (("v4.5", 1), ("newer", 0)):
        machine = bench(kernel, ("pin", {"proc": "A", "start": 5, "pin": "dma"}))
        assert machine.call("split", proc="A", start=0, npages=8, how="debugfs") == 0
        assert machine.vmstat["thp_split_page_failed"] == failed and len(capture(machine).compound_pages()) == 1
        assert check_state(capture(machine)) == []


@since_the_rfc
def test_a_pinned_page_is_refused_by_its_pin_mapped_or_not(kernel: str) -> None:
    machine = bench(kernel, ("pin", {"proc": "A", "start": 5, "pin": "dma"}))
    assert machine.call("split", proc="A", pin="dma") == machine.system.kernel.split.refused
    machine.call("munmap", proc="A", start=0, npages=8)
    assert machine.call("split", proc="A", pin="dma") == -16
    assert machine.vmstat["thp_split_page_failed"] == 2 and len(capture(machine).compound_pages()) == 1


def test_a_pin_of_a_small_page_is_no_huge_page() -> None:
    machine = bench("v4.5", ("split", {"proc": "A", "start": 0}), ("pin", {"proc": "A", "start": 5, "pin": "dma"}))
    with pytest.raises(BadInput, match="pin 'dma' holds a page that is not part of a huge page"):
        machine.call("split", proc="A", pin="dma")


def test_max_ptes_none_is_kept_with_the_state() -> None:
    path = "/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none"
    machine = Machine("v4.5")
    assert machine.system.settings["max_ptes_none"] == 7
    before = capture(machine)
    assert machine.call("sys", path=path, value="3") == 0
    assert restore(capture(machine)).system.settings == {"max_ptes_none": 3}
    assert capture(machine).exact != before.exact
    assert machine.call("sys", path=path, value="8") == EINVAL == machine.call("sys", path=path, value="all")
    assert machine.system.settings["max_ptes_none"] == 3
