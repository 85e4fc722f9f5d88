"""The old world, kernel v3.16: docs/KERNEL.md section 1: costs term by term, pins that travel with their pages, who waits for the mark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from thplab import BadInput, Machine
from thplab.hardware.frames import PG_dirty, PG_lru, single
from thplab.hardware.geometry import MINI, TOY, X86_64, Geometry
from thplab.hardware.page_tables import _PAGE_ACCESSED, _PAGE_DIRTY, pmd_trans_splitting, pte_write
from thplab.hardware.steps import WAIT, Routine, drain
from thplab.kernel.kernels import kernel
from thplab.kernel.routines.follow_page import follow_page
from thplab.kernel.routines.lru import PageList
from thplab.kernel.routines.split_huge_page_tails import split_huge_page_tails
from thplab.kernel.routines.split_huge_pmd import split_huge_pmd
from thplab.machine.trace import Setup, record
from thplab.scenario.text import read_operation
from thplab.show.describe import describe, narrate
from thplab.show.diagrams import page_table_diagram
from thplab.show.ledger import ledger
from thplab.study.explore import PAIRS
from thplab.study.invariants import check_state
from thplab.study.observe import kpagecount, smaps

NR = X86_64.nr
TAIL = 5


class Old:
    """A machine of the old world on which A has written to one huge page, and forked `children` times."""

    def __init__(self, children: int = 0, geometry: Geometry = X86_64) -> None:
        self.machine = Machine("v3.16", geometry, 16 * geometry.nr)
        self.system = self.machine.system
        self.scheme = self.system.scheme
        self.a = self.machine.spawn("A")
        self.a.mmap()
        self.a.write(0)
        self.children = [self.a.fork(f"B{number}") for number in range(children)]
        (self.head,) = self.machine.state.compound_pages()
        self.vma = self.machine.mm("A").vmas[0]

    def spends(self, call: Callable[[], object]) -> dict[str, int]:
        """What a call costs, without what is 0."""
        before = self.machine.costs
        call()
        return {name: count - before.get(name, 0) for name, count in self.machine.costs.items() if count != before.get(name, 0)}

    def drains(self, routine: Routine[object]) -> dict[str, int]:
        return self.spends(lambda: drain(routine))

    def counters(self) -> tuple[int, int, list[int], list[int]]:
        """C, H, the tails' reference counts and raw map counts."""
        frames, pages = self.system.frames, slice(self.head, self.head + self.system.geometry.nr)
        refs, maps = frames.refcount[pages].tolist(), frames.mapcount[pages].tolist()
        return refs[0], maps[0] + 1, refs[1:], maps[1:]


# --- costs: docs/KERNEL.md 1.4 --------------------------------------------------------------------------------------------


def test_a_reference_of_the_head_costs_one_and_of_a_tail_two_and_the_lock() -> None:
    old = Old()
    head, tail = single(old.head), single(old.head + TAIL)
    locked = {"lock:compound_lock": 1, "irqs_off": 1, "bit_rmw": 2}
    assert old.drains(old.scheme.get_pages(old.system, head)) == {"rmw": 1}
    # the head unless zero, and the tail's own field
    assert old.drains(old.scheme.get_pages(old.system, tail)) == {"rmw": 2, **locked}
    assert old.drains(old.scheme.put_pages(old.system, head)) == {"rmw": 1}
    # a guard on the head, the guard again, the tail's own field, the head
    assert old.drains(old.scheme.put_pages(old.system, tail)) == {"rmw": 4, **locked}


def test_references_of_many_tails_cost_as_many_times() -> None:
    old = Old()
    pages = slice(old.head, old.head + 8)
    locked = {"lock:compound_lock": 7, "irqs_off": 7, "bit_rmw": 14}
    assert old.drains(old.scheme.get_pages(old.system, pages)) == {"rmw": 1 + 7 * 2, **locked}
    assert old.counters()[0] == 1 + 8
    assert old.drains(old.scheme.put_pages(old.system, pages)) == {"rmw": 1 + 7 * 4, **locked}
    assert old.counters() == (1, 1, [0] * (NR - 1), [-1] * (NR - 1))


def test_slow_gup_needs_no_compound_lock() -> None:
    old = Old()
    base = old.vma.start
    assert old.drains(follow_page(old.system, old.vma, base)) == {"rmw": 1, "lock:ptl": 1}
    assert old.drains(follow_page(old.system, old.vma, base + TAIL * 4096)) == {"rmw": 2, "lock:ptl": 1}


@pytest.mark.parametrize(("start", "npages", "tails"), [(0, 1, 0), (0, 8, 7), (3, 4, 4), (0, NR, NR - 1)])
def test_gup_fast_costs_one_and_one_for_each_tail(start: int, npages: int, tails: int) -> None:
    old = Old()
    assert old.spends(lambda: old.a.pin(start, npages, "dma")) == {"rmw": 1 + tails, "irqs_off": 1}


