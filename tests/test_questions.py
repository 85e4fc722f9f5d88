"""Questions made from states: the answers against a recount, the choices, the slips, and that a set can be made again."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from thplab.errors import BadInput, errname
from thplab.hardware.frames import PG_table, PG_used
from thplab.hardware.geometry import LEVEL_NAMES
from thplab.kernel.kernels import KERNELS
from thplab.learn.lessons import questions as families
from thplab.learn.lessons.questions import Family, Question, make
from thplab.machine.state import State
from thplab.machine.trace import Setup, record
from thplab.scenario import Operation
from thplab.show.describe import sentence

Recount = Callable[[Question, list[State], int], int | str]

SEEDS = range(1)


def head_of(states: list[State]) -> int:
    """The page that A's first write brought."""
    return states[2].compound_pages()[0]


def expected(states: list[State], page: int, field: str) -> int:
    """A counter of a subpage, from the page tables and the pins."""
    state, head = states[-1], head_of(states)
    inside = slice(head, head + state.geometry.nr)
    truth = state.kernel.scheme.expected(
        len(state.pmd_maps.get(head, ())), state.pte_maps[inside], state.pinned[inside], state.field("flags", head)
    )
    return int(getattr(truth, field)[page])


def in_use(state: State) -> int:
    return sum(bool(flags & PG_used and not flags & PG_table) for block in state.blocks.values() for flags in block[2].tolist())


def asked_page(question: Question) -> int:
    return int(question.question.split("page ")[1].split(",")[0])


def split_mappings(states: list[State]) -> Iterator[set[str]]:
    """For each operation the processes whose PMD over the huge page became PTEs in it."""
    head, nr = head_of(states), states[0].geometry.nr
    for before, after in pairwise(states):
        still = {m.process for m in after.mapped if m.level == 0 and head <= m.pfn < head + nr}
        yield {name for name in before.pmd_maps.get(head, ()) if name not in after.pmd_maps.get(head, ()) and name in still}


def fallen_apart(question: Question, states: list[State], _result: int) -> int:
    """How often the huge page ceased to be one without being freed as a whole (a split may free it: page by page, if all are zero)."""
    head, nr = head_of(states), states[0].geometry.nr
    return sum(
        head in before.compound_pages()
        and head not in after.compound_pages()
        and (op.op == "split" or not all(map(after.is_free, range(head, head + nr))))
        for op, (before, after) in zip(question.trace().scenario.ops, pairwise(states), strict=True)
    )


def named(processes: set[str]) -> str:
    *most, last = sorted(processes) or ["nobody"]
    return ", ".join(most) + " and " + last if most else last


def index_in_table(question: Question, states: list[State], _result: int) -> int:
    """The index bit by bit."""
    address, level = int(question.question.split("address ")[1].split()[0], 16), question.question.split(" table?")[0].split()[-1]
    size = states[0].geometry
    bits = f"{address // size.page_size:0{size.order * size.levels}b}"
    groups = [bits[at : at + size.order] for at in range(0, len(bits), size.order)]
    return int(groups[::-1][LEVEL_NAMES.index(level)], 2)


def pinned_where(question: Question, states: list[State], _result: int) -> str:
    page, head = int(question.question.rstrip("?").split()[-1]), head_of(states)
    pages, whole = states[-1].pins["dma"].pages, head in states[-1].compound_pages()
    return f"{len(pages) if whole else 0} on page 0, {0 if whole else 1} on page {page}"


def more_memory(question: Question, states: list[State], _result: int) -> str:
    other = question.question.split(" and in ")[1].split(":")[0]
    here, there = in_use(states[-1]), in_use(record(question.scenario, replace(question.setup, kernel=other))[-1].state)
    return "as many in both" if here == there else f"more in {question.setup.kernel_name if here > there else other}"


