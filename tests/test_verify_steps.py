"""`thplab verify --steps`: what is stored inside an operation is held, in order, against what real kernels stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from thplab import cli
from thplab.errors import BadInput
from thplab.hardware.steps import Routine
from thplab.kernel import kernels
from thplab.kernel.address_space import AddressSpace
from thplab.kernel.mutants import Mutant
from thplab.kernel.system import System
from thplab.study.verify.steps import RIGHT, Followed, follow, verify_steps
from thplab.study.verify.stores import NOT_COMPARED, read_recordings, recorded_events, unfold
from thplab.study.verify.told import told

ROOT = Path(__file__).parent.parent
STEPS = ROOT / "tests" / "truth" / "steps"
Record = dict[str, Any]


_TOTALS = {"5.10": 58, "6.1": 59, "6.12": 59, "6.18": 58}


@pytest.mark.parametrize("version", [pytest.param(name, marks=[pytest.mark.slow] * (name in ("6.1", "6.12"))) for name in _TOTALS])
def test_every_operation_is_in_the_recorded_order(version: str) -> None:
    total = _TOTALS[version]
    report = verify_steps(STEPS / f"steps-{version}.jsonl")
    assert report.text() == f"{total} operations, {total} in the recorded order, 0 differ, 0 not modelled\n"
    assert report.status == 0


recordings = cache(read_recordings)
"""All of a file, read once."""


def recording(version: str, name: str) -> Record:
    """One of them, to be changed at will."""
    return deepcopy(next(record for record in recordings(STEPS / f"steps-{version}.jsonl") if record["name"] == name))


def followed(record: Record, wrong: Mutant = RIGHT) -> Followed:
    return follow(record, kernels.kernel("v" + ".".join(record["kernel"].split(".")[:2])), wrong)


def index_of(record: Record, place: str, field: str) -> int:
    return next(i for i, step in enumerate(record["steps"]) if step[1:3] == [place, field])


# --- unfolding a recording ------------------------------------------------------------------------------------------------


def test_a_loop_stands_for_its_steps_each_with_the_values_that_it_had() -> None:
    steps = [["loop", 3, [["f", "PTE A#0[7..5]", "entry", "none", "F0[7] WA", 1], ["g", "F0[0]", "_refcount", 512, 509, 1]]]]
    assert [(raw.place, raw.old, raw.new, raw.step) for raw in unfold(steps)] == [
        ("PTE A#0[7]", "none", "F0[7] WA", 1),
        ("F0[0]", 512, 511, 1),
        ("PTE A#0[6]", "none", "F0[6] WA", 1),
        ("F0[0]", 511, 510, 1),
        ("PTE A#0[5]", "none", "F0[5] WA", 1),
        ("F0[0]", 510, 509, 1),
    ]


def test_a_counter_that_a_loop_changes_several_times_goes_on_by_what_it_gains_each_time() -> None:
    up_and_down = [["loop", 2, [["f", "F0[0]", "_refcount", 2, 3, 1], ["g", "F0[0]", "_refcount", 3, 2, 1]]]]
    assert [(raw.old, raw.new) for raw in unfold(up_and_down)] == [(2, 3), (3, 2), (2, 3), (3, 2)]
    down = [["loop", 2, [["f", "F0[0]", "_refcount", 9, 6, 1], ["f", "F0[0]", "_refcount", 8, 5, 1]]], ["f", "F0[0]", "_refcount", 5, 3, 2]]
    assert [(raw.old, raw.new) for raw in unfold(down)] == [(9, 8), (8, 7), (7, 6), (6, 5), (5, 4), (4, 3)]
    mapped = [["loop", 2, [["f", "F0[1]", "_nr_pages_mapped", "E+5", "E+4", 1]]]]
    assert [(raw.old, raw.new) for raw in unfold(mapped)] == [(0x800005, 0x800004), (0x800004, 0x800003)]


# --- what of it is compared -----------------------------------------------------------------------------------------------


def read(*steps: list[Any], kernel: str = "6.12.0") -> list[tuple[object, ...]]:
    return [tuple(event.store) for event in recorded_events({"kernel": kernel, "steps": [[*step, 1] for step in steps]}).events]


def test_references_of_batches_are_taken_off_all_counts() -> None:
    assert read(
        ["folio_add_lru", "n0", "_refcount", 1, 2],
        ["try_get_folio", "n0", "_refcount", 2, 3],
        ["folios_put_refs", "n0", "_refcount", 3, 2],
        ["folio_batch_move_lru", "n0", "flags", "+lru", ""],
        ["folios_put_refs", "n0", "_refcount", 2, 1],
        ["folio_put", "n0", "_refcount", 1, 0],
    ) == [("n0", "_refcount", 1, 2), ("n0", "_refcount", 2, 1), ("n0", "_refcount", 1, 0)]


def test_the_batch_of_mlock_and_the_age_of_a_page_are_not_compared() -> None:
    assert read(
        ["mlock_folio", "F0[0]", "_refcount", 1, 2],
        ["mlock_folio_batch", "F0[0]", "flags", "+lru", ""],
        ["folios_put_refs", "F0[0]", "_refcount", 2, 1],
        ["folio_mark_accessed", "F0[0]", "flags", "+referenced", ""],
        ["gup_fast_fallback", "F0[0]", "flags", "+referenced", ""],
    ) == [("F0[0]", "flags", "", "+referenced")]


def test_what_flushes_is_the_flush_and_not_the_function_around_it() -> None:
    invalid = ["pmdp_invalidate", "PMD A[0]", "entry", "huge F0[0] AD", "INVALID huge F0[0] A"]
    assert read(
        ["pmdp_invalidate", "FLUSH", "", "", ""],
        invalid,
        ["flush_tlb_mm_range", "FLUSH", "", "", ""],
        ["ptep_clear_flush", "FLUSH", "", "", ""],  # an entry of another memory
        ["flush_tlb_mm_range", "FLUSH", "", "", ""],
    ) == [("PMD A[0]", "entry", "huge F0[0] AD", "INVALID huge F0[0] A"), ("FLUSH", "", "", "")]
    assert read(invalid, kernel="6.1.0")[0][3] == "INVALID huge F0[0] A"


def test_two_links_put_a_page_on_the_queue_or_take_it_off_or_move_it() -> None:
    itself, queue, other = "0xffffea0000228090", "0xffff88800423ee80", "0xffffc900005f3ad8"

    def links(by: str, old: str, new: str) -> list[list[Any]]:
        return [[by, "F0[2]", "_deferred_list.prev", old, new], [by, "F0[2]", "_deferred_list.next", old, new]]

    on, off = ("F0[2]", "_deferred_list", "off", "on"), ("F0[2]", "_deferred_list", "on", "off")
    moved = links("deferred_split_scan", queue, other)
    assert read(*links("deferred_split_folio", itself, queue), *moved, *links("__folio_split", other, itself)) == [on, off]
    assert read(*links("free_transhuge_page", queue, "0xdead000000000100")) == [off]
    assert read(["deferred_split_folio", "F0[2]", "_deferred_list.next", queue, other]) == []  # a neighbour's


def test_letting_go_of_the_ptl_in_the_middle_of_a_zap_is_no_step_but_one_hold_for_each_page_is() -> None:
    pause = [["u", "page of PTE A#0", "ptl", 1, 0], ["l", "page of PTE A#0", "ptl", 0, 1]]
    zap = ["unmap_page_range", "PTE A#0[8]", "entry", "F0[8] WA", "none"]
    assert len(read(zap, *pause, zap)) == 2
    assert len(read(zap, *pause, ["native_set_pte", "PTE A#0[8]", "entry", "migr30 F0[8]", "F0[8] WA"])) == 4


def test_entries_are_read_in_the_words_of_each_kernel() -> None:
    for kernel, kind, expected in (
        ("5.10.0", "migr31 F0[5]", "migration write F0[5]"),
        ("6.1.0", "migr28 F0[5]", "migration read-exclusive F0[5]"),
        ("6.18.0", "migr24 F0[5]", "hwpoison F0[5]"),
        ("6.18.0", "swp0 pfn77 excl", "swap excl"),
        ("6.18.0", "huge F0[0] As", "huge F0[0] A"),
        ("6.18.0", "F0[3] ", "F0[3]"),
    ):
        assert read(["f", "PTE A#0[5]", "entry", "none", kind], kernel=kernel) == [("PTE A#0[5]", "entry", "none", expected)]


# --- comparing ------------------------------------------------------------------------------------------------------------


def test_a_recording_agrees_under_other_names_of_frames_and_tables() -> None:
    record = recording("5.10", "munmap_all_ptes")
    assert followed(record).agrees
    assert followed(json.loads(json.dumps(record).replace("F0", "F3").replace("PTE A#0", "PTE A#4"))).agrees


@pytest.mark.parametrize(
    ("change", "expected", "got"),
    [
        (lambda step: step.__setitem__(4, "huge F0[0] WA"), "PMD A[0] none → huge F0[0] WA", "PMD A[0] none → huge F0[0] WAD"),
        (lambda step: step.__setitem__(3, "huge F0[0] A"), "PMD A[0] huge F0[0] A → huge F0[0] WAD", "PMD A[0] none → huge F0[0] WAD"),
        (lambda step: step.__setitem__(1, "PMD A[3]"), "PMD A[3] none → huge F0[0] WAD", "PMD A[0] none → huge F0[0] WAD"),
    ],
)
def test_each_part_of_a_store_counts(change: Callable[[list[Any]], None], expected: str, got: str) -> None:
    record = recording("5.10", "fault_write")
    at = index_of(record, "PMD A[0]", "entry")
    change(record["steps"][at])
    (difference,) = followed(record).differences
    assert difference.position == f"step {at + 1}"
    assert (difference.expected, difference.got) == (f"{expected} [native_set_pmd]", f"{got} [do_huge_pmd_anonymous_page]")


def test_the_order_counts() -> None:
    record = recording("5.10", "fault_write")
    steps = record["steps"]
    at = index_of(record, "page of PMD A", "pmd_huge_pte")
    assert steps[at + 1][2] == "entry"
    steps[at], steps[at + 1] = steps[at + 1], steps[at]
    moved, missed = followed(record).differences
    assert {moved.expected, missed.expected} == {"nothing", f"page of PMD A pmd_huge_pte none → table [{steps[at + 1][0]}]"}
    assert {moved.got, missed.got} == {"nothing", "page of PMD A pmd_huge_pte none → table [pgtable_trans_huge_deposit]"}


def test_what_is_missing_and_what_is_too_much_counts() -> None:
    record = recording("5.10", "fault_write")
    at = index_of(record, "page of PMD A", "ptl")
    gone = record["steps"].pop(at)
    (difference,) = followed(record).differences
    assert (difference.expected, difference.got) == ("nothing", "lock ptl of PMD A [do_huge_pmd_anonymous_page]")
    record["steps"][at:at] = [gone, ["flush_tlb_mm_range", "FLUSH", "", "", "", 1]]
    (difference,) = followed(record).differences
    assert (difference.position, difference.expected, difference.got) == (f"step {at + 2}", "flush the TLB [flush_tlb_mm_range]", "nothing")


def test_what_is_returned_counts() -> None:
    record = recording("5.10", "pin_pmd")
    record["rets"][-1] = "-EFAULT"
    assert [d.line for d in followed(record).differences] == ["pin_pmd ret: expected -EFAULT, got 0"]


def deposits_in_passing(system: System, mm: AddressSpace, pmd_table: int, pgtable: int) -> Routine[None]:
    mm.deposit(pmd_table, pgtable)
    yield from ()


def test_a_step_that_stores_two_words_is_a_difference_though_the_order_is_right() -> None:
    wrong = Mutant("", variants={"pgtable_trans_huge_deposit": deposits_in_passing})
    (difference,) = followed(recording("5.10", "fault_write"), wrong).differences
    assert (difference.position, difference.expected) == ("one step", "one store")
    assert difference.got.startswith("1 steps of do_huge_pmd_anonymous_page with up to 2 stores")


def test_stores_of_an_unknown_kind_are_named_and_make_the_operation_not_modelled(tmp_path: Path) -> None:
    record = recording("5.10", "pin_pmd")
    record["steps"] += [
        ["f", "F0[7]", "new_counter", 0, 1, 2],
        ["f", "PUD A[0]", "entry", "none", "what?", 1],
        ["f", "F0[0]", "flags", "+odd", "", 1],
    ]
    lines = written(tmp_path, record).text().splitlines()
    assert lines == [
        "not modelled: pin_pmd: it holds stores of an unknown kind",
        "not modelled: F#[#] new_counter, 2 stores",
        "not modelled: PUD A[#] entry, 1 stores",
        "not modelled: flag odd, 1 stores",
        "1 operations, 0 in the recorded order, 0 differ, 1 not modelled",
    ]


def test_an_operation_that_is_not_built_is_not_modelled(tmp_path: Path) -> None:
    record = recording("5.10", "pin_pmd") | {"op": {"op": "memcg_new", "proc": "A"}}
    report = written(tmp_path, record)
    assert report.text().splitlines()[-1] == "1 operations, 0 in the recorded order, 0 differ, 1 not modelled"
    assert report.status == 0


def written(folder: Path, *records: Record) -> Any:
    path = folder / "steps.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return verify_steps(path)


# --- the documents and the command ----------------------------------------------------------------------------------------


def test_the_documents_show_the_table_of_what_is_not_compared() -> None:
    text = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8").partition("## What is not compared\n")[2]
    assert text.splitlines()[2:] == [f"| {what} | {why} |" for what, why in NOT_COMPARED.items()]


def test_the_command_tells_the_counts_and_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_text(json.dumps(recording("6.1", "pin_pmd")), encoding="utf-8")
    assert cli.main(["verify", "--steps", str(path)]) == 0
    assert capsys.readouterr().out == "1 operations, 1 in the recorded order, 0 differ, 0 not modelled\n"
    assert cli.main(["verify", "--steps", str(path), "--kernel", "v3.16"]) == 1
    assert capsys.readouterr().out.endswith("1 operations, 0 in the recorded order, 1 differ, 0 not modelled\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [("", "holds no recording"), ('{"kernel": "6.1", "name": "x"}', "line 1: the value lacks op, rets, setup, steps"), ("{", "line 1")],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, error: str) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_text(text, encoding="utf-8")
    assert cli.main(["verify", "--steps", str(path)]) == 2
    assert error in capsys.readouterr().err


def test_steps_are_told_side_by_side_with_ticks_where_they_agree(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "124")
    assert cli.main(["steps", "pin_pmd", "--kernel", "v6.12"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("pin_pmd: pin(A, page 4, p), after mmap(A, 1 THP), fill(A, pages 0…511)\n")
    assert [line for line in out.splitlines() if line.startswith("  ✓ ")] == [
        f"  ✓ {'F0[0] _refcount 1 → 2 [try_get_folio]':60}F0[0] _refcount 1 → 2 [try_grab_folio_fast]",
        f"  ✓ {'F0[0] +referenced [gup_fast_fallback]':60}F0[0] +referenced [a driver's request]",
    ]


def test_all_recordings_of_an_operation_are_told() -> None:
    text, _ = told("pin", "v5.10", 150)
    said, *lines = text.splitlines()
    assert said == "2 recorded on v5.10:" and lines[2] == ""
    listed, told_of = ([line for line in part if ", after " in line] for part in (lines[:2], lines[2:]))
    assert [line.split(":")[0].strip() for line in listed] == ["pin_pmd", "pin_foll_pmd"]
    assert [f"  {line}" for line in told_of] == listed


def test_the_learners_question_is_answered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.main(["steps", "mprotect", "--kernel", "v6.12"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert out.startswith(
        "6 recorded on v6.12:\n"
        "  split_pmd_sole: mprotect(A, page 8, r), after mmap(A, 1 THP), fill(A, pages 0…511)\n"
        "  split_pmd_shared: mprotect(A, page 8, r), after mmap(A, 1 THP), fill(A, pages 0…511), fork(A, B)\n"
        "  mprotect_all: mprotect(A, pages 0…511, r), after mmap(A, 1 THP), fill(A, pages 0…511)\n"
    )
    assert out.count("recorded on Linux 6.12.") == 6 and "≠" not in out.partition("\n\nF0[8]")[0]
    rows = [line[4:52].rstrip() for line in out.splitlines() if line.startswith("  ✓ ")]
    assert rows[:3] == [
        "lock ptl of PMD A [_raw_spin_lock]",
        "PMD A[0] huge F0[0] WAD → INVALID huge F0[0]",
        "flush the TLB [flush_tlb_mm_range]",
    ]


def test_a_scenario_is_told_by_what_of_it_was_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["steps", "mmap A; fill A 0 1thp; fork A B; mprotect A 9 1 r", "--kernel", "v6.12"]) == 0
    out = capsys.readouterr().out
    assert [line.split(":")[0].strip() for line in out.splitlines()[1:3]] == ["fork_pmd", "split_pmd_shared"]


def test_without_a_word_the_command_lists_what_was_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["steps", "--kernel", "v6.1"]) == 0
    names = [line.strip().split(":")[0] for line in capsys.readouterr().out.splitlines() if ": " in line]
    assert names == [record["name"] for record in read_recordings(STEPS / "steps-6.1.jsonl")]


@pytest.mark.parametrize(
    ("wanted", "kernel", "wrong", "right"),
    [
        ("migrate", "v6.12", "operation", "mprotect, mremap"),
        ("migrate", "v6.12", "operation", "split_pmd_sole, split_pmd_shared"),
        ("mmap A; exit A", "v6.12", "operation", "exit, fork"),
        ("pin", "v4.5", "kernel", "v5.10, v6.1, v6.12, v6.18"),
        ("pin", "v9", "kernel", "v6.12"),
        ("pin", "6.12", "kernel", "v6.12"),
    ],
)
def test_what_is_not_recorded_is_refused_with_what_there_is(wanted: str, kernel: str, wrong: str, right: str) -> None:
    with pytest.raises(BadInput) as error:
        told(wanted, kernel, 100)
    assert error.value.argument == wrong and right in error.value.right
