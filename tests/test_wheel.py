"""What a learner gets who installs the wheel, without the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name of each file in a wheel built from this tree -> its text, "" where it is none."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, capture_output=True, check=True)
    (made,) = folder.glob("thplab-*.whl")
    with ZipFile(made) as archive:
        return {name: archive.read(name).decode("utf-8", "ignore") for name in archive.namelist()}


@pytest.fixture(scope="module")
def names(wheel: dict[str, str]) -> set[str]:
    return set(wheel)


@pytest.mark.parametrize("folder", ["notebooks", "assets"])
def test_the_wheel_carries_the_content(names: set[str], folder: str) -> None:
    hidden = (".ipynb_checkpoints", "__pycache__")
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and not any(part in hidden for part in path.parts)]
    assert files
    assert {f"thplab/{path.relative_to(ROOT).as_posix()}" for path in files} <= names


def test_the_wheel_carries_the_recorded_steps(names: set[str]) -> None:
    steps = [path.name for path in (ROOT / "tests" / "truth" / "steps").iterdir()]
    assert {f"thplab/truth/steps/{name}" for name in steps} <= names


def test_the_wheel_carries_the_package_and_its_licences(names: set[str]) -> None:
    needed = (".py", ".typed", ".js", ".css", ".toml", ".json")
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "thplab").rglob("*") if path.suffix in needed and path.name != "jsconfig.json"}
    assert code <= names
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "LICENSE-CONTENT"}


def test_the_wheel_carries_no_solution(wheel: dict[str, str]) -> None:
    told = {line.strip() for path in (ROOT / "tests" / "solutions").glob("*.py") for line in path.read_text().splitlines()}
    told = {line for line in told if len(line) >= 50 and '"' in line}  # shorter ones, and those without a text, are no answer
    assert len(told) > 200
    assert {name: known for name, text in wheel.items() if (known := told & {line.strip() for line in text.splitlines()})} == {}


def test_the_wheel_carries_nothing_else(names: set[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in names} == {"thplab"}
    assert not [name for name in names if "checkpoint" in name or "__pycache__" in name or name.endswith((".ts", "jsconfig.json"))]