RECOUNTS: dict[str, Recount] = {
    "head_refcount": lambda q, states, _: expected(states, 0, "refcount"),
    "head_mapcount": lambda q, states, _: expected(states, 0, "mapcount") + 1,
    "tail_mapcount": lambda q, states, _: expected(states, asked_page(q), "mapcount") + 1,
    "raw_tail_mapcount": lambda q, states, _: expected(states, asked_page(q), "mapcount"),
    "pmd_splits": lambda q, states, _: sum(map(len, split_mappings(states))),
    "page_splits": fallen_apart,
    "refused_splits": lambda q, states, _: sum(f.result is not None and f.result < 0 for f in q.trace() if f.op and f.op.op == "split"),
    "split_result": lambda q, states, result: errname(result),
    "freed_by_munmap": lambda q, states, _: in_use(states[-2]) - in_use(states[-1]),
    "mapped_by_pmd": lambda q, states, _: named({m.process for m in states[-1].mapped if m.level == 1 and m.pfn == head_of(states)}),
    "pmd_split_touches": lambda q, states, _: named(list(split_mappings(states))[-1]),
    "table_index": index_in_table,
    "pin_leaves": pinned_where,
    "memory_in_two_kernels": more_memory,
}
REFUSED = {("v3.16", name) for name in ("tail_mapcount", "pmd_splits", "refused_splits")}


def family(name: str) -> Family:
    found: Family = getattr(families, name)
    return found


def test_every_family_is_recounted() -> None:
    assert {name for name in families.__all__ if name.islower()} - {"make"} == RECOUNTS.keys()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", RECOUNTS)
def test_the_actual_answer_is_what_a_recount_gives(name: str, kernel: str) -> None:
    if (kernel, name) in REFUSED:
        with pytest.raises(BadInput, match=f"kernel is {kernel}"):
            family(name)(random.Random(1), Setup(kernel))
        return
    for seed in SEEDS:
        question = family(name)(random.Random(f"{seed} {kernel}"), Setup(kernel, ("TOY", "MINI")[seed % 2]))
        trace = question.trace()
        states = [trace[0].state, *(f.state for f in trace if f.result is not None)]
        where = f"{question.setup}: {question.scenario}: {question.question}"
        assert not trace.problem and 3 <= len(trace.scenario.ops) <= 7, where
        assert question.actual == RECOUNTS[name](question, states, trace[-1].result or 0), where
        assert question.actual not in question.slips, where
        assert question.why.endswith(".") and all(told.endswith(".") for told in question.slips.values()), where
        if question.answers:
            assert question.answers.count(question.actual) == 1 and len(set(question.answers)) == len(question.answers) <= 5, where
            assert set(question.slips) <= set(question.answers), where


@pytest.mark.parametrize("geometry", ["X86_64", "TINY"])
@pytest.mark.parametrize("name", RECOUNTS)
def test_every_family_asks_in_every_geometry(name: str, geometry: str) -> None:
    question = family(name)(random.Random(2), Setup(geometry=geometry))
    trace = question.trace()
    states = [trace[0].state, *(f.state for f in trace if f.result is not None)]
    assert question.actual == RECOUNTS[name](question, states, trace[-1].result or 0)


def test_the_same_kind_of_question_has_several_answers_and_the_known_misconceptions_among_its_slips() -> None:
    kinds = ("head_refcount", "page_splits", "refused_splits", "split_result", "freed_by_munmap", "pin_leaves")
    asked = {name: [family(name)(random.Random(seed), Setup()) for seed in range(6)] for name in kinds}
    assert all(len({question.actual for question in found}) > 1 for found in asked.values())
    told = {text for found in asked.values() for question in found for text in question.slips.values()}
    for part in (
        "splits one process's mapping and leaves the page in one piece",
        "It does not raise a tail's count",
        "Unmapping is not freeing",
        "the head's mapcount, which is not its refcount",
        "A refused split leaves a trace",
    ):
        assert any(part in text for text in told), part


