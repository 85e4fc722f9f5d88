"""The settings of /sys: what each file takes, which kernels have it, and what it changes."""

from __future__ import annotations

import pytest
from filled_machine import NR, at_rest, events, with_thps

from thplab import Machine
from thplab.errors import EINVAL, ENOENT
from thplab.kernel.kernels import KERNELS
from thplab.machine.operations.callers import SYS_FILES

THP = "/sys/kernel/mm/transparent_hugepage"
DEFRAG = f"{THP}/defrag"
ENABLED, ZERO, UNDERUSED = f"{THP}/enabled", f"{THP}/use_zero_page", f"{THP}/shrink_underused"
NONE, SWAP, SHARED = (f"{THP}/khugepaged/max_ptes_{what}" for what in ("none", "swap", "shared"))
KSM = "/sys/kernel/mm/ksm/use_zero_pages"
SINCE = {UNDERUSED: "v6.12", SWAP: "v5.10", SHARED: "v5.10", KSM: "v5.10"}
"""File -> the first of our kernels that has it; else all have it."""
ORDER = ["rfc-2014", "v3.16", "v4.5", "v5.10", "v6.1", "v6.12", "v6.18"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("path", [path for path in SYS_FILES if path.startswith("/sys")])
def test_what_a_file_takes(path: str, kernel: str) -> None:
    machine = Machine(kernel)
    good = "never" if path in (ENABLED, DEFRAG) else "1" if path == KSM else "0"
    before = machine.state
    if ORDER.index(kernel) < ORDER.index(SINCE.get(path, ORDER[0])):
        assert machine.sys(path, good) == -ENOENT and machine.state.exact == before.exact
        return
    assert [machine.sys(path, bad) for bad in ("9", "-1", "some")] == [-EINVAL] * 3
    assert machine.state.exact == before.exact
    assert machine.sys(path, good) == 0
    assert at_rest(Machine.restored(machine.state)).exact == machine.state.exact


@pytest.mark.parametrize("kernel", KERNELS)
def test_defrag_takes_what_the_kernel_knows_and_changes_nothing_here(kernel: str) -> None:
    late = ORDER.index(kernel) >= ORDER.index("v5.10")
    machine = Machine(kernel)
    assert [machine.sys(DEFRAG, mode) for mode in ("always", "madvise", "never")] == [0] * 3
    assert [machine.sys(DEFRAG, mode) for mode in ("defer", "defer+madvise")] == [0 if late else -EINVAL] * 2
    machine.spawn("A").mmap()
    machine["A"].write(0)
    assert [m.level for m in at_rest(machine).mapped] == [1]


@pytest.mark.parametrize("kernel", KERNELS)
def test_enabled_says_who_gets_huge_pages(kernel: str) -> None:
    for mode, expected in (("never", (0, 0, 0)), ("madvise", (1, 0, 0)), ("always", (1, 1, 0))):
        machine = Machine(kernel)
        assert machine.sys(ENABLED, mode) == 0
        for name, advise in (("A", "hugepage"), ("B", "none"), ("C", "none")):
            machine.spawn(name).mmap(1, advise)
        machine["C"].madvise(0, NR, "nohugepage")
        for name in "ABC":
            machine[name].write(0)
        by_pmd = [m.process for m in at_rest(machine).mapped if m.level]
        assert tuple(by_pmd.count(name) for name in "ABC") == expected


@pytest.mark.parametrize(("mode", "expected"), [("never", 0), ("madvise", 0), ("always", 1)])
def test_khugepaged_looks_where_huge_pages_may_be(mode: str, expected: int) -> None:
    machine = Machine("v6.12")
    machine.spawn("A").mmap(1, "none")
    machine["A"].fill(0, NR)
    machine.sys(ENABLED, mode)
    machine.khugepaged_scan(1)
    assert len(at_rest(machine).compound_pages()) == expected
    assert machine["A"].madvise(0, NR, "collapse") == 0, "whoever asks for it gets it in every mode"
    assert len(at_rest(machine).compound_pages()) == 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_without_the_huge_zero_page_a_read_gets_a_huge_page(kernel: str) -> None:
    machine = Machine(kernel)
    machine.sys(ZERO, "0")
    machine.spawn("A").mmap()
    machine["A"].read(0)
    assert [m.kind for m in at_rest(machine).mapped] == ["page"] and not machine.state.huge_zero_page
    assert machine.state.contents("A") == (0,) * NR and events(machine, "thp_fault_alloc") == (1,)


@pytest.mark.parametrize("kernel", ["v6.12", "v6.18"])
def test_new_huge_pages_are_queued_only_to_find_underused_ones(kernel: str) -> None:
    for value, queued in (("1", 1), ("0", 0)):
        machine = Machine(kernel)
        assert machine.sys(UNDERUSED, value) == machine.sys(NONE, "2") == 0
        machine.spawn("A").mmap()
        machine["A"].write(0)
        assert len(at_rest(machine).deferred) == queued
        machine.sys("/proc/sys/vm/drop_caches", "2")
        assert events(machine, "thp_underused_split_page") == (queued,)
    machine["A"].fill(0, NR)
    machine["A"].munmap(2, 1)
    assert len(at_rest(machine).deferred) == 1, "a partially mapped one is queued in any case"


@pytest.mark.parametrize("limit", [4, 5])
@pytest.mark.parametrize("kernel", ["v5.10", "v6.1", "v6.12", "v6.18"])
def test_khugepaged_takes_so_many_shared_pages(kernel: str, limit: int) -> None:
    machine = with_thps(kernel)
    machine["A"].split(0)
    machine["A"].fork("B")
    machine["B"].write(0, 3, value=7)
    machine.sys(SHARED, str(limit))
    machine["A"].write(0, 3, value=3)
    machine["A"].read(0, NR)
    machine.khugepaged_scan(1)
    assert len([m for m in at_rest(machine).mapped if m.level and m.process == "A"]) == (limit == 5)


@pytest.mark.parametrize("limit", [1, 2])
def test_khugepaged_takes_so_many_swapped_pages(limit: int) -> None:
    machine = Machine("v6.12", swap="zram")
    machine.spawn("A").mmap()
    machine["A"].fill(0, NR)
    machine["A"].split(0)
    machine["A"].madvise(0, 2, "pageout")
    machine.sys(SWAP, str(limit))
    machine.khugepaged_scan(1)
    assert [m.level for m in at_rest(machine).mapped if m.level] == [1] * (limit == 2)
    assert events(machine, "thp_scan_exceed_swap_pte")[0] > 0 or limit == 2


@pytest.mark.parametrize("value", ["0", "1"])
@pytest.mark.parametrize("kernel", ["v5.10", "v6.1", "v6.12", "v6.18"])
def test_ksm_may_map_the_zero_page(kernel: str, value: str) -> None:
    machine = Machine(kernel)
    machine.sys(KSM, value)
    machine.spawn("A").mmap(1, "none")
    machine["A"].fill(0, 3, "zero")
    machine["A"].fill(3, 1)
    machine["A"].madvise(0, NR, "mergeable")
    machine.ksm_scan(3)
    state = at_rest(machine)
    kinds = [m.kind for m in state.mapped for _ in range(m.count)]
    assert kinds == (["zero"] * 3 + ["page"] if value == "1" else ["page"] * 4)
    assert bool(state.ksm.stable) is (value == "0")
    machine["A"].write(0, value=1)
    assert at_rest(machine).contents("A")[:3] == (1, 0, 0)
    assert machine["A"].madvise(0, NR, "unmergeable") == 0
    pages = sum(m.count for m in at_rest(machine).mapped if m.kind == "page")
    assert pages == (2 if value == "1" and kernel in ("v5.10", "v6.1") else 4), "since 6.6 zero pages of KSM's are broken up, too"
    assert machine.state.contents("A")[:3] == (1, 0, 0)
