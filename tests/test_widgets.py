"""What holds for every widget: what it takes."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature

import pytest

from thplab.errors import BadInput
from thplab.learn import widgets
from thplab.learn.widgets import AddressWalker, Ledger, Stepper
from thplab.learn.widgets.widget import Widget
from thplab.machine.trace import record
from thplab.scenario import load

KINDS: list[type[Widget]] = [kind for name in widgets.__all__ if issubclass(kind := getattr(widgets, name), Widget)]

# One name for one idea: what is shown comes first, and all the rest by name.
SHOWN = {"scenario", "race", "families"}
BY_NAME = {
    "kernel", "kernels", "geometry", "mutant", "swap",  # the machine
    "step", "process", "address",  # where it begins
    "predictions", "task", "count", "seed", "gaps",  # what is asked
    "all_steps", "lecture", "recorded",  # how it is shown
    "thps", "unmapped", "pattern", "pressure", "sharing", "unmapping", "pinned", "zero_filled",  # a population of huge pages
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shown_comes_first_and_the_rest_has_the_names_that_all_use(kind: type[Widget]) -> None:
    taken = list(signature(kind).parameters.values())
    assert {each.name for each in taken if each.kind is not Parameter.KEYWORD_ONLY} <= SHOWN
    assert {each.name for each in taken if each.kind is Parameter.KEYWORD_ONLY} <= BY_NAME


@pytest.mark.parametrize("kind", [Stepper, Ledger, AddressWalker])
def test_a_trace_brings_its_own_machine_and_a_scenario_is_recorded_on_the_one_named(kind: Callable[..., Widget]) -> None:
    trace = record(load("cow"))
    for machine in ({"kernel": "v4.5"}, {"geometry": "MINI"}):
        with pytest.raises(BadInput, match="scenario is a trace, which brings a machine of its own; expected no kernel or geometry"):
            kind(trace, **machine)
    named = kind(load("mmap A; write A 0"), kernel="v4.5", geometry="MINI")
    assert named.packed == kind("mmap A; write A 0", kernel="v4.5", geometry="MINI").packed != kind("mmap A; write A 0").packed
