"""KSM, khugepaged and migration: what each does where the page split succeeds, and where it is refused."""

from __future__ import annotations

import pytest
from filled_machine import NR, SPLIT_FAILS, at_rest, events, madvise, mapped_to, same, with_thps

from thplab import Machine
from thplab.errors import EAGAIN, EINVAL, ENOENT
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_double_map, PG_ksm, PG_referenced
from thplab.kernel.kernels import KERNELS
from thplab.kernel.policies import Kernel
from thplab.study.observe import smaps

# --- KSM ------------------------------------------------------------------------------------------------------------------


def with_equal_pages(kernel: str | Kernel, *pages: int, thps: int = 2) -> Machine:
    machine = with_thps(kernel, thps)
    for page in pages:
        machine["A"].fill(page, 1, "same")
    madvise(machine, "mergeable", 0, thps * NR)
    return machine


@pytest.mark.parametrize("kernel", KERNELS)
def test_ksm_splits_both_huge_pages_and_merges_the_equal_pages(kernel: str) -> None:
    machine = with_equal_pages(kernel, 5, 9)
    before = machine.state.contents("A")
    machine.ksm_scan(0)
    assert len(at_rest(machine).compound_pages()) == 2, "in the first scan it only remembers checksums"
    machine.ksm_scan(0)
    state = at_rest(machine)
    assert state.compound_pages() == () and state.contents("A") == before
    assert mapped_to(state, 5) == mapped_to(state, 9)
    page = mapped_to(state, 5)
    assert state.field("refcount", page) == 2 and state.field("mapcount", page) == 1
    assert smaps(state, "A").items() >= {"Rss": 64, "Pss": 60, "AnonHugePages": 0, "KSM": 8}.items()
    machine["A"].write(9, value=3)
    state = at_rest(machine)
    assert state.contents("A")[5] == before[5] and state.contents("A")[9] == 0x7777777777777703
    assert mapped_to(state, 5) == page and smaps(state, "A")["KSM"] == 4


@pytest.mark.parametrize("kernel", KERNELS)
def test_ksm_leaves_pages_that_are_all_different(kernel: str) -> None:
    machine = with_equal_pages(kernel)
    before = machine.state
    machine.ksm_scan(2)
    assert at_rest(machine).mapped == before.mapped


@pytest.mark.parametrize("kernel", SPLIT_FAILS, ids=lambda k: k.name)
def test_ksm_gives_up_on_a_pinned_huge_page_and_undoes_its_half(kernel: Kernel) -> None:
    machine = with_equal_pages(kernel, 5, 9)
    machine["A"].pin(6, 1, "dma")
    before = machine.state
    machine.ksm_scan(2)
    state = at_rest(machine)
    assert state.contents("A") == before.contents("A")
    # The page that comes later is made ready first; its partner cannot be split off, so it becomes a page of A's own again.
    assert state.compound_pages() == before.compound_pages()[:1] and mapped_to(state, 5) == mapped_to(before, 5)
    assert mapped_to(state, 5) != mapped_to(state, 9) != mapped_to(before, 9)
    assert events(machine, "thp_split_page", "thp_split_page_failed") == (1, 2)
    machine.unpin("dma")
    machine.ksm_scan(0)
    state = at_rest(machine)
    assert mapped_to(state, 5) == mapped_to(state, 9) and state.contents("A") == before.contents("A")


def test_ksm_meets_a_pinned_page_and_leaves_it() -> None:
    machine = with_equal_pages("v4.5", 5, 9)
    machine["A"].split(0)
    machine["A"].split(9)
    machine["A"].pin(9, 1, "dma")
    before = at_rest(machine)
    machine.ksm_scan(2)
    assert at_rest(machine).mapped == before.mapped


