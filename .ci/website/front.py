"""The front page: three entrances, everything behind them, and what can be looked up."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import NamedTuple

import nbformat

from thplab.kernel.names import ORDER
from website.frame import own_page

_TITLE = re.compile(r"^# (.+)$", re.M)
_TIME = re.compile(r"^\*\*Time:\*\* (.*?)(?= \*\*|$)", re.M)
_PICTURE = re.compile(r"!\[([^\]]*)\]\((?:\.\./)+(assets/[^)]+)\)")
_MARKS = re.compile(r"[*`]|\[([^\]]*)\]\([^)]*\)")


class _Entry(NamedTuple):
    """A notebook, as the front page names it."""

    href: str
    title: str
    about: str
    picture: str


_LOOK_UP = (
    ("kernels/index.html", "Which kernel does what", "every policy of seven kernels, with its evidence"),
    ("races.html", "Races", "what two CPUs can do to each other, in every order"),
    ("docs/rfc-sentences.html", "The cover letter", "sentence by sentence: where each is shown, checked and taught"),
    ("notebooks/glossary.html", "Glossary", "every word that the lessons use"),
    ("docs/KERNEL.html", "The rules", "counters, deltas, orders and races of four schemes, with sources"),
    ("tests/truth/README.html", "The recordings", "what six real kernels did, and how they were asked"),
    ("docs/verify.html", "What is compared", "how the simulator is held against the recordings"),
    ("docs/your-own-scheme.html", "A scheme of your own", "built, run, compared and checked"),
    ("docs/architecture.html", "Architecture", "which room of the code holds what, and why"),
    ("reference/thplab.html", "API reference", "every module, from its docstrings"),
    ("CONTRIBUTING.html", "Contributing", "how to change a rule and prove it"),
    ("CHANGELOG.html", "Changelog", "what has changed"),
)


def page(root: Path, pages: dict[str, str]) -> str:
    """The front page over the pages that there are."""
    lessons, exercises = _entries(root, pages, "notebooks/[0-9]*"), _entries(root, pages, "notebooks/exercises/*")
    lectures, cases = _entries(root, pages, "notebooks/lectures/*"), _entries(root, pages, "notebooks/cases/*")
    reports = [each for each in cases if not each.href.startswith("notebooks/cases/00_")]
    cards = [
        _card("A lesson", "I want to understand it.", lessons[:1], f"{len(lessons)} lessons", "lessons"),
        _card("A lecture", "I want to show it.", lectures[-2:-1] or lectures[:1], f"{len(lectures)} lectures", "lectures"),
        _card("A case", "I have a report, and a machine that does this.", reports[:1], f"{len(reports)} cases", "cases"),
    ]
    kernels = ", ".join(f'<a href="kernels/{name}.html">{name}</a>' for name in ORDER)
    looked = "".join(f'<li><a href="{to}">{title}</a> {about}</li>' for to, title, about in _LOOK_UP if to in pages)
    body = f"""<h1>thplab</h1>
<p class="lead">How Linux maps, splits, pins and counts a <b>transparent huge page</b>: an exact simulator that you step forwards and
backwards, held against recordings of six real kernels.</p>
<div class="cards">{"".join(cards)}</div>
<p>All pages work as they are: no server, no network, nothing to install. To write in them, run kernels of your own and keep your
progress, <a href="#own">take thplab home</a>.</p>
<h2 id="lessons">Lessons</h2>
<ul class="lessons">{"".join(map(_pictured, lessons))}</ul>
<h2 id="lectures">Lectures</h2>
<ul class="plain">{"".join(_lecture(each, pages) for each in lectures)}</ul>
<h2 id="cases">Cases</h2>
<ul class="plain">{"".join(map(_line, cases)) or "<li>There is none yet.</li>"}</ul>
<h2 id="exercises">Exercises</h2>
<p>Each is a family: at home your variant is drawn from your name. Here you see one of them, without a place for the answer.</p>
<ul class="plain columns">{"".join(map(_line, exercises))}</ul>
<h2 id="look">Look it up</h2>
<ul class="plain">{looked}<li>One page for each kernel: {kernels}</li></ul>
<h2 id="own">At home</h2>
<p>With Python 3.11 or newer, in a copy of the repository:</p>
<pre>make lab</pre>
<p>opens the lessons in JupyterLab; <code>thplab start DIR</code> makes a folder of your own that keeps your progress. The code is under the
<a href="LICENSE.html">MIT licence</a>, texts and pictures are under <a href="LICENSE-CONTENT.html">CC BY 4.0</a>.</p>"""
    return own_page("index.html", "Transparent huge pages, by doing", body, "front")


def _entries(root: Path, pages: dict[str, str], pattern: str) -> list[_Entry]:
    found = []
    for path in sorted(root.glob(f"{pattern}.ipynb")):
        name = path.relative_to(root).with_suffix(".html").as_posix()
        if name not in pages:
            continue
        texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
        title, time, picture = _TITLE.search(texts[0]), _TIME.search(texts[0]), _PICTURE.search("\n".join(texts))
        paragraphs = [part for part in texts[0].split("\n\n")[1:] if part]
        about = _MARKS.sub(lambda mark: mark[1] or "", time[1] if time else (paragraphs or [""])[0])
        shown = f'<img src="{picture[2]}" alt="{html.escape(picture[1])}" loading="lazy"/>' if picture else ""
        found.append(_Entry(name, html.escape(title[1] if title else path.stem), html.escape(about), shown))
    return found


def _card(name: str, why: str, first: list[_Entry], all_of: str, place: str) -> str:
    begin = f'<p><a class="begin" href="{first[0].href}">{first[0].title}</a></p>' if first else ""
    return f'<section class="card"><h2>{name}</h2><p>{why}</p>{begin}<p><a href="#{place}">{all_of}</a></p></section>'


def _pictured(entry: _Entry) -> str:
    return f'<li><a href="{entry.href}">{entry.picture}<b>{entry.title}</b></a><small>{entry.about}</small></li>'


def _line(entry: _Entry) -> str:
    return f'<li><a href="{entry.href}">{entry.title}</a> {entry.about}</li>'


def _lecture(entry: _Entry, pages: dict[str, str]) -> str:
    slides = entry.href.replace("notebooks/lectures/", "slides/")
    show = f' <a href="{slides}">Slides over the whole window</a>' if slides in pages else ""
    return f'<li><a href="{entry.href}">{entry.title}</a> {entry.about}{show}</li>'
