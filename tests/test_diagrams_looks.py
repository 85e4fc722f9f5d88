"""The pictures: that they are legible and follow their surroundings, and that both layout engines serve."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
from pictures import GEOMETRIES, NS, Picture, after, box_of, last_of, story

from thplab.errors import BadInput
from thplab.machine.trace import record
from thplab.scenario import Scenario, load
from thplab.show.diagrams import DETAILS, FULL, SIMPLE, Cut, Painter, Sheet, svg
from thplab.show.diagrams.cells import PAD, Cell, CellRow, Span, text_width
from thplab.show.diagrams.drawn import Drawn
from thplab.show.diagrams.engine import NoEngine, engine, lay_out
from thplab.show.diagrams.picture import PictureNode
from thplab.show.diagrams.picture import Picture as Said
from thplab.show.diagrams.roles import CLEAR, ROLES, TEXT_ON_GROUND, contrast

# --- looks --------------------------------------------------------------------------------------------------------------------


def test_text_is_legible_in_light_and_in_dark() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21) and contrast("#777777", "#ffffff") == pytest.approx(
        4.48, abs=0.01
    )
    for ink, ground in TEXT_ON_GROUND:
        for theme in ("light", "dark"):
            ratio = contrast(getattr(ROLES[ink], theme), getattr(ROLES[ground], theme))
            assert ratio >= 4.5, (ink, ground, theme, ratio)


def test_the_pictures_use_no_other_pairs_and_no_other_colours() -> None:
    role = {r.light: name for name, r in ROLES.items()}
    assert len(role) == len(ROLES)
    drawn = [picture for detail in DETAILS for picture in (*story("TOY", detail)[1], _marked_picture(detail))]
    drawn += [last_of("mmap A advise=none; read A 0 2; pin A 0 1 x", "pin", detail=detail) for detail in DETAILS]
    for picture in drawn:
        for cell in picture.cells():
            fill = next(cell.iter(f"{NS}rect")).get("fill", "")
            ground = "paper" if fill == CLEAR else role[fill]
            for piece in cell.iter(f"{NS}tspan"):
                assert (role[piece.get("fill", "")], ground) in TEXT_ON_GROUND, cell.get("id")
        colours = {e.get(part) for e in picture.root.iter() for part in ("fill", "stroke")} - {None, "none"}
        assert colours <= role.keys()


MARKS = ["A-pmd0", "page0", "page0-count", "B-pte0-0-r4", "pin-dma", "process-A-title"]


def _marked_picture(detail: str, marks: Sequence[str] = MARKS) -> Picture:
    trace, _ = story("TOY")
    state = trace[after(trace, "pin")].state
    return Picture(Sheet([Painter(Cut.of([state]), detail, marks).paint(state)]).svg())


@pytest.mark.parametrize("detail", DETAILS)
def test_a_mark_points_by_colour_and_by_sign(detail: str) -> None:
    picture = _marked_picture(detail)
    assert picture.says("A-pmd0-head").startswith("▸ PMD table")
    assert picture.says("page0-head").startswith("▸ compound page")
    assert picture.says("B-pte0-0-r4-index") == "▸ 4" and picture.says("page0-count-name") == "▸ head _count"
    assert "▸" not in picture.says("A-pmd0-r0") + picture.says("page0-r1")
    for mark in ("A-pmd7", "page0-flags" if detail == SIMPLE else "page0-nonsense"):
        with pytest.raises(BadInput, match=f"mark '{mark}'"):
            _marked_picture(detail, [mark])


def test_a_picture_follows_its_surroundings_and_stands_alone() -> None:
    picture = story("TOY")[1][60]
    assert "svg.thp:root{--thp-paper:" in picture.text  # a file of its own: the reader's system
    assert "[data-jp-theme-light='false']" in picture.text and ".thp-dark" in picture.text
    for colour in {e.get("fill") for e in picture.root.iter()} - {None, "none"}:
        assert f"[fill='{colour}']{{fill:var(--thp-" in picture.text
    assert all(text not in picture.text for text in ("<?xml", "<!", "<title", "<a "))


@pytest.mark.parametrize("detail", DETAILS)
def test_all_text_fits_its_cell(detail: str) -> None:
    for geometry in GEOMETRIES:
        for picture in story(geometry, detail)[1]:
            for cell in picture.cells():
                box = box_of(cell)
                pieces = [
                    (t.text or "", t.get("font-weight") == "bold", float(t.get("font-size", "0")))
                    for t in cell.iter(f"{NS}tspan")
                ]
                spans = [Span(text, bold=bold, size=size) for text, bold, size in pieces]
                assert box is not None
                assert text_width(spans) <= box[2] - box[0] - 2 * PAD + 1, picture.says(cell.get("id", ""))


def test_text_is_escaped() -> None:
    row = CellRow("x", (Cell("x-text", (Span("<b>&"),)),), "note")
    sheet = Sheet([Said((), (PictureNode("x", (row,)),), {})])
    assert "&lt;b&gt;&amp;" in sheet.svg() and "&lt;b&gt;&amp;" in sheet.dot()
    assert sheet.drawn.cells.keys() == {"x-text"} and Picture(sheet.svg()).says("x") == "<b>&"


# --- engines ------------------------------------------------------------------------------------------------------------------


def test_equal_plans_are_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    module = sys.modules["thplab.show.diagrams.engine"]
    name = "_pygraphviz" if engine() == "pygraphviz" else "_dot"
    real: Callable[[str], str] = getattr(module, name)

    def watched(source: str) -> str:
        seen.append(source)
        return real(source)

    monkeypatch.setattr(module, name, watched)
    lay_out.cache_clear()
    states = [frame.state for frame in record("mmap A; write A 0")]
    sheet, again = Sheet.of(states), Sheet.of(states)
    assert len(seen) == 1 and sheet.drawn is again.drawn
    Sheet.of(states, FULL)
    assert len(seen) == 2


@pytest.mark.parametrize("detail", DETAILS)
def test_pictures_are_always_the_same(detail: str) -> None:
    states = [frame.state for frame in record(load("zero_page"))]
    one = Sheet.of(states, detail)
    lay_out.cache_clear()
    other = Sheet.of(states, detail)
    assert one.page() == other.page() and one.svg() == other.svg() and one.dot() == other.dot()


def test_both_engines_have_the_same_places_and_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygraphviz", reason="pygraphviz is not installed")
    if shutil.which("dot") is None:
        pytest.skip("no dot on PATH")
    trace, _ = story("X86_64")
    for detail in DETAILS:
        sheet = Sheet.of([frame.state for frame in trace], detail)
        drawn: dict[str, Drawn] = {}
        for name in ("pygraphviz", "dot"):
            monkeypatch.setenv("THPLAB_ENGINE", name)
            assert engine() == name
            lay_out.cache_clear()
            drawn[name] = lay_out(sheet.dot(after(trace, "mprotect")))
        one, other = drawn.values()
        assert one.cells.keys() == other.cells.keys() and one.arrows.keys() == other.arrows.keys()
        assert (one.texts, one.nodes) == (other.texts, other.nodes)


def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THPLAB_ENGINE", "neato")
    with pytest.raises(BadInput, match="THPLAB_ENGINE is 'neato'; expected pygraphviz or dot"):
        engine()


def test_a_missing_engine_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["thplab.show.diagrams.engine"]
    lay_out.cache_clear()
    monkeypatch.delenv("THPLAB_ENGINE", raising=False)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NoEngine) as error:
        svg(record("mmap A")[-1].state)
    for way in ("pip install", "apt install", "brew install", "conda install", "choco install"):
        assert way in str(error.value)
    monkeypatch.setenv("THPLAB_ENGINE", "dot")
    with pytest.raises(NoEngine, match="dot is not installed"):
        engine()


def test_a_wheel_that_cannot_be_loaded_leaves_the_work_to_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["thplab.show.diagrams.engine"]
    monkeypatch.delenv("THPLAB_ENGINE", raising=False)
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert engine() == "dot"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NoEngine, match=r"(?s)pygraphviz is, but cannot be loaded: .*apt install graphviz"):
        engine()


@pytest.mark.parametrize("name", ["pygraphviz", "dot"])
def test_a_source_that_cannot_be_read_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THPLAB_ENGINE", name)
    try:
        engine()
    except NoEngine:
        pytest.skip(f"{name} is not installed")
    with pytest.raises(BadInput, match="source cannot be drawn"):
        lay_out("digraph { a -> ")


def test_graphviz_has_nothing_to_complain_about() -> None:
    """A cell that is too small for its text is reported on stderr, by C code."""
    code = """
from thplab import Setup, load, record
from thplab.show.diagrams import DETAILS, Sheet
from thplab.show.diagrams.engine import lay_out
for name in ("story", "pinned_munmap"):
    for detail in DETAILS:
        sheet = Sheet.of([frame.state for frame in record(load(name), Setup(geometry="X86_64"))], detail)
        for number in range(0, len(sheet.pictures), 20):
            lay_out(sheet.dot(number))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if "ontconfig" not in line] == []


def test_a_scenario_without_processes_has_a_picture() -> None:
    assert Picture(svg(record(Scenario())[0].state)).says("nothing") == "no process yet"


def test_a_process_without_tables_has_its_box() -> None:
    picture = Picture(svg(record(load("mmap A"))[-1].state))
    assert picture.says("A-no-tables") == "no table below the PGD"
    assert picture.says("process-A-title") == "A rw"


def test_drawing_says_nothing_about_the_systems_fonts() -> None:
    # The process's own stderr is what a notebook shows under the cell.
    script = "from thplab.show.diagrams.engine import lay_out; lay_out('digraph { a [label=\"x\"] }')"
    drawn = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert drawn.stderr == ""
