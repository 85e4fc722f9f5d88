"""What programs may ask for beside the core: guard regions, mremap to another size, memory that was made read-only, MADV_DOFORK.

What kernels did is recorded (fresh/, scenarios m_...; the live lab's recordings); here the rules are held one by one.
"""

from __future__ import annotations

import pytest
from filled_machine import at_rest

from thplab import Machine
from thplab.errors import EFAULT, EINVAL, ENOMEM, BadInput
from thplab.hardware import page_tables as pt
from thplab.hardware.geometry import X86_64
from thplab.kernel.kernels import KERNELS
from thplab.scenario import Scenario
from thplab.show.describe import describe
from thplab.study.observe import smaps

GUARDS = [name for name, kernel in KERNELS.items() if "guard_install" in kernel.advice.known]
KEEPS = [name for name, kernel in KERNELS.items() if kernel.mm.dontunmap]
FULL = "mmap A; fill A 0 1thp; "


def ran(kernel: str, line: str, geometry: str = "TOY") -> tuple[Machine, int]:
    """A machine on which the operations of `line` have been performed, at rest, and what the last one returned."""
    machine, result = Machine(kernel, geometry), 0
    for op in Scenario.parse(line).ops:
        result = machine.call(op)
    at_rest(machine)
    return machine, result


def kinds(machine: Machine, proc: str = "A") -> str:
    """A letter for what is at each page of R: `.` nothing, `p` a page, `z` a zero page, `g` a guard."""
    state = machine.state
    base, pages = state.region(proc, "R")
    row = ["."] * pages
    for m, page, count in state.mapped_in(proc, base, pages):
        row[page : page + count] = m.kind[0] * count
    return "".join(row)


# --- guards -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", GUARDS)
def test_a_guard_in_a_huge_page_costs_its_pmd_and_a_page_but_no_vma(kernel: str) -> None:
    # Seen live: thp_split_pmd 1, thp_deferred_split_page 1, Rss 2044 kB.
    machine, result = ran(kernel, FULL + "madvise A 3 1 guard_install", X86_64.name)
    state = machine.state
    assert result == 0 and len(state.vmas("A", "R")) == 1
    assert (machine.vmstat["thp_split_pmd"], machine.vmstat["thp_deferred_split_page"]) == (1, 1)
    assert smaps(state, "A")["Rss"] == 2044


@pytest.mark.parametrize("kernel", GUARDS)
def test_whoever_touches_a_guard_gets_sigsegv_until_it_is_removed(kernel: str) -> None:
    guarded = FULL + "madvise A 3 2 guard_install; "
    assert kinds(ran(kernel, guarded)[0]) == "pppggppp"
    for touch in ("read A 3", "write A 2 3", "madvise A 2 2 populate_write", "pin A 2 2 p", "pin A 2 2 p io_uring"):
        assert ran(kernel, guarded + touch)[1] == -EFAULT
    machine, result = ran(kernel, guarded + "madvise A 0 1thp guard_remove; read A 3; write A 4 1 value=0x9")
    assert result == 0 and kinds(machine) == "pppzpppp" and machine["A"].contents()[3:5] == (0, 9)


@pytest.mark.parametrize("kernel", GUARDS)
def test_guards_stay_with_dontneed_fork_and_mprotect_and_go_with_munmap_and_mremap(kernel: str) -> None:
    guarded = FULL + "madvise A 3 2 guard_install; fork A B; "
    machine, _ = ran(kernel, guarded + "madvise A 0 1thp dontneed; mprotect B 0 1thp r; mprotect B 0 1thp rw")
    assert kinds(machine) == "...gg..." and kinds(machine, "B") == "pppggppp"
    assert kinds(ran(kernel, guarded + "munmap A 3 1")[0]) == "ppp.gppp"
    assert kinds(ran(kernel, guarded + "mremap A 4 1 to=R at=0")[0]) == "gppg.ppp"


@pytest.mark.parametrize("kernel", GUARDS)
def test_guards_replace_what_is_there_and_need_memory_that_is_not_locked(kernel: str) -> None:
    assert kinds(ran(kernel, "mmap A; madvise A 2 3 guard_install")[0]) == "..ggg..."
    assert kinds(ran(kernel, "mmap A; read A 0; madvise A 2 3 guard_install; madvise A 4 2 guard_install")[0]) == "zzggggzz"
    assert kinds(ran(kernel, FULL + "madvise A 0 1thp guard_install")[0]) == "gggggggg"
    assert ran(kernel, FULL + "mlock A 0 1thp; madvise A 3 1 guard_install")[1] == -EINVAL
    assert ran(kernel, "mmap A; madvise A 3 1 guard_install; mlock A 0 1thp")[1] == -ENOMEM
    machine, result = ran(kernel, FULL + "munmap A 4 1; madvise A 3 3 guard_install")
    assert result == -ENOMEM and kinds(machine) == "pppg.gpp"
    assert ran(kernel, "mmap A; write A 0; madvise A 3 1 guard_install; madvise A 0 1thp collapse")[1] == -EINVAL


def test_a_guard_is_told_in_words() -> None:
    assert "3–4: guard" in describe(ran("v6.18", FULL + "madvise A 3 2 guard_install")[0].state)


@pytest.mark.parametrize("kernel", sorted(set(KERNELS) - set(GUARDS)))
def test_older_kernels_know_no_guards(kernel: str) -> None:
    assert ran(kernel, FULL + "madvise A 3 1 guard_install")[1] == -EINVAL


