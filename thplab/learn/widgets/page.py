"""The files that a widget brings into a page, and a widget as HTML that needs neither a kernel nor a network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from thplab.show.diagrams.roles import ROLES, stylesheet

_SHARED = re.compile(r'<(style|script)\b[^>]* data-thp="[^"]*"[^>]*>.*?</\1>', re.S)
_EXPORT = re.compile(r"^export default (.*);$", re.M)


@cache
def script(*names: str) -> str:
    """The ESM of a widget: what all of them share, then the files so named; the last one is its own."""
    return "\n".join(_read(f"{name}.js") for name in ("base", "view", "pictures", "parts", *names))


@cache
def style(*names: str) -> str:
    """The CSS of a widget: what all share, with the colour roles of the pictures, then the files so named that there
    are: not all have a look of their own.

    A page may set the variables to colours of its own.
    """
    light = "".join(f"--thp-{name}:{role.light};" for name, role in ROLES.items())
    changed = f".thp-forward .thp-picture [fill='{ROLES['changed'].light}']{{animation:thp-lights-up .35s ease-out}}"
    motion = f"@media (prefers-reduced-motion:no-preference){{{changed}}}"
    own = [_read(f"{name}.css") for name in ("thplab", *names) if _file(f"{name}.css").is_file()]
    return "\n".join((f":where(:root){{{light}}}", stylesheet(), motion, *own))


def dressed(*names: str) -> str:
    """The ESM of a widget in a notebook: script() that brings style() with it. The traits of a widget bring none:
    anywidget would put it into the page anew for each.
    """
    return f"{script(*names)}\ndress({json.dumps(kind_of(names))}, {json.dumps(style(*names))});"


def pack(data: Mapping[str, Any]) -> str:
    """The data as one text: JSON, gzip, base64. Equal data give equal texts."""
    raw = json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode()


def page_id(packed: str) -> str:
    """A name for an element of a page, made from what it shows. The same stepper twice in a page has it twice;
    each script takes one.
    """
    return "thp-" + hashlib.sha256(packed.encode()).hexdigest()[:12]


def kind_of(names: Sequence[str]) -> str:
    """What a page calls the widgets that are made of these files."""
    return "-".join(names)


def definition(names: Sequence[str]) -> str:
    """What a page needs once for all widgets of these files: a function by the name of their kind, for standalone()."""
    kind = kind_of(names)
    code, number = _EXPORT.subn(
        lambda export: f'(globalThis.thplab ??= {{}})["{kind}"] = (id, state) => alone({export[1]}, id, state);',
        script(*names),
    )
    assert number == 1, "a widget's own file ends with its export"
    return (
        f'<style data-thp="{kind}">{style(*names)}</style>\n<script type="module" data-thp="{kind}">{code}</script>\n'
    )


def standalone(names: Sequence[str], state: Mapping[str, Any], picture: str, caption: str) -> str:
    """A widget as HTML: it runs from the page alone.
    Without script it shows `picture` (SVG text) and `caption` (plain text).

    `names` are its files as script() takes them. `state` holds the widget's traits; its "packed" names the element.
    """
    traits = json.dumps(dict(state)).replace("<", "\\u003c")  # no text of the state can end the script
    still = f'<figure class="thp-still">{picture}<figcaption>{html.escape(caption)}</figcaption></figure>'
    return (
        f'{definition(names)}<div id="{page_id(state["packed"])}">{still}</div>\n'
        f'<script type="module">thplab["{kind_of(names)}"]("{page_id(state["packed"])}", {traits});</script>'
    )


def once(page: str) -> str:
    """A page with several widgets without the second and further copies of what those of one kind share."""
    seen: set[str] = set()

    def first(found: re.Match[str]) -> str:
        known = found[0] in seen
        seen.add(found[0])
        return "" if known else found[0]

    return _SHARED.sub(first, page)


_LATER = """
.jp-OutputArea-child:has(.thp-widget) + .jp-OutputArea-child:has(.thp-later) { display: none; }
.jp-OutputArea-child:has(> .jupyter-widgets):not(:has(.thp-widget)):has(+ * .thp-later) { display: none; }
.thp-later { font-family: var(--jp-content-font-family, system-ui, sans-serif); }
"""


def later(picture: str, caption: str) -> str:
    """What stands for a widget in a notebook that was saved and is opened again, until its cell is run: the picture
    (SVG text) and caption. It hides while the widget is there, and the widget manager's message while it is not.
    """
    still = f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>"
    return f'<div class="thp-later"><style>{_LATER}</style>{still}<p><b>Run this cell to go on.</b></p></div>'


def _file(name: str) -> Traversable:
    return files("thplab.learn.widgets").joinpath(name)


def _read(name: str) -> str:
    return _file(name).read_text(encoding="utf-8")
