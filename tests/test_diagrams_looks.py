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
from thplab.show.diagrams import Cut, page_table_diagram, render, render_trace, svg
from thplab.show.diagrams.cells import PAD, Cell, Span, text_width
from thplab.show.diagrams.engine import NoEngine, engine
from thplab.show.diagrams.roles import ROLES, TEXT_ON_GROUND, contrast

# --- looks --------------------------------------------------------------------------------------------------------------------


def test_text_is_legible_in_light_and_in_dark() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21) and contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    for ink, ground in TEXT_ON_GROUND:
        for theme in ("light", "dark"):
            ratio = contrast(getattr(ROLES[ink], theme), getattr(ROLES[ground], theme))
            assert ratio >= 4.5, (ink, ground, theme, ratio)


def test_the_pictures_use_no_other_pairs_and_no_other_colours() -> None:
    role = {r.light: name for name, r in ROLES.items()}
    assert len(role) == len(ROLES)
    drawn = [*story("TOY")[1], last_of("mmap A advise=none; read A 0 2; pin A 0 1 x", "pin"), _marked_picture()]
    for picture in drawn:
        for cell in (g for g in picture.root.iter(f"{NS}g") if g.get("class") == "cell"):
            ground = role[next(cell.iter(f"{NS}polygon")).get("fill", "")]
            for piece in cell.iter(f"{NS}tspan"):
                assert (role[piece.get("fill", "")], ground) in TEXT_ON_GROUND, cell.get("id")
        colours = {e.get(part) for e in picture.root.iter() for part in ("fill", "stroke")} - {None, "none"}
        assert colours <= role.keys()


def _marked_picture() -> Picture:
    trace, _ = story("TOY")
    number = after(trace, "pin")
    marks = ["A-pmd0", "page0", "page0-r1-count", "B-pte0-0-r4", "pin-dma", "process-A-title", "page0-flags"]
    return Picture(render([page_table_diagram(trace[number].state, mark=marks).source])[0])


def test_a_mark_points_by_colour_and_by_sign() -> None:
    picture = _marked_picture()
    assert picture.says("A-pmd0-head").startswith("▸ PMD table") and picture.says("page0-head").startswith("▸ compound page")
    assert picture.says("B-pte0-0-r4-index") == "▸ 4" and picture.says("page0-r1-count") == "▸ 0"
    assert "▸" not in picture.says("A-pte0-0")
    trace, _ = story("TOY")
    with pytest.raises(BadInput, match="mark 'A-pmd7'"):
        page_table_diagram(trace[-1].state, mark=["A-pmd7"])


def test_a_picture_follows_its_surroundings_and_stands_alone() -> None:
    picture = story("TOY")[1][60]
    assert "svg.thp:root{--thp-paper:" in picture.text  # a file of its own: the reader's system
    assert "[data-jp-theme-light='false']" in picture.text and ".thp-dark" in picture.text
    for colour in {e.get("fill") for e in picture.root.iter()} - {None, "none"}:
        assert f"[fill='{colour}']{{fill:var(--thp-" in picture.text
    assert "<?xml" not in picture.text and "<!" not in picture.text and "<title" not in picture.text and "<a " not in picture.text


def test_all_text_fits_its_cell() -> None:
    for geometry in GEOMETRIES:
        for picture in story(geometry)[1]:
            for cell in (g for g in picture.root.iter(f"{NS}g") if g.get("class") == "cell"):
                box = box_of(cell)
                pieces = [(t.text or "", t.get("font-weight") == "bold", float(t.get("font-size", "0"))) for t in cell.iter(f"{NS}tspan")]
                spans = [Span(text, bold=bold, size=size) for text, bold, size in pieces]
                assert box is not None and text_width(spans) <= box[2] - box[0] - PAD, picture.says(cell.get("id", ""))
                assert all(span.size >= 7.5 for span in spans), picture.says(cell.get("id", ""))
    assert "POINT-SIZE=\"4" in Cell("x", [Span("a" * 40)], 120).html(line=False)


