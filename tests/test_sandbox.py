"""The sandbox as Python sees it: forms and what makes sense, undo, redo and branches, lines to share, mistakes and what stops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from asking import ask, unpacked

from thplab.errors import BadInput
from thplab.kernel.kernels import KERNELS
from thplab.kernel.mutants import MUTANTS
from thplab.learn.lessons.tasks import Task
from thplab.learn.widgets import Sandbox
from thplab.learn.widgets.sandbox_form import Spot, Stretch, clickable, forms, lines, offered, operation_of
from thplab.machine.branches import Branches, read_share, write_share
from thplab.machine.machine import Machine
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import VOCABULARY, Scenario, load
from thplab.scenario.text import read_operation, write_operation
from thplab.scenario.vocabulary import GROUPS
from thplab.show.describe import describe
from thplab.show.diagrams import Cut

SHARED = "mmap A; write A 0; fork A B; mprotect B 1/2thp 1 r; pin A 3 1 dma"

# One line for each operation, with fields of every kind; those beside the defaults, too.
EVERY = (
    "mmap A 2thp none region=S", "write A 1/2thp+1 2 value=0x7", "read A 0 3 region=S", "fill A 0 1thp zero", "fork A B", "exit A",
    "mprotect A 1 2 none", "munmap A 1thp-1 1", "mlock A 0 2", "munlock A 0 2", "madvise A 0 1thp dontneed", "mremap A 0 2 S 4",
    "pin A 3 1 dma io_uring", "dma_read dma 0", "dma_write dma 0 value=0x9", "unpin dma proc=A", "split A pin=dma",
    "sys /proc/sys/vm/drop_caches 2 restore=no", "clear_refs A 1",
    "ksm_scan 1 2", "khugepaged_scan 1", "swap_out A 0", "migrate A 0", "split_pmd A 0 region=S",
)  # fmt: skip


def do(sandbox: Sandbox, line: str) -> str:
    """Carry out an operation as the form asks for it: with a text in each field."""
    op = read_operation(line)
    spec = VOCABULARY[op.op]
    texts = {f.name: "" if op.fields[f.name] is None else f.kind.show(op.fields[f.name]) for f in spec.fields}
    return ask(sandbox, "op", op=op.op, fields=texts)


def shown(sandbox: Sandbox) -> dict[str, Any]:
    """What the page shows of the operation that it is at."""
    data = unpacked(sandbox.packed)
    frame: dict[str, Any] = data["frames"][str(data["done"])]
    return frame


def as_recorded(trace: Trace) -> None:
    """Every frame and state of the trace is as if its scenario was recorded at once."""
    fresh = record(trace.scenario, trace.setup)
    fresh.position = trace.position
    assert trace == fresh and trace.problem == fresh.problem


# --- forms ----------------------------------------------------------------------------------------------------------------


def test_the_groups_hold_each_operation_once() -> None:
    assert sorted(op for ops in GROUPS.values() for op in ops) == sorted(VOCABULARY)


def test_every_operation_can_be_built_from_its_form() -> None:
    made = {form["op"]: form for group in forms() for form in group["ops"]}
    written = [read_operation(line) for line in EVERY]
    assert sorted(op.op for op in written) == sorted(made) == sorted(op for op, spec in VOCABULARY.items() if spec.built)
    for op in written:
        texts = {}
        for field, spec in zip(made[op.op]["fields"], VOCABULARY[op.op].fields, strict=True):
            value = op.fields[field["name"]]
            texts[field["name"]] = "" if value is None else spec.kind.show(value)
            assert not field["words"] or texts[field["name"]] in field["words"]
            assert field["required"] or field["default"] in ("", *field["words"]) or spec.kind.read(field["default"]) == spec.default
        assert operation_of(op.op, texts) == op


@pytest.mark.parametrize(
    ("op", "texts", "says"),
    [
        ("write", {"proc": "A", "start": "x"}, "write start is 'x'; expected a page, such as 5"),
        ("write", {"proc": "A B", "start": "0"}, "write proc is 'A B'"),
        ("munmap", {"proc": "A", "start": " 0 ", "npages": " "}, "munmap lacks npages"),
        ("split", {"proc": "A", "start": "0", "pin": "dma"}, "has both start and pin; expected one of the two"),
        ("nothing", {}, "'nothing' is unknown"),
    ],
)
def test_a_field_that_does_not_fit_is_named(op: str, texts: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        operation_of(op, texts)


def test_what_makes_sense_is_offered_and_can_be_done() -> None:
    nothing = record("")[-1].state
    assert {"mmap", "sys"} <= offered(Machine.restored(nothing), nothing, Spot()).keys()
    assert not {"write", "fork", "unpin", "split"} & offered(Machine.restored(nothing), nothing, Spot()).keys()
    trace = record(SHARED)
    state = trace[-1].state
    before = state.exact
    offers = offered(Machine.restored(state), state, Spot("B", "R", "4"))
    assert offers.keys() == {op for op, spec in VOCABULARY.items() if spec.built}
    assert offers["munmap"] == {"proc": "B", "start": "4", "npages": "1", "region": "R"}
    assert offers["unpin"] == {"pin": "dma"} and offers["pin"]["pin"] == "dma2" and offers["fork"]["child"] == "C"
    for op, texts in offers.items():
        assert trace.then(operation_of(op, texts)).problem == "", op
    assert state.exact == before
    said = lines(offers, Spot("B", "R", "4"))
    assert {"write B 4", "munmap B 4 1", "split B 4", "pin B 4 1 dma2"} <= set(said) and "fork B C" not in said


def test_a_row_of_the_picture_stands_for_pages_of_processes() -> None:
    state = record("mmap A; write A 0; fork A B; split_pmd B 0; munmap B 0 2; mmap B region=S")[-1].state
    rows = clickable(state, Cut.of([state]))
    assert rows["A-pmd0-r0"] == [Stretch("A", "R", 0, 7)]
    assert rows["page0-r0"] == [Stretch("A", "R", 0, 0)]
    assert rows["page0-r2"] == [Stretch("A", "R", 2, 7), Stretch("B", "R", 2, 7)]
    assert rows["B-pte0-0-r2"] == [Stretch("B", "R", 2, 7)]
    assert rows["B-pmd0-r1"] == [Stretch("B", "S", 0, 7)]  # nothing is there yet, and it can be touched


# --- traces that go on ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_trace_goes_on_as_if_it_was_recorded_at_once(kernel: str) -> None:
    setup = Setup(kernel, swap="zram")
    ops = Scenario.parse(f"{SHARED}; swap_out A 0; unpin dma; swap_out A 1; read A 5; exit B; write A 0 1thp; fork A C; exit A").ops
    trace = record("", setup)
    for op in ops:
        trace = trace.then(op)
    as_recorded(trace)
    for count in (0, 1, 6, len(ops)):
        as_recorded(trace.first(count))
        assert trace.end_of(count).state.exact == trace.first(count)[-1].state.exact


def test_phases_stay_when_a_trace_is_cut_and_goes_on() -> None:
    story = record("phase One\nmmap A\nwrite A 0\nphase Two\nfork A B")
    assert story.first(2).scenario.format() == "phase One\nmmap A\nwrite A 0\n"
    longer = story.first(1).then(read_operation("write A 1"))
    assert longer.scenario.format() == "phase One\nmmap A\nwrite A 1\n"
    as_recorded(longer)
    with pytest.raises(BadInput, match="count is 4; expected a number of operations, 0 to 3"):
        story.first(4)
    with pytest.raises(BadInput, match="operations of another CPU"):
        story.fork("read A 0").first(1)


# --- undo, redo, branches ---------------------------------------------------------------------------------------------------


def test_undo_redo_and_another_way() -> None:
    branches = Branches.of(Scenario.parse(SHARED), Setup())
    for done in (5, 3, 0, 2, 4):
        branches.go(done)
        assert branches.trace.scenario.line() == "; ".join(SHARED.split("; ")[:done])
        as_recorded(branches.trace)
    branches.do(read_operation("pin A 3 1 dma"))  # what comes next anyway
    assert (len(branches.all), branches.done) == (1, 5)
    branches.go(2)
    branches.do(read_operation("split A 0"))
    branches.do(read_operation("write A 1"))
    assert (len(branches.all), branches.at, branches.done) == (2, 1, 4)
    assert branches.trace.scenario.line() == "mmap A; write A 0; split A 0; write A 1"
    as_recorded(branches.trace)
    branches.switch(0)
    assert branches.done == 5 and branches.trace.scenario.line() == SHARED
    as_recorded(branches.trace)
    for wrong in (6, -1):
        with pytest.raises(BadInput, match="count is"):
            branches.go(wrong)
    with pytest.raises(BadInput, match="branch is 2; expected 0 to 1"):
        branches.switch(2)
    assert (branches.at, branches.done) == (0, 5)


def test_another_machine_carries_all_of_it_out_again() -> None:
    sandbox = Sandbox(f"{SHARED}; unpin dma; pin A 0 1 dma fsplit", kernel="v3.16")
    assert sandbox.says == "" and unpacked(sandbox.packed)["reached"] == 7
    ask(sandbox, "go", at=4)
    do(sandbox, "exit B")
    ask(sandbox, "switch", branch=0)
    says = ask(sandbox, "machine", kernel="v6.18", geometry="MINI")
    assert says.startswith("Operation 5, pin A 3 1 dma, could not") is False
    assert says.startswith("Operation 7, pin A 0 1 dma fsplit, could not be carried out: how 'fsplit' is not built")
    data = unpacked(sandbox.packed)
    assert (data["kernel"], data["geometry"], data["done"], data["reached"], len(data["ops"])) == ("v6.18", "MINI", 6, 6, 7)
    as_recorded(sandbox.trace)
    assert sandbox.trace.setup == Setup("v6.18", "MINI")
    assert ask(sandbox, "machine", kernel="v3.16", geometry="TOY") == "Carried out again on v3.16, TOY."
    assert unpacked(sandbox.packed)["done"] == 7
    ask(sandbox, "switch", branch=1)
    assert sandbox.scenario.endswith("mprotect B 1/2thp 1 r; exit B")
    as_recorded(sandbox.trace)
    assert "'v2.4' is unknown" in ask(sandbox, "machine", kernel="v2.4", geometry="TOY")
    assert sandbox.trace.setup.kernel == "v3.16"


def test_a_kernel_of_the_readers_own() -> None:
    own = replace(KERNELS["v6.1"], name="mine")
    sandbox = Sandbox(SHARED, kernel=own)
    assert unpacked(sandbox.packed)["kernels"][0] == "mine"
    ask(sandbox, "machine", kernel="mine", geometry="MINI")
    assert sandbox.trace.setup == Setup(own, "MINI")
    assert read_share(write_share(Setup(own), Scenario()), Setup(own)) == (Scenario(), Setup(own))
    ask(sandbox, "machine", kernel="v6.1", geometry="MINI")
    assert sandbox.trace.setup == Setup("v6.1", "MINI")


def test_an_operation_with_nothing_to_do_is_done() -> None:
    sandbox = Sandbox("mmap A", kernel="v3.16")
    assert do(sandbox, "sys /proc/sys/vm/drop_caches 2") == "" and do(sandbox, "write A 0") == ""
    assert sandbox.scenario == "mmap A; sys /proc/sys/vm/drop_caches 2; write A 0"


def test_the_menu_of_a_page_is_about_its_own_region() -> None:
    trace = record("mmap A; mmap A region=S; write A 0")
    spot = Spot("A", "S", "0")
    found = lines(offered(Machine.restored(trace[-1].state), trace[-1].state, spot), spot)
    assert "write A 0 region=S" in found and all("region=S" in line for line in found)


# --- lines ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setup", [Setup(), Setup("v6.18", "X86_64"), Setup("v4.5", "MINI", mutant="forgets_the_tails", swap="zram")])
def test_a_shared_line_restores_everything(setup: Setup) -> None:
    scenario = Scenario.parse(SHARED)
    assert read_share(write_share(setup, scenario), Setup()) == (scenario, setup)
    assert read_share(write_share(setup, Scenario()), Setup()) == (Scenario(), setup)


def test_a_line_is_copied_from_one_sandbox_into_another() -> None:
    first, second = Sandbox(SHARED, kernel="v6.1", swap="zram"), Sandbox()
    line = shown(first)["share"]
    assert line == f"v6.1 TOY swap=zram: {SHARED}"
    assert ask(second, "load", line=line) == "Loaded: 5 operations."
    assert second.trace == first.trace and second.scenario == SHARED
    assert Sandbox(line).trace == first.trace
    for wrong in ("v6.1 nowhere: mmap A", "v6.1: mmap A", "v6.1 TOY x=1: mmap A", "v6.1 TOY swap: mmap A", "rubbish", "mmap A; rubbish"):
        assert ask(second, "load", line=wrong) != ""
        assert second.trace == first.trace
    assert ask(second, "load", line="cow") == "Loaded: 7 operations."


def test_the_scenario_can_be_set_and_the_code_makes_the_state() -> None:
    sandbox = Sandbox()
    sandbox.scenario = SHARED
    ask(sandbox, "go", at=3)
    assert sandbox.scenario == "mmap A; write A 0; fork A B"
    found: dict[str, Any] = {}
    exec(shown(sandbox)["code"], found)
    assert found["state"].exact == sandbox.trace[-1].state.exact
    with pytest.raises(BadInput, match="'rubbish' is unknown"):
        sandbox.scenario = "rubbish A"
    assert sandbox.scenario == "mmap A; write A 0; fork A B"


# --- mistakes, and what stops -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("split_pmd A 99", "start page 99 of region R is in no VMA of A"),
        ("write Z 0", "'Z' is not a living process"),
        ("unpin nobody", "pin 'nobody' is not held"),
        ("memcg_new A", "'memcg_new' is not built"),
        ("swap_out A 0 region=S", "region"),
    ],
)
def test_a_mistake_is_told_and_changes_nothing(line: str, says: str) -> None:
    sandbox = Sandbox(SHARED)
    before, trace = sandbox.packed, sandbox.trace
    assert says in do(sandbox, line)
    assert sandbox.packed == before and sandbox.trace == trace
    assert do(sandbox, "unpin dma") == "" and sandbox.scenario == f"{SHARED}; unpin dma"


@pytest.mark.parametrize(("mutant", "must"), [("deposits_nothing", "no_kernel_bug"), ("posted_early_return", "no_deadlock")])
def test_where_the_kernel_stops_is_told_and_can_be_undone(mutant: str, must: str) -> None:
    sandbox = Sandbox(kernel=MUTANTS[mutant].kernel, mutant=mutant)
    ops = load(MUTANTS[mutant].scenario).ops
    says = [does for op in ops if (does := do(sandbox, write_operation(op)))]
    data = unpacked(sandbox.packed)
    assert "could not be carried out" in says[0] and data["stopped"][0] == data["done"] - 1
    assert data["offers"] == {} and must in shown(sandbox)["broken"] and data["ops"][-1]["broken"]
    assert "has stopped" in do(sandbox, "mmap Z")
    ask(sandbox, "go", at=data["done"] - 1)
    assert must not in shown(sandbox)["broken"] and unpacked(sandbox.packed)["offers"]
    assert do(sandbox, "mmap Z") == "" and len(unpacked(sandbox.packed)["branches"]) == 2
    as_recorded(sandbox.trace)


@pytest.mark.parametrize("mutant", ["forgets_the_tails", "splits_the_first_pmd_only", "splits_every_pmd", "posted_early_return"])
def test_the_checklist_shows_what_a_mutant_breaks(mutant: str) -> None:
    wrong = MUTANTS[mutant]
    sandbox = Sandbox(wrong.scenario, kernel=wrong.kernel, mutant=mutant)
    data = unpacked(sandbox.packed_for_html())
    broken = {name for frame in data["frames"].values() for name in frame["broken"]}
    assert wrong.killed_by in broken and wrong.killed_by in [name for name, _, _ in data["invariants"]]
    assert [op["broken"] for op in data["ops"][: data["reached"]]] == [
        bool(data["frames"][str(n + 1)]["broken"]) for n in range(data["reached"])
    ]
    right = unpacked(Sandbox(wrong.scenario, kernel=wrong.kernel).packed_for_html())
    assert not any(frame["broken"] for frame in right["frames"].values())


def test_what_breaks_in_a_step_and_is_well_at_the_end_is_told_too() -> None:
    frames = unpacked(Sandbox(MUTANTS["forgets_the_tails"].scenario, mutant="forgets_the_tails").packed_for_html())["frames"]
    problem = "pfn 0x9: reference count 0, raw _mapcount -2 (after its step 1)"
    assert problem in [frame["broken"].get("no_counter_is_negative") for frame in frames.values()]


# --- what is shown ------------------------------------------------------------------------------------------------------------


def test_the_operation_is_shown_with_its_changes_and_its_steps() -> None:
    sandbox = Sandbox(f"{SHARED}; swap_out A 0")
    trace, frame = sandbox.trace, shown(sandbox)
    end, before = trace.end_of(6), trace.end_of(5)
    assert frame["words"] == describe(end.state, before.state)
    assert ["thp_split_page_failed", 0, 1, []] in frame["ledger"][-1]["rows"]
    assert unpacked(sandbox.packed)["ops"][-1] == {"line": "swap_out A 0", "result": "-EBUSY", "failed": True, "broken": False}
    steps = trace.frames[before.number + 1 :]
    assert [row[1] for row in frame["steps"]["operation"]["rows"] if row[2] is not None] == [f.step.text for f in steps if f.step]
    assert [each["why"] for each in frame["steps"]["frames"]] == [f.step.why for f in steps if f.step]
    ask(sandbox, "step", step=2)
    within = shown(sandbox)
    assert within["step"] == 2 and not within["rest"]
    assert within["words"] == describe(steps[2].state, steps[1].state)
    ask(sandbox, "step", step=len(steps) - 1)
    assert shown(sandbox)["step"] is None and shown(sandbox)["words"] == frame["words"]


def test_pictures_keep_their_place_when_one_goes_back_and_forth() -> None:
    sandbox = Sandbox(SHARED)
    places = set()
    for done in (5, 4, 3, 2, 1, 0):  # something may appear that has no place yet
        ask(sandbox, "go", at=done)
    for done in (5, 4, 0, 3, 5):
        ask(sandbox, "go", at=done)
        (sheet,) = unpacked(sandbox.packed)["pictures"]["simple"]
        assert shown(sandbox)["picture"] < len(sheet["changes"])
        places.add(sheet["svg"].split("viewBox=")[1].split('"')[1])
    assert len(places) == 1


def test_a_page_without_a_kernel_has_every_operation() -> None:
    sandbox = Sandbox(SHARED)
    ask(sandbox, "go", at=2)
    data = unpacked(sandbox.packed_for_html())
    assert list(data["frames"]) == ["0", "1", "2", "3", "4", "5"] and data["done"] == 2
    assert data["pictures"].keys() == {"simple", "full"}
    for (sheet,) in data["pictures"].values():
        assert len(sheet["changes"]) == 6 == len({frame["picture"] for frame in data["frames"].values()})
    assert sandbox.html() == sandbox.html() and "mmap A; write A 0" in sandbox.html()


def test_a_task_is_asked_on_its_own_machine_and_checked() -> None:
    def missing(trace: Trace) -> Iterator[str]:
        if not trace[-1].state.pins:
            yield "nothing is pinned"

    task = Task("Pin a page.", missing, ("a rule", "a place", "a way"), Setup("v6.1"))
    sandbox = Sandbox("mmap A; write A 0", task=task)
    assert unpacked(sandbox.packed)["task"] == {"question": "Pin a page.", "hints": ["a rule", "a place", "a way"]}
    assert sandbox.trace.setup == Setup("v6.1")
    assert "not yet" in ask(sandbox, "check") and "nothing is pinned" in sandbox.says
    do(sandbox, "pin A 0 1 dma")
    assert ask(sandbox, "check").startswith("task: solved.")
    ask(sandbox, "machine", kernel="v6.1", geometry="MINI")
    assert ask(sandbox, "check").startswith("task: solved."), "in any geometry"
    ask(sandbox, "machine", kernel="v4.5", geometry="TOY")
    assert "kernel is v4.5 here" in ask(sandbox, "check") and "v6.1" in sandbox.says
    with pytest.raises(BadInput, match="task brings a machine of its own"):
        Sandbox(kernel="v4.5", task=task)


def test_new_processes_have_the_names_that_a_task_asks_for() -> None:
    task = Task("?", lambda trace: iter(()), ("a", "b", "c"), processes=("P", "K"))
    widget = Sandbox(task=task)
    for op, wanted, then in (("mmap", {"proc": "P"}, "K"), ("fork", {"proc": "P", "child": "K"}, "A")):
        offer = unpacked(widget.packed)["offers"][op]
        assert offer.items() >= wanted.items()
        ask(widget, "op", op=op, fields=offer)
        assert unpacked(widget.packed)["names"]["child"] == [then]
