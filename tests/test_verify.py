"""`thplab verify`: what a recording says is compared field by field, and every disagreement is reported and counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from thplab import cli
from thplab.errors import BadInput
from thplab.kernel import kernels
from thplab.kernel.early_kernels import RFC_2014
from thplab.kernel.schemes import Rfc
from thplab.study.verify import LEFT_OUT, Verified, replay_records, verify

ROOT = Path(__file__).parent.parent
TRUTH = ROOT / "tests" / "truth"
Record = dict[str, Any]


def region(rss: int, pss: int, huge: int, kind: str, runs: list[Any], vmas: int = 1, deposited: int = 1) -> Record:
    return {"vmas": vmas, "rss": rss, "pss": pss, "anonhuge": huge, "pmd": [kind], "deposited": deposited, "runs": runs}


def thp(ref: int, head: int, tails: list[list[int]]) -> Record:
    """A compound page under the RFC: the head's fields and [first, n, _mapcount] of the tails."""
    sub = [[0, 1, "head", ref, head, "alb"]] + [[first, n, "tail", 0, count, ""] for first, n, count in tails]
    kpc = [[0, 1, head + 1]] + [[first, n, count + 1] for first, n, count in tails]
    return {"head": 1, "flags": "alb", "order": 9, "ref": ref, "queue_len": 0, "sub": sub, "kpc": kpc}


def huge(flags: str) -> list[Any]:
    return [[0, 512, "present", "F0", 0, "pmd", flags]]


ALONE = thp(1, 0, [[1, 511, -1]])
PINNED = thp(2, 0, [[1, 511, -1]])
HOLE = [[0, 8, "present", "F0", 0, "pte", "d"], [9, 503, "present", "F0", 9, "pte", "d"]]

# What the RFC says (docs/KERNEL.md, section 2), written down by hand as a recorder would.
STEPS: list[tuple[Record, Record]] = [
    (
        {"op": "mmap", "proc": "A", "region": "R", "thps": 1, "advise": "hugepage"},
        {"proc": {"A": {"R": region(0, 0, 0, "none", [], 1, 0)}}},
    ),
    (
        {"op": "write", "proc": "A", "start": 0, "npages": 1},
        {
            "ev": {"thp_fault_alloc": 1, "nr_anon_transparent_hugepages": 1},
            "proc": {"A": {"R": region(2048, 2048, 2048, "huge", huge("wdy"))}},
            "frames": {"F0": ALONE},
        },
    ),
    (
        {"op": "fork", "proc": "A", "child": "B"},
        {
            "proc": {"A": {"R": region(2048, 1024, 2048, "huge", huge("dy"))}, "B": {"R": region(2048, 1024, 2048, "huge", huge("d"))}},
            "frames": {"F0": thp(2, 1, [[1, 511, -1]])},
        },
    ),
    (
        {"op": "munmap", "proc": "B", "start": 8, "npages": 1},
        {
            "ev": {"thp_split_pmd": 1},
            "proc": {"A": {"R": region(2048, 1026, 2048, "huge", huge("dy"))}, "B": {"R": region(2044, 1022, 0, "table", HOLE, 2, 0)}},
            "frames": {"F0": thp(512, 1, [[1, 7, 0], [8, 1, -1], [9, 503, 0]])},
        },
    ),
    (
        {"op": "exit", "proc": "B"},
        {"proc": {"A": {"R": region(2048, 2048, 2048, "huge", huge("dy"))}}, "frames": {"F0": ALONE}},
    ),
    (
        {"op": "pin", "proc": "A", "start": 5, "npages": 1, "pin": "p", "how": "raw"},
        {"proc": {"A": {"R": region(2048, 2048, 2048, "huge", huge("dy"))}}, "frames": {"F0": PINNED}},
    ),
    (
        {"op": "split", "proc": "A", "start": 0, "npages": 1, "how": "direct"},
        {
            "ret": "-EBUSY",
            "ev": {"thp_split_page_failed": 1},
            "proc": {"A": {"R": region(2048, 2048, 2048, "huge", huge("dy"))}},
            "frames": {"F0": PINNED},
        },
    ),
    (
        {"op": "unpin", "proc": "A", "pin": "p"},
        {"proc": {"A": {"R": region(2048, 2048, 2048, "huge", huge("dy"))}}, "frames": {"F0": ALONE}},
    ),
    ({"op": "exit", "proc": "A"}, {"ev": {"nr_anon_transparent_hugepages": -1}, "frames": {"F0": "gone"}}),
]

