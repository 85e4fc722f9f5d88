"""The glossary: every notebook links a term where it first uses it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
from lesson_checks import NOTEBOOKS

# Words of the glossary that are also plain English: a notebook need not link them wherever they occur.
PLAIN = {*"PADU", "page", "entry", "hole", "order", "content", "reference", "mapping", "freeze", "race", "geometry", "fault"}
PLAIN |= {"head", "tail"}
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])+)\]\(glossary\.ipynb#([^()\s]*(?:\(\))?)\)")


def markdown(path: Path) -> list[str]:
    notebook = nbformat.read(path, 4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


@cache
def terms() -> dict[str, tuple[str, ...]]:
    """Anchor -> the words that are explained there."""
    headings = re.findall(r"^### (.+)$", "\n".join(markdown(NOTEBOOKS / "glossary.ipynb")), re.MULTILINE)
    return {heading.replace(" ", "-"): tuple(heading.split(", ")) for heading in headings}


def prose(path: Path) -> str:
    """The running text of a notebook: no headings, no pictures, no formulas in code, no addresses of other pages."""
    text = "\n".join(markdown(path)).partition("\n## References")[0]
    text = re.sub(r"^#.*$|^\[[←G].*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    return re.sub(r"\]\((?!glossary)[^)]*\)", "]", text)


def test_the_glossary_explains_each_term_once() -> None:
    words = [word for group in terms().values() for word in group]
    assert len(words) == len(set(words)) > 50


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("0*.ipynb")), ids=lambda path: path.stem)
def test_a_term_is_linked_where_it_is_first_used(path: Path) -> None:
    text = prose(path)
    links = {match[2]: match.start() for match in reversed(list(LINK.finditer(text)))}
    assert links.keys() <= terms().keys()
    wrong = []
    rest = LINK.sub(_blank, text)
    for word, anchor in sorted(((w, a) for a, words in terms().items() for w in words), key=lambda pair: -len(pair[0])):
        pattern = _uses(word)
        use = None if word in PLAIN else pattern.search(rest)
        if use and (anchor not in links or use.start() < links[anchor]):
            wrong.append(f"{word}: ...{text[max(0, use.start() - 40) : use.end() + 20]!r}")
        rest = pattern.sub(_blank, rest)  # a "page table" is no use of "page"
    assert wrong == []


def _uses(word: str) -> re.Pattern[str]:
    """A term, in the singular or the plural, that is not a part of a longer word."""
    forms = re.escape(word[:-1]) + "(?:y|ies)" if word.endswith("y") else re.escape(word) + ("s?" if word[-1].isalnum() else "")
    return re.compile(rf"(?<![\w#/.-]){forms}" + (r"(?![\w(-])" if word[-1].isalnum() else ""))


def _blank(link: re.Match[str]) -> str:
    return " " * len(link[0])