@pytest.mark.parametrize("kernel", SPLIT_FAILS, ids=lambda k: k.name)
def test_two_equal_pages_of_one_huge_page(kernel: Kernel) -> None:
    # tests/truth/README.md part A, surprise 13: KSM's own two references are in the way of the split.
    machine = with_equal_pages(kernel, 2, 5, thps=1)
    machine.ksm_scan(4)
    state = at_rest(machine)
    if kernel.ksm.splits_after:
        assert mapped_to(state, 2) == mapped_to(state, 5)
        assert events(machine, "thp_split_page", "thp_split_page_failed") == (1, 1)
    else:
        assert len(state.compound_pages()) == 1
        assert events(machine, "thp_split_page", "thp_split_page_failed") == (0, 4)


def test_a_page_of_ksm_has_a_limit_of_sharers_from_v5_10_on() -> None:
    for limit, pages in ((0, 1), (3, 3)):
        kernel = KERNELS["v4.5"].but({"ksm.max_sharing": limit})
        machine = with_equal_pages(kernel)
        machine["A"].split(0)
        machine["A"].split(NR)
        machine["A"].fill(0, 2 * NR - 8, "same")
        machine.ksm_scan(2)
        state = at_rest(machine)
        assert len({mapped_to(state, page) for page in range(NR)}) == pages


@pytest.mark.parametrize("unshares", [False, True])
def test_unmergeable_gives_everybody_a_page_of_his_own(unshares: bool) -> None:
    kernel = KERNELS["v4.5"].but({"ksm.unshares": unshares})
    machine = with_equal_pages(kernel, 5, 9)
    machine.ksm_scan(1)
    before = at_rest(machine).contents("A")
    madvise(machine, "unmergeable", 0, NR)
    state = at_rest(machine)
    assert state.contents("A") == before and mapped_to(state, 5) != mapped_to(state, 9)
    entry = next(m.entry for m in state.mapped if m.pfn == mapped_to(state, 5))
    assert bool(entry & 2) is not unshares, "a copy that nobody has written to is read-only"
    assert state.field("flags", mapped_to(state, 9)) & PG_ksm


def test_a_fork_shares_the_pages_of_ksm_and_is_scanned_as_well() -> None:
    machine = with_equal_pages("v4.5", 5, 9)
    machine.ksm_scan(1)
    machine["A"].fork("B")
    machine.ksm_scan(2)
    state = at_rest(machine)
    assert state.ksm.mms == ("A", "B") and state.field("mapcount", mapped_to(state, 5)) == 3
    machine["A"].exit()
    machine["B"].write(5, value=1)
    assert at_rest(machine).contents("B")[5] == 0x7777777777777701 and machine.state.ksm.mms == ("B",)


# --- khugepaged -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_khugepaged_collapses_small_pages_that_were_touched(kernel: str) -> None:
    machine = with_thps(kernel)
    machine["A"].split(0)
    machine["A"].read(0, NR)
    before = at_rest(machine)
    machine.khugepaged_scan(0)
    state = at_rest(machine)
    assert state.contents("A") == before.contents("A") and len(state.compound_pages()) == 1
    assert smaps(state, "A")["AnonHugePages"] == 32
    machine["A"].munmap(3, 1)
    assert at_rest(machine).contents("A")[2:5] == (before.contents("A")[2], None, before.contents("A")[4])


@pytest.mark.parametrize("how", ["raw", "vmsplice"])
def test_khugepaged_takes_what_a_driver_was_given_for_pages_in_use(how: str) -> None:
    machine = with_thps("v4.5")
    machine["A"].pin(2, 1, "dma", how)
    machine.unpin("dma")
    machine["A"].split(0)
    machine.khugepaged_scan(0)
    assert bool(at_rest(machine).compound_pages()) is (how == "vmsplice"), "the entries of split pages are old on v4.5"


def test_pages_that_two_processes_filled_are_different() -> None:
    machine = with_thps("v4.5")
    machine["A"].fork("B")
    machine["B"].fill(0, NR)
    assert not set(at_rest(machine).contents("A")) & set(machine.state.contents("B"))


@pytest.mark.parametrize("kernel", KERNELS)
def test_khugepaged_leaves_a_range_with_a_pinned_page(kernel: str) -> None:
    machine = with_thps(kernel)
    machine["A"].split(0)
    machine["A"].read(0, NR)
    machine["A"].pin(2, 1, "dma")
    before = at_rest(machine)
    machine.khugepaged_scan(2)
    assert same(machine, before)


