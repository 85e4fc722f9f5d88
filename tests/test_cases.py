"""The cases: their form, that what they say is what the machine shows, and that "check yours" can be done and tells what it says."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from answers import asked, carried_out, check
from lesson_checks import NOTEBOOKS, ROOT

from thplab.errors import BadInput
from thplab.learn.cases import CASES, Case, case
from thplab.learn.cases.case import Raced
from thplab.learn.export import export
from thplab.learn.lessons.figures import FIGURES
from thplab.learn.lessons.lesson import Show
from thplab.learn.lessons.places import op_end
from thplab.learn.widgets.payload import is_plain
from thplab.machine.trace import Trace
from thplab.scenario import Scenario
from thplab.study.live import Agent, check_live, nearest, support, unable
from thplab.study.live.request import refuse_unless_portable
from thplab.study.live.text import rows

FOLDER = NOTEBOOKS / "cases"
PARTS = ("The report", "What you would look at", "Predict", "Step through it", "The cause", "The fix", "Check yours", "Sources")
WHY = unable()
KERNEL, OWN = nearest(support.release())
every_case = pytest.mark.parametrize("each", CASES, ids=lambda each: each.notebook)


@cache
def cells(each: Case) -> list[nbformat.NotebookNode]:
    found: list[nbformat.NotebookNode] = nbformat.read(FOLDER / f"{each.notebook}.ipynb", 4).cells
    return found


def part(each: Case, name: str) -> str:
    """The text of a part of the notebook."""
    text = "\n\n".join(cell.source for cell in cells(each) if cell.cell_type == "markdown")
    return text.split(f"\n## {name}\n" if f"\n## {name}\n" in text else f"## {name}\n", 1)[1].split("\n## ", 1)[0]


@cache
def traces(each: Case) -> dict[str, Trace]:
    return {name: show.trace() for name, show in each.shows.items()}


def scenario(each: Case) -> str:
    """What the case steps through, as its text writes it."""
    show = next(iter(each.shows.values()))
    if isinstance(show, Raced):
        return "; ".join((Scenario.parse(show.pair.prepare).line(), *(f"CPU {cpu}: {does}" for cpu, does in enumerate(show.pair.cpus))))
    return Scenario.parse(show.scenario).line()


# --- form -------------------------------------------------------------------------------------------------------------


def test_each_case_has_its_notebook_and_the_index_names_it() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} - {"00_cases"} == {each.notebook for each in CASES}
    assert [each.number for each in CASES] == list(range(1, len(CASES) + 1)) and len(CASES) >= 10
    index = "\n".join(cell.source for cell in nbformat.read(FOLDER / "00_cases.ipynb", 4).cells)
    for each in CASES:
        assert f"[{each.number}. {each.title}]({each.notebook}.ipynb)" in index
        assert cells(each)[0].source.startswith(f"# Case {each.number}. {each.title}\n")
    assert case(1) is CASES[0]
    with pytest.raises(BadInput, match="expected 1 to"):
        case(len(CASES) + 1)
    with pytest.raises(BadInput, match=r"expected one of v5\.10, v6\.1"):
        case(1).stepper("v6.18")


@every_case
def test_a_case_has_its_parts_in_their_order(each: Case) -> None:
    text = "\n\n".join(cell.source for cell in cells(each) if cell.cell_type == "markdown")
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == PARTS
    minutes = re.search(r"\*\*Time:\*\* (\d+) minutes", text)
    assert minutes and 10 <= int(minutes[1]) <= 15
    assert re.search(r"\n\*Source: .+\*$", part(each, "The report").strip()), "the report names where it was told"
    assert "stands for" in part(each, "Step through it") + part(each, "The report"), "which kernel stands for the report's"
    picture, sentence = part(each, "The cause").strip().split("\n\n")[:2]
    alt = re.fullmatch(rf"!\[(.+)\]\(\.\./\.\./assets/case_{each.number:02}\.svg\)", picture)
    assert alt and len(alt[1]) > 40 and f"case_{each.number:02}" in FIGURES
    assert re.fullmatch(r"\*\*[^*]+(?:\*[^*]+\*[^*]+)?\.\*\*", sentence), "one sentence"
    named = set(re.findall(r"\b[0-9a-f]{12}\b", part(each, "The fix")))
    assert named <= set(re.findall(r"\b[0-9a-f]{12}\b", part(each, "Sources") + part(each, "The report")))
    assert "ecorded" in part(each, "Sources") or "recorded" in part(each, "Step through it")


@every_case
def test_the_cells_of_a_case_show_ask_and_step(each: Case) -> None:
    code = [cell.source for cell in cells(each) if cell.cell_type == "code"]
    begin = f"from thplab.learn.cases import case\n\nthis = case({each.number})\nthis.look()"
    assert code == [begin, "this.predict()", *(f'this.stepper("{kernel}")' for kernel in each.shows)]


@every_case
def test_the_scenario_in_the_text_is_the_one_that_runs(each: Case) -> None:
    (block,) = re.findall(r"```text\n(.*?)\n```", part(each, "Step through it"), re.DOTALL)
    told = [re.split(r"\s{2,}", line) for line in block.splitlines()]
    assert "; ".join(words[0] for words in told) == scenario(each)
    assert sum(len(words) == 2 for words in told) >= len(told) - 1, "each operation in words"
    assert all(trace.problem is None or not trace.problem for trace in traces(each).values())


@every_case
def test_the_question_has_the_machine_s_answer(each: Case, capsys: pytest.CaptureFixture[str]) -> None:
    each.look()
    told = capsys.readouterr().out
    assert told.count("\n# ") + told.startswith("# ") == len(each.looks) and "$ " in told
    (question,) = each.predict().questions
    assert question.actual in question.answers and question.slips.keys() == set(question.answers) - {question.actual}


def test_the_page_of_a_case_takes_its_picture_along(tmp_path: Path) -> None:
    page = export(FOLDER / f"{CASES[0].notebook}.ipynb", tmp_path / "one.html", execute=False).read_text()
    assert "data:image/svg+xml;base64," in page and "assets/case_01.svg" not in page


# --- facts ------------------------------------------------------------------------------------------------------------


class Fact(NamedTuple):
    """What a text says, and what the machine shows: of which show, after which operation (1 is the first; 0: at the end)."""

    phrase: str
    show: str
    after: int
    answers: Mapping[str, object]


MEMORY = {"A.rss": 2048, "A.pss": 2048}
FACTS: dict[int, tuple[Fact, ...]] = {
    1: (
        Fact("A has its 2048 kB as before, and they are still mapped as one huge page", "v5.10", 0, {"A.rss": 2048, "A.huge": 2048}),
        Fact("No event is counted", "v5.10", 0, {"thp_split_pmd": 0, "thp_split_page": 0, "thp_fault_alloc": 1}),
        Fact("it held `77`", "v5.10", 5, {"pin p": 0x77}),
        Fact("now it says `99`", "v5.10", 0, {"pin p": 0x99}),
        Fact("reads `77`", "v6.1", 0, {"pin p": 0x77, "thp_split_pmd": 1}),
    ),
    2: (
        Fact("A, who asked for the data, does not have them. B has them", "v6.1", 0, {"A.2": 0x99, "B.2": 0x11}),
        Fact("`Pss` is 1026 kB on both sides", "v6.1", 0, {"A.pss": 1026, "B.pss": 1026}),
        Fact("2048 kB are shared", "v6.1", 0, {"A.rss": 2048, "B.rss": 2048}),
        Fact("`thp_split_pmd` is 1, and `Pss` is 2048 kB on both sides", "v6.12", 4, {"thp_split_pmd": 1, "A.pss": 2048, "B.pss": 2048}),
        Fact("If they fall to 1024", "v6.1", 4, {"A.pss": 1024, "B.pss": 1024}),
    ),
    3: (
        Fact("`Rss` is 4 kB", "v6.1", 0, {"A.rss": 4, "compound": 1}),
        Fact("`thp_split_page` says that none has been split yet", "v6.1", 0, {"thp_split_page": 0, "thp_deferred_split_page": 1}),
        Fact("The memory comes back when the kernel is short of it", "v6.1 short of memory", 0, {"compound": 0, "A.rss": 4}),
        Fact("each partial unmap split the huge page at once", "v3.16", 0, {"compound": 0, "thp_split": 1}),
    ),
    4: (
        Fact("256 times the memory that is in use", "v6.1", 0, {"A.rss": 256 * 8, "thp_collapse_alloc": 1}),
        Fact("The first and the last are still in use", "v6.1", 4, {"A.rss": 8}),
        Fact("Nothing else differs", "v6.1 with max_ptes_none 0", 0, {"A.rss": 8, "thp_collapse_alloc": 0}),
        Fact("goes from 8 to 2048", "v6.1", 0, {"A.rss": 2048}),
    ),
    5: (
        Fact("A and B shared 4096 kB and each paid for half", "v4.5", 3, {"A.rss": 4096, "A.pss": 2048, "B.pss": 2048}),
        Fact("all of its 4096 kB alone", "v4.5", 0, {"A.pss": 4096}),
        Fact("two huge pages allocated", "v4.5", 0, {"thp_fault_alloc": 4}),
        Fact("A's `Pss` is 2052 kB instead of 4096 kB: 8 kB were copied", "v5.10", 0, {"A.pss": 2048 + 8 // 2, "thp_fault_alloc": 2}),
        Fact("(`AnonHugePages` is 0)", "v5.10", 0, {"A.huge": 0, "thp_split_pmd": 2}),
    ),
    6: (
        Fact("16 kB and 2032 kB are resident, 2048 kB in all", "v6.1", 0, {"A.rss": 16 + 2032}),
        Fact("`AnonHugePages` is 0", "v6.1", 0, {"A.huge": 0, "thp_split_pmd": 1}),
        Fact("One touched byte then costs 4 kB", "v6.12", 0, {"A.rss": 4}),
    ),
    7: (
        Fact("B reads what A wrote", "before 5.8", 0, {"A.0": 0x99, "B.0": 0x99}),
        Fact("It holds 0x77", "v5.10", 0, {"B.0": 0x77}),
        Fact("With the fix the split has to wait", "v5.10", 0, {"A.0": 0x99, "B.0": 0x77}),
    ),
    8: (
        Fact("At first 2048 kB are marked as given up", "v6.12", 3, {"A.lazyfree": 2048}),
        Fact("From here on `LazyFree` is 0 kB", "v6.12", 5, {"A.lazyfree": 0, "A.rss": 2048}),
        Fact("2 MiB of garbage are in swap", "v6.12", 0, {"A.swap": 2048}),
        Fact("`pglazyfreed` is 0:", "v6.12", 0, {"pglazyfreed": 0}),
        Fact("`LazyFree` stays 2048 kB", "v6.18", 5, {"A.lazyfree": 2048}),
        Fact("`pglazyfreed` is 512, and `Swap` 0 kB", "v6.18", 0, {"pglazyfreed": 512, "A.swap": 0, "A.rss": 0}),
    ),
    9: (
        Fact("8 of its pages, 32 kB", "v6.18", 3, {"A.rss": 4 + 8 * 4 + 2012}),
        Fact("4 + 32 + 2012 kB", "v6.18", 3, {"A.rss": 4 + 32 + 2012}),
        Fact("After it, 4 kB", "v6.18", 0, {"A.rss": 2048 - 2044, "A.ksm": 0}),
        Fact("KSM was shown 32 kB, and 2044 kB are gone", "v6.18", 0, {"A.rss": 2048 - 2044}),
        Fact("`KSM` is 0 kB", "v6.18", 0, {"A.ksm": 0}),
        Fact("7 of the 8 equal pages are one page (`KSM` is 28 kB), which saves 24 kB", "v6.1", 0, {"A.ksm": 7 * 4, "A.rss": 2048}),
    ),
    10: (
        Fact("`Pss` equals `Rss`", "v6.12", 6, MEMORY),
        Fact("`thp_deferred_split_page` counted one", "v6.12", 0, {"thp_deferred_split_page": 1, "compound": 1}),
        Fact("On Linux 6.18 no page is copied, and the event is not counted", "v6.18", 0, {"thp_deferred_split_page": 0}),
    ),
}
GIVEN = {4, 2, 512, 511}
"""Numbers of every text: KiB and MiB of pages, the pages of a huge page, and all of them but one."""
NOT_FACTS = re.compile(
    r"```.*?```|^    .*$|“.*?”|!?\[[^\]]*\]\([^)]*\)|`[^`]*`|Linux \d[\d.]*|\b[0-9a-f]{12}\b|\b\d\.\d+(?:\.\d+)?\b|\b20\d\d\b|CVE-[\d-]+"
    r"|JDK-\d+|(?:operations?|pages?|bit|case|lesson|CPU|steps|Steps|step) \d+(?:(?: to| and) \d+)*|#\d+|\b6\.\d+\b",
    re.DOTALL | re.MULTILINE,
)
ELSEWHERE = {"0", "1", "10,000", "20", "1.2e18", "498,573,900", "39", "9"}
"""Numbers that other tests hold, and those of few words ("0: it does not")."""


def test_every_case_has_facts() -> None:
    assert FACTS.keys() == {each.number for each in CASES}


@pytest.mark.parametrize(
    ("each", "fact"), [pytest.param(case(n), fact, id=f"{n}: {fact.phrase}") for n, facts in FACTS.items() for fact in facts]
)
def test_what_a_text_says_the_machine_shows(each: Case, fact: Fact) -> None:
    text = re.sub(r"\s+", " ", "\n".join(cell.source for cell in cells(each) if cell.cell_type == "markdown"))
    assert fact.phrase in re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    trace = traces(each)[fact.show]
    state = trace[op_end(trace, fact.after - 1) if fact.after else -1].state
    assert {name: asked(state, name) for name in fact.answers} == fact.answers


STANDS: dict[int, tuple[str, Mapping[str, object]]] = {
    1: ("v3.16 v5.10", {"pin p": 0x99}),
    2: ("v3.16 v4.5 v5.10 v6.1", {"A.2": 0x99, "B.2": 0x11}),
    3: ("v4.5 v5.10 v6.1 v6.12 v6.18", {"A.rss": 4, "compound": 1}),
    4: ("v3.16 v4.5 v5.10 v6.1 v6.12 v6.18", {"A.rss": 2048, "A.huge": 2048}),
    5: ("v3.16 v4.5", {"thp_fault_alloc": 4}),
    6: ("v5.10 v6.1", {"A.rss": 2048, "A.huge": 0}),
    8: ("v6.1 v6.12", {"A.swap": 2048, "pglazyfreed": 0}),
    9: ("v6.12 v6.18", {"A.rss": 4, "A.ksm": 0}),
    10: ("v5.10 v6.1 v6.12", {"thp_deferred_split_page": 1}),
}
"""The kernels of the house for which the first one of a case stands, itself among them, and what all of them show."""


@pytest.mark.parametrize("number", STANDS)
def test_one_kernel_stands_for_others_because_they_show_the_same(number: int) -> None:
    kernels, answers = STANDS[number]
    name, show = next(iter(case(number).shows.items()))
    assert isinstance(show, Show) and name in kernels.split()
    for kernel in kernels.split():
        check(carried_out(kernel, show.scenario, show.setup.swap), answers)


PIPE_OF_SMALL = "mmap A advise=none; fill A 0 8 same; fork A B; pin B 0 1 p; munmap B 0 8; write A 0 1 value=0x99"
FREE_OF_SMALL = "mmap A advise=none; fill A 0 8; madvise A 0 8 free; pin A 2 1 p; madvise A 0 8 pageout"
HELD = "mmap A; fill A 0 512; "


class Beyond(NamedTuple):
    """What a text says of kernels that the first one of a case does not stand for, or of other operations on some of them."""

    number: int
    phrase: str
    kernels: str
    answers: Mapping[str, object]
    scenario: str = ""
    """What is done, where it is not the case's own."""


