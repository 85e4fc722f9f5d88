"""The live lab: scenarios on the real memory of this machine, or their recordings where that is not possible."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from thplab import cli
from thplab.errors import BadInput
from thplab.kernel import kernels
from thplab.scenario import VOCABULARY, Operation, Scenario
from thplab.study.live import Agent, LiveError, check_live, command, nearest, portable_builtins, refusal, shipped, shortest, support, unable
from thplab.study.live.generate import Generator
from thplab.study.live.portable import PORTABLE, portable_part
from thplab.study.live.shrink import shrink
from thplab.study.live.text import side_by_side
from thplab.study.verify import replay_records

ROOT = Path(__file__).parent.parent
WHY = unable()
live = pytest.mark.skipif(bool(WHY), reason=f"no live run on this machine: {WHY}")
KERNEL, OWN = nearest(support.release())
agrees = pytest.mark.skipif(not OWN, reason=f"Linux {support.release()} has no record of its own: {KERNEL} is the nearest")

COLD = Scenario.parse("mmap A; fill A 0 512; pin A 77 1 p; madvise A 0 256 cold; unpin p; madvise A 0 256 cold; exit A")
"""A page split that a pin refuses, and that is done when the pin is gone; nobody needs a privilege for it."""


@pytest.fixture
def agent() -> Iterator[Agent]:
    with Agent() as started:
        yield started


def differences(outcomes: Any) -> list[str]:
    return [f"{o.number} {d.field}: {d.expected}, {d.got}" for o in outcomes for d in o.differences]


PEEK = Scenario.parse("mmap A; fill A 0 4 same; fork A B; pin B 0 2 p; munmap B 0 4; write A 0 value=0x99; read A 0 3; unpin p")


@live
@agrees
def test_a_run_shows_what_is_read_and_what_pins_read(agent: Agent) -> None:
    after = agent.perform(PEEK.ops)
    assert [seen.get("contents", {}).get("pin p") for seen in after] == [None] * 3 + [[0x77] * 2] * 4 + [None]
    assert after[6]["contents"]["read"] == [0x99, 0x77, 0x77]
    checked = check_live(agent, PEEK, KERNEL)
    assert differences(checked.outcomes) == []
    text = side_by_side(checked.outcomes, "")
    assert "= read                    0: 0x99, 1–2: 0x77" in text and text.count("= pin p                   all 0x77") == 4
    checked.record["after"][6]["contents"] = {"read": [0x77] * 3, "pin p": [0x99] * 2}
    again = replay_records([checked.record], KERNEL)
    assert differences(again) == ["6 read: all 0x77, 0: 0x99, 1–2: 0x77", "6 pin p: all 0x99, all 0x77"]


RING = Scenario.parse(
    "mmap A; fill A 0 1thp same; pin A 0 1thp p io_uring; fork A B; exit A; dma_write p 511 value=0x42; read B 510 2; munmap B 0 1thp"
)


@live
@agrees
def test_a_device_reads_and_writes_the_pinned_frames_whoever_maps_them(agent: Agent) -> None:
    if agent.io_uring:
        pytest.skip(f"io_uring is refused here: {agent.io_uring}")
    after = agent.perform(RING.ops)
    before, written = [0x77] * 512, [0x77] * 511 + [0x42]
    assert [seen.get("contents", {}).get("pin p") for seen in after] == [None] * 2 + [before] * 3 + [written] * 3
    assert after[6]["contents"]["read"] == [0x77, 0x77], "the fork copied what was pinned"
    assert differences(check_live(agent, RING, KERNEL).outcomes) == []


# --- agreement ----------------------------------------------------------------------------------------------------------


@live
@agrees
def test_portable_built_in_scenarios_agree(agent: Agent) -> None:
    for scenario in portable_builtins(agent.io_uring):
        checked = check_live(agent, scenario, KERNEL)
        assert differences(checked.outcomes) == [], scenario.name
        assert all(outcome.agrees for outcome in checked.outcomes)


def test_each_portable_built_in_scenario_has_a_recording_that_agrees() -> None:
    for scenario in portable_builtins():
        record = shipped(scenario)
        assert record is not None, scenario.name
        assert all(outcome.agrees for outcome in replay_records([record], nearest(record["kernel"])[0]))


def without_rights() -> tuple[str, ...]:
    """The command that starts Python as a user without rights; skips where there is none."""
    if os.geteuid():
        return (sys.executable,)
    become = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    folder = str(ROOT / "thplab" / "study" / "live")
    may = f"import ctypes, os, sys; os.listdir({folder!r}); sys.exit(sys.version_info < (3, 11) or not os.access(sys.executable, os.X_OK))"
    for python in filter(None, (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin"))):
        command = (*become, python, "-I", "-c", may)
        try:
            if subprocess.run(command, capture_output=True, cwd="/").returncode == 0:
                return (*become, python)
        except OSError:
            continue
    pytest.skip("no Python of 3.11 or newer that another user may start, or no setpriv")


@live
@agrees
def test_the_essentials_agree_without_rights() -> None:
    with Agent(python=without_rights()) as agent:
        assert "frames" in agent.unseen
        for scenario in (*portable_builtins(agent.io_uring), COLD):
            checked = check_live(agent, scenario, KERNEL)
            assert differences(checked.outcomes) == [], scenario.name
        # What is seen is enough to tell that another kernel splits otherwise.
        assert differences(replay_records([checked.record], "v4.5"))


@live
def test_a_pin_refuses_the_split_and_its_end_lets_it_happen(agent: Agent) -> None:
    record = check_live(agent, COLD, KERNEL).record
    refused, done = record["after"][3], record["after"][5]
    assert refused["ret"] == 0 and refused["ev"]["thp_split_page_failed"] >= 1 and "thp_split_page" not in refused["ev"]
    assert done["ret"] == 0 and done["ev"]["thp_split_page"] == 1
    assert refused["proc"]["A"]["R"]["anonhuge"] == 2048 and done["proc"]["A"]["R"]["anonhuge"] == 0


@live
def test_nothing_of_the_system_is_changed(agent: Agent) -> None:
    def settings() -> dict[Path, str]:
        files = (*Path("/sys/kernel/mm/transparent_hugepage").glob("*"), *Path("/sys/kernel/mm/ksm").glob("run"), Path("/proc/swaps"))
        return {path: path.read_text() for path in files if path.is_file()}

    before = settings()
    agent.perform(COLD.ops)
    assert settings() == before


# --- what ends, ends ----------------------------------------------------------------------------------------------------

LONG = "mmap A 2thp; fork A B; pin A 0 1 p; " + "fill A 0 2thp; fill B 0 2thp; " * 40
"""Takes a second or more, and holds memory and a pin in two processes."""


def processes_of(session: int) -> list[int]:
    """The living processes of a session: an agent's is its own, so this is the agent and all that it has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def driver(line: str = LONG) -> tuple[subprocess.Popen[str], int]:
    """A program that performs a scenario, and the pid of its agent; both processes of the scenario are there."""
    script = (
        "from thplab.study.live import Agent\nfrom thplab.scenario import Scenario\n"
        f"with Agent() as agent:\n    print(agent.pid, flush=True)\n    agent.perform(Scenario.parse({line!r}).ops)\n"
    )
    program = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout is not None
    pid = int(program.stdout.readline())
    until(lambda: len(processes_of(pid)) == 3, "the scenario does not begin")
    return program, pid


