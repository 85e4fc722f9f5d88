"""Routines as such: what each kernel calls them, and what may stand in the place of one."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import Signature, signature
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from thplab.hardware.frames import PG_locked
from thplab.hardware.steps import ROUTINES, Routine, phrase, routine
from thplab.kernel import routines
from thplab.kernel.kernels import KERNELS
from thplab.kernel.mutants import MUTANTS
from thplab.kernel.names import ORDER, SINCE, Names
from thplab.kernel.system import System
from thplab.machine.trace import Setup, call_text, record
from thplab.study.explore import PAIRS

for module in pkgutil.iter_modules(routines.__path__):
    import_module(f"{routines.__name__}.{module.name}")

STEPS = Path(__file__).parent / "truth" / "steps"
RECORDED = {f"v{file.stem.removeprefix('steps-')}": file for file in sorted(STEPS.glob("*.jsonl"))}
FIELDS = {"_count", "mmap_sem"}

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


# --- names ----------------------------------------------------------------------------------------------------------------


def functions(steps: list[Any]) -> Iterator[str]:
    """The functions that recorded steps name."""
    for step in steps:
        if step[0] == "loop":
            yield from functions(step[2])
        else:
            yield step[0]


def test_the_table_of_names_says_nothing_that_goes_without_saying() -> None:
    assert tuple(sorted(KERNELS, key=ORDER.index)) == ORDER
    assert SINCE.keys() <= ROUTINES.keys() | FIELDS
    for name, since in SINCE.items():
        assert list(since) == sorted(since, key=ORDER.index)
        names = [*([] if ORDER[0] in since else [name]), *since.values()]
        assert all(before != after for before, after in pairwise(names)), name


@pytest.mark.parametrize("kernel", RECORDED)
def test_no_routine_has_a_name_that_a_recorded_kernel_has_for_nothing_else(kernel: str) -> None:
    lines = RECORDED[kernel].read_text().splitlines()
    recorded = {name for line in lines for name in functions(json.loads(line)["steps"])}
    names = Names(kernel)
    shown = {names.shown(each) for each in ROUTINES.values()}
    assert len(shown & recorded) >= 30
    for name, since in SINCE.items():
        elsewhere = {name, *since.values()} - {names.of(name)}
        assert elsewhere & recorded <= shown, f"{kernel} has {elsewhere & recorded - shown}, not {names.of(name)}"


def test_a_part_is_shown_as_a_phrase_and_a_function_by_the_name_that_the_kernel_has_for_it() -> None:
    def stacks(kernel: str) -> set[str]:
        trace = record("mmap A; write A 0; fork A B; split_pmd B 0; write B 1", Setup(kernel))
        return {call_text(name) for frame in trace for name in frame.stack}

    assert {"drop the copied mapping", "page_remove_rmap()", "put_page()", "do_page_fault()"} <= stacks("v4.5")
    assert {"drop the copied mapping", "folio_remove_rmap_ptes()", "folio_put()", "do_user_addr_fault()"} <= stacks("v6.18")
    with pytest.raises(TypeError, match="'put_page' looks like a function"):
        phrase("put_page")


# --- the page lock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_pg_locked_says_that_somebody_holds_the_lock_of_a_page(kernel: str) -> None:
    lines = "mmap A; write A 0; fork A B; split_pmd B 0; write B 1; split A 0; write A 2; mmap C; fill C 0 1thp same; madvise C 0 1thp "
    seen = 0
    for frame in record(lines + "mergeable; ksm_scan 3", Setup(kernel)):
        state = frame.state
        held = {int(lock.split()[1], 16) for lock in state.held if lock.startswith("page_lock")}
        marked = {pfn for pfn in range(state.nframes) if state.field("flags", pfn) & PG_locked}
        assert held <= marked, f"step {frame.number}"
        assert {state.field("first_page", pfn) for pfn in marked - held} <= held, f"step {frame.number}"
        seen += len(marked)
    assert seen > 10
