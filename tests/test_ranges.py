"""Ranges over holes, inside holes and past the end of a region: what each kernel answers, and what it has done by then.

What three kernels did is recorded (tests/truth/fresh, scenarios w_...); here the rule is held on every kernel.
"""

from __future__ import annotations

import pytest
from filled_machine import NR, at_rest, mapped_to

from thplab import Machine
from thplab.errors import EFAULT, EINVAL, ENOMEM, BadInput
from thplab.hardware import page_tables as pt
from thplab.kernel.address_space import VM_DONTCOPY, VM_LOCKED
from thplab.kernel.kernels import KERNELS
from thplab.machine.state import State
from thplab.scenario import Scenario

HOLE = "mmap A; fill A 0 1thp; munmap A 3 2; "
"""Pages 0, 1, 2 and 5, 6, 7 are mapped."""
SMALL = "mmap A advise=none; fill A 0 1thp; munmap A 3 2; "
LATE = 10**8
"""A page beyond all addresses of a small machine."""

KNOWS = {
    advice: [name for name, kernel in KERNELS.items() if advice in kernel.advice.known] for advice in ("populate_write", "collapse")
}


def ran(kernel: str, line: str, swap: str = "") -> tuple[Machine, int]:
    """A machine on which the operations of `line` have been performed, and what the last one returned."""
    machine, result = Machine(kernel, swap=swap), 0
    for op in Scenario.parse(line).ops:
        result = machine.call(op)
    at_rest(machine)
    return machine, result


def mapped(state: State) -> set[int]:
    """The pages of R that A maps."""
    base, pages = state.region("A", "R")
    return {page + i for _, page, count in state.mapped_in("A", base, pages) for i in range(count)}


