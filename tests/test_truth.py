"""The kernels that were recorded equal their recordings, and each of their policies is there for a recorded reason."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from thplab.kernels import KERNELS, Kernel
from thplab.verify import verify

TRUTH = Path(__file__).parent / "truth"
RECORDED = {f"v{path.stem.removeprefix('linux-')}": path for path in sorted(TRUTH.glob("linux-*.jsonl"))}
BUILT = [name for name in KERNELS if name in RECORDED]
POLICIES = [field.name for field in fields(Kernel) if field.type == "bool"]


@pytest.mark.parametrize("kernel", BUILT)
def test_nothing_disagrees_with_the_recording(kernel: str) -> None:
    report = verify(RECORDED[kernel])
    assert report.disagreements == [], report.text()
    recorded = sum(len(json.loads(line)["ops"]) for line in RECORDED[kernel].read_text().splitlines())
    assert report.agree + report.not_modelled == report.operations == recorded
    assert report.agree > 0.6 * recorded
    assert all(reason for reason in report.reasons)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kernel", BUILT)
def test_a_policy_that_is_flipped_disagrees(kernel: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right, agreed = KERNELS[kernel], verify(RECORDED[kernel]).agree
    monkeypatch.setitem(KERNELS, kernel, replace(right, **{policy: not getattr(right, policy)}))
    flipped = verify(RECORDED[kernel])
    # A policy may also let the machine try what is not built; then what was answered before is answered no more.
    assert flipped.disagree > 0 or flipped.agree < agreed