BEYOND = (
    Beyond(1, "only 4.5 asked for the reference count", "v4.5", {"pin p": 0x77}),
    Beyond(1, "Small pages leaked up to 5.7.2 as well", "v3.16 v4.5", {"pin p": 0x99}, PIPE_OF_SMALL),
    Beyond(1, "and are right in 5.10", "v5.10", {"pin p": 0x77}, PIPE_OF_SMALL),
    Beyond(3, "or when the last page is unmapped", "v4.5 v6.1 v6.18", {"compound": 0}, HELD + "munmap A 0 511; munmap A 511 1"),
    Beyond(3, "does the same to the huge page", "v4.5 v6.1 v6.18", {"compound": 1, "A.rss": 4}, HELD + "madvise A 0 511 dontneed"),
    Beyond(8, "that fails while it is pinned, and it keeps the mark", "v5.10", {"A.swap": 0, "pglazyfreed": 512}),
    Beyond(8, "there small pages lose the mark", "v5.10 v6.1 v6.12", {"A.lazyfree": 0, "A.rss": 4}, FREE_OF_SMALL),
)


@pytest.mark.parametrize("beyond", BEYOND, ids=lambda beyond: f"{beyond.number}: {beyond.phrase}")
def test_what_a_text_says_beyond_its_own_kernels(beyond: Beyond) -> None:
    each = case(beyond.number)
    assert beyond.phrase in re.sub(r"\s+", " ", "\n".join(cell.source for cell in cells(each)))
    show = next(iter(each.shows.values()))
    assert isinstance(show, Show)
    for kernel in beyond.kernels.split():
        check(carried_out(kernel, beyond.scenario or show.scenario, show.setup.swap), beyond.answers)


