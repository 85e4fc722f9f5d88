"""What a class takes home from a lecture: nothing of the answers in its copy, letters that can be read on paper, and a PDF of it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from labserver import page
from playwright.sync_api import Page

from thplab import cli
from thplab.errors import BadInput
from thplab.learn.lectures import LECTURES, lecture, read
from thplab.learn.lectures.handout import handout, write_handout
from thplab.learn.printing import NoBrowser

SMALLEST = """() => Math.min(...[...document.querySelectorAll("svg tspan")].filter(e => e.checkVisibility()).map(e => {
    const svg = e.closest("svg");
    return parseFloat(getComputedStyle(e).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width * 72 / 96;
}))"""
WIDTH, HEIGHT = 748, 1077  # pixels of A4 within the margins


@cache
def for_the_class(name: str) -> str:
    return handout(lecture(name))


@pytest.mark.parametrize("name", LECTURES)
def test_the_class_gets_questions_and_no_answers_the_teacher_all(name: str) -> None:
    talk = lecture(name)
    ours, theirs = handout(talk, teacher=True), for_the_class(name)
    for slide in talk.slides:
        assert html.escape(slide.title) in ours and html.escape(slide.title) in theirs
        if slide.card is not None:
            assert html.escape(slide.card.question) in theirs
            assert html.escape(slide.card.why) in ours and html.escape(slide.card.why) not in theirs
        if slide.notes.say:
            assert html.escape(slide.notes.say) in ours and html.escape(slide.notes.say) not in theirs
    assert 'class="right"' in ours and 'class="right"' not in theirs and "✓" not in theirs


def test_the_class_sees_where_a_walk_begins_if_the_end_is_the_answer() -> None:
    sums = [re.findall(r'class="sum">[^:]*: ([^<]*)<', handout(read('title = "t"\n[[slides]]\nuse = "1.5"'), each)) for each in (False, True)]
    assert sums == [["2 = 2 + 0"], ["9 = 9 + 0"]]


@pytest.fixture(scope="module")
def paper() -> Iterator[Page]:
    """A page that shows what is printed."""
    with page(WIDTH, HEIGHT) as pg:
        pg.emulate_media(media="print")
        yield pg


@pytest.mark.browser
@pytest.mark.parametrize("name", LECTURES)
def test_letters_have_nine_points_and_two_slides_find_room_on_a_page(name: str, paper: Page, tmp_path: Path) -> None:
    (tmp_path / "handout.html").write_text(for_the_class(name))
    paper.goto((tmp_path / "handout.html").as_uri())
    assert name == "your_kernel" or paper.evaluate(SMALLEST) >= 9
    heights = paper.evaluate("() => [...document.querySelectorAll('.slide')].map(e => e.getBoundingClientRect().height)")
    assert len(heights) == len(lecture(name).slides)
    assert sum(height > HEIGHT / 2 for height in heights) <= 1, heights  # two pictures on one slide
    assert paper.evaluate("() => document.documentElement.scrollWidth") <= WIDTH


def test_a_pdf_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.toml").write_text('title = "Short"\n[[slides]]\nuse = "1.5"\n[[slides]]\nuse = "1.4"\n')
    target = tmp_path / "out.pdf"
    assert cli.main(["lecture", str(tmp_path / "my.toml"), "--handout", str(target), "--teacher"]) == 0
    assert target.read_bytes().startswith(b"%PDF") and str(target) in capsys.readouterr().out


def test_without_a_browser_or_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = read('title = "Short"\n[[slides]]\nuse = "1.4"')
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(NoBrowser, match=r"write a \.html"):
        write_handout(talk, tmp_path / "out.pdf")
    for wrong in (tmp_path / "out.txt", tmp_path / "no" / "out.pdf"):
        with pytest.raises(BadInput, match="output"):
            write_handout(talk, wrong)
    assert list(tmp_path.iterdir()) == []
    write_handout(talk, tmp_path / "out.html")
    assert (tmp_path / "out.html").read_text().startswith("<!doctype html>")
