"""One scenario on several kernels: the one-line comparison of docs/KERNEL.md section 5, and what compare() and its text promise."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from thplab import Machine, cli
from thplab.errors import BadInput, KernelBug
from thplab.hardware.steps import Routine, drain
from thplab.kernel.kernels import KERNELS
from thplab.kernel.schemes import Rfc
from thplab.scenario import Scenario, builtin, load
from thplab.show.describe import side_by_side
from thplab.study.compare import COSTS, EVENTS, NOT_BUILT, REFUSED, STOPPED, Compared, Comparison, compare

HUGE = "mmap A; fill A 0 1thp"
"""One process and its huge page, no subpage of which is zero-filled."""

ALL = tuple(KERNELS)


def last(scenario: str, geometry: str = "X86_64", kernels: tuple[str, ...] = ALL) -> Compared:
    return compare(scenario, kernels, geometry).operations[-1]


def on(compared: Compared, kernel: str, label: str, kernels: tuple[str, ...] = ALL) -> Any:
    """A fact on one kernel; None if there is none of that label."""
    return next((row.values[kernels.index(kernel)] for row in compared.rows if row.label == label), None)


def before(compared: Compared, kernel: str, label: str) -> Any:
    return next((row.before[ALL.index(kernel)] for row in compared.rows if row.label == label), None)


def events(compared: Compared, kernel: str) -> dict[str, int]:
    """The events that the operation has counted on one kernel."""
    index = ALL.index(kernel)
    return {row.name: int(row.values[index] or 0) for row in compared.rows if row.group == EVENTS and row.values[index]}


# --- docs/KERNEL.md, section 5 ----------------------------------------------------------------------------------------------

# The columns of section 5 are v3.16, rfc-2014, v4.5 and v6.18. Where a kernel between them does not do as its scheme's column says,
# tests/truth/README.md part A says how: copy-on-write splits the PMD since 5.8, a refused split says -EAGAIN since 6.1, and
# thp_deferred_split_page came with 4.6.
Line = dict[str, Any]
SPLIT, SPLIT_PMD, DEFERRED, ALLOC = (
    {"thp_split": 1},
    {"thp_split_pmd": 1},
    {"thp_split_pmd": 1, "thp_deferred_split_page": 1},
    {"thp_fault_alloc": 1},
)


def line(old: Any, rfc: Any, v4_5: Any, v5_10: Any, v6_1: Any, folio: Any) -> Line:
    return {"v3.16": old, "rfc-2014": rfc, "v4.5": v4_5, "v5.10": v5_10, "v6.1": v6_1, "v6.12": folio, "v6.18": folio}


def cells(line: Line) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One test for each kernel that is built, with its cell of a line of the table."""
    return pytest.mark.parametrize(("kernel", "cell"), [(kernel, line[kernel]) for kernel in KERNELS])


def test_the_table_has_a_column_for_every_kernel() -> None:
    assert KERNELS.keys() <= line(0, 0, 0, 0, 0, 0).keys()


@cells(line(("512 small pages", SPLIT), *[("compound", SPLIT_PMD)] * 5))
def test_mprotect_4k(kernel: str, cell: tuple[str, dict[str, int]]) -> None:
    done = last(f"{HUGE}; mprotect A 1/2thp 1 r")
    assert (on(done, kernel, "F0 is"), events(done, kernel)) == cell


@cells(
    line(
        ("511 small pages", -1, None, SPLIT),
        ("compound", 0, None, SPLIT_PMD),
        ("compound", 0, 1, SPLIT_PMD),
        ("compound", 0, 1, DEFERRED),
        ("compound", 0, 1, DEFERRED),
        ("compound", 0, 1, DEFERRED),
    )
)
def test_munmap_4k(kernel: str, cell: tuple[str, int, int | None, dict[str, int]]) -> None:
    done = last(f"{HUGE}; munmap A 1/2thp 1")
    freed = on(done, kernel, "page frames in use") - before(done, kernel, "page frames in use")
    assert (on(done, kernel, "F0 is"), freed, on(done, kernel, "F0 on split queue"), events(done, kernel)) == cell


