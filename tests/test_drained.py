"""Drained is stepped without the steps: a compiled routine does what the routine does, and makes no text."""

from __future__ import annotations

import pytest
from random_scenarios import operations

from thplab.errors import Deadlock
from thplab.hardware import drained
from thplab.hardware.drained import drain
from thplab.hardware.steps import Routine, Step, change, wait
from thplab.kernel.kernels import KERNELS
from thplab.kernel.mutants import mutant
from thplab.kernel.system import System
from thplab.machine.machine import Machine
from thplab.scenario import Scenario


@pytest.fixture(autouse=True)
def compiled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drained, "_MUCH", 0)


def stepped(routine: Routine[int]) -> int:
    while True:
        try:
            next(routine)
        except StopIteration as end:
            result: int = end.value
            return result


@pytest.mark.parametrize("kernel", KERNELS)
def test_drained_and_stepped_end_in_the_same_state(kernel: str) -> None:
    for seed in range(40):
        fast = Machine(kernel, swap=("", "swap", "zram")[seed % 3])
        slow = Machine(kernel, swap=("", "swap", "zram")[seed % 3])
        for op in operations(seed, fast):
            assert drain(fast.begin(op)) == stepped(slow.begin(op)), f"seed {seed}, {op}"
            assert (fast.state.exact, fast.vmstat, fast.costs) == (slow.state.exact, slow.vmstat, slow.costs), f"seed {seed}, {op}"


def test_no_text_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    def pages_text(system: System, part: slice) -> str:
        told.append(part.start)
        return "pages"

    monkeypatch.setattr(System, "pages_text", pages_text)
    machine = Machine("v6.18")
    ops = Scenario.parse("mmap A; write A 0; fork A B; munmap A 2 1; write B 5; exit B").ops
    for op in ops:
        drain(machine.begin(op))
    assert not told
    machine = Machine("v6.18")
    for op in ops:
        stepped(machine.begin(op))
    assert told


def test_a_routine_that_calls_itself_is_drained() -> None:
    machine = Machine("v3.16")
    for op in Scenario.parse("mmap A; write A 0; pin A 3 1 p fsplit").ops:
        drain(machine.begin(op))
    assert machine.state.pins["p"].pages and not machine.state.compound_pages()


def waits(machine: Machine) -> Routine[int]:
    yield change("begin")
    yield wait("waits for Godot")
    return 0


def makes_its_own(machine: Machine) -> Routine[int]:
    """Not of this project: there is no source that could be trusted."""
    yield Step("change", "one")
    return 7


def test_a_wait_is_a_deadlock() -> None:
    with pytest.raises(Deadlock, match="waits for Godot: nobody else is running"):
        drain(waits(Machine()))
    machine = Machine()
    machine.call(Scenario.parse("mmap A").ops[0])
    machine.system.cpus.held["mmap_sem of A"] = ("exclusive", (1,))
    machine.system.cpus.held["mmap_lock of A"] = ("exclusive", (1,))
    with pytest.raises(Deadlock, match="held by CPU 1: nobody else is running"):
        machine.call(Scenario.parse("munmap A 0 8").ops[0])


def test_what_is_no_routine_of_this_project_is_stepped() -> None:
    assert drain(makes_its_own(Machine())) == 7


def test_a_machine_with_a_variant_runs_it() -> None:
    wrong = mutant("moves_the_head")
    results = []
    for run in (drain, stepped):
        machine = Machine(variants=wrong.variants)
        for op in Scenario.parse("mmap A; write A 0; split A 0").ops:
            run(machine.begin(op))
        results.append(machine.state.exact)
    right = Machine()
    for op in Scenario.parse("mmap A; write A 0; split A 0").ops:
        right.call(op)
    assert results[0] == results[1] != right.state.exact
