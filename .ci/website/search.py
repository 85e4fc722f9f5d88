"""The search: what can be found, as a script that a page loads when somebody begins to search, also from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping

from website.reading import Reading


def search_index(readings: Mapping[str, Reading]) -> str:
    """A script that sets `thplabSearched`: pages as [name, title], sections as [page, heading, id, text].

    Of the API reference only the names are found: it has a search of its own for its words. Slides say what the
    notebook of the lecture says.
    """
    pages: list[list[str]] = []
    sections: list[list[object]] = []
    for name, reading in readings.items():
        if name.startswith("slides/"):
            continue
        number = len(pages)
        pages.append([name, reading.title])
        if name.startswith("reference/"):
            sections.append([number, "", "", ""])
            names = sorted(each for each in reading.ids if each[:1].isalpha() and "-" not in each)
            sections += [[number, each, each, ""] for each in names if each not in ("navtoggle", "togglestate")]
        else:
            sections += [[number, *section] for section in reading.sections]
    data = json.dumps({"pages": pages, "sections": sections}, ensure_ascii=False, separators=(",", ":"))
    return f"globalThis.thplabSearched = {data};\n"
