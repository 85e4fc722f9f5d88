"""The recorder of tests/truth/recorder, as far as it goes without an emulator: a made-up guest is decoded."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from recorder_guest import (
    ACCESSED,
    ALL,
    ANSWER,
    DIRTY,
    FUNCTIONS,
    PMD,
    PRESENT,
    PSE,
    PTE,
    REGION,
    STRUCT_PAGES,
    THP,
    USER,
    VARIABLES,
    WRITE,
    Guest,
    bits,
    btf,
    mapped,
)  # fmt: skip
from truth.recorder import initrd, listed, performed, text
from truth.recorder.btf import Btf, Member
from truth.recorder.command import main
from truth.recorder.decode import Decoder, Event
from truth.recorder.fold import steps
from truth.recorder.kernels import KERNELS
from truth.recorder.layout import Layout
from truth.recorder.memory import DIRECT, KERNEL_TEXT, STRUCT_PAGE, VMEMMAP, Memory
from truth.recorder.names import Names
from truth.recorder.steps import chosen, show
from truth.recorder.symbols import Symbols
from truth.recorder.trace import CALL, EVENT, SIZE, STORE, STORE_TO_NEW_TABLE, Log

from thplab.errors import BadInput
from thplab.scenario import Scenario

HERE = Path(__file__).parent / "truth" / "recorder"
TRUTH = Path(__file__).parent / "truth"
MODERN = KERNELS["6.12"]


# --- BTF and layout


def test_btf_tells_where_members_lie_those_of_nameless_unions_and_arrays_too() -> None:
    blob = Btf(
        btf(
            {"outer": (24, {"a": (3, 0), "": (7, 8), "two": (5, 16)}), "": (8, {"b": (2, 0), "c": (2, 4)})},
            {"e": [("X", 3)]},
        )
    )
    assert blob.members("outer") == {
        "a": Member("a", 0, 8), "b": Member("b", 8, 4), "c": Member("c", 12, 4), "two": Member("two", 16, 8, 2),
    }  # fmt: skip
    assert blob.size("outer") == 24 and blob.enum("e") == [("X", 3)]
    assert blob.has("outer") and not blob.has("inner")
    with pytest.raises(KeyError):
        blob.members("inner")


def test_what_is_no_btf_is_refused() -> None:
    with pytest.raises(ValueError, match="no BTF"):
        Btf(b"ELF" * 20)


def test_the_roles_of_a_struct_page_come_out_of_struct_page_and_struct_folio() -> None:
    layout = Layout(Btf(btf()))
    assert layout.field("first tail", "_entire_mapcount") == Member("_entire_mapcount", 20, 4)
    assert layout.field("second tail", "_deferred_list.prev") == Member("_deferred_list.prev", 24, 8)
    assert layout.field("table", "pmd_huge_pte") == Member("pmd_huge_pte", 16, 8)
    assert layout.field("head", "_entire_mapcount") is None
    assert layout.field("first tail", "mapping") is None, "counters lie there"


def test_flags_are_written_by_the_name_that_they_have_on_that_page() -> None:
    flags = Layout(Btf(btf())).flags
    assert flags.changes(0, bits("dirty"), False) == "+dirty"
    assert flags.changes(bits("locked", "owner_2"), bits("dirty"), False) == "-locked +dirty -anon_exclusive"
    assert flags.changes(0, bits("workingset"), False) == "+workingset"
    assert flags.changes(0, bits("workingset"), True) == "+large_rmappable"
    assert flags.changes(0, 1 << 40, False) == ""


# --- memory


def test_the_kernels_own_addresses_are_found_in_the_ram() -> None:
    memory = Memory(Guest().ram)
    memory.kernel_top = VARIABLES["init_top_pgt"]
    assert memory.physical(DIRECT + 0x1234) == 0x1234
    assert memory.physical(KERNEL_TEXT + 0x1234) == 0x1234
    assert memory.physical(VMEMMAP + 5 * STRUCT_PAGE) == STRUCT_PAGES + 5 * STRUCT_PAGE
    with pytest.raises(LookupError, match="nothing is mapped"):
        memory.physical(VMEMMAP + (1 << 30))
    with pytest.raises(LookupError, match="outside"):
        memory.u64(1 << 24)


def test_a_walk_ends_at_a_huge_page_or_where_nothing_is() -> None:
    guest, _ = mapped()
    view = guest.view()
    top = view.top_table(42)
    assert [level.name for level in view.memory.walk(top, REGION)] == ["pgd", "pud", "pmd"]
    assert [level.name for level in view.memory.walk(top, 0)] == ["pgd"]
    with pytest.raises(LookupError, match="no process"):
        view.top_table(43)


def test_what_is_there_gets_names() -> None:
    _, names = mapped()
    assert names.frames == {THP: "F0"} and names.tables == {PMD >> 12: "PMD A", PTE >> 12: "PTE A#0"}
    assert names.page(THP + 7) == "F0[7]" and names.page(3) == "zero" and names.page(99) == "pfn63"


def test_pages_behind_ptes_are_a_huge_page_if_their_struct_pages_say_so() -> None:
    guest = Guest()
    guest.huge_page()
    guest.u64(PMD, PTE | ALL)
    guest.u64(PTE + 8, (THP + 5) << 12 | ALL)
    guest.u64(PTE + 16, 0x900 << 12 | ALL)
    names = Names(3)
    names.see(guest.view(), ANSWER, before=True)
    assert names.page(THP + 5) == "F0[5]" and names.page(0x900) == "o0"


# --- entries and fields as text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "none"),
        (THP << 12 | PRESENT | WRITE | USER | ACCESSED | DIRTY | PSE, "huge F0[0] WAD"),
        ((THP + 3) << 12 | PRESENT | USER | ACCESSED, "F0[3] A"),
        ((THP + 3) << 12 | PRESENT | 1 << 58, "F0[3] D"),
        (~(THP << 12) & 0xFFFFFFFFFF000 | PSE | WRITE | ACCESSED | DIRTY, "INVALID huge F0[0] WAD"),
        (~((THP + 2) << 12) & 0xFFFFFFFFFF000 | 1 << 8 | DIRTY, "protnone F0[2] D"),
        (PTE | ALL, "table(PTE A#0) WAD"),
        (30 << 59 | ~((THP + 5) << 9) & (1 << 59) - 1 & ~0x1FF, "migr30 F0[5]"),
        (1 << 59 | ~(77 << 9) & (1 << 59) - 1 & ~0x1FF | 8, "swp1 pfn4d excl"),
    ],
)
def test_an_entry_as_text(value: int, said: str) -> None:
    assert text.entry(value, mapped()[1], MODERN) == said


def test_before_6_6_no_saved_dirty_bit_counts() -> None:
    assert text.entry((THP + 3) << 12 | PRESENT | 1 << 58, mapped()[1], KERNELS["6.1"]) == "F0[3] "


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("_mapcount", 0xFFFFFFFF, -1),
        ("_nr_pages_mapped", 0x800000 + 512, "E+512"),
        ("_nr_pages_mapped", 512, 512),
        ("compound_head", VMEMMAP + THP * STRUCT_PAGE + 1, "tail of F0[0]"),
        ("pmd_huge_pte", VMEMMAP + (PTE >> 12) * STRUCT_PAGE, "table(PTE A#0)"),
        ("mapping", 0xFFFF888000000001, "anon"),
        ("mapping", 0xDEAD000000000400, "poison"),
        ("index", 0x200000000, "0x200000000"),
        ("private", 10, 10),
    ],
)
def test_a_field_as_text(name: str, value: int, said: int | str) -> None:
    assert text.field(name, value, mapped()[1]) == said


def test_the_mm_id_bits_as_text() -> None:
    assert text.mm_ids(0, 1 << 31) == "mm_ids lock"
    assert text.mm_ids(1 << 31, 1 << 63) == "mm_ids unlock +maybe_shared"
    assert text.mm_ids(5, 6) == ""


# --- events


def log(*events: tuple[str, int, int, int, int]) -> Log:
    """A log of (function, address, before, after, kind), all by one task."""
    rows = [
        (KERNEL_TEXT + FUNCTIONS[name], at, before, after, 1, kind, 8 if at < VMEMMAP else 4)
        for name, at, before, after, kind in events
    ]
    return np.array(rows, EVENT)


def test_stores_become_events_with_the_names_of_a_recording() -> None:
    guest, names = mapped()
    field = VMEMMAP + (THP + 4) * STRUCT_PAGE + 48
    recorded = log(
        ("__split_huge_pmd", 0, 0, 0, CALL),
        ("__split_huge_pmd", DIRECT + PMD, THP << 12 | ALL | PSE, PTE | ALL, STORE),
        ("flush_tlb_mm_range", 0, 0, 0, CALL),
        ("folio_add_anon_rmap_ptes", field, 0xFFFFFFFF, 0, STORE),
        ("folio_add_anon_rmap_ptes", field, 0, 0, STORE),
        ("native_set_pte", DIRECT + 0xD000, 0, 5, STORE),
    )
    found = Decoder(guest.view(), names).events(recorded)
    assert [event[:7] for event in found] == [
        ("CALL", "__split_huge_pmd", "", None, "", "", ""),
        ("entry", "__split_huge_pmd", "PMD A", 0, "entry", "huge F0[0] WAD", "table(PTE A#0) WAD"),
        ("FLUSH", "flush_tlb_mm_range", "", None, "", "", ""),
        ("field", "folio_add_anon_rmap_ptes", "F0", 4, "_mapcount", -1, 0),
    ]


def test_a_table_counts_from_the_store_that_makes_it_one() -> None:
    guest, names = mapped()
    names.tables[PTE >> 12] = "PTE A#0"
    page_type = VMEMMAP + (PTE >> 12) * STRUCT_PAGE + 48
    recorded = log(
        ("native_set_pte", DIRECT + PTE, 0, 7, STORE),  # still somebody else's page
        ("native_set_pte", page_type, 0xFFFFFFFF, 0xF2000000, STORE),
        ("native_set_pte", DIRECT + PTE + 8, 99, (THP + 1) << 12 | ALL, STORE_TO_NEW_TABLE),
    )
    found = Decoder(guest.view(), names).events(recorded)
    assert [(event.field, event.old, event.new) for event in found] == [
        ("page_type", "0xffffffff", "0xf2000000"),
        ("entry", "none", "F0[1] WAD"),
    ]


def test_a_tail_that_has_become_a_page_has_its_own_fields() -> None:
    guest, names = mapped()
    first_tail = VMEMMAP + (THP + 1) * STRUCT_PAGE
    recorded = log(
        ("native_set_pte", first_tail + 24, 0x800000, 0, STORE),
        ("native_set_pte", first_tail + 8, VMEMMAP + THP * STRUCT_PAGE + 1, 0, STORE),
        ("native_set_pte", first_tail + 24, 0, 0xFFFF888000000001, STORE),
    )
    found = Decoder(guest.view(), names).events(recorded)
    assert [(event.field, event.old, event.new) for event in found] == [
        ("_nr_pages_mapped", "E+0", 0),
        ("compound_head", "tail of F0[0]", 0),
        ("mapping", "0x0", "anon"),
    ]


def test_a_function_is_named_without_what_the_compiler_adds() -> None:
    symbols = Symbols(
        [
            "10 t __pfx_zap_pte_range",
            "20 t zap_pte_range.isra.0",
            "30 t zap_pte_range.cold",
            "40 T other",
            "8 D node_data",
        ]
    )
    assert symbols.function(0x2F) == "zap_pte_range" and symbols.function(0x44) == "other"
    assert symbols.reported == {0x20: ("CALL", "zap_pte_range")} and symbols.variables == {"node_data": 8}


# --- folding


def store(page: int, field: str, old: int | str, new: int | str, name: str = "F0") -> Event:
    return Event("field" if field != "entry" else "entry", "f", name, page, field, old, new, 1)


def test_the_same_step_on_one_page_after_the_other_is_one_step() -> None:
    up = [store(page, "_mapcount", -1, 0) for page in range(512)]
    assert steps(up) == [["f", "F0[0..511]", "_mapcount", -1, 0, 512]]
    assert steps(up[::-1]) == [["f", "F0[511..0]", "_mapcount", -1, 0, 512]]
    assert steps([*up[:3], *up[5:6]]) == [
        ["f", "F0[0..2]", "_mapcount", -1, 0, 3],
        ["f", "F0[5]", "_mapcount", -1, 0, 1],
    ]


def test_several_steps_that_repeat_are_a_loop() -> None:
    body = [
        event
        for page in range(4)
        for event in (
            store(page, "entry", "none", f"F0[{page}] W", "PTE A#0"),
            store(page, "_mapcount", -1, 0),
            store(0, "_refcount", 9 - page, 8 - page),
        )
    ]
    assert steps(body) == [
        ["loop", 4, [
            ["f", "PTE A#0[0..3]", "entry", "none", "F0[0] W", 1],
            ["f", "F0[0..3]", "_mapcount", -1, 0, 1],
            ["f", "F0[0]", "_refcount", 9, 5, 1],
        ]],
    ]  # fmt: skip


def test_a_counter_that_changes_by_something_else_ends_a_run() -> None:
    events = [store(0, "_refcount", 5, 4), store(0, "_refcount", 4, 3), store(0, "_refcount", 3, 1)]
    assert steps(events) == [["f", "F0[0]", "_refcount", 5, 3, 2], ["f", "F0[0]", "_refcount", 3, 1, 1]]


def call(name: str, kind: str = "CALL", task: int = 1) -> Event:
    return Event(kind, name, "", None, "", "", "", task)


def test_what_belongs_to_an_operation() -> None:
    change = store(8, "entry", "F0[8] W", "F0[8] ", "PTE A#0")
    flush, enter = call("flush_tlb_mm_range", "FLUSH"), call("do_syscall_64", "ENTER")
    assert chosen([call("a"), call("b"), change, call("c")]) == [call("b"), change], "the function in which it happens"
    assert chosen([call("a"), enter, change]) == [change], "not what came before the call of the system"
    assert chosen([change, call("c"), call("d"), call("x", task=2), flush, call("e")]) == [change, call("d"), flush], (
        "the flush behind"
    )
    assert chosen([change, call("c"), enter, flush]) == [change], "not a flush for something else"
    assert chosen([change, enter, change]) == [change, change]
    assert chosen([call("a"), flush]) == []


def test_steps_are_shown_as_lines() -> None:
    shown = show(
        [
            ["f", "CALL", "", "", "", 1],
            ["loop", 2, [["g", "F0[0]", "flags", "+dirty", "", 1]]],
            ["h", "FLUSH", "", "", "", 3],
        ]
    )
    assert [line.split() for line in shown] == [
        ["--", "f"], ["loop", "x2", "{"], ["g", "F0[0]", "flags", "+dirty"], ["}"], ["##", "FLUSH", "h", "x3"],
    ]  # fmt: skip


# --- scenarios


def test_every_scenario_of_the_list_can_be_performed_without_the_module() -> None:
    scenarios = listed.read(listed.LIST)
    assert len({scenario.name for scenario in scenarios}) == len(scenarios) > 25
    for scenario in scenarios:
        performed.check(scenario, module=False)
        assert scenario.about


def test_the_list_holds_what_the_recorded_steps_are_of() -> None:
    ops = {scenario.name: list(scenario.ops) for scenario in listed.read(listed.LIST)}
    files = sorted((TRUTH / "steps").glob("*.jsonl"))
    assert files
    for recorded in (scenario for path in files for scenario in listed.read(path)):
        assert [op.op for op in recorded.ops] == [op.op for op in ops[recorded.name]], recorded.name


def test_recordings_of_states_can_be_made_again() -> None:
    again = listed.read(TRUTH / "linux-6.12.jsonl")
    assert len(again) > 100 and all(scenario.ops for scenario in again)
    assert listed.picked(again, ["cow_child"])[0].name.startswith("cow_child")
    with pytest.raises(BadInput, match="in no scenario"):
        listed.picked(again, ["no_such"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mmap A; split_pmd A 0", "mprotect of one page"),
        ("mmap A; pin A 0 1 p gup", "one of vmsplice"),
        ("mmap A; pin A 0 1 p raw", "pin how=vmsplice"),
        ("mmap A; split A 0 1", "split how=debugfs"),
    ],
)
def test_what_cannot_be_performed_is_refused_with_what_to_do_instead(line: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        performed.check(Scenario.parse(line), module=False)


def test_the_guest_is_told_plain_numbers_and_all_fields() -> None:
    told = performed.plain(Scenario.parse("write A 1/2thp").ops[0])
    assert told == {"op": "write", "proc": "A", "start": 256, "npages": 1, "value": 0x55, "force": False, "region": "R"}


# --- the program


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["steps", "6.12", "--op", "write A 0"], "--op stands alone"),
        (["state", "6.12", "--scenario", "mmap A; wriet A 0"], "'wriet' is unknown"),
        (["steps", "6.12", "--scenario", "mmap A"], "record.py fetch 6.12"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--work", str(tmp_path), *arguments]) == 1
    out, err = capsys.readouterr()
    assert said in err and err.count("\n") == 1 and not out


def test_the_guests_disk_holds_files_folders_and_links(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "busybox").write_bytes(b"12345")
    (tmp_path / "bin" / "sh").symlink_to("busybox")
    archive = tmp_path.parent / "disk.gz"
    initrd._pack(tmp_path, archive)
    data, at, found = gzip.decompress(archive.read_bytes()), 0, {}
    while at < len(data):
        assert data[at : at + 6] == b"070701" and at % 4 == 0
        mode, size, name_size = (int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in (1, 6, 11))
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        start = at + (110 + name_size + 3 & ~3)
        found[name] = mode >> 12, data[start : start + size]
        at = start + (size + 3 & ~3)
    assert found == {"bin": (4, b""), "bin/busybox": (8, b"12345"), "bin/sh": (10, b"busybox"), "TRAILER!!!": (0, b"")}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
def test_the_plugin_compiles_and_shares_its_layout_with_the_host(tmp_path: Path) -> None:
    check = tmp_path / "check.c"
    check.write_text(
        f'#include "{HERE / "plugin" / "steptrace.c"}"\n'
        f'_Static_assert(offsetof(struct control, log) + 3000000 * sizeof(struct event) == {SIZE}, "size");\n'
        f'_Static_assert(sizeof(struct event) == {EVENT.itemsize}, "event");\n'
        '_Static_assert(offsetof(struct control, blocks) == 80 && offsetof(struct control, current) == 27 * 8, "words");\n'
    )
    subprocess.run(["gcc", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", check], check=True)


def test_the_kernel_module_and_the_readme_say_the_modules_licence() -> None:
    assert (HERE / "module" / "thp_recorder.c").read_text().startswith("// SPDX-License-Identifier: GPL-2.0\n")
    assert "GPL-2.0" in (HERE / "README.md").read_text()
