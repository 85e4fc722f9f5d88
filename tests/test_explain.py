"""thplab explain: readers of foreign texts, what cannot be, what fits, and whether that is true of recorded kernels."""

from __future__ import annotations

import ctypes
import importlib.util
import io
import mmap
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from thplab import cli
from thplab.errors import BadInput
from thplab.kernel.kernels import KERNELS
from thplab.machine.trace import Setup, record
from thplab.scenario import Scenario
from thplab.show.explained import explain
from thplab.study.explain import Explained, Given, explain_texts
from thplab.study.explain.contents import Contents
from thplab.study.explain.counters import kind
from thplab.study.explain.explanation import joined
from thplab.study.explain.pagemap_text import read_dump, write_dump
from thplab.study.explain.smaps_text import contradictions, read_smaps
from thplab.study.live import unable

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs/examples/explain"
HEADER = "7f0000000000-7f0000200000 rw-p 00000000 00:00 0"


def entry(header: str = HEADER, /, **figures: int) -> str:
    given = {"Size": 2048, "Rss": 2048, "Pss": 2048, "Anonymous": 2048, "AnonHugePages": 2048, "LazyFree": 0, "Swap": 0, **figures}
    return "\n".join([header, *(f"{name}: {value} kB" for name, value in given.items())]) + "\n"


def vmstat(**counters: int) -> str:
    given = {name: 0 for name in KERNELS["v6.12"].proc.events} | counters
    return "nr_free_pages 100\n" + "".join(f"{name} {value}\n" for name, value in given.items())


def told(*texts: str, kernel: str = "v6.12", at: str = "") -> Explained:
    return explain_texts([Given(text, f"file{n}") for n, text in enumerate(texts, 1)], kernel, at)


def lines(explained: Explained, part: int = 0) -> list[str]:
    """The scenarios of all that fits exactly, and with whatever the reader has given."""
    return [fit.example.line for one in explained.parts[part].found if one.exact for fit in one.ways]


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "file1, line 1"),
        ("hello\n", "file1, line 1"),
        (f"{HEADER}\nRss: 4 kB\nRss: 4 kB\n", "file1, line 3 has Rss for the second time"),
        (f"{HEADER}\nRss: 4 MB\n", "file1, line 2"),
        (f"{HEADER}\nRss: {2**60} kB\n", "file1, line 2"),
        ("7f0000200000-7f0000000000 rw-p 00000000 00:00 0\n", "file1, line 1"),
        ("thp_split_pmd 1\nthp_split_pmd 2\n", "file1, line 2 has thp_split_pmd for the second time"),
        ("thp_split_pmd 1\nthp_split_pmd = 2\n", "file1, line 2"),
        ("# thplab pagemap 1: 0x1000, 9999999 pages\n", "file1, line 1"),
        ("# thplab pagemap 1: 0x1001, 1 pages\n", "file1, line 1"),
        ("# thplab pagemap 1: 0x0, 8 pages\n0 9 present pte yes - - - -\n", "file1, line 2 goes beyond"),
        ("# thplab pagemap 1: 0x0, 8 pages\n1000 2 present pte yes - - - -\n0 1 present pte yes - - - -\n", "file1, line 3 goes beyond|file1, line 3 begins"),
        ("# thplab pagemap 1: 0x0, 8 pages\n0 1 there pte yes - - - -\n", "file1, line 2"),
        ("# thplab pagemap 1: 0x0, 8 pages\nframe F0 511 2 tail 0\n", "file1, line 2"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_and_line(text: str, wrong: str) -> None:
    with pytest.raises(BadInput, match=wrong):
        told(text)


def test_a_third_of_a_kind_an_unknown_kernel_and_nothing_are_refused() -> None:
    for texts, options in (((entry(),) * 3, {}), ((entry(),), {"kernel": "v9"}), ((), {}), ((entry(),), {"at": "zz"}), ((entry(),), {"at": "10"})):
        with pytest.raises(BadInput):
            told(*texts, **options)


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (entry(Anonymous=1024, AnonHugePages=2048), "AnonHugePages is 2048 kB, more than Anonymous, 1024 kB"),
        (entry(Rss=2047), "Rss is 2047 kB, not a multiple of 4 kB"),
        (entry(AnonHugePages=2044), "AnonHugePages is 2044 kB, not a multiple of 2048 kB"),
        (entry(Pss=4096), "Pss is 4096 kB, more than Rss"),
        (entry(Rss=4096, Anonymous=4096, Size=4096, AnonHugePages=4096), "Size is 4096 kB, but the addresses are 2048 kB apart"),
        (entry("7f0000100000-7f0000300000 rw-p 00000000 00:00 0"), "only 0 aligned huge pages fit in"),
        (entry(Shared_Clean=0, Shared_Dirty=4, Private_Clean=0, Private_Dirty=4), "add up to 8 kB, but Rss is 2048 kB"),
        (entry(Shared_Clean=0, Shared_Dirty=2048, Private_Clean=0, Private_Dirty=0), "Pss is all of Rss"),
    ],
)
def test_a_contradiction_is_named_and_nothing_else_is_said(text: str, says: str) -> None:
    (part,) = told(text).parts
    assert any(says in wrong for wrong in part.wrong) and not part.found


