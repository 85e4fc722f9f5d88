"""The live lab where it cannot run, or where the kernel is busy with other things: what is shown instead, what counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from thplab import cli
from thplab.scenario import Scenario
from thplab.study.live import command, nearest, support, unable
from thplab.study.live.recording import LiveRuns

KERNEL, OWN = nearest(support.release())


# --- where it cannot run ------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Files of a machine that can do it."""
    thp = tmp_path / "sys/kernel/mm/transparent_hugepage"
    (thp / "hugepages-2048kB").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (thp / "enabled").write_text("always [madvise] never\n")
    (thp / "hugepages-2048kB/enabled").write_text("always [inherit] madvise never\n")
    for name, text in (("vmstat", "thp_fault_alloc 7"), ("self/smaps", "AnonHugePages: 0 kB"), ("self/maps", ""), ("self/pagemap", "")):
        (tmp_path / "proc" / name).write_text(text)
    (tmp_path / "proc/self/status").write_text("Name:\tpython\nTHP_enabled:\t1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]", "transparent_hugepage/enabled says never"),
        ("sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled", "[never]", "hugepages-2048kB/enabled says never"),
        ("proc/self/status", "THP_enabled:\t0\n", "PR_SET_THP_DISABLE"),
        ("proc/vmstat", "nr_free_pages 1", "shows no thp_fault_alloc"),
        ("proc/self/pagemap", None, "/proc/self/pagemap cannot be read (No such file or directory)"),
        ("proc/self/smaps", None, "/proc/self/smaps cannot be read (No such file or directory)"),
    ],
)
def test_where_it_cannot_run_the_reason_is_named(name: str, text: str | None, reason: str, machine: Path) -> None:
    assert unable(machine, "linux", "x86_64") == ""
    if text is None:
        (machine / name).unlink()
    else:
        (machine / name).write_text(text)
    assert reason in unable(machine, "linux", "x86_64")


def test_other_systems_and_processors_are_named() -> None:
    assert unable(system="darwin") == "this is darwin, not Linux"
    assert "riscv64" in unable(system="linux", machine="riscv64")


def test_where_it_cannot_run_a_recording_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "unable", lambda: "this is darwin, not Linux")
    assert cli.main(["live", "cow"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("no live run here: this is darwin, not Linux\nLinux 6.18.44, recorded; simulator v6.18\n")
    assert "7 of 7 operations agree" in out
    assert cli.main(["live", "mmap A; write A 3"]) == 2
    assert "no live one is possible: this is darwin, not Linux" in capsys.readouterr().err


def test_the_nearest_kernel_is_the_last_before_it() -> None:
    assert [nearest(release) for release in ("6.18.44", "6.14.3", "7.1", "4.5.0")] == [
        ("v6.18", True), ("v6.12", False), ("v6.18", False), ("v4.5", True),
    ]  # fmt: skip


@pytest.mark.skipif(bool(unable()), reason=f"no live run on this machine: {unable()}")
def test_a_kernel_without_a_record_gives_findings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "nearest", lambda release: ("v4.5", False))
    assert cli.main(["verify", "--live"]) == 0
    out = capsys.readouterr().out
    assert "finding: cow " in out and "v4.5 is the nearest, and differences are findings" in out


# --- noise --------------------------------------------------------------------------------------------------------------


def seen(*events: int) -> list[dict[str, Any]]:
    """A run of as many operations, in each of which an event was counted so often."""
    return [{"ret": 0, "ev": {"thp_split_pmd": count} if count else {}, "proc": {}, "frames": {}} for count in events]


def test_the_most_frequent_outcome_of_each_operation_counts() -> None:
    runs = LiveRuns(Scenario.parse("mmap A; write A 0; exit A"), ())
    for run in (seen(0, 1, 5), seen(9, 1, 0), seen(0, 7, 0)):
        assert not runs.settled(2)
        runs.add(run)
    assert runs.settled(2) and not runs.settled(3)
    record = runs.record()
    assert [after["ev"] for after in record["after"]] == [{}, {"thp_split_pmd": 1}, {}]
    assert (record["reps"], record["agree"], record["noisy_ops"]) == (3, 2, [])


def test_an_operation_that_never_settles_is_noisy() -> None:
    runs = LiveRuns(Scenario.parse("mmap A; exit A"), ())
    for number in range(12):
        assert not runs.settled(3)
        runs.add(seen(0, number))
    assert runs.settled(3)
    assert runs.record()["noisy_ops"] == [1]
