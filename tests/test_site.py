"""The site: all that can be read on pages that lead to each other, work from a file and ask nobody for anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from labserver import page
from playwright.sync_api import expect
from website import build as building
from website.build import SiteFailed, assemble, build, notebooks
from website.frame import own_page, policed
from website.links import Places, dead, led
from website.reading import Reading
from website.shared import in_common

from thplab.errors import BadInput
from thplab.kernel.kernels import KERNELS
from thplab.kernel.policies import POLICIES
from thplab.learn.export import export_tree
from thplab.learn.widgets import Stepper
from thplab.study.explore import PAIRS

ROOT = Path(__file__).parent.parent
NOTEBOOKS = [ROOT / "notebooks" / name for name in ("glossary.ipynb", "exercises/00_the_whole_story.ipynb")]


def reference(folder: Path, html: str) -> Path:
    """Stands for the API reference, which takes long to make, and whose links tests/test_reference.py follows."""
    (folder / "reference").mkdir(parents=True)
    (folder / "reference" / "search.js").write_text("")
    page = f'<head><meta charset="utf-8"><title>x</title></head><body><main class="pdoc">{html}</main></body>'
    (folder / "reference" / "thplab.html").write_text(page)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with two notebooks, which were not run."""
    made, folder = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("site") / "new"
    export_tree(ROOT, NOTEBOOKS, made, execute=False)
    built = assemble(reference(made, "<h1>thplab</h1><p id='Machine'></p>"), folder, ())
    assert built.front == folder / "index.html"
    assert built.pages == len(list(folder.rglob("*.html"))) and built.links > 2000
    return folder


def test_every_notebook_has_a_page_but_the_one_about_a_learner_s_own_file() -> None:
    every = {path for path in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts}
    assert set(notebooks()) == every - {ROOT / "notebooks" / "progress.ipynb"}


def test_the_site_has_a_page_for_everything(site: Path) -> None:
    for name in KERNELS:
        assert f"<h1>{name}</h1>" in (site / "kernels" / f"{name}.html").read_text()
    table, races = (site / "kernels/index.html").read_text(), (site / "races.html").read_text()
    assert all(f'<tr id="{policy}">' in table for policy in POLICIES) and all(f'id="{pair}"' in races for pair in PAIRS)
    documents = [path.stem for path in (ROOT / "docs").glob("*.md")]
    assert documents and all((site / "docs" / f"{stem}.html").is_file() for stem in documents)
    assert (site / "notebooks/exercises/00_the_whole_story.html").is_file()
    assert not [path for path in site.rglob("*") if "solution" in path.name]


def test_a_value_of_the_table_leads_to_its_recording(site: Path) -> None:
    (row,) = re.findall(r'<tr id="cow\.huge_asks_mapcount">.*?</tr>', (site / "kernels/index.html").read_text())
    values = dict(re.findall(r'<a href="(\S+)\.html#cow\.huge_asks_mapcount"[^>]*>([^<]+)</a>', row))
    assert (values["v5.10"], values["v6.1"], values["v6.18"]) == ("yes", "no", "no")
    kernel = (site / "kernels/v6.1.html").read_text()
    assert 'href="v6.1.html#recorded-pin_blocks_pmd_reuse"' in kernel and 'id="recorded-pin_blocks_pmd_reuse"' in kernel
    assert re.search(r'<h2 id="differs">What differs from v5\.10</h2>.*#cow\.huge_asks_mapcount.*<h2 id=.policies', kernel, re.S)


def test_no_page_may_ask_another_server(site: Path) -> None:
    for path in site.rglob("*.html"):
        (policy,) = re.findall(r'<meta[^>]*Content-Security-Policy[^>]*content="([^"]*)"', path.read_text())
        allowed = set(policy.replace(";", " ").split())
        assert "default-src 'none'" in policy and not {word for word in allowed if word.startswith(("http", "*"))}, path


@pytest.mark.browser
def test_one_searches_and_reads_without_a_network(site: Path) -> None:
    problems: list[str] = []
    asked: list[str] = []
    with page(width=1366, height=768, color_scheme="dark") as pg:
        pg.context.set_offline(True)
        pg.on("pageerror", lambda error: problems.append(str(error)))
        pg.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        pg.on("request", lambda request: asked.append(request.url))
        pg.goto((site / "index.html").as_uri())
        assert pg.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 17)"
        pg.emulate_media(color_scheme="light")
        assert pg.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        box = pg.get_by_role("searchbox", name="Search the site")
        box.fill("no such words anywhere")
        expect(pg.get_by_text("Nothing has all of these words.")).to_be_visible()
        box.fill("compound page")
        expect(pg.locator(".site-search li a").first).to_contain_text("compound page")
        box.press("Enter")
        pg.wait_for_url("**/notebooks/glossary.html#compound-page")
        expect(pg.get_by_role("heading", name="compound page")).to_be_in_viewport()
        pg.get_by_role("navigation", name="Site").get_by_role("link", name="Kernels").click()
        pg.locator("[id='cow.splits_pmd'] td a").nth(3).click()
        pg.wait_for_url("**/kernels/v5.10.html#cow.splits_pmd")
        expect(pg.locator("dt[id='cow.splits_pmd']")).to_be_in_viewport()
    assert all(url.startswith(site.as_uri()) for url in asked) and problems == []