def test_which_pages_4_5_reuses() -> None:
    """Case 10: 4.5 copies as well, and 3.16 has no huge page by then; which is why neither is one that 6.12 stands for."""
    assert "4.5 copies as well" in part(case(10), "Step through it")
    (show, *_) = case(10).shows.values()
    assert isinstance(show, Show)
    small, rest = sorted(len(m.pages) for m in carried_out("v4.5", show.scenario).machine.state.mapped)
    assert (small, rest) == (8, 504)


@every_case
def test_no_number_of_a_text_is_without_a_fact(each: Case) -> None:
    text = "\n\n".join(part(each, name) for name in PARTS[1:-1])
    text = re.sub(r"(?<!!)\[([^\]]*)\]\([^)]*\)", r"\1", text)
    for fact in FACTS[each.number]:
        text = re.sub(re.escape(fact.phrase).replace(r"\ ", r"\s+"), "", text)
    numbers = set(re.findall(r"\d[\d,.]*\d|\d", NOT_FACTS.sub("", text)))
    known = {str(number) for number in GIVEN} | set(re.findall(r"\d+", scenario(each))) | ELSEWHERE
    assert numbers <= known, numbers - known


@every_case
def test_the_words_for_a_picture_have_its_numbers(each: Case) -> None:
    (alt,) = re.findall(r"!\[([^\]]*)\]", part(each, "The cause"))
    drawn = re.sub(r"<!--.*?-->", "", (ROOT / "assets" / f"case_{each.number:02}.svg").read_text(), flags=re.DOTALL)
    told = set(re.findall(r"\d+", re.sub(r"Linux \d[\d.]*", "", alt)))
    assert told <= set(re.findall(r"\d+", " ".join(re.findall(r">([^<>]+)<", drawn)))), told


