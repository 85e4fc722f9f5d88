"""Rules that random recordings have found: the smallest scenario of each, and what the recorded kernels did.

The recordings are in tests/truth/*-fresh.jsonl; a name such as e_ksm_onebyte is a scenario there.
"""

from __future__ import annotations

import pytest
from filled_machine import NR, at_rest, mapped_to

from thplab import Machine
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_ksm
from thplab.kernel.kernels import KERNELS
from thplab.machine.state import State
from thplab.scenario import Scenario


def ran(kernel: str, line: str, swap: str = "") -> tuple[Machine, int]:
    """A machine on which the operations of `line` have been performed, and what the last one returned."""
    machine, result = Machine(kernel, swap=swap), 0
    for op in Scenario.parse(line).ops:
        result = machine.call(op)
    return machine, result


def after(kernel: str, line: str) -> State:
    return at_rest(ran(kernel, line)[0])


def entry(state: State, page: int, proc: str = "A") -> int:
    """The entry, PMD or PTE, that maps a page of R."""
    base = dict(state.process(proc).regions)["R"].start + page * state.geometry.page_size
    for m in state.mapped:
        if m.process == proc and 0 <= base - m.address < (NR if m.level else m.count) * state.geometry.page_size:
            return m.entry
    raise AssertionError(f"{proc} maps nothing at page {page}")


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
    assert after(kernel, "mmap A advise=none; fill A 0 1 same; write A 0; write A 1").contents("A")[:2] == (0x7777777777777755, 0x55)


# --- fork -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_fork_gives_the_child_old_entries_of_the_zero_page_too(kernel: str) -> None:
    """e_fork_zero_pte."""
    state = after(kernel, "mmap A advise=none; write A 0; read A 1 3; fork A B")
    assert [bool(entry(state, page, proc) & pt._PAGE_ACCESSED) for proc in "AB" for page in (0, 1)] == [True, True, False, False]
