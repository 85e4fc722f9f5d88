"""The kernels that were recorded equal their recordings, and each of their policies is there for a recorded reason."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from thplab.errors import BadInput
from thplab.kernel.evidence import STEPS, Documented, Moot, Own, Recorded, Unrecorded
from thplab.kernel.kernels import KERNELS
from thplab.kernel.policies import GROUPS, POLICIES
from thplab.study.verify import Verified, read_records, replay_records
from thplab.study.verify.steps import follow_all
from thplab.study.verify.stores import read_recordings

ROOT = Path(__file__).parent.parent
BUILT = [name for name in KERNELS if (ROOT / f"tests/truth/linux-{name[1:]}.jsonl").exists()]
LIVE = "thplab/study/live/recorded/linux-6.18.jsonl"


@cache
def records(path: str) -> list[dict[str, Any]]:
    """A file of records, by its path in the repository."""
    return read_recordings(ROOT / path) if "/steps/" in path else read_records(ROOT / path)


FILES = [*(f"tests/truth/linux-{name[1:]}.jsonl" for name in BUILT), LIVE]
FRESH = [f"tests/truth/fresh/linux-{release}.jsonl" for release in ("5.10", "6.1", "6.12", "6.18")]
NOISE = {
    "a61_93": {"ev.thp_split_page_failed"},
    "a612_56": {"ev.thp_split_page_failed", "sz.split_failed"},
    "c9612_29": {"ev.thp_split_page_failed", "sz.split_failed"},
    "a61_100": {"A.R.pss", "A.R.runs", "F0.kind", "F0._refcount", "F0._mapcount", "F0.kpagecount"},
    "s8610_26": {"ret"},
    "a612_80": {"ret", "A.D", "A.R"},
    "f_hp_hugezero_again": {"ret", "A.R"},
}
"""Scenarios of fresh recordings -> what may differ in one of their operations. docs/verify.md says why of each."""
PARTS = [(path, 0, 1) for path in FILES] + [(path, first, 4) for path in FRESH for first in range(4)]
"""A file, and of which records of it a test is: from which on, every how manyth."""


@pytest.mark.parametrize(("path", "first", "step"), PARTS)
def test_nothing_disagrees_with_the_recording(path: str, first: int, step: int) -> None:
    report = Verified()
    for outcome in replay_records(records(path)[first::step]):
        report.add(outcome)
    told = [d for d in report.disagreements if d.difference.field not in NOISE.get(d.scenario, ())]
    assert told == [], report.text()
    recorded = sum(len(record["ops"]) for record in records(path)[first::step])
    assert report.agree + report.disagree + report.not_modelled == report.operations == recorded
    assert report.disagree == len({d.scenario for d in report.disagreements})
    assert report.agree > (0.98 if path in FRESH else 0.6) * recorded


def test_what_is_taken_for_noise_is_told() -> None:
    page = (ROOT / "docs/verify.md").read_text()
    names = {record["name"] for path in FRESH for record in records(path)}
    assert NOISE.keys() <= names
    for name in NOISE:
        assert re.search(rf"^\| .*\b{name}\b.* \|.+\|$", page, re.MULTILINE), name


# --- why a record says what it says -------------------------------------------------------------------------------------

BASE = {"rfc-2014": "v3.16", **{later: earlier for earlier, later in pairwise(BUILT)}}
"""Kernel -> the one from whose record its own says what has changed."""

CITED = [
    (kernel, policy, evidence)
    for kernel in KERNELS
    for policy, belief in KERNELS[kernel].beliefs.items()
    if belief.kernel == kernel
    for evidence in belief.evidence
    if isinstance(evidence, Recorded)
]


def other(kernel: str, policy: str) -> object:
    """What a kernel would do if its record were wrong: what its base does, else what another kernel does, else the opposite."""
    value = KERNELS[kernel].policy(policy)
    bases = [BASE[kernel]] if kernel in BASE else []
    told = [KERNELS[name].policy(policy) for name in (*bases, *KERNELS)]
    return next((one for one in told if one not in (None, value)), None if value is None else not value)


def disagreements(path: str, scenario: str) -> set[Any]:
    """Where the machine as it is now disagrees with one record."""
    (record,) = [record for record in records(path) if record["name"] == scenario]
    follow = follow_all if "/steps/" in path else replay_records
    return {difference for one in follow([record]) for difference in one.differences}


right_disagreements = cache(disagreements)
"""The same of the right records, which several policies cite."""


@pytest.mark.slow
@pytest.mark.sweep(3)
@pytest.mark.parametrize(("kernel", "policy", "cited"), CITED, ids=lambda value: getattr(value, "scenario", value))
def test_a_cited_recording_asks_for_the_policy(kernel: str, policy: str, cited: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of steps, where the machine may still differ elsewhere, that it differs in one place more."""
    (record,) = [record for record in records(cited.path) if record["name"] == cited.scenario]
    assert f"v{'.'.join(record['kernel'].split('.')[:2])}" == kernel, "its own recording"
    right = right_disagreements(cited.path, cited.scenario)
    assert not right or cited.file.startswith(STEPS)
    monkeypatch.setitem(KERNELS, kernel, KERNELS[kernel].but({policy: other(kernel, policy)}))
    assert disagreements(cited.path, cited.scenario) - right


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_policy_that_a_record_changes_has_evidence(kernel: str) -> None:
    record = KERNELS[kernel]
    assert set(record.beliefs) == set(POLICIES)
    for policy in POLICIES:
        belief = record.evidence(policy)
        assert belief.evidence and not any(isinstance(evidence, Own) for evidence in belief.evidence), policy
        assert (belief.value is None) <= any(isinstance(evidence, Moot | Unrecorded) for evidence in belief.evidence), policy
        if kernel in BASE and belief.value != KERNELS[BASE[kernel]].policy(policy):
            assert belief.kernel == kernel, policy


