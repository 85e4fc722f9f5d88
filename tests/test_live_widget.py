"""The live lab as a widget, and the stepper's run on the kernel of this machine: what is shown, said and refused.

What needs a live run is a run where this machine allows one; elsewhere the same test holds the widget to the recording and its reason.
"""

from __future__ import annotations

import os
import re
import threading
from typing import Any

import pytest
from asking import ask, unpacked
from test_live import LONG, processes_of, until

from thplab.errors import BadInput
from thplab.learn.widgets import LiveLab, Stepper
from thplab.learn.widgets.live_payload import LIVE, RECORDED, in_words, live_payload
from thplab.machine.trace import Insert, Setup, record
from thplab.scenario import Operation, load
from thplab.study.explore import replay
from thplab.study.explore.pairs import pair_named
from thplab.study.live.limits import room
from thplab.study.live import nearest, portable_builtins, shipped, unable
from thplab.study.live.support import release
from thplab.study.live.text import ShownField, rows
from thplab.study.verify import replay_records

WHY = unable()
COLD = "mmap A; write A 0; madvise A 1/4thp 1/4thp cold"  # no recorded run of it comes with thplab


def kept(name: str) -> dict[str, Any]:
    found = shipped(load(name))
    assert found is not None
    return found


def all_rows(operation: dict[str, Any]) -> list[list[Any]]:
    return [row for group in operation["groups"] for row in group["rows"]]


# --- what is shown --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [scenario.name for scenario in portable_builtins()])
def test_a_recorded_run_is_shown_field_by_field(name: str) -> None:
    lab = LiveLab(name, recorded=True)
    data, recorded = unpacked(lab.compared), kept(name)
    simulator = nearest(recorded["kernel"])[0]
    outcomes = list(replay_records([recorded], simulator))
    assert (data["kind"], data["kernel"], data["simulator"]) == (RECORDED, recorded["kernel"], simulator)
    assert "recorded=True" in lab.says and f"Recorded on Linux {recorded['kernel']}" in lab.says
    for outcome, shown in zip(outcomes, data["operations"], strict=True):
        assert shown["label"] == outcome.op.label(512)
        assert [row[3] for row in all_rows(shown)] == [row.agrees for row in rows(outcome)]
        assert all_rows(shown)[0][:2] == ["return code", str(recorded["after"][outcome.number]["ret"])]
        assert shown["verdict"] == "agrees" and shown["words"]
    (sheet,) = data["pictures"]["simple"]
    assert sheet["svg"].startswith("<svg") and len(sheet["changes"]) == len(outcomes)


def test_what_was_read_is_under_the_name_of_where_it_was_read() -> None:
    lab = LiveLab("cow", recorded=True)
    groups = {group["title"]: {row[0]: row[1] for row in group["rows"]} for group in unpacked(lab.compared)["operations"][3]["groups"]}
    assert groups["events in /proc/vmstat"]["thp_split_pmd"] == "+1"
    assert groups["smaps: region R of process A"]["AnonHugePages"] == "2048 kB"
    of_b = groups["pagemap and page flags: region R of process B"]["pages present, and how they are mapped"].split("\n")
    assert of_b == ["0…255: present in F0, by PTE", "256: present in a small page, by PTE", "257…511: present in F0, by PTE"]
    assert groups["page frames of the huge page F0 (root)"]["kpageflags"] == "0: head\n1…511: tail"


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("ret", "-EFAULT", "-EFAULT"),
        ("A.R.rss", "2044", "2044 kB"),
        ("A.R.vmas", "3", "3"),
        ("A.R.mapcount", "[0, 256, 2] [256, 1, 1]", "0…255: 2\n256: 1"),
        ("A.R.runs", "[8, 4, present, F1, 0, pmd]", "8…11: present in F1 from its page 0 on, by PMD"),
        ("A.R.runs", "[0, 1, zero, -, -, pte]", "0: zero, by PTE"),
        ("F0", "gone", "gone"),
    ],
)
def test_fields_in_words(field: str, text: str, words: str) -> None:
    assert in_words(ShownField(field, text, text, True), text) == words


