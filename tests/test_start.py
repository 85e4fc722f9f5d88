"""`thplab start`: a folder of the learner's own, without what is for instructors, brought up to date without losing work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from labserver import write_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from thplab import cli
from thplab.errors import BadInput
from thplab.learn import folders
from thplab.learn.progress import FILE, read
from thplab.learn.start import start

FIRST, SECOND = "notebooks/00_a.ipynb", "notebooks/01_b.ipynb"


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a small series, with all that a learner does not get."""
    package = tmp_path / "package"
    links = "[next](01_b.ipynb#there), [`what` to say](instructor/00_a.md), ![](../assets/a.svg) and [the mail](https://example.org/x)"
    more = "<a href='instructor/00_a.md'>the page</a> [set](exercises/00_a.ipynb) [talk](lectures/t.ipynb) [code](../thplab/cli.py)"
    write_notebook(package / FIRST, new_markdown_cell(f"# A\n\n{links}\n\n{more}"), "1 + 1")
    write_notebook(package / SECOND, new_markdown_cell("# B\n\n## there"), "2 + 2")
    write_notebook(package / "notebooks" / "exercises" / "00_a.ipynb", new_markdown_cell("[back](../00_a.ipynb) [key](../instructor/k.md)"))
    for name in ("instructor/k.ipynb", "lectures/t.ipynb", "exercises/instructor/k.ipynb", ".ipynb_checkpoints/00_a.ipynb"):
        write_notebook(package / "notebooks" / name, "solution = 1")
    (package / "notebooks" / "instructor" / "00_a.md").write_text("solution")
    (package / "assets").mkdir()
    (package / "assets" / "a.svg").write_text("<svg/>")
    monkeypatch.setattr(folders, "_PACKAGE", package)
    return package


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def edit(path: Path, source: str) -> None:
    """Change the last cell of a notebook."""
    notebook = nbformat.read(path, 4)
    notebook.cells[-1].source = source
    nbformat.write(notebook, path)


def test_a_new_folder_has_what_a_learner_needs_and_no_more(series: Path, tmp_path: Path) -> None:
    copied = start(tmp_path / "mine" / "thplab", "Ada")
    mine = tmp_path / "mine" / "thplab"
    assert files(mine) == {FILE, FIRST, SECOND, "notebooks/exercises/00_a.ipynb", "assets/a.svg"}
    assert copied.text().splitlines() == [f"{mine}: 3 notebooks and 1 picture new", f"Open it: thplab lab {mine}"]
    assert read(mine / FILE)["name"] == "Ada"


def test_links_lead_to_what_was_copied_and_else_are_text(series: Path, tmp_path: Path) -> None:
    start(tmp_path / "mine")
    first, *_ = nbformat.read(tmp_path / "mine" / FIRST, 4).cells
    assert first.source == (
        "# A\n\n[next](01_b.ipynb#there), `what` to say, ![](../assets/a.svg) and [the mail](https://example.org/x)\n\n"
        "the page [set](exercises/00_a.ipynb) talk code"
    )
    (exercise,) = nbformat.read(tmp_path / "mine" / "notebooks" / "exercises" / "00_a.ipynb", 4).cells
    assert exercise.source == "[back](../00_a.ipynb) key"
    assert (tmp_path / "mine" / SECOND).read_bytes() == (series / SECOND).read_bytes()


def test_the_series_itself_arrives_whole(tmp_path: Path) -> None:
    start(tmp_path / "mine")
    notebooks = sorted((tmp_path / "mine" / "notebooks").rglob("*.ipynb"))
    assert len(notebooks) >= 11
    for path in notebooks:
        text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
        assert "instructor" not in text
        for target in re.findall(r"\]\(([^()\s]+(?:\(\))?)\)", text):
            name = unquote(target).partition("#")[0]
            assert target.startswith("https://") or not name or (path.parent / name).is_file(), target


