"""The built-in scenarios, and how a scenario is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from thplab.errors import BadInput
from thplab.scenario import Scenario, builtin, load
from thplab.scenario.kinds import Value
from thplab.scenario.text import read_operation, write_operation

TOY = 8
TRUTH = sorted((Path(__file__).parent / "truth").glob("linux-*.jsonl"))
STORY = "mmap A 1thp; write A 0; fork A B; mprotect B 1/2thp 1 r; pin A 1/2thp 1 dma; swap_out A 0; unpin dma; munmap B 1thp-1 1"


def test_the_built_ins() -> None:
    assert builtin() == ("story", "cow", "partial_munmap", "last_pmd", "small_pages", "zero_page", "pinned_munmap", "pinned_split")
    for name in builtin():
        scenario = load(name)
        assert scenario.name == name and scenario.about and scenario.ops
        assert Scenario.parse(scenario.format()) == scenario
        for nr in (4, TOY, 512):
            assert all(operation.label(nr) for operation in scenario.ops)


@pytest.mark.parametrize("name", builtin())
def test_a_built_in_names_only_what_exists(name: str) -> None:
    """Each process lives when it acts and has ended at the end; each pin is taken before it is given back, and is given back."""
    alive, pins = {"A"}, set[Value]()
    for operation in load(name).ops:
        proc = operation.fields.get("proc")
        assert proc is None or proc in alive
        match operation.op:
            case "fork":
                alive.add(str(operation.fields["child"]))
            case "exit":
                alive.remove(str(proc))
            case "pin":
                pins.add(operation.fields["pin"])
            case "unpin":
                pins.remove(operation.fields["pin"])
    assert not alive and not pins


def test_the_story_is_the_rfcs() -> None:
    story = load("story")
    assert len(story.phases) == 7
    assert all(phase.title and phase.why.endswith(".") for phase in story.phases)
    assert [phase.ops and "; ".join(map(write_operation, phase.ops)) for phase in story.phases] == [
        "mmap A; write A 0",
        "fork A B",
        "mprotect B 1/2thp 1 r",
        "read B 1/2thp; read A 1/2thp",
        "pin A 1/2thp 1 dma; swap_out A 0",
        "unpin dma; split A 0",
        "munmap B 1/2thp 1; exit B; exit A",
    ]


def test_load_takes_text_a_file_and_a_record(tmp_path: Path) -> None:
    assert load(STORY) == Scenario.parse(STORY)
    assert load("memcg_force_empty;").ops == (read_operation("memcg_force_empty"),)
    for name in ("plain", "with space;.txt"):
        path = tmp_path / name
        path.write_text("\ufeffscenario s\n" + STORY, encoding="utf-8")
        assert load(str(path)) == Scenario("s", phases=Scenario.parse(STORY).phases)
    lived = load(f"{TRUTH[0]}:l_pin_tail")
    assert (lived.name, lived.about) == ("l_pin_tail", "one pin of tail 77")
    assert write_operation(lived.ops[2]) == "pin A 77 1 p raw"


def test_load_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'stroy' is neither built in nor a file nor operations; expected story, a file or operations"):
        load("stroy")
    with pytest.raises(BadInput, match="expected one of cow, last_pmd, partial_munmap, pinned_munmap, pinned_split, small_pages, story"):
        load("")
    with pytest.raises(BadInput, match="is neither built in"):
        load("x" * 10_000)
    with pytest.raises(BadInput, match="is neither built in"):
        load("x\0")
    with pytest.raises(BadInput, match=r"'l_pin_tale' is not in .*; expected .*l_pin_tail"):
        load(f"{TRUTH[0]}:l_pin_tale")
    with pytest.raises(BadInput, match=r"file .*none.jsonl' cannot be read .*; expected a truth file"):
        load(f"{tmp_path}/none.jsonl:x")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"ops": []}\n\n{"name": "y", "ops": []}\nnot json\n')
    assert load(f"{bad}:y") == Scenario("y")
    with pytest.raises(BadInput, match=r"line 4 is not JSON .*; expected an object"):
        load(f"{bad}:x")
    bad.write_bytes(b"\xff\xfe mmap")
    with pytest.raises(BadInput, match="cannot be read"):
        load(str(bad))
