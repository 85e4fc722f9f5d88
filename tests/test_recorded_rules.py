"""Rules that random recordings have found: the smallest scenario of each, and what the recorded kernels did.

The recordings are in tests/truth/fresh; a name such as e_ksm_onebyte is a scenario there.
"""

from __future__ import annotations

import pytest
from filled_machine import NR, at_rest, mapped_to

from thplab import Machine
from thplab.errors import EBUSY, EFAULT, EHWPOISON, EINVAL, EIO, KILLED_BY_SIGBUS, BadInput
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_anon_exclusive, PG_hwpoison, PG_ksm
from thplab.kernel.kernels import KERNELS
from thplab.machine.state import State
from thplab.scenario import Scenario
from thplab.study.observe import smaps

FILLED = "mmap A; fill A 0 1thp; "
SMALL = "mmap A advise=none; fill A 0 1thp; "
BY_PTES = FILLED + "mprotect A 7 1 r; mprotect A 7 1 rw; "
POISONABLE = [name for name, kernel in KERNELS.items() if "hwpoison" in kernel.advice.known]
FREEZING = [name for name in POISONABLE if KERNELS[name].hwpoison.frozen_by is not None]


def ran(kernel: str, line: str, swap: str = "") -> tuple[Machine, int]:
    """A machine on which the operations of `line` have been performed, and what the last one returned."""
    machine, result = Machine(kernel, swap=swap), 0
    for op in Scenario.parse(line).ops:
        result = machine.call(op)
    return machine, result


def after(kernel: str, line: str, swap: str = "") -> State:
    return at_rest(ran(kernel, line, swap)[0])


def entry(state: State, page: int, proc: str = "A") -> int:
    """The entry, PMD or PTE, that is there for a page of R; 0 if none is."""
    base = state.region(proc, "R").start + page * state.geometry.page_size
    for m in state.mapped:
        if m.process == proc and 0 <= base - m.address < (NR if m.level else m.count) * state.geometry.page_size:
            return m.entry
    return 0


def kinds(state: State, proc: str = "A") -> list[str]:
    """Which of the pages of a small region are what, in order."""
    return [m.kind for m in state.mapped if m.process == proc for _ in range(NR if m.level else m.count)]


# --- what a page holds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_write_of_one_byte_leaves_the_others(kernel: str) -> None:
    """e_ksm_onebyte."""
    alike = "mmap A advise=none; fill A 0 2; write A 0 2 value=7; madvise A 0 2 mergeable; ksm_scan 1"
    state = after(kernel, alike)
    assert state.contents("A")[:2] == (0x100000007,) * 2, "their numbers, 1 and 2, differed in the byte that was written"
    assert mapped_to(state, 0) == mapped_to(state, 1) and state.field("flags", mapped_to(state, 0)) & PG_ksm
    others = "mmap A 33thp advise=none; fill A 254 2; write A 254 2 value=7; madvise A 254 2 mergeable; ksm_scan 1"
    state = after(kernel, others)
    assert state.contents("A")[254:256] == (0x100000007, 0x100000107), "255 and 256 differ in another byte, too"
    assert mapped_to(state, 254) != mapped_to(state, 255)
    mixed = after(kernel, "mmap A advise=none; fill A 0 1 same; write A 0; write A 1")
    assert mixed.contents("A")[:2] == (0x7777777777777755, 0x55)


# --- fork, mprotect, mremap -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_fork_gives_the_child_old_entries_of_the_zero_page_too(kernel: str) -> None:
    """e_fork_zero_pte."""
    state = after(kernel, "mmap A advise=none; write A 0; read A 1 3; fork A B")
    young = [bool(entry(state, page, proc) & pt._PAGE_ACCESSED) for proc in "AB" for page in (0, 1)]
    assert young == [True, True, False, False]


@pytest.mark.parametrize(("kernel", "writable"), [("v5.10", ""), ("v6.1", "dirty PTEs"), ("v6.12", "all"), ("v6.18", "all")])
def test_mprotect_makes_entries_of_exclusive_pages_writable(kernel: str, writable: str) -> None:
    """i_small_r_rw, mprotect_whole, p_rw_thp_dirty."""
    again = "mprotect A 0 1thp r; mprotect A 0 1thp rw"
    assert pt.pte_write(entry(after(kernel, SMALL + again), 3)) == (writable != ""), "dirty PTEs"
    assert pt.pte_write(entry(after(kernel, FILLED + again), 3)) == (writable == "all"), "a dirty PMD"
    clean = after(kernel, BY_PTES + "write A 3; " + again)
    assert pt.pte_write(entry(clean, 3)) == (writable != "")
    assert pt.pte_write(entry(clean, 4)) == (writable == "all"), "clean: its PMD was split"