@pytest.mark.parametrize("kernel", SPLIT_FAILS, ids=lambda k: k.name)
def test_khugepaged_and_a_huge_page_that_is_mapped_by_ptes(kernel: Kernel) -> None:
    machine = with_thps(kernel)
    machine["A"].split_pmd(0)
    before = at_rest(machine)
    machine.khugepaged_scan(0)
    state = at_rest(machine)
    assert state.contents("A") == before.contents("A")
    collapsed = state.compound_pages() != before.compound_pages()
    assert collapsed is (kernel.khugepaged.takes_shared and len(state.pmd_maps) == 1)


@pytest.mark.parametrize("kernel", KERNELS)
def test_holes_up_to_max_ptes_none(kernel: str) -> None:
    machine = with_thps(kernel)
    machine["A"].split(0)
    machine["A"].munmap(7, 1)
    machine.spawn("B").mmap(advise="none")
    machine["B"].write(0, 6)
    madvise(machine, "hugepage", 0, NR, "B")
    machine.sys("/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none", "1")
    before = at_rest(machine)
    machine.khugepaged_scan(0)
    assert at_rest(machine).mapped == before.mapped, "A's VMA is too small, B has two empty entries"
    machine.sys("/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none", "2")
    machine.khugepaged_scan(0)
    state = at_rest(machine)
    assert state.contents("B") == (0x55,) * 6 + (0, 0) and smaps(state, "B")["Rss"] == 32


def collapsing(**policies: object) -> Kernel:
    """v4.5 with MADV_COLLAPSE, and with these policies of khugepaged."""
    base = KERNELS["v4.5"]
    khugepaged = {f"khugepaged.{name}": value for name, value in policies.items()}
    return base.but({"advice.known": base.advice.known | {"collapse"}, "khugepaged.takes_shared": True, **khugepaged})


def test_collapse_answers_at_once() -> None:
    machine = with_thps(collapsing())
    machine["A"].split(0)
    before = at_rest(machine)
    machine["A"].pin(2, 1, "dma")
    assert madvise(machine, "collapse", 0, NR) == -EAGAIN
    assert at_rest(machine).mapped == before.mapped
    machine.unpin("dma")
    assert madvise(machine, "collapse", 0, 4) == 0, "there is no whole range to collapse"
    assert madvise(machine, "collapse", 1, 4) == -EINVAL
    assert at_rest(machine).compound_pages() == ()
    assert madvise(machine, "collapse", 0, NR) == 0, "nobody need have touched the pages"
    state = at_rest(machine)
    assert state.contents("A") == before.contents("A") and len(state.compound_pages()) == 1
    assert madvise(machine, "collapse", 0, NR) == 0 and at_rest(machine).compound_pages() == state.compound_pages()
    assert events(machine, "thp_collapse_alloc") == (1,)


def test_collapse_takes_one_vma_that_is_large_enough_and_may_be_written_to() -> None:
    machine = with_thps(collapsing())
    machine["A"].mprotect(1, 1, "r")
    assert madvise(machine, "collapse", 0, NR) == -EINVAL
    machine["A"].mprotect(0, NR, "r")
    before = at_rest(machine)
    assert madvise(machine, "collapse", 0, NR) == -EINVAL and same(machine, before)
    machine = with_thps(collapsing(asks_writable="none"))
    machine["A"].split_pmd(0)
    machine["A"].mprotect(0, NR, "r")
    assert madvise(machine, "collapse", 0, NR) == 0 and len(at_rest(machine).pmd_maps) == 1


def test_collapse_of_shared_pages_leaves_the_other_process_alone() -> None:
    machine = with_thps(collapsing())
    machine["A"].split(0)
    machine["A"].fork("B")
    machine.khugepaged_scan(0)
    assert at_rest(machine).compound_pages() == (), "more than half of the pages are shared"
    assert madvise(machine, "collapse", 0, NR) == -EINVAL, "no entry is writable"
    machine["A"].write(0, value=1)
    before = at_rest(machine)
    assert madvise(machine, "collapse", 0, NR) == 0
    state = at_rest(machine)
    assert [state.contents(p) for p in "AB"] == [before.contents(p) for p in "AB"]
    assert [m for m in state.mapped if m.process == "B"] == [m for m in before.mapped if m.process == "B"]


