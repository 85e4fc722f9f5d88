"""The documents of the repository as pages: Markdown rendered, text and examples as they are."""

from __future__ import annotations

import html
import re
from pathlib import Path

from nbconvert.filters import markdown2html

from website.frame import own_page

_MARKDOWN = (
    "docs/*.md",
    "tests/truth/README.md",
    "tests/truth/*/README.md",
    "notebooks/instructor/giving_a_lecture.md",
    "notebooks/instructor/lecture_*.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
)
"""Of the pages for instructors those on lectures: the others tell what is answered to the lessons' questions."""
_PLAIN = ("docs/*.txt", "docs/examples/*.py", "LICENSE", "LICENSE-CONTENT")
_TABLE = re.compile(r"<table>.*?</table>", re.S)


def pages(root: Path) -> dict[str, str]:
    """Page -> HTML, for every document."""
    made = {}
    for path in _found(root, _MARKDOWN):
        name = path.relative_to(root).with_suffix(".html").as_posix()
        made[name] = own_page(name, *_rendered(path.read_text(encoding="utf-8"), path.stem))
    for path in _found(root, _PLAIN):
        name = path.relative_to(root).with_suffix(".html").as_posix()
        text = html.escape(path.read_text(encoding="utf-8"))
        shown = html.escape(path.relative_to(root).as_posix())
        made[name] = own_page(name, path.name, f"<h1>{shown}</h1>\n<pre>{text}</pre>")
    return made


def _found(root: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.glob(pattern)})


def _rendered(text: str, stem: str) -> tuple[str, str]:
    """The title of a Markdown text, and its HTML. Wide tables scroll by themselves."""
    body = str(markdown2html(text))
    title = re.search(r"^# (.+)$", text, re.M)
    body = _TABLE.sub(lambda table: f'<div class="site-wide" tabindex="0" role="group">{table[0]}</div>', body)
    return (title[1].replace("`", "") if title else stem), body