@live
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_when_the_driver_is_ended_nothing_is_left(how: signal.Signals) -> None:
    program, pid = driver()
    program.send_signal(how)
    program.communicate(timeout=20)
    assert program.returncode
    until(lambda: not processes_of(pid), "processes of the scenario live on")


@live
def test_when_the_agent_is_killed_nothing_is_left_and_the_driver_hears_of_it() -> None:
    program, pid = driver()
    os.kill(pid, signal.SIGKILL)
    _, errors = program.communicate(timeout=20)
    assert program.returncode and "LiveError: the agent has ended" in errors
    until(lambda: not processes_of(pid), "processes of the scenario live on")


@live
@pytest.mark.parametrize("which", [1, 2])
def test_when_a_process_of_the_scenario_is_killed_the_run_goes_on_without_it(which: int) -> None:
    program, pid = driver()
    os.kill(processes_of(pid)[which], signal.SIGKILL)
    program.communicate(timeout=60)
    assert program.returncode == 0
    assert not processes_of(pid)


@live
def test_a_killed_process_shows_in_the_record(agent: Agent) -> None:
    done: list[list[dict[str, Any]]] = []
    running = threading.Thread(target=lambda: done.append(agent.perform(Scenario.parse(LONG).ops)))
    running.start()
    until(lambda: len(processes_of(agent.pid)) == 3, "the scenario does not begin")
    os.kill(processes_of(agent.pid)[2], signal.SIGKILL)
    running.join()
    answers = [after["ret"] for after in done[0]]
    assert answers.count("killed by SIGKILL") == 1 and "B" not in done[0][-1]["proc"]
    assert "process is dead" in answers and answers[-2] == 0
    assert agent.perform(Scenario.parse("mmap A; exit A").ops)[1]["ret"] == 0


