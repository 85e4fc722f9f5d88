"""What a step asks of its kernel record: "why do we believe this?" of the stepper."""

from __future__ import annotations

import pytest

from thplab.kernel.evidence import Recorded
from thplab.kernel.kernels import KERNELS
from thplab.kernel.mutants import MUTANTS
from thplab.kernel.policies import POLICIES
from thplab.learn.widgets.payload import payload
from thplab.machine.trace import Setup, Trace, record
from thplab.scenario import load
from thplab.study.asked import asked_policies
from thplab.study.explore import PAIRS, replay

SCENARIO = "mmap A; write A 0; fork A B; write A 1; pin B 2 1 dma; split B 2; munmap A 0 4"


def told(trace: Trace) -> list[object]:
    return [(frame.step, frame.result, frame.stack) for frame in trace]


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_not_asked_changes_nothing(kernel: str) -> None:
    trace = record(SCENARIO, Setup(kernel))
    asked = {name for names in asked_policies(trace) for name in names}
    assert len(asked) > 5
    for name in POLICIES:
        value = KERNELS[kernel].policy(name)
        if isinstance(value, bool) and name not in asked:
            assert told(record(SCENARIO, Setup(KERNELS[kernel].but({name: not value})))) == told(trace), name


def test_a_policy_is_asked_on_the_way_to_the_step_that_it_decides() -> None:
    trace = record(SCENARIO, Setup("v5.10"))
    asked = asked_policies(trace)
    other = record(SCENARIO, Setup(KERNELS["v5.10"].but({"cow.splits_pmd": False})))
    first = next(number for number, (one, two) in enumerate(zip(told(trace), told(other), strict=False)) if one != two)
    assert "cow.splits_pmd" in asked[first] and trace[first].op_index == 3
    assert not any("cow.splits_pmd" in names for names in asked[:first])


def test_a_trace_that_stops_is_told_as_far_as_it_came_and_one_with_another_cpu_not_at_all() -> None:
    stopping = [record("mmap A; mmap A"), *(record(load(m.scenario), Setup(m.kernel, mutant=name)) for name, m in MUTANTS.items())]
    assert any(trace.problem for trace in stopping[1:])
    for trace in stopping:
        assert len(asked_policies(trace)) == len(trace)
    branch = record("mmap A; write A 0", Setup("v5.10"))
    branch.seek(len(branch) - 3)
    for other in (branch.fork("mmap B"), replay(PAIRS["naive-split-and-pin"], "0x3")):
        assert asked_policies(other) == []
        data = payload(other)
        assert data["policies"] == [] and not any(frame["asks"] for frame in data["frames"])


def test_the_page_gets_the_policies_with_their_evidence() -> None:
    trace = record(SCENARIO, Setup("v6.1", geometry="MINI"))
    data = payload(trace)
    for names, frame in zip(asked_policies(trace), data["frames"], strict=True):
        assert {data["policies"][number]["name"] for number in frame["asks"]} == set(names)
    row = next(row for row in data["policies"] if row["name"] == "cow.splits_pmd")
    belief = KERNELS["v6.1"].evidence("cow.splits_pmd")
    assert (row["value"], row["kernel"], row["why"]) == ("yes", "v5.10", tuple(map(str, belief.evidence)))
    assert any(isinstance(each, Recorded) for each in belief.evidence)


def test_a_mutant_that_is_wrong_in_a_policy_has_no_evidence_for_it() -> None:
    data = payload(record(load(MUTANTS["copies_a_small_page"].scenario), Setup("v4.5", "MINI", mutant="copies_a_small_page")))
    (row,) = [row for row in data["policies"] if row["name"] == "cow.splits_pmd"]
    assert row["value"] == "yes" and row["why"] == ("own: a record of somebody's own says so, where v4.5 has False",)