# --- migration ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("shared", ["", "PMD", "PTEs"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_migrate_moves_a_huge_page_as_one_or_splits_it_first(kernel: str, shared: str, whole: bool) -> None:
    record = KERNELS[kernel]
    machine = with_thps(record.but({"migration.whole": whole}))
    if shared:
        machine["A"].fork("B")
    if shared == "PTEs":
        machine["B"].mprotect(2, 2, "r")
    before = at_rest(machine)
    assert machine["A"].migrate(5) == 0
    state = at_rest(machine)
    for process in before.processes:
        assert state.contents(process.name) == before.contents(process.name)
        assert mapped_to(state, 5, process.name) == mapped_to(state, 5)
    assert mapped_to(state, 5) != mapped_to(before, 5)
    old, new = before.compound_pages(), state.compound_pages()
    whole = whole and bool(old) and not before.field("flags", old[0]) & PG_double_map
    assert (new != old and len(new) == 1) if whole else new == ()
    assert bool(state.pmd_maps) is whole
    machine["A"].write(0, NR, value=9)
    assert at_rest(machine).contents("A") == (0x100000009,) * NR
    if shared:
        assert machine.state.contents("B") == before.contents("B")


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("kernel", SPLIT_FAILS, ids=lambda k: k.name)
def test_a_pinned_huge_page_does_not_move(kernel: Kernel, whole: bool) -> None:
    machine = with_thps(kernel.but({"migration.whole": whole}))
    machine["A"].pin(2, 1, "dma")
    before = at_rest(machine)
    assert machine["A"].migrate(5) == (-EAGAIN if whole else kernel.split.refused)
    assert same(machine, before)