@live
def test_an_operation_that_takes_too_long_ends_the_run_and_not_the_agent() -> None:
    with Agent(step_limit=0.0) as agent:
        with pytest.raises(LiveError, match=r"operation 0, mmap\(A, 1 THP\), took longer than 0 s"):
            agent.perform(Scenario.parse("mmap A").ops)
        agent.step_limit = 10.0
        assert agent.perform(Scenario.parse("mmap A; exit A").ops)[1]["ret"] == 0
        assert processes_of(agent.pid) == [agent.pid]
    assert processes_of(agent.pid) == []


@live
def test_a_closed_agent_says_so() -> None:
    agent = Agent()
    agent.close()
    with pytest.raises(LiveError, match="the agent has ended"):
        agent.perform(COLD.ops)


# --- what is refused ----------------------------------------------------------------------------------------------------


def test_each_operation_is_performed_or_refused_with_an_alternative() -> None:
    sample: dict[str, Any] = {
        "proc": "A", "start": 0, "npages": 1, "child": "B", "prot": "r", "advice": "cold", "to": "R", "at": 1, "pin": "p",
        "path": "/proc/sys/vm/drop_caches", "value": 2, "scans": 1, "bytes": 1,
    }  # fmt: skip
    for name, spec in VOCABULARY.items():
        fields = {field.name: sample[field.name] for field in spec.fields if field.required}
        fields |= {spec.one_of[0]: 0} if spec.one_of else {}
        fields |= {"value": "2"} if name == "sys" else {}
        refused = refusal(Operation(name, fields))
        assert (refused is None) == (name in PORTABLE), name
        if refused is not None:
            assert (refused.argument, refused.wrong, refused.right) == (name, *(spec.not_live or ()))


def test_a_device_writes_through_a_ring_and_into_no_pipe() -> None:
    ops, refused = portable_part(Scenario.parse("mmap A; fill A 0 1; pin A 0 1 p io_uring; dma_write p; pin A 0 1 q; dma_read q; dma_write q"))
    assert len(ops) == 6 and "dma_write q would write to what a pipe holds; expected a pin how=io_uring" in str(refused)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("madvise A 0 1 hwpoison", "takes a page frame away"),
        ("pin A 0 1 p raw", "expected vmsplice or io_uring"),
        ("pin A 0 300 p", "at most 256 pages"),
        ("pin A 0 1 p io_uring", "refused on this machine (-EPERM)"),
        ("split_pmd A 0", "expected mprotect of one page"),
    ],
)
def test_a_refusal_says_what_to_do_instead(line: str, words: str) -> None:
    assert words in str(refusal(Scenario.parse(line).ops[0], io_uring="-EPERM"))


@live
def test_a_live_scenario_stops_before_what_only_a_kernel_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["live", "story"]) == 1
    out = capsys.readouterr().out
    assert "stopped before swap_out(A, page 0): swap_out is done by the kernel alone" in out
    assert "expected madvise ... pageout of part of the THP" in out
    assert " 7. pin(A, page 256, dma)" in out and "8. swap_out" not in out


@live
def test_what_cannot_be_recorded_is_refused_before_anything_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["record", "cow", "story", "-o", str(tmp_path / "x.jsonl")]) == 2
    assert "only" not in capsys.readouterr().out and not (tmp_path / "x.jsonl").exists()


# --- random scenarios ---------------------------------------------------------------------------------------------------


def test_random_scenarios_hold_every_operation_and_are_told_by_their_seed() -> None:
    generator = Generator(3, "v6.18")
    scenarios = list(generator.scenarios(800))
    assert sum(len(scenario.ops) for scenario in scenarios) == 800
    assert set(PORTABLE) - {"madvise"} <= generator.made.keys()
    assert min(generator.made.values()) >= 8, generator.made
    assert list(Generator(3, "v6.18").scenarios(800)) == scenarios


