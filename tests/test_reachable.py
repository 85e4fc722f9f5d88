"""All states that a set of operations reaches, and the shortest scenario to any of them."""

from __future__ import annotations

from functools import cache

import pytest

from thplab.errors import BadInput
from thplab.hardware.steps import drain
from thplab.kernel.mutants import MUTANTS
from thplab.machine.machine import Machine
from thplab.machine.state import State
from thplab.machine.trace import record
from thplab.scenario import Scenario
from thplab.study.explore.canonical import canonical
from thplab.study.explore.reachable import OPERATIONS, Reached, reachable
from thplab.study.invariants import check_state

FEW = ("write A 0", "split_pmd A 0", "munmap A 1 1", "pin A 2 1 dma", "unpin dma", "split A 0")


@cache
def few() -> Reached:
    return reachable(FEW)


def test_every_state_is_reached_by_its_scenario_and_is_sound() -> None:
    found = few()
    assert found.complete and found.violation is None and len(found.states) > 40
    assert len(set(map(canonical, found.states))) == len(found.states)
    for number, state in enumerate(found.states):
        trace = record(found.scenario(number), found.setup)
        assert not trace.problem and trace[-1].state.exact == state.exact
        assert check_state(state) == []


def test_nothing_is_left_out_and_no_scenario_could_be_shorter() -> None:
    # Without a name for each state: every sequence of operations, one longer in each round.
    found, operations = few(), [Scenario.parse(text).ops[0] for text in FEW]
    length = {canonical(state): len(found.scenario(number).ops) for number, state in enumerate(found.states)}
    known: dict[object, int] = {}
    now, ops = {found.states[0].exact: found.states[0]}, 1
    while now:
        following: dict[bytes, State] = {}
        for state in now.values():
            if canonical(state) in known:
                continue
            known[canonical(state)] = ops
            for op in operations:
                machine = Machine.restored(state)
                try:
                    drain(machine.begin(op))
                except BadInput:
                    continue
                after = machine.state
                following[after.exact] = after
        now, ops = following, ops + 1
    assert known == length


def test_where_pages_lie_is_noise() -> None:
    one = record("mmap A; write A 0; mmap B; write B 0")[-1].state
    other = record("mmap B; write B 0; mmap A; write A 0")[-1].state
    assert one.exact != other.exact and canonical(one) == canonical(other)
    for different in ("mmap A; write A 0; mmap B; write B 1 value=3", "mmap A; write A 0; mmap B; read B 0", "mmap A; write A 0"):
        assert canonical(record(different)[-1].state) != canonical(one)


def test_the_shortest_scenario_to_a_state_that_a_predicate_names() -> None:
    def is_pinned_by_ptes(state: State) -> bool:
        return bool(state.pins) and any(m.level == 0 and m.kind == "page" for m in state.mapped)

    found = reachable(until=is_pinned_by_ptes)
    number = found.find(is_pinned_by_ptes)
    assert number == len(found.states) - 1
    assert found.scenario(number).line() == "mmap A; write A 0; split_pmd A 0; pin A 2 1 dma"
    trace = found.trace(number)
    assert trace.position == len(trace) - 1 and is_pinned_by_ptes(trace.frame.state)
    assert few().find(lambda state: len(state.processes) > 1) is None


def test_a_bound_that_is_hit_is_reported() -> None:
    found = reachable(FEW, limit=10)
    assert not found.complete and len(found.states) == 10
    assert "stopped at the bound" in str(found) and "stopped" not in str(few())


@pytest.mark.parametrize("name", ["forgets_the_tails", "forgets_the_references", "moves_the_head", "skips_the_check"])
def test_a_mutant_is_found_with_its_shortest_scenario(name: str) -> None:
    found = reachable(variants=MUTANTS[name].variants)
    assert found.violation is not None and found.violation.invariant == MUTANTS[name].killed_by
    last = len(found.states) - 1
    assert found.violation.problem in str(found) and found.scenario(last).line() in str(found)
    assert all(check_state(state) == [] for state in found.states[:-1])


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadInput, match="one operation each"):
        reachable(["write A 0; write A 1"])
    with pytest.raises(BadInput, match="start"):
        reachable(OPERATIONS, start="write A 0")