def test_what_disagrees_is_marked_and_named_a_finding_of_another_kernel() -> None:
    recorded = kept("cow")
    outcomes = list(replay_records([recorded], "v4.5"))
    data = live_payload(recorded, outcomes, LIVE, "v4.5", {"frames": "for root alone"}, pictures=False)
    assert "nearest" in data["nearest"] and "v4.5" in data["nearest"]
    assert data["agree"] == sum(outcome.agrees for outcome in outcomes) < len(outcomes)
    for outcome, shown in zip(outcomes, data["operations"], strict=True):
        different = [row for row in all_rows(shown) if not row[3]]
        assert len(different) == len(outcome.differences) and (shown["verdict"] == "differs") == bool(different)
    assert any(line.startswith("not seen: page frames") and line.endswith("for root alone") for line in data["seen"])


def test_repeats_and_noise_are_told() -> None:
    recorded = kept("cow") | {"reps": 5, "agree": 3, "noisy_ops": [2]}
    data = live_payload(recorded, list(replay_records([recorded], "v6.18")), LIVE, "v6.18", {}, pictures=False)
    assert data["runs"].startswith("5 runs") and "3 of 5 say the same" in data["runs"]
    assert [shown["noisy"] for shown in data["operations"]] == [number == 2 for number in range(7)]


# --- choosing, running, refusing ------------------------------------------------------------------------------------------


def test_a_run_on_this_kernel_or_the_reason_why_there_is_none() -> None:
    lab = LiveLab("last_pmd")
    if WHY:  # the recording is what there is
        assert WHY in lab.says and unpacked(lab.compared)["kind"] == RECORDED
        with pytest.raises(BadInput, match="is not possible here"):
            lab.run()
        return
    lab.run(COLD)
    data = unpacked(lab.compared)
    assert (data["kind"], data["kernel"], lab.scenario, lab.running) == (LIVE, release(), COLD, False)
    assert lab.says.startswith(f"Performed on Linux {release()}") and lab.compared in lab.html()
    assert all_rows(data["operations"][2])[0][1] == "0"
    if nearest(release())[1]:
        assert data["agree"] == len(data["operations"]) == 3


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("story", "operation 8, swap_out(A, page 0): swap_out is done by the kernel alone: no system call asks for it; expected madvise"),
        ("mmap A; write A 0; split A 0", "split needs a module in the kernel; expected madvise"),
        ("mmap A; write B 0", "operation 2, write(B, page 0): proc 'B' is not a living process"),
        ("mmap A; write A 0 3thp region=S", "operation 2, write(A, pages 0…1535, region=S)"),
        ("nothing of the kind", "expected"),
        (" ", "expected"),
    ],
)
@pytest.mark.parametrize("what", ["run", "choose"])
def test_what_cannot_be_performed_is_refused_and_nothing_changes(line: str, says: str, what: str) -> None:
    lab = LiveLab("cow")
    before = lab.get_state()
    assert says in ask(lab, what, source=line) and not lab.running
    assert lab.get_state() == before | {"answer": lab.answer}


def test_where_nothing_can_be_run_the_recording_is_shown_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thplab.learn.widgets.live.unable", lambda: "this is darwin, not Linux")
    lab = LiveLab("zero_page")
    assert "this is darwin, not Linux" in lab.says and unpacked(lab.compared)["kind"] == RECORDED
    ask(lab, "run", source="cow")
    assert "this is darwin, not Linux" in lab.says and lab.scenario == "zero_page"
    ask(lab, "choose", source=COLD)
    assert lab.compared == "" and lab.says.startswith("No recorded run of it") and lab.scenario == COLD
    with pytest.raises(BadInput, match="swap_out is done by the kernel alone"):
        LiveLab("story")


