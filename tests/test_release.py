"""What is released says the same everywhere: version, changelog, citation, the figures of the README and of the paper."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml
from PIL import Image
from website.kernels import recorded_files

from thplab.kernel.kernels import KERNELS
from thplab.kernel.mutants import MUTANTS
from thplab.kernel.names import ORDER
from thplab.kernel.policies import POLICIES
from thplab.learn.exercises import EXERCISES, SETS
from thplab.study.explore import PAIRS
from thplab.study.invariants import INVARIANTS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAPER = (ROOT / "docs/paper/paper.md").read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_changelog_ends_in_this_version_with_its_day() -> None:
    sections = re.findall(r"^## \[([^\]]+)\](?: - (\S+))?$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert sections[0] == ("Unreleased", "") and sections[1][0] == VERSION == str(CITATION["version"])
    assert date.fromisoformat(sections[1][1]) == CITATION["date-released"]
    assert [name for name, _ in sections] == list(dict.fromkeys(name for name, _ in sections))


@pytest.fixture(scope="module")
def recorded() -> int:
    """How many scenarios were recorded, on all kernels, inside operations and between them."""
    return sum(len(file.scenarios) for name in ORDER for file in recorded_files(ROOT, name))


def test_the_figures_of_readme_paper_and_checklist_are_those_of_the_data(recorded: int) -> None:
    lessons = {0: "no", 10: "ten"}[len(list((ROOT / "notebooks").glob("[0-9]*.ipynb")))]
    losing = sum(bool(pair.loses) for pair in PAIRS.values())
    figures = {
        f"**{len(KERNELS)} kernels**": README,
        f"{len(POLICIES)} policies": README,
        f"in {recorded:,} scenarios": README,
        f"{len(INVARIANTS)} invariants": README,
        f"{len(MUTANTS)} wrong kernels": README,
        f"{len(PAIRS)} pairs": README,
        f"{losing} of them lose": README,
        f"{lessons} lessons": README,
        f"{len(EXERCISES)} [exercises](notebooks/exercises/00_the_whole_story.ipynb) in {len(SETS)} sets": README,
        f"{len(EXERCISES)} exercises": PAPER,
        f"in {recorded:,} scenarios, and": PAPER,
        f"{len(EXERCISES)} exercises in {len(SETS)} sets": (ROOT / "docs/paper/checklist.md").read_text(),
    }
    assert [figure for figure, text in figures.items() if figure not in text] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/paper/checklist.md"])
def test_links_between_files_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / name).read_text())
    assert links and [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []


def test_the_moving_picture_is_small_and_moves() -> None:
    path = ROOT / "assets" / "stepper.webp"
    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) > 8
    assert path.stat().st_size < 500_000 and "assets/stepper.webp" in README


# --- the paper ------------------------------------------------------------------------------------------------------------


def test_the_paper_has_the_length_and_the_parts_that_the_journal_asks_for() -> None:
    _, head, body = PAPER.split("---\n", 2)
    told = yaml.safe_load(head)
    assert told["title"] == CITATION["title"] and told["bibliography"] == "paper.bib"
    assert [author["name"] for author in told["authors"]] == [author["name"] for author in CITATION["authors"]]
    parts = re.findall(r"^# (.+)$", body, re.M)
    assert {"Summary", "Statement of need", "Audience and learning objectives", "Use in teaching", "References"} <= set(parts)
    assert 800 <= len(body.split()) <= 1200


def test_what_the_paper_cites_is_in_its_bibliography_and_the_other_way_round() -> None:
    cited = set(re.findall(r"@([a-z]+\d{4})", PAPER))
    known = re.findall(r"^@\w+\{([^,]+),$", (ROOT / "docs/paper/paper.bib").read_text(), re.M)
    assert cited == set(known) and len(known) == len(set(known))


# --- what is shipped --------------------------------------------------------------------------------------------------------


def test_the_source_distribution_holds_what_builds_tests_and_explains_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (made,) = tmp_path.glob("thplab-*.tar.gz")
    with tarfile.open(made) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = ("pyproject.toml", "README.md", "LICENSE", "LICENSE-CONTENT", "CITATION.cff", "Makefile", ".ci/run", "docs/KERNEL.md")
    assert {*needed, "tests/test_release.py", "tests/truth/linux-6.18.jsonl", "notebooks/glossary.ipynb", "assets/stepper.webp"} <= names
    assert not [name for name in names if name.startswith((".venv", "build/", "dist/", ".git/")) or "__pycache__" in name]
