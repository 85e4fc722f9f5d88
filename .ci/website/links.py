"""Links: from file to file of the repository they become links from page to page, and none of them may be dead."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import quote, unquote

from thplab.kernel.policies import POLICIES
from thplab.study.explore import PAIRS
from website.reading import Reading

_LINK = re.compile(r'(<(script|style)\b.*?</\2>)|<a\b([^>]*?)\shref="([^"]*)"([^>]*)>(.*?)</a>', re.S)
_LINK_OR_CODE = re.compile(r"(<(a|pre|script|style|svg)\b.*?</\2>)|<code>([^<]+)</code>", re.S)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.I)
_CELL = re.compile(r'\bid="cell-id=([^"]+)"')
_ID = re.compile(r'\bid="([^"]+)"')
_NUMBERED = re.compile(r'<h[23] id="([^"]+)">(\d+(?:\.\d+)?)\.? ')
_SECTION = re.compile(r"(docs/KERNEL\.md)(?: section)? (\d+(?:\.\d+)?)")


class Places:
    """Where on the site is what the repository names: a file, a module, a cell, a policy, a race."""

    def __init__(self, pages: Mapping[str, str], root: Path) -> None:
        self.names = frozenset(pages)
        self._root = root
        cells = ((cell, name) for name, text in pages.items() if name.startswith("notebooks/") for cell in _CELL.findall(text))
        self._known = {cell: f"{name}#cell-id={cell}" for cell, name in cells}
        self._known |= {pair: f"races.html#{pair}" for pair in PAIRS}
        self._known |= {policy: f"kernels/index.html#{policy}" for policy in POLICIES}
        for name, text in pages.items():
            if name.startswith("reference/"):
                module = name.removeprefix("reference/").removesuffix(".html").replace("/", ".")
                self._known[module] = name
                self._known |= {f"{module}.{each}": f"{name}#{each}" for each in _ID.findall(text)}
        self._sections = {number: id for id, number in _NUMBERED.findall(pages.get("docs/KERNEL.html", ""))}

    def of(self, path: str) -> str | None:
        """The page of a file or a folder of the repository, if there is one."""
        if path in ("README.md", ".", "notebooks"):
            return "index.html"
        module = "reference/" + path.removesuffix("/__init__.py").removesuffix(".py").rstrip("/") + ".html"
        named = posixpath.splitext(path)[0] + ".html"
        return next((name for name in (path, named, module) if name in self.names), None)

    def is_file(self, path: str) -> bool:
        """Whether the repository has it: then a link to it is right, page or no page."""
        return (self._root / path).exists()

    def called(self, text: str) -> str | None:
        """Where a page explains a name that stands in a text as code, if one does."""
        dotted = (f"thplab.{text}", f"thplab.kernel.{text}") if "." in text else ()
        whole = (text, *dotted, f"thplab.study.invariants.{text}")
        return next((self._known[name] for name in whole if name in self._known), None) or (
            self.of(text) if "/" in text else None
        )

    def section(self, number: str) -> str | None:
        """Where docs/KERNEL.md says what it says in a section."""
        return f"docs/KERNEL.html#{self._sections[number]}" if number in self._sections else None


def led(page: str, name: str, places: Places, own: bool) -> str:
    """A page whose links lead to pages: a link to a file of the repository that has none becomes its text.

    On a page of the site's `own`, what is named as code and explained elsewhere becomes a link, too.
    """
    folder = posixpath.dirname(name)

    def lead(link: re.Match[str]) -> str:
        if link[1]:
            return link[0]
        before, target, after, text = link.groups()[2:]
        file, _, place = html.unescape(target).partition("#")
        if not file or _SCHEME.match(file):
            return link[0]
        path = posixpath.normpath(posixpath.join(folder, unquote(file)))
        there = places.of(path)
        if there is None:
            return text if places.is_file(path) else link[0]
        return f'<a{before} href="{_href(name, there)}{"#" + html.escape(place) if place else ""}"{after}>{text}</a>'

    def explain(found: re.Match[str]) -> str:
        there = None if found[1] else places.called(html.unescape(found[3]))
        if there is None or there.partition("#")[0] == name:
            return found[0]
        return f'<a href="{_href(name, there)}">{found[0]}</a>'

    def find(found: re.Match[str]) -> str:
        there = places.section(found[2])
        return f'<a href="{_href(name, there)}">{found[0]}</a>' if there else found[0]

    page = _LINK.sub(lead, page)
    if not own:
        return page
    if not name.startswith("docs/KERNEL"):
        page = re.sub(r'(?<=<span class="why">)[^<]+', lambda why: _SECTION.sub(find, why[0]), page)
    return _LINK_OR_CODE.sub(explain, page)


def _href(name: str, there: str) -> str:
    file, _, place = there.partition("#")
    way = quote(posixpath.relpath(file, posixpath.dirname(name) or "."))
    return html.escape(f"{way}#{place}" if place else way)


def dead(readings: Mapping[str, Reading], files: Collection[str]) -> list[str]:
    """Each link that leads to a page, a file or a place that is not there, or to another server without being a plain
    link, in words.
    """
    wrong = []
    for name, reading in readings.items():
        wrong += [f"{name} would load {each}" for each in reading.loads if re.match(r"(?!data:)([a-z]+:|//)", each)]
        for link in dict.fromkeys((*reading.links, *reading.loads)):
            if _SCHEME.match(link):
                continue
            file, _, place = link.partition("#")
            there = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(file))) if file else name
            if there not in readings and there not in files:
                wrong.append(f"{name} leads to {link}, which is not there")
            elif place and there in readings and not {place, unquote(place)} & readings[there].ids:
                wrong.append(f"{name} leads to {link}, and there is no such place")
    return wrong
