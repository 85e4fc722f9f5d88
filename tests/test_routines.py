"""Routines as such: what may stand in the place of one, and what they look like to the explorer."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from inspect import Signature, signature
from typing import Any

import pytest

from thplab.hardware.steps import ROUTINES, Routine, routine
from thplab.kernel import routines
from thplab.kernel.mutants import MUTANTS
from thplab.kernel.system import System
from thplab.machine.trace import Setup, record
from thplab.study.explore import PAIRS

for module in pkgutil.iter_modules(routines.__path__):
    import_module(f"{routines.__name__}.{module.name}")

VARIANTS = [(of, name, variant) for of, mutant in MUTANTS.items() for name, variant in mutant.variants.items()]
VARIANTS += [(of, name, variant) for of, pair in PAIRS.items() for name, variant in pair.variants.items()]


def calls(function: Callable[..., Any]) -> Signature:
    """How a function is called and what it gives: all of its signature."""
    return signature(function, follow_wrapped=False)


@pytest.mark.parametrize(("of", "name", "variant"), VARIANTS, ids=[f"{of}-{name}" for of, name, _ in VARIANTS])
def test_a_variant_is_called_as_the_routine_that_it_replaces(of: str, name: str, variant: Callable[..., Any]) -> None:
    assert calls(variant) == calls(ROUTINES[name].right), f"{of}: {variant.__name__} in the place of {name}"


def test_a_variant_takes_what_only_some_callers_give() -> None:
    slow_pin = record("mmap A; write A 0; pin A 1 1 dma how=gup", Setup("v5.10", mutant="forgets_that_it_has_pinned"))
    assert slow_pin.problem == "" and slow_pin.results()[-1] == 0


def test_no_two_routines_have_the_same_name() -> None:
    def zap_pte_range(system: System) -> Routine[None]:
        yield from ()

    with pytest.raises(TypeError, match="two routines are called zap_pte_range"):
        routine(zap_pte_range)