def test_a_page_that_is_cited_says_so() -> None:
    beliefs = [belief for kernel in KERNELS.values() for belief in kernel.beliefs.values()]
    for what in {each.what for belief in beliefs for each in belief.evidence if isinstance(each, Documented)}:
        path, section = re.match(r"(\S+\.md) (\d\.\d|part [A-C]|corrections)", what).groups()  # type: ignore[union-attr]
        page = (ROOT / path).read_text()
        assert re.search(rf"^#+ {re.escape(section)}\b", page, re.MULTILINE | re.IGNORECASE), what
        assert all(quoted in page for quoted in re.findall(r'"(.+?)"', what)), what


def test_values_are_of_their_types() -> None:
    for kernel in KERNELS.values():
        for policy in POLICIES:
            group, _, name = policy.partition(".")
            hint = get_type_hints(GROUPS[group])[name]
            value = kernel.policy(policy)
            allowed = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
            literals = [one for each in allowed if get_origin(each) is Literal for one in get_args(each)]
            assert value in literals or type(value) in [get_origin(each) or each for each in allowed], (kernel.name, policy)


def test_what_somebody_changes_has_no_evidence_any_more() -> None:
    mine = replace(KERNELS["v4.5"], name="mine", cow=replace(KERNELS["v4.5"].cow, splits_pmd=True))
    assert mine.evidence("cow.splits_pmd").kernel == "mine"
    assert [type(evidence) for evidence in mine.evidence("cow.splits_pmd").evidence] == [Own]
    assert mine.evidence("cow.zero_splits_pmd") == KERNELS["v4.5"].evidence("cow.zero_splits_pmd"), "what is left alone keeps it"
    with pytest.raises(BadInput, match=r"'cow\.split_pmd' is unknown"):
        mine.evidence("cow.split_pmd")
    with pytest.raises(BadInput, match="'cow' is unknown"):
        mine.but({"cow": True})
