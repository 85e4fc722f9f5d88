"""check(): schemes that a learner might write, right and wrong, and how the report tells what is wrong."""

from __future__ import annotations

import pytest

import thplab
from thplab.errors import BadInput
from thplab.hardware.steps import Routine, change, wait
from thplab.kernel.address_space import Vma
from thplab.kernel.memory import Memory
from thplab.kernel.schemes import DoubleMap, Rfc
from thplab.study.explore import RaceTrace
from thplab.study.invariants import check_state


class Forgets(Rfc):
    """Counts the PTEs of a fork nowhere."""

    name = "forgets"

    def add_pte_rmap(self, system: Memory, vma: Vma, pages: slice) -> Routine[None]:
        yield change("nothing")


class CountsInAList(Rfc):
    name = "counts in a list"

    def dup_pmd_rmap(self, system: Memory, vma: Vma, head: int) -> Routine[None]:
        counted = [head]
        yield from super().dup_pmd_rmap(system, vma, head)
        assert counted


class Breaks(Rfc):
    name = "breaks"

    def get_pages(self, system: Memory, pages: slice) -> Routine[None]:
        raise ValueError("not written yet")


class WithoutAFreeze(DoubleMap):
    """Right in every state at rest: only a race shows it."""

    name = "without a freeze"
    page_split = "compound_lock"


class Waits(Rfc):
    name = "waits"

    def get_pages(self, system: Memory, pages: slice) -> Routine[None]:
        while True:
            yield wait("until somebody comes")


class NeverEnds(Rfc):
    name = "never ends"

    def get_pages(self, system: Memory, pages: slice) -> Routine[None]:
        while True:
            yield change("the same again")


class Spins(Rfc):
    name = "spins"

    def get_pages(self, system: Memory, pages: slice) -> Routine[None]:
        while pages:
            pass
        yield change("never")


class Empty:
    name = "empty"


def test_a_scheme_that_lacks_something_is_told_what() -> None:
    report = thplab.check(Empty())  # type: ignore[arg-type]
    lacks = "lacks page_split, head_counters, pmd_split_is_local, split_counts_ptes, new_rmap(), dup_pmd_rmap()"
    assert not report.ok and lacks in report.problem


def test_a_wrong_counter_gives_the_shortest_scenario_as_a_trace() -> None:
    report = thplab.check(Forgets())
    assert not report.ok and report.problem.startswith("mapcounts_count_mappings, ")
    assert report.trace is not None and report.trace.frame is report.trace[-1]
    assert "mapcounts_count_mappings" in [v.invariant for v in check_state(report.trace.frame.state)]
    assert all(check_state(frame.state) == [] for frame in report.trace.frames[:-1])
    words = str(report)
    assert "it must hold: Every _mapcount says what the scheme means it to say" in words
    assert f"the shortest way to it: {report.trace.scenario.line()}" in words


@pytest.mark.parametrize(
    ("scheme", "problem"),
    [
        (CountsInAList(), "the step protocol is broken: CountsInAList.dup_pmd_rmap local 'counted' is a list"),
        (Breaks(), "ValueError in get_pages(), line "),
    ],
)
def test_what_is_wrong_with_the_code_is_named(scheme: Rfc, problem: str) -> None:
    report = thplab.check(scheme)
    assert problem in report.problem and "WRONG" in str(report)


def test_what_only_a_race_shows_comes_as_a_schedule() -> None:
    report = thplab.check(WithoutAFreeze(), limit=600)
    assert isinstance(report.trace, RaceTrace) and "no_counter_is_negative" in report.problem
    assert check_state(report.trace.frame.state)[0].invariant == "no_counter_is_negative"
    assert report.trace.written in str(report) and "CPU 1: " in str(report)
    assert any(line.startswith("states: ") for line in report.looked_at)


def test_a_right_scheme_is_found_right_and_what_was_looked_at_is_told() -> None:
    report = thplab.check(DoubleMap())
    assert report.ok and report.trace is None, str(report)
    assert [line.split(":")[0] for line in report.looked_at] == ["shape", "contract", "states", *["race"] * 7]
    assert not any("bound" in line for line in report.looked_at)


def test_a_kernel_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadInput, match="kernel"):
        thplab.check(Rfc(), kernel="v9")


def test_a_bound_that_is_hit_is_reported() -> None:
    report = thplab.check(DoubleMap(), limit=30)
    assert report.ok and sum("stopped at the bound" in line for line in report.looked_at) == 8


def test_a_lone_wait_is_a_deadlock() -> None:
    report = thplab.check(Waits())
    assert report.problem == "deadlock: fork until somebody comes: nobody else is running, so this never ends"
    assert report.trace is not None and report.trace.scenario.ops[-1].op == "fork"


def test_a_method_that_never_ends_is_stopped() -> None:
    assert "makes more than 1,000 steps: the same again" in thplab.check(NeverEnds()).problem
    spins = thplab.check(Spins(), seconds=1.0)
    assert spins.problem.startswith("it was stopped after 1 s in get_pages(), line ")
