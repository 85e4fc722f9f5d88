"""The command `thplab`, as its users meet it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest

from thplab import cli
from thplab.errors import BadInput
from thplab.kernel.kernels import KERNELS
from thplab.kernel.mutants import MUTANTS
from thplab.kernel.policies import POLICIES
from thplab.learn import folders
from thplab.machine.trace import Setup, record
from thplab.scenario import builtin, load
from thplab.show.describe import narrate, policy_rows
from thplab.study.explore import PAIRS

ROOT = Path(__file__).parent.parent


def thplab(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-c", "import sys; from thplab.cli import main; sys.exit(main())", *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)


# --- kernels ------------------------------------------------------------------------------------------------------------


def test_kernels_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kernels"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(KERNELS)]] == list(KERNELS)


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_tells_every_policy_its_meaning_and_why(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kernels", name]) == 0
    out = capsys.readouterr().out
    rows = policy_rows(KERNELS[name])
    assert [row.name for row in rows] == list(POLICIES) and json.dumps([row._asdict() for row in rows])
    assert all(row.value and row.meaning and row.why for row in rows)
    told = re.findall(r"^(?:\*| ) (\w+\.\w+): ", out, re.MULTILINE)
    assert told == list(POLICIES), "in this order, each once"
    own = re.findall(r"^\* (\w+\.\w+): ", out, re.MULTILINE)
    assert own == [row.name for row in rows if row.kernel == name] and own


def test_what_a_kernel_inherits_names_whose_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    cli.main(["kernels", "v5.10"])
    out = capsys.readouterr().out
    assert (
        "  split.pmd_keeps_dirty: no\n"
        "    The PTEs that a PMD split makes are dirty if the PMD was; else the page is marked dirty instead.\n"
        "    as v4.5, recorded in tests/truth/linux-4.5.jsonl, scenario mprotect_1_r\n"
    ) in out
    assert "  mm.mprotect_makes_writable: no answer\n" in out and "    as v3.16, moot: no page is marked as exclusive\n" in out


def test_one_policy_in_full_and_how_to_see_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["kernels", "v5.10", "cow.splits_pmd"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("cow.splits_pmd of v5.10: yes\n    A write fault on a shared huge page splits the writer's PMD")
    assert "v5.10's own record says so:\n    recorded in tests/truth/linux-5.10.jsonl, scenario cow_parent_write\n" in out
    assert re.findall(r"^    (\S+) +(yes|no)$", out, re.MULTILINE) == [
        (name, "yes" if kernel.cow.splits_pmd else "no") for name, kernel in KERNELS.items()
    ]
    command = re.search(r"To see it: thplab (.*)", out)
    assert command is not None
    monkeypatch.chdir(ROOT)
    assert cli.main(command[1].split()) == 0
    assert "thp_split_pmd 0 → 1" in capsys.readouterr().out


def test_what_no_kernel_or_policy_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kernels", "v5.10", "cow.split_pmd"]) == 2
    assert "policy 'cow.split_pmd' is unknown; expected one of cow.splits_pmd, cow.zero_splits_pmd" in capsys.readouterr().err
    assert cli.main(["kernels", "v5.10", "cows"]) == 2
    assert "expected GROUP.NAME, the group one of split, migration" in capsys.readouterr().err
    assert cli.main(["kernels", "v5.11"]) == 2 and "'v5.11' is unknown" in capsys.readouterr().err


# --- races --------------------------------------------------------------------------------------------------------------


def test_races_tells_a_pair_and_its_failing_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["races", "blind-pmd-split-and-zap"]) == 0
    out = capsys.readouterr().out
    assert "It loses, as it should be: 374 states, 3,832 schedules of which 280 fail." in out
    assert "CPU 1: madvise(A, pages 0…1, dontneed)" in out and "The simplest such schedule: 0x2 1x7 0x2" in out
    steps = out.split("CPU 1\n")[1].splitlines()
    assert [line.split()[0] for line in steps if line[:3].strip()] == [str(number) for number in range(1, 12)]
    columns = {text: next(line.index(text) for line in steps if text in line) for text in ("PMD cleared", "BUG: no PTE table")}
    assert columns["PMD cleared"] > 40 > columns["BUG: no PTE table"]


def test_races_without_a_name_tells_all_and_fails_if_one_is_not_as_it_should_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: PAIRS[name] for name in ("blind-pmd-split-and-zap", "pmd-split-and-zap")}
    monkeypatch.setattr(cli, "PAIRS", few)
    assert cli.main(["races"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:3] == ["ok", "blind-pmd-split-and-zap", "loses"]
    assert lines[1].split()[:3] == ["ok", "pmd-split-and-zap", "holds"]
    assert lines[2].startswith("2 pairs, 1 that lose and 1 that hold: all as they should be.")
    assert lines[3].startswith("735 states, ")
    for name, pair in few.items():
        monkeypatch.setattr(cli, "PAIRS", {name: replace(pair, loses=not pair.loses)})
        assert cli.main(["races"]) == 1
        assert f"not as they should be: {name}" in capsys.readouterr().out


def test_a_pair_that_does_not_exist_is_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["races", "nobody"]) == 2
    assert f"pair 'nobody' is unknown; expected one of {next(iter(PAIRS))}, " in capsys.readouterr().err


# --- run ----------------------------------------------------------------------------------------------------------------


def test_run_tells_a_built_in_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "story"]) == 0
    assert capsys.readouterr().out == narrate(record(load("story")))


def test_run_takes_a_kernel_a_geometry_a_memory_and_a_mutant(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--kernel", "rfc-2014", "--geometry", "mini", "--memory", "64", "--mutant", "moves_the_head", "--all"]
    assert cli.main(["run", "last_pmd", *words]) == 0
    setup = Setup("rfc-2014", "mini", 64, "moves_the_head")
    assert capsys.readouterr().out == narrate(record(load("last_pmd"), setup), every_step=True)


@pytest.mark.parametrize("name", ["counts_every_pte", "copies_a_small_page"])
def test_a_mutant_runs_on_its_own_kernel_unless_another_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    mutant = MUTANTS[name]
    assert cli.main(["run", mutant.scenario, "--mutant", name]) == 0
    assert f"Kernel {mutant.kernel} with the mutant {name}" in capsys.readouterr().out
    assert cli.main(["run", mutant.scenario, "--mutant", name, "--kernel", "v6.18"]) == 0
    assert f"Kernel v6.18 with the mutant {name}" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["line", "file", "record"])
def test_a_scenario_comes_from_a_line_a_file_or_a_record(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "mmap A; write A 0; exit A"
    (tmp_path / "mine.txt").write_text(line)
    truth = ROOT / "tests" / "truth" / "linux-4.5.jsonl"
    source = {"line": line, "file": str(tmp_path / "mine.txt"), "record": f"{truth}:fault_write_mid"}[form]
    assert cli.main(["run", source, "--geometry", "X86_64"]) == 0
    assert "exit(A) -> 0" in capsys.readouterr().out


def test_list_names_the_built_in_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(builtin())
    assert all(load(name).about in line for name, line in zip(builtin(), lines, strict=True))


def test_a_scenario_that_stops_early_is_told_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "mmap A; write B 0"]) == 1
    out, err = capsys.readouterr()
    assert "mmap(A, 1 THP) -> 0" in out and "STOPPED at 'write B 0'" in out and err == ""


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (["stroy"], "expected story"),
        (["mmap A; wrote A 0"], "expected write"),
        (["story", "--kernel", "v9.9"], "expected one of rfc-2014"),
        (["story", "--geometry", "huge"], "expected one of X86_64, TOY, MINI, TINY"),
        (["story", "--memory", "5"], "expected a multiple of 8 frames"),
        (["story", "--mutant", "x"], "expected one of forgets_the_tails"),
        (["story", "--mutant", "counts_every_pte", "--kernel", "v4.5"], "expected v6.12"),
    ],
)
def test_bad_input_is_one_line_and_exits_with_2(words: list[str], right: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("thplab: ") and right in err and err.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["run"], ["run", "story", "--list"], ["run", "story", "--memory", "much"], ["walk"]])
def test_a_wrong_command_line_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(words)
    assert exit_.value.code == 2 and "usage: thplab" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert exit_.value.code == 0 and capsys.readouterr().out == f"thplab {version('thplab')}\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-c", "from thplab.cli import main; raise SystemExit(main(['run', 'story', '--all']))"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # before the first byte
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_a_terminal_that_knows_only_ascii_gets_readable_text() -> None:
    told = thplab("run", "story", PYTHONIOENCODING="ascii")
    assert told.returncode == 0 and "head _count += 7 [_count 2 ? 9]" in told.stdout


class Terminal(io.StringIO):
    """A standard output that says that it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_numbers_that_changed_are_bold_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert cli.main(["run", "story"]) == 0
    text = terminal.getvalue()
    assert "[_count \033[1m2 → 9\033[0m]" in text
    assert re.sub("\033\\[[01]m", "", text) == narrate(record(load("story")))


