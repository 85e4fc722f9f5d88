"""What a user of the machine can observe, who holds which reference, and the words for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thplab import BadInput, Machine
from thplab.hardware import page_tables as pt
from thplab.hardware.frames import PG_reserved, PG_table, PG_used
from thplab.hardware.geometry import X86_64
from thplab.kernel.mutants import MUTANTS
from thplab.machine.state import State
from thplab.machine.trace import Frame, Setup, Trace, record
from thplab.scenario import Scenario, builtin, load
from thplab.show.describe import describe, narrate
from thplab.show.ledger import NOBODY, Account, counters, ledger, small_pages
from thplab.study.observe import kpagecount, smaps

TRUTH = Path(__file__).parent / "truth"
GEOMETRIES = ("TOY", "X86_64")


@cache
def trace_of(source: str, geometry: str = "TOY", mutant: str = "") -> Trace:
    return record(load(source), Setup(geometry=geometry, mutant=mutant))


def step_frame(trace: Trace, text: str) -> Frame:
    """The first frame whose step's text begins with `text`."""
    return next(frame for frame in trace if frame.step and frame.step.text.startswith(text))


def end_of(trace: Trace, op: str) -> State:
    """The state right after the last operation of that name."""
    return next(frame.state for frame in reversed(trace.frames) if frame.op and frame.op.op == op and frame.result is not None)


def unwrapped(text: str) -> str:
    return re.sub(r"\s+(\| +)?", " ", text)


# --- ledgers ------------------------------------------------------------------------------------------------------------


def accounts(state: State) -> Iterator[Account]:
    for head in state.compound_pages():
        yield from ledger(state, head)
    yield from small_pages(state)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", builtin())
def test_at_rest_the_ledger_explains_every_counter_of_every_page(name: str, geometry: str) -> None:
    trace = trace_of(name, geometry)
    assert not trace.problem
    for state in (frame.state for frame in trace if frame.at_rest):
        explained: dict[str, set[int]] = {"refcount": set(), "mapcount": set()}
        for account in accounts(state):
            column, plus = ("mapcount", 1) if account.name.endswith("mapcount") else ("refcount", 0)
            pages = range(account.first, account.last + 1)
            assert set((state.column(column, account.first, len(pages)) + plus).tolist()) == {account.value}
            assert sum(row.count for row in account.rows) == account.value
            assert NOBODY not in {row.holder for row in account.rows}
            explained[column] |= set(pages)
        counted = set(pages_in_use(state))
        assert explained["mapcount"] == counted
        assert all(state.field("refcount", pfn) == 0 for pfn in counted - explained["refcount"])


def pages_in_use(state: State) -> Iterator[int]:
    """All frames that are allocated, but page tables and zero pages."""
    for block in state.blocks:
        flags = state.column("flags", block * state.geometry.nr, state.geometry.nr)
        if state.huge_zero_page and block == state.huge_zero_page // state.geometry.nr:
            continue
        yield from (block * state.geometry.nr + int(i) for i in np.flatnonzero(flags & (PG_used | PG_table | PG_reserved) == PG_used))


def test_the_ledger_names_the_holders_as_the_story_goes() -> None:
    trace = trace_of("story")
    pinned = [account.text for account in ledger(end_of(trace, "pin"), 8)]
    assert pinned == [
        "head _count 10 = A: 1 PMD + B: 8 PTEs + dma: pin of subpage 4",
        "head mapcount 2 = A: PMD + B: PTE of page 0",
        "tails 1–7 mapcount 1 = B: PTE",
    ]
    unmapped = [account.text for account in small_pages(end_of(trace, "munmap"))]
    assert "page 0xc _count 1 = A: PTE" in unmapped and "pages 0xd–0xf mapcount 2 = A: PTE + B: PTE" in unmapped


@pytest.mark.parametrize(
    ("pins", "words"),
    [
        ("pin A 2 3 x", "x: pin of subpages 2–4"),
        ("pin A 2 1 x; pin A 2 1 y", "x: pin of subpage 2 + y: pin of subpage 2"),
        ("munmap A 3 1; pin A 2 1 x; pin A 4 2 y", "x: pin of subpage 2 + y: pin of subpages 4–5"),
    ],
)
def test_a_pin_names_the_subpages_that_it_was_taken_through(pins: str, words: str) -> None:
    state = trace_of(f"mmap A; write A 0; {pins}")[-1].state
    assert ledger(state, 8)[0].text.endswith(words)


