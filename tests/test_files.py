"""Files are written whole or not at all, never over what they are made from; the command line ends in one line."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import nbformat
import pytest

from thplab import cli
from thplab.errors import BadInput
from thplab.files import refuse_input, write_file
from thplab.hardware.frames import MOST_FRAMES
from thplab.learn.export import export
from thplab.machine.machine import Machine
from thplab.machine.trace import record
from thplab.scenario import Phase, Scenario
from thplab.scenario import text as text_form
from thplab.scenario.builtin import source_file
from thplab.study.explore import parse_schedule
from thplab.study.live.command import record_all


def test_a_file_is_replaced_whole_and_keeps_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_file(path, "old")
    path.chmod(0o640)
    write_file(path, "new ✓")
    assert path.read_text(encoding="utf-8") == "new ✓" and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_a_link_stays_a_link_and_a_pipe_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_file(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "text"
    write_file(Path("/dev/null"), "text")
    assert not Path("/dev/null").is_file()


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    write_file(path, "old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(BadInput, match="No space left on device"):
        write_file(path, "new")
    assert path.read_text() == "old" and [each.name for each in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(BadInput, match="cannot be written"):
        write_file(tmp_path / "no folder" / "page.html", "new")


def test_nothing_is_written_over_its_own_input(tmp_path: Path) -> None:
    notebook = tmp_path / "page.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A page")]), notebook)
    before = notebook.read_bytes()
    with pytest.raises(BadInput, match="is what is read; expected another file"):
        export(notebook, notebook)
    (tmp_path / "link.html").symlink_to(notebook)
    with pytest.raises(BadInput, match="is what is read"):
        refuse_input(tmp_path / "link.html", [notebook])
    assert notebook.read_bytes() == before


@pytest.mark.parametrize("text", ["0x1000000000", "0x99999 1x2", "0x" + "9" * 5000, "10x1", "0x60000 1x60000"])
def test_a_schedule_has_bounds(text: str) -> None:
    with pytest.raises(BadInput, match="CPUs 0 to 9, and 100,000 steps in all"):
        parse_schedule(text + " 0x1")


@pytest.mark.parametrize("frames", [800_000_000, MOST_FRAMES + 8, 0, -8])
def test_a_machine_has_bounds(frames: int) -> None:
    with pytest.raises(BadInput, match=r"memory is -?\d+ frames; expected a multiple of 8"):
        Machine(geometry="TOY", memory=frames)


@pytest.mark.parametrize(
    ("error", "line", "status"),
    [
        (KeyboardInterrupt(), "thplab: stopped\n", 130),
        (MemoryError(), "thplab: there is not enough memory for this\n", 1),
        (OSError(28, "No space left on device"), "thplab: No space left on device\n", 1),
    ],
)
def test_the_command_line_ends_in_one_line(
    error: BaseException, line: str, status: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> int:
        raise error

    monkeypatch.setattr(cli, "_races", fails)
    monkeypatch.setattr(cli, "_close_stdout", lambda: None)
    assert cli.main(["races"]) == status and capfd.readouterr().err == line


def test_a_recording_is_not_written_over_the_scenario_it_is_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thplab.study.live.command.unable", lambda: "")
    text, records = tmp_path / "cow.txt", tmp_path / "mine.jsonl"
    text.write_text("mmap A; write A 0")
    records.write_text('{"name": "one", "ops": [{"op": "mmap", "proc": "A", "thps": 1}]}\n')
    for source, output in ((str(text), text), (f"{records}:one", records)):
        before = output.read_bytes()
        with pytest.raises(BadInput, match="is what is read"):
            record_all([source], output, print)
        assert output.read_bytes() == before
    assert source_file("cow") is None and source_file("mmap A; " + "write A 0; " * 500) is None


def test_a_text_is_read_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phase is made once, however many operations and lines of its why it has."""
    made: list[Phase] = []

    def phase(*given: Any) -> Phase:
        made.append(Phase(*given))
        return made[-1]

    monkeypatch.setattr(text_form, "Phase", phase)
    parsed = Scenario.parse("phase P\n" + "why because\n" * 300 + "mmap A; " + "write A 0; " * 5000)
    assert len(parsed.ops) == 5001 and parsed.phases[0].why.count("because") == 300
    assert len(made) <= 2


def test_a_text_has_bounds() -> None:
    with pytest.raises(BadInput, match="has 10,000,001 characters"):
        Scenario.parse("#" * (text_form.LONGEST + 1))


@pytest.mark.parametrize("line", ["mmap A {}thp", "write A {}", "write A 0 value={}", "clear_refs A {}", "unpin {}", "{}"])
def test_a_message_stays_short(line: str) -> None:
    with pytest.raises(BadInput) as raised:
        Scenario.parse(line.format("9" * 5000))
    assert len(str(raised.value)) < 1500


def test_a_trace_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thplab.machine.trace.MOST_SEEN", 100_000)
    trace = record("mmap A; " + "write A 0; " * 100)
    assert trace.problem.endswith("scenario takes more than 49 steps; expected less work, or a smaller machine")
    assert not record("mmap A; write A 0").problem
