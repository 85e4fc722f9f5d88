"""What a learner gets who installs the wheel, without the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all files in a wheel built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, capture_output=True, check=True)
    (wheel,) = folder.glob("thplab-*.whl")
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


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
    needed = (".py", ".typed", ".js", ".css", ".toml")
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "thplab").rglob("*") if path.suffix in needed}
    assert code <= names
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "LICENSE-CONTENT"}


def test_the_wheel_carries_no_solution(names: set[str]) -> None:
    assert [path.name for path in (ROOT / "tests" / "solutions").glob("*.py")]
    assert not [name for name in names if "solution" in name]


def test_the_wheel_carries_nothing_else(names: set[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in names} == {"thplab"}
    assert not [name for name in names if "checkpoint" in name or "__pycache__" in name or name.endswith((".ts", "jsconfig.json"))]