def test_what_a_routine_has_in_hand_is_one_row_of_the_account() -> None:
    trace = trace_of("story")
    frame = step_frame(trace, "reclaim takes the page off the LRU")
    account = ledger(frame.state, 8, trace[frame.number - 1].state, frame.stack[0])[0]
    assert account.text == "head _count 10 → 11 = A: 1 PMD + B: 8 PTEs + dma: pin of subpage 4 + in the hands of reclaim of one page: +1"
    assert sum(row.count for row in account.rows) == account.value


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_in_the_middle_of_a_routine_the_rows_still_add_up(geometry: str) -> None:
    for frame in trace_of("story", geometry):
        for account in accounts(frame.state):
            assert sum(row.count for row in account.rows) == account.value


def test_a_reference_that_nobody_holds_is_shown_as_such() -> None:
    state = end_of(trace_of("story", mutant="forgets_the_references"), "mprotect")
    assert ledger(state, 8)[0].rows[-1].holder == NOBODY and ledger(state, 8)[0].rows[-1].count == -7


@pytest.mark.parametrize("page", [9, 3, 200])
def test_a_ledger_is_for_a_head_or_a_small_page(page: int) -> None:
    state = end_of(trace_of("story"), "fork")
    with pytest.raises(BadInput, match=r"^page is "):
        ledger(state, page)


def test_counters_tell_old_and_new_of_what_moved() -> None:
    trace = trace_of("story")

    def moved(frame: Frame) -> list[tuple[str, str, int | None, int | None]]:
        return [(c.name, c.where, c.old, c.new) for c in counters(frame.state, trace[frame.number - 1].state) if c.changed]

    assert moved(step_frame(trace, "head _count += 7")) == [("head _count", "compound page 0x8", 2, 9)]
    assert moved(step_frame(trace, "each tail _mapcount += 1")) == [("tails 1–7 mapcount", "compound page 0x8", 0, 1)]
    assert moved(step_frame(trace, "PMD = the PTE table")) == []
    refused = next(frame for frame in trace if "refuse the split" in frame.stack)
    assert moved(refused) == [("thp_split_page_failed", "vmstat", 0, 1)]


def test_counters_of_pages_that_come_and_go() -> None:
    trace = trace_of("story")
    born = step_frame(trace, "allocate a compound page")
    names = {(c.name, c.old, c.new) for c in counters(born.state, trace[born.number - 1].state)}
    assert {("head _count", None, 1), ("head mapcount", None, 0), ("tails 1–7 mapcount", None, 0)} <= names
    freed = step_frame(trace, "free 8 pages")
    gone = {(c.name, c.where, c.old, c.new) for c in counters(freed.state, trace[freed.number - 1].state)}
    assert gone == {("_count", "pages 0x8–0xf", 0, None), ("mapcount", "pages 0x8–0xf", 0, None)}


# --- words --------------------------------------------------------------------------------------------------------------


def test_describe_tells_tables_pages_and_pins() -> None:
    text = describe(end_of(trace_of("story"), "pin"))
    for line in (
        "  VMA: page 4 of R, r, at 0x504000",
        "    0: P·R·U·A·D·PSE, compound page 0x8",
        "    deposited PTE tables: 1",
        "  PTE table 0x10 at PMD 0",
        "    0–3: P·R·U·D, subpages 0–3 of compound page 0x8",
        "  head _count 10 = A: 1 PMD + B: 8 PTEs + dma: pin of subpage 4",
        "  dma: a driver holds subpage 4 of compound page 0x8 and reads 0",
    ):
        assert line in text.splitlines()


def test_describe_marks_what_a_step_changed_and_nothing_else() -> None:
    trace = trace_of("story")
    for frame in trace.frames[1:]:
        assert "→" not in describe(frame.state, frame.state) and ", new" not in describe(frame.state, frame.state)
    frame = step_frame(trace, "PMD = the PTE table")
    text = describe(frame.state, trace[frame.number - 1].state)
    assert [line.strip() for line in text.splitlines() if "→" in line or "new" in line] == [
        "0: not present·U·D·PSE, compound page 0x8 → PTE table 0x10",
    ]


def test_describe_shows_who_came_and_who_went() -> None:
    trace = trace_of("story")
    assert "Process B, new" in describe(end_of(trace, "fork"), end_of(trace, "write"))
    assert "Process A has ended." in describe(trace[-1].state, end_of(trace, "munmap"))


def test_describe_is_as_short_for_512_entries() -> None:
    assert len(describe(end_of(trace_of("story", "X86_64"), "pin")).splitlines()) == len(
        describe(end_of(trace_of("story"), "pin")).splitlines()
    )


