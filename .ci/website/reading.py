"""What a page says, as the search and the check of links need it."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import NamedTuple

_SILENT = frozenset(("script", "style", "svg", "pre", "title"))
"""Elements whose text is not read."""
_EMPTY = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"))
_ASIDE = "data-aside"
"""An attribute: what is in this element is not found by the search, because every page or another page has it."""


class Section(NamedTuple):
    """A heading, its id, and the text up to the next one."""

    heading: str
    id: str
    text: str


class Reading(HTMLParser):
    """A page, read: its ids, its links, and its text in sections."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        """Where a reader can go."""
        self.loads: list[str] = []
        """What a browser fetches to show the page."""
        self.sections: list[Section] = []
        self._quiet = 0
        """How many of the open elements are silent."""
        self._open: list[tuple[str, bool]] = []
        self._heading: list[str] | None = None
        self._at = ("", "")
        self._said: list[str] = []
        self.feed(text)
        self.close()
        self._end_section()

    @property
    def title(self) -> str:
        """The first heading."""
        return next((section.heading for section in self.sections if section.heading), "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes what the element is called and leads to."""
        given = dict(attrs)
        for name in ("id", "name") if tag == "a" else ("id",):
            if given.get(name):
                self.ids.add(given[name] or "")
        for name in ("href", "src", "data", "poster"):
            if given.get(name) and tag not in ("use", "meta"):
                (self.links if tag in ("a", "area") else self.loads).append(given[name] or "")
        if tag in _EMPTY:
            self._said.append(" ")
            return
        quiet = tag in _SILENT or _ASIDE in given or given.get("class") in ("anchor-link", "jp-InputArea-editor")
        self._open.append((tag, quiet))
        self._quiet += quiet
        if tag in ("h1", "h2", "h3") and not self._quiet:
            self._end_section()
            self._heading, self._at = [], ("", given.get("id") or "")

    def handle_endtag(self, tag: str) -> None:
        """Closes the element, and those in it that were left open."""
        if tag not in [name for name, _ in self._open]:
            return
        name = ""
        while name != tag:
            name, quiet = self._open.pop()
            self._quiet -= quiet
        if self._heading is not None and tag in ("h1", "h2", "h3"):
            self._at = (" ".join("".join(self._heading).split()), self._at[1])
            self._heading = None
        self._said.append(" ")

    def handle_data(self, data: str) -> None:
        """Reads a text, where it is one."""
        if not self._quiet:
            (self._said if self._heading is None else self._heading).append(data)

    def _end_section(self) -> None:
        text = " ".join("".join(self._said).split())
        if self._at[0] or text:
            self.sections.append(Section(*self._at, text))
        self._at, self._said = ("", ""), []
