"""The public calls of a machine: bad input raises one clear error and changes nothing; kernel errors are returned."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from thplab import BadInput, Geometry, Machine, OutOfMemory, Process
from thplab.errors import Deadlock
from thplab.hardware.steps import drain
from thplab.machine.state import capture
from thplab.machine.trace import Setup, record


def bench() -> tuple[Machine, Process]:
    machine = Machine()
    a = machine.spawn("A")
    a.mmap(16)
    a.write(0)
    a.mmap(8, advise="none", region="S")
    a.write(0, region="S")
    a.munmap(12, 1)
    a.pin(0, 1, "held")
    return machine, a


CASES: list[tuple[Callable[[Machine, Process], object], str]] = [
    (lambda m, a: m["B"], r"proc 'B' is not a living process; expected one of: A"),
    (lambda m, a: m.call("write", proc="B", start=0), r"proc 'B' is not a living process"),
    (lambda m, a: a.write(16), r"start is page 16 with npages 1; expected pages 0 to 15 of region R"),
    (lambda m, a: a.write(12), r"start page 12 of region R is in no VMA of A; expected a page that is mapped"),
    (lambda m, a: a.mprotect(11, 2, "r"), r"start page 12 of region R is in no VMA"),
    (lambda m, a: a.write(0, -1), r"npages is -1; expected a count of at least 1 page"),
    (lambda m, a: a.write(0, 0), r"npages is 0"),
    (lambda m, a: a.write(-1), r"start is page -1"),
    (lambda m, a: a.write(0, value=-3), r"value is -3; expected a content tag"),
    (lambda m, a: a.write(0, region="X"), r"region 'X' does not exist in A; expected one of: R, S"),
    (lambda m, a: a.mprotect(0, 1, "rx"), r"prot 'rx' does not exist; expected one of none, r, rw"),
    (lambda m, a: a.mmap(8), r"region 'R' exists already in A"),
    (lambda m, a: a.mmap(0, region="T"), r"pages is 0"),
    (lambda m, a: a.mmap(8, advise="always", region="T"), r"advise 'always' does not exist; expected one of hugepage, none"),
    (lambda m, a: a.mmap(1 << 40, region="T"), r"pages is \d+: the address space of TOY is too small"),
    (lambda m, a: a.fork("A"), r"child 'A' lives already"),
    (lambda m, a: a.fork(""), r"child is ''"),
    (lambda m, a: m.spawn("A"), r"proc 'A' lives already"),
    (lambda m, a: a.pin(0, 1, "held"), r"pin 'held' is held already"),
    (lambda m, a: a.pin(0, 1, ""), r"pin has no name"),
    (lambda m, a: a.pin(0, 1, "x", how="magic"), r"how 'magic' does not exist"),
    (lambda m, a: m.unpin("other"), r"pin 'other' is not held; expected one of: held"),
    (lambda m, a: m.split_huge_page(a, 0, "S"), r"page 0 of region S in A is not part of a huge page"),
    (lambda m, a: m.split_huge_page(a, 1, "S"), r"page 1 of region S in A is not mapped yet"),
    (lambda m, a: m.swap_out(a, 0, "S"), r"is not part of a huge page"),
    (lambda m, a: m.begin("frobnicate"), r"operation 'frobnicate' is not built"),
    (lambda m, a: m.begin("split", proc="A", start=0, how="magic"), r"how is 'magic'; expected direct or debugfs"),
    (lambda m, a: m.begin("split", proc="A", pin="other"), r"pin 'other' is not held"),
    (lambda m, a: m.begin("mremap", proc="A", start=0, to="T", at=0), r"to 'T' does not exist in A; expected one of: R, S"),
    (lambda m, a: m.begin("mremap", proc="A", start=0, npages=2, to="R", at=99), r"at is page 99 with npages 2"),
    (lambda m, a: m.begin("sys", path="/proc/sys/vm/swappiness", value="1"), r"path '/proc/sys/vm/swappiness' is not built"),
]


@pytest.mark.parametrize(("call", "message"), CASES, ids=[message[:40] for _, message in CASES])
def test_bad_input_is_one_clear_error_and_changes_nothing(call: Callable[[Machine, Process], object], message: str) -> None:
    machine, a = bench()
    before = capture(machine)
    with pytest.raises(BadInput, match=message):
        call(machine, a)
    after = capture(machine)
    assert (after.exact, after.vmstat, after.costs) == (before.exact, before.vmstat, before.costs)


def test_unpinning_twice() -> None:
    machine, _ = bench()
    machine.unpin("held")
    with pytest.raises(BadInput, match="'held' is not held"):
        machine.unpin("held")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Machine(kernel="v9.9"), "kernel 'v9.9' is unknown; expected one of rfc-2014"),
        (lambda: Machine(geometry="HUGE"), "geometry 'HUGE' is unknown; expected one of X86_64, TOY, MINI"),
        (lambda: Machine(memory=8), "memory is 8 frames; expected a multiple of 8 frames, at least 16"),
        (lambda: Machine(memory=17), "memory is 17 frames"),
        (lambda: Geometry("X", order=0), "order is 0"),
        (lambda: Geometry("X", order=3, levels=5), "levels is 5"),
    ],
)
def test_a_machine_that_cannot_be(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make()


def full_machine() -> tuple[Machine, Process]:
    """Two blocks of memory; the second is one huge page, the first is filled up."""
    machine = Machine(memory=16)
    a = machine.spawn("A")
    a.mmap(16)
    a.write(0)
    return machine, a


def test_memory_exhausted_by_a_fault_is_said_and_changes_nothing() -> None:
    machine, a = full_machine()
    page = 8
    with pytest.raises(OutOfMemory, match=r"write: no memory left \(0 of 16 frames are free\)"):
        while True:
            before = capture(machine)
            a.write(page)
            page += 1
    after = capture(machine)
    assert [f.tobytes() for f in after.blocks.values()] == [f.tobytes() for f in before.blocks.values()]
    assert after.mapped == before.mapped


def test_a_fork_without_memory_takes_the_child_down_again() -> None:
    machine, a = full_machine()
    with pytest.raises(OutOfMemory):
        for page in range(8, 16):
            a.write(page)
    used = machine.system.frames.buddy.nr_free
    with pytest.raises(OutOfMemory, match="fork"):
        a.fork("B")
    assert machine.system.frames.buddy.nr_free == used
    assert set(machine.system.mms) == {"A"}
    a.write(0)


def test_a_scenario_says_out_of_memory_as_a_result() -> None:
    text = "mmap A 2thp; write A 0; " + "; ".join(f"write A {p}" for p in range(8, 16))
    results = record(text, Setup(memory=16)).results()
    assert -12 in results and results[0] == 0


def test_an_access_that_the_vma_forbids_is_efault() -> None:
    machine, a = bench()
    a.mprotect(3, 1, "r")
    a.mprotect(4, 1, "none")
    assert (a.write(3), a.read(3), a.write(4), a.read(4)) == (-14, 0, -14, -14)
    assert a.pin(4, 1, "x") == -14 and "x" not in machine.system.pins


def test_a_pin_lives_as_long_as_a_file_that_it_hangs_on() -> None:
    """vmsplice: the pipe holds the reference, and whoever has the pipe open; a reference of the kernel's own hangs on no file."""
    machine, a = bench()
    head = capture(machine).compound_pages()[0]
    a.pin(0, 1, "own", how="raw")
    a.fork("B")
    a.exit()
    assert set(capture(machine).pins) == {"held", "own"}, "B has the pipe, too"
    machine["B"].exit()
    assert set(capture(machine).pins) == {"own"} and capture(machine).field("refcount", head) == 1
    machine.unpin("own")
    assert capture(machine).compound_pages() == ()


def test_vmas_merge_again_when_they_no_longer_differ() -> None:
    machine, a = bench()
    vmas = len(machine.system.mms["A"].vmas)
    a.mprotect(3, 1, "r")
    assert len(machine.system.mms["A"].vmas) == vmas + 2
    a.mprotect(3, 1, "rw")
    assert len(machine.system.mms["A"].vmas) == vmas


def test_waiting_alone_for_ever_is_a_deadlock() -> None:
    machine = Machine()
    drain(machine.system.cpus.lock("page_lock 0x8"))
    with pytest.raises(Deadlock, match="waits for page_lock 0x8, held by CPU 0"):
        drain(machine.system.cpus.lock("page_lock 0x8"))


def test_an_abandoned_routine_does_not_touch_the_machine() -> None:
    machine, _ = bench()
    routine = machine.begin("munmap", proc="A", start=0)
    next(routine)
    next(routine)
    before = capture(machine)
    routine.close()
    assert capture(machine).exact == before.exact
    assert "mmap_sem of A" in machine.system.cpus.held