COPIED, SPLIT_AND_COPIED = ("F1 by PMD", 512, ALLOC), ("1: small, else F0 by PTE", 1, SPLIT_PMD)


@cells(line(COPIED, COPIED, COPIED, *[SPLIT_AND_COPIED] * 3))
def test_fork_and_child_write(kernel: str, cell: tuple[str, int, dict[str, int]]) -> None:
    done = last(f"{HUGE}; fork A B; write B 1")
    copied = on(done, kernel, "page frames in use") - before(done, kernel, "page frames in use")
    assert (on(done, kernel, "B maps"), copied, events(done, kernel)) == cell


@cells(line("0", "-EBUSY", "-EBUSY", "-EBUSY", "-EAGAIN", "-EAGAIN"))
def test_pin_a_tail_then_split(kernel: str, cell: str) -> None:
    done = last(f"{HUGE}; pin A 5 1 dma; split A 0")
    assert on(done, kernel, "returns") == cell
    refused = cell != "0"
    assert on(done, kernel, "F0 is") == ("compound" if refused else "512 small pages")
    assert on(done, kernel, "F0 references") == ("2" if refused else "5: 2, else 1"), "the pin moves to the tail"


@cells(line(("511 small pages", None), ("compound", None), *[("compound", 1)] * 4))
def test_pin_then_munmap_4k_of_another_page(kernel: str, cell: tuple[str, int | None]) -> None:
    done = last(f"{HUGE}; pin A 5 1 dma; munmap A 8 1")
    assert (on(done, kernel, "F0 is"), on(done, kernel, "F0 on split queue")) == cell


@cells(line((10, 4, True), (6, 4, True), *[(2, 0, False)] * 4))
def test_a_pin_of_a_tail_costs(kernel: str, cell: tuple[int, int, bool]) -> None:
    machine = Machine(kernel)
    a = machine.spawn("A")
    a.mmap()
    a.write(0)
    tail = slice(machine.state.compound_pages()[0] + 5, machine.state.compound_pages()[0] + 6)
    spent = machine.costs
    drain(machine.system.scheme.get_pages(machine.system, tail))
    drain(machine.system.scheme.put_pages(machine.system, tail))
    rmw, bits, irqs = (machine.costs[name] - spent[name] for name in ("rmw", "bit_rmw", "irqs_off"))
    assert (rmw + bits, bits, irqs > 0) == cell


@cells(line(True, *[False] * 5))
def test_a_pmd_split_affects_other_processes(kernel: str, cell: bool) -> None:
    done = last(f"{HUGE}; fork A B; split_pmd B 0")
    assert (on(done, kernel, "A maps") != before(done, kernel, "A maps")) == cell
    assert on(done, kernel, "B maps") == ("small of F0" if cell else "F0 by PTE")


@cells(line(2, 2, 2, 2, 2, 4))
def test_a_pmd_unmap_costs(kernel: str, cell: int) -> None:
    done = last(f"{HUGE}; munmap A 0 1thp")
    assert on(done, kernel, "RMW of counters") + on(done, kernel, "RMW of lock bits") == cell


@pytest.mark.parametrize("kernel", [k for k in ("v4.5", "v5.10", "v6.1") if k in KERNELS])
def test_a_pmd_unmap_under_double_map_costs_513_more(kernel: str) -> None:
    done = last(f"{HUGE}; fork A B; split_pmd B 0; munmap A 0 1thp")
    assert on(done, kernel, "RMW of counters") == 2 + 513


# --- what compare() promises ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", builtin())
def test_each_kernel_does_what_it_does_alone(name: str) -> None:
    comparison = compare(load(name))
    assert not comparison.problem and [k.name for k in comparison.kernels] == list(KERNELS)
    for index, kernel in enumerate(KERNELS):
        machine = Machine(kernel)
        for op, compared in zip(comparison.scenario.ops, comparison.operations, strict=True):
            result = machine.call(op)
            assert (result == 0) == (compared.row("returns").values[index] == "0")
        events = {row.name: row.values[index] for row in comparison.totals if row.group == EVENTS and row.values[index] is not None}
        assert events == machine.vmstat
        assert sum(int(row.values[index] or 0) for row in comparison.totals if row.group == COSTS) == sum(machine.costs.values())