EMPTY: Record = {"ret": 0, "ev": {}, "proc": {}, "frames": {}}


def rfc_record(count: int = len(STEPS), **changes: Any) -> Record:
    """The first `count` operations of STEPS as a record of its own."""
    ops, after = zip(*STEPS[:count], strict=True)
    afters = [EMPTY | step for step in after]
    record = {"kernel": "4.5.0", "name": "rfc", "about": "", "env": "", "ops": list(ops), "after": afters, "noisy_ops": []}
    fresh: Record = json.loads(json.dumps(record | changes))  # no part of it is shared
    return fresh


def run(tmp_path: Path, *records: Record, kernel: str = "rfc-2014") -> Verified:
    path = tmp_path / "truth.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return verify(path, kernel)


def counts(report: Verified) -> tuple[int, int, int, int]:
    return report.operations, report.agree, report.disagree, report.not_modelled


def test_a_right_record_agrees_in_every_operation(tmp_path: Path) -> None:
    report = run(tmp_path, rfc_record())
    assert report.text() == "9 operations, 9 agree, 0 disagree, 0 not modelled\n"
    assert report.status == 0


def test_a_replay_goes_no_further_than_it_is_asked() -> None:
    """Whoever looks for the first disagreement does not pay for the rest."""
    wrong = rfc_record()
    at(wrong, 1)["rss"] = 4
    outcomes = replay_records([wrong, {}], "rfc-2014")
    assert next(outcome for outcome in outcomes if outcome.differences).number == 1
    with pytest.raises(BadInput, match="ops"):  # only now is the next record looked at
        list(outcomes)


def frames(record: Record, index: int) -> Record:
    shown: Record = record["after"][index]["frames"]["F0"]
    return shown


def at(record: Record, index: int, process: str = "A") -> Record:
    shown: Record = record["after"][index]["proc"][process]["R"]
    return shown


BROKEN: dict[str, tuple[int, Callable[[Record], object], str]] = {
    "return code": (6, lambda r: r["after"][6].update(ret=0), "ret: expected 0, got -EBUSY"),
    "event missed": (1, lambda r: r["after"][1]["ev"].pop("thp_fault_alloc"), "ev.thp_fault_alloc: expected 0, got 1"),
    "event unknown": (1, lambda r: r["after"][1]["ev"].update(thp_new=2), "ev.thp_new: expected 2, got 0"),
    "gauge": (8, lambda r: r["after"][8]["ev"].clear(), "ev.nr_anon_transparent_hugepages: expected 0, got -1"),
    "vmas": (3, lambda r: at(r, 3, "B").update(vmas=3), "B.R.vmas: expected 3, got 2"),
    "rss": (1, lambda r: at(r, 1).update(rss=4), "A.R.rss: expected 4, got 2048"),
    "pss": (3, lambda r: at(r, 3).update(pss=1024), "A.R.pss: expected 1024, got 1026"),
    "left out figure is 0": (1, lambda r: at(r, 1).pop("anonhuge"), "A.R.anonhuge: expected 0, got 2048"),
    "figure that is not 0": (1, lambda r: at(r, 1).update(locked=4), "A.R.locked: expected 4, got 0"),
    "PMD": (1, lambda r: at(r, 1).update(pmd=["table"]), "A.R.pmd: expected table, got huge"),
    "deposited": (2, lambda r: at(r, 2, "B").update(deposited=0), "B.R.deposited: expected 0, got 1"),
    "no mapping": (1, lambda r: at(r, 1).update(runs=[]), "A.R.runs: expected nothing, got [0, 512, present, F0, 0, pmd]"),
    "run": (3, lambda r: at(r, 3, "B")["runs"].pop(), "B.R.runs: expected nothing, got [9, 503, present, F0, 9, pte]"),
    "frame index": (
        3,
        lambda r: at(r, 3, "B")["runs"][1].__setitem__(4, 10),
        "B.R.runs: expected [9, 503, present, F0, 10, pte], got [9, 503, present, F0, 9, pte]",
    ),
    "bits of entries": (2, lambda r: at(r, 2)["runs"][0].__setitem__(6, "wdy"), "A.R.flags: expected [0, 512, wdy], got [0, 512, dy]"),
    "process": (4, lambda r: r["after"][4]["proc"].clear(), "A.R: expected no such region, got a region"),
    "frame kept": (8, lambda r: r["after"][8]["frames"].update(F0=ALONE), "F0: expected kept, got gone"),
    "head": (1, lambda r: frames(r, 1).update(head=0), "F0.head: expected 0, got 1"),
    "reference count": (5, lambda r: frames(r, 5).update(ref=1), "F0.ref: expected 1, got 2"),
    "head _mapcount": (2, lambda r: frames(r, 2)["sub"][0].__setitem__(4, 0), "F0._mapcount: expected [0, 1, 0], got [0, 1, 1]"),
    "tail _mapcount": (3, lambda r: frames(r, 3)["sub"][2].__setitem__(4, 0), "F0._mapcount: expected [8, 1, 0], got [8, 1, -1]"),
    "tail _refcount": (3, lambda r: frames(r, 3)["sub"][1].__setitem__(3, 7), "F0._refcount: expected [1, 7, 7], got [1, 7, 0]"),
    "page kind": (1, lambda r: frames(r, 1)["sub"][1].__setitem__(2, "gone"), "F0.kind: expected [1, 511, gone], got [1, 511, tail]"),
    "kpagecount": (3, lambda r: frames(r, 3)["kpc"][0].__setitem__(2, 1), "F0.kpagecount: expected [0, 1, 1], got [0, 1, 2]"),
    "3.16: tail pins": (1, lambda r: frames(r, 1).update(tail_pins=1), "F0.tail_pins: expected 1, got 0"),
    "3.16: raw head": (2, lambda r: frames(r, 2).update(head_mapcount_raw=0), "F0.head_mapcount_raw: expected 0, got 1"),
}