def test_text_is_escaped() -> None:
    assert "&lt;b&gt;&amp;" in Cell("x", [Span("<b>&")], 120).html(line=False)


# --- engines ------------------------------------------------------------------------------------------------------------------


def test_render_lays_equal_sources_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    module = sys.modules["thplab.show.diagrams.engine"]
    name = "_pygraphviz" if engine() == "pygraphviz" else "_dot"
    real: Callable[[Sequence[str]], list[str]] = getattr(module, name)

    def watched(sources: Sequence[str]) -> list[str]:
        seen.extend(sources)
        return real(sources)

    monkeypatch.setattr(module, name, watched)
    one, other = "digraph { a }", "digraph { b }"
    drawn = render([one, other, one])
    assert seen == [one, other] and drawn[0] == drawn[2] != drawn[1]
    assert render([]) == []


def test_rendering_is_deterministic() -> None:
    assert render_trace(record(load("zero_page"))) == render_trace(record(load("zero_page")))


def test_both_engines_draw_the_same_ids_and_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygraphviz", reason="pygraphviz is not installed")
    if shutil.which("dot") is None:
        pytest.skip("no dot on PATH")
    trace, _ = story("X86_64")
    cut = Cut.of([f.state for f in trace])
    numbers = (0, after(trace, "fork"), after(trace, "mprotect"), after(trace, "pin"), after(trace, "split"))
    sources = [page_table_diagram(trace[n].state, trace[max(n - 1, 0)].state, cut).source for n in numbers]
    drawn = {}
    for name in ("pygraphviz", "dot"):
        monkeypatch.setenv("THPLAB_ENGINE", name)
        assert engine() == name
        drawn[name] = [Picture(text) for text in render(sources)]
    for one, other in zip(drawn["pygraphviz"], drawn["dot"], strict=True):
        assert one.groups.keys() == other.groups.keys()
        assert {id: one.says(id) for id in one.groups} == {id: other.says(id) for id in other.groups}


def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THPLAB_ENGINE", "neato")
    with pytest.raises(BadInput, match="THPLAB_ENGINE is 'neato'; expected pygraphviz or dot"):
        engine()


def test_a_missing_engine_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["thplab.show.diagrams.engine"]
    monkeypatch.delenv("THPLAB_ENGINE", raising=False)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NoEngine) as error:
        render(["digraph { a }"])
    for way in ("pip install", "apt install", "brew install", "conda install", "choco install"):
        assert way in str(error.value)
    monkeypatch.setenv("THPLAB_ENGINE", "dot")
    with pytest.raises(NoEngine, match="dot is not installed"):
        engine()


@pytest.mark.parametrize("name", ["pygraphviz", "dot"])
def test_a_source_that_cannot_be_read_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THPLAB_ENGINE", name)
    try:
        engine()
    except NoEngine:
        pytest.skip(f"{name} is not installed")
    with pytest.raises(BadInput, match="source cannot be drawn"):
        render(["digraph { a -> "])


def test_graphviz_has_nothing_to_complain_about() -> None:
    """A cell that is too small for its text is reported on stderr, by C code."""
    code = (
        "from thplab.show.diagrams import render_trace\nfrom thplab.scenario import load\nfrom thplab.machine.trace import Setup, record\n"
        "for name in ('story', 'pinned_munmap'):\n    render_trace(record(load(name), Setup(geometry='X86_64')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if "ontconfig" not in line] == []


def test_a_scenario_without_processes_has_a_picture() -> None:
    assert Picture(svg(record(Scenario())[0].state)).says("nothing") == "no process yet"


def test_a_process_without_tables_has_its_box() -> None:
    picture = Picture(svg(record(load("mmap A"))[-1].state))
    assert picture.says("A-no-tables") == "no table below the PGD"
    assert picture.says("process-A-vmas") == "0x50_0000 + 32 KiB"


def test_drawing_says_nothing_about_the_systems_fonts() -> None:
    # The process's own stderr is what a notebook shows under the cell.
    script = "from thplab.show.diagrams import render; render(['digraph { a [label=\"x\"] }'])"
    drawn = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert drawn.stderr == ""