@pytest.mark.parametrize(("kernel", "looks"), [("v4.5", False), ("v5.10", False), ("v6.1", True), ("v6.12", True)])
def test_mremap_looks_for_the_source_before_anything_else(kernel: str, looks: bool) -> None:
    """d_mremap_self_hole, e_mremap_hole_dest."""
    hole = FILLED + "munmap A 2 2; "
    assert ran(kernel, hole + "mremap A 2 1 to=R at=2")[1] == (-EFAULT if looks else -EINVAL)
    machine, error = ran(kernel, hole + "mremap A 2 1 to=R at=6")
    assert error == -EFAULT and (machine.state.contents("A")[6] is None) == (not looks), "the destination"
    machine, error = ran(kernel, hole + "mremap A 1 2 to=R at=6")
    assert error == -EFAULT and machine.state.contents("A")[6] is None, "a source that begins well: it is gone everywhere"


# --- references -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_pin_to_read_leaves_the_huge_zero_page_clean(kernel: str) -> None:
    """d_ro_pin_zero."""
    state = after(kernel, "mmap A; pin A 0 3 dma")
    assert bool(entry(state, 0) & pt._PAGE_DIRTY) == KERNELS[kernel].gup.touch_dirties
    assert entry(state, 0) & pt._PAGE_ACCESSED


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_raw_reference_asks_for_no_right(kernel: str) -> None:
    """s8610_3, p_raw_nothing."""
    for prepared in (SMALL, FILLED):
        machine, error = ran(kernel, prepared + "mprotect A 0 1thp none; pin A 3 1 raw how=raw")
        page = mapped_to(machine.state, 3)
        assert error == 0 and machine.system.pins["raw"].pages == (page,)
        assert machine.system.frames.page_count(page) == 2 and at_rest(machine)
    with pytest.raises(BadInput, match="has no page yet"):
        ran(kernel, "mmap A advise=none; read A 3; pin A 3 1 raw how=raw")


# --- MADV_FREE ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["v5.10", "v6.1", "v6.12"])
def test_whom_free_asks_whether_a_part_of_a_huge_page_is_shared(kernel: str) -> None:
    """d_free_head0_page1, d_free_head1_page2: one asks the head."""
    machine, _ = ran(kernel, FILLED + "munmap A 0 1; madvise A 5 1 free", "swap")
    assert at_rest(machine) and machine.vmstat["thp_split_page"] == (kernel != "v6.1"), "nobody maps the head"
    machine, _ = ran(kernel, BY_PTES + "fork A B; munmap A 0 1; madvise A 5 1 free", "swap")
    assert (machine.vmstat["thp_split_page"] == 1) == (kernel == "v6.1"), "the head is mapped once, page 5 twice"


# --- swap -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["v6.1", "v6.12", "v6.18"])
@pytest.mark.parametrize("small", [False, True])
def test_zeroes_are_noted_and_not_written(kernel: str, small: bool) -> None:
    """f_zero_pageout, p_zswap_small."""
    zeroes = "mmap A advise=none; fill A 0 1thp zero; " if small else "mmap A; fill A 0 1thp zero; "
    machine, _ = ran(kernel, zeroes + "madvise A 0 1thp pageout", "swap")
    noted = kernel != "v6.1"
    assert machine.state.cached.any() != noted, "there is nothing to wait for"
    assert machine.vmstat["thp_swpout"] == (not noted and not small)
    assert kinds(at_rest(machine)) == ["swap"] * NR
    machine["A"].read(0, NR)
    assert at_rest(machine).contents("A") == (0,) * NR
    machine, _ = ran(kernel, zeroes + "write A 3; madvise A 0 1thp pageout", "swap")
    assert machine.state.cached.any(), "one byte is not zero"


# --- memory mapped without any right ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["v4.5", "v5.10", "v6.1", "v6.12"])
def test_ksm_merges_pages_that_nobody_may_read(kernel: str) -> None:
    """g_ksm_none_all, g_ksm_none_small, p_ksm_none_two_rev, p_ksm_none_one: v6.1 finds them, but not in its tree."""
    alike = "mmap A advise=none; fill A 0 4 same; mprotect A {} none; madvise A 0 4 mergeable; ksm_scan 4"
    small = kernel == "v6.1"
    assert smaps(after(kernel, alike.format("0 4")), "A")["Pss"] == (16 if small else 4), "all of them"
    assert smaps(after(kernel, alike.format("0 1")), "A")["Pss"] == (16 if small else 4), "the first is in the way of the others"
    assert smaps(after(kernel, alike.format("2 2")), "A")["Pss"] == 4, "the last two are merged with a page of KSM's"