def test_mapping_and_unmapping_by_a_pmd() -> None:
    machine = Machine("v3.16", X86_64, 16 * NR)
    a = machine.spawn("A")
    a.mmap()
    before = machine.costs
    a.write(0)
    fault = {name: count - before.get(name, 0) for name, count in machine.costs.items()}
    assert fault["rmw"] == fault["bit_rmw"] == 0 and fault["lock:ptl"] == 1
    old = Old()
    fork = old.spends(lambda: old.a.fork("C"))
    assert (fork["rmw"], fork["lock:ptl"]) == (2, 2)
    gone = old.spends(lambda: old.a.exit())
    assert (gone["rmw"], gone["lock:ptl"]) == (2, 1)  # _mapcount and _count of the head
    assert "bit_rmw" not in fork | gone


@pytest.mark.parametrize("mapped", [1, 2])
def test_a_page_split_costs_what_the_table_says(mapped: int) -> None:
    old = Old(children=mapped - 1)
    drain(old.scheme.get_pages(old.system, single(old.head)))
    added, subtracted, put, marks = NR - 1, 1, NR - 1, mapped
    assert old.drains(split_huge_page_tails(old.system, old.head)) == {
        "rmw": added + subtracted + put + marks,
        "bit_rmw": 2,
        "irqs_off": 1,
        "lock:anon_vma_lock": 1,
        "lock:ptl": 2 * mapped,
        "lock:lru_lock": 1,
        "lock:compound_lock": 1,
        "flushes": 2 * mapped,
    }


def test_a_split_for_reclaim_costs_one_reference_more_for_each_tail() -> None:
    # docs/KERNEL.md 1.6, number 2
    old = Old()
    old.a.pin(TAIL, 1, "dma")
    drain(old.scheme.get_pages(old.system, single(old.head)))
    old.system.frames.flags[old.head] &= ~PG_lru  # reclaim has taken it off
    assert old.drains(split_huge_page_tails(old.system, old.head, to_list=PageList()))["rmw"] == 1023 + 1 + 511
    refs = old.system.frames.refcount[old.head : old.head + NR].tolist()
    assert refs == [2] + [2] * (TAIL - 1) + [3] + [2] * (NR - 1 - TAIL)
    assert not old.system.frames.flags[old.head + 1] & PG_lru


def test_a_pmd_split_is_a_page_split_and_a_guard() -> None:
    # docs/KERNEL.md 1.6, number 12: two more for the reference that keeps the page meanwhile.
    old = Old()
    assert old.drains(split_huge_pmd(old.system, old.vma, old.vma.start))["rmw"] == 1023 + 1 + 2


# --- what a split does ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("geometry", [TOY, X86_64], ids=lambda g: g.name)
def test_every_page_takes_its_own_pins_along(geometry: Geometry) -> None:
    old = Old(children=2, geometry=geometry)
    for page, name in ((0, "h"), (3, "p"), (5, "q"), (5, "r")):
        old.a.pin(page, 1, name)
    assert old.counters()[:2] == (3 + 4, 3)
    assert [pins + 1 for pins in old.counters()[3][:5]] == [0, 0, 1, 0, 2]
    assert old.a.split(0) == 0
    after = old.machine.state
    refs, maps = after.column("refcount", old.head, geometry.nr), after.column("mapcount", old.head, geometry.nr)
    assert refs[:7].tolist() == [4, 3, 3, 4, 3, 5, 3] and set(refs[7:].tolist()) <= {3}
    assert set(maps.tolist()) == {2}
    assert old.machine.vmstat["thp_split"] == 1
    dirty = after.column("flags", old.head, geometry.nr) & PG_dirty
    assert not dirty[0] and dirty[1:].all()
    for name in ("h", "p", "q", "r"):
        old.machine.unpin(name)
    assert set(old.machine.state.column("refcount", old.head, geometry.nr).tolist()) == {3}


def test_the_callers_reference_on_a_tail_stays_on_that_page() -> None:
    old = Old(geometry=TOY)
    routine = old.machine.begin(read_operation(f"split A {TAIL}"))
    counts = []
    for step in routine:
        if step.text.startswith("unlock anon_vma_lock"):
            counts = old.system.frames.refcount[old.head : old.head + TOY.nr].tolist()
    assert counts == [1] * TAIL + [2] + [1] * (TOY.nr - 1 - TAIL)
    assert set(old.machine.state.column("refcount", old.head, TOY.nr).tolist()) == {1}


