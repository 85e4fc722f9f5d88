"""Swap: what goes out, what comes back, what a refused split leaves behind; contents and counts always agree."""

from __future__ import annotations

import pytest
from random_scenarios import Model, operations

from thplab.hardware.steps import drain
from thplab.hardware.swap_device import DEVICES
from thplab.kernel.kernels import KERNELS
from thplab.machine.machine import Machine, Process
from thplab.machine.trace import Setup, Trace, record
from thplab.show.ledger import SWAP_CACHE, ledger
from thplab.study.invariants import check_frame, check_state
from thplab.study.observe import smaps

EVERY = pytest.mark.parametrize("kernel", KERNELS)
SPLITS = pytest.mark.parametrize("kernel", [name for name, kernel in KERNELS.items() if kernel.scheme.pmd_split_is_local])
WHOLE = pytest.mark.parametrize("kernel", [name for name, kernel in KERNELS.items() if kernel.reclaim.out_whole])
DEVICE = pytest.mark.parametrize("device", DEVICES)
FILLED = tuple(range(0x100000001, 0x100000009))


def resident_and_out(machine: Machine) -> tuple[int, int]:
    figures = smaps(machine.state, "A")
    return figures["Rss"], figures["Swap"]


def filled(kernel: str, device: str) -> tuple[Machine, Process]:
    machine = Machine(kernel, swap=device)
    a = machine.spawn("A")
    a.mmap()
    machine["A"].fill(0, 8)
    return machine, a


@DEVICE
@EVERY
def test_a_huge_page_goes_out_and_comes_back(kernel: str, device: str) -> None:
    machine, a = filled(kernel, device)
    before = machine.vmstat
    assert a.swap_out(0) == 0
    whole = machine.system.kernel.reclaim.out_whole and DEVICES[device].takes_thp
    events = {name: count - before[name] for name, count in machine.vmstat.items()}
    splits = (events["thp_split_page"], events["thp_split_pmd"]) if "thp_split_pmd" in events else (events["thp_split"], 1)
    assert splits == (not whole, 1)
    assert events.get("thp_swpout", 0) == whole
    assert events.get("thp_swpout_fallback", 0) == (machine.system.kernel.reclaim.out_whole and not whole)
    state = machine.state
    assert resident_and_out(machine) == (0, 32)
    assert state.contents("A") == FILLED and not check_state(state)
    assert state.cached.sum() == (0 if DEVICES[device].synchronous else 8)
    assert a.read(0, 8) == 0 and a.write(3) == 0
    state = machine.state
    assert resident_and_out(machine) == (32, 0)
    assert state.contents("A") == (*FILLED[:3], 0x100000055, *FILLED[4:]) and not check_state(state)
    a.exit()
    assert state.swap is not None and not machine.state.mapped
    assert not machine.system.swap or not machine.system.swap.swap_map.any()


@DEVICE
@SPLITS
def test_a_pinned_huge_page_stays(kernel: str, device: str) -> None:
    machine, a = filled(kernel, device)
    a.pin(5, 1, "dma")
    before = machine.state
    error = a.swap_out(0)
    assert error == machine.system.kernel.split.refused
    after = machine.state
    tried = not machine.system.kernel.reclaim.out_whole  # where it is not even tried no event tells of it
    assert after.vmstat["thp_split_page_failed"] - before.vmstat["thp_split_page_failed"] == tried
    assert after.exact == before.exact, "a refused split changes nothing but the event"
    machine.unpin("dma")
    assert a.swap_out(0) == 0 and smaps(machine.state, "A")["Swap"] == 32


@DEVICE
def test_before_the_rfc_all_but_the_pinned_page_go(device: str) -> None:
    """docs/KERNEL.md 1.6, number 2; tests/truth/README.md part C, "swap-out"."""
    machine, a = filled("v3.16", device)
    a.pin(5, 1, "dma")
    frames, pinned = machine.system.frames, machine.system.pins["dma"].pages[0]
    assert a.swap_out(0) == 0 and machine.vmstat["thp_split"] == 1
    assert resident_and_out(machine) == (0, 32), "all eight entries are swap entries"
    assert (frames.refcount[pinned], frames.mapcount[pinned]) == (2, -1), "the pin's and the swap cache's, and no mapping"
    synchronous = DEVICES[device].synchronous
    assert machine.state.cached.sum() == (1 if synchronous else 8), "what nobody holds is gone as soon as it is written"
    assert a.write(5, value=9) == 0
    assert machine.system.pins["dma"].pages == (pinned,) and frames.content[pinned] == 0x100000009, "the fault maps the same page"
    assert not check_state(machine.state)
    machine.unpin("dma")
    a.exit()
    assert not machine.state.mapped and not check_state(machine.state)


@EVERY
def test_a_pinned_small_page_stays_in_the_swap_cache(kernel: str) -> None:
    machine = Machine(kernel, swap="zram")
    a = machine.spawn("A")
    a.mmap(advise="none")
    a.write(2, value=7)
    a.pin(2, 1, "dma")
    page = machine.system.pins["dma"].pages[0]
    assert a.swap_out(2) == 0
    state = machine.state
    assert smaps(state, "A")["Swap"] == 4 and state.field("refcount", page) == 2 and not check_state(state)
    assert "head" not in (accounts := ledger(state, page))[0].text
    assert {row.holder for row in accounts[0].rows} == {SWAP_CACHE, "dma"}
    a.read(2)
    assert machine.state.pte_maps[page] == 1, "the page that the driver holds is the one that comes back"


