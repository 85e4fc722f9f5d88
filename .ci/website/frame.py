"""What every page of the site has around it: the bar with the way to all parts and the search, and what it may load."""

from __future__ import annotations

import html
import re

from website.shared import up_from

# As the exporter's and the lectures' own, and the files of the site besides. A page that is opened from a file has no
# origin, so its neighbours are named by their scheme.
_POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; base-uri \'none\'; form-action \'none\'; '
    "frame-src 'self' file:; font-src data:; img-src 'self' file: data: blob:; media-src data:; "
    "script-src 'self' file: 'unsafe-inline'; style-src 'self' file: 'unsafe-inline'\"/>"
)
_PARTS = (
    ("Lessons", "index.html#lessons", "notebooks/0"),
    ("Exercises", "index.html#exercises", "notebooks/exercises/"),
    ("Lectures", "index.html#lectures", "notebooks/lectures/"),
    ("Cases", "index.html#cases", "notebooks/cases/"),
    ("Glossary", "notebooks/glossary.html", "notebooks/glossary"),
    ("Kernels", "kernels/index.html", "kernels/"),
    ("Races", "races.html", "races"),
    ("Letter", "docs/rfc-sentences.html", "docs/rfc"),
    ("Reference", "reference/thplab.html", "reference/"),
)

_HAS_POLICY = re.compile(r"<meta\b[^>]*Content-Security-Policy[^>]*>", re.I)
_UNNAMED = re.compile(r'<a class="headerlink" href="#([^"]+)">')
_TITLE = re.compile(r"<title>.*?</title>", re.S)
_HEADING = re.compile(r"<h1\b[^>]*>(.*?)</h1>", re.S)
_TAGS = re.compile(r'<a class="anchor-link".*?</a>|<[^>]+>', re.S)


def own_page(name: str, title: str, body: str, kind: str = "") -> str:
    """A page of the site's own: `body` is HTML that begins with its heading."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n{_POLICY}\n'
        f"<title>{html.escape(title)} · thplab</title>\n{_head(name)}</head>\n"
        f'<body class="site-own {kind}">\n{_bar(name)}<main id="main">\n{body}\n</main>\n</body>\n</html>\n'
    )


def policed(page: str) -> str:
    """A page that may load the files of the site, and nothing else."""
    if _HAS_POLICY.search(page):
        return _HAS_POLICY.sub(lambda _: _POLICY, page, count=1)
    return re.sub(r"<meta charset=\"utf-8\"\s*/?>", lambda found: found[0] + _POLICY, page, count=1)


def framed(name: str, page: str) -> str:
    """A page that the exporter or pdoc has made, with the bar above it, and its heading as its title."""
    page = policed(page)
    heading = _HEADING.search(page)
    if heading and not name.startswith("reference/"):
        title = " ".join(_TAGS.sub("", heading[1]).split())
        page = _TITLE.sub(lambda _: f"<title>{title} · thplab</title>", page, count=1)
    page = page.replace("</head>", f"{_head(name)}</head>", 1)
    if name.startswith("reference/"):
        page = page.replace("<body>", f'<body class="site-reference">\n{_bar(name)}', 1)
        page = page.replace('<main class="pdoc">', '<main class="pdoc" id="main">', 1)
        page = _UNNAMED.sub(r'<a class="headerlink" aria-label="\1" href="#\1">', page)
    else:
        page = page.replace("<main>", f'{_bar(name)}<main id="main">', 1)
    return page


def _head(name: str) -> str:
    up = up_from(name)
    return (
        f'<link rel="icon" href="data:,"/>\n<link rel="stylesheet" href="{up}site.css"/>\n'
        f'<script defer src="{up}site.js" data-up="{up}"></script>\n'
    )


def _bar(name: str) -> str:
    """The bar. Its elements are plain ones with roles: pdoc's styles are about every header and nav of a page."""
    up = up_from(name)
    links = [
        f'<a href="{up}{to}"{" aria-current=" + chr(34) + "true" + chr(34) if name.startswith(here) else ""}>{part}</a>'
        for part, to, here in _PARTS
    ]
    return (
        f'<div class="site-bar" role="banner" data-aside><a class="site-skip" href="#main">Skip to the text</a>'
        f'<a class="site-home" href="{up}index.html">thplab</a>'
        f'<div role="navigation" aria-label="Site">{"".join(links)}</div>'
        '<div role="search" class="site-search"><input type="search" placeholder="Search" aria-label="Search the site" '
        'autocomplete="off"/><ol hidden></ol></div></div>\n'
    )
