"""Lectures: each number on each slide is run again, and a lecture of one's own is read or refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import nbformat
import pytest
from lesson_checks import NOTEBOOKS

from thplab import Setup, record
from thplab.errors import EBUSY, BadInput
from thplab.learn.lectures import LECTURES, Slide, lecture, read
from thplab.learn.lectures.exhibits import AskClass, Live, Tabular, Walk
from thplab.learn.lectures.misconceptions import MISCONCEPTIONS
from thplab.learn.lectures.notes import files
from thplab.show.strip import followed, strip
from thplab.study.explore.pairs import pair_named
from thplab.study.explore.race import Race
from thplab.study.invariants import check_state
from thplab.study.observe import smaps

SLIDE = '[[slides]]\nid = "X1"\ntitle = "A claim"\nminutes = 2\n'
WALK = 'show = [{ walk = "mmap A; write A 0; fork A B", stops = ["o2", "o3"] }]\n'
OWN = 'title = "Mine"\n' + SLIDE + WALK


# --- a lecture of one's own -------------------------------------------------------------------------------------------


def test_a_few_lines_make_a_lecture() -> None:
    own = read(OWN + '[[slides]]\nuse = "05: three attempts"\nminutes = 4\n')
    assert own.check() == []
    assert (own.title, own.minutes, [s.title for s in own.slides]) == ("Mine", 6, ["A claim", "Three attempts"])
    first, second = (slide.exhibits[0] for slide in own.slides)
    assert isinstance(first, Walk) and isinstance(second, Walk)
    trace = first.trace()
    assert [trace[n].op_index for n in first.frames(trace)] == [1, 2]
    attempts = second.trace()
    stops = second.frames(attempts)
    assert attempts[stops[0]].phase == 1 and stops[-1] == len(attempts) - 1 and len(stops) == 7


def test_what_is_not_as_the_slide_says_is_told() -> None:
    def problems(stop: str) -> list[str]:
        return read(OWN.replace('"o3"]', stop + "]")).check()

    assert problems('{ at = "o3", strip = "2 = 2 + 0" }') == []
    assert "'2 = 2 + 0', not '3 = 2 + 1'" in problems('{ at = "o3", strip = "3 = 2 + 1" }')[0]
    assert "the answer is 0, not -EBUSY" in problems('{ at = "o3", result = "-EBUSY" }')[0]
    assert "has risen by 0" in problems('{ at = "o3", events = ["thp_split_pmd +1"] }')[0]
    assert "does not occur" in problems('"o9"')[0]
    assert "not in order" in problems('"o1"')[0]
    split = OWN.replace("fork A B", "split A 0")
    assert read(split).check() == []
    told = read(split.replace('"o3"]', '{ at = "o3", strip = "8 pages: 1 each", events = ["thp_split_page +1"] }]')).check()
    assert "thp_split_pmd rises, and the slide does not say so" in told[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title = 'a'", "slides is missing in a lecture"),
        ("title = ", "lecture is not TOML"),
        ("title = 'a'\nslides = []", "slides are none"),
        (OWN.replace("title = \"A", "titel = \"A"), "slide X1: titel is no field of a slide"),
        (OWN.replace("walk", "wlk"), "slide X1: show 1: its kind is none"),
        (OWN.replace("fork A B", "frok A B"), "slide X1: show 1: line 1, 'frok A B'"),
        (OWN.replace('"o3"', '"p3"'), r"slide X1: show 1: stops\[1\] is 'p3'"),
        (OWN.replace("stops", "kernel = 'v9', stops"), "slide X1: show 1: kernel 'v9'"),
        (OWN.replace("minutes = 2", "minutes = nan"), "slide X1: minutes is nan"),
        (OWN.replace(WALK, ""), "slide X1: show is missing, and there is no card"),
        (OWN + SLIDE + WALK, "slide X1: id is 'X1', as that of a slide before"),
        (OWN + "[slides.card]\nquestion = 'q'\nchoices = ['1', '2']\nright = 'c'", "slide X1: card: right is none of the choices"),
        (OWN + "[slides.card]\nquestion = 'q'\nchoices = ['1', '2']\nright = 'a'\nslips = { b = 'no' }", "slide X1: card: slips hold 'no'"),
        (OWN.replace('id = "X1"', 'use = "05: none"'), "slide 05: none: use: 05: none: show is 'none'"),
    ],
)  # fmt: skip
def test_wrong_toml_is_told_by_slide_and_field(text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        read(text)


# --- the project's own ------------------------------------------------------------------------------------------------

OWN_SLIDES = [(name, slide) for name in LECTURES for slide in lecture(name).slides]
every_lecture = pytest.mark.parametrize("name", LECTURES)
every_slide = pytest.mark.parametrize(("name", "slide"), OWN_SLIDES, ids=[slide.id for _, slide in OWN_SLIDES])


@every_slide
def test_each_number_of_a_slide_is_what_comes_of_it(name: str, slide: Slide) -> None:
    assert slide.check() == []


@every_lecture
def test_a_lecture_takes_as_long_as_it_says(name: str) -> None:
    parts = lecture(name).timing()
    needed = [part for part in parts if part.name != "if there is time"]
    assert needed[-1].sum == lecture(name).minutes
    assert [id for part in parts for id, _ in part.slides] == [slide.id for slide in lecture(name).slides]
    assert lecture(name).audience and len(lecture(name).objectives) >= 3 and lecture(name).prepare


def test_minutes_that_do_not_add_up_are_told() -> None:
    assert "the slides take 2 minutes, not 3" in read(OWN.replace('"Mine"', '"Mine"\nminutes = 3')).check()[0]


def test_ids_are_unique_over_all_lectures() -> None:
    ids = [slide.id for _, slide in OWN_SLIDES]
    assert len(set(ids)) == len(ids)


@every_slide
def test_what_is_shown_is_short_enough_to_be_shown(name: str, slide: Slide) -> None:
    assert 0 < len(slide.title) <= 85 and slide.part
    if slide.card is not None:
        assert len(slide.card.question) <= 140 and slide.card.why
        assert all(len(choice) <= 60 for choice in slide.card.choices)
    for exhibit in slide.exhibits:
        if isinstance(exhibit, Tabular):
            table = json.loads(json.dumps(exhibit.table()))
            assert all(len(row) == len(table["columns"]) for row in table["rows"])
            assert all(len(cell) <= 100 for row in (table["columns"], *table["rows"]) for cell in row)
            assert table["rows"] or table["below"] or slide.exhibits == (Live(""),)
            assert len(table["below"]) <= 140


@every_slide
def test_a_slide_has_its_notes(name: str, slide: Slide) -> None:
    notes = slide.notes
    assert notes.say and notes.late
    assert bool(notes.answer) == bool(notes.ask or slide.card) and bool(notes.wrong) <= bool(notes.answer)
    for text in (*notes.wrong, notes.say, notes.answer):
        assert not re.search(r"\s{2}|!", text), text
    named = {match for text in notes.wrong for match in re.findall(r"\(([^()]+)\)$", text)}
    assert named <= MISCONCEPTIONS.keys()
    if slide.card is not None:
        assert set(slide.card.slips.values()) <= named, "each misconception of the card stands in the notes, too"
        assert notes.answer[0] == slide.card.letter or slide.card.choices[slide.card.right] in notes.answer


def test_each_misconception_is_met_somewhere_and_is_one_or_two_short_sentences() -> None:
    met = {name for _, slide in OWN_SLIDES for text in slide.notes.wrong for name in MISCONCEPTIONS if f"({name})" in text}
    assert met == MISCONCEPTIONS.keys()
    assert all(sentence.endswith(".") and len(sentence) <= 110 for sentence in MISCONCEPTIONS.values())


@every_lecture
def test_the_class_is_asked_at_the_end(name: str) -> None:
    last = lecture(name).slides[-1]
    assert isinstance(last.exhibits[0], Live if name == "your_kernel" else AskClass)


def test_a_lecture_needs_no_widget_until_it_is_shown() -> None:
    code = "import sys; from thplab.learn.lectures import lecture; lecture('letter').timing(); sys.exit('anywidget' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_slide_of_the_house_can_be_used_and_changed() -> None:
    own = read('title = "Mine"\n[[slides]]\nuse = "1.5"\n[[slides]]\nuse = "1.5"\nid = "again"\nminutes = 4\nsay = "Shorter."\n')
    house = lecture("two_splits").find("1.5")
    assert own.slides[0] == replace(house, part="")
    assert own.slides[1] == replace(house, id="again", minutes=4, part="", notes=replace(house.notes, say="Shorter."))
    with pytest.raises(BadInput, match=r"slide 9\.9: use is '9\.9'"):
        read('title = "Mine"\n[[slides]]\nuse = "9.9"\n')


# --- what is said, where no exhibit shows it --------------------------------------------------------------------------


def test_as_posted_what_two_processes_write_is_shared() -> None:
    walk = lecture("letter").find("2.13").exhibits[0]
    assert isinstance(walk, Walk)
    trace = walk.trace()
    broken = check_state(trace[walk.frames(trace)[1]].state)
    assert [violation.invariant for violation in broken] == ["writable_memory_is_private"]
    assert trace[-1].state.contents("B")[1] == trace[-1].state.contents("A")[1] == 0x1_0000_00AA, "its first byte is A's"


def test_a_pin_before_the_comparison_is_noticed_and_after_it_a_page_is_lost() -> None:
    pair = pair_named("naive-split-and-pin")
    results = {}
    for before in (7, 8):
        race = Race(pair, (0,) * before + (1,) * 6)
        for cpu in (0, 1):
            while race.ahead(race.schedule, cpu).state in ("moves", "returns"):
                race.move(cpu)
        results[before] = race.trace.results()[0], bool(race.broken(len(race.trace) - 1, race.trace))
    assert results == {7: (-EBUSY, False), 8: (0, True)}


def test_pss_does_not_move_when_one_mapping_is_split() -> None:
    trace = record("mmap A; fill A 0 1thp; fork A B; mprotect B 1/2thp 1 r", Setup("v6.18", "X86_64"))
    ends = [frame.state for frame in trace if frame.result is not None]
    assert [smaps(state, "A")["Pss"] for state in ends[2:]] == [1024, 1024]


def test_both_by_small_entries_and_whole_is_sixteen() -> None:
    trace = record("mmap A; fill A 0 1thp; fork A B; mprotect A 4 1 r; mprotect B 4 1 r", Setup("v4.5"))
    head = followed(trace)
    assert head is not None and strip(trace[-1].state, head).text == "16 = 16 + 0"


# --- what is written from the lectures --------------------------------------------------------------------------------


def test_pages_and_notebooks_are_what_is_written_from_the_lectures() -> None:
    written = files()
    assert {path.name for path in (NOTEBOOKS / "lectures").iterdir() if path.suffix == ".ipynb"} == {f"{name}.ipynb" for name in LECTURES}
    assert [path for path, text in written.items() if (NOTEBOOKS / path).read_text() != text] == [], "run make lectures"


@every_lecture
def test_a_notebook_has_a_cell_for_each_slide_and_its_notes(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / "lectures" / f"{name}.ipynb", 4)
    nbformat.validate(notebook)
    cells = notebook.cells
    assert cells[1].source == f'from thplab.learn.lectures import lecture\n\ntalk = lecture("{name}")'
    slides = [cell.source for cell in cells[2:] if cell.metadata.slideshow.slide_type == "slide"]
    assert slides == [f'talk.slide("{slide.id}")' for slide in lecture(name).slides]
    notes = [cell.source for cell in cells[2:] if cell.metadata.slideshow.slide_type == "notes"]
    assert all(slide.notes.say in text for slide, text in zip(lecture(name).slides, notes, strict=True))
    assert len({cell.id for cell in cells}) == len(cells)


def test_the_lecture_of_one_s_own_on_the_page_can_be_given() -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", (NOTEBOOKS / "instructor" / "giving_a_lecture.md").read_text(), re.DOTALL)
    own = read(toml)
    assert own.check() == [] and own.minutes == 8.5


def test_links_of_the_pages_lead_somewhere() -> None:
    for page in (NOTEBOOKS / "instructor").glob("*lecture*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).is_file(), (page, target)
