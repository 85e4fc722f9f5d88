"""What the address walker packs and says: the tables as they are, entry by entry, and where each walk ends."""

from __future__ import annotations

from typing import Any

import pytest

from thplab.errors import BadInput
from thplab.hardware.geometry import geometry
from thplab.learn.widgets import AddressWalker
from thplab.learn.widgets.walker_payload import payload, places
from thplab.machine.state import State
from thplab.machine.trace import Setup, record
from thplab.show.describe import walk, walk_text
from thplab.show.describe.walk_text import entry_fields, entry_kind, refused

FORKED = "mmap A 2thp; write A 0; read A 1thp; fork A B; mprotect B 1/2thp 1 none; write B 0; munmap B 1 1; fork A C; munmap C 1thp 1"
SWAPPED = "mmap A 3thp; fill A 0 1thp; fill A 1thp 1thp; swap_out A 0; write A 0; mmap A advise=none region=S; read A 0 region=S"
POISONED = "mmap A; fill A 0 1thp; madvise A 1 1 hwpoison"
MACHINES = [
    ("rfc-2014", "TOY", FORKED, ""),
    ("v3.16", "TOY", FORKED, ""),
    ("v4.5", "X86_64", FORKED, ""),
    ("v6.1", "TOY", SWAPPED, "swap"),
    ("v5.10", "X86_64", SWAPPED, "zram"),
    ("v4.5", "TOY", POISONED, ""),
    ("v6.18", "TOY", FORKED, ""),
    ("v6.12", "MINI", "mmap A; write A 0; munmap A 1 1; fork A B; write B 0", ""),
]


STATES = [pytest.param(Setup(kernel, size, swap=swap), scenario, id=f"{kernel}-{size}") for kernel, size, scenario, swap in MACHINES]


def end(setup: Setup, scenario: str) -> State:
    trace = record(scenario, setup)
    assert trace.problem == ""
    return trace[-1].state


def found(data: dict[str, Any], table: int, index: int) -> tuple[int, str, int]:
    """An entry, its kind and the number of its words, read from packed tables as the page does."""
    level, runs = data["tables"][str(table)]
    for start, stop, first, step, kind, words, _ in runs:
        if start <= index < stop:
            return int(first, 16) + ((index - start) * step << 12), kind, words
    return 0, "", data["empty"][level]


@pytest.mark.parametrize(("setup", "scenario"), STATES)
def test_packed_tables_are_the_tables(setup: Setup, scenario: str) -> None:
    state = end(setup, scenario)
    data = payload(state)
    assert {int(pfn): level for pfn, (level, _) in data["tables"].items()} == dict(state.levels)
    for pfn, row in state.tables.items():
        for index, entry in enumerate(row.tolist()):
            read, kind, words = found(data, pfn, index)
            assert (read, kind) == (entry, entry_kind(state, entry, state.levels[pfn])), (hex(pfn), index)
            names = {name for name, *_ in data["fields"][data["words"][words][2]]}
            assert ("type" in names) == (kind in ("migration", "swap", "hwpoison"))
        assert len(data["tables"][str(pfn)][1]) <= 12  # alike entries are one run, also where a table has 512


@pytest.mark.parametrize(("setup", "scenario"), STATES)
def test_every_mapping_is_found_by_a_walk_and_every_kind_has_a_place(setup: Setup, scenario: str) -> None:
    state = end(setup, scenario)
    size = state.geometry.page_size
    for m in state.mapped:
        for page in {0, m.count - 1}:
            stop = walk(state, m.process, m.address + page * size)[-1]
            assert (stop.level, stop.table, stop.index) == (m.level, m.table, m.index + page)
            assert stop.kind.split()[-1] in (m.kind, "huge") or m.kind == "zero"
    for process in state.processes:
        here = {address for _, address in places(state, process)}
        assert {vma.start for vma in process.vmas} | {vma.end - 1 for vma in process.vmas} <= here
        kinds = {(m.level, m.kind) for m in state.mapped if m.process == process.name}
        assert kinds <= {(walk(state, process.name, at)[-1].level, _mapped_kind(state, process.name, at)) for at in here}
        for label, address in places(state, process):
            assert (walk(state, process.name, address)[-1].kind == "") or not label.startswith("first hole")


def _mapped_kind(state: State, process: str, address: int) -> str:
    kind = walk(state, process, address)[-1].kind
    return {"huge": "page", "huge zero": "zero"}.get(kind, kind)