def test_the_rows_of_an_operation_are_what_it_changed() -> None:
    compared = compare("mmap A; write A 0; munmap A 1 1; read A 0", ("rfc-2014", "v4.5"), "TOY").operations
    differing = {row.label for row in compared[2].differing()}
    assert "F0 on split queue" in differing and "F0 is" not in differing, "what did not move is not told again"
    assert {row.label for row in compared[3].differing()} == set()
    assert "thp_split_pmd" in {row.label for row in compared[2].equal()}
    assert all(row.differs for row in compared[2].differing()) and not any(row.differs for row in compared[2].equal())
    assert compared[2].row("A Rss kB").values == (28, 28) and compared[2].row("A Rss kB").before == (32, 32)


def test_contents_are_told_and_compared() -> None:
    done = compare("mmap A; fill A 0 1thp; write A 3; fork A B; write B 1", ALL, "TOY").operations
    assert done[1].row("A contents").values == ("all 0x100000001 and up",) * len(ALL)
    assert done[2].row("A contents").values == ("0–2: 0x100000001 and up, 3: 0x100000055, 4–7: 0x100000005 and up",) * len(ALL)
    assert not done[4].row("A contents").moved and done[4].row("B contents").moved


def test_huge_pages_are_named_by_first_sight_and_followed_to_the_end() -> None:
    done = compare("mmap A; write A 0; split A 0; munmap A 0 1thp; mmap A region=S; write A 0 region=S", ALL, "TOY").operations
    assert set(done[3].row("F0 is").values) == {"gone"}
    assert set(done[5].row("F1 is").values) == {"compound"} and set(done[5].row("F0 is").values) == {"gone"}
    assert set(done[5].row("A.S maps").values) == {"F1 by PMD"}


def test_a_page_that_was_given_back_is_no_part_of_its_huge_page_any_more() -> None:
    others = "mmap A 1thp none region=S; write A 0 1thp region=S"
    done = compare(f"mmap A; fill A 0 1thp; split A 0; madvise A 3 1 dontneed; {others}", ALL, "TOY").operations
    assert set(done[3].row("F0 is").values) == {"7 small pages"} and set(done[3].row("A maps").values) == {"3: nothing, else small of F0"}
    assert set(done[5].row("A.S maps").values) == {"small"}, "also the one that lies in the same frame"


def test_each_scheme_shows_its_own_counters() -> None:
    kernels = ("rfc-2014", "v4.5", "v6.18")
    fork = compare("mmap A; write A 0; fork A B; split_pmd B 0", kernels, "TOY").operations[2:]
    assert fork[0].row("F0 PMD counter").values == (None, 2, 2) and fork[0].row("F0 PMD counter").before == (None, 1, 1)
    assert fork[0].row("F0 mapcounts").values == ("0: 2, else 0", "all 0", "all 0")
    assert fork[1].row("F0 double_map").values == (None, 1, None)
    assert fork[1].row("F0 _nr_pages_mapped").values == (None, None, "0x800008")


def test_the_huge_zero_page_is_nobodys() -> None:
    done = last("mmap A; read A 0", "TOY")
    assert set(done.row("page frames in use").values) == {0} and set(done.row("A maps").values) == {"zero"}


