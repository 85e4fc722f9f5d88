"""The sandbox in a real JupyterLab and a real Chromium: every control is operated, with the mouse and with keys alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from labserver import CONTRASTS, LONG, Server, open_alone, open_once, page, write_notebook
from playwright.sync_api import Locator, Page, expect

from thplab.kernel.kernels import KERNELS
from thplab.learn.widgets import Sandbox
from thplab.machine.trace import record
from thplab.scenario import VOCABULARY

pytestmark = pytest.mark.browser

SHARED = "mmap A; write A 0; fork A B; split_pmd B 0"
NOTEBOOKS = {
    "free": "from thplab.learn.widgets import Sandbox\nsandbox = Sandbox()\nsandbox",
    "wrong": """
from thplab.learn.lessons.tasks import Task
from thplab.machine.trace import Setup
from thplab.learn.widgets import Sandbox
def missing(trace):
    if not trace[-1].state.pins:
        yield "nothing is pinned"
Sandbox(task=Task("Pin a page.", missing, ("a rule", "a place", "a way"), Setup(mutant="deposits_nothing")))
""",
}


@pytest.fixture(scope="module")
def pg() -> Iterator[Page]:
    with page(height=1200, permissions=["clipboard-read", "clipboard-write"]) as pg:
        yield pg


@pytest.fixture(scope="module")
def show(server: Server, pg: Page) -> Callable[[str], Locator]:
    """Opens a notebook, unless it is open already, and answers its sandbox."""
    for name, source in NOTEBOOKS.items():
        write_notebook(server.folder / f"sandbox {name}.ipynb", source, LONG)

    def show(name: str) -> Locator:
        open_once(pg, server, f"sandbox {name}.ipynb")
        sandbox = pg.locator(".thp-sandbox")
        sandbox.and_(pg.locator("[data-done]")).wait_for()
        return sandbox

    return show


@pytest.fixture
def sandbox(show: Callable[[str], Locator]) -> Locator:
    found = show("free")
    load(found, f"rfc-2014 TOY: {SHARED}")
    at(found, 4, 4)
    return found


def at(sandbox: Locator, done: int, of: int) -> None:
    expect(sandbox).to_have_attribute("data-done", str(done))
    expect(sandbox.locator(".thp-position")).to_have_text(f"{done} of {of} operations done")
    expect(sandbox).not_to_have_attribute("aria-busy", "true")


def load(sandbox: Locator, line: str) -> None:
    expect(sandbox).not_to_have_attribute("aria-busy", "true")
    sandbox.locator(".thp-line-of").fill(line)
    sandbox.locator(".thp-line-of").press("Enter")
    expect(sandbox.locator(".thp-says")).to_contain_text("Loaded")


def do(sandbox: Locator, op: str, **fields: str) -> None:
    """Carry out an operation with the form."""
    sandbox.get_by_label("Operation", exact=True).select_option(op)
    for name, text in fields.items():
        control = sandbox.locator(".thp-fields label", has_text=re.compile(f"^{name} ")).locator("select, input")
        if control.evaluate("e => e.tagName") == "SELECT":
            control.select_option(text)
        else:
            control.fill(text)
    sandbox.get_by_role("button", name="Do it").click()


def button(sandbox: Locator, name: str) -> Locator:
    return sandbox.get_by_role("button", name=name, exact=True)


def picture(sandbox: Locator) -> object:
    """What the picture says, and where its arrows go; the places may have been laid out anew."""
    return sandbox.locator(".thp-canvas").evaluate(
        """root => [...root.querySelectorAll("g.cell, g.edge")].filter(e => e.getBoundingClientRect().width && (e.textContent.trim() || e.matches(".edge")))
            .map(e => [e.id, e.textContent, e.getAttribute("class")])"""
    )


def did(sandbox: Locator) -> list[str]:
    return [text.strip() for text in sandbox.locator(".thp-moves li").all_inner_texts()][1:]


def menu(sandbox: Locator) -> Locator:
    return sandbox.get_by_role("menu")


# --- the form -------------------------------------------------------------------------------------------------------------


def test_what_makes_sense_is_offered_first_and_everything_can_be_chosen(sandbox: Locator) -> None:
    op = sandbox.get_by_label("Operation", exact=True)
    load(sandbox, "rfc-2014 TOY: ")
    first = "e => [...e.querySelector('optgroup').children].map(o => o.value)"
    assert op.evaluate(first) == ["mmap", "khugepaged_scan", "ksm_scan", "sys"]
    do(sandbox, "mmap", proc="A")
    at(sandbox, 1, 1)
    assert {"write", "munmap", "fork"} <= set(op.evaluate(first))
    assert "unpin" not in op.evaluate(first)
    rest = "e => [...e.querySelectorAll('optgroup')].slice(1).flatMap(g => [...g.children].map(o => o.value))"
    built = {name: spec for name, spec in VOCABULARY.items() if spec.built}
    assert sorted(op.evaluate(rest)) == sorted(built)
    for name, spec in built.items():
        op.select_option(name)
        labels = [text.split()[0] for text in sandbox.locator(".thp-fields label").all_text_contents()]
        assert labels == [field.name for field in spec.fields], name
        expect(sandbox.locator(".thp-help")).to_contain_text(spec.doc)


def test_an_operation_is_done_with_the_form(sandbox: Locator) -> None:
    do(sandbox, "mprotect", proc="B", start="1/2thp", npages="2", prot="none")
    at(sandbox, 5, 5)
    assert did(sandbox)[-1] == "5. mprotect B 1/2thp 2 none → 0"
    expect(sandbox.locator(".thp-caption")).to_contain_text("5. mprotect B 1/2thp 2 none returns 0")
    # The next one begins with what was typed, but for what things are called.
    fields = sandbox.locator(".thp-fields label:visible :is(select, input)")
    assert fields.evaluate_all("all => all.map(e => e.value)") == ["B", "1/2thp", "2", "none"]
    do(sandbox, "swap_out", proc="A", start="0")
    at(sandbox, 6, 6)
    do(sandbox, "pin", proc="A", start="0", npages="1", pin="dma")
    at(sandbox, 7, 7)
    expect(sandbox.locator(".thp-ledger")).to_contain_text("dma")


def test_more_fields_and_another_name(sandbox: Locator) -> None:
    sandbox.get_by_label("Operation", exact=True).select_option("mmap")
    region = sandbox.locator(".thp-fields label", has_text=re.compile("^region "))
    advise = sandbox.locator(".thp-fields label", has_text=re.compile("^advise "))
    expect(advise).to_be_hidden()
    button(sandbox, "more or fewer fields").click()
    expect(advise).to_be_visible()
    advise.locator("select").select_option("none")
    region.locator("select").select_option("other…")
    region.locator("input").fill("heap")
    region.locator("input").press("Enter")
    at(sandbox, 5, 5)
    assert did(sandbox)[-1] == "5. mmap A advise=none region=heap → 0"
    button(sandbox, "more or fewer fields").click()
    expect(advise).to_be_hidden()


def test_a_mistake_is_told_and_nothing_changes(sandbox: Locator) -> None:
    before = sandbox.locator(".thp-picture").inner_html()
    do(sandbox, "split_pmd", proc="A", start="99")
    expect(sandbox.locator(".thp-says")).to_have_text("start page 99 of region R is in no VMA of A; expected a page that is in a VMA")
    at(sandbox, 4, 4)
    assert sandbox.locator(".thp-picture").inner_html() == before
    do(sandbox, "write", proc="A", start="3")
    expect(sandbox.locator(".thp-says")).to_have_text("")
    at(sandbox, 5, 5)


# --- the picture ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "line"),
    [("A-pmd0-r0", "munmap A 0 1"), ("B-pte0-0-r1", "mprotect B 1 1 r"), ("page0-r1", "write A 1"), ("page0-r0", "split A 0")],
)
def test_a_row_of_the_picture_says_what_can_be_done_there(sandbox: Locator, row: str, line: str) -> None:
    sandbox.locator(f"#{row}").click()
    menu(sandbox).get_by_role("menuitem", name=line, exact=True).click()
    at(sandbox, 5, 5)
    assert did(sandbox)[-1].startswith(f"5. {line} → ")
    expect(menu(sandbox)).to_be_hidden()


def test_a_subpage_is_chosen_through_another_process_and_another_page_of_its_row(sandbox: Locator) -> None:
    sandbox.locator("#page0-r1").click()
    menu(sandbox).get_by_role("menuitem", name="through B instead").click()
    expect(menu(sandbox)).to_contain_text("B, pages 1…7")
    menu(sandbox).get_by_role("spinbutton").fill("5")
    menu(sandbox).get_by_role("spinbutton").press("Enter")
    menu(sandbox).get_by_role("menuitem", name="pin B 5 1 dma", exact=True).wait_for()
    menu(sandbox).get_by_role("menuitem", name="something else, with the form").click()
    expect(sandbox.get_by_label("Operation", exact=True)).to_be_focused()
    do(sandbox, "munmap")
    at(sandbox, 5, 5)
    assert did(sandbox)[-1] == "5. munmap B 5 1 → 0"


def test_with_keys_alone_and_jupyterlab_does_not_get_them(pg: Page, sandbox: Locator) -> None:
    selected = "() => { const n = window.jupyterapp.shell.currentWidget.content; return [n.activeCellIndex, n.widgets.length]; }"
    button(sandbox, "Undo everything").focus()
    before = pg.evaluate(selected)
    sandbox.locator(".thp-picture").focus()
    pg.keyboard.press("ArrowDown")
    pg.keyboard.press("ArrowDown")
    expect(sandbox.locator("#A-pmd0-r1")).to_have_count(1)
    pg.keyboard.press("ArrowUp")
    expect(sandbox.locator("#A-pmd0-r0")).to_be_focused()
    pg.keyboard.press("Enter")
    items = menu(sandbox).get_by_role("menuitem")
    expect(items.first).to_be_focused()
    pg.keyboard.press("Escape")
    expect(menu(sandbox)).to_be_hidden()
    expect(sandbox.locator("#A-pmd0-r0")).to_be_focused()
    pg.keyboard.press(" ")
    expect(items.first).to_be_focused()
    pg.keyboard.press("ArrowDown")
    expect(items.nth(1)).to_be_focused()
    pg.keyboard.press("Enter")
    at(sandbox, 5, 5)
    assert did(sandbox)[-1] == "5. read A 0 → 0, reads 0x55"
    expect(sandbox.locator("#A-pmd0-r0")).to_be_focused()
    for keys, done in (("Control+z", 4), ("Control+z", 3), ("Control+y", 4), ("Control+Shift+z", 5)):
        pg.keyboard.press(keys)
        at(sandbox, done, 5)
    assert pg.evaluate(selected) == before
    sandbox.get_by_label("Operation", exact=True).press("Control+z")
    at(sandbox, 4, 5)
    sandbox.locator(".thp-line-of").press("Control+z")  # a field has an undo of its own
    at(sandbox, 4, 5)


# --- undo, redo, branches, machines -------------------------------------------------------------------------------------------


def test_undo_redo_jump_and_another_branch(sandbox: Locator) -> None:
    pictures = {4: picture(sandbox)}
    button(sandbox, "Undo (Ctrl+Z)").click()
    at(sandbox, 3, 4)
    pictures[3] = picture(sandbox)
    assert pictures[3] != pictures[4]
    button(sandbox, "Redo (Ctrl+Y)").click()
    at(sandbox, 4, 4)
    assert picture(sandbox) == pictures[4]
    button(sandbox, "Undo everything").click()
    at(sandbox, 0, 4)
    expect(button(sandbox, "Undo (Ctrl+Z)")).to_be_disabled()
    sandbox.locator(".thp-moves button").nth(3).click()
    at(sandbox, 3, 4)
    expect(sandbox.locator(".thp-moves .thp-later")).to_have_count(1)
    expect(sandbox.locator(".thp-branch")).to_be_hidden()
    do(sandbox, "exit", proc="A")
    at(sandbox, 4, 4)
    assert did(sandbox)[-1] == "4. exit A → 0"
    branch = sandbox.locator(".thp-branch")
    assert branch.locator("option").all_inner_texts() == [f"1: {SHARED}", "2: mmap A; write A 0; fork A B; exit A"]
    branch.select_option("0")
    expect(sandbox.locator(".thp-moves li").last).to_contain_text("split_pmd B 0")
    at(sandbox, 4, 4)
    expect(sandbox.locator(".thp-line-of")).to_have_value(f"rfc-2014 TOY: {SHARED}")


def test_another_kernel_and_geometry(sandbox: Locator) -> None:
    kernel, geometry = sandbox.get_by_label("Kernel", exact=True), sandbox.get_by_label("Geometry", exact=True)
    assert sorted(kernel.locator("option").all_inner_texts()) == sorted(KERNELS)
    for name in KERNELS:
        kernel.select_option(name)
        expect(sandbox.locator(".thp-line-of")).to_have_value(f"{name} TOY: {SHARED}")
        at(sandbox, 4, 4)
    geometry.select_option("X86_64")
    expect(sandbox.locator(".thp-says")).to_have_text("Carried out again on v6.18, X86_64.")
    expect(sandbox.locator(".thp-picture")).to_contain_text("1…511")
    load(sandbox, f"v3.16 TOY: {SHARED}; pin A 0 1 dma fsplit; unpin dma")
    at(sandbox, 6, 6)
    kernel.select_option("v4.5")
    expect(sandbox.locator(".thp-says")).to_contain_text("Operation 5, pin A 0 1 dma fsplit, could not be carried out: how 'fsplit'")
    at(sandbox, 4, 6)
    expect(sandbox.locator(".thp-moves li").nth(5)).to_contain_text("✗ stopped")
    expect(sandbox.locator(".thp-caption .thp-error")).to_contain_text("'fsplit' is not built")


def test_a_line_and_code_are_copied_and_a_line_is_loaded(pg: Page, sandbox: Locator) -> None:
    read = "() => navigator.clipboard.readText()"
    button(sandbox, "copy: all of this as a line").click()
    expect(button(sandbox, "copy: all of this as a line")).to_have_text("copied")
    line = pg.evaluate(read)
    assert line == f"rfc-2014 TOY: {SHARED}"
    button(sandbox, "copy as code: Python code that makes this very state again").click()
    expect(button(sandbox, "copy as code: Python code that makes this very state again")).to_have_text("copied")
    found: dict[str, Any] = {}
    exec(pg.evaluate(read), found)
    assert found["state"].exact == record(SHARED)[-1].state.exact
    load(sandbox, "")
    at(sandbox, 0, 0)
    load(sandbox, line)
    at(sandbox, 4, 4)
    sandbox.locator(".thp-line-of").fill("rubbish A")
    button(sandbox, "load").click()
    expect(sandbox.locator(".thp-says")).to_contain_text("'rubbish' is unknown")
    at(sandbox, 4, 4)


# --- steps, what must hold, words ---------------------------------------------------------------------------------------------


def test_the_steps_of_an_operation(pg: Page, sandbox: Locator) -> None:
    trace = record(SHARED)
    steps = [f.step for f in trace.frames[trace.end_of(3).number + 1 :] if f.step]
    before = picture(sandbox)
    button(sandbox, "Show the steps of the operation").click()
    lines = sandbox.locator(".thp-tree .thp-line")
    assert lines.count() == len(steps)
    why = next(number for number, step in enumerate(steps) if step.why)
    assert steps[why].why in lines.nth(why).text_content().replace("\n", "")  # type: ignore[union-attr]
    lines.nth(why).click()
    expect(sandbox).to_have_attribute("data-step", str(why))
    expect(sandbox.locator(".thp-caption")).to_contain_text(f"Step {why + 1}: {steps[why].text}")
    expect(sandbox.locator("li[data-name=references_are_mappings_and_pins]")).to_have_class("thp-not-due")
    sandbox.locator(".thp-did").focus()
    pg.keyboard.press("ArrowLeft")
    expect(sandbox).to_have_attribute("data-step", str(why - 1))
    for _ in range(why - 1, len(steps) - 1):
        expect(sandbox).not_to_have_attribute("aria-busy", "true")
        pg.keyboard.press("ArrowRight")
    expect(sandbox).to_have_attribute("data-step", "")
    assert picture(sandbox) == before
    button(sandbox, "Show the steps of the operation").click()
    expect(lines.first).to_be_hidden()


def test_the_state_in_words_follows(sandbox: Locator) -> None:
    sandbox.get_by_text("The state in words", exact=True).click()
    expect(sandbox.locator(".thp-words table")).to_contain_text("Process B")
    do(sandbox, "exit", proc="B")
    expect(sandbox.locator(".thp-words table")).to_contain_text("Process B has ended.")
    sandbox.get_by_text("The state in words", exact=True).click()
    expect(sandbox.locator(".thp-text")).to_be_hidden()
    expect(sandbox.locator(".thp-picture svg")).to_have_accessible_name("Page tables and pages after exit B")


PLACES = """() => [".thp-bar", ".thp-line", ".thp-picture", ".thp-caption", ".thp-did", ".thp-must", ".thp-share"].map(name => {
    const box = document.querySelector(".thp-sandbox " + name).getBoundingClientRect();
    return [name, Math.round(box.x), Math.round(box.y), Math.round(box.width), Math.round(box.height)];
})"""


def test_nothing_moves_when_one_goes_back_and_forth_or_does_something(pg: Page, sandbox: Locator) -> None:
    before = pg.evaluate(PLACES)
    for done in (3, 2, 1, 0):
        button(sandbox, "Undo (Ctrl+Z)").click()
        at(sandbox, done, 4)
        assert pg.evaluate(PLACES) == before, done
    sandbox.locator(".thp-moves button").last.click()
    at(sandbox, 4, 4)
    do(sandbox, "read", proc="A", start="3")
    at(sandbox, 5, 5)
    assert pg.evaluate(PLACES) == before


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_every_text_can_be_read_in_light_and_in_dark(pg: Page, sandbox: Locator, theme: str) -> None:
    pg.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    pg.locator(f"body[data-jp-theme-light='{str(theme.endswith('Light')).lower()}']").wait_for(state="attached")
    load(sandbox, f"v3.16 TOY: {SHARED}; pin A 0 1 dma fsplit; unpin nobody")
    at(sandbox, 5, 6)
    sandbox.get_by_label("Kernel", exact=True).select_option("v4.5")
    at(sandbox, 4, 6)
    button(sandbox, "Show the steps of the operation").click()
    sandbox.locator("#page0-r0").click()
    menu(sandbox).get_by_role("menuitem").first.wait_for()
    found = pg.locator(".thp-sandbox").evaluate(CONTRASTS)
    assert len(found) > 80 and found[0][0] >= 4.5, found[:3]
    pg.keyboard.press("Escape")
    button(sandbox, "Show the steps of the operation").click()


# --- a kernel that is wrong, a task, no kernel: these leave the notebook --------------------------------------------------------


def test_a_wrong_kernel_stops_and_a_task_is_checked(show: Callable[[str], Locator]) -> None:
    wrong = show("wrong")
    expect(wrong.locator(".thp-head")).to_contain_text("This kernel is wrong in one way. deposits_nothing")
    expect(wrong.locator(".thp-task")).to_contain_text("Pin a page.")
    for hint in ("Hint 1 of 3: a rule", "Hint 2 of 3: a place", "Hint 3 of 3: a way", "Hint 3 of 3: a way"):
        button(wrong, "Hint").click()
        expect(wrong.locator(".thp-task")).to_contain_text(hint)
    do(wrong, "mmap", proc="A")
    at(wrong, 1, 1)
    do(wrong, "write", proc="A", start="0")
    at(wrong, 2, 2)
    broken = wrong.locator("li[data-name=a_table_is_deposited_for_each_huge_pmd]")
    expect(broken).to_have_class("thp-broken")
    expect(wrong.locator(".thp-must h4")).to_contain_text("✗ 1 of")
    button(wrong, "Check the task").click()
    expect(wrong.locator(".thp-says")).to_contain_text("nothing is pinned")
    do(wrong, "split_pmd", proc="A", start="0")
    at(wrong, 3, 3)
    expect(wrong.locator(".thp-says")).to_contain_text("Operation 3, split_pmd A 0, could not be carried out: no PTE table was deposited")
    expect(wrong.locator("li[data-name=no_kernel_bug]")).to_have_class("thp-broken")
    button(wrong, "Undo (Ctrl+Z)").click()
    at(wrong, 2, 3)
    do(wrong, "pin", proc="A", start="0", npages="1", pin="dma")
    at(wrong, 3, 3)
    button(wrong, "Check the task").click()
    expect(wrong.locator(".thp-says")).to_contain_text("task: solved.")
    button(wrong, "Undo everything").click()
    at(wrong, 0, 3)
    expect(broken).to_have_class("thp-holds")


def test_without_a_kernel_the_moves_so_far_can_be_looked_at(pg: Page, tmp_path: Path) -> None:
    open_alone(pg, tmp_path, Sandbox(SHARED).html())
    sandbox = pg.locator(".thp-sandbox")
    at(sandbox, 4, 4)
    seen = []
    for done in (3, 2, 1, 0):
        button(sandbox, "Undo (Ctrl+Z)").click()
        at(sandbox, done, 4)
        seen.append(sandbox.locator(".thp-picture").inner_html())
    assert len(set(seen)) == 4
    sandbox.locator(".thp-moves button").nth(2).click()
    at(sandbox, 2, 4)
    assert sandbox.locator(".thp-picture").inner_html() == seen[1]
    for name in ("Operation", "Kernel", "Geometry"):
        expect(sandbox.get_by_label(name, exact=True)).to_be_disabled()
    expect(button(sandbox, "Do it")).to_be_disabled()
    button(sandbox, "Do it").click(force=True)
    expect(sandbox.locator(".thp-says")).to_contain_text("run this notebook")
    sandbox.locator("#A-pmd0-r0").click()
    expect(menu(sandbox)).to_be_hidden()
    at(sandbox, 2, 4)