def test_the_huge_zero_page_is_in_anon_huge_pages_where_the_kernel_counts_it() -> None:
    text = entry(Anonymous=0)
    assert not told(text, kernel="v3.16").wrong and told(text, kernel="v6.12").wrong


def test_counters_that_fall_or_that_the_kernel_does_not_have_are_named() -> None:
    wrong = told(vmstat(thp_split_pmd=4), vmstat(thp_split_pmd=3)).wrong
    assert len(wrong) == 1 and wrong[0].startswith("thp_split_pmd falls from 4 to 3")
    wrong = told("thp_split_pmd 1\nnr_free_pages 9\n", "thp_split_pmd 1\nnr_free_pages 2\n", kernel="v3.16").wrong
    assert len(wrong) == 1 and "thp_split_pmd is no counter of v3.16" in wrong[0] and "thp_split" in wrong[0]


# --- what fits --------------------------------------------------------------------------------------------------------


def test_a_hole_is_told_with_what_is_held_and_apart_from_small_pages() -> None:
    figures: dict[str, int] = {"Rss": 2036, "Pss": 2036, "Anonymous": 2036, "AnonHugePages": 0}
    part = told(entry(HEADER, **figures)).parts[0]
    states = {(one.contents, one.around.kept) for one in part.found}
    assert (Contents(parts=509), 3) in states and any(one.small_alone == 509 for one in part.found)
    assert any("kpageflags" in row.where for row in part.apart) and all(len(row.shows) == len(part.found) for row in part.apart)


def test_counters_decide_between_a_split_pmd_and_a_split_page() -> None:
    figures = entry(AnonHugePages=0)
    pmd = told(figures, vmstat(), vmstat(thp_split_pmd=1)).parts[0].found[0]
    page = told(figures, vmstat(), vmstat(thp_split_pmd=1, thp_split_page=1)).parts[0].found[0]
    assert pmd.contents == Contents(parts=512) and "mprotect" in pmd.best.example.op
    assert page.contents == Contents(small=512) and page.best.score.extra == 0


def test_before_and_after_tell_what_was_done() -> None:
    hole = {"Rss": 2044, "Pss": 2044, "Anonymous": 2044, "AnonHugePages": 0}
    kinds = {kind(line.rpartition("; ")[2]) for line in lines(told(entry(), entry(HEADER, **hole)))}
    assert {"munmap of a part", "madvise dontneed of a part"} <= kinds
    back = {kind(line.rpartition("; ")[2]) for line in lines(told(entry(AnonHugePages=0), entry()))}
    assert "madvise collapse of all" in back and "munmap of a part" not in back


def test_many_huge_pages_are_explained_as_the_same_several_times_or_beside_whole_ones() -> None:
    wide = "7f0000000000-7f0001400000 rw-p 00000000 00:00 0"
    ten = told(entry(wide, Size=20480, Rss=10 * 2036, Pss=10 * 2036, Anonymous=10 * 2036, AnonHugePages=0)).parts[0]
    assert any(one.best.times == 10 and one.contents == Contents(parts=509) and one.around.kept == 3 for one in ten.found)
    shared = told(entry(wide, Size=20480, Rss=20480, Pss=20480 - 1024, Anonymous=20480, AnonHugePages=20480)).parts[0].found[0]
    assert (shared.best.times, shared.best.huge, shared.around.shared) == (1, 9, 512)


def test_what_no_example_shows_is_told_with_its_difference() -> None:
    part = told(entry(Pss=1000)).parts[0]
    assert part.found and not part.found[0].exact and not part.apart
    assert part.found[0].best.off["Pss"] == 1000 - part.found[0].best.view.figures["Pss"]
    assert "Nothing fits. The nearest:" in repr(explain(entry(Pss=1000), kernel="v6.12"))