def test_a_page_that_nobody_maps_is_not_split_and_the_kernel_says_one() -> None:
    old = Old(geometry=TOY)
    old.a.pin(TAIL, 1, "dma")
    old.a.munmap(0, TOY.nr)
    before = old.counters()
    assert old.machine["A"].split(pin="dma") == 1
    assert old.counters() == before == (1, 0, [0] * 7, [-1] * (TAIL - 1) + [0] + [-1] * (7 - TAIL))
    assert old.machine.vmstat["thp_split"] == 0
    old.machine.unpin("dma")
    assert old.machine.state.compound_pages() == ()


def test_a_split_by_pin_wants_a_pin_of_a_huge_page() -> None:
    old = Old(geometry=TOY)
    with pytest.raises(BadInput, match="'dma' is not held"):
        old.machine["A"].split(pin="dma")
    old.a.pin(TAIL, 1, "dma", how="fsplit")
    assert old.machine.state.compound_pages() == ()
    with pytest.raises(BadInput, match="is not part of a huge page"):
        old.machine["A"].split(pin="dma")
    assert old.system.frames.refcount[old.head + TAIL] == 2
    machine = Machine("v4.5")
    machine.spawn("A").mmap()
    with pytest.raises(BadInput, match="'fsplit' is not built"):
        machine["A"].pin(0, 1, "dma", how="fsplit")


def test_where_a_pmd_split_has_split_the_page_there_is_nothing_left_to_split() -> None:
    old = Old(geometry=TOY)
    old.a.mprotect(1, 1, "r")
    before = old.machine.vmstat
    assert old.a.split(0) == -6
    assert old.a.swap_out(0) == 0
    assert old.machine.vmstat == before and before["thp_split"] == 1


def test_ptes_keep_young_and_writable_and_are_dirty() -> None:
    old = Old(geometry=TOY)
    old.a.split(0)
    old.a.fork("B")
    one, other = old.machine.state.mapped
    assert one.entry & _PAGE_DIRTY and one.entry & _PAGE_ACCESSED and not pte_write(one.entry)
    old = Old(children=1, geometry=TOY)
    old.a.split(0)
    one, other = old.machine.state.mapped
    assert one.entry & other.entry & _PAGE_DIRTY and not pte_write(one.entry) and not pte_write(other.entry)
    assert one.entry & _PAGE_ACCESSED and not other.entry & _PAGE_ACCESSED  # a child has not touched anything yet
    old = Old(geometry=TOY)
    old.a.split(0)
    (one,) = old.machine.state.mapped
    assert pte_write(one.entry)


def test_a_partial_munmap_frees_at_once_and_a_pin_keeps_only_its_page() -> None:
    old = Old(geometry=TOY)
    old.a.pin(3, 1, "dma")
    old.a.munmap(2, 2)
    assert old.machine.vmstat["thp_split"] == 1
    state = old.machine.state
    assert state.is_free(old.head + 2) and not state.is_free(old.head + 3)
    old.machine.unpin("dma")
    assert old.machine.state.is_free(old.head + 3)


def test_clear_refs_splits_and_forgets_what_was_touched() -> None:
    old = Old(geometry=TOY)
    assert old.machine["A"].clear_refs(3) == 0 and old.machine.vmstat["thp_split"] == 0
    assert old.machine["A"].clear_refs(9) == -22
    assert old.machine["A"].clear_refs(1) == 0
    (m,) = old.machine.state.mapped
    assert (m.level, m.entry & 0x20) == (0, 0) and old.machine.vmstat["thp_split"] == 1


# --- the mark and who waits for it -----------------------------------------------------------------------------------------


def marked() -> tuple[Old, Routine[int]]:
    """A page split on CPU 0, stopped where the PMDs of A and B0 are marked and their flushes done."""
    old = Old(children=1, geometry=TOY)
    split = old.machine.begin(read_operation("split A 0"))
    for step in split:
        if step.text == "lock lru_lock":
            break
    assert all(pmd_trans_splitting(m.entry) for m in old.machine.state.mapped)
    return old, split


@pytest.mark.parametrize(
    "line",
    [
        "fork B0 C",
        "munmap B0 0 8",
        "madvise B0 0 8 dontneed",
        "mprotect B0 0 8 r",
        "write B0 1",
        "pin B0 1 1 dma",
        "pin B0 1 1 dma gup",
        "clear_refs B0 1",
    ],
)
def test_whoever_meets_the_mark_waits_until_the_page_is_split(line: str) -> None:
    old, split = marked()
    other = old.machine.begin(read_operation(line))
    old.system.cpus.cpu = 1
    waited = next(step for step in other if step.kind == WAIT)
    assert "anon_vma_lock" in waited.text or "marked" in waited.text
    assert next(other) == waited, "it has changed nothing and waits on"
    old.system.cpus.cpu = 0
    assert drain(split) == 0
    old.system.cpus.cpu = 1
    assert drain(other) == 0
    assert check_state(old.machine.state) == []
    assert old.machine.vmstat["thp_split"] == 1


