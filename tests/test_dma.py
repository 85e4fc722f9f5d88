"""What a driver sees through its pin: reports about copy-on-write and pins turn on it (tests name the report)."""

from __future__ import annotations

import pytest

from thplab import Machine, Scenario, Setup, describe, record
from thplab.errors import BadInput
from thplab.show.describe import narrate
from thplab.study.compare import compare

SHARED = "mmap A; fill A 0 1thp same; fork A B; "


def reads(scenario: str, kernel: str, geometry: str = "TOY") -> list[int]:
    """The byte that each dma_read of a scenario read."""
    trace = record(scenario, Setup(kernel, geometry))
    assert not trace.problem, trace.problem
    found = [frame.step.text for frame in trace if frame.step and frame.op and frame.op.op == "dma_read"]
    return [int(text.split(" reads ")[1].split()[0], 16) for text in found]


@pytest.mark.parametrize(("kernel", "byte"), [("v4.5", 0x77), ("v5.10", 0x99), ("v6.1", 0x77), ("v6.12", 0x77), ("v6.18", 0x77)])
def test_a_pipe_shows_what_the_other_process_writes_later_or_not(kernel: str, byte: int) -> None:
    # CVE-2020-29374: vmsplice and unmap in the child, then the parent writes. v4.5 copies a huge page that anybody holds.
    assert reads(SHARED + "pin B 0 1 p; munmap B 0 1thp; write A 0 1 value=0x99; dma_read p", kernel) == [byte]


@pytest.mark.parametrize(("how", "byte"), [("io_uring", 0x99), ("gupw", 0x77)])
def test_after_a_fork_a_foll_pin_driver_stays_with_its_process_and_another_may_not(how: str, byte: int) -> None:
    # commit d042035eaf5f: FOLL_PIN lets fork copy for the child; a FOLL_GET driver is left on the old page.
    scenario = f"mmap A; fill A 0 1thp same; pin A 2 1 p {how}; fork A B; write A 2 1 value=0x99; dma_read p"
    assert reads(scenario, "v6.12") == [byte]


@pytest.mark.parametrize(("how", "seen"), [("io_uring", 0x12), ("gupw", 0x99)])
def test_what_the_device_writes_the_process_reads_if_they_share_the_page(how: str, seen: int) -> None:
    scenario = f"mmap A; fill A 0 1thp same; pin A 2 1 p {how}; fork A B; write A 2 1 value=0x99; dma_write p 0 value=0x12"
    assert (record(scenario, Setup("v6.12"))[-1].state.contents("A")[2] or 0) & 0xFF == seen


def test_a_driver_with_one_reference_a_folio_still_reads_every_page_of_its_buffer() -> None:
    scenario = "mmap A; fill A 0 1thp; write A 3 1 value=0x42; pin A 0 1thp p io_uring; dma_read p 3; dma_write p 5 value=0x24"
    trace = record(scenario, Setup("v6.18"))
    state = trace[-1].state
    assert len(state.pins["p"].pages) == 1 and state.pin_contents("p") == state.contents("A")
    assert state.pin_contents("p")[5] & 0xFF == 0x24 and reads(scenario, "v6.18") == [0x42]


def test_the_line_of_a_read_tells_what_was_read() -> None:
    trace = record(SHARED + "pin B 0 1 p; write A 0 1 value=0x99; dma_read p; read A 0 2; read B 0 1thp", Setup("v6.12"))
    lines = narrate(trace).splitlines()
    assert "dma_read(p, page 0) -> 0, reads 0x77" in lines
    assert "read(A, pages 0…1) -> 0, reads 0: 0x99, 1: 0x77" in lines and "read(B, pages 0…7) -> 0, reads all 0x77" in lines
    assert "| pin p reads 0x7777777777777777" in lines
    assert "p: a driver holds subpage 0 of compound page 0x8 and reads 0x7777777777777777" in describe(trace[-1].state)


def test_kernels_are_compared_by_what_the_driver_reads() -> None:
    both = compare(Scenario.parse(SHARED + "pin B 0 1 p; munmap B 0 1thp; write A 0 1 value=0x99"), ["v5.10", "v6.12"])
    assert both.operations[-1].row("p contents").values == ("0x7777777777777799", "0x7777777777777777")


@pytest.mark.parametrize(
    ("op", "wrong"),
    [("dma_read q", "pin 'q' is not held; expected one of: p"), ("dma_write p 1", "start is page 1, but 'p' has 1; expected 0 to 0")],
)
def test_what_no_device_can_do_is_refused_and_nothing_changes(op: str, wrong: str) -> None:
    machine = Machine.restored(record("mmap A; write A 0; pin A 0 1 p", Setup("v6.12"))[-1].state)
    before = machine.state.exact
    with pytest.raises(BadInput, match=wrong):
        machine.call(Scenario.parse(op).ops[0])
    assert machine.state.exact == before


@pytest.mark.parametrize("kernel", ["v3.16", "rfc-2014", "v4.5", "v6.18"])
def test_no_driver_writes_to_a_zero_page(kernel: str) -> None:
    for advise in ("none", "hugepage"):
        machine = Machine.restored(record(f"mmap A advise={advise}; read A 0; pin A 0 1 p gup", Setup(kernel))[-1].state)
        before = machine.state.exact
        if machine.state.pins:
            with pytest.raises(BadInput, match="'p' holds the zero page there"):
                machine.call(Scenario.parse("dma_write p 0").ops[0])
        assert machine.state.exact == before
