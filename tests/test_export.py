"""An exported notebook is complete in itself: it opens from a file, steps, and asks nobody for anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labserver import page, write_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from playwright.sync_api import Page, expect

from thplab.errors import BadInput
from thplab.learn.export import ExportFailed, export, export_series
from thplab.learn.widgets.payload import payload
from thplab.machine.trace import record
from thplab.scenario import load

PICTURE = "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='20'><rect width='40' height='20' fill='#0072b2'/></svg>"
STORY = "from thplab.learn.widgets import Stepper\nStepper('story')"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook with a picture beside it, a stepper twice and a lecture, run and exported."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "assets").mkdir()
    (folder / "assets" / "a picture.svg").write_text(PICTURE)
    cells = [
        new_markdown_cell("# Title\n\n![a blue box](../assets/a%20picture.svg)"),
        new_markdown_cell("<img src='../assets/a picture.svg' alt='the same'>"),
        STORY,
        STORY,
        "from thplab.learn.widgets import Stepper\nStepper('story', lecture=True)",
        "print(6 * 7)",
    ]
    widgets: dict[str, Any] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    notebook = write_notebook(folder / "notebooks" / "one.ipynb", *cells, widgets=widgets)
    before = notebook.read_bytes()
    output = export(notebook, folder / "one.html")
    assert notebook.read_bytes() == before
    return output


@pytest.fixture
def opened(exported: Path) -> Iterator[tuple[Page, list[str]]]:
    """The page, opened from its file with nothing to be reached, and every request that it makes besides its own file."""
    refused: list[str] = []
    with page(height=720, refused=refused) as pg:
        requests: list[str] = []
        problems: list[str] = []
        pg.context.set_offline(True)
        pg.on("request", lambda request: requests.append(request.url))
        pg.on("pageerror", lambda error: problems.append(str(error)))
        pg.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        pg.goto(exported.as_uri())
        yield pg, requests
        assert requests == [exported.as_uri()] and refused == []
        assert problems == []


def test_the_page_holds_what_the_notebook_shows(exported: Path) -> None:
    text = exported.read_text()
    assert text.count('src="data:image/svg+xml;base64,') == 2
    assert ">42\n" in text and "widget-view+json" not in text and "widget-state+json" not in text
    for name in ("require.js", "mathjax", "jquery", "mermaid", "unpkg", "cdn"):
        assert name not in re.sub(r"packed\": \"[^\"]*", "", text).lower()


@pytest.mark.browser
def test_it_steps_forwards_and_backwards_by_mouse_and_keys_without_a_request_and_a_lecture_fits_a_screen(opened: tuple[Page, list[str]]) -> None:
    pg, _ = opened
    frames = payload(record(load("story")))["frames"]
    shown = [number for number, frame in enumerate(frames) if not frame["plain"]]
    expect(pg.locator(".thp-stepper[data-step]")).to_have_count(3)
    first, second = pg.locator(".thp-stepper").nth(0), pg.locator(".thp-stepper").nth(1)
    seen = set()
    for number in shown[1:6]:
        first.get_by_role("button", name="Next step").click()
        expect(first).to_have_attribute("data-step", str(number))
        seen.add(re.sub(r"<(title|desc).*?</\1>", "", first.locator(".thp-picture").inner_html()))
    assert len(seen) > 2
    first.get_by_role("button", name="Back one step").click()
    expect(first).to_have_attribute("data-step", str(shown[4]))
    for key, place in (("ArrowRight", 5), ("ArrowLeft", 4), ("End", -1), ("ArrowLeft", -2), ("Home", 0)):
        first.locator(".thp-picture").press(key)
        expect(first).to_have_attribute("data-step", str(shown[place]))
    expect(second).to_have_attribute("data-step", "0")
    second.locator(".thp-mark").nth(4).click()
    expect(second).to_have_attribute("data-step", str(next(n for n in shown if frames[n]["phase"] == 4)))
    expect(first).to_have_attribute("data-step", "0")
    names = pg.evaluate("() => [...document.querySelectorAll('.thp-stepper')].map(e => e.id)")
    assert len(set(names)) == len(names) == 3
    assert_a_lecture_fits_a_screen_of_1280_by_720(pg)


def assert_a_lecture_fits_a_screen_of_1280_by_720(pg: Page) -> None:
    lecture = pg.locator(".thp-lecture")
    lecture.scroll_into_view_if_needed()
    for key in ("Home", "PageDown", "ArrowRight", "ArrowRight", "End"):
        lecture.locator(".thp-picture").press(key)
        box = lecture.bounding_box()
        assert box is not None and box["height"] <= 720 and box["width"] <= 1280
        hidden = "e => e.scrollHeight - e.clientHeight"
        assert lecture.locator(".thp-caption").evaluate(hidden) <= 1
        assert lecture.locator(".thp-picture").evaluate("e => [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight]") == [0, 0]
        assert lecture.evaluate("e => e.scrollWidth - e.clientWidth") <= 0


@pytest.mark.browser
def test_the_reader_s_system_chooses_light_or_dark(exported: Path) -> None:
    colours = {}
    with page() as pg:
        for scheme in ("light", "dark"):
            pg.emulate_media(color_scheme=scheme)
            pg.goto(exported.as_uri())
            pg.locator(".thp-stepper[data-step]").first.wait_for()
            colours[scheme] = pg.evaluate(
                "() => [document.body, document.querySelector('.thp-stepper')].map(e => getComputedStyle(e).backgroundColor)"
            )
    assert colours == {"light": ["rgb(255, 255, 255)", "rgb(255, 255, 255)"], "dark": ["rgb(17, 17, 17)", "rgb(20, 23, 28)"]}


@pytest.mark.browser
def test_without_script_the_first_frame_is_there(exported: Path) -> None:
    with page(java_script_enabled=False) as pg:
        pg.goto(exported.as_uri())
        still = pg.locator(".thp-still").first
        expect(still.locator("svg")).to_be_visible()
        expect(still).to_contain_text("the machine before the first step")


# --- what cannot be exported ----------------------------------------------------------------------------------------------


def test_without_running_the_outputs_that_are_there_are_shown(tmp_path: Path) -> None:
    cell = new_code_cell("1 / 0", outputs=[new_output("stream", text="kept")])
    output = export(write_notebook(tmp_path / "old.ipynb", cell), execute=False)
    assert output == tmp_path / "old.html" and "kept" in output.read_text()


def test_a_cell_that_fails_is_named_and_the_page_shows_it(tmp_path: Path) -> None:
    cells = [new_markdown_cell("# Mine"), "print(6 * 7)", "1 / 0", "print(40 + 59)", "undefined"]
    with pytest.raises(ExportFailed, match=r"bad\.ipynb: cell 3 fails \(ZeroDivisionError: division by zero\), and 1 more; everything"):
        export(write_notebook(tmp_path / "bad.ipynb", *cells))
    text = (tmp_path / "bad.html").read_text()
    places = [text.index(part) for part in (">42\n", "division by zero", ">99\n", "NameError")]
    assert places == sorted(places)


def test_a_cell_that_ends_its_kernel_or_takes_too_long_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thplab.learn.export.TIMEOUT", 3)
    for name, source in (("DeadKernelError", "import os; os._exit(1)"), ("CellTimeoutError", "import time; time.sleep(60)")):
        kept = new_code_cell("1 + 1", outputs=[new_output("stream", text="as it was")])
        with pytest.raises(ExportFailed, match=rf"cell 2 fails \({name}: "):
            export(write_notebook(tmp_path / "bad.ipynb", "print(6 * 7)", source, kept))
        text = (tmp_path / "bad.html").read_text()
        assert ">42\n" in text and name in text and "as it was" in text


def test_an_error_that_is_wanted_is_no_failure(tmp_path: Path) -> None:
    wanted = new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})
    assert "ZeroDivisionError" in export(write_notebook(tmp_path / "fine.ipynb", wanted)).read_text()


def test_a_single_page_leads_to_pages_that_are_there_and_names_the_others(tmp_path: Path) -> None:
    text = (
        "[on →](01_b.ipynb) [far](01_b.ipynb#there) [and <b>2</b>](02_c.ipynb) [huge *page*](02_c.ipynb#a) "
        "[gone](03_d.ipynb) [up](../x.ipynb) [mail](https://example.org/x.ipynb)"
    )
    write_notebook(tmp_path / "00_a.ipynb", new_markdown_cell(text))
    write_notebook(tmp_path / "02_c.ipynb", new_markdown_cell("# 2. C & more\n\n## a"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "01_b.html").write_text("there")
    page_text = export(tmp_path / "00_a.ipynb", tmp_path / "out" / "a.html", execute=False).read_text()
    (shown,) = re.findall(r"<p>(<a href=\"01.*?)</p>", page_text)
    assert shown == (
        '<a href="01_b.html">on →</a> <a href="01_b.html#there">far</a> 2. C &amp; more huge <em>page</em> gone up '
        '<a href="https://example.org/x.ipynb">mail</a>'
    )


@pytest.mark.parametrize(
    "text",
    [
        "![gone](gone.svg)",
        "![far](https://example.org/a.png)",
        "<img src='https://example.org/a.png'>",
        "<script src='https://example.org/a.js'></script>",
        "<style>@import 'https://example.org/a.css';</style>",
        "<div style='background: url(https://example.org/a.png)'></div>",
        "<svg><image href='https://example.org/a.png'/></svg>",
        "<img alt='x' srcset='https://example.org/a.png 2x'>",
    ],
)
def test_a_page_that_would_load_something_is_not_written(tmp_path: Path, text: str) -> None:
    with pytest.raises(ExportFailed, match=r"would load (https://example\.org/a|gone\.svg)"):
        export(write_notebook(tmp_path / "far.ipynb", new_markdown_cell(text)), execute=False)
    assert not (tmp_path / "far.html").exists()


@pytest.mark.parametrize("name", ["../secret.png", "{}/secret.png", "link.png", "..%2Fsecret.png", "secret.txt", "x%00.png"])
def test_a_page_takes_along_no_file_from_outside_its_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "secret.txt").write_text("secret")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    cell = new_markdown_cell(f"<img src='{name.format(tmp_path)}'>")
    with pytest.raises(ExportFailed, match=r"would load .*; a picture must be a file in the notebook's folder"):
        export(write_notebook(folder / "far.ipynb", cell), execute=False)
    assert not (folder / "far.html").exists()


def test_links_to_other_pages_are_fine(tmp_path: Path) -> None:
    cell = new_markdown_cell("[the mail](https://lore.kernel.org/x) and `url(https://example.org)` in code")
    assert "https://lore.kernel.org/x" in export(write_notebook(tmp_path / "link.ipynb", cell), execute=False).read_text()


def test_a_notebook_of_an_unknown_kernel_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match=r"strange\.ipynb: .*nowhere"):
        export(write_notebook(tmp_path / "strange.ipynb", "1", kernelspec={"name": "nowhere", "display_name": "x", "language": "python"}))


def test_a_page_in_a_folder_that_is_not_there_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"output_path is .*; expected a file in a folder that exists"):
        export(write_notebook(tmp_path / "bad.ipynb", "1 / 0"), tmp_path / "gone" / "page.html")


@pytest.mark.parametrize("text", [None, "{", "[]", json.dumps({"a": 1})])
def test_what_is_no_notebook_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "no.ipynb").write_text(text)
    with pytest.raises(BadInput, match="notebook_path"):
        export(tmp_path / "no.ipynb")


# --- a series -----------------------------------------------------------------------------------------------------------


def test_a_series_is_a_folder_of_pages_and_an_index_that_asks_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "box.svg").write_text(PICTURE)
    first = "# 0. First\n\n**Time:** 10 minutes.\n\n[1. Second](1.ipynb#Far-down) and [what is elsewhere](https://example.org/1.ipynb)"
    write_notebook(tmp_path / "series" / "0.ipynb", new_markdown_cell(first), new_markdown_cell("![a blue box alone](../assets/box.svg)"))
    write_notebook(tmp_path / "series" / "1.ipynb", new_markdown_cell("# 1. Second\n\n## Far down"), "print(6 * 7)")
    index = export_series(tmp_path / "series", tmp_path / "out" / "html")
    assert sorted(path.name for path in index.parent.iterdir()) == ["0.html", "1.html", "index.html"]
    refused: list[str] = []
    with page(refused=refused) as pg:
        pg.context.set_offline(True)
        pg.goto(index.as_uri())
        expect(pg.get_by_role("heading", name="0. First")).to_be_visible()
        expect(pg.get_by_text("10 minutes.")).to_be_visible()
        assert pg.get_by_alt_text("a blue box alone").evaluate("image => image.naturalWidth") == 40
        pg.get_by_role("link", name="0. First").click()
        pg.get_by_role("link", name="1. Second").click()
        assert pg.url.endswith("/1.html#Far-down")
        expect(pg.get_by_role("heading", name="Far down")).to_be_visible()
        pg.go_back()
        assert pg.get_by_role("link", name="elsewhere").get_attribute("href") == "https://example.org/1.ipynb"
    assert refused == []


def test_a_series_with_a_cell_that_fails_is_written_and_says_so(tmp_path: Path) -> None:
    write_notebook(tmp_path / "series" / "0.ipynb", new_markdown_cell("# Fine"))
    write_notebook(tmp_path / "series" / "1.ipynb", "1 / 0")
    with pytest.raises(ExportFailed, match=r"1\.ipynb: cell 1 fails \(ZeroDivisionError"):
        export_series(tmp_path / "series", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.html", "1.html", "index.html"]


def test_a_series_that_cannot_be_complete_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no notebook"):
        export_series(tmp_path, tmp_path / "out")
    write_notebook(tmp_path / "taken" / "index.ipynb", new_markdown_cell("# Mine"))
    with pytest.raises(BadInput, match=r"holds an index\.ipynb"):
        export_series(tmp_path / "taken", tmp_path / "out")
    write_notebook(tmp_path / "fenced" / "0.ipynb", new_markdown_cell("# In code\n\n`![x](https://example.org/a.png)`"))
    with pytest.raises(ExportFailed, match=r"index\.ipynb: the page would load"):
        export_series(tmp_path / "fenced", tmp_path / "out")
    assert not (tmp_path / "out").exists()


TRIES = (
    "<img src=https://example.org/a.png>",
    "<img src='//example.org/a.png'>",
    "<script>fetch('https://example.org/a')</script>",
    "<script>new Image().src = 'https://example.org/' + document.title</script>",
    "<script>new WebSocket('wss://example.org/a')</script>",
    "<script>navigator.sendBeacon('https://example.org/a', 'x')</script>",
    "<script type='module'>import('https://example.org/a.js')</script>",
    "<script>new EventSource('https://example.org/a')</script>",
    "<style>@\\69mport 'https://example.org/a.css';</style>",
    "<style>p { background: u\\72l(https://example.org/a.png) }</style>",
    "<style>@font-face { font-family: x; src: u\\72l('https://example.org/a.woff') } p { font-family: x }</style>",
    "<iframe srcdoc=\"<img src='https://example.org/a.png'>\"></iframe>",
    "<svg><filter id='f'><feImage href='https://example.org/a.png'/></filter><rect width='9' height='9' filter='url(#f)'/></svg>",
    "<svg><script href='https://example.org/a.js'/></svg>",
    "<link rel=stylesheet href=https://example.org/a.css>",
    "<link rel=prefetch href=https://example.org/a>",
    "<object data=https://example.org/a></object>",
    "<video src=https://example.org/a.mp4 autoplay></video>",
    "<base href=https://example.org/><img src=a.png>",
    "<meta http-equiv=refresh content='0;url=https://example.org/a'>",
    "<form action=https://example.org/a id=f></form><script>document.getElementById('f').submit()</script>",
)


@pytest.mark.browser
def test_no_html_of_a_notebook_makes_a_request(tmp_path: Path) -> None:
    written = []
    for number, text in enumerate(TRIES):
        notebook = write_notebook(tmp_path / f"{number}.ipynb", new_markdown_cell(f"# Try\n\n{text}"))
        try:
            written.append(export(notebook, execute=False))
        except ExportFailed as error:
            assert "would load" in str(error)
    assert len(written) > 5
    refused: list[str] = []
    with page(refused=refused) as pg:
        for path in written:
            pg.context.new_page().goto(path.as_uri(), wait_until="commit")
        pg.wait_for_timeout(1000)
        # A socket is refused here before the page's policy is asked: the driver puts its own in the socket's place.
        assert [url for url in refused if not url.startswith("wss:")] == []