@pytest.mark.parametrize("kernel", ["v5.10", "v6.1", "v6.12", "v6.18"])
def test_migration_of_huge_pages_is_counted(kernel: str) -> None:
    names = ("thp_migration_success", "thp_migration_fail", "thp_migration_split")
    machine = with_thps(kernel)
    machine["A"].migrate(5)
    assert events(machine, *names) == (1, 0, 0)
    machine["A"].pin(2, 1, "dma")
    machine["A"].migrate(5)
    assert events(machine, *names) == (1, 1, 0)
    machine.unpin("dma")
    machine.spawn("B").mmap(machine.system.frames.buddy.nr_free // NR - 1)
    page = 0
    while machine.system.frames.buddy.nr_free >= NR:
        machine["B"].write(page)
        page += NR
    machine["A"].migrate(5)
    splits_fail = KERNELS[kernel].migration.split_fails
    assert events(machine, *names) == (1, 2 if splits_fail else 1, 1), "no other huge page is free"
    machine["A"].migrate(5)
    assert events(machine, *names) == (1, 2 if splits_fail else 1, 1), "a small page counts for nothing"


@pytest.mark.parametrize("kernel", KERNELS)
def test_small_pages_move_and_pinned_ones_stay(kernel: str) -> None:
    machine = with_thps(kernel)
    assert machine.sys("/proc/sys/vm/compact_memory", "1") == 0
    assert len(at_rest(machine).compound_pages()) == 1, "a huge page is left alone"
    machine["A"].split(0)
    machine["A"].pin(3, 1, "dma")
    before = at_rest(machine)
    assert machine["A"].migrate(3) == -EAGAIN
    machine.sys("/proc/sys/vm/compact_memory", "1")
    state = at_rest(machine)
    assert state.contents("A") == before.contents("A")
    assert [mapped_to(state, page) == mapped_to(before, page) for page in range(NR)] == [page == 3 for page in range(NR)]
    assert machine["A"].migrate(4) == 0 and at_rest(machine).contents("A") == before.contents("A")
    machine["A"].munmap(4, 1)
    machine.spawn("B").mmap()
    machine["B"].read(0)
    assert machine["B"].migrate(0) == -ENOENT


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_page_of_ksm_moves_for_all_who_share_it(kernel: str) -> None:
    machine = with_equal_pages(kernel, 5, 9)
    machine.ksm_scan(1)
    machine["A"].fork("B")
    before = at_rest(machine)
    assert machine["A"].migrate(9) == 0
    state = at_rest(machine)
    assert mapped_to(state, 5) == mapped_to(state, 9) == mapped_to(state, 5, "B") != mapped_to(before, 5)


# --- clear_refs -----------------------------------------------------------------------------------------------------------


def test_clear_refs_forgets_that_a_driver_was_given_the_page_and_splits_nothing_today() -> None:
    machine = with_thps("v6.18", 2)
    machine["A"].mprotect(NR + 1, 1, "r")  # the second one is mapped by PTEs
    for page in (0, NR + 4):
        machine["A"].pin(page, 1, f"p{page}")
        machine.unpin(f"p{page}")
    before = machine.state
    heads = before.compound_pages()
    assert len(heads) == 2 and all(before.field("flags", head) & PG_referenced for head in heads)
    flushes = machine.costs["flushes"]
    machine["A"].clear_refs(1)
    state = at_rest(machine)
    assert not any(state.field("flags", head) & PG_referenced for head in heads)
    assert [(m.level, m.pfn) for m in state.mapped] == [(m.level, m.pfn) for m in before.mapped]
    assert not any(m.entry & 0x20 for m in state.mapped) and machine.costs["flushes"] == flushes


@pytest.mark.parametrize("kernel", KERNELS)
def test_smaps_tells_what_was_used_since_clear_refs(kernel: str) -> None:
    machine = with_thps(kernel)
    assert smaps(machine.state, "A")["Referenced"] == 4 * NR
    assert machine["A"].clear_refs(1) == 0
    splits = KERNELS[kernel].proc.clear_refs_splits
    state = at_rest(machine)
    assert (smaps(state, "A")["Referenced"], bool(state.pmd_maps)) == (0, not splits)
    machine["A"].read(3)
    assert smaps(at_rest(machine), "A")["Referenced"] == (4 if splits else 4 * NR)


@pytest.mark.parametrize("mapped", ["PMD", "PTEs"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_clearing_soft_dirty_bits_makes_the_next_write_fault(kernel: str, mapped: str) -> None:
    machine = with_thps(kernel)
    if mapped == "PTEs":
        machine["A"].mprotect(0, 1, "r")
        machine["A"].mprotect(0, 1, "rw")
    before, flushes = at_rest(machine), machine.costs["flushes"]
    assert machine["A"].clear_refs(4) == 0
    state = at_rest(machine)
    assert not any(pt.pte_write(m.entry) for m in state.mapped) and state.contents("A") == before.contents("A")
    assert all(m.entry & pt._PAGE_ACCESSED for m in state.mapped) and machine.costs["flushes"] > flushes
    machine["A"].write(5, value=9)
    now = at_rest(machine).contents("A")
    assert [page for page in range(NR) if now[page] != state.contents("A")[page]] == [5]


@pytest.mark.parametrize("kernel", ["v5.10", "v6.1", "v6.12", "v6.18"])
def test_what_a_device_writes_to_stays_writable_since_5_11(kernel: str) -> None:
    machine = with_thps(kernel)
    machine["A"].split(0)
    machine["A"].pin(5, 1, "dma", "io_uring")
    machine["A"].clear_refs(4)
    state = at_rest(machine)
    writable = [bool(pt.pte_write(m.entry)) for m in state.mapped for _ in range(m.count)]
    spares = KERNELS[kernel].proc.soft_dirty_spares_pins
    assert writable == [page == 5 and spares for page in range(NR)]
    machine["A"].write(5, value=9)
    assert (mapped_to(at_rest(machine), 5) == mapped_to(state, 5)) is spares, "else the device is left on the old page"