def test_a_failed_split_says_that_somebody_holds_a_reference() -> None:
    part = told(vmstat(), vmstat(thp_split_page_failed=1)).parts[0]
    assert part.found and all("pin A" in fit.example.before for one in part.found for fit in one.ways)
    assert part.raised[0].routines == ("split_huge_page_to_list_to_order()",)


def test_a_sum_of_operations_raises_what_was_counted() -> None:
    events = {"thp_fault_alloc": 18, "thp_split_pmd": 5, "thp_split_page": 2}
    part = told(vmstat(), vmstat(**events)).parts[0]
    assert not part.found and part.sums
    for made in part.sums:
        total: dict[str, int] = {}
        for times, example in made.parts:
            for name, count in example.events.items():
                total[name] = total.get(name, 0) + times * count
        assert total == events


def test_a_scenario_that_is_told_does_what_is_said() -> None:
    fit = told(entry(Rss=2036, Pss=2036, Anonymous=2036, AnonHugePages=0)).parts[0].found[1].best
    state = record(Scenario.parse(fit.example.line), Setup("v6.12", "X86_64"))[-1].state
    assert state.vmstat == fit.example.state.vmstat and state.exact == fit.example.state.exact


# --- dumps ------------------------------------------------------------------------------------------------------------

HOLE = [[0, 1, "present", "F0", 0, 1, "head", "pte", 1], [1, 7, "present", "F0", 1, 1, "tail", "pte", 1], [11, 501, "present", "F0", 11, 1, "tail", "pte", 1]]
HUGE = [[0, 1, "present", "F0", 0, 1, "head", "pmd", 1], [1, 511, "present", "F0", 1, 1, "tail", "pmd", 1]]
HELD = {"F0": [[0, 1, "head", 1], [1, 7, "tail", 1], [8, 3, "tail", 0], [11, 501, "tail", 1]]}


def hidden(runs: list[list[Any]]) -> list[list[Any]]:
    """As somebody sees them who is not root."""
    return [[page, count, state, None, None, None, None, how, known] for page, count, state, _, _, _, _, how, known in runs]


def test_a_dump_is_read_as_it_was_written_and_tells_one_state() -> None:
    text = write_dump(0x7F0000000000, 512, "6.12.1", HOLE, HELD)
    (slot,) = read_dump(text, "x").slots()
    assert (slot.contents, slot.kept, slot.shared) == (Contents(parts=509), 3, 0)
    (part,) = told(text).parts
    assert [one.contents for one in part.found if one.exact] == [Contents(parts=509)]


def test_without_root_parts_of_huge_pages_may_be_small_pages() -> None:
    (part,) = told(write_dump(0x7F0000000000, 512, "6.12.1", hidden(HOLE), {})).parts
    assert {one.contents for one in part.found} >= {Contents(parts=509), Contents(small=509)}


def test_two_dumps_tell_what_was_done_between() -> None:
    before, after = (write_dump(0x7F0000000000, 512, "6.12.1", hidden(runs), {}) for runs in (HUGE, HOLE))
    assert {kind(line.rpartition("; ")[2]) for line in lines(told(before, after))} >= {"munmap of a part", "madvise dontneed of a part"}


def test_a_dump_of_another_kernel_is_named() -> None:
    texts = [write_dump(0x7F0000000000, 512, release, hidden(HUGE), {}) for release in ("6.12.117", "6.18.44")]
    assert [len(told(text).parts) for text in texts] == [1, 2]
    assert "v6.18 is nearest" in told(texts[1]).parts[0].facts[0]


def test_a_pmd_that_maps_half_a_huge_page_cannot_be() -> None:
    rows = "7f0000000000 256 present pmd yes - - - -\n"
    assert told("# thplab pagemap 1: 0x7f0000000000, 512 pages\n" + rows).wrong