@pytest.mark.parametrize(("kernel", "left"), [("v5.10", 0), ("v6.1", 2), ("v6.12", 0)])
def test_what_nobody_may_read_is_unmerged_by_who_finds_it(kernel: str, left: int) -> None:
    """p_ksm_none_unmerge."""
    shared = "mmap A advise=none; fill A 0 4 same; madvise A 0 4 mergeable; ksm_scan 4; mprotect A 0 2 none; "
    state = after(kernel, shared + "madvise A 0 4 unmergeable")
    assert sum(bool(state.field("flags", mapped_to(state, page)) & PG_ksm) for page in range(4)) == left
    if kernel == "v5.10":
        assert entry(state, 0) & pt._PAGE_DIRTY, "a write fault has copied it, although nobody may write"


@pytest.mark.parametrize("kernel", ["v6.1", "v6.12"])
def test_debugfs_splits_what_it_finds(kernel: str) -> None:
    """p_debugfs_none."""
    state = after(kernel, FILLED + "mprotect A 0 1thp none; split A 0 1thp how=debugfs")
    assert (state.compound_pages() == ()) == (kernel == "v6.12")


@pytest.mark.parametrize("kernel", ["v5.10", "v6.1", "v6.12", "v6.18"])
def test_a_copy_of_a_page_of_ksm_is_counted(kernel: str) -> None:
    """d_ksm_cow."""
    machine, _ = ran(kernel, "mmap A advise=none; fill A 0 2 same; madvise A 0 2 mergeable; ksm_scan 4; write A 0")
    assert machine.vmstat.get("cow_ksm", "no such event") == ("no such event" if kernel == "v5.10" else 1)


# --- memory failure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", POISONABLE)
def test_soft_offline_gives_the_zero_pages_up(kernel: str) -> None:
    """d_so_zero_pte, d_so_hugezero, h_so_shake: old kernels run the shrinkers before."""
    shakes = KERNELS[kernel].hwpoison.shakes_slab
    assert ran(kernel, "mmap A advise=none; read A 0; madvise A 0 1 soft_offline")[1] == -EIO
    assert ran(kernel, "mmap A; read A 0; madvise A 5 1 soft_offline")[1] == (-EBUSY if shakes else -EIO)
    machine, _ = ran(kernel, FILLED + "mmap A region=D; munmap A 2 1; madvise A 0 1 soft_offline region=D")
    if "thp_deferred_split_page" in machine.vmstat:
        assert machine.vmstat["thp_split_page"] == shakes, "the huge page of R waits for a deferred split"


@pytest.mark.parametrize("kernel", POISONABLE)
def test_poison_of_a_zero_page_stays_and_kills_nobody(kernel: str) -> None:
    """f_hp_hugezero, f_hp_zero, q_hp_shake."""
    answer = KERNELS[kernel].hwpoison.answer
    once = {"ignored": 0, "errno": -EBUSY, "kills": -EBUSY}[answer]
    small = "mmap A advise=none; read A 0 2; madvise A 0 1 hwpoison"
    machine, error = ran(kernel, small)
    assert error == once and at_rest(machine).field("flags", machine.system.frames.zero_page) & PG_hwpoison
    assert machine["A"].madvise(1, 1, "soft_offline") == 0, "it is known to be bad"
    assert ran(kernel, "mmap A; read A 0; madvise A 5 1 hwpoison")[1] == (-EHWPOISON if answer == "kills" else once)
    again = {"v6.1": -EHWPOISON, "v6.12": KILLED_BY_SIGBUS, "v6.18": KILLED_BY_SIGBUS}.get(kernel, 0)
    assert machine["A"].madvise(1, 1, "hwpoison") == again


@pytest.mark.parametrize("kernel", ["v5.10", "v6.1"])
def test_a_page_that_is_known_to_be_bad(kernel: str) -> None:
    """p_hp_pinned_twice: v5.10 forgets the reference that it has taken."""
    machine, _ = ran(kernel, FILLED + "pin A 1 1 dma; madvise A 5 1 hwpoison; unpin dma")
    machine["A"].madvise(5, 1, "hwpoison")
    machine["A"].madvise(5, 1, "hwpoison")
    state = at_rest(machine)
    assert state.field("refcount", state.compound_pages()[0]) == (3 if kernel == "v5.10" else 1)