def test_a_run_that_fails_inside_is_answered_and_ends(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    lab = LiveLab("cow")
    shown, heard = lab.compared, list[dict[str, Any]]()
    lab.observe(lambda change: heard.append(change["new"]), "answer")
    monkeypatch.setattr(lab, "_why", "")

    def broken(_scenario: object) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(lab, "_performed", broken)
    before = set(threading.enumerate())
    ask(lab, "run", source="cow")
    for thread in set(threading.enumerate()) - before:
        thread.join()
    failed = "Something failed inside (RuntimeError: no such thing). Nothing has changed; the log has the traceback."
    told = [(answer["says"], answer["error"], answer["running"]) for answer in heard]
    begun = f"Running on this kernel… It takes at most 38 MiB of memory ({room() >> 20:,} MiB are allowed)."
    assert told == [(begun, False, True), (failed, True, False)]
    assert len({answer["to"] for answer in heard}) == 1 and lab.compared == shown and len(caplog.records) == 1
    assert ask(lab, "choose", source="zero_page").startswith("Recorded on Linux")


@pytest.mark.skipif(bool(WHY), reason=f"no live run on this machine, so that none can be closed: {WHY}")
def test_closing_the_widget_ends_the_run_and_leaves_no_process() -> None:
    lab = LiveLab("cow")
    shown = lab.compared
    thread = lab.start(load(LONG))
    assert lab.running and lab.says.startswith("Running on this kernel… It takes at most")
    for refused in (lab.run, lambda: lab.choose("story"), lambda: lab.start(load("cow"))):
        with pytest.raises(BadInput, match="comes while a run is under way"):
            refused()
    assert "comes while a run is under way" in ask(lab, "choose", source="cow") and lab.running
    until(lambda: lab._agent is not None and len(processes_of(lab._agent.pid)) == 3, "the run does not begin")
    assert lab._agent is not None
    pid = lab._agent.pid
    lab.close()
    thread.join()
    assert processes_of(pid) == [] and not os.path.exists(f"/proc/{pid}")
    assert not lab.running and lab.compared == shown and "ended" in lab.says


# --- the stepper ----------------------------------------------------------------------------------------------------------


def test_the_stepper_says_whether_its_scenario_can_be_run_on_the_kernel() -> None:
    assert Stepper("cow").live == {"kernel": release(), "why": WHY}
    assert "swap_out is done by the kernel alone" in Stepper("story").live["why"]
    assert "swap" in Stepper(record(load("cow"), Setup(swap="swap"))).live["why"]
    inserted = record(load("cow"), Setup(), (Insert(20, (Operation("read", {"proc": "A", "start": 0}),)),))
    assert inserted.inserts and Stepper(inserted).live["why"].startswith("another CPU")
    assert Stepper("cow", lecture=True).live == {}
    assert Stepper(replay(pair_named("pmd-split-and-zap"), "0x1")).live == {}


def test_the_stepper_runs_its_scenario_or_says_why_not() -> None:
    refused = Stepper("story")
    assert "swap_out is done by the kernel alone" in ask(refused, "run") and refused.compared == "" and not refused.running
    stepper = Stepper("cow")
    before = set(threading.enumerate())
    ask(stepper, "run")
    for thread in set(threading.enumerate()) - before:
        thread.join()
    if WHY:
        assert WHY in stepper.says and stepper.compared == ""
        return
    data = unpacked(stepper.compared)
    assert (data["kind"], data["kernel"], data["simulator"]) == (LIVE, *(release(), nearest(release())[0]))
    own = [operation["label"].split("(")[0] for operation in unpacked(stepper.packed)["operations"]]
    assert [operation["label"].split("(")[0] for operation in data["operations"]] == own
    assert data["pictures"] == {} and stepper.compared in stepper.html()
    assert re.search(r'"live":', stepper.html()) is None  # what this machine allows is no matter of a page
