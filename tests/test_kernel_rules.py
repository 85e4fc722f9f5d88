"""The rules of docs/KERNEL.md section 2, delta by delta, in both geometries, and the costs of its table 2.3."""

from __future__ import annotations

import pytest

from thplab import X86_64, Machine
from thplab.hardware.frames import COLUMNS
from thplab.hardware.geometry import TOY, Geometry
from thplab.hardware.steps import drain
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import load
from thplab.scenario.text import read_operation

GEOMETRIES = pytest.mark.parametrize("geometry", [TOY, X86_64], ids=lambda g: g.name)


class Bench:
    """A machine with process A and one huge page that A has written to."""

    def __init__(self, geometry: Geometry) -> None:
        self.machine = Machine(geometry=geometry)
        self.nr = geometry.nr
        self.a = self.machine.spawn("A")
        self.a.mmap()
        self.a.write(0)
        (self.head,) = self.machine.state.compound_pages()

    def counters(self) -> tuple[int, int, set[int], set[int]]:
        """C, H, the tails' reference counts, the tails' map counts (logical), as docs/KERNEL.md calls them."""
        state = self.machine.state
        refs = state.column("refcount", self.head, self.nr)
        maps = state.column("mapcount", self.head, self.nr) + 1
        return int(refs[0]), int(maps[0]), set(refs[1:].tolist()), set(maps[1:].tolist())

    def mapcounts(self) -> list[int]:
        state = self.machine.state
        return (state.column("mapcount", self.head, self.nr) + 1).tolist()  # type: ignore[no-any-return]


@GEOMETRIES
def test_fault_and_fork(geometry: Geometry) -> None:
    b = Bench(geometry)
    assert b.counters() == (1, 1, {0}, {0})
    assert b.machine.vmstat["thp_fault_alloc"] == 1
    b.a.fork("B").fork("C")
    assert b.counters() == (3, 3, {0}, {0})
    state = b.machine.state
    assert [hex(m.entry & 2) for m in state.mapped] == ["0x0"] * 3, "all PMDs are read-only"


