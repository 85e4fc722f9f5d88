"""The kernels that were recorded equal their recordings, and each of their policies is there for a recorded reason."""

from __future__ import annotations

from errno import EAGAIN, EBUSY
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from thplab.kernel.kernels import KERNELS
from thplab.kernel.policies import POLICIES
from thplab.study.live.recording import SHIPPED
from thplab.study.verify import Outcome, Verified, read_records, replay_records

TRUTH = Path(__file__).parent / "truth"
RECORDED = {f"v{path.stem.removeprefix('linux-')}": path for path in sorted(TRUTH.glob("linux-*.jsonl"))}
BUILT = [name for name in KERNELS if name in RECORDED]
SEPARATE = ("reclaim", "khugepaged", "ksm", "hwpoison")
"""Groups of policies that CALLERS below and tests/test_swap.py flip, as they do these three:"""
ADVICE_TO_RECLAIM = ("free_stops_at_split", "takes_large_folios", "pageout_clears_young")
FLIPPED = [
    policy
    for policy in POLICIES
    if policy.partition(".")[0] not in SEPARATE
    and policy.partition(".")[2] not in (*ADVICE_TO_RECLAIM, "events", "hwpoison_in_rss")
    and policy != "migration.whole"
]


@cache
def records(kernel: str) -> list[dict[str, Any]]:
    """The truth file of a kernel, and what the live lab has recorded on it and ships."""
    live = SHIPPED / RECORDED[kernel].name
    return read_records(RECORDED[kernel]) + (read_records(live) if live.exists() else [])


@cache
def outcomes(kernel: str) -> tuple[Outcome, ...]:
    """What comes out of each recorded operation while the kernel's policies are right."""
    return tuple(replay_records(records(kernel)))


@pytest.mark.parametrize("kernel", BUILT)
def test_nothing_disagrees_with_the_recording(kernel: str) -> None:
    report = Verified()
    for outcome in outcomes(kernel):
        report.add(outcome)
    assert report.disagreements == [], report.text()
    recorded = sum(len(record["ops"]) for record in records(kernel))
    assert report.agree + report.not_modelled == report.operations == recorded
    assert report.agree > 0.6 * recorded


PREDECESSOR = {later: earlier for earlier, later in pairwise(BUILT)}
"""Kernel -> the recorded one that came before it, from whose record its own says what has changed."""

SHOWN_ELSEWHERE = {
    "split.freezes_refcount": "one read-modify-write: tests/test_costs.py; and what it is for: the pair of docs/KERNEL.md 6.7",
    "split.drops_pmd_whole": "1,024 read-modify-writes: tests/test_costs.py",
}
"""Policies that leave no trace in any recording: what shows them instead."""


def changed(kernel: str) -> list[str]:
    """The policies in which a kernel's record differs from its predecessor's; all of them where it has none. None: never asked for."""
    right, before = KERNELS[kernel], KERNELS.get(PREDECESSOR.get(kernel, ""))
    policies = [p for p in FLIPPED if right.policy(p) is not None]
    return [p for p in policies if before is None or right.policy(p) != before.policy(p)]


@pytest.mark.parametrize(("kernel", "policy"), [(k, p) for k in BUILT for p in changed(k)])
def test_a_policy_that_is_flipped_shows(kernel: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a record says itself its own recording shows. What it inherits, its ancestor's does."""
    right, before = KERNELS[kernel], outcomes(kernel)
    monkeypatch.setitem(KERNELS, kernel, right.but({policy: other(right.policy(policy))}))
    pairs = zip(before, replay_records(records(kernel)), strict=True)
    # A flipped policy may also let the machine try what is not built, or hide a field that was compared.
    shows = any(f.differences or f.agrees < a.agrees or f.skipped != a.skipped for a, f in pairs)
    if policy in SHOWN_ELSEWHERE:
        assert not shows, f"{policy} shows in a recording: it needs no other test"
    else:
        assert shows


def other(value: object) -> object:
    """Another value that a policy could have."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return {-EBUSY: -EAGAIN, -EAGAIN: -EBUSY}.get(value, value + 1)
    assert isinstance(value, frozenset | tuple | str), value
    return type(value)() if value else "all"


CALLERS: dict[str, dict[str, object]] = {
    "v3.16": {
        "khugepaged.preallocates": False,
        "khugepaged.asks_writable": "one",
        "proc.hwpoison_in_rss": True,
        "hwpoison.soft_offline_failed": EBUSY,
    },
    "v4.5": {"khugepaged.preallocates": False, "proc.hwpoison_in_rss": True, "hwpoison.soft_offline_keeps": True},
    "v5.10": {
        "khugepaged.preallocates": True,
        "khugepaged.takes_shared": False,
        "proc.hwpoison_in_rss": True,
        "hwpoison.soft_offline_keeps": False,
    },
    "v6.1": {
        "khugepaged.takes_shared": False,
        "khugepaged.asks_writable": "all",
        "proc.hwpoison_in_rss": False,
        "hwpoison.soft_offline_keeps": False,
    },
    "v6.12": {
        "khugepaged.takes_shared": False,
        "khugepaged.batches": True,
        "hwpoison.answer": "errno",
        "hwpoison.soft_offline_keeps": False,
    },
    "v6.18": {"khugepaged.takes_shared": False, "khugepaged.batches": False},
}
"""Kernel -> what its callers of split_huge_page do, changed: policies of which its recording shows one side."""

CALLED = ("khugepaged_scan", "collapse", "soft_offline", "hwpoison")


@pytest.mark.parametrize(("kernel", "policy"), [(kernel, policy) for kernel, changed in CALLERS.items() for policy in changed])
def test_a_policy_of_the_callers_that_is_changed_disagrees(kernel: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = KERNELS[kernel]
    assert right.policy(policy) != CALLERS[kernel][policy]
    monkeypatch.setitem(KERNELS, kernel, right.but({policy: CALLERS[kernel][policy]}))
    shown = [r for r in records(kernel) if any(op["op"] in CALLED or op.get("advice") in CALLED for op in r["ops"])]
    assert any(outcome.differences for outcome in replay_records(shown))