def test_the_process_goes_on_using_the_memory_under_the_mark() -> None:
    old, split = marked()
    assert [step.text for step in old.machine.begin(read_operation("read B0 2"))] == ["B0 reads the page"]
    assert drain(split) == 0


def test_the_flush_waits_for_a_gup_fast_that_read_the_pmd_before_the_mark() -> None:
    old = Old(geometry=TOY)
    pin = old.machine.begin(read_operation(f"pin A {TAIL} 1 dma"))
    for step in pin:
        if step.text.startswith("read the PMD"):
            break
    old.system.cpus.cpu = 1
    split = old.machine.begin(read_operation("split A 0"))
    assert next(step for step in split if step.kind == WAIT).text == "TLB flush waits for CPU 0, which has interrupts off"
    old.system.cpus.cpu = 0
    assert drain(pin) == 0
    old.system.cpus.cpu = 1
    assert drain(split) == 0
    assert np.flatnonzero(old.machine.state.column("refcount", old.head, TOY.nr) == 2).tolist() == [TAIL]


def test_each_wrong_variant_is_harmless_alone() -> None:
    for pair in PAIRS.values():
        if pair.kernel == "v3.16" and pair.variants:
            machine = Machine(pair.kernel, MINI, 32, dict(pair.variants))
            a = machine.spawn("A")
            a.mmap()
            a.write(0)
            a.pin(1, 1, "p")
            a.pin(2, 1, "q")
            assert machine.unpin("q") == a.split(0) == machine.unpin("p") == 0
            assert check_state(machine.state) == []


# --- invariants and the huge zero page -----------------------------------------------------------------------------------


def test_a_pte_over_a_part_of_a_huge_page_is_found() -> None:
    # The RFC's state is no state of the old world.
    rfc = record("mmap A; write A 0; split_pmd A 0")[-1].state
    assert check_state(rfc) == []
    old = replace(rfc, kernel=kernel("v3.16"))
    assert "ptes_map_parts_of_huge_pages_only_where_they_may" in {v.invariant for v in check_state(old)}


def test_a_split_of_the_huge_zero_page_touches_one_pmd_and_counts_nothing() -> None:
    trace = record("mmap A; read A 0; fork A B; mprotect B 1 1 r", Setup("v3.16"))
    state = trace[-1].state
    assert [(m.process, m.level) for m in state.mapped] == [("A", 1), ("B", 0)]
    assert state.vmstat["thp_split"] == 0


def test_tails_of_the_huge_zero_page_know_their_pins() -> None:
    machine = Machine("v3.16")
    a = machine.spawn("A")
    a.mmap()
    a.read(0)
    a.pin(5, 1, "dma", how="gup")
    zero, frames = machine.system.huge_zero_page, machine.system.frames
    assert (frames.refcount[zero], frames.mapcount[zero + 5]) == (2, 0)
    machine.unpin("dma")
    assert (frames.refcount[zero], frames.mapcount[zero + 5]) == (1, -1)


# --- what is shown ---------------------------------------------------------------------------------------------------------


def test_texts_and_pictures_show_the_mark_and_call_pins_pins() -> None:
    trace = record("mmap A; write A 0; pin A 3 1 dma; split A 0", Setup("v3.16"))
    at = next(f.number for f in trace if f.step and f.step.text == "PMD marked splitting")
    before, state = trace[at - 1].state, trace[at].state
    assert "P·RW·U·A·D·PSE·splitting, compound page 0x8" in describe(state)
    picture = page_table_diagram(state, before).source
    assert "+splitting" in picture and "0 pins" in picture and "1 pin<" in picture
    accounts = [account.text for account in ledger(state, 0x8)]
    assert accounts[1:] == ["head mapcount 1 = A: PMD", "tails 1–2 pins 0", "tail 3 pins 1 = dma: pin", "tails 4–7 pins 0"]
    assert "Before the RFC the field of a tail counts its pins." in " ".join(narrate(trace).split())
    small = next(f.state for f in trace if f.step and f.step.text == "the compound page is no more")
    assert "PSE·splitting, pages 0x8–0xf" in describe(small)


def test_kpagecount_of_a_tail_shows_its_pins() -> None:
    state = record("mmap A; write A 0; fork A B; pin A 3 1 dma", Setup("v3.16"))[-1].state
    assert [kpagecount(state, 0x8 + page) for page in range(5)] == [2, 0, 0, 1, 0]


def test_smaps_counts_a_pmd_over_the_huge_zero_page() -> None:
    state = record("mmap A; read A 0", Setup("v3.16"))[-1].state
    assert {smaps(state, "A")[name] for name in ("Rss", "Pss", "AnonHugePages")} == {32}