def test_what_a_kernel_does_not_have_is_answered_and_the_scenario_goes_on() -> None:
    kernels = ("v4.5", "v5.10")
    comparison = compare("mmap A; write A 0; pin A 0 1 dma io_uring; unpin dma; madvise A 0 1 cold; write A 1", kernels, "TOY")
    answers = [compared.row("returns").values for compared in comparison.operations]
    assert answers == [("0", "0"), ("0", "0"), ("-ENOSYS", "0"), (REFUSED, "0"), ("-EINVAL", "0"), ("0", "0")]
    assert comparison.operations[3].remarks[0].startswith("pin 'dma' is not held") and comparison.operations[3].remarks[1] == ""
    said = {operation: comparison.operations[operation].remarks for operation in (1, 2, 4)}
    cold = "madvise: this kernel does not know the advice 'cold'"
    assert said == {1: ("", ""), 2: ("io_uring does not exist in this kernel: there is no FOLL_PIN", ""), 4: (cold, "")}
    assert not comparison.problem
    # what changed nothing: a kernel that could not do it is as it was
    assert comparison.operations[3].row("F0 references").values[0] == comparison.operations[2].row("F0 references").values[0]


def test_what_no_kernel_can_do_is_a_problem() -> None:
    comparison = compare("mmap A; memcg_new A; write A 0", ALL)
    assert set(comparison.operations[1].row("returns").values) == {NOT_BUILT}
    assert comparison.problem.startswith("no kernel can carry out operation 2, memcg_new: operation 'memcg_new' is not built")
    assert set(comparison.operations[2].row("returns").values) == {"0"}


class Broken(Rfc):
    name = "broken"

    def dup_pmd_rmap(self, *_: Any) -> Routine[None]:
        raise KernelBug("counts no forks")
        yield


def test_a_kernel_with_a_bug_stops_and_the_others_go_on() -> None:
    mine = replace(KERNELS["rfc-2014"], name="mine", scheme=Broken())
    comparison = compare("mmap A; write A 0; fork A B; write A 1", ("rfc-2014", mine))
    assert [c.row("returns").values for c in comparison.operations[2:]] == [("0", STOPPED), ("0", STOPPED)]
    assert comparison.problem == "mine: KernelBug: counts no forks"
    assert comparison.operations[3].row("thp_fault_alloc").values == (1, 0)
    assert "mine: KernelBug: counts no forks" in side_by_side(comparison)


@pytest.mark.parametrize("kernels", [("v4.5",), ("v4.5", "v4.5"), ("v4.5", "v9.9")])
def test_kernels_that_make_no_comparison(kernels: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match=r"two or more different ones of|one of "):
        compare("mmap A", kernels)


def test_a_comparison_is_plain_data() -> None:
    one, other = compare("mmap A; write A 0", ("rfc-2014", "v4.5")), compare(Scenario.parse("mmap A; write A 0"), ("rfc-2014", "v4.5"))
    assert one == other and isinstance(hash(one.operations), int)
    with pytest.raises(BadInput, match="label is 'F9 is'; expected one of returns, "):
        one.operations[0].row("F9 is")


def test_a_swap_device_comes_with_the_scenario_or_by_request() -> None:
    out = "mmap A; write A 0; madvise A 0 1thp pageout"
    for comparison in (compare(f"env zram\n{out}", ("v5.10", "v6.18")), compare(out, ("v5.10", "v6.18"), swap="zram")):
        assert comparison.operations[-1].row("A Swap kB").values == (32, 32)


# --- the text -----------------------------------------------------------------------------------------------------------------

STORY = "mmap A; write A 0; fork A B; write B 1; pin A 4 1 dma; split A 0; munmap A 3 1; unpin dma; madvise A 0 1 collapse"


def table(text: str, number: int) -> list[str]:
    """The lines about one operation."""
    return re.split(r"\n\n(?:\d+\. |In all)", text)[number].splitlines()[1:]


def columns(comparison: Comparison, width: int) -> list[int]:
    """Where the columns of the kernels begin."""
    header = next(row for row in side_by_side(comparison, width).splitlines() if row.split() == [k.name for k in comparison.kernels])
    return [header.index(k.name) for k in comparison.kernels]


