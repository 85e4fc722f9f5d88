"""docs/your-own-scheme.md: its blocks run as they stand and print what it says, and its excerpts are those of the file."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

import thplab
from thplab.kernel.kernels import KERNELS
from thplab.show.describe import side_by_side
from thplab.study.invariants import check_state

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "your-own-scheme.md").read_text()
SCHEME = (DOCS / "examples" / "head_only.py").read_text()


def blocks() -> list[tuple[str, str]]:
    """The fenced blocks of the page: what is behind the fence, and the text."""
    return re.findall(r"^```(.+)\n((?:.*\n)*?)^```$", PAGE, re.MULTILINE)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is defined after all blocks have run in order; each has printed what the page says behind it."""
    monkeypatch.syspath_prepend(str(DOCS / "examples"))
    names: dict[str, Any] = {"__name__": "your_own_scheme"}
    printed = ""
    for kind, text in blocks():
        if kind == "python":
            assert printed == "", "every output is shown"
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(text, "docs/your-own-scheme.md", "exec"), names)
            printed = out.getvalue()
        elif kind == "text":
            assert printed == text
            printed = ""
    assert printed == ""
    return names


def test_the_page_runs_and_prints_what_it_says(shown: dict[str, Any]) -> None:
    assert [kind for kind, _ in blocks()].count("text") == 4
    assert shown["report"].scheme == "forgets" and shown["mine"].scheme.name == "head_only"
    assert not shown["comparison"].problem and "head_only" in side_by_side(shown["comparison"])


def test_the_mistake_is_found_where_it_is_made(shown: dict[str, Any]) -> None:
    report = thplab.check(shown["Forgets"]())
    assert report.trace is not None and [v.invariant for v in check_state(report.trace.frame.state)] == ["mapcounts_count_mappings"]


def test_an_array_in_a_local_is_named(shown: dict[str, Any]) -> None:
    base: Any = shown["HeadOnly"]

    class Keeps(base):  # type: ignore[misc]
        def _count(self, system: Any, head: int, mappings: int) -> Any:
            counter = system.frames.large_mapcount
            yield from super()._count(system, head, mappings)
            assert counter is not None

    assert re.search(r"step protocol is broken: .*local 'counter' is a FrameColumn", thplab.check(Keeps()).problem)


def test_excerpts_are_the_file() -> None:
    excerpts = [text for kind, text in blocks() if kind == "python excerpt"]
    assert len(excerpts) == 4
    for excerpt in excerpts:
        assert excerpt in SCHEME


def test_the_scheme_is_none_of_the_packages() -> None:
    assert "head_only" not in {kernel.scheme.name for kernel in KERNELS.values()}
    assert len(SCHEME.splitlines()) <= 110