SPLIT_HUGE_PMD = (  # docs/KERNEL.md 2.6
    "lock ptl 0x7",
    "is the PMD still huge? yes",
    "withdraw the deposited PTE table",
    "head _count += 7 [_count 2 → 9]",
    "fill 8 PTEs",
    "each tail _mapcount += 1 [mapcount 0 → 1]",
    "PMD marked not present",
    "flush the TLB: 32 KiB of B",
    "PMD = the PTE table",
    "[thp_split_pmd 0 → 1]",
)


@pytest.mark.parametrize("every_step", [False, True])
def test_the_story_tells_the_pmd_split_in_its_numbered_order(every_step: bool) -> None:
    text = unwrapped(narrate(trace_of("story"), every_step))
    at = [text.index(step, text.index("mprotect(B, page 4, r) -> 0")) for step in SPLIT_HUGE_PMD]
    assert at == sorted(at)


def test_the_story_tells_phases_results_and_reasons() -> None:
    lines = narrate(trace_of("story")).splitlines()
    text = unwrapped("\n".join(lines))
    for phase in load("story").phases:
        assert phase.title in text and phase.why in text
    assert "swap_out(A, page 0) -> -EBUSY" in lines and "split(A, page 0) -> 0" in lines
    assert "references but our own: 11 - 1 = 10, not equal: pinned — Every mapping holds one reference." in text
    assert "| vmstat: thp_split_page_failed 0 → 1" in lines
    assert "| smaps of B: Rss 32 kB, Pss 16 kB, AnonHugePages 0 kB, Referenced 32 kB" in lines
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", builtin())
def test_every_step_and_every_reason_is_told_on_request(name: str) -> None:
    trace = trace_of(name)
    text = unwrapped(narrate(trace, every_step=True))
    for step in (frame.step for frame in trace if frame.step):
        assert unwrapped(step.text) in text and unwrapped(step.why) in text


def test_a_reason_is_given_once_and_plain_steps_are_left_out() -> None:
    text = unwrapped(narrate(trace_of("story")))
    for why in {frame.step.why for frame in trace_of("story") if frame.step and frame.step.why}:
        assert text.count(why) == 1
    assert "lock mmap_sem" not in text and "lock mmap_sem" in narrate(trace_of("story"), every_step=True)


@pytest.mark.parametrize("name", MUTANTS)
def test_what_a_mutant_gets_wrong_is_told(name: str) -> None:
    mutant = MUTANTS[name]
    right, wrong = (narrate(record(load(mutant.scenario), Setup(mutant.kernel, mutant=m))) for m in ("", name))
    assert "BROKEN" not in right and "STOPPED" not in right
    if isinstance(mutant.killed_by, str):
        assert f"| BROKEN {mutant.killed_by}, after step " in wrong
    else:
        assert wrong.replace(f" with the mutant {name}", "") != right


def test_an_inserted_operation_is_told_where_it_came() -> None:
    trace = record("mmap A; write A 0; split A 0")
    trace.seek(step_frame(trace, "all mappings of the page").number)
    lines = narrate(trace.fork("pin A 1 1 late")).splitlines()
    told = ["split(A, page 0) -> goes on below", "CPU 1: pin(A, page 1, late) -> 0", "split(A, page 0) -> -EBUSY"]
    assert [line for line in lines if line in told] == told


def test_without_phases_each_operation_says_what_came_of_it() -> None:
    lines = narrate(trace_of("cow")).splitlines()
    assert sum(line.startswith("| cost: ") for line in lines) == len(load("cow").ops)
    assert "| compound page 0x8: head _count 1 = A: 1 PMD; head mapcount 1 = A: PMD; tails 1–7 mapcount 0" in lines


def test_a_scenario_that_stops_says_where_and_why() -> None:
    text = unwrapped(narrate(record("phase One\nmmap A\nphase Two\nwrite B 0\nphase Three\nexit A")))
    assert "STOPPED at 'write B 0', after step 4: proc 'B' is not a living process" in text
    assert "== 2 of 3: Two ==" in text and "Three" not in text


# --- what a real kernel shows -------------------------------------------------------------------------------------------


def test_kpagecount_is_the_schemes_own_page_mapcount() -> None:
    trace = trace_of("story")
    assert [kpagecount(end_of(trace, "fork"), pfn) for pfn in (8, 9, 15)] == [2, 0, 0]  # docs/KERNEL.md 2.1: tails of a PMD-mapped page
    assert [kpagecount(end_of(trace, "pin"), pfn) for pfn in (8, 9, 15)] == [2, 1, 1]
    assert [kpagecount(end_of(trace, "munmap"), pfn) for pfn in (8, 12, 200)] == [2, 1, 0]


