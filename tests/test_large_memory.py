"""Large memories: a block of struct pages takes little room, and a state looks only at what was stored to."""

from __future__ import annotations

import gc
import itertools
import random
import tracemalloc

import numpy as np
import pytest

from thplab.hardware.blocks import Blocks, BlockState, FrameColumn
from thplab.hardware.frames import MOST_FRAMES, PG_used
from thplab.machine.counts import FrameCounts
from thplab.machine.machine import Machine
from thplab.machine.snapshot import capture
from thplab.scenario import Scenario
from thplab.study.invariants import check_state


def carry_out(machine: Machine, scenario: str) -> None:
    for op in Scenario.parse(scenario).ops:
        machine.call(op)


@pytest.mark.parametrize(
    ("scenario", "once"),
    [
        ("mmap A 512thp; write A 0 512thp", 0),
        ("mmap A 64thp; write A 0 64thp; mprotect A 8 16384 r; fork A B", 0),
        # Each page is a fault of its own, so there are fewer, and what a machine takes only once weighs more.
        ("mmap A 16thp none; write A 0 16thp", 1 << 16),
        ("mmap A 64thp; fill A 0 64thp same; madvise A 0 32752 cold", 0),
    ],
)
def test_a_machine_of_1_tib_takes_at_most_16_bytes_for_a_page_in_use(scenario: str, once: int) -> None:
    carry_out(Machine("v6.18", "X86_64"), scenario.replace("512thp", "1thp").replace("64thp", "1thp").replace("16thp", "1thp"))  # imports
    tracemalloc.start()
    machine = Machine("v6.18", "X86_64", MOST_FRAMES)
    made = tracemalloc.get_traced_memory()[0]
    carry_out(machine, scenario)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - made
    tracemalloc.stop()
    in_use = MOST_FRAMES - machine.system.frames.buddy.nr_free
    assert made < 1 << 20 and in_use > 8_000
    assert used <= 16 * in_use + once


def test_a_machine_of_1_tib_is_stepped_and_goes_on_from_a_state() -> None:
    machine = Machine("v6.18", "X86_64", MOST_FRAMES)
    carry_out(machine, "mmap A 300thp; write A 0 300thp; fork A B")
    states = [machine.state]
    for op in Scenario.parse("write B 3; mprotect A 8 1 r; munmap A 0 1thp; exit B").ops:
        states += [capture(machine.system, in_progress=True) for _ in machine.begin(op)]
    assert check_state(machine.state) == []
    changed = [sum(b.blocks.kept[n] is not a.blocks.kept.get(n) for n in b.blocks) for a, b in itertools.pairwise(states)]  # type: ignore[attr-defined]
    assert len(states[-1].blocks) >= 300 and max(changed) <= 4, "a step stores to few blocks"
    before = machine.state
    again = Machine.restored(before)
    for each in (again, machine):
        carry_out(each, "write A 600")
    assert again.state.exact == machine.state.exact
    assert sum(again.state.blocks.kept[n] is before.blocks.kept.get(n) for n in again.state.blocks) > 290  # type: ignore[attr-defined]


def test_what_was_stored_but_is_as_before_is_the_same_object() -> None:
    machine = Machine("v4.5", "X86_64")
    carry_out(machine, "mmap A 2thp; write A 0 2thp; munmap A 3 1")
    before, (pmd, *_) = machine.state, machine.system.tables.table
    frames, tables = machine.system.frames, machine.system.tables
    frames.ref_add(slice(512, 1024), 1)
    frames.ref_add(slice(512, 1024), -1)
    tables.set(pmd, 5, 1)
    tables.set(pmd, 5, before.tables[pmd].item(5))
    after = machine.state
    assert after.blocks is not before.blocks and after.tables is before.tables
    assert all(after.blocks[number] is before.blocks[number] for number in before.blocks)


def test_a_table_that_a_state_has_is_stored_to_by_the_primitives_alone() -> None:
    machine = Machine()
    carry_out(machine, "mmap A; write A 0")
    state = machine.state
    (pfn, *_) = machine.system.tables.table
    with pytest.raises(ValueError, match="read-only"):
        machine.system.tables.table[pfn][0] = 7
    machine.system.tables.store(pfn, slice(0, 2), [7, 8])
    assert machine.system.tables.table[pfn][:2].tolist() == [7, 8] != state.tables[pfn][:2].tolist()


@pytest.mark.parametrize("order", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("seed", range(10))
def test_a_column_is_read_and_stored_to_as_an_array_is(order: int, seed: int) -> None:
    rng, nr = random.Random(seed), 1 << order
    blocks = Blocks(order, [np.int64], [PG_used], (0,))
    column, end = FrameColumn(blocks, 0, 5 * nr), 5 * nr
    plain = np.full(end, PG_used)
    kept: list[tuple[dict[int, BlockState], list[int]]] = []
    for _ in range(120):
        low = rng.choice((rng.randrange(end), rng.randrange(5) * nr, rng.randrange(5) * nr + 1))
        part = slice(low, rng.choice((low + 1, min(end, low + rng.randrange(1, end)), (low // nr + 1) * nr)))
        count, value = part.stop - part.start, rng.randrange(3)
        match rng.randrange(8):
            case 0:
                column[part] = plain[part] = value
            case 1:
                column[part] = plain[part] = np.arange(count) + value * (1 << 33)
            case 2:
                column[part] = plain[part] = np.array(rng.choices((0, value, 1 << 34), k=count))
            case 3:
                column.add(part, value - 1)
                plain[part] += value - 1
            case 4:
                column[low] = plain[low] = -value
            case 5:
                pages = np.array(rng.sample(range(end), 3))
                column[pages] = plain[pages] = value
            case 6:
                column[part] |= 4
                plain[part] |= 4
            case 7:
                for block in blocks.block.values():
                    block.in_use = 1
                kept.append((dict(blocks.keep()), plain.tolist()))
        pages = np.array(rng.sample(range(end), 4))
        assert column[:].tolist() == plain.tolist() and column[low] == plain[low]
        assert column[part].tolist() == plain[part].tolist() and column[pages].tolist() == plain[pages].tolist()
    for states, was in kept:
        for number, state in states.items():
            assert state.shown(0, 0, -1)[0].tolist() == was[number * nr : (number + 1) * nr], "a state does not change"


def test_who_holds_what_takes_no_room_for_frames_that_nobody_holds() -> None:
    machine = Machine("v6.18", "X86_64", MOST_FRAMES)
    carry_out(machine, "mmap A 2thp; write A 0 2thp; mprotect A 8 1 r; pin A 512 1 dma")
    state = machine.state
    assert state.mapped
    tracemalloc.start()
    told = state.pte_maps.sum(), state.pinned.any(), state.cached.any()
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told == (512, True, False) and used < 1 << 18


def test_counts_read_like_an_array_over_all_frames() -> None:
    array, rng = np.zeros(64, np.int64), random.Random(5)
    pieces = [(rng.randrange(40), rng.randrange(1, 20), rng.randrange(1, 4)) for _ in range(8)]
    for first, count, n in pieces:
        array[first : first + count] += n
    counts = FrameCounts(3, pieces[4:], FrameCounts(3, pieces[:4]))
    for low in range(60):
        assert counts[low] == array[low]
        for high in range(low, 64):
            assert counts[low:high].tolist() == array[low:high].tolist()
    assert counts.sum() == array.sum() and counts.any() and not FrameCounts(3, ()).any()
    with pytest.raises(ValueError, match="read-only"):
        counts[0:1][:] = 1
