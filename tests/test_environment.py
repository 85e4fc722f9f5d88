"""environment.yml, .binder/postBuild and CITATION.cff say the same as pyproject.toml."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text())

# conda's name -> the package index's name, where they differ.
RENAMED = {"matplotlib-base": "matplotlib", "python-graphviz": "graphviz"}
# In conda only: the interpreter, the installer, and the program `dot`, for which the pygraphviz wheel stands in pyproject.toml.
CONDA_ONLY = {"python", "pip", "graphviz"}
WHEEL_ONLY = {"pygraphviz"}


def conda_packages() -> dict[str, SpecifierSet]:
    """What environment.yml installs with conda, by conda's name. Conda's fuzzy "=3.12" means "==3.12.*"."""
    packages = {}
    for line in CONDA["dependencies"]:
        assert isinstance(line, str), f"only conda packages, no pip section: {line}"
        match = re.fullmatch(r"([\w.-]+)(?:\s+(\S+))?", line)
        assert match, line
        name, bounds = match[1], match[2] or ""
        packages[name] = SpecifierSet(re.sub(r"^=(?!=)(.+)$", r"==\1.*", bounds))
    return packages


def test_conda_installs_what_pip_would_install() -> None:
    requirements = map(Requirement, PROJECT["dependencies"])
    wanted = {canonicalize_name(each.name): each.specifier for each in requirements if each.name not in WHEEL_ONLY}
    have = {RENAMED.get(name, name): bounds for name, bounds in conda_packages().items() if name not in CONDA_ONLY}
    assert have == wanted


def test_conda_has_a_layout_engine_and_the_installer() -> None:
    assert conda_packages().keys() >= CONDA_ONLY


def test_conda_takes_a_python_that_the_package_accepts() -> None:
    (pin,) = conda_packages()["python"]
    assert re.fullmatch(r"==3\.\d+\.\*", str(pin)), "Binder understands only one exact minor version"
    assert SpecifierSet(PROJECT["requires-python"]).contains(pin.version.replace("*", "0"))


def test_packages_come_from_conda_forge_only() -> None:
    assert CONDA["channels"] == ["conda-forge", "nodefaults"]


def test_binder_installs_the_package_without_its_wheels() -> None:
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    assert re.search(r"^python -m pip install .*--no-deps .*--editable \.$", script.read_text(), re.MULTILINE)


def test_pip_takes_the_layout_engine_only_where_it_has_a_wheel() -> None:
    (marker,) = [each.marker for each in map(Requirement, PROJECT["dependencies"]) if each.name == "pygraphviz"]
    assert isinstance(marker, Marker)

    def taken(platform: str, machine: str, python: str = "CPython") -> bool:
        names = {"sys_platform": platform, "platform_machine": machine, "platform_python_implementation": python}
        return marker.evaluate(names)

    assert all(taken(*each) for each in [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")])
    assert not any(taken(*each) for each in [("linux", "riscv64"), ("win32", "ARM64"), ("freebsd14", "amd64"), ("linux", "x86_64", "PyPy")])


def test_the_citation_names_this_version_and_its_licences() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["title"].startswith(PROJECT["name"])
    assert str(citation["version"]) == PROJECT["version"]
    assert " AND ".join(citation["license"]) == PROJECT["license"]
