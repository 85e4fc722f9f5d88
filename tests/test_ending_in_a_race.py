"""A process that ends, or comes to be, while other CPUs are in system calls of it: a right kernel is not accused."""

from __future__ import annotations

import pytest

from thplab.errors import EINVAL
from thplab.hardware.geometry import MINI, TINY, TOY
from thplab.study.explore import RaceRun, explore, replay
from thplab.study.explore.pair import Pair, own_pair

MAPPED = "mmap A; write A 0"
MEETINGS = (
    "split_pmd A 0 | exit A",
    "split A 0 | exit A",
    "munmap A 1 1 | exit A",
    "mprotect A 1 1 r | exit A",
    "madvise A 0 1thp dontneed | exit A",
    "madvise A 0 1thp pageout | exit A",
    "migrate A 0 | exit A",
    "write A 0; write A 1 | exit A",
    "pin A 0 1 p; unpin p | exit A",
    "fork A B | exit A",
    "fork A B; exit B | exit A",
    "exit A | exit A",
    "khugepaged_scan 1 | exit A",
    "ksm_scan 1 | exit A",
    "mmap B | mmap B",
    "fork A B | mmap B",
    "fork A B | fork A B",
    "mmap B; exit B | exit A",
)


def meeting(ops: str, kernel: str, prepare: str = MAPPED) -> Pair:
    return own_pair(prepare, ops.split(" | "), kernel, TINY)


@pytest.mark.parametrize("kernel", ["v3.16", "v4.5", "v6.18"])
@pytest.mark.parametrize("ops", MEETINGS)
def test_a_right_kernel_is_not_accused(ops: str, kernel: str) -> None:
    found = explore(meeting(ops, kernel), max_switches=2)
    assert found.complete and found.failure is None, str(found)


def test_the_last_user_takes_the_memory_down() -> None:
    pair = meeting("split_pmd A 0 | exit A", "v6.18")
    run = RaceRun(pair, (0,))
    while run.move(1):
        pass
    assert run.over(1) and run.results == [[], [0]]
    mm = run.machine.system.mms["A"]
    assert not mm.alive and mm.mm_users == 1 and mm.vmas
    while run.move(0):
        pass
    assert run.results == [[0], [0]] and "A" not in run.machine.system.mms
    texts = [frame.step.text for frame in replay(pair, (0, 1)) if frame.step]
    assert "A has ended, but another thread of it is in a system call" in texts


def test_nothing_begins_in_a_process_that_has_ended() -> None:
    run = RaceRun(meeting("split_pmd A 0 | exit A | write A 0", "v6.18"), (0, 1, 1))
    while run.move(2):
        pass
    assert run.results[2] == [-EINVAL] and "A" in run.machine.system.mms


def test_a_child_is_no_process_before_the_fork_is_over() -> None:
    pair = own_pair("mmap A; write A 0; mmap C", ["fork A B", "write C 0; exit B"], "v6.18", MINI)
    run = RaceRun(pair, (0,) * 5)
    assert not run.machine.system.mms["B"].alive
    while run.move(1):
        pass
    assert run.results[1] == [0, -EINVAL]


def test_both_threads_may_die_of_the_same_page() -> None:
    prepare = "mmap A advise=none; write A 0 2; madvise A 1 1 hwpoison"
    found = explore(meeting("write A 1 | write A 1", "v5.10", prepare))
    assert found.complete and found.failure is None, str(found)
    assert all(process.name != "A" for process in replay(found.pair, in_turn(found.pair))[-1].state.processes)


def in_turn(pair: Pair) -> tuple[int, ...]:
    run, schedule = RaceRun(pair), []
    for cpu in (0, 1):
        while run.move(cpu):
            schedule.append(cpu)
    return tuple(schedule)


def test_two_regions_of_one_process_do_not_get_one_place() -> None:
    found = explore(own_pair(MAPPED, ["mmap A region=S", "mmap A region=T"], "v6.18", TOY))
    assert found.complete and found.failure is None, str(found)
    state = replay(found.pair, in_turn(found.pair))[-1].state
    assert len({region.start for _, region in state.process("A").regions}) == 3