@pytest.mark.parametrize("kernel", ["v3.16", "v6.18"])
def test_the_why_of_two_kernels_names_the_operations_that_differ(kernel: str) -> None:
    seen = set()
    for seed in range(12):
        question = families.memory_in_two_kernels(random.Random(seed), Setup(kernel))
        first, second = map(int, re.findall(r"[\w.-]+: (\d+)[;,]", question.why)[:2])
        moved = [int(a) - int(b) for a, b in re.findall(r"([+-]\d+) and ([+-]\d+)", question.why)]
        assert sum(moved) == first - second and 0 not in moved, question.why
        assert ("No operation takes" in question.why) == (not moved), question.why
        seen.add(bool(moved))
    assert True in seen


@pytest.mark.parametrize("geometry", ["TOY", "X86_64"])
def test_the_address_that_is_asked_for_an_index_leads_through_a_pte(geometry: str) -> None:
    for seed in SEEDS:
        question = families.table_index(random.Random(seed), Setup(geometry=geometry))
        address = int(re.findall(r"address (0x[0-9a-f]+)", question.question)[0], 16)
        state = question.trace()[-1].state
        assert any(m.level == 0 and m.address <= address < m.address + m.count * 4096 for m in state.mapped)


@pytest.mark.parametrize("kernel", ["rfc-2014", "v4.5", "v6.18"])
def test_the_why_of_a_tail_says_where_pmds_are_counted(kernel: str) -> None:
    question = families.tail_mapcount(random.Random(1), Setup(kernel))
    assert f"A PMD is counted {'on the head' if kernel == 'rfc-2014' else 'in a counter of its own'}." in question.why


def test_a_set_is_the_same_for_the_same_seed_and_has_no_question_twice() -> None:
    chosen = [family(name) for name in RECOUNTS]
    one = make(chosen, count=20, seed=5)
    assert one == make(chosen, count=20, seed=5) != make(chosen, count=20, seed=6)
    assert len({(q.scenario, q.question) for q in one}) == len({q.id for q in one}) == 20
    few = make([family("head_refcount"), family("table_index")], count=4)
    assert sorted(q.question.split()[0] for q in few) == ["A's", "A's", "How", "How"]


def test_a_set_that_cannot_be_made() -> None:
    chosen = [family("head_refcount")]
    cases: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: make([]), "families are none"),
        (lambda: make(chosen, count=0), "count is 0"),
        (lambda: make([family("pmd_splits")], Setup("v3.16")), "which has no event thp_split_pmd"),
        (lambda: make(chosen, Setup("v9")), "'v9' is unknown"),
        (lambda: make([lambda rng, setup: Question("mmap A", setup, "?", 1)], count=2), "count is 2; expected at most 1"),
    )
    for wrong, match in cases:
        with pytest.raises(BadInput, match=match):
            wrong()


def test_a_question_that_makes_no_sense() -> None:
    cases: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: Question("mmap A", Setup(), "?", 1, (1, 2, 1)), "answers are"),
        (lambda: Question("mmap A", Setup(), "?", 1, (2, 3)), "answers are"),
        (lambda: Question("mmap A", Setup(), "?", "A"), "answers are missing"),
        (lambda: Question("mmap A", Setup(), "?", 1, slips={1: "no"}), "slips hold 1"),
        (lambda: Question("mmap A", Setup(), "?", 1, (1, 2), slips={3: "no"}), "slips hold 3"),
    )
    for wrong, match in cases:
        with pytest.raises(BadInput, match=match):
            wrong()


def test_an_operation_as_a_sentence() -> None:
    def told(op: str, **fields: int | str) -> str:
        return sentence(Operation(op, fields), 8)

    assert told("mprotect", proc="B", start="1/2thp", npages=2, prot="r") == "B makes pages 4 to 5 read-only."
    assert told("mmap", proc="A", thps="2thp") == "A asks for memory, as much as 2 huge pages."
    assert told("split", proc="A", start=0) == "The kernel is asked to split the page under page 0 of A."
    assert told("split", pin="dma", proc="A") == "The kernel is asked to split the page that dma holds."
    assert told("munlock", proc="A", start=0, npages=1) == "Undo mlock."
