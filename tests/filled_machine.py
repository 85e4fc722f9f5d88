"""Machines with huge pages whose pages are all different, and what tests of the callers of split_huge_page ask of them."""

from __future__ import annotations

from thplab import Machine
from thplab.kernel.kernels import KERNELS
from thplab.kernel.policies import Kernel
from thplab.machine.state import State
from thplab.study.invariants import check_state

NR = 8
SPLIT_FAILS = [k for k in KERNELS.values() if k.scheme.page_split != "tails"]
"""The kernels in which the split of a page that is mapped can be refused."""


def at_rest(machine: Machine) -> State:
    """The state, in which every invariant holds."""
    state = machine.state
    assert check_state(state) == []
    return state


def same(machine: Machine, before: State) -> bool:
    """Nothing has changed since `before` but events and costs."""
    return machine.state.exact == before.exact


def with_thps(kernel: str | Kernel, thps: int = 1) -> Machine:
    """A with huge pages, every page filled with contents of its own."""
    machine = Machine(kernel)
    machine.spawn("A").mmap(thps)
    machine["A"].fill(0, thps * NR)
    return machine


def madvise(machine: Machine, advice: str, start: int, npages: int = 1, proc: str = "A") -> int:
    return machine[proc].madvise(start, npages, advice)


def mapped_to(state: State, page: int, proc: str = "A") -> int:
    """pfn of the page that a process maps at a page of its region."""
    base = dict(state.process(proc).regions)["R"].start + page * state.geometry.page_size
    for m in state.mapped:
        offset = (base - m.address) // state.geometry.page_size
        if m.process == proc and 0 <= offset < len(m.pages):
            return m.pfn + offset
    raise AssertionError(f"{proc} maps nothing at page {page}")


def events(machine: Machine, *names: str) -> tuple[int, ...]:
    return tuple(machine.vmstat.get(name, 0) for name in names)