@every_case
def test_the_steps_that_a_text_quotes_are_there(each: Case) -> None:
    quoted = re.findall("“(.+?)”", part(each, "Step through it"))
    all_steps = "**all steps**" in part(each, "Step through it") or each.number == 7  # a race folds nothing
    pairs = [pair for trace in traces(each).values() for pair in itertools.pairwise(trace)]
    steps = [now.step.text for before, now in pairs if now.step is not None and (all_steps or not is_plain(now, before))]
    assert quoted and [text for text in quoted if not any(step.startswith(text) for step in steps)] == []


def test_what_the_race_is_said_to_be() -> None:
    torn = next(iter(traces(case(7)).values()))
    assert f"after 9 of its {len(torn) - 1} steps" in part(case(7), "Step through it") and case(7).stepper("before 5.8").step == 9
    switches = [frame.number for frame in torn.frames[2:] if frame.cpu != torn[frame.number - 1].cpu]
    assert switches == [10, 31], "steps 7 to 9 read before the split, step 31 after it"
    assert ["mapcount" in (step.text if (step := torn[number].step) else "") for number in (7, 8, 31)] == [True] * 3
    row = re.search(r"`torn-mapcount-and-pmd-split` .*", (ROOT / "docs" / "races.md").read_text())
    assert row and "1.2e18" in row[0] and "498,573,900" in row[0]