def test_the_shrinker_finds_the_shortest_scenario() -> None:
    ops = Scenario.parse(
        "mmap A 2thp; write A 0; pin A 3 1 p; fork A C; fill A 8 2; mprotect A 4 1 r; fork A B; read B 4; unpin p; write C 9;"
        "munmap B 7 1; exit C; write B 1; exit B; exit A"
    ).ops

    def fails(part: tuple[Operation, ...]) -> bool:
        """Somebody else than A writes, after A has protected something."""
        names = [(op.op, op.fields.get("proc")) for op in part]
        protected = names.index(("mprotect", "A")) if ("mprotect", "A") in names else len(names)
        return any(name == "write" and process != "A" for name, process in names[protected:])

    shortest_ops = shrink(ops, fails, "v6.18")
    assert sorted(op.op for op in shortest_ops) == ["fork", "mmap", "mprotect", "write"]
    assert fails(shortest_ops)


@live
@agrees
def test_a_disagreement_is_found_live_and_shrunk(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    right = kernels.KERNELS[KERNEL]
    monkeypatch.setitem(kernels.KERNELS, KERNEL, right.but({"cow.zero_splits_pmd": not right.cow.zero_splits_pmd}))
    scenario = Scenario.parse("mmap A; read A 5; fork A B; mprotect B 300 9 r; write A 9; exit B; exit A")
    checked = check_live(agent, scenario, KERNEL)
    assert checked.disagrees
    found = shortest(agent, checked, KERNEL)
    assert found.disagrees and found.scenario.line() == "mmap A; read A 5; write A 9"


@pytest.mark.parametrize("line", ["mmap A; munmap A 5 10 region=S", "mmap A; write Z 0"])
def test_what_makes_no_sense_is_never_performed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str) -> None:
    class Idle(contextlib.nullcontext[Any]):
        io_uring = ""
        unseen: ClassVar[dict[str, str]] = {}

        def __enter__(self) -> Any:
            return self

    def performed(*_: object) -> None:
        pytest.fail("something was performed")

    monkeypatch.setattr(command, "unable", lambda: "")
    monkeypatch.setattr(command, "Agent", Idle)
    for name in ("check_live", "record_live"):
        monkeypatch.setattr(command, name, performed)
    with pytest.raises(BadInput, match="operation 2"):
        command.live(line, False, print)
    with pytest.raises(BadInput, match="operation 2"):
        command.record_all([line], tmp_path / "made.jsonl", print)
    assert not (tmp_path / "made.jsonl").exists()


# --- the command line ---------------------------------------------------------------------------------------------------


@live
def test_live_says_what_this_machine_allows(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["live"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Linux {support.release()} ") and "io_uring: " in out
    assert ("not seen: page frames" in out) == bool(os.geteuid())


@live
@agrees
def test_live_shows_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["live", "mmap A; write A 0; mprotect A 3 1 r"]) == 0
    out = capsys.readouterr().out
    assert f"Linux {support.release()}, live (" in out and "3. mprotect(A, page 3, r)  = agree" in out
    assert any(line.split() == ["=", "ev.thp_split_pmd", "+1", "+1"] for line in out.splitlines())
    assert "3 of 3 operations agree" in out


@live
@agrees
def test_verify_live_counts_runs_and_operations(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--live", "--random", "40", "--seed", "5"]) == 0
    out = capsys.readouterr().out
    assert "cow: 7 of 7 operations agree, " in out and "random scenarios, seed 5:" in out
    assert "40 operations, 40 agree, 0 disagree" in out and " were repeated, " in out


@pytest.mark.parametrize("words", [["--live", "--random", "-5"], ["tests/truth/linux-4.5.jsonl", "--random", "5"]])
def test_random_scenarios_need_a_number_and_a_live_run(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", *words]) == 2
    assert "expected a number of operations, and --live" in capsys.readouterr().err


@live
def test_record_writes_what_verify_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.jsonl"
    assert cli.main(["record", "last_pmd", "mmap A; write A 0; exit A", "-o", str(path)]) == 0
    capsys.readouterr()
    cli.main(["verify", str(path), "--kernel", KERNEL])
    assert "9 operations, " in capsys.readouterr().out