@pytest.mark.parametrize("field", BROKEN)
def test_a_wrong_expectation_is_one_line_that_names_it(field: str, tmp_path: Path) -> None:
    index, breaks, line = BROKEN[field]
    record = rfc_record()
    breaks(record)
    report = run(tmp_path, record)
    lines = report.text().splitlines()
    assert any(shown.startswith(f"rfc {index} {record['ops'][index]['op']}(") and shown.endswith(f": {line}") for shown in lines), lines
    assert lines[-1] == "9 operations, 8 agree, 1 disagree, 0 not modelled"
    assert {d.number for d in report.disagreements} == {index} and report.status == 1


def test_a_pinned_frame_outlives_its_mapping_and_a_record_that_says_gone_is_wrong(tmp_path: Path) -> None:
    record = rfc_record(2)
    record["ops"] += [STEPS[5][0], {"op": "munmap", "proc": "A", "start": 0, "npages": 512}]
    unmapped = {"ev": {"nr_anon_transparent_hugepages": -1}, "proc": {"A": {"R": region(0, 0, 0, "none", [], 0, 0)}}}
    pinned = EMPTY | {"proc": record["after"][1]["proc"], "frames": {"F0": PINNED}}
    record["after"] += [pinned, EMPTY | unmapped | {"frames": {"F0": thp(1, -1, [[1, 511, -1]])}}]
    assert counts(run(tmp_path, record)) == (4, 4, 0, 0)
    record["after"][3]["frames"]["F0"] = "gone"
    report = run(tmp_path, record)
    assert [d.difference for d in report.disagreements] == [("F0", "gone", "kept")] and counts(report) == (4, 3, 1, 0)


def test_of_a_noisy_operation_only_the_counts_of_the_system_are_left_aside(tmp_path: Path) -> None:
    record = rfc_record(noisy_ops=[1, 5])
    record["after"][1]["ev"] = {"thp_fault_alloc": 9}
    assert run(tmp_path, record).disagree == 0
    frames(record, 5)["ref"] = 9
    assert [d.difference.field for d in run(tmp_path, record).disagreements] == ["F0.ref"]


def test_fields_in_the_table_are_left_out_and_only_those(tmp_path: Path) -> None:
    record = rfc_record()
    for name in LEFT_OUT:
        where, _, field = name.partition(".")
        if where == "frames":
            frames(record, 1)[field] = 77
        elif where == "ev":
            record["after"][1]["ev"][field] = 77
    record["after"][1]["ret"] = {"full_scans": ">=3"}
    assert run(tmp_path, record).text() == "9 operations, 9 agree, 0 disagree, 0 not modelled\n"


