"""The public calls of a machine: bad input raises one clear error and changes nothing; kernel errors are returned."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from thplab import BadInput, Geometry, Machine, OutOfMemory, Process
from thplab.errors import Deadlock
from thplab.hardware.steps import drain
from thplab.machine.operations import OPERATIONS
from thplab.machine.trace import Setup, record
from thplab.scenario import VOCABULARY
from thplab.scenario.text import read_operation


def bench() -> tuple[Machine, Process]:
    machine = Machine()
    a = machine.spawn("A")
    a.mmap(2)
    a.write(0)
    a.mmap(advise="none", region="S")
    a.write(0, region="S")
    a.munmap(12, 1)
    a.pin(0, 1, "held")
    return machine, a


CASES: list[tuple[Callable[[Machine, Process], object], str]] = [
    (lambda m, a: m["B"], r"proc 'B' is not a living process; expected one of: A"),
    (lambda m, a: Process(m, "B").write(0), r"proc 'B' is not a living process"),
    (lambda m, a: a.split_pmd(12), r"start page 12 of region R is in no VMA of A; expected a page that is in a VMA"),
    (lambda m, a: a.split(16), r"start page 16 of region R in A is not mapped yet"),
    (lambda m, a: a.pin(15, 2, "p", how="raw"), r"start page 15 of region R in A has no page yet"),
    (lambda m, a: a.write(0, -1), r"npages is -1; expected a count of at least 1 page"),
    (lambda m, a: a.write(0, 0), r"npages is 0"),
    (lambda m, a: a.write(-1), r"write start is -1; expected a page, such as 5"),
    (lambda m, a: a.write(0, value=-3), r"write value is -3; expected a whole number from 0 to 255"),
    (lambda m, a: a.write(0, region="X"), r"region 'X' does not exist in A; expected one of: R, S"),
    (lambda m, a: a.mprotect(0, 1, "rx"), r"mprotect prot is 'rx'; expected one of none, r, rw"),
    (lambda m, a: a.mmap(), r"region 'R' exists already in A"),
    (lambda m, a: a.mmap(0, region="T"), r"mmap thps is 0; expected a whole number of huge pages"),
    (lambda m, a: a.mmap(1, "always", region="T"), r"mmap advise is 'always'; expected one of hugepage, none"),
    (lambda m, a: a.mmap("9999thp", region="T"), r"thps is 9999: the address space of TOY is too small"),
    (lambda m, a: a.fork("A"), r"child 'A' lives already"),
    (lambda m, a: a.fork(""), r"child is ''"),
    (lambda m, a: m.spawn("A"), r"proc 'A' lives already"),
    (lambda m, a: a.pin(0, 1, "held"), r"pin 'held' is held already"),
    (lambda m, a: a.pin(0, 1, ""), r"pin pin is ''; expected a name of letters, digits and _"),
    (lambda m, a: a.pin(0, 1, "x", how="magic"), r"pin how is 'magic'; expected one of vmsplice, io_uring"),
    (lambda m, a: m.unpin("other"), r"pin 'other' is not held; expected one of: held"),
    (lambda m, a: a.split(0, region="S"), r"page 0 of region S in A is not part of a huge page"),
    (lambda m, a: a.split(1, region="S"), r"page 1 of region S in A is not mapped yet"),
    (lambda m, a: a.swap_out(0, region="S"), r"is not part of a huge page"),
    (lambda m, a: m.begin(read_operation("memcg_new A")), r"operation 'memcg_new' is not built"),
    (lambda m, a: a.split(0, how="magic"), r"split how is 'magic'; expected one of direct, debugfs"),
    (lambda m, a: a.split(pin="other"), r"pin 'other' is not held"),
    (lambda m, a: a.split(), r"split has neither start nor pin; expected one of the two"),
    (lambda m, a: a.contents(15, 2), r"start is page 15 with npages 2; expected pages 0 to 15 of region R"),
    (lambda m, a: a.contents(17), r"start is page 17"),
    (lambda m, a: a.contents(region="T"), r"region 'T' does not exist in A; expected one of: R, S"),
    (lambda m, a: a.mremap(0, 1, "T", 0), r"to 'T' does not exist in A; expected one of: R, S"),
    (lambda m, a: m.sys("/proc/sys/vm/swappiness", "1"), r"path '/proc/sys/vm/swappiness' is not built"),
]


@pytest.mark.parametrize(("call", "message"), CASES, ids=[message[:40] for _, message in CASES])
def test_bad_input_is_one_clear_error_and_changes_nothing(call: Callable[[Machine, Process], object], message: str) -> None:
    machine, a = bench()
    before = machine.state
    with pytest.raises(BadInput, match=message):
        call(machine, a)
    after = machine.state
    assert (after.exact, after.vmstat, after.costs) == (before.exact, before.vmstat, before.costs)


def test_unpinning_twice() -> None:
    machine, _ = bench()
    machine.unpin("held")
    with pytest.raises(BadInput, match="'held' is not held"):
        machine.unpin("held")


# --- one vocabulary -----------------------------------------------------------------------------------------------------------

BUILT = {op: spec for op, spec in VOCABULARY.items() if spec.built}


@pytest.mark.parametrize("op", BUILT)
def test_a_method_has_the_fields_of_the_vocabulary(op: str) -> None:
    spec = BUILT[op]
    method = getattr(Process if spec.of_process else Machine, op)
    assert inspect.getdoc(method)
    fields = spec.simulated[1:] if spec.of_process else spec.simulated
    parameters = list(inspect.signature(method).parameters.values())[1:]
    assert [parameter.name for parameter in parameters] == [field.name for field in fields]
    for parameter, field in zip(parameters, fields, strict=True):
        assert (parameter.kind is parameter.KEYWORD_ONLY) == field.keyed
        assert (parameter.default is parameter.empty) == field.required
        assert field.required or field.kind.accept(parameter.default) == field.default


def test_a_starter_has_the_fields_of_the_vocabulary() -> None:
    assert OPERATIONS.keys() == BUILT.keys()
    for op, start in OPERATIONS.items():
        assert inspect.getdoc(start)
        assert list(inspect.signature(start).parameters) == ["system", *(field.name for field in BUILT[op].simulated)]


def test_what_a_machine_leaves_aside_says_so() -> None:
    aside = {f"{op} {field.name}" for op, spec in VOCABULARY.items() for field in spec.fields if not field.simulated}
    assert aside == {"unpin proc", "ksm_scan timeout", "sys restore"}
    for op, spec in VOCABULARY.items():
        assert all("only the recorder" in field.note for field in spec.fields if not field.simulated), op


def test_pages_are_counted_in_the_machines_geometry() -> None:
    for geometry in ("MINI", "TOY", "X86_64"):
        a = Machine(geometry=geometry).spawn("A")
        assert a.mmap("2thp") == a.write("1thp-1", "1/2thp") == 0
        nr = a.machine.system.geometry.nr
        assert [page for page, content in enumerate(a.contents()) if content == 0x55] == list(range(nr - 1, nr - 1 + nr // 2))


def test_contents_are_told_without_a_fault() -> None:
    machine, a = bench()
    before = machine.state
    assert a.contents() == (0x55, *(0,) * 7, *(None,) * 8)
    assert a.contents(0, region="S") == (0x55, *(None,) * 7)
    assert a.contents("1thp-1", 2) == (0, None)
    assert (machine.state.exact, machine.state.costs) == (before.exact, before.costs)


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
    a.mmap(2)
    a.write(0)
    return machine, a


def test_memory_exhausted_by_a_fault_is_said_and_changes_nothing() -> None:
    machine, a = full_machine()
    page = 8
    with pytest.raises(OutOfMemory, match=r"write: no memory left \(0 of 16 frames are free\)"):
        while True:
            before = machine.state
            a.write(page)
            page += 1
    after = machine.state
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
    head = machine.state.compound_pages()[0]
    a.pin(0, 1, "own", how="raw")
    a.fork("B")
    a.exit()
    assert set(machine.state.pins) == {"held", "own"}, "B has the pipe, too"
    machine["B"].exit()
    assert set(machine.state.pins) == {"own"} and machine.state.field("refcount", head) == 1
    machine.unpin("own")
    assert machine.state.compound_pages() == ()


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
    routine = machine.begin(read_operation("munmap A 0 1"))
    next(routine)
    next(routine)
    before = machine.state
    routine.close()
    assert machine.state.exact == before.exact
    assert "mmap_sem of A" in machine.system.cpus.held
