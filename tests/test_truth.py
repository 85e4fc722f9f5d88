"""The kernels that were recorded equal their recordings, and each of their policies is there for a recorded reason."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from thplab.kernels import KERNELS, Kernel
from thplab.verify import Outcome, Report, read_records, replay

TRUTH = Path(__file__).parent / "truth"
RECORDED = {f"v{path.stem.removeprefix('linux-')}": path for path in sorted(TRUTH.glob("linux-*.jsonl"))}
BUILT = [name for name in KERNELS if name in RECORDED]
POLICIES = [field.name for field in fields(Kernel) if field.type == "bool"]


@cache
def records(kernel: str) -> list[dict[str, Any]]:
    return read_records(RECORDED[kernel])


@cache
def outcomes(kernel: str) -> tuple[Outcome, ...]:
    """What comes out of each recorded operation while the kernel's policies are right."""
    return tuple(replay(records(kernel)))


@pytest.mark.parametrize("kernel", BUILT)
def test_nothing_disagrees_with_the_recording(kernel: str) -> None:
    report = Report()
    for outcome in outcomes(kernel):
        report.add(outcome)
    assert report.disagreements == [], report.text()
    recorded = sum(len(record["ops"]) for record in records(kernel))
    assert report.agree + report.not_modelled == report.operations == recorded
    assert report.agree > 0.6 * recorded


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kernel", BUILT)
def test_a_policy_that_is_flipped_disagrees(kernel: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right, before = KERNELS[kernel], outcomes(kernel)
    monkeypatch.setitem(KERNELS, kernel, replace(right, **{policy: not getattr(right, policy)}))
    pairs = zip(before, replay(records(kernel)), strict=True)
    # A policy may also let the machine try what is not built; then what was answered before is answered no more.
    assert any(flipped.differences or (agreed.agrees and not flipped.agrees) for agreed, flipped in pairs)
