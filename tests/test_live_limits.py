"""A live run keeps within a stated part of the memory, and does not take a limit of its user's for the kernel's answer."""

from __future__ import annotations

import resource
from functools import partial
from pathlib import Path

import pytest

from thplab.errors import BadInput
from thplab.scenario import Scenario
from thplab.study.live import Agent, LiveError
from thplab.study.live.limits import MOST, explained, met, refuse_too_large, room, takes
from thplab.study.live.request import refuse_unless_sensible
from thplab.study.live.support import unable

live = pytest.mark.skipif(bool(unable()), reason=unable())
THP, PROCESS = 2 << 20, 16 << 20


@pytest.mark.parametrize(
    ("line", "thps", "processes"),
    [
        ("mmap A 9999thp", 0, 1),
        ("mmap A 9999thp; read A 0 9999thp", 0, 1),
        ("mmap A 9999thp; write A 0", 1, 1),
        ("mmap A 2thp; write A 511 2; write A 0", 2, 1),
        ("mmap A; write A 0; fork A B; write A 0; write B 0", 3, 2),
        ("mmap A 4thp; madvise A 0 4thp populate_write; munmap A 0 4thp", 4, 1),
        ("mmap A 9999thp; fill A 0 9999thp", 9999, 1),
    ],
)
def test_what_a_scenario_takes_is_known_beforehand(line: str, thps: int, processes: int) -> None:
    assert takes(Scenario.parse(line).ops) == thps * THP + processes * PROCESS


def test_a_scenario_that_is_too_large_is_refused_before_anything_is_done() -> None:
    large = Scenario.parse("mmap A 9999thp; write A 0 9999thp")
    for refuse in (partial(refuse_too_large, large.ops), partial(refuse_unless_sensible, large, "v6.18")):
        with pytest.raises(BadInput, match=r"could take 20,014 MiB .* a quarter of what is free"):
            refuse()
    assert MOST == 1 << 30 >= room()


def test_the_memory_of_a_run_is_a_quarter_of_what_is_free(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:      409600 kB\n")
    assert room(tmp_path) == 100 << 20
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{100 << 20}\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text(f"{20 << 20}\n")
    assert room(tmp_path) == 20 << 20
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert room(tmp_path) == 100 << 20
    with pytest.raises(BadInput, match="could take 116 MiB"):
        refuse_too_large(Scenario.parse("mmap A 50thp; fill A 0 50thp").ops, tmp_path)


@pytest.mark.parametrize(
    ("limit", "low", "line"),
    [
        ("RLIMIT_AS", 500 << 20, "mmap A 500thp; write A 0"),
        ("RLIMIT_NOFILE", 20, "mmap A; write A 0; pin A 0 1 p; pin A 0 1 q"),
        ("RLIMIT_MEMLOCK", 1 << 20, "mmap A; write A 0; mlock A 0 1thp"),
    ],
)
def test_a_limit_that_is_too_low_is_named(limit: str, low: int, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    number = getattr(resource, limit)
    monkeypatch.setattr("thplab.study.live.limits._capable", lambda _: False)
    refuse_too_large(Scenario.parse(line).ops)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (low if which == number else resource.RLIM_INFINITY,) * 2)
    with pytest.raises(BadInput, match=limit):
        refuse_too_large(Scenario.parse(line).ops)


def test_an_answer_that_only_a_limit_gives_is_told_as_one() -> None:
    mmap, fork, mlock = Scenario.parse("mmap A; fork A B; mlock A 0 1").ops
    assert "RLIMIT_AS" in met(mmap, "-ENOMEM") and "RLIMIT_NPROC" in met(fork, "-EAGAIN")
    assert "RLIMIT_NOFILE" in met(fork, "-EMFILE")
    assert not any([met(mmap, 0), met(fork, 0), met(mlock, "-ENOMEM"), met(mmap, "-EINVAL")])
    assert "ulimit -n" in explained("OSError: [Errno 24] Too many open files") and explained("x") == "x"


@live
def test_the_kernel_is_not_blamed_for_a_limit() -> None:
    with Agent() as agent:
        resource.prlimit(agent.pid, resource.RLIMIT_AS, (100 << 20, 100 << 20))
        with pytest.raises(
            LiveError, match=r"operation 0, mmap\(A, 400 THPs\), met a limit, RLIMIT_AS .*-ENOMEM says nothing"
        ):
            agent.perform(Scenario.parse("mmap A 400thp").ops)
    with Agent() as agent:
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (6, 6))
        with pytest.raises(LiveError, match=r"RLIMIT_NOFILE"):
            agent.perform(Scenario.parse("mmap A; fork A B; fork A C; pin A 0 1 p").ops)
