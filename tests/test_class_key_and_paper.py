"""What a teacher makes from the solutions: a key, and a sheet with the answers; and what learners get on paper."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from labserver import page
from solutions.model import written
from solved import SOLVED

from thplab import cli
from thplab.learn.classes import key as keys
from thplab.learn.exercises import SETS, exercise
from thplab.learn.exercises.answers import Answers
from thplab.learn.exercises.key import answer_of

NAMES = ("ada", "linus")
WIDTH = 680  # pixels of A4 within the margins


def model(id: str, learner: str) -> str:
    return written(SOLVED[id].answer, exercise(id).variant(learner).values)


@pytest.fixture
def students(tmp_path: Path) -> Path:
    path = tmp_path / "students.csv"
    path.write_text("id,first_name\n" + "".join(f"{name},{name.title()}\n" for name in NAMES))
    return path


def test_a_key_has_the_answers_of_all_students(students: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "thplab-key-00.json"
    assert cli.main(["class", "key", "--set", "00", "--students", str(students), "-o", str(target)]) == 0
    assert "5 model answers for 2 learners" in capsys.readouterr().out
    for name in NAMES:
        for each in SETS[0].exercises:
            assert answer_of(each.id, name, tmp_path) == model(each.id, name)


def test_a_learner_alone_makes_her_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["class", "key", "--set", "00", "--learner", "ada"]) == 0
    monkeypatch.setenv("THPLAB_LEARNER", "ada")
    assert exercise("0.2").solution() is not None


def wrong(tmp_path: Path) -> Iterator[tuple[list[str], str]]:
    """Words of the command line, and what is said."""
    yield ["--learner", "ada", "-o", str(tmp_path / "key.json")], "expected thplab-key*.json, which notebooks look for"
    yield ["--learner", "ada", "-o", str(tmp_path / "no" / "thplab-key.json")], "in a folder that exists"
    yield ["--learner", "ada", "--set", "77"], "set '77' does not exist"
    yield ["--students", str(tmp_path / "none.csv")], "none.csv"
    yield ["--learner", "ada", "--solutions", str(tmp_path)], "solutions"


def test_a_key_that_makes_no_sense_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for words, said in wrong(tmp_path):
        assert cli.main(["class", "key", *words]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr(keys, "checkout_solutions", lambda: None)
    assert cli.main(["class", "key", "--set", "00", "--learner", "ada"]) == 2
    assert "installed from a wheel" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_solves_nothing_gets_into_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    mine = shutil.copytree(Path(__file__).parent / "solutions", tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    story = mine / "story.py"
    story.write_text(story.read_text().replace("str(17 - v[\"count\"]),\n        6,", "str(16 - v[\"count\"]),\n        6,"))
    assert cli.main(["class", "key", "--set", "00", "--learner", "ada", "--solutions", str(mine)]) == 2
    assert "do not solve 0.2 of 'ada'" in capsys.readouterr().err
    assert not (tmp_path / "thplab-key.json").exists()


# --- on paper -----------------------------------------------------------------------------------------------------------


def test_each_student_has_a_sheet_with_her_variants_and_no_answer(students: Path, tmp_path: Path) -> None:
    target = tmp_path / "sheets.html"
    assert cli.main(["class", "paper", "--set", "00", "--students", str(students), "-o", str(target)]) == 0
    text = target.read_text()
    whole = text.split('<section class="sheet">')[1:]
    assert len(whole) == len(NAMES)
    for name, sheet in zip(NAMES, whole, strict=True):
        assert f"<b>{name}</b>" in sheet and "37 minutes" in sheet
        for each in SETS[0].exercises:
            work = each.variant(name).work
            assert html.escape(work.question) in sheet and f"{each.level}, {each.kind}, {each.minutes} minutes" in sheet
            assert html.escape(model(each.id, name)) not in sheet
            if isinstance(work, Answers):
                assert all(f"<th>{html.escape(cell)}</th>" in sheet for cell in work.cells)
        assert sheet.count("<figure") == 3, "the ledger, and two states at the beginning"


def test_what_is_looked_up_in_a_stepper_is_listed_on_paper(tmp_path: Path) -> None:
    assert cli.main(["class", "paper", "--set", "11", "--learner", "ada", "-o", str(tmp_path / "races.html")]) == 0
    lists = re.findall(r'<div class="steps"><p>([^<]*)</p><ol start="1">(.*?)</ol>', (tmp_path / "races.html").read_text())
    assert [title for title, _ in lists][:2] == ["CPU 0 alone: split(A, page 0)", "CPU 1 alone: pin(A, page 1, dma); unpin(dma)"]
    assert lists[1][1].count("<li>") == 14 and lists[1][1].index("interrupts off") < lists[1][1].index("head _count += 1")


def test_the_teacher_has_all_answers_the_rule_and_what_is_said_to_wrong_ones(students: Path, tmp_path: Path) -> None:
    target = tmp_path / "teacher.html"
    words = ["class", "paper", "--set", "00", "--students", str(students), "--teacher", "-o", str(target)]
    assert cli.main(words) == 0
    text = html.unescape(target.read_text())
    for each in SETS[0].exercises:
        assert each.variant(NAMES[0]).work.hints[0] in text and each.myth in text
    assert all(model(id, name) in text for id in ("0.2", "0.3", "0.5") for name in NAMES)
    assert "B: 9" in text or "The PMD's reference serves the first PTE" in text
    assert "a PTE that is unmapped gives one reference back" in text, "said to a likely wrong attempt"


def test_a_sheet_is_no_file_of_another_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("sheet.txt", "no/sheet.html"):
        assert cli.main(["class", "paper", "--set", "00", "--learner", "ada", "-o", str(tmp_path / name)]) == 2
        assert "a file .pdf or .html in a folder that exists" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.browser
def test_a_sheet_fits_its_paper_and_covers_what_is_asked(tmp_path: Path) -> None:
    """Nothing is cut off at the right, no exercise that has room on a page is torn, and the numbers of a ledger cannot be read."""
    assert cli.main(["class", "paper", "--set", "00,05,11", "--learner", "ada", "-o", str(tmp_path / "sheet.html")]) == 0
    with page(WIDTH, 1017) as pg:
        pg.emulate_media(media="print")
        pg.goto((tmp_path / "sheet.html").as_uri())
        assert pg.evaluate("() => document.documentElement.scrollWidth") <= WIDTH
        tall = pg.evaluate("() => [...document.querySelectorAll('.exercise')].filter(e => e.getBoundingClientRect().height > 1017).length")
        assert tall == 0
        seen = pg.evaluate(
            "() => [...document.querySelectorAll('.covered [id$=count] text')].map(e => getComputedStyle(e).visibility)"
        )
        assert seen and {*seen} == {"hidden"}
        assert pg.evaluate("() => getComputedStyle(document.querySelector('figure:not(.covered) [id$=count] text')).visibility") == "visible"