def test_the_documents_show_the_table_of_what_is_left_out() -> None:
    text = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("| `")] == [f"| `{name}` | {why} |" for name, why in LEFT_OUT.items()]


def test_runs_are_compared_page_by_page_however_they_are_cut(tmp_path: Path) -> None:
    record = rfc_record(4)
    at(record, 1)["runs"] = [[0, 5, "present", "F0", 0, "pmd", "wdy"], [5, 507, "present", "F0", 5, "pmd", "wdy"]]
    frames(record, 3)["kpc"] = [[0, 1, 2], [1, 3, 1], [4, 4, 1], [8, 1, 0], [9, 503, 1]]
    assert counts(run(tmp_path, record)) == (4, 4, 0, 0)
    at(record, 1)["runs"][1][6] = "wy"
    frames(record, 3)["kpc"][2:] = [[4, 8, 1], [12, 500, 3]]
    found = {d.difference for d in run(tmp_path, record).disagreements}
    assert found == {("A.R.flags", "[5, 507, wy]", "[5, 507, wdy]"), ("F0.kpagecount", "[8, 1, 1] [12, 500, 3]", "[8, 1, 0] [12, 500, 1]")}


# --- not modelled ---------------------------------------------------------------------------------------------------------


def test_what_is_not_built_ends_the_scenario_there(tmp_path: Path) -> None:
    record = rfc_record()
    record["ops"][3] = {"op": "sys", "path": "/proc/sys/vm/swappiness", "value": "1"}
    report = run(tmp_path, record, rfc_record(5))
    assert counts(report) == (14, 8, 0, 6)
    assert "not modelled: 6 operations: sys: path '/proc/sys/vm/swappiness' is not built\n" in report.text()
    assert report.status == 0


def test_a_scenario_with_swap_has_its_device_and_what_follows_a_dead_recorder_is_not_modelled(tmp_path: Path) -> None:
    dead = rfc_record(5)
    dead["after"][4]["ret"] = "process is dead"
    report = run(tmp_path, rfc_record(env="swap"), dead)
    assert counts(report) == (14, 13, 0, 1)
    assert report.reasons == {"the recorder's process is dead from here on": 1}


def test_where_the_machine_refuses_what_the_kernel_did_it_disagrees_and_stops(tmp_path: Path) -> None:
    record = rfc_record()
    record["ops"][4] = {"op": "exit", "proc": "C"}
    report = run(tmp_path, record)
    assert counts(report) == (9, 4, 1, 4)
    assert "rfc 4 exit(C): ret: expected 0, got refused: proc 'C' is not a living process" in report.text()


def test_a_recorder_that_refuses_to_split_a_small_page_is_right(tmp_path: Path) -> None:
    record = rfc_record(1)
    record["ops"].append({"op": "split", "proc": "A", "start": 0, "npages": 1, "how": "direct"})
    record["after"].append(record["after"][0] | {"ret": "-ENXIO"})
    assert counts(run(tmp_path, record)) == (2, 2, 0, 0)


# --- the kernel, and what only some kernels show ----------------------------------------------------------------------------


class _Raw(Rfc):
    """The RFC with a raw field and a flag to show."""

    def raw_fields(self, head: Mapping[str, int], queued: bool) -> dict[str, int]:
        return {"compound_mapcount_raw": head["mapcount"], "partially_mapped": int(queued), "maybe_shared": 0}


def raw_record(cmc: int, flags: str) -> Record:
    record = rfc_record(2)
    frames(record, 1)["compound_mapcount_raw"] = cmc
    frames(record, 1)["sub"][0][5] = flags
    return record


def test_a_field_that_the_scheme_does_not_show_is_reported_as_not_compared(tmp_path: Path) -> None:
    report = run(tmp_path, raw_record(5, "x"))
    assert counts(report) == (2, 2, 0, 0)
    assert report.skipped == {"frames.compound_mapcount_raw": 1, "frames.anon_exclusive": 1}
    assert "not compared: frames.compound_mapcount_raw, 1 times: this kernel does not show it\n" in report.text()


