"""The explorer: every interleaving of a pair, the schedule that loses a page, and the pruning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from random_scenarios import operations

from thplab.errors import BadInput
from thplab.hardware.frames import single
from thplab.hardware.geometry import TINY
from thplab.hardware.steps import Routine, change, read
from thplab.kernel import kernels
from thplab.kernel.kernels import KERNELS
from thplab.kernel.routines.split_huge_pmd import trusts_the_first_look
from thplab.machine.machine import Machine
from thplab.scenario import Operation, builtin, load
from thplab.scenario.text import read_operation
from thplab.study.explore import PAIRS, Exploration, Pair, RaceRun, explore, format_schedule, parse_schedule, replay
from thplab.study.explore.pair import own_pair
from thplab.study.explore.position import ProtocolError, position
from thplab.study.explore.run import forgotten
from thplab.study.invariants import check_state


@cache
def explored(name: str) -> Exploration:
    return explore(PAIRS[name])


@pytest.mark.parametrize("name", PAIRS)
def test_each_pair_loses_or_holds_as_it_says(name: str) -> None:
    found = explored(name)
    assert found.complete and found.as_expected
    assert found.states > 100 and found.schedules is not None and found.schedules > found.states
    assert (found.failure is not None) == found.pair.loses == bool(found.failing) == bool(found.failing_schedules), str(found)


@pytest.mark.parametrize("name", [name for name, pair in PAIRS.items() if pair.loses])
def test_each_wrong_variant_loses_by_the_schedule_that_is_told(name: str) -> None:
    found = explored(name)
    assert found.failure is not None and found.pair.sees
    trace = replay(found.pair, found.failure.schedule)
    steps = iter([(f.cpu, f.step.text) for f in trace if f.step])
    assert [seen for seen in found.pair.sees if seen not in steps] == []  # in this order
    last = trace[-1].state
    broken = [v.invariant for v in (check_state(last) or forgotten(found.pair, last))] or ["no_kernel_bug"]
    assert found.failure.invariant == broken[0]
    assert all(check_state(f.state) == [] for f in trace.frames[:-1])


def test_every_wrong_variant_stands_beside_a_right_one_with_the_same_opponent() -> None:
    right = {(pair.prepare, pair.cpus[1]) for pair in PAIRS.values() if not pair.loses}
    assert {(pair.prepare, pair.cpus[1]) for pair in PAIRS.values() if pair.loses} <= right


def test_the_naive_split_loses_a_page_as_the_book_says() -> None:
    # docs/KERNEL.md 6.4: check; a pin through a tail; distribute; the unpin drops the mapping's reference.
    pair = PAIRS["naive-split-and-pin"]
    failure = explored(pair.name).failure
    assert failure is not None
    assert failure.invariant == "nothing_in_use_is_free" and "A maps it" in failure.problem
    frames = replay(pair, failure.schedule)
    order = [(f.cpu, f.step.text) for f in frames if f.step]
    checked = next(i for i, (cpu, text) in enumerate(order) if cpu == 0 and "equal" in text)
    pinned = order.index((1, "head _count += 1"))
    handed_out = order.index((0, "the compound page is no more"))
    freed = order.index((1, "free pfn 0x5"))
    assert checked < pinned < handed_out < freed == len(order) - 1
    assert failure.switches == 3
    assert [v.invariant for v in check_state(frames[-1].state)] == [failure.invariant]
    assert all(check_state(f.state) == [] for f in frames.frames[:-1])


def test_an_unmap_makes_it_a_page_that_is_free_while_the_driver_uses_it() -> None:
    failure = explored("naive-split-pin-and-munmap").failure
    assert failure is not None and "free, but the driver holds it" in failure.problem
    assert parse_schedule(failure.text()) == failure.schedule


def test_the_explored_routine_is_the_one_that_runs_everywhere() -> None:
    machine = Machine()
    a = machine.spawn("A")
    a.mmap()
    a.write(0)
    names = []
    routine = machine.begin(read_operation("split A 0"))
    while True:
        try:
            next(routine)
        except StopIteration:
            break
        places: Any = position(routine)
        names += [place[0] for place in places]
    assert "split_huge_page_compound_lock" in names


def both_write(machine: Machine) -> Routine[int]:
    """A read whose value is used later: the classic lost update."""
    page = machine.state.mapped[0].pfn
    count = int(machine.system.frames.content[page])
    yield read("read")
    machine.system.frames.content[page] = count + 1
    yield change("write")
    return 0


def small_pairs() -> list[Pair]:
    def touch(machine: Machine) -> Routine[int]:
        machine.system.frames.ref_add(single(0), 1)
        yield change("+1")
        machine.system.frames.ref_add(single(0), -1)
        yield change("-1")
        return 0

    def locked(machine: Machine) -> Routine[int]:
        yield from machine.system.cpus.lock("lock 1")
        yield from machine.system.cpus.unlock("lock 1")
        return 0

    def crossed(first: str, second: str) -> Pair:
        def one(machine: Machine) -> Routine[int]:
            yield from machine.system.cpus.lock(first)
            yield from machine.system.cpus.lock(second)
            yield from machine.system.cpus.unlock(second)
            yield from machine.system.cpus.unlock(first)
            return 0

        def other(machine: Machine) -> Routine[int]:
            yield from machine.system.cpus.lock(second)
            yield from machine.system.cpus.lock(first)
            yield from machine.system.cpus.unlock(first)
            yield from machine.system.cpus.unlock(second)
            return 0

        return Pair("crossed", "", "", "mmap A", (one, other), loses=True)

    split = Pair("two PMD splits", "", "", "mmap A; write A 0", ("split_pmd A 0", "split_pmd A 0"), loses=False, geometry=TINY)
    return [
        split,
        replace(split, name="two blind PMD splits", variants={"split_huge_pmd": trusts_the_first_look}, loses=True),
        Pair("lost update", "", "", "mmap A; write A 0", (both_write, both_write), loses=False),
        Pair("plus and minus", "", "", "mmap A", (touch, touch), loses=False),
        Pair("lock", "", "", "mmap A", (locked, locked, touch), loses=False),
        crossed("lock 1", "lock 2"),
    ]


@pytest.mark.parametrize("pair", small_pairs(), ids=lambda p: p.name)
def test_pruning_changes_nothing_but_the_work(pair: Pair) -> None:
    pruned, whole = explore(pair), explore(pair, prune=False)
    assert pruned.complete and whole.complete
    assert pruned.ends == whole.ends
    assert pruned.failing == whole.failing
    assert (pruned.failure is not None) == (whole.failure is not None) == pair.loses
    assert pruned.failing_schedules == whole.failing_schedules
    assert pruned.schedules == whole.schedules
    assert pruned.states == whole.states


def test_schedules_are_counted_right() -> None:
    pair = small_pairs()[3]
    assert explore(pair).schedules == 6  # two routines of two steps: 4 over 2


def test_a_deadlock_is_found_and_named() -> None:
    found = explore(small_pairs()[-1])
    assert found.failure is not None
    assert (found.failure.invariant, found.failure.schedule) == ("no_deadlock", (0, 1))
    assert "CPU 0 waits for lock 2, held by CPU 1; CPU 1 waits for lock 1, held by CPU 0" in found.failure.problem


def test_a_bound_that_is_hit_is_reported() -> None:
    found = explore(PAIRS["rfc-split-and-pin"], limit=50)
    assert not found.complete and found.schedules is None
    assert "stopped at the bound" in str(found)


@pytest.mark.parametrize(("switches", "schedules"), [(0, 2), (1, 26), (2, 275), (99, 3832)])
def test_a_bound_on_interruptions(switches: int, schedules: int) -> None:
    """Uninterrupted, one CPU runs after the other; one interruption is enough for the blind split, and all of them are all there is."""
    pair = PAIRS["blind-pmd-split-and-zap"]
    found, whole = explore(pair, max_switches=switches), explore(pair)
    assert found.schedules == schedules and found.complete
    assert (found.failure is None) is (switches == 0)
    if found.failure and whole.failure:
        assert found.failure.problem == whole.failure.problem and replay(pair, found.failure.schedule)
    assert switches < 99 or (found.schedules, found.states, found.ends) == (whole.schedules, whole.states, whole.ends)


def test_a_cpu_that_waits_goes_on_as_soon_as_it_can() -> None:
    """CPU 1 takes the turn and has to wait for the lock: CPU 0 moves until it is free, and no further."""

    def locks(machine: Machine) -> Routine[int]:
        yield read("before")
        yield from machine.system.cpus.lock("the lock")
        yield from machine.system.cpus.unlock("the lock")
        yield read("after")
        return 0

    pair = Pair("two and a lock", "", "", "mmap A", (locks, locks), False, geometry=TINY)
    found = explore(pair, max_switches=1)
    assert found.failure is None and found.complete
    graph = found.graph
    waiting = graph.follow((0, 0, 1))  # CPU 0 has the lock, CPU 1 has taken the turn
    assert waiting is not None and graph.nodes[waiting].edges.keys() == {0}
    free = graph.nodes[waiting].edges[0]
    assert graph.nodes[free].edges.keys() == {1}


def test_a_flush_waits_for_a_cpu_that_is_deaf_to_it() -> None:
    pair = PAIRS["frozen-split-and-pin"]
    deaf = RaceRun(pair, (1,))
    while deaf.move(0):
        pass
    assert deaf.step is not None
    assert deaf.step.text == "TLB flush waits for CPU 1, which has interrupts off"


def check_protocol(machine: Machine, ops: Iterable[Operation]) -> None:
    machine.system.whole = False
    for op in ops:
        routine = machine.begin(op)
        for _ in routine:
            position(routine)


def test_every_routine_keeps_the_step_protocol() -> None:
    # What outlives a yield is a plain value or a named object, in all operations of built-in and random scenarios.
    for name in builtin():
        check_protocol(Machine(), load(name).ops)
    for seed in range(30):
        for kernel in KERNELS:
            machine = Machine(kernel)
            check_protocol(machine, operations(seed, machine))


def test_a_breach_of_the_protocol_is_named() -> None:
    def careless() -> Routine[None]:
        pages = [1, 2, 3]
        for page in pages:
            yield read(f"{page}")

    routine = careless()
    next(routine)
    with pytest.raises(ProtocolError, match=r"careless local 'pages' is a list"):
        position(routine)


def test_a_position_has_what_a_routine_keeps_from_the_function_around_it() -> None:
    def at(page: int) -> Routine[None]:
        def inner() -> Routine[None]:
            yield read(f"{page}")

        return inner()

    one, same, other = at(1), at(1), at(2)
    for routine in (one, same, other):
        next(routine)
    assert position(one) == position(same) != position(other)


def in_turn(pair: Pair, *cpus: int) -> tuple[int, ...]:
    """The schedule in which one CPU after the other does all of its work."""
    run, schedule = RaceRun(pair), []
    for cpu in cpus:
        while run.move(cpu):
            schedule.append(cpu)
    return tuple(schedule)


def test_a_schedule_is_replayed_from_its_line() -> None:
    pair = PAIRS["naive-split-and-pin"]
    trace = replay(pair, "0x10 1x6 0x3")
    assert [f.cpu for f in trace.frames[1:]] == [0] * 10 + [1] * 6 + [0] * 3
    assert format_schedule(trace.schedule) == "0x10 1x6 0x3"
    assert trace[0].state.exact == pair.start.exact and not trace[-1].at_rest
    whole = replay(pair, in_turn(pair, 1, 0))
    assert whole[-1].at_rest and whole.results() == (0, 0, 0)
    assert [op.op for f in whole if f.result is not None and (op := f.op)] == ["pin", "unpin", "split"]


@pytest.mark.parametrize(
    ("name", "schedule", "why"),
    [
        ("naive-split-and-pin", "2x1", "names CPU 2 for step 1; expected one of 0, 1"),
        ("naive-split-and-pin", "0x28", "lets CPU 0 make step 28, which has ended"),
        ("naive-split-and-pin", "first 0", "'first' is no part of one"),
        ("rfc-split-and-munmap", "1x5 0x9", "which has to wait: it waits for anon_vma_lock 1, held by CPU 1"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_the_reason(name: str, schedule: str, why: str) -> None:
    with pytest.raises(BadInput) as error:
        replay(PAIRS[name], schedule)
    assert why in str(error.value)


def test_a_race_is_no_scenario() -> None:
    with pytest.raises(BadInput, match="is a race"):
        replay(PAIRS["naive-split-and-pin"], "0x3").save()


def test_the_ways_are_counted_from_every_node() -> None:
    found = explored("naive-split-and-pin")
    graph, failure = found.graph, found.failure
    assert graph.ways is not None and failure is not None and found.failing_schedules is not None
    for node in graph.reached():
        edges = graph.nodes[node].edges.values()
        if edges:
            assert graph.ways[node].schedules == sum(graph.ways[e].schedules for e in edges)
    assert 0 < found.failing_schedules < graph.ways[0].schedules
    at = graph.follow(failure.schedule)
    assert at is not None and graph.ways[at] == (1, 1)
    checked = graph.follow(failure.schedule[:3])
    assert checked is not None
    assert graph.simplest_failure(checked, last=failure.schedule[2]) == (graph.nodes[at].problem, failure.schedule[3:])


def test_the_page_about_races_tells_what_was_found() -> None:
    # Where this fails, the numbers have moved: `thplab races` has the new ones.
    text = (Path(__file__).parent.parent / "docs" / "races.md").read_text()
    rows = {row[0].strip("` "): row for line in text.splitlines() if line.startswith("| `") for row in [line.strip("| ").split(" | ")]}
    assert list(rows) == list(PAIRS)
    for name in PAIRS:
        found, row = explored(name), rows[name]
        assert (row[2], row[3]) == ("loses" if found.failure else "holds", f"{found.states:,}"), name
        if found.failure:
            assert row[-1].strip("`") == found.failure.text(), name
        assert f"`{name}`" in text.split("## The stories")[1], name


@pytest.mark.parametrize(("policies", "loses"), [({}, False), ({"cow.huge_asks_mapcount": True}, True)])
def test_a_kernel_that_asks_the_map_count_without_a_lock_is_fooled(policies: dict[str, object], loses: bool) -> None:
    """v4.5 asks the reference count, which is one word; 4.6 asked the map count."""
    found = explore(replace(PAIRS["mapcount-and-pmd-split"], kernel=kernels.kernel("v4.5").but(policies)))
    assert found.complete and (found.failure is not None) is loses


def test_v4_5_with_the_later_order_of_madv_free_loses_nothing() -> None:
    late = kernels.kernel("v4.5").but({"advice.free_empties_pmd": False})
    found = explore(replace(PAIRS["emptied-free-and-dontneed"], kernel=late))
    assert found.complete and found.failure is None


def test_a_pair_of_ones_own_may_have_swap() -> None:
    both = ["madvise A 0 1thp free", "madvise A 0 1thp dontneed"]
    swapped, bare = (own_pair("mmap A; write A 0", both, "v4.5", swap=device) for device in ("swap", ""))
    assert "PMD cleared" in {f.step.text for f in replay(swapped, "0x8") if f.step}
    assert swapped.start.swap is not None and bare.start.swap is None
