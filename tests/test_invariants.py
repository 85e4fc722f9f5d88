"""The invariants hold over the built-in and random scenarios; each mutant breaks the invariant or the recorded row that is named for it."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from random_scenarios import Model, operations

from thplab.errors import BadInput
from thplab.hardware.frames import COLUMNS, PG_double_map, PG_used
from thplab.hardware.steps import CHANGE
from thplab.kernel.evidence import STEPS
from thplab.kernel.kernels import DEFAULT, KERNELS, kernel
from thplab.kernel.mutants import MUTANTS, TruthRow
from thplab.machine.machine import Machine
from thplab.machine.snapshot import capture
from thplab.machine.state import State
from thplab.machine.trace import Frame, Setup, Trace, record
from thplab.scenario import builtin, load
from thplab.study.invariants import INVARIANTS, check_frame, check_state
from thplab.study.verify import read_records, replay_records
from thplab.study.verify.steps import RIGHT, follow_all
from thplab.study.verify.stores import read_recordings

TRUTH = Path(__file__).parent / "truth"
records_of, recordings_of = cache(read_records), cache(read_recordings)
"""What a file holds, for which several mutants ask."""


def violations(trace: Trace) -> list[tuple[int, str]]:
    before = [None, *trace.frames]
    return [(f.number, v.invariant) for b, f in zip(before, trace.frames, strict=False) for v in check_frame(f, b)]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("geometry", ["TOY", pytest.param("X86_64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", builtin())
def test_invariants_hold_after_every_step(name: str, geometry: str, kernel: str) -> None:
    trace = record(load(name), Setup(kernel, geometry))
    assert trace.problem == ""
    assert violations(trace) == []
    end = trace[-1].state
    assert end.tables == {} and end.mapped == () and end.pins == {}
    free = end.nframes - sum(int((b[2] != 0).sum()) for b in end.blocks.values())
    boot = 1 + (end.geometry.nr if end.huge_zero_page else 0)  # the zero pages are never given back
    assert free == end.nframes - boot


def run_checked(seed: int, memory: int | None, kernel: str = DEFAULT) -> tuple[Machine, int]:
    """A random scenario in TOY, every step checked, contents compared with the model after every operation."""
    machine = Machine(kernel, memory=memory)
    model, steps = Model(kernel), 0
    frame = Frame(0, None, machine.state)
    for op in operations(seed, machine):
        routine = machine.begin(op)
        while True:
            try:
                step = next(routine)
            except StopIteration as end:
                result = end.value
                break
            steps += 1
            after = Frame(steps, step, capture(machine.system, in_progress=True), op)
            if step.kind == CHANGE:
                assert check_frame(after, frame) == [], f"seed {seed}, {op}, step {step}"
            elif "page_lock" not in step.text:  # that is a bit of the page
                assert unchanged(frame.state, after.state), f"seed {seed}, {op}: {step} has changed something"
            frame = after
        frame = Frame(steps, None, capture(machine.system), op)
        assert check_frame(frame) == [], f"seed {seed}, after {op}"
        if result == -12 and op.op not in ("madvise", "mlock", "mprotect", "munlock"):
            break  # the model does not say how far an access came before memory ran out
        model.apply(op, machine.system.geometry.nr, result)
        model.compare(frame.state, f"seed {seed}, after {op}")
    return machine, steps


def unchanged(before: State, after: State) -> bool:
    """Page frames and page tables are the very same arrays: what does not change is shared."""
    (one, other) = ([(number, id(held)) for kept in (state.blocks, state.tables) for number, held in kept.items()] for state in (before, after))
    return one == other


SHARE = 1 if os.environ.get("THPLAB_SWEEP") else 3
"""make sweep goes through a thousand."""


@pytest.mark.parametrize(
    ("kernel", "scenarios"),
    [pytest.param(name, (450 if name == DEFAULT else 100) // SHARE, marks=[pytest.mark.slow] * (name not in ("v4.5", "v6.18"))) for name in KERNELS],
)
def test_invariants_hold_over_many_random_scenarios(kernel: str, scenarios: int) -> None:
    split, refused, copied = 0, 0, 0
    for seed in range(scenarios):
        machine, _ = run_checked(seed, None, kernel)
        split += machine.vmstat.get("thp_split_page", 0) + machine.vmstat.get("thp_split", 0)
        refused += machine.vmstat.get("thp_split_page_failed", 0)
        copied += machine.vmstat["thp_fault_alloc"] > 1
    can_fail = KERNELS[kernel].scheme.page_split != "tails"
    assert min(split, copied) > scenarios / 10 and (refused > scenarios / 50) == can_fail, "they must reach what they are about"


@pytest.mark.slow
def test_invariants_hold_when_memory_is_short() -> None:
    fallbacks = 0
    for seed in range(200):
        machine, _ = run_checked(seed, 8 * 4)
        fallbacks += machine.vmstat["thp_fault_fallback"]
    assert fallbacks > 5


BY_INVARIANT = [name for name, mutant in MUTANTS.items() if isinstance(mutant.killed_by, str)]
BY_RECORDING = [name for name, mutant in MUTANTS.items() if isinstance(mutant.killed_by, TruthRow)]


@pytest.mark.parametrize("name", BY_INVARIANT)
def test_each_mutant_breaks_its_invariant(name: str) -> None:
    mutant = MUTANTS[name]
    assert mutant.killed_by in {i.name for i in INVARIANTS}
    right = record(load(mutant.scenario), Setup(mutant.kernel))
    assert right.problem == "" and violations(right) == []
    wrong = record(load(mutant.scenario), Setup(mutant.kernel, mutant=name))
    assert mutant.killed_by in {invariant for _, invariant in violations(wrong)}


@pytest.mark.parametrize("name", BY_RECORDING)
def test_each_other_mutant_disagrees_with_its_recorded_row(name: str) -> None:
    row = MUTANTS[name].killed_by
    assert isinstance(row, TruthRow)
    file, scenario, field = row
    if file.startswith(STEPS):
        steps = [r for r in recordings_of(TRUTH / file) if r["name"] == scenario]
        right, wrong = ({d for one in follow_all(steps, wrong=m) for d in one.differences} for m in (RIGHT, MUTANTS[name]))
        assert len(steps) == 1 and any(field in d.expected for d in wrong - right)
        return
    recorded = [r for r in records_of(TRUTH / file) if r["name"] == scenario]
    assert len(recorded) == 1 and file == f"linux-{MUTANTS[name].kernel.removeprefix('v')}.jsonl"
    assert [d for outcome in replay_records(recorded) for d in outcome.differences] == []
    assert field in {d.field for outcome in replay_records(recorded, mutant_name=name) for d in outcome.differences}


def test_there_are_mutants_of_routines_of_schemes_and_of_kernels() -> None:
    assert len(MUTANTS) >= 20
    for part in ("variants", "scheme", "policies"):
        assert sum(bool(getattr(mutant, part)) for mutant in MUTANTS.values()) >= 4, part
    for mutant in MUTANTS.values():
        assert bool(mutant.variants) + bool(mutant.scheme) + bool(mutant.policies) == 1, f"{mutant.about}: one thing is wrong"
        assert mutant.of(kernel(mutant.kernel)) != kernel(mutant.kernel) or mutant.variants


def test_a_mutant_of_one_scheme_is_none_of_another() -> None:
    with pytest.raises(BadInput, match=r"the scheme folio, which v4\.5 does not have; expected v6\.12"):
        Setup("v4.5", mutant="counts_every_pte").machine()
    assert vars(Setup("v6.18", mutant="counts_every_pte").machine().system.scheme) == {"mm_ids": True}


def test_a_double_map_flag_that_outlives_the_last_pmd_is_found() -> None:
    state = record("mmap A; write A 0; split_pmd A 0", Setup("v4.5"))[-1].state
    head = state.compound_pages()[0]
    block = state.blocks[head // 8].copy()
    block[COLUMNS.index("flags"), 0] |= PG_double_map
    wrong = replace(state, blocks={**state.blocks, head // 8: block})
    assert check_state(state) == []
    assert "double_map_means_both_kinds" in {v.invariant for v in check_state(wrong)}


@pytest.mark.parametrize(("which", "inside"), [(0, 3), (1, 5)], ids=["below PTEs", "below a PMD"])
def test_a_mapped_page_that_is_free_is_found(which: int, inside: int) -> None:
    state = record("mmap A 2thp; write A 0 2thp; split_pmd A 0")[-1].state
    pfn = state.compound_pages()[which] + inside
    block = state.blocks[pfn // 8].copy()
    block[COLUMNS.index("flags"), inside] &= ~PG_used
    wrong = replace(state, blocks={**state.blocks, pfn // 8: block})
    told = {v.invariant: v.problem for v in check_state(wrong)}
    assert told["nothing_in_use_is_free"].startswith(f"pfn {pfn:#x} is free, but A maps it at ")
    every = range(3, state.nframes - 2)
    assert wrong.free_among(every) == [each for each in every if wrong.is_free(each)]


def test_a_state_is_checked_for_rest_only_at_rest() -> None:
    trace = record("mmap A; write A 0; fork A B; mprotect B 1 1 r")
    middle = next(f for f in trace if f.step and f.step.text == "head _count += 7")
    assert check_state(middle.state) == []  # seven references without a mapping yet
    resting = replace(middle.state, in_progress=False)
    assert "references_are_mappings_and_pins" in {v.invariant for v in check_state(resting)}