@GEOMETRIES
def test_split_huge_pmd_touches_one_pmd(geometry: Geometry) -> None:
    b = Bench(geometry)
    child = b.a.fork("B")
    before = [m for m in b.machine.state.mapped if m.process == "A"]
    child.mprotect(b.nr // 2, 1, "r")
    assert b.counters() == (2 + b.nr - 1, 2, {0}, {1})
    assert [m for m in b.machine.state.mapped if m.process == "A"] == before
    assert (b.machine.vmstat["thp_split_pmd"], b.machine.vmstat["thp_split_page"]) == (1, 0)
    b.a.mprotect(0, 1, "r")
    assert b.counters() == (2 * b.nr, 2, {0}, {2})


@GEOMETRIES
def test_pins_are_references_on_the_head(geometry: Geometry) -> None:
    b = Bench(geometry)
    b.a.pin(0, 1, "head")
    b.a.pin(b.nr - 1, 1, "tail")
    b.a.pin(0, b.nr, "all")
    assert b.counters() == (1 + 1 + 1 + b.nr, 1, {0}, {0})
    for pin in ("tail", "all", "head"):
        b.machine.unpin(pin)
    assert b.counters() == (1, 1, {0}, {0})


@GEOMETRIES
def test_munmap_of_one_page_gives_nothing_back(geometry: Geometry) -> None:
    b = Bench(geometry)
    free = b.machine.system.frames.buddy.nr_free
    b.a.munmap(3, 1)
    assert b.counters()[0] == b.nr - 1
    assert b.mapcounts() == [1, 1, 1, 0] + [1] * (b.nr - 4)
    assert b.machine.system.frames.buddy.nr_free == free, "the deposited table became the PTE table; no page came back"
    b.a.munmap(0, 1)
    assert b.counters()[:2] == (b.nr - 2, 0)
    b.a.exit()
    assert b.machine.system.frames.buddy.nr_free == len(b.machine.system.frames.refcount) - 1


@GEOMETRIES
def test_munmap_of_the_whole_keeps_a_pinned_page(geometry: Geometry) -> None:
    b = Bench(geometry)
    b.a.pin(5, 1, "dma")
    b.a.munmap(0, b.nr)
    assert b.counters() == (1, 0, {0}, {0})
    assert b.machine.system.tables.table.keys() == {b.machine.system.mms["A"].pgd}
    b.machine.unpin("dma")
    assert b.machine.state.compound_pages() == ()


@GEOMETRIES
def test_page_split_hands_the_references_out(geometry: Geometry) -> None:
    b = Bench(geometry)
    child = b.a.fork("B")
    child.munmap(2, 1)
    assert b.a.split(0) == 0
    state = b.machine.state
    assert state.compound_pages() == ()
    mappings = [2, 2, 1] + [2] * (b.nr - 3)
    assert state.column("refcount", b.head, b.nr).tolist() == mappings
    assert b.mapcounts() == mappings
    assert (b.machine.vmstat["thp_split_page"], b.machine.vmstat["thp_split_pmd"]) == (1, 2)


@GEOMETRIES
def test_a_page_that_nobody_maps_is_freed_by_the_split(geometry: Geometry) -> None:
    b = Bench(geometry)
    b.a.munmap(2, 1)
    free = b.machine.system.frames.buddy.nr_free
    assert b.a.split(0) == 0
    assert b.machine.system.frames.buddy.nr_free == free + 1
    assert b.machine.state.is_free(b.head + 2)


@GEOMETRIES
@pytest.mark.parametrize("page", [0, 3])
def test_a_refused_split_changes_nothing_but_the_event(geometry: Geometry, page: int) -> None:
    b = Bench(geometry)
    b.a.fork("B")
    b.a.pin(page, 1, "dma")
    before = b.machine.state
    assert b.a.split(0) == -16
    after = b.machine.state
    assert after.exact == before.exact
    moved = {e: n - before.vmstat[e] for e, n in after.vmstat.items() if n != before.vmstat[e]}
    assert moved == {"thp_split_page_failed": 1}
    b.machine.unpin("dma")
    assert b.a.split(0) == 0


@GEOMETRIES
def test_write_fault_on_a_shared_huge_page_copies_all_of_it(geometry: Geometry) -> None:
    b = Bench(geometry)
    child = b.a.fork("B")
    child.write(1, value=9)
    state = b.machine.state
    assert b.counters() == (1, 1, {0}, {0})
    assert len(state.compound_pages()) == 2 and b.machine.vmstat["thp_fault_alloc"] == 2
    assert state.contents("A")[:2] == (0x55, 0) and state.contents("B")[:2] == (0x55, 9)
    b.a.write(2)
    assert b.machine.vmstat["thp_fault_alloc"] == 2, "A is the only user: its PMD is made writable in place"


@GEOMETRIES
def test_a_pin_makes_the_write_copy(geometry: Geometry) -> None:
    # docs/KERNEL.md 2.5 (b): reuse iff the reference count is 1
    b = Bench(geometry)
    b.a.mprotect(0, b.nr, "r")
    b.a.mprotect(0, b.nr, "rw")
    b.a.pin(1, 1, "dma")
    b.a.write(1)
    assert b.machine.vmstat["thp_fault_alloc"] == 2


@GEOMETRIES
def test_write_fault_on_a_pte_of_a_huge_page_always_copies(geometry: Geometry) -> None:
    # docs/KERNEL.md 2.5 (c)
    b = Bench(geometry)
    b.a.mprotect(1, 1, "r")
    b.a.mprotect(1, 1, "rw")
    b.a.write(1, value=9)
    assert b.mapcounts()[:3] == [1, 0, 1]
    assert b.counters()[0] == b.nr - 1
    assert b.machine.state.contents("A")[:3] == (0x55, 9, 0)


@GEOMETRIES
def test_fallback_when_no_huge_page_is_free(geometry: Geometry) -> None:
    machine = Machine(geometry=geometry, memory=3 * geometry.nr)
    a = machine.spawn("A")
    a.mmap(3)
    for thp in range(3):
        a.write(thp * geometry.nr)
    assert (machine.vmstat["thp_fault_alloc"], machine.vmstat["thp_fault_fallback"]) == (2, 1)
    kinds = [(m.level, m.count) for m in machine.state.mapped]
    assert kinds == [(1, 1), (1, 1), (0, 1)]


def test_copy_falls_back_to_small_pages_and_does_not_split_the_old_page() -> None:
    machine = Machine(memory=4 * 8)
    a = machine.spawn("A")
    a.mmap()
    a.write(0)
    b = a.fork("B")
    filler = machine.spawn("F")
    filler.mmap()
    filler.write(0)  # takes the last whole block
    b.write(1, value=9)
    state = machine.state
    assert machine.vmstat["thp_fault_fallback"] == 1
    assert [m.level for m in state.mapped if m.process == "A"] == [1]
    assert {m.level for m in state.mapped if m.process == "B"} == {0}
    assert state.contents("B") == (0x55, 9, 0, 0, 0, 0, 0, 0)
    assert len(state.compound_pages()) == 2


@GEOMETRIES
def test_read_faults_map_the_zero_page_that_nobody_owns(geometry: Geometry) -> None:
    machine = Machine(geometry=geometry)
    a = machine.spawn("A")
    a.mmap()
    a.read(3)
    state = machine.state
    assert [(m.level, m.kind) for m in state.mapped] == [(1, "zero")]
    assert machine.vmstat["thp_zero_page_alloc"] == 1 and machine.vmstat["thp_fault_alloc"] == 0
    b = a.fork("B")
    b.mprotect(1, 1, "r")
    assert {m.kind for m in machine.state.mapped} == {"zero"}
    b.write(2)
    assert [m.kind for m in machine.state.mapped if m.process == "B"].count("page") == 1
    a.write(0)
    assert machine.vmstat["thp_fault_alloc"] == 1


def steps_of(trace: Trace, routine: str) -> list[str]:
    """The texts of the steps of the first run of a routine and of what it calls."""
    frames = [f for f in trace if routine in f.stack and f.step]
    last = next((i for i, f in enumerate(frames) if "unlock ptl" in f.step.text), None)  # type: ignore[union-attr]
    return [f.step.text for f in frames[: None if last is None else last + 1] if f.step]


@GEOMETRIES
def test_split_huge_pmd_follows_the_numbered_list(geometry: Geometry) -> None:
    """docs/KERNEL.md 2.6, 1 to 8, in order."""
    trace = record(load("story"), Setup(geometry=geometry.name))
    n = geometry.nr
    steps = steps_of(trace, "split_huge_pmd")
    listed = [
        "lock ptl",  # 1
        "is the PMD still huge? yes",
        "withdraw the deposited PTE table",  # 2
        f"head _count += {n - 1}",  # 3
        f"fill {n} PTEs: P·R·U·D",  # 4: read-only, old and dirty, as the child's PMD was
        "each tail _mapcount += 1",  # 5
        "PMD marked not present",  # 6
        "flush the TLB",
        "PMD = the PTE table",  # 7
        "unlock ptl",  # 8
    ]
    assert len(steps) == len(listed)
    assert all(step.startswith(text) for step, text in zip(steps, listed, strict=True)), steps
    event = next(f for f in trace if f.state.vmstat["thp_split_pmd"] == 1)
    assert event.step is not None and event.step.text.startswith("unlock ptl")


def costs(machine: Machine, line: str) -> dict[str, int]:
    before = machine.costs
    machine.call(read_operation(line))
    return {k: n - before.get(k, 0) for k, n in machine.costs.items() if n != before.get(k, 0)}


def drained(machine: Machine, routine: object) -> tuple[int, int]:
    before = machine.costs
    drain(routine)  # type: ignore[arg-type]
    return machine.costs["rmw"] - before["rmw"], machine.costs["bit_rmw"] - before["bit_rmw"]


def test_costs_equal_the_table() -> None:
    """docs/KERNEL.md 2.3 at n = 512."""
    b = Bench(X86_64)
    system, scheme = b.machine.system, b.machine.system.scheme
    head, tail = slice(b.head, b.head + 1), slice(b.head + 5, b.head + 6)
    assert drained(b.machine, scheme.get_pages(system, head)) == (1, 0)
    assert drained(b.machine, scheme.put_pages(system, head)) == (1, 0)
    assert drained(b.machine, scheme.get_pages(system, tail)) == (1, 2)
    assert drained(b.machine, scheme.put_pages(system, tail)) == (1, 2)
    assert costs(b.machine, "pin A 0 512 all")["rmw"] == 1
    b.machine.unpin("all")
    fork = costs(b.machine, "fork A B")
    assert (fork["rmw"], fork["lock:ptl"]) == (2, 2)
    split = costs(b.machine, "split_pmd B 0")
    assert (split["rmw"], split["lock:ptl"], split["flushes"]) == (1 + 511, 1, 1)
    assert costs(b.machine, "exit A")["rmw"] == 2  # rmap and reference of one PMD
    page = costs(b.machine, "split B 0")
    assert page["rmw"] == 511 + 1 + 511 + 2  # and the caller's own get and put of the head
    assert page["bit_rmw"] == 2
    assert {k for k in page if k.startswith("lock:")} == {"lock:anon_vma_lock", "lock:page_lock", "lock:lru_lock", "lock:compound_lock"}


def test_gup_fast_of_a_tail_that_a_pte_maps_takes_the_compound_lock() -> None:
    """docs/KERNEL.md 2.3: one atomic on the head, and two of the lock bit, where a PMD would have cost the one alone."""
    b = Bench(X86_64)
    b.machine["A"].split_pmd(0)
    pin = costs(b.machine, "pin A 5 1 tail raw")
    assert (pin["rmw"], pin["bit_rmw"]) == (1, 2)


def test_freed_frames_are_junk() -> None:
    b = Bench(TOY)
    b.a.exit()
    frames = b.machine.system.frames
    assert set(frames.content[b.head : b.head + 8].tolist()) == {-0x5A5A}
    assert COLUMNS[0] == "refcount"