def test_what_the_scheme_shows_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kernels.KERNELS, "v0.1", RFC_2014.but({"cow.anon_exclusive": True}, scheme=_Raw()))
    named = raw_record(0, "xalb") | {"kernel": "0.1.7-test"}
    report = run(tmp_path, named, kernel="")
    assert counts(report) == (2, 2, 0, 0) and not report.skipped
    report = run(tmp_path, raw_record(1, "alb"), kernel="v0.1")
    assert [d.difference.field for d in report.disagreements] == ["F0.compound_mapcount_raw", "F0.anon_exclusive"]
    assert counts(report) == (2, 1, 1, 0)


@pytest.mark.parametrize("ret", ["-EFAULT", "killed by SIGSEGV"])
def test_a_recorder_may_die_of_what_it_touches(tmp_path: Path, ret: str) -> None:
    """Or tell of it; in both cases that is what the machine's -EFAULT means, and the process is there afterwards or is not."""
    record = rfc_record(1)
    record["ops"].append({"op": "write", "proc": "A", "start": 512, "npages": 1})
    record["after"].append(record["after"][0] | {"ret": ret} | ({} if ret == "-EFAULT" else {"proc": {}}))
    assert counts(run(tmp_path, record)) == (2, 2, 0, 0)
    record["after"][1]["proc"] = {} if ret == "-EFAULT" else record["after"][0]["proc"]
    assert counts(run(tmp_path, record)) == (2, 1, 1, 0)


def live_record() -> Record:
    """Part B: as /proc shows a fault under the RFC, whose kpagecount of a tail leaves PMDs out."""
    figures = {"vmas": 1, "rss": 2048, "pss": 2048, "anonhuge": 2048, "swap": 0, "lazyfree": 0, "ksm": 0}
    runs = [[0, 1, "present", "F0", 0, 1, "head", "pmd", 1], [1, 511, "present", "F0", 1, 0, "tail", "pmd", 1]]
    none = dict.fromkeys(figures, 0) | {"vmas": 1, "runs": []}
    after = [
        EMPTY | {"sz": {}, "proc": {"A": {"R": none}}},
        {
            "ret": 0,
            "ev": {"thp_fault_alloc": 1},
            "sz": {"anon_fault_alloc": 1, "nr_anon": 1},
            "proc": {"A": {"R": figures | {"runs": runs}}},
            "frames": {"F0": [[0, 1, "head", 1], [1, 511, "tail", 0]]},
        },
    ]
    return rfc_record(2, kernel="6.18.44", env="noswap", reps=3, agree=3, after=after)


BROKEN_LIVE: dict[str, tuple[Callable[[Record], object], str]] = {
    "sz": (lambda r: r["after"][1]["sz"].pop("nr_anon"), "sz.nr_anon: expected 0, got 1"),
    "mapcount": (lambda r: at(r, 1)["runs"][1].__setitem__(5, 1), "A.R.mapcount: expected [1, 511, 1], got [1, 511, 0]"),
    "kind": (lambda r: at(r, 1)["runs"][0].__setitem__(6, "small"), "A.R.kind: expected [0, 1, small], got [0, 1, head]"),
    "frame mapcount": (
        lambda r: r["after"][1]["frames"]["F0"][0].__setitem__(3, 2),
        "F0.mapcount: expected [0, 1, 2], got [0, 1, 1]",
    ),
    "frame kind": (
        lambda r: r["after"][1]["frames"]["F0"][0].__setitem__(2, "small"),
        "F0.kind: expected [0, 1, small], got [0, 1, head]",
    ),
}


def test_a_live_record_is_compared_in_its_own_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = run(tmp_path, live_record())
    assert counts(report) == (2, 2, 0, 0) and not report.skipped
    monkeypatch.setitem(kernels.KERNELS, "v0.1", RFC_2014.but({"cow.anon_exclusive": True}, scheme=_Raw()))
    record = live_record()
    at(record, 1)["runs"][0][8] = 0
    report = run(tmp_path, record, kernel="v0.1")
    assert [d.difference for d in report.disagreements] == [("A.R.excl", "[0, 1, 0]", "[0, 1, 1]")]


@pytest.mark.parametrize("field", BROKEN_LIVE)
def test_a_wrong_expectation_in_a_live_record_is_reported(field: str, tmp_path: Path) -> None:
    breaks, line = BROKEN_LIVE[field]
    record = live_record()
    breaks(record)
    report = run(tmp_path, record)
    assert f"rfc 1 write(A, page 0): {line}\n" in report.text() and counts(report) == (2, 1, 1, 0)