def test_learners_are_told_apart(series: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        start(tmp_path / name)
    assert read(tmp_path / "a" / FILE)["learner"] != read(tmp_path / "b" / FILE)["learner"]


def test_again_brings_what_is_new_and_leaves_what_was_changed(series: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    start(mine, "Ada")
    before = read(mine / FILE)
    again = start(mine)
    assert "everything is as it was" in again.text() and read(mine / FILE) == before
    edit(mine / FIRST, "my own work")
    assert start(mine).left == [], "nothing is newer"
    edit(series / FIRST, "newer")
    edit(series / SECOND, "newer")
    write_notebook(series / "notebooks" / "02_c.ipynb", "3")
    (series / "assets" / "a.svg").write_text("<svg>newer</svg>")
    copied = start(mine, "Ada Lovelace")
    assert (copied.brought, copied.refreshed, copied.left) == (["notebooks/02_c.ipynb"], [SECOND, "assets/a.svg"], [FIRST])
    assert f"\n  {FIRST}\n" in copied.text()
    assert "my own work" in (mine / FIRST).read_text() and "newer" in (mine / SECOND).read_text()
    assert (mine / "assets" / "a.svg").read_text() == "<svg>newer</svg>"
    after = read(mine / FILE)
    assert (after["learner"], after["name"]) == (before["learner"], "Ada Lovelace")
    assert start(mine).left == [FIRST], "it is said each time"
    (mine / FIRST).unlink()
    assert start(mine).brought == [FIRST] and start(mine).left == []
    assert "newer" in (mine / FIRST).read_text()


def test_a_notebook_that_was_only_run_is_not_changed(series: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    start(mine)
    notebook = nbformat.read(mine / FIRST, 4)
    notebook.cells[-1] = new_code_cell("1 + 1", execution_count=7, outputs=[new_output("stream", text="2")])
    notebook.metadata["more"] = 1
    nbformat.write(notebook, mine / FIRST)
    edit(series / FIRST, "newer")
    assert start(mine).refreshed == [FIRST] and "newer" in (mine / FIRST).read_text()


def test_a_file_of_the_same_name_that_is_the_learner_s_own_stays(series: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    start(mine)
    (mine / "notebooks" / "02_c.ipynb").write_text("no notebook at all")
    write_notebook(series / "notebooks" / "02_c.ipynb", "3")
    assert start(mine).left == ["notebooks/02_c.ipynb"]
    assert (mine / "notebooks" / "02_c.ipynb").read_text() == "no notebook at all"


def test_what_was_interrupted_goes_on(series: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    start(mine)
    kept = json.loads((mine / FILE).read_text())
    (mine / FILE).write_text(json.dumps(kept | {"copied": {}}))
    (mine / SECOND).unlink()
    copied = start(mine)
    assert (copied.brought, copied.refreshed, copied.left) == ([SECOND], [], [])
    assert read(mine / FILE)["copied"] == kept["copied"]


def test_a_folder_that_holds_something_else_is_refused(series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    for folder in (tmp_path / "other", tmp_path / "other" / "thesis.tex"):
        with pytest.raises(BadInput, match="holds something else; expected a new or empty one"):
            start(folder)
    assert files(tmp_path / "other") == {"thesis.tex"}
    assert cli.main(["start", str(tmp_path / "other")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "empty").mkdir()
    assert cli.main(["start", str(tmp_path / "empty"), "--name", "Ada"]) == 0
    assert "3 notebooks" in capsys.readouterr().out and FIRST in files(tmp_path / "empty")


def test_a_name_has_a_bound(series: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="name is 'xxx"):
        start(tmp_path / "mine", "x" * 201)
    assert not (tmp_path / "mine").exists()


def test_a_spoiled_file_is_named_and_nothing_is_touched(series: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    start(mine)
    (mine / FILE).write_text("{")
    (mine / SECOND).unlink()
    with pytest.raises(BadInput, match=rf"{FILE} is not JSON"):
        start(mine)
    assert (mine / FILE).read_text() == "{" and SECOND not in files(mine)


def test_lab_opens_a_learner_s_folder_and_no_other(series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[str] = []
    monkeypatch.setattr("os.execve", lambda path, command, environment: became.extend(command))
    monkeypatch.setattr("subprocess.call", lambda command, env: 0)
    start(tmp_path / "mine")
    cli.main(["lab", str(tmp_path / "mine"), "--", "--port", "9999"])
    assert f"--ServerApp.root_dir={tmp_path / 'mine'}" in became and became[-2:] == ["--port", "9999"]
    assert "--LabApp.default_url=/lab/tree/notebooks/00_a.ipynb" in became
    assert cli.main(["lab", str(tmp_path)]) == 2