def test_what_the_stacks_of_the_report_come_to() -> None:
    assert "10,000 such stacks are 20 GB" in part(case(6), "What you would look at") and 10_000 * 2048 * 1024 // 10**9 == 20


# --- check yours ------------------------------------------------------------------------------------------------------

SAID: dict[int, dict[int, dict[str, str]]] = {
    1: {6: {"pin p": "0x77", "ev.thp_split_pmd": "+1"}},
    2: {4: {"ev.thp_split_pmd": "+1", "A.R.pss": "2048", "B.R.pss": "2048"}, 7: {"read": "0x11"}},
    3: {3: {"ev.thp_deferred_split_page": "+1", "A.R.rss": "4"}},
    4: {4: {"A.R.rss": "8"}, 5: {"A.R.rss": "2048", "ev.thp_collapse_alloc": "+1"}},
    5: {4: {"ev.thp_split_pmd": "+1", "ev.thp_fault_alloc": ""}, 5: {"ev.thp_split_pmd": "+1", "ev.thp_fault_alloc": ""}},
    6: {2: {"A.R.anonhuge": "2048"}, 3: {"A.R.rss": "2048", "A.R.anonhuge": ""}},
    7: {4: {"ev.thp_split_pmd": "+1", "ev.thp_fault_alloc": ""}},
    8: {5: {"A.R.lazyfree": "2048"}, 7: {"ev.pglazyfreed": "+512"}},
    9: {2: {"A.R.rss": "2048"}, 3: {"A.R.rss": "4"}},
    10: {7: {"ev.thp_deferred_split_page": ""}},
}
"""What the texts say that Linux 6.18 shows: after which operation, which field; "" where there is no such line."""