# --- mremap -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_mremap_shrinks_and_grows_where_it_is(kernel: str) -> None:
    machine, result = ran(kernel, FULL + "mremap A 3 2 size=2")
    assert result == 0 and len(machine.state.vmas("A", "R")) == 1
    machine, result = ran(kernel, FULL + "mremap A 0 1thp size=5")
    assert result == 0 and kinds(machine) == "ppppp..."
    assert machine["A"].mremap(0, 5, size=7) == 0 and machine["A"].write(6) == 0 and machine["A"].write(7) == -EFAULT
    assert machine["A"].mremap(2, 4, size=5) == -ENOMEM, "what grows must end its VMA"
    assert machine["A"].mremap(0, 8, size=9) == -EFAULT, "and lie in it"
    at_rest(machine)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_vma_that_grows_up_to_the_next_becomes_one_with_it_or_not(kernel: str) -> None:
    machine, result = ran(kernel, FULL + "munmap A 3 2; mremap A 0 3 size=5")
    assert result == 0 and len(machine.state.vmas("A", "R")) == (1 if KERNELS[kernel].mm.mremap_growth_merges else 2)
    assert machine["A"].mremap(0, 3, size=6) == -ENOMEM, "something is behind it"


@pytest.mark.parametrize("kernel", KERNELS)
def test_mremap_changes_the_size_on_the_way(kernel: str) -> None:
    two = FULL + "mmap A region=S; fill A 0 1thp same region=S; "
    machine, result = ran(kernel, two + "mremap A 2 4 to=S at=1 size=2")
    assert result == 0 and kinds(machine) == "pp....pp", "what is left out is unmapped"
    assert [tag == 0x7777777777777777 for tag in machine["A"].contents(region="S")] == [True, False, False] + [True] * 5
    machine, result = ran(kernel, two + "mremap A 2 2 to=S at=1 size=5")
    assert result == 0 and machine["A"].contents(region="S")[3:6] == (None, None, None)
    assert machine["A"].write(5, region="S") == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_another_size_of_what_is_not_there_destroys_the_destination_or_not(kernel: str) -> None:
    machine, result = ran(kernel, FULL + "munmap A 4 1; mmap A region=S; fill A 0 1thp region=S; mremap A 3 3 to=S at=0 size=4")
    kept = machine["A"].contents(region="S")[0] is not None
    assert result == -EFAULT and kept == bool(KERNELS[kernel].mm.mremap_moves_vmas)


@pytest.mark.parametrize("kernel", sorted(set(KERNELS) - {"v3.16"}))  # which splits the page
def test_a_small_page_before_the_head_of_a_huge_page_is_no_part_of_it(kernel: str) -> None:
    # Page 3 is the frame before that of the huge page, whose head mremap puts behind it.
    machine, result = ran(kernel, "mmap B; mmap A; write A 7; madvise A 1 3 dontneed; write A 2 2; mremap A 0 3 to=R at=4")
    by_page = {page: (m.pfn, count) for m, page, count in machine.state.mapped_in("A", *machine.state.region("A", "R"))}
    assert result == 0 and by_page[4][0] == by_page[3][0] + 1 == machine.state.compound_pages()[0]
    assert by_page[3][1] == by_page[4][1] == 1


@pytest.mark.parametrize("kernel", KEEPS)
def test_dontunmap_moves_the_pages_and_leaves_an_empty_vma(kernel: str) -> None:
    machine, result = ran(kernel, FULL + "mlock A 0 1thp; mmap A region=S; mremap A 0 1thp to=S at=0 dontunmap=yes")
    state = machine.state
    assert result == 0 and set(machine["A"].contents()) == {None} and None not in machine["A"].contents(region="S")
    assert [vma.flags & {"locked"} for vma in (*state.vmas("A", "R"), *state.vmas("A", "S"))] == [frozenset(), {"locked"}]
    assert machine["A"].write(3) == 0 and machine["A"].contents()[3] == 0x55
    at_rest(machine)


@pytest.mark.parametrize("kernel", KEEPS)
def test_dontunmap_takes_no_other_size(kernel: str) -> None:
    assert ran(kernel, FULL + "mmap A region=S; mremap A 0 4 to=S at=0 size=5 dontunmap=yes")[1] == -EINVAL


@pytest.mark.parametrize("kernel", sorted(set(KERNELS) - set(KEEPS)))
def test_older_kernels_know_no_dontunmap(kernel: str) -> None:
    machine, result = ran(kernel, FULL + "mmap A region=S; fill A 0 1thp region=S; mremap A 0 4 to=S at=0 dontunmap=yes")
    assert result == -EINVAL and None not in (*machine["A"].contents(), *machine["A"].contents(region="S"))


def test_dontunmap_needs_a_place_to_move_to() -> None:
    with pytest.raises(BadInput, match="dontunmap"):
        ran("v6.18", FULL + "mremap A 0 4 size=4 dontunmap=yes")


# --- read-only from the start, and DOFORK -------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_memory_that_is_mapped_read_only_can_be_read_and_made_writable(kernel: str) -> None:
    machine, result = ran(kernel, "mmap A prot=r; read A 0; write A 3")
    assert result == -EFAULT and kinds(machine) == "zzzzzzzz"
    assert machine["A"].mprotect(0, "1thp", "rw") == 0 and machine["A"].write(3) == 0
    assert ran(kernel, "mmap A prot=none; read A 0")[1] == -EFAULT
    at_rest(machine)


@pytest.mark.parametrize("kernel", KERNELS)
def test_dofork_undoes_dontfork(kernel: str) -> None:
    machine, _ = ran(kernel, "mmap A advise=none; fill A 0 1thp; madvise A 0 1thp dontfork; madvise A 2 3 dofork; fork A B")
    assert kinds(machine, "B") == "..ppp..." and not any(m.entry & pt._PAGE_RW for m in machine.state.mapped if m.process == "B")
