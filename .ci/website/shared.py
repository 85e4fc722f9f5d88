"""Parts that pages have in common, as files: what an exported page carries in itself to be complete."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections import Counter

_LONG = 1500
"""Characters from which a part is worth a file."""
_PART = re.compile(r"<(script|style)\b([^>]*)>(.*?)</\1>", re.S)
_MODULE = re.compile(r'\s*\btype="module"')


def in_common(pages: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The pages without the long scripts and styles that stand in more than one of them, and the files that hold these.

    A module becomes an ordinary script, in a block of its own: a browser loads no module from a file. It is deferred,
    so it runs when it would have as a module.
    """
    times: Counter[str] = Counter()
    for text in pages.values():
        times.update({part[0] for part in _PART.finditer(text) if len(part[3]) > _LONG})
    files: dict[str, str] = {}

    def lead(part: re.Match[str], up: str) -> str:
        if times[part[0]] < 2:
            return part[0]
        tag, attributes, text = part[1], part[2], part[3]
        module = _MODULE.search(attributes)
        ending = "js" if tag == "script" else "css"
        if module:
            text = f'"use strict";\n{{\n{text}\n}}\n'
        name = f"shared/{hashlib.sha256(text.encode()).hexdigest()[:12]}.{ending}"
        files[name] = text
        if tag == "style":
            return f'<link rel="stylesheet" href="{up}{name}"{attributes}/>'.replace(' type="text/css"', "")
        rest = _MODULE.sub("", attributes)
        return f'<script src="{up}{name}"{rest}{" defer" if module else ""}></script>'

    def lighter(name: str, text: str) -> str:
        up = up_from(name)
        return _PART.sub(lambda part: lead(part, up), text)

    return {name: lighter(name, text) for name, text in pages.items()}, files


def up_from(name: str) -> str:
    """The way from a page to the top of the site: "" or "../" and so on."""
    above = posixpath.relpath(".", posixpath.dirname(name) or ".")
    return "" if above == "." else f"{above}/"