# --- lab ----------------------------------------------------------------------------------------------------------------


class Became(Exception):
    """What os.execve was asked to become."""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder without notebooks, in which the command believes to be; os.execve only says what it was asked."""

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        raise Became(command, environment)

    folder = tmp_path / "thplab"
    folder.mkdir()
    monkeypatch.setattr(folders, "_PACKAGE", folder)
    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return folder


def lab(*words: str) -> list[str]:
    with pytest.raises(Became) as became:
        cli.main(["lab", *words])
    command: list[str] = became.value.args[0]
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    return command[3:]


OFFLINE = ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]


def test_lab_serves_the_notebooks_of_a_checkout_on_loopback(package: Path) -> None:
    folder = package.parent / "notebooks"
    folder.mkdir()
    # The folder above is served, so that a notebook can show ../assets.
    assert lab() == [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={folder.parent}",
        "--LabApp.default_url=/lab/tree/notebooks",
        *OFFLINE,
    ]


def test_lab_prefers_the_notebooks_inside_an_installed_package(package: Path) -> None:
    (package.parent / "notebooks").mkdir()
    (package / "notebooks").mkdir()
    assert f"--ServerApp.root_dir={package}" in lab()


@pytest.mark.parametrize(
    ("names", "opened"), [(["00_start.ipynb", "01_more.ipynb"], True), (["00_a.ipynb", "00_b.ipynb"], False), ([], False)]
)
def test_lab_opens_the_first_notebook_if_there_is_one(package: Path, names: list[str], opened: bool) -> None:
    (package / "notebooks").mkdir()
    for name in names:
        (package / "notebooks" / name).touch()
    assert ("--LabApp.default_url=/lab/tree/notebooks/00_start.ipynb" in lab()) == opened


def test_lab_has_jupyterlab_ask_nothing_about_news_and_leaves_its_other_settings(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "notebooks").mkdir()
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/elsewhere")
    with pytest.raises(Became) as became:
        cli.main(["lab"])
    ours, theirs = became.value.args[1]["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert theirs == "/elsewhere"
    (settings,) = Path(ours).rglob("*.json")
    assert settings.relative_to(ours).as_posix() == "labconfig/default_setting_overrides.json"
    assert json.loads(settings.read_text()) == {"@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"}}


def test_lab_passes_on_what_follows_two_dashes(package: Path) -> None:
    (package / "notebooks").mkdir()
    assert lab("--", "--port", "9999", "--", "x")[-4:] == ["--port", "9999", "--", "x"]


def test_lab_allows_root_only_to_root(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "notebooks").mkdir()
    assert "--allow-root" not in lab()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "--allow-root" in lab()


def test_lab_without_notebooks_says_so(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lab"]) == 2
    assert re.fullmatch("thplab: notebooks are neither in .* nor beside it; expected .*\n", capsys.readouterr().err)
    with pytest.raises(BadInput):
        folders.notebook_folder()


def test_lab_really_starts_jupyterlab() -> None:
    told = thplab("lab", "--", "--version")
    assert told.returncode == 0 and told.stdout.strip() == version("jupyterlab")


# --- export -------------------------------------------------------------------------------------------------------------


def test_export_writes_a_page_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(6 * 7)")]), source)
    assert cli.main(["export", str(source), "-o", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")
    assert "42" in (tmp_path / "page.html").read_text()


def test_export_of_what_cannot_be_read_or_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(tmp_path / "none.ipynb")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    source = tmp_path / "broken.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), source)
    assert cli.main(["export", str(source)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"thplab: {source}: cell 1 fails (ZeroDivisionError: division by zero)") and err.count("\n") == 1
    assert "ZeroDivisionError" in source.with_suffix(".html").read_text()
    source.with_suffix(".html").unlink()
    assert cli.main(["export", "--no-execute", str(source)]) == 0
    assert "ZeroDivisionError" not in source.with_suffix(".html").read_text()


def test_races_of_your_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["races", "mmap A; write A 0; fork A B", "--cpu", "split_pmd B 0", "--cpu", "write A 0", "--kernel", "v6.12"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Kernel v6.12, geometry TINY") and "  CPU 1: write(A, page 0)" in out and "\nIt holds: " in out
    blind = ["races", "mmap A; write A 0", "--cpu", "fork A B", "--cpu", "mremap A 0 1 R 1", "--kernel", "v5.10"]
    assert cli.main(blind) == 0


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["mmap A", "--cpu", "write A 0"], "cpu is given 1 times; expected what two or three CPUs do"),
        (["write B 0", "--cpu", "write A 0", "--cpu", "write A 1"], "scenario cannot be carried out: "),
        (["mmap A", "--cpu", "write A 0", "--cpu", "write B 1"], "proc 'B' is not a living process"),
        (["mmap A", "--cpu", "write A 0", "--cpu", ""], "cpu 1 does nothing; expected at least one operation"),
        (["mmap A", "--cpu", "write A 0", "--cpu", "wrote A 1"], "operation 'wrote' is unknown"),
    ],
)
def test_races_of_your_own_say_what_was_wrong(words: list[str], wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["races", *words]) == 2
    assert wrong in capsys.readouterr().err