@pytest.mark.browser
def test_what_pages_share_is_in_files_and_a_stepper_still_steps(tmp_path: Path) -> None:
    made = {f"a/{n}.html": own_page(f"a/{n}.html", "T", f"<h1>T</h1>{Stepper('mmap A; write A 0').html()}") for n in "bc"}
    pages, files = in_common(made)
    assert sum(map(len, pages.values())) < sum(map(len, made.values())) / 3
    assert {name.rpartition(".")[2] for name in files} == {"js", "css"} and all(".." in text for text in pages.values())
    for name, text in (pages | files | {"site.js": "", "site.css": ""}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with page() as pg:
        pg.goto((tmp_path / "a" / "c.html").as_uri())
        stepper = pg.locator(".thp-stepper[data-step]")
        stepper.get_by_role("button", name="Next step").click()
        expect(stepper).not_to_have_attribute("data-step", "0")
        assert stepper.evaluate("e => getComputedStyle(e).borderRadius") == "10px"


def test_what_only_one_page_has_stays_in_it() -> None:
    pages = {name: f"<script>{'x' * 2000}{name}</script>" for name in ("a.html", "b.html")}
    assert in_common(pages) == (pages, {})


# --- links --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "told"),
    [
        ("<a href='gone.html'>x</a>", "a.html leads to gone.html, which is not there"),
        ("<a href='b.html#gone'>x</a>", "a.html leads to b.html#gone, and there is no such place"),
        ("<a href='#gone'>x</a>", "a.html leads to #gone, and there is no such place"),
        ("<img src='gone.png'>", "a.html leads to gone.png, which is not there"),
        ("<a href='../b.html'>x</a>", "a.html leads to ../b.html, which is not there"),
        ("<script src='https://example.org/a.js'></script>", "a.html would load https://example.org/a.js"),
        ("<link href='//example.org/a.css'>", "a.html would load //example.org/a.css"),
    ],
)
def test_a_dead_link_is_named(html: str, told: str) -> None:
    assert dead({"a.html": Reading(html), "b.html": Reading("")}, ["here.png"]) == [told]


def test_a_link_that_leads_somewhere_is_not() -> None:
    links = "<p id='é'><a href='#%C3%A9'>x</a><a href='c/b.html#there'>x</a><a href='https://example.org'>x</a><img src='here.png'>"
    assert dead({"a.html": Reading(links), "c/b.html": Reading("<b id=there>")}, ["here.png"]) == []


def test_links_between_files_become_links_between_pages() -> None:
    pages = {"docs/a.html": "", "docs/KERNEL.html": '<h2 id="4.1-x">4.1 x</h2>', "kernels/index.html": "", "races.html": ""}
    places = Places(pages, ROOT)

    def made(html: str) -> str:
        return led(html, "docs/a.html", places, own=True)

    assert made('<a href="KERNEL.md#4.1-x">rules</a>') == '<a href="KERNEL.html#4.1-x">rules</a>'
    assert made('<a href="../README.md">first</a>') == '<a href="../index.html">first</a>'
    assert made('<a href="../Makefile">no page</a>') == "no page"
    assert made('<a href="../no_such_file.md">wrong</a>') == '<a href="../no_such_file.md">wrong</a>'
    assert made("<code>cow.splits_pmd</code>") == '<a href="../kernels/index.html#cow.splits_pmd"><code>cow.splits_pmd</code></a>'
    assert made('<span class="why">see docs/KERNEL.md 4.1</span>').count('href="KERNEL.html#4.1-x"') == 1
    script = "<script>'<a href=\"../Makefile\">x</a><code>cow.splits_pmd</code>'</script>"
    assert made(script) == script


def test_a_dead_link_keeps_the_site_from_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("documents", "kernels", "races"):
        monkeypatch.setattr(getattr(building, part), "pages", lambda root: {})
    made = reference(tmp_path / "made", '<a href="gone.html">x</a>')
    with pytest.raises(SiteFailed, match=r"reference/thplab\.html leads to gone\.html, which is not there"):
        assemble(made, tmp_path / "out", ())
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BadInput, match="holds something; expected a new or empty folder"):
        build(tmp_path, execute=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_page_is_read_in_sections_and_without_what_nobody_looks_for() -> None:
    reading = Reading(
        "<title>t</title><div data-aside>bar</div><h1 id=a>One <code>two</code><a class='anchor-link' href='#a'>¶</a></h1><p>three"
        "<br>four</p><script>five</script><h2>Six</h2><table><tr data-aside><td>seven</td></tr><tr><td>eight</td></tr></table>"
    )
    assert reading.title == "One two" and reading.ids == {"a"}
    assert [tuple(section) for section in reading.sections] == [("One two", "a", "three four"), ("Six", "", "eight")]


def test_a_policy_of_loading_is_replaced_or_added() -> None:
    for text in ('<head><meta charset="utf-8"/></head>', '<meta content="default-src *" http-equiv="Content-Security-Policy"/>'):
        assert policed(text).count("default-src 'none'") == 1 and "*" not in policed(text)
