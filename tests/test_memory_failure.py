"""Memory failure: MADV_SOFT_OFFLINE and MADV_HWPOISON where the page split succeeds and where it is refused, and what touching does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from filled_machine import NR, SPLIT_FAILS, at_rest, events, madvise, mapped_to, same, with_thps

from thplab.errors import EBUSY, EHWPOISON, KILLED_BY_SIGBUS
from thplab.hardware.frames import PG_has_hwpoisoned, PG_hwpoison
from thplab.kernel.kernels import KERNELS
from thplab.kernel.policies import Kernel
from thplab.machine.machine import Machine
from thplab.study.observe import smaps

POISONABLE = [name for name, kernel in KERNELS.items() if "hwpoison" in kernel.advice.known]
"""Kernels that were built with CONFIG_MEMORY_FAILURE."""


@pytest.mark.parametrize("kernel", POISONABLE)
def test_soft_offline_splits_and_moves_the_page(kernel: str) -> None:
    machine = with_thps(kernel)
    before = at_rest(machine)
    assert madvise(machine, "soft_offline", 5) == 0
    state = at_rest(machine)
    page = mapped_to(before, 5)
    assert state.contents("A") == before.contents("A") and state.compound_pages() == ()
    assert mapped_to(state, 5) != page and mapped_to(state, 4) == mapped_to(before, 4)
    assert state.field("flags", page) & PG_hwpoison
    assert state.field("refcount", page) == KERNELS[kernel].hwpoison.soft_offline_keeps
    machine["A"].exit()
    free = machine.system.frames.buddy.nr_free
    assert free == before.nframes - 2, "all but the zero page and the bad one come back"
    assert at_rest(Machine.restored(machine.state)).exact == machine.state.exact


@pytest.mark.parametrize("kernel", [k for k in SPLIT_FAILS if k.name in POISONABLE], ids=lambda k: k.name)
def test_soft_offline_of_a_pinned_huge_page_is_refused(kernel: Kernel) -> None:
    machine = with_thps(kernel)
    machine["A"].pin(2, 1, "dma")
    before = at_rest(machine)
    assert madvise(machine, "soft_offline", 5) == -EBUSY
    assert same(machine, before) and events(machine, "thp_split_page_failed") == (1,)


@pytest.mark.parametrize("kernel", POISONABLE)
def test_soft_offline_of_a_pinned_small_page_cannot_move_it(kernel: str) -> None:
    machine = with_thps(kernel)
    machine["A"].split(0)
    machine["A"].pin(5, 1, "dma")
    before = at_rest(machine)
    assert madvise(machine, "soft_offline", 5) == KERNELS[kernel].hwpoison.soft_offline_failed
    state = at_rest(machine)
    assert mapped_to(state, 5) == mapped_to(before, 5) and state.contents("A") == before.contents("A")
    assert not state.field("flags", mapped_to(state, 5)) & PG_hwpoison


@pytest.mark.parametrize("kernel", POISONABLE)
def test_poison_reaches_everybody_who_maps_the_page(kernel: str) -> None:
    machine = with_thps(kernel)
    machine["A"].fork("B")
    before = at_rest(machine)
    result = madvise(machine, "hwpoison", 5)
    kills = KERNELS[kernel].hwpoison.answer == "kills"
    assert result == (KILLED_BY_SIGBUS if kills else 0)
    state = at_rest(machine)
    page = mapped_to(before, 5)
    assert state.field("refcount", page) == 1 and state.field("mapcount", page) == -1
    assert [m.kind for m in state.mapped if m.process == "B"] == ["page", "hwpoison", "page"]
    resident = 28 + 4 * KERNELS[kernel].proc.hwpoison_in_rss
    assert smaps(state, "B")["Rss"] == resident
    machine["B"].read(6)
    assert machine["B"].write(0, NR, value=1) == KILLED_BY_SIGBUS
    state = at_rest(machine)
    assert [p.name for p in state.processes] == ([] if kills else ["A"]), "B is gone"


@pytest.mark.parametrize("kernel", [k for k in SPLIT_FAILS if k.name in POISONABLE], ids=lambda k: k.name)
def test_poison_for_a_pinned_huge_page(kernel: Kernel) -> None:
    machine = with_thps(kernel)
    machine["A"].pin(2, 1, "dma", "raw")
    before = at_rest(machine)
    policy = kernel.hwpoison
    expected = {"ignored": 0, "errno": -EBUSY, "kills": KILLED_BY_SIGBUS}[policy.answer]
    assert madvise(machine, "hwpoison", 5) == expected
    state = at_rest(machine)
    head = before.compound_pages()[0]
    assert events(machine, "thp_split_page_failed") == (1,) and state.compound_pages() == (head,)
    assert bool(state.field("flags", head + 5) & PG_hwpoison) is (policy.unsplit != "nothing")
    assert bool(state.field("flags", head) & PG_has_hwpoisoned) is (policy.unsplit == "both")
    if policy.answer != "kills":
        assert state.mapped == before.mapped
        assert state.field("refcount", head) == before.field("refcount", head) + (policy.unsplit == "held")
    if policy.unsplit == "held":  # and so for ever: the second report finds it marked already
        machine.unpin("dma")
        assert madvise(machine, "hwpoison", 5) == 0
        assert machine["A"].split(0) == -EBUSY and at_rest(machine).mapped == before.mapped


@pytest.mark.parametrize(("later", "answers"), [("v6.1", (0, 0, -EHWPOISON)), ("v6.12", (KILLED_BY_SIGBUS,))])
def test_poison_on_later_kernels(later: str, answers: tuple[int, ...]) -> None:
    machine = with_thps(replace(KERNELS["v4.5"], hwpoison=KERNELS[later].hwpoison, proc=KERNELS[later].proc))
    # The call goes on behind the huge page that it has split: only its first page is poisoned.
    assert madvise(machine, "hwpoison", 4, 3) == answers[0]
    if len(answers) == 1:
        assert at_rest(machine).processes == ()
        return
    state = at_rest(machine)
    assert [state.contents("A")[page] is None for page in (4, 5, 6)] == [True, False, False]
    assert smaps(state, "A")["Rss"] == 32
    machine["A"].pin(6, 1, "dma")
    assert madvise(machine, "hwpoison", 6) == answers[1], "whoever holds it keeps it"
    assert at_rest(machine).field("refcount", mapped_to(state, 6)) == 2
    assert madvise(machine, "hwpoison", 6) == -14


def test_poison_on_v4_5_takes_page_after_page() -> None:
    machine = with_thps("v4.5")
    assert madvise(machine, "hwpoison", 4, 3) == 0
    assert [value is None for value in at_rest(machine).contents("A")] == [False] * 4 + [True] * 3 + [False]
    machine["A"].mprotect(0, NR, "r")
    machine["A"].fork("B")
    assert at_rest(machine).contents("B") == machine.state.contents("A")
    assert machine["A"].mlock(0, NR) == -12
    assert machine["B"].pin(4, 1, "dma") == -14
    assert machine["A"].read(5) == KILLED_BY_SIGBUS
    machine["B"].munmap(0, NR)
    assert at_rest(machine).mapped == ()


def test_v6_18_kills_who_reports_it_and_moves_what_still_works() -> None:
    """As every distribution builds it; the machine of the recordings lacks CONFIG_MEMORY_FAILURE."""
    machine = with_thps("v6.18")
    assert madvise(machine, "soft_offline", 3) == 0
    assert madvise(machine, "hwpoison", 5) == KILLED_BY_SIGBUS


def freed_with_a_bad_page(kernel: str) -> tuple[Machine, int]:
    """A huge page with a bad part was never split and is free again. Returns its head, too."""
    machine = with_thps(kernel)
    machine["A"].pin(2, 1, "dma", "raw")
    head = at_rest(machine).compound_pages()[0]
    if madvise(machine, "hwpoison", 5) != KILLED_BY_SIGBUS:
        machine["A"].exit()
    machine.unpin("dma")
    state = at_rest(machine)
    assert state.is_free(head + 5) and state.field("flags", head + 5) == PG_hwpoison
    assert at_rest(Machine.restored(state)).exact == state.exact
    return machine, head


@pytest.mark.parametrize("kernel", ["v5.10", "v6.1"])
def test_a_block_with_a_bad_frame_is_lost(kernel: str) -> None:
    machine, head = freed_with_a_bad_page(kernel)
    free = machine.system.frames.buddy.nr_free
    machine.spawn("B").mmap(2)
    machine["B"].fill(0, 2 * NR)
    state = at_rest(machine)
    assert len(state.compound_pages()) == 2 and head not in state.compound_pages()
    machine["B"].exit()
    assert machine.system.frames.buddy.nr_free == free - NR
    assert at_rest(Machine.restored(machine.state)).exact == machine.state.exact


@pytest.mark.parametrize("kernel", ["v6.12", "v6.18"])
def test_a_bad_frame_is_handed_out_again_and_stays_bad(kernel: str) -> None:
    machine, head = freed_with_a_bad_page(kernel)
    machine.spawn("B").mmap(2)
    machine["B"].fill(0, 2 * NR)
    state = at_rest(machine)
    assert head in state.compound_pages() and state.field("flags", head + 5) & PG_hwpoison
    for start in (0, NR):
        machine["B"].split(start)
    machine["B"].exit()
    state = at_rest(machine)
    assert machine.system.frames.buddy.nr_free == state.nframes - 2, "all but the zero page and the bad one"
    assert not state.is_free(head + 5) and state.field("flags", head + 5) & PG_hwpoison