def test_smaps_of_a_process_that_does_not_live() -> None:
    with pytest.raises(BadInput, match="'B' does not live"):
        smaps(trace_of("cow")[0].state, "B")


BUILT = {"mmap", "write", "read", "fill", "fork", "exit", "mprotect", "munmap", "pin", "unpin"}
PINS = {"vmsplice", "raw"}

HUGE_ZERO_PAGE = "smaps of 3.16, the RFC's base, counts a huge PMD over the zero page as memory; 4.5 does not (docs/KERNEL.md 1.6)"
DIFFERENT = {  # scenario -> operations after which rfc-2014 and 4.5 show different figures, and why
    "fault_read_hugezero": ({1}, HUGE_ZERO_PAGE),
    "fault_read_hugezero_fork_write": ({1, 2, 3}, HUGE_ZERO_PAGE),
    "fault_hugezero_split": ({1}, HUGE_ZERO_PAGE),
}

RECORDS: list[dict[str, Any]] = [json.loads(line) for line in (TRUTH / "linux-4.5.jsonl").read_text().splitlines()]


def pmd_kinds(state: State, process: str, region: str) -> list[str]:
    """What maps each 2 MiB of a region, as the recorder calls it."""
    base, pages = dict(state.process(process).regions)[region]
    kinds = []
    for address in range(base, base + pages * state.geometry.page_size, state.geometry.huge_size):
        entry = pmd_entry(state, state.process(process).pgd, address)
        huge = "hugezero" if pt.pte_pfn(entry) == state.huge_zero_page else "huge"
        kinds.append("none" if entry == 0 else huge if pt.pmd_trans_huge(entry) else "table")
    return kinds


def pmd_entry(state: State, table: int, address: int) -> int:
    """The PMD entry for an address; 0 if the way down to it does not exist."""
    for level in range(state.geometry.levels - 1, 0, -1):
        entry = int(state.tables[table][state.geometry.index(address, level)])
        if level == 1 or entry == 0:
            return entry
        table = pt.pte_pfn(entry)
    raise AssertionError("a geometry has a PMD level")


def figures(state: State, process: str, regions: dict[str, Any]) -> dict[str, Any]:
    shown = smaps(state, process)
    return {
        "rss": shown["Rss"],
        "pss": shown["Pss"],
        "anonhuge": shown["AnonHugePages"],
        "vmas": len(state.process(process).vmas),
        "pmd": {region: pmd_kinds(state, process, region) for region in regions},
    }


def recorded(regions: dict[str, Any]) -> dict[str, Any]:
    sums = {name: sum(region.get(name, 0) for region in regions.values()) for name in ("rss", "pss", "anonhuge", "vmas")}
    return sums | {"pmd": {name: region["pmd"] for name, region in regions.items()}}


@pytest.mark.parametrize("record", RECORDS, ids=[r["name"] for r in RECORDS])
def test_smaps_agree_with_a_recorded_kernel(record: dict[str, Any]) -> None:
    machine = Machine("rfc-2014", X86_64)
    different = set()
    for number, (op, after) in enumerate(zip(Scenario.from_record(record).ops, record["after"], strict=True)):
        if op.op not in BUILT or (op.op == "pin" and op.fields["how"] not in PINS):
            break  # from here on the kernels differ, or the operation belongs to another test
        assert machine.call(op) == after["ret"] == 0
        state = machine.state
        assert {process.name for process in state.processes} == set(after["proc"])
        if any(figures(state, name, regions) != recorded(regions) for name, regions in after["proc"].items()):
            different.add(number)
    assert different == DIFFERENT.get(record["name"], (set(), ""))[0]


@pytest.mark.parametrize("name", DIFFERENT)
def test_the_zero_page_counts_as_on_the_kernel_that_the_rfc_was_written_for(name: str) -> None:
    """The scenarios in which rfc-2014 differs from 4.5 are recorded on 3.16, too."""
    lines = (TRUTH / "linux-3.16.jsonl").read_text().splitlines()
    record = next(record for record in map(json.loads, lines) if record["name"] == name)
    machine = Machine("rfc-2014", X86_64)
    for op, after in zip(Scenario.from_record(record).ops[:2], record["after"], strict=False):
        machine.call(op)
        (process,) = after["proc"]
        assert figures(machine.state, process, after["proc"][process]) == recorded(after["proc"][process])
