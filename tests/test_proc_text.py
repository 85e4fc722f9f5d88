"""What the files of /proc say of a state: written as the kernel of this machine writes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from answers import carried_out

from thplab.errors import BadInput
from thplab.machine.state import State
from thplab.show.proc_text import SMAPS, pagemap_text, smaps_text, vmstat_text
from thplab.study.observe import pagemap, smaps, smaps_entries

STACK = "mmap A; write A 511; mprotect A 0 4 none"
PRESENT, SWAPPED, ALONE, GUARD = 1 << 63, 1 << 62, 1 << 56, 1 << 58


def state(line: str, kernel: str = "v6.18", swap: str = "") -> State:
    return carried_out(kernel, line, swap).machine.state


def test_smaps_has_an_entry_for_each_vma() -> None:
    assert smaps_text(state(STACK), "A", ("AnonHugePages", "Rss", "Size")) == (
        "7f4000000000-7f4000004000 ---p 00000000 00:00 0\n"
        "Size:                 16 kB\n"
        "Rss:                  16 kB\n"
        "AnonHugePages:         0 kB\n"
        "7f4000004000-7f4000200000 rw-p 00000000 00:00 0\n"
        "Size:               2032 kB\n"
        "Rss:                2032 kB\n"
        "AnonHugePages:         0 kB\n"
    )


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="no Linux")
def test_the_kernel_writes_its_lines_so_and_in_this_order() -> None:
    entry = Path("/proc/self/smaps").read_text().split("VmFlags")[0].splitlines()
    figures = {line.partition(":")[0]: line for line in entry[1:]}
    ours = smaps_text(state("mmap A; mlock A 0 1", swap="swap"), "A", SMAPS).splitlines()
    for line in (line for line in ours if ":  " in line):
        name = line.partition(":")[0]
        if name in figures:  # not every kernel has KSM and LazyFree
            assert len(figures[name]) == len(line) and figures[name].split()[::2] == line.split()[::2]
    assert [name for name in figures if name in SMAPS] == [name for name in SMAPS if name in figures]
    for first in (entry[0], ours[0]):
        assert re.match(r"[0-9a-f]{8,}-[0-9a-f]{8,} [r-][w-][x-][ps] [0-9a-f]{8} [0-9a-f]{2,}:[0-9a-f]{2,} \d+", first)


def test_the_entries_add_up_to_the_figures_of_the_process() -> None:
    end = state("mmap A; fill A 0 1thp; fork A B; mlock A 0 8; write A 100")
    entries = smaps_entries(end, "A")
    assert len(entries) == 2
    assert {name: sum(entry[name] for entry in entries) for name in entries[0]} == smaps(end, "A")
    assert smaps(state("mmap A; munmap A 0 1thp"), "A")["Rss"] == 0  # a process with no VMA has figures, too


def test_events_are_lines_of_vmstat() -> None:
    assert vmstat_text(state(STACK), ("thp_split_pmd", "thp_split_page")) == "thp_split_pmd 1\nthp_split_page 0\n"


def test_pagemap_tells_what_is_present_in_swap_or_mapped_once() -> None:
    end = state("mmap A; fill A 0 8; fork A B; write B 3")
    assert {entry for page, entry in enumerate(pagemap(end, "A")) if page != 3} == {PRESENT}
    assert pagemap(end, "A")[3] == pagemap(end, "B")[3] == PRESENT | ALONE
    swapped = state("mmap A advise=none; fill A 0 2; read A 5; madvise A 0 1 pageout", swap="swap")
    assert pagemap(swapped, "A")[:3] == [SWAPPED, PRESENT | ALONE, 0]
    assert pagemap(swapped, "A")[5] == PRESENT  # the zero page is everybody's
    assert pagemap(state("mmap A; fill A 0 8; madvise A 3 1 guard_install"), "A")[3] == SWAPPED | GUARD


def test_equal_entries_of_pagemap_stand_there_once() -> None:
    assert pagemap_text(state("mmap A; fill A 0 512; munmap A 1 511"), "A") == (
        "0000000 8100000000000000\n0000008 0000000000000000\n*\n0004096\n"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        lambda end: smaps_text(end, "A", ("Rsss",)),
        lambda end: smaps_text(end, "B"),
        lambda end: vmstat_text(end, ("thp_split",)),
        lambda end: pagemap_text(end, "A", "T"),
    ],
)
def test_what_is_not_there_is_told(wrong: object) -> None:
    with pytest.raises(BadInput, match="expected"):
        wrong(state(STACK))  # type: ignore[operator]