def test_a_new_huge_page_where_one_was_freed_is_another_one(tmp_path: Path) -> None:
    """Recordings label by physical address; where a kernel puts a page is no difference."""
    record = rfc_record(2)
    record["ops"] += [
        {"op": "munmap", "proc": "A", "start": 0, "npages": 512},
        STEPS[0][0] | {"region": "S"},
        STEPS[1][0] | {"region": "S"},
    ]
    nothing, full = region(0, 0, 0, "none", [], 0, 0), region(2048, 2048, 2048, "huge", huge("wdy"))
    empty = {"proc": {"A": {"R": nothing, "S": nothing | {"vmas": 1}}}, "frames": {"F0": "gone"}}
    record["after"] += [
        EMPTY | {"ev": {"nr_anon_transparent_hugepages": -1}, "proc": {"A": {"R": nothing}}, "frames": {"F0": "gone"}},
        EMPTY | empty,
        EMPTY | record["after"][1] | {"proc": {"A": {"R": nothing | {"deposited": 1}, "S": full}}},
    ]
    assert run(tmp_path, record).text() == "5 operations, 5 agree, 0 disagree, 0 not modelled\n"


# --- the command ------------------------------------------------------------------------------------------------------------


def test_the_exit_status_is_0_only_if_nothing_disagrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text(json.dumps(rfc_record(3)) + "\n")
    assert cli.main(["verify", str(path), "--kernel", "rfc-2014"]) == 0
    assert capsys.readouterr().out == "3 operations, 3 agree, 0 disagree, 0 not modelled\n"
    assert cli.main(["verify", str(path), "--kernel", "rfc-2014", "--mutant", "forgets_write_protection"]) == 1
    assert "rfc 2 fork(A, B): A.R.flags: expected [0, 512, dy], got [0, 512, wdy]\n" in capsys.readouterr().out
    record = rfc_record(3)
    record["after"][2]["ret"] = "-EAGAIN"
    path.write_text(json.dumps(record))
    assert cli.main(["verify", str(path), "--kernel", "rfc-2014"]) == 1
    assert capsys.readouterr().out == (
        "rfc 2 fork(A, B): ret: expected -EAGAIN, got 0\n3 operations, 2 agree, 1 disagree, 0 not modelled\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no record"),
        ("{}\n", "line 1: the value lacks after, kernel, noisy_ops, ops"),
        ("\nnot json\n", "line 2 is not JSON"),
        (json.dumps(rfc_record(1) | {"kernel": "0.0.1"}), "'v0.0' is unknown"),
        (json.dumps(rfc_record(1) | {"kernel": "new"}), "kernel is 'new'"),
        (json.dumps(rfc_record(1) | {"ops": [{"op": "fly"}]}), "fly"),
    ],
)
def test_what_is_no_truth_file_is_bad_input(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        verify(path)
    assert cli.main(["verify", str(path)]) == 2
    assert message in capsys.readouterr().err
    assert cli.main(["verify", str(tmp_path / "missing.jsonl")]) == 2


# --- a real recording -------------------------------------------------------------------------------------------------------

BASIC = {"mmap", "write", "read", "fill", "fork", "exit", "mprotect", "munmap", "pin", "unpin", "split"}


def test_against_linux_4_5_the_rfc_differs_only_where_the_two_designs_do(tmp_path: Path) -> None:
    """Its own _mapcount; PTEs that stay dirty at a PMD split and young at a page split; a huge zero page that counts in Rss."""
    records = [json.loads(line) for line in (TRUTH / "linux-4.5.jsonl").read_text().splitlines()]
    basic = [r for r in records if not r["env"] and all(o["op"] in BASIC and o.get("how") not in ("io_uring", "debugfs") for o in r["ops"])]
    report = run(tmp_path, *basic)
    assert report.agree > 50
    for disagreement in report.disagreements:
        field, expected, got = disagreement.difference
        kind = field.rsplit(".", 1)[1]
        if kind == "flags":
            assert expected == got.replace("n", "").replace("d", "") or expected == got.replace("y", ""), disagreement.line
        elif kind in ("rss", "pss", "anonhuge"):
            assert (expected, got) == ("0", "2048"), disagreement.line
        else:
            assert kind in ("_mapcount", "kpagecount"), disagreement.line
