"""The logic of the widgets' JavaScript, tested by node where it is there (tests/js); its types are checked by .ci/types."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on PATH")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_logic_of_the_pages(path: Path) -> None:
    told = subprocess.run(["node", "--test", path], capture_output=True, text=True)
    assert told.returncode == 0, told.stdout
    assert "# pass 0" not in told.stdout