@every_case
def test_the_line_to_check_with_is_the_one_in_the_text(each: Case) -> None:
    assert f'\n    thplab live "{each.live}"\n' in part(each, "Check yours")
    refuse_unless_portable(Scenario.parse(each.live))


@pytest.mark.skipif(bool(WHY) or not OWN or KERNEL != "v6.18", reason=f"the texts speak of Linux 6.18, live: {WHY or KERNEL}")
def test_the_lines_tell_what_the_texts_say() -> None:
    with Agent() as agent:
        for each in CASES:
            checked = check_live(agent, Scenario.parse(each.live), KERNEL)
            for number, fields in SAID[each.number].items():
                shown = {row.field: row.kernel for row in rows(checked.outcomes[number - 1])}
                assert {field: shown.get(field, "") for field in fields} == fields, (each, number)
        assert f'\n    thplab live "{SECOND}"\n' in part(case(2), "Check yours")
        left = {row.field: row.kernel for row in rows(check_live(agent, Scenario.parse(SECOND), KERNEL).outcomes[5])}
        assert (left["read"], left["pin p"]) == ("0x99", "0x77")


def commands(each: Case) -> list[str]:
    """The commands in "check yours" that are not thplab's."""
    told = re.findall(r"^    (.+)$", part(each, "Check yours"), re.MULTILINE)
    return [line for line in told if not line.startswith("thplab live ")]


SECOND = "mmap A; fill A 0 1thp same; pin A 2 1 p; fork A B; write A 2 value=0x99; read A 2 1"
"""The other line of case 2, on which a pipe is left behind."""


@pytest.mark.skipif(not Path("/proc/vmstat").exists(), reason="no Linux")
def test_the_other_commands_only_read_and_say_a_number() -> None:
    lines = [line for each in CASES for line in commands(each)]
    assert len(lines) == 6
    for line in lines:
        assert re.match(r'cat /(sys|proc)/|grep -w \S+ /proc/|python3 -c "', line) and not re.search(r"[^-]>|(?<!-)\bw\b", line)
        file = re.search(r"/(?:sys|proc)/\S+", line)
        if line.startswith(("cat", "grep")) and file and not Path(file[0]).exists():
            continue  # this kernel does not have it
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and re.search(r"\d+$|\[\w+\]", done.stdout.strip()), (line, done.stderr)
        if line.startswith("python3") and OWN and KERNEL in ("v6.12", "v6.18"):
            assert int(done.stdout) >= 1
