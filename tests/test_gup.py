"""Two ways to a page that the page table does not give away: a pin that reads (FOLL_PIN), and a write by force (FOLL_FORCE).

What three kernels did is recorded (fresh/, scenarios pup_... and force_...); here are the rules, and what a driver reads.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest
from filled_machine import at_rest

from thplab import Machine
from thplab.errors import EFAULT, EIO, ENOSYS
from thplab.hardware import page_tables as pt
from thplab.hardware.geometry import TINY
from thplab.kernel.kernels import KERNELS
from thplab.kernel.policies import Kernel
from thplab.scenario import Scenario
from thplab.study.explore import Pair, explore
from thplab.study.live import support, unable

SHARED = "mmap A; fill A 0 1thp same; fork A B; "
PINS = [name for name, kernel in KERNELS.items() if kernel.gup.foll_pin]
UNSHARES = [name for name in PINS if KERNELS[name].gup.unshares]


def ran(kernel: str, line: str) -> tuple[Machine, int]:
    """A machine on which the operations of `line` have been performed, at rest, and what the last one returned."""
    machine, result = Machine(kernel), 0
    for op in Scenario.parse(line).ops:
        result = machine.call(op)
    at_rest(machine)
    return machine, result


def byte(machine: Machine, proc: str, page: int) -> int:
    return (machine[proc].contents()[page] or 0) & 0xFF


# --- a pin that reads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", PINS)
def test_a_driver_that_reads_a_shared_page_stays_with_its_process_if_it_was_unshared(kernel: str) -> None:
    # commit a7f226604170: O_DIRECT writes a file from a page that a fork has made shared; then the process writes to it.
    machine, _ = ran(kernel, SHARED + "pin A 2 1 p pup; write A 2 1 value=0x99")
    assert machine.state.pin_contents("p")[0] & 0xFF == (0x99 if kernel in UNSHARES else 0x77)


@pytest.mark.parametrize("kernel", UNSHARES)
def test_unsharing_splits_the_pmd_and_copies_one_page_which_stays_read_only(kernel: str) -> None:
    machine, result = ran(kernel, SHARED + "pin A 2 1 p pup")
    state = machine.state
    (page,) = state.pins["p"].pages
    mine = [m for m in state.mapped if m.process == "A" and page in m.pages]
    assert result == 0 and machine.vmstat["thp_split_pmd"] == 1 and state.head(page) == page
    assert [bool(m.entry & (pt._PAGE_RW | pt._PAGE_DIRTY)) for m in mine] == [False]
    assert machine.state.pmd_maps[8] == ("B",), "the other process keeps its huge page"


@pytest.mark.parametrize("kernel", UNSHARES)
def test_what_is_the_processs_own_is_not_copied(kernel: str) -> None:
    for line in ("mmap A; fill A 0 1thp; mprotect A 0 1thp r; pin A 2 1 p pup", SHARED + "exit B; pin A 2 1 p pup"):
        machine, _ = ran(kernel, line)
        assert machine.vmstat["thp_split_pmd"] == 0 and machine.state.pins["p"].pages == (10,)
    assert ran(kernel, SHARED + "pin B 7 1 q raw; exit B; pin A 2 1 p pup")[0].vmstat["thp_split_pmd"] == 1, "somebody holds it"


@pytest.mark.parametrize("kernel", PINS)
def test_a_fork_copies_for_the_child_what_a_reading_driver_has_pinned(kernel: str) -> None:
    machine, _ = ran(kernel, "mmap A advise=none; fill A 0 4; pin A 2 1 p pup; fork A B; write A 2 1 value=0x99")
    assert machine.state.pin_contents("p")[0] & 0xFF == (0x99 if KERNELS[kernel].cow.anon_exclusive else byte(machine, "A", 2))


@pytest.mark.parametrize("kernel", PINS)
def test_reading_pins_of_nothing_and_of_what_may_not_be_read(kernel: str) -> None:
    assert ran(kernel, "mmap A prot=none; pin A 2 1 p pup")[1] == -EFAULT
    machine, result = ran(kernel, "mmap A; pin A 2 1 p pup; unpin p")
    assert result == 0 and machine.vmstat["thp_fault_alloc"] == 0, "the zero page is all there is to read"


@pytest.mark.parametrize("kernel", sorted(set(KERNELS) - set(PINS)))
def test_there_is_no_foll_pin_before_it_came(kernel: str) -> None:
    assert ran(kernel, SHARED + "pin A 2 1 p pup")[1] == -ENOSYS


@pytest.mark.skipif(bool(unable()) or support.release() < "6.1", reason="no live run here, or an older kernel")
def test_o_direct_unshares_on_this_machine(tmp_path: Path) -> None:
    """A child writes a file by O_DIRECT from a huge page that it shares: one PMD is split, and the page is another one."""
    size = 2 << 20
    memory = mmap.mmap(-1, 2 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    memory[:] = b"w" * (2 * size)
    target = Path("/var/tmp") / f"thplab-{os.getpid()}"
    try:
        file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    except OSError:
        pytest.skip("no O_DIRECT there")
    try:
        child = os.fork()
        if not child:
            os._exit(0 if _splits_by_writing(file, memory) else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        os.close(file)
        target.unlink()


def _splits_by_writing(file: int, memory: mmap.mmap) -> bool:
    before = _split_pmds()
    os.writev(file, [memoryview(memory)[2 << 20 : (2 << 20) + 4096]])
    return _split_pmds() > before


def _split_pmds() -> int:
    return int(next(line.split()[1] for line in Path("/proc/vmstat").read_text().splitlines() if line.startswith("thp_split_pmd ")))


# --- a write by force -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("prot", ["r", "none"])
def test_a_forced_write_goes_where_the_process_may_not_write(kernel: str, prot: str) -> None:
    machine, result = ran(kernel, f"mmap A; fill A 0 1thp same; mprotect A 0 1thp {prot}; write A 2 2 value=0x99 force=yes")
    assert result == 0 and [byte(machine, "A", page) for page in (1, 2, 3, 4)] == [0x77, 0x99, 0x99, 0x77]
    assert machine["A"].write(2) == -EFAULT, "and its own rights stay as they are"
    assert not any(pt.pte_write(m.entry) for m in machine.state.mapped)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_forced_write_leaves_other_processes_alone(kernel: str) -> None:
    machine, _ = ran(kernel, SHARED + "mprotect A 0 1thp r; write A 2 1 value=0x99 force=yes; write A 2 1 value=0x98 force=yes")
    assert (byte(machine, "A", 2), byte(machine, "B", 2)) == (0x98, 0x77)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("advise", ["hugepage", "none"])
def test_a_forced_write_faults_in_what_was_never_touched(kernel: str, advise: str) -> None:
    for first in ("", "read A 0 1thp; "):
        machine, result = ran(kernel, f"mmap A prot=r advise={advise}; {first}write A 2 1 value=0x99 force=yes")
        assert result == 0 and byte(machine, "A", 2) == 0x99 and machine["A"].write(2) == -EFAULT


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_forced_write_needs_memory(kernel: str) -> None:
    machine, result = ran(kernel, "mmap A; fill A 0 1thp same; munmap A 3 1; write A 2 3 value=0x99 force=yes")
    assert result == -EIO and byte(machine, "A", 2) == 0x99 and byte(machine, "A", 4) == 0x77


def reaches_the_zero_page(kernel: str | Kernel, meets: str) -> bool:
    """Can a forced write that `meets` something on another CPU, by one interruption of either, store in the zero page?"""
    cpus = ("write A 0 1 force=yes", meets)
    found = explore(Pair("forced", "", "", "mmap A; write A 0; mprotect A 0 1thp r", cpus, None, kernel=kernel, geometry=TINY), max_switches=1)
    assert found.complete and found.failing <= {"zero_pages_hold_zeroes"}
    return bool(found.failing)


@pytest.mark.parametrize(("kernel", "reaches"), [("v4.5", True), ("v5.10", False), ("v6.1", False), ("v6.18", False)])
def test_a_forced_write_that_asks_to_read_reaches_the_huge_zero_page(kernel: str, reaches: bool) -> None:
    assert reaches_the_zero_page(kernel, "madvise A 0 1thp dontneed") == reaches  # CVE-2016-5195


@pytest.mark.parametrize("dirties", [True, False])
def test_a_dirty_entry_says_nothing_if_reading_makes_it_dirty(dirties: bool) -> None:
    # CVE-2017-1000405, until 4.14: FOLL_COW asks for a dirty PMD, and who has looked at the huge zero page has made its PMD so.
    kernel = KERNELS["v5.10"].but({"gup.touch_dirties": dirties}, name="mine")
    assert reaches_the_zero_page(kernel, "madvise A 0 1thp dontneed; pin A 0 1 p gup") == dirties