@EVERY
def test_without_room_nothing_goes_out(kernel: str) -> None:
    machine, a = filled(kernel, "swap")
    assert machine.system.swap is not None
    machine.system.swap.swap_map[:] = 1  # somebody else has it all
    error = a.swap_out(0)
    assert error < 0 and smaps(machine.state, "A")["Swap"] == 0
    assert machine.state.contents("A") == FILLED


@WHOLE
def test_a_fragmented_device_takes_the_pages_one_by_one(kernel: str) -> None:
    machine, a = filled(kernel, "swap")
    assert machine.system.swap is not None
    machine.system.swap.swap_map[::8] = 1  # no eight free slots lie together
    assert a.swap_out(0) == 0
    assert machine.vmstat["thp_swpout"] == 0 and machine.vmstat["thp_swpout_fallback"] == machine.vmstat["thp_split_page"] == 1
    assert smaps(machine.state, "A")["Swap"] == 32


@WHOLE
def test_a_huge_page_in_the_swap_cache_has_a_reference_for_each_small_page(kernel: str) -> None:
    machine, a = filled(kernel, "swap")
    a.swap_out(0)
    state = machine.state
    (head,) = state.compound_pages()
    assert state.field("refcount", head) == 8 and state.field("mapcount", head) == -1
    account = ledger(state, head)[0]
    assert [(row.holder, row.count) for row in account.rows] == [(SWAP_CACHE, 8)]
    a.read(3)
    back = machine.state
    assert not check_state(back) and back.contents("A") == FILLED
    together = machine.system.kernel.reclaim.in_whole
    assert smaps(back, "A")["Rss"] == (32 if together else 4)
    assert back.field("refcount", head) == (16 if together else 8), "all of it, or a copy of the one page"


@DEVICE
@EVERY
def test_a_fork_shares_what_is_out(kernel: str, device: str) -> None:
    machine, a = filled(kernel, device)
    a.swap_out(0)
    b = a.fork("B")
    assert machine.system.swap is not None and set(machine.system.swap.swap_map[:8]) == {2}
    b.write(1, value=9)
    a.read(1)
    state = machine.state
    assert state.contents("A") == FILLED and state.contents("B") == (FILLED[0], 0x100000009, *FILLED[2:])
    assert not check_state(state)
    a.exit()
    b.exit()
    assert not machine.system.swap.swap_map.any() and not machine.system.swap.slot_of.keys() - _orphans(machine)


def _orphans(machine: Machine) -> set[int]:
    """Pages of huge pages in the swap cache whose entries are gone: only reclaim finds them."""
    frames = machine.system.frames
    assert machine.system.swap is not None
    return {page for page in machine.system.swap.slot_of if frames.is_compound(page)}


@DEVICE
@EVERY
def test_unmapping_what_is_out_frees_its_slots(kernel: str, device: str) -> None:
    machine, a = filled(kernel, device)
    a.swap_out(0)
    a.mprotect(2, 2, "r")
    a.munmap(0, 4)
    assert machine.system.swap is not None and sorted(machine.system.swap.swap_map[:8]) == [0] * 4 + [1] * 4
    assert machine.state.contents("A")[4:] == FILLED[4:] and not check_state(machine.state)
    machine["A"].madvise(4, 4, "dontneed")
    assert not machine.system.swap.swap_map.any() and not machine.system.swap.cache.any()


@DEVICE
@EVERY
def test_every_step_keeps_the_invariants_and_goes_back(kernel: str, device: str) -> None:
    ops = "mmap A; fill A 0 8; swap_out A 0; read A 1; fork A B; write B 2; read A 2; swap_out B 2; write A 0; exit A; read B 0 8; exit B"
    trace = record(ops, Setup(kernel, swap=device))
    assert not trace.problem
    for previous, frame in zip([None, *trace], trace, strict=False):
        assert not check_frame(frame, previous), frame.step
        if frame.at_rest:
            assert Machine.restored(frame.state).state.exact == frame.state.exact
    assert Trace.load(trace.save()) == trace


@EVERY
def test_a_scenario_names_its_device(kernel: str) -> None:
    trace = record("env zram\nmmap A; write A 0; swap_out A 0", Setup(kernel))
    assert trace.setup.swap == "zram" and trace[-1].state.swap is not None and trace[-1].state.swap.swap_map.sum() == 8


@pytest.mark.slow
@DEVICE
@EVERY
def test_random_scenarios_with_swap(kernel: str, device: str) -> None:
    out = 0
    for seed in range(25):
        machine, model, done = Machine(kernel, swap=device), Model(kernel), []
        for op in operations(seed, machine, count=40):
            result = drain(machine.begin(op))
            done.append(op.label(8))
            model.apply(op, 8, result)
            state = machine.state
            where = f"seed {seed}: {'; '.join(done)}"
            assert not check_state(state), where
            out += state.swap is not None and bool(state.swap.swap_map.any())
            model.compare(state, where)
    assert out > 20, "pages must go out"
