"""A trace goes forwards and backwards exactly, branches, and comes back from a file."""

from __future__ import annotations

import itertools

import pytest
from random_scenarios import operations

from thplab.errors import BadInput
from thplab.machine.machine import Machine
from thplab.machine.snapshot import capture
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import Phase, Scenario, load


@pytest.mark.parametrize("geometry", ["TOY", "X86_64"])
def test_forward_n_and_back_n_is_where_it_was(geometry: str) -> None:
    trace = record(load("story"), Setup(geometry=geometry))
    digests = [f.state.exact for f in trace]
    for n in range(len(trace)):
        trace.seek(0)
        trace.forward(n)
        assert trace.back(n).state.exact == digests[0]
        trace.forward(n)
        assert trace.frame.state.exact == digests[n]


@pytest.mark.parametrize("geometry", ["TOY", pytest.param("X86_64", marks=pytest.mark.slow)])
def test_a_machine_can_be_rebuilt_at_every_step(geometry: str) -> None:
    trace = record(load("story"), Setup(geometry=geometry))
    for n in range(len(trace)):
        trace.seek(n)
        machine, routine = trace.machine()
        rebuilt = capture(machine.system, in_progress=routine is not None)
        assert rebuilt.exact == trace[n].state.exact, n
        assert (rebuilt.vmstat, rebuilt.costs) == (trace[n].state.vmstat, trace[n].state.costs), n


def test_a_rebuilt_machine_goes_on_like_the_original() -> None:
    for seed in range(60):
        machine = Machine()
        for op in operations(seed, machine):
            copy = Machine.restored(machine.state)
            results = []
            for each in (machine, copy):
                routine = each.begin(op)
                try:
                    while True:
                        next(routine)
                except StopIteration as end:
                    results.append(end.value)
            assert results[0] == results[1]
            assert copy.state.exact == machine.state.exact, f"seed {seed}, {op}"


def test_what_a_state_shows_does_not_change_afterwards() -> None:
    trace = record("mmap A; write A 0; fork A B; write B 0")
    with pytest.raises(ValueError, match="read-only"):
        next(iter(trace[-1].state.blocks.values()))[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        next(iter(trace[-1].state.tables.values()))[0] = 1


def test_states_share_what_did_not_change() -> None:
    trace = record(load("story"), Setup(geometry="X86_64"))
    shared = sum(
        b.state.blocks[k] is a.state.blocks[k] for a, b in itertools.pairwise(trace) for k in a.state.blocks.keys() & b.state.blocks.keys()
    )
    total = sum(len(f.state.blocks) for f in trace)
    assert shared > 0.6 * total


def test_save_and_load_are_inverses() -> None:
    trace = record(load("story"), Setup(geometry="X86_64", mutant="moves_the_head"))
    trace.seek(40)
    again = Trace.load(trace.save())
    assert again == trace and again.position == 40
    trace.seek(41)
    assert again != trace
    branch = trace.fork("pin B 1 1 late")
    assert Trace.load(branch.save()) == branch


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"thplab": 1, "setup": {"kernel": "v9"}}'])
def test_load_refuses_what_save_did_not_write(text: str) -> None:
    with pytest.raises(BadInput, match=r"text.*(is not JSON|expected an object .* thplab, setup, scenario)"):
        Trace.load(text)


def step_where(trace: Trace, text: str) -> int:
    return next(f.number for f in trace if f.step and text in f.step.text)


def test_what_if_a_pin_comes_between_the_two_checks_of_the_split() -> None:
    trace = record("mmap A; write A 0; split A 0")
    trace.seek(step_where(trace, "lock lru_lock"))
    branch = trace.fork("pin A 1 1 late")
    before = [f.state.exact for f in trace.frames[: trace.position + 1]]
    assert [f.state.exact for f in branch.frames[: trace.position + 1]] == before
    assert branch.problem == ""
    assert branch.results() == (0, 0, 0, -16)  # mmap, write, the inserted pin, then the refused split
    end = branch[-1].state
    assert end.vmstat["thp_split_page_failed"] == 1
    assert end.vmstat["thp_split_pmd"] == 1, "the PMD stays split: there is no undo"
    assert branch.fork("unpin late").results()[-2:] != ()


def test_an_inserted_operation_waits_for_the_locks_of_the_one_under_way() -> None:
    trace = record("mmap A; write A 0; split A 0; exit A")
    trace.seek(step_where(trace, "lock anon_vma_lock"))
    branch = trace.fork("fork A B")
    waits = [f for f in branch if f.step and f.step.kind == "wait"]
    assert waits and all(f.cpu == 1 and "anon_vma_lock" in f.step.text for f in waits if f.step)
    assert branch.results() == (0, 0, 0, 0, 0)
    assert {p.name for p in branch[-1].state.processes} == {"B"}


def test_a_scenario_that_cannot_go_on_says_where_and_why() -> None:
    trace = record("mmap A; write A 0; unpin dma")
    assert trace.problem.startswith(f"after step {len(trace) - 1}: pin 'dma' is not held")
    assert "'memcg_new' is not built" in record("mmap A; memcg_new A").problem


@pytest.mark.parametrize(("move", "message"), [("seek", "0 to"), ("forward", "0 or more"), ("back", "0 or more")])
def test_impossible_moves_leave_the_position(move: str, message: str) -> None:
    trace = record("mmap A")
    trace.seek(2)
    with pytest.raises(BadInput, match=message):
        getattr(trace, move)(-1)
    assert trace.position == 2


def test_an_operation_with_nothing_to_do_has_a_frame_of_its_own() -> None:
    idle = "sys /proc/sys/vm/drop_caches 2"
    trace = record(f"phase One\nmmap A\nphase Two\n{idle}", Setup("v3.16"))
    last = trace[-1]
    assert (last.op_index, last.phase, last.stack, last.result) == (1, 1, (), 0) and last.state.exact == trace[-2].state.exact
    assert last.step is not None and last.step.text == "nothing to do"
    assert record(idle, Setup("v3.16")).reached == 1


def test_phases_are_on_the_frames() -> None:
    story = load("story")
    trace = record(story)
    assert [p.title for p in story.phases] == [story.phases[f].title for f in dict.fromkeys(f.phase for f in trace.frames[1:])]
    assert isinstance(story.phases[0], Phase)
    assert isinstance(story, Scenario)


def test_a_lock_that_is_never_released_ends_the_trace() -> None:
    trace = record("mmap A; write A 0; pin A 0 1 dma; split A 0; fork A B", Setup(mutant="posted_early_return"))
    assert "fork waits for anon_vma_lock 1, held by CPU 0: nobody else is running" in trace.problem
