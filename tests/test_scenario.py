"""Scenarios: the text form, JSON, and the vocabulary against the truth files."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thplab.errors import BadInput
from thplab.scenario import VOCABULARY, Operation, OpSpec, Pages, Phase, Scenario
from thplab.scenario.kinds import Choice, Flag, HugePages, Kind, Number, PageNumber, Value, Word
from thplab.scenario.text import read_operation, write_operation

TRUTH = sorted((Path(__file__).parent / "truth").glob("linux-*.jsonl"))
TOY = 8
STORY = "mmap A 1thp; write A 0; fork A B; mprotect B 1/2thp 1 r; pin A 1/2thp 1 dma; swap_out A 0; unpin dma; munmap B 1thp-1 1"

# ---------------------------------------------------------------------------------------------- strategies

names = st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,63}", fullmatch=True)
words = st.text(min_size=1, max_size=200).filter(lambda word: not any(mark.isspace() or mark in ";=" for mark in word))
lines = st.text().filter(lambda line: line == line.strip() and not set(line) & {"\n", "\r"})
fractions = st.fractions(min_value=0, max_value=9, max_denominator=512)


@st.composite
def page_numbers(draw: st.DrawFn) -> Pages:
    thp = draw(fractions)
    return Pages(thp, draw(st.integers(-999 if thp else 0, 999_999)))


def values(kind: Kind) -> st.SearchStrategy[Value]:
    """Values of a kind: what the text form must be able to write."""
    match kind:
        case PageNumber():
            return page_numbers().filter(lambda value: value.thp > 0 or value.pages >= kind.least)
        case Choice():
            return st.sampled_from(kind.words)
        case Number():
            return st.integers(kind.low, kind.high)
        case HugePages():
            return st.integers(1, 9999)
        case Flag():
            return st.booleans()
        case Word():
            return names if kind.accept("a/b") is None else words
    raise AssertionError(f"no strategy for {kind}")


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    op = draw(st.sampled_from(sorted(VOCABULARY)))
    spec = VOCABULARY[op]
    chosen = draw(st.sampled_from(spec.one_of)) if spec.one_of else ""
    fields: dict[str, Value] = {}
    for field in spec.fields:
        optional = not field.required and field.name not in spec.one_of
        if field.required or field.name == chosen or (optional and draw(st.booleans())):
            fields[field.name] = draw(values(field.kind))
    return Operation(op, fields)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    ops = st.lists(operations(), max_size=4).map(tuple)
    titles = lines.filter(lambda line: line and ";" not in line)
    titled = draw(st.lists(st.builds(Phase, titles, lines, ops), max_size=4))
    untitled = draw(ops)
    phases = ([Phase(ops=untitled)] if untitled or not titled else []) + titled
    name = draw(st.from_regex("[A-Za-z0-9_.+-]*", fullmatch=True))
    return Scenario(name, draw(lines), tuple(phases), draw(st.sampled_from(["", "noswap", "swap", "zram"])))


# ---------------------------------------------------------------------------------------------- round trips


@given(scenarios())
def test_parse_is_the_inverse_of_format(scenario: Scenario) -> None:
    assert Scenario.parse(scenario.format()) == scenario


@given(scenarios())
def test_from_json_is_the_inverse_of_to_json(scenario: Scenario) -> None:
    assert Scenario.from_json(json.loads(json.dumps(scenario.to_json()))) == scenario


@given(scenarios())
def test_one_line_holds_all_operations(scenario: Scenario) -> None:
    assert "\n" not in scenario.line()
    assert Scenario.parse(scenario.line()).ops == scenario.ops


@given(operations())
def test_an_operation_survives_text_json_and_pickle_and_hashes_alike(operation: Operation) -> None:
    for other in (
        read_operation(write_operation(operation)),
        Operation.from_json(operation.to_json()),
        Operation(operation.op, operation.fields),
        pickle.loads(pickle.dumps(operation)),
        copy.deepcopy(operation),
    ):
        assert other == operation
        assert hash(other) == hash(operation)


@pytest.mark.parametrize("value", [Scenario(), Phase(), read_operation("exit A")], ids=["scenario", "phase", "operation"])
def test_a_scenario_does_not_change(value: object) -> None:
    for name in vars(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)
    with pytest.raises(TypeError):
        read_operation("exit A").fields["proc"] = "B"  # type: ignore[index]


# Texts near the grammar: its words and marks in any order.
scraps = st.sampled_from(
    [*VOCABULARY, "scenario", "env", "phase", "why", "swap", "A", "0", "1thp", "r", "=", "region=S", "pin=p", ";", "\n", "#", ":"]
)


@given(st.text() | st.lists(scraps).map(" ".join))
def test_any_text_is_read_or_refused_with_bad_input(text: str) -> None:
    try:
        scenario = Scenario.parse(text)
    except BadInput as error:
        assert str(error).startswith("line ")
    else:
        assert Scenario.parse(scenario.format()) == scenario


def test_the_text_form_leaves_defaults_out_and_goes_by_position() -> None:
    written = {
        "mmap A 1thp": "mmap A",
        "mmap A 2thp hugepage region=S": "mmap A 2thp region=S",
        "mmap A advise=none": "mmap A advise=none",
        "mmap A 1thp none": "mmap A advise=none",
        "write A 2/4thp npages=1 value=0x55": "write A 1/2thp",
        "write A 0 1 value=7": "write A 0 value=0x7",
        "split A start=0 how=debugfs": "split A 0 how=debugfs",
        "split A pin=p how=direct": "split A pin=p",
        "pin A 0 1 dma vmsplice": "pin A 0 1 dma",
        "unpin dma proc=A": "unpin dma proc=A",
        "sys /proc/sys/vm/drop_caches 2 restore=no": "sys /proc/sys/vm/drop_caches 2 restore=no",
        "mprotect prot=r npages=1 start=0 proc=A": "mprotect A 0 1 r",
        "sys /x 1 restore=yes": "sys /x 1",
        "mmap A 9999thp": "mmap A 9999thp",
        "memcg_force_empty": "memcg_force_empty",
    }
    for text, canonical in written.items():
        assert write_operation(read_operation(text)) == canonical


def test_separators_comments_and_spaces_mean_nothing() -> None:
    plain = Scenario.parse("mmap A\nwrite A 0\nread A 1")
    assert Scenario.parse("  mmap   A ;; write A 0;\r\n# exit A; exit A\n\n\t# more\n;read A 1 ; ") == plain
    assert len(plain.ops) == 3
    assert Scenario.parse("") == Scenario.parse("# nothing") == Scenario() and Scenario().format() == ""


def test_headers_and_phases_are_read() -> None:
    scenario = Scenario.parse(
        "scenario s: about; it: all\nenv swap\nexit Z\nphase one; mmap A\nwrite A 0\n"
        "phase two\nwhy because; and\nwhy so\nexit A\nphase none\n"
    )
    assert scenario == Scenario(
        "s",
        "about; it: all",
        (
            Phase(ops=(read_operation("exit Z"),)),
            Phase("one", "", (read_operation("mmap A"), read_operation("write A 0"))),
            Phase("two", "because; and so", (read_operation("exit A"),)),
            Phase("none"),
        ),
        "swap",
    )
    assert [scenario.phase_of(i) for i in range(len(scenario.ops))] == [0, 1, 1, 2]
    assert scenario.format().splitlines()[:5] == ["scenario s: about; it: all", "env swap", "exit Z", "phase one", "mmap A"]


@pytest.mark.parametrize("index", [-1, 4])
def test_phase_of_refuses_an_operation_that_is_not_there(index: int) -> None:
    with pytest.raises(BadInput, match="from 0 to below 4"):
        Scenario.parse("mmap A; write A 0; phase x; read A 0; exit A").phase_of(index)


# ---------------------------------------------------------------------------------------------- the truth files


def test_every_recorded_operation_survives_text_and_json() -> None:
    assert len(TRUTH) == 6
    scenarios_read = 0
    for path in TRUTH:
        for line in path.read_text().splitlines():
            record: dict[str, Any] = json.loads(line)
            scenario = Scenario.from_record(record)
            assert (scenario.name, scenario.about, scenario.env) == (record["name"], record["about"], record["env"])
            assert len(scenario.phases) == 1 and not scenario.phases[0].title
            assert Scenario.parse(scenario.format()) == scenario
            assert Scenario.from_json(scenario.to_json()) == scenario
            for recorded, operation in zip(record["ops"], scenario.ops, strict=True):
                written = operation.to_json()
                # Nothing recorded is lost or changed; what is added are defaults.
                assert {name: written[name] for name in recorded} == recorded
                for name in written.keys() - recorded.keys():
                    assert operation.fields[name] == VOCABULARY[operation.op].field(operation.op, name).default
            scenarios_read += 1
    assert scenarios_read == 913


def test_every_recorded_operation_is_portable() -> None:
    recorded = {op["op"] for path in TRUTH for line in path.read_text().splitlines() for op in json.loads(line)["ops"]}
    assert not [op for op in recorded if VOCABULARY[op].kernel_only]
    assert {op for op, spec in VOCABULARY.items() if spec.kernel_only} == {"swap_out", "split_pmd", "migrate"}


@pytest.mark.parametrize("spec", VOCABULARY.values(), ids=VOCABULARY)
def test_the_table_is_sound(spec: OpSpec) -> None:
    assert spec.doc and "\n" not in spec.doc
    assert spec.not_live is None or (spec.not_live.why and spec.not_live.instead)
    assert spec.built or not spec.kernel_only, "somebody can perform it"
    positional = [field for field in spec.fields if not field.keyed]
    # What comes by position comes before what only has a key, and a required field before an optional one.
    assert list(spec.fields[: len(positional)]) == positional
    assert sorted(positional, key=lambda field: not field.required) == positional
    for field in spec.fields:
        assert all(field.kind.accept(value) == value for value in field.not_live)
        assert field.default is None or field.kind.accept(field.default) == field.default
        assert not (field.required and (field.keyed or field.default is not None))


def test_defaults_are_those_of_the_recorder() -> None:
    assert dict(read_operation("write A 3").fields) == {
        "proc": "A",
        "start": Pages.of(3),
        "npages": Pages.of(1),
        "value": 0x55,
        "force": False,
        "region": "R",
    }
    assert read_operation("mmap A").to_json() == {"op": "mmap", "proc": "A", "thps": 1, "advise": "hugepage", "prot": "rw", "region": "R"}
    assert read_operation("mmap A advise=none").to_json()["advise"] is None
    assert read_operation("mprotect A 0 1 none").to_json()["prot"] == "none"
    assert read_operation("pin A 0 1 p").fields["how"] == "vmsplice"
    assert read_operation("split A 0").fields["how"] == "direct"
    assert read_operation("fill A 0 1").fields["pattern"] == "unique"
    assert read_operation("sys /x 1").fields["restore"] is True
    assert len(read_operation("sys /x 1").fields) == 3 and repr(read_operation("exit A").fields) == "{'proc': 'A'}"
    with pytest.raises(KeyError, match="start"):
        read_operation("exit A").fields["start"]
    assert read_operation("ksm_scan").to_json() == {"op": "ksm_scan", "scans": 3, "timeout": 5}
    assert read_operation("split A 0 order=0").fields["order"] == read_operation("clear_refs A 0").fields["value"] == 0
    assert read_operation("read A 1thp").fields["start"] == Pages(Fraction(1))
    assert "proc" not in read_operation("unpin p").to_json()


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mmpa A", "line 1, 'mmpa A': operation 'mmpa' is unknown; expected mmap"),
        ("mmap A; # no\nxyzzy A", "line 1, '# no': operation '#' is unknown; expected one of clear_refs, dma_read, dma_write, env"),
        ("mmap A\n\nmmap A; phse x", "line 3, 'phse x': operation 'phse' is unknown; expected phase"),
        ("mprotect B 1", "line 1, 'mprotect B 1': mprotect lacks npages, prot; expected mprotect proc start npages prot [region=...]"),
        ("mprotect B 1 1 r 4", "mprotect has too many arguments, from '4' on; expected mprotect proc start npages prot [region=...]"),
        ("mprotect B 1 1 rx", "mprotect prot is 'rx'; expected one of none, r, rw"),
        ("madvise B 1 1 pagout", "madvise advice is 'pagout'; expected one of dontneed, free, cold"),
        ("pin B 1 1 p how=dma", "pin how is 'dma'; expected one of vmsplice, io_uring, raw, gup, gupw"),
        ("write A 0 vlaue=3", "write has no field 'vlaue'; expected value"),
        ("write A 0 start=1", "write start is given twice; expected it once"),
        ("write A 0 region=S region=R", "write region is given twice; expected it once"),
        ("pin A 0 how=raw 1 p", "pin has '1' after a key=value; expected pin proc start npages pin [how] [region=...], arguments"),
        ("mmap A 2", "mmap thps is '2'; expected a whole number of huge pages with its unit, such as 1thp"),
        ("mmap A 0thp", "mmap thps is '0thp'"),
        ("mmap 4", "mmap proc is '4'; expected a name of letters, digits and _"),
        ("munmap A 0 0", "munmap npages is '0'; expected a count of at least 1 page"),
        ("read A -1", "read start is '-1'; expected a page, such as 5, 1/2thp or 1thp-1"),
        ("read A 1/0thp", "read start is '1/0thp'; expected a page"),
        ("write A 0 value=256", "write value is '256'; expected a whole number from 0 to 255"),
        ("ksm_scan 0x3", "ksm_scan scans is '0x3'; expected a whole number"),
        ("khugepaged_scan 1001", "khugepaged_scan scans is '1001'; expected a whole number from 0 to 1000"),
        ("clear_refs A " + 5000 * "9", "expected a whole number from 0 to 255"),
        ("sys /x " + 5000 * "9", "expected a text without spaces, ';' and '=', at most 200 characters"),
        ("exit " + 65 * "A", "expected a name of letters, digits and _, at most 64 characters"),
        ("sys /x 1 restore=1", "sys restore is '1'; expected yes or no"),
        ("sys /x=y 1", "sys has no field '/x'; expected one of path, restore, value"),
        ("memcg_force_empty proc=A", "memcg_force_empty has no field 'proc'; expected memcg_force_empty"),
        ("split A", "split has neither start nor pin; expected one of the two"),
        ("split A 0 pin=p", "split has both start and pin; expected one of the two"),
        ("mmap A\nscenario x: y", "line 2, 'scenario x: y': scenario is not the first line"),
        ("scenario x\nscenario x", "line 2, 'scenario x': scenario is not the first line"),
        ("scenario two words: y", "line 1, 'scenario two words: y': name is 'two words'; expected letters, digits"),
        ("mmap A; scenario x", "line 1, 'scenario x': scenario follows a ';'; expected scenario at the beginning of a line"),
        ("env disk", "line 1, 'env disk': env is 'disk'; expected one of noswap, swap, zram"),
        ("mmap A\nenv swap", "line 2, 'env swap': env comes too late"),
        ("env swap\nenv swap", "line 2, 'env swap': env comes too late"),
        ("phase", "line 1, 'phase': phase has no title; expected phase TITLE"),
        ("why x", "line 1, 'why x': why is out of place; expected why TEXT, right below a phase line"),
        ("phase a\nmmap A\nwhy x", "line 3, 'why x': why is out of place"),
        ("phase a\nwhy", "line 2, 'why': why has no text"),
        ("phase a; why b", "line 1, 'why b': why follows a ';'; expected why at the beginning of a line"),
    ],
)
def test_a_parse_error_names_the_line_what_is_wrong_and_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Scenario.parse(text)
    assert str(caught.value).startswith("line ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("op", "fields", "message"),
    [
        ("mmpa", {}, "operation 'mmpa' is unknown; expected mmap"),
        ("exit", {}, "exit lacks proc"),
        ("exit", {"proc": "A", "pro": "B"}, "exit has no field 'pro'; expected proc"),
        ("exit", {"proc": None}, "exit proc is None"),
        ("write", {"proc": "A", "start": 0, "value": None}, "write value is None"),
        ("write", {"proc": "A", "start": 0, "value": True}, "write value is True"),
        ("write", {"proc": "A", "start": True}, "write start is True"),
        ("write", {"proc": "A", "start": 1.0}, "write start is 1.0"),
        ("write", {"proc": "A", "start": -1}, "write start is -1"),
        ("mmap", {"proc": "A", "thps": True}, "mmap thps is True"),
        ("mmap", {"proc": "A", "thps": 0}, "mmap thps is 0"),
        ("mmap", {"proc": "A", "thps": 10_000}, "mmap thps is 10000"),
        ("mmap", {"proc": "A", "advise": "huge"}, "mmap advise is 'huge'; expected one of hugepage, none"),
        ("mprotect", {"proc": "A", "start": 0, "npages": 1, "prot": None}, "mprotect prot is None"),
        ("sys", {"path": "a b", "value": "1"}, "sys path is 'a b'; expected a text without spaces"),
        ("sys", {"path": "a", "value": "1", "restore": 0}, "sys restore is 0; expected yes or no"),
    ],
)
def test_an_operation_refuses_what_does_not_fit(op: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Operation(op, fields)
    assert message in str(caught.value)


@pytest.mark.parametrize("data", [None, [], {"proc": "A"}, {"op": 5}])
def test_json_that_is_no_operation_is_refused(data: Any) -> None:
    with pytest.raises(BadInput, match=r"operation is .*expected an object"):
        Operation.from_json(data)
    with pytest.raises(BadInput, match=r"ops\[0\].* expected "):
        Scenario.from_record({"ops": [data]})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "lacks phases; expected an object"),
        ([], "is []; expected an object"),
        ({"phases": [5]}, "phases[0] is 5; expected an object"),
        ({"phases": [{"title": "x"}]}, "phases[0] lacks ops"),
        ({"name": 5, "phases": []}, "name is 5; expected a text of at most"),
        ({"name": "a b", "phases": []}, "name is 'a b'; expected letters"),
        ({"env": "disk", "phases": []}, "env is 'disk'; expected one of noswap, swap, zram"),
    ],
)
def test_json_that_is_no_scenario_is_refused(data: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Scenario.from_json(data)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("title", "why", "message"),
    [
        ("a;b", "", "title 'a;b' holds a ';'"),
        ("a\nb", "", "title is 'a\\nb'; expected a single line"),
        ("a\rb", "", "title is 'a\\rb'; expected a single line"),
        (" a", "", "title is ' a'; expected a single line without spaces before or after it"),
        ("a", "b\nc", "why is 'b\\nc'; expected a single line"),
        ("", "b", "why is given for a phase without a title"),
    ],
)
def test_a_phase_refuses_what_the_text_form_cannot_hold(title: str, why: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Phase(title, why)
    assert message in str(caught.value)


def test_a_scenario_refuses_what_the_text_form_cannot_hold() -> None:
    ops = (read_operation("exit A"),)
    with pytest.raises(BadInput, match="phases have no title"):
        Scenario(phases=(Phase("a"), Phase(ops=ops)))
    with pytest.raises(BadInput, match="phases begin with one that has neither"):
        Scenario(phases=(Phase(), Phase("a")))
    with pytest.raises(BadInput, match="about is"):
        Scenario(about="two\nlines")
    assert Scenario(phases=()) == Scenario()


# ---------------------------------------------------------------------------------------------- resolve and label


def test_resolve_gives_plain_numbers_in_each_geometry() -> None:
    operation = read_operation("mprotect B 1/2thp+1 1thp-2 r")
    for nr in (4, TOY, 512):
        assert operation.resolve(nr) == {"proc": "B", "start": nr // 2 + 1, "npages": nr - 2, "prot": "r", "region": "R"}
    assert read_operation("mmap A 2thp").resolve(TOY) == {"proc": "A", "thps": 2, "advise": "hugepage", "prot": "rw", "region": "R"}
    with pytest.raises(BadInput, match="page number 1/16thp is not a whole number of pages where a huge page has 8"):
        read_operation("read A 1/16thp").resolve(TOY)
    with pytest.raises(BadInput, match="munmap npages 1thp-8 is 0 where a huge page has 8 subpages; expected a count of at least 1"):
        read_operation("munmap A 0 1thp-8").resolve(TOY)
    assert read_operation("read A 1thp-8").resolve(TOY)["start"] == 0


@pytest.mark.parametrize(
    ("text", "nr", "label"),
    [
        ("mprotect B 1/2thp 1 r", TOY, "mprotect(B, page 4, r)"),
        ("mprotect B 1/2thp 1 r", 512, "mprotect(B, page 256, r)"),
        ("munmap A 0 1thp", TOY, "munmap(A, pages 0…7)"),
        ("munmap A 1/2thp 2 region=S", TOY, "munmap(A, pages 4…5, region=S)"),
        ("mmap A", TOY, "mmap(A, 1 THP)"),
        ("mmap A 2thp none", TOY, "mmap(A, 2 THPs, none)"),
        ("write A 0", TOY, "write(A, page 0)"),
        ("write A 0 value=7", TOY, "write(A, page 0, value=0x7)"),
        ("mremap A 3 1 D 1thp", TOY, "mremap(A, page 3, D, at page 8)"),
        ("split A pin=p", TOY, "split(A, pin=p)"),
        ("split A 0 how=debugfs", TOY, "split(A, page 0, debugfs)"),
        ("unpin dma", TOY, "unpin(dma)"),
        ("swap_out A 0", TOY, "swap_out(A, page 0)"),
        ("fork A B", TOY, "fork(A, B)"),
    ],
)
def test_label(text: str, nr: int, label: str) -> None:
    assert read_operation(text).label(nr) == label
