"""What the routines of v4.5 and of today spend equals the cost tables of docs/KERNEL.md (3.5 and 4.5), term by term at n = 512.

The RFC's table (2.3) is in tests/test_kernel_rules.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from thplab.hardware.geometry import X86_64
from thplab.hardware.steps import drain
from thplab.kernel.kernels import KERNELS
from thplab.kernel.routines.rmap import page_mapped_by_pmd
from thplab.machine.machine import Machine, Process

N = X86_64.nr
FOLIOS = ("v6.12", "v6.18")


class Spent:
    """What one action cost: `rmw` counts read-modify-writes of counters and of bit locks together, `locks` by class."""

    def __init__(self, machine: Machine, action: Callable[[], object]) -> None:
        before = machine.costs
        action()
        cost = {name: value - before.get(name, 0) for name, value in machine.costs.items()}
        self.counters, self.bits, self.flushes = cost["rmw"], cost["bit_rmw"], cost["flushes"]
        self.rmw = self.counters + self.bits
        self.irqs_off = cost["irqs_off"]
        self.locks = {name.removeprefix("lock:"): n for name, n in cost.items() if name.startswith("lock:") and n}

    def lock(self, name: str) -> int:
        return self.locks.get(name, 0)


def huge(kernel: str, procs: str = "A") -> tuple[Machine, Process, int]:
    """A machine with one huge page, every byte of it written, that each of `procs` maps by a PMD; its first process; its head."""
    machine = Machine(kernel, X86_64)
    a = machine.spawn(procs[0])
    a.mmap()
    machine[procs[0]].fill(0, N, "unique")
    for name in procs[1:]:
        a.fork(name)
    return machine, a, machine.state.compound_pages()[0]


def split_pmd(machine: Machine, proc: str = "A") -> Spent:
    return Spent(machine, lambda: machine[proc].split_pmd(0))


@pytest.mark.parametrize("kernel", ["v4.5", "v5.10", "v6.1", *FOLIOS])
@pytest.mark.parametrize("offset", [0, 5])
def test_a_reference_costs_one_atomic_and_no_lock(kernel: str, offset: int) -> None:
    machine, _, head = huge(kernel)
    system, page = machine.system, slice(head + offset, head + offset + 1)
    for call in (system.scheme.get_pages, system.scheme.put_pages):
        spent = Spent(machine, lambda call=call: drain(call(system, page)))  # type: ignore[misc]
        assert (spent.rmw, spent.locks) == (1, {})


@pytest.mark.parametrize("kernel", ["v4.5", "v5.10", "v6.1", *FOLIOS])
def test_gup_fast_of_a_whole_huge_page(kernel: str) -> None:
    machine, _, _ = huge(kernel)
    spent = Spent(machine, lambda: machine["A"].pin(0, N, "get", "vmsplice"))
    assert (spent.rmw, spent.irqs_off, spent.locks) == (1, 1, {})
    machine.unpin("get")
    if machine.system.kernel.gup.foll_pin:
        spent = Spent(machine, lambda: machine["A"].pin(0, N, "pin", "io_uring"))
        # The driver keeps one pin of the folio from v6.12 on: it lets the others go with one atomic for each counter.
        coalesced = 2 if machine.system.kernel.gup.coalesces else 0
        slowly = (2 * N, 0, {"mmap_lock": N, "ptl": N})  # page by page: the references, and the pins
        fast: tuple[int, int, dict[str, int]] = (2 + coalesced, 1, {})
        assert (spent.rmw, spent.irqs_off, spent.locks) == (slowly if machine.system.kernel.gup.pins_slowly else fast)


@pytest.mark.parametrize(("kernel", "rmw"), [("v4.5", 2), ("v5.10", 2), ("v6.1", 2), *((k, 3) for k in FOLIOS)])
def test_fault_and_fork_of_a_pmd(kernel: str, rmw: int) -> None:
    machine = Machine(kernel, X86_64)
    a = machine.spawn("A")
    a.mmap()
    fault = Spent(machine, lambda: a.write(0))
    assert fault.rmw == 0 and fault.lock("ptl") == 1
    assert fault.lock("split_queue_lock") == (kernel in FOLIOS)
    fork = Spent(machine, lambda: a.fork("B"))
    assert fork.rmw == rmw and fork.lock("ptl") == 2  # reference, PMD mapping, and of a folio the bit lock over its map count


@pytest.mark.parametrize(
    ("kernel", "not_last", "last", "double_map"), [("v4.5", 2, 2, 1 + N), ("v5.10", 2, 2, 1 + N), *((k, 3, 4, 0) for k in FOLIOS)]
)
def test_unmap_of_a_pmd(kernel: str, not_last: int, last: int, double_map: int) -> None:
    machine, a, _ = huge(kernel, "AB")
    assert Spent(machine, a.exit).rmw == not_last
    spent = Spent(machine, machine["B"].exit)
    assert spent.rmw == last
    # v4.5 queues a page that nobody maps any more, and the free takes it off again; a folio was queued at its fault.
    assert spent.lock("split_queue_lock") == {"v4.5": 2, "v5.10": 0}.get(kernel, 1)
    machine, a, _ = huge(kernel, "AB")
    split_pmd(machine, "B")
    assert Spent(machine, a.exit).rmw == last + double_map


@pytest.mark.parametrize("kernel", ["v4.5", "v5.10", "v6.1"])
def test_split_huge_pmd_under_double_map(kernel: str) -> None:
    machine, _, _ = huge(kernel)
    only = split_pmd(machine)
    assert (only.rmw, only.lock("ptl"), only.flushes) == (1 + N + 1, 1, 1)
    machine, _, _ = huge(kernel, "AB")
    assert split_pmd(machine, "B").rmw == 1 + N + 1 + N + 1  # PageDoubleMap and its offset


@pytest.mark.parametrize("kernel", FOLIOS)
def test_split_huge_pmd_of_a_folio(kernel: str) -> None:
    machine, _, _ = huge(kernel)
    only = split_pmd(machine)
    # Reference, _mapcounts, _entire_mapcount, the bit lock twice (PTEs in, PMD out), _nr_pages_mapped twice.
    assert only.rmw == 1 + N + 1 + 2 + 2
    assert (only.lock("ptl"), only.flushes) == (1, 1)
    machine, _, _ = huge(kernel, "AB")
    assert split_pmd(machine, "B").rmw == 1 + N + 1 + 2 + 1  # the other PMD keeps _nr_pages_mapped entire


@pytest.mark.parametrize("kernel", FOLIOS)
def test_a_pte_mapping_of_a_folio(kernel: str) -> None:
    machine, a, _ = huge(kernel)
    split_pmd(machine)
    machine["A"].munmap(1, N - 1)
    assert Spent(machine, lambda: a.fork("B")).rmw == 3  # reference, _mapcount, bit lock: the subpage was mapped before


CALLER = 2
"""The direct request for a split takes a reference of its own and drops it."""


def split_page(kernel: str, procs: str = "A") -> Spent:
    machine, a, _ = huge(kernel, procs)
    return Spent(machine, lambda: a.split(0))


def test_split_huge_page_of_v4_5() -> None:
    spent = split_page("v4.5")
    freeze = 1 + N + 1 + N + N
    split = (N - 1) + 1
    unfreeze = 2 * N
    puts = N - 1
    assert spent.rmw == freeze + split + unfreeze + puts + CALLER == 3585 + CALLER
    # Each subpage that loses its last mapping asks for the queue; the split takes the page off it again.
    assert spent.locks == {"page_lock": 1, "anon_vma_lock": 1, "ptl": 2, "lru_lock": 1, "split_queue_lock": N + 1}


@pytest.mark.parametrize("kernel", FOLIOS)
def test_split_of_a_folio(kernel: str) -> None:
    spent = split_page(kernel)
    unmap, freeze, remap, puts = 4, 1, 2 * N, N - 1
    assert spent.rmw == unmap + freeze + remap + puts + CALLER == 1540 + CALLER
    slots = {"mm_ids_lock": 1} if kernel == "v6.18" else {}
    ptl = 2 + bool(KERNELS[kernel].split.looks_at_both)  # that of the new table, too: nothing is left to freeze there
    assert spent.locks == {"page_lock": 1, "anon_vma_lock": 1, "ptl": ptl, "split_queue_lock": 1, "lru_lock": 1, **slots}


@pytest.mark.parametrize("policy", ["split.freezes_refcount", "split.drops_pmd_whole"])
@pytest.mark.parametrize("kernel", FOLIOS)
def test_what_only_the_costs_show(kernel: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """These policies leave the same counters behind (tests/test_truth.py), and spend something else on the way there."""
    right = split_page(kernel).rmw
    record = KERNELS[kernel]
    monkeypatch.setitem(KERNELS, kernel, record.but({policy: not record.policy(policy)}))
    assert split_page(kernel).rmw != right


# --- "is it mapped by a PMD?": the weakness that the cover letter admits ----------------------------------------------------


def by_pmd(kernel: str) -> tuple[Machine, int]:
    """A huge page that one PMD maps, and nothing else."""
    machine, _, head = huge(kernel)
    return machine, head


def by_one_pte(kernel: str) -> tuple[Machine, int]:
    """A huge page of which one PTE maps the first small page, and nothing else maps any."""
    machine, _, head = huge(kernel)
    split_pmd(machine)
    machine["A"].munmap(1, N - 1)
    return machine, head


def counters(machine: Machine, head: int) -> tuple[list[int], list[int]]:
    """The reference and map counts of all pages of a huge page: what the RFC has to go by."""
    frames = machine.system.frames
    return frames.refcount[frames.compound(head)].tolist(), frames.mapcount[frames.compound(head)].tolist()


def test_under_the_rfc_two_states_have_equal_counters_and_only_one_has_a_pmd() -> None:
    (one, a), (other, b) = by_pmd("rfc-2014"), by_one_pte("rfc-2014")
    assert counters(one, a) == counters(other, b)
    assert one.state.pmd_maps.keys() == {a} and not other.state.pmd_maps
    assert one.system.scheme.pmd_mapped(one.system.frames, a) is None


OTHERS: list[tuple[str, int, dict[str, int]]] = [(kernel, 1, {}) for kernel in KERNELS if kernel != "rfc-2014"]


@pytest.mark.parametrize(("kernel", "steps", "locks"), [("rfc-2014", 5, {"anon_vma_lock": 1}), *OTHERS])
def test_what_it_costs_to_ask_whether_a_pmd_maps_it(kernel: str, steps: int, locks: dict[str, int]) -> None:
    """One read where a counter tells; a walk of the reverse map under the RFC: one more read and a lock for each who may map it."""
    for prepare, expected in ((by_pmd, True), (by_one_pte, False)):
        if not expected and kernel == "v3.16":
            continue  # there is no such state: before the RFC a huge page is never mapped by PTEs
        machine, head = prepare(kernel)
        taken: list[object] = []
        before = machine.costs
        routine = page_mapped_by_pmd(machine.system, head)
        try:
            while True:
                taken.append(next(routine))
        except StopIteration as end:
            assert end.value is expected
        spent = {name: n - before.get(name, 0) for name, n in machine.costs.items() if n != before.get(name, 0)}
        assert spent == {f"lock:{name}": n for name, n in locks.items()} and len(taken) == steps