@pytest.mark.parametrize("kernel", FREEZING)
def test_a_split_freezes_a_bad_page_as_a_hwpoison_entry(kernel: str) -> None:
    """e_hwpoison_excl_pte, p_hp_head_pte: then nobody maps it any more when the kernel looks for whom to kill."""
    by = KERNELS[kernel].hwpoison.frozen_by
    machine, error = ran(kernel, BY_PTES + "madvise A 5 1 hwpoison")
    bad = machine.system.poisoned[-1]
    assert error == 0 if by == "page" else error in (0, -EBUSY)
    assert kinds(at_rest(machine)) == ["page"] * 5 + ["hwpoison"] + ["page"] * 2
    assert not machine.state.field("flags", bad) & PG_anon_exclusive, "a tail loses the mark, and nobody gives it back"
    machine, _ = ran(kernel, BY_PTES + "madvise A 0 1 hwpoison")
    assert kinds(at_rest(machine)) == ["hwpoison"] * (NR if by == "head" else 1) + ["page"] * (0 if by == "head" else NR - 1)
    machine, error = ran(kernel, FILLED + "madvise A 5 1 hwpoison")
    assert (error == KILLED_BY_SIGBUS) == (KERNELS[kernel].hwpoison.answer == "kills"), "a PMD is frozen without a look"


def test_only_who_has_written_is_killed_and_after_all_is_done() -> None:
    """hp_lazyfree, k_two_small."""
    machine, error = ran("v6.12", SMALL + "madvise A 0 1thp free; madvise A 1 1 hwpoison", "swap")
    assert error == 0 and kinds(at_rest(machine))[:3] == ["page", "hwpoison", "page"]
    machine, error = ran("v6.12", SMALL + "fork A B; madvise A 2 2 hwpoison")
    assert error == KILLED_BY_SIGBUS and kinds(at_rest(machine), "B")[1:5] == ["page", "hwpoison", "hwpoison", "page"]


@pytest.mark.parametrize("kernel", ["v5.10", "v6.1", "v6.12"])
def test_a_bad_page_in_the_swap_cache(kernel: str) -> None:
    """sw_hp_clean, sw_hp_dirty: what the device has is not lost."""
    back = SMALL + "madvise A 0 1thp pageout; read A 0 1thp; "
    machine, error = ran(kernel, back + "madvise A 3 1 hwpoison", "swap")
    assert error == 0 and kinds(at_rest(machine))[2:5] == ["page", "swap", "page"]
    machine["A"].read(3)
    assert at_rest(machine).contents("A")[3] == 0x100000004
    machine, error = ran(kernel, SMALL + "pin A 3 1 dma; madvise A 3 1 pageout; read A 3; unpin dma; madvise A 3 1 hwpoison", "swap")
    assert error == (KILLED_BY_SIGBUS if kernel == "v6.12" else 0)
    if not error:
        assert kinds(at_rest(machine))[3] == "swap" and machine["A"].read(3) == KILLED_BY_SIGBUS, "it is kept for who comes"


@pytest.mark.parametrize("kernel", ["v5.10", "v6.1", "v6.12"])
def test_soft_offline_takes_a_page_out_of_the_swap_cache_to_the_new_one(kernel: str) -> None:
    """sw_so_cached."""
    back = SMALL + "madvise A 0 1thp pageout; read A 0 1thp; "
    machine, error = ran(kernel, back + "madvise A 3 1 soft_offline", "swap")
    state = at_rest(machine)
    assert error == 0 and state.cached[mapped_to(state, 3)] and state.field("refcount", mapped_to(state, 3)) == 2


@pytest.mark.parametrize("kernel", ["v5.10", "v6.1", "v6.12"])
def test_a_bad_page_of_ksm(kernel: str) -> None:
    """hp_ksm_fork."""
    shared = "mmap A advise=none; fill A 0 4 same; madvise A 0 4 mergeable; ksm_scan 4; fork A B; "
    machine, error = ran(kernel, shared + "madvise A 1 1 hwpoison")
    if kernel == "v6.12":
        assert error == KILLED_BY_SIGBUS and kinds(at_rest(machine), "B") == ["hwpoison"] * 4
    else:
        assert error == -EBUSY and kinds(at_rest(machine)) == ["page"] * 4


# --- the reverse map ------------------------------------------------------------------------------------------------------


def test_a_vma_that_changed_its_borders_goes_behind_those_that_begin_where_it_does() -> None:
    """p_hp_pte_fork: B, whose PMD maps all, comes before A, so that the first PTE of A leaves the page partially mapped."""
    machine, _ = ran("v6.12", FILLED + "fork A B")
    (anon_vma,) = (a for a in machine.system.anon_vmas.values() if len(a.vmas) == 2)
    assert [vma.mm.name for vma in anon_vma.vmas] == ["A", "B"]
    machine["A"].mprotect(7, 1, "r")
    assert [(vma.mm.name, vma.pgoff % NR) for vma in anon_vma.vmas] == [("B", 0), ("A", 0), ("A", 7)]
    machine["A"].mprotect(7, 1, "rw")
    before = machine.vmstat["thp_deferred_split_page"]
    machine["A"].madvise(5, 1, "hwpoison")
    assert machine.vmstat["thp_deferred_split_page"] == before + 1
