"""The API reference: a page for each module, whose links lead somewhere and which loads nothing from a network."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

import thplab

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Page -> its HTML."""
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, ".ci/reference.py", str(folder)], cwd=ROOT, check=True, capture_output=True)
    without_scripts = re.compile(r"(<script[^>]*>).*?</script>", re.DOTALL)
    return {path.relative_to(folder): without_scripts.sub(r"\1", path.read_text()) for path in folder.rglob("*.html")}


def test_each_module_has_a_page(pages: dict[Path, str]) -> None:
    modules = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "thplab").rglob("*.py") if path.stem != "__main__"}
    shown = {module.parent if module.name == "__init__" else module for module in modules}
    assert {page.with_suffix("") for page in pages} == {*shown, Path("index")}
    for name in thplab.__all__:
        assert f'id="{name}"' in pages[Path("thplab.html")], name
    assert "Routines ask its fields" in pages[Path("thplab/kernel/policies.html")]


def test_links_lead_somewhere_and_nothing_comes_from_a_network(pages: dict[Path, str]) -> None:
    @cache
    def places(page: Path) -> set[str]:
        return set(re.findall(r'\bid="([^"]+)"', pages[page]))

    for page, text in pages.items():
        assert not re.findall(r'<(?:script|img|iframe|link)[^>]*?(?:src|href)="(?:https?:)?//', text), page
        for link in set(re.findall(r'<a\b[^>]*?href="([^"]+)"', text)):
            target, _, place = unquote(html.unescape(link)).partition("#")
            if re.match(r"https?:", target):
                continue
            to = Path(*_resolved(page.parent / target)) if target else page
            assert to in pages, (page, link)
            assert not place or place in places(to), (page, link)


def _resolved(path: Path) -> list[str]:
    """The parts of a relative path without its `..`."""
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return parts
