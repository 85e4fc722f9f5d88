"""The address walker and the ledger in a real Chromium: from the page alone, and in a JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from labserver import CONTRASTS, LONG, Server, ask, assert_told, open_alone, open_and_run, page, write_notebook
from playwright.sync_api import Locator, Page, expect

from thplab.learn.widgets import AddressWalker, Ledger
from thplab.learn.widgets.widget import Widget
from thplab.show.describe import walk

SCENARIO = "mmap A; write A 0; fork A B; mprotect B 1/2thp 1 r; pin A 5 1 dma"
START = 0x7F4000000000
CELLS = [
    f"from thplab.learn.widgets import AddressWalker, Ledger\nwalker = AddressWalker({SCENARIO!r})\nwalker",
    f"ledger = Ledger({SCENARIO!r}, gaps='all')\nledger",
]
HINTS = {"rule": ".thp-rule", "where": ".thp-where"}


@pytest.fixture(scope="module")
def pg() -> Iterator[Page]:
    with page(height=720) as pg:
        yield pg


def alone(pg: Page, folder: Path, widget: Widget, ready: str) -> Locator:
    """The widget from the page alone."""
    open_alone(pg, folder, widget.html())
    found = pg.locator(".thp-widget").and_(pg.locator(f"[{ready}]"))
    found.wait_for()
    return found


def is_at(walker: Locator, address: int) -> None:
    expect(walker).to_have_attribute("data-address", f"{address:#x}")
    expect(walker.get_by_label("Address, hexadecimal or decimal")).to_have_value(f"{address:#x}")


def walk_to(walker: Locator, text: str) -> None:
    walker.get_by_label("Address, hexadecimal or decimal").fill(text)
    walker.get_by_role("button", name="Walk", exact=True).click()


def shows_the_walk(walker: Locator, model: AddressWalker, process: str, address: int) -> None:
    """The entries in the page are those of the tables, and their bits are their bits."""
    stops = walk(model.state, process, address)
    for stop in stops:
        row = walker.locator(f"[data-level={('PTE', 'PMD', 'PUD', 'PGD')[stop.level]}]")
        expect(row.locator(".thp-word")).to_have_text(f"{stop.entry:#018x}")
        expect(row).to_contain_text(f"entry {stop.index}")
        bits = "".join(row.locator(".thp-box code").all_inner_texts())
        assert int(re.sub(r"\s", "", bits), 2) == stop.entry and len(re.sub(r"\s", "", bits)) == 64
    expect(walker.locator(".thp-unreached")).to_have_count(4 - len(stops))


@pytest.mark.browser
def test_the_walker_looks_up_what_the_tables_hold_and_nothing_moves(pg: Page, tmp_path: Path) -> None:
    model = AddressWalker(SCENARIO, process="A")
    walker = alone(pg, tmp_path, model, "data-address")
    expect(walker.locator("summary")).to_be_in_viewport()
    end = walker.locator(".thp-end")
    before = pg.locator("body > p").bounding_box()
    is_at(walker, START)
    shows_the_walk(walker, model, "A", START)
    expect(end).to_contain_text("✓ page A 2 MiB page at pfn 0x200 + 21-bit offset 0x0 = physical address 0x200000")
    walk_to(walker, str(START + 0x3123))
    expect(end).to_contain_text("21-bit offset 0x3123 = physical address 0x203123, in its subpage 3")
    walker.get_by_label("Process").select_option(label="process B")
    shows_the_walk(walker, model, "B", START + 0x3123)
    expect(end).to_contain_text("4 KiB page at pfn 0x203 + 12-bit offset 0x123 = physical address 0x203123")
    options = walker.get_by_label("Jump to").locator("option").all_inner_texts()[1:]
    assert "VMA 2 (r): last byte" in options and "first 4 KiB of a compound page" in options
    for label in options:
        walker.get_by_label("Jump to").select_option(label=label)
        shows_the_walk(walker, model, "B", int(walker.get_attribute("data-address") or "", 16))
    walk_to(walker, "0x1000")
    expect(end).to_contain_text("✗ no page A hole outside all VMAs")
    walk_to(walker, hex(START + 0x100000))
    walker.locator("[data-level=PMD]").click()
    expect(walker.locator(".thp-part.thp-chosen")).to_contain_text("PMD")
    walker.locator(".thp-part-name", has_text="PTE").first.click()
    expect(walker.locator(".thp-entry.thp-chosen")).to_have_attribute("data-level", "PTE")
    walker.locator(".thp-part-name", has_text="offset").click()
    expect(end).to_have_class(re.compile("thp-chosen"))
    assert pg.locator("body > p").bounding_box() == before
    walker.locator("summary").click()
    expect(walker.locator(".thp-text")).to_contain_text("bit 1 RW = 0 (1: writable, 0: a write faults)")


@pytest.mark.browser
def test_the_walker_by_keys_bits_sliders_and_wrong_addresses(pg: Page, tmp_path: Path) -> None:
    walker = alone(pg, tmp_path, AddressWalker(SCENARIO, process="B"), "data-address")
    label = walker.locator("[data-level=PGD] button")
    at = START
    for key, by in (("ArrowRight", 0x1000), ("PageDown", 1 << 21), ("PageUp", -(1 << 21)), ("ArrowLeft", -0x1000)):
        label.press(key)
        at += by
        is_at(walker, at)
    label.press("ArrowDown")  # the unit is a byte now
    label.press("ArrowRight")
    is_at(walker, START + 1)
    for unit, by in (("by PUD (1 GiB)", 1 << 30), ("by huge page (2 MiB)", 1 << 21), ("by byte", 1)):
        walker.get_by_label("Move by").select_option(label=unit)
        walker.get_by_role("button", name="Higher address").click()
        is_at(walker, START + 1 + by)
        walker.get_by_role("button", name="Lower address").click()
        is_at(walker, START + 1)
    walker.get_by_label("PTE index", exact=True).press("ArrowRight")
    is_at(walker, START + 0x1001)
    walker.get_by_label("PTE index", exact=True).fill("256")
    is_at(walker, START + 0x100001)
    bit = walker.get_by_role("button", name=re.compile("^bit 20:"))
    bit.click()
    is_at(walker, START + 1)
    bit.press("ArrowRight")
    expect(walker.get_by_role("button", name=re.compile("^bit 19:"))).to_be_focused()
    pg.keyboard.press("Enter")
    is_at(walker, START + 1 + (1 << 19))
    expect(walker.locator(".thp-bit[tabindex='0']")).to_have_count(1)
    here = START + 1 + (1 << 19)
    says = walker.locator(".thp-says")
    for text, why in (
        ("0x800000000000", "0x800000000000 is not canonical: bits 48 to 63 must repeat bit 47"),
        ("0xffff800000000000", "lies in the kernel's half"),
        ("0x10000000000000000", "has more than 64 bits"),
        ("seven", "Type a number"),
    ):
        walk_to(walker, text)
        expect(says).to_contain_text(why)
        expect(says).to_contain_text("Nothing has changed.")
        expect(walker).to_have_attribute("data-address", f"{here:#x}")
    walker.get_by_role("button", name=re.compile("^bit 47:")).click()
    expect(says).to_contain_text("is not canonical")
    is_at(walker, here)
    walk_to(walker, "0")
    expect(says).to_have_text("")
    walker.get_by_role("button", name="Lower address").click()
    expect(says).to_contain_text("There is nothing below address 0.")


@pytest.mark.browser
def test_the_walker_of_a_toy_has_three_bits_for_a_level(pg: Page, tmp_path: Path) -> None:
    model = AddressWalker(SCENARIO, geometry="TOY", process="B", address=0x504123)
    walker = alone(pg, tmp_path, model, "data-address")
    assert [part.locator(".thp-bit").count() for part in walker.locator(".thp-part").all()] == [3, 3, 3, 3, 12]
    bits = "".join(walker.locator(".thp-bit").all_inner_texts())
    assert int(bits, 2) == 0x504123
    shows_the_walk(walker, model, "B", 0x504123)
    walk_to(walker, "0x1000000")
    expect(walker.locator(".thp-says")).to_contain_text("has more than 24 bits")


def cell(ledger: Locator, name: str) -> Locator:
    return ledger.get_by_label(name, exact=True)


@pytest.mark.browser
def test_the_ledger_checks_hints_and_scores(pg: Page, tmp_path: Path) -> None:
    ledger = alone(pg, tmp_path, Ledger(SCENARIO, gaps="all"), "data-filled")
    expect(ledger.locator("summary")).to_be_in_viewport()
    before = pg.locator("body > p").bounding_box()
    score, panel = ledger.locator(".thp-score"), ledger.locator(".thp-feedback")
    head = cell(ledger, "total of head _count")
    a, b = (cell(ledger, f"amount of {who}, in head _count") for who in ("A, PMD", "B, PTE"))
    count = ledger.locator("[id$='-count'] text", has_text="10")
    expect(count).to_be_hidden()
    expect(score).to_have_text("right the first time: 0 of 9")
    head.fill("10")
    head.press("Enter")
    expect(head.locator("xpath=..")).to_contain_text("✓ right")
    expect(panel).to_contain_text("A (PMD) in head _count")
    expect(a).to_be_focused()
    a.fill("8")
    b.focus()  # leaving a cell checks it
    expect(a.locator("xpath=..")).to_contain_text("✗ wrong")
    a.focus()
    expect(panel).to_contain_text("✗ 8 is wrong")
    expect(panel.locator(HINTS["rule"])).to_contain_text("A PMD is one entry and holds one reference")
    expect(panel.locator(HINTS["where"])).to_have_count(0)
    a.press("Enter")  # the same number again is no other try
    expect(panel.locator(HINTS["where"])).to_have_count(0)
    ledger.get_by_role("button", name="Hint").click()
    expect(panel.locator(HINTS["where"])).to_have_text("Look at entry 0 of A's PMD table.")
    expect(ledger.locator("[id='A-pmd0-r0']")).to_have_class(re.compile("thp-pointed"))
    a.fill("one")
    ledger.get_by_role("button", name="Check").click()
    expect(panel.locator(".thp-hint")).to_contain_text("Type a whole number")
    a.fill("7")
    ledger.get_by_role("button", name="Check").click()
    expect(a).to_have_value("1")
    expect(a.locator("xpath=..")).to_contain_text("● shown")
    expect(panel.locator(".thp-yours")).to_have_text("8")
    expect(panel.locator(".thp-actual")).to_have_text("1")
    expect(panel.locator(".thp-why")).to_contain_text("A: 1 PMD, in head _count")
    a.press("ArrowDown")
    expect(b).to_be_focused()
    b.fill("0x9")
    b.press("Enter")
    b.fill("8")
    b.press("Enter")
    expect(b.locator("xpath=..")).to_contain_text("✓ right")
    expect(score).to_have_text("right the first time: 1 of 9")  # b was wrong before
    pin = cell(ledger, "amount of dma, pin of subpage 5, in head _count")
    expect(pin).to_be_focused()
    for _ in range(3):
        pg.keyboard.press("?")
    expect(pin.locator("xpath=..")).to_contain_text("● shown")
    expect(count).to_be_hidden()
    for name, value in (("head mapcount", "2"), ("tails 1–7 mapcount", "1")):
        cell(ledger, f"total of {name}").fill(value)
        cell(ledger, f"total of {name}").press("Enter")
    for _ in range(3):
        ledger.locator(".thp-amount input:not([readonly])").first.fill("1")
        pg.keyboard.press("Enter")
    expect(ledger).to_have_attribute("data-filled", "9")
    expect(score).to_have_text("right the first time: 6 of 9")
    expect(count).to_be_visible()
    assert pg.locator("body > p").bounding_box() == before
    ledger.locator("summary").click()
    expect(ledger.locator(".thp-text")).to_contain_text("head _count 10 = A: 1 PMD")
    ledger.get_by_role("button", name="Start over").click()
    expect(score).to_have_text("right the first time: 0 of 9")
    expect(count).to_be_hidden()
    expect(ledger.locator(".thp-text")).not_to_contain_text("head _count")
    expect(head).to_be_focused()


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["walker", "ledger", "worked"])
def test_texts_can_be_read_in_light_and_in_dark(pg: Page, tmp_path: Path, kind: str) -> None:
    widget = AddressWalker(SCENARIO) if kind == "walker" else Ledger(SCENARIO, gaps="none" if kind == "worked" else "all")
    shown = alone(pg, tmp_path, widget, "data-address" if kind == "walker" else "data-filled")
    if kind == "walker":
        walk_to(shown, "0x800000000000")
    elif kind == "worked":
        expect(shown.locator("[id$='-count'] text", has_text="10")).to_be_visible()
        expect(shown.locator(".thp-score")).to_have_text("worked")
        shown.get_by_role("button", name="amount of A, PMD, in head _count: 1").click()
        expect(shown.locator(".thp-why")).to_contain_text("A: 1 PMD, in head _count")
        expect(shown.locator(".thp-pointed")).to_have_id("A-pmd0-r0")
        pg.keyboard.press("ArrowDown")
        expect(shown.locator(".thp-why")).to_contain_text("B: 8 PTEs, in head _count")
    else:
        for value in ("10", "5"):
            pg.locator(".thp-amount input:not([readonly])").first.fill(value)
            pg.keyboard.press("Enter")
        pg.locator(".thp-amount input").first.focus()  # one that is right
    for light in ("true", "false"):
        pg.evaluate("light => { document.body.dataset.jpThemeLight = light; }", light)
        found = shown.evaluate(CONTRASTS)
        assert len(found) > 10 and found[0][0] >= 4.5, (light, found[:3])


@pytest.mark.browser
def test_in_jupyterlab_keys_stay_in_the_widgets_and_python_reads_them(pg: Page, server: Server) -> None:
    write_notebook(server.folder / "walker.ipynb", *CELLS, LONG)
    open_and_run(pg, server, "walker.ipynb")
    walker = pg.locator(".thp-walker[data-address]")
    walker.locator("[data-level=PGD] button").click()
    for key in ("ArrowRight", "ArrowDown", "PageDown"):  # JupyterLab would move to another cell
        pg.keyboard.press(key)
    is_at(walker, START + 0x1000 + (1 << 21))
    assert pg.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex") == 0
    assert_told(pg, "print(walker.process, hex(walker.address))", f"A {START + 0x201000:#x}\n")
    ask(pg, f"walker.process, walker.address = 'B', {START + 0x104000}")
    is_at(walker, START + 0x104000)
    expect(walker.get_by_label("Process")).to_have_value("1")
    ledger = pg.locator(".thp-accounts[data-filled]")
    top = cell(ledger, "total of head _count")
    top.scroll_into_view_if_needed()
    top.fill("10")
    for key in ("Enter", "ArrowUp", "ArrowDown"):
        pg.keyboard.press(key)
    pg.keyboard.type("8")
    pg.keyboard.press("Enter")
    expect(ledger.locator(".thp-feedback")).to_contain_text("✗ 8 is wrong")
    assert pg.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex") <= 1
    told = "first, second = ledger.results[:2]; print(ledger.right_first_time, first, second['tries'], second['right'])"
    seen = {"counter": "head _count", "holder": "", "tries": ["10"], "hints": 0, "right": True, "actual": "10"}
    assert_told(pg, told, f"1 {seen} ['8'] False\n")