# --- recordings -------------------------------------------------------------------------------------------------------


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("explained", ROOT / "benchmarks/explained.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["linux-4.5.jsonl", "linux-6.12.jsonl"])
def test_the_truth_is_among_the_explanations_of_recorded_operations(name: str) -> None:
    asking = benchmark()
    found = asking.ask(list(asking.cases(ROOT / "tests/truth" / name))[::24])
    shares = {question: share.share for question, share in found.items()}
    assert min(share.asked for share in found.values()) > 10
    assert shares["smaps: no contradiction is seen"] == 1
    assert shares["smaps: ... among the six that are told"] > 0.9
    assert shares["vmstat: the operation is among those that raise just this"] > 0.85


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(unable()), reason=unable())
def test_this_process_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = 2 << 20
    memory = mmap.mmap(-1, 3 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    for at in range(0, 3 * size, 4096):
        memory[at] = 1
    smaps = Path("/proc/self/smaps").read_text()
    assert [text for one in joined(read_smaps(smaps, "smaps")) for text in contradictions(one, KERNELS["v6.18"])] == []
    at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    explained = told(smaps, Path("/proc/vmstat").read_text(), kernel="v6.18", at=f"{at:x}")
    assert explained.wrong == ()
    assert any(one.exact for part in explained.parts for one in part.found)
    sorts = {fact for part in explained.parts for fact in part.facts}
    assert any("of a private mapping of a file" in fact for fact in sorts) and any("pages of the kernel itself" in fact for fact in sorts)
    memory.close()


@pytest.mark.parametrize(
    ("header", "figures", "says"),
    [
        ("55d000000000-55d000021000 r-xp 00001000 fe:00 26723   /usr/lib/libc.so.6", {}, "a private mapping of a file"),
        ("55d000000000-55d000021000 rw-s 00001000 00:01 26723   /dev/shm/x", {}, "a shared mapping of a file or of shared memory"),
        ("7ffc1234000-7ffc1236000 r-xp 00000000 00:00 0   [vdso]", {}, "pages of the kernel itself ([vdso])"),
        ("7f0000000000-7f0000001000 ---p 00000000 00:00 0", {"Size": 4, "Rss": 0}, "nobody may touch it"),
        ("7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0   [stack]", {"Size": 132, "Rss": 40}, "no aligned 2 MiB fit in it"),
        ("555500100000-555500700000 rw-p 00000000 00:00 0   [heap]", {"Size": 6144, "Rss": 40}, "it begins and ends inside of 2 MiB"),
    ],
)
def test_entries_of_all_sorts_have_sensible_words(header: str, figures: dict[str, int], says: str) -> None:
    text = "\n".join([header, *(f"{name}: {value} kB" for name, value in figures.items())])
    assert says in repr(explain(text, kernel="v6.12"))


def test_neighbours_that_share_a_huge_page_are_explained_together() -> None:
    cut = [
        entry("7f0000000000-7f0000008000 rw-p 00000000 00:00 0", Size=32, Rss=32, Pss=32, Anonymous=32, AnonHugePages=0),
        entry("7f0000008000-7f0000009000 r--p 00000000 00:00 0", Size=4, Rss=4, Pss=4, Anonymous=4, AnonHugePages=0),
        entry("7f0000009000-7f0000200000 rw-p 00000000 00:00 0", Size=2012, Rss=2012, Pss=2012, Anonymous=2012, AnonHugePages=0),
    ]
    part = told("".join(cut)).parts[0]
    assert "7f0000000000-7f0000200000 several" in part.title and Contents(parts=512) in [one.contents for one in part.found]


# --- the command, the page, the documentation ---------------------------------------------------------------------------


def test_the_command_writes_a_page_with_a_picture_and_says_what_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "x.html"
    assert cli.main(["explain", str(EXAMPLES / "hole.smaps"), "--kernel", "v6.12", "-o", str(page)]) == 0
    written = page.read_text()
    assert written.count("<svg") == 1 and "509 pages of a huge page" in written and "What tells them apart" in written
    monkeypatch.setattr("sys.stdin", io.StringIO(entry(Rss=2047)))
    assert cli.main(["explain", "-", "--text-only"]) == 1
    assert "cannot be: Rss is 2047 kB" in capsys.readouterr().out
    assert cli.main(["explain", str(tmp_path / "none")]) == 2 and cli.main(["explain"]) == 2
    assert cli.main(["explain", str(page)]) == 2 and "line 1" in capsys.readouterr().err
    assert cli.main(["explain", "--dump", "x", "0", "4096"]) == 2 and cli.main(["explain", "--dump", "1", "0", "0"]) == 2


@pytest.mark.parametrize("number", [0, 1])
def test_the_documentation_shows_what_comes_out(number: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```console\n\$ thplab (explain [^\n]+)\n(.*?)```", (ROOT / "docs/explain.md").read_text(), re.DOTALL)
    command, wanted = blocks[number]
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setenv("COLUMNS", "100")
    cli.main(shlex.split(command))
    assert capsys.readouterr().out == wanted


def test_a_notebook_shows_words_and_a_picture() -> None:
    shown = explain((EXAMPLES / "hole.smaps").read_text(), kernel="v6.12")
    assert "on v6.12" in repr(shown) and shown._repr_html_().count("<svg") == 1