@pytest.mark.parametrize("width", [40, 100, 117, 140, 300])
@pytest.mark.parametrize("count", range(2, len(ALL) + 1))
def test_the_text_fits_and_its_columns_stand(width: int, count: int) -> None:
    comparison = compare(STORY, ALL[:count], "TOY")
    lines = side_by_side(comparison, width).splitlines()
    assert max(map(len, lines)) <= min(max(width, 100), 140)
    starts = columns(comparison, width)
    rows = [row for row in lines if re.match(r" {4}(F0 references|RMW of counters|thp_fault_alloc)", row)]
    assert rows
    for row in rows:
        for start in starts:
            assert row[start - 1] == " " and row[start : start + 1].strip(), row


def test_what_is_equal_takes_one_line_and_what_differs_is_marked() -> None:
    text = side_by_side(compare(STORY, ("rfc-2014", "v4.5", "v6.1"), "TOY"), 120)
    assert table(text, 1) == ["   all the same: returns 0; A maps nothing; A contents all 0; lock mmap_sem 1"]
    fork = table(text, 3)
    assert fork[0].startswith("   the same: returns 0; ") and fork[1].split() == ["rfc-2014", "v4.5", "v6.1"]
    split = table(text, 6)
    assert split[0].startswith("   the same: ") and "contents unchanged" in split[0] and "thp_split_page_failed 1" in split[0]
    assert split[2].split("  ")[1:2] == ["returns"] and re.split(r" {2,}", split[2].strip())[1:] == ["-EBUSY", "-EBUSY", "*-EAGAIN"]
    assert not any("page frames in use" in row for row in split), "a refused split changes nothing"


def test_what_moved_is_told_as_old_and_new() -> None:
    text = side_by_side(compare(STORY, ("rfc-2014", "v6.1"), "TOY"))
    row = next(row for row in table(text, 4) if "page frames in use" in row)
    assert re.split(r" {2,}", row.strip()) == ["page frames in use", "8 → 16", "*8 → 9"]


def test_the_summary_has_the_events_and_costs_of_all_of_it() -> None:
    comparison = compare(STORY, ("rfc-2014", "v4.5", "v6.18"), "TOY")
    rows = {parts[0]: parts[1:] for row in table(side_by_side(comparison), -1) if len(parts := re.split(r" {2,}", row.strip())) == 4}
    for total in comparison.totals:
        if any(total.values):
            shown = [cell.removeprefix("*") for cell in rows[total.label]]
            assert shown == ["-" if value is None else str(value) for value in total.values]
    assert "thp_zero_page_alloc" not in rows, "what never happened is left out"


def test_remarks_name_the_kernels_once() -> None:
    text = side_by_side(compare("mmap A; write A 0; unpin dma", ("rfc-2014", "v4.5")))
    assert text.count("rfc-2014, v4.5: pin 'dma' is not held") == 1 and "all the same: returns refused" in text
    assert "PROBLEM no kernel can carry out operation 3, unpin" in text


def test_phases_have_their_titles() -> None:
    text = side_by_side(compare(load("story"), ("rfc-2014", "v4.5")))
    assert [text.count(f"== {phase.title} ==") for phase in load("story").phases] == [1] * len(load("story").phases)


# --- the command --------------------------------------------------------------------------------------------------------------


def test_the_command_compares(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "130")
    assert cli.main(["compare", "partial_munmap", "--kernels", "rfc-2014,v6.18", "--geometry", "MINI"]) == 0
    assert capsys.readouterr().out == side_by_side(compare(load("partial_munmap"), ("rfc-2014", "v6.18"), "MINI"), 130)
    assert cli.main(["compare", "mmap A"]) == 0
    assert capsys.readouterr().out == side_by_side(compare("mmap A"), 130)


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["mmap A; memcg_new A"], 1, ""),
        (["mmap A", "--kernels", "v4.5"], 2, "two or more different ones"),
        (["mmap A", "--kernels", "v4.5,v9.9"], 2, "expected one of rfc-2014"),
        (["mmap A", "--geometry", "huge"], 2, "expected one of X86_64"),
        (["stroy"], 2, "expected story"),
    ],
)
def test_the_command_says_what_is_wrong(words: list[str], status: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *words]) == status
    assert told in capsys.readouterr().err