def pages_of(state: State, flag: str) -> set[int]:
    """The pages of R in VMAs that remember `flag`."""
    base, size = state.region("A", "R").start, state.geometry.page_size
    vmas = [vma for vma in state.vmas("A", "R") if flag in vma.flags]
    return {page for vma in vmas for page in range((vma.start - base) // size, (vma.end - base) // size)}


@pytest.mark.parametrize("kernel", KERNELS)
def test_advice_is_followed_on_both_sides_of_a_hole(kernel: str) -> None:
    machine, result = ran(kernel, HOLE + "madvise A 2 4 dontneed")
    assert result == -ENOMEM and mapped(machine.state) == {0, 1, 6, 7}
    machine, result = ran(kernel, HOLE + "madvise A 2 4 dontfork")
    assert result == -ENOMEM and pages_of(machine.state, VM_DONTCOPY) == {2, 5}
    machine, result = ran(kernel, HOLE + f"madvise A 4 {2 * NR} dontneed")
    assert result == -ENOMEM and mapped(machine.state) == {0, 1, 2}
    machine, result = ran(kernel, HOLE + "madvise A 3 2 dontneed")
    assert result == -ENOMEM and mapped(machine.state) == {0, 1, 2, 5, 6, 7}


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_a_vma_answers_wins_over_a_hole_and_ends_the_walk(kernel: str) -> None:
    machine, result = ran(kernel, HOLE + "mlock A 5 1; madvise A 0 1thp dontneed")
    assert result == -EINVAL and mapped(machine.state) == {5, 6, 7}


@pytest.mark.parametrize("kernel", KNOWS["populate_write"])
def test_populating_stops_at_a_hole_since_a_later_kernel(kernel: str) -> None:
    machine, result = ran(kernel, SMALL + "madvise A 0 1thp dontneed; madvise A 0 1thp populate_write")
    behind = set() if KERNELS[kernel].advice.populate_stops else {5, 6, 7}
    assert result == -ENOMEM and mapped(machine.state) == {0, 1, 2} | behind


def test_some_kernels_stop_and_some_do_not() -> None:
    assert {KERNELS[name].advice.populate_stops for name in KNOWS["populate_write"]} == {False, True}


@pytest.mark.parametrize("kernel", KNOWS["collapse"])
def test_a_collapse_answers_for_its_vmas_and_then_for_the_hole(kernel: str) -> None:
    assert ran(kernel, HOLE + "madvise A 0 1thp collapse")[1] == -EINVAL
    assert ran(kernel, HOLE + "madvise A 3 1 collapse")[1] == -ENOMEM
    assert ran(kernel, "mmap A; fill A 0 1thp; madvise A 0 2thp collapse")[1] == -ENOMEM


@pytest.mark.parametrize("kernel", KERNELS)
def test_mprotect_and_mlock_stop_at_the_first_hole(kernel: str) -> None:
    machine, result = ran(kernel, HOLE + "mprotect A 1 6 r")
    base, size = machine.state.region("A", "R").start, machine.state.geometry.page_size
    readonly = {(m.address - base) // size + i for m in machine.state.mapped for i in range(m.count) if not m.entry & pt._PAGE_RW}
    assert result == -ENOMEM and readonly == {1, 2}
    machine, result = ran(kernel, HOLE + "mlock A 1 6")
    assert result == -ENOMEM and pages_of(machine.state, VM_LOCKED) == {1, 2}
    machine, result = ran(kernel, "mmap A; mlock A 0 2thp")
    assert result == -ENOMEM and pages_of(machine.state, VM_LOCKED) == set(range(NR)) and not mapped(machine.state)
    machine, result = ran(kernel, HOLE + "mlock A 0 3; munlock A 1 6")
    assert result == -ENOMEM and pages_of(machine.state, VM_LOCKED) == {0}


@pytest.mark.parametrize("kernel", KERNELS)
def test_touching_stops_at_the_hole(kernel: str) -> None:
    machine, result = ran(kernel, HOLE + "write A 1 6 value=9")
    written = [tag is not None and tag & 0xFF == 9 for tag in machine.state.contents("A")]
    assert result == -EFAULT and written == [False, True, True] + [False] * 5
    machine, result = ran(kernel, SMALL + "madvise A 0 3 dontneed; read A 1 6")
    assert result == -EFAULT and mapped(machine.state) == {1, 2, 5, 6, 7}
    assert ran(kernel, HOLE + f"write A {NR}")[1] == -EFAULT


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("where", ["1 6", "3 1", "3 4", f"{NR - 1} 2", f"{LATE} 1"])
def test_a_pin_over_a_hole_holds_nothing(kernel: str, where: str) -> None:
    before = ran(kernel, HOLE)[0].state
    machine, result = ran(kernel, HOLE + f"pin A {where} p")
    assert result == -EFAULT and not machine.state.pins
    assert (machine.state.column("refcount", 0, machine.state.nframes) == before.column("refcount", 0, before.nframes)).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_munmap_and_mremap_do_not_mind_where_a_region_ends(kernel: str) -> None:
    machine, result = ran(kernel, HOLE + f"munmap A 2 {3 * NR}")
    assert result == 0 and mapped(machine.state) == {0, 1}
    machine, result = ran(kernel, HOLE + f"mremap A 0 2 R {NR - 1}")
    state = machine.state
    assert result == 0 and mapped(state) == {2, 5, 6, 7}
    assert state.vmas("A")[-1].end == state.region("A", "R").start + (NR + 1) * state.geometry.page_size
    machine.call(Scenario.parse("mmap A region=S").ops[0])
    assert machine["A"].write(0, region="S") == 0, "the next region keeps clear of it"
    at_rest(machine)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_source_past_the_end_is_no_source(kernel: str) -> None:
    machine, result = ran(kernel, f"mmap A; fill A 0 1thp; mmap A region=D; fill A 0 1thp region=D; mremap A {NR - 1} 2 D 0")
    moved = KERNELS[kernel].mm.mremap_moves_vmas
    state = machine.state
    gone = [tag is None for tag in state.contents("A", "D")]
    assert result == (0 if moved else -EFAULT)
    assert gone == ([False] * NR if moved else [True, True] + [False] * (NR - 2))


@pytest.mark.parametrize("kernel", KERNELS)
def test_beyond_all_addresses_nothing_is_mapped(kernel: str) -> None:
    for operation, error in (
        (f"write A {LATE}", -EFAULT),
        (f"read A 1 {LATE}", -EFAULT),
        (f"madvise A {LATE} 1 dontneed", -ENOMEM),
        (f"mprotect A {LATE} 1 r", -ENOMEM),
        (f"mlock A {LATE} 1", -ENOMEM),
        (f"munmap A {LATE} 1", -EINVAL),
        (f"munmap A 0 {LATE}", -EINVAL),
        (f"mremap A 0 1 R {LATE}", -EINVAL),
    ):
        machine, result = ran(kernel, HOLE + operation)
        assert (operation, result) == (operation, error)
        assert mapped(machine.state) == {0, 1, 2, 5, 6, 7}


@pytest.mark.parametrize("kernel", [name for name, kernel in KERNELS.items() if "hwpoison" in kernel.advice.known])
def test_bad_memory_is_found_up_to_the_hole(kernel: str) -> None:
    machine, result = ran(kernel, SMALL + "madvise A 1 6 soft_offline")
    before = ran(kernel, SMALL)[0].state
    moved = {page for page in mapped(before) if mapped_to(machine.state, page) != mapped_to(before, page)}
    assert result == -EFAULT and moved == {1, 2}
    assert ran(kernel, SMALL + "madvise A 3 1 hwpoison")[1] == -EFAULT


def test_what_no_system_call_could_mean_is_refused() -> None:
    for operation in ("write A 0 region=X", "write B 0", "split A 3", "split_pmd A 3", "pin A 3 1 p how=raw"):
        with pytest.raises(BadInput):
            ran("v6.12", HOLE + operation)