def test_the_physical_address_is_that_of_the_byte() -> None:
    state = end(Setup("rfc-2014", "X86_64"), "mmap A; write A 0; fork A B; mprotect B 1/2thp 1 r")
    start = state.process("A").vmas[0].start
    for process, bits in (("A", 21), ("B", 12)):
        for offset in (0, 0x1000, 0x100123, 0x1FFFFF):
            head = state.compound_pages()[0]
            said = walk_text(state, process, start + offset)
            assert f"physical address {(head << 12) + offset:#x}" in said and f"{bits}-bit offset {offset & (1 << bits) - 1:#x}" in said
    assert "read-only" in walk_text(state, "B", start + 0x100000)


def test_entries_that_are_not_present_are_told_apart() -> None:
    swapped = end(Setup("v5.10", "TOY", swap="zram"), "mmap A; fill A 0 1thp; swap_out A 0")
    start = swapped.process("A").vmas[0].start
    for page in range(8):
        slot = int(swapped.tables[walk(swapped, "A", start)[-1].table][page]) >> 12
        assert f"swap entry: slot {slot} of the swap device" in walk_text(swapped, "A", start + page * 0x1000)
    poisoned = end(Setup("v4.5", "TOY"), POISONED)
    assert "SIGBUS" in walk_text(poisoned, "A", start + 0x1000)
    hidden = end(Setup("rfc-2014", "TOY"), "mmap A; write A 0; mprotect A 1 1 none")
    assert "PROT_NONE: hidden from the hardware" in walk_text(hidden, "A", start + 0x1000)
    assert walk_text(hidden, "A", start + 0x9000).endswith("the process gets SIGSEGV.")
    assert "A hole in a VMA" in walk_text(end(Setup("rfc-2014", "TOY"), "mmap A"), "A", start)


@pytest.mark.parametrize("scenario", ["split A 0", "mprotect A 1 1 r; split A 0"])
def test_in_the_middle_of_a_page_split_there_are_migration_entries(scenario: str) -> None:
    trace = record(f"mmap A; write A 0; {scenario}", Setup("v4.5", "TOY"))
    frame = next(f for f in trace if any(m.kind == "migration" for m in f.state.mapped))
    assert not frame.at_rest
    trace.seek(frame.number)
    walker = AddressWalker(trace)
    for m in (m for m in frame.state.mapped if m.kind == "migration"):
        walker.address = m.address
        was = "writable" if m.entry >> 1 & 7 == 2 else "read-only"
        assert f"migration entry: pfn {m.pfn:#x} is being split or moved; it was {was}" in walker.still()[1]
        assert "would wait until the page is in place again" in walker.still()[1]


def test_fields_are_all_64_bits_once() -> None:
    for entry, level in ((0, 0), (0x8067, 1), (0x80E5, 1), (0x8067, 3), (6 | 5 << 12, 0)):
        covered = [bit for field in entry_fields(entry, level) for bit in range(field.high, field.low - 1, -1)]
        assert covered == list(range(63, -1, -1))


@pytest.mark.parametrize(
    ("size", "address", "why"),
    [
        ("X86_64", 1 << 47, "is not canonical"),
        ("X86_64", 0xFFFF7FFFFFFFFFFF, "is not canonical"),
        ("X86_64", 0xFFFF800000000000, "lies in the kernel's half"),
        ("X86_64", 1 << 64, "has more than 64 bits"),
        ("X86_64", -1, "is -1; expected a number from 0 to 0x7fffffffffff"),
        ("TOY", 1 << 24, "has more than 24 bits"),
    ],
)
def test_what_is_no_address_is_refused_and_changes_nothing(size: str, address: int, why: str) -> None:
    walker = AddressWalker(geometry=size)
    before = walker.address
    with pytest.raises(BadInput, match=why):
        walker.address = address
    with pytest.raises(BadInput, match=why):
        AddressWalker(geometry=size, address=address)
    assert walker.address == before == geometry(size).mmap_base
    walker.address = refused(geometry(size))[0].first - 1
    assert "A hole outside all VMAs" in walker.still()[1]


def test_a_walker_is_asked_for_what_makes_sense() -> None:
    with pytest.raises(BadInput, match="process 'Z' does not live"):
        AddressWalker(process="Z")
    with pytest.raises(BadInput, match="scenario ends without a process"):
        AddressWalker("mmap A; exit A")
    with pytest.raises(BadInput, match="scenario stops"):
        AddressWalker("mmap A; mmap A")
    walker = AddressWalker("mmap A; fork A B", geometry="TOY", process="B")
    with pytest.raises(BadInput, match="process 'Z'"):
        walker.process = "Z"
    assert walker.process == "B" and walker.html() == AddressWalker("mmap A; fork A B", geometry="TOY", process="B").html()
